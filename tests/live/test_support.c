/* SPDX-License-Identifier: BSD-3-Clause */
/* The tests' own servers and clusters. KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/calm.h"
#include "support/check.h"
#include "support/cluster.h"
#include "support/keeper.h"
#include "support/server.h"

static void test_server_kill_and_restart_serves_again(void **state)
{
    (void)state;
    kw_test_server *server = kw_test_server_start("requirepass secret\nappendonly yes\n");
    kw_test_server_ok(server, "SET %s %s", "a", "1");
    kw_test_server_kill(server);
    assert_true(kw_test_server_is_dead(server));
    kw_test_server_restart(server);
    assert_int_equal(kw_test_server_integer(server, "INCR a"), 2);
    assert_true(kw_test_server_info(server, "total_commands_processed") > 0);
    assert_true(access(kw_test_server_socket(server), F_OK) == 0);
    kw_test_server_free(server);
}

/* Where another test's server took its place, calls that are to fail would be answered. */
static void test_server_that_is_dead_keeps_its_port(void **state)
{
    (void)state;
    kw_test_server *server = kw_test_server_start(NULL);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons(kw_test_server_port(server));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    kw_test_server_kill(server);
    int other = socket(AF_INET, SOCK_DGRAM, 0); /* as another process looks for a port */
    assert_int_equal(bind(other, (const struct sockaddr *)&address, sizeof(address)), -1);
    kw_test_server_restart(server);
    kw_test_server_free(server);
    assert_int_equal(bind(other, (const struct sockaddr *)&address, sizeof(address)), 0);
    close(other);
}

static void test_server_pause_and_resume_answers(void **state)
{
    (void)state;
    kw_test_server *server = kw_test_server_start(NULL);
    int fds = kw_test_fd_count();
    kw_test_server_pause(server);
    kw_test_server_resume(server);
    char *pong = kw_test_server_text(server, "PING");
    assert_string_equal(pong, "PONG");
    free(pong);
    assert_int_equal(kw_test_fd_count(), fds);
    kw_test_server_free(server);
}

/* The thread of the calm clock opens none, not for a moment either: tests count theirs beside it.
 */
static void test_descriptors_are_as_many_at_every_moment(void **state)
{
    (void)state;
    kw_test_calm_start();
    int fds = kw_test_fd_count();
    for (int i = 0; i < 50000; i++) {
        assert_int_equal(kw_test_fds_tell(fds), fds);
    }
}

/* A child that is killed cannot clean up; its keeper does. */
static void test_server_of_a_killed_test_is_gone(void **state)
{
    int ends[2];
    char place[400] = "";
    long pid = 0;
    (void)state;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/proc/self/exe", "test_support", "--serve", (char *)NULL);
        _exit(127);
    }
    kill(child, 0);
    close(ends[0]);
    close(ends[1]);
    snprintf(place, sizeof(place), "/tmp/keyway-support-%ld", (long)child);
    FILE *file = NULL;
    for (int tries = 0; tries < 500 && (file == NULL || fscanf(file, "%ld", &pid) != 1); tries++) {
        if (file != NULL) {
            fclose(file);
        }
        kw_test_sleep_ms(10);
        file = fopen(place, "r");
    }
    assert_non_null(file);
    fclose(file);
    unlink(place);
    assert_true(pid > 0);
    assert_int_equal(kill((pid_t)pid, 0), 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    for (int tries = 0; tries < 500 && kill((pid_t)pid, 0) == 0; tries++) {
        kw_test_sleep_ms(10);
    }
    assert_int_not_equal(kill((pid_t)pid, 0), 0);
}

/* Its own child, which outlives it, has all that it had open. */
static void test_test_that_ends_does_not_wait_for_its_children(void **state)
{
    (void)state;
    pid_t test = fork();
    assert_true(test >= 0);
    if (test == 0) {
        execl("/proc/self/exe", "test_support", "--leave-a-child", (char *)NULL);
        _exit(127);
    }
    int status = 0;
    bool has_ended = false;
    for (int tries = 0; tries < 3000 && !has_ended; tries++) {
        kw_test_sleep_ms(10);
        has_ended = waitpid(test, &status, WNOHANG) == test;
    }
    if (!has_ended) {
        kill(test, SIGKILL);
        fail_msg("no end");
    }
    assert_int_equal(status, 0);
}

static void test_cluster_serves_moves_and_fails_over(void **state)
{
    (void)state;
    uint64_t start_ms = kw_test_now_ms();
    kw_test_cluster *cluster = kw_test_cluster_start(3, 1, 1000, NULL);
    fprintf(stderr, "cluster of 6 after %lu ms\n", (unsigned long)(kw_test_now_ms() - start_ms));
    assert_int_equal(kw_test_cluster_count(cluster), 6);
    unsigned slot = kw_test_cluster_slot(cluster, "user:{123}:profile");
    kw_test_server *old = kw_test_cluster_owner(cluster, slot);
    kw_test_server_ok(old, "SET user:{123}:profile x");
    kw_test_server_ok(old, "SET user:{123}:%b y", "a\0b", (size_t)3);

    kw_test_server *to = kw_test_cluster_node(cluster, old == kw_test_cluster_node(cluster, 0));
    start_ms = kw_test_now_ms();
    kw_test_cluster_move(cluster, slot, slot, to);
    assert_ptr_equal(kw_test_cluster_owner(cluster, slot), to);
    char *text = kw_test_server_text(to, "GET user:{123}:profile");
    assert_string_equal(text, "x");
    free(text);
    assert_int_equal(kw_test_server_integer(to, "CLUSTER COUNTKEYSINSLOT %u", slot), 2);
    kw_test_cluster_wait(cluster, 60000);

    kw_test_cluster_move_begin(cluster, slot, old);
    assert_int_equal(kw_test_cluster_move_keys(cluster, slot, old, 1), 1);
    assert_int_equal(kw_test_server_integer(to, "CLUSTER COUNTKEYSINSLOT %u", slot), 1);
    kw_test_cluster_move_keys(cluster, slot, old, 10);
    kw_test_cluster_move_end(cluster, slot, old);
    kw_test_cluster_wait(cluster, 60000);
    fprintf(stderr, "moves after %lu ms\n", (unsigned long)(kw_test_now_ms() - start_ms));

    kw_test_server *replica = kw_test_cluster_replica(cluster, old);
    assert_non_null(replica);
    start_ms = kw_test_now_ms();
    kw_test_cluster_failover(cluster, replica);
    kw_test_cluster_wait(cluster, 60000);
    fprintf(stderr, "failover after %lu ms\n", (unsigned long)(kw_test_now_ms() - start_ms));
    assert_ptr_equal(kw_test_cluster_owner(cluster, slot), replica);

    start_ms = kw_test_now_ms();
    kw_test_server_kill(replica);
    assert_ptr_equal(kw_test_cluster_wait_owner(cluster, slot, replica, 15000), old);
    fprintf(stderr, "promotion after %lu ms\n", (unsigned long)(kw_test_now_ms() - start_ms));
    kw_test_server_restart(replica);
    kw_test_cluster_wait(cluster, 60000);
    fprintf(stderr, "old primary back as replica\n");

    start_ms = kw_test_now_ms();
    kw_test_server *added = kw_test_cluster_add(cluster);
    kw_test_cluster_move(cluster, 0, 99, added);
    kw_test_cluster_wait(cluster, 60000);
    fprintf(stderr, "slots at the new node\n");
    kw_test_cluster_move(cluster, 0, 99, old);
    kw_test_cluster_forget(cluster, added);
    kw_test_cluster_wait(cluster, 60000);
    fprintf(stderr, "node added and removed after %lu ms\n",
            (unsigned long)(kw_test_now_ms() - start_ms));
    kw_test_cluster_free(cluster);
}

/* As Redis 7.0 leaves a slot that was moved there and back before its primary died and came back.
 */
static void test_cluster_slot_that_its_owner_has_lost_is_given_back(void **state)
{
    (void)state;
    kw_test_cluster *cluster = kw_test_cluster_start(3, 0, 1000, NULL);
    kw_test_server *owner = kw_test_cluster_owner(cluster, 5);
    kw_test_server_ok(owner, "CLUSTER DELSLOTS 5");
    assert_null(kw_test_cluster_owner(cluster, 5));
    kw_test_cluster_wait(cluster, 60000);
    assert_ptr_equal(kw_test_cluster_owner(cluster, 5), owner);
    kw_test_cluster_free(cluster);
}

static void test_cluster_two_that_take_each_other_for_the_owner_agree(void **state)
{
    (void)state;
    kw_test_cluster *cluster = kw_test_cluster_start(3, 0, 1000, NULL);
    kw_test_server *first = kw_test_cluster_node(cluster, 0);
    kw_test_server *second = kw_test_cluster_node(cluster, 1);
    const char *first_id = kw_test_cluster_id(cluster, first);
    kw_test_server_ok(second, "CLUSTER SETSLOT 5 NODE %s", first_id);
    kw_test_server_ok(first, "CLUSTER SETSLOT 5 NODE %s", kw_test_cluster_id(cluster, second));
    assert_null(kw_test_cluster_owner(cluster, 5));
    kw_test_cluster_move(cluster, 5, 5, kw_test_cluster_node(cluster, 2));
    kw_test_cluster_wait(cluster, 60000);
    assert_ptr_equal(kw_test_cluster_owner(cluster, 5), kw_test_cluster_node(cluster, 2));
    kw_test_cluster_free(cluster);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_kill_and_restart_serves_again),
        cmocka_unit_test(test_server_that_is_dead_keeps_its_port),
        cmocka_unit_test(test_server_pause_and_resume_answers),
        cmocka_unit_test(test_descriptors_are_as_many_at_every_moment),
        cmocka_unit_test(test_server_of_a_killed_test_is_gone),
        cmocka_unit_test(test_test_that_ends_does_not_wait_for_its_children),
        cmocka_unit_test(test_cluster_serves_moves_and_fails_over),
        cmocka_unit_test(test_cluster_slot_that_its_owner_has_lost_is_given_back),
        cmocka_unit_test(test_cluster_two_that_take_each_other_for_the_owner_agree),
    };
    if (argc > 1 && strcmp(argv[1], "--leave-a-child") == 0) {
        static const kw_test_server *server;
        server = kw_test_server_start(NULL);
        assert_non_null(server);
        pid_t parent = getpid();
        if (fork() == 0) {
            while (getppid() == parent) {
                kw_test_sleep_ms(10);
            }
            _exit(0);
        }
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "--serve") == 0) {
        char place[64];
        kw_test_server *server = kw_test_server_start(NULL);
        snprintf(place, sizeof(place), "/tmp/keyway-support-%ld", (long)getpid());
        FILE *file = fopen(place, "w");
        if (file != NULL) {
            fprintf(file, "%ld\n", (long)kw_test_server_pid(server));
            fclose(file);
        }
        kw_test_sleep_ms(60000);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Members of a ring that change under many threads, without memory, and by the thousand.
 * KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "live/ring_change.h"
#include "support/keeper.h"

static ring_servers *servers_of(void **state)
{
    return *state;
}

/* Threads that call while members change. */
typedef struct crowd {
    kw_client *client;
    atomic_bool is_over;
    atomic_ulong calls_n;
    atomic_ulong failures_n;
} crowd;

#define CROWD_KEYS 40

static void ask_many(crowd *self, unsigned turn)
{
    char keys[CROWD_KEYS][24];
    const char *argv[CROWD_KEYS + 1] = {"MGET"};
    for (unsigned i = 0; i < CROWD_KEYS; i++) {
        snprintf(keys[i], sizeof(keys[i]), "key:%u", (turn + i) % 1000);
        argv[i + 1] = keys[i];
    }
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command_argv(self->client, &error, CROWD_KEYS + 1, argv, NULL);
    bool is_good = kw_reply_count(reply) == CROWD_KEYS && !kw_reply_is_error(reply);
    for (size_t i = 0; is_good && i < CROWD_KEYS; i++) {
        const char *value = kw_reply_str(kw_reply_at(reply, i), NULL);
        is_good = value == NULL || strcmp(value, keys[i]) == 0;
    }
    if (!is_good) {
        fprintf(stderr, "MGET: %s\n", reply != NULL ? kw_reply_str(reply, NULL) : error.text);
        atomic_fetch_add(&self->failures_n, 1);
    }
    kw_reply_free(reply);
}

static void *join_crowd(void *arg)
{
    crowd *self = arg;
    for (unsigned turn = 0; !atomic_load(&self->is_over); turn++) {
        kw_error error = KW_ERROR_INIT;
        unsigned i = turn * 7 % 1000;
        kw_reply *reply = kw_command(self->client, &error, "SET key:%u key:%u", i, i);
        if (reply == NULL || kw_reply_is_error(reply)) {
            fprintf(stderr, "SET: %s\n", error.text);
            atomic_fetch_add(&self->failures_n, 1);
        }
        kw_reply_free(reply);
        ask_many(self, turn);
        atomic_fetch_add(&self->calls_n, 2);
    }
    return NULL;
}

/* One random change of what is there; the ring has two nodes at least. */
static void change_once(kw_client *client, const ring_servers *servers, unsigned turn)
{
    kw_error error = KW_ERROR_INIT;
    kw_members *members = begin(client);
    switch (turn % 4) {
    case 0:
        add_d(members, servers);
        break;
    case 1:
        assert_int_equal(kw_members_reweight(members, &error, "a", 1, turn % 5), KW_OK);
        break;
    case 2:
        assert_int_equal(kw_members_remove(members, &error, "d", 1), KW_OK);
        break;
    default:
        assert_int_equal(kw_members_set_zone(members, &error, "b", 1, "z"), KW_OK);
        break;
    }
    commit(members);
    kw_members_free(members);
}

static void test_members_change_under_32_threads_and_no_call_fails(void **state)
{
    enum { THREADS = 32, CHANGES = 120 };
    ring_servers *servers = servers_of(state);
    crowd self = {.client = open_three(servers, "?timeout=30s")};
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, join_crowd, &self), 0);
    }
    for (unsigned turn = 0; turn < CHANGES; turn++) {
        change_once(self.client, servers, turn);
        unsigned long before = atomic_load(&self.calls_n);
        KW_TEST_AWAIT(atomic_load(&self.calls_n) >= before + 20)
    }
    atomic_store(&self.is_over, true);
    for (size_t i = 0; i < THREADS; i++) {
        kw_test_join(threads[i]);
    }
    assert_int_equal(atomic_load(&self.failures_n), 0);
    assert_int_equal(kw_test_stats(self.client).map_changes, CHANGES + 1);
    kw_close(self.client);
}

/* One commit with the nth allocation failing. False where none failed any more. */
static bool commit_without_memory(const ring_servers *servers, unsigned long fail_at)
{
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    char uri[1000];
    kw_error error = KW_ERROR_INIT;
    kw_config *config = kw_test_config_new(&memory.allocator);
    ring_uri(uri, sizeof(uri), servers, 3, "");
    assert_int_equal(kw_config_set_uri(config, &error, uri), KW_OK);
    kw_client *client = kw_open_config(config, &error);
    kw_config_free(config);
    kw_test_ask_ok(client, "SET before 1");
    unsigned long before = kw_test_memory_calls(&memory);
    memory.fail_at = before + fail_at;
    kw_err code = KW_ERR_NOMEM;
    kw_members *members = kw_members_begin(client, &error);
    if (members != NULL) {
        char text[200];
        snprintf(text, sizeof(text), "d=%s;replica=h:1",
                 kw_test_server_address(servers->servers[3]));
        code = kw_members_add(members, &error, text);
        code = code == KW_OK ? kw_members_remove(members, &error, "a", 1) : code;
        code = code == KW_OK ? kw_members_commit(members, &error) : code;
    }
    bool has_failed = kw_test_memory_calls(&memory) >= memory.fail_at;
    memory.fail_at = 0;
    assert_int_equal(code, has_failed ? KW_ERR_NOMEM : KW_OK);
    kw_ring *ring = kw_client_ring(client, &error);
    uint32_t node;
    assert_int_equal(kw_ring_find(ring, &node, "a", 1) == KW_OK, has_failed);
    kw_ring_unref(ring);
    assert_int_equal(kw_test_ask_integer(client, "DBSIZE"), 1);
    if (has_failed && members != NULL) { /* and what failed can be done again */
        (void)kw_members_remove(members, &error, "a", 1);
        assert_int_equal(kw_members_commit(members, &error), KW_OK);
    }
    kw_members_free(members);
    kw_close(client);
    assert_int_equal(kw_test_memory_live(&memory), 0);
    return has_failed;
}

static void test_each_allocation_of_a_commit_failing_leaves_the_old_map(void **state)
{
    unsigned long fail_at = 1;
    while (commit_without_memory(servers_of(state), fail_at)) {
        fail_at++;
        ring_flush(state);
        assert_true(fail_at < 500);
    }
    assert_true(fail_at > 15);
}

/* A child whose nth allocation fails: its call says so, and the next one succeeds. */
static int call_in_child(kw_client *client, kw_test_memory *memory, unsigned long fail_at)
{
    kw_error error = KW_ERROR_INIT;
    memory->fail_at = kw_test_memory_calls(memory) + fail_at;
    kw_reply *reply = kw_command(client, &error, "MGET a b c d e f g h");
    bool is_over = kw_test_memory_calls(memory) < memory->fail_at;
    bool is_good = reply != NULL || error.code == KW_ERR_NOMEM;
    kw_reply_free(reply);
    memory->fail_at = 0;
    reply = kw_command(client, &error, "MGET a b c d e f g h");
    is_good = is_good && kw_reply_count(reply) == 8;
    kw_reply_free(reply);
    kw_close(client);
    is_good = is_good && kw_test_memory_live(memory) == 0;
    return !is_good ? 1 : is_over ? 2 : 0;
}

static void test_a_forked_child_without_memory_starts_anew_later(void **state)
{
    char uri[1000];
    kw_error error = KW_ERROR_INIT;
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    kw_config *config = kw_test_config_new(&memory.allocator);
    ring_uri(uri, sizeof(uri), servers_of(state), 3, "?after-fork=reopen");
    assert_int_equal(kw_config_set_uri(config, &error, uri), KW_OK);
    kw_client *client = kw_open_config(config, &error);
    kw_config_free(config);
    kw_test_ask_ok(client, "MSET a 1 b 1 c 1 d 1");
    int status = 0;
    for (unsigned long fail_at = 1; status == 0; fail_at++) {
        pid_t pid = fork();
        if (pid == 0) {
            _exit(call_in_child(client, &memory, fail_at));
        }
        kw_test_keeper_add(pid);
        status = kw_test_wait_child(pid);
        kw_test_keeper_drop(pid);
        assert_true(WIFEXITED(status));
        status = WEXITSTATUS(status);
        if (status == 1) {
            fail_msg("allocation %lu", fail_at);
        }
        assert_true(fail_at < 500);
    }
    kw_close(client);
}

static void test_a_thousand_members_work(void **state)
{
    ring_servers *servers = servers_of(state);
    kw_client *client = open_three(servers, "");
    kw_error error = KW_ERROR_INIT;
    kw_members *members = begin(client);
    for (int i = 0; i < 997; i++) {
        char text[64];
        snprintf(text, sizeof(text), "far%d=h%d:1*%d", i, i, i % 3);
        assert_int_equal(kw_members_add(members, &error, text), KW_OK);
    }
    commit(members);
    for (int i = 0; i < 997; i++) {
        char name[16];
        snprintf(name, sizeof(name), "far%d", i);
        assert_int_equal(kw_members_reweight(members, &error, name, strlen(name), 0), KW_OK);
    }
    commit(members);
    kw_test_ask_ok(client, "SET x 1");
    kw_node_stats stats = {.size = sizeof(stats)};
    assert_int_equal(kw_client_node_stats(client, &stats, 999), KW_OK);
    for (int i = 0; i < 1001; i++) { /* past what a handle takes */
        char text[64];
        snprintf(text, sizeof(text), "more%d=m%d:1", i, i);
        assert_int_equal(kw_members_add(members, &error, text), KW_OK);
    }
    assert_int_equal(kw_members_commit(members, &error), KW_ERR_LIMIT);
    kw_members_free(members);
    kw_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_members_change_under_32_threads_and_no_call_fails, ring_flush),
        cmocka_unit_test_setup(test_each_allocation_of_a_commit_failing_leaves_the_old_map,
                               ring_flush),
        cmocka_unit_test_setup(test_a_forked_child_without_memory_starts_anew_later, ring_flush),
        cmocka_unit_test_setup(test_a_thousand_members_work, ring_flush),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The handle as a guest of its process: fork, signals, descriptors. KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/server.h"

/* What a child does; its exit status is 0 where it returns true. */
typedef bool (*child_fn)(kw_client *client);

static void run_child(child_fn fn, kw_client *client)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(fn(client) ? 0 : 1);
    }
    status = kw_test_wait_child(child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static bool is_refused_in_child(kw_client *client)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(client, &error, "INCR n");
    bool is_refused = reply == NULL && error.code == KW_ERR_FORKED &&
                      error.effect == KW_EFFECT_NONE && error.text[0] != '\0';
    kw_close(client);
    return is_refused;
}

static void test_child_is_refused_and_the_parent_goes_on(void **state)
{
    kw_client *client = kw_test_open("%s", kw_test_server_uri(*state));
    kw_test_ask_ok(client, "SET n 0");
    run_child(is_refused_in_child, client);
    assert_int_equal(kw_test_ask_integer(client, "INCR n"), 1);
    kw_stats stats = kw_test_stats(client);
    assert_int_equal(stats.connects, 1); /* the child has sent nothing on the parent's */
    assert_int_equal(stats.disconnects, 0);
    kw_close(client);
}

static bool works_in_child(kw_client *client)
{
    bool is_good = true;
    for (unsigned i = 0; i < 10 && is_good; i++) {
        kw_reply *reply = kw_command(client, NULL, "INCR n");
        is_good = kw_reply_type(reply) == KW_REPLY_INTEGER;
        kw_reply_free(reply);
    }
    kw_close(client);
    return is_good;
}

static void test_child_reopens_where_it_may(void **state)
{
    kw_client *client = kw_test_open("%s?after-fork=reopen", kw_test_server_uri(*state));
    kw_test_ask_ok(client, "SET n 0");
    run_child(works_in_child, client);
    run_child(works_in_child, client);
    assert_int_equal(kw_test_ask_integer(client, "INCR n"), 21);
    assert_int_equal(kw_test_stats(client).connects, 1);
    kw_close(client);
}

/* Threads that are in calls while the process forks. */
typedef struct traffic {
    kw_client *client;
    atomic_bool is_over;
    atomic_uint failed_n;
} traffic;

static void *drive(void *arg)
{
    traffic *it = arg;
    while (!atomic_load(&it->is_over)) {
        kw_reply *reply = kw_command(it->client, NULL, "INCR busy");
        atomic_fetch_add(&it->failed_n, reply == NULL);
        kw_reply_free(reply);
    }
    return NULL;
}

static void test_fork_in_the_middle_of_traffic_hurts_nobody(void **state)
{
    traffic it = {kw_test_open("%s?after-fork=reopen", kw_test_server_uri(*state)), false, 0};
    pthread_t threads[3];
    kw_test_ask_ok(it.client, "SET n 0");
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, drive, &it), 0);
    }
    for (unsigned i = 0; i < 10; i++) {
        run_child(works_in_child, it.client);
    }
    atomic_store(&it.is_over, true);
    for (size_t i = 0; i < 3; i++) {
        kw_test_join(threads[i]);
    }
    assert_int_equal(atomic_load(&it.failed_n), 0);
    assert_int_equal(kw_test_ask_integer(it.client, "INCR n"), 101);
    kw_close(it.client);
}

static void test_descriptors_close_on_exec(void **state)
{
    bool was_open[256];
    for (int fd = 0; fd < 256; fd++) {
        was_open[fd] = fcntl(fd, F_GETFD) >= 0;
    }
    unsigned opened_n = 0;
    kw_client *client = kw_test_open("%s", kw_test_server_uri(*state));
    kw_test_ask_ok(client, "SET n 0");
    for (int fd = 0; fd < 256; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (!was_open[fd] && flags >= 0) {
            opened_n++;
            assert_true((flags & FD_CLOEXEC) != 0);
        }
    }
    assert_true(opened_n >= 1);
    kw_close(client);
}

static void on_alarm(int number)
{
    (void)number;
}

static void test_signals_interrupt_no_call(void **state)
{
    struct sigaction action;
    struct sigaction old;
    struct itimerval often = {{0, 1000}, {0, 1000}};
    struct itimerval never = {{0, 0}, {0, 0}};
    kw_client *client = kw_test_open("%s?timeout=10s", kw_test_server_uri(*state));
    memset(&action, 0, sizeof(action));
    action.sa_handler = on_alarm; /* without SA_RESTART */
    sigaction(SIGALRM, &action, &old);
    setitimer(ITIMER_REAL, &often, NULL);
    kw_test_ask_ok(client, "SET n 0");
    for (unsigned i = 1; i <= 2000; i++) {
        assert_int_equal(kw_test_ask_integer(client, "INCR n"), i);
    }
    free(kw_test_ask_text(client, "DEBUG SLEEP 0.2"));
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &old, NULL);
    assert_int_equal(kw_test_stats(client).failures, 0);
    kw_close(client);
}

static void test_handle_changes_no_signal_disposition(void **state)
{
    struct sigaction before;
    struct sigaction after;
    sigaction(SIGPIPE, NULL, &before);
    kw_client *client = kw_test_open("%s", kw_test_server_uri(*state));
    kw_test_ask_ok(client, "SET n 0");
    kw_close(client);
    sigaction(SIGPIPE, NULL, &after);
    assert_true(before.sa_handler == after.sa_handler);
}

/* Without one free descriptor: a named error; with them, the handle works. */
static void test_handle_without_descriptors_fails_by_name_and_recovers(void **state)
{
    struct rlimit old;
    kw_error error = KW_ERROR_INIT;
    kw_client *client = kw_test_open("%s?timeout=300ms", kw_test_server_uri(*state));
    int lowest = dup(0);
    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit tight = {(rlim_t)lowest, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    kw_reply *reply = kw_command(client, &error, "INCR n");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_null(reply);
    assert_int_equal(error.code, KW_ERR_CONNECT);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_non_null(strstr(error.text, strerror(EMFILE)));
    uint64_t start_ms = kw_test_now_ms();
    while ((reply = kw_command(client, NULL, "SET n 0")) == NULL) {
        assert_true(kw_test_now_ms() - start_ms < 1500);
    }
    kw_reply_free(reply);
    kw_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_child_is_refused_and_the_parent_goes_on),
        cmocka_unit_test(test_child_reopens_where_it_may),
        cmocka_unit_test(test_fork_in_the_middle_of_traffic_hurts_nobody),
        cmocka_unit_test(test_descriptors_close_on_exec),
        cmocka_unit_test(test_signals_interrupt_no_call),
        cmocka_unit_test(test_handle_changes_no_signal_disposition),
        cmocka_unit_test(test_handle_without_descriptors_fails_by_name_and_recovers),
    };
    return cmocka_run_group_tests(tests, kw_test_server_begin, kw_test_server_end);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions and their connections: lost ones, those that do not go back to the pool, the
 * handle's end, fork, and memory that is not there. KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "live/session_ask.h"
#include "support/ask.h"
#include "support/check.h"
#include "support/cluster.h"

static kw_test_server *server;

static int set_up(void **state)
{
    (void)state;
    server = kw_test_server_start(NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kw_test_server_free(server);
    return 0;
}

static void kill_connection(kw_session *session)
{
    long long id = integer(session, "CLIENT ID");
    assert_int_equal(kw_test_server_integer(server, "CLIENT KILL ID %lld", id), 1);
    kw_test_sleep_ms(20);
}

static void test_session_killed_connection_breaks_what_was_bound_to_it(void **state)
{
    (void)state;
    kw_client *kw = kw_test_open("%s", kw_test_server_uri(server));
    kw_test_ask_ok(kw, "SET kill 1");
    kw_session *session = open_session(kw, "kill");
    kill_connection(session);
    assert_int_equal(integer(session, "INCR kill"), 2); /* nothing was bound */
    long long id = integer(session, "CLIENT ID");
    is_text(session, "OK", "MULTI");
    is_text(session, "QUEUED", "INCR kill");
    kw_test_server_integer(server, "CLIENT KILL ID %lld", id);
    kw_test_sleep_ms(20);
    fails(session, KW_ERR_CLOSED, KW_EFFECT_NONE, "EXEC"); /* seen before it was sent */
    fails(session, KW_ERR_CLOSED, KW_EFFECT_NONE, "EXEC");
    fails(session, KW_ERR_CLOSED, KW_EFFECT_NONE, "PING");
    kw_session_close(session);
    session = open_session(kw, "kill");
    is_text(session, "OK", "WATCH kill");
    kill_connection(session);
    fails(session, KW_ERR_CLOSED, KW_EFFECT_NONE, "GET kill"); /* the watch is gone */
    kw_session_close(session);
    assert_int_equal(kw_test_ask_integer(kw, "INCR kill"), 3);
    kw_close(kw);
}

static void test_session_late_answers_break_it_with_the_right_effect(void **state)
{
    (void)state;
    kw_client *kw = kw_test_open("%s?timeout=300ms", kw_test_server_uri(server));
    const struct {
        bool is_multi;
        kw_effect effect;
        const char *command;
    } rows[] = {{true, KW_EFFECT_NONE, "INCR late"},   {true, KW_EFFECT_MAYBE, "EXEC"},
                {true, KW_EFFECT_NONE, "DISCARD"},     {false, KW_EFFECT_NONE, "WATCH late"},
                {false, KW_EFFECT_MAYBE, "INCR late"}, {false, KW_EFFECT_MAYBE, "GET late"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_session *session = open_session(kw, "late");
        if (rows[i].is_multi) {
            is_text(session, "OK", "MULTI");
        }
        kw_test_server_pause(server);
        uint64_t start_ms = kw_test_now_ms();
        fails(session, KW_ERR_TIMEOUT, rows[i].effect, rows[i].command);
        assert_in_range(kw_test_now_ms() - start_ms, 290, 1000);
        kw_test_server_resume(server);
        fails(session, KW_ERR_CLOSED, KW_EFFECT_NONE, rows[i].command);
        kw_session_close(session);
    }
    kw_close(kw);
}

static void test_session_unclean_connections_do_not_come_back(void **state)
{
    (void)state;
    kw_client *kw = kw_test_open("%s", kw_test_server_uri(server));
    kw_test_ask_ok(kw, "SET n 0");
    const char *commands[] = {"MULTI", "WATCH n", "SELECT 1", "READONLY", "CLIENT NO-EVICT on"};
    for (unsigned i = 0; i < 5; i++) {
        kw_session *session = open_session(kw, "n");
        kw_reply_free(kw_session_command(session, NULL, commands[i]));
        kw_session_close(session);
        assert_int_equal(kw_test_stats(kw).disconnects, i + 1);
        assert_int_equal(kw_test_ask_integer(kw, "INCR n"), i + 1);
    }
    kw_close(kw);
}

static void test_session_takes_one_of_the_pool(void **state)
{
    (void)state;
    kw_client *kw = kw_test_open("%s?pool-max=1&timeout=200ms", kw_test_server_uri(server));
    kw_session *session = open_session(kw, "a");
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_session_open(kw, &error, "a", 1));
    assert_int_equal(error.code, KW_ERR_POOL_FULL);
    assert_null(kw_command(kw, &error, "BLPOP empty 1"));
    assert_int_equal(error.code, KW_ERR_POOL_FULL);
    kw_reply_free(kw_test_ask(kw, "PING")); /* on the connection that is shared */
    kw_session_close(session);
    kw_session_close(open_session(kw, "a"));
    kw_close(kw);
}

static void *block(void *arg)
{
    fails(arg, KW_ERR_CANCELLED, KW_EFFECT_MAYBE, "BLPOP empty 0");
    fails(arg, KW_ERR_CANCELLED, KW_EFFECT_NONE, "PING");
    return NULL;
}

static void test_session_call_is_woken_by_kw_close(void **state)
{
    (void)state;
    kw_client *kw = kw_test_open("%s", kw_test_server_uri(server));
    kw_session *session = open_session(kw, "empty");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, block, session), 0);
    kw_test_await_calls(kw, 1);
    kw_test_sleep_ms(100);
    uint64_t start_ms = kw_test_now_ms();
    kw_close(kw);
    assert_in_range(kw_test_now_ms() - start_ms, 0, 500);
    kw_test_join(thread);
    kw_session_close(session);
}

static bool is_forked(kw_session *session)
{
    kw_error error = KW_ERROR_INIT;
    return kw_session_command(session, &error, "INCR fork") == NULL && error.code == KW_ERR_FORKED;
}

static void fork_with_session(const char *options, bool reopens)
{
    kw_client *kw = kw_test_open("%s%s", kw_test_server_uri(server), options);
    kw_test_ask_ok(kw, "SET fork 0");
    kw_session *session = open_session(kw, "fork");
    is_text(session, "OK", "MULTI");
    is_text(session, "QUEUED", "INCR fork");
    pid_t child = fork();
    if (child == 0) {
        bool is_good = is_forked(session);
        kw_reply *reply = reopens ? kw_command(kw, NULL, "PING") : NULL;
        is_good = is_good && (reply != NULL) == reopens && is_forked(session);
        kw_session_close(session);
        kw_reply_free(reply);
        reply = reopens ? kw_command(kw, NULL, "PING") : NULL;
        is_good = is_good && (reply != NULL) == reopens;
        kw_reply_free(reply);
        kw_close(kw);
        _exit(is_good ? 0 : 1);
    }
    int status = kw_test_wait_child(child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(exec(session), 1);
    kw_session_close(session);
    kw_close(kw);
}

static void test_session_stays_with_the_parent_after_fork(void **state)
{
    (void)state;
    fork_with_session("", false);
    fork_with_session("?after-fork=reopen", true);
}

/* One pass; true where an allocation failed. */
static bool run_without_memory(const kw_test_cluster *cluster, kw_test_memory *memory,
                               unsigned long fail_at)
{
    kw_test_memory_init(memory, 0);
    kw_config *config = kw_test_config_new(&memory->allocator);
    assert_int_equal(kw_config_set_uri(config, NULL, kw_test_cluster_uri(cluster)), KW_OK);
    kw_client *kw = kw_open_config(config, NULL);
    kw_config_free(config);
    assert_int_equal(kw_refresh(kw, NULL, 0), KW_OK); /* no connections yet */
    memory->fail_at = fail_at > 0 ? kw_test_memory_calls(memory) + fail_at : 0;
    kw_error error = KW_ERROR_INIT;
    kw_session *session = kw_session_open(kw, &error, "{mem}", 5);
    bool is_good = session != NULL;
    static char large[2000];
    memset(large, 'v', sizeof(large) - 1);
    const char *commands[] = {"WATCH {mem}:%d", "MULTI", "SET {mem}:%d %s", "EXEC", "GET {mem}:%d"};
    for (size_t i = 0; is_good && i < 5; i++) {
        kw_reply *reply = kw_session_command(session, &error, commands[i], 1, large);
        is_good = reply != NULL;
        kw_reply_free(reply);
    }
    assert_true(is_good || error.code == KW_ERR_NOMEM || error.code == KW_ERR_CLOSED);
    assert_true(session != NULL || error.effect == KW_EFFECT_NONE);
    kw_session_close(session);
    bool has_failed = fail_at > 0 && kw_test_memory_calls(memory) >= memory->fail_at;
    assert_true(is_good || has_failed);
    memory->fail_at = 0;
    kw_reply *reply = kw_command(kw, NULL, "SET {mem}:2 x");
    assert_string_equal(kw_reply_str(reply, NULL), "OK");
    kw_reply_free(reply);
    kw_close(kw);
    assert_int_equal(kw_test_memory_live(memory), 0);
    return has_failed;
}

static void test_session_without_memory_leaks_nothing(void **state)
{
    (void)state;
    kw_test_memory memory;
    kw_test_cluster *cluster = kw_test_cluster_start(3, 0, 2000, NULL);
    assert_false(run_without_memory(cluster, &memory, 0));
    unsigned long failed_n = 0;
    while (run_without_memory(cluster, &memory, failed_n + 1)) {
        failed_n++;
        assert_in_range(failed_n, 1, 200);
    }
    assert_in_range(failed_n, 5, 200);
    kw_test_cluster_free(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_killed_connection_breaks_what_was_bound_to_it),
        cmocka_unit_test(test_session_late_answers_break_it_with_the_right_effect),
        cmocka_unit_test(test_session_unclean_connections_do_not_come_back),
        cmocka_unit_test(test_session_takes_one_of_the_pool),
        cmocka_unit_test(test_session_call_is_woken_by_kw_close),
        cmocka_unit_test(test_session_stays_with_the_parent_after_fork),
        cmocka_unit_test(test_session_without_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

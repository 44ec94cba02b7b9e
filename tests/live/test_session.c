/* Sessions on a real cluster and a real single server: transactions, what is refused,
 * slots that move, connections that are lost, and what the pool gets back. KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/cluster.h"

static kw_test_cluster *cluster;
static kw_test_server *server;

static int set_up(void **state)
{
    (void)state;
    cluster = kw_test_cluster_start(3, 0, 2000, NULL);
    server = kw_test_server_start(NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kw_test_server_free(server);
    kw_test_cluster_free(cluster);
    return 0;
}

static kw_session *open_session(kw_client *kw, const char *key)
{
    kw_error error = KW_ERROR_INIT;
    kw_session *session = kw_session_open(kw, &error, key, strlen(key));
    if (session == NULL) {
        fail_msg("%s: %s", kw_err_name(error.code), error.text);
    }
    return session;
}

static kw_reply *ask(kw_session *session, const char *format, va_list values)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_session_vcommand(session, &error, format, values);
    if (reply == NULL) {
        fail_msg("%s: %s: %s", format, kw_err_name(error.code), error.text);
    }
    return reply;
}

/* The reply must be this text (a string, a status, or the start of an error). */
static void is_text(kw_session *session, const char *text, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_reply *reply = ask(session, format, values);
    va_end(values);
    const char *got = kw_reply_str(reply, NULL);
    if (got == NULL || (kw_reply_is_error(reply) ? strncmp(got, text, strlen(text)) != 0
                                                 : strcmp(got, text) != 0)) {
        fail_msg("%s: \"%s\", not \"%s\"", format, got != NULL ? got : "(no text)", text);
    }
    kw_reply_free(reply);
}

static long long integer(kw_session *session, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_reply *reply = ask(session, format, values);
    va_end(values);
    assert_int_equal(kw_reply_type(reply), KW_REPLY_INTEGER);
    long long value = kw_reply_int(reply);
    kw_reply_free(reply);
    return value;
}

/* Number of EXEC's results; -1 for nil. */
static int exec(kw_session *session)
{
    kw_reply *reply = kw_session_command(session, NULL, "EXEC");
    assert_non_null(reply);
    assert_false(kw_reply_is_error(reply));
    int n = kw_reply_is_nil(reply) ? -1 : (int)kw_reply_count(reply);
    kw_reply_free(reply);
    return n;
}

static void fails(kw_session *session, kw_err code, kw_effect effect, const char *command)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_session_command(session, &error, command);
    assert_null(reply);
    if (error.code != code || error.effect != effect) {
        fail_msg("%s: %s, effect %s: %s", command, kw_err_name(error.code),
                 kw_effect_name(error.effect), error.text);
    }
}

static void run_transactions(kw_client *kw)
{
    kw_session *session = open_session(kw, "{tx}:n");
    kw_test_ask_ok(kw, "SET {tx}:n 1");
    is_text(session, "OK", "WATCH {tx}:n");
    is_text(session, "1", "GET {tx}:n");
    is_text(session, "OK", "MULTI");
    is_text(session, "QUEUED", "SET {tx}:n %d", 2);
    is_text(session, "QUEUED", "RPUSH {tx}:log %s", "to two");
    assert_int_equal(exec(session), 2);
    assert_int_equal(kw_test_ask_integer(kw, "INCR {tx}:n"), 3);

    is_text(session, "OK", "WATCH {tx}:n"); /* another client is faster */
    is_text(session, "3", "GET {tx}:n");
    assert_int_equal(kw_test_ask_integer(kw, "INCR {tx}:n"), 4);
    is_text(session, "OK", "MULTI");
    is_text(session, "QUEUED", "SET {tx}:n 99");
    assert_int_equal(exec(session), -1);
    is_text(session, "4", "GET {tx}:n");

    is_text(session, "OK", "MULTI"); /* a command that cannot be queued */
    is_text(session, "QUEUED", "SET {tx}:n 99");
    is_text(session, "ERR wrong number of arguments", "SET {tx}:n");
    is_text(session, "EXECABORT", "EXEC");
    is_text(session, "ERR EXEC without MULTI", "EXEC");

    is_text(session, "OK", "WATCH {tx}:n");
    is_text(session, "OK", "MULTI");
    is_text(session, "QUEUED", "SET {tx}:n 99");
    is_text(session, "OK", "DISCARD");
    is_text(session, "4", "GET {tx}:n");
    kw_session_close(session);
    assert_int_equal(kw_test_ask_integer(kw, "DEL {tx}:n {tx}:log"), 2);
}

static void test_session_transactions_on_a_cluster(void **state)
{
    (void)state;
    kw_client *kw = kw_test_open("%s", kw_test_cluster_uri(cluster));
    run_transactions(kw);
    kw_close(kw);
}

static void test_session_transactions_on_a_single_server(void **state)
{
    (void)state;
    kw_client *kw = kw_test_open("%s", kw_test_server_uri(server));
    run_transactions(kw);
    kw_session *session = open_session(kw, "a"); /* whatever the keys */
    is_text(session, "OK", "WATCH b c");
    is_text(session, "OK", "MULTI");
    is_text(session, "QUEUED", "MSET d 1 e 2");
    assert_int_equal(exec(session), 1);
    kw_session_close(session);
    kw_session_close(NULL);
    kw_stats stats = kw_test_stats(kw);
    assert_int_equal(stats.connects, 2); /* sessions that end clean give back what they had */
    assert_int_equal(stats.disconnects, 0);
    kw_close(kw);
}

static void test_session_keys_of_other_slots_are_refused_before_sending(void **state)
{
    (void)state;
    kw_client *kw = kw_test_open("%s", kw_test_cluster_uri(cluster));
    kw_session *session = open_session(kw, "{a}:1");
    kw_error error = KW_ERROR_INIT;
    char slots[2][32];
    snprintf(slots[0], sizeof(slots[0]), "slot %u", kw_slot("a", 1));
    snprintf(slots[1], sizeof(slots[1]), "slot %u", kw_slot("b", 1));
    is_text(session, "OK", "MULTI");
    const char *commands[] = {"GET b", "WATCH b", "MGET b b", "MSET {a}:1 x b y", "BLPOP b 1"};
    for (size_t i = 0; i < 5; i++) {
        assert_null(kw_session_command(session, &error, commands[i]));
        assert_int_equal(error.code, KW_ERR_CROSSSLOT);
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        assert_non_null(strstr(error.text, slots[0]));
        assert_non_null(strstr(error.text, slots[1]));
    }
    is_text(session, "QUEUED", "MSET {a}:1 x {a}:2 y");
    assert_int_equal(exec(session), 1); /* the server has heard nothing of them */
    fails(session, KW_ERR_KEYS, KW_EFFECT_NONE, "EVAL x many");
    kw_session_close(session);
    kw_close(kw);
}

static void test_session_commands_without_meaning_are_refused(void **state)
{
    (void)state;
    kw_client *kw = kw_test_open("%s", kw_test_server_uri(server));
    kw_session *session = open_session(kw, "a");
    const char *refused[] = {"SUBSCRIBE a",    "PSUBSCRIBE a", "SSUBSCRIBE a",     "UNSUBSCRIBE",
                             "PUNSUBSCRIBE",   "SUNSUBSCRIBE", "MONITOR",          "SYNC",
                             "PSYNC ? -1",     "HELLO 3",      "AUTH password",    "RESET",
                             "QUIT",           "reset",        "CLIENT REPLY OFF", "REPLCONF ACK 1",
                             "SCRIPT DEBUG NO"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        fails(session, KW_ERR_REFUSED, KW_EFFECT_NONE, refused[i]);
    }
    fails(session, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "");
    fails(NULL, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "PING");
    assert_null(kw_session_open(NULL, NULL, "a", 1));
    assert_null(kw_session_open(kw, NULL, NULL, 1));
    is_text(session, "PONG", "PING");
    is_text(session, "ERR unknown command", "NOSUCH a");
    assert_int_equal(integer(session, "WAIT 0 10"), 0);
    const char *argv[] = {"ECHO", "a\0b"};
    const size_t lens[] = {4, 3};
    kw_reply *reply = kw_session_command_argv(session, NULL, 2, argv, lens);
    size_t len;
    assert_memory_equal(kw_reply_str(reply, &len), "a\0b", 3);
    assert_int_equal(len, 3);
    kw_reply_free(reply);
    kw_session_close(session);
    kw_close(kw);
}

/* Where the slot is not. */
static kw_test_server *other_owner(unsigned slot)
{
    kw_test_server *owner = kw_test_cluster_owner(cluster, slot);
    return kw_test_cluster_node(cluster, owner == kw_test_cluster_node(cluster, 0) ? 1 : 0);
}

static void test_session_follows_its_slot_while_clean(void **state)
{
    (void)state;
    kw_client *kw = kw_test_open("%s", kw_test_cluster_uri(cluster));
    unsigned slot = kw_slot("clean", 5);
    kw_session *session = open_session(kw, "clean");
    is_text(session, "OK", "SET clean 1");
    assert_int_equal(integer(session, "WAIT 0 10"), 0);
    kw_test_server *to = other_owner(slot);
    kw_test_cluster_move(cluster, slot, slot, to);
    is_text(session, "OK", "WATCH clean");
    is_text(session, kw_test_cluster_id(cluster, to), "CLUSTER MYID");
    fails(session, KW_ERR_REFUSED, KW_EFFECT_NONE, "WAIT 0 10"); /* not of that write */
    is_text(session, "OK", "MULTI");
    is_text(session, "QUEUED", "INCR clean");
    assert_int_equal(exec(session), 1);
    assert_int_equal(integer(session, "WAIT 0 10"), 0);
    is_text(session, "2", "GET clean");
    kw_session_close(session);
    assert_int_equal(kw_test_stats(kw).disconnects, 0); /* both connections were given back */
    kw_close(kw);
}

static void test_session_slot_moving_in_multi_aborts_the_transaction(void **state)
{
    (void)state;
    kw_client *kw = kw_test_open("%s", kw_test_cluster_uri(cluster));
    unsigned slot = kw_slot("multi", 5);
    kw_test_ask_ok(kw, "SET multi 1");
    kw_session *session = open_session(kw, "multi");
    is_text(session, "OK", "WATCH multi");
    is_text(session, "OK", "MULTI");
    is_text(session, "QUEUED", "SET multi 2");
    kw_test_cluster_move(cluster, slot, slot, other_owner(slot));
    is_text(session, "MOVED", "SET multi 3");
    is_text(session, "MOVED", "EXEC"); /* for what was queued before */
    is_text(session, "1", "GET multi"); /* clean again, and where the slot is */

    is_text(session, "OK", "WATCH multi"); /* all that is queued was there before */
    is_text(session, "OK", "MULTI");
    is_text(session, "QUEUED", "SET multi 2");
    kw_test_cluster_move(cluster, slot, slot, other_owner(slot));
    is_text(session, "MOVED", "EXEC");
    is_text(session, "1", "GET multi");
    kw_session_close(session);
    kw_close(kw);
}

static void test_session_key_that_has_gone_ahead_is_read_but_not_watched(void **state)
{
    (void)state;
    kw_client *kw = kw_test_open("%s", kw_test_cluster_uri(cluster));
    unsigned slot = kw_slot("{ask}", 5);
    kw_test_server *to = other_owner(slot);
    kw_session *session = open_session(kw, "{ask}:a");
    is_text(session, "OK", "SET {ask}:a 1");
    kw_test_cluster_move_begin(cluster, slot, to);
    kw_test_cluster_move_keys(cluster, slot, to, 1);
    is_text(session, "1", "GET {ask}:a");
    is_text(session, "OK", "SET {ask}:b 2");
    fails(session, KW_ERR_REFUSED, KW_EFFECT_NONE, "WAIT 0 10");
    is_text(session, "ASK", "WATCH {ask}:a");
    is_text(session, "OK", "MULTI");
    is_text(session, "ASK", "SET {ask}:a 2");
    is_text(session, "EXECABORT", "EXEC");
    kw_test_cluster_move_end(cluster, slot, to);
    is_text(session, "OK", "WATCH {ask}:a {ask}:b");
    is_text(session, "2", "GET {ask}:b");
    kw_session_close(session);
    kw_close(kw);
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

static void *push_later(void *arg)
{
    kw_test_sleep_ms(400);
    kw_reply_free(kw_command(arg, NULL, "RPUSH {block}:list word"));
    return NULL;
}

static void test_session_blocking_commands_outlast_the_timeout(void **state)
{
    (void)state;
    kw_client *kw =
        kw_test_open("%s?timeout=200ms&stall-timeout=50ms", kw_test_cluster_uri(cluster));
    kw_session *session = open_session(kw, "{block}");
    pthread_t pusher;
    assert_int_equal(pthread_create(&pusher, NULL, push_later, kw), 0);
    kw_reply *reply = kw_session_command(session, NULL, "BLPOP {block}:list 5");
    assert_int_equal(kw_reply_count(reply), 2);
    kw_reply_free(reply);
    pthread_join(pusher, NULL);
    reply = kw_session_command(session, NULL, "BLPOP {block}:list 0.3");
    assert_true(kw_reply_is_nil(reply));
    kw_reply_free(reply);
    kw_session_close(session);
    kw_close(kw);
}

#define THREADS_N    8
#define INCREMENTS_N 40

static void *increment(void *arg)
{
    kw_session *session = open_session(arg, "many");
    for (int done_n = 0; done_n < INCREMENTS_N;) {
        is_text(session, "OK", "WATCH many");
        kw_reply *reply = kw_session_command(session, NULL, "GET many");
        assert_non_null(reply);
        long n = kw_reply_is_nil(reply) ? 0 : strtol(kw_reply_str(reply, NULL), NULL, 10);
        kw_reply_free(reply);
        is_text(session, "OK", "MULTI");
        is_text(session, "QUEUED", "SET many %ld", n + 1);
        done_n += exec(session) == 1;
    }
    kw_session_close(session);
    return NULL;
}

static void test_session_many_threads_lose_no_increment(void **state)
{
    (void)state;
    kw_client *kw = kw_test_open("%s?timeout=20s", kw_test_cluster_uri(cluster));
    pthread_t threads[THREADS_N];
    for (size_t i = 0; i < THREADS_N; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, increment, kw), 0);
    }
    for (size_t i = 0; i < THREADS_N; i++) {
        pthread_join(threads[i], NULL);
    }
    char *total = kw_test_ask_text(kw, "GET many");
    assert_int_equal(atoi(total), THREADS_N * INCREMENTS_N);
    free(total);
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
    assert_null(kw_command(kw, &error, "PING"));
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
    kw_test_sleep_ms(100);
    uint64_t start_ms = kw_test_now_ms();
    kw_close(kw);
    assert_in_range(kw_test_now_ms() - start_ms, 0, 500);
    pthread_join(thread, NULL);
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
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
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

/* One pass; true where nothing failed. */
static bool run_without_memory(kw_test_memory *memory, unsigned long fail_at)
{
    kw_test_memory_init(memory, 0);
    kw_config *config = kw_config_new(&memory->allocator);
    assert_int_equal(kw_config_set_uri(config, kw_test_cluster_uri(cluster), NULL), KW_OK);
    kw_client *kw = kw_open_config(config, NULL);
    kw_config_free(config);
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
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
    memory->fail_at = 0;
    kw_reply *reply = kw_command(kw, NULL, "SET {mem}:2 x");
    assert_string_equal(kw_reply_str(reply, NULL), "OK");
    kw_reply_free(reply);
    kw_close(kw);
    assert_int_equal(kw_test_memory_live(memory), 0);
    return is_good;
}

static void test_session_without_memory_leaks_nothing(void **state)
{
    (void)state;
    kw_test_memory memory;
    assert_true(run_without_memory(&memory, 0));
    unsigned long failed_n = 0;
    while (!run_without_memory(&memory, failed_n + 1)) {
        failed_n++;
        assert_in_range(failed_n, 1, 200);
    }
    assert_in_range(failed_n, 5, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_transactions_on_a_cluster),
        cmocka_unit_test(test_session_transactions_on_a_single_server),
        cmocka_unit_test(test_session_keys_of_other_slots_are_refused_before_sending),
        cmocka_unit_test(test_session_commands_without_meaning_are_refused),
        cmocka_unit_test(test_session_follows_its_slot_while_clean),
        cmocka_unit_test(test_session_slot_moving_in_multi_aborts_the_transaction),
        cmocka_unit_test(test_session_key_that_has_gone_ahead_is_read_but_not_watched),
        cmocka_unit_test(test_session_killed_connection_breaks_what_was_bound_to_it),
        cmocka_unit_test(test_session_late_answers_break_it_with_the_right_effect),
        cmocka_unit_test(test_session_unclean_connections_do_not_come_back),
        cmocka_unit_test(test_session_blocking_commands_outlast_the_timeout),
        cmocka_unit_test(test_session_many_threads_lose_no_increment),
        cmocka_unit_test(test_session_takes_one_of_the_pool),
        cmocka_unit_test(test_session_call_is_woken_by_kw_close),
        cmocka_unit_test(test_session_stays_with_the_parent_after_fork),
        cmocka_unit_test(test_session_without_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

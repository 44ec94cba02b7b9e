/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions on a real cluster and a real single server: transactions, what is refused, and
 * slots that move. KW_TEST_FAST */
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

#include "live/session_ask.h"
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
    fails(session, KW_ERR_ORDER, KW_EFFECT_NONE, "EXEC"); /* half of it would run */
    is_text(session, "OK", "MULTI");                      /* the server has heard nothing of them */
    is_text(session, "QUEUED", "MSET {a}:1 x {a}:2 y");
    assert_int_equal(exec(session), 1);
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
    is_either(session, "MOVED", "EXECABORT", "EXEC"); /* Redis; Valkey, for the SET refused */
    is_text(session, "1", "GET multi");               /* clean again, and where the slot is */

    is_text(session, "OK", "WATCH multi"); /* all that is queued was there before */
    is_text(session, "OK", "MULTI");
    is_text(session, "QUEUED", "SET multi 2");
    kw_test_cluster_move(cluster, slot, slot, other_owner(slot));
    kw_reply *reply = kw_session_command(session, NULL, "EXEC");
    assert_true(has_text(reply, "MOVED") ||
                kw_reply_is_nil(reply)); /* Valkey 9.1: the watch tells */
    kw_reply_free(reply);
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
    is_either(session, "ASK", "QUEUED", "SET {ask}:a 2"); /* Valkey 9.1 queues it */
    is_either(session, "EXECABORT", "ASK", "EXEC");       /* nothing has run, either way */
    is_text(session, "1", "GET {ask}:a");
    kw_test_cluster_move_end(cluster, slot, to);
    is_text(session, "OK", "WATCH {ask}:a {ask}:b");
    is_text(session, "2", "GET {ask}:b");
    kw_session_close(session);
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
    kw_test_join(pusher);
    reply = kw_session_command(session, NULL, "BLPOP {block}:list 0.3");
    assert_true(kw_reply_is_nil(reply));
    kw_reply_free(reply);
    kw_session_close(session);
    kw_close(kw);
}

#define THREADS_N    8
#define INCREMENTS_N 300

/* A reply of any kind; the session must hold. */
static kw_reply *reply_to(kw_session *session, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_reply *reply = ask(session, format, values);
    va_end(values);
    return reply;
}

/* One try; true where EXEC has run. Errors of a slot that moves are part of it. */
static bool try_increment(kw_session *session)
{
    kw_reply *reply = reply_to(session, "WATCH many");
    bool is_watched = !kw_reply_is_error(reply);
    kw_reply_free(reply);
    if (!is_watched) {
        return false; /* the key has gone ahead of its slot */
    }
    reply = reply_to(session, "GET many");
    bool is_read = !kw_reply_is_error(reply);
    const char *text = kw_reply_str(reply, NULL);
    long n = is_read && text != NULL ? strtol(text, NULL, 10) : 0;
    kw_reply_free(reply);
    if (!is_read) {
        kw_reply_free(reply_to(session, "UNWATCH"));
        return false;
    }
    kw_reply_free(reply_to(session, "MULTI"));
    kw_reply_free(reply_to(session, "SET many %ld", n + 1));
    reply = reply_to(session, "EXEC");
    bool is_done = kw_reply_count(reply) == 1;
    kw_reply_free(reply);
    return is_done;
}

/* Threads that count in one key. */
typedef struct counters {
    kw_client *client;
    atomic_bool is_over;
    atomic_int done_n;
} counters;

static void *increment(void *arg)
{
    counters *it = arg;
    kw_session *session = open_session(it->client, "many");
    KW_TEST_UNTIL(atomic_load(&it->is_over) && atomic_load(&it->done_n) >= INCREMENTS_N)
    {
        atomic_fetch_add(&it->done_n, try_increment(session) ? 1 : 0);
    }
    kw_session_close(session);
    return NULL;
}

static void count_together(unsigned moves_n)
{
    counters it = {kw_test_open("%s?timeout=20s", kw_test_cluster_uri(cluster)), false, 0};
    kw_test_ask_ok(it.client, "SET many 0");
    pthread_t threads[THREADS_N];
    for (size_t i = 0; i < THREADS_N; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, increment, &it), 0);
    }
    for (unsigned i = 0; i < moves_n; i++) {
        unsigned slot = kw_slot("many", 4);
        kw_test_cluster_move(cluster, slot, slot, other_owner(slot));
        kw_test_cluster_wait(cluster, 60000);
        kw_test_sleep_ms(400); /* the nodes agree on the new owner's epoch, too */
    }
    atomic_store(&it.is_over, true);
    for (size_t i = 0; i < THREADS_N; i++) {
        kw_test_join(threads[i]);
    }
    char *total = kw_test_ask_text(it.client, "GET many");
    assert_int_equal(atoi(total), atomic_load(&it.done_n));
    free(total);
    kw_close(it.client);
}

static void test_session_many_threads_lose_no_increment(void **state)
{
    (void)state;
    count_together(0);
}

static void test_session_many_threads_lose_none_while_their_slot_moves(void **state)
{
    (void)state;
    count_together(5);
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
        cmocka_unit_test(test_session_blocking_commands_outlast_the_timeout),
        cmocka_unit_test(test_session_many_threads_lose_no_increment),
        cmocka_unit_test(test_session_many_threads_lose_none_while_their_slot_moves),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Databases of a real cluster (Valkey 9, cluster-databases): whatever way a command goes, it runs
 * in the handle's, or in its session's, also where a slot moves and a primary dies; and a cluster
 * that has one database says so at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "route/slot.h"
#include "support/ask.h"
#include "support/check.h"
#include "support/cluster.h"
#include "support/turn.h"
#include "support/ways.h"

#define ENOUGH_MS 60000

/* Of keyspace events. */
#define SET_IN_3 "__keyevent@3__:set"

static kw_test_cluster *cluster; /* NULL: the server has one database in a cluster */
static kw_client *kw;            /* its commands are in database 3 */
static kw_client *plain;         /* and of this one in 0 */

static bool has_databases(void)
{
    kw_test_server *server = kw_test_server_start(NULL);
    kw_client *client = kw_test_open("%s", kw_test_server_uri(server));
    kw_reply *reply = kw_test_ask(client, "CONFIG GET cluster-databases");
    bool has_any = kw_reply_count(reply) == 2;
    kw_reply_free(reply);
    kw_close(client);
    kw_test_server_free(server);
    return has_any;
}

static kw_client *open_at(const char *options)
{
    return kw_test_open("%s?%s", kw_test_cluster_uri(cluster), options);
}

static int set_up(void **state)
{
    (void)state;
    if (!has_databases()) {
        print_message("the server has one database in a cluster: not tested with more\n");
        return 0;
    }
    cluster = kw_test_cluster_start(
        3, 1, 1500, "save \"\"\ncluster-databases 16\nnotify-keyspace-events KEA\n");
    kw = open_at("timeout=20s&db=3");
    plain = open_at("timeout=20s");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kw_close(kw);
    kw_close(plain);
    kw_test_cluster_free(cluster);
    return 0;
}

static void need_databases(void)
{
    if (cluster == NULL) {
        skip();
    }
}

static kw_test_server *owner_of(const char *key)
{
    return kw_test_cluster_owner(cluster, kw_slot_of(key, strlen(key)));
}

/* The key is there in database 3 alone, with that number. */
static void expect_in_3(const char *key, long long number)
{
    assert_int_equal(kw_test_ask_integer(kw, "INCRBY %s 0", key), number);
    assert_int_equal(kw_test_ask_integer(plain, "EXISTS %s", key), 0);
}

static void expect_text(kw_client *client, const char *key, const char *expected)
{
    char *text = kw_test_ask_text(client, "GET %s", key);
    assert_string_equal(text, expected);
    free(text);
}

/* INCR by all ways of sending, each of which is to be answered. */
static void count_by_all_ways(const char *key)
{
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        kw_test_end end = kw_test_send(kw, (kw_test_way)way, "INCR", key);
        if (!end.is_answered) {
            fail_msg("%s, %s: %s", key, kw_test_way_name((kw_test_way)way), end.error.text);
        }
    }
}

static void test_databases_of_a_real_cluster_are_kept_in_all_ways(void **state)
{
    (void)state;
    need_databases();
    static const char *const keys[] = {"foo", "bar", "abc"}; /* on three nodes */
    for (size_t i = 0; i < 3; i++) {
        count_by_all_ways(keys[i]);
        expect_in_3(keys[i], KW_TEST_WAYS_N);
    }
    /* Split over slots; in a batch; whole, in a transaction; by a script. */
    kw_test_ask_ok(kw, "MSET one 1 two 1 three 1");
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_equal(kw_batch_add(batch, NULL, "INCR one"), KW_OK);
    assert_int_equal(kw_batch_add(batch, NULL, "INCR two"), KW_OK);
    assert_int_equal(kw_batch_run(batch, NULL, 0), KW_OK);
    kw_batch_free(batch);
    kw_transaction *transaction = kw_transaction_new(kw, NULL);
    assert_int_equal(kw_transaction_add(transaction, NULL, "INCR one"), KW_OK);
    assert_int_equal(kw_transaction_add(transaction, NULL, "INCR one"), KW_OK);
    kw_reply *reply = kw_transaction_run(transaction, NULL, NULL);
    assert_int_equal(kw_reply_count(reply), 2);
    kw_reply_free(reply);
    kw_transaction_free(transaction);
    static const char text[] = "return redis.call('INCR', KEYS[1])";
    kw_script *script = kw_script_new(NULL, NULL, KW_SCRIPT_WRITES, text, sizeof(text) - 1);
    reply = kw_script_run(kw, NULL, script, 1, "three");
    assert_int_equal(kw_reply_int(reply), 2);
    kw_reply_free(reply);
    kw_script_free(script);
    expect_in_3("one", 4);
    expect_in_3("two", 2);
    expect_in_3("three", 2);
    assert_int_equal(kw_test_ask_integer(plain, "EXISTS one two three foo bar abc"), 0);
}

static size_t count_keys(kw_client *client)
{
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    options.match = "walked:*";
    options.match_len = 8;
    kw_scan *scan = kw_scan_open(client, NULL, &options);
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    kw_error error = KW_ERROR_INIT;
    size_t n = 0;
    do {
        if (kw_scan_next(scan, &error, &batch) != KW_OK) {
            fail_msg("%s", error.text);
        }
        n += batch.count;
    } while (!batch.is_end);
    kw_scan_close(scan);
    return n;
}

static void test_databases_are_walked_and_cached_alone(void **state)
{
    (void)state;
    need_databases();
    for (int i = 0; i < 30; i++) {
        kw_test_ask_ok(kw, "SET walked:%d v", i);
    }
    for (int i = 0; i < 5; i++) {
        kw_test_ask_ok(plain, "SET walked:%d v", i);
    }
    assert_int_equal(count_keys(kw), 30);
    assert_int_equal(count_keys(plain), 5);
    kw_cache *cache = kw_cache_open(kw, NULL, NULL);
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    assert_int_equal(kw_cache_put(cache, NULL, kw_cache_text("cached"), kw_cache_text("v")), KW_OK);
    assert_int_equal(kw_cache_get(cache, NULL, &value, kw_cache_text("cached")), KW_OK);
    assert_int_equal(value.len, 1);
    kw_cache_release(&value);
    kw_cache_close(cache);
    assert_int_equal(kw_test_ask_integer(plain, "EXISTS cached"), 0);
}

/* Messages of the node are taken until its event of the key has come. */
static void await_event(kw_subscriber *subscriber, const char *key)
{
    bool is_heard = false;
    KW_TEST_UNTIL(is_heard)
    {
        kw_error error = KW_ERROR_INIT;
        kw_test_ask_ok(plain, "SET %s v", key); /* nobody is to hear of it */
        kw_test_ask_ok(kw, "SET %s v", key);
        kw_message *message;
        while (!is_heard && (message = kw_subscriber_take(subscriber, &error, 200)) != NULL) {
            if (kw_message_type(message) == KW_MESSAGE_PATTERN) {
                assert_string_equal(kw_message_channel(message, NULL), SET_IN_3);
                is_heard = strcmp(kw_message_bytes(message, NULL), key) == 0;
            }
            kw_message_free(message);
        }
    }
}

static void test_databases_have_keyspace_events_of_their_own(void **state)
{
    (void)state;
    need_databases();
    kw_subscriber *subscriber = kw_subscriber_open(kw, NULL, NULL);
    assert_int_equal(
        kw_subscribe_nodes(subscriber, NULL, KW_AT_PRIMARIES, SET_IN_3, strlen(SET_IN_3)), KW_OK);
    assert_int_equal(kw_subscriber_wait(subscriber, NULL, 0), KW_OK);
    await_event(subscriber, "foo{foo}");
    await_event(subscriber, "bar{bar}");
    await_event(subscriber, "abc{abc}");
    kw_subscriber_close(subscriber);
}

static void test_databases_are_read_from_replicas(void **state)
{
    (void)state;
    need_databases();
    kw_client *reader = open_at("timeout=20s&db=3&read-preference=replica");
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.acks = 1;
    options.acks_timeout_ms = 10000;
    const char *argv[] = {"SET", "copied", "in 3"};
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_call(kw, &error, &options, (kw_argv){3, argv, NULL});
    assert_non_null(reply);
    assert_int_equal(error.code, KW_OK);
    kw_reply_free(reply);
    kw_test_server *replica = kw_test_cluster_replica(cluster, owner_of("copied"));
    long long before_n = kw_test_server_info(replica, "keyspace_hits");
    for (int i = 0; i < 10; i++) {
        expect_text(reader, "copied", "in 3");
    }
    assert_int_equal(kw_test_server_info(replica, "keyspace_hits") - before_n, 10);
    kw_close(reader);
}

static void expect_in_session(kw_session *session, const char *text)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_session_command(session, &error, "GET moved");
    if (reply == NULL || strcmp(kw_reply_text(reply, "(nil)"), text) != 0) {
        fail_msg("not %s: %s %s", text, error.text, kw_reply_text(reply, ""));
    }
    kw_reply_free(reply);
}

/* The slot goes to another primary, with the keys of all databases. */
static void move_slot(const char *key)
{
    unsigned slot = kw_slot_of(key, strlen(key));
    kw_test_server *old = kw_test_cluster_owner(cluster, slot);
    kw_test_server *to = old;
    for (unsigned i = 1; to == old; i++) {
        to = kw_test_cluster_owner(cluster, (slot + i * (KW_TEST_SLOTS / 3)) % KW_TEST_SLOTS);
    }
    kw_test_server_ok(old, "CLUSTER MIGRATESLOTS SLOTSRANGE %u %u NODE %s", slot, slot,
                      kw_test_cluster_id(cluster, to));
    assert_ptr_equal(kw_test_cluster_wait_owner(cluster, slot, old, ENOUGH_MS), to);
}

static void on_get(kw_client *client, kw_async_session *session, const char *text)
{
    kw_test_answer answer = {0};
    kw_callback callback = {kw_test_on_reply, &answer};
    assert_int_equal(kw_async_session_command(session, NULL, callback, "GET moved"), KW_OK);
    assert_true(kw_test_turns(client, &answer, 1, ENOUGH_MS));
    if (answer.reply == NULL || strcmp(kw_reply_text(answer.reply, "(nil)"), text) != 0) {
        fail_msg("not %s: %s %s", text, answer.error.text, kw_reply_text(answer.reply, ""));
    }
    kw_test_answer_clear(&answer);
}

/* SELECT in sessions, by calls and by callbacks, and the handle's own database. */
static void test_databases_are_kept_where_a_slot_moves(void **state)
{
    (void)state;
    need_databases();
    kw_test_ask_ok(plain, "SET moved 0");
    kw_test_ask_ok(kw, "SET moved 3");
    kw_session *session = kw_session_open(kw, NULL, "moved", 5);
    expect_in_session(session, "3");
    kw_reply_free(kw_session_command(session, NULL, "SELECT 5"));
    kw_reply_free(kw_session_command(session, NULL, "SET moved 5"));
    expect_in_session(session, "5");
    kw_async_session *loop_session = kw_async_session_open(kw, NULL, "moved", 5);
    on_get(kw, loop_session, "3");
    for (int round = 0; round < 2; round++) {
        move_slot("moved");
        expect_in_session(session, "5");
        on_get(kw, loop_session, "3");
        for (int i = 0; i < 3; i++) {
            expect_text(kw, "moved", "3");
            expect_text(plain, "moved", "0");
        }
    }
    kw_session_close(session);
    kw_async_session_close(loop_session);
    count_by_all_ways("moved");
    expect_text(plain, "moved", "0");
    assert_int_equal(kw_test_ask_integer(kw, "INCRBY moved 0"), 3 + KW_TEST_WAYS_N);
}

static void test_databases_are_kept_through_failovers(void **state)
{
    (void)state;
    need_databases();
    kw_test_server *old = owner_of("kept");
    count_by_all_ways("kept");
    kw_test_cluster_failover(cluster, kw_test_cluster_replica(cluster, old));
    count_by_all_ways("kept");
    expect_in_3("kept", 2 * KW_TEST_WAYS_N);
    /* Another shard, whose primary dies. */
    kw_test_server *dead = owner_of("foo");
    assert_ptr_not_equal(dead, owner_of("kept"));
    kw_session *session = kw_session_open(kw, NULL, "foo", 3);
    kw_reply_free(kw_session_command(session, NULL, "SELECT 7"));
    kw_test_server_kill(dead);
    assert_non_null(kw_test_cluster_wait_owner(cluster, kw_slot_of("foo", 3), dead, ENOUGH_MS));
    count_by_all_ways("n{foo}");
    expect_in_3("n{foo}", KW_TEST_WAYS_N);
    kw_session_close(session);
    kw_test_server_restart(dead);
    kw_test_cluster_wait(cluster, ENOUGH_MS);
}

/* As the server is without the setting: by all ways, each a handle of its own. */
static void test_a_cluster_with_one_database_says_so_at_once(void **state)
{
    (void)state;
    kw_test_cluster *single = kw_test_cluster_start(3, 0, 1500, "save \"\"\n");
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        kw_client *client = kw_test_open("%s?timeout=60s&db=3", kw_test_cluster_uri(single));
        kw_test_end end = kw_test_send(client, (kw_test_way)way, "INCR", "foo");
        bool is_told = end.error.code == KW_ERR_HANDSHAKE && end.error.effect == KW_EFFECT_NONE &&
                       strstr(end.error.text, "cluster-databases") != NULL;
        if (end.is_answered || !is_told) {
            fail_msg("%s: %s %s", kw_test_way_name((kw_test_way)way), kw_err_name(end.error.code),
                     end.error.text);
        }
        assert_in_range(end.took_us / 1000, 0, 30000);
        kw_close(client);
    }
    kw_test_cluster_free(single);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_databases_of_a_real_cluster_are_kept_in_all_ways),
        cmocka_unit_test(test_databases_are_walked_and_cached_alone),
        cmocka_unit_test(test_databases_have_keyspace_events_of_their_own),
        cmocka_unit_test(test_databases_are_read_from_replicas),
        cmocka_unit_test(test_databases_are_kept_where_a_slot_moves),
        cmocka_unit_test(test_databases_are_kept_through_failovers),
        cmocka_unit_test(test_a_cluster_with_one_database_says_so_at_once),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

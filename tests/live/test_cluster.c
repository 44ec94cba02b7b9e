/* SPDX-License-Identifier: BSD-3-Clause */
/* The blocking client on a real cluster of three primaries and three replicas. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hiredis.h>
#include <keyway/submit.h>
#include <keyway/slot.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/cluster.h"

typedef struct stage {
    kw_test_cluster *cluster;
    kw_client *client;
} stage;

static kw_test_server *node(const stage *it, size_t index)
{
    return kw_test_cluster_node(it->cluster, index);
}

static void assert_slot_node(stage *it, unsigned slot, const kw_test_server *owner)
{
    char name[64];
    assert_int_equal(kw_client_slot_node(it->client, NULL, name, sizeof(name), slot), KW_OK);
    assert_string_equal(name, kw_test_server_address(owner));
}

/* Makes key "k<number>" with the first number whose slot is in first .. last; the slot. */
static unsigned key_in(char key[16], unsigned first, unsigned last)
{
    for (unsigned i = 0;; i++) {
        snprintf(key, 16, "k%u", i);
        unsigned slot = kw_slot(key, strlen(key));
        if (slot >= first && slot <= last) {
            return slot;
        }
    }
}

static void assert_text(stage *it, const char *expected, const char *key)
{
    char *text = kw_test_ask_text(it->client, "GET %s", key);
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

static void test_keys_go_to_their_owners(void **state)
{
    stage *it = *state;
    long long sizes = 0;
    kw_stats before = kw_test_stats(it->client);
    for (unsigned i = 0; i < 3000; i++) {
        kw_test_ask_ok(it->client, "SET key:%u %u", i, i);
    }
    kw_stats after = kw_test_stats(it->client);
    assert_int_equal(after.moved, before.moved);
    assert_int_equal(after.commands - before.commands, 3000);
    assert_int_equal(after.failures, before.failures);
    for (unsigned i = 0; i < 3; i++) {
        long long size = kw_test_server_integer(node(it, i), "DBSIZE");
        assert_true(size > 700);
        sizes += size;
    }
    assert_int_equal(sizes, 3000);
    for (unsigned i = 0; i < 200; i++) {
        char key[20];
        snprintf(key, sizeof(key), "key:%u", i * 15);
        unsigned slot = kw_slot(key, strlen(key));
        assert_int_equal(slot, kw_test_server_integer(node(it, 0), "CLUSTER KEYSLOT %s", key));
        kw_test_server *owner = node(it, slot <= 5460 ? 0 : slot <= 10922 ? 1 : 2);
        assert_int_equal(kw_test_server_integer(owner, "EXISTS %s", key), 1);
        assert_slot_node(it, slot, owner);
    }
}

static void test_mget_under_one_tag_is_one_send(void **state)
{
    stage *it = *state;
    kw_test_ask_ok(it->client, "MSET user:{123}:profile a user:{123}:settings b");
    kw_stats before = kw_test_stats(it->client);
    kw_reply *reply =
        kw_test_ask(it->client, "MGET user:{123}:profile user:{123}:settings user:{123}:friends");
    kw_stats after = kw_test_stats(it->client);
    assert_int_equal(kw_reply_count(reply), 3);
    assert_string_equal(kw_reply_str(kw_reply_at(reply, 0), NULL), "a");
    assert_string_equal(kw_reply_str(kw_reply_at(reply, 1), NULL), "b");
    assert_true(kw_reply_is_nil(kw_reply_at(reply, 2)));
    kw_reply_free(reply);
    assert_int_equal(after.commands - before.commands, 1);
    assert_int_equal(after.moved, before.moved);
}

static void test_keys_in_two_slots_are_refused_before_sending(void **state)
{
    stage *it = *state;
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(it->client, &error, "SINTER user:{1}:a user:{2}:a"));
    assert_int_equal(error.code, KW_ERR_CROSSSLOT);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_int_equal(error.attempts, 0);
    assert_non_null(strstr(error.text, "9842"));
    assert_non_null(strstr(error.text, "5649"));
}

static void test_moved_slot_is_followed_and_patched_with_one_refresh(void **state)
{
    stage *it = *state;
    char key[16];
    unsigned slot = key_in(key, 100, 5000);
    kw_test_ask_ok(it->client, "SET %s before", key);
    kw_test_sleep_ms(150); /* whatever was wanted before is fetched by the next calls */
    kw_test_ask_ok(it->client, "SET %s before", key);
    kw_stats before = kw_test_stats(it->client);
    kw_test_cluster_move(it->cluster, slot, slot, node(it, 1));
    kw_test_cluster_wait(it->cluster, 60000);
    assert_text(it, "before", key);
    kw_stats after = kw_test_stats(it->client);
    assert_int_equal(after.moved - before.moved, 1);
    assert_slot_node(it, slot, node(it, 1));
    assert_slot_node(it, slot == 100 ? 101 : slot - 1, node(it, 0));
    for (unsigned i = 0; i < 300; i++) {
        assert_text(it, "before", key);
        kw_test_sleep_ms(1);
    }
    after = kw_test_stats(it->client);
    assert_int_equal(after.moved - before.moved, 1);
    assert_int_equal(after.refreshes - before.refreshes, 1);
    kw_test_cluster_move(it->cluster, slot, slot, node(it, 0));
    kw_test_cluster_wait(it->cluster, 60000);
    assert_text(it, "before", key);
}

static void test_ask_is_followed_and_leaves_the_map_alone(void **state)
{
    stage *it = *state;
    char key[16];
    unsigned slot = key_in(key, 6000, 10000);
    kw_test_ask_ok(it->client, "SET %s old", key);
    kw_test_cluster_move_begin(it->cluster, slot, node(it, 2));
    assert_text(it, "old", key); /* still at the source */
    kw_stats before = kw_test_stats(it->client);
    kw_test_cluster_move_keys(it->cluster, slot, node(it, 2), 100);
    assert_text(it, "old", key); /* ASK */
    kw_test_ask_ok(it->client, "SET %s new", key);
    kw_test_ask_ok(it->client, "SET {%s}:second 2", key);
    kw_stats after = kw_test_stats(it->client);
    assert_int_equal(after.ask - before.ask, 3);
    assert_int_equal(after.moved, before.moved);
    assert_slot_node(it, slot, node(it, 1));
    kw_test_cluster_move_end(it->cluster, slot, node(it, 2));
    kw_test_cluster_wait(it->cluster, 60000);
    assert_text(it, "new", key);
    assert_int_equal(kw_test_server_integer(node(it, 2), "EXISTS {%s}:second", key), 1);
    kw_test_cluster_move(it->cluster, slot, slot, node(it, 1));
    kw_test_cluster_wait(it->cluster, 60000);
}

/* The rest of a slot's move, while a caller waits. */
typedef struct finish {
    stage *it;
    unsigned slot;
    kw_test_server *to;
} finish;

static void *finish_move(void *arg)
{
    finish *move = arg;
    kw_test_sleep_ms(200);
    kw_test_cluster_move_keys(move->it->cluster, move->slot, move->to, 100);
    kw_test_cluster_move_end(move->it->cluster, move->slot, move->to);
    return NULL;
}

static void test_tryagain_is_waited_out(void **state)
{
    stage *it = *state;
    pthread_t thread;
    finish move = {it, kw_slot("{t}", 3), node(it, 1)};
    kw_error error = KW_ERROR_INIT;
    assert_true(move.slot > 10922);
    kw_test_ask_ok(it->client, "MSET {t}:a 1 {t}:b 2 {t}:c 3");
    kw_test_cluster_move_begin(it->cluster, move.slot, move.to);
    assert_int_equal(kw_test_cluster_move_keys(it->cluster, move.slot, move.to, 1), 1);
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    const char *argv[] = {"MGET", "{t}:a", "{t}:b", "{t}:c"};
    options.timeout_ms = 100;
    assert_null(kw_call(it->client, &error, &options, (kw_argv){4, argv, NULL}));
    assert_int_equal(error.code, KW_ERR_TRY_AGAIN);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_true(error.attempts > 1);
    kw_stats before = kw_test_stats(it->client);
    pthread_create(&thread, NULL, finish_move, &move);
    kw_reply *reply = kw_test_ask(it->client, "MGET {t}:a {t}:b {t}:c");
    kw_test_join(thread);
    assert_int_equal(kw_reply_count(reply), 3);
    assert_string_equal(kw_reply_str(kw_reply_at(reply, 2), NULL), "3");
    kw_reply_free(reply);
    assert_true(kw_test_stats(it->client).waits > before.waits);
    kw_test_cluster_wait(it->cluster, 60000);
    kw_test_cluster_move(it->cluster, move.slot, move.slot, node(it, 2));
    kw_test_cluster_wait(it->cluster, 60000);
}

static void test_broadcasts_combine_over_the_primaries(void **state)
{
    stage *it = *state;
    kw_test_ask_ok(it->client, "FLUSHALL");
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(kw_test_server_integer(node(it, i), "DBSIZE"), 0);
    }
    for (unsigned i = 0; i < 60; i++) {
        kw_test_ask_ok(it->client, "SET b:%u x", i);
    }
    assert_int_equal(kw_test_ask_integer(it->client, "DBSIZE"), 60);
    kw_reply *keys = kw_test_ask(it->client, "KEYS b:*");
    assert_int_equal(kw_reply_count(keys), 60);
    kw_reply_free(keys);
    char *sha = kw_test_ask_text(it->client, "SCRIPT LOAD %s", "return redis.call('GET',KEYS[1])");
    for (unsigned i = 0; i < 3; i++) {
        redisReply *known = kw_test_server_command(node(it, i), "SCRIPT EXISTS %s", sha);
        assert_int_equal(known->element[0]->integer, 1);
        freeReplyObject(known);
    }
    char *value = kw_test_ask_text(it->client, "EVALSHA %s 1 b:7", sha);
    assert_string_equal(value, "x");
    free(value);
    free(sha);
    char *pong = kw_test_ask_text(it->client, "PING");
    assert_string_equal(pong, "PONG");
    free(pong);
}

static kw_reply *routed(stage *it, kw_error *error, const kw_call_options *options, int argc,
                        const char **argv)
{
    return kw_call(it->client, error, options, (kw_argv){argc, argv, NULL});
}

static void assert_port_of(stage *it, const kw_call_options *options, const kw_test_server *server)
{
    const char *argv[] = {"CONFIG", "GET", "port"};
    char port[8];
    kw_error error = KW_ERROR_INIT;
    snprintf(port, sizeof(port), "%u", kw_test_server_port(server));
    kw_reply *reply = routed(it, &error, options, 3, argv);
    assert_non_null(reply);
    assert_int_equal(kw_reply_count(reply), 2);
    assert_string_equal(kw_reply_str(kw_reply_at(reply, 1), NULL), port);
    kw_reply_free(reply);
}

static void test_routes_go_where_the_caller_says(void **state)
{
    stage *it = *state;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    kw_error error = KW_ERROR_INIT;
    options.route = KW_ROUTE_SLOT;
    options.slot = 12000;
    assert_port_of(it, &options, node(it, 2));
    options.route = KW_ROUTE_KEY;
    options.key = "\0{user}x"; /* slot 5474 */
    options.key_len = 8;
    assert_int_equal(kw_slot(options.key, options.key_len), 5474);
    assert_port_of(it, &options, node(it, 1));
    options.route = KW_ROUTE_NODE;
    options.node = kw_test_server_address(node(it, 4)); /* a replica */
    assert_port_of(it, &options, node(it, 4));
    options.node = "127.0.0.1:1";
    const char *dbsize[] = {"DBSIZE"};
    assert_null(routed(it, &error, &options, 1, dbsize));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    options.route = KW_ROUTE_ALL_PRIMARIES;
    kw_reply *reply = routed(it, &error, &options, 1, dbsize);
    assert_int_equal(kw_reply_int(reply), 60);
    kw_reply_free(reply);
    options.route = KW_ROUTE_SLOT;
    options.slot = 16384;
    assert_null(routed(it, &error, &options, 1, dbsize));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    options.route = KW_ROUTE_NODE; /* a redirect is the caller's to read */
    options.node = kw_test_server_address(node(it, 0));
    const char *get[] = {"GET", "{t}x"};
    reply = routed(it, &error, &options, 2, get);
    assert_true(kw_reply_is_error(reply));
    assert_memory_equal(kw_reply_str(reply, NULL), "MOVED ", 6);
    kw_reply_free(reply);
}

/* Until the deadline the map is asked for again and again, at the refresh's pace; a command whose
 * deadline is later runs once the slot has an owner. */
static void test_slot_without_owner_is_waited_for_until_the_deadline(void **state)
{
    stage *it = *state;
    char key[16];
    char name[64];
    kw_error error = KW_ERROR_INIT;
    unsigned slot = key_in(key, 200, 5000);
    kw_client *client = kw_test_open("%s?timeout=1500ms", kw_test_cluster_uri(it->cluster));
    kw_client *patient = kw_test_open("%s?timeout=60s", kw_test_cluster_uri(it->cluster));
    for (size_t i = 0; i < 6; i++) {
        kw_test_server_ok(node(it, i), "CLUSTER DELSLOTS %u", slot);
    }
    kw_test_sleep_ms(300);
    kw_ticket *ticket = kw_submit(patient, &error, "SET %s 1", key);
    assert_non_null(ticket);
    uint64_t start_ms = kw_test_now_ms();
    assert_null(kw_command(client, &error, "GET %s", key));
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    assert_int_equal(error.code, KW_ERR_NOT_SERVED);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_true(elapsed_ms >= 1500);
    assert_true(kw_test_stats(client).refreshes <= elapsed_ms / 100 + 2);
    assert_int_equal(kw_client_slot_node(client, &error, name, sizeof(name), slot),
                     KW_ERR_NOT_SERVED);
    kw_test_ask_ok(client, "SET {t}:other 1"); /* the others' keys do not notice */
    kw_test_server_ok(node(it, 0), "CLUSTER ADDSLOTS %u", slot);
    kw_reply *reply = kw_ticket_await(ticket, &error);
    assert_non_null(reply);
    assert_false(kw_reply_is_error(reply));
    kw_reply_free(reply);
    kw_ticket_free(ticket);
    kw_test_cluster_wait(it->cluster, 60000);
    kw_test_ask_ok(client, "SET %s 1", key);
    kw_close(patient);
    kw_close(client);
}

static void test_new_node_gets_its_first_slots(void **state)
{
    stage *it = *state;
    char key[16];
    unsigned slot = key_in(key, 0, 300);
    kw_test_ask_ok(it->client, "SET %s here", key);
    kw_test_server *added = kw_test_cluster_add(it->cluster);
    kw_test_cluster_wait(it->cluster, 60000);
    kw_test_cluster_move(it->cluster, slot, slot, added);
    assert_text(it, "here", key);
    assert_slot_node(it, slot, added);
    kw_test_cluster_wait(it->cluster, 60000);
    kw_test_sleep_ms(150);
    assert_text(it, "here", key);
    assert_int_equal(kw_test_ask_integer(it->client, "DBSIZE"), 63);
    kw_test_cluster_move(it->cluster, slot, slot, node(it, 0));
    kw_test_cluster_forget(it->cluster, added);
    kw_test_cluster_wait(it->cluster, 60000);
    assert_text(it, "here", key);
    assert_slot_node(it, slot, node(it, 0));
}

static void test_node_stats_name_every_node_and_all_slots(void **state)
{
    stage *it = *state;
    kw_node_stats stats = {.size = sizeof(stats)};
    uint64_t slots = 0;
    unsigned primaries_n = 0;
    size_t n = 0;
    for (; kw_client_node_stats(it->client, &stats, n) == KW_OK; n++) {
        slots += stats.slots;
        primaries_n += stats.is_primary;
        assert_true(strncmp(stats.node, "127.0.0.1:", 10) == 0);
        assert_true(!stats.is_primary || stats.sends > 0);
        assert_true(!stats.is_primary || stats.connections > 0);
    }
    assert_int_equal(slots, 16384);
    assert_int_equal(primaries_n, 3);
    assert_int_equal(n, kw_test_stats(it->client).nodes);
    assert_true(n >= 6);
}

/* The map is asked for on one of them. */
static void test_first_commands_need_a_connection_a_node(void **state)
{
    stage *it = *state;
    char uri[64];
    snprintf(uri, sizeof(uri), "redis-cluster://%s", kw_test_server_address(node(it, 1)));
    kw_client *client = kw_test_open("%s", uri);
    for (unsigned i = 0; i < 30; i++) {
        kw_test_ask_ok(client, "SET first:%u x", i);
    }
    kw_stats stats = kw_test_stats(client);
    assert_int_equal(stats.commands, 30);
    assert_int_equal(stats.moved, 0);
    assert_int_equal(stats.connects, 3);
    kw_close(client);
}

/* One step of Valkey 9.1's own scan of a cluster; how many keys it gave. */
static size_t scan_step(kw_client *client, char cursor[64], const char *options)
{
    kw_error error = KW_ERROR_INIT;
    char command[128];
    snprintf(command, sizeof(command), "CLUSTERSCAN %s %s", cursor, options);
    kw_reply *reply = kw_command(client, &error, command);
    if (kw_reply_count(reply) != 2) {
        fail_msg("%s: %s", command, reply != NULL ? kw_reply_str(reply, NULL) : error.text);
    }
    size_t n = kw_reply_count(kw_reply_at(reply, 1));
    snprintf(cursor, 64, "%s", kw_reply_str(kw_reply_at(reply, 0), NULL));
    kw_reply_free(reply);
    return n;
}

/* Its cursor has a hash tag of the slot where it is, by which each step goes to its owner. */
static void test_scan_by_the_servers_goes_by_its_cursor(void **state)
{
    stage *it = *state;
    if (!kw_test_server_has_version(9, 1)) {
        return;
    }
    enum { KEYS_N = 50 };
    kw_client *client = kw_test_open("%s?timeout=10s", kw_test_cluster_uri(it->cluster));
    unsigned slots_n = 0;
    size_t given_n = 0;
    char cursor[64] = "0";
    for (unsigned i = 0; i < KEYS_N; i++) {
        kw_test_ask_ok(client, "SET scanned:%u x", i);
    }
    do {
        given_n += scan_step(client, cursor, "MATCH scanned:* COUNT 1000");
        slots_n++;
    } while (strcmp(cursor, "0") != 0 && slots_n <= 2 * KW_SLOTS_N);
    assert_in_range(given_n, KEYS_N, 2 * KEYS_N);
    assert_int_equal(kw_test_stats(client).moved, 0);
    /* One slot of each third, of which two are another node's than that of "0". */
    for (unsigned i = 0; i < 3; i++) {
        char options[40];
        char key[16];
        snprintf(options, sizeof(options), "SLOT %u", key_in(key, i * 5500, i * 5500 + 5000));
        kw_test_ask_ok(client, "SET %s x", key);
        strcpy(cursor, "0");
        size_t n = 0;
        do {
            n += scan_step(client, cursor, options);
        } while (strcmp(cursor, "0") != 0);
        assert_true(n >= 1);
    }
    kw_close(client);
}

static int start_stage(void **state)
{
    static stage it; /* the program's only one */
    it.cluster = kw_test_cluster_start(3, 1, 1000,
                                       "cluster-require-full-coverage no\n"
                                       "cluster-allow-replica-migration no\n");
    it.client = kw_test_open("%s?timeout=5000ms", kw_test_cluster_uri(it.cluster));
    *state = &it;
    return 0;
}

static int end_stage(void **state)
{
    stage *it = *state;
    kw_close(it->client);
    kw_test_cluster_free(it->cluster);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_go_to_their_owners),
        cmocka_unit_test(test_mget_under_one_tag_is_one_send),
        cmocka_unit_test(test_keys_in_two_slots_are_refused_before_sending),
        cmocka_unit_test(test_moved_slot_is_followed_and_patched_with_one_refresh),
        cmocka_unit_test(test_ask_is_followed_and_leaves_the_map_alone),
        cmocka_unit_test(test_tryagain_is_waited_out),
        cmocka_unit_test(test_broadcasts_combine_over_the_primaries),
        cmocka_unit_test(test_routes_go_where_the_caller_says),
        cmocka_unit_test(test_slot_without_owner_is_waited_for_until_the_deadline),
        cmocka_unit_test(test_new_node_gets_its_first_slots),
        cmocka_unit_test(test_node_stats_name_every_node_and_all_slots),
        cmocka_unit_test(test_first_commands_need_a_connection_a_node),
        cmocka_unit_test(test_scan_by_the_servers_goes_by_its_cursor),
    };
    int failed = cmocka_run_group_tests(tests, start_stage, end_stage);
    kw_test_share_always();
    return failed + cmocka_run_group_tests_name("on lanes", tests, start_stage, end_stage);
}

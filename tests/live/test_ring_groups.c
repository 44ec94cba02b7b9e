/* SPDX-License-Identifier: BSD-3-Clause */
/* A Sentinel group as a node of a ring, beside two plain servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RING_SERVERS 2
#include "live/ring_servers.h"
#include "support/group.h"

#define KEYS 300

typedef struct stage {
    ring_servers *servers;
    kw_test_group *group;
    char member[300]; /* "c=...;service=mymaster" */
    kw_client *client;
} stage;

static int start_stage(void **state)
{
    static stage it; /* the program's only one */
    void *servers;
    char uri[800];
    ring_start(&servers);
    it.servers = servers;
    it.group = kw_test_group_start(2, NULL, NULL);
    kw_test_group_hasten(it.group);
    snprintf(it.member, sizeof(it.member), "c=%s;sentinel=%s;sentinel=%s;service=mymaster",
             kw_test_server_address(kw_test_group_sentinel(it.group, 0)),
             kw_test_server_address(kw_test_group_sentinel(it.group, 1)),
             kw_test_server_address(kw_test_group_sentinel(it.group, 2)));
    snprintf(uri, sizeof(uri), "redis-ring://a=%s,b=%s,%s?timeout=20s",
             kw_test_server_address(it.servers->servers[0]),
             kw_test_server_address(it.servers->servers[1]), it.member);
    it.client = kw_test_open("%s", uri);
    *state = &it;
    return 0;
}

static int end_stage(void **state)
{
    stage *it = *state;
    void *servers = it->servers;
    kw_close(it->client);
    kw_test_group_free(it->group);
    return ring_stop(&servers);
}

/* The name of the ring's node that owns the key. */
static char owner_of(kw_ring *ring, const char *key)
{
    uint32_t node;
    size_t len;
    assert_int_equal(kw_ring_lookup(ring, &node, key, strlen(key)), KW_OK);
    return kw_ring_node_name(ring, &len, node)[0];
}

/* A key that the group owns. */
static const char *key_of_group(kw_client *client)
{
    static char key[32];
    kw_ring *ring = kw_client_ring(client, NULL);
    for (int i = 0;; i++) {
        snprintf(key, sizeof(key), "mine:%d", i);
        if (owner_of(ring, key) == 'c') {
            break;
        }
    }
    kw_ring_unref(ring);
    return key;
}

static bool is_owner(stage *it, const kw_test_server *primary)
{
    char node[128];
    const char *key = key_of_group(it->client);
    assert_int_equal(kw_client_key_node(it->client, NULL, node, sizeof(node), key, strlen(key)),
                     KW_OK);
    return primary != NULL && strcmp(node, kw_test_server_address(primary)) == 0;
}

/* True where the group is in step, and the handle has written to its primary. */
static bool is_settled(stage *it)
{
    kw_test_group_wait(it->group, 60000);
    kw_reply *reply = kw_command(it->client, NULL, "SET %s kept", key_of_group(it->client));
    bool is_written = reply != NULL && !kw_reply_is_error(reply);
    kw_reply_free(reply);
    return is_written && is_owner(it, kw_test_group_primary(it->group));
}

/* A server that comes back may make the sentinels change their minds once more, and the handle
 * hears of it only while there are sentinels to ask. */
static void settle(stage *it)
{
    KW_TEST_AWAIT(is_settled(it))
}

static void test_keys_go_to_the_primary_of_the_group_by_its_name(void **state)
{
    stage *it = *state;
    kw_test_server *primary = kw_test_group_server(it->group, 0);
    long long expected[3] = {0, 0, 0};
    kw_ring *ring = kw_client_ring(it->client, NULL);
    assert_int_equal(kw_connect(it->client, NULL), KW_OK);
    for (int i = 0; i < KEYS; i++) {
        char key[32];
        snprintf(key, sizeof(key), "key:%d", i);
        kw_test_ask_ok(it->client, "SET %s %d", key, i);
        expected[owner_of(ring, key) - 'a']++;
    }
    kw_ring_unref(ring);
    assert_true(expected[2] > 0);
    assert_int_equal(kw_test_server_integer(it->servers->servers[0], "DBSIZE"), expected[0]);
    assert_int_equal(kw_test_server_integer(it->servers->servers[1], "DBSIZE"), expected[1]);
    assert_int_equal(kw_test_server_integer(primary, "DBSIZE"), expected[2]);
    assert_true(is_owner(it, primary));
    assert_int_equal(kw_test_stats(it->client).nodes, 5);
    kw_call_options options = {.size = sizeof(options), .route = KW_ROUTE_NODE, .node = "c"};
    const char *argv[] = {"DBSIZE"};
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_call(it->client, &error, &options, (kw_argv){1, argv, NULL});
    assert_non_null(reply);
    assert_int_equal(kw_reply_int(reply), expected[2]);
    kw_reply_free(reply);
}

static void test_reads_go_to_the_replicas_of_the_group(void **state)
{
    stage *it = *state;
    const char *key = key_of_group(it->client);
    kw_call_options options = {.size = sizeof(options), .read = KW_READ_REPLICA};
    const char *argv[] = {"GET", key};
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_call(it->client, &error, &options, (kw_argv){2, argv, NULL});
    if (reply == NULL) {
        fail_msg("%s", error.text);
    }
    kw_reply_free(reply);
    kw_node_stats stats = {.size = sizeof(stats)};
    bool is_asked = false;
    for (size_t i = 0; kw_client_node_stats(it->client, &stats, i) == KW_OK; i++) {
        is_asked = is_asked || (!stats.is_primary && stats.sends > 0);
    }
    assert_true(is_asked);
}

static void assert_nothing_moved(stage *it, kw_ring *before)
{
    kw_error error = KW_ERROR_INIT;
    kw_ring *after = kw_client_ring(it->client, &error);
    assert_int_equal(kw_ring_fingerprint(after), kw_ring_fingerprint(before));
    double fraction = 1;
    assert_int_equal(kw_ring_moved(before, &error, &fraction, after), KW_OK);
    assert_true(fraction == 0);
    kw_ring_unref(after);
}

/* A value that both replicas have: WAIT is about the writes of its own connection. */
static void keep(stage *it, const char *key)
{
    kw_error error = KW_ERROR_INIT;
    kw_session *session = kw_session_open(it->client, &error, key, strlen(key));
    assert_non_null(session);
    kw_reply_free(kw_session_command(session, &error, "SET %s kept", key));
    kw_reply *reached = kw_session_command(session, &error, "WAIT 2 10000");
    assert_non_null(reached);
    assert_int_equal(kw_reply_int(reached), 2);
    kw_reply_free(reached);
    kw_session_close(session);
}

static void test_failover_moves_no_key(void **state)
{
    stage *it = *state;
    kw_ring *ring = kw_client_ring(it->client, NULL);
    const char *key = key_of_group(it->client);
    keep(it, key);
    kw_test_server *old = kw_test_group_primary(it->group);
    uint64_t promoted_ns;
    kw_test_server_kill(old);
    for (int i = 0; i < KEYS; i++) { /* the others' keys go on meanwhile */
        char name[32];
        snprintf(name, sizeof(name), "key:%d", i);
        if (owner_of(ring, name) != 'c') {
            kw_test_ask_ok(it->client, "SET %s 1", name);
        }
    }
    kw_test_server *heir = kw_test_group_wait_promotion(it->group, old, &promoted_ns);
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(it->client, &error, "INCR {%s}:n", key);
    if (reply == NULL) {
        fail_msg("%s", error.text);
    }
    kw_reply_free(reply);
    uint64_t us = (kw_test_now_ns() - promoted_ns) / 1000;
    print_message("first answer %lu us after the promotion\n", (unsigned long)us);
    assert_true(us < 1500000 * KW_TEST_SLOWNESS);
    assert_true(is_owner(it, heir));
    char *text = kw_test_ask_text(it->client, "GET %s", key);
    assert_string_equal(text, "kept");
    free(text);
    assert_nothing_moved(it, ring);
    assert_int_equal(kw_test_stats(it->client).downs, 0);
    kw_ring_unref(ring);
    kw_test_server_restart(old);
    settle(it); /* the heir is primary, or the old one again */
}

/* While the group is without a primary, a call waits, and another member's is answered. */
static void test_stopped_primary_is_left(void **state)
{
    stage *it = *state;
    const char *key = key_of_group(it->client);
    kw_test_server *old = kw_test_group_primary(it->group);
    kw_test_server_pause(old);
    kw_reply *reply = NULL;
    kw_error error = KW_ERROR_INIT;
    uint64_t end_ms = kw_test_now_ms() + 20000;
    while (reply == NULL && kw_test_now_ms() < end_ms) { /* a read: it is sent again */
        reply = kw_command(it->client, &error, "GET %s", key);
    }
    if (reply == NULL) {
        fail_msg("%s", error.text);
    }
    kw_reply_free(reply);
    assert_true(kw_test_now_ms() < end_ms - 20000 + 15000);
    kw_test_server_resume(old);
    settle(it);
}

static void test_group_joins_and_leaves_by_commit(void **state)
{
    stage *it = *state;
    kw_error error = KW_ERROR_INIT;
    kw_client *client = ring_open(it->servers, "?timeout=20s");
    kw_test_ask_ok(client, "SET a 1");
    kw_members *members = kw_members_begin(client, &error);
    assert_int_equal(kw_members_add(members, &error, it->member), KW_OK);
    assert_int_equal(kw_members_set_server(members, &error, "c", 1, "h:1"), KW_ERR_ARGUMENT);
    assert_int_equal(kw_members_commit(members, &error), KW_OK);
    kw_ring *ring = kw_client_ring(client, &error);
    kw_ring *other = kw_client_ring(it->client, &error);
    assert_int_equal(kw_ring_fingerprint(ring), kw_ring_fingerprint(other));
    kw_ring_unref(ring);
    kw_ring_unref(other);
    const char *key = key_of_group(client);
    kw_test_ask_ok(client, "SET %s 1", key);
    assert_int_equal(kw_test_server_integer(kw_test_group_primary(it->group), "EXISTS %s", key), 1);
    /* A commit that knows no primary yet keeps the one that was found since. */
    assert_int_equal(kw_members_reweight(members, &error, "c", 1, 3), KW_OK);
    assert_int_equal(kw_members_commit(members, &error), KW_OK);
    char node[128];
    assert_int_equal(kw_client_key_node(client, &error, node, sizeof(node), key, strlen(key)),
                     KW_OK);
    assert_string_equal(node, kw_test_server_address(kw_test_group_primary(it->group)));
    assert_int_equal(kw_members_remove(members, &error, "c", 1), KW_OK);
    assert_int_equal(kw_members_commit(members, &error), KW_OK);
    (void)kw_test_server_integer(kw_test_group_primary(it->group), "DEL %s", key);
    kw_test_ask_ok(client, "SET %s 1", key);
    assert_int_equal(kw_test_server_integer(kw_test_group_primary(it->group), "EXISTS %s", key), 0);
    kw_members_free(members);
    kw_close(client);
}

static void test_group_keeps_its_primary_while_no_sentinel_answers(void **state)
{
    stage *it = *state;
    const char *key = key_of_group(it->client);
    for (size_t i = 0; i < KW_TEST_SENTINELS; i++) {
        kw_test_server_kill(kw_test_group_sentinel(it->group, i));
    }
    uint64_t end_ms = kw_test_now_ms() + 2500;
    while (kw_test_now_ms() < end_ms) {
        kw_test_ask_ok(it->client, "SET %s 2", key);
    }
    for (size_t i = 0; i < KW_TEST_SENTINELS; i++) {
        kw_test_server_restart(kw_test_group_sentinel(it->group, i));
    }
    settle(it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_go_to_the_primary_of_the_group_by_its_name),
        cmocka_unit_test(test_reads_go_to_the_replicas_of_the_group),
        cmocka_unit_test(test_failover_moves_no_key),
        cmocka_unit_test(test_group_joins_and_leaves_by_commit),
        cmocka_unit_test(test_stopped_primary_is_left),
        cmocka_unit_test(test_group_keeps_its_primary_while_no_sentinel_answers),
    };
    return cmocka_run_group_tests(tests, start_stage, end_stage);
}

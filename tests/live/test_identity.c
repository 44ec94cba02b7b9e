/* SPDX-License-Identifier: BSD-3-Clause */
/* Who answers, with real servers: strangers at addresses that were learnt get no command, and what
 * takes a place by right is followed: one after the other, and all at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "route/slot.h"
#include "support/ask.h"
#include "support/check.h"
#include "support/cluster.h"
#include "support/parts.h"
#include "support/ways.h"

#define ENOUGH_MS 60000

static void on_event(void *arg, const kw_event *event)
{
    unsigned *replaced_n = arg;
    *replaced_n += event->kind == KW_EVENT_CLUSTER_REPLACED ? 1 : 0;
}

/* A handle that counts in *replaced_n what it tells of servers that were replaced. */
static kw_client *open_counted(unsigned *replaced_n, const char *uri, const char *options)
{
    char whole[400];
    *replaced_n = 0;
    snprintf(whole, sizeof(whole), "%s?timeout=20s%s", uri, options);
    kw_config *config = kw_test_config_new(NULL);
    assert_int_equal(kw_config_set_uri(config, NULL, whole), KW_OK);
    kw_config_set_event(config, on_event, replaced_n);
    kw_client *kw = kw_open_config(config, NULL);
    assert_non_null(kw);
    kw_config_free(config);
    return kw;
}

static void expect_answer(kw_client *kw, int way, const char *key)
{
    kw_test_end end = kw_test_send(kw, (kw_test_way)way, "INCR", key);
    if (!end.is_answered) {
        fail_msg("%s: %s", kw_test_way_name((kw_test_way)way), end.error.text);
    }
}

/* At the server's address there is one that knows of no cluster, and has no data. */
static void replace(kw_test_server *server)
{
    static const char *const files[] = {"nodes.conf", "dump.rdb"};
    char path[600];
    kw_test_server_kill(server);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", kw_test_server_folder(server), files[i]);
        (void)unlink(path);
    }
    kw_test_server_restart(server);
}

static bool says(kw_test_server *server, const char *command, const char *text)
{
    char *said = kw_test_server_text(server, command);
    bool is_said = strstr(said, text) != NULL;
    free(said);
    return is_said;
}

/* The server becomes a cluster of its own, in which it has all slots. */
static void own_all(kw_test_server *server)
{
    for (unsigned first = 0; first < KW_TEST_SLOTS; first += 512) {
        char command[4096] = "CLUSTER ADDSLOTS";
        size_t len = strlen(command);
        for (unsigned slot = first; slot < first + 512; slot++) {
            len += (size_t)snprintf(command + len, sizeof(command) - len, " %u", slot);
        }
        kw_test_server_ok(server, command);
    }
    KW_TEST_AWAIT(says(server, "CLUSTER INFO", "cluster_state:ok"))
}

/* Handles of all ways have used the primary of foo, and rest while it is replaced. */
static void test_a_stranger_at_an_old_address_gets_no_command(void **state)
{
    (void)state;
    kw_test_cluster *cluster = kw_test_cluster_start(3, 1, 1500, "save \"\"\n");
    kw_client *handles[KW_TEST_WAYS_N];
    unsigned replaced_n[KW_TEST_WAYS_N];
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        handles[way] = open_counted(&replaced_n[way], kw_test_cluster_uri(cluster), "");
        expect_answer(handles[way], way, "n{foo}");
    }
    unsigned slot = kw_slot_of("foo", 3);
    kw_test_server *old = kw_test_cluster_owner(cluster, slot);
    kw_test_server_kill(old);
    assert_non_null(kw_test_cluster_wait_owner(cluster, slot, old, ENOUGH_MS));
    replace(old);
    own_all(old);
    kw_test_server_ok(old, "SET n{foo} 1000");
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        expect_answer(handles[way], way, "n{foo}");
        expect_answer(handles[way], way, "n{foo}");
        assert_int_equal(replaced_n[way], 0);
        kw_close(handles[way]);
    }
    assert_true(says(old, "GET n{foo}", "1000"));
    kw_test_cluster_free(cluster);
}

/* A node of the cluster that lives, and is another than that one. */
static kw_test_server *peer_of(kw_test_cluster *cluster, const kw_test_server *server)
{
    kw_test_server *first = kw_test_cluster_node(cluster, 0);
    return first != server ? first : kw_test_cluster_node(cluster, 1);
}

static char *id_of(kw_test_server *server)
{
    return kw_test_server_text(server, "CLUSTER MYID");
}

/* The node at that address, a replica, is another one from now on, and its primary's replica. */
static void replace_replica(kw_test_cluster *cluster, kw_test_server *replica,
                            kw_test_server *primary)
{
    char *old_id = id_of(replica);
    char *primary_id = id_of(primary);
    kw_test_server *peer = peer_of(cluster, replica);
    replace(replica);
    for (size_t i = 0; i < kw_test_cluster_count(cluster); i++) {
        kw_test_server *other = kw_test_cluster_node(cluster, i);
        if (other != replica) {
            /* Refused where it was never heard of. */
            freeReplyObject(kw_test_server_command(other, "CLUSTER FORGET %s", old_id));
        }
    }
    kw_test_server_ok(peer, "CLUSTER MEET 127.0.0.1 %u", kw_test_server_port(replica));
    KW_TEST_AWAIT(says(replica, "CLUSTER NODES", primary_id))
    kw_test_server_ok(replica, "CLUSTER REPLICATE %s", primary_id);
    KW_TEST_AWAIT(kw_test_server_is_info(replica, "master_link_status", "up"))
    free(old_id);
    free(primary_id);
}

static void make_primary(kw_test_server *server)
{
    KW_TEST_UNTIL(kw_test_server_is_info(server, "role", "master"))
    {
        /* Refused while it knows too little of its primary. */
        freeReplyObject(kw_test_server_command(server, "CLUSTER FAILOVER"));
    }
}

/* As pods are: each node in turn comes back empty, with another id; primaries hand over first. */
static void test_nodes_replaced_one_by_one_are_followed_in_silence(void **state)
{
    (void)state;
    kw_test_cluster *cluster = kw_test_cluster_start(3, 1, 1500, "save \"\"\n");
    static const char *const keys[] = {"foo", "bar", "abc"}; /* on three nodes */
    kw_test_server *primaries[3];
    kw_test_server *replicas[3];
    unsigned replaced_n;
    kw_client *kw = open_counted(&replaced_n, kw_test_cluster_uri(cluster), "");
    for (int i = 0; i < 3; i++) {
        primaries[i] = kw_test_cluster_owner(cluster, kw_slot_of(keys[i], strlen(keys[i])));
        replicas[i] = kw_test_cluster_replica(cluster, primaries[i]);
        expect_answer(kw, i, keys[i]);
    }
    for (int i = 0; i < 3; i++) {
        kw_test_server *primary = primaries[i];
        kw_test_server *replica = replicas[i];
        replace_replica(cluster, replica, primary);
        expect_answer(kw, i, keys[i]);
        make_primary(replica);
        expect_answer(kw, i + 1, keys[i]);
        KW_TEST_AWAIT(kw_test_server_is_info(primary, "master_link_status", "up"))
        replace_replica(cluster, primary, replica);
        expect_answer(kw, i + 2, keys[i]);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kw_test_ask_integer(kw, "INCRBY %s 0", keys[i]), 4);
    }
    assert_int_equal(replaced_n, 0);
    kw_close(kw);
    kw_test_cluster_free(cluster);
}

/* All nodes have come back as others; the address that the URI names vouches for them. */
static void test_all_nodes_replaced_at_once_are_followed_with_an_event(void **state)
{
    (void)state;
    kw_test_cluster *cluster = kw_test_cluster_start(1, 0, 1500, "save \"\"\n");
    kw_test_server *node = kw_test_cluster_node(cluster, 0);
    static const char *const options[] = {"", "&identity=strict"};
    for (size_t i = 0; i < 2; i++) {
        kw_client *handles[KW_TEST_WAYS_N];
        unsigned replaced_n[KW_TEST_WAYS_N];
        for (int way = 0; way < KW_TEST_WAYS_N; way++) {
            handles[way] = open_counted(&replaced_n[way], kw_test_cluster_uri(cluster), options[i]);
            expect_answer(handles[way], way, "foo");
        }
        replace(node);
        own_all(node);
        for (int way = 0; way < KW_TEST_WAYS_N; way++) {
            expect_answer(handles[way], way, "foo");
            kw_reply_free(
                kw_test_ask(handles[way], "EXISTS foo")); /* tells the event, at the latest */
            assert_int_equal(replaced_n[way], 1);
            kw_close(handles[way]);
        }
        assert_true(says(node, "GET foo", "6"));
    }
    kw_test_cluster_free(cluster);
}

/* One server that has lost its data and its history. */
static void test_a_server_without_its_data_is_followed_or_refused(void **state)
{
    (void)state;
    kw_test_server *server = kw_test_server_start("save \"\"\n");
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        unsigned followed_n;
        unsigned refused_n;
        kw_client *following = open_counted(&followed_n, kw_test_server_uri(server), "");
        kw_client *strict =
            open_counted(&refused_n, kw_test_server_uri(server), "&identity=strict");
        expect_answer(following, way, "foo");
        expect_answer(strict, way, "foo");
        replace(server);
        expect_answer(following, way, "foo");
        kw_reply_free(kw_test_ask(following, "EXISTS foo"));
        assert_int_equal(followed_n, 1);
        kw_test_end end = kw_test_send(strict, (kw_test_way)way, "INCR", "foo");
        if (end.is_answered || end.error.code != KW_ERR_IDENTITY ||
            end.error.effect != KW_EFFECT_NONE) {
            fail_msg("%s: %s", kw_test_way_name((kw_test_way)way), end.error.text);
        }
        assert_int_equal(kw_test_ask_integer(following, "INCRBY foo 0"), 1);
        kw_close(following);
        kw_close(strict);
    }
    kw_test_server_free(server);
}

static int run(size_t part)
{
    (void)part;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stranger_at_an_old_address_gets_no_command),
        cmocka_unit_test(test_nodes_replaced_one_by_one_are_followed_in_silence),
        cmocka_unit_test(test_all_nodes_replaced_at_once_are_followed_with_an_event),
        cmocka_unit_test(test_a_server_without_its_data_is_followed_or_refused),
    };
    return KW_TEST_RUN_SHARE(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 4, run);
}

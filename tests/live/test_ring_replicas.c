/* SPDX-License-Identifier: BSD-3-Clause */
/* Replicas of ring nodes: listed in the URI, or found by ROLE, and read where calls may. */
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

#define SLACK_MS 5000

static kw_test_server *start_replica(const kw_test_server *primary)
{
    kw_test_server *replica = kw_test_server_start(NULL);
    kw_test_server_ok(replica, "REPLICAOF 127.0.0.1 %u", (unsigned)kw_test_server_port(primary));
    uint64_t until_ms = kw_test_now_ms() + 4 * SLACK_MS;
    while (!kw_test_server_is_info(replica, "master_link_status", "up")) {
        assert_true(kw_test_now_ms() < until_ms);
        kw_test_sleep_ms(1);
    }
    return replica;
}

/* GETs that the server has run. */
static long long gets_of(kw_test_server *server)
{
    char *info = kw_test_server_text(server, "INFO commandstats");
    const char *at = strstr(info, "cmdstat_get:calls=");
    long long n = at != NULL ? strtoll(at + strlen("cmdstat_get:calls="), NULL, 10) : 0;
    free(info);
    return n;
}

/* Calls until the server has served GETs. */
static void read_until(kw_client *client, kw_test_server *server)
{
    long long before = gets_of(server);
    uint64_t until_ms = kw_test_now_ms() + SLACK_MS;
    while (gets_of(server) < before + 5) {
        for (int i = 0; i < 20; i++) {
            kw_reply_free(kw_test_ask(client, "GET key:%d", i));
        }
        assert_true(kw_test_now_ms() < until_ms);
    }
}

static void test_ring_replicas_are_found_by_role(void **state)
{
    ring_servers *servers = *state;
    kw_client *client = ring_open(servers, "?read-preference=prefer-replica&refresh-interval=1s");
    for (int i = 0; i < 20; i++) {
        kw_test_ask_ok(client, "SET key:%d 1", i);
    }
    kw_test_server *first = start_replica(servers->servers[0]);
    read_until(client, first);
    kw_test_server *second = start_replica(servers->servers[1]); /* one that comes later */
    read_until(client, second);
    assert_int_equal(kw_test_stats(client).nodes, 4);
    kw_test_server_ok(second, "REPLICAOF NO ONE"); /* and one that goes */
    uint64_t until_ms = kw_test_now_ms() + SLACK_MS;
    while (kw_test_stats(client).nodes != 3) {
        kw_reply_free(kw_test_ask(client, "GET key:1"));
        assert_true(kw_test_now_ms() < until_ms);
    }
    assert_int_equal(kw_test_stats(client).downs, 0);
    kw_close(client);
    kw_test_server_free(first);
    kw_test_server_free(second);
}

static void test_ring_nobody_is_asked_where_reads_go_to_primaries(void **state)
{
    ring_servers *servers = *state;
    kw_test_server *replica = start_replica(servers->servers[0]);
    kw_client *client = ring_open(servers, "");
    for (int i = 0; i < 50; i++) {
        kw_reply_free(kw_test_ask(client, "GET key:%d", i));
    }
    assert_int_equal(kw_test_stats(client).nodes, 2);
    assert_int_equal(kw_test_stats(client).map_changes, 1);
    kw_close(client);
    kw_test_server_free(replica);
}

static void test_ring_replicas_that_are_listed_are_those(void **state)
{
    ring_servers *servers = *state;
    char uri[400];
    kw_test_server *listed = start_replica(servers->servers[0]);
    kw_test_server *other = start_replica(servers->servers[0]);
    snprintf(uri, sizeof(uri), "redis-ring://a=%s;replica=%s?read-preference=replica",
             kw_test_server_address(servers->servers[0]), kw_test_server_address(listed));
    kw_client *client = kw_test_open("%s", uri);
    kw_test_ask_ok(client, "SET key:1 1");
    read_until(client, listed);
    assert_int_equal(gets_of(other), 0);
    assert_int_equal(kw_test_stats(client).nodes, 2);
    kw_close(client);
    kw_test_server_free(listed);
    kw_test_server_free(other);
}

static void test_ring_members_change_beside_replicas_that_were_found(void **state)
{
    ring_servers *servers = *state;
    kw_error error = KW_ERROR_INIT;
    kw_test_server *replica = start_replica(servers->servers[0]);
    kw_client *client = ring_open(servers, "?read-preference=prefer-replica&refresh-interval=1s");
    for (int i = 0; i < 20; i++) {
        kw_test_ask_ok(client, "SET key:%d 1", i);
    }
    read_until(client, replica);
    kw_members *members = kw_members_begin(client, &error);
    assert_int_equal(kw_members_remove(members, &error, "b", 1), KW_OK);
    assert_int_equal(kw_members_commit(members, &error), KW_OK);
    assert_int_equal(kw_test_stats(client).nodes, 2);
    read_until(client, replica);
    /* The replica cannot be a member as well; without it as a replica it can. */
    char text[100];
    snprintf(text, sizeof(text), "c=%s", kw_test_server_address(replica));
    assert_int_equal(kw_members_add(members, &error, text), KW_OK);
    assert_int_equal(kw_members_commit(members, &error), KW_ERR_CONFIG);
    kw_members_free(members);
    kw_close(client);
    kw_test_server_free(replica);
}

/* What an operator does when a primary is gone for good. */
static void test_ring_a_promoted_replica_takes_its_members_place(void **state)
{
    static const char *const lists[] = {"", ";replica="};
    ring_servers *servers = *state;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        char uri[400];
        kw_error error = KW_ERROR_INIT;
        kw_test_server *replica = start_replica(servers->servers[0]);
        const char *address = kw_test_server_address(replica);
        snprintf(uri, sizeof(uri),
                 "redis-ring://a=%s%s%s,b=%s?read-preference=prefer-replica&refresh-interval=1s",
                 kw_test_server_address(servers->servers[0]), lists[i],
                 lists[i][0] != '\0' ? address : "", kw_test_server_address(servers->servers[1]));
        kw_client *client = kw_test_open("%s", uri);
        for (int k = 0; k < 20; k++) {
            kw_test_ask_ok(client, "SET key:%d 1", k);
        }
        read_until(client, replica);
        kw_test_server_kill(servers->servers[0]);
        kw_test_server_ok(replica, "REPLICAOF NO ONE");
        kw_members *members = kw_members_begin(client, &error);
        kw_ring *before = kw_client_ring(client, &error);
        assert_int_equal(kw_members_set_server(members, &error, "a", 1, address), KW_OK);
        assert_int_equal(kw_members_commit(members, &error), KW_OK);
        kw_ring *after = kw_client_ring(client, &error);
        assert_true(kw_ring_fingerprint(before) == kw_ring_fingerprint(after));
        for (int k = 0; k < 20; k++) {
            kw_test_ask_ok(client, "SET key:%d 2", k);
            char *text = kw_test_ask_text(client, "GET key:%d", k);
            assert_string_equal(text, "2");
            free(text);
        }
        assert_int_equal(kw_test_stats(client).nodes, 2);
        /* Anything else changes by leaving and coming back at once: no key moves. */
        snprintf(uri, sizeof(uri), "a=%s;zone=z", address);
        assert_int_equal(kw_members_remove(members, &error, "a", 1), KW_OK);
        assert_int_equal(kw_members_add(members, &error, uri), KW_OK);
        assert_int_equal(kw_members_commit(members, &error), KW_OK);
        kw_ring_unref(after);
        after = kw_client_ring(client, &error);
        assert_true(kw_ring_fingerprint(before) == kw_ring_fingerprint(after));
        kw_ring_unref(before);
        kw_ring_unref(after);
        kw_members_free(members);
        kw_close(client);
        kw_test_server_free(replica);
        kw_test_server_restart(servers->servers[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_ring_replicas_are_found_by_role, ring_flush),
        cmocka_unit_test_setup(test_ring_nobody_is_asked_where_reads_go_to_primaries, ring_flush),
        cmocka_unit_test_setup(test_ring_replicas_that_are_listed_are_those, ring_flush),
        cmocka_unit_test_setup(test_ring_a_promoted_replica_takes_its_members_place, ring_flush),
        cmocka_unit_test_setup(test_ring_members_change_beside_replicas_that_were_found,
                               ring_flush),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}

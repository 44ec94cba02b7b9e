/* SPDX-License-Identifier: BSD-3-Clause */
/* Nodes of a ring that go down and come back, for each on-node-down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "live/ring_outage.h"
#include "support/parts.h"
#include "support/turn.h"

static void test_fail_gives_an_error_at_once_and_moves_nothing(void **state)
{
    ring_servers *servers = *state;
    diary events;
    kw_client *client = open_with(servers, &events, "?timeout=4s");
    char of_a[32];
    char of_b[32];
    events.client = client;
    key_of(client, of_a, "a");
    key_of(client, of_b, "b");
    kw_test_ask_ok(client, "SET %s 1", of_a);
    kw_test_ask_ok(client, "SET %s 1", of_b);
    kw_test_server_kill(servers->servers[1]);
    kw_test_sleep_ms(20); /* its connection is seen to be closed before it is used */
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(client, &error, "GET %s", of_b));
    assert_int_equal(error.code, KW_ERR_CONNECT);
    assert_true(error.elapsed_ms < 3500); /* long before the deadline */
    assert_true(is_down(client, "b"));
    assert_int_equal(atomic_load(&events.downs), 1);
    uint64_t start_ms = kw_test_now_ms();
    for (int i = 0; i < 200; i++) {
        assert_null(kw_command(client, &error, "INCR %s", of_b));
        assert_int_equal(error.code, KW_ERR_CONNECT);
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        assert_int_equal(error.attempts, 0);
        kw_test_ask_ok(client, "SET %s 1", of_a);
    }
    assert_true(kw_test_now_ms() - start_ms < 2000);
    assert_non_null(strstr(error.text, "down"));
    assert_non_null(strstr(error.text, kw_test_server_address(servers->servers[1])));
    assert_null(kw_command(client, &error, "DBSIZE"));
    assert_int_equal(kw_test_stats(client).nodes_down, 1);
    kw_test_server_restart(servers->servers[1]);
    call_until(client, "b", false);
    assert_int_equal(kw_test_ask_integer(client, "INCR %s", of_b), 1); /* it came back empty */
    assert_int_equal(atomic_load(&events.ups), 1);
    kw_stats stats = kw_test_stats(client);
    assert_int_equal(stats.downs, 1);
    assert_int_equal(stats.ups, 1);
    assert_int_equal(stats.nodes_down, 0);
    kw_close(client);
}

/* Every key can be written and is where the walk, or the ring without b, says. */
static void check_without_b(const ring_servers *servers, kw_client *client, const kw_ring *ring,
                            bool is_walk)
{
    kw_error error = KW_ERROR_INIT;
    kw_ring_change *change = kw_ring_change_of((kw_ring *)(uintptr_t)ring, &error);
    assert_int_equal(kw_ring_change_remove(change, &error, "b", 1), KW_OK);
    kw_ring *rest = kw_ring_change_commit(change, &error);
    kw_ring_change_free(change);
    for (int i = 0; i < 200; i++) {
        char key[32];
        size_t key_len = (size_t)snprintf(key, sizeof(key), "%d:without", i);
        kw_test_ask_ok(client, "SET %s %d", key, i);
        uint32_t node;
        const char *name;
        if (is_walk) {
            uint32_t nodes[2];
            assert_int_equal(kw_ring_preference(ring, nodes, 2, key, key_len), 2);
            name = kw_ring_node_name(ring, NULL, nodes[0]);
            name = strcmp(name, "b") != 0 ? name : kw_ring_node_name(ring, NULL, nodes[1]);
        } else {
            assert_int_equal(kw_ring_lookup(rest, &node, key, key_len), KW_OK);
            name = kw_ring_node_name(rest, NULL, node);
        }
        kw_test_server *server = servers->servers[name[0] - 'a'];
        assert_int_equal(kw_test_server_integer(server, "EXISTS %s", key), 1);
    }
    kw_ring_unref(rest);
}

typedef struct policy_row {
    const char *tail;
    bool is_walk;
    bool is_ejected;
} policy_row;

static void test_next_and_eject_serve_the_keys_elsewhere(void **state)
{
    static const policy_row rows[] = {
        {"?on-node-down=next", true, false},
        {"?on-node-down=eject", true, true},
        {"?on-node-down=eject&placement=twemproxy", false, true},
        {"?on-node-down=eject&placement=modulo", false, true},
        {"?on-node-down=next&placement=go-redis", true, false},
    };
    ring_servers *servers = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        diary events;
        kw_error error = KW_ERROR_INIT;
        kw_client *client = open_with(servers, &events, rows[i].tail);
        kw_ring *ring = kw_client_ring(client, &error);
        char of_b[32];
        key_of(client, of_b, "b");
        kw_test_ask_ok(client, "SET %s old", of_b);
        kw_test_server_kill(servers->servers[1]);
        call_until(client, "b", true);
        check_without_b(servers, client, ring, rows[i].is_walk);
        kw_test_ask_ok(client, "SET %s new", of_b);
        kw_reply_free(kw_test_ask(client, "MGET a b c d e f g h"));
        assert_int_equal(atomic_load(&events.downs), rows[i].is_ejected ? 0 : 1);
        assert_int_equal(atomic_load(&events.ejections), rows[i].is_ejected ? 1 : 0);
        kw_test_server_restart(servers->servers[1]);
        call_until(client, "b", false);
        char *text = kw_test_ask_text(client, "GET %s", of_b);
        assert_null(text); /* b has its keys again, and is empty */
        free(text);
        assert_int_equal(atomic_load(&events.ups), 1);
        kw_ring_unref(ring);
        kw_close(client);
        ring_flush(state);
    }
}

static void test_a_stopped_node_is_found_by_timeouts_and_probes(void **state)
{
    ring_servers *servers = *state;
    diary events;
    kw_client *client =
        open_with(servers, &events, "?on-node-down=next&timeout=400ms&stall-timeout=100ms");
    char of_b[32];
    key_of(client, of_b, "b");
    kw_test_ask_ok(client, "SET %s 1", of_b);
    kw_test_server_pause(servers->servers[1]);
    call_until(client, "b", true);
    kw_test_ask_ok(client, "SET %s 2", of_b);
    kw_test_server_resume(servers->servers[1]);
    call_until(client, "b", false);
    char *text = kw_test_ask_text(client, "GET %s", of_b);
    assert_string_equal(text, "1"); /* what it had, and nothing that was meant for it late */
    free(text);
    kw_close(client);
}

static void drop_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)error;
    *(size_t *)arg += 1;
    kw_reply_free(reply);
}

/* An event loop has the probes of its handle answered without a call. */
static void test_an_event_loop_finds_a_node_down_and_back(void **state)
{
    ring_servers *servers = *state;
    diary events;
    char of_b[32];
    kw_error error = KW_ERROR_INIT;
    kw_client *client = open_with(servers, &events, "?on-node-down=next");
    key_of(client, of_b, "b");
    kw_test_server_kill(servers->servers[1]);
    size_t replies_n = 0;
    assert_int_equal(
        kw_command_async(client, &error, (kw_callback){drop_reply, &replies_n}, "SET %s 1", of_b),
        KW_OK);
    uint64_t until_ms = kw_test_now_ms() + SLACK_MS;
    while (replies_n == 0) {
        assert_int_equal(kw_test_turn(client, 100), KW_OK);
        assert_true(kw_test_now_ms() < until_ms);
    }
    assert_true(is_down(client, "b")); /* and the key went to the next node */
    kw_test_server_restart(servers->servers[1]);
    until_ms = kw_test_now_ms() + SLACK_MS;
    while (is_down(client, "b")) {
        assert_int_equal(kw_test_turn(client, 100), KW_OK);
        assert_true(kw_test_now_ms() < until_ms);
    }
    assert_int_equal(atomic_load(&events.ups), 1);
    kw_close(client);
}

/* A caller alone, who comes now and then, has the probes answered in its own calls. */
static void test_a_caller_who_comes_rarely_finds_a_node_back(void **state)
{
    static const char *const tails[] = {"?on-node-down=fail", "?on-node-down=next"};
    ring_servers *servers = *state;
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        diary events;
        char of_b[32];
        kw_error error = KW_ERROR_INIT;
        kw_client *client = open_with(servers, &events, tails[i]);
        key_of(client, of_b, "b");
        kw_test_server_kill(servers->servers[1]);
        call_until(client, "b", true);
        kw_test_server_restart(servers->servers[1]);
        int calls_n = 0;
        while (is_down(client, "b") && calls_n < 5) {
            kw_test_sleep_ms(1000); /* longer than any pause between probes */
            kw_reply_free(kw_command(client, &error, "GET %s", of_b));
            calls_n++;
        }
        assert_in_range(calls_n, 1, 3);
        kw_test_ask_ok(client, "SET %s 1", of_b);
        kw_close(client);
    }
}

static void test_when_all_nodes_are_down_calls_fail_at_once(void **state)
{
    static const char *const tails[] = {"?on-node-down=fail&timeout=10s",
                                        "?on-node-down=next&timeout=10s",
                                        "?on-node-down=eject&timeout=10s"};
    ring_servers *servers = *state;
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        diary events;
        kw_error error = KW_ERROR_INIT;
        kw_client *client = open_with(servers, &events, tails[i]);
        static const char *const names[] = {"a", "b", "c"};
        for (size_t k = 0; k < RING_SERVERS; k++) {
            kw_test_server_kill(servers->servers[k]);
            call_until(client, names[k], true);
        }
        uint64_t start_ms = kw_test_now_ms();
        for (int k = 0; k < 50; k++) {
            assert_null(kw_command(client, &error, "GET %d:any:key", k));
            assert_int_equal(error.code, KW_ERR_CONNECT);
            assert_int_equal(error.effect, KW_EFFECT_NONE);
            if (i > 0 && strstr(error.text, "every node of the ring is down") == NULL) {
                fail_msg("%s: %s", tails[i], error.text);
            }
        }
        assert_true(kw_test_now_ms() - start_ms < SLACK_MS);
        for (size_t k = 0; k < RING_SERVERS; k++) {
            kw_test_server_restart(servers->servers[k]);
        }
        for (size_t k = 0; k < RING_SERVERS; k++) {
            call_until(client, names[k], false);
        }
        kw_test_ask_ok(client, "SET x 1");
        assert_int_equal(kw_test_stats(client).ups, RING_SERVERS);
        kw_close(client);
    }
}

static void test_a_node_that_is_down_can_leave_and_stays_down_in_other_changes(void **state)
{
    ring_servers *servers = *state;
    diary events;
    kw_error error = KW_ERROR_INIT;
    kw_client *client = open_with(servers, &events, "");
    kw_test_server_kill(servers->servers[1]);
    call_until(client, "b", true);
    kw_members *members = kw_members_begin(client, &error);
    assert_int_equal(kw_members_reweight(members, &error, "a", 1, 2), KW_OK);
    assert_int_equal(kw_members_commit(members, &error), KW_OK);
    assert_true(is_down(client, "b"));
    assert_int_equal(kw_members_remove(members, &error, "b", 1), KW_OK);
    assert_int_equal(kw_members_commit(members, &error), KW_OK);
    assert_int_equal(kw_test_stats(client).nodes_down, 0);
    for (int i = 0; i < 50; i++) {
        kw_test_ask_ok(client, "SET left:%d 1", i);
    }
    assert_int_equal(atomic_load(&events.others), 2);
    kw_members_free(members);
    kw_close(client);
    kw_test_server_restart(servers->servers[1]);
}

static void test_replicas_of_a_node_that_is_down_are_read(void **state)
{
    ring_servers *servers = *state;
    char uri[400];
    kw_error error = KW_ERROR_INIT;
    kw_test_server *replica = kw_test_server_start(NULL);
    kw_test_server_ok(replica, "REPLICAOF 127.0.0.1 %u",
                      (unsigned)kw_test_server_port(servers->servers[0]));
    snprintf(uri, sizeof(uri), "redis-ring://a=%s;replica=%s?read-preference=prefer-replica",
             kw_test_server_address(servers->servers[0]), kw_test_server_address(replica));
    kw_client *client = kw_test_open("%s", uri);
    kw_test_ask_ok(client, "SET key value");
    KW_TEST_AWAIT(kw_test_server_integer(replica, "EXISTS key") > 0 &&
                  kw_test_server_is_info(replica, "master_link_status", "up"))
    kw_test_server_ok(replica, "CONFIG SET replica-serve-stale-data yes");
    kw_test_server_kill(servers->servers[0]);
    uint64_t until_ms = kw_test_now_ms() + SLACK_MS;
    while (!is_down(client, "a")) {
        kw_reply_free(kw_command(client, &error, "SET key other"));
        assert_true(kw_test_now_ms() < until_ms);
    }
    for (int i = 0; i < 20; i++) {
        char *text = kw_test_ask_text(client, "GET key");
        assert_string_equal(text, "value");
        free(text);
        assert_null(kw_command(client, &error, "SET key other"));
        assert_int_equal(error.code, KW_ERR_CONNECT);
    }
    kw_close(client);
    kw_test_server_free(replica);
    kw_test_server_restart(servers->servers[0]);
}

static void test_a_forked_child_finds_a_node_back_that_was_down(void **state)
{
    ring_servers *servers = *state;
    diary events;
    char of_b[32];
    kw_client *client = open_with(servers, &events, "?after-fork=reopen");
    key_of(client, of_b, "b");
    kw_test_server_kill(servers->servers[1]);
    call_until(client, "b", true);
    pid_t pid = fork();
    if (pid == 0) {
        uint64_t until_ms = kw_test_now_ms() + SLACK_MS;
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(client, &error, "SET %s 1", of_b);
        bool was_down = reply == NULL && error.code == KW_ERR_CONNECT;
        while (reply == NULL && kw_test_now_ms() < until_ms) {
            reply = kw_command(client, &error, "SET %s 1", of_b);
        }
        bool is_good = was_down && reply != NULL;
        kw_reply_free(reply);
        kw_close(client);
        _exit(is_good ? 0 : 1);
    }
    kw_test_sleep_ms(50);
    kw_test_server_restart(servers->servers[1]);
    int status = kw_test_wait_child(pid);
    assert_int_equal(status, 0);
    call_until(client, "b", false);
    kw_close(client);
}

static int run(size_t part)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fail_gives_an_error_at_once_and_moves_nothing, ring_flush),
        cmocka_unit_test_setup(test_next_and_eject_serve_the_keys_elsewhere, ring_flush),
        cmocka_unit_test_setup(test_a_stopped_node_is_found_by_timeouts_and_probes, ring_flush),
        cmocka_unit_test_setup(test_an_event_loop_finds_a_node_down_and_back, ring_flush),
        cmocka_unit_test_setup(test_a_caller_who_comes_rarely_finds_a_node_back, ring_flush),
        cmocka_unit_test_setup(test_when_all_nodes_are_down_calls_fail_at_once, ring_flush),
        cmocka_unit_test_setup(test_a_node_that_is_down_can_leave_and_stays_down_in_other_changes,
                               ring_flush),
        cmocka_unit_test_setup(test_replicas_of_a_node_that_is_down_are_read, ring_flush),
        cmocka_unit_test_setup(test_a_forked_child_finds_a_node_back_that_was_down, ring_flush),
    };
    (void)part;
    return KW_TEST_RUN_SHARE(tests, ring_start, ring_stop);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 5, run);
}

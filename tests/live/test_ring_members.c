/* SPDX-License-Identifier: BSD-3-Clause */
/* Members of a ring that change while it is in use. KW_TEST_FAST */
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
#include <sys/wait.h>
#include <unistd.h>

#include "live/ring_change.h"

static ring_servers *servers_of(void **state)
{
    return *state;
}

static void node_of(char node[128], kw_client *client, int i)
{
    char key[32];
    kw_error error = KW_ERROR_INIT;
    snprintf(key, sizeof(key), "key:%d", i);
    if (kw_client_key_node(client, &error, node, 128, key, strlen(key)) != KW_OK) {
        kw_test_die("%s", error.text);
    }
}

static void test_a_node_that_comes_takes_its_share_and_nothing_else_moves(void **state)
{
    enum { KEYS = 2000 };
    ring_servers *servers = servers_of(state);
    kw_client *client = open_three(servers, "");
    char(*before)[128] = calloc(KEYS, sizeof(before[0]));
    for (int i = 0; i < KEYS; i++) {
        node_of(before[i], client, i);
    }
    kw_error error = KW_ERROR_INIT;
    kw_members *members = begin(client);
    add_d(members, servers);
    kw_ring *now = kw_client_ring(client, &error);
    kw_ring *then = kw_members_ring(members, &error);
    double promised;
    assert_int_equal(kw_ring_moved(now, &error, &promised, then), KW_OK);
    assert_true(promised > 0.15 && promised < 0.35);
    kw_ring_diff *diff = kw_ring_diff_new(now, &error, then);
    assert_true(kw_ring_diff_count(diff) > 100);
    kw_ring_diff_free(diff);
    char node[128];
    node_of(node, client, 0);
    assert_string_equal(node, before[0]); /* nothing has happened yet */
    commit(members);
    size_t moved_n = 0;
    for (int i = 0; i < KEYS; i++) {
        node_of(node, client, i);
        if (strcmp(node, before[i]) != 0) {
            assert_string_equal(node, kw_test_server_address(servers->servers[3]));
            moved_n++;
        }
    }
    assert_true((double)moved_n / KEYS > promised - 0.05);
    assert_true((double)moved_n / KEYS < promised + 0.05);
    assert_int_equal(kw_members_remove(members, &error, "d", 1), KW_OK);
    commit(members);
    for (int i = 0; i < KEYS; i++) {
        node_of(node, client, i);
        assert_string_equal(node, before[i]);
    }
    kw_ring *again = kw_client_ring(client, &error);
    assert_true(kw_ring_fingerprint(again) == kw_ring_fingerprint(now));
    assert_string_equal(kw_ring_placement(again), "kw1/xxh3/v150/tag");
    kw_ring_unref(again);
    kw_ring_unref(now);
    kw_ring_unref(then);
    kw_members_free(members);
    free(before);
    kw_close(client);
}

static void test_of_two_changes_at_once_the_second_is_told(void **state)
{
    ring_servers *servers = servers_of(state);
    kw_client *client = open_three(servers, "");
    kw_error error = KW_ERROR_INIT;
    kw_members *first = begin(client);
    kw_members *second = begin(client);
    add_d(first, servers);
    assert_int_equal(kw_members_remove(second, &error, "a", 1), KW_OK);
    commit(first);
    assert_int_equal(kw_members_commit(second, &error), KW_ERR_TRY_AGAIN);
    kw_ring *ring = kw_client_ring(client, &error);
    assert_int_equal(kw_ring_nodes_n(ring), 4);
    kw_ring_unref(ring);
    kw_members_free(first);
    kw_members_free(second);
    kw_close(client);
}

static void test_names_of_any_bytes_and_wrong_ones(void **state)
{
    ring_servers *servers = servers_of(state);
    kw_client *client = open_three(servers, "");
    kw_error error = KW_ERROR_INIT;
    kw_members *members = begin(client);
    char text[300];
    char name[256];
    snprintf(text, sizeof(text), "%%00%%ff%%2c%%20=%s;zone=%%c3%%a9",
             kw_test_server_address(servers->servers[3]));
    assert_int_equal(kw_members_add(members, &error, text), KW_OK);
    assert_int_equal(kw_members_add(members, &error, text), KW_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "already"));
    assert_int_equal(kw_members_remove(members, &error, "x", 1), KW_ERR_ARGUMENT);
    assert_int_equal(kw_members_remove(members, &error, "", 0), KW_ERR_ARGUMENT);
    assert_int_equal(kw_members_reweight(members, &error, "x", 1, 1), KW_ERR_ARGUMENT);
    memset(name, 'z', sizeof(name));
    name[255] = '\0';
    assert_int_equal(kw_members_set_zone(members, &error, "a", 1, name), KW_ERR_ARGUMENT);
    assert_int_equal(kw_members_add(members, &error, "x=h:y"), KW_ERR_CONFIG);
    assert_int_equal(kw_members_add(members, &error, "a=h:1"), KW_ERR_ARGUMENT);
    assert_int_equal(kw_members_set_server(members, &error, "a", 1, "nowhere"), KW_ERR_ARGUMENT);
    commit(members);
    kw_ring *ring = kw_client_ring(client, &error);
    uint32_t node;
    assert_int_equal(kw_ring_find(ring, &node, "\0\xff, ", 4), KW_OK);
    assert_string_equal(kw_ring_node_zone(ring, node), "\xc3\xa9");
    assert_int_equal(kw_ring_nodes_n(ring), 4);
    kw_ring_unref(ring);
    const char *twice = kw_test_server_address(servers->servers[0]);
    assert_int_equal(kw_members_add(members, &error, twice), KW_OK);
    assert_int_equal(kw_members_commit(members, &error), KW_ERR_CONFIG);
    assert_non_null(strstr(error.text, "twice"));
    kw_members_free(members);
    kw_close(client);
    client = kw_test_open("%s", kw_test_server_uri(servers->servers[0]));
    assert_null(kw_members_begin(client, &error));
    assert_int_equal(error.code, KW_ERR_UNSUPPORTED);
    assert_null(kw_client_ring(client, &error));
    kw_close(client);
}

static void test_a_ring_may_become_empty_and_full_again(void **state)
{
    ring_servers *servers = servers_of(state);
    kw_client *client = open_three(servers, "");
    kw_error error = KW_ERROR_INIT;
    kw_members *members = begin(client);
    static const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(kw_members_remove(members, &error, names[i], 1), KW_OK);
    }
    commit(members);
    static const char *const commands[] = {"GET x", "MGET x y z", "PING", "DBSIZE", "FLUSHALL"};
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        kw_reply *reply = kw_command(client, &error, commands[i]);
        assert_null(reply);
        if (error.code != KW_ERR_NOT_SERVED || error.effect != KW_EFFECT_NONE) {
            fail_msg("%s: %s: %s", commands[i], kw_err_name(error.code), error.text);
        }
    }
    assert_null(kw_session_open(client, &error, "x", 1));
    assert_int_equal(error.code, KW_ERR_NOT_SERVED);
    add_d(members, servers);
    commit(members);
    kw_test_ask_ok(client, "SET x 1");
    assert_int_equal(kw_test_server_integer(servers->servers[3], "EXISTS x"), 1);
    kw_members_free(members);
    kw_close(client);
}

static void test_a_name_moves_to_another_server_and_no_key_with_it(void **state)
{
    ring_servers *servers = servers_of(state);
    kw_client *client = open_three(servers, "");
    kw_error error = KW_ERROR_INIT;
    kw_ring *before = kw_client_ring(client, &error);
    kw_members *members = begin(client);
    const char *address = kw_test_server_address(servers->servers[3]);
    assert_int_equal(kw_members_set_server(members, &error, "a", 1, address), KW_OK);
    commit(members);
    kw_ring *after = kw_client_ring(client, &error);
    double moved;
    assert_int_equal(kw_ring_moved(before, &error, &moved, after), KW_OK);
    assert_true(moved == 0);
    for (int i = 0; i < 100; i++) {
        kw_test_ask_ok(client, "SET key:%d 1", i);
    }
    assert_int_equal(kw_test_server_integer(servers->servers[0], "DBSIZE"), 0);
    assert_true(kw_test_server_integer(servers->servers[3], "DBSIZE") > 0);
    kw_ring_unref(before);
    kw_ring_unref(after);
    kw_members_free(members);
    kw_close(client);
}

/* A caller who is still waiting when the node of its key has left the ring. */
static void *pop(void *arg)
{
    kw_error error = KW_ERROR_INIT;
    return kw_command(arg, &error, "BLPOP list 20");
}

static void test_a_call_under_way_finishes_where_it_was_sent(void **state)
{
    ring_servers *servers = servers_of(state);
    kw_client *client = open_three(servers, "");
    kw_error error = KW_ERROR_INIT;
    size_t used[RING_SERVERS] = {0};
    kw_test_server *owner = ring_owner(servers, client, "list", 4, used);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, pop, client), 0);
    KW_TEST_AWAIT(kw_test_server_info(owner, "blocked_clients") > 0)
    kw_members *members = begin(client);
    static const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) {
        if (servers->servers[i] == owner) {
            assert_int_equal(kw_members_remove(members, &error, names[i], 1), KW_OK);
        }
    }
    commit(members);
    assert_true(ring_owner(servers, client, "list", 4, used) != owner);
    assert_int_equal(kw_test_server_integer(owner, "RPUSH list here"), 1);
    void *reply = kw_test_join(thread);
    assert_string_equal(kw_reply_str(kw_reply_at(reply, 1), NULL), "here");
    kw_reply_free(reply);
    kw_members_free(members);
    kw_close(client);
}

/* A command that was planned when one node had its keys never runs on one of them. */
static void test_a_batch_whose_keys_came_apart_is_told_so(void **state)
{
    ring_servers *servers = servers_of(state);
    kw_client *client = open_three(servers, "");
    kw_error error = KW_ERROR_INIT;
    kw_batch *batch = kw_batch_new(client, &error);
    size_t added_n = 0;
    for (int i = 0; i < 100; i++) {
        added_n += kw_batch_add(batch, &error, "MGET key:%d key:%d", i, i + 1) == KW_OK ? 1 : 0;
    }
    assert_true(added_n > 10);
    kw_members *members = begin(client);
    add_d(members, servers);
    commit(members);
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_ERR_CROSSSLOT);
    size_t stale_n = 0;
    for (size_t i = 0; i < added_n; i++) {
        if (kw_batch_reply(batch, &error, i) == NULL) {
            assert_int_equal(error.code, KW_ERR_CROSSSLOT);
            assert_int_equal(error.effect, KW_EFFECT_NONE);
            assert_non_null(strstr(error.text, "ring was changed"));
            stale_n++;
        }
    }
    assert_in_range(stale_n, 1, added_n - 1);
    kw_batch_free(batch);
    kw_members_free(members);
    kw_close(client);
}

/* A caller whose keys are on a node that cannot be reached, until it leaves the ring. */
typedef struct waiting {
    kw_client *client;
    const char *command;
    kw_reply *reply;
    kw_error error;
} waiting;

static void *ask_waiting(void *arg)
{
    waiting *self = arg;
    self->reply = kw_command(self->client, &self->error, self->command);
    return NULL;
}

/* Connects to member b that have failed since it last became one. */
static uint64_t failures_at_b(kw_client *client)
{
    kw_node_stats stats = {.size = sizeof(stats)};
    for (size_t i = 0; kw_client_node_stats(client, &stats, i) == KW_OK; i++) {
        if (strcmp(stats.member, "b") == 0) {
            return stats.connect_failures;
        }
    }
    return 0;
}

/* After this the client knows that its connections to b, which was killed, are gone: what it sends
 * to b from now on waits for a new one. */
static void learn_that_b_is_gone(kw_client *client)
{
    const char *argv[] = {"DBSIZE"};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.route = KW_ROUTE_NODE;
    options.node = "b";
    options.timeout_ms = 50;
    KW_TEST_AWAIT(kw_call(client, NULL, &options, (kw_argv){1, argv, NULL}) == NULL &&
                  failures_at_b(client) > 0)
}

static void test_keys_of_a_node_that_leaves_while_they_wait_are_split_anew(void **state)
{
    static const char *const commands[] = {
        "MSET a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8 i 9 j 10 k 11 l 12",
        "MGET a b c d e f g h i j k l",
        "DEL a b c d e f g h i j k l",
    };
    ring_servers *servers = servers_of(state);
    kw_client *client = open_three(servers, "?timeout=20s&down-after=1000");
    for (size_t i = 0; i < 50; i++) {
        kw_test_ask_ok(client, "SET key:%d 1", i); /* connections to all */
    }
    kw_test_server_kill(servers->servers[1]);
    learn_that_b_is_gone(client);
    char b[200];
    kw_members *members = begin(client);
    kw_error error = KW_ERROR_INIT;
    snprintf(b, sizeof(b), "b=%s", kw_test_server_address(servers->servers[1]));
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        pthread_t thread;
        waiting it = {.client = client, .command = commands[i]};
        it.error.size = sizeof(it.error);
        uint64_t failures_n = failures_at_b(client);
        assert_int_equal(pthread_create(&thread, NULL, ask_waiting, &it), 0);
        KW_TEST_AWAIT(failures_at_b(client) > failures_n)
        assert_int_equal(kw_members_remove(members, &error, "b", 1), KW_OK);
        commit(members);
        kw_test_join(thread);
        if (it.reply == NULL || kw_reply_is_error(it.reply)) {
            fail_msg("%s: %s", commands[i],
                     it.reply != NULL ? kw_reply_str(it.reply, NULL) : it.error.text);
        }
        if (i == 1) {
            for (size_t k = 0; k < 12; k++) {
                assert_int_equal(atoi(kw_reply_str(kw_reply_at(it.reply, k), NULL)), k + 1);
            }
        }
        assert_true(i != 2 || kw_reply_int(it.reply) == 12);
        kw_reply_free(it.reply);
        assert_int_equal(kw_members_add(members, &error, b), KW_OK);
        commit(members);
    }
    kw_members_free(members);
    kw_close(client);
    kw_test_server_restart(servers->servers[1]);
}

static void test_a_forked_child_has_the_members_of_that_moment(void **state)
{
    ring_servers *servers = servers_of(state);
    kw_client *client = open_three(servers, "?after-fork=reopen");
    kw_members *members = begin(client);
    add_d(members, servers);
    commit(members);
    for (int i = 0; i < 50; i++) {
        kw_test_ask_ok(client, "SET key:%d %d", i, i);
    }
    pid_t pid = fork();
    if (pid == 0) {
        bool is_good = true;
        for (int i = 0; i < 50; i++) {
            kw_reply *reply = kw_command(client, NULL, "GET key:%d", i);
            const char *text = kw_reply_str(reply, NULL);
            is_good = is_good && text != NULL && atoi(text) == i;
            kw_reply_free(reply);
        }
        kw_members *own = kw_members_begin(client, NULL);
        is_good = is_good && kw_members_remove(own, NULL, "a", 1) == KW_OK &&
                  kw_members_commit(own, NULL) == KW_OK;
        kw_members_free(own);
        kw_close(client);
        _exit(is_good ? 0 : 1);
    }
    int status = kw_test_wait_child(pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    kw_test_ask_ok(client, "SET key:0 1");
    kw_members_free(members);
    kw_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_node_that_comes_takes_its_share_and_nothing_else_moves,
                               ring_flush),
        cmocka_unit_test_setup(test_of_two_changes_at_once_the_second_is_told, ring_flush),
        cmocka_unit_test_setup(test_names_of_any_bytes_and_wrong_ones, ring_flush),
        cmocka_unit_test_setup(test_a_ring_may_become_empty_and_full_again, ring_flush),
        cmocka_unit_test_setup(test_a_name_moves_to_another_server_and_no_key_with_it, ring_flush),
        cmocka_unit_test_setup(test_a_call_under_way_finishes_where_it_was_sent, ring_flush),
        cmocka_unit_test_setup(test_a_batch_whose_keys_came_apart_is_told_so, ring_flush),
        cmocka_unit_test_setup(test_keys_of_a_node_that_leaves_while_they_wait_are_split_anew,
                               ring_flush),
        cmocka_unit_test_setup(test_a_forked_child_has_the_members_of_that_moment, ring_flush),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}

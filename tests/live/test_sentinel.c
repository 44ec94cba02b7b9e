/* SPDX-License-Identifier: BSD-3-Clause */
/* The blocking client on a real Sentinel group: a primary, two replicas, three sentinels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway/batch.h>
#include <keyway/session.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/group.h"

typedef struct stage {
    kw_test_group *group;
    kw_client *client;
} stage;

/* One write that is answered, or of which it is not known whether it ran. */
static void step(kw_client *client)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(client, &error, "INCR after");
    if (reply != NULL ? kw_reply_type(reply) != KW_REPLY_INTEGER
                      : error.effect != KW_EFFECT_MAYBE) {
        fail_msg("INCR: %s", reply != NULL ? kw_reply_str(reply, NULL) : error.text);
    }
    kw_reply_free(reply);
}

static void assert_primary(stage *it, const kw_test_server *server)
{
    char name[64];
    assert_int_equal(kw_client_slot_node(it->client, NULL, name, sizeof(name), 0), KW_OK);
    assert_string_equal(name, kw_test_server_address(server));
}

static void test_commands_go_to_the_primary(void **state)
{
    stage *it = *state;
    assert_int_equal(kw_connect(it->client, NULL), KW_OK);
    assert_primary(it, kw_test_group_server(it->group, 0));
    kw_test_ask_ok(it->client, "SET a 1");
    assert_int_equal(kw_test_ask_integer(it->client, "INCR a"), 2);
    /* One data set: keys of different slots in one command, all of them on one server. */
    kw_test_ask_ok(it->client, "MSET b 1 c 2 d 3");
    assert_int_equal(kw_test_ask_integer(it->client, "DEL b c d"), 3);
    kw_test_ask_ok(it->client, "RENAME a z");
    assert_int_equal(kw_test_ask_integer(it->client, "DBSIZE"), 1);
    assert_int_equal(kw_test_ask_integer(it->client, "EVAL %s 2 x y",
                                         "redis.call('set',KEYS[1],1) return "
                                         "redis.call('del',KEYS[1],KEYS[2])"),
                     1);
    kw_stats stats = kw_test_stats(it->client);
    assert_int_equal(stats.nodes, 3);
    assert_int_equal(stats.moved, 0);
}

static void test_batches_and_sessions_know_no_slots(void **state)
{
    stage *it = *state;
    kw_error error = KW_ERROR_INIT;
    kw_batch *batch = kw_batch_new(it->client, &error);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(kw_batch_add(batch, &error, "SET k:%d %d", i, i), KW_OK);
    }
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_OK);
    kw_batch_free(batch);
    kw_session *session = kw_session_open(it->client, &error, "k:1", 3);
    assert_non_null(session);
    kw_reply_free(kw_session_command(session, &error, "WATCH k:1 k:2"));
    kw_reply_free(kw_session_command(session, &error, "MULTI"));
    kw_reply_free(kw_session_command(session, &error, "INCR k:3"));
    kw_reply_free(kw_session_command(session, &error, "INCR k:4"));
    kw_reply *results = kw_session_command(session, &error, "EXEC");
    assert_int_equal(kw_reply_count(results), 2);
    assert_int_equal(kw_reply_int(kw_reply_at(results, 1)), 5);
    kw_reply_free(results);
    kw_session_close(session);
}

/* Every replica answers reads, and none is sent a write. */
static void test_reads_go_to_the_replicas_where_asked_to(void **state)
{
    stage *it = *state;
    kw_client *client =
        kw_test_open("%s?timeout=5s&read-preference=replica", kw_test_group_uri(it->group));
    kw_test_ask_ok(client, "SET copied 1");
    uint64_t end_ms = kw_test_now_ms() + 5000;
    while (kw_test_ask_integer(client, "EXISTS copied") == 0) {
        assert_true(kw_test_now_ms() < end_ms);
    }
    for (int i = 0; i < 200; i++) {
        free(kw_test_ask_text(client, "GET copied"));
        kw_test_ask_ok(client, "SET other %d", i);
    }
    kw_node_stats stats = {.size = sizeof(stats)};
    for (size_t i = 0; kw_client_node_stats(client, &stats, i) == KW_OK; i++) {
        assert_true(stats.is_primary ? stats.sends >= 200 : stats.sends >= 40);
    }
    kw_close(client);
}

typedef struct durable_row {
    const char *argv[4]; /* NULL behind the last */
    unsigned acks;
    kw_err code;
    bool has_reply;
} durable_row;

static void test_writes_wait_for_as_many_replicas_as_asked(void **state)
{
    stage *it = *state;
    static const durable_row rows[] = {
        {{"SET", "durable", "1"}, 2, KW_OK, true},
        {{"INCR", "durable"}, 1, KW_OK, true},
        {{"INCR", "durable"}, 3, KW_ERR_DURABILITY, true}, /* there are but two */
        {{"LPUSH", "durable", "x"}, 3, KW_OK, true},       /* the server's error: nothing ran */
        {{"GET", "durable"}, 3, KW_OK, true},
        {{"FLUSHALL"}, 2, KW_OK, true}, /* one data set: one node */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_call_options options = KW_CALL_OPTIONS_INIT;
        kw_error error = KW_ERROR_INIT;
        unsigned acked = 99;
        int argc = 0;
        const char *argv[4];
        for (; argc < 4 && rows[i].argv[argc] != NULL; argc++) {
            argv[argc] = rows[i].argv[argc];
        }
        options.acks = rows[i].acks;
        options.acks_timeout_ms = rows[i].acks > 2 ? 100 : 1500;
        options.acked = &acked;
        kw_reply *reply = kw_call(it->client, &error, &options, (kw_argv){argc, argv, NULL});
        assert_int_equal(reply != NULL, rows[i].has_reply);
        if (error.code != rows[i].code) {
            fail_msg("%s: %s", argv[0], error.text);
        }
        if (rows[i].code == KW_ERR_DURABILITY) {
            assert_int_equal(error.effect, KW_EFFECT_DONE);
            assert_int_equal(kw_reply_int(reply), 3);
            assert_int_equal(acked, 2);
        } else if (rows[i].acks < 3) {
            assert_in_range(acked, rows[i].acks, 2);
        }
        kw_reply_free(reply);
    }
}

/* A value of several sends has WAIT behind it; and the handle may ask for all writes. */
static void test_long_writes_and_those_of_a_handle_wait_for_replicas(void **state)
{
    stage *it = *state;
    size_t len = 3000000;
    char *value = calloc(1, len);
    const char *argv[] = {"SET", "durable", value};
    const size_t lens[] = {3, 7, len};
    unsigned acked = 99;
    kw_error error = KW_ERROR_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.acks = 2;
    options.acks_timeout_ms = 4000;
    options.acked = &acked;
    kw_reply *reply = kw_call(it->client, &error, &options, (kw_argv){3, argv, lens});
    assert_string_equal(kw_reply_str(reply, NULL), "OK");
    assert_int_equal(error.code, KW_OK);
    assert_int_equal(acked, 2);
    kw_reply_free(reply);
    free(value);
    kw_client *client =
        kw_test_open("%s?timeout=5s&acks=3&acks-timeout=100ms", kw_test_group_uri(it->group));
    reply = kw_command(client, &error, "SET durable 8");
    assert_string_equal(kw_reply_str(reply, NULL), "OK");
    assert_int_equal(error.code, KW_ERR_DURABILITY);
    assert_int_equal(error.effect, KW_EFFECT_DONE);
    assert_non_null(strstr(error.text, "2 of 3 replicas"));
    kw_reply_free(reply);
    kw_close(client);
}

/* Redis 7.2 and Valkey know WAITAOF, and say that their append-only file is off. */
static void test_disk_of_a_server_that_cannot_say_is_an_error_that_says_so(void **state)
{
    stage *it = *state;
    const char *argv[] = {"SET", "durable", "9"};
    unsigned acked = 99;
    unsigned local = 99;
    kw_error error = KW_ERROR_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.acks = 1;
    options.acks_local = 1;
    options.acked = &acked;
    options.acked_local = &local;
    kw_reply *reply = kw_call(it->client, &error, &options, (kw_argv){3, argv, NULL});
    assert_string_equal(kw_reply_str(reply, NULL), "OK");
    kw_reply_free(reply);
    assert_int_equal(error.effect, KW_EFFECT_DONE);
    assert_int_equal(acked + local, 0);
    if (error.code == KW_ERR_UNSUPPORTED) {
        assert_non_null(strstr(error.text, "needs WAITAOF, which Redis 7.2 and Valkey have"));
    } else {
        assert_int_equal(error.code, KW_ERR_DURABILITY);
        assert_non_null(strstr(error.text, "appendonly"));
    }
    kw_test_ask_ok(it->client, "SET durable 10");
}

static void test_names_that_nobody_knows_are_an_error_of_their_own(void **state)
{
    stage *it = *state;
    char uri[300];
    snprintf(uri, sizeof(uri), "%s-not", kw_test_group_uri(it->group));
    kw_client *client = kw_test_try_open(uri, NULL);
    kw_error error = KW_ERROR_INIT;
    uint64_t start_ms = kw_test_now_ms();
    assert_null(kw_command(client, &error, "GET a"));
    assert_int_equal(error.code, KW_ERR_NO_SERVICE);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_non_null(strstr(error.text, "mymaster-not"));
    assert_int_equal(kw_connect(client, &error), KW_ERR_NO_SERVICE);
    assert_true(kw_test_now_ms() - start_ms < 1500); /* not at the deadline */
    kw_close(client);
}

/* Seconds, in microseconds, from the promotion to the first answer of a write. */
static uint64_t wait_answer(stage *it, uint64_t promoted_ns)
{
    kw_error error = KW_ERROR_INIT;
    uint64_t end_ms = kw_test_now_ms() + 10000;
    for (;;) {
        kw_reply *reply = kw_command(it->client, &error, "INCR after");
        uint64_t now_ns = kw_test_now_ns();
        bool is_answer = reply != NULL && !kw_reply_is_error(reply);
        kw_reply_free(reply);
        if (is_answer) {
            return now_ns > promoted_ns ? (now_ns - promoted_ns) / 1000 : 0;
        }
        assert_true(kw_test_now_ms() < end_ms);
    }
}

/* What both replicas have outlives the primary. */
static void keep_a_value(stage *it)
{
    int reached_n = 0;
    KW_TEST_UNTIL(reached_n == 2) /* the server's time is not ours: it may be slow */
    {
        kw_session *session = kw_session_open(it->client, NULL, "kept", 4);
        kw_reply *kept = kw_session_command(session, NULL, "SET kept 1");
        kw_reply *reached = kw_session_command(session, NULL, "WAIT 2 5000");
        reached_n = kept != NULL ? (int)kw_reply_int(reached) : 0;
        kw_reply_free(kept);
        kw_reply_free(reached);
        kw_session_close(session);
    }
}

/* The primary that all sentinels name, and that is not the old one, once the client is there.
 * Beside busy programs two sentinels may promote a server each, of which one is taken back. */
static kw_test_server *await_heir(stage *it, const kw_test_server *old)
{
    kw_test_server *heir = NULL;
    char name[64] = "";
    KW_TEST_UNTIL(heir != NULL && heir != old && strcmp(name, kw_test_server_address(heir)) == 0)
    {
        step(it->client);
        heir = kw_test_group_primary(it->group);
        assert_int_equal(kw_client_slot_node(it->client, NULL, name, sizeof(name), 0), KW_OK);
    }
    return heir;
}

static void test_killed_primary_is_replaced(void **state)
{
    stage *it = *state;
    uint64_t promoted_ns;
    kw_test_server *old = kw_test_group_primary(it->group);
    keep_a_value(it);
    kw_test_server_kill(old);
    (void)kw_test_group_wait_promotion(it->group, old, &promoted_ns);
    uint64_t us = wait_answer(it, promoted_ns);
    print_message("first answer %lu us after the promotion\n", (unsigned long)us);
    assert_true(us < 1000000 * KW_TEST_SLOWNESS);
    kw_test_server *heir = await_heir(it, old);
    assert_int_equal(kw_test_ask_integer(it->client, "EXISTS kept"), 1);
    kw_test_server_restart(old); /* as a primary, until the sentinels say otherwise */
    for (int i = 0; i < 200; i++) {
        step(it->client);
    }
    assert_primary(it, heir);
    kw_test_group_wait(it->group, 60000);
    assert_primary(it, heir);
    step(it->client);
}

/* Calls go on, each answered, until they go to the heir: within five seconds after all sentinels
 * have named it. False: the sentinels, which are slow beside busy programs, have given it up. */
static bool moves_to(stage *it, kw_test_server *heir)
{
    uint64_t named_ms = 0;
    char name[64] = "";
    KW_TEST_UNTIL(strcmp(name, kw_test_server_address(heir)) == 0)
    {
        step(it->client);
        assert_int_equal(kw_client_slot_node(it->client, NULL, name, sizeof(name), 0), KW_OK);
        if (named_ms == 0 && kw_test_group_primary(it->group) == heir) {
            named_ms = kw_test_now_ms();
        }
        assert_true(named_ms == 0 || kw_test_now_ms() < named_ms + 5000);
        if (!kw_test_server_is_info(heir, "role", "master")) {
            return false;
        }
    }
    return true;
}

static void test_failover_by_command_moves_every_connection(void **state)
{
    stage *it = *state;
    int rounds_n = 0;
    KW_TEST_UNTIL(rounds_n == 2)
    {
        uint64_t promoted_ns;
        step(it->client);
        kw_test_server *heir = kw_test_group_failover(it->group, &promoted_ns);
        if (!moves_to(it, heir)) {
            kw_test_group_wait(it->group, 60000);
            continue;
        }
        rounds_n++;
        print_message("the new primary is used %lu ms after its promotion\n",
                      (unsigned long)((kw_test_now_ns() - promoted_ns) / 1000000));
        kw_node_stats stats = {.size = sizeof(stats)};
        for (size_t i = 0; kw_client_node_stats(it->client, &stats, i) == KW_OK; i++) {
            assert_true(stats.is_primary || stats.connections == 0);
        }
        kw_test_group_wait(it->group, 60000);
    }
}

static void test_demoted_primary_is_noticed_by_its_own_word(void **state)
{
    stage *it = *state;
    kw_test_server *primary = NULL;
    kw_error error = KW_ERROR_INIT;
    const char *argv[] = {"INCR", "after", NULL};
    kw_test_deadline deadline = {300, NULL};
    /* READONLY, until the sentinels make it a primary again, or another one, which may be at once.
     */
    KW_TEST_UNTIL(error.code != KW_OK)
    {
        kw_test_group_wait(it->group, 60000);
        primary = kw_test_group_primary(it->group);
        assert_non_null(primary);
        step(it->client);
        kw_test_server_ok(primary, "REPLICAOF 127.0.0.1 %u",
                          (unsigned)kw_test_server_port(kw_test_group_sentinel(it->group, 0)));
        kw_reply_free(kw_test_call(it->client, &error, deadline, argv));
    }
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    /* Valkey 8 and later name their primary instead: that is a sentinel here. */
    assert_true(error.code == KW_ERR_READONLY || error.code == KW_ERR_ROLE ||
                error.code == KW_ERR_UNSUPPORTED);
    kw_test_server_ok(primary, "REPLICAOF NO ONE");
    step(it->client);
    kw_test_group_wait(it->group, 60000);
}

static void test_calls_go_on_while_no_sentinel_is_there(void **state)
{
    stage *it = *state;
    step(it->client);
    for (unsigned i = 0; i < KW_TEST_SENTINELS; i++) {
        kw_test_server_kill(kw_test_group_sentinel(it->group, i));
    }
    uint64_t end_ms = kw_test_now_ms() + 2500;
    while (kw_test_now_ms() < end_ms) {
        step(it->client);
    }
    /* Connections that break are opened again: ROLE says that it is still the primary. */
    kw_test_server *primary = NULL;
    for (size_t i = 0; i < kw_test_group_count(it->group); i++) {
        kw_test_server *server = kw_test_group_server(it->group, i);
        primary = kw_test_server_is_info(server, "role", "master") ? server : primary;
    }
    (void)kw_test_server_integer(primary, "CLIENT KILL TYPE normal SKIPME yes");
    step(it->client);
    /* A new handle has nobody to ask. */
    kw_client *other = kw_test_open("%s?timeout=500ms", kw_test_group_uri(it->group));
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(other, &error, "GET a"));
    assert_int_equal(error.code, KW_ERR_NO_SENTINEL);
    assert_int_equal(kw_connect(other, &error), KW_ERR_NO_SENTINEL);
    for (unsigned i = 0; i < KW_TEST_SENTINELS; i++) {
        kw_test_server_restart(kw_test_group_sentinel(it->group, i));
    }
    kw_test_group_wait(it->group, 60000);
    KW_TEST_AWAIT(kw_connect(other, NULL) == KW_OK) /* it asks them once a second */
    step(other);
    kw_close(other);
}

static int start_stage(void **state)
{
    static stage it; /* the program's only one */
    it.group = kw_test_group_start(2, NULL, NULL);
    kw_test_group_hasten(it.group);
    it.client = kw_test_open("%s?timeout=10s", kw_test_group_uri(it.group));
    *state = &it;
    return 0;
}

static int end_stage(void **state)
{
    stage *it = *state;
    kw_close(it->client);
    kw_test_group_free(it->group);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands_go_to_the_primary),
        cmocka_unit_test(test_batches_and_sessions_know_no_slots),
        cmocka_unit_test(test_reads_go_to_the_replicas_where_asked_to),
        cmocka_unit_test(test_writes_wait_for_as_many_replicas_as_asked),
        cmocka_unit_test(test_long_writes_and_those_of_a_handle_wait_for_replicas),
        cmocka_unit_test(test_disk_of_a_server_that_cannot_say_is_an_error_that_says_so),
        cmocka_unit_test(test_names_that_nobody_knows_are_an_error_of_their_own),
        cmocka_unit_test(test_failover_by_command_moves_every_connection),
        cmocka_unit_test(test_killed_primary_is_replaced),
        cmocka_unit_test(test_demoted_primary_is_noticed_by_its_own_word),
        cmocka_unit_test(test_calls_go_on_while_no_sentinel_is_there),
    };
    return cmocka_run_group_tests(tests, start_stage, end_stage);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Databases of a cluster (Valkey 9, cluster-databases): each connection is in the handle's, a
 * session in its own, also where slots move; and a cluster without them says so at once. */
#include "fake/fakes.h"
#include "support/ways.h"

#include <stdatomic.h>

#define CONNECTIONS_MAX 256

/* A node that answers which database a command was run in. */
typedef struct node {
    bool has_databases;
    unsigned database[CONNECTIONS_MAX];
    atomic_bool asks; /* GET is answered ASK, to the third fake */
} node;

static node nodes[FAKES_N];

static bool select_one(node *self, kw_fake_call *call, unsigned *database)
{
    unsigned number = (unsigned)atoi(kw_fake_call_arg(call, 1, NULL));
    if (!self->has_databases) {
        kw_fake_call_replyf(call, "-ERR SELECT is not allowed in cluster mode\r\n");
    } else if (number > 15) {
        kw_fake_call_replyf(call, "-ERR DB index is out of range\r\n");
    } else {
        *database = number;
        kw_fake_call_replyf(call, "+OK\r\n");
    }
    return true;
}

static bool serve(void *arg, kw_fake_call *call)
{
    node *self = arg;
    const char *name = kw_fake_call_arg(call, 0, NULL);
    unsigned *database = &self->database[kw_fake_call_connection(call) % CONNECTIONS_MAX];
    if (strcmp(name, "HELLO") == 0) {
        *database = 0;
    } else if (strcmp(name, "SELECT") == 0) {
        return select_one(self, call, database);
    } else if (strcmp(name, "GET") == 0) {
        if (atomic_load(&self->asks)) {
            kw_fake_call_replyf(call, "-ASK %u %s\r\n", FOO_SLOT, kw_fake_address(fakes[2]));
        } else {
            kw_fake_call_replyf(call, ":%u\r\n", *database);
        }
        return true;
    }
    return false;
}

static void start_nodes(bool have_databases)
{
    renew_fakes();
    memset(nodes, 0, sizeof(nodes));
    for (size_t i = 0; i < FAKES_N; i++) {
        nodes[i].has_databases = have_databases;
        kw_fake_respond(fakes[i], serve, &nodes[i]);
    }
}

static void move_foo(size_t to)
{
    const kw_fake_range ranges[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[to], NULL}};
    kw_fake_set_cluster(fakes, FAKES_N, ranges, 2);
    kw_fake_on_reply(fakes[to == 1 ? 2 : 1], KW_FAKE_ALWAYS, "GET foo*", "-MOVED %u %s", FOO_SLOT,
                     kw_fake_address(fakes[to]));
}

static void expect_database(kw_session *session, long long number)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_session_command(session, &error, "GET foo");
    if (reply == NULL || kw_reply_type(reply) != KW_REPLY_INTEGER ||
        kw_reply_int(reply) != number) {
        fail_msg("not in database %lld: %s %s", number, error.text,
                 reply != NULL ? kw_reply_str(reply, NULL) : "");
    }
    kw_reply_free(reply);
}

static void expect_ok(kw_session *session, const char *command)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_session_command(session, &error, command);
    if (reply == NULL || kw_reply_is_error(reply)) {
        fail_msg("%s: %s", command, reply != NULL ? kw_reply_str(reply, NULL) : error.text);
    }
    kw_reply_free(reply);
}

static void test_databases_of_a_cluster_are_those_of_each_connection(void **state)
{
    (void)state;
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        start_nodes(true);
        kw_client *kw = kw_test_open("redis-cluster://%s/3?timeout=5s", kw_fake_address(fakes[0]));
        expect_number(kw, "GET foo", 3);
        expect_number(kw, "GET bar", 3);
        move_foo(2);
        kw_test_end end = kw_test_send(kw, (kw_test_way)way, "GET", "foo");
        if (!end.is_answered) {
            fail_msg("%s: %s", kw_test_way_name((kw_test_way)way), end.error.text);
        }
        expect_number(kw, "GET foo", 3);
        assert_true(kw_fake_count(fakes[2], "GET foo") >= 2);
        kw_close(kw);
    }
}

static void test_databases_refused_are_an_error_at_once(void **state)
{
    (void)state;
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        start_nodes(false);
        kw_client *kw =
            kw_test_open("redis-cluster://%s?db=1&timeout=60s", kw_fake_address(fakes[0]));
        kw_test_end end = kw_test_send(kw, (kw_test_way)way, "GET", "foo");
        expect_error(kw_test_way_name((kw_test_way)way), &end.error, KW_ERR_HANDSHAKE,
                     KW_EFFECT_NONE);
        if (strstr(end.error.text, "cluster-databases") == NULL) {
            fail_msg("%s: %s", kw_test_way_name((kw_test_way)way), end.error.text);
        }
        assert_in_range(end.took_us / 1000, 0, 30000);
        kw_close(kw);
    }
}

static void test_databases_of_sessions_follow_their_slot(void **state)
{
    (void)state;
    start_nodes(true);
    kw_client *kw = kw_test_open("redis-cluster://%s?timeout=5s", kw_fake_address(fakes[0]));
    kw_session *session = kw_session_open(kw, NULL, "foo", 3);
    expect_database(session, 0);
    expect_ok(session, "SELECT 2");
    expect_database(session, 2);
    move_foo(2);
    expect_database(session, 2); /* MOVED is followed, and 2 selected there */
    assert_int_equal(kw_fake_count(fakes[2], "SELECT 2"), 1);
    kw_fake_disconnect(fakes[2], false);
    kw_fake_await_open(fakes[2], 0);
    kw_test_sleep_ms(5);
    expect_database(session, 2); /* and so it is on a new connection */
    kw_session_close(session);
    for (int i = 0; i < 3; i++) {
        expect_number(kw, "GET foo", 0); /* none of its connections came to the others */
    }
    kw_close(kw);
}

static void test_databases_of_sessions_follow_ask(void **state)
{
    (void)state;
    start_nodes(true);
    kw_client *kw = kw_test_open("redis-cluster://%s?timeout=5s", kw_fake_address(fakes[0]));
    kw_session *session = kw_session_open(kw, NULL, "foo", 3);
    expect_ok(session, "SELECT 7");
    atomic_store(&nodes[1].asks, true);
    expect_database(session, 7);
    assert_int_equal(kw_fake_count(fakes[2], "ASKING"), 1);
    assert_int_equal(kw_fake_count(fakes[2], "SELECT 7"), 1);
    atomic_store(&nodes[1].asks, false);
    expect_database(session, 7);
    expect_ok(session, "SELECT 0");
    expect_database(session, 0);
    kw_session_close(session);
    expect_number(kw, "GET foo", 0);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_databases_of_a_cluster_are_those_of_each_connection),
        cmocka_unit_test(test_databases_refused_are_an_error_at_once),
        cmocka_unit_test(test_databases_of_sessions_follow_their_slot),
        cmocka_unit_test(test_databases_of_sessions_follow_ask),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

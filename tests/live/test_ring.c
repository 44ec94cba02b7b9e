/* SPDX-License-Identifier: BSD-3-Clause */
/* A ring of plain servers: every command finds its keys' nodes. KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway/batch.h>
#include <keyway/loop.h>
#include <keyway/session.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "live/ring_servers.h"
#include "support/ask.h"
#include "support/check.h"
#include "support/turn.h"

static ring_servers *servers_of(void **state)
{
    return *state;
}

static void test_a_key_is_at_the_node_that_the_handle_names(void **state)
{
    ring_servers *servers = servers_of(state);
    kw_client *client = ring_open(servers, "");
    size_t used[RING_SERVERS] = {0};
    for (int i = 0; i < 300; i++) {
        char key[32];
        snprintf(key, sizeof(key), "at:%d", i);
        kw_test_ask_ok(client, "SET %s %d", key, i);
        kw_test_server *owner = ring_owner(servers, client, key, strlen(key), used);
        assert_int_equal(kw_test_server_integer(owner, "EXISTS %s", key), 1);
    }
    for (size_t i = 0; i < RING_SERVERS; i++) {
        assert_true(used[i] > 0);
    }
    assert_int_equal(kw_test_ask_integer(client, "DBSIZE"), 300);
    assert_int_equal(kw_test_stats(client).map_changes, 1);
    kw_close(client);
}

static void test_what_stands_in_braces_places_a_key(void **state)
{
    ring_servers *servers = servers_of(state);
    kw_client *client = ring_open(servers, "");
    for (int i = 0; i < 50; i++) {
        kw_test_ask_ok(client, "MSET {user:%d}:a 1 {user:%d}:b 2", i, i);
        assert_int_equal(kw_test_ask_integer(client, "RENAMENX {user:%d}:a {user:%d}:c", i, i), 1);
    }
    kw_close(client);
    client = ring_open(servers, "?placement=kw1/notag");
    kw_error error = KW_ERROR_INIT;
    size_t refused_n = 0;
    for (int i = 0; i < 50; i++) {
        kw_reply *reply = kw_command(client, &error, "SMOVE {x}:%d {x}:%d m", i, i + 50);
        refused_n += reply == NULL && error.code == KW_ERR_CROSSSLOT ? 1 : 0;
        kw_reply_free(reply);
    }
    assert_true(refused_n > 10);
    kw_close(client);
}

/* How often the server has run the command. */
static long long calls_of(kw_test_server *server, const char *command)
{
    char *info = kw_test_server_text(server, "INFO commandstats");
    char field[64];
    snprintf(field, sizeof(field), "cmdstat_%s:calls=", command);
    const char *at = strstr(info, field);
    long long n = at != NULL ? strtoll(at + strlen(field), NULL, 10) : 0;
    free(info);
    return n;
}

static void test_many_keys_are_one_command_a_node_joined_in_order(void **state)
{
    enum { N = 500 };
    ring_servers *servers = servers_of(state);
    kw_client *client = ring_open(servers, "");
    char keys[N][24];
    const char *argv[2 * N + 1] = {"MSET"};
    for (int i = 0; i < N; i++) {
        snprintf(keys[i], sizeof(keys[i]), "many:%d", i);
        argv[1 + 2 * i] = keys[i];
        argv[2 + 2 * i] = keys[i] + 5;
    }
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command_argv(client, &error, 2 * N + 1, argv, NULL);
    assert_string_equal(kw_reply_str(reply, NULL), "OK");
    kw_reply_free(reply);
    argv[0] = "MGET";
    for (int i = 0; i < N; i++) {
        argv[1 + i] = keys[N - 1 - i];
    }
    reply = kw_command_argv(client, &error, N + 1, argv, NULL);
    assert_int_equal(kw_reply_count(reply), N);
    for (int i = 0; i < N; i++) {
        assert_string_equal(kw_reply_str(kw_reply_at(reply, (size_t)i), NULL), keys[N - 1 - i] + 5);
    }
    kw_reply_free(reply);
    static const char *const counted[] = {"EXISTS", "TOUCH", "UNLINK", "DEL"};
    for (size_t i = 0; i < sizeof(counted) / sizeof(counted[0]); i++) {
        argv[0] = counted[i];
        reply = kw_command_argv(client, &error, N + 1, argv, NULL);
        assert_int_equal(kw_reply_int(reply), i < 3 ? N : 0);
        kw_reply_free(reply);
    }
    for (size_t i = 0; i < RING_SERVERS; i++) {
        assert_int_equal(calls_of(servers->servers[i], "mset"), 1);
        assert_int_equal(calls_of(servers->servers[i], "mget"), 1);
        assert_int_equal(calls_of(servers->servers[i], "unlink"), 1);
    }
    kw_close(client);
}

static void test_keys_of_several_nodes_are_refused_with_their_nodes_named(void **state)
{
    ring_servers *servers = servers_of(state);
    kw_client *client = ring_open(servers, "?cross-slot=refuse");
    kw_error error = KW_ERROR_INIT;
    size_t refused_n = 0;
    for (int i = 0; i < 40; i++) {
        static const char *const formats[] = {"RENAME k:%d k:%d", "MGET k:%d k:%d",
                                              "SINTER k:%d k:%d"};
        kw_reply *reply = kw_command(client, &error, formats[i % 3], i, i + 100);
        if (reply == NULL) {
            assert_int_equal(error.code, KW_ERR_CROSSSLOT);
            assert_int_equal(error.effect, KW_EFFECT_NONE);
            assert_non_null(strstr(error.text, "node"));
            assert_non_null(strstr(error.text, "\"k:"));
            refused_n++;
        }
        kw_reply_free(reply);
    }
    assert_in_range(refused_n, 10, 39);
    assert_int_equal(kw_test_stats(client).failures, refused_n);
    kw_close(client);
}

static void test_a_batch_goes_to_all_nodes_with_one_wait(void **state)
{
    enum { N = 1000 };
    ring_servers *servers = servers_of(state);
    kw_client *client = ring_open(servers, "");
    kw_error error = KW_ERROR_INIT;
    kw_batch *batch = kw_batch_new(client, &error);
    for (int i = 0; i < N; i++) {
        assert_int_equal(kw_batch_add(batch, &error, "SET b:%d %d", i, i), KW_OK);
        assert_int_equal(kw_batch_add(batch, &error, "INCR b:%d", i), KW_OK);
    }
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_OK);
    for (size_t i = 0; i < N; i++) {
        const kw_reply *reply = kw_batch_reply(batch, &error, 2 * i + 1);
        assert_int_equal(kw_reply_int(reply), i + 1);
    }
    kw_batch_clear(batch);
    for (int i = 0; i < 30; i++) { /* of one owner, or of two */
        assert_int_equal(kw_batch_add(batch, &error, "MGET b:%d b:%d", i, i + 1), KW_OK);
    }
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_OK);
    for (size_t i = 0; i < 30; i++) {
        const kw_reply *reply = kw_batch_reply(batch, &error, i);
        long long first = 0;
        long long second = 0;
        assert_int_equal(kw_reply_to_int(kw_reply_at(reply, 0), &error, &first), KW_OK);
        assert_int_equal(kw_reply_to_int(kw_reply_at(reply, 1), &error, &second), KW_OK);
        assert_int_equal(first, i + 1);
        assert_int_equal(second, i + 2);
        assert_true(kw_reply_type(kw_reply_at(reply, 1)) == KW_REPLY_STRING);
    }
    kw_batch_free(batch);
    kw_close(client);
}

static void ask_session(kw_session *session, const char *command, const char *answer)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_session_command(session, &error, command);
    if (reply == NULL) {
        fail_msg("%s: %s", command, error.text);
    }
    if (answer != NULL) {
        assert_string_equal(kw_reply_str(reply, NULL), answer);
    }
    kw_reply_free(reply);
}

/* What callbacks were told. */
typedef struct told {
    size_t replies_n;
    size_t good_n;
    long long sum;
} told;

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    told *self = arg;
    self->replies_n++;
    self->good_n += reply != NULL && !kw_reply_is_error(reply) ? 1 : 0;
    self->sum += kw_reply_int(reply) + (long long)kw_reply_count(reply);
    if (error != NULL) {
        fprintf(stderr, "%s\n", error->text);
    }
    kw_reply_free(reply);
}

static void process_until(kw_client *client, const told *self, size_t replies_n)
{
    KW_TEST_UNTIL(self->replies_n >= replies_n)
    {
        assert_int_equal(kw_test_turn(client, 100), KW_OK);
    }
}

static void test_callbacks_get_replies_of_all_nodes(void **state)
{
    enum { N = 500 };
    ring_servers *servers = servers_of(state);
    kw_client *client = ring_open(servers, "");
    kw_error error = KW_ERROR_INIT;
    told it = {0};
    for (int i = 0; i < N; i++) {
        assert_int_equal(kw_command_async(client, &error, (kw_callback){on_reply, &it},
                                          "SETRANGE l:%d %d x", i, i % 7),
                         KW_OK);
        assert_int_equal(
            kw_command_async(client, &error, (kw_callback){on_reply, &it}, "STRLEN l:%d", i),
            KW_OK);
    }
    assert_int_equal(kw_command_async(client, &error, (kw_callback){on_reply, &it},
                                      "MGET l:1 l:2 l:3 l:4 l:5 l:6"),
                     KW_OK);
    assert_int_equal(
        kw_command_async(client, &error, (kw_callback){on_reply, &it}, "EXISTS l:1 l:2 l:3 l:4"),
        KW_OK);
    process_until(client, &it, 2 * N + 2);
    assert_int_equal(it.good_n, 2 * N + 2);
    long long expected = 6 + 4;
    for (int i = 0; i < N; i++) {
        expected += 2 * (i % 7 + 1);
    }
    assert_int_equal(it.sum, expected);
    kw_close(client);
}

static void test_a_session_holds_the_keys_of_its_node(void **state)
{
    ring_servers *servers = servers_of(state);
    kw_client *client = ring_open(servers, "");
    kw_error error = KW_ERROR_INIT;
    kw_session *session = kw_session_open(client, &error, "{s}:1", 5);
    assert_non_null(session);
    ask_session(session, "WATCH {s}:1 {s}:2", "OK");
    ask_session(session, "MULTI", "OK");
    ask_session(session, "MSET {s}:1 a {s}:2 b", "QUEUED");
    ask_session(session, "EXEC", NULL);
    ask_session(session, "GET {s}:2", "b");
    size_t refused_n = 0;
    for (int i = 0; i < 30; i++) {
        kw_reply *reply = kw_session_command(session, &error, "GET other:%d", i);
        refused_n += reply == NULL && error.code == KW_ERR_CROSSSLOT ? 1 : 0;
        kw_reply_free(reply);
    }
    assert_in_range(refused_n, 10, 29);
    kw_session_close(session);
    kw_close(client);
}

/* Port of the server that answered. */
static char *port_of(kw_client *client, const kw_call_options *options, kw_error *error)
{
    const char *argv[] = {"CONFIG", "GET", "port"};
    kw_reply *reply = kw_call(client, error, options, (kw_argv){3, argv, NULL});
    const char *text = kw_reply_str(kw_reply_at(reply, 1), NULL);
    char *copy = text != NULL ? strdup(text) : NULL;
    kw_reply_free(reply);
    return copy;
}

static void test_routes_by_key_name_and_address_reach_their_node(void **state)
{
    ring_servers *servers = servers_of(state);
    kw_client *client = ring_open(servers, "");
    kw_error error = KW_ERROR_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    char node[128];
    for (int i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof(key), "r:%d", i);
        assert_int_equal(kw_client_key_node(client, &error, node, sizeof(node), key, strlen(key)),
                         KW_OK);
        options.route = KW_ROUTE_KEY;
        options.key = key;
        options.key_len = strlen(key);
        char *port = port_of(client, &options, &error);
        assert_string_equal(port, strrchr(node, ':') + 1);
        free(port);
    }
    for (size_t i = 0; i < RING_SERVERS; i++) {
        static const char *const names[] = {"a", "b", "c"};
        const char *address = kw_test_server_address(servers->servers[i]);
        options.route = KW_ROUTE_NODE;
        options.node = names[i];
        char *port = port_of(client, &options, &error);
        assert_string_equal(port, strrchr(address, ':') + 1);
        free(port);
        options.node = address;
        port = port_of(client, &options, &error);
        assert_string_equal(port, strrchr(address, ':') + 1);
        free(port);
    }
    options.node = "d";
    assert_null(port_of(client, &options, &error));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    options.route = KW_ROUTE_SLOT;
    assert_null(port_of(client, &options, &error));
    assert_int_equal(error.code, KW_ERR_UNSUPPORTED);
    assert_int_equal(kw_client_slot_node(client, &error, node, sizeof(node), 0),
                     KW_ERR_UNSUPPORTED);
    kw_close(client);
}

typedef struct popper {
    pthread_t thread;
    kw_client *client;
} popper;

static void *pop(void *arg)
{
    popper *self = arg;
    const char *argv[] = {"BLPOP", "none", "20"};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.route = KW_ROUTE_ANY;
    options.key = "same";
    options.key_len = 4;
    kw_reply_free(kw_call(self->client, NULL, &options, (kw_argv){3, argv, NULL}));
    return NULL;
}

static long long blocked_n(const ring_servers *servers)
{
    long long n = 0;
    for (size_t i = 0; i < RING_SERVERS; i++) {
        n += kw_test_server_info(servers->servers[i], "blocked_clients");
    }
    return n;
}

/* 12 calls near one key, and 3 nodes: none has more than 1.25 of its share. */
static void test_calls_near_a_key_spread_when_its_node_has_its_share(void **state)
{
    enum { POPPERS = 12 };
    ring_servers *servers = servers_of(state);
    popper poppers[POPPERS];
    kw_client *client = ring_open(servers, "");
    for (int i = 0; i < POPPERS; i++) {
        poppers[i].client = client;
        assert_int_equal(pthread_create(&poppers[i].thread, NULL, pop, &poppers[i]), 0);
        KW_TEST_AWAIT(blocked_n(servers) > i)
    }
    size_t used[RING_SERVERS] = {0};
    kw_test_server *owner = ring_owner(servers, client, "same", 4, used);
    for (size_t i = 0; i < RING_SERVERS; i++) {
        long long n = kw_test_server_info(servers->servers[i], "blocked_clients");
        assert_in_range(n, servers->servers[i] == owner ? 4 : 2, 5);
        for (; n > 0; n--) {
            (void)kw_test_server_integer(servers->servers[i], "RPUSH none x");
        }
    }
    for (int i = 0; i < POPPERS; i++) {
        kw_test_join(poppers[i].thread);
    }
    for (int i = 0; i < 20; i++) { /* the calls have ended: the owner is free again */
        kw_call_options options = KW_CALL_OPTIONS_INIT;
        kw_error error = KW_ERROR_INIT;
        options.route = KW_ROUTE_ANY;
        options.key = "same";
        options.key_len = 4;
        char *port = port_of(client, &options, &error);
        assert_int_equal(atoi(port), kw_test_server_port(owner));
        free(port);
    }
    kw_close(client);
}

static void test_a_command_that_is_looked_up_finds_its_node(void **state)
{
    ring_servers *servers = servers_of(state);
    kw_client *client = ring_open(servers, "");
    for (int i = 0; i < 20; i++) {
        char *text = kw_test_ask_error(client, "NOSUCHCOMMAND k:%d", i);
        assert_memory_equal(text, "ERR unknown command", 19);
        free(text);
    }
    kw_reply *reply = kw_test_ask(client, "EVAL %s 1 lua", "return redis.call('SET',KEYS[1],1)");
    assert_string_equal(kw_reply_str(reply, NULL), "OK");
    kw_reply_free(reply);
    assert_int_equal(kw_test_ask_integer(client, "EXISTS lua"), 1);
    kw_close(client);
}

static void test_weight_zero_gets_no_keys_and_all_nodes_are_asked(void **state)
{
    ring_servers *servers = servers_of(state);
    kw_error error = KW_ERROR_INIT;
    char uri[300];
    snprintf(uri, sizeof(uri), "redis-ring://a=%s*0,%s*3",
             kw_test_server_address(servers->servers[0]),
             kw_test_server_address(servers->servers[1]));
    kw_client *client = kw_test_open("%s", uri);
    assert_int_equal(kw_connect(client, &error), KW_OK);
    for (int i = 0; i < 50; i++) {
        kw_test_ask_ok(client, "SET w:%d 1", i);
    }
    assert_int_equal(kw_test_server_integer(servers->servers[0], "DBSIZE"), 0);
    assert_int_equal(kw_test_ask_integer(client, "DBSIZE"), 50);
    kw_close(client);
    snprintf(uri, sizeof(uri), "redis-ring://a=%s*0", kw_test_server_address(servers->servers[0]));
    client = kw_test_open("%s", uri);
    assert_null(kw_command(client, &error, "GET x"));
    assert_int_equal(error.code, KW_ERR_NOT_SERVED);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_non_null(strstr(error.text, "weight"));
    kw_close(client);
}

static void test_databases_are_selected_on_every_node(void **state)
{
    ring_servers *servers = servers_of(state);
    kw_client *client = ring_open(servers, "/3");
    for (int i = 0; i < 30; i++) {
        kw_test_ask_ok(client, "SET db:%d 1", i);
    }
    for (size_t i = 0; i < RING_SERVERS; i++) {
        assert_int_equal(kw_test_server_integer(servers->servers[i], "DBSIZE"), 0);
    }
    assert_int_equal(kw_test_ask_integer(client, "DBSIZE"), 30);
    kw_close(client);
}

static void test_what_no_ring_can_be_is_said_when_it_is_opened(void **state)
{
    (void)state;
    static const struct {
        const char *uri;
        kw_err code;
        const char *says;
    } rows[] = {
        {"redis-ring://a=h:1,b=h:1", KW_ERR_CONFIG, "h:1 is there twice"},
        {"redis-ring://a=h:1;replica=h:1", KW_ERR_CONFIG, "twice"},
        {"redis-ring://h:1,h:1", KW_ERR_CONFIG, "already"},
        {"redis-ring://a=h:1?placement=modulo&vnodes=10", KW_ERR_CONFIG, "vnodes"},
        {"redis-ring://a=h:1*4000000000", KW_ERR_CONFIG, "points"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_error error = KW_ERROR_INIT;
        assert_null(kw_test_try_open(rows[i].uri, &error));
        if (error.code != rows[i].code || strstr(error.text, rows[i].says) == NULL) {
            fail_msg("%s: %s: %s", rows[i].uri, kw_err_name(error.code), error.text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_key_is_at_the_node_that_the_handle_names, ring_flush),
        cmocka_unit_test_setup(test_what_stands_in_braces_places_a_key, ring_flush),
        cmocka_unit_test_setup(test_many_keys_are_one_command_a_node_joined_in_order, ring_flush),
        cmocka_unit_test_setup(test_keys_of_several_nodes_are_refused_with_their_nodes_named,
                               ring_flush),
        cmocka_unit_test_setup(test_a_batch_goes_to_all_nodes_with_one_wait, ring_flush),
        cmocka_unit_test_setup(test_callbacks_get_replies_of_all_nodes, ring_flush),
        cmocka_unit_test_setup(test_a_session_holds_the_keys_of_its_node, ring_flush),
        cmocka_unit_test_setup(test_routes_by_key_name_and_address_reach_their_node, ring_flush),
        cmocka_unit_test_setup(test_calls_near_a_key_spread_when_its_node_has_its_share,
                               ring_flush),
        cmocka_unit_test_setup(test_a_command_that_is_looked_up_finds_its_node, ring_flush),
        cmocka_unit_test_setup(test_weight_zero_gets_no_keys_and_all_nodes_are_asked, ring_flush),
        cmocka_unit_test_setup(test_databases_are_selected_on_every_node, ring_flush),
        cmocka_unit_test(test_what_no_ring_can_be_is_said_when_it_is_opened),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}

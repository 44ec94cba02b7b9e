/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that concern one node, on a handle of several: never sent to a node of chance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/fake.h"

#include <keyway.h>

#include <stdio.h>
#include <string.h>

static kw_fake *fakes[2];

static int set_up(void **state)
{
    (void)state;
    fakes[0] = kw_fake_start();
    fakes[1] = kw_fake_start();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kw_fake_free(fakes[0]);
    kw_fake_free(fakes[1]);
    return 0;
}

static kw_client *open_cluster(void)
{
    kw_fake_halves(fakes, 2);
    kw_client *kw = kw_test_open("redis-cluster://%s?timeout=5s", kw_fake_address(fakes[0]));
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    return kw;
}

static kw_client *open_ring(void)
{
    kw_fake_halves(fakes, 2);
    return kw_test_open("redis-ring://a=%s,b=%s?timeout=5s", kw_fake_address(fakes[0]),
                        kw_fake_address(fakes[1]));
}

static void never(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)arg;
    (void)error;
    kw_reply_free(reply);
    fail();
}

static void expect_refusal(kw_err code, const kw_error *error, const char *name)
{
    assert_int_equal(code, KW_ERR_REFUSED);
    assert_int_equal(error->code, KW_ERR_REFUSED);
    assert_int_equal(error->effect, KW_EFFECT_NONE);
    assert_non_null(strstr(error->text, name));
    assert_non_null(strstr(error->text, "KW_ROUTE_NODE"));
    assert_true((strstr(error->text, "kw_scan_open") != NULL) == (strcmp(name, "SCAN") == 0));
}

/* In every way of sending, and before anything is sent. */
static void expect_refused(kw_client *kw, const char *command, const char *name)
{
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(kw, &error, command));
    expect_refusal(error.code, &error, name);
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_non_null(batch);
    expect_refusal(kw_batch_add(batch, &error, command), &error, name);
    kw_batch_free(batch);
    assert_null(kw_submit(kw, &error, command));
    expect_refusal(error.code, &error, name);
    kw_callback callback = {never, NULL};
    expect_refusal(kw_command_async(kw, &error, callback, command), &error, name);
}

static const char *const of_one_node[][2] = {
    {"SCAN 0", "SCAN"},
    {"CONFIG GET maxmemory", "CONFIG GET"},
    {"INFO", "INFO"},
    {"CLIENT LIST", "CLIENT LIST"},
    {"ROLE", "ROLE"},
    {"BGSAVE", "BGSAVE"},
    {"PUBSUB CHANNELS", "PUBSUB CHANNELS"},
    {"LATENCY DOCTOR", "LATENCY DOCTOR"},
    {"CLUSTER GETKEYSINSLOT 1 10", "CLUSTER GETKEYSINSLOT"},
};

static void test_routes_command_of_one_node_is_refused_where_there_are_several(void **state)
{
    (void)state;
    kw_client *handles[] = {open_cluster(), open_ring()};
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < sizeof(of_one_node) / sizeof(of_one_node[0]); i++) {
            expect_refused(handles[k], of_one_node[i][0], of_one_node[i][1]);
            assert_int_equal(kw_fake_count(fakes[0], of_one_node[i][0]), 0);
            assert_int_equal(kw_fake_count(fakes[1], of_one_node[i][0]), 0);
        }
        kw_close(handles[k]);
    }
}

/* A caller that says where is obeyed. */
static void test_routes_command_of_one_node_goes_where_it_is_told(void **state)
{
    (void)state;
    kw_client *kw = open_cluster();
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "SCAN 0", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\n%zu", i);
    }
    const char *words[] = {"SCAN", "0"};
    kw_argv command = {2, words, NULL};
    for (size_t i = 0; i < 2; i++) {
        kw_call_options options = KW_CALL_OPTIONS_INIT;
        options.route = KW_ROUTE_NODE;
        options.node = kw_fake_address(fakes[i]);
        kw_reply *reply = kw_call(kw, NULL, &options, command);
        const char *key = kw_reply_str(kw_reply_at(kw_reply_at(reply, 1), 0), NULL);
        assert_string_equal(key, i == 0 ? "0" : "1");
        kw_reply_free(reply);
    }
    kw_call_options any = KW_CALL_OPTIONS_INIT;
    any.route = KW_ROUTE_ANY;
    kw_reply *reply = kw_call(kw, NULL, &any, command);
    assert_int_equal(kw_reply_count(reply), 2);
    kw_reply_free(reply);
    kw_close(kw);
}

static void test_routes_command_of_one_node_needs_no_route_where_there_is_one(void **state)
{
    (void)state;
    kw_fake_halves(fakes, 2);
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "CONFIG GET *", "*0");
    kw_client *kw = kw_test_open("%s?timeout=5s", kw_fake_uri(fakes[0]));
    kw_reply *reply = kw_command(kw, NULL, "CONFIG GET maxmemory");
    assert_int_equal(kw_reply_type(reply), KW_REPLY_ARRAY);
    kw_reply_free(reply);
    kw_close(kw);
}

/* One primary has a key, the other has none. */
static void test_routes_random_key_is_looked_for_at_every_primary(void **state)
{
    (void)state;
    kw_client *kw = open_cluster();
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "RANDOMKEY", "$-1");
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "RANDOMKEY", "$3\r\nfoo");
    for (int i = 0; i < 20; i++) {
        kw_reply *reply = kw_command(kw, NULL, "RANDOMKEY");
        assert_string_equal(kw_reply_str(reply, NULL), "foo");
        kw_reply_free(reply);
    }
    kw_close(kw);
}

/* Each command of a batch goes where its own options say. */
static void test_routes_of_a_batch_are_each_commands_own(void **state)
{
    (void)state;
    kw_client *kw = open_cluster();
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "DBSIZE", ":%zu", i);
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "ECHO *", ":%zu", i);
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "GET *", ":%zu", i);
    }
    kw_error error = KW_ERROR_INIT;
    kw_batch *batch = kw_batch_new(kw, &error);
    const char *size[] = {"DBSIZE"};
    const char *echo[] = {"ECHO", "x"};
    for (size_t i = 0; i < 2; i++) {
        char node[64];
        kw_call_options options = KW_CALL_OPTIONS_INIT;
        snprintf(node, sizeof(node), "%s", kw_fake_address(fakes[i]));
        options.route = KW_ROUTE_NODE;
        options.node = node; /* not looked at afterwards */
        assert_int_equal(kw_batch_add_call(batch, &error, &options, (kw_argv){1, size, NULL}), 0);
        options.route = KW_ROUTE_KEY;
        options.key = i == 0 ? "bar" : "foo";
        options.key_len = 3;
        assert_int_equal(kw_batch_add_call(batch, &error, &options, (kw_argv){2, echo, NULL}), 0);
    }
    const char *get[] = {"GET", "foo"};
    assert_int_equal(kw_batch_add_call(batch, &error, NULL, (kw_argv){2, get, NULL}), KW_OK);
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_OK);
    static const long long expected[] = {0, 0, 1, 1, 1};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(kw_reply_int(kw_batch_reply(batch, &error, i)), expected[i]);
    }
    kw_batch_free(batch);
    kw_close(kw);
}

static void test_routes_and_options_that_a_batch_cannot_have_are_refused(void **state)
{
    (void)state;
    kw_client *kw = open_cluster();
    kw_token token = KW_TOKEN_INIT;
    const char *argv[] = {"SET", "foo", "v"};
    kw_call_options rows[6];
    for (size_t i = 0; i < 6; i++) {
        rows[i] = (kw_call_options)KW_CALL_OPTIONS_INIT;
    }
    rows[0].timeout_ms = 100;
    rows[1].route = KW_ROUTE_NODE;
    rows[2].route = KW_ROUTE_ALL_PRIMARIES;
    rows[3].acks = 1;
    rows[4].token_out = &token;
    rows[5].size = 1;
    static const kw_err codes[] = {KW_ERR_ARGUMENT,    KW_ERR_ARGUMENT,    KW_ERR_REFUSED,
                                   KW_ERR_UNSUPPORTED, KW_ERR_UNSUPPORTED, KW_ERR_ARGUMENT};
    kw_batch *batch = kw_batch_new(kw, NULL);
    for (size_t i = 0; i < 6; i++) {
        kw_error error = KW_ERROR_INIT;
        kw_err code = kw_batch_add_call(batch, &error, &rows[i], (kw_argv){3, argv, NULL});
        if (code != codes[i] || error.effect != KW_EFFECT_NONE || error.text[0] == '\0') {
            fail_msg("%zu: %s: %s", i, kw_err_name(code), error.text);
        }
    }
    assert_int_equal(kw_batch_count(batch), 0);
    assert_int_equal(kw_batch_add_call(NULL, NULL, NULL, (kw_argv){3, argv, NULL}),
                     KW_ERR_ARGUMENT);
    kw_batch_free(batch);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes_command_of_one_node_is_refused_where_there_are_several),
        cmocka_unit_test(test_routes_command_of_one_node_goes_where_it_is_told),
        cmocka_unit_test(test_routes_command_of_one_node_needs_no_route_where_there_is_one),
        cmocka_unit_test(test_routes_random_key_is_looked_for_at_every_primary),
        cmocka_unit_test(test_routes_of_a_batch_are_each_commands_own),
        cmocka_unit_test(test_routes_and_options_that_a_batch_cannot_have_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

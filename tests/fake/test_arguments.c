/* SPDX-License-Identifier: BSD-3-Clause */
/* What callers hand over: bytes of any kind and size, NULL and nonsense, and routes, which go where
 * they say. */
#include "fake/argument_fakes.h"
#include "route/command_table.h"

#include <stdatomic.h>

static void test_arguments_any_bytes_arrive(void **state)
{
    (void)state;
    renew_cluster();
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "SET *", "+OK");
    }
    const char *argv[] = {"SET", "a\0\r\n\xff", ""};
    const size_t lens[] = {3, 5, 0};
    kw_reply *reply = kw_command_argv(kw, NULL, 3, argv, lens);
    assert_string_equal(kw_reply_str(reply, NULL), "OK");
    kw_reply_free(reply);
    assert_int_equal(received("SET a\\x00\\x0d\\x0a\\xff "), 1);
    reply = kw_command(kw, NULL, "SET %b %s", "", (size_t)0, "v");
    assert_string_equal(kw_reply_str(reply, NULL), "OK");
    kw_reply_free(reply);
}

static void test_arguments_a_million_arrive(void **state)
{
    (void)state;
    enum { N = 1000000 };
    renew_cluster();
    const char **argv = calloc(N, sizeof(argv[0]));
    assert_non_null(argv);
    argv[0] = "RPUSH";
    for (size_t i = 1; i < N; i++) {
        argv[i] = "foo";
    }
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "RPUSH *", ":999998");
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = KW_TEST_PATIENCE_MS;
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_call(kw, &error, &options, (kw_argv){N, argv, NULL});
    if (reply == NULL) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(kw_reply_int(reply), N - 2);
    kw_reply_free(reply);
    free(argv);
}

static void test_arguments_routes_go_where_they_say(void **state)
{
    (void)state;
    renew_cluster();
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "ECHO *", ":%zu", i);
    }
    const char *argv[] = {"ECHO", "x"};
    kw_error error = KW_ERROR_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.route = KW_ROUTE_KEY;
    options.key = "foo";
    options.key_len = 3;
    kw_reply *reply = kw_call(kw, &error, &options, (kw_argv){2, argv, NULL});
    assert_int_equal(kw_reply_int(reply), 1);
    kw_reply_free(reply);
    options.route = KW_ROUTE_SLOT;
    options.slot = 5061;
    reply = kw_call(kw, &error, &options, (kw_argv){2, argv, NULL});
    assert_int_equal(kw_reply_int(reply), 0);
    kw_reply_free(reply);
    options.route = KW_ROUTE_NODE;
    options.node = kw_fake_address(fakes[1]);
    reply = kw_call(kw, &error, &options, (kw_argv){2, argv, NULL});
    assert_int_equal(kw_reply_int(reply), 1);
    kw_reply_free(reply);
    options.route = KW_ROUTE_ALL_PRIMARIES;
    kw_reply_free(kw_call(kw, &error, &options, (kw_argv){2, argv, NULL}));
    assert_int_equal(kw_fake_count(fakes[0], "ECHO x"), 2);
    assert_int_equal(kw_fake_count(fakes[1], "ECHO x"), 3);
    options.route = KW_ROUTE_SLOT;
    options.slot = 16384;
    assert_null(kw_call(kw, &error, &options, (kw_argv){2, argv, NULL}));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    assert_string_equal(error.text, "options.slot is past 16383");
    options.route = KW_ROUTE_NODE;
    options.node = "10.9.9.9:1";
    assert_null(kw_call(kw, &error, &options, (kw_argv){2, argv, NULL}));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    options.node = NULL;
    assert_null(kw_call(kw, &error, &options, (kw_argv){2, argv, NULL}));
    assert_string_equal(error.text, "options.node is NULL");
    options.route = (kw_route)99;
    assert_null(kw_call(kw, &error, &options, (kw_argv){2, argv, NULL}));
    assert_string_equal(error.text, "options.route is none of kw_route");
    options.size = 3;
    assert_null(kw_call(kw, &error, &options, (kw_argv){2, argv, NULL}));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
}

/* What a server got, compared byte by byte. */
typedef struct want {
    const char *key;
    size_t key_len;
    const char *value;
    size_t value_len;
    atomic_uint seen_n;
} want;

static bool compare(void *arg, kw_fake_call *call)
{
    want *it = arg;
    size_t key_len;
    size_t value_len;
    if (strcmp(kw_fake_call_arg(call, 0, NULL), "SET") != 0) {
        return false;
    }
    const char *key = kw_fake_call_arg(call, 1, &key_len);
    const char *value = kw_fake_call_arg(call, 2, &value_len);
    bool is_equal = kw_fake_call_argc(call) == 3 && key_len == it->key_len &&
                    value_len == it->value_len && memcmp(key, it->key, key_len) == 0 &&
                    memcmp(value, it->value, value_len) == 0;
    atomic_fetch_add(&it->seen_n, is_equal ? 1 : 100);
    kw_fake_call_replyf(call, "+OK\r\n");
    return true;
}

static void check_arrival(const char *key, size_t key_len, const char *value, size_t value_len)
{
    want it = {key, key_len, value, value_len, 0};
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_respond(fakes[i], compare, &it);
    }
    const char *argv[] = {"SET", key, value};
    const size_t lens[] = {3, key_len, value_len};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = 30000;
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_call(kw, &error, &options, (kw_argv){3, argv, lens});
    if (reply == NULL) {
        fail_msg("key of %zu, value of %zu: %s", key_len, value_len, error.text);
    }
    assert_string_equal(kw_reply_str(reply, NULL), "OK");
    kw_reply_free(reply);
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_equal(kw_batch_add_argv(batch, NULL, 3, argv, lens), KW_OK);
    assert_int_equal(kw_batch_run(batch, NULL, 30000), KW_OK);
    kw_batch_free(batch);
    assert_int_equal(atomic_load(&it.seen_n), 2);
    renew_cluster();
}

static void test_arguments_of_all_sizes_arrive_whole(void **state)
{
    (void)state;
    renew_cluster();
    size_t large_len = (size_t)32 << 20;
    char *large = malloc(large_len);
    assert_non_null(large);
    for (size_t i = 0; i < large_len; i++) {
        large[i] = (char)(i * 7 + i / 251);
    }
    check_arrival("", 0, "", 0);
    check_arrival("\0", 1, "\0\0", 2);
    check_arrival("{}", 2, "\r\n$3\r\n", 6);
    check_arrival(large, 500, "v", 1); /* about what needs no heap */
    check_arrival(large, 1 << 20, large, 3);
    for (size_t i = 0; i < 8; i++) {
        check_arrival("k", 1, large, 16 * 1024 - 40 + i * 8); /* about what is copied */
        check_arrival("k", 1, large, 64 * 1024 - 40 + i * 8);
    }
    check_arrival("k", 1, large, large_len);
    free(large);
}

static void test_arguments_that_no_memory_holds_are_refused(void **state)
{
    (void)state;
    renew_cluster();
    const char *argv[] = {"SET", "foo", "v", "w"};
    const size_t lens[] = {3, 3, SIZE_MAX - 10, SIZE_MAX - 10};
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command_argv(kw, &error, 4, argv, lens));
    assert_true(error.code == KW_ERR_NOMEM || error.code == KW_ERR_ARGUMENT);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_not_equal(kw_batch_add_argv(batch, &error, 4, argv, lens), KW_OK);
    assert_int_equal(kw_batch_count(batch), 0);
    kw_batch_free(batch);
    assert_int_equal(received("*"), 0);
}

static void test_arguments_of_endless_time_do_not_overflow(void **state)
{
    (void)state;
    renew_cluster();
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "GET *", ":1");
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "BLPOP *", ":2");
    const char *get[] = {"GET", "foo"};
    const char *pop[] = {"BLPOP", "foo", "99999999999"};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = UINT64_MAX;
    kw_reply *reply = kw_call(kw, NULL, &options, (kw_argv){2, get, NULL});
    assert_int_equal(kw_reply_int(reply), 1);
    kw_reply_free(reply);
    reply = kw_call(kw, NULL, NULL, (kw_argv){3, pop, NULL});
    assert_int_equal(kw_reply_int(reply), 2);
    kw_reply_free(reply);
}

static void test_arguments_routes_any_and_all_nodes_go_where_they_say(void **state)
{
    (void)state;
    renew_cluster();
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "PING *", "+PONG");
    }
    const char *argv[] = {"PING", "x"};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.route = KW_ROUTE_ANY;
    /* Any node is one that is well: both of them are, from here on. */
    kw_reply_free(kw_command(kw, NULL, "GET bar"));
    kw_reply_free(kw_command(kw, NULL, "GET foo"));
    for (int i = 0; i < 40; i++) {
        kw_reply_free(kw_call(kw, NULL, &options, (kw_argv){2, argv, NULL}));
    }
    assert_in_range(kw_fake_count(fakes[0], "PING x"), 5, 35); /* they are spread */
    assert_in_range(kw_fake_count(fakes[1], "PING x"), 5, 35);
    assert_int_equal(kw_fake_count(fakes[2], "PING x"), 0);
    renew_cluster();
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "PING *", "+PONG");
    }
    options.route = KW_ROUTE_ALL_NODES;
    kw_reply *reply = kw_call(kw, NULL, &options, (kw_argv){2, argv, NULL});
    assert_false(reply == NULL || kw_reply_is_error(reply));
    kw_reply_free(reply);
    for (size_t i = 0; i < FAKES_N; i++) {
        assert_int_equal(kw_fake_count(fakes[i], "PING x"), 1);
    }
}

/* NULL where something is to be, an error of another version, and no error at all. */
static void test_arguments_null_is_an_error_not_a_crash(void **state)
{
    (void)state;
    kw_client *client = open_anew("");
    const char *argv[] = {"GET", "foo", NULL};
    const size_t lens[] = {3, 3, 0};
    assert_null(kw_command(NULL, NULL, "GET foo"));
    assert_null(kw_command(client, NULL, NULL));
    assert_null(kw_command_argv(client, NULL, 2, NULL, lens));
    assert_null(kw_command_argv(client, NULL, 0, argv, lens));
    assert_null(kw_command_argv(client, NULL, -5, argv, lens));
    assert_null(kw_call(NULL, NULL, NULL, (kw_argv){2, argv, lens}));
    assert_null(kw_command(client, NULL, "GET %y"));
    assert_null(kw_command(client, NULL, "   "));
    assert_int_equal(kw_connect(NULL, NULL), KW_ERR_ARGUMENT);
    assert_null(kw_batch_new(NULL, NULL));
    assert_null(kw_session_open(NULL, NULL, "foo", 3));
    assert_null(kw_open(NULL, NULL));
    assert_null(kw_open("", NULL));
    kw_close(NULL);
    kw_reply_free(NULL);
    kw_batch_free(NULL);
    kw_session_close(NULL);
    char node[8];
    assert_int_not_equal(kw_client_slot_node(NULL, NULL, node, sizeof(node), 0), KW_OK);
    assert_int_equal(kw_client_slot_node(client, NULL, node, sizeof(node), 16384),
                     KW_ERR_NOT_SERVED);
    assert_int_equal(kw_client_slot_node(client, NULL, node, sizeof(node), 0), KW_OK);
    assert_int_equal(strlen(node), sizeof(node) - 1); /* cut to fit */
    kw_error old = KW_ERROR_INIT;
    old.size = offsetof(kw_error, effect); /* a program of an older version */
    memset((char *)&old + old.size, 0x5a, sizeof(old) - old.size);
    assert_null(kw_command(client, &old, "MULTI"));
    assert_int_equal((unsigned char)old.text[5], 0x5a);
    assert_int_equal(received("*"), 0);
    kw_close(client);
}

static void test_arguments_empty_and_odd_names_reach_a_server(void **state)
{
    (void)state;
    kw_client *client = open_anew("");
    static char longest[300000];
    memset(longest, 'n', sizeof(longest));
    const struct {
        const char *name;
        size_t len;
    } names[] = {
        {"", 0},          {" ", 1}, {"\0\0", 2}, {"get\r\n", 5}, {longest, sizeof(longest)},
        {"G\xc3\x89T", 4}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *argv[] = {names[i].name, "foo"};
        const size_t lens[] = {names[i].len, 3};
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command_argv(client, &error, 2, argv, lens);
        if (reply == NULL && error.code != KW_ERR_ARGUMENT) {
            fail_msg("%zu: %s", i, error.text);
        }
        assert_true(reply == NULL || kw_reply_is_error(reply));
        kw_reply_free(reply);
    }
    kw_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments_any_bytes_arrive),
        cmocka_unit_test(test_arguments_a_million_arrive),
        cmocka_unit_test(test_arguments_routes_go_where_they_say),
        cmocka_unit_test(test_arguments_of_all_sizes_arrive_whole),
        cmocka_unit_test(test_arguments_that_no_memory_holds_are_refused),
        cmocka_unit_test(test_arguments_of_endless_time_do_not_overflow),
        cmocka_unit_test(test_arguments_routes_any_and_all_nodes_go_where_they_say),
        cmocka_unit_test(test_arguments_null_is_an_error_not_a_crash),
        cmocka_unit_test(test_arguments_empty_and_odd_names_reach_a_server),
    };
    return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}

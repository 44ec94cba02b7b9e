/* SPDX-License-Identifier: BSD-3-Clause */
/* What a caller hands over: odd bytes, too many arguments, wrong uses, unknown commands and
 * routes. What is refused is refused before anything is sent. */
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
#include <stdlib.h>
#include <string.h>

static kw_fake *fakes[2];
static kw_client *kw;

static int set_up(void **state)
{
    (void)state;
    fakes[0] = kw_fake_start();
    fakes[1] = kw_fake_start();
    const kw_fake_range ranges[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[1], NULL}};
    kw_fake_set_cluster(fakes, 2, ranges, 2);
    char uri[200];
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=2s", kw_fake_address(fakes[0]));
    kw = kw_test_try_open(uri, NULL);
    return kw == NULL || kw_connect(kw, NULL) != KW_OK;
}

static int tear_down(void **state)
{
    (void)state;
    kw_close(kw);
    kw_fake_free(fakes[0]);
    kw_fake_free(fakes[1]);
    return 0;
}

static size_t received(const char *pattern)
{
    return kw_fake_count(fakes[0], pattern) + kw_fake_count(fakes[1], pattern);
}

static void clear_logs(void)
{
    for (size_t i = 0; i < 2; i++) {
        kw_fake_reset(fakes[i]);
        kw_fake_log_clear(fakes[i]);
    }
}

static void test_arguments_any_bytes_arrive(void **state)
{
    (void)state;
    clear_logs();
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
    clear_logs();
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

static void test_arguments_wrong_uses_send_nothing(void **state)
{
    (void)state;
    clear_logs();
    kw_error error = KW_ERROR_INIT;
    const char *argv[] = {"GET", NULL};
    assert_null(kw_command(kw, &error, ""));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    assert_null(kw_command(kw, &error, "SET a %y"));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    assert_null(kw_command(NULL, &error, "GET a"));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    assert_null(kw_command_argv(kw, &error, 0, argv, NULL));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    assert_null(kw_command_argv(kw, &error, -1, argv, NULL));
    assert_null(kw_command_argv(kw, &error, 1, NULL, NULL));
    assert_null(kw_command_argv(kw, &error, 2, argv, NULL));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    static const char *const refused[] = {
        "MULTI",    "EXEC",    "WATCH a", "SUBSCRIBE c", "PSUBSCRIBE",       "MONITOR",
        "SELECT 1", "HELLO 3", "AUTH x",  "RESET",       "CLIENT REPLY OFF", "QUIT"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        assert_null(kw_command(kw, &error, refused[i]));
        if (error.code != KW_ERR_REFUSED || error.effect != KW_EFFECT_NONE) {
            fail_msg("%s: %s", refused[i], error.text);
        }
    }
    assert_null(kw_command(kw, &error, "SINTER foo bar"));
    assert_int_equal(error.code, KW_ERR_CROSSSLOT);
    assert_non_null(strstr(error.text, "\"foo\" (slot 12182)"));
    assert_non_null(strstr(error.text, "\"bar\" (slot 5061)"));
    assert_null(kw_command(kw, &error, "EVAL script x a"));
    assert_int_equal(error.code, KW_ERR_KEYS);
    assert_null(kw_command(kw, &error, "EVAL script 99 a"));
    assert_int_equal(error.code, KW_ERR_KEYS);
    assert_int_equal(received("*"), 0);
}

static void test_arguments_routes_go_where_they_say(void **state)
{
    (void)state;
    clear_logs();
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
    options.route = KW_ROUTE_NODE;
    options.node = "10.9.9.9:1";
    assert_null(kw_call(kw, &error, &options, (kw_argv){2, argv, NULL}));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    options.route = (kw_route)99;
    assert_null(kw_call(kw, &error, &options, (kw_argv){2, argv, NULL}));
    options.size = 3;
    assert_null(kw_call(kw, &error, &options, (kw_argv){2, argv, NULL}));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
}

static void test_arguments_unknown_command_is_looked_up_once(void **state)
{
    (void)state;
    clear_logs();
    static const char info[] =
        "*1\r\n*6\r\n$8\r\nmod.incr\r\n:-2\r\n*1\r\n+write\r\n:2\r\n:2\r\n:1\r\n";
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND INFO mod.incr",
                   KW_FAKE_STEPS(KW_FAKE_BYTES(info, sizeof(info) - 1)));
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "mod.incr *", ":%zu", i);
    }
    kw_error error = KW_ERROR_INIT;
    for (int i = 0; i < 5; i++) {
        kw_reply *foo = kw_command(kw, &error, "mod.incr x foo");
        kw_reply *bar = kw_command(kw, &error, "MOD.INCR x bar");
        assert_int_equal(kw_reply_int(foo), 1);
        assert_int_equal(kw_reply_int(bar), 0);
        kw_reply_free(foo);
        kw_reply_free(bar);
    }
    assert_int_equal(received("COMMAND INFO *"), 1);
    /* Keys that only the server can find. */
    static const char movable[] =
        "*1\r\n*6\r\n$7\r\nmod.mov\r\n:-2\r\n*2\r\n+readonly\r\n+movablekeys\r\n:0\r\n:0\r\n:0\r\n";
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND INFO mod.mov",
                   KW_FAKE_STEPS(KW_FAKE_BYTES(movable, sizeof(movable) - 1)));
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND GETKEYS mod.mov KEY foo",
                   KW_FAKE_STEPS(KW_FAKE_SEND("*1\r\n$3\r\nfoo\r\n")));
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "mod.mov *", ":%zu", i);
    }
    kw_reply *reply = kw_command(kw, &error, "mod.mov KEY foo");
    assert_int_equal(kw_reply_int(reply), 1);
    kw_reply_free(reply);
    /* What no server knows is a server's to refuse. */
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND INFO nonsense",
                   KW_FAKE_STEPS(KW_FAKE_SEND("*1\r\n*-1\r\n")));
    }
    reply = kw_command(kw, &error, "nonsense a b");
    assert_true(kw_reply_is_error(reply));
    kw_reply_free(reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments_any_bytes_arrive),
        cmocka_unit_test(test_arguments_a_million_arrive),
        cmocka_unit_test(test_arguments_wrong_uses_send_nothing),
        cmocka_unit_test(test_arguments_routes_go_where_they_say),
        cmocka_unit_test(test_arguments_unknown_command_is_looked_up_once),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

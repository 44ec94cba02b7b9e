/* SPDX-License-Identifier: BSD-3-Clause */
/* What callers hand over, where a cluster is about: keys in different slots, routes, NULL and
 * nonsense everywhere, and commands that only a server knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/fake.h"

#include <keyway.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LATE_MS 1500

/* foo is the second fake's, bar the first one's. */
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

static void clear_logs(void)
{
    for (size_t i = 0; i < 2; i++) {
        kw_fake_log_clear(fakes[i]);
    }
}

static kw_client *start_anew(const char *options)
{
    const kw_fake_range ranges[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[1], NULL}};
    for (size_t i = 0; i < 2; i++) {
        kw_fake_reset(fakes[i]);
    }
    kw_fake_set_cluster(fakes, 2, ranges, 2);
    kw_client *kw =
        kw_test_open("redis-cluster://%s?timeout=1s%s", kw_fake_address(fakes[0]), options);
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    clear_logs();
    return kw;
}

static size_t received(const char *pattern)
{
    return kw_fake_count(fakes[0], pattern) + kw_fake_count(fakes[1], pattern);
}

/* Commands that a caller might think would work, and what they are told before anything is
 * sent. */
static void test_arguments_refused_commands_send_nothing(void **state)
{
    (void)state;
    const struct {
        const char *command;
        kw_err code;
    } rows[] = {
        {"multi", KW_ERR_REFUSED},
        {"EXEC", KW_ERR_REFUSED},
        {"DISCARD", KW_ERR_REFUSED},
        {"WATCH foo", KW_ERR_REFUSED},
        {"UNWATCH", KW_ERR_REFUSED},
        {"SUBSCRIBE c", KW_ERR_REFUSED},
        {"SSUBSCRIBE c", KW_ERR_REFUSED},
        {"UNSUBSCRIBE", KW_ERR_REFUSED},
        {"MONITOR", KW_ERR_REFUSED},
        {"SELECT 1", KW_ERR_REFUSED},
        {"HELLO 3", KW_ERR_REFUSED},
        {"AUTH x", KW_ERR_REFUSED},
        {"RESET", KW_ERR_REFUSED},
        {"QUIT", KW_ERR_REFUSED},
        {"CLIENT REPLY OFF", KW_ERR_REFUSED},
        {"CLIENT TRACKING on", KW_ERR_REFUSED},
        {"SYNC", KW_ERR_REFUSED},
        {"PSYNC ? -1", KW_ERR_REFUSED},
        {"ASKING", KW_ERR_REFUSED},
        {"READONLY", KW_ERR_REFUSED},
        {"WAIT 1 0", KW_ERR_REFUSED},
        {"SINTERSTORE foo bar", KW_ERR_CROSSSLOT},
        {"RENAME foo bar", KW_ERR_CROSSSLOT},
        {"EVAL s 2 foo bar", KW_ERR_CROSSSLOT},
        {"EVAL s -1 foo", KW_ERR_KEYS},
        {"EVAL s 3 foo", KW_ERR_KEYS},
        {"MSET foo", KW_ERR_KEYS},
    };
    kw_client *kw = start_anew("");
    kw_batch *batch = kw_batch_new(kw, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(kw, &error, rows[i].command);
        if (rows[i].code == KW_ERR_KEYS && reply != NULL) {
            kw_reply_free(reply); /* a server's to refuse as well */
            clear_logs();
            continue;
        }
        if (reply != NULL || error.code != rows[i].code || error.effect != KW_EFFECT_NONE ||
            error.text[0] == '\0') {
            fail_msg("%s: %s: %s", rows[i].command, kw_err_name(error.code), error.text);
        }
        assert_int_equal(kw_batch_add(batch, &error, rows[i].command), rows[i].code);
        if (received("*") > 0) {
            fail_msg("%s was sent", rows[i].command);
        }
    }
    assert_int_equal(kw_batch_count(batch), 0);
    kw_batch_free(batch);
    kw_close(kw);
}

static void test_arguments_split_commands_may_be_refused(void **state)
{
    (void)state;
    kw_client *kw = start_anew("&cross-slot=refuse");
    static const char *const commands[] = {"MGET foo bar",   "MSET foo 1 bar 2", "DEL foo bar",
                                           "EXISTS foo bar", "TOUCH foo bar",    "UNLINK bar foo"};
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        kw_error error = KW_ERROR_INIT;
        assert_null(kw_command(kw, &error, commands[i]));
        assert_int_equal(error.code, KW_ERR_CROSSSLOT);
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        assert_non_null(strstr(error.text, "12182"));
        assert_non_null(strstr(error.text, "5061"));
    }
    assert_int_equal(received("*"), 0);
    kw_fake_on_reply(fakes[1], 1, "MGET *", "*0");
    kw_reply_free(kw_test_ask(kw, "MGET {foo}a {foo}b"));
    assert_int_equal(received("MGET {foo}a {foo}b"), 1);
    kw_close(kw);
}

/* NULL where something is to be, an error of another version, and no error at all. */
static void test_arguments_null_is_an_error_not_a_crash(void **state)
{
    (void)state;
    kw_client *kw = start_anew("");
    const char *argv[] = {"GET", "foo", NULL};
    const size_t lens[] = {3, 3, 0};
    assert_null(kw_command(NULL, NULL, "GET foo"));
    assert_null(kw_command(kw, NULL, NULL));
    assert_null(kw_command_argv(kw, NULL, 2, NULL, lens));
    assert_null(kw_command_argv(kw, NULL, 0, argv, lens));
    assert_null(kw_command_argv(kw, NULL, -5, argv, lens));
    assert_null(kw_call(NULL, NULL, NULL, (kw_argv){2, argv, lens}));
    assert_null(kw_command(kw, NULL, "GET %y"));
    assert_null(kw_command(kw, NULL, "   "));
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
    assert_int_equal(kw_client_slot_node(kw, NULL, node, sizeof(node), 16384), KW_ERR_NOT_SERVED);
    assert_int_equal(kw_client_slot_node(kw, NULL, node, sizeof(node), 0), KW_OK);
    assert_int_equal(strlen(node), sizeof(node) - 1); /* cut to fit */
    kw_error old = KW_ERROR_INIT;
    old.size = offsetof(kw_error, effect); /* a program of an older version */
    memset((char *)&old + old.size, 0x5a, sizeof(old) - old.size);
    assert_null(kw_command(kw, &old, "MULTI"));
    assert_int_equal((unsigned char)old.text[5], 0x5a);
    assert_int_equal(received("*"), 0);
    kw_close(kw);
}

static void test_arguments_empty_and_odd_names_reach_a_server(void **state)
{
    (void)state;
    kw_client *kw = start_anew("");
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
        kw_reply *reply = kw_command_argv(kw, &error, 2, argv, lens);
        if (reply == NULL && error.code != KW_ERR_ARGUMENT) {
            fail_msg("%zu: %s", i, error.text);
        }
        assert_true(reply == NULL || kw_reply_is_error(reply));
        kw_reply_free(reply);
    }
    kw_close(kw);
}

static void *ask_module(void *arg)
{
    assert_int_equal(kw_test_ask_integer(arg, "mod.incr x foo"), 1);
    return NULL;
}

static const char module_info[] =
    "*1\r\n*6\r\n$8\r\nmod.incr\r\n:-2\r\n*1\r\n+write\r\n:2\r\n:2\r\n:1\r\n";

static void know_module(void)
{
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "COMMAND INFO mod.incr",
                   KW_FAKE_STEPS(KW_FAKE_BYTES(module_info, sizeof(module_info) - 1)));
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "mod.incr *", ":%zu", i);
    }
}

static void test_arguments_unknown_command_of_many_threads_is_looked_up(void **state)
{
    (void)state;
    kw_client *kw = start_anew("");
    know_module();
    pthread_t threads[16];
    for (int k = 0; k < 3; k++) {
        for (size_t i = 0; i < 16; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, ask_module, kw), 0);
        }
        for (size_t i = 0; i < 16; i++) {
            pthread_join(threads[i], NULL);
        }
        assert_in_range(received("COMMAND INFO *"), 1, 16); /* those who were first */
    }
    assert_int_equal(kw_fake_count(fakes[1], "mod.incr x foo"), 48);
    kw_close(kw);
}

/* Whatever comes for COMMAND INFO: a number of keys that cannot be, no answer, no permission. */
static void test_arguments_lookup_that_goes_wrong_is_survived(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "*1\r\n*6\r\n$1\r\nm\r\n:-2\r\n*1\r\n+write\r\n:9223372036854775807\r\n:-1\r\n:1\r\n",
        "*1\r\n*6\r\n$1\r\nm\r\n:-2\r\n*1\r\n+write\r\n:1\r\n:-9223372036854775808\r\n:1\r\n",
        "*1\r\n*6\r\n$1\r\nm\r\n:-2\r\n*0\r\n:1\r\n:999999999999999999\r\n:999999999999999999\r\n",
        "*1\r\n*6\r\n$1\r\nm\r\n:-2\r\n*1\r\n+write\r\n:-1\r\n:-1\r\n:-1\r\n",
        "*1\r\n*6\r\n$1\r\nm\r\n:-2\r\n:5\r\n$1\r\nx\r\n*0\r\n$-1\r\n",
        "*1\r\n*2\r\n$1\r\nm\r\n:-2\r\n",
        "*1\r\n*-1\r\n",
        "*0\r\n",
        "*3\r\n:1\r\n:2\r\n:3\r\n",
        ":5\r\n",
        "-NOPERM this user has no permissions to run 'command|info'\r\n",
        "-ERR unknown command 'COMMAND'\r\n",
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        kw_client *kw = start_anew("");
        for (size_t k = 0; k < 2; k++) {
            kw_fake_on(fakes[k], KW_FAKE_ALWAYS, "COMMAND INFO *",
                       KW_FAKE_STEPS(KW_FAKE_BYTES(answers[i], strlen(answers[i]))));
            kw_fake_on_reply(fakes[k], KW_FAKE_ALWAYS, "mod.x *", ":7");
        }
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(kw, &error, "mod.x foo foo");
        if (reply == NULL) {
            fail_msg("%zu: %s", i, error.text);
        }
        assert_int_equal(kw_reply_int(reply), 7);
        kw_reply_free(reply);
        assert_int_equal(received("mod.x *"), 1);
        kw_close(kw);
    }
    /* No answer: the deadline, and nothing run. */
    kw_client *kw = start_anew("&stall-timeout=50ms");
    for (size_t k = 0; k < 2; k++) {
        kw_fake_on(fakes[k], KW_FAKE_ALWAYS, "COMMAND INFO *", KW_FAKE_STEPS(KW_FAKE_STALL));
    }
    const char *argv[] = {"mod.y", "foo"};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = 150;
    kw_error error = KW_ERROR_INIT;
    uint64_t start_ms = kw_test_now_ms();
    assert_null(kw_call(kw, &error, &options, (kw_argv){2, argv, NULL}));
    assert_in_range(kw_test_now_ms() - start_ms, 148, 150 + LATE_MS);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_int_equal(received("mod.y *"), 0);
    kw_close(kw);
}

/* More names than are remembered: each works, and no memory is piled up. */
static void test_arguments_unknown_names_without_end_are_bounded(void **state)
{
    (void)state;
    kw_client *kw = start_anew("");
    know_module();
    for (size_t k = 0; k < 2; k++) {
        kw_fake_on(fakes[k], KW_FAKE_ALWAYS, "COMMAND INFO many*",
                   KW_FAKE_STEPS(KW_FAKE_BYTES(module_info, sizeof(module_info) - 1)));
        kw_fake_on_reply(fakes[k], KW_FAKE_ALWAYS, "many*", ":%zu", k);
    }
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(kw_test_ask_integer(kw, "many%d x foo", i), 1);
    }
    assert_int_equal(kw_test_ask_integer(kw, "mod.incr x foo"), 1);
    assert_int_equal(kw_test_ask_integer(kw, "mod.incr x bar"), 0);
    assert_int_equal(received("COMMAND INFO mod.incr"), 1);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments_refused_commands_send_nothing),
        cmocka_unit_test(test_arguments_split_commands_may_be_refused),
        cmocka_unit_test(test_arguments_null_is_an_error_not_a_crash),
        cmocka_unit_test(test_arguments_empty_and_odd_names_reach_a_server),
        cmocka_unit_test(test_arguments_unknown_command_of_many_threads_is_looked_up),
        cmocka_unit_test(test_arguments_lookup_that_goes_wrong_is_survived),
        cmocka_unit_test(test_arguments_unknown_names_without_end_are_bounded),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

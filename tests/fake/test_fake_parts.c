/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that become many, and nodes that answer their parts in shapes that do not fit: no
 * value reaches another key, and no number is made up. */
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

/* foo is the second fake's, bar the first one's. */
static kw_fake *fakes[2];
static kw_client *kw;

static int set_up(void **state)
{
    (void)state;
    fakes[0] = kw_fake_start();
    fakes[1] = kw_fake_start();
    const kw_fake_range ranges[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[1], NULL}};
    kw_fake_set_cluster(fakes, 2, ranges, 2);
    kw = kw_test_open("redis-cluster://%s?timeout=2s", kw_fake_address(fakes[0]));
    return kw_connect(kw, NULL) != KW_OK;
}

static int tear_down(void **state)
{
    (void)state;
    kw_close(kw);
    kw_fake_free(fakes[0]);
    kw_fake_free(fakes[1]);
    return 0;
}

/* What each node says to whatever matches; the first one says what fits. */
static void answer(const char *pattern, const char *first, const char *second)
{
    for (size_t i = 0; i < 2; i++) {
        kw_fake_reset(fakes[i]);
        kw_fake_log_clear(fakes[i]);
    }
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, pattern,
               KW_FAKE_STEPS(KW_FAKE_BYTES(first, strlen(first))));
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, pattern,
               KW_FAKE_STEPS(KW_FAKE_BYTES(second, strlen(second))));
}

static void test_parts_values_of_the_wrong_number_reach_no_key(void **state)
{
    (void)state;
    static const char *const wrong[] = {"*1\r\n$1\r\nx\r\n",
                                        "*3\r\n$1\r\nx\r\n$1\r\ny\r\n$1\r\nz\r\n",
                                        "*0\r\n",
                                        "*-1\r\n",
                                        "$-1\r\n",
                                        "$1\r\nx\r\n",
                                        ":2\r\n",
                                        "+OK\r\n",
                                        "-ERR no\r\n"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        answer("MGET *", "*1\r\n$3\r\nown\r\n", wrong[i]);
        kw_reply *reply = kw_test_ask(kw, "MGET {foo}1 bar {foo}2");
        assert_true(kw_reply_is_error(reply));
        assert_int_equal(kw_reply_count(reply), 3);
        assert_true(kw_reply_is_error(kw_reply_at(reply, 0)));
        assert_string_equal(kw_reply_str(kw_reply_at(reply, 1), NULL), "own");
        assert_true(kw_reply_is_error(kw_reply_at(reply, 2)));
        kw_reply_free(reply);
    }
    answer("MGET *", "*1\r\n$3\r\nown\r\n", "*2\r\n$-1\r\n$5\r\nthird\r\n");
    kw_reply *reply = kw_test_ask(kw, "MGET {foo}1 bar {foo}2");
    assert_false(kw_reply_is_error(reply));
    assert_true(kw_reply_is_nil(kw_reply_at(reply, 0)));
    assert_string_equal(kw_reply_str(kw_reply_at(reply, 1), NULL), "own");
    assert_string_equal(kw_reply_str(kw_reply_at(reply, 2), NULL), "third");
    kw_reply_free(reply);
}

/* More keys deleted than there were, or fewer than none, is no number to add. */
static void test_parts_numbers_that_cannot_be_are_not_added(void **state)
{
    (void)state;
    static const char *const wrong[] = {":9223372036854775807\r\n",
                                        ":-9223372036854775808\r\n",
                                        ":3\r\n",
                                        ":-1\r\n",
                                        "+OK\r\n",
                                        "$1\r\n1\r\n",
                                        "*1\r\n:1\r\n",
                                        "$-1\r\n"};
    static const char *const commands[] = {"DEL", "UNLINK", "EXISTS", "TOUCH"};
    for (size_t k = 0; k < 4; k++) {
        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
            answer("*foo*", "", wrong[i]);
            kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "* bar", ":1");
            kw_reply *reply = kw_test_ask(kw, "%s {foo}1 bar {foo}2", commands[k]);
            if (!kw_reply_is_error(reply)) {
                fail_msg("%s, %s: %lld", commands[k], wrong[i], kw_reply_int(reply));
            }
            assert_int_equal(kw_reply_count(reply), 3);
            assert_true(kw_reply_is_error(kw_reply_at(reply, 0)));
            assert_false(kw_reply_is_error(kw_reply_at(reply, 1)));
            assert_true(kw_reply_is_error(kw_reply_at(reply, 2)));
            kw_reply_free(reply);
        }
        answer("*foo*", "", ":2\r\n");
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "* bar", ":1");
        assert_int_equal(kw_test_ask_integer(kw, "%s {foo}1 bar {foo}2", commands[k]), 3);
    }
}

static void test_parts_of_mset_say_what_was_not_set(void **state)
{
    (void)state;
    static const char *const wrong[] = {":1\r\n", "$2\r\nOK\r\n", "*0\r\n", "-OOM no\r\n"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        answer("MSET *", "+OK\r\n", wrong[i]);
        kw_reply *reply = kw_test_ask(kw, "MSET {foo}1 a bar b");
        assert_true(kw_reply_is_error(reply));
        assert_int_equal(kw_reply_count(reply), 2);
        assert_true(kw_reply_is_error(kw_reply_at(reply, 0)));
        assert_false(kw_reply_is_error(kw_reply_at(reply, 1)));
        kw_reply_free(reply);
        assert_int_equal(kw_fake_count(fakes[0], "MSET bar b"), 1);
        assert_int_equal(kw_fake_count(fakes[1], "MSET {foo}1 a"), 1);
    }
}

/* Numbers of all nodes are added, and stop at the largest there is; what differs in kind is
 * an error. */
static void test_parts_of_all_nodes_differ_and_are_not_combined(void **state)
{
    (void)state;
    answer("DBSIZE", ":9223372036854775807\r\n", ":9223372036854775807\r\n");
    assert_true(kw_test_ask_integer(kw, "DBSIZE") == INT64_MAX);
    static const char *const wrong[] = {"+OK\r\n", "*1\r\n:1\r\n", "$-1\r\n", "*0\r\n"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        answer("DBSIZE", ":5\r\n", wrong[i]);
        free(kw_test_ask_error(kw, "DBSIZE"));
        answer("DBSIZE", wrong[i], ":5\r\n");
        free(kw_test_ask_error(kw, "DBSIZE"));
    }
    answer("SCRIPT EXISTS *", "*2\r\n:1\r\n:1\r\n", "*1\r\n:1\r\n");
    free(kw_test_ask_error(kw, "SCRIPT EXISTS a b"));
    answer("KEYS *", "*1\r\n$1\r\na\r\n", "*2\r\n$1\r\nb\r\n$1\r\nc\r\n");
    kw_reply *reply = kw_test_ask(kw, "KEYS *");
    assert_int_equal(kw_reply_count(reply), 3);
    kw_reply_free(reply);
    answer("KEYS *", "*1\r\n$1\r\na\r\n", "-ERR no\r\n");
    char *text = kw_test_ask_error(kw, "KEYS *");
    assert_string_equal(text, "ERR no");
    free(text);
}

/* One node refuses the connection: what the others did counts. */
static void test_parts_of_all_nodes_with_one_gone_may_have_run(void **state)
{
    (void)state;
    answer("FLUSHALL", "+OK\r\n", "+OK\r\n");
    kw_fake_down(fakes[1]);
    kw_error error = KW_ERROR_INIT;
    const char *argv[] = {"FLUSHALL"};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = 150;
    assert_null(kw_call(kw, &error, &options, (kw_argv){1, argv, NULL}));
    assert_int_equal(error.code, KW_ERR_CONNECT);
    assert_int_equal(error.effect, KW_EFFECT_MAYBE);
    assert_string_equal(error.node, kw_fake_address(fakes[1]));
    assert_int_equal(kw_fake_count(fakes[0], "FLUSHALL"), 1);
    kw_fake_up(fakes[1]);
    kw_reply *reply = kw_test_ask(kw, "FLUSHALL");
    assert_string_equal(kw_reply_str(reply, NULL), "OK");
    kw_reply_free(reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_values_of_the_wrong_number_reach_no_key),
        cmocka_unit_test(test_parts_numbers_that_cannot_be_are_not_added),
        cmocka_unit_test(test_parts_of_mset_say_what_was_not_set),
        cmocka_unit_test(test_parts_of_all_nodes_differ_and_are_not_combined),
        cmocka_unit_test(test_parts_of_all_nodes_with_one_gone_may_have_run),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

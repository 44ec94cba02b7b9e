/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that become many, and nodes that answer their parts in shapes that do not fit: no
 * value reaches another key, and no number is made up. */
#include "fake/fakes.h"

static kw_client *kw;

static int set_up(void **state)
{
    start_fakes(state);
    renew_fakes();
    kw = kw_test_open("redis-cluster://%s?timeout=2s", kw_fake_address(fakes[0]));
    return kw_connect(kw, NULL) != KW_OK;
}

static int tear_down(void **state)
{
    kw_close(kw);
    return stop_fakes(state);
}

/* What each node says to whatever matches; the first one says what fits. */
static void answer_both(const char *pattern, const char *first, const char *second)
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
        answer_both("MGET *", "*1\r\n$3\r\nown\r\n", wrong[i]);
        kw_reply *reply = kw_test_ask(kw, "MGET {foo}1 bar {foo}2");
        assert_true(kw_reply_is_error(reply));
        assert_int_equal(kw_reply_count(reply), 3);
        assert_true(kw_reply_is_error(kw_reply_at(reply, 0)));
        assert_string_equal(kw_reply_str(kw_reply_at(reply, 1), NULL), "own");
        assert_true(kw_reply_is_error(kw_reply_at(reply, 2)));
        kw_reply_free(reply);
    }
    answer_both("MGET *", "*1\r\n$3\r\nown\r\n", "*2\r\n$-1\r\n$5\r\nthird\r\n");
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
            answer_both("*foo*", "", wrong[i]);
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
        answer_both("*foo*", "", ":2\r\n");
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "* bar", ":1");
        assert_int_equal(kw_test_ask_integer(kw, "%s {foo}1 bar {foo}2", commands[k]), 3);
    }
}

static void test_parts_of_mset_say_what_was_not_set(void **state)
{
    (void)state;
    static const char *const wrong[] = {":1\r\n", "$2\r\nOK\r\n", "*0\r\n", "-OOM no\r\n"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        answer_both("MSET *", "+OK\r\n", wrong[i]);
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
    answer_both("DBSIZE", ":9223372036854775807\r\n", ":9223372036854775807\r\n");
    assert_true(kw_test_ask_integer(kw, "DBSIZE") == INT64_MAX);
    static const char *const wrong[] = {"+OK\r\n", "*1\r\n:1\r\n", "$-1\r\n", "*0\r\n"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        answer_both("DBSIZE", ":5\r\n", wrong[i]);
        free(kw_test_ask_error(kw, "DBSIZE"));
        answer_both("DBSIZE", wrong[i], ":5\r\n");
        free(kw_test_ask_error(kw, "DBSIZE"));
    }
    answer_both("SCRIPT EXISTS *", "*2\r\n:1\r\n:1\r\n", "*1\r\n:1\r\n");
    free(kw_test_ask_error(kw, "SCRIPT EXISTS a b"));
    answer_both("KEYS *", "*1\r\n$1\r\na\r\n", "*2\r\n$1\r\nb\r\n$1\r\nc\r\n");
    kw_reply *reply = kw_test_ask(kw, "KEYS *");
    assert_int_equal(kw_reply_count(reply), 3);
    kw_reply_free(reply);
    answer_both("KEYS *", "*1\r\n$1\r\na\r\n", "-ERR no\r\n");
    char *text = kw_test_ask_error(kw, "KEYS *");
    assert_string_equal(text, "ERR no");
    free(text);
}

/* One node refuses the connection: what the others did counts. */
static void test_parts_of_all_nodes_with_one_gone_may_have_run(void **state)
{
    (void)state;
    answer_both("FLUSHALL", "+OK\r\n", "+OK\r\n");
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

/* Servers' errors that became one reply: what an outcome tells of their effect. */
static void test_parts_of_which_one_was_refused_may_have_run(void **state)
{
    (void)state;
    static const struct {
        const char *command;
        const char *pattern;
        const char *first;
        const char *second;
        kw_effect effect;
    } rows[] = {
        {"FLUSHALL", "FLUSHALL", "+OK\r\n", "-MISCONF disk\r\n", KW_EFFECT_MAYBE},
        {"FLUSHALL", "FLUSHALL", "-MISCONF disk\r\n", "+OK\r\n", KW_EFFECT_MAYBE},
        {"FLUSHALL", "FLUSHALL", "-MISCONF disk\r\n", "-MISCONF disk\r\n", KW_EFFECT_NONE},
        {"MSET foo 1 bar 2", "MSET *", "+OK\r\n", "-OOM no\r\n", KW_EFFECT_MAYBE},
        {"MSET foo 1 bar 2", "MSET *", "-OOM no\r\n", "-OOM no\r\n", KW_EFFECT_NONE},
        {"DEL foo bar", "DEL *", ":0\r\n", "-NOPERM no\r\n", KW_EFFECT_MAYBE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        renew_fakes();
        answer_both(rows[i].pattern, rows[i].first, rows[i].second);
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(kw, &error, rows[i].command);
        assert_int_equal(kw_reply_outcome(reply, &error), KW_OUTCOME_ERROR);
        assert_int_equal(error.code, KW_ERR_SERVER);
        assert_string_equal(kw_effect_name(error.effect), kw_effect_name(rows[i].effect));
        kw_reply_free(reply);
    }
}

/* Split commands, and those that visit all nodes: one node that fails. */
static void test_parts_of_a_failing_node_are_told_apart(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *client = open_connected("timeout=300ms");
    answer(fakes[0], "DEL bar", ":1");
    kw_fake_on(fakes[1], 1, "DEL foo", KW_FAKE_STEPS(KW_FAKE_RESET));
    answer(fakes[1], "DEL foo", ":1");
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(client, &error, "DEL foo bar");
    assert_true(kw_reply_is_error(reply));
    assert_non_null(strstr(kw_reply_str(reply, NULL), "PARTIAL 1 of 2"));
    assert_true(kw_reply_is_error(kw_reply_at(reply, 0)));
    assert_non_null(strstr(kw_reply_str(kw_reply_at(reply, 0), NULL), "may have run"));
    assert_int_equal(kw_reply_int(kw_reply_at(reply, 1)), 1); /* what DEL said of bar */
    assert_int_equal(kw_reply_outcome(reply, &error), KW_OUTCOME_ERROR);
    assert_int_equal(error.effect, KW_EFFECT_MAYBE);
    kw_reply_free(reply);
    assert_int_equal(kw_fake_count(fakes[1], "DEL *"), 1);
    assert_int_equal(kw_fake_count(fakes[0], "DEL *"), 1);
    /* Read in parts, one of them after a reset. */
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "MGET bar",
               KW_FAKE_STEPS(KW_FAKE_SEND("*1\r\n$1\r\nb\r\n")));
    kw_fake_on(fakes[1], 1, "MGET foo", KW_FAKE_STEPS(KW_FAKE_RESET));
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "MGET foo",
               KW_FAKE_STEPS(KW_FAKE_SEND("*1\r\n$1\r\nf\r\n")));
    reply = kw_command(client, &error, "MGET bar foo");
    assert_int_equal(kw_reply_count(reply), 2);
    assert_string_equal(kw_reply_str(kw_reply_at(reply, 0), NULL), "b");
    assert_string_equal(kw_reply_str(kw_reply_at(reply, 1), NULL), "f");
    kw_reply_free(reply);
    /* A part of the wrong shape is never shifted into another's place. */
    renew_fakes();
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "MGET bar",
               KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n$1\r\nb\r\n$1\r\nx\r\n")));
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "MGET foo",
               KW_FAKE_STEPS(KW_FAKE_SEND("*1\r\n$1\r\nf\r\n")));
    reply = kw_command(client, &error, "MGET bar foo");
    if (reply != NULL && !kw_reply_is_error(reply)) {
        fail_msg("%zu elements", kw_reply_count(reply));
    }
    kw_reply_free(reply);
    /* All nodes: one is gone. */
    renew_fakes();
    answer(fakes[0], "DBSIZE", ":5");
    kw_fake_down(fakes[1]);
    assert_null(kw_command(client, &error, "DBSIZE"));
    assert_int_equal(error.code, KW_ERR_CONNECT);
    assert_string_equal(error.node, kw_fake_address(fakes[1]));
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    kw_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_values_of_the_wrong_number_reach_no_key),
        cmocka_unit_test(test_parts_numbers_that_cannot_be_are_not_added),
        cmocka_unit_test(test_parts_of_mset_say_what_was_not_set),
        cmocka_unit_test(test_parts_of_all_nodes_differ_and_are_not_combined),
        cmocka_unit_test(test_parts_of_all_nodes_with_one_gone_may_have_run),
        cmocka_unit_test(test_parts_of_which_one_was_refused_may_have_run),
        cmocka_unit_test(test_parts_of_a_failing_node_are_told_apart),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands over keys of many slots in a batch: sent as parts, in their turn among the others, and
 * joined to one result, also where a part has none. */
#include "fake/fakes.h"

static kw_batch *new_batch(kw_client *kw, const char *const *commands, size_t n)
{
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_non_null(batch);
    for (size_t i = 0; i < n; i++) {
        kw_error error = KW_ERROR_INIT;
        if (kw_batch_add(batch, &error, commands[i]) != KW_OK) {
            fail_msg("%s: %s", commands[i], error.text);
        }
    }
    assert_int_equal(kw_batch_count(batch), n);
    return batch;
}

static void run(kw_batch *batch)
{
    kw_error error = KW_ERROR_INIT;
    if (kw_batch_run(batch, &error, 0) != KW_OK) {
        fail_msg("%s", error.text);
    }
}

static const kw_reply *reply_at(const kw_batch *batch, size_t index)
{
    kw_error error = KW_ERROR_INIT;
    const kw_reply *reply = kw_batch_reply(batch, &error, index);
    if (reply == NULL) {
        fail_msg("command %zu: %s", index, error.text);
    }
    return reply;
}

static void is_text(const kw_reply *reply, const char *text)
{
    assert_non_null(reply);
    assert_string_equal(kw_reply_str(reply, NULL), text);
}

/* Between plain commands, so that numbers of commands and places of items differ. */
static void test_batch_splits_and_joins_in_its_order(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=2s");
    answer(fakes[0], "MGET bar", "*1\r\n$1\r\nB");
    answer(fakes[1], "MGET foo foo", "*2\r\n$1\r\nF\r\n$1\r\nG");
    answer(fakes[0], "DEL bar", ":1");
    answer(fakes[1], "DEL foo", ":1");
    answer(fakes[0], "MSET bar 2", "+OK");
    answer(fakes[1], "MSET foo 1", "+OK");
    answer(fakes[0], "INCR *", ":10");
    answer(fakes[1], "INCR *", ":11");
    static const char *const commands[] = {"INCR foo",         "MGET foo bar foo", "INCR bar",
                                           "MSET foo 1 bar 2", "DEL bar foo",      "INCR foo"};
    kw_batch *batch = new_batch(kw, commands, 6);
    for (int round = 0; round < 2; round++) {
        run(batch);
        const kw_reply *list = reply_at(batch, 1);
        assert_int_equal(kw_reply_count(list), 3);
        is_text(kw_reply_at(list, 0), "F");
        is_text(kw_reply_at(list, 1), "B");
        is_text(kw_reply_at(list, 2), "G");
        assert_int_equal(kw_reply_int(reply_at(batch, 0)), 11);
        assert_int_equal(kw_reply_int(reply_at(batch, 2)), 10);
        is_text(reply_at(batch, 3), "OK");
        assert_int_equal(kw_reply_int(reply_at(batch, 4)), 2);
        assert_int_equal(kw_reply_int(reply_at(batch, 5)), 11);
        assert_null(kw_batch_reply(batch, NULL, 6));
        kw_batch_clear(batch);
        assert_int_equal(kw_batch_count(batch), 0);
        for (size_t i = 0; i < 6; i++) {
            assert_int_equal(kw_batch_add(batch, NULL, commands[i]), KW_OK);
        }
    }
    assert_int_equal(kw_fake_count(fakes[1], "MGET *"), 2);
    kw_batch_free(batch);
    kw_close(kw);
}

static void test_batch_hands_over_a_joined_reply(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=2s");
    answer(fakes[0], "MGET *", "*1\r\n$1\r\nB");
    answer(fakes[1], "MGET *", "*1\r\n$-1");
    static const char *const commands[] = {"MGET foo bar"};
    kw_batch *batch = new_batch(kw, commands, 1);
    run(batch);
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_batch_take(batch, &error, 0);
    assert_non_null(reply);
    assert_null(kw_batch_take(batch, &error, 0));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    kw_batch_free(batch);
    is_text(kw_reply_at(reply, 1), "B");
    assert_true(kw_reply_is_nil(kw_reply_at(reply, 0)));
    kw_reply_free(reply);
    kw_close(kw);
}

/* One node refuses, or is gone: each key says what became of it, and other commands have theirs. */
static void test_batch_tells_of_each_key_where_a_part_fails(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=200ms");
    answer(fakes[0], "MGET bar", "*1\r\n$1\r\nB");
    answer(fakes[0], "INCR bar", ":5");
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "MGET *", KW_FAKE_STEPS(KW_FAKE_STALL));
    static const char *const commands[] = {"MGET foo bar", "INCR bar"};
    kw_batch *batch = new_batch(kw, commands, 2);
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_OK); /* each has a reply */
    const kw_reply *reply = reply_at(batch, 0);
    assert_true(kw_reply_is_error(reply));
    assert_int_equal(kw_reply_count(reply), 2);
    assert_true(kw_reply_is_error(kw_reply_at(reply, 0)));
    is_text(kw_reply_at(reply, 1), "B");
    assert_int_equal(kw_reply_int(reply_at(batch, 1)), 5);
    kw_batch_free(batch);
    kw_close(kw);
}

/* All of its parts fail: it has no reply, and the effect says that something may have been done. */
static void test_batch_tells_why_a_split_command_has_no_reply(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=200ms");
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "DEL *", KW_FAKE_STEPS(KW_FAKE_STALL));
    }
    static const char *const commands[] = {"DEL foo bar"};
    kw_batch *batch = new_batch(kw, commands, 1);
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_ERR_TIMEOUT);
    expect_error("run", &error, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE);
    kw_error again = KW_ERROR_INIT;
    assert_null(kw_batch_reply(batch, &again, 0));
    expect_error("reply", &again, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE);
    kw_batch_free(batch);
    kw_close(kw);
}

static void test_batch_refuses_a_split_where_the_option_says_so(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=2s&cross-slot=refuse");
    kw_batch *batch = kw_batch_new(kw, NULL);
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_batch_add(batch, &error, "MGET foo bar"), KW_ERR_CROSSSLOT);
    assert_int_equal(kw_batch_add(batch, &error, "SINTER foo bar"), KW_ERR_CROSSSLOT);
    assert_int_equal(kw_batch_count(batch), 0);
    kw_batch_free(batch);
    kw_close(kw);
}

/* What was added, and what was answered, outlives the handle. */
static void test_batch_with_splits_may_be_freed_behind_its_handle(void **state)
{
    (void)state;
    for (int runs = 0; runs < 2; runs++) {
        renew_fakes();
        kw_client *kw = open_connected("timeout=2s");
        answer(fakes[0], "MGET *", "*1\r\n$1\r\nB");
        answer(fakes[1], "MGET *", "*1\r\n$1\r\nF");
        static const char *const commands[] = {"MGET foo bar"};
        kw_batch *batch = new_batch(kw, commands, 1);
        if (runs == 1) {
            run(batch);
        }
        kw_close(kw);
        if (runs == 1) {
            is_text(kw_reply_at(reply_at(batch, 0), 1), "B");
        }
        kw_batch_free(batch);
    }
}

/* Never added by halves. */
static void test_batch_split_without_memory_leaves_the_batch_as_it_was(void **state)
{
    (void)state;
    renew_fakes();
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    kw_config *config = kw_test_config_new(&memory.allocator);
    char uri[200];
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=2s", kw_fake_address(fakes[0]));
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    kw_client *kw = kw_open_config(config, NULL);
    kw_config_free(config);
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    answer(fakes[0], "MGET *", "*1\r\n$1\r\nB");
    answer(fakes[1], "MGET *", "*1\r\n$1\r\nF");
    kw_err code = KW_ERR_NOMEM;
    for (size_t n = 1; code == KW_ERR_NOMEM && n < 100; n++) {
        kw_batch *batch = kw_batch_new(kw, NULL);
        memory.fail_at = kw_test_memory_calls(&memory) + n;
        code = kw_batch_add(batch, NULL, "MGET foo bar");
        memory.fail_at = 0;
        assert_int_equal(kw_batch_count(batch), code == KW_OK ? 1 : 0);
        run(batch);
        if (code == KW_OK) {
            is_text(kw_reply_at(reply_at(batch, 0), 1), "B");
        }
        kw_batch_free(batch);
    }
    assert_int_equal(code, KW_OK);
    kw_close(kw);
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_splits_and_joins_in_its_order),
        cmocka_unit_test(test_batch_hands_over_a_joined_reply),
        cmocka_unit_test(test_batch_tells_of_each_key_where_a_part_fails),
        cmocka_unit_test(test_batch_tells_why_a_split_command_has_no_reply),
        cmocka_unit_test(test_batch_refuses_a_split_where_the_option_says_so),
        cmocka_unit_test(test_batch_with_splits_may_be_freed_behind_its_handle),
        cmocka_unit_test(test_batch_split_without_memory_leaves_the_batch_as_it_was),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

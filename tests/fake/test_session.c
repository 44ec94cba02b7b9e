/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions against scripted servers: what is lost at which moment, and what is waited
 * out; the same by calls that wait, and by callbacks. */
#include "fake/fakes.h"

#include "support/turn.h"

static kw_client *kw;

/* One of the two. */
static kw_session *session;
static kw_async_session *async_session;

static int set_up(void **state)
{
    start_fakes(state);
    kw = kw_test_open("%s?timeout=1s", kw_fake_uri(fakes[0]));
    session = kw_session_open(kw, NULL, "k", 1);
    return session == NULL;
}

static int set_up_async(void **state)
{
    start_fakes(state);
    kw = kw_test_open("%s?timeout=1s", kw_fake_uri(fakes[0]));
    async_session = kw_async_session_open(kw, NULL, "k", 1);
    return async_session == NULL;
}

static void close_session(void)
{
    kw_session_close(session);
    session = NULL;
    if (async_session != NULL) {
        kw_async_session_close(async_session);
        async_session = NULL;
        kw_test_turns_for(kw, 1);
    }
}

static int tear_down(void **state)
{
    close_session();
    kw_close(kw);
    return stop_fakes(state);
}

static kw_reply *ask(kw_error *error, const char *command)
{
    if (session != NULL) {
        return kw_session_command(session, error, command);
    }
    kw_test_answer answer = {0};
    kw_callback callback = {kw_test_on_reply, &answer};
    if (kw_async_session_command(async_session, error, callback, command) != KW_OK) {
        return NULL;
    }
    assert_true(kw_test_turns(kw, &answer, 1, 10000));
    if (answer.reply == NULL && error != NULL) {
        *error = answer.error;
    }
    return answer.reply;
}

static void always(const char *pattern, const char *reply)
{
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, pattern, "%s", reply);
}

static void is_text(const char *text, const char *command)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = ask(&error, command);
    if (reply == NULL) {
        fail_msg("%s: %s", command, error.text);
    }
    assert_string_equal(kw_reply_str(reply, NULL), text);
    kw_reply_free(reply);
}

/* The command fails so, and the session with it. */
static void breaks(kw_err code, kw_effect effect, const char *command)
{
    kw_error error = KW_ERROR_INIT;
    assert_null(ask(&error, command));
    if (error.code != code || error.effect != effect) {
        fail_msg("%s, effect %s: %s", kw_err_name(error.code), kw_effect_name(error.effect),
                 error.text);
    }
    size_t sent_n = kw_fake_log_count(fakes[0]);
    assert_null(ask(&error, "PING"));
    assert_int_equal(error.code, KW_ERR_CLOSED);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_int_equal(kw_fake_log_count(fakes[0]), sent_n);
}

static void begin_multi(void)
{
    always("MULTI", "+OK");
    is_text("OK", "MULTI");
}

static void test_session_exec_lost_may_have_run_and_is_not_sent_again(void **state)
{
    (void)state;
    begin_multi();
    kw_fake_on(fakes[0], 1, "EXEC", KW_FAKE_STEPS(KW_FAKE_CLOSE));
    breaks(KW_ERR_CLOSED, KW_EFFECT_MAYBE, "EXEC");
    assert_int_equal(kw_fake_count(fakes[0], "EXEC"), 1);
    assert_int_equal(kw_fake_accepted(fakes[0]), 1);
}

static void test_session_queued_command_lost_has_not_run(void **state)
{
    (void)state;
    begin_multi();
    kw_fake_on(fakes[0], 1, "INCR *", KW_FAKE_STEPS(KW_FAKE_RESET));
    breaks(KW_ERR_CLOSED, KW_EFFECT_NONE, "INCR k");
    assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 1);
}

static void test_session_write_lost_outside_of_multi_may_have_run(void **state)
{
    (void)state;
    kw_fake_on(fakes[0], 1, "INCR *", KW_FAKE_STEPS(KW_FAKE_CLOSE));
    breaks(KW_ERR_CLOSED, KW_EFFECT_MAYBE, "INCR k");
    assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 1);
}

static void test_session_read_lost_after_watch_is_not_sent_again(void **state)
{
    (void)state;
    always("WATCH *", "+OK");
    is_text("OK", "WATCH k");
    kw_fake_on(fakes[0], 1, "GET *", KW_FAKE_STEPS(KW_FAKE_CLOSE));
    breaks(KW_ERR_CLOSED, KW_EFFECT_MAYBE, "GET k");
    assert_int_equal(kw_fake_count(fakes[0], "GET *"), 1);
}

static void test_session_first_watch_lost_is_sent_again(void **state)
{
    (void)state;
    kw_fake_on(fakes[0], 1, "WATCH *", KW_FAKE_STEPS(KW_FAKE_CLOSE));
    always("WATCH *", "+OK");
    is_text("OK", "WATCH k");
    assert_int_equal(kw_fake_count(fakes[0], "WATCH *"), 2);
    assert_int_equal(kw_fake_accepted(fakes[0]), 2);
}

static void test_session_loading_is_waited_out_while_clean_only(void **state)
{
    (void)state;
    kw_fake_on_reply(fakes[0], 2, "SET *", "%s", "-LOADING data set");
    always("SET *", "+OK");
    always("WATCH *", "+OK");
    is_text("OK", "SET k v");
    assert_int_equal(kw_fake_count(fakes[0], "SET *"), 3);
    is_text("OK", "WATCH k");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "GET *", "%s", "-LOADING data set");
    is_text("LOADING data set", "GET k");
    assert_int_equal(kw_fake_count(fakes[0], "GET *"), 1);
}

static void test_session_two_replies_for_one_command_break_it(void **state)
{
    (void)state;
    begin_multi();
    kw_fake_on(fakes[0], 1, "EXEC", KW_FAKE_STEPS(KW_FAKE_SEND("*0\r\n+MORE\r\n")));
    breaks(KW_ERR_DESYNC, KW_EFFECT_MAYBE, "EXEC");
}

/* What is said of the connection when the session is closed after this EXEC. */
static void exec_and_close(const char *reply, unsigned disconnects)
{
    begin_multi();
    kw_fake_on_reply(fakes[0], 1, "EXEC", "%s", reply);
    kw_reply_free(ask(NULL, "EXEC"));
    close_session();
    assert_int_equal(kw_test_stats(kw).disconnects, disconnects);
}

static void test_session_exec_aborted_leaves_it_clean(void **state)
{
    (void)state;
    exec_and_close("-EXECABORT Transaction discarded because of previous errors.", 0);
}

/* A transaction whose slot has moved, or is on its way (Valkey 9.1): nothing has run, the redirect
 * is the caller's to read, and the session goes on with the next command. */
static void test_session_exec_redirected_leaves_it_clean(void **state)
{
    (void)state;
    static const char *const replies[] = {"-ASK 12182 127.0.0.1:1", "-MOVED 12182 127.0.0.1:1"};
    for (size_t i = 0; i < 2; i++) {
        begin_multi();
        kw_fake_on_reply(fakes[0], 1, "EXEC", "%s", replies[i]);
        kw_reply *reply = ask(NULL, "EXEC");
        assert_true(kw_reply_is_error(reply));
        assert_non_null(strstr(kw_reply_str(reply, NULL), replies[i] + 1));
        kw_reply_free(reply);
        always("ECHO after", "+OK");
        is_text("OK", "ECHO after");
    }
    close_session();
    assert_int_equal(kw_test_stats(kw).disconnects, 0); /* it was given back */
}

static void test_session_exec_with_an_unknown_error_is_not_trusted(void **state)
{
    (void)state;
    exec_and_close("-ERR something else", 1);
}

static void test_session_unasked_bytes_while_idle_are_noticed(void **state)
{
    (void)state;
    begin_multi();
    kw_fake_push(fakes[0], "+STRAY\r\n", 8);
    kw_test_sleep_ms(20);
    breaks(KW_ERR_CLOSED, KW_EFFECT_NONE, "EXEC");
    assert_int_equal(kw_fake_count(fakes[0], "EXEC"), 0);
}

static void test_session_waits_for_a_server_that_comes_back(void **state)
{
    (void)state;
    always("SET *", "+OK");
    is_text("OK", "SET k v");
    kw_fake_down(fakes[0]);
    kw_test_sleep_ms(20);
    kw_error error = KW_ERROR_INIT;
    assert_null(ask(&error, "SET k v"));
    assert_int_equal(error.code, KW_ERR_CONNECT);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    kw_fake_up(fakes[0]);
    kw_reply *reply = NULL;
    KW_TEST_UNTIL(reply != NULL)
    { /* one that is down is tried once a second */
        reply = ask(&error, "SET k v");
    }
    kw_reply_free(reply); /* nothing was bound: the session goes on */
}

static kw_reply *call(kw_error *error, const kw_call_options *options, kw_argv command)
{
    if (session != NULL) {
        return kw_session_call(session, error, options, command);
    }
    kw_test_answer answer = {0};
    kw_callback callback = {kw_test_on_reply, &answer};
    if (kw_async_session_call(async_session, error, callback, options, command) != KW_OK) {
        return NULL;
    }
    assert_true(kw_test_turns(kw, &answer, 1, 10000));
    if (answer.reply == NULL) {
        *error = answer.error;
    }
    return answer.reply;
}

/* A command's own deadline is behind that of the handle, or before it. */
static void test_session_command_has_a_deadline_of_its_own(void **state)
{
    (void)state;
    const char *block[] = {"BLPOP", "k", "0"};
    const char *set[] = {"SET", "k", "v"};
    kw_error error = KW_ERROR_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    kw_fake_on(fakes[0], 1, "SET *",
               KW_FAKE_STEPS(KW_FAKE_DELAY(1200), KW_FAKE_SEND("+OK\r\n"))); /* timeout=1s */
    options.timeout_ms = 20000;
    kw_reply *reply = call(&error, &options, (kw_argv){3, set, NULL});
    if (reply == NULL) {
        fail_msg("%s", error.text);
    }
    kw_reply_free(reply);
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "BLPOP *", KW_FAKE_STEPS(KW_FAKE_STALL));
    options.timeout_ms = 100;
    uint64_t start_ms = kw_test_now_ms();
    assert_null(call(&error, &options, (kw_argv){3, block, NULL}));
    assert_in_range(kw_test_now_ms() - start_ms, 98, 100 + LATE_MS);
    expect_error("BLPOP", &error, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE);
    assert_null(call(&error, NULL, (kw_argv){3, set, NULL}));
    expect_error("SET", &error, KW_ERR_CLOSED, KW_EFFECT_NONE);
}

/* One that the caller lets run twice is sent again. */
static void test_session_command_that_may_run_twice_is_sent_again(void **state)
{
    (void)state;
    const char *incr[] = {"INCR", "k"};
    kw_error error = KW_ERROR_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    kw_fake_on(fakes[0], 1, "INCR *", KW_FAKE_STEPS(KW_FAKE_CLOSE));
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "INCR *", KW_FAKE_STEPS(KW_FAKE_SEND(":1\r\n")));
    options.timeout_ms = 20000;
    options.idempotent = true;
    kw_reply *reply = call(&error, &options, (kw_argv){2, incr, NULL});
    assert_int_equal(kw_reply_type(reply), KW_REPLY_INTEGER);
    kw_reply_free(reply);
    assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 2);
}

static void test_session_refuses_options_that_are_not_its_own(void **state)
{
    (void)state;
    const char *get[] = {"GET", "k"};
    kw_token token = KW_TOKEN_INIT;
    kw_call_options rows[6];
    for (size_t i = 0; i < 6; i++) {
        rows[i] = (kw_call_options)KW_CALL_OPTIONS_INIT;
    }
    rows[0].route = KW_ROUTE_ANY;
    rows[1].read = KW_READ_REPLICA;
    rows[2].acks = 1;
    rows[3].token_out = &token;
    rows[4].after = &token;
    rows[5].size = 1;
    for (size_t i = 0; i < 6; i++) {
        kw_error error = KW_ERROR_INIT;
        assert_null(call(&error, &rows[i], (kw_argv){2, get, NULL}));
        expect_error("GET", &error, KW_ERR_ARGUMENT, KW_EFFECT_NONE);
    }
    assert_int_equal(kw_fake_count(fakes[0], "GET *"), 0);
}

/* Of commands that MULTI was to queue one is refused before it is sent, in each way that there is.
 * EXEC would run the others: half a transaction. */
static void test_session_exec_behind_a_refused_command_runs_nothing(void **state)
{
    (void)state;
    always("MULTI", "+OK");
    always("INCR *", "+QUEUED");
    always("DISCARD", "+OK");
    always("EXEC", "*1\r\n:1");
    const char *lacks[] = {"INCR", NULL};
    for (int i = 0; i < 3; i++) {
        is_text("OK", "MULTI");
        is_text("QUEUED", "INCR k");
        kw_error error = KW_ERROR_INIT;
        assert_null(i == 0   ? kw_session_command(session, &error, "INCR %y", 1)
                    : i == 1 ? kw_session_command(session, &error, "SUBSCRIBE k")
                             : kw_session_command_argv(session, &error, 2, lacks, NULL));
        is_text("QUEUED", "INCR k");
        assert_null(kw_session_command(session, &error, "EXEC"));
        expect_error("EXEC", &error, KW_ERR_ORDER, KW_EFFECT_NONE);
        assert_int_equal(kw_fake_count(fakes[0], "DISCARD"), i + 1);
    }
    assert_int_equal(kw_fake_count(fakes[0], "EXEC"), 0);
    assert_null(kw_session_command(session, NULL, "SUBSCRIBE k")); /* outside of one */
    is_text("OK", "MULTI");
    is_text("QUEUED", "INCR k");
    kw_reply *reply = kw_session_command(session, NULL, "EXEC");
    assert_int_equal(kw_reply_count(reply), 1);
    kw_reply_free(reply);
}

/* With callbacks EXEC is refused where it is given, until there is a DISCARD. */
static void test_session_exec_given_behind_a_refused_command_is_refused(void **state)
{
    (void)state;
    always("MULTI", "+OK");
    always("INCR *", "+QUEUED");
    always("DISCARD", "+OK");
    always("EXEC", "*1\r\n:1");
    is_text("OK", "MULTI");
    is_text("QUEUED", "INCR k");
    kw_test_answer answer = {0};
    kw_callback callback = {kw_test_on_reply, &answer};
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_async_session_command(async_session, NULL, callback, "INCR %y", 1),
                     KW_ERR_ARGUMENT);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kw_async_session_command(async_session, &error, callback, "EXEC"),
                         KW_ERR_ORDER);
        expect_error("EXEC", &error, KW_ERR_ORDER, KW_EFFECT_NONE);
    }
    is_text("OK", "DISCARD");
    is_text("OK", "MULTI");
    is_text("QUEUED", "INCR k");
    kw_reply *reply = ask(&error, "EXEC");
    assert_int_equal(kw_reply_count(reply), 1);
    kw_reply_free(reply);
    assert_int_equal(kw_fake_count(fakes[0], "EXEC"), 1);
}

static void is_behind(const char *command)
{
    kw_error error = KW_ERROR_INIT;
    assert_null(ask(&error, command));
    expect_error(command, &error, KW_ERR_ORDER, KW_EFFECT_NONE);
}

static void ignore(const char *command)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply_free(ask(&error, command));
}

/* What a MULTI was to queue does not run by itself, whatever became of the MULTI, and whether its
 * caller has looked: up to the EXEC, or to where the caller begins again. */
static void test_session_behind_a_multi_that_failed_nothing_runs(void **state)
{
    (void)state;
    static const char *const begins[] = {"WATCH k", "MULTI", "UNWATCH", "DISCARD"};
    static const char *multi[] = {"MULTI"};
    always("INCR *", "+RUN");
    always("WATCH *", "+OK");
    always("UNWATCH", "+OK");
    always("DISCARD", "-ERR DISCARD without MULTI");
    kw_fake_on_reply(fakes[0], 6, "MULTI", "%s", "-ERR no transactions today");
    ignore("MULTI");
    is_behind("INCR k");
    is_behind("INCR k");
    is_behind("EXEC");
    assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 0);
    is_text("RUN", "INCR k");
    for (int i = 0; i < 4; i++) {
        ignore("MULTI");
        is_behind("INCR k");
        ignore(begins[i]);
        if (i != 1) {
            is_text("RUN", "INCR k");
        }
    }
    kw_call_options wrong = KW_CALL_OPTIONS_INIT;
    wrong.acks = 1;
    kw_error error = KW_ERROR_INIT;
    assert_null(call(&error, &wrong, (kw_argv){1, multi, NULL}));
    is_behind("INCR k");
    is_behind("EXEC");
    /* Refused before it was looked at, whatever with. */
    const char *lacks[] = {"multi", NULL};
    kw_call_options short_of_all = {.size = 1};
    for (int i = 0; i < 3; i++) {
        assert_null(i == 0   ? ask(&error, " Multi %y")
                    : i == 1 ? call(&error, NULL, (kw_argv){2, lacks, NULL})
                             : call(&error, &short_of_all, (kw_argv){1, multi, NULL}));
        expect_error("MULTI", &error, KW_ERR_ARGUMENT, KW_EFFECT_NONE);
        is_behind("INCR k");
        is_behind("EXEC");
    }
    assert_null(ask(&error, "GET %y"));
    is_text("RUN", "INCR k");
    assert_int_equal(kw_fake_count(fakes[0], "EXEC"), 0);
    assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 5);
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, set_up, tear_down),                                      \
    {                                                                                              \
#name " with callbacks", name, set_up_async, tear_down, NULL                               \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_session_exec_lost_may_have_run_and_is_not_sent_again),
        CASE(test_session_queued_command_lost_has_not_run),
        CASE(test_session_write_lost_outside_of_multi_may_have_run),
        CASE(test_session_read_lost_after_watch_is_not_sent_again),
        CASE(test_session_first_watch_lost_is_sent_again),
        CASE(test_session_loading_is_waited_out_while_clean_only),
        CASE(test_session_two_replies_for_one_command_break_it),
        CASE(test_session_exec_aborted_leaves_it_clean),
        cmocka_unit_test_setup_teardown(test_session_exec_behind_a_refused_command_runs_nothing,
                                        set_up, tear_down),
        CASE(test_session_behind_a_multi_that_failed_nothing_runs),
        cmocka_unit_test_setup_teardown(test_session_exec_given_behind_a_refused_command_is_refused,
                                        set_up_async, tear_down),
        CASE(test_session_exec_redirected_leaves_it_clean),
        CASE(test_session_exec_with_an_unknown_error_is_not_trusted),
        CASE(test_session_unasked_bytes_while_idle_are_noticed),
        CASE(test_session_waits_for_a_server_that_comes_back),
        CASE(test_session_command_has_a_deadline_of_its_own),
        CASE(test_session_command_that_may_run_twice_is_sent_again),
        CASE(test_session_refuses_options_that_are_not_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Effect and story of a failed call: what may have run is said to have, and nothing else;
 * the error names the node and what the server said, without secrets and without trusting
 * the server's text. */
#include "fake/fakes.h"

#define TIMEOUT_MS 200

static kw_client *open_handle(const char *scheme, const char *options)
{
    return kw_test_open("%s%s?timeout=%dms%s", scheme, kw_fake_address(fakes[0]), TIMEOUT_MS,
                        options);
}

static kw_reply *set_idempotent(kw_client *kw, kw_error *error)
{
    const char *argv[] = {"SET", "foo", "v"};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.idempotent = true;
    return kw_call(kw, error, &options, (kw_argv){3, argv, NULL});
}

/* What may run twice leaves together with the greeting. Where the greeting is never
 * answered, a server may have run it for all that. */
static void test_effect_behind_an_unanswered_greeting_is_maybe(void **state)
{
    (void)state;
    const kw_fake_step *const greetings[] = {
        KW_FAKE_STEPS(KW_FAKE_STALL), KW_FAKE_STEPS(KW_FAKE_CLOSE), KW_FAKE_STEPS(KW_FAKE_RESET)};
    for (size_t i = 0; i < 3; i++) {
        renew_fakes();
        kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "HELLO *", greetings[i]);
        kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "PING", greetings[i]); /* of the older greeting */
        kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "CLIENT *", greetings[i]);
        kw_client *kw = open_handle("redis://", "");
        kw_error error = KW_ERROR_INIT;
        assert_null(set_idempotent(kw, &error));
        assert_true(kw_fake_count(fakes[0], "SET *") >= 1);
        assert_int_equal(error.effect, KW_EFFECT_MAYBE);
        kw_batch *batch = kw_batch_new(kw, NULL);
        assert_int_equal(kw_batch_add(batch, NULL, "GET foo"), KW_OK);
        kw_fake_log_clear(fakes[0]);
        assert_int_not_equal(kw_batch_run(batch, &error, 600), KW_OK);
        kw_effect effect = kw_fake_count(fakes[0], "GET *") > 0 ? KW_EFFECT_MAYBE : KW_EFFECT_NONE;
        assert_int_equal(error.effect, effect);
        kw_batch_free(batch);
        kw_close(kw);
    }
    /* A server that refuses the greeting refuses what follows. */
    renew_fakes();
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "*", "-NOAUTH Authentication required.");
    kw_client *kw = open_handle("redis://", "");
    kw_error error = KW_ERROR_INIT;
    assert_null(set_idempotent(kw, &error));
    assert_int_equal(error.code, KW_ERR_AUTH);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    kw_close(kw);
}

/* Nobody listens: nothing was sent, however often it was tried. */
static void test_effect_of_what_never_left_counts_no_attempt(void **state)
{
    (void)state;
    static const char *const commands[] = {"GET foo", "INCR foo"};
    for (size_t i = 0; i < 2; i++) {
        renew_fakes();
        kw_client *kw = open_handle("redis://", "");
        kw_fake_down(fakes[0]);
        kw_error error = KW_ERROR_INIT;
        assert_null(kw_command(kw, &error, commands[i]));
        assert_int_equal(error.code, KW_ERR_CONNECT);
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        assert_int_equal(error.attempts, 0);
        kw_close(kw);
    }
}

/* A write that was handed over in part cannot have run: it goes again. */
static void test_effect_of_half_a_command_is_none(void **state)
{
    (void)state;
    static char value[16 << 20];
    renew_fakes();
    kw_client *kw = open_handle("redis://", "");
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "CLIENT SETINFO LIB-VER *",
               KW_FAKE_STEPS(KW_FAKE_SEND("+OK\r\n"), KW_FAKE_DEAF));
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(kw, &error, "SET foo %b", value, sizeof(value)));
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    kw_fake_reset(fakes[0]);
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SET *", "+OK");
    const char *argv[] = {"SET", "foo", value};
    const size_t lens[] = {3, 3, sizeof(value)};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = 10000;
    kw_reply *reply = kw_call(kw, &error, &options, (kw_argv){3, argv, lens});
    if (reply == NULL) {
        fail_msg("%s", error.text);
    }
    kw_reply_free(reply);
    assert_int_equal(kw_fake_count(fakes[0], "SET *"), 1);
    kw_close(kw);
}

/* Marked idempotent, a write goes again after its connection was lost; else it does not. */
static void test_effect_maybe_is_retried_only_by_leave(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_handle("redis://", "");
    kw_fake_on(fakes[0], 2, "SET *", KW_FAKE_STEPS(KW_FAKE_RESET));
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SET *", "+OK");
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = set_idempotent(kw, &error);
    assert_string_equal(kw_reply_str(reply, NULL), "OK");
    kw_reply_free(reply);
    assert_int_equal(kw_fake_count(fakes[0], "SET *"), 3);
    renew_fakes();
    kw_fake_on(fakes[0], 1, "SET *", KW_FAKE_STEPS(KW_FAKE_RESET));
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SET *", "+OK");
    assert_null(kw_command(kw, &error, "SET foo v"));
    assert_int_equal(error.code, KW_ERR_CLOSED);
    assert_int_equal(error.effect, KW_EFFECT_MAYBE);
    assert_int_equal(error.attempts, 1);
    assert_int_equal(kw_fake_count(fakes[0], "SET *"), 1);
    kw_close(kw);
}

/* Written once on a lost connection, then held up by a state: still maybe at the end. */
static void test_effect_maybe_is_not_forgotten_by_later_tries(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_handle("redis://", "");
    kw_fake_on(fakes[0], 1, "SET *", KW_FAKE_STEPS(KW_FAKE_RESET));
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SET *", "-LOADING data");
    kw_error error = KW_ERROR_INIT;
    assert_null(set_idempotent(kw, &error));
    assert_int_equal(error.code, KW_ERR_LOADING);
    assert_int_equal(error.effect, KW_EFFECT_MAYBE);
    assert_int_equal(error.attempts, kw_fake_count(fakes[0], "SET *"));
    kw_close(kw);
}

static void test_effect_of_scripts_is_the_callers_to_judge(void **state)
{
    (void)state;
    static const char *const inner[] = {"-BUSY running",   "-READONLY replica", "-OOM full",
                                        "-NOREPLICAS few", "-MISCONF disk",     "-UNBLOCKED role"};
    for (size_t i = 0; i < sizeof(inner) / sizeof(inner[0]); i++) {
        renew_fakes();
        kw_client *kw = open_handle("redis-cluster://", "");
        kw_fake_on_reply(fakes[1], 1, "EVAL *", "%s", inner[i]);
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(kw, &error, "EVAL script 1 foo");
        assert_true(kw_reply_is_error(reply)); /* once, whatever it did */
        assert_string_equal(kw_reply_str(reply, NULL), inner[i] + 1);
        kw_reply_free(reply);
        assert_int_equal(kw_fake_count(fakes[1], "EVAL *"), 1);
        kw_close(kw);
    }
}

/* One that is read-only until the cluster has another primary, or no longer. */
static void test_effect_read_only_is_waited_out_in_a_cluster(void **state)
{
    (void)state;
    static const char *const says[] = {"-READONLY You can't write against a read only replica.",
                                       "-MASTERDOWN Link with MASTER is down",
                                       "-CLUSTERDOWN Hash slot not served",
                                       "-CLUSTERDOWN The cluster is down",
                                       "-LOADING data",
                                       "-BUSY script",
                                       "-TRYAGAIN Multiple keys request",
                                       "-ERR max number of clients reached"};
    for (size_t i = 0; i < sizeof(says) / sizeof(says[0]); i++) {
        renew_fakes();
        kw_client *kw = open_handle("redis-cluster://", "");
        kw_fake_on_reply(fakes[1], 3, "INCR *", "%s", says[i]);
        kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "INCR *", ":1");
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(kw, &error, "INCR foo");
        if (reply == NULL) {
            fail_msg("%s: %s", says[i], error.text);
        }
        assert_int_equal(kw_reply_int(reply), 1);
        kw_reply_free(reply);
        assert_int_equal(kw_fake_count(fakes[1], "INCR *"), 4);
        kw_close(kw);
    }
}

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || (unsigned char)*text > '~') {
            return false;
        }
    }
    return true;
}

/* What a server says is shown, cut, and neither a format nor a terminal's command. */
static void test_story_shows_a_servers_text_safely(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_handle("redis://", "");
    static char line[50000];
    memset(line, 'x', sizeof(line) - 3);
    memcpy(line, "-LOADING %s%n%n\x1b[2J\a ", 22);
    line[sizeof(line) - 2] = '\0';
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "GET *", "-LOADING %s", "%s%s%n%n\x1b[2J\a\t end");
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "TYPE *",
               KW_FAKE_STEPS(KW_FAKE_BYTES(line, strlen(line)), KW_FAKE_SEND("\r\n")));
    kw_error error = KW_ERROR_INIT;
    static const char *const commands[] = {"GET foo", "TYPE foo"};
    for (size_t i = 0; i < 2; i++) {
        assert_null(kw_command(kw, &error, commands[i]));
        assert_int_equal(error.code, KW_ERR_LOADING);
        assert_non_null(strstr(error.text, "%n%n"));
        assert_non_null(strstr(error.text, kw_fake_address(fakes[0])));
        assert_true(is_printable(error.text));
        assert_true(error.attempts >= 2);
        assert_in_range(error.elapsed_ms, TIMEOUT_MS - 2, TIMEOUT_MS + LATE_MS);
    }
    kw_close(kw);
}

/* Passwords and values show nowhere, and a wrong one is tried once per server. */
static void test_story_of_refused_passwords_is_short(void **state)
{
    (void)state;
    static const char *const schemes[] = {"redis://me:sesame@", "redis-cluster://me:sesame@",
                                          "redis://:sesame@"};
    for (size_t i = 0; i < 3; i++) {
        renew_fakes();
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "HELLO *", "-WRONGPASS invalid sesame-pair");
        kw_client *kw = open_handle(schemes[i], "");
        unsigned accepted_n = kw_fake_accepted(fakes[0]);
        kw_error error = KW_ERROR_INIT;
        uint64_t start_ms = kw_test_now_ms();
        assert_null(kw_command(kw, &error, "SET foo topsecret"));
        assert_in_range(kw_test_now_ms() - start_ms, 0, TIMEOUT_MS / 2 * KW_TEST_SLOWNESS);
        if (error.code != KW_ERR_AUTH) {
            fail_msg("%s: %s", kw_err_name(error.code), error.text);
        }
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        assert_non_null(strstr(error.text, "WRONGPASS"));
        assert_non_null(strstr(error.text, kw_fake_address(fakes[0])));
        assert_null(strstr(error.text, "topsecret"));
        assert_in_range(kw_fake_accepted(fakes[0]) - accepted_n, 1, 2);
        kw_close(kw);
    }
}

/* No map: the error says who was asked and what came. */
static void test_story_of_a_missing_map_names_the_reason(void **state)
{
    (void)state;
    const struct {
        const kw_fake_step *steps; /* NULL: nobody listens */
        const char *text;
    } rows[] = {
        {NULL, "is a server running there?"},
        {KW_FAKE_STEPS(KW_FAKE_SEND("-LOADING the data\r\n")), "LOADING the data"},
        {KW_FAKE_STEPS(KW_FAKE_SEND("-NOPERM not yours\r\n")), "NOPERM not yours"},
        {KW_FAKE_STEPS(KW_FAKE_SEND("*0\r\n")), ""},
        {KW_FAKE_STEPS(KW_FAKE_SEND("HTTP/1.1 400 Bad\r\n")), "Redis server?"},
        {KW_FAKE_STEPS(KW_FAKE_CLOSE), "closed the connection"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        renew_fakes();
        if (rows[i].steps == NULL) {
            kw_fake_down(fakes[0]);
        } else {
            kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "CLUSTER S*", rows[i].steps);
        }
        for (int k = 0; k < 2; k++) {
            kw_client *kw = open_handle("redis-cluster://", "");
            kw_error error = KW_ERROR_INIT;
            if (k == 0) {
                assert_null(kw_command(kw, &error, "INCR foo"));
            } else {
                assert_int_not_equal(kw_connect(kw, &error), KW_OK);
            }
            if (strstr(error.text, rows[i].text) == NULL || error.effect != KW_EFFECT_NONE ||
                error.code == KW_ERR_NOT_SERVED ||
                strcmp(error.node, kw_fake_address(fakes[0])) != 0) {
                fail_msg("%zu, %d: %s at \"%s\": %s", i, k, kw_err_name(error.code), error.node,
                         error.text);
            }
            kw_close(kw);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_effect_behind_an_unanswered_greeting_is_maybe),
        cmocka_unit_test(test_effect_of_what_never_left_counts_no_attempt),
        cmocka_unit_test(test_effect_of_half_a_command_is_none),
        cmocka_unit_test(test_effect_maybe_is_retried_only_by_leave),
        cmocka_unit_test(test_effect_maybe_is_not_forgotten_by_later_tries),
        cmocka_unit_test(test_effect_of_scripts_is_the_callers_to_judge),
        cmocka_unit_test(test_effect_read_only_is_waited_out_in_a_cluster),
        cmocka_unit_test(test_story_shows_a_servers_text_safely),
        cmocka_unit_test(test_story_of_refused_passwords_is_short),
        cmocka_unit_test(test_story_of_a_missing_map_names_the_reason),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

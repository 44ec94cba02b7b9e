/* SPDX-License-Identifier: BSD-3-Clause */
/* What is said of connections that were not made ready: each thing once, with the step that had no
 * answer; and of a password that nobody asks for. */
#include "fake/fakes.h"

static void note_log(void *arg, kw_log_level level, const char *text)
{
    (void)level;
    *(unsigned *)arg += strstr(text, "wants no password") != NULL ? 1 : 0;
}

/* A server without a password takes any: who gave one reads it in the log, once a handle. */
static void test_greeting_password_that_nobody_asks_for_is_logged(void **state)
{
    (void)state;
    static const struct {
        const char *login;
        const char *door; /* what the server says before a login */
        unsigned lines_n;
    } rows[] = {
        {":secret@", "+PONG", 1},
        {"default:secret@", "+PONG", 1},
        {":secret@", "-NOAUTH Authentication required.", 0},
        {"me:secret@", "+PONG", 0}, /* a user of its own, whose password is looked at */
        {"", "+PONG", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        renew_servers();
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "PING", "%s", rows[i].door);
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", ":1");
        char uri[100];
        unsigned lines_n = 0;
        snprintf(uri, sizeof(uri), "redis://%s%s?timeout=5s&share-above=0", rows[i].login,
                 kw_fake_address(fakes[0]));
        kw_config *config = kw_config_new(NULL);
        assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
        kw_config_set_log(config, KW_LOG_WARNING, note_log, &lines_n);
        kw_client *kw = kw_open_config(config, NULL);
        kw_config_free(config);
        for (int k = 0; k < 3; k++) {
            kw_reply *reply = kw_command(kw, NULL, "INCR a");
            assert_int_equal(kw_reply_int(reply), 1);
            kw_reply_free(reply);
        }
        kw_session *session = kw_session_open(kw, NULL, "a", 1); /* another connection */
        kw_reply_free(kw_session_command(session, NULL, "INCR a"));
        kw_session_close(session);
        kw_close(kw);
        assert_int_equal(lines_n, rows[i].lines_n);
    }
    renew_servers();
}

static unsigned times(const char *text, const char *words)
{
    unsigned n = 0;
    while ((text = strstr(text, words)) != NULL) {
        n++;
        text += strlen(words);
    }
    return n;
}

static void test_greeting_texts_say_a_thing_once(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_client *kw = kw_test_open("redis://127.0.0.1:1?timeout=300ms");
    assert_null(kw_command(kw, &error, "GET a"));
    assert_string_equal(error.text, "GET at 127.0.0.1:1: cannot connect: Connection refused; is a "
                                    "server running there?");
    kw_close(kw);
    renew_servers();
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "INCR *", KW_FAKE_STEPS(KW_FAKE_RESET));
    kw = kw_test_open("redis://%s?timeout=300ms", kw_fake_address(fakes[0]));
    assert_null(kw_command(kw, &error, "INCR a"));
    assert_int_equal(times(error.text, "lost"), 1);
    assert_int_equal(times(error.text, "reset by peer"), 1);
    kw_close(kw);
    renew_servers();
}

static void note_step(void *arg, kw_log_level level, const char *text)
{
    (void)level;
    if (strstr(text, "did not answer SELECT in time") != NULL) {
        *(const char **)arg = "SELECT";
    } else if (strstr(text, "did not answer HELLO in time") != NULL) {
        *(const char **)arg = "HELLO";
    }
}

/* Where nothing was answered, the text names the step: connecting, HELLO, SELECT. */
static void test_greeting_texts_name_the_step_without_an_answer(void **state)
{
    (void)state;
    static const char *const patterns[] = {"HELLO *", "SELECT *"};
    kw_error error = KW_ERROR_INIT;
    for (size_t k = 0; k < 2; k++) {
        const char *step = "";
        char uri[100];
        renew_servers();
        kw_fake_on(fakes[0], KW_FAKE_ALWAYS, patterns[k], KW_FAKE_STEPS(KW_FAKE_STALL));
        snprintf(uri, sizeof(uri), "redis://%s/5?timeout=600ms&connect-timeout=100ms",
                 kw_fake_address(fakes[0]));
        kw_config *config = kw_config_new(NULL);
        assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
        kw_config_set_log(config, KW_LOG_WARNING, note_step, &step);
        kw_client *kw = kw_open_config(config, NULL);
        kw_config_free(config);
        assert_null(kw_command(kw, &error, "INCR a"));
        assert_int_equal(error.code, KW_ERR_HANDSHAKE);
        assert_string_equal(step, k == 0 ? "HELLO" : "SELECT");
        kw_close(kw);
    }
    renew_servers();
    kw_test_hole hole;
    if (!kw_test_hole_open(&hole)) {
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        kw_client *kw = kw_test_open("%s://127.0.0.1:%u?timeout=400ms&connect-timeout=100ms",
                                     i == 0 ? "redis" : "redis-cluster", (unsigned)hole.port);
        assert_null(kw_command(kw, &error, "GET a"));
        if (strstr(error.text, "connecting") == NULL || strstr(error.text, "HELLO") != NULL) {
            fail_msg("%s", error.text);
        }
        kw_close(kw);
    }
    kw_test_hole_close(&hole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greeting_password_that_nobody_asks_for_is_logged),
        cmocka_unit_test(test_greeting_texts_say_a_thing_once),
        cmocka_unit_test(test_greeting_texts_name_the_step_without_an_answer),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

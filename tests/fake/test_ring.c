/* SPDX-License-Identifier: BSD-3-Clause */
/* Servers of a ring that say what plain servers do not: redirects are the caller's, LOADING
 * is waited out, and only what is a node's own fault makes it one that is down. */
#include "fake/fakes.h"

static kw_client *open_ring(const char *options)
{
    kw_fake_reset(fakes[0]);
    kw_fake_log_clear(fakes[0]);
    return kw_test_open("redis-ring://a=%s?%s", kw_fake_address(fakes[0]), options);
}

/* Lines of the host's log that hold a word. */
typedef struct lines {
    const char *word;
    size_t n;
} lines;

static void write_line(void *arg, kw_log_level level, const char *text)
{
    lines *self = arg;
    (void)level;
    self->n += strstr(text, self->word) != NULL ? 1 : 0;
}

static void test_ring_redirects_and_readonly_are_the_callers(void **state)
{
    (void)state;
    static const char *const replies[] = {"-MOVED 866 127.0.0.1:1", "-ASK 866 127.0.0.1:1",
                                          "-READONLY You can't write against a read only replica."};
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        lines seen = {"redis-cluster://", 0};
        char uri[100];
        kw_error error = KW_ERROR_INIT;
        kw_fake_reset(fakes[0]);
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SET *", "%s", replies[i]);
        kw_config *config = kw_test_config_new(NULL);
        snprintf(uri, sizeof(uri), "redis-ring://%s", kw_fake_address(fakes[0]));
        assert_int_equal(kw_config_set_uri(config, &error, uri), KW_OK);
        kw_config_set_log(config, KW_LOG_WARNING, write_line, &seen);
        kw_client *client = kw_open_config(config, &error);
        kw_config_free(config);
        char *text = kw_test_ask_error(client, "SET a 1");
        if (i == 0) { /* and what to open */
            assert_int_equal(strncmp(text, replies[i] + 1, strlen(replies[i] + 1)), 0);
            assert_non_null(strstr(text, "redis-cluster://"));
        } else {
            assert_string_equal(text, replies[i] + 1);
        }
        free(text);
        assert_int_equal(seen.n, 0); /* the caller is told, and not the log */
        assert_int_equal(kw_test_stats(client).moved, 0);
        assert_int_equal(kw_test_stats(client).nodes_down, 0);
        assert_int_equal(kw_fake_count(fakes[0], "CLUSTER S*"), 0);
        kw_close(client);
    }
}

static void test_ring_loading_is_waited_out_and_no_outage(void **state)
{
    (void)state;
    kw_client *client = open_ring("timeout=5s&down-after=1");
    kw_fake_on_reply(fakes[0], 5, "GET *", "-LOADING Redis is loading the dataset in memory");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "GET *", "+value");
    char *text = kw_test_ask_text(client, "GET a");
    assert_string_equal(text, "value");
    free(text);
    assert_int_equal(kw_test_stats(client).downs, 0);
    kw_close(client);
}

static void test_ring_lost_answers_are_an_outage_with_their_effects(void **state)
{
    (void)state;
    kw_client *client = open_ring("timeout=5s&down-after=3");
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "INCR *", KW_FAKE_STEPS(KW_FAKE_CLOSE));
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "PING", KW_FAKE_STEPS(KW_FAKE_CLOSE));
    kw_error error = KW_ERROR_INIT;
    uint64_t start_ms = kw_test_now_ms();
    unsigned maybe_n = 0;
    while (kw_test_stats(client).nodes_down == 0) {
        assert_null(kw_command(client, &error, "INCR a"));
        maybe_n += error.effect == KW_EFFECT_MAYBE ? 1 : 0;
        assert_true(kw_test_now_ms() - start_ms < 3 * LATE_MS);
    }
    assert_in_range(kw_test_now_ms() - start_ms, 900, 3 * LATE_MS); /* not before a second */
    assert_true(maybe_n >= 3);
    assert_int_equal(kw_fake_count(fakes[0], "INCR *"), maybe_n); /* none was sent twice */
    assert_null(kw_command(client, &error, "INCR a"));
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_int_equal(error.code, KW_ERR_CONNECT);
    kw_close(client);
}

static void test_ring_errors_of_commands_are_no_outage(void **state)
{
    (void)state;
    static const char *const replies[] = {"-ERR no", "-WRONGTYPE no", "-OOM no", "-NOPERM no",
                                          "-MISCONF no"};
    kw_client *client = open_ring("timeout=5s&down-after=1");
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        kw_fake_on_reply(fakes[0], 1, "SET *", "%s", replies[i]);
        char *text = kw_test_ask_error(client, "SET a 1");
        assert_string_equal(text, replies[i] + 1);
        free(text);
    }
    assert_int_equal(kw_test_stats(client).downs, 0);
    kw_close(client);
}

static void test_ring_a_late_answer_is_no_outage_before_its_time(void **state)
{
    (void)state;
    kw_client *client = open_ring("timeout=250ms&stall-timeout=10s&down-after=1");
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "GET *",
               KW_FAKE_STEPS(KW_FAKE_DELAY(500), KW_FAKE_SEND("+v\r\n")));
    kw_error error = KW_ERROR_INIT;
    for (int i = 0; i < 3; i++) {
        assert_null(kw_command(client, &error, "GET a"));
        assert_int_equal(error.code, KW_ERR_TIMEOUT); /* the caller is in a hurry */
    }
    assert_int_equal(kw_test_stats(client).downs, 0);
    kw_close(client);
}

/* A key of each of two members, by whom a GET of it has reached. */
static void find_keys(kw_client *kw, char keys[2][8])
{
    bool has[2] = {false, false};
    for (int i = 0; i < 100 && !(has[0] && has[1]); i++) {
        char key[8];
        size_t before_n = kw_fake_count(fakes[1], "GET *");
        snprintf(key, sizeof(key), "k%d", i);
        kw_reply_free(kw_test_ask(kw, "GET %s", key));
        size_t owner = kw_fake_count(fakes[1], "GET *") > before_n ? 1 : 0;
        memcpy(keys[owner], key, sizeof(key));
        has[owner] = true;
    }
    assert_true(has[0] && has[1]);
}

/* "GET key" with a deadline of its own, by a batch or a ticket; whether it was answered. */
static bool get_briefly(kw_client *kw, bool is_batch, const char *key, uint64_t ms)
{
    kw_reply *reply = NULL;
    if (is_batch) {
        kw_batch *batch = kw_batch_new(kw, NULL);
        assert_int_equal(kw_batch_add(batch, NULL, "GET %s", key), KW_OK);
        (void)kw_batch_run(batch, NULL, ms);
        reply = kw_batch_take(batch, NULL, 0);
        kw_batch_free(batch);
    } else {
        const char *argv[] = {"GET", key};
        kw_call_options options = KW_CALL_OPTIONS_INIT;
        options.timeout_ms = ms;
        kw_ticket *ticket = kw_submit_call(kw, NULL, &options, (kw_argv){2, argv, NULL});
        reply = kw_ticket_await(ticket, NULL);
        kw_ticket_free(ticket);
    }
    bool is_answered = reply != NULL;
    kw_reply_free(reply);
    return is_answered;
}

/* Where calls are rare each gives the probe of a silent member some time: a part of its own. */
static void test_ring_silent_member_takes_no_others_whole_time(void **state)
{
    (void)state;
    for (int is_batch = 0; is_batch < 2; is_batch++) {
        char keys[2][8];
        renew_servers();
        answer_numbers();
        kw_client *kw = kw_test_open("redis-ring://a=%s,b=%s?timeout=5s&on-node-down=next",
                                     kw_fake_address(fakes[0]), kw_fake_address(fakes[1]));
        find_keys(kw, keys);
        kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "*", KW_FAKE_STEPS(KW_FAKE_STALL));
        KW_TEST_AWAIT(get_briefly(kw, is_batch != 0, keys[1], 200)) /* the other has them */
        size_t answered_n = 0;
        for (int i = 0; i < 10; i++) {
            kw_test_sleep_ms(150);
            answered_n += get_briefly(kw, is_batch != 0, keys[0], 28) ? 1 : 0;
        }
        assert_in_range(answered_n, 5, 10); /* 28 ms are few on a busy machine */
        kw_close(kw);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring_redirects_and_readonly_are_the_callers),
        cmocka_unit_test(test_ring_loading_is_waited_out_and_no_outage),
        cmocka_unit_test(test_ring_lost_answers_are_an_outage_with_their_effects),
        cmocka_unit_test(test_ring_errors_of_commands_are_no_outage),
        cmocka_unit_test(test_ring_a_late_answer_is_no_outage_before_its_time),
        cmocka_unit_test(test_ring_silent_member_takes_no_others_whole_time),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

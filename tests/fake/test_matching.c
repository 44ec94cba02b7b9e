/* SPDX-License-Identifier: BSD-3-Clause */
/* Each reply to its own command, whatever a server sends when it was not asked, too late, or
 * in parts; and idle connections that a server closes cost no command. */
#include "fake/fakes.h"

/* Longer than a connection may be idle without being looked at before its next use. */
#define IDLE_MS 5

#define THREADS_N 8
#define CALLS_N   60

/* GET answers with the key, INCR with a number of its own. */
static bool echo(void *arg, kw_fake_call *call)
{
    int *count = arg;
    size_t len;
    const char *name = kw_fake_call_arg(call, 0, NULL);
    const char *key = kw_fake_call_argc(call) > 1 ? kw_fake_call_arg(call, 1, &len) : NULL;
    if (key != NULL && strcmp(name, "GET") == 0) {
        kw_fake_call_bulk(call, key, len);
        return true;
    }
    if (key != NULL && strcmp(name, "INCR") == 0) {
        kw_fake_call_replyf(call, ":%d\r\n", ++*count);
        return true;
    }
    return false;
}

static int incr_count;

static int start_echo(void **state)
{
    start_fakes(state);
    kw_fake_respond(fakes[0], echo, &incr_count);
    return 0;
}

static void start_anew(void)
{
    renew_servers();
    incr_count = 0;
    kw_fake_respond(fakes[0], echo, &incr_count);
}

static void expect_own(kw_client *kw, const char *key)
{
    char *text = kw_test_ask_text(kw, "GET %s", key);
    assert_string_equal(text, key);
    free(text);
}

static void test_matching_unasked_bytes_of_any_kind_end_an_idle_connection(void **state)
{
    (void)state;
    static const char *const unasked[] = {":666\r\n",
                                          "+OK\r\n",
                                          "-ERR idle timeout\r\n",
                                          "$3\r\nfoo\r\n",
                                          "$-1\r\n",
                                          "*0\r\n",
                                          "-MOVED 1 1.2.3.4:1\r\n",
                                          ">2\r\n+message\r\n+x\r\n",
                                          "$100\r\nabc",
                                          "\r\n",
                                          "x",
                                          "\0",
                                          ":1\r\n:2\r\n"};
    start_anew();
    kw_client *kw = kw_test_open("%s?timeout=1s", kw_fake_uri(fakes[0]));
    expect_own(kw, "first");
    int descriptors_n = kw_test_fd_count();
    for (size_t i = 0; i < sizeof(unasked) / sizeof(unasked[0]); i++) {
        unsigned accepted_n = kw_fake_accepted(fakes[0]);
        size_t len = strlen(unasked[i]);
        kw_fake_push(fakes[0], unasked[i], len > 0 ? len : 1);
        kw_test_sleep_ms(IDLE_MS);
        expect_own(kw, "own");
        assert_int_equal(kw_test_ask_integer(kw, "INCR a"), (long long)i + 1);
        assert_int_equal(kw_fake_accepted(fakes[0]), accepted_n + 1);
    }
    assert_int_equal(kw_fake_count(fakes[0], "INCR *"), incr_count);
    kw_fake_await_open(fakes[0], 1);
    assert_in_range(kw_test_fd_count(), 0, descriptors_n);
    kw_close(kw);
}

/* As servers with a timeout for idle clients do, politely or not. */
static void test_matching_server_that_closes_idle_connections_costs_no_command(void **state)
{
    (void)state;
    start_anew();
    kw_client *kw = kw_test_open("%s?timeout=1s", kw_fake_uri(fakes[0]));
    for (int i = 0; i < 20; i++) {
        assert_int_equal(kw_test_ask_integer(kw, "INCR a"), i + 1);
        kw_fake_disconnect(fakes[0], i % 2 == 0);
        kw_test_sleep_ms(IDLE_MS);
    }
    assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 20);
    kw_stats stats = kw_test_stats(kw);
    assert_int_equal(stats.failures, 0);
    assert_int_equal(stats.retries, 0);
    kw_close(kw);
}

/* The reply comes in two parts, with the deadline between them. */
static void test_matching_second_part_of_a_reply_is_nobodys(void **state)
{
    (void)state;
    static const char reply[] = "*2\r\n$3\r\nabc\r\n:666\r\n";
    start_anew();
    kw_client *kw = kw_test_open("%s?timeout=40ms", kw_fake_uri(fakes[0]));
    for (size_t i = 1; i + 1 < sizeof(reply); i++) {
        kw_error error = KW_ERROR_INIT;
        expect_own(kw, "before");
        kw_fake_on(fakes[0], 1, "LPOP *",
                   KW_FAKE_STEPS(KW_FAKE_BYTES(reply, i), KW_FAKE_DELAY(60 * KW_TEST_SLOWNESS),
                                 KW_FAKE_BYTES(reply + i, sizeof(reply) - 1 - i)));
        assert_null(kw_command(kw, &error, "LPOP a"));
        assert_int_equal(error.code, KW_ERR_TIMEOUT);
        assert_int_equal(error.effect, KW_EFFECT_MAYBE);
        expect_own(kw, "after");
    }
    assert_int_equal(kw_fake_count(fakes[0], "LPOP *"), sizeof(reply) - 2);
    kw_close(kw);
}

typedef struct asker {
    pthread_t thread;
    kw_client *kw;
    int number;
    int own_n;
    int late_n;
    int wrong_n;
} asker;

static void *ask_many(void *arg)
{
    asker *self = arg;
    for (int i = 0; i < CALLS_N; i++) {
        char key[40];
        /* One of 8 is answered about when the caller gives up. */
        snprintf(key, sizeof(key), "%s:%d:%d", i % 8 == 0 ? "slow" : "k", self->number, i);
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(self->kw, &error, "GET %s", key);
        if (reply == NULL) {
            self->late_n++;
        } else if (kw_reply_str(reply, NULL) != NULL &&
                   strcmp(kw_reply_str(reply, NULL), key) == 0) {
            self->own_n++;
        } else {
            self->wrong_n++;
        }
        kw_reply_free(reply);
    }
    return NULL;
}

static bool echo_late(void *arg, kw_fake_call *call)
{
    (void)arg;
    size_t len;
    if (kw_fake_call_argc(call) != 2 || strcmp(kw_fake_call_arg(call, 0, NULL), "GET") != 0) {
        return false;
    }
    const char *key = kw_fake_call_arg(call, 1, &len);
    if (len > 4 && memcmp(key, "slow", 4) == 0) {
        kw_test_sleep_ms(4); /* holds all that ask, each a little longer */
    }
    kw_fake_call_bulk(call, key, len);
    return true;
}

/* Deadlines that come while replies are on their way, on connections that many threads use
 * in turn. */
static void test_matching_late_replies_of_many_threads_never_mix(void **state)
{
    (void)state;
    start_anew();
    kw_fake_respond(fakes[0], echo_late, NULL);
    kw_client *kw =
        kw_test_open("%s?timeout=10ms&pool-max=4&connect-timeout=10ms", kw_fake_uri(fakes[0]));
    asker askers[THREADS_N];
    memset(askers, 0, sizeof(askers));
    int own_n = 0;
    for (int i = 0; i < THREADS_N; i++) {
        askers[i].kw = kw;
        askers[i].number = i;
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_many, &askers[i]), 0);
    }
    for (int i = 0; i < THREADS_N; i++) {
        kw_test_join(askers[i].thread);
        assert_int_equal(askers[i].wrong_n, 0);
        assert_int_equal(askers[i].own_n + askers[i].late_n, CALLS_N);
        own_n += askers[i].own_n;
    }
    assert_true(own_n > 0);
    kw_close(kw);
    kw_fake_await_open(fakes[0], 0);
}

/* A pipeline with a reply too many: which one is the stray cannot be told, so that none of
 * those that came with it is believed. */
static void test_matching_surplus_reply_spoils_the_replies_that_came_with_it(void **state)
{
    (void)state;
    start_anew();
    kw_client *kw = kw_test_open("%s?timeout=1s", kw_fake_uri(fakes[0]));
    expect_own(kw, "first");
    kw_fake_on(fakes[0], 1, "INCR one", KW_FAKE_STEPS(KW_FAKE_DELAY(1)));
    kw_fake_on(fakes[0], 1, "INCR two", KW_FAKE_STEPS(KW_FAKE_SEND(":1\r\n:666\r\n:2\r\n")));
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_equal(kw_batch_add(batch, NULL, "INCR one"), KW_OK);
    assert_int_equal(kw_batch_add(batch, NULL, "INCR two"), KW_OK);
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_ERR_DESYNC);
    assert_int_equal(error.effect, KW_EFFECT_MAYBE);
    assert_null(kw_batch_reply(batch, &error, 1));
    assert_int_equal(error.code, KW_ERR_DESYNC);
    assert_int_equal(error.effect, KW_EFFECT_MAYBE);
    kw_batch_free(batch);
    assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 2);
    expect_own(kw, "after");
    kw_close(kw);
}

/* One reply too few, then silence: the ones that came are their commands', in order. */
static void test_matching_pipeline_cut_short_keeps_what_was_answered(void **state)
{
    (void)state;
    start_anew();
    kw_client *kw = kw_test_open("%s?timeout=150ms", kw_fake_uri(fakes[0]));
    kw_fake_on(fakes[0], 1, "INCR stop", KW_FAKE_STEPS(KW_FAKE_SEND("$9\r\nhalf"), KW_FAKE_STALL));
    kw_batch *batch = kw_batch_new(kw, NULL);
    const char *const commands[] = {"INCR a", "GET x", "INCR stop", "INCR b", "GET y"};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(kw_batch_add(batch, NULL, commands[i]), KW_OK);
    }
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_ERR_TIMEOUT);
    assert_int_equal(kw_reply_int(kw_batch_reply(batch, &error, 0)), 1);
    assert_string_equal(kw_reply_str(kw_batch_reply(batch, &error, 1), NULL), "x");
    for (size_t i = 2; i < 5; i++) {
        assert_null(kw_batch_reply(batch, &error, i));
        assert_int_equal(error.code, KW_ERR_TIMEOUT);
        assert_int_equal(error.effect, KW_EFFECT_MAYBE);
    }
    kw_batch_free(batch);
    expect_own(kw, "after");
    assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 3);
    kw_close(kw);
}

/* A reply over a limit costs its own command only: the answer was lost. What stands behind it
 * may have run, or not; reads go again. */
static void test_matching_reply_over_a_limit_is_one_commands(void **state)
{
    (void)state;
    static char large[8 * 1024];
    start_anew();
    memset(large, 'x', sizeof(large));
    memcpy(large, "$8000\r\n", 7);
    kw_client *kw = kw_test_open("%s?timeout=1s&reply-bytes-max=4kb", kw_fake_uri(fakes[0]));
    kw_fake_on(fakes[0], 1, "LPOP *", KW_FAKE_STEPS(KW_FAKE_BYTES(large, sizeof(large))));
    kw_batch *batch = kw_batch_new(kw, NULL);
    const char *const commands[] = {"INCR a", "LPOP large", "GET x", "INCR b", "GET y"};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(kw_batch_add(batch, NULL, commands[i]), KW_OK);
    }
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_ERR_LIMIT);
    assert_int_equal(kw_reply_int(kw_batch_reply(batch, &error, 0)), 1);
    assert_null(kw_batch_reply(batch, &error, 1));
    assert_int_equal(error.code, KW_ERR_LIMIT);
    assert_int_equal(error.effect, KW_EFFECT_DONE);
    assert_string_equal(kw_reply_str(kw_batch_reply(batch, &error, 2), NULL), "x");
    assert_null(kw_batch_reply(batch, &error, 3));
    assert_int_equal(error.code, KW_ERR_CLOSED);
    assert_int_equal(error.effect, KW_EFFECT_MAYBE);
    assert_non_null(strstr(error.text, "over a limit"));
    assert_string_equal(kw_reply_str(kw_batch_reply(batch, &error, 4), NULL), "y");
    kw_batch_free(batch);
    assert_in_range(kw_fake_count(fakes[0], "INCR b"), 0, 1);
    kw_close(kw);
}

/* A server that refuses a command before it has read it, as for its size: the rest of that
 * command must not stand before the next one, which would be taken for a part of it. */
static void test_matching_command_answered_before_it_is_sent_ends_the_connection(void **state)
{
    (void)state;
    enum { LEN = 48 << 20 }; /* more than sockets hold: what is not read is not sent */
    char *value = malloc(LEN);
    assert_non_null(value);
    memset(value, 'v', LEN);
    for (int k = 0; k < 3; k++) {
        start_anew();
        kw_client *kw = kw_test_open("%s?timeout=2s", kw_fake_uri(fakes[0]));
        kw_session *session = k > 0 ? kw_session_open(kw, NULL, "a", 1) : NULL;
        /* Large and blocking commands have a connection of their own. */
        const char *first = session == NULL ? "BLPOP first 0" : "GET first";
        kw_fake_on(fakes[0], 1, first,
                   KW_FAKE_STEPS(KW_FAKE_SEND("+v\r\n"), KW_FAKE_PART(1 << 20),
                                 KW_FAKE_SEND("-ERR Protocol error: too large\r\n"), KW_FAKE_GATE));
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "MULTI", "+OK");
        const char *argv[] = {"SET", "a", value};
        const size_t lens[] = {3, 1, LEN};
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply;
        if (session == NULL) {
            kw_reply_free(kw_test_ask(kw, first));
            reply = kw_command_argv(kw, &error, 3, argv, lens);
        } else {
            kw_reply_free(k == 2 ? kw_session_command(session, &error, "MULTI") : NULL);
            kw_reply_free(kw_session_command(session, &error, first));
            reply = kw_session_command_argv(session, &error, 3, argv, lens);
        }
        assert_string_equal(kw_reply_str(reply, NULL), "ERR Protocol error: too large");
        kw_reply_free(reply);
        kw_fake_pass(fakes[0]); /* it reads the rest, and the connection's end */
        if (session == NULL) {
            assert_int_equal(kw_test_ask_integer(kw, "INCR b"), 1);
        } else if (k == 1) {
            reply = kw_session_command(session, &error, "INCR a");
            assert_int_equal(kw_reply_int(reply), 1);
            kw_reply_free(reply);
        } else { /* what was queued went with the connection */
            assert_null(kw_session_command(session, &error, "EXEC"));
            assert_int_equal(error.code, KW_ERR_CLOSED);
            assert_int_equal(error.effect, KW_EFFECT_NONE);
        }
        assert_int_equal(kw_fake_count(fakes[0], "SET *"), 0);
        kw_session_close(session);
        expect_own(kw, "after");
        kw_close(kw);
        kw_fake_await_open(fakes[0], 0);
    }
    free(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matching_unasked_bytes_of_any_kind_end_an_idle_connection),
        cmocka_unit_test(test_matching_server_that_closes_idle_connections_costs_no_command),
        cmocka_unit_test(test_matching_second_part_of_a_reply_is_nobodys),
        cmocka_unit_test(test_matching_late_replies_of_many_threads_never_mix),
        cmocka_unit_test(test_matching_surplus_reply_spoils_the_replies_that_came_with_it),
        cmocka_unit_test(test_matching_pipeline_cut_short_keeps_what_was_answered),
        cmocka_unit_test(test_matching_reply_over_a_limit_is_one_commands),
        cmocka_unit_test(test_matching_command_answered_before_it_is_sent_ends_the_connection),
    };
    return cmocka_run_group_tests(tests, start_echo, stop_fakes);
}

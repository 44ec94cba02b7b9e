/* SPDX-License-Identifier: BSD-3-Clause */
/* Dialling servers that do not want it: paced, whatever the number of callers; what was wrong
 * is said, and forgotten once it is right. */
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
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_N 16
#define WHILE_MS  600
#define LATE_MS   1500

/* What one handle may dial a node that refuses it, a second. */
#define DIALS_PER_S 20

/* Servers come back and are used again within this. */
#define BACK_MS 1000

static kw_fake *fake;

static int set_up(void **state)
{
    (void)state;
    fake = kw_fake_start();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kw_fake_free(fake);
    return 0;
}

static void start_anew(void)
{
    kw_fake_up(fake);
    kw_fake_reset(fake);
    kw_fake_log_clear(fake);
}

typedef struct caller {
    pthread_t thread;
    kw_client *kw;
    uint64_t until_ms;
    atomic_int *calls_n;
    kw_err code; /* of its last call */
    kw_effect effect;
} caller;

static void *call_until(void *arg)
{
    caller *self = arg;
    while (kw_test_now_ms() < self->until_ms) {
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(self->kw, &error, "INCR a");
        self->code = reply != NULL ? KW_OK : error.code;
        self->effect = error.effect;
        kw_reply_free(reply);
        atomic_fetch_add(self->calls_n, 1);
        kw_test_sleep_ms(1);
    }
    return NULL;
}

/* Many callers that go on for a while whatever they are told. */
static void call_for_a_while(kw_client *kw, kw_err code)
{
    caller callers[THREADS_N];
    atomic_int calls_n = 0;
    uint64_t until_ms = kw_test_now_ms() + WHILE_MS;
    for (size_t i = 0; i < THREADS_N; i++) {
        callers[i] = (caller){.kw = kw, .until_ms = until_ms, .calls_n = &calls_n};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_until, &callers[i]), 0);
    }
    for (size_t i = 0; i < THREADS_N; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_int_equal(callers[i].effect, KW_EFFECT_NONE);
        if (callers[i].code != code) {
            fail_msg("%s", kw_err_name(callers[i].code));
        }
    }
    assert_true(calls_n >= THREADS_N);
}

static void expect_back(kw_client *kw)
{
    uint64_t start_ms = kw_test_now_ms();
    kw_reply *reply = NULL;
    kw_error error = KW_ERROR_INIT;
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "INCR *", ":1");
    while (reply == NULL && kw_test_now_ms() - start_ms < BACK_MS + LATE_MS) {
        reply = kw_command(kw, &error, "INCR a");
    }
    if (reply == NULL) {
        fail_msg("not back: %s", error.text);
    }
    kw_reply_free(reply);
}

static void test_connect_refusing_port_is_dialled_at_a_pace(void **state)
{
    (void)state;
    start_anew();
    kw_fake_down(fake);
    int descriptors_n = kw_test_fd_count();
    kw_client *kw = kw_test_open("%s?timeout=100ms", kw_fake_uri(fake));
    uint64_t start_ms = kw_test_now_ms();
    call_for_a_while(kw, KW_ERR_CONNECT);
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    kw_stats stats = kw_test_stats(kw);
    assert_int_equal(stats.connects, 0);
    assert_in_range(stats.connect_failures, 2, DIALS_PER_S * (elapsed_ms / 1000 + 1));
    assert_in_range(kw_test_fd_count(), 0, descriptors_n);
    kw_fake_up(fake);
    expect_back(kw);
    kw_close(kw);
}

/* Taken, and given up at once: by a proxy without a server, by one with too many clients, by
 * one that is not for us. */
static void test_connect_unwilling_server_is_dialled_at_a_pace(void **state)
{
    (void)state;
    const struct {
        const kw_fake_step *steps;
        kw_err code;
    } rows[] = {
        {KW_FAKE_STEPS(KW_FAKE_RESET), KW_ERR_CONNECT},
        {KW_FAKE_STEPS(KW_FAKE_SEND("-ERR max number of clients reached\r\n"), KW_FAKE_CLOSE),
         KW_ERR_CONNECT},
        {KW_FAKE_STEPS(KW_FAKE_SEND("-DENIED Redis is running in protected mode\r\n"),
                       KW_FAKE_CLOSE),
         KW_ERR_AUTH},
        {KW_FAKE_STEPS(KW_FAKE_SEND("HTTP/1.1 400 Bad Request\r\n\r\n"), KW_FAKE_CLOSE),
         KW_ERR_PROTOCOL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        start_anew();
        kw_fake_on_accept(fake, KW_FAKE_ALWAYS, rows[i].steps);
        kw_client *kw = kw_test_open("%s?timeout=100ms", kw_fake_uri(fake));
        unsigned before_n = kw_fake_accepted(fake);
        uint64_t start_ms = kw_test_now_ms();
        call_for_a_while(kw, rows[i].code);
        uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
        unsigned dials_n = kw_fake_accepted(fake) - before_n;
        assert_in_range(dials_n, 2, DIALS_PER_S * (elapsed_ms / 1000 + 1));
        assert_int_equal(kw_fake_count(fake, "INCR *"), 0);
        kw_fake_reset(fake);
        expect_back(kw);
        kw_close(kw);
    }
}

/* A wrong password is no reason to hammer the door, and a right one opens it. */
static void test_connect_refused_login_is_not_tried_over_and_over(void **state)
{
    (void)state;
    start_anew();
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "HELLO *", "-WRONGPASS invalid username-password pair");
    kw_client *kw = kw_test_open("redis://me:sesame@%s?timeout=100ms", kw_fake_address(fake));
    unsigned before_n = kw_fake_accepted(fake);
    call_for_a_while(kw, KW_ERR_AUTH);
    assert_in_range(kw_fake_accepted(fake) - before_n, 1, DIALS_PER_S);
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(kw, &error, "INCR a"));
    assert_null(strstr(error.text, "sesame"));
    kw_fake_reset(fake);
    expect_back(kw);
    assert_true(kw_fake_count(fake, "HELLO 2 AUTH me sesame*") >= 1);
    kw_close(kw);
}

/* The password is asked for later, by a server that was set so meanwhile: the server's word,
 * at once. */
static void test_connect_login_wanted_in_the_middle_is_the_servers_word(void **state)
{
    (void)state;
    start_anew();
    kw_fake_on_reply(fake, 1, "INCR *", ":1");
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "INCR *", "-NOAUTH Authentication required.");
    kw_client *kw = kw_test_open("%s?timeout=300ms", kw_fake_uri(fake));
    assert_int_equal(kw_test_ask_integer(kw, "INCR a"), 1);
    for (int i = 0; i < 3; i++) {
        char *text = kw_test_ask_error(kw, "INCR a");
        assert_string_equal(text, "NOAUTH Authentication required.");
        free(text);
    }
    assert_int_equal(kw_fake_count(fake, "INCR *"), 4);
    kw_close(kw);
}

/* It takes connections and says nothing for a while, as a stopped process does. */
static void test_connect_server_that_stood_still_is_used_again(void **state)
{
    (void)state;
    start_anew();
    kw_fake_on(fake, KW_FAKE_ALWAYS, "HELLO *", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_client *kw = kw_test_open("%s?timeout=100ms", kw_fake_uri(fake));
    call_for_a_while(kw, KW_ERR_HANDSHAKE);
    assert_int_equal(kw_fake_count(fake, "INCR *"), 0);
    assert_in_range(kw_fake_accepted(fake), 1, 1000);
    kw_fake_reset(fake);
    expect_back(kw);
    kw_close(kw);
}

/* Slow to greet, and many who want in: they wait for each other, and all are served. */
static void test_connect_slow_greeting_serves_all_who_wait(void **state)
{
    (void)state;
    start_anew();
    kw_fake_on(fake, KW_FAKE_ALWAYS, "CLIENT SETINFO LIB-NAME *",
               KW_FAKE_STEPS(KW_FAKE_DELAY(30), KW_FAKE_SEND("+OK\r\n")));
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "INCR *", ":1");
    kw_client *kw = kw_test_open("%s?timeout=3s&pool-max=4", kw_fake_uri(fake));
    unsigned before_n = kw_fake_accepted(fake);
    call_for_a_while(kw, KW_OK);
    assert_in_range(kw_fake_accepted(fake) - before_n, 1, 5); /* pool-max, and the lane */
    assert_int_equal(kw_test_stats(kw).failures, 0);
    kw_close(kw);
}

static void keep_line(void *arg, kw_log_level level, const char *text)
{
    (void)level;
    if (strstr(text, "redis-cluster://") != NULL) {
        snprintf(arg, 300, "%s", text);
    }
}

/* redis:// at a node of a cluster: keys of other nodes are answered by MOVED; the log says
 * what to write instead. */
static void test_connect_cluster_node_as_single_server_is_named(void **state)
{
    (void)state;
    start_anew();
    const kw_fake_range ranges[] = {{0, 16383, fake, NULL}};
    kw_fake_set_cluster(&fake, 1, ranges, 1);
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "INCR *", "-MOVED 12182 127.0.0.1:1");
    char line[300] = "";
    kw_config *config = kw_test_config_new(NULL);
    assert_int_equal(kw_config_set_uri(config, NULL, kw_fake_uri(fake)), KW_OK);
    kw_config_set_log(config, KW_LOG_WARNING, keep_line, line);
    kw_client *kw = kw_open_config(config, NULL);
    kw_config_free(config);
    char *text = kw_test_ask_error(kw, "INCR foo");
    assert_string_equal(text, "MOVED 12182 127.0.0.1:1");
    free(text);
    assert_non_null(strstr(line, "redis-cluster://"));
    assert_int_equal(kw_fake_count(fake, "INCR *"), 1);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect_refusing_port_is_dialled_at_a_pace),
        cmocka_unit_test(test_connect_unwilling_server_is_dialled_at_a_pace),
        cmocka_unit_test(test_connect_refused_login_is_not_tried_over_and_over),
        cmocka_unit_test(test_connect_login_wanted_in_the_middle_is_the_servers_word),
        cmocka_unit_test(test_connect_server_that_stood_still_is_used_again),
        cmocka_unit_test(test_connect_slow_greeting_serves_all_who_wait),
        cmocka_unit_test(test_connect_cluster_node_as_single_server_is_named),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

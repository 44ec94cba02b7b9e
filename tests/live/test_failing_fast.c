/* SPDX-License-Identifier: BSD-3-Clause */
/* Servers that are down: what a call comes to in the first second, after it, while an election is
 * overdue, and when the server is back; in every way of sending, each two parts of the program, for
 * servers that refuse and for servers that are silent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/fake.h"
#include "support/parts.h"
#include "support/server.h"
#include "support/ways.h"

/* A call that fails at once takes so long at most, with all else that a busy machine does. */
#define AT_ONCE_US (20000 * KW_TEST_SLOWNESS)

/* The second in which a server counts as slow, and what a call may be late. */
#define DOWN_MS  1000
#define SLACK_MS (1500 * KW_TEST_SLOWNESS)
#define BACK_MS  1000

#define MANY 200

static kw_test_server *server;

/* This part's. */
static kw_test_way way;

static int set_up(void **state)
{
    (void)state;
    server = kw_test_server_start("save \"\"\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kw_test_server_free(server);
    return 0;
}

/* The topologies that one server makes. */
static const char *const forms[] = {"redis://%s?%s", "redis-ring://a=%s?%s"};

static kw_client *open_form(size_t form, const char *options)
{
    char uri[300];
    /* the forms are the two above */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(uri, sizeof(uri), forms[form], kw_test_server_address(server), options);
#pragma GCC diagnostic pop
    return kw_test_open("%s", uri);
}

static void expect_answer(kw_client *client)
{
    kw_test_end end = kw_test_send(client, way, "INCR", "key");
    if (!end.is_answered) {
        fail_msg("by %s: %s", kw_test_way_name(way), end.error.text);
    }
}

/* Calls until one is refused because the server is down; the deadline of each is far away. */
static void expect_down_after_a_second(kw_client *client)
{
    uint64_t start_ms = kw_test_now_ms();
    kw_test_end end;
    do {
        end = kw_test_send(client, way, "INCR", "key");
        assert_false(end.is_answered);
    } while (strstr(end.error.text, "down") == NULL &&
             kw_test_now_ms() - start_ms < DOWN_MS + SLACK_MS);
    uint64_t took_ms = kw_test_now_ms() - start_ms;
    if (strstr(end.error.text, "down") == NULL || end.error.code != KW_ERR_CONNECT) {
        fail_msg("by %s: %s", kw_test_way_name(way), end.error.text);
    }
    assert_in_range(took_ms, DOWN_MS - 200, DOWN_MS + SLACK_MS);
    assert_int_equal(kw_test_stats(client).nodes_down, 1);
}

/* Many calls, each of which fails at once, with nothing sent; the server is dialled once a second
 * for all of them. */
static void expect_failures_at_once(kw_client *client)
{
    uint64_t start_ms = kw_test_now_ms();
    uint64_t dials_n = kw_test_stats(client).connect_failures;
    unsigned late_n = 0;
    for (int i = 0; i < MANY; i++) {
        kw_test_end end = kw_test_send(client, way, "INCR", "key");
        assert_false(end.is_answered);
        if (end.error.code != KW_ERR_CONNECT || end.error.effect != KW_EFFECT_NONE) {
            fail_msg("by %s: %s, %s", kw_test_way_name(way), end.error.text,
                     kw_effect_name(end.error.effect));
        }
        late_n += end.took_us > AT_ONCE_US ? 1 : 0;
    }
    assert_in_range(late_n, 0, MANY / 20);
    uint64_t seconds = (kw_test_now_ms() - start_ms) / 1000 + 1;
    assert_in_range(kw_test_stats(client).connect_failures - dials_n, 0, 2 * seconds);
}

static void test_refusing_server_is_waited_for_a_second_and_dialled_once_a_second(void **state)
{
    (void)state;
    for (size_t form = 0; form < sizeof(forms) / sizeof(forms[0]); form++) {
        kw_client *client = open_form(form, "timeout=20s");
        expect_answer(client);
        kw_test_server_kill(server);
        expect_down_after_a_second(client);
        expect_failures_at_once(client);
        kw_test_server_restart(server);
        kw_test_sleep_ms(BACK_MS);
        expect_answer(client);
        assert_int_equal(kw_test_stats(client).nodes_down, 0);
        kw_close(client);
    }
}

static void test_caller_once_a_second_is_served_after_the_return(void **state)
{
    (void)state;
    for (size_t form = 0; form < sizeof(forms) / sizeof(forms[0]); form++) {
        kw_client *client = open_form(form, "timeout=20s");
        kw_test_server_kill(server);
        expect_down_after_a_second(client);
        kw_test_sleep_ms(BACK_MS);
        kw_test_end end = kw_test_send(client, way, "INCR", "key");
        assert_false(end.is_answered);
        kw_test_server_restart(server);
        kw_test_sleep_ms(BACK_MS);
        expect_answer(client);
        kw_close(client);
    }
}

/* Stopped: it takes connects, and answers nothing. */
static void test_silent_server_costs_calls_nothing_after_a_second(void **state)
{
    (void)state;
    for (size_t form = 0; form < sizeof(forms) / sizeof(forms[0]); form++) {
        kw_client *client = open_form(form, "timeout=200ms");
        expect_answer(client);
        kw_test_server_pause(server);
        uint64_t start_ms = kw_test_now_ms();
        kw_test_end end = {.is_answered = false};
        while (strstr(end.error.text, "down") == NULL &&
               kw_test_now_ms() - start_ms < 2 * DOWN_MS + SLACK_MS) {
            end = kw_test_send(client, way, "INCR", "key");
            assert_false(end.is_answered);
        }
        if (strstr(end.error.text, "down") == NULL) {
            fail_msg("by %s: %s", kw_test_way_name(way), end.error.text);
        }
        expect_failures_at_once(client);
        kw_test_server_resume(server);
        kw_test_sleep_ms(BACK_MS);
        expect_answer(client);
        kw_close(client);
    }
}

static void test_silent_server_is_found_back_by_a_caller_once_a_second(void **state)
{
    (void)state;
    kw_client *client = open_form(0, "timeout=200ms");
    expect_answer(client);
    kw_test_server_pause(server);
    kw_test_end end = {.is_answered = false};
    for (int i = 0; i < 30 && strstr(end.error.text, "down") == NULL; i++) {
        end = kw_test_send(client, way, "INCR", "key");
    }
    assert_non_null(strstr(end.error.text, "down"));
    for (int i = 0; i < 2; i++) {
        kw_test_sleep_ms(BACK_MS);
        end = kw_test_send(client, way, "INCR", "key");
        assert_false(end.is_answered);
        assert_in_range(end.took_us, 0, AT_ONCE_US);
    }
    kw_test_server_resume(server);
    kw_test_sleep_ms(BACK_MS);
    expect_answer(client);
    kw_close(client);
}

/* Slow commands are no outage: the server answers to PING all the time. */
static void test_slow_answers_are_no_outage(void **state)
{
    (void)state;
    kw_fake *fake = kw_fake_start();
    kw_fake_on(fake, KW_FAKE_ALWAYS, "GET *", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_client *client = kw_test_open("%s?timeout=300ms&stall-timeout=100ms", kw_fake_uri(fake));
    uint64_t start_ms = kw_test_now_ms();
    while (kw_test_now_ms() - start_ms < 3 * DOWN_MS) {
        kw_test_end end = kw_test_send(client, KW_TEST_CALL, "GET", "key");
        assert_false(end.is_answered);
        assert_null(strstr(end.error.text, "down"));
    }
    assert_int_equal(kw_test_stats(client).downs, 0);
    assert_true(kw_fake_count(fake, "PING") > 0);
    kw_close(client);
    kw_fake_free(fake);
}

static void test_waiting_is_a_choice(void **state)
{
    (void)state;
    for (size_t form = 0; form < sizeof(forms) / sizeof(forms[0]); form++) {
        kw_client *client = open_form(form, "timeout=1500ms&on-node-down=wait");
        kw_test_server_kill(server);
        kw_test_end end = kw_test_send(client, way, "INCR", "key");
        assert_false(end.is_answered);
        assert_in_range(end.took_us, 1300 * 1000, (1500 + SLACK_MS) * 1000);
        assert_int_equal(end.error.code, KW_ERR_CONNECT);
        kw_test_server_restart(server);
        expect_answer(client);
        kw_close(client);
    }
}

/* A call in a hurry fails by the first refusal, in the first second too. */
static void test_fail_fast_waits_for_nothing(void **state)
{
    (void)state;
    kw_client *client = open_form(0, "timeout=20s");
    expect_answer(client);
    kw_test_server_kill(server);
    kw_error error = KW_ERROR_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    const char *argv[] = {"INCR", "key"};
    options.fail_fast = true;
    kw_test_sleep_ms(50); /* the open connection is seen to be closed before it is used */
    for (int i = 0; i < 10; i++) {
        assert_null(kw_call(client, &error, &options, (kw_argv){2, argv, NULL}));
        assert_int_equal(error.code, KW_ERR_CONNECT);
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        assert_in_range(error.elapsed_ms, 0, 200 * KW_TEST_SLOWNESS);
    }
    kw_test_server_restart(server);
    expect_answer(client);
    kw_close(client);
}

/* Behind those of each way. */
#define CALLS_PART ((size_t)2 * KW_TEST_WAYS_N)

static int run(size_t part)
{
    const struct CMUnitTest of_refusing[] = {
        cmocka_unit_test(test_refusing_server_is_waited_for_a_second_and_dialled_once_a_second),
        cmocka_unit_test(test_caller_once_a_second_is_served_after_the_return),
    };
    const struct CMUnitTest of_others[] = {
        cmocka_unit_test(test_silent_server_costs_calls_nothing_after_a_second),
        cmocka_unit_test(test_silent_server_is_found_back_by_a_caller_once_a_second),
        cmocka_unit_test(test_waiting_is_a_choice),
    };
    const struct CMUnitTest of_calls[] = {
        cmocka_unit_test(test_slow_answers_are_no_outage),
        cmocka_unit_test(test_fail_fast_waits_for_nothing),
    };
    if (part == CALLS_PART) {
        way = KW_TEST_CALL;
        return cmocka_run_group_tests(of_calls, set_up, tear_down);
    }
    way = (kw_test_way)(part / 2);
    return part % 2 == 0 ? cmocka_run_group_tests(of_refusing, set_up, tear_down)
                         : cmocka_run_group_tests(of_others, set_up, tear_down);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, CALLS_PART + 1, run);
}

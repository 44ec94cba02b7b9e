/* SPDX-License-Identifier: BSD-3-Clause */
/* Redirects to nowhere, in circles, out of a batch and in storms; and what they leave behind. */
#include "fake/fakes.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* The number that INCR foo gives; -1 and error where it gives none. */
static long long incr_foo(kw_client *kw, kw_error *error)
{
    kw_reply *reply = kw_command(kw, error, "INCR foo");
    long long number = reply != NULL ? kw_reply_int(reply) : -1;
    kw_reply_free(reply);
    return number;
}

static void test_redirect_circles_are_bounded_and_named(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=300ms&redirects-max=4");
    kw_error error = KW_ERROR_INIT;
    for (size_t i = 1; i < FAKES_N; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "INCR foo", "-MOVED %u 127.0.0.1:%u", FOO_SLOT,
                         (unsigned)kw_fake_port(fakes[3 - i]));
    }
    assert_int_equal(incr_foo(kw, &error), -1);
    assert_int_equal(error.code, KW_ERR_REDIRECT);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_int_equal(error.attempts, 5);
    assert_non_null(strstr(error.text, "MOVED 12182"));
    /* To itself. */
    renew_fakes();
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "INCR foo", "-MOVED %u 127.0.0.1:%u", FOO_SLOT,
                     (unsigned)kw_fake_port(fakes[1]));
    kw_fake_on_reply(fakes[2], KW_FAKE_ALWAYS, "INCR foo", "-MOVED %u 127.0.0.1:%u", FOO_SLOT,
                     (unsigned)kw_fake_port(fakes[1]));
    assert_int_equal(incr_foo(kw, &error), -1);
    assert_int_equal(error.code, KW_ERR_REDIRECT);
    assert_in_range(kw_fake_count(fakes[1], "INCR foo"), 1, 6);
    kw_close(kw);
}

static void test_redirect_to_unknown_or_dead_node_asks_for_the_map(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=300ms");
    kw_error error = KW_ERROR_INIT;
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u ?:7000", FOO_SLOT);
    answer(fakes[1], "INCR foo", ":1");
    assert_int_equal(incr_foo(kw, &error), 1);
    renew_fakes();
    kw_fake_down(fakes[2]);
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u 127.0.0.1:%u", FOO_SLOT,
                     (unsigned)kw_fake_port(fakes[2]));
    answer(fakes[1], "INCR foo", ":1");
    assert_int_equal(incr_foo(kw, &error), 1);
    kw_close(kw);
}

static void refuse_maps(void)
{
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "CLUSTER S*", "-ERR not now");
    }
}

/* Nobody listens there, on either address family: the owner is asked again. */
static void test_redirect_to_nowhere_is_survived(void **state)
{
    (void)state;
    renew_fakes();
    kw_fake_down(fakes[2]);
    char forms[6][80];
    unsigned port = kw_fake_port(fakes[2]);
    snprintf(forms[0], sizeof(forms[0]), "-MOVED %u ::1:%u", FOO_SLOT, port);
    snprintf(forms[1], sizeof(forms[1]), "-MOVED %u [::1]:%u", FOO_SLOT, port);
    snprintf(forms[2], sizeof(forms[2]), "-ASK %u ::1:%u", FOO_SLOT, port);
    snprintf(forms[3], sizeof(forms[3]), "-ASK %u 127.0.0.1:%u", FOO_SLOT, port);
    snprintf(forms[4], sizeof(forms[4]), "-ASK %u ?:%u", FOO_SLOT, port);
    snprintf(forms[5], sizeof(forms[5]), "-MOVED %u ?:%u", FOO_SLOT, port);
    for (size_t i = 0; i < 6; i++) {
        kw_client *kw = open_connected("timeout=1s");
        kw_fake_on_reply(fakes[1], 1, "INCR foo", "%s", forms[i]);
        answer_numbers();
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(kw, &error, "INCR foo");
        if (reply == NULL) {
            fail_msg("%s: %s", forms[i], error.text);
        }
        assert_int_equal(kw_reply_int(reply), 1);
        kw_reply_free(reply);
        kw_close(kw);
        renew_fakes();
        kw_fake_down(fakes[2]);
    }
}

/* ASKING refused, and the command answered for all that: each to its own. */
static void test_redirect_answer_to_asking_is_never_the_commands(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=1s");
    kw_fake_on_reply(fakes[1], 3, "INCR foo", "-ASK %u %s", FOO_SLOT, kw_fake_address(fakes[2]));
    kw_fake_on_reply(fakes[2], 1, "ASKING", "-ERR unknown command 'ASKING'");
    kw_fake_on_reply(fakes[2], 1, "ASKING", ":666");
    answer_numbers();
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 2);
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 2);
    /* Lost behind ASKING: the write may have run, and is not sent again. */
    kw_fake_on(fakes[2], 1, "ASKING", KW_FAKE_STEPS(KW_FAKE_SEND("+OK\r\n"), KW_FAKE_RESET));
    kw_fake_reset(fakes[2]);
    kw_fake_on(fakes[2], 1, "INCR foo", KW_FAKE_STEPS(KW_FAKE_RESET));
    kw_fake_log_clear(fakes[2]);
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(kw, &error, "INCR foo"));
    assert_int_equal(error.code, KW_ERR_CLOSED);
    assert_int_equal(error.effect, KW_EFFECT_MAYBE);
    assert_string_equal(error.node, kw_fake_address(fakes[2]));
    assert_int_equal(kw_fake_count(fakes[2], "INCR foo"), 1);
    kw_close(kw);
}

/* Commands of one batch go their own ways, and those on one key keep their order. */
static void test_redirect_out_of_a_batch_is_for_that_command(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=1s");
    kw_fake_on_reply(fakes[1], 1, "GET foo", "-MOVED %u %s", FOO_SLOT, kw_fake_address(fakes[2]));
    kw_fake_on_reply(fakes[1], 1, "GET {foo}x", "-ASK %u %s", FOO_SLOT, kw_fake_address(fakes[2]));
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "GET *", ":%zu", i);
    }
    kw_batch *batch = kw_batch_new(kw, NULL);
    kw_batch_add(batch, NULL, "GET bar");
    kw_batch_add(batch, NULL, "GET foo");
    kw_batch_add(batch, NULL, "GET {foo}x");
    kw_batch_add(batch, NULL, "GET hello2");
    kw_error error = KW_ERROR_INIT;
    if (kw_batch_run(batch, &error, 0) != KW_OK) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(kw_reply_int(kw_batch_reply(batch, NULL, 0)), 0);
    assert_int_equal(kw_reply_int(kw_batch_reply(batch, NULL, 1)), 2);
    assert_int_equal(kw_reply_int(kw_batch_reply(batch, NULL, 2)), 2);
    assert_int_equal(kw_fake_count(fakes[2], "ASKING"), 1);
    assert_int_equal(kw_fake_count(fakes[2], "GET *"), 2);
    kw_batch_free(batch);
    kw_close(kw);
}

/* Two hundred calls sent to as many addresses where nobody listens: nothing is piled up, and
 * the node that a slot moved to before keeps its connection. */
static void test_redirect_storm_leaves_nothing_behind(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=10s");
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-ASK %u %s", FOO_SLOT, kw_fake_address(fakes[2]));
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u %s", FOO_SLOT, kw_fake_address(fakes[2]));
    answer_numbers();
    refuse_maps();
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 2);
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 2);
    int descriptors_n = kw_test_fd_count();
    unsigned accepted_n = kw_fake_accepted(fakes[2]);
    for (unsigned i = 0; i < 200; i++) {
        kw_fake_reset(fakes[0]);
        kw_fake_on_reply(fakes[0], 1, "INCR bar", "-ASK %u 127.0.0.1:%u", BAR_SLOT, 1 + i);
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR bar", ":0");
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "CLUSTER S*", "-ERR not now");
        assert_int_equal(kw_test_ask_integer(kw, "INCR bar"), 0);
    }
    for (int i = 0; i < 10; i++) {
        assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 2);
    }
    /* Fetches of the map have connections of their own. */
    assert_in_range(kw_fake_accepted(fakes[2]), accepted_n, accepted_n + 1);
    assert_in_range(kw_test_stats(kw).nodes, 3, 40);
    assert_in_range(kw_test_fd_count(), 0, descriptors_n + 8); /* two a connection */
    kw_close(kw);
}

/* A node that was asked but once keeps no connection for ever. */
static void test_redirect_targets_connection_is_closed_when_idle(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=1s&pool-idle=200ms");
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-ASK %u %s", FOO_SLOT, kw_fake_address(fakes[2]));
    answer_numbers();
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 2);
    assert_int_equal(kw_fake_open(fakes[2]), 1);
    uint64_t start_ms = kw_test_now_ms();
    while (kw_fake_open(fakes[2]) > 0 && kw_test_now_ms() - start_ms < 5000) {
        kw_test_sleep_ms(50);
        assert_int_equal(kw_test_ask_integer(kw, "INCR bar"), 0);
    }
    assert_int_equal(kw_fake_open(fakes[2]), 0);
    kw_close(kw);
}

static void *ask_foo(void *arg)
{
    for (int i = 0; i < 20; i++) {
        assert_int_equal(kw_test_ask_integer(arg, "INCR foo"), 2);
    }
    return NULL;
}

/* 32 callers meet MOVED at once: each follows, and few ask for the map. */
static void test_redirect_of_many_callers_asks_for_few_maps(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=1s");
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "INCR foo", "-MOVED %u %s", FOO_SLOT,
                         kw_fake_address(fakes[2]));
    }
    answer_numbers();
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_log_clear(fakes[i]);
    }
    pthread_t threads[32];
    uint64_t start_ms = kw_test_now_ms();
    for (size_t i = 0; i < 32; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask_foo, kw), 0);
    }
    for (size_t i = 0; i < 32; i++) {
        kw_test_join(threads[i]);
    }
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    size_t maps_n = 0;
    for (size_t i = 0; i < FAKES_N; i++) {
        maps_n += kw_fake_count(fakes[i], "CLUSTER S*");
    }
    assert_in_range(maps_n, 0, 2 + elapsed_ms / 100);
    assert_int_equal(kw_test_stats(kw).failures, 0);
    kw_close(kw);
}

/* A server that sends callers to ever new places costs neither descriptors nor memory. */
static void test_redirect_moved_storm_costs_nothing_that_stays(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=60ms&redirects-max=3");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    int descriptors_n = kw_test_fd_count();
    unsigned late_n = 0;
    for (unsigned i = 0; i < 40; i++) {
        kw_fake_reset(fakes[1]);
        kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "INCR foo", "-%s %u 127.0.0.1:%u",
                         i % 2 == 0 ? "MOVED" : "ASK", FOO_SLOT, 1 + i);
        kw_error error = KW_ERROR_INIT;
        uint64_t start_ms = kw_test_now_ms();
        assert_null(kw_command(kw, &error, "INCR foo"));
        assert_in_range(kw_test_now_ms() - start_ms, 0, 60 + LATE_MS);
        if (error.code == KW_ERR_TIMEOUT) { /* on a busy machine the deadline falls into a try */
            late_n++;
            continue;
        }
        assert_int_equal(error.effect, KW_EFFECT_NONE);
    }
    assert_in_range(late_n, 0, 30);
    kw_stats stats = {.size = sizeof(stats)};
    assert_int_equal(kw_client_stats(kw, &stats), KW_OK);
    assert_in_range(stats.nodes, 2, 30); /* a few places are remembered */
    assert_in_range(kw_test_fd_count(), 0, descriptors_n + 8);
    renew_fakes();
    answer_numbers();
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = NULL;
    uint64_t start_ms = kw_test_now_ms();
    while (reply == NULL && kw_test_now_ms() - start_ms < 1000 + LATE_MS) {
        reply = kw_command(kw, &error, "INCR foo");
    }
    assert_int_equal(kw_reply_int(reply), 1);
    kw_reply_free(reply);
    kw_close(kw);
}

static void test_redirect_ask_to_a_dead_node_goes_back_to_the_owner(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=2s");
    kw_fake_on_reply(fakes[1], 2, "INCR foo", "-ASK %u 127.0.0.1:1", FOO_SLOT);
    answer_numbers();
    expect_number(kw, "INCR foo", 1);
    assert_int_equal(kw_fake_count(fakes[1], "INCR foo"), 3);
    assert_int_equal(kw_fake_count(fakes[1], "ASKING"), 0);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redirect_circles_are_bounded_and_named),
        cmocka_unit_test(test_redirect_to_unknown_or_dead_node_asks_for_the_map),
        cmocka_unit_test(test_redirect_to_nowhere_is_survived),
        cmocka_unit_test(test_redirect_answer_to_asking_is_never_the_commands),
        cmocka_unit_test(test_redirect_out_of_a_batch_is_for_that_command),
        cmocka_unit_test(test_redirect_storm_leaves_nothing_behind),
        cmocka_unit_test(test_redirect_targets_connection_is_closed_when_idle),
        cmocka_unit_test(test_redirect_of_many_callers_asks_for_few_maps),
        cmocka_unit_test(test_redirect_moved_storm_costs_nothing_that_stays),
        cmocka_unit_test(test_redirect_ask_to_a_dead_node_goes_back_to_the_owner),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

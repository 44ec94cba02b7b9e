/* SPDX-License-Identifier: BSD-3-Clause */
/* Redirects beside the plain ones: to the newer address family, to nowhere, for another slot,
 * out of a batch, in storms; and what they leave behind. */
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LATE_MS  1500
#define FOO_SLOT 12182u
#define BAR_SLOT 5061u

/* foo is the second fake's, bar the first one's; the third has no slots. */
static kw_fake *fakes[3];

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        fakes[i] = kw_fake_start();
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        kw_fake_free(fakes[i]);
    }
    return 0;
}

static void start_anew(void)
{
    kw_fake_halves(fakes, 3);
}

static kw_client *open_cluster(const char *options)
{
    kw_client *kw =
        kw_test_open("redis-cluster://%s?timeout=1s%s", kw_fake_address(fakes[0]), options);
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    return kw;
}

/* Each answers INCR with its own number. */
static void answer_all(void)
{
    for (size_t i = 0; i < 3; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "INCR *", ":%zu", i);
    }
}

static void no_more_maps(void)
{
    for (size_t i = 0; i < 3; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "CLUSTER *", "-ERR not now");
    }
}

/* Without a new map the one slot is known anew, and no other. */
static void test_redirect_moved_patches_one_slot(void **state)
{
    (void)state;
    start_anew();
    kw_client *kw = open_cluster("");
    no_more_maps();
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u %s", FOO_SLOT, kw_fake_address(fakes[2]));
    answer_all();
    for (int i = 0; i < 5; i++) {
        assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 2);
    }
    assert_int_equal(kw_fake_count(fakes[1], "INCR foo"), 1);
    assert_int_equal(kw_test_ask_integer(kw, "INCR bar"), 0);
    assert_int_equal(kw_test_ask_integer(kw, "INCR hello"), 0);
    char node[100];
    assert_int_equal(kw_client_slot_node(kw, NULL, node, sizeof(node), FOO_SLOT + 1), KW_OK);
    assert_string_equal(node, kw_fake_address(fakes[1]));
    assert_int_equal(kw_test_stats(kw).moved, 1);
    kw_close(kw);
}

/* A server that speaks of another slot is followed, and believed nothing about either. */
static void test_redirect_for_another_slot_changes_no_map(void **state)
{
    (void)state;
    start_anew();
    kw_client *kw = open_cluster("");
    no_more_maps();
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u %s", BAR_SLOT, kw_fake_address(fakes[2]));
    answer_all();
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 2);
    assert_int_equal(kw_test_ask_integer(kw, "INCR bar"), 0);
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 1);
    kw_close(kw);
}

static void test_redirect_malformed_is_the_callers_to_read(void **state)
{
    (void)state;
    static const char *const says[] = {"-MOVED 12182 127.0.0.1:-1",
                                       "-MOVED 12182  127.0.0.1:7000",
                                       "-MOVED 12182 127.0.0.1:7000 x",
                                       "-MOVED 12182 [::1:7000",
                                       "-MOVED 12182 ::1]:7000",
                                       "-MOVED 12182 []:7000",
                                       "-MOVED 12182 a b:7000",
                                       "-MOVED 99999999999 a:7000",
                                       "-MOVED 12182 a:",
                                       "-MOVED 12182 :",
                                       "-MOVED 12182 a:7000x",
                                       "-MOVED 0x10 a:7000",
                                       "-MOVED +1 a:7000",
                                       "-MOVED 12182 a\x01:7000",
                                       "-ASK",
                                       "-ASK 12182",
                                       "-ASK 16384 127.0.0.1:7000",
                                       "-ASK 12182 127.0.0.1:0",
                                       "-ASK 12182 127.0.0.1:65536",
                                       "-ASK -1 127.0.0.1:7000",
                                       "-ask 12182 127.0.0.1:7000"};
    start_anew();
    kw_client *kw = open_cluster("");
    size_t maps_n = kw_fake_count(fakes[0], "CLUSTER *");
    for (size_t i = 0; i < sizeof(says) / sizeof(says[0]); i++) {
        kw_fake_on_reply(fakes[1], 1, "INCR foo", "%s", says[i]);
        char *text = kw_test_ask_error(kw, "INCR foo");
        assert_string_equal(text, says[i] + 1);
        free(text);
    }
    answer_all();
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 1);
    assert_int_equal(kw_test_stats(kw).moved + kw_test_stats(kw).ask, 0);
    assert_int_equal(kw_fake_count(fakes[0], "CLUSTER *"), maps_n);
    kw_close(kw);
}

/* Nobody listens there, on either address family: the owner is asked again. */
static void test_redirect_to_nowhere_is_survived(void **state)
{
    (void)state;
    start_anew();
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
        kw_client *kw = open_cluster("");
        kw_fake_on_reply(fakes[1], 1, "INCR foo", "%s", forms[i]);
        answer_all();
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(kw, &error, "INCR foo");
        if (reply == NULL) {
            fail_msg("%s: %s", forms[i], error.text);
        }
        assert_int_equal(kw_reply_int(reply), 1);
        kw_reply_free(reply);
        kw_close(kw);
        start_anew();
        kw_fake_down(fakes[2]);
    }
}

/* ASKING refused, and the command answered for all that: each to its own. */
static void test_redirect_answer_to_asking_is_never_the_commands(void **state)
{
    (void)state;
    start_anew();
    kw_client *kw = open_cluster("");
    kw_fake_on_reply(fakes[1], 3, "INCR foo", "-ASK %u %s", FOO_SLOT, kw_fake_address(fakes[2]));
    kw_fake_on_reply(fakes[2], 1, "ASKING", "-ERR unknown command 'ASKING'");
    kw_fake_on_reply(fakes[2], 1, "ASKING", ":666");
    answer_all();
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
    start_anew();
    kw_client *kw = open_cluster("");
    kw_fake_on_reply(fakes[1], 1, "GET foo", "-MOVED %u %s", FOO_SLOT, kw_fake_address(fakes[2]));
    kw_fake_on_reply(fakes[1], 1, "GET {foo}x", "-ASK %u %s", FOO_SLOT, kw_fake_address(fakes[2]));
    for (size_t i = 0; i < 3; i++) {
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
    start_anew();
    kw_client *kw = open_cluster("");
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-ASK %u %s", FOO_SLOT, kw_fake_address(fakes[2]));
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u %s", FOO_SLOT, kw_fake_address(fakes[2]));
    answer_all();
    no_more_maps();
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 2);
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 2);
    int descriptors_n = kw_test_fd_count();
    unsigned accepted_n = kw_fake_accepted(fakes[2]);
    for (unsigned i = 0; i < 200; i++) {
        kw_fake_reset(fakes[0]);
        kw_fake_on_reply(fakes[0], 1, "INCR bar", "-ASK %u 127.0.0.1:%u", BAR_SLOT, 1 + i);
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR bar", ":0");
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "CLUSTER *", "-ERR not now");
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
    start_anew();
    kw_client *kw = open_cluster("&pool-idle=200ms");
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-ASK %u %s", FOO_SLOT, kw_fake_address(fakes[2]));
    answer_all();
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
    start_anew();
    kw_client *kw = open_cluster("");
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "INCR foo", "-MOVED %u %s", FOO_SLOT,
                         kw_fake_address(fakes[2]));
    }
    answer_all();
    for (size_t i = 0; i < 3; i++) {
        kw_fake_log_clear(fakes[i]);
    }
    pthread_t threads[32];
    uint64_t start_ms = kw_test_now_ms();
    for (size_t i = 0; i < 32; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask_foo, kw), 0);
    }
    for (size_t i = 0; i < 32; i++) {
        pthread_join(threads[i], NULL);
    }
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    size_t maps_n = 0;
    for (size_t i = 0; i < 3; i++) {
        maps_n += kw_fake_count(fakes[i], "CLUSTER *");
    }
    assert_in_range(maps_n, 0, 2 + elapsed_ms / 100);
    assert_int_equal(kw_test_stats(kw).failures, 0);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redirect_moved_patches_one_slot),
        cmocka_unit_test(test_redirect_for_another_slot_changes_no_map),
        cmocka_unit_test(test_redirect_malformed_is_the_callers_to_read),
        cmocka_unit_test(test_redirect_to_nowhere_is_survived),
        cmocka_unit_test(test_redirect_answer_to_asking_is_never_the_commands),
        cmocka_unit_test(test_redirect_out_of_a_batch_is_for_that_command),
        cmocka_unit_test(test_redirect_storm_leaves_nothing_behind),
        cmocka_unit_test(test_redirect_targets_connection_is_closed_when_idle),
        cmocka_unit_test(test_redirect_of_many_callers_asks_for_few_maps),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Redirects and maps that are wrong, hostile or out of date. */
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
#include <string.h>

#define TIMEOUT_MS 300
#define LATE_MS    1500

/* "foo" is in slot 12182 of the second fake; "bar", 5061, in the first one's. */
#define FOO_SLOT 12182u

static kw_fake *fakes[3];

static void make_cluster(void)
{
    kw_fake_halves(fakes, 3);
}

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

static kw_client *open_cluster(const char *options)
{
    return kw_test_open("redis-cluster://%s?timeout=%dms%s", kw_fake_address(fakes[0]), TIMEOUT_MS,
                        options);
}

static void answer(kw_fake *fake, const char *pattern, const char *reply)
{
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, pattern, "%s", reply);
}

/* The number that INCR foo gives; -1 and error where it gives none. */
static long long incr_foo(kw_client *kw, kw_error *error)
{
    kw_reply *reply = kw_command(kw, error, "INCR foo");
    long long number = reply != NULL ? kw_reply_int(reply) : -1;
    kw_reply_free(reply);
    return number;
}

static void test_redirect_moved_is_followed_and_remembered(void **state)
{
    (void)state;
    make_cluster();
    kw_client *kw = open_cluster("&refresh-interval=0");
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u 127.0.0.1:%u", FOO_SLOT,
                     (unsigned)kw_fake_port(fakes[2]));
    answer(fakes[2], "INCR foo", ":3");
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "CLUSTER SLOTS", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "CLUSTER SLOTS", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_fake_on(fakes[2], KW_FAKE_ALWAYS, "CLUSTER SLOTS", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_connect(kw, &error), KW_ERR_TOPOLOGY); /* nobody says the map */
    make_cluster();
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u 127.0.0.1:%u", FOO_SLOT,
                     (unsigned)kw_fake_port(fakes[2]));
    answer(fakes[2], "INCR foo", ":3");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(incr_foo(kw, &error), 3);
    }
    kw_close(kw);
}

static void test_redirect_ask_is_for_one_command_behind_asking(void **state)
{
    (void)state;
    make_cluster();
    kw_client *kw = open_cluster("");
    kw_fake_on_reply(fakes[1], 2, "INCR foo", "-ASK %u 127.0.0.1:%u", FOO_SLOT,
                     (unsigned)kw_fake_port(fakes[2]));
    answer(fakes[1], "INCR foo", ":1");
    kw_fake_on_reply(fakes[2], 1, "INCR foo", "-TRYAGAIN keys are moving");
    answer(fakes[2], "INCR foo", ":3");
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(incr_foo(kw, &error), 3); /* ASK, TRYAGAIN, ASK, and done */
    assert_int_equal(incr_foo(kw, &error), 1); /* the owner is asked first again */
    assert_int_equal(kw_fake_count(fakes[2], "ASKING"), 2);
    bool is_behind = false;
    for (size_t i = 1; i < kw_fake_log_count(fakes[2]); i++) {
        kw_fake_entry before;
        kw_fake_entry entry;
        kw_fake_log_at(fakes[2], i - 1, &before);
        kw_fake_log_at(fakes[2], i, &entry);
        if (strcmp(entry.text, "INCR foo") == 0) {
            is_behind = strcmp(before.text, "ASKING") == 0 && before.connection == entry.connection;
            assert_true(is_behind);
        }
    }
    assert_true(is_behind);
    kw_close(kw);
}

typedef struct redirect {
    const char *says;
    long long number; /* what INCR foo gives; -1: error reply passed on */
} redirect;

static void test_redirect_forms_are_followed_or_passed_on(void **state)
{
    (void)state;
    make_cluster();
    char to_third[64];
    char empty_host[64];
    char by_name[64];
    unsigned third = kw_fake_port(fakes[2]);
    snprintf(to_third, sizeof(to_third), "-MOVED 12182 127.0.0.1:%u", third);
    snprintf(empty_host, sizeof(empty_host), "-MOVED 12182 :%u", third);
    snprintf(by_name, sizeof(by_name), "-MOVED 12182 localhost:%u", third);
    const redirect rows[] = {
        {to_third, 3},
        {empty_host, 3},
        {by_name, 3},
        {"-MOVED 12182 127.0.0.1:0", -1},
        {"-MOVED 12182 127.0.0.1:65536", -1},
        {"-MOVED 12182 127.0.0.1:port", -1},
        {"-MOVED 12182 127.0.0.1", -1},
        {"-MOVED 16384 127.0.0.1:7000", -1},
        {"-MOVED -1 127.0.0.1:7000", -1},
        {"-MOVED x 127.0.0.1:7000", -1},
        {"-MOVED", -1},
        {"-ASK 12182", -1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        make_cluster();
        kw_client *kw = open_cluster("");
        kw_error error = KW_ERROR_INIT;
        kw_fake_on_reply(fakes[1], 1, "INCR foo", "%s", rows[i].says);
        answer(fakes[1], "INCR foo", ":1");
        answer(fakes[2], "INCR foo", ":3");
        kw_reply *reply = kw_command(kw, &error, "INCR foo");
        if (reply == NULL) {
            fail_msg("%s: %s", rows[i].says, error.text);
        }
        if (rows[i].number >= 0) {
            assert_int_equal(kw_reply_int(reply), rows[i].number);
        } else {
            assert_true(kw_reply_is_error(reply));
            assert_string_equal(kw_reply_str(reply, NULL), rows[i].says + 1);
            assert_int_equal(incr_foo(kw, &error), 1); /* the map is as before */
            assert_int_equal(kw_fake_count(fakes[2], "INCR *"), 0);
        }
        kw_reply_free(reply);
        kw_close(kw);
    }
}

static void test_redirect_circles_are_bounded_and_named(void **state)
{
    (void)state;
    make_cluster();
    kw_client *kw = open_cluster("&redirects-max=4");
    kw_error error = KW_ERROR_INIT;
    for (size_t i = 1; i < 3; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "INCR foo", "-MOVED %u 127.0.0.1:%u", FOO_SLOT,
                         (unsigned)kw_fake_port(fakes[3 - i]));
    }
    assert_int_equal(incr_foo(kw, &error), -1);
    assert_int_equal(error.code, KW_ERR_REDIRECT);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_int_equal(error.attempts, 5);
    assert_non_null(strstr(error.text, "MOVED 12182"));
    /* To itself. */
    make_cluster();
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
    make_cluster();
    kw_client *kw = open_cluster("");
    kw_error error = KW_ERROR_INIT;
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u ?:7000", FOO_SLOT);
    answer(fakes[1], "INCR foo", ":1");
    assert_int_equal(incr_foo(kw, &error), 1);
    make_cluster();
    kw_fake_down(fakes[2]);
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u 127.0.0.1:%u", FOO_SLOT,
                     (unsigned)kw_fake_port(fakes[2]));
    answer(fakes[1], "INCR foo", ":1");
    assert_int_equal(incr_foo(kw, &error), 1);
    kw_close(kw);
}

static void test_redirect_and_map_go_through_the_address_map(void **state)
{
    (void)state;
    make_cluster();
    char slots[300];
    snprintf(slots, sizeof(slots), "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$8\r\n10.1.1.1\r\n:7000\r\n");
    for (size_t i = 0; i < 3; i++) {
        kw_fake_set_map(fakes[i], slots, NULL);
    }
    char options[200];
    snprintf(options, sizeof(options), "&address-map=10.1.1.1:7000>%s,10.1.1.2:7000>%s",
             kw_fake_address(fakes[1]), kw_fake_address(fakes[2]));
    kw_client *kw = open_cluster(options);
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u 10.1.1.2:7000", FOO_SLOT);
    answer(fakes[2], "INCR foo", ":3");
    kw_error error = KW_ERROR_INIT;
    if (incr_foo(kw, &error) != 3) {
        fail_msg("%s", error.text);
    }
    kw_close(kw);
}

static void test_map_bad_answers_leave_the_last_good_one(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "*0\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n*2\r\n:0\r\n:16383\r\n",
        "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n",
        "*1\r\n*3\r\n:9\r\n:0\r\n*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n",
        "*1\r\n*3\r\n:0\r\n:9\r\n*2\r\n$9\r\n127.0.0.1\r\n:70000\r\n",
        "*1\r\n*3\r\n$1\r\na\r\n:9\r\n*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n",
        "*1\r\n*3\r\n:0\r\n:9\r\n*2\r\n$1\r\n?\r\n:7000\r\n",
        "+OK\r\n",
        "-ERR no\r\n",
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        make_cluster();
        kw_client *kw = open_cluster("");
        answer(fakes[1], "INCR foo", ":1");
        kw_error error = KW_ERROR_INIT;
        assert_int_equal(incr_foo(kw, &error), 1);
        for (size_t k = 0; k < 3; k++) {
            kw_fake_set_map(fakes[k], answers[i], NULL);
        }
        assert_int_equal(kw_connect(kw, NULL), KW_OK);                  /* there is a map */
        kw_fake_on_reply(fakes[0], 2, "INCR bar", "-CLUSTERDOWN down"); /* asks for another */
        answer(fakes[0], "INCR bar", ":5");
        kw_reply *reply = kw_command(kw, &error, "INCR bar");
        assert_int_equal(kw_reply_int(reply), 5);
        kw_reply_free(reply);
        kw_test_sleep_ms(120);
        for (int k = 0; k < 5; k++) {
            assert_int_equal(incr_foo(kw, &error), 1);
        }
        kw_close(kw);
    }
}

static void test_map_is_asked_of_another_node_when_one_stalls(void **state)
{
    (void)state;
    make_cluster();
    char uri[300];
    snprintf(uri, sizeof(uri), "redis-cluster://%s,%s,%s?timeout=3s", kw_fake_address(fakes[0]),
             kw_fake_address(fakes[2]), kw_fake_address(fakes[1]));
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "CLUSTER *",
               KW_FAKE_STEPS(KW_FAKE_SEND("*3\r\n*3\r\n:0\r\n"), KW_FAKE_STALL));
    kw_fake_down(fakes[2]);
    answer(fakes[1], "INCR foo", ":1");
    kw_client *kw = kw_test_try_open(uri, NULL);
    kw_error error = KW_ERROR_INIT;
    if (incr_foo(kw, &error) != 1) {
        fail_msg("%s", error.text);
    }
    kw_close(kw);
}

static void test_map_shards_where_slots_are_refused(void **state)
{
    (void)state;
    make_cluster();
    for (size_t i = 0; i < 3; i++) {
        answer(fakes[i], "CLUSTER SLOTS", "-ERR unknown subcommand 'SLOTS'");
    }
    answer(fakes[1], "INCR foo", ":1");
    kw_client *kw = open_cluster("");
    kw_error error = KW_ERROR_INIT;
    if (incr_foo(kw, &error) != 1) {
        fail_msg("%s", error.text);
    }
    kw_close(kw);
}

static size_t count_fetches(void)
{
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        n += kw_fake_count(fakes[i], "CLUSTER SLOTS");
    }
    return n;
}

static void test_map_hole_is_asked_for_until_the_deadline(void **state)
{
    (void)state;
    make_cluster();
    const kw_fake_range half[] = {{0, 8000, fakes[0], NULL}};
    kw_fake_set_cluster(fakes, 3, half, 1);
    kw_client *kw = kw_test_open("redis-cluster://%s?timeout=800ms", kw_fake_address(fakes[0]));
    kw_error error = KW_ERROR_INIT;
    answer(fakes[0], "INCR bar", ":5");
    kw_reply_free(kw_command(kw, NULL, "INCR bar"));
    size_t before_n = count_fetches();
    assert_int_equal(incr_foo(kw, &error), -1);
    assert_int_equal(error.code, KW_ERR_NOT_SERVED);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_int_equal(error.attempts, 0);
    assert_in_range(error.elapsed_ms, 800, 800 + LATE_MS);
    assert_non_null(strstr(error.text, "12182"));
    assert_in_range(count_fetches() - before_n, 2, 10); /* not faster than the refresh goes */
    kw_close(kw);
}

static void *fill_hole(void *arg)
{
    const kw_fake_range all[] = {{0, 16383, fakes[0], NULL}};
    (void)arg;
    kw_test_sleep_ms(300);
    kw_fake_set_cluster(fakes, 3, all, 1);
    return NULL;
}

static void test_map_hole_that_is_filled_serves_who_waits(void **state)
{
    (void)state;
    make_cluster();
    const kw_fake_range half[] = {{0, 8000, fakes[0], NULL}};
    kw_fake_set_cluster(fakes, 3, half, 1);
    kw_client *kw = kw_test_open("redis-cluster://%s?timeout=5s", kw_fake_address(fakes[0]));
    kw_error error = KW_ERROR_INIT;
    answer(fakes[0], "INCR bar", ":5");
    answer(fakes[0], "INCR foo", ":1");
    kw_reply_free(kw_command(kw, NULL, "INCR bar"));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, fill_hole, NULL), 0);
    uint64_t start_ms = kw_test_now_ms();
    assert_int_equal(incr_foo(kw, &error), 1);
    assert_in_range(kw_test_now_ms() - start_ms, 200, 1300 + LATE_MS);
    pthread_join(thread, NULL);
    kw_close(kw);
}

static void *fail_in_thread(void *arg)
{
    kw_error error = KW_ERROR_INIT;
    (void)incr_foo(arg, &error);
    return NULL;
}

static void test_map_fetches_are_few_however_many_calls_fail(void **state)
{
    (void)state;
    make_cluster();
    char uri[300];
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=1s", kw_fake_address(fakes[0]));
    kw_client *kw = kw_test_try_open(uri, NULL);
    answer(fakes[0], "INCR bar", ":5");
    kw_reply_free(kw_command(kw, NULL, "INCR bar"));
    kw_fake_down(fakes[1]);
    kw_fake_log_clear(fakes[0]);
    pthread_t threads[64];
    uint64_t start_ms = kw_test_now_ms();
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, fail_in_thread, kw), 0);
    }
    for (size_t i = 0; i < 64; i++) {
        pthread_join(threads[i], NULL);
    }
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    assert_in_range(elapsed_ms, 900, 1000 + LATE_MS);
    size_t fetches_n = kw_fake_count(fakes[0], "CLUSTER SLOTS");
    assert_in_range(fetches_n, 2, 10 * (elapsed_ms / 1000 + 1));
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redirect_moved_is_followed_and_remembered),
        cmocka_unit_test(test_redirect_ask_is_for_one_command_behind_asking),
        cmocka_unit_test(test_redirect_forms_are_followed_or_passed_on),
        cmocka_unit_test(test_redirect_circles_are_bounded_and_named),
        cmocka_unit_test(test_redirect_to_unknown_or_dead_node_asks_for_the_map),
        cmocka_unit_test(test_redirect_and_map_go_through_the_address_map),
        cmocka_unit_test(test_map_bad_answers_leave_the_last_good_one),
        cmocka_unit_test(test_map_is_asked_of_another_node_when_one_stalls),
        cmocka_unit_test(test_map_shards_where_slots_are_refused),
        cmocka_unit_test(test_map_hole_is_asked_for_until_the_deadline),
        cmocka_unit_test(test_map_hole_that_is_filled_serves_who_waits),
        cmocka_unit_test(test_map_fetches_are_few_however_many_calls_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

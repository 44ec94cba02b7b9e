/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that share a handle get their shares of it: none waits while others are served
 * again and again, whoever does the work for whom. KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/server.h"

#include <keyway.h>

enum { THREADS = 32, TRIES = 4, SPAN_MS = 700 };

typedef struct shares {
    kw_client *kw;
    uint64_t until_ms;
    unsigned rare_n; /* the first threads call once in 10 ms */
    unsigned calls_n[THREADS];
    kw_test_times *spent;      /* of all calls */
    kw_test_times *spent_rare; /* of those threads' calls */
    atomic_uint failed_n;
} shares;

static void take_share(void *arg, unsigned thread)
{
    shares *it = arg;
    bool is_rare = thread < it->rare_n;
    while (kw_test_now_ms() < it->until_ms) {
        char number[20];
        snprintf(number, sizeof(number), "%u:%u", thread, it->calls_n[thread]++);
        const char *argv[] = {"ECHO", number, NULL};
        kw_error error = KW_ERROR_INIT;
        uint64_t start_ns = kw_test_now_ns();
        kw_reply *reply = kw_test_call(it->kw, &error, (kw_test_deadline){20000, NULL}, argv);
        kw_test_times_add(is_rare ? it->spent_rare : it->spent,
                          (kw_test_now_ns() - start_ns) / 1000);
        const char *text = kw_reply_str(reply, NULL);
        atomic_fetch_add(&it->failed_n, text == NULL || strcmp(text, number) != 0);
        kw_reply_free(reply);
        if (is_rare) {
            kw_test_sleep_ms(10);
        }
    }
}

static void run(shares *it, kw_client *kw, unsigned threads_n, unsigned rare_n)
{
    *it = (shares){.kw = kw, .rare_n = rare_n};
    it->spent = kw_test_times_new();
    it->spent_rare = kw_test_times_new();
    it->until_ms = kw_test_now_ms() + SPAN_MS;
    kw_test_crew_run(threads_n, take_share, it);
    assert_int_equal(atomic_load(&it->failed_n), 0);
}

static void end(shares *it)
{
    kw_test_times_free(it->spent);
    kw_test_times_free(it->spent_rare);
}

/* The least that a thread got is a fourth of the most, and no call took long. */
static bool is_even(kw_client *kw, unsigned threads_n)
{
    static shares it;
    unsigned least = UINT32_MAX;
    unsigned most = 0;
    run(&it, kw, threads_n, 0);
    for (unsigned i = 0; i < threads_n; i++) {
        least = it.calls_n[i] < least ? it.calls_n[i] : least;
        most = it.calls_n[i] > most ? it.calls_n[i] : most;
    }
    uint64_t worst_us = kw_test_times_at(it.spent, 1000);
    fprintf(stderr, "%u threads: %u to %u calls, at most %llu us\n", threads_n, least, most,
            (unsigned long long)worst_us);
    end(&it);
    return least * 4 >= most && worst_us < 300000 * KW_TEST_SLOWNESS;
}

static void test_fairness_each_thread_has_its_share(void **state)
{
    static const unsigned threads_n[] = {2, 8, 32};
    kw_client *kw = kw_test_open("%s?timeout=20s", kw_test_server_uri(*state));
    for (size_t k = 0; k < 3; k++) {
        bool is_good = false;
        for (unsigned i = 0; i < TRIES && !is_good; i++) {
            is_good = is_even(kw, threads_n[k]);
        }
        assert_true(is_good);
    }
    kw_close(kw);
}

/* Who calls now and then waits about as long as those who call without a pause: the median
 * of the ones at most three times that of the others, and 2 ms. */
static bool is_served_as_well(kw_client *kw)
{
    static shares it;
    run(&it, kw, 16, 2);
    uint64_t busy_us = kw_test_times_at(it.spent, 500);
    uint64_t rare_us = kw_test_times_at(it.spent_rare, 500);
    fprintf(stderr, "medians: %llu us of the busy, %llu us of the others\n",
            (unsigned long long)busy_us, (unsigned long long)rare_us);
    end(&it);
    return rare_us < 3 * busy_us + 2000 * KW_TEST_SLOWNESS;
}

static void test_fairness_rare_callers_are_served_as_well(void **state)
{
    kw_client *kw = kw_test_open("%s?timeout=20s", kw_test_server_uri(*state));
    bool is_good = false;
    for (unsigned i = 0; i < TRIES && !is_good; i++) {
        is_good = is_served_as_well(kw);
    }
    assert_true(is_good);
    kw_close(kw);
}

/* Calls of few threads that begin at one moment, each time after a silence. */

enum { BEATS = 400, BEAT_MS = 3 };

typedef struct beats {
    kw_client *kw;
    uint64_t start_ms;
    kw_test_times *spent;
    atomic_uint failed_n;
} beats;

static void call_on_beats(void *arg, unsigned thread)
{
    beats *it = arg;
    for (unsigned i = 0; i < BEATS; i++) {
        uint64_t now_ms = kw_test_now_ms();
        uint64_t beat_ms = it->start_ms + i * BEAT_MS;
        if (now_ms < beat_ms) {
            kw_test_sleep_ms((unsigned)(beat_ms - now_ms));
        }
        char number[20];
        snprintf(number, sizeof(number), "%u:%u", thread, i);
        const char *argv[] = {"ECHO", number, NULL};
        kw_error error = KW_ERROR_INIT;
        uint64_t start_ns = kw_test_now_ns();
        kw_reply *reply = kw_test_call(it->kw, &error, (kw_test_deadline){3000, NULL}, argv);
        kw_test_times_add(it->spent, (kw_test_now_ns() - start_ns) / 1000);
        const char *text = kw_reply_str(reply, NULL);
        atomic_fetch_add(&it->failed_n, text == NULL || strcmp(text, number) != 0);
        kw_reply_free(reply);
    }
}

static void test_fairness_callers_after_a_silence_wait_for_nothing(void **state)
{
    for (unsigned threads_n = 2; threads_n <= 8; threads_n *= 2) {
        beats it = {.spent = kw_test_times_new()};
        it.kw = kw_test_open("%s?timeout=3s", kw_test_server_uri(*state));
        it.start_ms = kw_test_now_ms() + 20;
        uint64_t tardy_us = kw_test_crew_run(threads_n, call_on_beats, &it);
        uint64_t worst_us = kw_test_times_at(it.spent, 1000);
        fprintf(stderr, "%u at once: median %llu us, at most %llu us\n", threads_n,
                (unsigned long long)kw_test_times_at(it.spent, 500), (unsigned long long)worst_us);
        assert_int_equal(atomic_load(&it.failed_n), 0);
        assert_in_range(worst_us, 0, 300000 * KW_TEST_SLOWNESS + 2 * tardy_us);
        kw_close(it.kw);
        kw_test_times_free(it.spent);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fairness_each_thread_has_its_share),
        cmocka_unit_test(test_fairness_rare_callers_are_served_as_well),
        cmocka_unit_test(test_fairness_callers_after_a_silence_wait_for_nothing),
    };
    return cmocka_run_group_tests(tests, kw_test_server_begin, kw_test_server_end);
}

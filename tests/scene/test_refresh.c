/* SPDX-License-Identifier: BSD-3-Clause */
/* Scenes of the map's refresh, of a node's health, and of backoff. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/health.h"
#include "engine/refresh.h"
#include "support/check.h"

#include <string.h>

#define MS KW_NS_PER_MS

static void test_refresh_is_one_at_a_time_and_numbered(void **state)
{
    (void)state;
    kw_refresh_policy refresh;
    kw_refresh_init(&refresh, 0, 5 * MS, 1);
    assert_true(kw_refresh_due_ns(&refresh) == UINT64_MAX); /* nobody wants one */
    uint64_t first = kw_refresh_want(&refresh);
    assert_true(kw_refresh_due_ns(&refresh) <= 5 * MS);
    assert_int_equal(kw_refresh_want(&refresh), first); /* one answers all doubts */
    kw_refresh_on_start(&refresh, 6 * MS);
    assert_true(kw_refresh_due_ns(&refresh) == UINT64_MAX);
    uint64_t second = kw_refresh_want(&refresh); /* what runs may have read too early */
    assert_int_equal(second, first + 1);
    assert_true(kw_refresh_due_ns(&refresh) == UINT64_MAX);
    kw_refresh_on_end(&refresh, 8 * MS, true, false);
    assert_int_equal(refresh.ended_n, first);
    assert_in_range(kw_refresh_due_ns(&refresh), 106 * MS, 256 * MS + 6 * MS);
}

static void test_refresh_starts_keep_the_floor_and_the_ceiling(void **state)
{
    (void)state;
    kw_refresh_policy refresh;
    kw_refresh_init(&refresh, 0, 0, kw_test_seed("refresh"));
    uint64_t now_ns = 0;
    uint64_t before_ns = 0;
    for (int i = 0; i < 200; i++) {
        kw_refresh_want(&refresh);
        now_ns = kw_refresh_due_ns(&refresh);
        if (i > 0) {
            assert_in_range(now_ns - before_ns, KW_REFRESH_FLOOR_NS, 250 * MS);
        }
        before_ns = now_ns;
        kw_refresh_on_start(&refresh, now_ns);
        kw_refresh_on_end(&refresh, now_ns + MS, true, i % 7 == 0);
    }
    assert_in_range(now_ns, 199 * KW_REFRESH_FLOOR_NS, 199 * 250 * MS); /* at most 10 a second */
}

/* A fetch as soon as one may start; returns the pause until the next one. */
static uint64_t fetch_at_once(kw_refresh_policy *refresh, bool has_news)
{
    kw_refresh_want(refresh);
    uint64_t now_ns = kw_refresh_due_ns(refresh);
    kw_refresh_on_start(refresh, now_ns);
    kw_refresh_on_end(refresh, now_ns + MS, true, has_news);
    kw_refresh_want(refresh);
    return kw_refresh_due_ns(refresh) - now_ns;
}

static void test_refresh_pauses_grow_without_news_and_start_again_with_them(void **state)
{
    (void)state;
    uint64_t seed = kw_test_seed("news");
    uint64_t longest_ns = 0;
    for (uint64_t round = 0; round < 50; round++) {
        kw_refresh_policy refresh;
        kw_refresh_init(&refresh, 0, 0, seed + round);
        assert_int_equal(fetch_at_once(&refresh, false), KW_REFRESH_FLOOR_NS);
        assert_in_range(fetch_at_once(&refresh, false), KW_REFRESH_FLOOR_NS, 200 * MS);
        for (int i = 0; i < 5; i++) {
            uint64_t pause_ns = fetch_at_once(&refresh, false);
            longest_ns = pause_ns > longest_ns ? pause_ns : longest_ns;
        }
        fetch_at_once(&refresh, true);
        assert_int_equal(fetch_at_once(&refresh, false), KW_REFRESH_FLOOR_NS);
    }
    assert_in_range(longest_ns, 200 * MS, 250 * MS);
}

static void test_refresh_periodic_has_jitter_below_its_interval(void **state)
{
    (void)state;
    bool differs = false;
    uint64_t first_ns = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        kw_refresh_policy refresh;
        kw_refresh_init(&refresh, 1000 * MS, 0, seed);
        uint64_t due_ns = kw_refresh_due_ns(&refresh);
        assert_in_range(due_ns, 750 * MS, 1000 * MS);
        first_ns = seed == 0 ? due_ns : first_ns;
        differs = differs || due_ns != first_ns;
    }
    assert_true(differs);
}

static void test_refresh_takes_another_rhythm_at_once(void **state)
{
    (void)state;
    kw_refresh_policy refresh;
    kw_refresh_init(&refresh, 0, 0, 1);
    assert_true(kw_refresh_due_ns(&refresh) == UINT64_MAX);
    kw_refresh_set_interval(&refresh, 1000 * MS, 5000 * MS);
    assert_in_range(kw_refresh_due_ns(&refresh), 5750 * MS, 6000 * MS);
    kw_refresh_set_interval(&refresh, 0, 5100 * MS);
    assert_true(kw_refresh_due_ns(&refresh) == UINT64_MAX);
}

static void test_refresh_periodic_keeps_the_floor(void **state)
{
    (void)state;
    kw_refresh_policy refresh;
    kw_refresh_init(&refresh, 2 * MS, 0, 3); /* no sane interval, but a legal one */
    uint64_t before_ns = kw_refresh_due_ns(&refresh);
    for (int i = 0; i < 20; i++) {
        kw_refresh_on_start(&refresh, before_ns);
        kw_refresh_on_end(&refresh, before_ns + MS, true, true);
        assert_in_range(kw_refresh_due_ns(&refresh) - before_ns, KW_REFRESH_FLOOR_NS, 250 * MS);
        before_ns = kw_refresh_due_ns(&refresh);
    }
}

static void test_refresh_order_is_healthy_then_suspect_with_seeds_between(void **state)
{
    (void)state;
    kw_random random;
    kw_random_init(&random, 5);
    unsigned first_n[6] = {0};
    for (int round = 0; round < 600; round++) {
        kw_refresh_candidate list[6] = {
            {0, false, true}, {1, true, false},  {2, false, false},
            {3, true, true},  {4, false, false}, {5, false, false},
        };
        kw_refresh_order(list, 6, &random);
        first_n[list[0].node]++;
        assert_false(list[0].is_seed || list[0].is_suspect);
        assert_false(list[2].is_seed || list[2].is_suspect);
        assert_int_equal(list[1].node, 0);
        assert_int_equal(list[3].node, 3);
        assert_false(list[4].is_seed || list[4].is_suspect);
        assert_int_equal(list[5].node, 1);
    }
    for (size_t node = 2; node < 6; node++) {
        if (node != 3) {
            assert_in_range(first_n[node], 130, 270); /* 200, give or take */
        }
    }
}

/* Nobody has asked for six seconds: the first fetch that fails then is no outage. */
static void test_refresh_failures_far_apart_are_no_row(void **state)
{
    (void)state;
    kw_refresh_policy refresh;
    kw_refresh_init(&refresh, 0, 0, 1);
    for (uint64_t at_ms = 0; at_ms < 2000; at_ms += 1000) {
        kw_refresh_on_start(&refresh, at_ms * MS);
        kw_refresh_on_end(&refresh, (at_ms + 10) * MS, false, false);
    }
    assert_int_equal(kw_refresh_admit(&refresh, 2500 * MS, 2), KW_ADMITTED_AS_PROBE);
    kw_refresh_on_start(&refresh, 6000 * MS);
    kw_refresh_on_end(&refresh, 6010 * MS, false, false);
    assert_int_equal(kw_refresh_admit(&refresh, 6020 * MS, 2), KW_ADMITTED);
}

static void test_health_failing_node_is_probed_by_one_and_rarely(void **state)
{
    (void)state;
    kw_health health;
    kw_random random;
    kw_health_init(&health);
    kw_random_init(&random, kw_test_seed("health"));
    for (unsigned i = 0; i < KW_HEALTH_DIALS_MAX; i++) {
        assert_true(kw_health_may_dial(&health, 0));
        kw_health_on_dial(&health, 500 * MS);
    }
    assert_false(kw_health_may_dial(&health, 499 * MS));
    assert_true(kw_health_may_dial(&health, 500 * MS)); /* left alone: nobody waits for them */
    kw_health_on_dial(&health, 1000 * MS);
    assert_true(kw_health_may_dial(&health, 500 * MS)); /* nor for a turn of their own each */
    kw_health_on_abandoned(&health);
    for (unsigned i = 0; i < KW_HEALTH_DIALS_MAX; i++) {
        (void)kw_health_on_failed(&health, 0, 0, &random);
    }
    assert_in_range(health.retry_ns, 1, 50 * MS); /* eight, but one failure: the first pause */
    kw_health_init(&health);
    unsigned dials_n = 0;
    for (uint64_t now_ns = 0; now_ns < 1000 * MS; now_ns += MS) {
        if (kw_health_may_dial(&health, now_ns)) {
            kw_health_on_dial(&health, now_ns + 500 * MS);
            assert_true(!health.is_failing || !kw_health_may_dial(&health, now_ns));
            (void)kw_health_on_failed(&health, 0, now_ns, &random);
            dials_n++;
        }
    }
    assert_in_range(dials_n, 3, 20);
    uint64_t retry_ns = health.retry_ns;
    assert_in_range(retry_ns, 999 * MS, 2000 * MS); /* back within a second */
    kw_health_on_dial(&health, 1000 * MS);
    kw_health_on_connected(&health, 0);
    assert_true(kw_health_may_dial(&health, 1000 * MS));
    assert_false(health.is_failing);
    kw_health_on_dial(&health, 0);
    kw_health_on_abandoned(&health);
    assert_false(health.is_failing);
    assert_int_equal(health.dialling_n, 0);
}

/* One that was left alone in its greeting, and fails when another has long been greeted. */
static void test_health_dial_from_before_a_good_one_says_nothing(void **state)
{
    (void)state;
    kw_health health;
    kw_random random;
    kw_health_init(&health);
    kw_random_init(&random, 4);
    kw_health_on_dial(&health, 1000 * MS);
    kw_health_on_dial(&health, 1000 * MS);
    kw_health_on_connected(&health, 20 * MS);
    assert_false(kw_health_on_failed(&health, 10 * MS, 30 * MS, &random));
    assert_false(health.is_failing);
    assert_int_equal(health.dialling_n, 0);
    assert_true(kw_health_may_dial(&health, 30 * MS));
    kw_health_on_dial(&health, 1000 * MS); /* one that never got as far as a connect is of now */
    assert_true(kw_health_on_failed(&health, 0, 30 * MS, &random));
    assert_true(health.is_failing);
}

static void test_health_connects_of_better_days_may_still_end(void **state)
{
    (void)state;
    kw_health health;
    kw_random random;
    kw_random_init(&random, 3);
    kw_health_init(&health);
    for (int i = 0; i < 3; i++) {
        kw_health_on_dial(&health, 500 * MS);
    }
    (void)kw_health_on_failed(&health, 0, 10 * MS, &random);
    assert_true(health.is_failing);
    assert_false(kw_health_may_dial(&health, 499 * MS)); /* two are under way */
    assert_true(kw_health_may_dial(&health, 1000 * MS)); /* or left alone: nobody waits for them */
    kw_health_on_abandoned(&health);
    assert_true(health.is_failing);
    kw_health_on_connected(&health, 0);
    assert_false(health.is_failing); /* it answers after all */
    assert_true(kw_health_may_dial(&health, 10 * MS));
    kw_health_on_dial(&health, 0);
    (void)kw_health_on_failed(&health, 0, 11 * MS, &random);
    assert_in_range(health.retry_ns, 11 * MS, 61 * MS); /* the first pause again */
}

/* One that was left alone is not waited for in the time of a later one that has ended. */
static void test_health_connect_that_is_left_alone_is_not_waited_for(void **state)
{
    (void)state;
    kw_health health;
    kw_random random;
    kw_random_init(&random, 3);
    for (int way = 0; way < 2; way++) {
        kw_health_init(&health);
        kw_health_on_dial(&health, 500 * MS);
        kw_health_on_dial(&health, 510 * MS);
        (void)kw_health_on_failed(&health, 0, 10 * MS, &random);
        assert_false(kw_health_may_dial(&health, 499 * MS)); /* the other one is under way */
        assert_true(kw_health_may_dial(&health, 600 * MS));
        kw_health_on_dial(&health, 1100 * MS);
        assert_false(kw_health_may_dial(&health, 1000 * MS));
        if (way == 0) {
            (void)kw_health_on_failed(&health, 0, 700 * MS, &random);
        } else {
            kw_health_on_abandoned(&health);
        }
        assert_true(kw_health_may_dial(&health, 1000 * MS));
    }
}

static void test_backoff_grows_to_its_ceiling_with_jitter(void **state)
{
    (void)state;
    kw_backoff backoff;
    kw_random random;
    kw_random_init(&random, kw_test_seed("backoff"));
    kw_backoff_init(&backoff, 10 * MS, 100 * MS);
    uint64_t ceiling_ns = 10 * MS;
    for (int i = 0; i < 100; i++) {
        uint64_t pause_ns = kw_backoff_next(&backoff, &random);
        assert_in_range(pause_ns, ceiling_ns / 8, ceiling_ns);
        ceiling_ns = ceiling_ns * 2 < 100 * MS ? ceiling_ns * 2 : 100 * MS;
    }
    kw_backoff_reset(&backoff);
    assert_in_range(kw_backoff_next(&backoff, &random), 0, 10 * MS);
}

static void test_refresh_without_a_map_for_a_second_keeps_nobody_waiting(void **state)
{
    (void)state;
    kw_refresh_policy refresh;
    kw_refresh_init(&refresh, 0, 0, 1);
    for (uint64_t i = 0; i < 4; i++) { /* fetches at 0, 400, 800 and 1200 ms, of 10 ms each */
        assert_int_equal(kw_refresh_admit(&refresh, i * 400 * MS, 3), KW_ADMITTED);
        (void)kw_refresh_want(&refresh);
        kw_refresh_on_start(&refresh, i * 400 * MS);
        assert_int_equal(kw_refresh_admit(&refresh, (i * 400 + 9) * MS, 3), KW_ADMITTED);
        kw_refresh_on_end(&refresh, (i * 400 + 10) * MS, false, false);
    }
    assert_int_equal(kw_refresh_admit(&refresh, 1211 * MS, 3), KW_ADMITTED_NOT);
    assert_int_equal(kw_refresh_admit(&refresh, 1211 * MS, 9), KW_ADMITTED);
    assert_int_equal(kw_refresh_admit(&refresh, 2199 * MS, 3), KW_ADMITTED_NOT);
    assert_int_equal(kw_refresh_admit(&refresh, 2200 * MS, 3), KW_ADMITTED_AS_PROBE);
    kw_refresh_on_start(&refresh, 2200 * MS);
    assert_int_equal(kw_refresh_admit(&refresh, 2201 * MS, 3), KW_ADMITTED_NOT);
    kw_refresh_on_end(&refresh, 2210 * MS, true, true);
    assert_int_equal(kw_refresh_admit(&refresh, 2211 * MS, 3), KW_ADMITTED);
}

/* Nobody has tried again: whoever comes much later, and whoever comes meanwhile, waits for the
 * next fetch. */
static void test_refresh_that_failed_for_a_moment_is_no_outage_later(void **state)
{
    (void)state;
    kw_refresh_policy refresh;
    kw_refresh_init(&refresh, 0, 0, 1);
    for (uint64_t i = 0; i < 3; i++) {
        (void)kw_refresh_want(&refresh);
        kw_refresh_on_start(&refresh, i * 100 * MS);
        kw_refresh_on_end(&refresh, (i * 100 + 10) * MS, false, false);
    }
    assert_int_equal(kw_refresh_admit(&refresh, 6900 * MS, 3), KW_ADMITTED);
    (void)kw_refresh_want(&refresh);
    kw_refresh_on_start(&refresh, 6900 * MS);
    assert_int_equal(kw_refresh_admit(&refresh, 6905 * MS, 3), KW_ADMITTED);
}

static void test_refresh_in_a_long_outage_is_once_a_second(void **state)
{
    (void)state;
    kw_refresh_policy refresh;
    kw_refresh_init(&refresh, 0, 10 * MS, 1);
    uint64_t now_ns = 0;
    uint64_t fetches_n[20] = {0};
    while (now_ns < 20000 * MS) { /* somebody wants one all the time, and nothing is new */
        (void)kw_refresh_want(&refresh);
        now_ns = kw_refresh_due_ns(&refresh);
        if (now_ns < 20000 * MS) {
            fetches_n[now_ns / (1000 * MS)]++;
        }
        bool is_stale = now_ns >= 5010 * MS;
        kw_refresh_on_start(&refresh, now_ns);
        assert_int_equal(kw_refresh_is_stale(&refresh, now_ns), is_stale);
        kw_refresh_on_end(&refresh, now_ns + MS, true, false);
    }
    assert_true(fetches_n[3] >= 3);
    for (size_t second = 7; second < 20; second++) {
        assert_in_range(fetches_n[second], 0, 1);
    }
    (void)kw_refresh_want(&refresh);
    kw_refresh_on_moved(&refresh); /* a server named another owner: at once */
    assert_true(kw_refresh_due_ns(&refresh) <= now_ns + 101 * MS);
    assert_false(kw_refresh_is_stale(&refresh, now_ns + MS));
    kw_refresh_on_start(&refresh, now_ns + 100 * MS);
    kw_refresh_on_end(&refresh, now_ns + 101 * MS, true, true);
    (void)kw_refresh_want(&refresh);
    assert_true(kw_refresh_due_ns(&refresh) <= now_ns + 500 * MS);
}

/* Each fetch reads three: of one that is late, of one whose map is doubtful, and of one that is
 * believed. */
static void test_refresh_reads_ten_maps_a_second_at_most(void **state)
{
    (void)state;
    kw_refresh_policy refresh;
    kw_refresh_init(&refresh, 0, 0, kw_test_seed("reads"));
    uint64_t read_ns[300];
    size_t reads_n = 0;
    uint64_t now_ns = 0;
    while (reads_n < 290) {
        (void)kw_refresh_want(&refresh);
        uint64_t before_ns = now_ns;
        now_ns = kw_refresh_due_ns(&refresh);
        assert_true(reads_n < 3 || now_ns - before_ns <= 1000 * MS);
        kw_refresh_on_start(&refresh, now_ns);
        for (int i = 0; i < 3; i++) {
            if (i == 1 && !kw_refresh_may_hedge(&refresh, now_ns)) {
                continue;
            }
            kw_refresh_on_read(&refresh, now_ns);
            read_ns[reads_n++] = now_ns;
            assert_true(reads_n < 11 || read_ns[reads_n - 11] + 1000 * MS <= now_ns);
        }
        kw_refresh_on_end(&refresh, now_ns + MS, true, reads_n % 5 == 0);
    }
}

/* A fetch whose servers all lead to no map, of whom there are many, ends where ten were read. */
static void test_refresh_goes_on_to_ten_servers_a_second(void **state)
{
    (void)state;
    kw_refresh_policy refresh;
    kw_refresh_init(&refresh, 0, 0, 7);
    kw_refresh_on_start(&refresh, 1000 * MS);
    size_t reads_n = 0;
    for (uint64_t now_ns = 1000 * MS; now_ns < 2000 * MS; now_ns += 20 * MS) {
        if (kw_refresh_may_go_on(&refresh, now_ns)) {
            kw_refresh_on_read(&refresh, now_ns);
            reads_n++;
        }
    }
    assert_int_equal(reads_n, 10);
    assert_true(kw_refresh_may_go_on(&refresh, 2000 * MS));
}

/* A caller's time was over in the middle of a fetch, and the next one comes much later. */
static void test_refresh_left_alone_has_not_failed_all_the_while(void **state)
{
    (void)state;
    kw_refresh_policy refresh;
    kw_refresh_init(&refresh, 0, 0, 1);
    for (uint64_t now_ns = 100 * MS; now_ns < 500 * MS; now_ns += 200 * MS) {
        kw_refresh_want(&refresh);
        kw_refresh_on_start(&refresh, now_ns);
        kw_refresh_on_end(&refresh, now_ns + MS, false, false);
    }
    kw_refresh_want(&refresh);
    kw_refresh_on_start(&refresh, 500 * MS);
    kw_refresh_on_end(&refresh, 5000 * MS, false, false);
    for (uint64_t now_ns = 5100 * MS; now_ns < 5500 * MS; now_ns += 200 * MS) {
        kw_refresh_want(&refresh);
        kw_refresh_on_start(&refresh, now_ns);
        kw_refresh_on_end(&refresh, now_ns + MS, false, false);
    }
    assert_int_equal(kw_refresh_admit(&refresh, 5500 * MS, 3), KW_ADMITTED);
    kw_refresh_want(&refresh);
    kw_refresh_on_start(&refresh, 5990 * MS);
    kw_refresh_on_end(&refresh, 6000 * MS, false, false);
    assert_int_equal(kw_refresh_admit(&refresh, 6001 * MS, 3), KW_ADMITTED_NOT);
}

static void test_refresh_wanted_long_ago_is_no_long_outage(void **state)
{
    (void)state;
    kw_refresh_policy refresh;
    kw_refresh_init(&refresh, 0, 0, 1);
    (void)fetch_at_once(&refresh, false);
    uint64_t now_ns = 20000 * MS; /* nobody has wanted one meanwhile */
    kw_refresh_want(&refresh);
    kw_refresh_on_start(&refresh, now_ns);
    kw_refresh_on_end(&refresh, now_ns + MS, true, false);
    assert_false(kw_refresh_is_stale(&refresh, now_ns + MS));
    kw_refresh_want(&refresh);
    assert_true(kw_refresh_due_ns(&refresh) <= now_ns + 250 * MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refresh_is_one_at_a_time_and_numbered),
        cmocka_unit_test(test_refresh_starts_keep_the_floor_and_the_ceiling),
        cmocka_unit_test(test_refresh_pauses_grow_without_news_and_start_again_with_them),
        cmocka_unit_test(test_refresh_periodic_has_jitter_below_its_interval),
        cmocka_unit_test(test_refresh_takes_another_rhythm_at_once),
        cmocka_unit_test(test_refresh_periodic_keeps_the_floor),
        cmocka_unit_test(test_refresh_order_is_healthy_then_suspect_with_seeds_between),
        cmocka_unit_test(test_refresh_failures_far_apart_are_no_row),
        cmocka_unit_test(test_health_failing_node_is_probed_by_one_and_rarely),
        cmocka_unit_test(test_health_dial_from_before_a_good_one_says_nothing),
        cmocka_unit_test(test_health_connects_of_better_days_may_still_end),
        cmocka_unit_test(test_health_connect_that_is_left_alone_is_not_waited_for),
        cmocka_unit_test(test_backoff_grows_to_its_ceiling_with_jitter),
        cmocka_unit_test(test_refresh_without_a_map_for_a_second_keeps_nobody_waiting),
        cmocka_unit_test(test_refresh_that_failed_for_a_moment_is_no_outage_later),
        cmocka_unit_test(test_refresh_in_a_long_outage_is_once_a_second),
        cmocka_unit_test(test_refresh_left_alone_has_not_failed_all_the_while),
        cmocka_unit_test(test_refresh_reads_ten_maps_a_second_at_most),
        cmocka_unit_test(test_refresh_goes_on_to_ten_servers_a_second),
        cmocka_unit_test(test_refresh_wanted_long_ago_is_no_long_outage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

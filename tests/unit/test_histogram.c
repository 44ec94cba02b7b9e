/* SPDX-License-Identifier: BSD-3-Clause */
/* Histograms: each time has one bucket, buckets follow each other without gaps, and none is wider
 * than it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway/measure.h>

#include "engine/histogram.h"

static void test_histogram_bounds_ascend_and_meet(void **state)
{
    (void)state;
    uint64_t first_ns = 0;
    for (size_t i = 0; i + 1 < KW_HISTOGRAM_BUCKETS_N; i++) {
        uint64_t bound_ns = kw_histogram_bound_ns(i);
        assert_true(bound_ns > first_ns);
        assert_int_equal(kw_histogram_bucket(first_ns), i);
        assert_int_equal(kw_histogram_bucket(bound_ns - 1), i);
        assert_int_equal(kw_histogram_bucket(bound_ns), i + 1);
        assert_true(bound_ns - first_ns == 128 || (bound_ns - first_ns) * 8 <= first_ns);
        first_ns = bound_ns;
    }
    assert_true(first_ns > UINT64_C(120000000000));
    assert_int_equal(kw_histogram_bucket(UINT64_MAX), KW_HISTOGRAM_BUCKETS_N - 1);
    assert_true(kw_histogram_bound_ns(KW_HISTOGRAM_BUCKETS_N - 1) == UINT64_MAX);
    assert_true(kw_histogram_bound_ns(SIZE_MAX) == UINT64_MAX);
}

static void test_latency_quantile_is_an_eighth_too_long_at_most(void **state)
{
    (void)state;
    kw_latency latency = {.size = sizeof(latency)};
    assert_int_equal(kw_latency_quantile(&latency, 0.5), 0);
    for (uint64_t us = 1; us <= 1000; us++) {
        latency.counts[kw_histogram_bucket(us * 1000)]++;
        latency.calls++;
    }
    const struct {
        double quantile;
        uint64_t ns;
    } rows[] = {{-1, 1000},     {0, 1000},    {0.001, 1000}, {0.5, 500000},
                {0.99, 990000}, {1, 1000000}, {7, 1000000}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t ns = kw_latency_quantile(&latency, rows[i].quantile);
        assert_in_range(ns, rows[i].ns, rows[i].ns + rows[i].ns / 8 + 128);
    }
}

static void test_latency_add_and_subtract_are_inverse(void **state)
{
    (void)state;
    kw_latency a = {.size = sizeof(a), .calls = 3, .sum_ns = 30};
    kw_latency b = {.size = sizeof(b), .calls = 4, .sum_ns = 70};
    a.counts[5] = 3;
    b.counts[9] = 4;
    kw_latency_add(&a, &b);
    assert_int_equal(a.calls, 7);
    assert_int_equal(a.sum_ns, 100);
    kw_latency_subtract(&a, &b);
    assert_int_equal(a.calls, 3);
    assert_int_equal(a.counts[5], 3);
    assert_int_equal(a.counts[9], 0);
}

static void test_latency_in_the_last_bucket_is_told_by_its_beginning(void **state)
{
    (void)state;
    kw_latency latency = {.size = sizeof(latency), .calls = 1};
    latency.counts[KW_LATENCY_BUCKETS_N - 1] = 1;
    assert_true(kw_latency_quantile(&latency, 0.99) == kw_latency_bound(KW_LATENCY_BUCKETS_N - 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram_bounds_ascend_and_meet),
        cmocka_unit_test(test_latency_quantile_is_an_eighth_too_long_at_most),
        cmocka_unit_test(test_latency_add_and_subtract_are_inverse),
        cmocka_unit_test(test_latency_in_the_last_bucket_is_told_by_its_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* When a node of a ring counts as down, and as back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/failure_detector.h"

#define MS KW_NS_PER_MS

static const kw_failure_detector_rule rule = {3, 2};

static void test_failure_detector_needs_failures_in_a_row(void **state)
{
    (void)state;
    kw_failure_detector outage;
    kw_failure_detector_init(&outage);
    assert_false(kw_failure_detector_on_failures(&outage, &rule, 100 * MS, 1));
    assert_false(kw_failure_detector_on_failures(&outage, &rule, 200 * MS, 2));
    assert_false(outage.is_down);
    assert_true(kw_failure_detector_on_failures(&outage, &rule, 300 * MS, 3));
    assert_true(outage.is_down);
    assert_int_equal(outage.downs_n, 1);
    assert_true(outage.probe_ns > 300 * MS);
    assert_false(kw_failure_detector_on_failures(&outage, &rule, 400 * MS, 4)); /* it is already */
}

static void test_failure_detector_needs_answers_in_a_row(void **state)
{
    (void)state;
    kw_failure_detector outage;
    kw_random random;
    kw_random_init(&random, 1);
    kw_failure_detector_init(&outage);
    assert_true(kw_failure_detector_on_failures(&outage, &rule, 0, 3));
    assert_false(kw_failure_detector_on_answer(&outage, &rule, 100 * MS));
    kw_failure_detector_on_silence(&outage, 200 * MS, &random);
    assert_false(kw_failure_detector_on_answer(&outage, &rule, 300 * MS));
    assert_true(kw_failure_detector_on_answer(&outage, &rule, 400 * MS));
    assert_false(outage.is_down);
    assert_false(kw_failure_detector_on_answer(&outage, &rule, 500 * MS));
}

static void test_failure_detector_probes_with_growing_pauses_of_less_than_a_second(void **state)
{
    (void)state;
    kw_failure_detector outage;
    kw_random random;
    kw_random_init(&random, 2);
    kw_failure_detector_init(&outage);
    assert_true(kw_failure_detector_on_failures(&outage, &rule, 0, 3));
    uint64_t now_ns = outage.probe_ns;
    uint64_t longest_ns = 0;
    for (int i = 0; i < 50; i++) {
        kw_failure_detector_on_silence(&outage, now_ns, &random);
        uint64_t pause_ns = outage.probe_ns - now_ns;
        longest_ns = pause_ns > longest_ns ? pause_ns : longest_ns;
        assert_in_range(pause_ns, 1 * MS, 800 * MS);
        now_ns = outage.probe_ns;
    }
    assert_true(longest_ns > 400 * MS);
}

/* How many answered probes bring a node back that went down. */
static unsigned answers_until_up(kw_failure_detector *outage, uint64_t now_ns)
{
    assert_true(kw_failure_detector_on_failures(outage, &rule, now_ns, 3));
    unsigned n = 1;
    while (!kw_failure_detector_on_answer(outage, &rule, now_ns)) {
        n++;
        assert_true(n < 100);
    }
    return n;
}

static void test_failure_detector_of_one_that_comes_and_goes_lasts_longer(void **state)
{
    (void)state;
    static const unsigned expected[] = {2, 4, 8, 16, 32, 32};
    kw_failure_detector outage;
    kw_failure_detector_init(&outage);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_int_equal(answers_until_up(&outage, (1 + i) * 1000 * MS), expected[i]);
    }
    assert_int_equal(answers_until_up(&outage, 60000 * MS), 2); /* steady for long enough */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure_detector_needs_failures_in_a_row),
        cmocka_unit_test(test_failure_detector_needs_answers_in_a_row),
        cmocka_unit_test(test_failure_detector_probes_with_growing_pauses_of_less_than_a_second),
        cmocka_unit_test(test_failure_detector_of_one_that_comes_and_goes_lasts_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

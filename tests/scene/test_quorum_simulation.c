/* SPDX-License-Identifier: BSD-3-Clause */
/* Many runs of the quorum by seed: what clients saw is what one register could have said.
 * KW_TEST_RUNS and KW_TEST_SEED in the environment change how many and from where. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/quorum_sim.h"

#include <stdio.h>
#include <stdlib.h>

#define STATES_MAX 2000000u

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

typedef struct totals {
    size_t runs_n;
    size_t violations_n;
    size_t hard_n;
    size_t done_n;
    size_t none_n;
    size_t maybe_n;
    size_t retries_n;
    uint64_t first_seed; /* of the first violation */
} totals;

static totals run_all(const kw_test_sim_setup *setup, size_t runs_n, bool stops)
{
    static kw_test_sim_result result;
    totals sums = {0};
    uint64_t seed = setting("KW_TEST_SEED", 1);
    for (size_t i = 0; i < runs_n; i++, seed++) {
        kw_test_sim_run(&result, setup, seed);
        sums.runs_n++;
        sums.done_n += result.done_n;
        sums.none_n += result.none_n;
        sums.maybe_n += result.maybe_n;
        sums.retries_n += result.retries_n;
        kw_test_verdict verdict = kw_test_history_check(result.acts, result.acts_n, STATES_MAX);
        sums.hard_n += verdict == KW_TEST_TOO_HARD ? 1 : 0;
        if (verdict == KW_TEST_VIOLATION && sums.violations_n++ == 0) {
            sums.first_seed = seed;
            if (setup->planted == KW_TEST_SOUND) {
                fprintf(stderr, "seed %llu:\n", (unsigned long long)seed);
                kw_test_history_print(result.acts, result.acts_n);
            }
        }
        if (stops && sums.violations_n > 0) {
            break;
        }
    }
    printf("  %u copies, %u write, %u read, planted %d: %zu runs, %zu done, %zu none, %zu maybe, "
           "%zu retries, %zu violations, %zu too hard\n",
           setup->copies_n, setup->write_n, setup->read_n, (int)setup->planted, sums.runs_n,
           sums.done_n, sums.none_n, sums.maybe_n, sums.retries_n, sums.violations_n, sums.hard_n);
    return sums;
}

static const kw_test_sim_setup sound[] = {
    {.copies_n = 3, .write_n = 2, .read_n = 2, .clients_n = 4, .acts_n = 10},
    {.copies_n = 3, .write_n = 2, .read_n = 2, .clients_n = 4, .acts_n = 10, .has_checked = true},
    {.copies_n = 3, .write_n = 3, .read_n = 1, .clients_n = 4, .acts_n = 8, .has_checked = true},
    {.copies_n = 3, .write_n = 2, .read_n = 3, .clients_n = 4, .acts_n = 8, .has_checked = true},
    {.copies_n = 4, .write_n = 3, .read_n = 2, .clients_n = 4, .acts_n = 8, .has_checked = true},
    {.copies_n = 5, .write_n = 3, .read_n = 3, .clients_n = 5, .acts_n = 8, .has_checked = true},
    {.copies_n = 5, .write_n = 4, .read_n = 3, .clients_n = 5, .acts_n = 8, .has_checked = true},
    {.copies_n = 1, .write_n = 1, .read_n = 1, .clients_n = 4, .acts_n = 8, .has_checked = true},
};

static void test_quorum_under_faults_is_linearizable(void **state)
{
    (void)state;
    size_t runs_n = (size_t)setting("KW_TEST_RUNS", 1500);
    for (size_t i = 0; i < sizeof(sound) / sizeof(sound[0]); i++) {
        totals sums = run_all(&sound[i], runs_n, true);
        assert_int_equal(sums.violations_n, 0);
        assert_true(sums.hard_n * 1000 <= sums.runs_n);
        assert_true(sums.done_n > (sums.none_n + sums.maybe_n) / 2);
    }
}

static void test_quorum_without_faults_never_fails(void **state)
{
    (void)state;
    size_t runs_n = (size_t)setting("KW_TEST_RUNS", 1500) / 2;
    for (size_t i = 0; i < sizeof(sound) / sizeof(sound[0]); i++) {
        kw_test_sim_setup setup = sound[i];
        setup.is_calm = true;
        totals sums = run_all(&setup, runs_n, true);
        assert_int_equal(sums.violations_n, 0);
    }
}

static void test_quorum_planted_faults_are_found(void **state)
{
    (void)state;
    static const kw_test_planted planted[] = {KW_TEST_NO_WRITE_BACK, KW_TEST_NO_VERSION_CHECK,
                                              KW_TEST_ONE_WRITE, KW_TEST_BLIND_RETRY};
    for (size_t i = 0; i < sizeof(planted) / sizeof(planted[0]); i++) {
        kw_test_sim_setup setup = sound[0];
        setup.planted = planted[i];
        totals sums = run_all(&setup, 20000, true);
        assert_true(sums.violations_n > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quorum_under_faults_is_linearizable),
        cmocka_unit_test(test_quorum_without_faults_never_fails),
        cmocka_unit_test(test_quorum_planted_faults_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

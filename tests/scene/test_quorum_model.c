/* SPDX-License-Identifier: BSD-3-Clause */
/* The quorum's model: real ops, every order of events. By itself a slice of it: planted faults are
 * found by name, some pairs are walked through whole, others by chance. KW_TEST_MODEL=all walks
 * through all pairs (make model); KW_TEST_OPS is how many ops go by chance then. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "support/quorum_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ACTS_N        7u /* that write: SET .. DELETE_IF */
#define PLANTED_OPS_N 5000000u
#define SLICE_OPS_N   300000u

static kw_model_result result; /* too large for a stack */

static bool is_all(void)
{
    const char *text = getenv("KW_TEST_MODEL");
    return text != NULL && strcmp(text, "all") == 0;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* What two clients do, walked through or by chance, may have no violation. */
static void say(const kw_model_setup *setup, double begin)
{
    printf(
        "  %-7s %-9s %-9s faults %u of %3u, ends %u: %10llu states %11llu steps %6llu histories%s, "
        "%.1f s\n",
        kw_model_start_name(setup->start), kw_model_act_name(setup->acts[0][0]),
        kw_model_act_name(setup->acts[1][0]), setup->faults_n, setup->faults, setup->ends_n,
        (unsigned long long)result.states_n, (unsigned long long)result.steps_n,
        (unsigned long long)result.checks_n, result.is_whole ? "" : ", not all", now_s() - begin);
    fflush(stdout);
}

static void walk(const kw_model_setup *setup)
{
    double begin = now_s();
    kw_model_explore(&result, setup);
    say(setup, begin);
    if (result.has_violation) {
        fail_msg("%s", result.story);
    }
}

static const kw_model_setup small = {.copies_n = 3,
                                     .write_n = 2,
                                     .read_n = 2,
                                     .rounds_n = 2,
                                     .looks_n = 1,
                                     .states_max = UINT64_MAX};

/* Some setup by chance, like those that the large walks go through. */
static kw_model_setup some_setup(kw_random *random, kw_model_planted planted)
{
    kw_model_setup setup = small;
    setup.rounds_n = 6;
    setup.looks_n = 2;
    setup.planted = planted;
    setup.faults = KW_MODEL_ALL_FAULTS;
    setup.start = (kw_model_start)kw_random_below(random, KW_MODEL_STARTS_N);
    setup.faults_n = (unsigned)kw_random_below(random, 4);
    setup.ends_n = (unsigned)kw_random_below(random, 7);
    uint64_t shape = kw_random_below(random, 8);
    if (shape == 0) {
        setup.copies_n = 5;
        setup.write_n = setup.read_n = 3;
    } else if (shape == 1) {
        setup.write_n = 3;
        setup.read_n = 1;
    } else if (shape == 2) {
        setup.copies_n = 4;
        setup.write_n = 3;
    }
    unsigned clients_n = 2 + (unsigned)kw_random_below(random, 2);
    for (unsigned i = 0; i < clients_n; i++) {
        setup.acts[i][0] = (kw_model_act)(KW_MODEL_GET + kw_random_below(random, 8));
        setup.acts[i][1] = (kw_model_act)(KW_MODEL_GET + kw_random_below(random, 9));
    }
    if (shape == 3 || planted == KW_MODEL_UNREPAIRED) { /* one client repairs when all know */
        setup.has_join = true;
        setup.copies_n = 3;
        setup.write_n = setup.read_n = 2;
        setup.acts[clients_n - 1][1] = KW_MODEL_REPAIR;
    }
    if (planted == KW_MODEL_PROMISE_EXPIRES || planted == KW_MODEL_REFUSAL_EXPIRES ||
        planted == KW_MODEL_NO_FLOOR) { /* these need no other fault, and little room */
        setup.faults_n = 0;
        setup.copies_n = 3;
        setup.has_join = false;
        setup.write_n = setup.read_n = 2;
        setup.start = planted == KW_MODEL_NO_FLOOR ? KW_MODEL_VALUE : KW_MODEL_ENDING;
    }
    if (planted == KW_MODEL_SHORT_TOMBSTONE) {
        setup.faults = KW_MODEL_HINT;
        setup.start = KW_MODEL_EMPTY;
        setup.acts[0][0] = KW_MODEL_SET;
        setup.acts[0][1] = KW_MODEL_DELETE;
        setup.acts[1][0] = setup.acts[1][1] = KW_MODEL_NONE;
        setup.acts[2][0] = setup.acts[2][1] = KW_MODEL_NONE;
        setup.faults_n = 1;
        setup.ends_n = 6;
    }
    return setup;
}

/* Ops that were walked by chance. */
static uint64_t wander(kw_model_planted planted, uint64_t ops_n, uint64_t seed)
{
    kw_random random;
    kw_random_init(&random, seed);
    uint64_t done_n = 0;
    result.has_violation = false;
    while (done_n < ops_n && !result.has_violation) {
        kw_model_setup setup = some_setup(&random, planted);
        kw_model_wander(&result, &setup, 2000, kw_random_next(&random));
        done_n += result.ops_n;
    }
    return done_n;
}

/* Each in a few seconds: three of them are the library as it once was. */
static void test_model_finds_planted_faults_by_name(void **state)
{
    (void)state;
    for (unsigned i = KW_MODEL_SOUND + 1; i < KW_MODEL_PLANTED_N; i++) {
        double begin = now_s();
        uint64_t ops_n = wander((kw_model_planted)i, PLANTED_OPS_N, i);
        printf("  planted %s: %s, %llu ops, %.1f s\n", kw_model_planted_name((kw_model_planted)i),
               result.has_violation ? "found" : "NOT FOUND", (unsigned long long)ops_n,
               now_s() - begin);
        fflush(stdout);
        assert_true(result.has_violation);
    }
}

static void test_model_of_small_pairs_has_no_violation(void **state)
{
    (void)state;
    static const kw_model_act pairs[][2] = {{KW_MODEL_SET, KW_MODEL_GET},
                                            {KW_MODEL_DELETE, KW_MODEL_GET},
                                            {KW_MODEL_SET_TTL, KW_MODEL_GET}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        kw_model_setup setup = small;
        setup.start = KW_MODEL_VALUE;
        setup.acts[0][0] = pairs[i][0];
        setup.acts[1][0] = pairs[i][1];
        setup.faults_n = 1;
        setup.faults = KW_MODEL_LATE | KW_MODEL_DEATH;
        setup.ends_n = 1;
        setup.states_max = 300000;
        walk(&setup);
    }
}

static void test_model_by_chance_has_no_violation(void **state)
{
    (void)state;
    const char *text = getenv("KW_TEST_OPS");
    uint64_t ops_n = text != NULL ? strtoull(text, NULL, 10) : SLICE_OPS_N;
    double begin = now_s();
    const char *seed = getenv("KW_TEST_SEED");
    uint64_t done_n = wander(KW_MODEL_SOUND, ops_n, seed != NULL ? strtoull(seed, NULL, 10) : 1);
    printf("  by chance: %llu ops, %.1f s\n", (unsigned long long)done_n, now_s() - begin);
    if (result.has_violation) {
        fail_msg("%s", result.story);
    }
}

/* All pairs of what writes, and a read beside each, from every start; each fault by itself. */
static void test_model_of_all_pairs_has_no_violation(void **state)
{
    (void)state;
    static const unsigned faults[] = {
        KW_MODEL_LOSS,
        KW_MODEL_DOUBLE | KW_MODEL_HINT,
        KW_MODEL_LATE | KW_MODEL_DEADLINE,
        KW_MODEL_DEATH,
        KW_MODEL_STOP,
    };
    const char *most = getenv("KW_TEST_STATES");
    for (unsigned a = 0; is_all() && a < ACTS_N; a++) {
        for (unsigned b = 0; b <= a + 1; b++) {
            kw_model_setup setup = small;
            setup.acts[0][0] = (kw_model_act)(KW_MODEL_SET + a);
            setup.acts[1][0] = (kw_model_act)(KW_MODEL_GET + b);
            setup.faults_n = 1;
            setup.ends_n = 1;
            setup.states_max = most != NULL ? strtoull(most, NULL, 10) : UINT64_MAX;
            for (unsigned i = 0; i < KW_MODEL_STARTS_N; i++) {
                setup.start = (kw_model_start)i;
                setup.faults = faults[(a + b + i) % (sizeof(faults) / sizeof(faults[0]))];
                walk(&setup);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_finds_planted_faults_by_name),
        cmocka_unit_test(test_model_of_small_pairs_has_no_violation),
        cmocka_unit_test(test_model_by_chance_has_no_violation),
        cmocka_unit_test(test_model_of_all_pairs_has_no_violation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

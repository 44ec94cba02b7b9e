/* SPDX-License-Identifier: BSD-3-Clause */
/* The quorum's model: real ops, every order of events. By itself a slice of it: planted faults are
 * found by name, what is spared of the walks loses nothing, some pairs are walked through whole,
 * others by chance; a sanitizer's build walks through the shortest of each. KW_TEST_MODEL=all walks
 * through all pairs (make model), several at a time (KW_TEST_JOBS); KW_TEST_OPS is how many ops go
 * by chance then. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "support/check.h"
#include "support/quorum_model.h"
#include "support/share_out.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define PLANTED_OPS_N 5000000u
#define SLICE_OPS_N   (KW_TEST_IS_SANITIZED ? 20000u : 100000u)
#define SWAP_OPS_N    (KW_TEST_IS_SANITIZED ? 20000u : 200000u)
#define PART_OPS_N    1000000u /* by chance, of one process at a time */

/* Faults that may happen beside two writers: one of these. Copies that come back with other data
 * than they had are kept out until a repair, so that they matter beside one only. */
#define WRITER_FAULTS                                                                              \
    (KW_MODEL_LOSS | KW_MODEL_DOUBLE | KW_MODEL_LATE | KW_MODEL_DEADLINE | KW_MODEL_DEATH |        \
     KW_MODEL_STOP | KW_MODEL_HINT)

static kw_model_result result; /* too large for a stack */

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static bool is_all(void)
{
    const char *text = getenv("KW_TEST_MODEL");
    return text != NULL && strcmp(text, "all") == 0;
}

static double now_s(void)
{
    return (double)kw_test_now_ns() / 1e9;
}

/* What this process has had of a processor, in seconds. */
static double spent_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* The most that this process has had in memory by now, in MB. */
static double peak_mb(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024.0;
}

static void say(const kw_model_setup *setup, double begin)
{
    printf("  %-7s %-9s %-9s faults %u of %3u, ends %u%s: %9llu states %11llu steps %4llu "
           "histories%s, %.1f s, at most %.0f MB\n",
           kw_model_start_name(setup->start), kw_model_act_name(setup->acts[0][0]),
           kw_model_act_name(setup->acts[1][0]), setup->faults_n, setup->faults, setup->ends_n,
           setup->has_join ? ", join" : "", (unsigned long long)result.states_n,
           (unsigned long long)result.steps_n, (unsigned long long)result.told_n,
           result.is_whole ? "" : ", not all", spent_s() - begin, peak_mb());
    fflush(stdout);
}

/* What two clients do, walked through; true where there is no violation. */
static bool walk(const kw_model_setup *setup)
{
    double begin = spent_s();
    kw_model_explore(&result, setup);
    say(setup, begin);
    if (result.has_violation) {
        printf("%s", result.story);
    }
    return !result.has_violation;
}

static const kw_model_setup small = {.copies_n = 3,
                                     .write_n = 2,
                                     .read_n = 2,
                                     .rounds_n = 2,
                                     .looks_n = 1,
                                     .states_max = UINT64_MAX};

static kw_model_setup pair_of(kw_model_start start, kw_model_act one, kw_model_act two)
{
    kw_model_setup setup = small;
    setup.start = start;
    setup.acts[0][0] = one;
    setup.acts[1][0] = two;
    setup.faults_n = 1;
    setup.faults = WRITER_FAULTS;
    setup.ends_n = 1;
    return setup;
}

/* A swap of a value with a life may be left on one copy, below another value with a life, and has
 * to stay below it when that has ended on the others; a reader may be there. */
static kw_model_setup setup_of_swap(bool has_reader)
{
    kw_model_setup setup = small;
    setup.rounds_n = 6;
    setup.looks_n = 2;
    setup.start = KW_MODEL_MORTAL;
    setup.acts[0][0] = KW_MODEL_SWAP;
    setup.acts[1][0] = KW_MODEL_SET_TTL;
    setup.acts[2][0] = has_reader ? KW_MODEL_GET : KW_MODEL_NONE;
    setup.faults = KW_MODEL_LOSS | KW_MODEL_DEATH;
    setup.faults_n = 1;
    setup.ends_n = 6;
    return setup;
}

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
    if (planted == KW_MODEL_BASE_ENDS) {
        setup = setup_of_swap(false);
        setup.planted = planted;
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

/* Repairs need few events, but just these: walked through. */
static void find_bad_repair(kw_model_planted planted)
{
    kw_model_setup setup = pair_of(KW_MODEL_VALUE, KW_MODEL_SET, KW_MODEL_REPAIR);
    setup.planted = planted;
    setup.faults = KW_MODEL_WIPE;
    kw_model_explore(&result, &setup);
}

/* Each in a few seconds: three of them are the library as it once was. */
static void test_model_finds_planted_faults_by_name(void **state)
{
    (void)state;
    for (unsigned i = KW_MODEL_SOUND + 1; i < KW_MODEL_PLANTED_N; i++) {
        if (KW_TEST_IS_SANITIZED && i == KW_MODEL_CLOCK_UNCHECKED) {
            continue; /* it takes longer than all others */
        }
        double begin = now_s();
        uint64_t ops_n = 0;
        if (i == KW_MODEL_BLIND_REPAIR || i == KW_MODEL_HASTY_REPAIR) {
            find_bad_repair((kw_model_planted)i);
        } else {
            ops_n = wander((kw_model_planted)i, PLANTED_OPS_N, i);
        }
        printf("  planted %s: %s, %llu ops, %.1f s\n", kw_model_planted_name((kw_model_planted)i),
               result.has_violation ? "found" : "NOT FOUND", (unsigned long long)ops_n,
               now_s() - begin);
        fflush(stdout);
        assert_true(result.has_violation);
    }
}

/* What clients may be told is the same with all orders of events and with those that are left
 * (quorum_model_reduce.c), and a fault that can be found is found by both. */
static void test_model_spares_nothing_that_clients_could_tell(void **state)
{
    (void)state;
    static const struct {
        kw_model_start start;
        kw_model_act acts[2];
        unsigned faults;
        unsigned ends_n;
        kw_model_planted planted;
    } rows[] = {
        {KW_MODEL_VALUE, {KW_MODEL_SET, KW_MODEL_SET}, KW_MODEL_LOSS, 0, KW_MODEL_ONE_WRITE},
        {KW_MODEL_EMPTY, {KW_MODEL_DELETE, KW_MODEL_GET}, KW_MODEL_DEATH, 1, 0},
        {KW_MODEL_VALUE, {KW_MODEL_SET, KW_MODEL_GET}, KW_MODEL_LATE | KW_MODEL_DEATH, 0, 0},
        {KW_MODEL_EMPTY, {KW_MODEL_ADD, KW_MODEL_SET}, 0, 1, 0},
        {KW_MODEL_VALUE, {KW_MODEL_SWAP, KW_MODEL_DELETE}, 0, 1, 0},
        {KW_MODEL_ENDING, {KW_MODEL_ADD, KW_MODEL_SET}, 0, 1, 0},
        {KW_MODEL_MORTAL, {KW_MODEL_SET_TTL, KW_MODEL_SET}, 0, 1, 0},
        {KW_MODEL_ENDING, {KW_MODEL_ADD, KW_MODEL_ADD}, 0, 1, KW_MODEL_PROMISE_EXPIRES},
    };
    size_t rows_n = KW_TEST_IS_SANITIZED ? 2 : sizeof(rows) / sizeof(rows[0]);
    for (size_t i = 0; i < rows_n; i++) {
        kw_model_setup setup = pair_of(rows[i].start, rows[i].acts[0], rows[i].acts[1]);
        setup.faults = rows[i].faults;
        setup.ends_n = rows[i].ends_n;
        setup.planted = rows[i].planted;
        setup.is_plain = true;
        double begin = spent_s();
        kw_model_explore(&result, &setup);
        say(&setup, begin);
        bool has_violation = result.has_violation;
        uint64_t told_n = result.told_n;
        uint64_t told_sum = result.told_sum;
        uint64_t states_n = result.states_n;
        setup.is_plain = false;
        begin = spent_s();
        kw_model_explore(&result, &setup);
        say(&setup, begin);
        assert_int_equal(result.has_violation, has_violation);
        assert_int_equal(has_violation, rows[i].planted != KW_MODEL_SOUND);
        if (!has_violation) {
            assert_true(result.is_whole && result.states_n < states_n);
            assert_true(result.told_n == told_n && result.told_sum == told_sum);
        }
    }
}

static void test_model_of_small_pairs_has_no_violation(void **state)
{
    (void)state;
    static const kw_model_act pairs[][2] = {{KW_MODEL_SET, KW_MODEL_GET},
                                            {KW_MODEL_SET, KW_MODEL_DELETE},
                                            {KW_MODEL_SWAP, KW_MODEL_SET}};
    size_t pairs_n = KW_TEST_IS_SANITIZED ? 1 : sizeof(pairs) / sizeof(pairs[0]);
    for (size_t i = 0; i < pairs_n; i++) {
        kw_model_setup setup = pair_of(KW_MODEL_VALUE, pairs[i][0], pairs[i][1]);
        setup.faults = KW_MODEL_LOSS | KW_MODEL_DEATH;
        assert_true(walk(&setup));
        assert_true(result.is_whole);
    }
}

/* A part of the ops by chance, by a seed of its own. */
static bool wander_part(size_t part)
{
    uint64_t seed = setting("KW_TEST_SEED", 1);
    double begin = now_s();
    uint64_t done_n = wander(KW_MODEL_SOUND, PART_OPS_N, seed + part);
    if (result.has_violation) {
        printf("  seed %llu:\n%s", (unsigned long long)(seed + part), result.story);
    }
    if (part % 10 == 9) {
        printf("  by chance: part %zu, %llu ops, %.1f s\n", part + 1, (unsigned long long)done_n,
               now_s() - begin);
        fflush(stdout);
    }
    return !result.has_violation;
}

/* Found by chance: a value with a life was written above what a swap had left on one copy, its life
 * and what remembered it ended on another, and those two made the swap's the value again. */
static void test_model_swap_does_not_come_back_from_below_a_value_that_has_ended(void **state)
{
    (void)state;
    kw_random random;
    kw_random_init(&random, setting("KW_TEST_SEED", 1));
    uint64_t ops_n = 0;
    for (unsigned i = 0; ops_n < SWAP_OPS_N; i++) {
        kw_model_setup setup = setup_of_swap(i % 2 == 1);
        kw_model_wander(&result, &setup, 2000, kw_random_next(&random));
        ops_n += result.ops_n;
        if (result.has_violation) {
            printf("%s", result.story);
        }
        assert_false(result.has_violation);
    }
}

static void test_model_by_chance_has_no_violation(void **state)
{
    (void)state;
    double begin = now_s();
    uint64_t ops_n = setting("KW_TEST_OPS", SLICE_OPS_N);
    if (ops_n > PART_OPS_N) {
        assert_true(kw_test_share_out((size_t)(ops_n / PART_OPS_N), wander_part,
                                      (unsigned)setting("KW_TEST_JOBS", 1)));
    } else {
        ops_n = wander(KW_MODEL_SOUND, ops_n, setting("KW_TEST_SEED", 1));
    }
    printf("  by chance: %llu ops, %.1f s\n", (unsigned long long)ops_n, now_s() - begin);
    if (result.has_violation) { /* a message of cmocka's would end in the midst of it */
        printf("%s", result.story);
    }
    assert_false(result.has_violation);
}

#define CASES_MAX 400u

static kw_model_setup cases[CASES_MAX];
static size_t cases_n;

static void add_cases(const kw_model_setup *like)
{
    for (unsigned i = 0; i < KW_MODEL_STARTS_N; i++) {
        assert_true(cases_n < CASES_MAX);
        cases[cases_n] = *like;
        cases[cases_n++].start = (kw_model_start)i;
    }
}

static bool walk_case(size_t number)
{
    return walk(&cases[number]);
}

static void add_pair(kw_model_act one, kw_model_act two, uint64_t states_max)
{
    kw_model_setup setup = pair_of(KW_MODEL_EMPTY, one, two);
    setup.states_max = states_max;
    if (two == KW_MODEL_REPAIR) {
        setup.faults = KW_MODEL_WIPE | KW_MODEL_DUMP;
        add_cases(&setup);
        setup.faults = KW_MODEL_LOSS;
        setup.has_join = true;
    }
    add_cases(&setup);
}

static bool is_named(unsigned act)
{
    return act == KW_MODEL_SET || act == KW_MODEL_DELETE || act == KW_MODEL_ADD ||
           act == KW_MODEL_SWAP;
}

/* Two that write (set, delete, if-absent, compare-and-set), to the end; then also with lives and
 * deletion on a condition, a read beside each, and a repair, also one that puts a new member into
 * service, each to its end or to KW_TEST_STATES states; from every start, with any one fault and
 * any one end. */
static void test_model_of_all_pairs_has_no_violation(void **state)
{
    (void)state;
    uint64_t states_max = setting("KW_TEST_STATES", UINT64_MAX);
    for (unsigned round = 0; is_all() && round < 2; round++) {
        for (unsigned a = KW_MODEL_SET; a <= KW_MODEL_DELETE_IF; a++) {
            for (unsigned b = KW_MODEL_GET; b <= KW_MODEL_REPAIR; b++) {
                bool is_first = is_named(a) && is_named(b);
                if ((b <= a || b == KW_MODEL_REPAIR) && is_first == (round == 0)) {
                    add_pair((kw_model_act)a, (kw_model_act)b, is_first ? UINT64_MAX : states_max);
                }
            }
        }
    }
    assert_true(kw_test_share_out(cases_n, walk_case, (unsigned)setting("KW_TEST_JOBS", 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_finds_planted_faults_by_name),
        cmocka_unit_test(test_model_spares_nothing_that_clients_could_tell),
        cmocka_unit_test(test_model_of_small_pairs_has_no_violation),
        cmocka_unit_test(test_model_swap_does_not_come_back_from_below_a_value_that_has_ended),
        cmocka_unit_test(test_model_by_chance_has_no_violation),
        cmocka_unit_test(test_model_of_all_pairs_has_no_violation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

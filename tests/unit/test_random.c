/* SPDX-License-Identifier: BSD-3-Clause */
/* The random sequence, against published numbers, and its evenness. */
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/check.h"

static void test_random_seed_gives_published_sequence(void **state)
{
    (void)state;
    /* The reference values of SplitMix64 for the seed 1234567. */
    static const uint64_t expected[] = {6457827717110365317u, 3203168211198807973u,
                                        9817491932198370423u, 4593380528125082431u,
                                        16408922859458223821u};
    kw_random random;
    kw_random_init(&random, 1234567);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_true(kw_random_next(&random) == expected[i]);
    }
}

static void test_random_seed_zero_gives_numbers(void **state)
{
    (void)state;
    kw_random random;
    kw_random_init(&random, 0);
    uint64_t first = kw_random_next(&random);
    assert_true(first == 0xe220a8397b1dcdafu);
    assert_true(kw_random_next(&random) != first);
}

static void test_random_below_stays_below(void **state)
{
    (void)state;
    static const uint64_t bounds[] = {1, 2, 3, 7, 1u << 31, UINT64_MAX / 2 + 2, UINT64_MAX};
    kw_random random;
    kw_random_init(&random, kw_test_seed("random_below"));
    assert_true(kw_random_below(&random, 0) == 0);
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        for (int round = 0; round < 1000; round++) {
            assert_true(kw_random_below(&random, bounds[i]) < bounds[i]);
        }
    }
}

static void test_random_below_is_even(void **state)
{
    (void)state;
    enum { BOUND = 6, ROUNDS = 60000 };
    unsigned hits[BOUND] = {0};
    kw_random random;
    kw_random_init(&random, 42);
    for (int i = 0; i < ROUNDS; i++) {
        hits[kw_random_below(&random, BOUND)]++;
    }
    for (int i = 0; i < BOUND; i++) {
        /* Five standard deviations (91 each) around 10,000. */
        assert_in_range(hits[i], 9540, 10460);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_seed_gives_published_sequence),
        cmocka_unit_test(test_random_seed_zero_gives_numbers),
        cmocka_unit_test(test_random_below_stays_below),
        cmocka_unit_test(test_random_below_is_even),
    };
    return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}

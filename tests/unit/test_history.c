/* SPDX-License-Identifier: BSD-3-Clause */
/* The judge of histories, on some that are right and some that are wrong. */
#include "support/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NEVER KW_TEST_NEVER

static kw_test_act read_of(uint64_t value, uint64_t begin, uint64_t end)
{
    kw_test_act act = {.kind = KW_TEST_READ, .value = value, .begin = begin, .end = end};
    return act;
}

static kw_test_act write_of(uint64_t value, uint64_t begin, uint64_t end)
{
    kw_test_act act = {.kind = KW_TEST_WRITE, .value = value, .begin = begin, .end = end};
    return act;
}

static kw_test_act swap_of(uint64_t expected, uint64_t value, uint64_t begin, uint64_t end)
{
    kw_test_act act = {KW_TEST_SWAP, value, expected, begin, end, 0};
    return act;
}

static kw_test_act mismatch_of(uint64_t expected, uint64_t value, uint64_t begin, uint64_t end)
{
    kw_test_act act = {KW_TEST_MISMATCH, value, expected, begin, end, 0};
    return act;
}

#define GOOD(...)                                                                                  \
    assert_verdict(KW_TEST_LINEARIZABLE, (kw_test_act[]){__VA_ARGS__},                             \
                   sizeof((kw_test_act[]){__VA_ARGS__}) / sizeof(kw_test_act))
#define WRONG(...)                                                                                 \
    assert_verdict(KW_TEST_VIOLATION, (kw_test_act[]){__VA_ARGS__},                                \
                   sizeof((kw_test_act[]){__VA_ARGS__}) / sizeof(kw_test_act))

static void assert_verdict(kw_test_verdict verdict, const kw_test_act *acts, size_t n)
{
    kw_test_verdict found = kw_test_history_check(acts, n, 100000);
    assert_int_equal(found, verdict);
}

static void test_history_that_a_register_could_give_is_linearizable(void **state)
{
    (void)state;
    GOOD(read_of(0, 1, 2));
    GOOD(write_of(1, 1, 2), read_of(1, 3, 4));
    GOOD(write_of(1, 1, 10), read_of(0, 2, 3), read_of(1, 4, 5));
    GOOD(write_of(1, 1, 10), write_of(2, 2, 9), read_of(1, 11, 12), read_of(1, 13, 14));
    GOOD(write_of(1, 1, NEVER), read_of(0, 2, 3), read_of(0, 100, 101), read_of(1, 200, 201));
    GOOD(write_of(1, 1, 2), write_of(0, 3, 4), read_of(0, 5, 6));
    GOOD(write_of(1, 1, 2), swap_of(1, 2, 3, 9), mismatch_of(1, 2, 4, 8));
    GOOD(swap_of(0, 1, 1, NEVER), swap_of(0, 2, 1, 5), read_of(2, 6, 7));
}

static void test_history_that_no_register_could_give_is_a_violation(void **state)
{
    (void)state;
    WRONG(read_of(1, 1, 2));
    WRONG(write_of(1, 1, 2), read_of(0, 3, 4));
    WRONG(write_of(1, 1, 10), read_of(1, 2, 3), read_of(0, 4, 5));
    WRONG(write_of(1, 1, 2), write_of(2, 3, 4), read_of(1, 5, 6));
    WRONG(write_of(1, 1, 10), write_of(2, 1, 10), read_of(1, 2, 3), read_of(2, 4, 5),
          read_of(1, 6, 7));
    WRONG(write_of(1, 1, NEVER), write_of(2, 1, 2), read_of(1, 4, 5), read_of(2, 6, 7),
          read_of(1, 8, 9));
    WRONG(swap_of(0, 1, 1, 5), swap_of(0, 2, 1, 5));
    WRONG(write_of(1, 1, 2), mismatch_of(1, 1, 3, 4));
    WRONG(write_of(1, 1, 2), mismatch_of(1, 0, 3, 4));
}

/* Writes that perhaps were, and that somebody sees much later, each at any time in between. */
static void test_history_of_many_unknown_writes_is_judged(void **state)
{
    (void)state;
    enum { N = 40 };
    kw_test_act acts[3 * N + 1];
    for (unsigned i = 0; i < N; i++) {
        acts[3 * i] = write_of(i + 1, 1 + i % 3, NEVER);
        acts[3 * i + 1] = (kw_test_act){KW_TEST_EXPIRE, i + 1, 0, 1, NEVER, 0};
        acts[3 * i + 2] = i % 4 == 0 ? read_of(0, 100 + 10 * i, 101 + 10 * i)
                                     : read_of(i + 1, 100 + 10 * i, 109 + 10 * i);
    }
    acts[3 * N] = read_of(N, 1000, 1001);
    assert_verdict(KW_TEST_LINEARIZABLE, acts, 3 * N + 1);
    acts[3 * N] = read_of(2, 1000, 1001);
    assert_verdict(KW_TEST_VIOLATION, acts, 3 * N + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_history_that_a_register_could_give_is_linearizable),
        cmocka_unit_test(test_history_that_no_register_could_give_is_a_violation),
        cmocka_unit_test(test_history_of_many_unknown_writes_is_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

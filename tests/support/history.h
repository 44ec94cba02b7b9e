/* SPDX-License-Identifier: BSD-3-Clause */
/* History: what several clients saw of one key, and whether one register could have
 * answered so: linearizability (Herlihy, Wing 1990), by the search of Wing and Gong with
 * Lowe's memory of what was tried. */
#ifndef SUPPORT_HISTORY_H
#define SUPPORT_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KW_TEST_NEVER UINT64_MAX

typedef enum kw_test_act_kind {
    KW_TEST_READ,     /* value was there */
    KW_TEST_WRITE,    /* value was written; 0: deleted */
    KW_TEST_SWAP,     /* value was written, since expected was there */
    KW_TEST_MISMATCH, /* nothing written: value was there, not expected */
    KW_TEST_EXPIRE    /* the life of value ends, once, or has not yet: end is KW_TEST_NEVER */
} kw_test_act_kind;

/* Values are numbers below 2^63, no two written ones the same; 0: none there. Time ends a life, and
 * is no act of anybody's: a swap that has found the value may still be done when others find
 * it gone. */
typedef struct kw_test_act {
    kw_test_act_kind kind;
    uint64_t value;
    uint64_t expected;
    uint64_t begin; /* any unit; one clock for all */
    uint64_t end;   /* KW_TEST_NEVER: nobody knows whether it happened */
    unsigned client;
} kw_test_act;

typedef enum kw_test_verdict {
    KW_TEST_LINEARIZABLE,
    KW_TEST_VIOLATION,
    KW_TEST_TOO_HARD /* more states than states_max */
} kw_test_verdict;

kw_test_verdict kw_test_history_check(const kw_test_act *acts, size_t acts_n, size_t states_max);

/* One line an act, in the order of their beginning, to standard error. */
void kw_test_history_print(const kw_test_act *acts, size_t acts_n);

#endif

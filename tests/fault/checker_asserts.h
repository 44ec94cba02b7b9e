/* SPDX-License-Identifier: BSD-3-Clause */
/* What a checker's report must say: whatever happens, and where every call can be served. */
#ifndef FAULT_CHECKER_ASSERTS_H
#define FAULT_CHECKER_ASSERTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "support/check.h"
#include "support/checker.h"

static inline void assert_never(const kw_checker_report *report)
{
    assert_int_equal(report->wrong, 0);
    assert_int_equal(report->doubled, 0);
    assert_int_equal(report->late, 0);
}

static inline void assert_clean(const kw_checker_report *report)
{
    assert_never(report);
    assert_int_equal(report->lost, 0);
    assert_int_equal(report->failed_none + report->failed_maybe + report->failed_done, 0);
}

/* The median of the times from a promotion to the first answer; says it and the worst. */
static inline uint64_t tell_recoveries(uint64_t *recoveries_us, size_t n)
{
    qsort(recoveries_us, n, sizeof(recoveries_us[0]), kw_test_compare_uint64);
    fprintf(stderr, "first answer after a promotion: median %lu us, worst %lu us of %zu\n",
            (unsigned long)recoveries_us[n / 2], (unsigned long)recoveries_us[n - 1], n);
    return recoveries_us[n / 2];
}

#endif

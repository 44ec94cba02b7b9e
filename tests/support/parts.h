/* SPDX-License-Identifier: BSD-3-Clause */
/* Parts: a test program whose cases wait most of their time runs as several processes at once, one
 * a part, each with servers, fakes and a clock of its own. */
#ifndef SUPPORT_PARTS_H
#define SUPPORT_PARTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* For main: the program begins again for each part below n, all at the same time, and run is called
 * there. What they print is shown part by part. Returns how many parts have failed; before it the
 * program has started nothing. KW_TEST_PART=number runs that part alone. */
int kw_test_parts(char **argv, size_t n, int (*run)(size_t part));

/* In a part: the body runs for those of n that are its own, as the parts share them out in turn;
 * for all where the program has no parts. */
#define KW_TEST_SHARE_OUT(i, n)                                                                    \
    for (size_t i = kw_test_own_part(); (i) < (size_t)(n); (i) += kw_test_parts_n())

size_t kw_test_own_part(void);
size_t kw_test_parts_n(void);

/* Runs those of the tests that are this part's own. Returns how many have failed. */
int kw_test_run_share(const struct CMUnitTest *tests, size_t tests_n, CMFixtureFunction set_up,
                      CMFixtureFunction tear_down);

#define KW_TEST_RUN_SHARE(tests, set_up, tear_down)                                                \
    kw_test_run_share(tests, sizeof(tests) / sizeof((tests)[0]), set_up, tear_down)

#endif

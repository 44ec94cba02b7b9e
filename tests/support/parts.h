/* SPDX-License-Identifier: BSD-3-Clause */
/* Parts: a test program whose cases wait most of their time runs as several processes at once, one
 * a part, each with servers, fakes and a clock of its own. */
#ifndef SUPPORT_PARTS_H
#define SUPPORT_PARTS_H

#include <stddef.h>

/* For main: the program begins again for each part below n, all at the same time, and run is called
 * there. What they print is shown part by part. Returns how many parts have failed; before it the
 * program has started nothing. KW_TEST_PART=number runs that part alone. */
int kw_test_parts(char **argv, size_t n, int (*run)(size_t part));

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Zipf: names from 0 on, each drawn as often as one part in (its number + 1) ^ exponent. */
#ifndef SUPPORT_ZIPF_H
#define SUPPORT_ZIPF_H

#include "base/random.h"

typedef struct kw_test_zipf {
    double *sums; /* of the weights up to each name */
    unsigned names_n;
} kw_test_zipf;

/* Stops the program where there is no memory. */
kw_test_zipf kw_test_zipf_new(unsigned names_n, double exponent);
void kw_test_zipf_free(kw_test_zipf *self);

/* Any thread, each with a random of its own. */
unsigned kw_test_zipf_draw(const kw_test_zipf *self, kw_random *random);

#endif

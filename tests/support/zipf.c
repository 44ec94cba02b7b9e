/* SPDX-License-Identifier: BSD-3-Clause */
/* Names by Zipf, found in the sums of their weights. */
#include "support/zipf.h"

#include <math.h>
#include <stdlib.h>

#include "support/check.h"

kw_test_zipf kw_test_zipf_new(unsigned names_n, double exponent)
{
    kw_test_zipf self = {malloc(names_n * sizeof(double)), names_n};
    if (self.sums == NULL) {
        kw_test_die("no memory for names by Zipf");
    }
    double sum = 0;
    for (unsigned i = 0; i < names_n; i++) {
        sum += 1 / pow((double)i + 1, exponent);
        self.sums[i] = sum;
    }
    return self;
}

void kw_test_zipf_free(kw_test_zipf *self)
{
    free(self->sums);
    self->sums = NULL;
}

unsigned kw_test_zipf_draw(const kw_test_zipf *self, kw_random *random)
{
    double part = (double)(kw_random_next(random) >> 11) / 9007199254740992.0;
    double at = part * self->sums[self->names_n - 1];
    unsigned low = 0;
    unsigned high = self->names_n - 1;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (self->sums[middle] < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

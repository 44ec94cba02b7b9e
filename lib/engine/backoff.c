/* SPDX-License-Identifier: BSD-3-Clause */
/* Pauses that grow and are drawn at random, so that callers do not come back in step. */
#include "engine/backoff.h"

uint64_t kw_backoff_next(kw_backoff *backoff, kw_random *random)
{
    uint64_t ceiling = backoff->first_ns;
    for (unsigned i = 0; i < backoff->failures_n && ceiling < backoff->max_ns; i++) {
        ceiling *= 2;
    }
    if (ceiling >= backoff->max_ns) {
        ceiling = backoff->max_ns;
    } else {
        backoff->failures_n++;
    }
    uint64_t floor = ceiling / 8;
    return floor + kw_random_below(random, ceiling - floor + 1);
}

void kw_backoff_reset(kw_backoff *backoff)
{
    backoff->failures_n = 0;
}

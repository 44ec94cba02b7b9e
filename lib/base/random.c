/* SPDX-License-Identifier: BSD-3-Clause */
/* SplitMix64: random numbers for jitter, not for secrets. */
#include "base/random.h"

uint64_t kw_random_next(kw_random *random)
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t kw_random_below(kw_random *random, uint64_t bound)
{
    if (bound == 0) {
        return 0;
    }
    /* Reject the short last stretch, so that every number is equally likely. */
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t value;
    do {
        value = kw_random_next(random);
    } while (value >= limit);
    return value % bound;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Pseudo-random numbers for jitter and shuffling; never for secrets. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

typedef struct kw_random {
    uint64_t state;
} kw_random;

/* Any seed, 0 included, gives a full sequence. */
static inline void kw_random_init(kw_random *random, uint64_t seed)
{
    random->state = seed;
}

/* The next 64 bits (SplitMix64, Steele, Lea and Flood 2014). */
uint64_t kw_random_next(kw_random *random);

/* A number in 0 .. bound-1; 0 for bound 0. */
uint64_t kw_random_below(kw_random *random, uint64_t bound);

#endif

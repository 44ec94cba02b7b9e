/* SPDX-License-Identifier: BSD-3-Clause */
/* Chance: a row of numbers, of its own: the library's kw_random is a part of what is simulated. */
#ifndef SIM_CHANCE_H
#define SIM_CHANCE_H

#include <stdint.h>

typedef struct sim_chance {
    uint64_t state;
} sim_chance;

/* SplitMix64 (Steele, Lea and Flood 2014). */
static inline uint64_t sim_chance_next(sim_chance *chance)
{
    uint64_t z = (chance->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A number below bound, 0 for 0. Where it can be by the upper half of a product: a division costs
 * more than all the rest. */
static inline uint64_t sim_chance_below(sim_chance *chance, uint64_t bound)
{
    uint64_t number = sim_chance_next(chance);
    if (bound <= UINT32_MAX) {
        return (number >> 32) * bound >> 32;
    }
    return number % bound;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Life: how long a value lives on its server, and what it is good for at a moment of that life. */
#ifndef CACHE_LIFE_H
#define CACHE_LIFE_H

#include "cache/cache_options.h"

typedef enum kw_life {
    KW_LIFE_FRESH,
    KW_LIFE_EARLY, /* fresh; by the dice, this caller is to load it anew */
    KW_LIFE_STALE, /* good while somebody loads it anew */
    KW_LIFE_OVER   /* good only where it cannot be loaded */
} kw_life;

/* left_ms: of the value's life on the server (-1: it has no end). cost_ms: what a load takes.
 * random: any 64 bits. */
kw_life kw_life_of(const kw_cache_options *options, int64_t left_ms, uint64_t cost_ms,
                   uint64_t random);

/* ms behind now_ns; UINT64_MAX where the clock never comes to that. */
uint64_t kw_life_end_ns(uint64_t now_ns, uint64_t ms);

/* The life on the server of a value that is stored now, stale time included; 0: without end. */
uint64_t kw_life_draw_ms(const kw_cache_options *options, uint64_t random);

/* Is it time for this caller? The dice of XFetch ("Optimal Probabilistic Cache Stampede
 * Prevention", Vattani, Chierichetti and Lowenstein, VLDB 2015): yes where cost x beta x -ln(u) is
 * at least what is left, u uniform in (0, 1]. beta in per cent. */
bool kw_life_is_early(uint64_t left_ms, uint64_t cost_ms, uint64_t beta, uint64_t random);

/* A moving mean of what loads take: an eighth of the new one. 0: none was made yet. */
uint64_t kw_life_mean_ms(uint64_t mean_ms, uint64_t last_ms);

#endif

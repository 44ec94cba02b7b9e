/* SPDX-License-Identifier: BSD-3-Clause */
/* xxHash, header-only: XXH3 and XXH64, and the check that they are what placements
 * are made of. */
#ifndef ROUTE_HASH_XXH_H
#define ROUTE_HASH_XXH_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Older versions have an XXH3 that gives other values. */
#if XXH_VERSION_NUMBER < 800
#error "keyway needs xxHash 0.8.0 or later"
#endif

uint64_t kw_xxh3(const char *data, size_t len, uint64_t seed);

/* kw_xxh3 where the length is known, and short: compiled into its caller. */
static inline uint64_t kw_xxh3_short(const char *data, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, len, seed);
}

/* The number in memory, lowest byte first, whatever the machine's own order is. Compilers
 * make one store of these; of a loop they make eight, which a load of all waits for. */
static inline void kw_store_le64(char out[8], uint64_t value)
{
    unsigned char *p = (unsigned char *)out;
    p[0] = (unsigned char)value;
    p[1] = (unsigned char)(value >> 8);
    p[2] = (unsigned char)(value >> 16);
    p[3] = (unsigned char)(value >> 24);
    p[4] = (unsigned char)(value >> 32);
    p[5] = (unsigned char)(value >> 40);
    p[6] = (unsigned char)(value >> 48);
    p[7] = (unsigned char)(value >> 56);
}

/* Known answers of the placement's specification. */
bool kw_xxh_is_right(void);

#endif

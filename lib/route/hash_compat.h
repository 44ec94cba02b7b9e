/* SPDX-License-Identifier: BSD-3-Clause */
/* Hashes of compatible placements: those of twemproxy's "hash" setting, and Jedis'. */
#ifndef ROUTE_HASH_COMPAT_H
#define ROUTE_HASH_COMPAT_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A hash of twemproxy, 32 bits. signed_bytes: bytes from 0x80 count as negative numbers,
 * as where C's char is signed (x86); only some hashes differ. */
typedef uint32_t (*kw_hash_fn)(const char *key, size_t key_len, bool signed_bytes);

typedef struct kw_hash_compat {
    char name[16]; /* as in nutcracker's configuration */
    kw_hash_fn fn;
    unsigned bits; /* of its results: 32, or fewer where the upper ones are always 0 */
} kw_hash_compat;

/* NULL for a name that is none; constant. */
const kw_hash_compat *kw_hash_compat_find(kw_bytes name);
const kw_hash_compat *kw_hash_compat_at(size_t index); /* NULL past the last */

uint32_t kw_hash_murmur(const char *key, size_t key_len);  /* Murmur2, twemproxy's seed */
uint32_t kw_hash_jenkins(const char *key, size_t key_len); /* lookup3, initial value 13 */

/* MurmurHash64A by Austin Appleby, with the words lowest byte first. */
uint64_t kw_hash_murmur64a(const char *key, size_t key_len, uint64_t seed);

#endif

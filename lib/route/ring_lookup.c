/* SPDX-License-Identifier: BSD-3-Clause */
/* kw_ring_lookup, compiled as one function without calls: it is what a cache calls most. */
#include "route/ring.h"

#include "route/crc16_word.h"
#include "route/hash_xxh.h"

/* Longest key that XXH3 hashes in its shortest way. */
#define SHORT_MAX 16

/* Makes the compiler inline all that a function calls. */
#if defined(__GNUC__) || defined(__clang__)
#define KW_FLATTEN __attribute__((flatten))
#else
#define KW_FLATTEN
#endif

/* Short keys without a tag are hashed and looked up here without a call; all others elsewhere. */
KW_FLATTEN
kw_err kw_ring_lookup(const kw_ring *ring, uint32_t *node, const char *key, size_t key_len)
{
    if (ring == NULL) {
        return KW_ERR_ARGUMENT;
    }
    if (ring->is_plain && key_len <= SHORT_MAX && kw_find_byte(key, key_len, '{') == key_len) {
        uint32_t owner = kw_ring_cell_owner(ring, kw_xxh3_short(key, key_len, ring->seed));
        if (owner != KW_RING_NO_NODE) {
            *node = owner;
            return KW_OK;
        }
    }
    return kw_ring_lookup_any(ring, node, key, key_len);
}

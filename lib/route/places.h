/* SPDX-License-Identifier: BSD-3-Clause */
/* Places: where the keys of one command are on a ring. */
#ifndef ROUTE_PLACES_H
#define ROUTE_PLACES_H

#include "base/bytes.h"
#include "base/memory.h"
#include "route/keys.h"
#include "route/ring.h"

/* The places of keys that are not all at one: kw_ring_hash_of each. */
typedef struct kw_places {
    kw_allocator mem;
    bool is_torn; /* the ring was seen to give them different owners */
    size_t n;
    uint64_t at[];
} kw_places;

/* Room for n places, none set. NULL when there is no memory. */
kw_places *kw_places_new(const kw_allocator *mem, size_t n);
void kw_places_free(kw_places *places); /* NULL is allowed */

static inline uint64_t kw_place_of(const kw_ring *ring, kw_bytes key)
{
    return kw_ring_hash_of(ring, key.data, key.len);
}

/* The number of keys, and key number index. */
size_t kw_keys_count(const kw_keys *keys);
kw_bytes kw_keys_at(const kw_keys *keys, const kw_bytes *argv, size_t index);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Ring positions: where the keys of one command are on a ring. */
#ifndef ROUTE_RING_POSITIONS_H
#define ROUTE_RING_POSITIONS_H

#include "base/bytes.h"
#include "base/memory.h"
#include "route/ring.h"

/* Positions of a command's keys, kw_ring_hash_of each, where they are not all one. */
typedef struct kw_ring_positions {
    kw_allocator mem;
    bool is_stale_split; /* members have changed since the command was given, and the new ring has
                            different owners for its keys */
    size_t n;
    uint64_t at[];
} kw_ring_positions;

/* Room for n positions, none set. NULL when there is no memory. */
kw_ring_positions *kw_ring_positions_new(const kw_allocator *mem, size_t n);
void kw_ring_positions_free(kw_ring_positions *positions); /* NULL is allowed */

static inline uint64_t kw_ring_position_of(const kw_ring *ring, kw_bytes key)
{
    return kw_ring_hash_of(ring, key.data, key.len);
}

#endif

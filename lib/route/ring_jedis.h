/* SPDX-License-Identifier: BSD-3-Clause */
/* Ring of Jedis: points of 64 bits, with their nodes beside. */
#ifndef ROUTE_RING_JEDIS_H
#define ROUTE_RING_JEDIS_H

#include <keyway/error.h>

#include "route/ring.h"

/* Points of a node for each unit of weight. */
#define KW_JEDIS_POINTS 160

/* Murmur64A; Jedis orders its results as signed numbers, which the bias does here. */
static inline uint64_t kw_jedis_hash(const char *data, size_t len)
{
    return kw_hash_murmur64a(data, len, 0x1234abcd) ^ UINT64_C(1) << 63;
}

/* What Jedis' pattern, "\{(.+?)\}", finds in a key whose first '{' is at open; the key itself where
 * it finds nothing. */
kw_bytes kw_jedis_tag(kw_bytes key, size_t open);

/* Gives the ring its points, points_n in all as counted at its nodes. KW_ERR_NOMEM. */
kw_err kw_jedis_points(kw_ring *ring, size_t points_n);

#endif

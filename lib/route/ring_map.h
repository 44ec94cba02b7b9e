/* SPDX-License-Identifier: BSD-3-Clause */
/* Ring map: members and their ring become a map. */
#ifndef ROUTE_RING_MAP_H
#define ROUTE_RING_MAP_H

#include <keyway/error.h>

#include "route/ring_members.h"
#include "route/map.h"

/* Names a member that was given no name: after its address, "host:port", or in twemproxy's
 * placements what nutcracker hashes for it; a group after what its sentinels call it. */
void kw_ring_map_name(kw_member *member, const kw_ring *placement);

/* The ring of the members, which all have names, in placement, a ring whose own nodes do
 * not matter. NULL, with an error, for what kw_ring_change refuses, and without memory. */
kw_ring *kw_ring_map_ring(const kw_ring_members *ring_members, kw_ring *placement, kw_error *error);

/* A map of the members, the primary of shard i being the server of node i of their ring.
 * is_down (one for each node of the ring, or NULL) and skips_down as in kw_map_parts.
 * KW_ERR_CONFIG where a server is there twice, KW_ERR_LIMIT, KW_ERR_NOMEM, with an error. */
kw_err kw_ring_map_new(kw_map **map, kw_error *error, const kw_allocator *mem,
                       const kw_ring_members *ring_members, const kw_map_parts *state);

#endif

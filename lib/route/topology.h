/* SPDX-License-Identifier: BSD-3-Clause */
/* Topology: what a cluster says of itself, checked and made into a map. */
#ifndef ROUTE_TOPOLOGY_H
#define ROUTE_TOPOLOGY_H

#include <keyway/error.h>

#include "base/endpoint.h"
#include "base/reply.h"
#include "route/map.h"

#include <stdbool.h>

/* Where an answer comes from, and what it is read beside; all borrowed. */
typedef struct kw_topology_source {
    const kw_allocator *mem;
    const kw_endpoint *from; /* who answered: an empty or null host in the answer means its host */
    const kw_map *previous;  /* the map in use, or NULL: where primaries of the answer claim one
                                slot, its owner keeps the slot if it is one of them, else the first
                                has it */
    bool use_tls;            /* CLUSTER SHARDS: "tls-port" counts instead of "port" */
} kw_topology_source;

/* Both functions make a new map from a whole answer, or refuse the whole answer: *map is
 * written only on success; KW_ERR_TOPOLOGY with an error that says what is wrong and
 * where in the answer, or KW_ERR_NOMEM. Host "?" and port 0 mean an unknown address and leave
 * that node out; slots without an address for their primary stay with the owner that they have in
 * the map in use, if the answer names a node of that, else become holes. Replicas that the answer
 * marks as failed or loading are left out; a primary marked failed keeps its slots
 * (only the cluster takes them away). Primaries without slots are left out. An answer
 * without any served slot, and one that no true cluster gives (more than
 * KW_MAP_NODES_MAX nodes, more entries than slots, slots claimed many times over), is
 * refused. */

/* CLUSTER SLOTS, Redis 3.0 and later, with the metadata of 7.0. */
kw_err kw_topology_from_slots(kw_map **map, kw_error *error, const kw_topology_source *source,
                              const kw_reply *reply);

/* CLUSTER SHARDS, Redis 7.0 and later. Of several primaries in one shard the online one counts,
 * else the one with the greater replication offset, else the first. */
kw_err kw_topology_from_shards(kw_map **map, kw_error *error, const kw_topology_source *source,
                               const kw_reply *reply);

#endif

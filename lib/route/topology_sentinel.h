/* SPDX-License-Identifier: BSD-3-Clause */
/* Topology of a Sentinel group: what a sentinel says of one name, checked and made into a
 * map. */
#ifndef ROUTE_TOPOLOGY_SENTINEL_H
#define ROUTE_TOPOLOGY_SENTINEL_H

#include <keyway/error.h>

#include "base/endpoint.h"
#include "base/reply.h"
#include "route/map.h"

/* Endpoints in memory of the caller's allocator. */
typedef struct kw_endpoints {
    kw_endpoint *items; /* NULL: none */
    size_t n;
} kw_endpoints;

/* All three functions read a whole answer or refuse it: outputs are written only on success;
 * KW_ERR_TOPOLOGY with an error that says what is wrong and where, or KW_ERR_NOMEM. */

/* SENTINEL GET-MASTER-ADDR-BY-NAME. KW_ERR_NO_SERVICE where the sentinel does not know the
 * name. */
kw_err kw_topology_sentinel_primary(kw_endpoint *primary, kw_error *error, const kw_reply *reply);

/* SENTINEL REPLICAS (or SLAVES): the replicas, but for those that the sentinel cannot
 * reach and those without an address. heir is the one, reachable or not, that it has chosen
 * to become the primary and has not yet seen to be one; its host is empty where there is
 * none. */
kw_err kw_topology_sentinel_replicas(kw_endpoints *replicas, kw_endpoint *heir, kw_error *error,
                                     const kw_allocator *mem, const kw_reply *reply);

/* From an answer to SENTINEL REPLICAS: what the sentinel waits before it calls the
 * primary down, in milliseconds; 0 where it does not say. */
uint64_t kw_topology_sentinel_timeout_ms(const kw_reply *reply);

/* From an answer to SENTINEL MASTER: which configuration of the group the sentinel has; each
 * failover makes one with a greater number. 0 where it does not say. */
uint64_t kw_topology_sentinel_epoch(const kw_reply *reply);

/* SENTINEL SENTINELS: the other sentinels that watch the name. */
kw_err kw_topology_sentinel_peers(kw_endpoints *peers, kw_error *error, const kw_allocator *mem,
                                  const kw_reply *reply);

/* Of an entry of an answer to SENTINEL SENTINELS that was read before: where that sentinel is,
 * false where that is not known, and the hash of its own id, 0 where it is not said. */
bool kw_topology_sentinel_peer(kw_endpoint *peer, uint64_t *id, const kw_reply *entry);

/* A map of one shard. NULL when there is no memory. */
kw_map *kw_topology_sentinel_map(const kw_allocator *mem, const kw_endpoint *primary,
                                 const kw_endpoints *replicas);

#endif

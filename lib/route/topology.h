/* Topology: what a cluster says of itself, checked and made into a map. */
#ifndef ROUTE_TOPOLOGY_H
#define ROUTE_TOPOLOGY_H

#include <keyway/error.h>

#include "base/endpoint.h"
#include "base/reply.h"
#include "route/map.h"

/* Both make a new map from a whole answer, or refuse the whole answer: *map is
 * written only on success, error says what is wrong and where in the answer.
 * from is the server that answered: an empty or null host means its host; "?"
 * means unknown and leaves that node out. previous (may be NULL) is the map in
 * use: where two primaries of the answer claim one slot, its owner keeps the slot.
 * Replicas that the answer marks as failed, loading or handshaking are left out;
 * a primary marked failed keeps its slots (only the cluster takes them away). An
 * answer without any served slot is refused. */

/* CLUSTER SLOTS, Redis 3.0 and later, with the metadata of 7.0. */
kw_err kw_topology_from_slots(kw_map **map, kw_error *error, const kw_allocator *mem,
                              const kw_reply *reply, const kw_endpoint *from,
                              const kw_map *previous);

/* CLUSTER SHARDS, Redis 7.0 and later. use_tls takes "tls-port" instead of "port". */
kw_err kw_topology_from_shards(kw_map **map, kw_error *error, const kw_allocator *mem,
                               const kw_reply *reply, const kw_endpoint *from,
                               const kw_map *previous, bool use_tls);

#endif

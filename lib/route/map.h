/* SPDX-License-Identifier: BSD-3-Clause */
/* Map: which node owns which slot; an immutable, shared snapshot. */
#ifndef ROUTE_MAP_H
#define ROUTE_MAP_H

#include <keyway/error.h>
#include <keyway/slot.h>

#include "base/endpoint.h"
#include "base/memory.h"
#include "route/node_set.h"
#include "route/ring.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KW_MAP_NODES_MAX ((size_t)2000)
#define KW_MAP_NO_SHARD  ((uint16_t)0xffff)

/* A primary and its replicas. Node numbers are indices of kw_map_node. */
typedef struct kw_map_shard {
    uint16_t primary;
    uint16_t replicas_n;
    uint32_t replicas_at; /* first of its replicas, for kw_map_replica */
} kw_map_shard;

/* What one node is. A node belongs to one shard, or to none. */
typedef struct kw_map_member {
    uint16_t shard; /* KW_MAP_NO_SHARD: none */
    bool is_primary;
    bool is_of_group; /* of a Sentinel group that is a ring's node */
    uint64_t id;      /* hash of a cluster node's own id, never 0; 0: not known */
    uint64_t zone; /* kw_bytes_id of its name, as the cluster says it; 0: it does not. Of no meaning
                      to kw_map_equal */
} kw_map_member;

typedef struct kw_map kw_map;

/* What a map is made of; borrowed. */
typedef struct kw_map_parts {
    const kw_node_set *set;
    const kw_map_member *members; /* one for each node; each shard has one primary */
    size_t shards_n;
    const uint16_t *slots;        /* KW_SLOTS_N shards or KW_MAP_NO_SHARD; NULL: one shard (the
                                     first) owns everything, or the ring says which one does,
                                     and the map is no cluster's */
    kw_ring *ring;                /* of as many nodes as there are shards, node i being shard
                                     i; NULL: none. The map takes a reference of its own */
    kw_ring *live;                /* the ring of some of its nodes that places keys instead, while
                                     others are ejected; NULL: ring. Referenced by the map, too */
    const unsigned char *is_down; /* one for each shard of a ring; NULL: none is */
    bool skips_down;              /* keys of a shard that is down go to the next one of their
                                     preference list */
} kw_map_parts;

/* Slots come in long runs of one owner: the end of the run of equal values that begins at
 * from, its last index and one, at most end. */
size_t kw_map_run_end(const uint16_t *slots, size_t from, size_t end);

/* Slots from .. end - 1 get one value. */
void kw_map_run_fill(uint16_t *slots, size_t from, size_t end, uint16_t value);

/* A map of the parts. Left out are, in a cluster, the shards that own no slot, and
 * always the nodes that belong to no shard that stays; the others keep their order, not
 * their numbers. KW_ERR_LIMIT where more than KW_MAP_NODES_MAX nodes stay, KW_ERR_NOMEM. */
kw_err kw_map_new(kw_map **map, const kw_allocator *mem, const kw_map_parts *parts);

/* A map of one server that owns every slot. NULL when there is no memory. */
kw_map *kw_map_new_single(const kw_allocator *mem, const kw_endpoint *server);

kw_map *kw_map_ref(kw_map *map);
void kw_map_unref(kw_map *map);

/* False for a map of one server: there, slots mean nothing to the server. */
bool kw_map_is_cluster(const kw_map *map);

size_t kw_map_nodes_n(const kw_map *map);
const kw_endpoint *kw_map_node(const kw_map *map, size_t node);        /* borrowed */
const kw_map_member *kw_map_member_at(const kw_map *map, size_t node); /* borrowed */
bool kw_map_find_node(const kw_map *map, size_t *node, const kw_endpoint *endpoint);

size_t kw_map_shards_n(const kw_map *map);
const kw_map_shard *kw_map_shard_at(const kw_map *map, size_t shard);              /* borrowed */
size_t kw_map_replica(const kw_map *map, const kw_map_shard *shard, size_t index); /* a node */

/* Shard that owns the slot, or KW_MAP_NO_SHARD for a hole and past the last slot. */
uint16_t kw_map_shard_of(const kw_map *map, unsigned slot);

/* Slots without an owner, and one run of them. */
typedef struct kw_map_hole {
    unsigned first;
    unsigned last;
    unsigned slots_n; /* in all; 0: every slot has an owner, and the two above say nothing */
} kw_map_hole;

/* The run is the one with the slot, where that has no owner, else the first. */
kw_map_hole kw_map_hole_at(const kw_map *map, unsigned slot);

/* That shard's primary; false where there is none. */
bool kw_map_owner_of(const kw_map *map, size_t *node, unsigned slot);

/* The ring of all shards; NULL where slots place keys. Borrowed. */
kw_ring *kw_map_ring(const kw_map *map);

/* A ring's shard for a position, which is kw_ring_hash_of a key: its owner, or where the map
 * skips those that are down the first of its preference list that is not. The owner where
 * all are down; KW_MAP_NO_SHARD where nobody owns anything. */
uint16_t kw_map_shard_at_position(const kw_map *map, uint64_t position);

/* kw_map_shard_at_position for a key. */
uint16_t kw_map_shard_of_key(const kw_map *map, kw_bytes key);

/* True for a shard that was down when the map was made. */
bool kw_map_is_down(const kw_map *map, size_t shard);

/* What the server said in MOVED: slot belongs to the primary at endpoint. Where
 * that primary is in the map already this is one atomic store into this map, seen
 * by all threads, and *patched becomes NULL. Otherwise *patched is a new map with
 * one more shard, for the caller to publish and to unref. The only change a published
 * map ever sees. A replica named by MOVED becomes the primary of a shard of its own,
 * its old primary keeps the other slots. The new map is without shards that own no
 * slot any more, so that no sequence of MOVED makes it grow without end: KW_ERR_LIMIT
 * past KW_MAP_NODES_MAX nodes. Numbers of nodes and shards differ between the maps.
 * KW_ERR_ARGUMENT for a slot past the last, KW_ERR_UNSUPPORTED for a map that is no
 * cluster's, KW_ERR_NOMEM. Several threads may patch one map; a patch that lands
 * while another thread copies the map may be missing in the copy, and the next MOVED
 * of that slot repeats it. */
kw_err kw_map_patch(kw_map *map, kw_map **patched, unsigned slot, const kw_endpoint *endpoint);

/* Whether two maps are of one cluster, by the ids of their nodes. */
typedef enum kw_kinship {
    KW_KINSHIP_UNKNOWN, /* one of them has no ids */
    KW_KINSHIP_COMMON,  /* a node is in both */
    KW_KINSHIP_NONE     /* nothing in common */
} kw_kinship;
kw_kinship kw_map_kinship(const kw_map *known, const kw_map *other);

/* True where a node of the map has this id. */
bool kw_map_has_id(const kw_map *map, uint64_t id);

/* Of a map that nobody else has seen yet: its ids tell nothing of who answers where. */
void kw_map_forget_ids(kw_map *map);

/* True where both name the same nodes, shards and owners, in whatever order. */
bool kw_map_equal(const kw_map *a, const kw_map *b);

#endif

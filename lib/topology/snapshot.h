/* SPDX-License-Identifier: BSD-3-Clause */
/* Snapshot: a map together with the nodes that it names; what a call routes by. */
#ifndef TOPOLOGY_SNAPSHOT_H
#define TOPOLOGY_SNAPSHOT_H

#include <keyway/command.h>

#include "engine/read_choice.h"
#include "net/node.h"
#include "route/map.h"

#include <stdatomic.h>

/* Immutable once made, but for the map's own patch of a slot; reference counted. */
typedef struct kw_snapshot {
    atomic_size_t refs;
    kw_allocator mem;
    kw_map *map;
    uint64_t number;  /* counts the handle's snapshots, from 1 */
    uint64_t made_ns; /* when it was published */
    size_t nodes_n;
    kw_node *nodes[]; /* by the map's numbers; a reference each */
} kw_snapshot;

/* Takes over the references to map and nodes (also when there is no memory: NULL). */
kw_snapshot *kw_snapshot_new(const kw_allocator *mem, kw_map *map, kw_node **nodes, size_t nodes_n);

static inline kw_snapshot *kw_snapshot_ref(kw_snapshot *snapshot)
{
    atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);
    return snapshot;
}

/* For kw_snapshot_unref alone: the last reference is gone. */
void kw_snapshot_free(kw_snapshot *snapshot);

static inline void kw_snapshot_unref(kw_snapshot *snapshot)
{
    if (snapshot != NULL &&
        atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel) == 1) {
        kw_snapshot_free(snapshot);
    }
}

/* The primary that owns the slot, borrowed from snapshot; NULL for a hole. */
static inline kw_node *kw_snapshot_owner(const kw_snapshot *snapshot, unsigned slot)
{
    size_t node;
    return kw_map_owner_of(snapshot->map, &node, slot) ? snapshot->nodes[node] : NULL;
}

/* The primary that has the keys at a position of the ring, borrowed; NULL: none. */
kw_node *kw_snapshot_at_position(const kw_snapshot *snapshot, uint64_t position);

/* True for a primary that was down when the map was made. */
bool kw_snapshot_is_down(const kw_snapshot *snapshot, const kw_node *node);

/* What a read may ask for. */
typedef struct kw_snapshot_read {
    kw_read_preference preference;
    uint64_t zone;  /* of KW_READ_OF_ZONE */
    kw_token after; /* what a replica is to have; size 0: nothing */
} kw_snapshot_read;

/* The one of a primary and its replicas that a read goes to, borrowed; NULL: nobody will
 * do. */
kw_node *kw_snapshot_reader(const kw_snapshot *snapshot, kw_node *primary, kw_snapshot_read read,
                            kw_random *random);

/* The one of a primary and its replicas where the user lacks a right without which none of the
 * replicas can be measured, borrowed; NULL: there is none. */
kw_node *kw_snapshot_refusing(const kw_snapshot *snapshot, kw_node *primary);

/* Some primary that serves slots: healthy if there is one; NULL where none is. */
kw_node *kw_snapshot_any(const kw_snapshot *snapshot, uint64_t random);

/* The node at the endpoint, borrowed; NULL where the map does not name it. */
kw_node *kw_snapshot_find(const kw_snapshot *snapshot, const kw_endpoint *endpoint);

#endif

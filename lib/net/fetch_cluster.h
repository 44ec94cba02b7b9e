/* SPDX-License-Identifier: BSD-3-Clause */
/* Fetch of a cluster's map: CLUSTER SLOTS, or CLUSTER SHARDS where that is refused, of one
 * node after the other. */
#ifndef NET_FETCH_CLUSTER_H
#define NET_FETCH_CLUSTER_H

#include "engine/map_trust.h"
#include "net/fetch.h"

typedef struct kw_fetch_cluster {
    kw_env *env;
    const kw_fetch_owner *owner;
    kw_random random;
    bool asks_info;     /* this fetch asks first whether anything has changed */
    uint64_t info_hash; /* of what was said right before the map in use was given; 0: not known */
    kw_map_trust trust;
    kw_map *held;         /* a map that is doubtful: a reference; NULL: none */
    kw_endpoint held_of;  /* who gave it */
    bool was_weighed;     /* the answer was a map, believed or not */
    kw_map_said answered; /* what CLUSTER INFO says beside the map that is being read */
} kw_fetch_cluster;

/* owner must outlive it. */
void kw_fetch_cluster_init(kw_fetch_cluster *self, kw_env *env, const kw_fetch_owner *owner);
void kw_fetch_cluster_fini(kw_fetch_cluster *self);

/* With a kw_fetch_cluster as its arg. */
extern const kw_fetch_way kw_fetch_cluster_way;

#endif

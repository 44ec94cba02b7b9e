/* SPDX-License-Identifier: BSD-3-Clause */
/* Ring state: who is in the ring of a handle. */
#ifndef TOPOLOGY_RING_STATE_H
#define TOPOLOGY_RING_STATE_H

#include "settings/options.h"
#include "net/node.h"
#include "route/map.h"

/* Replaced as a whole, with the topology's monitor for publishing, which guards it. */
typedef struct kw_ring_state {
    kw_ring_members ring_members; /* in no order that matters, all with names */
    kw_ring *ring;                /* of all of them, with their own weights */
    unsigned char *down;          /* one for each node of ring: 1 for one that is down */
    uint64_t commits_n;           /* changes of the members so far */
} kw_ring_state;

struct kw_topology;

/* A ring without nodes, of the placement that the options name: what hashes keys. NULL,
 * with an error. */
kw_ring *kw_ring_state_placement(const kw_options *options, const kw_allocator *mem,
                                 kw_error *error);

/* The members that the options name. NULL, with an error: KW_ERR_CONFIG, KW_ERR_NOMEM, ... */
kw_ring_state *kw_ring_state_new(const kw_options *options, kw_ring *placement,
                                 const kw_allocator *mem, kw_error *error);

/* Members as a change has made them, none down; takes over the reference to their ring, also
 * when there is no memory: NULL. */
kw_ring_state *kw_ring_state_of(const kw_ring_members *ring_members, kw_ring *ring,
                                const kw_allocator *mem);
void kw_ring_state_free(kw_ring_state *self, const kw_allocator *mem); /* NULL is allowed */

/* Publishes the map of the members. The topology's monitor for publishing is held, and self may
 * be another ring_state than the topology's own. */
kw_err kw_ring_state_publish(const kw_ring_state *self, struct kw_topology *topology,
                             kw_error *error);

/* What happens to members of the topology's own ring: one new map, if that is news. The monitor is
 * held. KW_ERR_ARGUMENT where there is no such member (any more), KW_ERR_NOMEM, with nothing
 * changed. */

/* The member at that server is down, or is not. */
kw_err kw_ring_state_set_down(struct kw_topology *topology, const kw_endpoint *server,
                              bool is_down);

/* The member at found->server has the replicas of found, as ROLE says; found has then the old
 * ones. KW_ERR_ARGUMENT also where the member has listed others itself; KW_ERR_CONFIG, with an
 * error, where one of them is another member's. */
kw_err kw_ring_state_set_replicas(struct kw_topology *topology, kw_error *error, kw_member *found,
                                  bool *has_news);

/* What the sentinels of a group say of it; replicas that are servers of the ring already are left
 * out. KW_ERR_CONFIG, with an error, where its primary is another member's. */
kw_err kw_ring_state_set_group(struct kw_topology *topology, kw_error *error,
                               const kw_member *group, const kw_map *map, bool *has_news);

/* Copies what is known of groups (primary, replicas) from from into self, for groups that are in
 * both. KW_ERR_NOMEM. */
kw_err kw_ring_state_take_groups(kw_ring_state *self, const kw_ring_state *from,
                                 const kw_allocator *mem);

/* Marks servers of self as down that are down in from, which self is a change of. */
void kw_ring_state_take_down(kw_ring_state *self, const kw_ring_state *from);

#endif

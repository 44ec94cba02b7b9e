/* SPDX-License-Identifier: BSD-3-Clause */
/* Sentinel groups: nodes of a ring that are Sentinel groups, for the refresher, of which arg is the
 * topology. */
#ifndef TOPOLOGY_SENTINEL_GROUPS_H
#define TOPOLOGY_SENTINEL_GROUPS_H

#include "topology/first_map.h"

/* The members of the ring may have changed: asks the refresher for the groups among them. */
void kw_sentinel_groups_begin(kw_topology *topology);

/* Waits until the sentinels of every group in the snapshot have been asked; *snapshot may be
 * another one then. */
kw_err kw_sentinel_groups_need(kw_topology *topology, kw_snapshot **snapshot, kw_error *error,
                               kw_map_wait wait);

/* groups_fn, found_fn and lost_fn of kw_fetch_owner. */
kw_err kw_sentinel_groups_list(void *arg, kw_ring_members *groups, uint64_t *version);
void kw_sentinel_groups_found(void *arg, bool *has_news, const kw_member *group, const kw_map *map);
void kw_sentinel_groups_lost(void *arg, const kw_member *group, const kw_error *failure);

/* publish_fn of a ring: does nothing, as each group's map was taken by found. */
kw_err kw_sentinel_groups_publish(void *arg, bool *has_news, kw_map *map);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Plan on a ring: which nodes own the keys of one command. */
#ifndef DRIVE_PLAN_RING_H
#define DRIVE_PLAN_RING_H

#include "drive/plan.h"
#include "route/split.h"

/* KW_ERR_REFUSED where each key has several copies, which a command on one would leave
 * apart. */
kw_err kw_plan_ring_check(const kw_topology *topology, kw_error *error);

/* To the owner of one key. */
void kw_plan_ring_key(kw_plan *plan, const kw_topology *topology, kw_bytes key);

/* To the owner of all the keys, of which there is at least one. Where they have several:
 * to each its own (KW_PLAN_SPLIT) if may_split, else KW_ERR_CROSSSLOT, with an error that
 * names two keys and their nodes. KW_ERR_NOMEM. */
kw_err kw_plan_ring_keys(kw_plan *plan, kw_topology *topology, kw_error *error, const kw_keys *keys,
                         bool may_split);

/* To a node that any would do for, near the key: the first of its preference list that has
 * no more than its share of such calls (kw_ring_lookup_bounded). KW_ERR_NOMEM. */
kw_err kw_plan_ring_near(kw_plan *plan, kw_topology *topology, kw_error *error, kw_bytes key);

/* Parts of a split command: keys of one owner by the snapshot, which is borrowed. */
kw_split_groups kw_plan_ring_groups(const kw_snapshot *snapshot);

/* To the owner of one part's keys by the snapshot of that number, and by no later one. */
void kw_plan_ring_part(kw_plan *plan, const kw_topology *topology, uint64_t snapshot_n,
                       const kw_split *split, const kw_split_part *part);

/* True where the ring has changed since the plan was made, so that its keys have different
 * owners now. */
static inline bool kw_plan_is_stale_split(const kw_plan *plan)
{
    const kw_ring_positions *positions = kw_plan_positions(plan);
    return positions != NULL && positions->is_stale_split;
}

#endif

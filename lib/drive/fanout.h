/* SPDX-License-Identifier: BSD-3-Clause */
/* Fan-out: a call that becomes many commands, split over slots or sent to many nodes. */
#ifndef DRIVE_FANOUT_H
#define DRIVE_FANOUT_H

#include "drive/pipeline.h"
#include "route/split.h"

typedef struct kw_fanout {
    const kw_allocator *mem; /* borrowed; it may outlive the topology */
    kw_topology *topology;
    const kw_plan *plan; /* borrowed */
    kw_item *items;      /* for a pipeline; each has ended before finish */
    size_t items_n;
    bool is_split;
    uint64_t snapshot_n; /* of a ring: of the snapshot that the keys were split by */
    kw_split split;
    kw_buf encoded; /* of split parts, one behind the other */
} kw_fanout;

/* plan and mem are borrowed until kw_fanout_fini, which does not touch the topology. */
void kw_fanout_init(kw_fanout *self, kw_topology *topology, const kw_plan *plan,
                    const kw_allocator *mem);

/* Items: one command a slot, for a plan of kind SPLIT. argv is borrowed until kw_fanout_fini, which
 * follows success only. */
kw_err kw_fanout_split(kw_fanout *self, kw_error *error, const kw_bytes *argv, size_t argc);

/* Items: one command a node, for a plan of kind ALL_PRIMARIES or ALL_NODES. encoded is borrowed.
 * Waits for a first map, where there is none. */
kw_err kw_fanout_visit(kw_fanout *self, kw_error *error, kw_bytes encoded);

/* The one reply, joined in the order of the keys or combined by the command's policy; NULL
 * with error set. */
kw_reply *kw_fanout_finish(kw_fanout *self, kw_error *error);

void kw_fanout_fini(kw_fanout *self);

#endif

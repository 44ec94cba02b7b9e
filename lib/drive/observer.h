/* SPDX-License-Identifier: BSD-3-Clause */
/* Observer: watches over tries and ends of calls, where somebody measures them or asks for slow
 * ones. Reached through a table, which those who want it fill in: other programs do not carry it.
 */
#ifndef DRIVE_OBSERVER_H
#define DRIVE_OBSERVER_H

#include "drive/plan.h"
#include "topology/topology.h"

/* The tries of one call that may be told of later: a block of memory. */
typedef struct kw_story kw_story;

/* A try that has ended. */
typedef struct kw_seen_try {
    const kw_plan *plan;
    kw_node *node;         /* NULL: none could be chosen */
    uint64_t sent_ns;      /* handed to a connection; 0: it was not */
    uint64_t now_ns;       /* it ended */
    const kw_reply *reply; /* NULL: none */
    kw_err code;           /* why there is none */
} kw_seen_try;

/* A call that has ended. */
typedef struct kw_seen_end {
    const kw_plan *plan;
    uint64_t now_ns;
    kw_err code; /* KW_OK: it has a reply */
    kw_effect effect;
} kw_seen_end;

typedef struct kw_observer {
    void (*on_try)(kw_topology *topology, kw_story **story, const kw_seen_try *seen);
    void (*on_end)(kw_topology *topology, const kw_story *story, const kw_seen_end *seen);
} kw_observer;

/* The only one there is. */
const kw_observer *kw_observer_get(void);

/* Shows a try, and an end, to whoever watches; the end frees the story. */
void kw_observer_show_try(kw_topology *topology, kw_story **story, const kw_seen_try *seen);
void kw_observer_show_end(kw_topology *topology, kw_story **story, const kw_seen_end *seen);

/* Commands for each slot of a cluster. */
typedef struct kw_heat {
    atomic_uint_fast64_t slots[KW_SLOTS_N];
} kw_heat;

#endif

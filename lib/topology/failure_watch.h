/* SPDX-License-Identifier: BSD-3-Clause */
/* Failure watch: notices which nodes of a ring are down, and when they are back, in the time of
 * callers who pass by. */
#ifndef TOPOLOGY_FAILURE_WATCH_H
#define TOPOLOGY_FAILURE_WATCH_H

#include "base/random.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct kw_topology;

/* Part of a handle; zero is a new one. */
typedef struct kw_failure_watch {
    atomic_uint_fast64_t looked_ns; /* when somebody did last */
    atomic_bool is_taken;           /* one thread at a time looks after the nodes */
    kw_random random;               /* of that thread */
    atomic_uint_fast64_t downs_n;
    atomic_uint_fast64_t ups_n;
} kw_failure_watch;

/* Does what is due; cheap where nothing is. Never waits. */
void kw_failure_watch_tend(struct kw_topology *topology, uint64_t now_ns);

/* For a call that may wait, before it chooses its node: where callers are rare, so that
 * probes would take many of them, goes on with what is due for some milliseconds. */
void kw_failure_watch_help(struct kw_topology *topology);

#endif

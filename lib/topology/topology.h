/* SPDX-License-Identifier: BSD-3-Clause */
/* Topology: who is where. The published snapshot of map and nodes, and all that keeps it right:
 * the refresher, the ring's state, Sentinel groups, the failure watch, the lag of replicas. It
 * owns settings, clock, allocator and fork guard of a handle, and knows nothing of calls. */
#ifndef TOPOLOGY_TOPOLOGY_H
#define TOPOLOGY_TOPOLOGY_H

#include "net/fork.h"
#include "net/refresher.h"
#include "settings/host.h"
#include "topology/command_cache.h"
#include "topology/failure_watch.h"
#include "topology/pool_keeper.h"
#include "topology/ring_state.h"
#include "topology/snapshot.h"
#include "topology/write_stamps.h"

#include <stdatomic.h>

struct kw_heat;
struct kw_observer;

/* Nodes that a redirect named and no map does (a new one that gets its first slots). */
#define KW_TOPOLOGY_EXTRAS_MAX 16

/* Codes have numbers from 0 down to this one, and effects up to that one. */
#define KW_COUNTED_CODES_N   64
#define KW_COUNTED_EFFECTS_N 3

/* Calls of one handle, as kw_stats has them. */
typedef struct kw_call_counts {
    atomic_uint_fast64_t commands;
    atomic_uint_fast64_t failures;
} kw_call_counts;

/* Commands that ended, and how many of them without a reply. */
static inline void kw_call_counts_add(kw_call_counts *counts, uint64_t commands_n,
                                      uint64_t failures_n)
{
    atomic_fetch_add_explicit(&counts->commands, commands_n, memory_order_relaxed);
    if (failures_n > 0) {
        atomic_fetch_add_explicit(&counts->failures, failures_n, memory_order_relaxed);
    }
}

/* Counts of all handles of a topology, as kw_stats has them. */
typedef struct kw_counters {
    kw_call_counts calls; /* of nobody's handle: a cache's */
    atomic_uint_fast64_t failed[KW_COUNTED_CODES_N][KW_COUNTED_EFFECTS_N]; /* by -code, effect */
    atomic_uint_fast64_t moved;
    atomic_uint_fast64_t ask;
    atomic_uint_fast64_t waits;
    atomic_uint_fast64_t retries;
    atomic_uint_fast64_t timeouts;
    atomic_uint_fast64_t map_changes;
} kw_counters;

typedef struct kw_topology {
    atomic_size_t refs;
    atomic_size_t handles_n; /* that are open */
    _Atomic(pid_t) reopener; /* the process that starts anew in its first call, or 0 */
    kw_env env;
    kw_fork fork;
    bool is_bare;          /* a forked child had no memory to start anew: only settings are there */
    kw_map *told_map;      /* of which the host was told last; the teller's; NULL: none yet */
    kw_leader teller;      /* a thread tells the host of events */
    kw_monitor publishing; /* one publisher at a time; taken before monitor */
    kw_monitor monitor;    /* guards snapshot, seeds, extras */
    kw_snapshot *snapshot; /* NULL: no map yet */
    uint64_t patches_n;    /* of a map in its place; guarded by publishing */
    kw_node **seeds;       /* options.seeds_n of them; NULL until needed */
    atomic_bool is_handed_over; /* one server: it is in use that the first one has named */
    kw_node *extras[KW_TOPOLOGY_EXTRAS_MAX];
    size_t extra_at; /* the entry to be replaced next */
    kw_refresher refresher;
    atomic_uint_fast64_t sweep_ns;  /* when idle connections are looked for next */
    kw_ring *placement;             /* of a ring: what hashes keys; never changes. Else NULL */
    kw_ring_state *ring_state;      /* of a ring, guarded by publishing. Else NULL */
    kw_failure_watch failure_watch; /* of a ring */
    kw_leader lag_leader;           /* one thread at a time measures replicas */
    kw_leader keeper_leader;        /* one thread at a time makes connections ahead of need */
    kw_pool_keeper *pool_keeper;    /* that thread's; NULL: nothing was to be kept yet */
    kw_command_cache command_cache;
    kw_counters counters;
    _Atomic(const struct kw_observer *) observer; /* of tries and ends of calls; NULL: none */
    atomic_uint measures;                         /* KW_MEASURE_...: what is measured now */
    _Atomic(kw_write_stamps *) write_stamps;      /* NULL: no values are kept near */
    _Atomic(struct kw_heat *) heat;               /* NULL: never measured */
    kw_slow_call_fn slow;                         /* the host's; NULL: none */
    void *slow_arg;
} kw_topology;

/* A topology of checked options, with one reference; the map of one server, or of a ring, is
 * published at once, any other is fetched when it is needed. NULL, with error set. */
kw_topology *kw_topology_new(const kw_options *options, const kw_host *host, kw_error *error);

static inline kw_topology *kw_topology_ref(kw_topology *topology)
{
    atomic_fetch_add_explicit(&topology->refs, 1, memory_order_relaxed);
    return topology;
}

/* NULL is allowed. The last reference frees it: nobody is inside any more. In a forked child
 * kw_topology_close_in_child comes first. */
void kw_topology_unref(kw_topology *topology);

/* In a forked child, before anything else: closes the parent's sockets without a word. */
void kw_topology_close_in_child(kw_topology *topology);

/* Starts anew in a forked child. is_trusted: no thread of the parent was inside, so that what
 * it left can be freed; else it is left alone. Failure: KW_ERR_NOMEM; then nothing is there but
 * settings, and the next try starts from there. */
kw_err kw_topology_reopen(kw_topology *topology, bool is_trusted);

/* Wakes everybody who waits inside. kw_close calls it again and again, until all have left. */
void kw_topology_wake_all(kw_topology *topology);

/* A reference to the snapshot in use; NULL: no map yet. */
kw_snapshot *kw_topology_snapshot(kw_topology *topology);

/* The primary that has the key by a snapshot; NULL: none has. */
kw_node *kw_topology_owner_in(const kw_topology *topology, const kw_snapshot *snapshot,
                              kw_bytes key);

/* Likewise by the snapshot in use, with a reference; NULL: none is known. */
kw_node *kw_topology_owner_of(kw_topology *topology, kw_bytes key);

/* A command ended without a reply. */
void kw_topology_count_failure(kw_topology *topology, kw_err code, kw_effect effect);

/* Whoever watches over tries and ends of calls; NULL: nobody. */
static inline const struct kw_observer *kw_topology_observer(kw_topology *topology)
{
    return atomic_load_explicit(&topology->observer, memory_order_acquire);
}

/* Commands that ended, of nobody's handle, and how many of them without a reply. */
static inline void kw_topology_count(kw_topology *topology, uint64_t commands_n,
                                     uint64_t failures_n)
{
    kw_call_counts_add(&topology->counters.calls, commands_n, failures_n);
}

/* Tells the host's log and event callback; with no lock held. event->size is set here. */
void kw_topology_tell(kw_topology *topology, kw_event *event);

/* True where nodes are to be looked at some time, since one has failed. */
static inline bool kw_topology_is_watching(const kw_topology *topology)
{
    return atomic_load_explicit(&topology->env.failure_watch_ns, memory_order_relaxed) !=
           UINT64_MAX;
}

/* True where a ring places keys. */
static inline bool kw_topology_is_ring(const kw_topology *topology)
{
    return topology->env.options.scheme == KW_SCHEME_RING;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Failure watch: notices which servers are down, and when they are back, inside the calls of
 * the host: the library has no thread. */
#ifndef TOPOLOGY_FAILURE_WATCH_H
#define TOPOLOGY_FAILURE_WATCH_H

#include "base/random.h"
#include "net/leader.h"
#include "net/node.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct kw_topology;

/* Part of a handle; zero is a new one. */
typedef struct kw_failure_watch {
    atomic_uint_fast64_t looked_ns;  /* when the nodes were looked at last */
    atomic_uint_fast64_t refused_ns; /* when a call was turned away last, as its node is down, .. */
    atomic_uint_fast64_t alone_ns;   /* .. and one before which none was for long */
    kw_leader watcher;               /* looks at all nodes; one thread at a time */
    kw_random random;                /* used by that thread alone */
    atomic_uint_fast64_t downs_n;    /* nodes that went down, .. */
    atomic_uint_fast64_t ups_n;      /* .. and that came back, since the start */
    atomic_bool has_asked;           /* the servers were asked for election_ns */
    atomic_uint_fast64_t election_ns; /* how long the servers may take to replace a primary */
} kw_failure_watch;

/* Does what is due; cheap where nothing is. Never waits. */
void kw_failure_watch_tend(struct kw_topology *topology, uint64_t now_ns);

/* What becomes of a call to the node, which may be down; KW_ADMITTED_SOON: not before *until_ns.
 * Never waits. Any thread. */
kw_admission kw_failure_watch_admit(struct kw_topology *topology, kw_node *node, uint64_t now_ns,
                                    uint64_t *until_ns);

/* What becomes of a call that is about to wait for the node until *until_ns: KW_ADMITTED_NOT, an
 * error at once; else it waits, no longer than until that may have changed. */
kw_admission kw_failure_watch_check(struct kw_topology *topology, kw_node *node, uint64_t now_ns,
                                    uint64_t *until_ns);

/* A call is turned away, as its node is down: true where none was for long, so that nobody else
 * stays for the map that may name another node. Any thread. */
bool kw_failure_watch_is_alone(struct kw_topology *topology, uint64_t now_ns);

/* For the refresher, of which arg is the topology: what servers wait before they call a primary
 * down; 0: they do not say. */
void kw_failure_watch_take_timeout(void *arg, uint64_t timeout_ms);

/* For a call that may wait until its deadline, before it chooses its node: where calls are rare, a
 * probe would take several of them to be answered, so this one gives it some milliseconds, a small
 * part of its own time. */
void kw_failure_watch_help(struct kw_topology *topology, uint64_t deadline_ns);

#endif

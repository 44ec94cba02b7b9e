/* SPDX-License-Identifier: BSD-3-Clause */
/* Node faults: what fails at a server, counted by all threads, and what calls are to know of one
 * that is down. The failure watch decides by it (topology/failure_watch.h). */
#ifndef NET_NODE_FAULTS_H
#define NET_NODE_FAULTS_H

#include "engine/failure_detector.h"
#include "net/env.h"

#include <stdatomic.h>

/* Any thread; is_down and what follows are written by the failure watch, is_probed and probe_ns by
 * all. */
typedef struct kw_node_faults {
    atomic_uint_fast64_t n;        /* failures in a row, of any connection */
    atomic_uint_fast64_t since_ns; /* the first of them */
    atomic_uint_fast64_t last_ns;
    atomic_int kind;               /* of the last: kw_fault_kind */
    atomic_bool is_proven;         /* one of them is more than a late command */
    atomic_bool is_probed;         /* by a connect that is under way */
    atomic_uint_fast64_t probe_ns; /* when it was tried last */
    atomic_bool is_down;
    atomic_uint_fast64_t down_since_ns; /* while down; 0: it is not */
    atomic_uint_fast64_t down_total_ns; /* of earlier times */
    atomic_uint_fast64_t due_ns;        /* when it may be found to be down; 0: not known */
    atomic_uint_fast64_t hopeless_ns;   /* while down: until then another may take its place */
    atomic_uint_fast64_t sign_ns;       /* a probe's answer is expected by then; 0: none is */
} kw_node_faults;

void kw_node_faults_init(kw_node_faults *faults);

/* A try failed. */
void kw_node_faults_add(kw_node_faults *faults, kw_env *env, uint64_t now_ns, kw_fault_kind kind);

/* The server has answered: it is not down, unless its return is to be proven first
 * (on-node-down=next, eject). */
void kw_node_faults_clear(kw_node_faults *faults, kw_env *env);

/* A connect was given up, which is no failure: one that is down may be dialled by its probe now. */
void kw_node_faults_on_abandoned(kw_node_faults *faults, kw_env *env);

/* What has failed so far. */
kw_faults kw_node_faults_read(kw_node_faults *faults);

/* What becomes of a call to a server that is down. KW_ADMITTED_AS_PROBE is said to one of them. */
kw_admission kw_node_faults_admit(kw_node_faults *faults, uint64_t now_ns);

/* When the server was tried last. */
static inline uint64_t kw_node_faults_probe_ns(kw_node_faults *faults)
{
    return atomic_load_explicit(&faults->probe_ns, memory_order_relaxed);
}

/* The server is tried now; the end is told by one of add and clear. */
static inline void kw_node_faults_on_probe(kw_node_faults *faults, uint64_t now_ns)
{
    atomic_store_explicit(&faults->probe_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&faults->is_probed, true, memory_order_relaxed);
}

/* It is down from now on, or not any more. True where that is news. */
bool kw_node_faults_set_down(kw_node_faults *faults, const kw_env *env, bool is_down);

static inline bool kw_node_faults_is_down(kw_node_faults *faults)
{
    return atomic_load_explicit(&faults->is_down, memory_order_relaxed);
}

#endif

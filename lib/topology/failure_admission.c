/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether a call goes to a server that may be down, waits for it, or fails at once. */
#include "topology/failure_watch.h"

#include "topology/topology.h"

/* A call to a server whose probe is about to be answered asks again after this. */
#define SOON_NS (2 * KW_NS_PER_MS)

/* Calls that are turned away so far apart leave a fetch of the map alone between them: each would
 * take it one step on. */
#define APART_NS (500 * KW_NS_PER_MS)

bool kw_failure_watch_is_alone(kw_topology *topology, uint64_t now_ns)
{
    kw_failure_watch *self = &topology->failure_watch;
    uint64_t before_ns = atomic_exchange_explicit(&self->refused_ns, now_ns, memory_order_relaxed);
    if (now_ns >= before_ns + APART_NS) {
        atomic_store_explicit(&self->alone_ns, now_ns, memory_order_relaxed);
        return true;
    }
    /* Or it came together with that one. */
    return atomic_load_explicit(&self->alone_ns, memory_order_relaxed) == now_ns;
}

kw_admission kw_failure_watch_admit(kw_topology *topology, kw_node *node, uint64_t now_ns,
                                    uint64_t *until_ns)
{
    *until_ns = now_ns + SOON_NS;
    if (topology->env.options.on_node_down == KW_NODE_DOWN_WAIT ||
        !kw_node_faults_is_down(&node->faults)) {
        return KW_ADMITTED;
    }
    kw_admission admission = kw_node_faults_admit(&node->faults, now_ns);
    if (admission != KW_ADMITTED_AS_PROBE) {
        kw_failure_watch_tend(topology, now_ns); /* its probe may be answered by now */
        if (!kw_node_faults_is_down(&node->faults)) {
            return KW_ADMITTED;
        }
        admission = kw_node_faults_admit(&node->faults, now_ns);
    }
    if (admission == KW_ADMITTED_AS_PROBE) {
        kw_node_hasten(node);
    }
    return admission;
}

kw_admission kw_failure_watch_check(kw_topology *topology, kw_node *node, uint64_t now_ns,
                                    uint64_t *until_ns)
{
    if (topology->env.options.on_node_down == KW_NODE_DOWN_WAIT) {
        return KW_ADMITTED;
    }
    kw_failure_watch_tend(topology, now_ns); /* what has just failed is weighed */
    bool is_down = kw_node_faults_is_down(&node->faults);
    uint64_t end_ns = atomic_load_explicit(
        is_down ? &node->faults.hopeless_ns : &node->faults.due_ns, memory_order_relaxed);
    if (is_down && now_ns >= end_ns) {
        return KW_ADMITTED_NOT;
    }
    if (end_ns > now_ns && end_ns < *until_ns) {
        *until_ns = end_ns;
    }
    return KW_ADMITTED;
}

void kw_failure_watch_take_timeout(void *arg, uint64_t timeout_ms)
{
    kw_topology *topology = arg;
    bool is_cluster = topology->env.options.scheme == KW_SCHEME_CLUSTER;
    atomic_store_explicit(&topology->failure_watch.has_asked, true, memory_order_relaxed);
    if (timeout_ms > 0) {
        atomic_store_explicit(&topology->failure_watch.election_ns,
                              kw_failure_election_ns(is_cluster, timeout_ms), memory_order_relaxed);
        atomic_store_explicit(&topology->env.failure_watch_ns, 0, memory_order_release);
    }
}

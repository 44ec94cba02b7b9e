/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds nodes by their endpoints, and makes those that are not known yet. */
#include "topology/node_registry.h"

/* The seeds' nodes, made at first use; the monitor is held. */
static bool need_seeds(kw_topology *topology)
{
    if (topology->seeds != NULL) {
        return true;
    }
    size_t n = topology->env.options.seeds_n;
    kw_node **seeds = kw_mem_calloc(&topology->env.mem, n, sizeof(seeds[0]));
    bool is_whole = seeds != NULL;
    for (size_t i = 0; is_whole && i < n; i++) {
        seeds[i] = kw_node_new(&topology->env, &topology->env.options.seeds[i]);
        is_whole = seeds[i] != NULL;
    }
    if (!is_whole) {
        for (size_t i = 0; seeds != NULL && i < n; i++) {
            kw_node_unref(seeds[i]);
        }
        kw_mem_free(&topology->env.mem, seeds);
        return false;
    }
    topology->seeds = seeds;
    return true;
}

kw_node *kw_node_registry_find(const kw_topology *topology, const kw_endpoint *endpoint)
{
    kw_node *node =
        topology->snapshot != NULL ? kw_snapshot_find(topology->snapshot, endpoint) : NULL;
    for (size_t i = 0; node == NULL && topology->seeds != NULL && i < topology->env.options.seeds_n;
         i++) {
        if (kw_endpoint_equal(&topology->seeds[i]->endpoint, endpoint)) {
            node = topology->seeds[i];
        }
    }
    for (size_t i = 0; node == NULL && i < KW_TOPOLOGY_EXTRAS_MAX; i++) {
        if (topology->extras[i] != NULL &&
            kw_endpoint_equal(&topology->extras[i]->endpoint, endpoint)) {
            node = topology->extras[i];
        }
    }
    return node;
}

kw_node *kw_topology_known_node(kw_topology *topology, const kw_endpoint *endpoint)
{
    kw_monitor_lock(&topology->monitor);
    kw_node *node = kw_node_registry_find(topology, endpoint);
    node = node != NULL ? kw_node_ref(node) : NULL;
    kw_monitor_unlock(&topology->monitor);
    return node;
}

kw_node *kw_topology_node(kw_topology *topology, const kw_endpoint *endpoint)
{
    kw_node *replaced = NULL;
    bool is_in_map = false; /* a slot has moved to it meanwhile */
    kw_monitor_lock(&topology->monitor);
    kw_node *node = kw_node_registry_find(topology, endpoint);
    if (node != NULL) {
        node = kw_node_ref(node);
        if (topology->snapshot == NULL || kw_snapshot_find(topology->snapshot, endpoint) == NULL) {
            kw_node_set_id(node, 0); /* who is there now was not said */
        }
    } else {
        node = kw_node_new(&topology->env, endpoint);
        if (node != NULL && topology->env.options.scheme == KW_SCHEME_SENTINEL) {
            kw_node_set_role(node, KW_CONN_PRIMARY); /* it was named as such */
        }
        if (node != NULL && topology->env.options.scheme == KW_SCHEME_RING) {
            kw_node_set_role(node, KW_CONN_GROUP_PRIMARY); /* nobody else is named on a ring */
        }
        if (node != NULL) {
            replaced = topology->extras[topology->extra_at];
            is_in_map = replaced != NULL && topology->snapshot != NULL &&
                        kw_snapshot_find(topology->snapshot, &replaced->endpoint) == replaced;
            topology->extras[topology->extra_at] = kw_node_ref(node);
            topology->extra_at = (topology->extra_at + 1) % KW_TOPOLOGY_EXTRAS_MAX;
        }
    }
    kw_monitor_unlock(&topology->monitor);
    if (replaced != NULL && !is_in_map) {
        kw_node_retire(replaced);
    }
    kw_node_unref(replaced);
    return node;
}

kw_node *kw_node_registry_node(void *arg, const kw_endpoint *endpoint)
{
    return kw_topology_node(arg, endpoint);
}

kw_node *kw_node_registry_known(void *arg, const kw_endpoint *endpoint)
{
    return kw_topology_known_node(arg, endpoint);
}

size_t kw_node_registry_candidates(void *arg, kw_node **nodes, bool *is_seed, size_t max)
{
    kw_topology *topology = arg;
    size_t n = 0;
    kw_monitor_lock(&topology->monitor);
    bool has_seeds = need_seeds(topology);
    size_t seeds_n = has_seeds ? topology->env.options.seeds_n : 0;
    size_t seeds_room = seeds_n < max / 2 ? seeds_n : max / 2;
    size_t known_n = topology->snapshot != NULL ? topology->snapshot->nodes_n : 0;
    uint64_t start = kw_env_seed(&topology->env) >> 32;
    for (size_t i = 0; i < known_n && n < max - seeds_room; i++) {
        nodes[n] = kw_node_ref(topology->snapshot->nodes[(start + i) % known_n]);
        is_seed[n++] = false;
    }
    for (size_t i = 0; i < seeds_n && n < max; i++) {
        nodes[n] = kw_node_ref(topology->seeds[(start + i) % seeds_n]);
        is_seed[n++] = true;
    }
    kw_monitor_unlock(&topology->monitor);
    return n;
}

void kw_node_registry_sweep(kw_topology *topology, uint64_t now_ns)
{
    uint64_t due_ns = atomic_load_explicit(&topology->sweep_ns, memory_order_relaxed);
    uint64_t next_ns = now_ns + topology->env.options.pool_idle_ms * KW_NS_PER_MS / 2;
    if (now_ns < due_ns || !atomic_compare_exchange_strong(&topology->sweep_ns, &due_ns, next_ns)) {
        return;
    }
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    for (size_t i = 0; snapshot != NULL && i < snapshot->nodes_n; i++) {
        kw_node_sweep(snapshot->nodes[i], now_ns);
    }
    kw_snapshot_unref(snapshot);
    kw_node *extras[KW_TOPOLOGY_EXTRAS_MAX];
    kw_monitor_lock(&topology->monitor);
    kw_node **seeds = topology->seeds; /* once made, they stay */
    for (size_t i = 0; i < KW_TOPOLOGY_EXTRAS_MAX; i++) {
        extras[i] = topology->extras[i] != NULL ? kw_node_ref(topology->extras[i]) : NULL;
    }
    kw_monitor_unlock(&topology->monitor);
    for (size_t i = 0; seeds != NULL && i < topology->env.options.seeds_n; i++) {
        kw_node_sweep(seeds[i], now_ns);
    }
    for (size_t i = 0; i < KW_TOPOLOGY_EXTRAS_MAX; i++) {
        if (extras[i] != NULL) {
            kw_node_sweep(extras[i], now_ns);
            kw_node_unref(extras[i]);
        }
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "topology/node_registry.h"

/* The seeds' nodes, made at first use; the monitor is held. */
static bool need_seeds(kw_client *client)
{
    if (client->seeds != NULL) {
        return true;
    }
    size_t n = client->env.options.seeds_n;
    kw_node **seeds = kw_mem_calloc(&client->env.mem, n, sizeof(seeds[0]));
    bool is_whole = seeds != NULL;
    for (size_t i = 0; is_whole && i < n; i++) {
        seeds[i] = kw_node_new(&client->env, &client->env.options.seeds[i]);
        is_whole = seeds[i] != NULL;
    }
    if (!is_whole) {
        for (size_t i = 0; seeds != NULL && i < n; i++) {
            kw_node_unref(seeds[i]);
        }
        kw_mem_free(&client->env.mem, seeds);
        return false;
    }
    client->seeds = seeds;
    return true;
}

kw_node *kw_node_registry_find(const kw_client *client, const kw_endpoint *endpoint)
{
    kw_node *node = client->snapshot != NULL ? kw_snapshot_find(client->snapshot, endpoint) : NULL;
    for (size_t i = 0; node == NULL && client->seeds != NULL && i < client->env.options.seeds_n;
         i++) {
        if (kw_endpoint_equal(&client->seeds[i]->endpoint, endpoint)) {
            node = client->seeds[i];
        }
    }
    for (size_t i = 0; node == NULL && i < KW_CLIENT_EXTRAS_MAX; i++) {
        if (client->extras[i] != NULL &&
            kw_endpoint_equal(&client->extras[i]->endpoint, endpoint)) {
            node = client->extras[i];
        }
    }
    return node;
}

kw_node *kw_client_known_node(kw_client *client, const kw_endpoint *endpoint)
{
    kw_monitor_lock(&client->monitor);
    kw_node *node = kw_node_registry_find(client, endpoint);
    node = node != NULL ? kw_node_ref(node) : NULL;
    kw_monitor_unlock(&client->monitor);
    return node;
}

kw_node *kw_client_node(kw_client *client, const kw_endpoint *endpoint)
{
    kw_node *replaced = NULL;
    bool is_in_map = false; /* a slot has moved to it meanwhile */
    kw_monitor_lock(&client->monitor);
    kw_node *node = kw_node_registry_find(client, endpoint);
    if (node != NULL) {
        node = kw_node_ref(node);
    } else {
        node = kw_node_new(&client->env, endpoint);
        if (node != NULL && client->env.options.scheme == KW_SCHEME_SENTINEL) {
            kw_node_set_role(node, KW_CONN_PRIMARY); /* it was named as such */
        }
        if (node != NULL && client->env.options.scheme == KW_SCHEME_RING) {
            kw_node_set_role(node, KW_CONN_GROUP_PRIMARY); /* nobody else is named on a ring */
        }
        if (node != NULL) {
            replaced = client->extras[client->extra_at];
            is_in_map = replaced != NULL && client->snapshot != NULL &&
                        kw_snapshot_find(client->snapshot, &replaced->endpoint) == replaced;
            client->extras[client->extra_at] = kw_node_ref(node);
            client->extra_at = (client->extra_at + 1) % KW_CLIENT_EXTRAS_MAX;
        }
    }
    kw_monitor_unlock(&client->monitor);
    if (replaced != NULL && !is_in_map) {
        kw_node_retire(replaced);
    }
    kw_node_unref(replaced);
    return node;
}

kw_node *kw_node_registry_node(void *arg, const kw_endpoint *endpoint)
{
    return kw_client_node(arg, endpoint);
}

size_t kw_node_registry_candidates(void *arg, kw_node **nodes, bool *is_seed, size_t max)
{
    kw_client *client = arg;
    size_t n = 0;
    kw_monitor_lock(&client->monitor);
    bool has_seeds = need_seeds(client);
    size_t seeds_n = has_seeds ? client->env.options.seeds_n : 0;
    size_t seeds_room = seeds_n < max / 2 ? seeds_n : max / 2;
    size_t known_n = client->snapshot != NULL ? client->snapshot->nodes_n : 0;
    uint64_t start = kw_env_seed(&client->env) >> 32;
    for (size_t i = 0; i < known_n && n < max - seeds_room; i++) {
        nodes[n] = kw_node_ref(client->snapshot->nodes[(start + i) % known_n]);
        is_seed[n++] = false;
    }
    for (size_t i = 0; i < seeds_n && n < max; i++) {
        nodes[n] = kw_node_ref(client->seeds[(start + i) % seeds_n]);
        is_seed[n++] = true;
    }
    kw_monitor_unlock(&client->monitor);
    return n;
}

void kw_node_registry_sweep(kw_client *client, uint64_t now_ns)
{
    uint64_t due_ns = atomic_load_explicit(&client->sweep_ns, memory_order_relaxed);
    uint64_t next_ns = now_ns + client->env.options.pool_idle_ms * KW_NS_PER_MS / 2;
    if (now_ns < due_ns || !atomic_compare_exchange_strong(&client->sweep_ns, &due_ns, next_ns)) {
        return;
    }
    kw_snapshot *snapshot = kw_client_snapshot(client);
    for (size_t i = 0; snapshot != NULL && i < snapshot->nodes_n; i++) {
        kw_node_sweep(snapshot->nodes[i], now_ns);
    }
    kw_snapshot_unref(snapshot);
    kw_node *extras[KW_CLIENT_EXTRAS_MAX];
    kw_monitor_lock(&client->monitor);
    kw_node **seeds = client->seeds; /* once made, they stay */
    for (size_t i = 0; i < KW_CLIENT_EXTRAS_MAX; i++) {
        extras[i] = client->extras[i] != NULL ? kw_node_ref(client->extras[i]) : NULL;
    }
    kw_monitor_unlock(&client->monitor);
    for (size_t i = 0; seeds != NULL && i < client->env.options.seeds_n; i++) {
        kw_node_sweep(seeds[i], now_ns);
    }
    for (size_t i = 0; i < KW_CLIENT_EXTRAS_MAX; i++) {
        if (extras[i] != NULL) {
            kw_node_sweep(extras[i], now_ns);
            kw_node_unref(extras[i]);
        }
    }
}

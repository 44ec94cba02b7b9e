/* SPDX-License-Identifier: BSD-3-Clause */
/* Puts another map in the place of the one in use, and retires nodes that it lacks. */
#include "topology/map_publish.h"

#include "net/conn_diary.h"
#include "topology/node_registry.h"

kw_map *kw_map_publish_map(void *arg)
{
    kw_topology *topology = arg;
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    kw_map *map = snapshot != NULL ? kw_map_ref(snapshot->map) : NULL;
    kw_snapshot_unref(snapshot);
    return map;
}

/* A reference to each of the map's nodes, known ones where there are any; the monitor is
 * held. False, with none kept, when there is no memory. */
static bool make_nodes(kw_topology *topology, kw_node **nodes, const kw_map *map)
{
    size_t n = kw_map_nodes_n(map);
    for (size_t i = 0; i < n; i++) {
        const kw_endpoint *endpoint = kw_map_node(map, i);
        kw_node *node = kw_node_registry_find(topology, endpoint);
        nodes[i] = node != NULL ? kw_node_ref(node) : kw_node_new(&topology->env, endpoint);
        if (nodes[i] == NULL) {
            while (i > 0) {
                kw_node_unref(nodes[--i]);
            }
            return false;
        }
    }
    return true;
}

static kw_conn_role role_of(const kw_map_member *member)
{
    if (member->is_of_group) {
        return member->is_primary ? KW_CONN_GROUP_PRIMARY : KW_CONN_GROUP_REPLICA;
    }
    return member->is_primary ? KW_CONN_PRIMARY : KW_CONN_REPLICA;
}

/* Nodes of the old snapshot that the new one lacks keep no connections, nor do those that have
 * another role in the new one. */
static void retire_left(const kw_snapshot *old, const kw_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->nodes_n; i++) {
        const kw_map_member *member = kw_map_member_at(snapshot->map, i);
        kw_node_set_member(snapshot->nodes[i], role_of(member), member->id);
        kw_node_unretire(snapshot->nodes[i]);
    }
    for (size_t i = 0; old != NULL && i < old->nodes_n; i++) {
        if (kw_snapshot_find(snapshot, &old->nodes[i]->endpoint) != old->nodes[i]) {
            kw_node_retire(old->nodes[i]);
        }
    }
}

/* Zones that the cluster tells of its nodes, before any of them was connected to. */
static void take_zones(const kw_snapshot *snapshot, const kw_map *map)
{
    for (size_t i = 0; i < kw_map_nodes_n(map); i++) {
        uint64_t zone = kw_map_member_at(map, i)->zone;
        kw_node *node = zone != 0 ? kw_snapshot_find(snapshot, kw_map_node(map, i)) : NULL;
        if (node != NULL) {
            atomic_store_explicit(&node->zone, zone, memory_order_relaxed);
        }
    }
}

kw_err kw_map_publish_locked(kw_topology *topology, bool *has_news, kw_map *map)
{
    *has_news = false;
    kw_snapshot *old = kw_topology_snapshot(topology);
    if (old != NULL && kw_map_equal(old->map, map)) {
        take_zones(old, map);
        kw_snapshot_unref(old);
        kw_map_unref(map);
        return KW_OK;
    }
    size_t n = kw_map_nodes_n(map);
    kw_node **nodes = kw_mem_calloc(&topology->env.mem, n, sizeof(nodes[0]));
    kw_monitor_lock(&topology->monitor);
    bool is_whole = nodes != NULL && make_nodes(topology, nodes, map);
    kw_snapshot *snapshot = is_whole ? kw_snapshot_new(&topology->env.mem, map, nodes, n) : NULL;
    if (snapshot != NULL) {
        snapshot->made_ns = kw_env_now(&topology->env);
        snapshot->number = topology->snapshot != NULL ? topology->snapshot->number + 1 : 1;
        kw_snapshot_unref(
            topology->snapshot); /* not the last reference: old has one, or it is NULL */
        topology->snapshot = kw_snapshot_ref(snapshot);
    }
    kw_monitor_unlock(&topology->monitor);
    kw_mem_free(&topology->env.mem, nodes);
    if (!is_whole) {
        kw_map_unref(map);
    }
    if (snapshot != NULL) {
        retire_left(old, snapshot);
        take_zones(snapshot, map);
        atomic_fetch_add_explicit(&topology->counters.map_changes, 1, memory_order_relaxed);
        kw_pool_keeper_on_change(topology);
    }
    kw_snapshot_unref(old);
    kw_snapshot_unref(snapshot);
    *has_news = snapshot != NULL;
    return snapshot != NULL ? KW_OK : KW_ERR_NOMEM;
}

void kw_map_publish_tell(kw_topology *topology)
{
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    if (snapshot != NULL) {
        kw_env_log(&topology->env, KW_LOG_INFO, "new map: %zu primaries, %zu nodes",
                   kw_map_shards_n(snapshot->map), snapshot->nodes_n);
        if (topology->env.options.scheme == KW_SCHEME_CLUSTER && topology->env.events != NULL) {
            topology->env.events->note_map_fn(&topology->env);
        }
    }
    kw_snapshot_unref(snapshot);
}

kw_err kw_map_publish(void *arg, bool *has_news, kw_map *map)
{
    kw_topology *topology = arg;
    kw_monitor_lock(&topology->publishing);
    kw_err code = kw_map_publish_locked(topology, has_news, map);
    kw_monitor_unlock(&topology->publishing);
    if (*has_news) {
        kw_map_publish_tell(topology);
    }
    return code;
}

void kw_topology_patch(kw_topology *topology, unsigned slot, const kw_endpoint *endpoint)
{
    kw_monitor_lock(&topology->publishing);
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    kw_map *patched = NULL;
    bool has_news = false;
    bool is_done =
        snapshot != NULL && kw_map_patch(snapshot->map, &patched, slot, endpoint) == KW_OK;
    topology->patches_n += is_done ? 1 : 0;
    if (is_done && patched != NULL) {
        is_done = kw_map_publish_locked(topology, &has_news, patched) == KW_OK;
    }
    kw_monitor_unlock(&topology->publishing);
    kw_snapshot_unref(snapshot);
    if (has_news) {
        kw_map_publish_tell(topology);
    }
    if (is_done) {
        kw_refresher_on_publish(&topology->refresher);
    }
}

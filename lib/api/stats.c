/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/stats.h: figures of a handle and of its nodes. */
#include <keyway/stats.h>

#include <keyway/slot.h>

#include "api/client.h"
#include "topology/lag.h"

#include <string.h>

/* Every node of the handle once, with a reference each; their number. */
static size_t list_nodes(kw_client *client, kw_node **nodes, size_t max)
{
    size_t n = 0;
    kw_monitor_lock(&client->topology->monitor);
    const kw_snapshot *snapshot = client->topology->snapshot;
    for (size_t i = 0; snapshot != NULL && i < snapshot->nodes_n && n < max; i++) {
        nodes[n++] = kw_node_ref(snapshot->nodes[i]);
    }
    for (size_t i = 0;
         client->topology->seeds != NULL && i < client->topology->env.options.seeds_n && n < max;
         i++) {
        kw_node *seed = client->topology->seeds[i];
        if (snapshot == NULL || kw_snapshot_find(snapshot, &seed->endpoint) != seed) {
            nodes[n++] = kw_node_ref(seed);
        }
    }
    for (size_t i = 0; i < KW_TOPOLOGY_EXTRAS_MAX && n < max; i++) {
        kw_node *extra = client->topology->extras[i];
        if (extra != NULL &&
            (snapshot == NULL || kw_snapshot_find(snapshot, &extra->endpoint) != extra)) {
            nodes[n++] = kw_node_ref(extra);
        }
    }
    kw_monitor_unlock(&client->topology->monitor);
    return n;
}

static uint64_t load(atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void add_node(kw_stats *stats, kw_node *node)
{
    kw_monitor_lock(&node->monitor);
    stats->connects += node->stats.connects;
    stats->connect_failures += node->stats.connect_failures;
    stats->disconnects += node->stats.disconnects;
    stats->connections += node->conns_n - node->health.dialling_n;
    kw_monitor_unlock(&node->monitor);
}

static void read_stats(kw_client *client, kw_stats *stats, kw_node **nodes, size_t nodes_n)
{
    kw_counters *counters = &client->topology->counters;
    memset(stats, 0, sizeof(*stats));
    stats->commands = load(&counters->commands);
    stats->failures = load(&counters->failures);
    stats->moved = load(&counters->moved);
    stats->ask = load(&counters->ask);
    stats->waits = load(&counters->waits);
    stats->retries = load(&counters->retries);
    stats->timeouts = load(&counters->timeouts);
    stats->map_changes = load(&counters->map_changes);
    kw_monitor_lock(&client->topology->refresher.monitor);
    stats->refreshes = client->topology->refresher.fetches_n;
    stats->refresh_failures = client->topology->refresher.failures_n;
    kw_monitor_unlock(&client->topology->refresher.monitor);
    stats->nodes = nodes_n;
    stats->downs = load(&client->topology->failure_watch.downs_n);
    stats->ups = load(&client->topology->failure_watch.ups_n);
    stats->pushes = load(&client->topology->env.pushes_n);
    stats->versions_ahead = load(&client->topology->env.ahead_n);
    kw_snapshot *snapshot = kw_topology_snapshot(client->topology);
    for (size_t i = 0; snapshot != NULL && i < kw_map_shards_n(snapshot->map); i++) {
        kw_node *primary = snapshot->nodes[kw_map_shard_at(snapshot->map, i)->primary];
        bool is_down = kw_map_is_down(snapshot->map, i) || kw_node_faults_is_down(&primary->faults);
        stats->nodes_down += is_down ? 1 : 0;
    }
    kw_snapshot_unref(snapshot);
    kw_departed *departed = &client->topology->env.departed;
    stats->connects = load(&departed->connects);
    stats->connect_failures = load(&departed->connect_failures);
    stats->disconnects = load(&departed->disconnects);
    for (size_t i = 0; i < nodes_n; i++) {
        add_node(stats, nodes[i]);
    }
}

#define NODES_MAX (KW_MAP_NODES_MAX + 1000 + KW_TOPOLOGY_EXTRAS_MAX)

static kw_node **new_list(kw_client *client, size_t *nodes_n)
{
    kw_node **nodes = kw_mem_calloc(&client->topology->env.mem, NODES_MAX, sizeof(nodes[0]));
    if (nodes != NULL) {
        *nodes_n = list_nodes(client, nodes, NODES_MAX);
    }
    return nodes;
}

static void free_list(kw_client *client, kw_node **nodes, size_t nodes_n)
{
    for (size_t i = 0; i < nodes_n; i++) {
        kw_node_unref(nodes[i]);
    }
    kw_mem_free(&client->topology->env.mem, nodes);
}

/* A program that was compiled against another header has room for fewer or more. */
static void give(void *out, size_t out_len, const void *figures, size_t len)
{
    memcpy(out, figures, out_len < len ? out_len : len);
}

kw_err kw_client_stats(kw_client *client, kw_stats *stats)
{
    if (client == NULL || stats == NULL || stats->size < sizeof(stats->size)) {
        return KW_ERR_ARGUMENT;
    }
    kw_err code = kw_client_enter(client, NULL);
    if (code != KW_OK) {
        return code;
    }
    size_t nodes_n = 0;
    kw_node **nodes = new_list(client, &nodes_n);
    code = nodes != NULL ? KW_OK : KW_ERR_NOMEM;
    if (code == KW_OK) {
        kw_stats figures;
        read_stats(client, &figures, nodes, nodes_n);
        figures.size = stats->size;
        give(stats, stats->size, &figures, sizeof(figures));
        free_list(client, nodes, nodes_n);
    }
    kw_client_leave(client);
    return code;
}

/* What the ring says of a member. */
static void read_member(kw_node_stats *stats, const kw_map *map, size_t shard)
{
    const kw_ring *ring = kw_map_ring(map);
    uint32_t number = (uint32_t)shard;
    if (ring == NULL) {
        return;
    }
    const char *name = kw_ring_node_name(ring, &stats->member_len, number);
    memcpy(stats->member, name, stats->member_len + 1);
    stats->weight = kw_ring_node_weight(ring, number);
    stats->share = kw_ring_node_share(ring, number);
    stats->is_down = stats->is_down || kw_map_is_down(map, shard);
}

/* What the map says of the node. */
static void read_role(kw_client *client, kw_node_stats *stats, const kw_node *node)
{
    kw_snapshot *snapshot = kw_topology_snapshot(client->topology);
    if (snapshot == NULL) {
        return;
    }
    for (size_t i = 0; i < kw_map_shards_n(snapshot->map); i++) {
        if (snapshot->nodes[kw_map_shard_at(snapshot->map, i)->primary] == node) {
            stats->is_primary = true;
            read_member(stats, snapshot->map, i);
        }
    }
    for (unsigned slot = 0; kw_map_is_cluster(snapshot->map) && slot < KW_SLOTS_N; slot++) {
        stats->slots += kw_snapshot_owner(snapshot, slot) == node ? 1 : 0;
    }
    kw_snapshot_unref(snapshot);
}

/* How far a replica is behind. */
static void read_lag(kw_client *client, kw_node_stats *stats, kw_node *node)
{
    uint64_t now_ns = kw_env_now(&client->topology->env);
    uint64_t known_ns = load(&node->lag.known_ns);
    stats->has_lag = known_ns != 0 && !stats->is_primary;
    if (stats->has_lag) {
        stats->lag_bytes = load(&node->lag.behind);
        stats->lag_ms = now_ns > known_ns ? (now_ns - known_ns) / KW_NS_PER_MS : 0;
    }
}

static void read_node(kw_client *client, kw_node_stats *stats, kw_node *node)
{
    kw_monitor_lock(&node->monitor);
    *stats = node->stats;
    stats->is_failing = node->health.is_failing;
    stats->connections = node->conns_n - node->health.dialling_n;
    kw_monitor_unlock(&node->monitor);
    kw_monitor_lock(&node->lane.monitor);
    stats->sends += node->lane.sends_n;
    kw_monitor_unlock(&node->lane.monitor);
    size_t len = strlen(node->name);
    len = len < sizeof(stats->node) ? len : sizeof(stats->node) - 1;
    memcpy(stats->node, node->name, len);
    stats->node[len] = '\0';
    stats->is_down = kw_node_faults_is_down(&node->faults);
    read_role(client, stats, node);
    read_lag(client, stats, node);
}

kw_err kw_client_node_stats(kw_client *client, kw_node_stats *stats, size_t index)
{
    if (client == NULL || stats == NULL || stats->size < sizeof(stats->size)) {
        return KW_ERR_ARGUMENT;
    }
    kw_err code = kw_client_enter(client, NULL);
    if (code != KW_OK) {
        return code;
    }
    kw_lag_want_all(client->topology, kw_env_now(&client->topology->env));
    size_t nodes_n = 0;
    kw_node **nodes = new_list(client, &nodes_n);
    if (nodes == NULL) {
        code = KW_ERR_NOMEM;
    } else if (index >= nodes_n) {
        code = KW_ERR_ARGUMENT;
    } else {
        kw_node_stats figures;
        read_node(client, &figures, nodes[index]);
        figures.size = stats->size;
        give(stats, stats->size, &figures, sizeof(figures));
    }
    if (nodes != NULL) {
        free_list(client, nodes, nodes_n);
    }
    kw_client_leave(client);
    return code;
}

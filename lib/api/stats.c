/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/stats.h: figures of a handle and of its nodes. */
#include <keyway/stats.h>

#include <keyway/slot.h>

#include "api/client.h"
#include "api/node_list.h"
#include "topology/lag.h"

#include <string.h>

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
    stats->connections_used += node->in_use_n;
    stats->waiting += node->waiters_n;
    kw_monitor_unlock(&node->monitor);
}

static void read_map(kw_client *client, kw_stats *stats, const kw_snapshot *snapshot)
{
    if (snapshot == NULL) {
        return;
    }
    for (size_t i = 0; i < kw_map_shards_n(snapshot->map); i++) {
        kw_node *primary = snapshot->nodes[kw_map_shard_at(snapshot->map, i)->primary];
        bool is_down = kw_map_is_down(snapshot->map, i) || kw_node_faults_is_down(&primary->faults);
        stats->nodes_down += is_down ? 1 : 0;
    }
    uint64_t now_ns = kw_env_now(&client->topology->env);
    stats->map_number = snapshot->number;
    stats->map_age_ms =
        now_ns > snapshot->made_ns ? (now_ns - snapshot->made_ns) / KW_NS_PER_MS : 0;
}

static void read_stats(kw_client *client, kw_stats *stats, const kw_node_list *list)
{
    kw_counters *counters = &client->topology->counters;
    memset(stats, 0, sizeof(*stats));
    stats->commands = load(&client->counts.commands) + load(&counters->calls.commands);
    stats->failures = load(&client->counts.failures) + load(&counters->calls.failures);
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
    stats->nodes = list->n;
    stats->downs = load(&client->topology->failure_watch.downs_n);
    stats->ups = load(&client->topology->failure_watch.ups_n);
    stats->pushes = load(&client->topology->env.pushes_n);
    stats->versions_ahead = load(&client->topology->env.ahead_n);
    kw_snapshot *snapshot = kw_topology_snapshot(client->topology);
    read_map(client, stats, snapshot);
    kw_snapshot_unref(snapshot);
    kw_departed *departed = &client->topology->env.departed;
    stats->connects = load(&departed->connects);
    stats->connect_failures = load(&departed->connect_failures);
    stats->disconnects = load(&departed->disconnects);
    for (size_t i = 0; i < list->n; i++) {
        add_node(stats, list->nodes[i]);
    }
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
    kw_node_list list;
    kw_err code = kw_node_list_init(&list, client);
    if (code != KW_OK) {
        return code;
    }
    kw_stats figures;
    read_stats(client, &figures, &list);
    figures.size = stats->size;
    give(stats, stats->size, &figures, sizeof(figures));
    kw_node_list_fini(&list);
    return KW_OK;
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

/* The member of a ring that a primary is, or the primary of a replica. */
static void read_place(kw_node_stats *stats, const kw_snapshot *snapshot,
                       const kw_map_member *member)
{
    if (member->is_primary) {
        read_member(stats, snapshot->map, member->shard);
        return;
    }
    const kw_map_shard *shard = kw_map_shard_at(snapshot->map, member->shard);
    kw_node_write_name(stats->primary, sizeof(stats->primary), snapshot->nodes[shard->primary]);
}

/* What the map says of the node. */
static void read_role(kw_client *client, kw_node_stats *stats, const kw_node *node)
{
    kw_snapshot *snapshot = kw_topology_snapshot(client->topology);
    if (snapshot == NULL) {
        return;
    }
    for (size_t i = 0; i < snapshot->nodes_n; i++) {
        const kw_map_member *member = kw_map_member_at(snapshot->map, i);
        if (snapshot->nodes[i] == node && member->shard != KW_MAP_NO_SHARD) {
            stats->is_primary = member->is_primary;
            read_place(stats, snapshot, member);
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

/* Whether it is down, and how long it was. */
static void read_down(kw_client *client, kw_node_stats *stats, kw_node *node)
{
    uint64_t now_ns = kw_env_now(&client->topology->env);
    uint64_t since_ns = load(&node->faults.down_since_ns);
    uint64_t down_ns = since_ns > 0 && now_ns > since_ns ? now_ns - since_ns : 0;
    stats->is_down = kw_node_faults_is_down(&node->faults);
    stats->down_ms = down_ns / KW_NS_PER_MS;
    stats->down_total_ms = (load(&node->faults.down_total_ns) + down_ns) / KW_NS_PER_MS;
}

static void read_node(kw_client *client, kw_node_stats *stats, kw_node *node)
{
    kw_monitor_lock(&node->monitor);
    *stats = node->stats;
    stats->is_failing = node->health.is_failing;
    stats->connections_used = node->in_use_n;
    stats->waiting = node->waiters_n;
    stats->connections = node->conns_n - node->health.dialling_n;
    kw_monitor_unlock(&node->monitor);
    kw_monitor_lock(&node->lane.monitor);
    stats->sends += node->lane.sends_n;
    kw_monitor_unlock(&node->lane.monitor);
    kw_node_write_name(stats->node, sizeof(stats->node), node);
    read_down(client, stats, node);
    read_role(client, stats, node);
    read_lag(client, stats, node);
}

kw_err kw_client_node_stats(kw_client *client, kw_node_stats *stats, size_t index)
{
    if (client == NULL || stats == NULL || stats->size < sizeof(stats->size)) {
        return KW_ERR_ARGUMENT;
    }
    kw_node_list list;
    kw_err code = kw_node_list_init(&list, client);
    if (code != KW_OK) {
        return code;
    }
    kw_lag_want_all(client->topology, kw_env_now(&client->topology->env));
    code = index < list.n ? KW_OK : KW_ERR_ARGUMENT;
    if (code == KW_OK) {
        kw_node_stats figures;
        read_node(client, &figures, list.nodes[index]);
        figures.size = stats->size;
        give(stats, stats->size, &figures, sizeof(figures));
    }
    kw_node_list_fini(&list);
    return code;
}

/* Counts the ranges of the node, and writes those that there is room for. */
static size_t list_ranges(const kw_snapshot *snapshot, kw_slot_range *ranges, size_t ranges_max,
                          const kw_node *node)
{
    size_t n = 0;
    unsigned slot = 0;
    while (slot < KW_SLOTS_N) {
        unsigned first = slot;
        const kw_node *owner = kw_snapshot_owner(snapshot, first);
        while (slot < KW_SLOTS_N && kw_snapshot_owner(snapshot, slot) == owner) {
            slot++;
        }
        if (owner == node) {
            if (n < ranges_max) {
                ranges[n].first = (uint16_t)first;
                ranges[n].last = (uint16_t)(slot - 1);
            }
            n++;
        }
    }
    return n;
}

kw_err kw_client_node_slots(kw_client *client, kw_slot_range *ranges, size_t ranges_max,
                            size_t *ranges_n, size_t index)
{
    if (client == NULL || ranges_n == NULL || (ranges == NULL && ranges_max > 0)) {
        return KW_ERR_ARGUMENT;
    }
    kw_node_list list;
    kw_err code = kw_node_list_init(&list, client);
    if (code != KW_OK) {
        return code;
    }
    kw_snapshot *snapshot = kw_topology_snapshot(client->topology);
    bool has_slots = snapshot != NULL && kw_map_is_cluster(snapshot->map) && index < list.n;
    *ranges_n = has_slots ? list_ranges(snapshot, ranges, ranges_max, list.nodes[index]) : 0;
    kw_snapshot_unref(snapshot);
    kw_node_list_fini(&list);
    return KW_OK;
}

uint64_t kw_client_failures(kw_client *client, kw_err code, kw_effect effect)
{
    size_t number = (size_t)-code;
    if (client == NULL || number >= KW_COUNTED_CODES_N || (size_t)effect >= KW_COUNTED_EFFECTS_N ||
        !kw_client_enter_at_home(client)) {
        return 0;
    }
    uint64_t n = load(&client->topology->counters.failed[number][effect]);
    kw_client_leave(client);
    return n;
}

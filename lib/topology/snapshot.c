/* SPDX-License-Identifier: BSD-3-Clause */
/* A map with its nodes: owners by slot and position, and the server that a read goes to. */
#include "topology/snapshot.h"

#include <string.h>

static void unref_all(kw_map *map, kw_node **nodes, size_t nodes_n)
{
    for (size_t i = 0; i < nodes_n; i++) {
        kw_node_unref(nodes[i]);
    }
    kw_map_unref(map);
}

kw_snapshot *kw_snapshot_new(const kw_allocator *mem, kw_map *map, kw_node **nodes, size_t nodes_n)
{
    kw_snapshot *snapshot = kw_mem_alloc(mem, sizeof(*snapshot) + nodes_n * sizeof(nodes[0]));
    if (snapshot == NULL) {
        unref_all(map, nodes, nodes_n);
        return NULL;
    }
    atomic_init(&snapshot->refs, 1);
    snapshot->mem = *mem;
    snapshot->map = map;
    snapshot->number = 0;
    snapshot->made_ns = 0;
    snapshot->nodes_n = nodes_n;
    memcpy(snapshot->nodes, nodes, nodes_n * sizeof(nodes[0]));
    return snapshot;
}

void kw_snapshot_free(kw_snapshot *snapshot)
{
    unref_all(snapshot->map, snapshot->nodes, snapshot->nodes_n);
    kw_allocator mem = snapshot->mem;
    kw_mem_free(&mem, snapshot);
}

kw_node *kw_snapshot_at_position(const kw_snapshot *snapshot, uint64_t position)
{
    uint16_t shard = kw_map_shard_at_position(snapshot->map, position);
    if (shard == KW_MAP_NO_SHARD) {
        return NULL;
    }
    return snapshot->nodes[kw_map_shard_at(snapshot->map, shard)->primary];
}

bool kw_snapshot_is_down(const kw_snapshot *snapshot, const kw_node *node)
{
    size_t number;
    if (kw_map_ring(snapshot->map) == NULL ||
        !kw_map_find_node(snapshot->map, &number, &node->endpoint)) {
        return false;
    }
    const kw_map_member *member = kw_map_member_at(snapshot->map, number);
    return member->is_primary && kw_map_is_down(snapshot->map, member->shard);
}

/* False for a node that any node would be better than: one of a ring that gets no keys, that is
 * down, or whose address is not known. */
static bool is_inviting(const kw_snapshot *snapshot, size_t shard)
{
    const kw_ring *ring = kw_map_ring(snapshot->map);
    return ring == NULL || (kw_ring_node_points(ring, (uint32_t)shard) > 0 &&
                            !kw_map_is_down(snapshot->map, shard) &&
                            !kw_endpoint_is_unknown(kw_map_node(
                                snapshot->map, kw_map_shard_at(snapshot->map, shard)->primary)));
}

/* Has those that may be chosen looked after: how far they are behind where the read wants to know
 * that, else whether they have their primary. */
static void want_news(kw_node *primary, bool has_bound, uint64_t now_ns)
{
    if (has_bound) {
        kw_node_want_lag(primary, now_ns);
    } else {
        kw_node_want_links(primary, now_ns);
    }
}

/* NULL where the map does not have it as a primary. */
static const kw_map_shard *shard_of(const kw_snapshot *snapshot, const kw_node *primary)
{
    size_t number;
    if (!kw_map_find_node(snapshot->map, &number, &primary->endpoint) ||
        !kw_map_member_at(snapshot->map, number)->is_primary) {
        return NULL;
    }
    return kw_map_shard_at(snapshot->map, kw_map_member_at(snapshot->map, number)->shard);
}

static bool is_refusing(kw_node *node)
{
    return atomic_load_explicit(&node->lag.is_refused, memory_order_relaxed) ||
           (kw_node_is_failing(node) && kw_node_last_failure(node, NULL) == KW_ERR_AUTH);
}

kw_node *kw_snapshot_refusing(const kw_snapshot *snapshot, kw_node *primary)
{
    const kw_map_shard *shard = shard_of(snapshot, primary);
    if (shard == NULL || shard->replicas_n == 0 || is_refusing(primary)) {
        return shard != NULL && shard->replicas_n > 0 ? primary : NULL;
    }
    kw_node *found = NULL;
    for (size_t i = 0; i < shard->replicas_n; i++) {
        found = snapshot->nodes[kw_map_replica(snapshot->map, shard, i)];
        if (!is_refusing(found)) {
            return NULL;
        }
    }
    return found;
}

kw_node *kw_snapshot_reader(const kw_snapshot *snapshot, kw_node *primary, kw_snapshot_read read,
                            kw_random *random)
{
    kw_node *nodes[KW_READ_CANDIDATES_MAX];
    kw_read_candidate candidates[KW_READ_CANDIDATES_MAX];
    const kw_map_shard *shard = shard_of(snapshot, primary);
    if (shard == NULL) {
        return primary;
    }
    uint64_t now_ns = kw_env_now(primary->env);
    size_t first = (size_t)kw_random_below(random, shard->replicas_n);
    size_t n = 0;
    nodes[n++] = primary;
    for (size_t i = 0; i < shard->replicas_n && n < KW_READ_CANDIDATES_MAX; i++) {
        size_t index = (first + i) % shard->replicas_n;
        nodes[n++] = snapshot->nodes[kw_map_replica(snapshot->map, shard, index)];
    }
    uint64_t bound_ns = primary->env->options.max_staleness_ms * KW_NS_PER_MS;
    bool has_after = read.after.size > 0;
    if (n > 1) {
        want_news(primary, bound_ns > 0 || has_after, now_ns);
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t known_ns = atomic_load_explicit(&nodes[i]->lag.known_ns, memory_order_relaxed);
        bool is_late = bound_ns > 0 && !kw_lag_is_within(known_ns, now_ns, bound_ns);
        bool lacks = has_after && !kw_node_has(nodes[i], read.after.stream, read.after.offset);
        candidates[i].is_available = kw_node_is_available(nodes[i], now_ns);
        /* Where the primary is away, a replica without it is all that there is. */
        bool is_cut = candidates[0].is_available &&
                      atomic_load_explicit(&nodes[i]->lag.is_cut, memory_order_relaxed);
        candidates[i].is_barred = i > 0 && (is_late || lacks || is_cut);
        candidates[i].is_in_zone =
            atomic_load_explicit(&nodes[i]->zone, memory_order_relaxed) == read.zone;
        candidates[i].latency_ns =
            atomic_load_explicit(&nodes[i]->latency_ns, memory_order_relaxed);
    }
    size_t chosen = kw_read_choose(candidates, n, read.preference, random);
    return chosen != KW_READ_NOBODY ? nodes[chosen] : NULL;
}

kw_node *kw_snapshot_any(const kw_snapshot *snapshot, uint64_t random)
{
    size_t shards_n = kw_map_shards_n(snapshot->map);
    kw_node *node = NULL;
    for (size_t i = 0; i < shards_n; i++) {
        size_t shard = (size_t)((random + i) % shards_n);
        node = snapshot->nodes[kw_map_shard_at(snapshot->map, shard)->primary];
        if (is_inviting(snapshot, shard) && !kw_node_is_failing(node)) {
            break;
        }
    }
    return node;
}

kw_node *kw_snapshot_find(const kw_snapshot *snapshot, const kw_endpoint *endpoint)
{
    size_t node;
    return kw_map_find_node(snapshot->map, &node, endpoint) ? snapshot->nodes[node] : NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Plans on a ring: the owner of all keys, of each part, or a node near a key. */
#include "drive/plan_ring.h"

#include "base/error.h"

/* Text of a key and of a node's name in an error. */
#define SHOWN_LEN 64

kw_err kw_plan_ring_check(const kw_topology *topology, kw_error *error)
{
    if (topology->env.options.copies_n <= 1) {
        return KW_OK;
    }
    return kw_error_set(error, KW_ERR_REFUSED, KW_EFFECT_NONE,
                        "the handle keeps %u copies of each key, which plain commands do not "
                        "know: use kw_quorum_run and its like, a handle without copies, or name "
                        "the node (KW_ROUTE_NODE)",
                        (unsigned)topology->env.options.copies_n);
}

void kw_plan_ring_key(kw_plan *plan, const kw_topology *topology, kw_bytes key)
{
    plan->kind = KW_PLAN_POSITION;
    plan->position = kw_ring_position_of(topology->placement, key);
}

static uint16_t shard_of(const void *arg, kw_bytes key)
{
    const kw_snapshot *snapshot = arg;
    return kw_map_shard_of_key(snapshot->map, key);
}

kw_split_groups kw_plan_ring_groups(const kw_snapshot *snapshot)
{
    kw_split_groups groups = {shard_of, snapshot};
    return groups;
}

static void show_node(char out[SHOWN_LEN], const kw_map *map, uint16_t shard)
{
    size_t len = 0;
    const char *name =
        shard != KW_MAP_NO_SHARD ? kw_ring_node_name(kw_map_ring(map), &len, shard) : "none";
    kw_bytes bytes = {name, shard != KW_MAP_NO_SHARD ? len : 4};
    kw_bytes_show(out, SHOWN_LEN, bytes);
}

static kw_err refuse(kw_error *error, const kw_snapshot *snapshot, kw_bytes a, kw_bytes b)
{
    char shown_a[SHOWN_LEN];
    char shown_b[SHOWN_LEN];
    char node_a[SHOWN_LEN];
    char node_b[SHOWN_LEN];
    show_node(node_a, snapshot->map, shard_of(snapshot, a));
    show_node(node_b, snapshot->map, shard_of(snapshot, b));
    return kw_error_set(error, KW_ERR_CROSSSLOT, KW_EFFECT_NONE,
                        "keys \"%s\" (node %s) and \"%s\" (node %s) live on different nodes of "
                        "the ring; give them the same {hash tag}, or send one command per node",
                        kw_bytes_show(shown_a, sizeof(shown_a), a), node_a,
                        kw_bytes_show(shown_b, sizeof(shown_b), b), node_b);
}

/* What the first look at the keys says. */
typedef struct survey {
    size_t keys_n;
    bool is_one_position;
    size_t foreign; /* the first key with another owner than the first one; keys_n: none */
} survey;

static survey look(const kw_snapshot *snapshot, const kw_keys *keys)
{
    survey found = {kw_keys_count(keys), true, 0};
    kw_bytes first = kw_keys_at(keys, 0);
    uint64_t position = kw_ring_position_of(kw_map_ring(snapshot->map), first);
    uint16_t owner = kw_map_shard_at_position(snapshot->map, position);
    for (found.foreign = 1; found.foreign < found.keys_n; found.foreign++) {
        kw_bytes key = kw_keys_at(keys, found.foreign);
        uint64_t other = kw_ring_position_of(kw_map_ring(snapshot->map), key);
        found.is_one_position = found.is_one_position && other == position;
        if (other != position && kw_map_shard_at_position(snapshot->map, other) != owner) {
            break;
        }
    }
    return found;
}

kw_err kw_plan_ring_keys(kw_plan *plan, kw_topology *topology, kw_error *error, const kw_keys *keys,
                         bool may_split)
{
    if (kw_plan_ring_check(topology, error) != KW_OK) {
        return KW_ERR_REFUSED;
    }
    kw_plan_ring_key(plan, topology, kw_keys_at(keys, 0));
    size_t n = kw_keys_count(keys);
    if (n == 1) {
        return KW_OK;
    }
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    survey found = look(snapshot, keys);
    kw_err code = KW_OK;
    if (found.foreign < n && may_split) {
        plan->kind = KW_PLAN_SPLIT;
    } else if (found.foreign < n && kw_keys_check_whole(keys, error) != KW_OK) {
        code = KW_ERR_ARGUMENT;
    } else if (found.foreign < n) {
        code = refuse(error, snapshot, kw_keys_at(keys, 0), kw_keys_at(keys, found.foreign));
    } else if (!found.is_one_position) {
        kw_ring_positions *positions = kw_ring_positions_new(&topology->env.mem, n);
        for (size_t i = 0; positions != NULL && i < n; i++) {
            positions->at[i] = kw_ring_position_of(topology->placement, kw_keys_at(keys, i));
        }
        code = kw_plan_take_positions(plan, positions) ? KW_OK : KW_ERR_NOMEM;
    }
    kw_snapshot_unref(snapshot);
    if (code == KW_ERR_NOMEM) {
        kw_error_set(error, code, KW_EFFECT_NONE, "no memory for the keys of %s",
                     kw_plan_name(plan));
    }
    return code;
}

void kw_plan_ring_part(kw_plan *plan, const kw_topology *topology, uint64_t snapshot_n,
                       const kw_split *split, const kw_split_part *part)
{
    size_t first = split->order[part->at];
    kw_plan_ring_key(plan, topology, split->argv[split->keys.at + first * split->keys.step]);
    if (part->count > 1) {
        plan->keys = KW_PLAN_KEYS_OF_PART;
        plan->snapshot_n = snapshot_n;
    }
}

/* Rings up to this many nodes need no heap. */
#define NODES_INLINE 64

static kw_node *primary_of(const kw_snapshot *snapshot, size_t shard)
{
    return snapshot->nodes[kw_map_shard_at(snapshot->map, shard)->primary];
}

/* How many calls each node has. */
static void count_calls(uint32_t *in_flight, const kw_snapshot *snapshot, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        in_flight[i] = atomic_load_explicit(&primary_of(snapshot, i)->near_n, memory_order_relaxed);
    }
}

kw_err kw_plan_ring_near(kw_plan *plan, kw_topology *topology, kw_error *error, kw_bytes key)
{
    const kw_allocator *mem = &topology->env.mem;
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    const kw_ring *ring = kw_map_ring(snapshot->map);
    size_t n = kw_ring_nodes_n(ring);
    uint32_t space[NODES_INLINE];
    uint32_t *in_flight = n > NODES_INLINE ? kw_mem_calloc(mem, n, sizeof(*in_flight)) : space;
    if (in_flight == NULL) {
        kw_snapshot_unref(snapshot);
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for the load of nodes");
    }
    count_calls(in_flight, snapshot, n);
    kw_ring_load load = {.size = sizeof(load), .in_flight = in_flight};
    uint32_t shard;
    if (kw_ring_lookup_bounded(ring, &shard, key.data, key.len, &load) == KW_OK) {
        plan->node = kw_node_ref(primary_of(snapshot, shard));
        plan->is_near = true;
        atomic_fetch_add_explicit(&plan->node->near_n, 1, memory_order_relaxed);
    }
    if (in_flight != space) {
        kw_mem_free(mem, in_flight);
    }
    kw_snapshot_unref(snapshot);
    return KW_OK;
}

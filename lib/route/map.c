/* SPDX-License-Identifier: BSD-3-Clause */
/* The map: built from parts, shared by counting references, patched by MOVED, compared. */
#include "route/map.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

/* One block of memory: this struct, then the arrays it points to. */
struct kw_map {
    atomic_size_t refs;
    kw_allocator mem;
    kw_node_set set;
    kw_map_member *members; /* one for each node */
    kw_map_shard *shards;
    size_t shards_n;
    uint16_t *replicas; /* nodes, those of one shard side by side */
    /* Owner of each slot; NULL where the map is no cluster's. The only part that is
     * written after the map is published. Relaxed access is enough: a value is the
     * number of a shard of this same map, whose shards never change after the map was
     * published, and whoever reads the map has synchronised with that. No other
     * memory hangs on the value, so there is nothing to order it with. */
    _Atomic uint16_t *slots;
    kw_ring *ring;          /* a reference, or NULL */
    kw_ring *live;          /* a reference, or NULL: the ring that places keys, which is ring,
                               or a ring of some of its nodes */
    uint16_t *live_shards;  /* of each node of live */
    unsigned char *is_down; /* of each shard of a ring */
    size_t down_n;
    bool skips_down;
};

/* Numbers of the parts that a map keeps. */
typedef struct renumbering {
    uint16_t *shard_to; /* of each shard of the parts, or KW_MAP_NO_SHARD */
    uint16_t *node_to;  /* of each node of the parts, or NO_NODE */
    size_t shards_n;
    size_t nodes_n;
} renumbering;

#define NO_NODE   ((uint16_t)0xffff)
#define ALIGNMENT ((size_t)8)

_Static_assert(KW_MAP_NODES_MAX < 0xffff, "numbers of nodes and shards fit 16 bits");
_Static_assert(sizeof(_Atomic uint16_t) == sizeof(uint16_t), "the slot table is 32 KB");

static size_t aligned(size_t len)
{
    return (len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void *carve(char **at, size_t len)
{
    void *piece = *at;
    *at += aligned(len);
    return piece;
}

static void renumber_shards(renumbering *numbers, const kw_map_parts *parts)
{
    for (size_t shard = 0; shard < parts->shards_n; shard++) {
        numbers->shard_to[shard] = parts->slots == NULL ? 0 : KW_MAP_NO_SHARD;
    }
    for (size_t slot = 0; parts->slots != NULL && slot < KW_SLOTS_N;
         slot = kw_map_run_end(parts->slots, slot, KW_SLOTS_N)) {
        if (parts->slots[slot] != KW_MAP_NO_SHARD) {
            numbers->shard_to[parts->slots[slot]] = 0;
        }
    }
    numbers->shards_n = 0;
    for (size_t shard = 0; shard < parts->shards_n; shard++) {
        if (numbers->shard_to[shard] != KW_MAP_NO_SHARD) {
            numbers->shard_to[shard] = (uint16_t)numbers->shards_n++;
        }
    }
}

static void renumber_nodes(renumbering *numbers, const kw_map_parts *parts)
{
    numbers->nodes_n = 0;
    for (size_t node = 0; node < parts->set->n; node++) {
        uint16_t shard = parts->members[node].shard;
        bool is_kept = shard != KW_MAP_NO_SHARD && numbers->shard_to[shard] != KW_MAP_NO_SHARD;
        numbers->node_to[node] = is_kept ? (uint16_t)numbers->nodes_n++ : NO_NODE;
    }
}

/* A map with room for everything and nothing in it yet. */
static kw_map *map_alloc(const kw_allocator *mem, const renumbering *numbers, bool is_cluster)
{
    size_t nodes_n = numbers->nodes_n;
    size_t shards_len = numbers->shards_n * sizeof(kw_map_shard);
    size_t nodes_len = nodes_n * sizeof(kw_endpoint);
    size_t members_len = nodes_n * sizeof(kw_map_member);
    size_t numbers_len = nodes_n * sizeof(uint16_t);
    size_t slots_len = is_cluster ? KW_SLOTS_N * sizeof(uint16_t) : 0;
    size_t down_len = is_cluster ? 0 : numbers->shards_n;
    size_t live_len = down_len * sizeof(uint16_t);
    size_t total = aligned(sizeof(kw_map)) + aligned(shards_len) + aligned(nodes_len) +
                   aligned(members_len) + 2 * aligned(numbers_len) + aligned(slots_len) +
                   aligned(down_len) + aligned(live_len);
    kw_map *map = kw_mem_alloc(mem, total);
    if (map == NULL) {
        return NULL;
    }
    char *at = (char *)map + aligned(sizeof(kw_map));
    atomic_init(&map->refs, 1);
    map->mem = *mem;
    map->shards = carve(&at, shards_len);
    map->shards_n = numbers->shards_n;
    map->set.nodes = carve(&at, nodes_len);
    map->set.n = 0;
    map->members = carve(&at, members_len);
    map->set.sorted = carve(&at, numbers_len);
    map->replicas = carve(&at, numbers_len);
    map->slots = is_cluster ? carve(&at, slots_len) : NULL;
    map->is_down = carve(&at, down_len);
    map->live_shards = carve(&at, live_len);
    map->down_n = 0;
    map->ring = NULL;
    map->live = NULL;
    map->skips_down = false;
    return map;
}

static void fill_nodes(kw_map *map, const kw_map_parts *parts, const renumbering *numbers)
{
    /* In the order of their names, so that no node moves another in map->set.sorted. */
    for (size_t i = 0; i < parts->set->n; i++) {
        size_t from = parts->set->sorted[i];
        size_t node = numbers->node_to[from];
        if (node == NO_NODE) {
            continue;
        }
        map->set.nodes[node] = parts->set->nodes[from];
        map->set.sorted[map->set.n++] = (uint16_t)node;
        map->members[node] = parts->members[from];
        map->members[node].shard = numbers->shard_to[parts->members[from].shard];
    }
}

static void fill_shards(kw_map *map)
{
    memset(map->shards, 0, map->shards_n * sizeof(map->shards[0]));
    for (size_t node = 0; node < map->set.n; node++) {
        kw_map_shard *shard = &map->shards[map->members[node].shard];
        if (map->members[node].is_primary) {
            shard->primary = (uint16_t)node;
        } else {
            shard->replicas_n++;
        }
    }
    uint32_t at = 0;
    for (size_t i = 0; i < map->shards_n; i++) {
        map->shards[i].replicas_at = at;
        at += map->shards[i].replicas_n;
        map->shards[i].replicas_n = 0;
    }
    for (size_t node = 0; node < map->set.n; node++) {
        kw_map_shard *shard = &map->shards[map->members[node].shard];
        if (!map->members[node].is_primary) {
            map->replicas[shard->replicas_at + shard->replicas_n++] = (uint16_t)node;
        }
    }
}

/* Nobody else sees the map yet: plain stores will do. */
_Static_assert(sizeof(_Atomic uint16_t) == sizeof(uint16_t), "an atomic slot is a plain one");

static void fill_slots(kw_map *map, const kw_map_parts *parts, const renumbering *numbers)
{
    uint16_t *slots = (uint16_t *)(void *)map->slots;
    for (size_t slot = 0; slot < KW_SLOTS_N;) {
        uint16_t shard = parts->slots[slot];
        uint16_t owner = shard != KW_MAP_NO_SHARD ? numbers->shard_to[shard] : KW_MAP_NO_SHARD;
        size_t end = kw_map_run_end(parts->slots, slot, KW_SLOTS_N);
        kw_map_run_fill(slots, slot, end, owner);
        slot = end;
    }
}

static void fill_ring(kw_map *map, const kw_map_parts *parts)
{
    assert(kw_ring_nodes_n(parts->ring) == map->shards_n);
    map->ring = kw_ring_ref(parts->ring);
    map->live = kw_ring_ref(parts->live != NULL ? parts->live : parts->ring);
    for (size_t i = 0; i < kw_ring_nodes_n(map->live); i++) {
        size_t name_len = 0;
        const char *name = kw_ring_node_name(map->live, &name_len, (uint32_t)i);
        uint32_t shard = 0;
        (void)kw_ring_find(map->ring, &shard, name, name_len); /* it is there */
        map->live_shards[i] = (uint16_t)shard;
    }
    map->skips_down = parts->skips_down;
    for (size_t i = 0; i < map->shards_n; i++) {
        map->is_down[i] = parts->is_down != NULL ? parts->is_down[i] : 0;
        map->down_n += map->is_down[i] != 0 ? 1 : 0;
    }
}

kw_err kw_map_new(kw_map **map, const kw_allocator *mem, const kw_map_parts *parts)
{
    size_t numbers_n = parts->shards_n + parts->set->n;
    renumbering numbers = {0};
    numbers.shard_to = kw_mem_calloc(mem, numbers_n, sizeof(uint16_t));
    if (numbers.shard_to == NULL) {
        return KW_ERR_NOMEM;
    }
    numbers.node_to = numbers.shard_to + parts->shards_n;
    renumber_shards(&numbers, parts);
    renumber_nodes(&numbers, parts);
    kw_err err = KW_ERR_LIMIT;
    if (numbers.nodes_n > KW_MAP_NODES_MAX) {
        goto done;
    }
    kw_map *fresh = map_alloc(mem, &numbers, parts->slots != NULL);
    if (fresh == NULL) {
        err = KW_ERR_NOMEM;
        goto done;
    }
    fill_nodes(fresh, parts, &numbers);
    fill_shards(fresh);
    if (fresh->slots != NULL) {
        fill_slots(fresh, parts, &numbers);
    }
    if (parts->ring != NULL) {
        fill_ring(fresh, parts);
    }
    *map = fresh;
    err = KW_OK;
done:
    kw_mem_free(mem, numbers.shard_to);
    return err;
}

kw_map *kw_map_new_single(const kw_allocator *mem, const kw_endpoint *server)
{
    kw_endpoint node = *server;
    uint16_t sorted = 0;
    kw_node_set set = {&node, &sorted, 1};
    kw_map_member member = {.is_primary = true};
    kw_map_parts parts = {.set = &set, .members = &member, .shards_n = 1};
    kw_map *map = NULL;
    kw_err err = kw_map_new(&map, mem, &parts);
    return err == KW_OK ? map : NULL;
}

kw_map *kw_map_ref(kw_map *map)
{
    atomic_fetch_add_explicit(&map->refs, 1, memory_order_relaxed);
    return map;
}

void kw_map_unref(kw_map *map)
{
    /* Release: what this thread did with the map comes before its end. Acquire: the
     * last one sees what all others did. */
    if (map != NULL && atomic_fetch_sub_explicit(&map->refs, 1, memory_order_acq_rel) == 1) {
        kw_allocator mem = map->mem;
        kw_ring_unref(map->ring);
        kw_ring_unref(map->live);
        kw_mem_free(&mem, map);
    }
}

bool kw_map_is_cluster(const kw_map *map)
{
    return map->slots != NULL;
}

size_t kw_map_nodes_n(const kw_map *map)
{
    return map->set.n;
}

const kw_endpoint *kw_map_node(const kw_map *map, size_t node)
{
    assert(node < map->set.n);
    return &map->set.nodes[node];
}

const kw_map_member *kw_map_member_at(const kw_map *map, size_t node)
{
    assert(node < map->set.n);
    return &map->members[node];
}

bool kw_map_find_node(const kw_map *map, size_t *node, const kw_endpoint *endpoint)
{
    return kw_node_set_find(&map->set, node, endpoint);
}

size_t kw_map_shards_n(const kw_map *map)
{
    return map->shards_n;
}

const kw_map_shard *kw_map_shard_at(const kw_map *map, size_t shard)
{
    assert(shard < map->shards_n);
    return &map->shards[shard];
}

size_t kw_map_replica(const kw_map *map, const kw_map_shard *shard, size_t index)
{
    assert(index < shard->replicas_n);
    return map->replicas[shard->replicas_at + index];
}

static inline uint16_t shard_of(const kw_map *map, unsigned slot)
{
    if (slot >= KW_SLOTS_N) {
        return KW_MAP_NO_SHARD;
    }
    return map->slots != NULL ? atomic_load_explicit(&map->slots[slot], memory_order_relaxed) : 0;
}

uint16_t kw_map_shard_of(const kw_map *map, unsigned slot)
{
    return shard_of(map, slot);
}

bool kw_map_owner_of(const kw_map *map, size_t *node, unsigned slot)
{
    uint16_t shard = shard_of(map, slot);
    if (shard == KW_MAP_NO_SHARD) {
        return false;
    }
    *node = map->shards[shard].primary;
    return true;
}

uint16_t kw_map_shard_of_key(const kw_map *map, kw_bytes key)
{
    uint32_t owner;
    if (map->live != map->ring || map->down_n > 0) {
        return kw_map_shard_at_position(map, kw_ring_hash_of(map->ring, key.data, key.len));
    }
    return kw_ring_lookup(map->ring, &owner, key.data, key.len) == KW_OK ? (uint16_t)owner
                                                                         : KW_MAP_NO_SHARD;
}

kw_ring *kw_map_ring(const kw_map *map)
{
    return map->ring;
}

bool kw_map_is_down(const kw_map *map, size_t shard)
{
    return map->ring != NULL && map->is_down[shard] != 0;
}

uint16_t kw_map_shard_at_position(const kw_map *map, uint64_t position)
{
    uint32_t owner = kw_ring_owner_of(map->live, position);
    if (owner == KW_RING_NO_NODE) {
        return KW_MAP_NO_SHARD;
    }
    if (map->live != map->ring) {
        return map->live_shards[owner];
    }
    if (map->down_n > 0 && map->skips_down && map->is_down[owner] != 0) {
        uint32_t next = kw_ring_first_up(map->ring, position, map->is_down);
        owner = next != KW_RING_NO_NODE ? next : owner;
    }
    return (uint16_t)owner;
}

/* A copy of map where slot belongs to a new shard, with endpoint as its primary. */
static kw_err copy_with_shard(const kw_map *map, kw_map **copy, unsigned slot,
                              const kw_endpoint *endpoint)
{
    size_t nodes_n = map->set.n + 1;
    uint16_t *slots = kw_mem_calloc(&map->mem, KW_SLOTS_N, sizeof(*slots));
    kw_map_member *members = kw_mem_calloc(&map->mem, nodes_n, sizeof(*members));
    kw_node_set set = {
        kw_mem_calloc(&map->mem, nodes_n, sizeof(*set.nodes)),
        kw_mem_calloc(&map->mem, nodes_n, sizeof(*set.sorted)),
        map->set.n,
    };
    kw_err err = KW_ERR_NOMEM;
    if (slots == NULL || members == NULL || set.nodes == NULL || set.sorted == NULL) {
        goto done;
    }
    memcpy(set.nodes, map->set.nodes, map->set.n * sizeof(*set.nodes));
    memcpy(set.sorted, map->set.sorted, map->set.n * sizeof(*set.sorted));
    memcpy(members, map->members, map->set.n * sizeof(*members));
    for (unsigned i = 0; i < KW_SLOTS_N; i++) {
        slots[i] = kw_map_shard_of(map, i);
    }
    slots[slot] = (uint16_t)map->shards_n;
    kw_map_member primary = {.shard = (uint16_t)map->shards_n, .is_primary = true};
    size_t known;
    if (kw_map_find_node(map, &known, endpoint)) {
        primary = map->members[known]; /* a replica that is promoted: its id, and its zone */
        primary.shard = (uint16_t)map->shards_n;
        primary.is_primary = true;
    }
    members[kw_node_set_add(&set, endpoint)] = primary;
    kw_map_parts parts = {
        .set = &set, .members = members, .shards_n = map->shards_n + 1, .slots = slots};
    err = kw_map_new(copy, &map->mem, &parts);
done:
    kw_mem_free(&map->mem, slots);
    kw_mem_free(&map->mem, members);
    kw_mem_free(&map->mem, set.nodes);
    kw_mem_free(&map->mem, set.sorted);
    return err;
}

kw_err kw_map_patch(kw_map *map, kw_map **patched, unsigned slot, const kw_endpoint *endpoint)
{
    if (slot >= KW_SLOTS_N) {
        return KW_ERR_ARGUMENT;
    }
    if (map->slots == NULL) {
        return KW_ERR_UNSUPPORTED;
    }
    size_t node;
    bool is_primary = kw_map_find_node(map, &node, endpoint) && map->members[node].is_primary;
    if (!is_primary) {
        return copy_with_shard(map, patched, slot, endpoint);
    }
    /* Many threads meet the same MOVED at once; only the first dirties the line. */
    uint16_t shard = map->members[node].shard;
    if (kw_map_shard_of(map, slot) != shard) {
        atomic_store_explicit(&map->slots[slot], shard, memory_order_relaxed);
    }
    *patched = NULL;
    return KW_OK;
}

static const kw_endpoint *primary_of(const kw_map *map, uint16_t shard)
{
    return &map->set.nodes[map->shards[shard].primary];
}

/* True where both maps have the same nodes, and each node has the same part. */
static bool has_equal_nodes(const kw_map *a, const kw_map *b)
{
    if (a->set.n != b->set.n || a->shards_n != b->shards_n) {
        return false;
    }
    for (size_t i = 0; i < a->set.n; i++) {
        size_t node_a = a->set.sorted[i];
        size_t node_b = b->set.sorted[i];
        const kw_map_member *member_a = &a->members[node_a];
        const kw_map_member *member_b = &b->members[node_b];
        if (!kw_endpoint_equal(&a->set.nodes[node_a], &b->set.nodes[node_b]) ||
            member_a->is_primary != member_b->is_primary || member_a->id != member_b->id ||
            !kw_endpoint_equal(primary_of(a, member_a->shard), primary_of(b, member_b->shard))) {
            return false;
        }
    }
    return true;
}

static bool has_equal_slots(const kw_map *a, const kw_map *b)
{
    /* Owners change rarely from slot to slot: names are compared where they do. */
    uint16_t last_a = KW_MAP_NO_SHARD;
    uint16_t last_b = KW_MAP_NO_SHARD;
    for (unsigned slot = 0; slot < KW_SLOTS_N; slot++) {
        uint16_t owner_a = kw_map_shard_of(a, slot);
        uint16_t owner_b = kw_map_shard_of(b, slot);
        if (owner_a == last_a && owner_b == last_b) {
            continue;
        }
        if (owner_a == KW_MAP_NO_SHARD || owner_b == KW_MAP_NO_SHARD) {
            if (owner_a != owner_b) {
                return false;
            }
        } else if (!kw_endpoint_equal(primary_of(a, owner_a), primary_of(b, owner_b))) {
            return false;
        }
        last_a = owner_a;
        last_b = owner_b;
    }
    return true;
}

void kw_map_forget_ids(kw_map *map)
{
    for (size_t i = 0; i < map->set.n; i++) {
        map->members[i].id = 0;
    }
}

bool kw_map_equal(const kw_map *a, const kw_map *b)
{
    if (a == b) {
        return true;
    }
    if (a->ring != NULL || b->ring != NULL) {
        return false; /* who makes one has changed something */
    }
    return kw_map_is_cluster(a) == kw_map_is_cluster(b) && has_equal_nodes(a, b) &&
           (!kw_map_is_cluster(a) || has_equal_slots(a, b));
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A ring in the making: nodes are added, removed and weighed, then committed as a new ring. */
#include <keyway/ring.h>

#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "route/hash_xxh.h"
#include "route/ketama.h"
#include "route/ring.h"
#include "route/ring_build.h"

#define NODES_FIRST 8

typedef struct added_node {
    kw_ring_node node;
    uint32_t origin; /* its number in base, or KW_RING_NO_NODE */
} added_node;

struct kw_ring_change {
    kw_allocator mem;
    kw_ring_rules rules;
    kw_ring *base; /* the ring that it began from, whose points are reused; a reference, or NULL */
    added_node *nodes;
    size_t nodes_n;
    size_t capacity;
    kw_ring_zone zones[KW_RING_ZONES_MAX];
    size_t zones_n; /* at least 1: the first one has no name */
};

static kw_err no_memory(kw_error *error)
{
    return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "ring: no memory");
}

static kw_err refuse(kw_error *error, const char *what, const char *name, size_t name_len)
{
    char shown[80];
    kw_bytes bytes = {name, name_len};
    return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "ring: %s: \"%s\"", what,
                        kw_bytes_show(shown, sizeof(shown), bytes));
}

static kw_err refuse_null(kw_error *error)
{
    return kw_error_refuse(error, KW_ERR_ARGUMENT, "ring: a ring, a change or a text is NULL");
}

static kw_ring_change *change_new(const kw_ring_rules *rules, kw_error *error,
                                  const kw_allocator *mem)
{
    kw_ring_change *change = kw_mem_calloc(mem, 1, sizeof(*change));
    if (change == NULL) {
        no_memory(error);
        return NULL;
    }
    change->mem = *mem;
    change->rules = *rules;
    change->zones_n = 1;
    return change;
}

kw_ring_change *kw_ring_change_new(const char *placement, kw_error *error,
                                   const kw_allocator *allocator)
{
    kw_ring_rules rules;
    if (!kw_xxh_is_right()) {
        kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                     "ring: xxHash of this build gives other values than the known answers");
        return NULL;
    }
    if (kw_ring_rules_parse(&rules, error, placement) != KW_OK) {
        return NULL;
    }
    return change_new(&rules, error, allocator != NULL ? allocator : kw_mem_default());
}

void kw_ring_change_free(kw_ring_change *change)
{
    if (change != NULL) {
        kw_allocator mem = change->mem;
        kw_ring_unref(change->base);
        kw_mem_free(&mem, change->nodes);
        kw_mem_free(&mem, change);
    }
}

/* Room for count nodes in all. */
static bool reserve(kw_ring_change *change, size_t count)
{
    size_t capacity = change->capacity > 0 ? change->capacity : NODES_FIRST;
    while (capacity < count) {
        capacity *= 2;
    }
    if (capacity == change->capacity) {
        return true;
    }
    added_node *nodes =
        kw_mem_resize(&change->mem, change->nodes, capacity, sizeof(change->nodes[0]));
    if (nodes == NULL) {
        return false;
    }
    change->nodes = nodes;
    change->capacity = capacity;
    return true;
}

kw_ring_change *kw_ring_change_of(kw_ring *ring, kw_error *error)
{
    if (ring == NULL) {
        refuse_null(error);
        return NULL;
    }
    kw_ring_change *change = change_new(&ring->rules, error, &ring->mem);
    if (change == NULL) {
        return NULL;
    }
    if (!reserve(change, ring->nodes_n)) {
        kw_ring_change_free(change);
        no_memory(error);
        return NULL;
    }
    for (size_t i = 0; i < ring->nodes_n; i++) {
        change->nodes[i].node = ring->nodes[i];
        change->nodes[i].origin = (uint32_t)i;
    }
    change->nodes_n = ring->nodes_n;
    memcpy(change->zones, ring->zones, ring->zones_n * sizeof(ring->zones[0]));
    change->zones_n = ring->zones_n;
    change->base = kw_ring_ref(ring);
    return change;
}

/* NULL where there is no node of that name. */
static added_node *find(kw_ring_change *change, const char *name, size_t name_len)
{
    uint64_t id = kw_xxh3(name, name_len, 0);
    for (size_t i = 0; i < change->nodes_n; i++) {
        kw_ring_node *node = &change->nodes[i].node;
        if (node->id == id && node->name_len == name_len &&
            memcmp(node->name, name, name_len) == 0) {
            return &change->nodes[i];
        }
    }
    return NULL;
}

kw_err kw_ring_change_add(kw_ring_change *change, kw_error *error, const char *name,
                          size_t name_len, uint32_t weight)
{
    if (change == NULL || name == NULL) {
        return refuse_null(error);
    }
    if (name_len < 1 || name_len > KW_RING_NAME_MAX) {
        return refuse(error, "a name has 1 to 255 bytes", name, name_len);
    }
    if (find(change, name, name_len) != NULL) {
        return refuse(error, "a node of this name is there already", name, name_len);
    }
    if (change->nodes_n == KW_RING_NODES_MAX) {
        return refuse(error, "too many nodes", name, name_len);
    }
    if (!reserve(change, change->nodes_n + 1)) {
        return no_memory(error);
    }
    added_node *added = &change->nodes[change->nodes_n++];
    memset(added, 0, sizeof(*added));
    added->origin = KW_RING_NO_NODE;
    added->node.id = kw_xxh3(name, name_len, 0);
    added->node.weight = weight;
    added->node.name_len = (uint16_t)name_len;
    memcpy(added->node.name, name, name_len);
    return KW_OK;
}

kw_err kw_ring_change_add_server(kw_ring_change *change, kw_error *error, const char *line)
{
    char name[KW_RING_NAME_MAX];
    size_t name_len;
    uint32_t weight;
    if (change == NULL || line == NULL) {
        return refuse_null(error);
    }
    if (!kw_ketama_server(name, &name_len, &weight, sizeof(name), kw_bytes_of(line))) {
        return refuse(error, "not \"host:port:weight name\"", line, strlen(line));
    }
    return kw_ring_change_add(change, error, name, name_len, weight);
}

kw_err kw_ring_change_remove(kw_ring_change *change, kw_error *error, const char *name,
                             size_t name_len)
{
    if (change == NULL || name == NULL) {
        return refuse_null(error);
    }
    added_node *node = find(change, name, name_len);
    if (node == NULL) {
        return refuse(error, "no node of this name", name, name_len);
    }
    size_t behind = change->nodes_n - 1 - (size_t)(node - change->nodes);
    memmove(node, node + 1, behind * sizeof(*node));
    change->nodes_n--;
    return KW_OK;
}

kw_err kw_ring_change_reweight(kw_ring_change *change, kw_error *error, const char *name,
                               size_t name_len, uint32_t weight)
{
    if (change == NULL || name == NULL) {
        return refuse_null(error);
    }
    added_node *node = find(change, name, name_len);
    if (node == NULL) {
        return refuse(error, "no node of this name", name, name_len);
    }
    node->node.weight = weight;
    return KW_OK;
}

kw_err kw_ring_change_set_zone(kw_ring_change *change, kw_error *error, const char *name,
                               size_t name_len, const char *zone)
{
    if (change == NULL || name == NULL || zone == NULL) {
        return refuse_null(error);
    }
    added_node *node = find(change, name, name_len);
    size_t zone_len = strlen(zone);
    if (node == NULL) {
        return refuse(error, "no node of this name", name, name_len);
    }
    if (zone_len > KW_RING_ZONE_MAX) {
        return refuse(error, "a zone has at most 63 bytes", zone, zone_len);
    }
    size_t i = 0;
    while (i < change->zones_n && strcmp(change->zones[i], zone) != 0) {
        i++;
    }
    if (i == change->zones_n) {
        if (i == KW_RING_ZONES_MAX) {
            return refuse(error, "more than 64 zones", zone, zone_len);
        }
        memcpy(change->zones[i], zone, zone_len + 1);
        change->zones_n++;
    }
    node->node.zone = (uint16_t)i;
    return KW_OK;
}

/* Shell's sort: the nodes of a ring are in order already, and a few are behind them. */
static void sort_nodes(const kw_ring_change *change, uint32_t *order)
{
    size_t gap = 1;
    while (gap < change->nodes_n / 9) {
        gap = 3 * gap + 1;
    }
    for (; gap > 0; gap /= 3) {
        for (size_t i = gap; i < change->nodes_n; i++) {
            uint32_t moved = order[i];
            size_t at = i;
            for (; at >= gap && kw_ring_node_before(&change->rules, &change->nodes[moved].node,
                                                    &change->nodes[order[at - gap]].node);
                 at -= gap) {
                order[at] = order[at - gap];
            }
            order[at] = moved;
        }
    }
}

/* Copies the nodes in their order; zones that no node is in stay behind. */
static void copy_nodes(kw_ring *ring, const kw_ring_change *change, const uint32_t *order)
{
    uint16_t numbers[KW_RING_ZONES_MAX];
    memset(numbers, 0xff, sizeof(numbers));
    numbers[0] = 0;
    ring->zones_n = 1;
    for (size_t i = 0; i < change->nodes_n; i++) {
        kw_ring_node *node = &ring->nodes[i];
        *node = change->nodes[order[i]].node;
        node->points_n = 0;
        if (numbers[node->zone] == UINT16_MAX) {
            numbers[node->zone] = (uint16_t)ring->zones_n;
            memcpy(ring->zones[ring->zones_n++], change->zones[node->zone], sizeof(kw_ring_zone));
        }
        node->zone = numbers[node->zone];
    }
    ring->nodes_n = change->nodes_n;
}

/* A ring of the nodes in their order, without points. NULL when there is no memory. */
static kw_ring *ring_new(const kw_ring_change *change, const uint32_t *order)
{
    kw_ring *ring = kw_mem_calloc(&change->mem, 1, sizeof(*ring));
    if (ring == NULL) {
        return NULL;
    }
    atomic_init(&ring->refs, 1);
    ring->mem = change->mem;
    ring->rules = change->rules;
    ring->nodes = kw_mem_calloc(&ring->mem, change->nodes_n, sizeof(ring->nodes[0]));
    ring->zones = kw_mem_calloc(&ring->mem, change->zones_n, sizeof(ring->zones[0]));
    if (ring->nodes == NULL || ring->zones == NULL) {
        kw_ring_unref(ring);
        return NULL;
    }
    copy_nodes(ring, change, order);
    return ring;
}

/* The origins of the nodes that are as they were in base. */
static void find_origins(uint32_t *origins, const kw_ring_change *change, const uint32_t *order)
{
    for (size_t i = 0; i < change->nodes_n; i++) {
        const added_node *node = &change->nodes[order[i]];
        bool is_same = node->origin != KW_RING_NO_NODE &&
                       node->node.weight == change->base->nodes[node->origin].weight;
        origins[i] = is_same ? node->origin : KW_RING_NO_NODE;
    }
}

kw_ring *kw_ring_change_commit(kw_ring_change *change, kw_error *error)
{
    if (change == NULL) {
        refuse_null(error);
        return NULL;
    }
    uint32_t *order = kw_mem_calloc(&change->mem, change->nodes_n, 2 * sizeof(order[0]));
    if (order == NULL) {
        no_memory(error);
        return NULL;
    }
    for (size_t i = 0; i < change->nodes_n; i++) {
        order[i] = (uint32_t)i;
    }
    if (kw_ring_rules_has_order(&change->rules)) {
        sort_nodes(change, order);
    }
    uint32_t *origins = order + change->nodes_n;
    find_origins(origins, change, order);
    kw_ring *ring = ring_new(change, order);
    kw_err err = ring != NULL ? kw_ring_build(ring, error, change->base, origins) : KW_ERR_NOMEM;
    kw_mem_free(&change->mem, order);
    if (err == KW_OK) {
        return ring;
    }
    if (err == KW_ERR_NOMEM) {
        no_memory(error);
    }
    kw_ring_unref(ring);
    return NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes points, lists or scores from a ring's nodes, and reuses the points of an older ring. */
#include "route/ring_build.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "route/hash_xxh.h"
#include "route/ketama.h"
#include "route/ring_cells.h"
#include "route/ring_jedis.h"

static int compare_names(const kw_ring_node *a, const kw_ring_node *b)
{
    size_t shorter = a->name_len < b->name_len ? a->name_len : b->name_len;
    int order = memcmp(a->name, b->name, shorter);
    return order != 0 ? order : (int)a->name_len - (int)b->name_len;
}

bool kw_ring_rules_has_order(const kw_ring_rules *rules)
{
    return rules->method != KW_RING_JEDIS;
}

bool kw_ring_node_before(const kw_ring_rules *rules, const kw_ring_node *a, const kw_ring_node *b)
{
    if (rules->hash != NULL) {
        /* twemproxy sorts by length first. */
        return a->name_len != b->name_len ? a->name_len < b->name_len : compare_names(a, b) < 0;
    }
    return a->id != b->id ? a->id < b->id : compare_names(a, b) < 0;
}

static kw_err refuse_points(kw_error *error, uint64_t points_n)
{
    return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                        "ring: %" PRIu64 " points, more than %d: give smaller weights", points_n,
                        KW_RING_POINTS_MAX);
}

/* points_n of every node, weight x each; and their sum. */
static kw_err count_points(size_t *points_n, kw_error *error, kw_ring *ring, uint32_t each)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < ring->nodes_n; i++) {
        sum += (uint64_t)ring->nodes[i].weight * each;
    }
    if (sum > KW_RING_POINTS_MAX) {
        return refuse_points(error, sum);
    }
    for (size_t i = 0; i < ring->nodes_n; i++) {
        ring->nodes[i].points_n = ring->nodes[i].weight * each;
    }
    *points_n = (size_t)sum; /* at most KW_RING_POINTS_MAX */
    return KW_OK;
}

/* Points of one node of kw1: XXH3 of its id and of j, each 8 bytes, lowest first. */
static uint64_t *put_points(uint64_t *out, const kw_ring_node *node, size_t index)
{
    char text[16];
    kw_store_le64(text, node->id);
    for (uint32_t j = 0; j < node->points_n; j++) {
        kw_store_le64(text + 8, j);
        *out++ = (kw_xxh3_short(text, sizeof(text), 0) & ~UINT64_C(0xffff)) | index;
    }
    return out;
}

/* The points of base whose nodes are in the ring, under their new numbers: the order of
 * nodes is the same in both, and so is the order of points. */
static size_t keep_points(uint64_t *out, const kw_ring *base, const uint16_t *numbers)
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < base->points_n; i++) {
        uint16_t number = numbers[base->points[i] & 0xffff];
        if (number != KW_RING_OWNER_NONE) {
            out[n++] = (base->points[i] & ~UINT64_C(0xffff)) | number;
        }
    }
    return n;
}

/* Merges a[0 .. a_n) and b into all, whose first a_n numbers are a. */
static void merge(uint64_t *all, size_t a_n, const uint64_t *b, size_t b_n)
{
    while (b_n > 0) {
        if (a_n > 0 && all[a_n - 1] > b[b_n - 1]) {
            all[a_n + b_n - 1] = all[a_n - 1];
            a_n--;
        } else {
            all[a_n + b_n - 1] = b[b_n - 1];
            b_n--;
        }
    }
}

/* Numbers of base's nodes in the ring. NULL when there is no memory. */
static uint16_t *number_nodes(const kw_ring *ring, const kw_ring *base, const uint32_t *origins)
{
    uint16_t *numbers = kw_mem_alloc(&ring->mem, base->nodes_n * sizeof(numbers[0]));
    if (numbers != NULL) {
        memset(numbers, 0xff, base->nodes_n * sizeof(numbers[0]));
        for (size_t i = 0; i < ring->nodes_n; i++) {
            if (origins[i] != KW_RING_NO_NODE) {
                numbers[origins[i]] = (uint16_t)i;
            }
        }
    }
    return numbers;
}

/* What a build of cells works with. */
typedef struct work {
    uint64_t *fresh; /* points of new nodes, unsorted */
    uint64_t *kept;  /* points of base, sorted */
    uint16_t *numbers;
} work;

static kw_err build_cells(kw_ring *ring, work *w, size_t fresh_n, size_t kept_n)
{
    size_t points_n = fresh_n + kept_n;
    ring->points = kw_mem_alloc(&ring->mem, (points_n + 1) * sizeof(ring->points[0]));
    if (ring->points == NULL || !kw_ring_sort(ring->points, w->fresh, fresh_n, &ring->mem)) {
        return KW_ERR_NOMEM;
    }
    merge(ring->points, fresh_n, w->kept, kept_n);
    ring->points[points_n] = ~UINT64_C(0xffff) | (ring->points[0] & 0xffff);
    ring->points_n = points_n + 1;
    return kw_ring_cells_make(ring) ? KW_OK : KW_ERR_NOMEM;
}

static void work_fini(work *w, const kw_allocator *mem)
{
    kw_mem_free(mem, w->fresh);
    kw_mem_free(mem, w->kept);
    kw_mem_free(mem, w->numbers);
}

static kw_err build_kw1(kw_ring *ring, kw_error *error, const kw_ring *base,
                        const uint32_t *origins)
{
    work w = {NULL, NULL, NULL};
    size_t points_n;
    kw_err err = count_points(&points_n, error, ring, ring->rules.vnodes);
    if (err != KW_OK || points_n == 0) {
        return err;
    }
    bool has_base = base != NULL && base->cells != NULL;
    size_t fresh_n = 0;
    for (size_t i = 0; i < ring->nodes_n; i++) {
        bool is_fresh = !has_base || origins[i] == KW_RING_NO_NODE;
        fresh_n += is_fresh ? ring->nodes[i].points_n : 0;
    }
    err = KW_ERR_NOMEM;
    w.fresh = kw_mem_alloc(&ring->mem, fresh_n * sizeof(w.fresh[0]));
    if (w.fresh == NULL) {
        goto done;
    }
    uint64_t *out = w.fresh;
    for (size_t i = 0; i < ring->nodes_n; i++) {
        if (!has_base || origins[i] == KW_RING_NO_NODE) {
            out = put_points(out, &ring->nodes[i], i);
        }
    }
    size_t kept_n = 0;
    if (has_base) {
        w.numbers = number_nodes(ring, base, origins);
        w.kept = kw_mem_alloc(&ring->mem, base->points_n * sizeof(w.kept[0]));
        if (w.numbers == NULL || w.kept == NULL) {
            goto done;
        }
        kept_n = keep_points(w.kept, base, w.numbers);
    }
    err = build_cells(ring, &w, fresh_n, kept_n);
done:
    work_fini(&w, &ring->mem);
    return err;
}

static kw_err build_ketama(kw_ring *ring, kw_error *error)
{
    work w = {NULL, NULL, NULL};
    uint64_t counted_n = kw_ketama_count(ring);
    if (counted_n > KW_RING_POINTS_MAX) {
        return refuse_points(error, counted_n);
    }
    size_t points_n = (size_t)counted_n;
    if (points_n == 0) {
        return KW_OK;
    }
    w.fresh = kw_mem_alloc(&ring->mem, points_n * sizeof(w.fresh[0]));
    if (w.fresh != NULL) {
        kw_ketama_points(w.fresh, ring);
    }
    kw_err err = w.fresh != NULL ? build_cells(ring, &w, points_n, 0) : KW_ERR_NOMEM;
    work_fini(&w, &ring->mem);
    return err;
}

/* Each node weight times, in the order of nodes. */
static kw_err build_list(kw_ring *ring, kw_error *error)
{
    size_t places_n;
    kw_err err = count_points(&places_n, error, ring, 1);
    if (err != KW_OK || places_n == 0) {
        return err;
    }
    ring->owners = kw_mem_alloc(&ring->mem, places_n * sizeof(ring->owners[0]));
    if (ring->owners == NULL) {
        return KW_ERR_NOMEM;
    }
    for (size_t i = 0; i < ring->nodes_n; i++) {
        for (uint32_t k = 0; k < ring->nodes[i].points_n; k++) {
            ring->owners[ring->owners_n++] = (uint16_t)i;
        }
    }
    return KW_OK;
}

/* go-redis has no weights: a node is there, or it is not. */
static kw_err build_rendezvous(kw_ring *ring)
{
    ring->points = kw_mem_calloc(&ring->mem, ring->nodes_n, sizeof(ring->points[0]));
    ring->owners = kw_mem_calloc(&ring->mem, ring->nodes_n, sizeof(ring->owners[0]));
    if (ring->points == NULL || ring->owners == NULL) {
        return KW_ERR_NOMEM;
    }
    for (size_t i = 0; i < ring->nodes_n; i++) {
        kw_ring_node *node = &ring->nodes[i];
        node->points_n = node->weight > 0;
        if (node->points_n > 0) {
            ring->points[ring->owners_n] = XXH64(node->name, node->name_len, 0);
            ring->owners[ring->owners_n++] = (uint16_t)i;
        }
    }
    return KW_OK;
}

static kw_err build_method(kw_ring *ring, kw_error *error, const kw_ring *base,
                           const uint32_t *origins)
{
    size_t points_n;
    kw_err err = KW_OK;
    switch (ring->rules.method) {
    case KW_RING_KW1:
        return build_kw1(ring, error, base, origins);
    case KW_RING_KETAMA:
        return build_ketama(ring, error);
    case KW_RING_JEDIS:
        err = count_points(&points_n, error, ring, KW_JEDIS_POINTS);
        return err == KW_OK && points_n > 0 ? kw_jedis_points(ring, points_n) : err;
    case KW_RING_MODULO:
    case KW_RING_MODULA:
        return build_list(ring, error);
    case KW_RING_RENDEZVOUS:
        return build_rendezvous(ring);
    }
    return err;
}

kw_err kw_ring_build(kw_ring *ring, kw_error *error, const kw_ring *base, const uint32_t *origins)
{
    const kw_ring_rules *rules = &ring->rules;
    kw_err err = build_method(ring, error, base, origins);
    ring->is_plain = ring->cells != NULL && rules->method == KW_RING_KW1 && rules->tag[0] == '{' &&
                     rules->tag[1] == '}';
    ring->seed = rules->seed;
    for (size_t i = 0; err == KW_OK && i < ring->nodes_n; i++) {
        const kw_ring_node *node = &ring->nodes[i];
        ring->weights_sum += node->weight;
        if (node->points_n > 0) {
            ring->live_n++;
            ring->zones_live |= UINT64_C(1) << node->zone;
        }
    }
    return err;
}

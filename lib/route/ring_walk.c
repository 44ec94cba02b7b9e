/* SPDX-License-Identifier: BSD-3-Clause */
/* Walks a key's preference list: next nodes, one zone after another, those up, those with room. */
#include "route/ring.h"

#include <string.h>

#define FACTOR_DEFAULT 1.25

/* Nodes from a hash on, in the order of the preference list without zones; a node may
 * come again. */
typedef struct ring_steps {
    const kw_ring *ring;
    uint64_t hash;
    size_t at;      /* point or place of the node that comes next; a rendezvous: of the last one */
    size_t left;    /* points or places not yet given */
    uint64_t score; /* a rendezvous: that of the node given last */
} ring_steps;

static void begin_steps(ring_steps *steps, const kw_ring *ring, uint64_t hash)
{
    steps->ring = ring;
    steps->hash = hash;
    steps->score = UINT64_MAX;
    steps->left = 0;
    steps->at = 0;
    if (ring->live_n > 0) {
        steps->left = ring->cells != NULL ? ring->points_n : ring->owners_n;
        steps->at = kw_ring_seek(ring, hash);
    }
}

/* Of the nodes behind the last one given, that with the highest score; ties by index. */
static void step_score(ring_steps *steps)
{
    const kw_ring *ring = steps->ring;
    uint64_t last = kw_ring_score(ring, steps->hash, steps->at);
    size_t best = SIZE_MAX;
    uint64_t best_score = 0;
    for (size_t i = 0; i < ring->owners_n; i++) {
        uint64_t score = kw_ring_score(ring, steps->hash, i);
        bool is_behind = score < last || (score == last && i > steps->at);
        if (is_behind && (best == SIZE_MAX || score > best_score)) {
            best = i;
            best_score = score;
        }
    }
    steps->at = best; /* not read again where there is none */
}

/* KW_RING_NO_NODE at the end. */
static uint32_t next_step(ring_steps *steps)
{
    const kw_ring *ring = steps->ring;
    if (steps->left == 0) {
        return KW_RING_NO_NODE;
    }
    steps->left--;
    if (ring->cells != NULL) {
        uint32_t node = ring->points[steps->at] & 0xffff;
        steps->at = steps->at + 1 < ring->points_n ? steps->at + 1 : 0;
        return node;
    }
    uint32_t node = ring->owners[steps->at];
    if (ring->rules.method == KW_RING_RENDEZVOUS) {
        step_score(steps);
    } else {
        steps->at = steps->at + 1 < ring->owners_n ? steps->at + 1 : 0;
    }
    return node;
}

static bool has(const uint32_t *nodes, size_t nodes_n, uint32_t node)
{
    for (size_t i = 0; i < nodes_n; i++) {
        if (nodes[i] == node) {
            return true;
        }
    }
    return false;
}

static uint64_t zone_bit(const kw_ring *ring, uint32_t node)
{
    return UINT64_C(1) << ring->nodes[node].zone;
}

size_t kw_ring_preference(const kw_ring *ring, uint32_t *nodes, size_t nodes_max, const char *key,
                          size_t key_len)
{
    if (ring == NULL) {
        return 0;
    }
    uint64_t hash = kw_ring_hash_of(ring, key, key_len);
    size_t wanted = nodes_max < ring->live_n ? nodes_max : ring->live_n;
    size_t n = 0;
    uint64_t zones = 0;
    uint32_t node;
    ring_steps first;
    begin_steps(&first, ring, hash);
    ring_steps steps = first;
    while (n < wanted && zones != ring->zones_live &&
           (node = next_step(&steps)) != KW_RING_NO_NODE) {
        if ((zones & zone_bit(ring, node)) == 0) {
            zones |= zone_bit(ring, node);
            nodes[n++] = node;
        }
    }
    steps = first;
    while (n < wanted && (node = next_step(&steps)) != KW_RING_NO_NODE) {
        if (!has(nodes, n, node)) {
            nodes[n++] = node;
        }
    }
    return n;
}

/* Steps may name a node again: one that was passed over as down is passed over again, so that no
 * record of them is needed. */
uint32_t kw_ring_first_up(const kw_ring *ring, uint64_t hash, const unsigned char *is_down)
{
    uint64_t zones = 0;
    uint32_t node;
    ring_steps steps;
    begin_steps(&steps, ring, hash);
    while (zones != ring->zones_live && (node = next_step(&steps)) != KW_RING_NO_NODE) {
        bool is_new_zone = (zones & zone_bit(ring, node)) == 0;
        zones |= zone_bit(ring, node);
        if (is_new_zone && is_down[node] == 0) {
            return node;
        }
    }
    begin_steps(&steps, ring, hash);
    while ((node = next_step(&steps)) != KW_RING_NO_NODE && is_down[node] != 0) {
    }
    return node;
}

struct kw_ring_walk {
    const kw_ring *ring;
    uint64_t hash;
    ring_steps steps;
    uint64_t zones;       /* bit i: a node of zone i was given */
    size_t left;          /* nodes not yet given */
    unsigned char *given; /* bit i: node i was given */
};

kw_ring_walk *kw_ring_walk_new(const kw_ring *ring, const char *key, size_t key_len)
{
    if (ring == NULL) {
        return NULL;
    }
    size_t bytes = ring->nodes_n / 8 + 1;
    kw_ring_walk *walk = kw_mem_calloc(&ring->mem, 1, sizeof(*walk) + bytes);
    if (walk == NULL) {
        return NULL;
    }
    walk->ring = ring;
    walk->hash = kw_ring_hash_of(ring, key, key_len);
    walk->left = ring->live_n;
    walk->given = (unsigned char *)(walk + 1);
    begin_steps(&walk->steps, ring, walk->hash);
    return walk;
}

uint32_t kw_ring_walk_next(kw_ring_walk *walk)
{
    if (walk == NULL) {
        return KW_RING_NO_NODE;
    }
    const kw_ring *ring = walk->ring;
    while (walk->left > 0) {
        uint32_t node = next_step(&walk->steps);
        if (node == KW_RING_NO_NODE) {
            break;
        }
        bool is_given = walk->given[node / 8] >> node % 8 & 1;
        bool all_zones = walk->zones == ring->zones_live;
        if (is_given || (!all_zones && (walk->zones & zone_bit(ring, node)) != 0)) {
            continue;
        }
        walk->given[node / 8] |= (unsigned char)(1u << node % 8);
        walk->left--;
        walk->zones |= zone_bit(ring, node);
        if (!all_zones && walk->zones == ring->zones_live) {
            begin_steps(&walk->steps, ring, walk->hash);
        }
        return node;
    }
    return KW_RING_NO_NODE;
}

void kw_ring_walk_free(kw_ring_walk *walk)
{
    if (walk != NULL) {
        kw_mem_free(&walk->ring->mem, walk);
    }
}

/* Room below its cap: fewer calls than factor x calls x share of weight, rounded up. */
static bool has_room(const kw_ring *ring, uint32_t node, const kw_ring_load *load, double calls)
{
    double share = (double)ring->nodes[node].weight / (double)ring->weights_sum;
    double cap = (load->factor == 0 ? FACTOR_DEFAULT : load->factor) * calls * share;
    /* Whole numbers: n < ceil(cap) is the same as n < cap. */
    return (double)load->in_flight[node] < cap;
}

/* Steps may name a node again: one that was passed over as full is passed over again, so that no
 * record of them is needed. */
kw_err kw_ring_lookup_bounded(const kw_ring *ring, uint32_t *node, const char *key, size_t key_len,
                              const kw_ring_load *load)
{
    if (ring == NULL || load == NULL || (load->factor != 0 && !(load->factor >= 1))) {
        return KW_ERR_ARGUMENT;
    }
    double calls = 1;
    for (size_t i = 0; i < ring->nodes_n; i++) {
        calls += load->in_flight[i];
    }
    uint64_t hash = kw_ring_hash_of(ring, key, key_len);
    uint64_t zones = 0;
    ring_steps steps;
    begin_steps(&steps, ring, hash);
    for (int pass = 0; pass < 2; pass++) {
        uint32_t found;
        while ((pass == 1 || zones != ring->zones_live) &&
               (found = next_step(&steps)) != KW_RING_NO_NODE) {
            bool is_new_zone = (zones & zone_bit(ring, found)) == 0;
            zones |= zone_bit(ring, found);
            if ((pass == 1 || is_new_zone) && has_room(ring, found, load, calls)) {
                *node = found;
                return KW_OK;
            }
        }
        begin_steps(&steps, ring, hash);
    }
    /* Weight that owns no point, or calls of nodes without weight, use up the caps. */
    uint32_t owner = kw_ring_owner_of(ring, hash);
    if (owner == KW_RING_NO_NODE) {
        return KW_ERR_NOT_SERVED;
    }
    *node = owner;
    return KW_OK;
}

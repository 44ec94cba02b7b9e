/* SPDX-License-Identifier: BSD-3-Clause */
/* Ring: nodes, and what leads from the hash of a key to one of them; inside the library. */
#ifndef ROUTE_RING_H
#define ROUTE_RING_H

#include <keyway/ring.h>

#include "base/memory.h"
#include "route/ring_rules.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kw_ring_node {
    uint64_t id; /* XXH3 of the name */
    uint32_t weight;
    uint32_t points_n; /* points, or places in the list; 0: owns nothing */
    uint16_t zone;     /* index of its zone */
    uint16_t name_len;
    char name[KW_RING_NAME_MAX + 1]; /* with a zero byte behind */
} kw_ring_node;

typedef char kw_ring_zone[KW_RING_ZONE_MAX + 1];

/* What most lookups read: the next point at or behind a place of the ring. */
typedef struct kw_ring_cell {
    int16_t ahead; /* of the place, in 2^-KW_RING_CELL_BITS cells, as far as the type reaches */
    uint16_t node;
} kw_ring_cell;

#define KW_RING_CELL_BITS 12

/* Hashes inside the ring begin at the top bit of 64 bits, however many bits they have.
 *
 * Points of kw1 and ketama are numbers with a hash in the top 48 bits and a node in the low
 * 16, so that numbers are in the order of points, ties in the order of nodes. The last one
 * has the highest hash and the node of the lowest point, which makes the ring round.
 *
 * Cells: 2^bits of them and some more. The points stand in them in ascending order, none
 * before the cell that its top bits name, and a cell without a point of its own repeats the
 * next one. The owner of a hash is in the first cell, from the one that its top bits name,
 * that is not below it. A cell does not tell all bits of its point: where they do not
 * decide, the points do. */
struct kw_ring {
    kw_ring_cell *cells;
    size_t cells_n;
    unsigned shift; /* 64 - bits - KW_RING_CELL_BITS */
    bool is_plain;  /* has cells, kw1, tags in braces: the short way of a lookup */
    uint64_t seed;  /* rules.seed, on the cache line that lookups read anyway */
    atomic_size_t refs;
    kw_allocator mem;
    kw_ring_rules rules;

    /* Kw1 and ketama: hash and node in one number, as said above. Jedis: hashes, the last one the
     * highest that there is. A rendezvous: hashes of names. */
    uint64_t *points;
    size_t points_n;

    /* Jedis, a rendezvous: nodes of the points. Lists: nodes by place. */
    uint16_t *owners;
    size_t owners_n;

    kw_ring_node *nodes;
    size_t nodes_n;
    size_t live_n; /* nodes that have points, or places in the list */
    uint64_t weights_sum;
    kw_ring_zone *zones;
    size_t zones_n;
    uint64_t zones_live; /* bit i: zone i has a node with points */
};

/* In owners: nobody. */
#define KW_RING_OWNER_NONE ((uint16_t)0xffff)

/* Point, or place in the list, of the owner of a hash; only for a ring with a live node. */
size_t kw_ring_seek(const kw_ring *ring, uint64_t hash);

/* Owner of a hash in a ring with cells; KW_RING_NO_NODE where the bits in the cells do not decide,
 * about one time in ten thousand. Most hashes need at most two steps, which are made without a
 * branch: one that is taken at random costs more than the rest of a lookup. The two cells behind
 * those that the top bits name make these steps safe. */
static inline uint32_t kw_ring_cell_owner(const kw_ring *ring, uint64_t hash)
{
    const int width = 1 << KW_RING_CELL_BITS;
    uint64_t fine = hash >> ring->shift;
    const kw_ring_cell *cell = &ring->cells[fine >> KW_RING_CELL_BITS];
    int place = (int)fine & (width - 1);
    int is_below = cell->ahead < place;
    cell += is_below;
    place -= is_below * width;
    is_below = cell->ahead < place;
    cell += is_below;
    place -= is_below * width;
    while (cell->ahead < place) {
        cell++;
        place -= width;
        if (place < INT16_MIN) {
            return KW_RING_NO_NODE;
        }
    }
    return cell->ahead != place ? cell->node : KW_RING_NO_NODE;
}

/* The hash of a key, from the top bit on. */
uint64_t kw_ring_hash_of(const kw_ring *ring, const char *key, size_t key_len);

/* Owner of a hash; KW_RING_NO_NODE where there is none. */
uint32_t kw_ring_owner_of(const kw_ring *ring, uint64_t hash);

/* A rendezvous: score of the node at an index of the points. */
uint64_t kw_ring_score(const kw_ring *ring, uint64_t hash, size_t index);

/* kw_ring_lookup without its short way: for any ring and any key. */
kw_err kw_ring_lookup_any(const kw_ring *ring, uint32_t *node, const char *key, size_t key_len);

/* The first node of a hash's preference list that is not down; KW_RING_NO_NODE where there
 * is none. */
uint32_t kw_ring_first_up(const kw_ring *ring, uint64_t hash, const unsigned char *is_down);

#endif

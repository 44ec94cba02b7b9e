/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: a consistent-hash ring, without a connection. */
#ifndef KEYWAY_RING_H
#define KEYWAY_RING_H

#include <stddef.h>
#include <stdint.h>

#include <keyway/error.h>
#include <keyway/export.h>
#include <keyway/memory.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An immutable ring: which node owns which key. Shared by counting references; every
 * function that reads one may be called from any thread. Nodes are numbered from 0, in an
 * order that depends on their names, not on how they were added (Jedis placements: in the
 * order they were added). Numbers differ between rings; names tie them together. */
typedef struct kw_ring kw_ring;

/* A set of nodes in the making. One thread per object. */
typedef struct kw_ring_change kw_ring_change;

#define KW_RING_NAME_MAX   255      /* bytes of a node's name, at least 1 */
#define KW_RING_ZONE_MAX   63       /* bytes of a zone's name */
#define KW_RING_ZONES_MAX  64       /* different zones of a ring */
#define KW_RING_NODES_MAX  10000    /* nodes of a ring */
#define KW_RING_POINTS_MAX 16777216 /* points, or places of a list, of a ring */
#define KW_RING_NO_NODE    UINT32_MAX

/* Starts from no node at all. placement says how keys find nodes, the name of a placement
 * and then what differs from its defaults, joined by slashes; NULL means "kw1":
 *
 *   kw1             virtual nodes and XXH3: 150 points for each unit of weight
 *   modulo          XXH3 modulo the number of nodes: nearly every key moves when a node
 *                   comes; for comparison
 *   twemproxy:ketama:HASH, twemproxy:modula:HASH
 *                   as nutcracker 0.5; HASH is one of its names but hsieh; "twemproxy"
 *                   alone is its default, ketama with fnv1a_64
 *   go-redis        the Ring of go-redis from version 8, a rendezvous
 *   jedis, jedis:2.9, jedis:unnamed
 *                   shards with names since Jedis 2.10, the same up to 2.9, and without
 *
 *   /v150           points for each unit of weight, 1 to 65536 (kw1)
 *   /tag            keys are routed by what stands in {}, if they have such a part (the
 *                   default of kw1 and modulo; always so in go-redis)
 *   /tag:()         by what stands between two other characters
 *   /notag          by the whole key (the default of twemproxy and Jedis)
 *   /seed:7         seed of the hash of keys, against crafted ones (kw1, modulo)
 *   /unsigned       bytes of keys as on ARM; nutcracker on x86 has them signed (twemproxy)
 *   /xxh3           says what is so (kw1, modulo)
 *
 * allocator may be NULL for malloc and free. NULL, with an error, for any other
 * placement (KW_ERR_ARGUMENT), without memory (KW_ERR_NOMEM), and where the xxHash
 * that keyway was built with gives other values than it should (KW_ERR_UNSUPPORTED).
 * Freed with kw_ring_change_free. Any thread. */
KW_API kw_ring_change *kw_ring_change_new(const char *placement, kw_error *error,
                                          const kw_allocator *allocator);

/* Starts from the nodes, the placement and the allocator of a ring, which stays as it is.
 * NULL, with an error, when there is no memory. Freed with kw_ring_change_free. Any
 * thread. */
KW_API kw_ring_change *kw_ring_change_of(kw_ring *ring, kw_error *error);

/* Adds a node: a name of any bytes, which alone says where its keys are, and a weight,
 * its share against others; weight 0 owns no key. KW_ERR_ARGUMENT for a name that is there
 * already, empty or too long, and for too many nodes; KW_ERR_NOMEM. A call that fails
 * leaves the change as it was. One thread per object. */
KW_API kw_err kw_ring_change_add(kw_ring_change *change, kw_error *error, const char *name,
                                 size_t name_len, uint32_t weight);

/* Adds a server by its line in nutcracker's configuration, "host:port:weight name" or
 * "/path:weight name", the name being optional: its name on the ring is the text that
 * nutcracker hashes. KW_ERR_ARGUMENT for another line, and as kw_ring_change_add. One
 * thread per object. */
KW_API kw_err kw_ring_change_add_server(kw_ring_change *change, kw_error *error, const char *line);

/* Removes a node; gives it another weight; puts it into a zone, "" (where all nodes
 * begin) being one as well. KW_ERR_ARGUMENT for a name that is not there and for a zone
 * that is too long or one too many. One thread per object. */
KW_API kw_err kw_ring_change_remove(kw_ring_change *change, kw_error *error, const char *name,
                                    size_t name_len);
KW_API kw_err kw_ring_change_reweight(kw_ring_change *change, kw_error *error, const char *name,
                                      size_t name_len, uint32_t weight);
KW_API kw_err kw_ring_change_set_zone(kw_ring_change *change, kw_error *error, const char *name,
                                      size_t name_len, const char *zone);

/* The ring of all changes so far, a reference that the caller gives back with
 * kw_ring_unref. A ring without nodes is one as well. The change may be changed and
 * committed again. NULL, with an error and nothing changed, where the points are more
 * than KW_RING_POINTS_MAX (KW_ERR_ARGUMENT) or there is no memory. One thread per object. */
KW_API kw_ring *kw_ring_change_commit(kw_ring_change *change, kw_error *error);

/* NULL is allowed. One thread per object. */
KW_API void kw_ring_change_free(kw_ring_change *change);

/* One more reference, and one less; the last one frees the ring. unref takes NULL. Any
 * thread. */
KW_API kw_ring *kw_ring_ref(kw_ring *ring);
KW_API void kw_ring_unref(kw_ring *ring);

/* Owner of key on the ring: the node of the first point at or after its hash (or what the
 * placement says instead). key may hold any bytes (NULL only with 0). KW_ERR_NOT_SERVED
 * where no node has a point. Any thread. */
KW_API kw_err kw_ring_lookup(const kw_ring *ring, uint32_t *node, const char *key, size_t key_len);

/* Where key is: its hash in the ring's own space, 0 to 2^48 - 1 in kw1, to 2^32 - 1 in
 * twemproxy's placements, to 2^64 - 1 in the others (Jedis: 2^63 added, so that its signed
 * order is the order of these numbers). Any thread. */
KW_API uint64_t kw_ring_hash(const kw_ring *ring, const char *key, size_t key_len);

/* Nodes of the ring, those that own nothing included. Any thread. */
KW_API size_t kw_ring_nodes_n(const kw_ring *ring);

/* Name of a node, with a zero byte behind that name_len (may be NULL) does not count; its
 * zone; NULL past the last node. Borrowed from the ring. Any thread. */
KW_API const char *kw_ring_node_name(const kw_ring *ring, size_t *name_len, uint32_t node);
KW_API const char *kw_ring_node_zone(const kw_ring *ring, uint32_t node);

/* Weight of a node, its points (or places in a list), and the exact part of all hashes
 * that it owns, 0 to 1; 0 past the last node. Any thread. */
KW_API uint32_t kw_ring_node_weight(const kw_ring *ring, uint32_t node);
KW_API size_t kw_ring_node_points(const kw_ring *ring, uint32_t node);
KW_API double kw_ring_node_share(const kw_ring *ring, uint32_t node);

/* Number of the node of that name. KW_ERR_ARGUMENT where there is none. Any thread. */
KW_API kw_err kw_ring_find(const kw_ring *ring, uint32_t *node, const char *name, size_t name_len);

/* The placement in full, "kw1/xxh3/v150/tag", as kw_ring_change_new takes it. Borrowed
 * from the ring. Any thread. */
KW_API const char *kw_ring_placement(const kw_ring *ring);

/* Two processes that have the same placement and the same fingerprint agree on the owner
 * of every key: XXH3 (64 bits, seed 0) over all different points in ascending order, ties
 * in the order of nodes; of each its hash as 8 bytes, lowest first, one byte with the
 * length of its node's name, and the name. (Lists: the position in place of the hash. A
 * rendezvous: the hash of the name, in the order of nodes.) Reads all points. Any thread. */
KW_API uint64_t kw_ring_fingerprint(const kw_ring *ring);

/* Preference list of a key: the owner, then clockwise the next different nodes. Where
 * nodes have zones, first one node of each zone, then the others in the order they were
 * met. Writes the first nodes_max of them, returns their number; 0 where nobody owns
 * anything. Any thread. */
KW_API size_t kw_ring_preference(const kw_ring *ring, uint32_t *nodes, size_t nodes_max,
                                 const char *key, size_t key_len);

/* The same list, one node after the other, as far as the caller likes. The ring must
 * outlive it. NULL when there is no memory; freed with kw_ring_walk_free. Any thread. */
typedef struct kw_ring_walk kw_ring_walk;
KW_API kw_ring_walk *kw_ring_walk_new(const kw_ring *ring, const char *key, size_t key_len);

/* The next node; KW_RING_NO_NODE behind the last. One thread per object. */
KW_API uint32_t kw_ring_walk_next(kw_ring_walk *walk);

/* NULL is allowed. One thread per object. */
KW_API void kw_ring_walk_free(kw_ring_walk *walk);

/* How busy the nodes are. */
typedef struct kw_ring_load {
    size_t size;               /* sizeof(kw_ring_load) */
    const uint32_t *in_flight; /* calls under way, one number for each node */
    double factor;             /* how much more than its share a node may have, 1 or more;
                                  0 means 1.25 */
} kw_ring_load;

/* For calls that any node may answer: the first node of the preference list that is below
 * factor x (all calls in flight + 1) x its share of the weights, rounded up (consistent
 * hashing with bounded loads; Mirrokni, Thorup, Zadimoghaddam 2018). KW_ERR_NOT_SERVED
 * where no node has a point, KW_ERR_ARGUMENT for a factor below 1. Any thread. */
KW_API kw_err kw_ring_lookup_bounded(const kw_ring *ring, uint32_t *node, const char *key,
                                     size_t key_len, const kw_ring_load *load);

/* What moves between two rings. */
typedef struct kw_ring_diff kw_ring_diff;

/* Keys with hashes first to last, both included, go from a node of the one ring to a node
 * of the other; KW_RING_NO_NODE where a ring has no owner. */
typedef struct kw_ring_move {
    size_t size; /* sizeof(kw_ring_move) */
    uint64_t first;
    uint64_t last;
    uint32_t from; /* number in the old ring */
    uint32_t to;   /* number in the new ring */
} kw_ring_move;

/* Compares two rings, arc by arc; nodes of equal name are the same node. NULL, with an
 * error, for placements that hash keys differently (KW_ERR_ARGUMENT), for those without
 * arcs (modulo, modula, go-redis: KW_ERR_UNSUPPORTED), and without memory. Freed with
 * kw_ring_diff_free. Any thread. */
KW_API kw_ring_diff *kw_ring_diff_new(const kw_ring *from, kw_error *error, const kw_ring *to);

/* Ranges that move, in ascending order and apart; borrowed from diff, NULL past the last.
 * Any thread. */
KW_API size_t kw_ring_diff_count(const kw_ring_diff *diff);
KW_API const kw_ring_move *kw_ring_diff_at(const kw_ring_diff *diff, size_t index);

/* NULL is allowed. One thread per object. */
KW_API void kw_ring_diff_free(kw_ring_diff *diff);

/* The part of all hashes, 0 to 1, whose owner differs between the rings: exact on arcs
 * and on lists; of a rendezvous, what it is on average. KW_ERR_ARGUMENT for placements
 * that hash keys differently, KW_ERR_NOMEM. Any thread. */
KW_API kw_err kw_ring_moved(const kw_ring *from, kw_error *error, double *fraction,
                            const kw_ring *to);

#ifdef __cplusplus
}
#endif

#endif

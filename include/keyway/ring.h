/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: a consistent-hash ring, without a connection.
 *
 * A kw_ring says which node owns which key. It is made by a kw_ring_change, and never changes:
 *
 *   kw_ring_change *change = kw_ring_change_new("kw1", &error, NULL);
 *   kw_ring_change_add(change, &error, "a", 1, 1);
 *   kw_ring *ring = kw_ring_change_commit(change, &error);
 *
 * kw_ring_lookup then gives the owner of a key. The placement kw1 is a promise: it is written down
 * here, and the same on every machine and in every version. Others continue what other clients
 * have placed. */
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

/* An immutable ring, shared by counting references. Every function that reads one may be called
 * from any thread. What could not be made may be given on: of a ring, a change, a walk or a
 * comparison that is NULL functions say 0, NULL, KW_RING_NO_NODE or KW_ERR_ARGUMENT. Nodes are
 * numbered from 0, in an order that depends on their names, not on how they were added (in Jedis'
 * placements: in the order of adding). Numbers differ between rings; names tie nodes of different
 * rings together. */
typedef struct kw_ring kw_ring;

/* A set of nodes that a ring is to be made of. One thread per object. */
typedef struct kw_ring_change kw_ring_change;

#define KW_RING_NAME_MAX   255        /* bytes of a node's name, at least 1 */
#define KW_RING_ZONE_MAX   63         /* bytes of a zone's name */
#define KW_RING_ZONES_MAX  64         /* different zones of a ring */
#define KW_RING_NODES_MAX  10000      /* nodes of a ring */
#define KW_RING_POINTS_MAX 16777216   /* points, or places of a list, of a ring */
#define KW_RING_NO_NODE    UINT32_MAX /* a number that no node has */

/* Begins a ring without any node. placement says how keys find nodes: the name of a placement and
 * then what differs from its defaults, joined by slashes; NULL means "kw1":
 *
 *   kw1             virtual nodes and XXH3: 150 points for each unit of weight
 *   modulo          XXH3 modulo the number of nodes: nearly every key moves when a node
 *                   comes; for comparison
 *   twemproxy:ketama:HASH, twemproxy:modula:HASH
 *                   as nutcracker 0.5; HASH is one of its names but hsieh; "twemproxy"
 *                   alone is its default, ketama with fnv1a_64
 *   go-redis        the Ring of go-redis from version 8, a rendezvous
 *   jedis           shards with names, as Jedis 2.10 and later place them
 *   jedis:2.9       shards with names, as Jedis up to 2.9 places them
 *   jedis:unnamed   shards without names, as every Jedis places them
 *
 *   /v150           points for each unit of weight, 1 to 65536 (kw1)
 *   /tag            keys are routed by what stands in {}, if they have such a part (the
 *                   default of kw1 and modulo; always so in go-redis)
 *   /tag:()         by what stands between two other characters
 *   /notag          by the whole key (the default of twemproxy and Jedis)
 *   /seed:7         seed of the hash of keys, against crafted ones (kw1, modulo)
 *   /unsigned       bytes of keys as on ARM; nutcracker on x86 has them signed (twemproxy)
 *   /xxh3           the hash of kw1 and modulo, which is always this one
 *
 * kw1 in full: the id of a node is XXH3 of its name. The points of a node, as many as /v says for
 * each unit of weight, are numbered by j from 0; point j is at XXH3 of 16 bytes, which are the id
 * and j, each as 8 bytes, lowest first. A key is at XXH3 of its routed part. XXH3 is XXH3_64bits
 * with seed 0, for keys with that of /seed, and of its 64 bits the upper 48 count. The owner of a
 * key is the node of the first point at or after the key; behind the last point comes the first. Of
 * several points at one place that of the node with the lowest id counts, of equal ids the lowest
 * name, byte by byte.
 *
 * allocator is copied, and gives the memory of the change and of its rings; NULL: malloc and free.
 * The caller frees the change with kw_ring_change_free.
 *
 * NULL where it fails. Errors: KW_ERR_ARGUMENT (another placement), KW_ERR_UNSUPPORTED (the xxHash
 * that keyway was built with gives other values than it should), KW_ERR_NOMEM. Any thread. */
KW_API kw_ring_change *kw_ring_change_new(const char *placement, kw_error *error,
                                          const kw_allocator *allocator);

/* Begins with the nodes, the placement and the allocator of a ring, which stays as it is. The
 * caller frees the change with kw_ring_change_free.
 *
 * NULL where it fails. Errors: KW_ERR_NOMEM. Any thread. */
KW_API kw_ring_change *kw_ring_change_of(kw_ring *ring, kw_error *error);

/* Adds a node: a name of any bytes, name_len of them, which alone says where its keys are, and a
 * weight, its share against that of the others; weight 0 owns no key. A failure leaves the change
 * as it was.
 *
 * Errors: KW_ERR_ARGUMENT (a name that is there, empty or too long; too many nodes), KW_ERR_NOMEM.
 * One thread per object. */
KW_API kw_err kw_ring_change_add(kw_ring_change *change, kw_error *error, const char *name,
                                 size_t name_len, uint32_t weight);

/* Adds a node by its server's line in nutcracker's configuration, "host:port:weight name" or
 * "/path:weight name", where the name may be left out. Its name on the ring is the text that
 * nutcracker hashes. A failure leaves the change as it was.
 *
 * Errors: KW_ERR_ARGUMENT (another kind of line), and those of kw_ring_change_add. One thread per
 * object. */
KW_API kw_err kw_ring_change_add_server(kw_ring_change *change, kw_error *error, const char *line);

/* Removes the node of a name (any bytes, name_len of them).
 *
 * Errors: KW_ERR_ARGUMENT (no node of that name). One thread per object. */
KW_API kw_err kw_ring_change_remove(kw_ring_change *change, kw_error *error, const char *name,
                                    size_t name_len);

/* Gives the node of a name (any bytes, name_len of them) another weight.
 *
 * Errors: KW_ERR_ARGUMENT (no node of that name). One thread per object. */
KW_API kw_err kw_ring_change_reweight(kw_ring_change *change, kw_error *error, const char *name,
                                      size_t name_len, uint32_t weight);

/* Puts the node of a name (any bytes, name_len of them) into a zone. All nodes begin in the zone
 * "", which is one as any other.
 *
 * Errors: KW_ERR_ARGUMENT (no node of that name, a zone that is too long, or one too many). One
 * thread per object. */
KW_API kw_err kw_ring_change_set_zone(kw_ring_change *change, kw_error *error, const char *name,
                                      size_t name_len, const char *zone);

/* Makes the ring of all nodes that are there now, a reference that the caller gives back with
 * kw_ring_unref. A ring may be without nodes. The change may be changed further and committed
 * again.
 *
 * NULL where it fails, with the change as it was. Errors: KW_ERR_ARGUMENT (more points than
 * KW_RING_POINTS_MAX), KW_ERR_NOMEM. One thread per object. */
KW_API kw_ring *kw_ring_change_commit(kw_ring_change *change, kw_error *error);

/* Frees a change; rings that were made of it live on. NULL is allowed. One thread per object. */
KW_API void kw_ring_change_free(kw_ring_change *change);

/* One more reference to a ring; returns the ring. The caller gives it back with kw_ring_unref. Any
 * thread. */
KW_API kw_ring *kw_ring_ref(kw_ring *ring);

/* Gives a reference back; with the last one the ring is freed. NULL is allowed. Any thread. */
KW_API void kw_ring_unref(kw_ring *ring);

/* Owner of a key: the node of the first point at or after the key's hash, or what the placement
 * says instead (Karger and others 1997). *node is its number. key may hold any bytes, key_len of
 * them (NULL only with 0).
 *
 * Errors: KW_ERR_NOT_SERVED (no node has a point). Any thread. */
KW_API kw_err kw_ring_lookup(const kw_ring *ring, uint32_t *node, const char *key, size_t key_len);

/* Hash of a key of any bytes, key_len of them, in the ring's own space: 0 to 2^48 - 1 in kw1, to
 * 2^32 - 1 in twemproxy's placements, to 2^64 - 1 in the others (Jedis: 2^63 added, so that its
 * signed order is the order of these numbers). Any thread. */
KW_API uint64_t kw_ring_hash(const kw_ring *ring, const char *key, size_t key_len);

/* Number of nodes, with those that own nothing. Any thread. */
KW_API size_t kw_ring_nodes_n(const kw_ring *ring);

/* Name of node number node, with a zero byte behind that *name_len (may be NULL) does not count.
 * Borrowed from the ring. NULL past the last node. Any thread. */
KW_API const char *kw_ring_node_name(const kw_ring *ring, size_t *name_len, uint32_t node);

/* Zone of node number node, "" where it was put into none. Borrowed from the ring. NULL past the
 * last node. Any thread. */
KW_API const char *kw_ring_node_zone(const kw_ring *ring, uint32_t node);

/* Weight of node number node; 0 past the last. Any thread. */
KW_API uint32_t kw_ring_node_weight(const kw_ring *ring, uint32_t node);

/* Points of node number node, or its places where the placement is a list; 0 past the last. Any
 * thread. */
KW_API size_t kw_ring_node_points(const kw_ring *ring, uint32_t node);

/* Exact part of all hashes that keys can have which node number node owns, 0 to 1; 0 past the last.
 * (twemproxy's crc32 gives 15 bits only.) Reads all points.
 * Any thread. */
KW_API double kw_ring_node_share(const kw_ring *ring, uint32_t node);

/* Finds the node of a name (any bytes, name_len of them); *node is its number.
 *
 * Errors: KW_ERR_ARGUMENT (no node of that name). Any thread. */
KW_API kw_err kw_ring_find(const kw_ring *ring, uint32_t *node, const char *name, size_t name_len);

/* The placement in full, "kw1/xxh3/v150/tag", as kw_ring_change_new takes it. Borrowed from the
 * ring. Any thread. */
KW_API const char *kw_ring_placement(const kw_ring *ring);

/* A number by which two processes can see that they agree on the owner of every key: they do where
 * placement and fingerprint are equal. It is XXH3 (64 bits, seed 0) over all different points in
 * ascending order, ties in the order of nodes; of each point its hash as 8 bytes, lowest first, one
 * byte with the length of its node's name, and the name. (Lists: the position in place of the hash.
 * A rendezvous: the hash of the name, in the order of nodes.) Reads all points. Any thread. */
KW_API uint64_t kw_ring_fingerprint(const kw_ring *ring);

/* Preference list of a key of any bytes, key_len of them: its owner, then clockwise the next
 * different nodes. Where nodes have zones, first one node of each zone comes, then the others in
 * the order in which they were met. Writes the numbers of the first nodes_max nodes, and returns
 * how many it wrote; 0 where no node owns anything. Any thread. */
KW_API size_t kw_ring_preference(const kw_ring *ring, uint32_t *nodes, size_t nodes_max,
                                 const char *key, size_t key_len);

/* A walk along the preference list of a key, as far as the caller likes. One thread per object. */
typedef struct kw_ring_walk kw_ring_walk;

/* Begins a walk for a key of any bytes, key_len of them. The ring must outlive it; the caller frees
 * it with kw_ring_walk_free. NULL where there is no memory. Any thread. */
KW_API kw_ring_walk *kw_ring_walk_new(const kw_ring *ring, const char *key, size_t key_len);

/* Number of the next node of the walk, which begins with the owner; KW_RING_NO_NODE behind the
 * last. One thread per object. */
KW_API uint32_t kw_ring_walk_next(kw_ring_walk *walk);

/* Frees a walk. NULL is allowed. One thread per object. */
KW_API void kw_ring_walk_free(kw_ring_walk *walk);

/* How busy the nodes are, as kw_ring_lookup_bounded takes it. */
typedef struct kw_ring_load {
    size_t size;               /* sizeof(kw_ring_load) */
    const uint32_t *in_flight; /* calls under way, one number for each node */
    double factor;             /* how much more than its share a node may have, 1 or more;
                                  0 means 1.25 */
} kw_ring_load;

/* Node for a call that any node may answer: the first of the key's preference list that has fewer
 * calls under way than factor x (all calls under way + 1) x its share of the weights, rounded up
 * (consistent hashing with bounded loads; Mirrokni, Thorup, Zadimoghaddam 2018). *node is its
 * number. key may hold any bytes, key_len of them; load is borrowed for the call.
 *
 * Errors: KW_ERR_NOT_SERVED (no node has a point), KW_ERR_ARGUMENT (a factor below 1). Any thread.
 */
KW_API kw_err kw_ring_lookup_bounded(const kw_ring *ring, uint32_t *node, const char *key,
                                     size_t key_len, const kw_ring_load *load);

/* Ranges of hashes that move between two rings. Reading is safe from any thread. */
typedef struct kw_ring_diff kw_ring_diff;

/* One range of hashes that moves from a node of one ring to a node of another. */
typedef struct kw_ring_move {
    size_t size;    /* sizeof(kw_ring_move) */
    uint64_t first; /* hash of the range, included */
    uint64_t last;  /* hash of the range, included */
    uint32_t from;  /* node's number in the old ring; KW_RING_NO_NODE where it has no owner */
    uint32_t to;    /* node's number in the new ring; KW_RING_NO_NODE where it has no owner */
} kw_ring_move;

/* Compares two rings, range by range; nodes of equal names are the same node. The caller frees the
 * result with kw_ring_diff_free; the rings need not outlive it.
 *
 * NULL where it fails. Errors: KW_ERR_ARGUMENT (the placements hash keys differently),
 * KW_ERR_UNSUPPORTED (a placement without ranges: modulo, modula, go-redis), KW_ERR_NOMEM. Any
 * thread. */
KW_API kw_ring_diff *kw_ring_diff_new(const kw_ring *from, kw_error *error, const kw_ring *to);

/* Number of ranges that move. Any thread. */
KW_API size_t kw_ring_diff_count(const kw_ring_diff *diff);

/* Range number index, counted from 0; ranges ascend, and do not touch where they go from and to the
 * same nodes. Borrowed from diff. NULL past the last. Any thread. */
KW_API const kw_ring_move *kw_ring_diff_at(const kw_ring_diff *diff, size_t index);

/* Frees a comparison. NULL is allowed. One thread per object. */
KW_API void kw_ring_diff_free(kw_ring_diff *diff);

/* Part of all hashes, 0 to 1, whose owner differs between two rings: exact where the placement has
 * ranges or is a list; of a rendezvous, what it is on average. Nodes of equal names are the same
 * node.
 *
 * Errors: KW_ERR_ARGUMENT (the placements hash keys differently), KW_ERR_NOMEM. Any thread. */
KW_API kw_err kw_ring_moved(const kw_ring *from, kw_error *error, double *fraction,
                            const kw_ring *to);

#ifdef __cplusplus
}
#endif

#endif

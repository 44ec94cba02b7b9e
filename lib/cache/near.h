/* SPDX-License-Identifier: BSD-3-Clause */
/* Near: values in this process' memory, and when one may be given.
 *
 * What holds:
 * - An entry is the answer of one server, read by a connection pair of which the server tells who
 *   writes the keys that were read (CLIENT TRACKING). It is given while the pair's epoch is what it
 *   was when its read was sent, and the pair's proof is younger than near-staleness: then no
 *   message about it was on its way at the moment of the proof.
 * - A place for the key is taken before its read is sent. A message, an own write, another map or a
 *   lost connection kills places as it kills entries; an answer without its place is not kept.
 * - An own write, in any way of sending, changes the stamp of its keys before it is sent and when
 *   it has ended (topology/write_stamps.h); entries and places have the stamp of their time. While
 *   one is under way no place is taken.
 * - Who finds an entry holds a pin; entries that were taken out are freed when no pin is left from
 *   before. A hit takes no lock, and asks nobody for memory.
 * - Entries, those that wait for pins, table and ghosts stay within near-bytes. */
#ifndef CACHE_NEAR_H
#define CACHE_NEAR_H

#include "cache/pins.h"
#include "cache/s3fifo.h"
#include "net/sync.h"
#include "topology/write_stamps.h"

/* Servers that near values may come from; those of more are read at the server. */
#define KW_NEAR_PAIRS_MAX 256

/* What the validity of all values of a pair goes by. */
typedef struct kw_near_pair {
    _Alignas(64) atomic_uint_fast64_t proof_ns; /* nothing was written before this that is not
                                                   known; 0: no proof */
    atomic_uint epoch;                          /* of another one: not valid */
    atomic_bool is_wanted;                      /* somebody wants the proof renewed */
} kw_near_pair;

typedef struct kw_near_entry {
    kw_s3_link link;                      /* its hash is the key's */
    _Atomic(struct kw_near_entry *) next; /* in its bucket; among what waits for pins */
    uint64_t end_ns;                      /* by its TTL and near-ttl */
    uint64_t stamp;                       /* of own writes */
    uint32_t key_len;
    uint32_t value_len;
    uint32_t epoch;
    uint16_t pair;
    char bytes[]; /* key, value */
} kw_near_entry;

/* A place for a key whose read is about to be sent; its owner's, linked until it is filled or
 * given up. */
typedef struct kw_near_place {
    struct kw_near_place *next;
    struct kw_near_place *before;
    uint64_t hash;
    uint64_t stamp;
    uint64_t sent_ns; /* the answer is of this time, or later */
    uint32_t epoch;
    uint16_t pair;
    bool is_alive;
} kw_near_place;

typedef struct kw_near_limits {
    uint64_t bytes;
    uint64_t ttl_ns;
    uint64_t staleness_ns;
} kw_near_limits;

#define KW_NEAR_PLACE_BUCKETS 64

typedef struct kw_near {
    kw_pins pins; /* first: aligned */
    kw_near_pair pairs[KW_NEAR_PAIRS_MAX];
    kw_allocator mem;
    void *block; /* what is to be freed */
    kw_near_limits limits;
    kw_write_stamps *stamps; /* the handle's */
    _Atomic(kw_near_entry *) *buckets;
    uint64_t buckets_mask;
    atomic_uint map_n;  /* maps that were heeded */
    kw_monitor monitor; /* guards all below, and writes to what is above, but proofs */
    kw_s3fifo queues;
    kw_near_entry *leaving; /* taken out, the grace has not begun */
    kw_near_entry *waiting; /* for the end of the grace */
    uint64_t garbage;       /* bytes of both */
    uint64_t fixed;         /* bytes of table and ghosts */
    kw_near_place *places[KW_NEAR_PLACE_BUCKETS];
    uint64_t places_n;
    atomic_uint_fast64_t evictions;
    atomic_uint_fast64_t invalidations; /* messages about keys */
} kw_near;

/* NULL: no memory. */
kw_near *kw_near_new(const kw_allocator *mem, const kw_near_limits *limits,
                     kw_write_stamps *stamps);

/* No call is in it any more. What is pinned stays until it is given back. */
void kw_near_close(kw_near *near);

/* Pin of a value; where it was the last of a closed near, all is freed. */
void kw_near_give_back(kw_pins_guard pin);

/* The entry that may be given for the key at this time, and a pin for it; NULL: none. now_ns was
 * read when the call began. */
kw_near_entry *kw_near_find(kw_near *near, kw_pins_guard *pin, kw_bytes key, uint64_t now_ns);

/* Hash of a key. */
uint64_t kw_near_hash(kw_bytes key);

/* Takes a place for the key with the pair. map_n was read before the map was. False: there can be
 * none now. */
bool kw_near_place_take(kw_near *near, kw_near_place *place, uint16_t pair, unsigned map_n);

/* The answer came: it is kept where the place is still alive. end_ns: of the value's own life;
 * 0: the place is only given up. */
void kw_near_place_end(kw_near *near, kw_near_place *place, kw_bytes key, kw_bytes value,
                       uint64_t end_ns);

/* False: the key was written since the place was taken, or nobody would know of it. */
bool kw_near_place_is_alive(kw_near *near, const kw_near_place *place);

/* A message: somebody has written the key. */
void kw_near_kill(kw_near *near, kw_bytes key);

/* Ends all values of the pair, and its places. */
void kw_near_end_epoch(kw_near *near, uint16_t pair);

/* Another map is in use; the pairs whose values it ends were ended under this call's eyes:
 * pairs[i] says of which. */
void kw_near_on_map(kw_near *near, const bool *pairs, size_t pairs_n);

/* Values given so far. */
uint64_t kw_near_hits(kw_near *near);

/* Bytes in use now. */
uint64_t kw_near_bytes(kw_near *near);

#endif

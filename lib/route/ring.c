/* SPDX-License-Identifier: BSD-3-Clause */
/* The ring itself: hashes of keys, owners of hashes, and what can be asked about its nodes. */
#include "route/ring.h"

#include <string.h>

#include "route/crc16_word.h"
#include "route/hash_xxh.h"
#include "route/ring_jedis.h"

kw_ring *kw_ring_ref(kw_ring *ring)
{
    if (ring != NULL) {
        atomic_fetch_add_explicit(&ring->refs, 1, memory_order_relaxed);
    }
    return ring;
}

void kw_ring_unref(kw_ring *ring)
{
    if (ring != NULL && atomic_fetch_sub_explicit(&ring->refs, 1, memory_order_acq_rel) == 1) {
        kw_allocator mem = ring->mem;
        kw_mem_free(&mem, ring->cells);
        kw_mem_free(&mem, ring->points);
        kw_mem_free(&mem, ring->owners);
        kw_mem_free(&mem, ring->nodes);
        kw_mem_free(&mem, ring->zones);
        kw_mem_free(&mem, ring);
    }
}

/* The part of a key with an opening character that is hashed: what stands between it and
 * the first closing one behind it, at least one byte, else the whole key. */
static kw_bytes routed(const kw_ring_rules *rules, const char *key, size_t key_len, size_t open)
{
    kw_bytes whole = {key, key_len};
    if (rules->method == KW_RING_JEDIS) {
        return kw_jedis_tag(whole, open);
    }
    const char *from = key + open + 1;
    size_t left = key_len - open - 1;
    size_t close = kw_find_byte(from, left, rules->tag[1]);
    kw_bytes tag = {from, close};
    return close < left && tag.len > 0 ? tag : whole;
}

static uint64_t hash_part(const kw_ring_rules *rules, kw_bytes key)
{
    switch (rules->method) {
    case KW_RING_KETAMA:
    case KW_RING_MODULA:
        /* An empty key does not reach twemproxy's hash. */
        return key.len == 0
                   ? 0
                   : (uint64_t)rules->hash->fn(key.data, key.len, rules->signed_bytes) << 32;
    case KW_RING_RENDEZVOUS:
        return XXH64(key.data, key.len, 0);
    case KW_RING_JEDIS:
        return kw_jedis_hash(key.data, key.len);
    case KW_RING_KW1:
    case KW_RING_MODULO:
        break;
    }
    return kw_xxh3(key.data, key.len, rules->seed);
}

uint64_t kw_ring_hash_of(const kw_ring *ring, const char *key, size_t key_len)
{
    const kw_ring_rules *rules = &ring->rules;
    kw_bytes part = {key, key_len};
    if (rules->has_tag) {
        size_t open = kw_find_byte(key, key_len, rules->tag[0]);
        if (open < key_len) {
            part = routed(rules, key, key_len, open);
        }
    }
    return hash_part(rules, part);
}

uint64_t kw_ring_hash(const kw_ring *ring, const char *key, size_t key_len)
{
    if (ring == NULL) {
        return 0;
    }
    return kw_ring_hash_of(ring, key, key_len) >> (64 - kw_ring_rules_bits(&ring->rules));
}

/* The first of sorted points that is not below hash; the last one never is. */
static size_t seek_point(const kw_ring *ring, uint64_t hash)
{
    size_t low = 0;
    size_t high = ring->points_n - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ring->points[middle] < hash) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Xorshift 12/25/27 and a multiplication (Vigna 2016), as go-rendezvous mixes. */
uint64_t kw_ring_score(const kw_ring *ring, uint64_t hash, size_t index)
{
    uint64_t x = hash ^ ring->points[index];
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    return x * UINT64_C(2685821657736338717);
}

static size_t seek_score(const kw_ring *ring, uint64_t hash)
{
    size_t best = 0;
    uint64_t best_score = kw_ring_score(ring, hash, 0);
    for (size_t i = 1; i < ring->owners_n; i++) {
        uint64_t score = kw_ring_score(ring, hash, i);
        if (score > best_score) {
            best = i;
            best_score = score;
        }
    }
    return best;
}

size_t kw_ring_seek(const kw_ring *ring, uint64_t hash)
{
    switch (ring->rules.method) {
    case KW_RING_KW1:
    case KW_RING_KETAMA:
        return seek_point(ring, hash & ~UINT64_C(0xffff));
    case KW_RING_JEDIS:
        return seek_point(ring, hash);
    case KW_RING_MODULO:
        return (size_t)(hash % ring->owners_n);
    case KW_RING_MODULA:
        return (size_t)((hash >> 32) % ring->owners_n);
    case KW_RING_RENDEZVOUS:
        return seek_score(ring, hash);
    }
    return 0;
}

uint32_t kw_ring_owner_of(const kw_ring *ring, uint64_t hash)
{
    if (ring->live_n == 0) {
        return KW_RING_NO_NODE;
    }
    if (ring->cells == NULL) {
        return ring->owners[kw_ring_seek(ring, hash)];
    }
    uint32_t owner = kw_ring_cell_owner(ring, hash);
    return owner != KW_RING_NO_NODE ? owner : ring->points[kw_ring_seek(ring, hash)] & 0xffff;
}

kw_err kw_ring_lookup_any(const kw_ring *ring, uint32_t *node, const char *key, size_t key_len)
{
    uint32_t owner = kw_ring_owner_of(ring, kw_ring_hash_of(ring, key, key_len));
    if (owner == KW_RING_NO_NODE) {
        return KW_ERR_NOT_SERVED;
    }
    *node = owner;
    return KW_OK;
}

size_t kw_ring_nodes_n(const kw_ring *ring)
{
    return ring != NULL ? ring->nodes_n : 0;
}

const char *kw_ring_node_name(const kw_ring *ring, size_t *name_len, uint32_t node)
{
    if (node >= kw_ring_nodes_n(ring)) {
        return NULL;
    }
    if (name_len != NULL) {
        *name_len = ring->nodes[node].name_len;
    }
    return ring->nodes[node].name;
}

const char *kw_ring_node_zone(const kw_ring *ring, uint32_t node)
{
    return node < kw_ring_nodes_n(ring) ? ring->zones[ring->nodes[node].zone] : NULL;
}

uint32_t kw_ring_node_weight(const kw_ring *ring, uint32_t node)
{
    return node < kw_ring_nodes_n(ring) ? ring->nodes[node].weight : 0;
}

size_t kw_ring_node_points(const kw_ring *ring, uint32_t node)
{
    return node < kw_ring_nodes_n(ring) ? ring->nodes[node].points_n : 0;
}

/* The first node whose id is not below, where nodes stand in the order of their ids;
 * else 0. */
static size_t first_of(const kw_ring *ring, uint64_t id)
{
    size_t low = 0;
    size_t high = ring->nodes_n;
    if (ring->rules.hash != NULL || ring->rules.method == KW_RING_JEDIS) {
        return 0;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ring->nodes[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

kw_err kw_ring_find(const kw_ring *ring, uint32_t *node, const char *name, size_t name_len)
{
    if (ring == NULL) {
        return KW_ERR_ARGUMENT;
    }
    uint64_t id = kw_xxh3(name, name_len, 0);
    for (size_t i = first_of(ring, id); i < ring->nodes_n; i++) {
        const kw_ring_node *at = &ring->nodes[i];
        if (at->id == id && at->name_len == name_len && memcmp(at->name, name, name_len) == 0) {
            *node = (uint32_t)i;
            return KW_OK;
        }
    }
    return KW_ERR_ARGUMENT;
}

const char *kw_ring_placement(const kw_ring *ring)
{
    return ring != NULL ? ring->rules.text : NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Ring rules: what a placement string says. */
#ifndef ROUTE_RING_RULES_H
#define ROUTE_RING_RULES_H

#include <keyway/error.h>

#include "base/bytes.h"
#include "route/hash_compat.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KW_RING_VNODES        150
#define KW_RING_VNODES_MAX    65536
#define KW_RING_PLACEMENT_MAX 80 /* bytes of the text, with the zero byte */

typedef enum kw_ring_method {
    KW_RING_KW1,        /* cells, 48 bits */
    KW_RING_KETAMA,     /* cells, 32 bits */
    KW_RING_JEDIS,      /* sorted points, 64 bits */
    KW_RING_MODULO,     /* list, 64 bits */
    KW_RING_MODULA,     /* list, 32 bits */
    KW_RING_RENDEZVOUS, /* scores, 64 bits */
} kw_ring_method;

/* What Jedis hashes for point k of a node. */
typedef enum kw_ring_naming {
    KW_RING_NAME_STAR_K,        /* name, "*", k */
    KW_RING_NAME_STAR_WEIGHT_K, /* name, "*", weight, k */
    KW_RING_SHARD_NODE_K        /* "SHARD-", position, "-NODE-", k */
} kw_ring_naming;

typedef struct kw_ring_rules {
    kw_ring_method method;
    kw_ring_naming naming;
    bool has_tag;
    bool signed_bytes;
    char tag[2];                /* opening and closing character */
    uint32_t vnodes;            /* points for each unit of weight; kw1 */
    uint64_t seed;              /* of the hash of keys; kw1 and modulo */
    const kw_hash_compat *hash; /* of twemproxy's placements, else NULL */
    char text[KW_RING_PLACEMENT_MAX];
} kw_ring_rules;

/* Reads a placement as kw_ring_change_new takes it; rules->text becomes its full form.
 * KW_ERR_ARGUMENT, with an error that names the word that is wrong. */
kw_err kw_ring_rules_parse(kw_ring_rules *rules, kw_error *error, const char *placement);

/* Bits of a key's hash that count: 48, 32 or 64. */
unsigned kw_ring_rules_bits(const kw_ring_rules *rules);

/* The highest hash that a key can have: less than the bits allow where a placement's hash is
 * narrower (twemproxy's crc32 has 15). */
uint64_t kw_ring_rules_highest(const kw_ring_rules *rules);

/* True where points divide the hashes into arcs. */
bool kw_ring_rules_has_arcs(const kw_ring_rules *rules);

/* True where both give every key the same hash, and every hash the same meaning. */
bool kw_ring_rules_same_hash(const kw_ring_rules *a, const kw_ring_rules *b);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Map trust: whether a cluster's map is believed: whose it is, and whether it is newer than the one
 * in use. What is doubtful is held while others are asked. */
#ifndef ENGINE_MAP_TRUST_H
#define ENGINE_MAP_TRUST_H

#include "base/bytes.h"
#include "route/map.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of a node that is counted one bit is kept, by a hash: two may share one, and count as one. */
#define KW_MAP_WITNESS_BITS 8192u

/* A map that a node gave, as far as it decides on belief. */
typedef struct kw_map_said {
    kw_kinship kinship; /* with the map in use; UNKNOWN as well where there is none */
    bool is_seed;       /* the node is one of those that the URI names */
    bool has_info;      /* the next two are known (CLUSTER INFO) */
    bool is_ok;         /* cluster_state:ok: the node sees most of the primaries */
    uint64_t epoch;     /* cluster_current_epoch */
    uint64_t witness;   /* names the node, so that it counts once; 0: not known */
} kw_map_said;

/* Reads state and epoch from an answer to CLUSTER INFO; any other text tells nothing. */
void kw_map_said_info(kw_map_said *said, kw_bytes info);

typedef struct kw_map_trust {
    kw_map_said in_use; /* of the map in use: has_info, is_ok, epoch */
    size_t rounds_n;    /* fetches in a row that met nobody but strangers, and silence */
    /* Since a node knew the epoch in use, as a fetch does not ask all: */
    unsigned char older[KW_MAP_WITNESS_BITS / 8]; /* nodes that know of no newer map: bits */
    size_t older_n;                               /* how many are set */
    /* Of the fetch under way: */
    kw_map_said held;
    unsigned rank;     /* of what is held; 0: nothing is */
    uint64_t until_ns; /* others are waited for until then */
    bool has_silent;   /* one that was asked has not said who it is */
} kw_map_trust;

typedef enum kw_map_advice {
    KW_MAP_BELIEVED, /* into use with it: kw_map_trust_take */
    KW_MAP_HELD,     /* doubtful, and better than what was held: keep it, and ask others */
    KW_MAP_PASSED    /* doubtful, and no better: drop it, and ask others */
} kw_map_advice;

/* A fetch begins. */
void kw_map_trust_begin(kw_map_trust *trust);

/* A node gave a map. wait_ns: how long others may take to answer. */
kw_map_advice kw_map_trust_weigh(kw_map_trust *trust, const kw_map_said *said, uint64_t now_ns,
                                 uint64_t wait_ns);

/* A node that was asked has not said who it is: it may be one that is known. */
void kw_map_trust_on_silence(kw_map_trust *trust);

/* A node knows the map in use. */
void kw_map_trust_on_known(kw_map_trust *trust);

/* That map is in use from now on. */
void kw_map_trust_take(kw_map_trust *trust, const kw_map_said *said);

typedef enum kw_map_end {
    KW_MAP_END_NONE,     /* nothing is held */
    KW_MAP_END_WAITS,    /* others may know better yet */
    KW_MAP_END_BELIEVED, /* what is held goes into use */
    KW_MAP_END_REPLACED, /* so it does, and it is another cluster's */
    KW_MAP_END_KEPT,     /* it is an older one: the map in use stays */
    KW_MAP_END_REFUSED   /* it is another cluster's, and nobody vouches for it */
} kw_map_end;

/* What becomes of the map that is held. is_over: all have been asked, and nobody is waited for,
 * which is so once a fetch; nodes_n: of the map in use. */
kw_map_end kw_map_trust_end(kw_map_trust *trust, uint64_t now_ns, bool is_over, bool is_strict,
                            size_t nodes_n);

#endif

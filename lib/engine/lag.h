/* SPDX-License-Identifier: BSD-3-Clause */
/* Lag: how far a replica is behind, from what it and its primary say of replication. */
#ifndef ENGINE_LAG_H
#define ENGINE_LAG_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KW_REPLID_MAX    40
#define KW_LAG_SAMPLES_N ((size_t)32)

/* What a server says of its replication (INFO replication). */
typedef struct kw_replication {
    bool is_primary;
    bool is_linked;                 /* of a replica: its primary's stream arrives */
    uint64_t offset;                /* bytes of the stream that it has made, or applied */
    char replid[KW_REPLID_MAX + 1]; /* of the stream */
} kw_replication;

/* False, with nothing written, where the text lacks something. */
bool kw_replication_parse(kw_replication *out, kw_bytes info);

/* A stream's name, short enough to be compared at every read; never 0. */
uint64_t kw_replid_hash(const char *replid);

/* What a primary has said, and when it was asked: the offset was reached no later than
 * everything that was written before that. Zeros are an empty history. */
typedef struct kw_lag_history {
    char replid[KW_REPLID_MAX + 1];      /* of the stream that the samples are of */
    uint64_t asked_ns[KW_LAG_SAMPLES_N]; /* a ring buffer of samples: when, .. */
    uint64_t offsets[KW_LAG_SAMPLES_N];  /* .. and how far the stream was then */
    size_t next;                         /* where the next sample goes */
    size_t n;                            /* samples so far, at most KW_LAG_SAMPLES_N */
} kw_lag_history;

/* A primary that was asked at asked_ns has said so; a stream of another name begins anew. */
void kw_lag_history_add(kw_lag_history *history, const kw_replication *primary, uint64_t asked_ns);

/* The latest time at which the primary certainly had no more than the replica has; 0: there is
 * none. Times are by the caller's clock alone; the servers' clocks have no part in it. */
uint64_t kw_lag_known_ns(const kw_lag_history *history, const kw_replication *replica);

/* True where what the replica has, as of known_ns, is not older than the bound. */
static inline bool kw_lag_is_within(uint64_t known_ns, uint64_t now_ns, uint64_t bound_ns)
{
    return known_ns != 0 && now_ns <= known_ns + bound_ns;
}

#endif

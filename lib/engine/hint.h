/* SPDX-License-Identifier: BSD-3-Clause */
/* Hint: a write that one copy has missed, left with the next node of the key's list until
 * that copy is back. No read sees hints, and no write counts them.
 *
 * Hints for one node are in one hash of the server that keeps them, whose name ends in the
 * name of that node; field "k" and the key: 15 digits, when the hint ends, 15 digits, when
 * the value's key would (0: never), both in milliseconds by the keeper's clock, and the
 * record. Field "b": bytes in all. The hash itself ends with the last hint that came.
 *
 * Handing a hint back is a put of its record as of any other hand (is_copied), which the
 * copy takes if it is newer: as if the writer's own request had come late, by way of a
 * reader. So it may be done any number of times, by any process. A hint must end before the
 * tombstone of a later deletion does, or the deleted value would come back: it lives at most half
 * as long. */
#ifndef ENGINE_HINT_H
#define ENGINE_HINT_H

#include "base/reply.h"
#include "engine/quorum.h"

#define KW_HINT_LIFE_MAX_MS UINT64_C(10800000) /* three hours */
#define KW_HINT_COUNT_MAX   10000u             /* for one node, at one keeper */
#define KW_HINT_BYTES_MAX   (16u << 20)        /* for one node, at one keeper: keys and records */
#define KW_HINT_PAGE        64u                /* handed back at a time .. */
#define KW_HINT_PAGE_BYTES  (1u << 20)         /* .. or the one that goes beyond this */

/* True where the ask, which its copy has not answered, is to be left as a hint: it is a
 * write of the op's own. */
bool kw_hint_is_due(const kw_quorum_op *op, const kw_quorum_ask *ask);

/* What is left as a hint. */
typedef struct kw_hint {
    kw_bytes hint_key; /* name of the hash */
    kw_bytes key;
    kw_bytes record;
    uint64_t life_ms; /* of the value's key, linger included; 0: no end */
} kw_hint;

/* Sets what is left of the life of what was asked for passed_ms ago; false where nothing is. */
bool kw_hint_age(uint64_t *life_ms, const kw_quorum_ask *ask, uint64_t passed_ms);

/* Append commands; false, with buf unchanged, when there is no memory. Leave: linger_ms is
 * the rule's. A later hint for the same key stays. */
bool kw_hint_encode_leave(kw_buf *buf, const kw_hint *hint, uint64_t linger_ms);

/* A page of hints in the first of the hint_keys that has any. */
bool kw_hint_encode_look(kw_buf *buf, const kw_bytes *hint_keys, size_t hint_keys_n);

/* Removes the hint for the key, unless it is of another stamp by now. */
bool kw_hint_encode_drop(kw_buf *buf, kw_bytes hint_key, kw_bytes key, kw_stamp stamp);

/* Number of hints in the reply to a look, and in *hint_key the hash that they came from: an index
 * into the hint_keys that were asked for. 0: none, or no such reply. */
size_t kw_hint_count(const kw_reply *reply, size_t *hint_key, size_t hint_keys_n);

/* Hint number index: its key, and the ask that hands it back (of copy 0, round 0). False for
 * what is none. All borrowed from the reply. */
bool kw_hint_at(const kw_reply *reply, size_t index, kw_bytes *key, kw_quorum_ask *ask);

#endif

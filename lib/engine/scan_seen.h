/* SPDX-License-Identifier: BSD-3-Clause */
/* Scan seen: what a server says of itself to who walks its keys: which process it is, which slots
 * it has, and which of them are in motion. */
#ifndef ENGINE_SCAN_SEEN_H
#define ENGINE_SCAN_SEEN_H

#include "base/bytes.h"

#include <keyway/slot.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A set of slots, one bit each. */
#define KW_SCAN_SLOTS_LEN (KW_SLOTS_N / 8)
typedef struct kw_scan_slots {
    unsigned char bits[KW_SCAN_SLOTS_LEN];
} kw_scan_slots;

static inline bool kw_scan_slots_has(const kw_scan_slots *slots, unsigned slot)
{
    return (slots->bits[slot / 8] >> (slot % 8) & 1) != 0;
}

static inline void kw_scan_slots_add(kw_scan_slots *slots, unsigned slot)
{
    slots->bits[slot / 8] = (unsigned char)(slots->bits[slot / 8] | 1u << (slot % 8));
}

/* A slot that is on its way, as one of its two nodes says. */
typedef struct kw_scan_mark {
    uint16_t slot;
    bool is_import; /* from peer, else to peer */
    uint64_t peer;  /* hash of the other node's id */
} kw_scan_mark;

/* Marks that are told one by one; of those behind, it is known only that their slots move. */
#define KW_SCAN_MARKS_MAX 256

typedef struct kw_scan_seen {
    uint64_t run;         /* hash of the run id; 0: not known */
    uint64_t id;          /* of a cluster's node: hash of its id */
    uint64_t epoch;       /* and its config epoch */
    bool is_primary;      /* and whether it is one */
    kw_scan_slots owned;  /* slots that it claims */
    kw_scan_slots moving; /* slots that it marks as migrating or importing */
    kw_scan_mark marks[KW_SCAN_MARKS_MAX];
    size_t marks_n;
} kw_scan_seen;

/* Nothing is known. */
void kw_scan_seen_init(kw_scan_seen *seen);

/* Takes the line "myself" of an answer to CLUSTER NODES. False, with *at the offset of what is
 * wrong, where there is none, or it is none of a server's. */
bool kw_scan_seen_nodes(kw_scan_seen *seen, size_t *at, kw_bytes nodes);

/* Takes run_id of an answer to INFO server; false where there is none. */
bool kw_scan_seen_info(kw_scan_seen *seen, kw_bytes info);

/* A number for the walk of one process in one state: it differs where the process, the node or its
 * config epoch does; salt: what else is to count. Never 0. */
uint64_t kw_scan_seen_print(const kw_scan_seen *seen, uint64_t salt);

#endif

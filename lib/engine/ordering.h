/* SPDX-License-Identifier: BSD-3-Clause */
/* Ordering: commands of one key, of all that are under way at once, run in the order of adding or
 * end with an error. Who has to wait for whom is known by the last ones of each key (by a hash of
 * it; a collision only waits), whatever else is under way. No I/O, no clock.
 *
 * A command is pending until it leaves on a connection (its place), then it has left, then it
 * ends; refused or lost, it may be pending again. What holds of each key, reads among reads left
 * aside:
 * - A command leaves only after all that were added before it have left or ended; and only by the
 *   place on which those are that have not ended, where replies come in the order of sending.
 * - Where one was refused, or lost, and is pending again, commands of its key leave one at a time
 *   until one has run. It does not leave before those that had left behind it have ended, and
 *   never again once one of them has run, or may have. */
#ifndef ENGINE_ORDERING_H
#define ENGINE_ORDERING_H

#include "base/bytes.h"
#include "base/memory.h"

#include <string.h>

typedef struct kw_ordered kw_ordered;
typedef struct kw_order_key kw_order_key;

/* What the table holds for one hash: the link of the only command that has it, or a
 * kw_order_key. Its lowest bit tells which. */
typedef struct kw_order_entry {
    struct kw_order_entry *next; /* in its bucket */
    uint64_t hash;
} kw_order_entry;

/* One key of one command. */
typedef struct kw_order_link {
    union {
        kw_order_entry entry; /* no other command has the key: what the table holds; else .. */
        struct {
            struct kw_order_link *next;   /* .. its place in its key's list of pending ones */
            struct kw_order_link *before; /* of all but the first one: it leaves without a touch of
                                             the next one, which may be far */
        };
    };
    kw_order_key *key; /* NULL: no other command has it */
    kw_ordered *command;
} kw_order_link;

/* One command, a part of whatever its owner keeps for it. */
struct kw_ordered {
    uint64_t number; /* its place in the order of adding */
    union {
        const void *place;      /* where it has left to, or last wanted to; only compared */
        kw_ordered *next_freed; /* from when it is freed until it asks again */
    };
    union {
        kw_order_link own;
        kw_order_link *links; /* where it has_block: room for each of its keys */
    };
    uint32_t links_n;
    uint32_t at;   /* links before this one do not hold it up */
    bool is_added; /* it was ordered, and may have ended since */
    bool has_block;
    bool is_read;
    bool has_left;
    bool is_held;  /* waits to be freed */
    bool is_again; /* has left before, and came back */
};

/* It is not ordered yet. */
static inline void kw_ordered_init(kw_ordered *command)
{
    command->links_n = 0;
    command->is_added = false;
    command->has_block = false;
    command->at = 0;
    command->is_read = false;
    command->has_left = false;
    command->is_held = false;
    command->is_again = false;
}

typedef struct kw_ordering {
    const kw_allocator *mem;
    bool is_strict; /* of one key, one at a time is on its way */
    uint64_t numbers_n;
    size_t held_n; /* commands that wait to be freed */
    kw_order_entry **buckets;
    size_t buckets_n; /* in use: grows one by one (Litwin, Linear Hashing, 1980) */
    size_t capacity;
    size_t entries_n;
    kw_order_key *spare; /* to be used again */
    size_t spare_n;
    kw_ordered *freed; /* first in, first out */
    kw_ordered *freed_tail;
} kw_ordering;

void kw_ordering_init(kw_ordering *self, const kw_allocator *mem, bool is_strict);

/* Every command has ended. */
void kw_ordering_fini(kw_ordering *self);

/* The hash of a key. seed: what the key is of, where there are several places for it. Never 0. */
static inline uint64_t kw_order_hash(kw_bytes key, uint64_t seed)
{
    const uint64_t factor = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t hash = (key.len ^ seed) * factor;
    size_t i = 0;
    for (; i + 8 <= key.len; i += 8) {
        uint64_t word;
        memcpy(&word, key.data + i, sizeof(word));
        hash = (hash ^ word) * factor;
        hash ^= hash >> 32;
    }
    uint64_t rest = 0;
    if (i < key.len) {
        memcpy(&rest, key.data + i, key.len - i);
    }
    hash = (hash ^ rest) * factor;
    return (hash ^ hash >> 29) | 2; /* the lowest bit is the table's */
}

/* A command behind all that were added before. hashes: of its keys; the same one may come twice.
 * False, and it is not ordered, when there is no memory. */
bool kw_ordering_add(kw_ordering *ordering, kw_ordered *command, bool is_read,
                     const uint64_t *hashes, size_t hashes_n);

/* Likewise, of a command of one key. */
bool kw_ordering_add_one(kw_ordering *ordering, kw_ordered *command, bool is_read, uint64_t hash);

/* Its links: links_n of them. */
static inline kw_order_link *kw_ordered_links(kw_ordered *command)
{
    return command->has_block ? command->links : &command->own;
}

/* True for a command that shares no key with any other that is under way: it may leave. */
static inline bool kw_ordered_is_alone(const kw_ordered *command)
{
    return command->links_n == 0 ||
           (command->links_n == 1 && !command->has_block && command->own.key == NULL);
}

typedef enum kw_order_answer {
    KW_ORDER_GO,
    KW_ORDER_WAIT,     /* kw_ordering_next_freed gives it when it is to ask again */
    KW_ORDER_OVERTAKEN /* a later command of its key has run, or may have */
} kw_order_answer;

/* Whether the pending command may leave by the place. */
kw_order_answer kw_ordering_ask(kw_ordering *self, kw_ordered *command, const void *place);

/* The command leaves by the place. */
void kw_ordering_on_left_shared(kw_ordering *self, kw_ordered *command);
static inline void kw_ordering_on_left(kw_ordering *self, kw_ordered *command, const void *place)
{
    command->place = place;
    command->has_left = true;
    if (!kw_ordered_is_alone(command)) {
        kw_ordering_on_left_shared(self, command);
    }
}

/* The command's connection was lost, and it may have run. Of those that were lost together, the
 * last one comes first. True where it may be sent again, if it may run twice at all. */
bool kw_ordering_on_lost(kw_ordering *ordering, kw_ordered *command, bool is_repeatable);

/* The command has not run, or may run twice: it is pending again. */
void kw_ordering_on_back(kw_ordering *self, kw_ordered *command);

typedef enum kw_order_end {
    KW_ORDER_RAN,
    KW_ORDER_MAY_RUN, /* now, or later */
    KW_ORDER_NOT_RUN
} kw_order_end;

/* The command has ended, pending or not; nothing is kept of it. */
void kw_ordering_on_end(kw_ordering *self, kw_ordered *command, kw_order_end end);

/* The next command that was told to wait and is to ask again; NULL: none. */
kw_ordered *kw_ordering_next_freed(kw_ordering *self);

#endif

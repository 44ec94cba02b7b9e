/* SPDX-License-Identifier: BSD-3-Clause */
/* Message: what a subscriber hands out, in one piece of memory. */
#ifndef ENGINE_MESSAGE_H
#define ENGINE_MESSAGE_H

#include <keyway/message.h>

#include "base/bytes.h"

#include <stdbool.h>

/* Messages that are missing before the one that they are noted at. Zeros: none. */
typedef struct kw_message_loss {
    uint64_t messages_n;
    bool has_events;   /* gaps and the like are among what is missing */
    bool is_of_memory; /* else the queue was full */
} kw_message_loss;

static inline bool kw_message_loss_is_none(const kw_message_loss *loss)
{
    return loss->messages_n == 0 && !loss->has_events;
}

typedef struct kw_message_topic_name {
    kw_topic_kind kind;
    kw_bytes name;
} kw_message_topic_name;

struct kw_message {
    kw_allocator mem;
    kw_message *next; /* in a queue */
    size_t size;      /* bytes that it takes */
    kw_message_kind kind;
    kw_gap_reason reason; /* of a gap */
    uint64_t gap_ms;
    uint64_t lost_n;
    size_t topics_n;
    const kw_message_topic_name *topics; /* of a gap; in this memory as well */
    kw_message_loss before;              /* told of before it is handed out */
    kw_bytes channel;                    /* each with a zero byte behind */
    kw_bytes pattern;
    kw_bytes bytes;
    kw_bytes node;
};

/* What a message is made of; borrowed. */
typedef struct kw_message_parts {
    kw_message_kind kind;
    kw_bytes channel;
    kw_bytes pattern;
    kw_bytes bytes;
    kw_bytes node;
} kw_message_parts;

/* NULL when there is no memory. */
kw_message *kw_message_new(const kw_allocator *mem, const kw_message_parts *parts);

/* Topics of a gap that is not told yet. Starts with kw_gap_init. */
typedef struct kw_gap {
    kw_buf names; /* of each its kind, its length, and its bytes */
    size_t topics_n;
    kw_gap_reason reason;
    uint64_t ms;   /* the longest of them */
    kw_bytes node; /* borrowed */
} kw_gap;

void kw_gap_init(kw_gap *gap, const kw_allocator *mem);
void kw_gap_fini(kw_gap *gap);

/* False when there is no memory. */
bool kw_gap_add(kw_gap *gap, kw_topic_kind kind, kw_bytes name);

/* The message of the gap, which has no topics afterwards. NULL when there is no memory: then it
 * has them still. */
kw_message *kw_gap_message(kw_gap *gap, const kw_allocator *mem);

/* The message that tells of a loss of all topics. NULL when there is no memory. */
kw_message *kw_message_of_loss(const kw_allocator *mem, const kw_message_loss *loss);

#endif

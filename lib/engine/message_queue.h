/* SPDX-License-Identifier: BSD-3-Clause */
/* Message queue: what was received and not taken yet, bounded, and what was dropped of it. Nothing
 * is dropped without a gap in its place, and telling of one needs no memory before it is taken. */
#ifndef ENGINE_MESSAGE_QUEUE_H
#define ENGINE_MESSAGE_QUEUE_H

#include "engine/message.h"

/* What is done with a message that has no room. */
typedef enum kw_queue_policy {
    KW_QUEUE_DROP_OLDEST,
    KW_QUEUE_DROP_NEWEST,
    KW_QUEUE_STOP /* nothing more is read: kw_message_queue_has_room says so */
} kw_queue_policy;

typedef struct kw_queue_rule {
    size_t messages_max;
    size_t bytes_max; /* of memory, too; one message is taken whatever its size */
    kw_queue_policy policy;
} kw_queue_rule;

typedef struct kw_message_queue {
    const kw_allocator *mem;
    kw_queue_rule rule;
    kw_message *head;
    kw_message *tail;
    size_t messages_n;
    size_t bytes_n;
    kw_message_loss behind; /* dropped after the last one that is there */
} kw_message_queue;

void kw_message_queue_init(kw_message_queue *queue, const kw_allocator *mem,
                           const kw_queue_rule *rule);
void kw_message_queue_fini(kw_message_queue *queue);

/* Takes the message over. */
void kw_message_queue_push(kw_message_queue *queue, kw_message *message);

/* A message came, or a gap, for which there was no memory. */
void kw_message_queue_lose(kw_message_queue *queue, bool is_event);

/* The oldest message, or the gap that stands before it; the caller's. NULL where there is none, or
 * no memory to tell of a gap: then kw_message_queue_is_empty is false. */
kw_message *kw_message_queue_pop(kw_message_queue *queue);

static inline bool kw_message_queue_is_empty(const kw_message_queue *queue)
{
    return queue->head == NULL && kw_message_loss_is_none(&queue->behind);
}

/* False where nothing more is to be read. */
static inline bool kw_message_queue_has_room(const kw_message_queue *queue)
{
    const kw_queue_rule *rule = &queue->rule;
    return rule->policy != KW_QUEUE_STOP || queue->head == NULL ||
           (queue->messages_n < rule->messages_max && queue->bytes_n < rule->bytes_max);
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* A bounded queue whose losses are noted at the message behind them. */
#include "engine/message_queue.h"

#include <string.h>

void kw_message_queue_init(kw_message_queue *queue, const kw_allocator *mem,
                           const kw_queue_rule *rule)
{
    memset(queue, 0, sizeof(*queue));
    queue->mem = mem;
    queue->rule = *rule;
}

static kw_message *take_first(kw_message_queue *queue)
{
    kw_message *message = queue->head;
    queue->head = message->next;
    queue->tail = queue->head != NULL ? queue->tail : NULL;
    queue->messages_n--;
    queue->bytes_n -= message->size;
    message->next = NULL;
    return message;
}

void kw_message_queue_fini(kw_message_queue *queue)
{
    while (queue->head != NULL) {
        kw_message_free(take_first(queue));
    }
}

static void add_loss(kw_message_loss *loss, const kw_message_loss *more)
{
    loss->messages_n += more->messages_n;
    loss->has_events = loss->has_events || more->has_events;
    loss->is_of_memory = loss->is_of_memory || more->is_of_memory;
}

/* The message is dropped, and what was missing before it is missing still. */
static void drop(kw_message_loss *loss, kw_message *message)
{
    add_loss(loss, &message->before);
    bool is_event = message->kind >= KW_MESSAGE_GAP;
    loss->messages_n += is_event ? 0 : 1;
    loss->has_events = loss->has_events || is_event;
    kw_message_free(message);
}

static bool has_room_for(const kw_message_queue *queue, const kw_message *message)
{
    const kw_queue_rule *rule = &queue->rule;
    return queue->head == NULL || rule->policy == KW_QUEUE_STOP ||
           (queue->messages_n < rule->messages_max && queue->bytes_n < rule->bytes_max &&
            message->size <= rule->bytes_max - queue->bytes_n);
}

void kw_message_queue_push(kw_message_queue *queue, kw_message *message)
{
    if (!has_room_for(queue, message) && queue->rule.policy == KW_QUEUE_DROP_NEWEST) {
        drop(&queue->behind, message);
        return;
    }
    kw_message_loss loss = {0, false, false};
    while (!has_room_for(queue, message)) {
        drop(&loss, take_first(queue));
    }
    /* What is missing at the front is told of before the first that is left. */
    add_loss(queue->head != NULL ? &queue->head->before : &message->before, &loss);
    add_loss(&message->before, &queue->behind);
    memset(&queue->behind, 0, sizeof(queue->behind));
    if (queue->head != NULL) {
        queue->tail->next = message;
    } else {
        queue->head = message;
    }
    queue->tail = message;
    message->next = NULL;
    queue->messages_n++;
    queue->bytes_n += message->size;
}

void kw_message_queue_lose(kw_message_queue *queue, bool is_event)
{
    queue->behind.messages_n += is_event ? 0 : 1;
    queue->behind.has_events = queue->behind.has_events || is_event;
    queue->behind.is_of_memory = true;
}

kw_message *kw_message_queue_pop(kw_message_queue *queue)
{
    kw_message_loss *loss = queue->head != NULL ? &queue->head->before : &queue->behind;
    if (!kw_message_loss_is_none(loss)) {
        kw_message *gap = kw_message_of_loss(queue->mem, loss);
        if (gap != NULL) {
            memset(loss, 0, sizeof(*loss));
        }
        return gap;
    }
    return queue->head != NULL ? take_first(queue) : NULL;
}

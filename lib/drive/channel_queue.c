/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands that wait for a channel's connection, and lists of commands. A long queue is far
 * from the processor: each command is told which one comes some places behind it, so that this one
 * can be brought near without a look through the list. */
#include "drive/channel.h"

#include <string.h>

/* A command of the queue is brought near so many places before its turn. */
#define AHEAD_N 6

void kw_items_push_front(kw_items *list, kw_item *item)
{
    item->before = NULL;
    item->next = list->head;
    if (list->head != NULL) {
        list->head->before = item;
    } else {
        list->tail = item;
    }
    list->head = item;
}

void kw_items_remove(kw_items *list, kw_item *item)
{
    *(item->before != NULL ? &item->before->next : &list->head) = item->next;
    *(item->next != NULL ? &item->next->before : &list->tail) = item->before;
    item->next = NULL;
    item->before = NULL;
}

void kw_items_append(kw_items *list, kw_items *behind)
{
    if (behind->head == NULL) {
        return;
    }
    behind->head->before = list->tail;
    if (list->tail != NULL) {
        list->tail->next = behind->head;
    } else {
        list->head = behind->head;
    }
    list->tail = behind->tail;
    memset(behind, 0, sizeof(*behind));
}

void kw_channel_tell_ahead(kw_channel *channel, kw_item *item)
{
    if (channel->untold == NULL) {
        channel->untold = item;
        channel->untold_n = 0;
    } else if (++channel->untold_n == AHEAD_N) {
        channel->untold->ahead = item;
        kw_channel_pass_untold(channel);
    }
}

void kw_channel_put_back(kw_channel *channel, kw_item *item)
{
    item->state = KW_ITEM_QUEUED;
    item->ahead = NULL;
    kw_items_push_front(&channel->queue, item);
    channel->queued_n++;
}

void kw_channel_take_queue(kw_channel *channel, kw_items *list)
{
    for (kw_item *item = channel->queue.head; item != NULL; item = item->next) {
        item->state = KW_ITEM_ROUTING;
        item->sent_ns = 0;
    }
    kw_items_append(list, &channel->queue);
    channel->queued_n = 0;
    channel->untold = NULL;
    channel->choosy_n = 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The queue of a lane, as a list in its waiters, and how long it may become. */
#include "net/lane_queue.h"

/* Commands on one lane, answered or not, and bytes that wait to be sent. Who comes beyond
 * waits for room. */
#define COMMANDS_MAX ((size_t)10000)
#define BYTES_MAX    ((size_t)4 * 1024 * 1024)

void kw_lane_queue_add(kw_lane_queue *queue, kw_lane_waiter *waiter)
{
    waiter->state = KW_LANE_WAITER_QUEUED;
    waiter->next = NULL;
    waiter->before = queue->tail;
    if (queue->tail != NULL) {
        queue->tail->next = waiter;
    } else {
        queue->head = waiter;
    }
    queue->tail = waiter;
    queue->n++;
    queue->len += waiter->request.bytes.len;
}

void kw_lane_queue_remove(kw_lane_queue *queue, kw_lane_waiter *waiter)
{
    if (waiter->before != NULL) {
        waiter->before->next = waiter->next;
    } else {
        queue->head = waiter->next;
    }
    if (waiter->next != NULL) {
        waiter->next->before = waiter->before;
    } else {
        queue->tail = waiter->before;
    }
    queue->n--;
    queue->len -= waiter->request.bytes.len;
}

bool kw_lane_queue_is_full(const kw_lane_queue *queue, size_t sent_n, size_t len)
{
    return queue->n + sent_n >= COMMANDS_MAX || (queue->n > 0 && queue->len + len > BYTES_MAX);
}

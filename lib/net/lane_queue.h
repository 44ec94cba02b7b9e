/* SPDX-License-Identifier: BSD-3-Clause */
/* Lane queue: commands that nothing was sent of, in the order of their coming. The lane's monitor
 * guards it. */
#ifndef NET_LANE_QUEUE_H
#define NET_LANE_QUEUE_H

#include "net/lane_waiter.h"

/* Starts as zero. */
typedef struct kw_lane_queue {
    kw_lane_waiter *head;
    kw_lane_waiter *tail;
    size_t n;
    size_t len; /* bytes of the commands */
} kw_lane_queue;

void kw_lane_queue_add(kw_lane_queue *queue, kw_lane_waiter *waiter);
void kw_lane_queue_remove(kw_lane_queue *queue, kw_lane_waiter *waiter);

/* True where there is no room for a command of so many bytes, beside sent_n that are under way. */
bool kw_lane_queue_is_full(const kw_lane_queue *queue, size_t sent_n, size_t len);

#endif

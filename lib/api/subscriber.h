/* SPDX-License-Identifier: BSD-3-Clause */
/* Subscriber: a receiver that users open, and those that a handle has. */
#ifndef API_SUBSCRIBER_H
#define API_SUBSCRIBER_H

#include <keyway/subscriber.h>

#include "api/client.h"
#include "drive/loop_guests.h"
#include "drive/receiver.h"

struct kw_subscriber {
    kw_loop_guest guest; /* the first member; where there is a callback */
    kw_allocator mem;
    _Atomic(kw_client *) client; /* NULL once the handle is closed: the receiver is gone then */
    kw_fork fork;
    atomic_size_t users_n; /* threads inside */
    kw_receiver receiver;
    kw_message_fn fn; /* NULL: messages are taken */
    void *arg;
    _Atomic(pthread_t) deliverer; /* who calls fn, while is_delivering */
    atomic_bool is_delivering;
    bool closes_later;   /* fn has called kw_subscriber_close */
    kw_subscriber *next; /* of the handle's */
    uint64_t tended_ns;  /* who passed by looked last; guarded by the handle's set */
};

/* In subscriber_set.c: the subscriber is of the handle, from now on, and no more. False when there
 * is no memory. The handle was entered. */
bool kw_subscriber_set_add(kw_client *client, kw_subscriber *subscriber);
void kw_subscriber_set_drop(kw_client *client, kw_subscriber *subscriber);

/* Frees it; its receiver is gone. */
void kw_subscriber_free(kw_subscriber *subscriber);

/* Looks at the connections, and calls fn with what has come. Returns when it is to be called again.
 * For the thread that processes the loop. */
uint64_t kw_subscriber_process(kw_subscriber *self);

/* True for the thread that is in fn. */
static inline bool kw_subscriber_is_delivering(kw_subscriber *subscriber)
{
    return atomic_load_explicit(&subscriber->is_delivering, memory_order_acquire) &&
           pthread_equal(atomic_load_explicit(&subscriber->deliverer, memory_order_relaxed),
                         pthread_self());
}

#endif

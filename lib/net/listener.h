/* SPDX-License-Identifier: BSD-3-Clause */
/* Listener: hears what sentinels publish, on one connection to each. The driver of the refresher
 * looks at them now and then; nothing waits. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "net/node.h"

#define KW_LISTENER_SUBSCRIPTIONS_MAX 8

/* A connection to one sentinel. */
typedef struct kw_subscription {
    kw_node *node; /* a reference; NULL: none */
    kw_conn *conn; /* NULL: none now */
    bool is_ready; /* its greeting is over, and the node knows it */
    bool is_subscribed;
    unsigned heard_n;  /* messages since the last look */
    uint64_t retry_ns; /* no connection before this */
} kw_subscription;

typedef struct kw_listener {
    kw_env *env;
    kw_subscription subscriptions[KW_LISTENER_SUBSCRIPTIONS_MAX];
    uint64_t look_ns; /* the next look is not before this */
    kw_reply *reply;  /* of the message that was handed out last */
} kw_listener;

/* A message of a sentinel; everything is borrowed until the next call. */
typedef struct kw_listener_message {
    kw_node *node; /* whose */
    kw_bytes channel;
    kw_bytes text;
} kw_listener_message;

void kw_listener_init(kw_listener *listener, kw_env *env);
void kw_listener_fini(kw_listener *listener);

/* True where it is time for a look. */
static inline bool kw_listener_is_due(const kw_listener *listener, uint64_t now_ns)
{
    return now_ns >= listener->look_ns;
}

/* Takes the sentinels to listen to (the first KW_LISTENER_SUBSCRIPTIONS_MAX of them), opens what is
 * not open, and receives what has come; kw_listener_next follows until it has no more. One thread
 * at a time. */
void kw_listener_look(kw_listener *listener, kw_node *const *nodes, size_t nodes_n,
                      uint64_t now_ns);

/* The next message that came; false where there is none. */
bool kw_listener_next(kw_listener *listener, kw_listener_message *message, uint64_t now_ns);

#endif

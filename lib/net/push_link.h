/* SPDX-License-Identifier: BSD-3-Clause */
/* Push link: the connection of a subscriber to one node, which carries a push stream. It is opened
 * through the node, as others are; once the greeting is over its bytes are the stream's, and the
 * connection's own queue knows nothing of them. One thread at a time; nothing waits. */
#ifndef NET_PUSH_LINK_H
#define NET_PUSH_LINK_H

#include "engine/push_stream.h"
#include "net/node.h"
#include "net/poller.h"

typedef struct kw_push_link {
    kw_push_stream stream; /* the first member: kw_push_link_of */
    kw_node *node;         /* a reference */
    kw_conn *conn;         /* NULL: none */
    kw_watch watch;
    bool is_counted;      /* the node knows that the connection became ready */
    bool is_in_map;       /* for who chooses nodes */
    bool is_paused;       /* nothing is to be read */
    bool is_lost;         /* it is to be given up: kw_push_link_drop is to follow */
    kw_gap_reason reason; /* why; 0: loss says it */
    kw_error loss;        /* code KW_OK: its stream knows of it already */
    bool has_pending;     /* whole messages may be in what was received */
    kw_buf in;            /* received, in part */
    size_t in_at;         /* first byte of it that was not read */
    size_t wanted_len;    /* bytes of the message that is not whole; 0: it is not known */
    uint64_t idle_ns;     /* nothing is asked, and no feed is there, since then; 0: else */
} kw_push_link;

static inline kw_push_link *kw_push_link_of(kw_push_stream *stream)
{
    return (kw_push_link *)(void *)stream;
}

/* NULL when there is no memory. */
kw_push_link *kw_push_link_new(kw_node *node, uint64_t silence_ns);

/* Without a connection. NULL is allowed. */
void kw_push_link_free(kw_push_link *link);

/* Goes on with opening, and sends what waits. Failure: the connection, or the way to it, is lost,
 * and kw_push_link_drop follows. */
kw_err kw_push_link_advance(kw_push_link *link, kw_error *error, kw_poller *poller,
                            uint64_t now_ns);

/* Receives what the socket has, if watch.revents says that it has something, or goes on opening.
 * Failure as above. */
kw_err kw_push_link_receive(kw_push_link *link, kw_error *error, kw_poller *poller,
                            uint64_t now_ns);

/* The next message in what was received; borrowed until the next kw_push_link_receive. */
kw_push_state kw_push_link_next(kw_push_link *link, kw_push *push);

/* Closes the connection, if there is one; what it received is dropped. failure: why, or NULL.
 * poller may be NULL in a forked child. */
void kw_push_link_drop(kw_push_link *link, const kw_error *failure, kw_poller *poller,
                       uint64_t now_ns);

/* When it is to be looked at although its socket is quiet. */
uint64_t kw_push_link_due_ns(const kw_push_link *link);

#endif

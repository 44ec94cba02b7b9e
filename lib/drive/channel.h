/* SPDX-License-Identifier: BSD-3-Clause */
/* Channel: one node's share of a pipeline, on one connection. */
#ifndef DRIVE_CHANNEL_H
#define DRIVE_CHANNEL_H

#include "drive/pipeline.h"
#include "net/poller.h"

/* First in, first out, by kw_item.next. */
typedef struct kw_items {
    kw_item *head;
    kw_item *tail;
} kw_items;

void kw_items_push(kw_items *list, kw_item *item);
kw_item *kw_items_pop(kw_items *list); /* NULL: empty */

typedef struct kw_channel {
    kw_node *node;     /* a reference */
    kw_conn *conn;     /* NULL: none yet, or lost */
    kw_items queue;    /* not on the connection yet */
    kw_items flight;   /* sent, in the order of their replies */
    kw_watch watch;    /* of conn's socket, where the turn has a poller */
    bool is_counted;   /* the node knows that conn became ready */
    bool is_exclusive; /* of one command, which may block */
    bool has_unsent;   /* what kw_channel_fill put on conn is still to be sent */
    uint64_t retry_ns; /* the pool was empty: not before this */
    uint64_t heard_ns; /* last reply, or last send into silence */
    uint64_t look_ns;  /* silent: the map is looked at again at this time .. */
    uint64_t pause_ns; /* .. and then after this long */
} kw_channel;

/* What is needed to move a channel on. */
typedef struct kw_channel_scan {
    kw_topology *topology;
    kw_poller *poller; /* NULL: the pipeline waits by itself */
    uint64_t now_ns;
    kw_error failure; /* why the channel failed */
} kw_channel_scan;

/* Gets a connection where there is something to send, puts on it what it takes, and sends
 * it. Never waits. Failure: the connection, or the way to it, is lost. */
kw_err kw_channel_pump(kw_channel *channel, kw_channel_scan *scan);

/* Puts what waits on the connection, where there is one, to be sent by the next pump. */
kw_err kw_channel_fill(kw_channel *channel, kw_channel_scan *scan);

/* Reads what poll announced, and tells the node of a connection that became ready. */
kw_err kw_channel_progress(kw_channel *channel, kw_channel_scan *scan, short revents);

/* The next sent command that has its reply, taken out; NULL: none. */
kw_item *kw_channel_answered(kw_channel *channel, uint64_t now_ns);

/* True where poll has something to wait for. */
bool kw_channel_is_waiting(const kw_channel *channel);

/* True where nothing but replies of a ready connection is awaited. */
bool kw_channel_is_reading(const kw_channel *channel);

/* Has the turn's poller watch what the connection waits for. */
kw_err kw_channel_watch(kw_channel *channel, kw_channel_scan *scan);

/* Gives the connection back: to the pool where it owes nothing, else it is closed. */
void kw_channel_release(kw_channel *channel, kw_channel_scan *scan, const kw_error *failure);

#endif

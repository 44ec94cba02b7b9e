/* SPDX-License-Identifier: BSD-3-Clause */
/* Lane: one connection to one node, shared by all threads. Whoever has something to send
 * is its writer for a moment, one of those who wait for replies is its reader; the library
 * needs no thread for it. The reasoning: a lone caller does its own I/O, one send and one
 * receive; callers that come while a batch is unanswered wait, and their commands leave in one
 * send.
 *
 * Its parts: queue (commands not sent), roles (who reads, who writes, who sleeps), stream (the
 * connection and what it owes), batching (when the next commands leave),
 * combining (how much callers wait for each other).
 *
 * What holds, whatever the order of the threads:
 * - No waiter sleeps while nobody reads. Who stops reading, or leaves unsent bytes behind as the
 *   writer, wakes one sleeper; who takes a lost connection off the lane ends all its commands and
 *   wakes their waiters. A recv waits only where a reply is due; other waits are cut into slices.
 * - A waiter may stay on its owner's stack. Other threads touch it only with the monitor held, and
 *   never after its state says that it has ended and its sleeper was woken. kw_lane_abandon takes
 *   it off the lane.
 * - The connection is exchanged only while nobody reads or writes. The writer gives its role back
 *   first and asks then whether it was called; who wants something of the writer calls it first
 *   and asks then whether somebody writes: one of the two sees the other. That a connection is
 *   lost (is_dying) is told in the same way.
 * - A command that ends with has_left false was not handed to the system whole, and never will be.
 *   A command that was given up after it was handed to the connection may still be sent: has_left
 *   is true.
 * - Replies go to owners in the order of sending. A reply to a command of which nothing was sent,
 *   or one reply too many, belongs to nobody and ends the connection.
 *
 * Not noticed: an unasked reply while others are due, and one within a millisecond of the last. */
#ifndef NET_LANE_H
#define NET_LANE_H

#include "engine/batching.h"
#include "engine/combining.h"
#include "net/lane_queue.h"
#include "net/lane_roles.h"
#include "net/lane_stream.h"
#include "net/sync.h"

#include <stdatomic.h>

/* A larger command does not go on a lane, where it would hold up those of others. */
#define KW_LANE_REQUEST_MAX ((size_t)64 * 1024)

/* Where a lane gets its connection and gives it back; whoever owns the lane fills it in. Called
 * with no monitor held. */
typedef struct kw_lane_pool {
    void *arg;
    /* A connection that is READY or has begun to connect; never waits. On failure *retry_ns says
     * before when it is no use to come again. */
    kw_err (*open_fn)(void *arg, kw_conn **conn, kw_error *error, uint64_t *retry_ns,
                      uint64_t now_ns);
    /* The connection, which was not READY, has become so. */
    void (*on_ready_fn)(void *arg, kw_conn *conn);
    /* Takes the connection back. failure: NULL where it became READY, else why it did not; of code
     * KW_OK where it still may, for whoever comes next. */
    void (*release_fn)(void *arg, kw_conn *conn, uint64_t now_ns, const kw_error *failure);
    /* Callers share the lane; set false where they have become so few that each may have a
     * connection of its own again. */
    atomic_bool *is_crowded;
} kw_lane_pool;

typedef struct kw_lane {
    kw_env *env;
    kw_lane_pool pool;
    atomic_uint renewals_n; /* connections that began to be opened before the last are outdated */
    kw_monitor monitor;     /* guards all below, and the owners of a conn that is ready */
    bool is_retired;        /* the node left the map: no connection is kept */
    kw_lane_queue queue;
    size_t admissions_n; /* threads that wait for room in the queue */
    kw_lane_roles roles;
    kw_lane_stream stream;
    kw_batching batching;
    kw_combining combining;
    uint64_t sends_n; /* commands, over all connections */
} kw_lane;

/* pool is copied. KW_ERR_NOMEM. */
kw_err kw_lane_init(kw_lane *lane, kw_env *env, const kw_lane_pool *pool);
/* Nobody waits any more. */
void kw_lane_fini(kw_lane *lane);

/* Hands the command over: it is sent at once where the lane allows it, or queued; kw_lane_wait
 * follows. Waits only for room, until until_ns. Failure: the lane does not know the waiter:
 * KW_ERR_QUEUE_TIMEOUT, KW_ERR_CANCELLED, or KW_ERR_BUSY (without a text) where replies are
 * overdue: a connection of its own serves the command better. */
kw_err kw_lane_submit(kw_lane *lane, kw_error *error, kw_lane_waiter *waiter, uint64_t now_ns,
                      uint64_t until_ns);

/* Waits until the command has ended (KW_OK). KW_ERR_TIMEOUT, KW_ERR_CANCELLED: it has not; it
 * stays on the lane until the next wait or kw_lane_abandon. *now_ns goes on. */
kw_err kw_lane_wait(kw_lane *lane, kw_lane_waiter *waiter, uint64_t *now_ns, uint64_t until_ns);

/* The owner does not wait any more: a command that was not taken is forgotten, the reply
 * of one that was will be dropped. has_left says which; code and failure, what one that was
 * not sent has waited for. True where it has ended before. */
bool kw_lane_abandon(kw_lane *lane, kw_lane_waiter *waiter, uint64_t now_ns);

/* True where the command waits for a connection that is being opened. */
bool kw_lane_is_opening_for(kw_lane *lane, const kw_lane_waiter *waiter);

/* The node left the map: what is queued ends, BROKEN and not sent. */
void kw_lane_retire(kw_lane *lane, bool is_retired);

/* What the connection stands for is in doubt: it takes no more commands, and is closed once
 * those under way are answered. What is queued goes on a new one. */
void kw_lane_renew(kw_lane *lane);

/* Closes a connection that nobody has used for idle_ns. */
void kw_lane_sweep(kw_lane *lane, uint64_t now_ns, uint64_t idle_ns);

/* Wakes everybody: the handle is being closed. */
void kw_lane_wake_all(kw_lane *lane);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Lane: one connection to one node, shared by all threads. Whoever has something to send
 * is its writer for a moment, one of those who wait for replies is its reader; the library
 * needs no thread for it. The reasoning: a lone caller does its own I/O, one send and one
 * receive; callers that come while a batch is unanswered wait, and leave in one send.
 *
 * What holds, whatever the order of the threads:
 * - No waiter sleeps while nobody reads: who leaves the reader's seat, or leaves bytes behind
 *   as the writer, wakes one who sleeps; who buries a lost connection wakes all. A recv waits
 *   only where a reply is due; all other waits are cut into slices.
 * - A waiter may stay on its owner's stack. Others touch it with the monitor held, and not after
 *   its state says that it has ended and its sleeper was woken; abandon takes it off the lane.
 * - The connection changes only where nobody has a role. The writer gives its role back first
 *   and looks at is_wanted then, who wants something sets is_wanted first and looks at
 *   is_writing then: one of them sees the other. is_dying is told in the same way.
 * - What ends with has_left false was not handed to the system whole, and never will be. What
 *   was given up after it was handed to the connection may still be sent: has_left is true.
 * - Replies go to owners in the order of sending. A reply to a command of which nothing was
 *   sent, or one too many, is nobody's, and ends the connection.
 * Not noticed: an unasked reply while others are due, and one within a millisecond of the last. */
#ifndef NET_LANE_H
#define NET_LANE_H

#include "net/conn.h"
#include "net/wait_queue.h"
#include "net/sync.h"

#include <stdatomic.h>

/* A larger command does not go on a lane, where it would hold up those of others. */
#define KW_LANE_REQUEST_MAX ((size_t)64 * 1024)

struct kw_node;

typedef enum kw_lane_waiter_state {
    KW_LANE_WAITER_NEW,
    KW_LANE_WAITER_QUEUED,      /* nothing of it has been handed to the connection */
    KW_LANE_WAITER_TAKEN,       /* on the connection; it may have left */
    KW_LANE_WAITER_ANSWERED,    /* request.reply is its owner's */
    KW_LANE_WAITER_UNAVAILABLE, /* there is no connection: nothing was sent */
    KW_LANE_WAITER_UNREADY,     /* lost with a greeting that was not answered: see has_left */
    KW_LANE_WAITER_BROKEN       /* lost with its connection: see has_left */
} kw_lane_waiter_state;

/* One command on a lane, in memory that stays until it has ended or was abandoned. bytes,
 * is_asking, is_early and failure are set by its owner, all else is zero at first. */
typedef struct kw_lane_waiter kw_lane_waiter;
struct kw_lane_waiter {
    kw_request request;
    bool is_asking;
    bool is_early;     /* may go with a greeting that is not answered yet */
    kw_error *failure; /* why it ended without a reply */
    kw_lane_waiter_state state;
    kw_err code;       /* of one that ended without a reply */
    bool has_left;     /* likewise: the whole command may have reached the server */
    uint64_t retry_ns; /* UNAVAILABLE: before this it is no use to come again */
    bool is_reader;    /* has the reader's role */
    bool is_writer;    /* has the writer's role: the socket did not take everything */
    bool is_opening;   /* queued for a connection that another waiter opens */
    bool reads_first;  /* was sent, and has the reader's role: nothing else is to be done */
    kw_sleeper sleeper;
    kw_lane_waiter *next; /* in the queue */
    kw_lane_waiter *before;
};

typedef struct kw_lane {
    kw_env *env;
    struct kw_node *node; /* it is a part of */
    kw_monitor monitor;   /* guards all below, and the owners of a conn that is ready */
    kw_conn *conn;        /* NULL: none; changes only where no other thread has a role */
    bool is_ready;        /* its greeting was answered */
    bool is_greeting;     /* connected, and not ready yet */
    bool is_outdated;     /* conn takes no more commands */
    bool is_retired;      /* the node left the map: no connection is kept */
    bool is_reading;      /* a waiter has the role */
    atomic_bool is_writing;
    atomic_bool is_wanted; /* the writer looks at the lane before it leaves */
    atomic_bool is_dying;  /* the connection is lost; whoever leaves last buries it */
    bool has_rest;         /* bytes are left to be sent, and nobody is the writer */
    kw_error death;        /* why it is dying */
    kw_error read_failure; /* of the reader's, and of the writer's last call */
    kw_error write_failure;
    size_t got_len; /* bytes that the reader's last turn brought */
    bool is_owed;   /* replies were due when the reader's turn began */
    /* Places in what the connection sends, by which a server is caught that answers before it
     * was asked: */
    atomic_uint_fast64_t stuck_at;    /* from here on nothing is sent; UINT64_MAX: a send is
                                         under way, or nothing waits */
    atomic_uint_fast64_t answered_at; /* end of the last command that was answered */
    kw_lane_waiter *queue_head;
    kw_lane_waiter *queue_tail;
    size_t queue_n;
    size_t queue_len; /* bytes */
    kw_wait_queue sleepers;
    size_t admissions_n; /* threads that wait for room */
    uint64_t taken_n;    /* commands handed to the connection */
    uint64_t answered_n;
    uint64_t batch_at;   /* taken_n when the last batch was begun */
    uint64_t trip_ns;    /* the shortest round trip of a batch lately */
    uint64_t trip_at_ns; /* when that was */
    uint64_t sent_ns;    /* of the last batch */
    uint64_t heard_ns;   /* last reply, or last send into silence */
    uint64_t mark_n;     /* when so many are answered, all that were taken at .. */
    uint64_t mark_ns;    /* .. this time are */
    size_t tombstones_n; /* replies to come that nobody waits for */
    uint64_t left_ns;    /* when the last reader left */
    size_t calm_n;       /* commands in a row that met few others */
    size_t crowd_n;      /* replies that came together last */
    uint64_t sends_n;    /* commands, over all connections */
    uint64_t sleeps_n;   /* of waiters, while others did the work */
} kw_lane;

/* KW_ERR_NOMEM. */
kw_err kw_lane_init(kw_lane *lane, kw_env *env, struct kw_node *node);
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

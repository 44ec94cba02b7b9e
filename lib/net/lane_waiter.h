/* SPDX-License-Identifier: BSD-3-Clause */
/* Lane waiter: one command on a lane, and the thread that waits for its reply. */
#ifndef NET_LANE_WAITER_H
#define NET_LANE_WAITER_H

#include <keyway/error.h>

#include "net/fifo.h"
#include "net/wait_queue.h"

#include <stdatomic.h>

typedef enum kw_lane_waiter_state {
    KW_LANE_WAITER_NEW,
    KW_LANE_WAITER_QUEUED,      /* nothing of it has been handed to the connection */
    KW_LANE_WAITER_TAKEN,       /* on the connection; it may have left */
    KW_LANE_WAITER_ANSWERED,    /* request.reply is its owner's */
    KW_LANE_WAITER_UNAVAILABLE, /* there is no connection, or (KW_ERR_BUSY) a long reply on it:
                                   nothing was sent */
    KW_LANE_WAITER_UNREADY,     /* lost with a greeting that was not answered: see has_left */
    KW_LANE_WAITER_BROKEN       /* lost with its connection: see has_left */
} kw_lane_waiter_state;

/* In memory that stays until the command has ended or was abandoned. bytes, is_asking, is_early,
 * closing and failure are set by its owner, all else is zero at first. */
typedef struct kw_lane_waiter kw_lane_waiter;
struct kw_lane_waiter {
    kw_request request;
    bool is_asking;
    bool is_early;              /* may go with a greeting that is not answered yet */
    const atomic_bool *closing; /* kw_env_is_closing */
    kw_error *failure;          /* why it ended without a reply */
    kw_lane_waiter_state state;
    kw_err code;         /* of one that ended without a reply */
    bool has_left;       /* of such a one: the whole command may have reached the server */
    uint64_t taken_ns;   /* when it was handed to the connection; 0: not yet */
    const char *silence; /* of one that was abandoned: kw_conn_silence, where that is known */
    uint64_t retry_ns;   /* UNAVAILABLE: before this it is no use to come again */
    bool is_reader;      /* has the reader's role */
    bool is_writer;      /* has the writer's role: the socket did not take everything */
    bool is_opening;     /* queued for a connection that another waiter opens */
    bool reads_first;    /* was sent, and has the reader's role: nothing else is to be done */
    kw_sleeper sleeper;
    kw_lane_waiter *next; /* in the queue */
    kw_lane_waiter *before;
};

static inline bool kw_lane_waiter_has_ended(const kw_lane_waiter *waiter)
{
    return waiter->state >= KW_LANE_WAITER_ANSWERED;
}

#endif

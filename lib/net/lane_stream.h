/* SPDX-License-Identifier: BSD-3-Clause */
/* Lane stream: the connection of a lane, what was sent on it, and what it owes. The lane's monitor
 * guards it, but for the atomics and where it says otherwise. */
#ifndef NET_LANE_STREAM_H
#define NET_LANE_STREAM_H

#include "net/conn.h"
#include "net/lane_waiter.h"

#include <stdatomic.h>

/* A connection without a word for this long may be lost: it takes no more commands, and ends
 * where nobody waits for what it still owes. */
#define KW_LANE_LATE_NS ((uint64_t)125000000)

#define KW_LANE_EARLY_ANSWER "the server answered a command before it was sent whole"

typedef struct kw_lane_stream {
    kw_conn *conn;        /* NULL: none; changes only where no other thread has a role */
    bool is_ready;        /* its greeting was answered */
    bool is_greeting;     /* connected, and not ready yet */
    bool is_resolving;    /* its name is being looked up */
    bool is_outdated;     /* conn takes no more commands */
    bool is_long;         /* a long reply is being read: others go elsewhere */
    bool has_rest;        /* bytes are left to be sent, and nobody is the writer */
    atomic_bool is_dying; /* the connection is lost; who leaves the last role ends its commands */
    kw_error death;       /* why it is dying */
    /* Of the thread that has the role alone: */
    kw_error read_failure; /* of the reader's last call */
    kw_error write_failure;
    size_t got_len; /* bytes that the reader's last step brought */
    bool is_owed;   /* replies were due when the reader's step began */
    /* Places in what the connection sends, by which a server is caught that answers before it
     * was asked: */
    atomic_uint_fast64_t stuck_at;    /* from here on nothing is sent; UINT64_MAX: a send is
                                         under way, or nothing waits */
    atomic_uint_fast64_t answered_at; /* end of the last command that was answered */
    uint64_t heard_ns;                /* last reply, or last send into silence */
    uint64_t mark_n;     /* once so many commands of the connection are answered, all are that .. */
    uint64_t mark_ns;    /* .. had been sent at this time */
    size_t tombstones_n; /* replies to come that nobody waits for */
} kw_lane_stream;

/* What a lane's connection was when it was taken off the lane. */
typedef struct kw_lane_leaving {
    kw_conn *conn;
    bool was_ready;
    kw_error failure; /* where it was not; KW_OK: it may still become so */
} kw_lane_leaving;

void kw_lane_stream_init(kw_lane_stream *stream);
void kw_lane_stream_fini(kw_lane_stream *stream);

static inline bool kw_lane_stream_is_dying(const kw_lane_stream *stream)
{
    return atomic_load(&stream->is_dying);
}

/* True where the connection takes commands, as far as it knows itself. */
static inline bool kw_lane_stream_takes(const kw_lane_stream *stream)
{
    return stream->is_ready && !stream->is_outdated && !stream->has_rest &&
           !kw_lane_stream_is_dying(stream);
}

/* Commands under way, those that nobody waits for included; 0 while the greeting is. */
static inline size_t kw_lane_stream_open_n(const kw_lane_stream *stream)
{
    return stream->is_ready ? stream->conn->owners.count : 0;
}

/* Nobody waits for any of the replies that the connection is still to bring. */
bool kw_lane_stream_owes_nobody(const kw_lane_stream *stream);

/* Replies are overdue; answered_n: of this connection. */
static inline bool kw_lane_stream_is_overdue(const kw_lane_stream *stream, uint64_t answered_n,
                                             uint64_t now_ns)
{
    return answered_n < stream->mark_n && now_ns > stream->mark_ns + KW_LANE_LATE_NS;
}

/* sent_n commands of this connection are sent by now, of which answered_n were answered. */
static inline void kw_lane_stream_mark(kw_lane_stream *stream, uint64_t sent_n, uint64_t answered_n,
                                       uint64_t now_ns)
{
    if (answered_n >= stream->mark_n) {
        stream->mark_n = sent_n;
        stream->mark_ns = now_ns;
    }
}

/* Hands the command to the connection; the caller has the writer's role. *n: replies that it
 * brings, ASKING's included. KW_ERR_NOMEM. */
kw_err kw_lane_stream_put(kw_lane_stream *stream, size_t *n, kw_lane_waiter *waiter,
                          uint64_t now_ns);

/* The connection is lost. True the first time; whoever has the other role notices. */
bool kw_lane_stream_die(kw_lane_stream *stream, kw_err code, const kw_error *failure);

/* Takes a connection into use. */
void kw_lane_stream_attach(kw_lane_stream *stream, kw_conn *conn, uint64_t now_ns);

/* Its greeting was answered: from now on it is of all threads. */
void kw_lane_stream_on_ready(kw_lane_stream *stream, uint64_t now_ns);

/* Nobody has read since left_ns: silence from there on says nothing of the server. What readers
 * before have heard of it counts on: else callers who wait but a short time, one after the other,
 * would never find the connection silent. */
void kw_lane_stream_skip(kw_lane_stream *stream, uint64_t left_ns, uint64_t now_ns);

/* Gives the connection up, which nobody has a role on. */
void kw_lane_stream_detach(kw_lane_stream *stream, kw_lane_leaving *leaving);

/* Sends what the socket takes; the monitor is not held, the writer's role is. A server that answers
 * before it has read the command may take the rest of it for part of the next one: the writer and
 * the reader each say first where they are and then look where the other is, so that one of them
 * notices. */
kw_err kw_lane_stream_send(kw_lane_stream *stream);

/* What is wrong with n replies that were read together; code says how the reading ended. KW_OK:
 * they are answers to what was sent. */
kw_err kw_lane_stream_check(kw_lane_stream *stream, size_t n, kw_err code);

/* Says how far the next n replies answer what was sent. */
void kw_lane_stream_answer(kw_lane_stream *stream, size_t n);

/* Gives the next reply to its owner: *waiter, NULL where that has left. False: the reply, and what
 * follows, answers nothing that was sent. */
bool kw_lane_stream_give(kw_lane_stream *stream, kw_lane_waiter **waiter, kw_reply *reply,
                         uint64_t stuck_at);

#endif

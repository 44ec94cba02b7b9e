/* SPDX-License-Identifier: BSD-3-Clause */
/* What the reader and the writer of a lane do with the socket between two looks at the lane. */
#include "net/lane_private.h"

#include "base/error.h"

/* Replies that are given to their owners with one hold of the monitor. */
#define REPLIES_MAX 64

static void set_failed(kw_lane *lane, kw_err code, const kw_error *failure)
{
    kw_monitor_lock(&lane->monitor);
    kw_lane_die(lane, code, failure);
}

/* Begins to connect. */
static void open_conn(kw_lane *lane, kw_lane_after *after, uint64_t *now_ns)
{
    kw_error failure = kw_error_none();
    kw_conn *conn = NULL;
    uint64_t retry_ns = *now_ns;
    unsigned renewals_n = atomic_load(&lane->renewals_n);
    kw_err code = lane->pool.open_fn(lane->pool.arg, &conn, &failure, &retry_ns, *now_ns);
    if (code != KW_OK) {
        *now_ns = kw_env_now(lane->env); /* a name may have been looked up */
        kw_monitor_lock(&lane->monitor);
        failure.code = code;
        kw_lane_end_queue(lane, after, KW_LANE_WAITER_UNAVAILABLE, &failure, retry_ns);
        return;
    }
    kw_monitor_lock(&lane->monitor);
    kw_lane_stream_attach(&lane->stream, conn, *now_ns);
    lane->stream.is_outdated = atomic_load(&lane->renewals_n) != renewals_n;
}

/* The waiter's own command goes with the greeting where it may. */
static kw_err send_early(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                         uint64_t now_ns)
{
    if (!waiter->is_early || !kw_conn_takes_requests(lane->stream.conn)) {
        return KW_OK;
    }
    kw_monitor_lock(&lane->monitor);
    bool is_taken = waiter->state == KW_LANE_WAITER_QUEUED && !lane->stream.is_outdated;
    if (is_taken) {
        kw_lane_dequeue(lane, waiter);
        is_taken = kw_lane_take(lane, after, waiter, now_ns);
    }
    kw_lane_unlock(lane, after, now_ns);
    return is_taken ? kw_conn_flush(lane->stream.conn, &lane->stream.read_failure) : KW_OK;
}

/* The waiter's own command was answered with the greeting. What came with it may make the
 * reply doubtful. The monitor is held. */
static void end_early(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, kw_err code,
                      const kw_error *failure)
{
    if (waiter->state != KW_LANE_WAITER_TAKEN || !waiter->request.is_done) {
        return;
    }
    if (code == KW_ERR_DESYNC || code == KW_ERR_PROTOCOL) {
        kw_reply_free(waiter->request.reply);
        waiter->request.reply = NULL;
        waiter->has_left = true;
        kw_lane_end(lane, after, waiter, KW_LANE_WAITER_BROKEN, failure);
        return;
    }
    waiter->state = KW_LANE_WAITER_ANSWERED;
    if (!kw_conn_has_sent(lane->stream.conn, &waiter->request)) {
        kw_error early = kw_error_none();
        kw_error_set(&early, KW_ERR_CLOSED, KW_EFFECT_MAYBE, KW_LANE_EARLY_ANSWER);
        kw_lane_die(lane, KW_ERR_CLOSED, &early);
    }
}

/* The greeting is over: the lane is everybody's. The monitor is held. */
static void end_greeting(kw_lane *lane, uint64_t now_ns)
{
    kw_lane_stream_on_ready(&lane->stream, now_ns);
    lane->batching.answered_n = lane->batching.sent_n - lane->stream.conn->owners.count;
}

/* Waits for what *events says, and writes what there is. */
static kw_err poll_conn(const kw_lane *lane, kw_error *failure, short *events, uint64_t now_ns,
                        uint64_t until_ns)
{
    const kw_transport *transport = lane->env->transport;
    struct pollfd entry = {lane->stream.conn->socket, *events, 0};
    int wait_ms = kw_clock_ms_until(now_ns, until_ns, KW_SLICE_MS);
    int status = transport->poll_fn(transport->arg, &entry, 1, wait_ms);
    *events = status > 0 ? entry.revents : 0;
    if (status < 0) {
        return kw_error_set(failure, KW_ERR_CLOSED, KW_EFFECT_MAYBE, "poll failed");
    }
    return KW_OK;
}

/* Goes on with a connection that is being opened; nobody else touches it. */
static void greet(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t *now_ns,
                  uint64_t until_ns)
{
    kw_conn *conn = lane->stream.conn;
    kw_error failure = kw_error_none();
    short events = 0;
    until_ns = kw_conn_due_ns(conn) < until_ns ? kw_conn_due_ns(conn) : until_ns;
    kw_err code = send_early(lane, after, waiter, *now_ns);
    if (code == KW_OK) {
        events = kw_conn_events(conn);
        code = poll_conn(lane, &failure, &events, *now_ns, until_ns);
    } else {
        kw_error_copy(&failure, &lane->stream.read_failure);
    }
    code = code == KW_OK ? kw_conn_progress(conn, &failure, events) : code;
    *now_ns = kw_env_now(lane->env);
    if (conn->was_ready) {
        lane->pool.on_ready_fn(lane->pool.arg, conn);
    } else if (code == KW_OK) {
        code = kw_conn_check_overdue(conn, &failure, *now_ns);
    }
    kw_monitor_lock(&lane->monitor);
    lane->stream.is_greeting = conn->state == KW_CONN_GREETING;
    lane->stream.is_resolving = conn->lookup != NULL;
    if (conn->was_ready) {
        end_greeting(lane, *now_ns);
        end_early(lane, after, waiter, code, &failure);
    }
    if (code != KW_OK) {
        kw_lane_die(lane, code, &failure);
    }
}

static void free_replies(kw_reply **replies, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        kw_reply_free(replies[i]);
    }
}

/* Gives replies to their owners. code: how the parsing ended. The monitor is held. */
static void deliver(kw_lane *lane, kw_lane_after *after, kw_reply **replies, size_t n, kw_err code)
{
    kw_lane_stream *stream = &lane->stream;
    kw_error *failure = &stream->read_failure;
    kw_err doubt = kw_lane_stream_check(stream, n, code);
    if (doubt != KW_OK) {
        free_replies(replies, n);
        kw_lane_die(lane, doubt, failure);
        return;
    }
    kw_lane_stream_answer(stream, n);
    uint64_t stuck_at = atomic_load(&stream->stuck_at);
    kw_lane_waiter *waiter;
    size_t given_n = 0;
    while (given_n < n && kw_lane_stream_give(stream, &waiter, replies[given_n], stuck_at)) {
        given_n++;
        if (waiter != NULL) {
            waiter->state = KW_LANE_WAITER_ANSWERED;
            kw_lane_roles_wake(&lane->roles, &after->wakes, &lane->monitor, waiter);
        }
    }
    free_replies(replies + given_n, n - given_n);
    if (atomic_load(&stream->answered_at) > stuck_at) {
        code = kw_error_set(failure, KW_ERR_CLOSED, KW_EFFECT_MAYBE, KW_LANE_EARLY_ANSWER);
    }
    if (code != KW_OK) {
        kw_lane_die(lane, code, failure);
    }
}

/* A reply that has grown so long, and is not whole yet, is a long one. */
#define LONG_LEN ((size_t)64 * 1024)

/* Commands that were not sent do not wait for a long reply: they end, to go on a connection of
 * their own, as those do that come meanwhile. The monitor is held. */
static void end_behind_long(kw_lane *lane, kw_lane_after *after, uint64_t now_ns)
{
    kw_lane_stream *stream = &lane->stream;
    stream->is_long = !kw_lane_stream_is_dying(stream) &&
                      kw_reader_unfinished_len(&stream->conn->reader) >= LONG_LEN;
    if (stream->is_long && lane->queue.head != NULL) {
        kw_error failure = kw_error_none();
        kw_error_set(&failure, KW_ERR_BUSY, KW_EFFECT_NONE, "a long reply is being read");
        kw_lane_end_queue(lane, after, KW_LANE_WAITER_UNAVAILABLE, &failure, now_ns);
    }
}

/* What a recv has brought. Ends with the monitor held. */
static void deliver_all(kw_lane *lane, kw_lane_after *after, uint64_t now_ns)
{
    kw_reply *replies[REPLIES_MAX];
    for (;;) {
        size_t n;
        kw_err code =
            kw_conn_parse(lane->stream.conn, &lane->stream.read_failure, replies, REPLIES_MAX, &n);
        kw_monitor_lock(&lane->monitor);
        deliver(lane, after, replies, n, code);
        kw_batching_on_answers(&lane->batching, n, now_ns);
        kw_combining_on_answers(&lane->combining, n, now_ns);
        lane->stream.heard_ns = n > 0 ? now_ns : lane->stream.heard_ns;
        if (n < REPLIES_MAX || kw_lane_stream_is_dying(&lane->stream)) {
            end_behind_long(lane, after, now_ns);
            return;
        }
        kw_lane_unlock(lane, after, now_ns);
    }
}

/* Reads a connection that is ready. A recv waits for a reply that is due, and for nothing
 * else: it would not notice what happens to the lane meanwhile. */
static void read_ready(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                       uint64_t *now_ns, uint64_t until_ns)
{
    kw_conn *conn = lane->stream.conn;
    kw_error *failure = &lane->stream.read_failure;
    size_t got = 0;
    kw_err code;
    if (lane->stream.is_owed && !waiter->is_writer &&
        kw_conn_recv_ends_by(conn, *now_ns, until_ns)) {
        code = kw_conn_receive(conn, failure, &got, true);
    } else {
        short events = waiter->is_writer ? POLLIN | POLLOUT : POLLIN;
        code = poll_conn(lane, failure, &events, *now_ns, until_ns);
        if (code == KW_OK && (events & POLLOUT) != 0) {
            waiter->is_writer = !kw_lane_flush(lane, *now_ns);
        }
        if (code == KW_OK && (events & ~POLLOUT) != 0) {
            code = kw_conn_receive(conn, failure, &got, false);
        }
    }
    *now_ns = kw_env_now(lane->env);
    lane->stream.got_len = got;
    if (code != KW_OK) {
        set_failed(lane, code, failure);
    } else if (got > 0) {
        deliver_all(lane, after, *now_ns);
    } else {
        kw_monitor_lock(&lane->monitor);
    }
}

void kw_lane_read(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t *now_ns,
                  uint64_t until_ns)
{
    if (lane->stream.conn == NULL) {
        open_conn(lane, after, now_ns);
    } else if (!lane->stream.is_ready) {
        greet(lane, after, waiter, now_ns, until_ns);
    } else {
        read_ready(lane, after, waiter, now_ns, until_ns);
    }
}

void kw_lane_write(kw_lane *lane, kw_lane_waiter *waiter, uint64_t *now_ns, uint64_t until_ns)
{
    short events = POLLOUT;
    kw_err code = poll_conn(lane, &lane->stream.write_failure, &events, *now_ns, until_ns);
    *now_ns = kw_env_now(lane->env);
    if (code == KW_OK && events != 0) {
        waiter->is_writer = !kw_lane_flush(lane, *now_ns);
    }
    kw_monitor_lock(&lane->monitor);
    if (code != KW_OK) {
        kw_lane_die(lane, code, &lane->stream.write_failure);
    }
}

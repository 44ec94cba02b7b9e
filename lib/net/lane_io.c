/* SPDX-License-Identifier: BSD-3-Clause */
/* What the reader and the writer of a lane do in one turn, between two looks at its state: connect,
 * greet, receive, hand out replies, send. */
#include "net/lane_private.h"

#include "base/error.h"
#include "net/node.h"

/* While something else may want the thread's attention (the handle is closed), no wait is
 * longer than this. */
#define SLICE_MS 50

/* The shortest round trip counts for so long; then a longer one takes its place. */
#define TRIP_AGE_NS ((uint64_t)1000000000)

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
    kw_error failure = KW_ERROR_INIT;
    kw_conn *conn = NULL;
    uint64_t retry_ns = *now_ns;
    kw_err code = kw_node_open_shared(lane->node, &conn, &failure, *now_ns, &retry_ns);
    if (code != KW_OK) {
        *now_ns = kw_env_now(lane->env); /* a name may have been looked up */
        kw_monitor_lock(&lane->monitor);
        failure.code = code;
        kw_lane_end_queue(lane, after, KW_LANE_WAITER_UNAVAILABLE, &failure, retry_ns);
        return;
    }
    kw_monitor_lock(&lane->monitor);
    lane->conn = conn;
    lane->is_ready = conn->state == KW_CONN_READY;
    conn->is_shared = lane->is_ready;
    lane->is_outdated = !kw_node_was_opened_last(lane->node, conn);
    lane->heard_ns = *now_ns;
}

/* The waiter's own command goes with the greeting where it may. */
static kw_err send_early(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                         uint64_t now_ns)
{
    if (!waiter->is_early || !kw_conn_takes_requests(lane->conn)) {
        return KW_OK;
    }
    kw_monitor_lock(&lane->monitor);
    bool is_taken = waiter->state == KW_LANE_WAITER_QUEUED && !lane->is_outdated;
    if (is_taken) {
        kw_lane_dequeue(lane, waiter);
        is_taken = kw_lane_take(lane, after, waiter, now_ns);
    }
    kw_lane_unlock(lane, after, now_ns);
    return is_taken ? kw_conn_flush(lane->conn, &lane->read_failure) : KW_OK;
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
    if (!kw_conn_has_sent(lane->conn, &waiter->request)) {
        kw_error early = KW_ERROR_INIT;
        kw_error_set(&early, KW_ERR_CLOSED, KW_EFFECT_MAYBE, KW_LANE_EARLY_ANSWER);
        kw_lane_die(lane, KW_ERR_CLOSED, &early);
    }
}

/* The greeting is over: the lane is everybody's. The monitor is held. */
static void end_greeting(kw_lane *lane, uint64_t now_ns)
{
    kw_conn *conn = lane->conn;
    lane->is_ready = true;
    conn->is_shared = true;
    lane->has_rest = kw_conn_has_bytes(conn);
    if (lane->has_rest) {
        atomic_store(&lane->stuck_at, kw_conn_sent_at(conn));
    }
    lane->answered_n = lane->taken_n - conn->owners.count;
    lane->tombstones_n = 0;
    for (size_t i = 0; i < conn->owners.count; i++) {
        lane->tombstones_n += kw_fifo_at(&conn->owners, i)->kind == KW_OWNER_NOBODY ? 1 : 0;
    }
    lane->heard_ns = now_ns;
}

static kw_err poll_conn(const kw_lane *lane, kw_error *failure, short events, short *revents,
                        uint64_t now_ns, uint64_t until_ns)
{
    const kw_transport *transport = lane->env->transport;
    struct pollfd entry = {lane->conn->socket, events, 0};
    int wait_ms = kw_clock_ms_until(now_ns, until_ns, SLICE_MS);
    int status = transport->poll_fn(transport->arg, &entry, 1, wait_ms);
    *revents = status > 0 ? entry.revents : 0;
    if (status < 0) {
        return kw_error_set(failure, KW_ERR_CLOSED, KW_EFFECT_MAYBE, "poll failed");
    }
    return KW_OK;
}

/* Goes on with a connection that is being opened; nobody else touches it. */
static void greet(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t *now_ns,
                  uint64_t until_ns)
{
    kw_conn *conn = lane->conn;
    kw_error failure = KW_ERROR_INIT;
    short revents;
    until_ns = conn->deadline_ns < until_ns ? conn->deadline_ns : until_ns;
    kw_err code = send_early(lane, after, waiter, *now_ns);
    if (code == KW_OK) {
        code = poll_conn(lane, &failure, kw_conn_events(conn), &revents, *now_ns, until_ns);
    } else {
        kw_error_copy(&failure, &lane->read_failure);
    }
    code = code == KW_OK ? kw_conn_progress(conn, &failure, revents) : code;
    *now_ns = kw_env_now(lane->env);
    if (conn->was_ready) {
        kw_node_on_ready(lane->node, conn);
    } else if (code == KW_OK) {
        code = kw_conn_check_overdue(conn, &failure, *now_ns);
    }
    kw_monitor_lock(&lane->monitor);
    lane->is_greeting = conn->state == KW_CONN_GREETING;
    if (conn->was_ready) {
        end_greeting(lane, *now_ns);
        end_early(lane, after, waiter, code, &failure);
    }
    if (code != KW_OK) {
        kw_lane_die(lane, code, &failure);
    }
}

/* True for what makes the replies that came with it doubtful: one too many, or garbage
 * behind them. The monitor is held. */
static bool is_doubtful(const kw_lane *lane, size_t n, kw_err code)
{
    const kw_conn *conn = lane->conn;
    if (code == KW_ERR_PROTOCOL || n > conn->owners.count) {
        return true;
    }
    return code == KW_OK && n == conn->owners.count && kw_reader_has_reply_rest(&conn->reader);
}

/* n more replies have come. The monitor is held. */
static void count_answers(kw_lane *lane, size_t n, uint64_t now_ns)
{
    bool is_first = lane->answered_n <= lane->batch_at && lane->answered_n + n > lane->batch_at;
    uint64_t trip_ns = now_ns - lane->sent_ns;
    if (is_first && (trip_ns < lane->trip_ns || now_ns > lane->trip_at_ns + TRIP_AGE_NS)) {
        lane->trip_ns = trip_ns;
        lane->trip_at_ns = now_ns;
    }
    lane->answered_n += n;
    lane->crowd_n = n;
}

/* Says how far the next n replies answer what was sent. The monitor is held. */
static void set_answered_at(kw_lane *lane, size_t n)
{
    for (size_t i = n; i > 0; i--) {
        const kw_owner *owner = kw_fifo_at(&lane->conn->owners, i - 1);
        uint64_t end_at = owner->request != NULL ? owner->request->end_at : owner->end_at;
        if (end_at > 0) {
            atomic_store(&lane->answered_at, end_at);
            return;
        }
    }
}

/* Gives one reply to its owner. False: it, and what follows, answers nothing that was sent.
 * The monitor is held. */
static bool give(kw_lane *lane, kw_lane_after *after, kw_reply *reply, uint64_t stuck_at)
{
    kw_conn *conn = lane->conn;
    const kw_owner *owner = kw_fifo_peek(&conn->owners);
    kw_lane_waiter *waiter = (kw_lane_waiter *)owner->request;
    if (waiter != NULL && waiter->request.end_at - waiter->request.bytes.len >= stuck_at) {
        return false;
    }
    lane->tombstones_n -= owner->kind == KW_OWNER_NOBODY ? 1 : 0;
    (void)kw_conn_give(conn, NULL, reply); /* there is an owner */
    if (waiter != NULL) {
        waiter->state = KW_LANE_WAITER_ANSWERED;
        kw_lane_wake(lane, after, waiter);
    }
    return true;
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
    kw_error *failure = &lane->read_failure;
    if (is_doubtful(lane, n, code)) {
        free_replies(replies, n);
        if (code == KW_OK) {
            code = kw_error_set(failure, KW_ERR_DESYNC, KW_EFFECT_MAYBE,
                                "the server sent a reply that nothing asked for");
        }
        kw_lane_die(lane, code, failure);
        return;
    }
    set_answered_at(lane, n);
    uint64_t stuck_at = atomic_load(&lane->stuck_at);
    size_t given_n = 0;
    while (given_n < n && give(lane, after, replies[given_n], stuck_at)) {
        given_n++;
    }
    free_replies(replies + given_n, n - given_n);
    if (atomic_load(&lane->answered_at) > stuck_at) {
        code = kw_error_set(failure, KW_ERR_CLOSED, KW_EFFECT_MAYBE, KW_LANE_EARLY_ANSWER);
    }
    if (code != KW_OK) {
        kw_lane_die(lane, code, failure);
    }
}

/* What a recv has brought. Ends with the monitor held. */
static void deliver_all(kw_lane *lane, kw_lane_after *after, uint64_t now_ns)
{
    kw_reply *replies[REPLIES_MAX];
    for (;;) {
        size_t n;
        kw_err code = kw_conn_parse(lane->conn, &lane->read_failure, replies, REPLIES_MAX, &n);
        kw_monitor_lock(&lane->monitor);
        deliver(lane, after, replies, n, code);
        count_answers(lane, n, now_ns);
        lane->heard_ns = n > 0 ? now_ns : lane->heard_ns;
        if (n < REPLIES_MAX || atomic_load(&lane->is_dying)) {
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
    kw_conn *conn = lane->conn;
    kw_error *failure = &lane->read_failure;
    size_t got = 0;
    kw_err code;
    if (lane->is_owed && !waiter->is_writer && kw_conn_recv_ends_by(conn, *now_ns, until_ns)) {
        code = kw_conn_receive(conn, failure, &got, true);
    } else {
        short revents;
        short events = waiter->is_writer ? POLLIN | POLLOUT : POLLIN;
        code = poll_conn(lane, failure, events, &revents, *now_ns, until_ns);
        if (code == KW_OK && (revents & POLLOUT) != 0) {
            waiter->is_writer = !kw_lane_flush(lane, *now_ns);
        }
        if (code == KW_OK && (revents & ~POLLOUT) != 0) {
            code = kw_conn_receive(conn, failure, &got, false);
        }
    }
    *now_ns = kw_env_now(lane->env);
    lane->got_len = got;
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
    if (lane->conn == NULL) {
        open_conn(lane, after, now_ns);
    } else if (!lane->is_ready) {
        greet(lane, after, waiter, now_ns, until_ns);
    } else {
        read_ready(lane, after, waiter, now_ns, until_ns);
    }
}

void kw_lane_write(kw_lane *lane, kw_lane_waiter *waiter, uint64_t *now_ns, uint64_t until_ns)
{
    short revents;
    kw_err code = poll_conn(lane, &lane->write_failure, POLLOUT, &revents, *now_ns, until_ns);
    *now_ns = kw_env_now(lane->env);
    if (code == KW_OK && revents != 0) {
        waiter->is_writer = !kw_lane_flush(lane, *now_ns);
    }
    kw_monitor_lock(&lane->monitor);
    if (code != KW_OK) {
        kw_lane_die(lane, code, &lane->write_failure);
    }
}

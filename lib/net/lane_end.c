/* SPDX-License-Identifier: BSD-3-Clause */
/* How commands on a lane end without a reply, and how its connection ends. */
#include "net/lane_private.h"

#include "base/error.h"

void kw_lane_unlock(kw_lane *lane, kw_lane_after *after, uint64_t now_ns)
{
    kw_monitor_unlock(&lane->monitor);
    kw_lane_leaving *leaving = &after->leaving;
    if (leaving->conn != NULL) {
        lane->pool.release_fn(lane->pool.arg, leaving->conn, now_ns,
                              leaving->was_ready ? NULL : &leaving->failure);
        leaving->conn = NULL;
    }
    if (after->wakes.n > 0) {
        kw_wake_list_send(&after->wakes, &lane->monitor);
    }
}

void kw_lane_dequeue(kw_lane *lane, kw_lane_waiter *waiter)
{
    kw_lane_queue_remove(&lane->queue, waiter);
    if (lane->admissions_n > 0) {
        kw_monitor_wake_all(&lane->monitor);
    }
}

void kw_lane_wake_first(kw_lane *lane, kw_lane_after *after)
{
    kw_leader_hand_on(&lane->roles.reader, &after->wakes, &lane->monitor);
}

void kw_lane_end(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                 kw_lane_waiter_state state, const kw_error *failure)
{
    waiter->state = state;
    waiter->code = failure->code;
    kw_error_copy(waiter->failure, failure);
    kw_lane_roles_wake(&lane->roles, &after->wakes, &lane->monitor, waiter);
}

void kw_lane_end_queue(kw_lane *lane, kw_lane_after *after, kw_lane_waiter_state state,
                       const kw_error *failure, uint64_t retry_ns)
{
    kw_lane_waiter *waiter;
    while ((waiter = lane->queue.head) != NULL) {
        kw_lane_dequeue(lane, waiter);
        waiter->has_left = false;
        waiter->retry_ns = retry_ns;
        kw_lane_end(lane, after, waiter, state, failure);
    }
}

void kw_lane_die(kw_lane *lane, kw_err code, const kw_error *failure)
{
    if (kw_lane_stream_die(&lane->stream, code, failure)) {
        (void)kw_leader_call(&lane->roles.writer);
        kw_conn_shutdown(lane->stream.conn); /* the reader notices */
    }
}

/* Where a reply over a limit ended the connection: the command that it was for is told so; those
 * behind it are told that the connection was lost. */
static void set_death_behind(kw_error *death)
{
    if (death->code == KW_ERR_LIMIT) {
        kw_error_set(death, KW_ERR_CLOSED, KW_EFFECT_NONE,
                     "the reply to a command before it was over a limit");
    }
}

/* Commands that were never sent are told only that the connection was lost, whatever was wrong with
 * the replies to others. */
static void set_death_unsent(kw_lane_stream *stream)
{
    set_death_behind(&stream->death);
    if (stream->is_ready &&
        (stream->death.code == KW_ERR_DESYNC || stream->death.code == KW_ERR_PROTOCOL)) {
        stream->death.code = KW_ERR_CLOSED;
    }
}

void kw_lane_detach(kw_lane *lane, kw_lane_after *after)
{
    kw_lane_stream_detach(&lane->stream, &after->leaving);
    kw_batching_reset(&lane->batching);
    kw_combining_reset(&lane->combining);
}

void kw_lane_fail_all(kw_lane *lane, kw_lane_after *after)
{
    kw_lane_stream *stream = &lane->stream;
    kw_conn *conn = stream->conn;
    if (!kw_lane_stream_is_dying(stream) || conn == NULL || !kw_lane_roles_are_free(&lane->roles)) {
        return;
    }
    kw_lane_waiter_state state = stream->is_ready ? KW_LANE_WAITER_BROKEN : KW_LANE_WAITER_UNREADY;
    kw_owner owner;
    while (kw_fifo_pop(&conn->owners, &owner)) {
        if (owner.kind == KW_OWNER_REQUEST) {
            kw_lane_waiter *waiter = (kw_lane_waiter *)owner.request;
            waiter->has_left = kw_conn_has_sent(conn, owner.request);
            kw_lane_end(lane, after, waiter, state, &stream->death);
            set_death_behind(&stream->death);
        }
    }
    set_death_unsent(stream);
    kw_lane_end_queue(lane, after,
                      stream->is_ready ? KW_LANE_WAITER_BROKEN : KW_LANE_WAITER_UNAVAILABLE,
                      &stream->death, 0);
    conn->state = KW_CONN_DEAD;
    conn->lost = stream->death.code;
    kw_lane_detach(lane, after);
}

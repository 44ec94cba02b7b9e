/* SPDX-License-Identifier: BSD-3-Clause */
/* How commands leave: one at once, or those that are queued in one batch. */
#include "net/lane_private.h"

#include "base/error.h"

#include <sched.h>

bool kw_lane_take(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t now_ns)
{
    kw_batching *batching = &lane->batching;
    size_t n = 0;
    if (kw_lane_stream_put(&lane->stream, &n, waiter, now_ns) != KW_OK) {
        kw_error failure = kw_error_none();
        kw_error_set(&failure, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to send a command");
        kw_lane_end(lane, after, waiter, KW_LANE_WAITER_UNAVAILABLE, &failure);
        return false;
    }
    waiter->taken_ns = now_ns;
    kw_batching_on_sent(batching, n);
    kw_lane_stream_mark(&lane->stream, batching->sent_n, batching->answered_n, now_ns);
    lane->sends_n++;
    return true;
}

bool kw_lane_may_write(kw_lane *lane, uint64_t now_ns)
{
    bool is_read = kw_lane_roles_is_read(&lane->roles);
    /* Where the login has changed the next command goes behind AUTH: else callers that never stop
     * would keep the old one for ever. */
    if (!kw_lane_stream_takes(&lane->stream) || kw_conn_awaits_login(lane->stream.conn) ||
        (kw_combining_batches(&lane->combining) &&
         !kw_batching_may_leave(&lane->batching, is_read, now_ns))) {
        return false;
    }
    return !kw_lane_roles_is_written(&lane->roles) || kw_leader_call(&lane->roles.writer);
}

void kw_lane_take_queue(kw_lane *lane, kw_lane_after *after, uint64_t now_ns)
{
    kw_batching_on_batch(&lane->batching, now_ns);
    kw_lane_waiter *waiter;
    while ((waiter = lane->queue.head) != NULL &&
           lane->stream.conn->out.len < KW_BATCHING_LEN_MAX) {
        kw_lane_dequeue(lane, waiter);
        (void)kw_lane_take(lane, after, waiter, now_ns);
    }
}

void kw_lane_gather(kw_lane *lane, kw_lane_after *after, uint64_t now_ns)
{
    size_t crowd_n = kw_batching_take_crowd(&lane->batching);
    unsigned gathers_n = kw_combining_gathers(&lane->combining);
    for (; gathers_n > 0 && lane->queue.n < crowd_n; gathers_n--) {
        kw_lane_unlock(lane, after, now_ns);
        sched_yield();
        kw_monitor_lock(&lane->monitor);
    }
}

/* The writer was called, or its send has failed. True where it goes on with a new batch. */
static bool look_again(kw_lane *lane, kw_err code, uint64_t now_ns)
{
    kw_leader *writer = &lane->roles.writer;
    kw_lane_after after;
    kw_lane_after_init(&after);
    kw_monitor_lock(&lane->monitor);
    if (code != KW_OK) {
        kw_lane_die(lane, code, &lane->stream.write_failure);
        kw_leader_leave(writer);
    }
    if (!kw_leader_is_led(writer)) { /* else it is for the next writer to see */
        kw_leader_heed(writer);
    }
    kw_lane_fail_all(lane, &after);
    bool has_more = lane->queue.head != NULL && kw_lane_may_write(lane, now_ns);
    if (has_more) {
        (void)kw_leader_try(writer);
        kw_lane_take_queue(lane, &after, now_ns);
    }
    kw_lane_unlock(lane, &after, now_ns);
    return has_more;
}

bool kw_lane_flush(kw_lane *lane, uint64_t now_ns)
{
    kw_err code;
    do {
        code = kw_lane_stream_send(&lane->stream);
        if (code == KW_OK) {
            if (kw_conn_has_bytes(lane->stream.conn)) {
                return false;
            }
            if (!kw_leader_leave_called(&lane->roles.writer)) {
                return true;
            }
        }
    } while (look_again(lane, code, now_ns));
    return true;
}

void kw_lane_send_queue(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                        uint64_t now_ns)
{
    while (lane->queue.head != NULL && kw_lane_may_write(lane, now_ns)) {
        (void)kw_leader_try(&lane->roles.writer);
        kw_lane_gather(lane, after, now_ns);
        kw_lane_take_queue(lane, after, now_ns);
        kw_monitor_unlock(&lane->monitor);
        waiter->is_writer = !kw_lane_flush(lane, now_ns);
        kw_monitor_lock(&lane->monitor);
    }
}

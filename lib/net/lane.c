/* SPDX-License-Identifier: BSD-3-Clause */
/* A command's way over a lane: submitted, waited for, given up. */
#include "net/lane.h"

#include "base/error.h"
#include "net/lane_private.h"

#include <string.h>

kw_err kw_lane_init(kw_lane *lane, kw_env *env, const kw_lane_pool *pool)
{
    memset(lane, 0, sizeof(*lane));
    lane->env = env;
    lane->pool = *pool;
    atomic_init(&lane->renewals_n, 0);
    kw_lane_stream_init(&lane->stream);
    return kw_monitor_init(&lane->monitor);
}

void kw_lane_fini(kw_lane *lane)
{
    kw_lane_stream_fini(&lane->stream);
    kw_monitor_fini(&lane->monitor);
}

/* Puts the command on the connection, or in the queue. True: the caller is the writer. */
static bool put(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t now_ns)
{
    bool may_write = kw_lane_may_write(lane, now_ns);
    if (may_write && kw_batching_goes_alone(&lane->batching, lane->queue.n)) {
        kw_batching_on_batch(&lane->batching, now_ns);
        return kw_lane_take(lane, after, waiter, now_ns) && kw_leader_try(&lane->roles.writer);
    }
    kw_lane_queue_add(&lane->queue, waiter);
    if (!may_write) {
        return false;
    }
    (void)kw_leader_try(&lane->roles.writer);
    kw_lane_gather(lane, after, now_ns);
    kw_lane_take_queue(lane, after, now_ns);
    return true;
}

/* Where callers have become few, each has a connection of its own again. */
static void count_callers(kw_lane *lane, uint64_t now_ns)
{
    size_t others_n = lane->queue.n + kw_lane_stream_open_n(&lane->stream);
    kw_combining_on_command(&lane->combining, others_n, now_ns);
    if (kw_batching_on_command(&lane->batching, others_n, lane->env->options.share_above)) {
        atomic_store_explicit(lane->pool.is_crowded, false, memory_order_relaxed);
    }
}

kw_err kw_lane_submit(kw_lane *lane, kw_error *error, kw_lane_waiter *waiter, uint64_t now_ns,
                      uint64_t until_ns)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    kw_monitor_lock(&lane->monitor);
    kw_err code = kw_lane_check_room(lane, error, waiter, now_ns, until_ns);
    if (code != KW_OK) {
        kw_monitor_unlock(&lane->monitor);
        return code;
    }
    kw_lane_look(lane, &after, waiter, now_ns, until_ns);
    count_callers(lane, now_ns);
    bool is_writer = put(lane, &after, waiter, now_ns);
    if (!kw_lane_roles_is_read(&lane->roles) && !kw_lane_stream_is_dying(&lane->stream)) {
        kw_lane_take_reader_role(lane, waiter, now_ns);
    }
    waiter->is_opening = !lane->stream.is_ready && !waiter->is_reader;
    waiter->reads_first = waiter->is_reader && waiter->state == KW_LANE_WAITER_TAKEN;
    if (waiter->reads_first) {
        lane->stream.is_owed = true;
    }
    kw_lane_unlock(lane, &after, now_ns);
    if (is_writer) {
        waiter->is_writer = !kw_lane_flush(lane, now_ns);
    }
    return KW_OK;
}

/* A waiter goes. Where nobody else reads it sends what is queued: those commands' owners wait for
 * nothing at the moment, and look for their replies later. The monitor is held. */
static void leave(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t now_ns)
{
    if (!lane->stream.is_ready && waiter->state == KW_LANE_WAITER_TAKEN) {
        return; /* who is part of a greeting stays until it is over */
    }
    kw_lane_leave_roles(lane, after, waiter, now_ns);
    if (lane->queue.head != NULL && !kw_lane_roles_is_read(&lane->roles)) {
        kw_lane_send_queue(lane, after, waiter, now_ns);
        kw_lane_leave_roles(lane, after, waiter, now_ns);
    }
}

static kw_err check_end(const kw_lane *lane, const kw_lane_waiter *waiter, uint64_t now_ns,
                        uint64_t until_ns)
{
    if (kw_lane_is_closing(lane, waiter)) {
        return KW_ERR_CANCELLED;
    }
    return now_ns >= until_ns ? KW_ERR_TIMEOUT : KW_OK;
}

kw_err kw_lane_wait(kw_lane *lane, kw_lane_waiter *waiter, uint64_t *now_ns, uint64_t until_ns)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    if (waiter->reads_first) {
        waiter->reads_first = false;
        kw_lane_read(lane, &after, waiter, now_ns, until_ns);
        kw_lane_send_queue(lane, &after, waiter, *now_ns);
    } else {
        kw_monitor_lock(&lane->monitor);
    }
    kw_err code = KW_OK;
    for (;;) {
        kw_lane_detach_lost(lane, &after, waiter, *now_ns);
        if (kw_lane_waiter_has_ended(waiter)) {
            break;
        }
        code = check_end(lane, waiter, *now_ns, until_ns);
        if (code != KW_OK) {
            break;
        }
        if (!kw_lane_step(lane, &after, waiter, now_ns, until_ns)) {
            return KW_OK;
        }
    }
    leave(lane, &after, waiter, *now_ns);
    kw_lane_unlock(lane, &after, *now_ns);
    return code;
}

/* What a command that was never sent has waited for. */
static void tell_why_queued(const kw_lane *lane, kw_lane_waiter *waiter)
{
    if (lane->stream.is_ready) {
        waiter->code = kw_error_set(waiter->failure, KW_ERR_QUEUE_TIMEOUT, KW_EFFECT_NONE,
                                    "the deadline came behind commands without an answer");
        return;
    }
    bool is_greeting = lane->stream.is_greeting;
    waiter->code = lane->stream.is_resolving ? KW_ERR_RESOLVE : KW_ERR_CONNECT;
    waiter->code = is_greeting ? KW_ERR_HANDSHAKE : waiter->code;
    kw_error_set(waiter->failure, waiter->code, KW_EFFECT_NONE,
                 "the deadline came %s; raise timeout", kw_conn_lateness(lane->env, is_greeting));
}

/* Nobody is there to send the other half of a command, or to wait for what is overdue. Owners
 * who do not wait at the moment come back. */
static void end_useless(kw_lane *lane, kw_lane_after *after, uint64_t now_ns)
{
    if (!kw_lane_is_untended(lane) || lane->queue.head != NULL ||
        !kw_lane_stream_owes_nobody(&lane->stream)) {
        return;
    }
    bool is_overdue = lane->stream.is_ready && now_ns > lane->stream.heard_ns + KW_LANE_LATE_NS &&
                      lane->stream.conn->owners.count > 0;
    if (lane->stream.has_rest || is_overdue) {
        kw_error failure = kw_error_none();
        kw_error_set(&failure, KW_ERR_CLOSED, KW_EFFECT_NONE, "a command was given up halfway");
        kw_lane_die(lane, KW_ERR_CLOSED, &failure);
        kw_lane_fail_all(lane, after);
    }
}

bool kw_lane_abandon(kw_lane *lane, kw_lane_waiter *waiter, uint64_t now_ns)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    kw_monitor_lock(&lane->monitor);
    bool is_over = kw_lane_waiter_has_ended(waiter);
    if (waiter->state == KW_LANE_WAITER_TAKEN && !lane->stream.is_ready &&
        lane->stream.conn != NULL &&
        kw_conn_unqueue(lane->stream.conn, &waiter->request, waiter->is_asking)) {
        tell_why_queued(lane, waiter);
        waiter->state = KW_LANE_WAITER_NEW;
    }
    waiter->has_left = is_over ? waiter->has_left : waiter->state == KW_LANE_WAITER_TAKEN;
    if (waiter->state == KW_LANE_WAITER_QUEUED) {
        kw_lane_dequeue(lane, waiter);
        tell_why_queued(lane, waiter);
    } else if (waiter->state == KW_LANE_WAITER_TAKEN) {
        if (waiter->is_reader || !kw_lane_roles_is_read(&lane->roles)) {
            waiter->silence = kw_conn_silence(lane->stream.conn, &waiter->request);
        }
        lane->stream.tombstones_n +=
            kw_fifo_forget(&lane->stream.conn->owners, &waiter->request) ? 1 : 0;
    }
    if (!is_over) {
        waiter->state = KW_LANE_WAITER_NEW;
    }
    kw_lane_leave_roles(lane, &after, waiter, now_ns);
    end_useless(lane, &after, now_ns);
    kw_lane_unlock(lane, &after, now_ns);
    return is_over;
}

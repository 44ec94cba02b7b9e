/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether a lane takes one more command: at once, after a while, or not. */
#include "net/lane_private.h"

#include "base/error.h"

/* Once so many replies are due that nobody waits for, callers go to another connection. */
#define TOMBSTONES_MAX 64

/* Who waits for room looks again after this. */
#define ROOM_NS ((uint64_t)10000000)

/* True where replies are overdue although somebody reads, or too many are due that nobody waits
 * for. */
static bool is_late(const kw_lane *lane, uint64_t now_ns)
{
    return (kw_lane_roles_is_read(&lane->roles) &&
            kw_lane_stream_is_overdue(&lane->stream, lane->batching.answered_n, now_ns)) ||
           lane->stream.tombstones_n > TOMBSTONES_MAX;
}

static bool is_full(const kw_lane *lane, const kw_lane_waiter *waiter)
{
    return kw_lane_queue_is_full(&lane->queue, kw_lane_stream_open_n(&lane->stream),
                                 waiter->request.bytes.len);
}

/* Waits for room, and reads meanwhile if nobody does. The monitor is held. */
static kw_err admit(kw_lane *lane, kw_error *error, kw_lane_waiter *waiter, uint64_t now_ns,
                    uint64_t until_ns)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    while (is_full(lane, waiter) && !kw_lane_is_closing(lane, waiter)) {
        if (now_ns >= until_ns) {
            return kw_error_set(error, KW_ERR_QUEUE_TIMEOUT, KW_EFFECT_NONE,
                                "%zu commands wait on the connection already", lane->queue.n);
        }
        if (!kw_lane_roles_is_read(&lane->roles) && !kw_lane_stream_is_dying(&lane->stream)) {
            (void)kw_lane_step(lane, &after, waiter, &now_ns, until_ns);
            kw_lane_leave_roles(lane, &after, waiter, now_ns);
            kw_lane_unlock(lane, &after, now_ns);
            kw_monitor_lock(&lane->monitor);
        } else {
            lane->admissions_n++;
            kw_monitor_wait(&lane->monitor, ROOM_NS);
            lane->admissions_n--;
            now_ns = kw_env_now(lane->env);
        }
    }
    return KW_OK;
}

kw_err kw_lane_check_room(kw_lane *lane, kw_error *error, kw_lane_waiter *waiter, uint64_t now_ns,
                          uint64_t until_ns)
{
    bool is_long = lane->stream.is_long && kw_lane_roles_is_read(&lane->roles);
    if (is_late(lane, now_ns) || is_long) {
        return KW_ERR_BUSY;
    }
    kw_err code = is_full(lane, waiter) ? admit(lane, error, waiter, now_ns, until_ns) : KW_OK;
    if (code == KW_OK && kw_lane_is_closing(lane, waiter)) {
        code = kw_error_set(error, KW_ERR_CANCELLED, KW_EFFECT_NONE,
                            "the handle was closed during the call");
    }
    return code;
}

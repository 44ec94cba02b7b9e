/* SPDX-License-Identifier: BSD-3-Clause */
/* A lane that nobody is busy with: looked at before it is used again, retired, renewed, swept. */
#include "net/lane_private.h"

#include "base/moment.h"
#include "base/error.h"

/* Reads what nobody waits for, all that is there, so that none of it is taken for the next
 * reply; true where the connection is still good. The monitor is held, and left meanwhile. */
static bool read_leftovers(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                           uint64_t now_ns, uint64_t until_ns)
{
    const kw_conn *conn = lane->stream.conn;
    uint64_t end_ns = now_ns + KW_LANE_LATE_NS;
    end_ns = kw_sooner(end_ns, until_ns);
    do {
        kw_monitor_unlock(&lane->monitor);
        kw_lane_read(lane, after, waiter, &now_ns, now_ns);
        if (conn->owners.count == 0 || kw_lane_stream_is_dying(&lane->stream)) {
            return true;
        }
    } while (lane->stream.got_len > 0 && now_ns < end_ns);
    return lane->stream.got_len == 0 && now_ns <= lane->stream.heard_ns + KW_LANE_LATE_NS;
}

static bool is_quiet(kw_lane *lane)
{
    kw_monitor_unlock(&lane->monitor);
    bool result = kw_conn_is_quiet(lane->stream.conn, false);
    kw_monitor_lock(&lane->monitor);
    return result;
}

void kw_lane_look(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t now_ns,
                  uint64_t until_ns)
{
    if (now_ns <= lane->stream.heard_ns + KW_LANE_FRESH_NS || !kw_lane_is_untended(lane) ||
        !lane->stream.is_ready || !kw_lane_stream_owes_nobody(&lane->stream)) {
        return;
    }
    kw_conn *conn = lane->stream.conn;
    (void)kw_leader_try(&lane->roles.reader);
    (void)kw_leader_try(&lane->roles.writer);
    bool is_good = conn->owners.count == 0 || read_leftovers(lane, after, waiter, now_ns, until_ns);
    is_good = is_good &&
              (conn->owners.count > 0 || kw_lane_stream_is_dying(&lane->stream) || is_quiet(lane));
    kw_leader_leave(&lane->roles.reader);
    kw_leader_leave(&lane->roles.writer); /* what it was called for is looked for behind this */
    kw_lane_fail_all(lane, after);
    if (is_good && lane->stream.conn == conn) {
        kw_conn_note_rest(conn, lane->stream.heard_ns, now_ns);
    }
    if (!is_good && lane->stream.conn == conn) {
        conn->state = KW_CONN_DEAD;
        kw_lane_detach(lane, after);
    }
    kw_lane_wake_first(lane, after); /* who came meanwhile found that somebody reads */
}

void kw_lane_retire(kw_lane *lane, bool is_retired)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    kw_monitor_lock(&lane->monitor);
    lane->is_retired = is_retired;
    if (is_retired) {
        kw_error failure = kw_error_none();
        kw_error_set(&failure, KW_ERR_CLOSED, KW_EFFECT_NONE, "the node left the map");
        kw_lane_end_queue(lane, &after, KW_LANE_WAITER_BROKEN, &failure, 0);
        if (kw_lane_is_idle(lane)) {
            kw_lane_detach(lane, &after);
        }
    }
    kw_lane_unlock(lane, &after, 0);
}

void kw_lane_renew(kw_lane *lane)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    kw_monitor_lock(&lane->monitor);
    atomic_fetch_add(&lane->renewals_n, 1);
    lane->stream.is_outdated = lane->stream.conn != NULL;
    if (kw_lane_is_idle(lane)) {
        kw_lane_detach(lane, &after);
    }
    kw_lane_unlock(lane, &after, 0);
}

void kw_lane_sweep(kw_lane *lane, uint64_t now_ns, uint64_t idle_ns)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    kw_monitor_lock(&lane->monitor);
    uint64_t idle_since_ns = lane->stream.heard_ns;
    if (now_ns > idle_since_ns + idle_ns && kw_lane_is_idle(lane)) {
        kw_lane_detach(lane, &after);
    }
    kw_lane_unlock(lane, &after, idle_since_ns); /* whoever takes it looks at it first */
}

bool kw_lane_is_opening_for(kw_lane *lane, const kw_lane_waiter *waiter)
{
    kw_monitor_lock(&lane->monitor);
    bool is_opening = !lane->stream.is_ready && waiter->state == KW_LANE_WAITER_QUEUED;
    kw_monitor_unlock(&lane->monitor);
    return is_opening;
}

void kw_lane_wake_all(kw_lane *lane)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    kw_monitor_lock(&lane->monitor);
    kw_leader_wake_all(&lane->roles.reader, &after.wakes, &lane->monitor);
    kw_monitor_wake_all(&lane->monitor);
    kw_lane_unlock(lane, &after, 0);
}

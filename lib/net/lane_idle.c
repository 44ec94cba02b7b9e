/* SPDX-License-Identifier: BSD-3-Clause */
/* Looks after a lane that was silent: leftovers are read, lost connections noticed, idle ones
 * closed. */
#include "net/lane_private.h"

#include "base/error.h"

/* Reads what nobody waits for, all that is there, so that none of it is taken for the next
 * reply; true where the connection is still good. The monitor is held, and left meanwhile. */
static bool read_leftovers(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                           uint64_t now_ns)
{
    const kw_conn *conn = lane->conn;
    uint64_t end_ns = now_ns + KW_LANE_LATE_NS;
    do {
        kw_monitor_unlock(&lane->monitor);
        kw_lane_read(lane, after, waiter, &now_ns, now_ns);
        if (conn->owners.count == 0 || atomic_load(&lane->is_dying)) {
            return true;
        }
    } while (lane->got_len > 0 && now_ns < end_ns);
    return lane->got_len == 0 && now_ns <= lane->heard_ns + KW_LANE_LATE_NS;
}

static bool is_quiet(kw_lane *lane)
{
    kw_monitor_unlock(&lane->monitor);
    bool result = kw_conn_is_quiet(lane->conn);
    kw_monitor_lock(&lane->monitor);
    return result;
}

void kw_lane_look(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t now_ns)
{
    if (now_ns <= lane->heard_ns + KW_LANE_FRESH_NS || !kw_lane_is_untended(lane) ||
        !lane->is_ready || !kw_lane_owes_nobody(lane)) {
        return;
    }
    kw_conn *conn = lane->conn;
    lane->is_reading = true;
    atomic_store(&lane->is_writing, true);
    bool is_good = conn->owners.count == 0 || read_leftovers(lane, after, waiter, now_ns);
    is_good = is_good && (conn->owners.count > 0 || atomic_load(&lane->is_dying) || is_quiet(lane));
    lane->is_reading = false;
    atomic_store(&lane->is_writing, false); /* what is wanted is looked for behind this */
    kw_lane_fail_all(lane, after);
    if (!is_good && lane->conn == conn) {
        conn->state = KW_CONN_DEAD;
        kw_lane_detach(lane, after);
    }
    kw_lane_wake_first(lane, after); /* who came meanwhile found the reader's role taken */
}

void kw_lane_retire(kw_lane *lane, bool is_retired)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    kw_monitor_lock(&lane->monitor);
    lane->is_retired = is_retired;
    if (is_retired) {
        kw_error failure = KW_ERROR_INIT;
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
    lane->is_outdated = lane->conn != NULL;
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
    if (now_ns > lane->heard_ns + idle_ns && kw_lane_is_idle(lane)) {
        kw_lane_detach(lane, &after);
    }
    kw_lane_unlock(lane, &after, now_ns);
}

void kw_lane_wake_all(kw_lane *lane)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    kw_monitor_lock(&lane->monitor);
    while (lane->sleepers.first != NULL) {
        kw_lane_wake_first(lane, &after);
    }
    kw_monitor_wake_all(&lane->monitor);
    kw_lane_unlock(lane, &after, 0);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Who reads and who writes on a lane: roles are taken, handed on, and waited for. */
#include "net/lane_private.h"

#include "net/node.h"

#include <sched.h>

/* sched_yield calls before a batch leaves, so that callers who were just woken can join it. */
#define YIELDS_MAX 4

bool kw_lane_is_untended(const kw_lane *lane)
{
    return lane->conn != NULL && !lane->is_reading && !atomic_load(&lane->is_writing) &&
           !atomic_load(&lane->is_dying);
}

bool kw_lane_is_idle(const kw_lane *lane)
{
    return kw_lane_is_untended(lane) && lane->is_ready && lane->conn->owners.count == 0 &&
           lane->queue_head == NULL && !kw_conn_has_bytes(lane->conn);
}

bool kw_lane_owes_nobody(const kw_lane *lane)
{
    const kw_fifo *fifo = &lane->conn->owners;
    for (size_t i = 0; i < fifo->count; i++) {
        if (kw_fifo_at(fifo, i)->kind == KW_OWNER_REQUEST) {
            return false;
        }
    }
    return true;
}

void kw_lane_take_reader_role(kw_lane *lane, kw_lane_waiter *waiter, uint64_t now_ns)
{
    if (now_ns > lane->left_ns + KW_LANE_FRESH_NS) {
        lane->heard_ns = now_ns; /* silence while nobody read says nothing of the server */
        lane->mark_ns = now_ns;
    }
    lane->is_reading = true;
    waiter->is_reader = true;
}

static void take_roles(kw_lane *lane, kw_lane_waiter *waiter, uint64_t now_ns)
{
    if (!lane->is_reading) {
        kw_lane_take_reader_role(lane, waiter, now_ns);
    }
    if (lane->has_rest && !atomic_load(&lane->is_writing)) {
        lane->has_rest = false;
        atomic_store(&lane->is_writing, true);
        waiter->is_writer = true;
    }
}

/* A connection that is being opened, and that nobody waits for any more: the node's pool keeps
 * it, so that whoever comes next goes on with it, on the lane or not. */
static bool is_forsaken(const kw_lane *lane)
{
    return kw_lane_is_untended(lane) && !lane->is_ready && lane->queue_head == NULL &&
           lane->sleepers.first == NULL && kw_lane_owes_nobody(lane);
}

void kw_lane_leave_roles(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                         uint64_t now_ns)
{
    if (waiter->is_writer) {
        waiter->is_writer = false;
        lane->has_rest = kw_conn_has_bytes(lane->conn);
        atomic_store(&lane->is_writing, false);
    }
    if (waiter->is_reader) {
        waiter->is_reader = false;
        lane->is_reading = false;
        lane->left_ns = now_ns;
    }
    kw_lane_fail_all(lane, after);
    if (is_forsaken(lane) || ((lane->is_retired || lane->is_outdated) && kw_lane_is_idle(lane))) {
        kw_lane_detach(lane, after);
    }
    bool is_role_free = !lane->is_reading || (lane->has_rest && !atomic_load(&lane->is_writing));
    if (is_role_free && !atomic_load(&lane->is_dying)) {
        kw_lane_wake_first(lane, after); /* who buries the dying wakes everybody */
    }
}

void kw_lane_gather(kw_lane *lane, kw_lane_after *after, uint64_t now_ns)
{
    size_t crowd_n = lane->crowd_n >= KW_LANE_CROWD_MIN ? lane->crowd_n : 0;
    lane->crowd_n = 0;
    for (int i = 0; i < YIELDS_MAX && lane->queue_n < crowd_n; i++) {
        kw_lane_unlock(lane, after, now_ns);
        sched_yield();
        kw_monitor_lock(&lane->monitor);
    }
}

void kw_lane_send_queue(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                        uint64_t now_ns)
{
    while (lane->queue_head != NULL && kw_lane_may_write(lane, now_ns)) {
        atomic_store(&lane->is_writing, true);
        kw_lane_gather(lane, after, now_ns);
        kw_lane_take_queue(lane, after, now_ns);
        kw_monitor_unlock(&lane->monitor);
        waiter->is_writer = !kw_lane_flush(lane, now_ns);
        kw_monitor_lock(&lane->monitor);
    }
}

bool kw_lane_step(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t *now_ns,
                  uint64_t until_ns)
{
    if (!atomic_load(&lane->is_dying)) {
        take_roles(lane, waiter, *now_ns);
    }
    if (waiter->is_reader) {
        lane->is_owed = lane->is_ready && lane->conn->owners.count > 0;
        kw_lane_unlock(lane, after, *now_ns);
        kw_lane_read(lane, after, waiter, now_ns, until_ns);
        kw_lane_send_queue(lane, after, waiter, *now_ns);
        return true;
    }
    if (waiter->is_writer) {
        kw_lane_unlock(lane, after, *now_ns);
        kw_lane_write(lane, waiter, now_ns, until_ns);
        return true;
    }
    kw_wait_queue_add(&lane->sleepers, &waiter->sleeper);
    lane->sleeps_n++;
    kw_lane_unlock(lane, after, *now_ns);
    if (kw_sleeper_wait(&waiter->sleeper, &lane->monitor, until_ns - *now_ns)) {
        *now_ns = kw_env_now(lane->env);
        return false;
    }
    *now_ns = kw_env_now(lane->env);
    kw_monitor_lock(&lane->monitor);
    kw_wait_queue_remove(&lane->sleepers, &waiter->sleeper);
    return true;
}

/* True where all commands of a connection that takes no more are answered, and no other thread
 * has a role on it. */
static bool is_drained(const kw_lane *lane, const kw_lane_waiter *waiter)
{
    return lane->is_outdated && lane->is_ready && lane->conn->owners.count == 0 &&
           lane->is_reading == waiter->is_reader && !atomic_load(&lane->is_writing) &&
           !lane->has_rest && !atomic_load(&lane->is_dying);
}

void kw_lane_detach_lost(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                         uint64_t now_ns)
{
    if (atomic_load(&lane->is_dying)) {
        kw_lane_leave_roles(lane, after, waiter, now_ns);
    } else if (is_drained(lane, waiter)) {
        kw_lane_detach(lane, after);
    }
}

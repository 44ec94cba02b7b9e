/* SPDX-License-Identifier: BSD-3-Clause */
/* State of a lane: its queue, when a batch may leave, and how a connection and its commands end. */
#include "net/lane_private.h"

#include "base/error.h"
#include "net/node.h"

#include <string.h>

/* How long a batch waits for the answers to the one before it. Where round trips are longer than
 * NEAR_NS the network is what takes time, and a part of the round trip is enough. Below that it is
 * processors that take time, which larger batches save: the wait is up to NEAR_GATE_NS. */
#define NEAR_NS      ((uint64_t)200000)
#define NEAR_GATE_NS ((uint64_t)2000000)
#define FAR_PARTS    4

/* Most bytes of one batch. */
#define BATCH_LEN ((size_t)128 * 1024)

void kw_lane_unlock(kw_lane *lane, kw_lane_after *after, uint64_t now_ns)
{
    kw_monitor_unlock(&lane->monitor);
    if (after->conn != NULL) {
        if (after->was_ready || after->failure.code != KW_OK) {
            kw_node_release_shared(lane->node, after->conn, now_ns,
                                   after->was_ready ? NULL : &after->failure);
        } else {
            kw_node_park_shared(lane->node, after->conn, now_ns);
        }
        after->conn = NULL;
    }
    if (after->wakes.n > 0) {
        kw_wake_list_send(&after->wakes, &lane->monitor);
    }
}

void kw_lane_enqueue(kw_lane *lane, kw_lane_waiter *waiter)
{
    waiter->state = KW_LANE_WAITER_QUEUED;
    waiter->next = NULL;
    waiter->before = lane->queue_tail;
    if (lane->queue_tail != NULL) {
        lane->queue_tail->next = waiter;
    } else {
        lane->queue_head = waiter;
    }
    lane->queue_tail = waiter;
    lane->queue_n++;
    lane->queue_len += waiter->request.bytes.len;
}

void kw_lane_dequeue(kw_lane *lane, kw_lane_waiter *waiter)
{
    if (waiter->before != NULL) {
        waiter->before->next = waiter->next;
    } else {
        lane->queue_head = waiter->next;
    }
    if (waiter->next != NULL) {
        waiter->next->before = waiter->before;
    } else {
        lane->queue_tail = waiter->before;
    }
    lane->queue_n--;
    lane->queue_len -= waiter->request.bytes.len;
    if (lane->admissions_n > 0) {
        kw_monitor_wake_all(&lane->monitor);
    }
}

void kw_lane_wake(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter)
{
    kw_wait_queue_wake(&lane->sleepers, &after->wakes, &lane->monitor, &waiter->sleeper,
                       waiter->state >= KW_LANE_WAITER_ANSWERED);
}

void kw_lane_wake_first(kw_lane *lane, kw_lane_after *after)
{
    if (lane->sleepers.first != NULL) {
        kw_wait_queue_wake(&lane->sleepers, &after->wakes, &lane->monitor, lane->sleepers.first,
                           false);
    }
}

void kw_lane_end(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                 kw_lane_waiter_state state, const kw_error *failure)
{
    waiter->state = state;
    waiter->code = failure->code;
    kw_error_copy(waiter->failure, failure);
    kw_lane_wake(lane, after, waiter);
}

void kw_lane_end_queue(kw_lane *lane, kw_lane_after *after, kw_lane_waiter_state state,
                       const kw_error *failure, uint64_t retry_ns)
{
    kw_lane_waiter *waiter;
    while ((waiter = lane->queue_head) != NULL) {
        kw_lane_dequeue(lane, waiter);
        waiter->has_left = false;
        waiter->retry_ns = retry_ns;
        kw_lane_end(lane, after, waiter, state, failure);
    }
}

bool kw_lane_take(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t now_ns)
{
    kw_conn *conn = lane->conn;
    size_t owners_n = conn->owners.count;
    if (!kw_conn_make_room(conn, waiter->request.bytes.len)) {
        kw_error failure = KW_ERROR_INIT;
        kw_error_set(&failure, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to send a command");
        kw_lane_end(lane, after, waiter, KW_LANE_WAITER_UNAVAILABLE, &failure);
        return false;
    }
    if (owners_n == 0) {
        lane->heard_ns = now_ns;
    }
    waiter->request.is_shared = true;
    (void)kw_conn_queue(conn, NULL, &waiter->request, waiter->is_asking); /* has its room */
    waiter->state = KW_LANE_WAITER_TAKEN;
    lane->taken_n += conn->owners.count - owners_n;
    if (lane->answered_n >= lane->mark_n) {
        lane->mark_n = lane->taken_n;
        lane->mark_ns = now_ns;
    }
    lane->sends_n++;
    return true;
}

static bool is_gate_open(const kw_lane *lane, uint64_t now_ns)
{
    uint64_t trip_ns = lane->trip_ns;
    uint64_t gate_ns = trip_ns < NEAR_NS ? NEAR_GATE_NS : trip_ns / FAR_PARTS;
    return !lane->is_reading || lane->answered_n > lane->batch_at ||
           lane->answered_n == lane->taken_n || now_ns > lane->sent_ns + gate_ns;
}

bool kw_lane_may_write(kw_lane *lane, uint64_t now_ns)
{
    if (!lane->is_ready || lane->is_outdated || lane->has_rest || atomic_load(&lane->is_dying) ||
        !is_gate_open(lane, now_ns)) {
        return false;
    }
    if (atomic_load(&lane->is_writing)) {
        atomic_store(&lane->is_wanted, true);
        return !atomic_load(&lane->is_writing); /* it may have left before it saw is_wanted */
    }
    return true;
}

void kw_lane_take_queue(kw_lane *lane, kw_lane_after *after, uint64_t now_ns)
{
    lane->batch_at = lane->taken_n;
    lane->sent_ns = now_ns;
    kw_lane_waiter *waiter;
    while ((waiter = lane->queue_head) != NULL && lane->conn->out.len < BATCH_LEN) {
        kw_lane_dequeue(lane, waiter);
        (void)kw_lane_take(lane, after, waiter, now_ns);
    }
}

void kw_lane_die(kw_lane *lane, kw_err code, const kw_error *failure)
{
    if (!atomic_load(&lane->is_dying)) {
        kw_error_copy(&lane->death, failure);
        lane->death.code = code;
        atomic_store(&lane->is_dying, true);
        atomic_store(&lane->is_wanted, true);
        kw_conn_shutdown(lane->conn); /* whoever has the other role notices */
    }
}

/* Where a reply over a limit ended the connection: the command that it was for is told so; those
 * behind it are told that the connection was lost. */
static void set_death_behind(kw_lane *lane)
{
    if (lane->death.code == KW_ERR_LIMIT) {
        kw_error_set(&lane->death, KW_ERR_CLOSED, KW_EFFECT_NONE,
                     "the reply to a command before it was over a limit");
    }
}

/* Commands that were never sent are told only that the connection was lost, whatever was wrong with
 * the replies to others. */
static void set_death_unsent(kw_lane *lane)
{
    if (lane->is_ready &&
        (lane->death.code == KW_ERR_DESYNC || lane->death.code == KW_ERR_PROTOCOL)) {
        lane->death.code = KW_ERR_CLOSED;
    }
}

void kw_lane_detach(kw_lane *lane, kw_lane_after *after)
{
    lane->conn->is_shared = false;
    after->conn = lane->conn;
    after->was_ready = lane->is_ready;
    if (!lane->is_ready) {
        after->failure = lane->death;
        after->failure.code = atomic_load(&lane->is_dying) ? lane->death.code : KW_OK;
    }
    lane->conn = NULL;
    lane->is_ready = false;
    lane->is_greeting = false;
    lane->is_outdated = false;
    lane->has_rest = false;
    lane->taken_n = 0;
    lane->answered_n = 0;
    lane->batch_at = 0;
    lane->mark_n = 0;
    lane->tombstones_n = 0;
    lane->is_owed = false;
    atomic_store(&lane->stuck_at, UINT64_MAX);
    atomic_store(&lane->answered_at, 0);
    atomic_store(&lane->is_dying, false);
}

void kw_lane_fail_all(kw_lane *lane, kw_lane_after *after)
{
    kw_conn *conn = lane->conn;
    if (!atomic_load(&lane->is_dying) || conn == NULL || lane->is_reading ||
        atomic_load(&lane->is_writing)) {
        return;
    }
    kw_lane_waiter_state state = lane->is_ready ? KW_LANE_WAITER_BROKEN : KW_LANE_WAITER_UNREADY;
    kw_owner owner;
    while (kw_fifo_pop(&conn->owners, &owner)) {
        if (owner.kind == KW_OWNER_REQUEST) {
            kw_lane_waiter *waiter = (kw_lane_waiter *)owner.request;
            waiter->has_left = kw_conn_has_sent(conn, owner.request);
            kw_lane_end(lane, after, waiter, state, &lane->death);
            set_death_behind(lane);
        }
    }
    set_death_behind(lane);
    set_death_unsent(lane);
    kw_lane_end_queue(lane, after,
                      lane->is_ready ? KW_LANE_WAITER_BROKEN : KW_LANE_WAITER_UNAVAILABLE,
                      &lane->death, 0);
    conn->state = KW_CONN_DEAD;
    kw_lane_detach(lane, after);
}

/* Sends what the socket takes. A server that answers before it has read the command may take
 * the rest of it for part of the next one: the writer and the reader each say first where
 * they are and then look where the other is, so that one of them notices. */
static kw_err send_bytes(kw_lane *lane)
{
    kw_conn *conn = lane->conn;
    if (atomic_load_explicit(&lane->stuck_at, memory_order_relaxed) != UINT64_MAX) {
        atomic_store(&lane->stuck_at, UINT64_MAX);
    }
    kw_err code = kw_conn_flush(conn, &lane->write_failure);
    if (code != KW_OK || !kw_conn_has_bytes(conn)) {
        return code;
    }
    uint64_t sent_at = kw_conn_sent_at(conn);
    atomic_store(&lane->stuck_at, sent_at);
    if (atomic_load(&lane->answered_at) > sent_at) {
        return kw_error_set(&lane->write_failure, KW_ERR_CLOSED, KW_EFFECT_MAYBE,
                            KW_LANE_EARLY_ANSWER);
    }
    return KW_OK;
}

bool kw_lane_flush(kw_lane *lane, uint64_t now_ns)
{
    kw_lane_after after;
    kw_lane_after_init(&after);
    bool has_more;
    do {
        kw_err code = send_bytes(lane);
        if (code == KW_OK && kw_conn_has_bytes(lane->conn)) {
            return false;
        }
        if (code == KW_OK) {
            atomic_store(&lane->is_writing, false);
            if (!atomic_load(&lane->is_wanted)) {
                return true;
            }
        }
        kw_monitor_lock(&lane->monitor);
        if (code != KW_OK) {
            kw_lane_die(lane, code, &lane->write_failure);
            atomic_store(&lane->is_writing, false);
        }
        if (!atomic_load(&lane->is_writing)) { /* else it is for the next writer to see */
            atomic_store(&lane->is_wanted, false);
        }
        kw_lane_fail_all(lane, &after);
        has_more = lane->queue_head != NULL && kw_lane_may_write(lane, now_ns);
        if (has_more) {
            atomic_store(&lane->is_writing, true);
            kw_lane_take_queue(lane, &after, now_ns);
        }
        kw_lane_unlock(lane, &after, now_ns);
    } while (has_more);
    return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Lane: what its sources share, from the lowest to the highest: how commands and connections end
 * (lane_end.c), how commands are sent (lane_send.c), how replies are read (lane_io.c), one step of
 * a waiter (lane_step.c). */
#ifndef NET_LANE_PRIVATE_H
#define NET_LANE_PRIVATE_H

#include "base/moment.h"
#include "net/lane.h"

/* A connection that was idle for longer than this is looked at before it is used. */
#define KW_LANE_FRESH_NS KW_NS_PER_MS

/* What a thread found to do with the monitor held, and does once it has left it. */
typedef struct kw_lane_after {
    kw_lane_leaving leaving; /* to be given back to the pool; conn is NULL: none */
    kw_wake_list wakes;
} kw_lane_after;

/* The waiter's handle is being closed. */
static inline bool kw_lane_is_closing(const kw_lane *lane, const kw_lane_waiter *waiter)
{
    return kw_env_is_closing(lane->env, waiter->closing);
}

/* There is a connection, not dying, and nobody has a role on it. */
static inline bool kw_lane_is_untended(const kw_lane *lane)
{
    return lane->stream.conn != NULL && kw_lane_roles_are_free(&lane->roles) &&
           !kw_lane_stream_is_dying(&lane->stream);
}

/* The connection is untended, and nothing is queued or under way. */
static inline bool kw_lane_is_idle(const kw_lane *lane)
{
    return kw_lane_is_untended(lane) && lane->stream.is_ready &&
           lane->stream.conn->owners.count == 0 && lane->queue.head == NULL &&
           !kw_conn_has_bytes(lane->stream.conn);
}

static inline void kw_lane_after_init(kw_lane_after *after)
{
    after->leaving.conn = NULL;
    after->wakes.n = 0;
}

/* In lane_end.c. The monitor is held in all that follow, but where they say otherwise. */

/* Leaves the monitor and does what was put off until then. */
void kw_lane_unlock(kw_lane *lane, kw_lane_after *after, uint64_t now_ns);

/* Takes the command out of the queue; who waits for room looks again. */
void kw_lane_dequeue(kw_lane *lane, kw_lane_waiter *waiter);

/* Wakes who has slept longest, to take on what is to be done. */
void kw_lane_wake_first(kw_lane *lane, kw_lane_after *after);

/* Ends a command that has no reply. The waiter may be gone after it. */
void kw_lane_end(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                 kw_lane_waiter_state state, const kw_error *failure);

/* Ends everything that is queued. */
void kw_lane_end_queue(kw_lane *lane, kw_lane_after *after, kw_lane_waiter_state state,
                       const kw_error *failure, uint64_t retry_ns);

/* The connection is lost; whoever has the other role notices. kw_lane_fail_all ends it, once nobody
 * has a role. */
void kw_lane_die(kw_lane *lane, kw_err code, const kw_error *failure);

/* Takes the connection, which nobody has a role on, from the lane. What is queued stays for
 * the next one. */
void kw_lane_detach(kw_lane *lane, kw_lane_after *after);

/* Takes a dying connection from the lane once nobody has a role: all its commands end. */
void kw_lane_fail_all(kw_lane *lane, kw_lane_after *after);

/* In lane_send.c. */

/* Hands the command to the connection; the caller has the writer's role. False, and it has
 * ended, when there is no memory. */
bool kw_lane_take(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t now_ns);

/* True where what is queued may be sent now, by whoever asks. */
bool kw_lane_may_write(kw_lane *lane, uint64_t now_ns);

/* A new batch, of what is queued; the caller has the writer's role. */
void kw_lane_take_queue(kw_lane *lane, kw_lane_after *after, uint64_t now_ns);

/* Callers whose replies came together will be back at once: lets them queue their commands
 * first. The caller has the writer's role. The monitor is left meanwhile. */
void kw_lane_gather(kw_lane *lane, kw_lane_after *after, uint64_t now_ns);

/* Sends what the socket takes, and what was queued meanwhile. The monitor is not held, the
 * writer's role is; it is given back where all was sent, or the connection was lost. False:
 * bytes are left, and the role. */
bool kw_lane_flush(kw_lane *lane, uint64_t now_ns);

/* Sends what is queued, where that is allowed. The monitor is left meanwhile. */
void kw_lane_send_queue(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                        uint64_t now_ns);

/* In lane_io.c. */

/* One step of the waiter that has the reader's role: waits at most until until_ns, opens,
 * greets or reads, and gives replies to their owners. The monitor is not held before, and is
 * held after it. */
void kw_lane_read(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t *now_ns,
                  uint64_t until_ns);

/* One step of a waiter that has the writer's role only; the monitor as for kw_lane_read. */
void kw_lane_write(kw_lane *lane, kw_lane_waiter *waiter, uint64_t *now_ns, uint64_t until_ns);

/* In lane_step.c. */

void kw_lane_take_reader_role(kw_lane *lane, kw_lane_waiter *waiter, uint64_t now_ns);

/* Gives back what roles the waiter has; somebody who waits takes them on. */
void kw_lane_leave_roles(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                         uint64_t now_ns);

/* One step of a waiter: as reader or writer, or asleep while others do the work; the monitor is
 * left meanwhile. False where it has ended, as seen without the monitor: then that is not held. */
bool kw_lane_step(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t *now_ns,
                  uint64_t until_ns);

/* Takes leave of a connection that is lost, or outdated. */
void kw_lane_detach_lost(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                         uint64_t now_ns);

/* In lane_backpressure.c: waits for room, and reads meanwhile if nobody does. The monitor is left
 * meanwhile. */
kw_err kw_lane_check_room(kw_lane *lane, kw_error *error, kw_lane_waiter *waiter, uint64_t now_ns,
                          uint64_t until_ns);

/* In lane_idle.c. Before the first command after a silence: is the connection still good? The
 * monitor is left meanwhile. */
void kw_lane_look(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t now_ns,
                  uint64_t until_ns);

#endif

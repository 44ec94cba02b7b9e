/* SPDX-License-Identifier: BSD-3-Clause */
/* Lane: what its sources share; lane_private.c holds what they all call. */
#ifndef NET_LANE_PRIVATE_H
#define NET_LANE_PRIVATE_H

#include "net/lane.h"

/* A connection without a word for this long may be lost: it takes no more commands, and ends
 * where nobody waits for what it still owes. */
#define KW_LANE_LATE_NS ((uint64_t)125000000)

/* A connection that was idle for longer than this is looked at before it is used. */
#define KW_LANE_FRESH_NS ((uint64_t)1000000)

/* Replies that come together, from this number on, are of a crowd. */
#define KW_LANE_CROWD_MIN 3

#define KW_LANE_EARLY_ANSWER "the server answered a command before it was sent whole"

/* What a thread found to do with the monitor held, and does once it has left it. */
typedef struct kw_lane_after {
    kw_conn *conn; /* to be given back to the node; NULL: none */
    bool was_ready;
    kw_error failure; /* where it was not; KW_OK: it may still become so */
    kw_wake_list wakes;
} kw_lane_after;

static inline bool kw_lane_is_closing(const kw_lane *lane)
{
    return atomic_load_explicit(&lane->env->is_closing, memory_order_relaxed);
}

static inline void kw_lane_after_init(kw_lane_after *after)
{
    after->conn = NULL;
    after->wakes.n = 0;
}

/* Leaves the monitor and does what was put off until then. */
void kw_lane_unlock(kw_lane *lane, kw_lane_after *after, uint64_t now_ns);

/* The monitor is held in all that follow, but where they say otherwise. */

void kw_lane_enqueue(kw_lane *lane, kw_lane_waiter *waiter);
void kw_lane_dequeue(kw_lane *lane, kw_lane_waiter *waiter);

/* Wakes the waiter where it sleeps. */
void kw_lane_wake(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter);

/* Wakes who has slept longest, to take on what is to be done. */
void kw_lane_wake_first(kw_lane *lane, kw_lane_after *after);

/* Ends a command that has no reply. The waiter may be gone after it. */
void kw_lane_end(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                 kw_lane_waiter_state state, const kw_error *failure);

/* Ends everything that is queued. */
void kw_lane_end_queue(kw_lane *lane, kw_lane_after *after, kw_lane_waiter_state state,
                       const kw_error *failure, uint64_t retry_ns);

/* Hands the command to the connection; the caller has the writer's role. False, and it has
 * ended, when there is no memory. */
bool kw_lane_take(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t now_ns);

/* True where what is queued may be sent now, by whoever asks: false holds commands back until they
 * are worth a batch. */
bool kw_lane_may_write(kw_lane *lane, uint64_t now_ns);

/* A new batch, of what is queued; the caller has the writer's role. */
void kw_lane_take_queue(kw_lane *lane, kw_lane_after *after, uint64_t now_ns);

/* The connection is lost. It is buried by whoever holds the last role. */
void kw_lane_die(kw_lane *lane, kw_err code, const kw_error *failure);

/* Takes the connection, which nobody has a role on, from the lane. What is queued stays for
 * the next one. */
void kw_lane_detach(kw_lane *lane, kw_lane_after *after);

/* Buries a dying connection once nobody has a role: all its commands end. */
void kw_lane_fail_all(kw_lane *lane, kw_lane_after *after);

/* Sends what the socket takes, and what was queued meanwhile. The monitor is not held, the
 * writer's role is; it is given back where all was sent, or the connection was lost. False:
 * bytes are left, and the role. */
bool kw_lane_flush(kw_lane *lane, uint64_t now_ns);

/* There is a connection, not dying, and nobody has a role on it. */
bool kw_lane_is_untended(const kw_lane *lane);

/* There is a connection, nobody has a role on it, and nothing is queued or under way. */
bool kw_lane_is_idle(const kw_lane *lane);

/* Nobody waits for any of the replies that the connection is still to bring. */
bool kw_lane_owes_nobody(const kw_lane *lane);

void kw_lane_take_reader_role(kw_lane *lane, kw_lane_waiter *waiter, uint64_t now_ns);

/* Gives back what roles the waiter has; somebody who waits takes them on. */
void kw_lane_leave_roles(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                         uint64_t now_ns);

/* Those whose replies came together will be back at once: lets them queue their commands
 * first. The caller has the writer's role. The monitor is left meanwhile. */
void kw_lane_gather(kw_lane *lane, kw_lane_after *after, uint64_t now_ns);

/* Sends what is queued, where that is allowed. The monitor is left meanwhile. */
void kw_lane_send_queue(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                        uint64_t now_ns);

/* One turn of a waiter: as reader or writer, or asleep while others do the work; the monitor is
 * left meanwhile. False where it has ended, as seen without the monitor: then that is not held. */
bool kw_lane_step(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t *now_ns,
                  uint64_t until_ns);

/* Takes leave of a connection that is lost, or outdated. */
void kw_lane_detach_lost(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter,
                         uint64_t now_ns);

/* Waits for room, and reads meanwhile if nobody does. The monitor is left meanwhile. */
kw_err kw_lane_check_room(kw_lane *lane, kw_error *error, kw_lane_waiter *waiter, uint64_t now_ns,
                          uint64_t until_ns);

/* Before the first command after a silence: is the connection still good? The monitor is left
 * meanwhile. */
void kw_lane_look(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t now_ns);

/* One turn of the waiter that has the reader's role: waits at most until until_ns, opens,
 * greets or reads, and gives replies to their owners. The monitor is not held before, and is
 * held after it. */
void kw_lane_read(kw_lane *lane, kw_lane_after *after, kw_lane_waiter *waiter, uint64_t *now_ns,
                  uint64_t until_ns);

/* One turn of a waiter that has the writer's role only. The monitor is not held before, and is held
 * after it. */
void kw_lane_write(kw_lane *lane, kw_lane_waiter *waiter, uint64_t *now_ns, uint64_t until_ns);

#endif

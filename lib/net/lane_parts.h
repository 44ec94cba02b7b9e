/* Lane parts: what the entries of a lane, and the turns that its roles take, share. */
#ifndef NET_LANE_PARTS_H
#define NET_LANE_PARTS_H

#include "net/lane.h"

/* What a thread found to do with the gate held, and does once it has left it. */
typedef struct kw_lane_after {
    kw_conn *conn; /* to be given back to the node; NULL: none */
    bool was_ready;
    kw_error failure; /* where it was not */
    kw_wakes wakes;
} kw_lane_after;

static inline void kw_lane_after_init(kw_lane_after *after)
{
    after->conn = NULL;
    after->wakes.n = 0;
}

/* Leaves the gate and does what was put off until then. */
void kw_lane_unlock(kw_lane *lane, kw_lane_after *after, uint64_t now_ns);

/* The gate is held in all that follow, but where they say otherwise. */

void kw_lane_enqueue(kw_lane *lane, kw_waiter *waiter);
void kw_lane_dequeue(kw_lane *lane, kw_waiter *waiter);
void kw_lane_park(kw_lane *lane, kw_waiter *waiter);
void kw_lane_unpark(kw_lane *lane, kw_waiter *waiter);

/* Wakes the waiter where it sleeps. */
void kw_lane_wake(kw_lane *lane, kw_lane_after *after, kw_waiter *waiter);

/* Ends a command that has no reply. failure may be NULL. The waiter may be gone after it. */
void kw_lane_end(kw_lane *lane, kw_lane_after *after, kw_waiter *waiter, kw_waiter_state state,
                 const kw_error *failure);

/* Ends everything that is queued. */
void kw_lane_end_queue(kw_lane *lane, kw_lane_after *after, kw_waiter_state state,
                       const kw_error *failure, uint64_t retry_ns);

/* Hands the command to the connection; the caller has the writer's role. False, and it has
 * ended, when there is no memory. */
bool kw_lane_take(kw_lane *lane, kw_lane_after *after, kw_waiter *waiter, uint64_t now_ns);

/* True where what is queued may be sent now, by whoever asks. That is the gate which makes
 * batches. */
bool kw_lane_may_write(kw_lane *lane, uint64_t now_ns);

/* A new batch, of what is queued; the caller has the writer's role. */
void kw_lane_take_queue(kw_lane *lane, kw_lane_after *after, uint64_t now_ns);

/* The connection is lost. It is buried by whoever holds the last role. */
void kw_lane_die(kw_lane *lane, kw_err code, const kw_error *failure);

/* Takes the connection, which nobody has a role on, from the lane. What is queued stays for
 * the next one. */
void kw_lane_detach(kw_lane *lane, kw_lane_after *after);

/* Buries a dying connection once nobody has a role: all its commands end. */
void kw_lane_bury(kw_lane *lane, kw_lane_after *after);

/* Sends what the socket takes, and what was queued meanwhile. The gate is not held, the
 * writer's role is; it is given back where all was sent, or the connection was lost. False:
 * bytes are left, and the role. */
bool kw_lane_flush(kw_lane *lane, kw_error *failure, uint64_t now_ns);

/* One turn of the waiter that has the reader's role: waits at most until until_ns, opens,
 * greets or reads, and gives replies to their owners. The gate is not held before, and is
 * held after it. */
void kw_lane_read(kw_lane *lane, kw_lane_after *after, kw_waiter *waiter, uint64_t *now_ns,
                  uint64_t until_ns);

/* One turn of a waiter that has the writer's role only. Gate as above. */
void kw_lane_write(kw_lane *lane, kw_waiter *waiter, uint64_t *now_ns, uint64_t until_ns);

#endif

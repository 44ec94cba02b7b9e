/* SPDX-License-Identifier: BSD-3-Clause */
/* Leader: of the threads that need the same work done, one does it for all. Who finds it undone
 * leads; the others go on with something else, call the leader to look again, or sleep until the
 * work is handed on to them. The library has no thread of its own: so each of its common works is
 * done. */
#ifndef NET_LEADER_H
#define NET_LEADER_H

#include "net/sync.h"
#include "net/wait_queue.h"

/* Starts as zero. The followers are guarded by a monitor that those who sleep and those who wake
 * them share; try, leave and call need no lock. */
typedef struct kw_leader {
    atomic_bool is_led;
    atomic_bool is_called; /* there is more to do: the leader looks again before it is gone */
    kw_wait_queue followers;
} kw_leader;

/* Nobody leads, and nobody sleeps: for a forked child, whose parent's threads are not there. */
static inline void kw_leader_init(kw_leader *leader)
{
    atomic_init(&leader->is_led, false);
    atomic_init(&leader->is_called, false);
    leader->followers.first = NULL;
    leader->followers.last = NULL;
}

static inline bool kw_leader_is_led(const kw_leader *leader)
{
    return atomic_load_explicit(&leader->is_led, memory_order_acquire);
}

/* True: the caller leads from now on, and leaves some time. */
static inline bool kw_leader_try(kw_leader *leader)
{
    return !atomic_load_explicit(&leader->is_led, memory_order_relaxed) &&
           !atomic_exchange(&leader->is_led, true);
}

/* Nobody leads any more. Where somebody may sleep, kw_leader_hand_on follows. */
static inline void kw_leader_leave(kw_leader *leader)
{
    atomic_store_explicit(&leader->is_led, false, memory_order_release);
}

/* There is more to do. True where nobody leads: then it is for the caller to try; else whoever
 * leads sees it. */
static inline bool kw_leader_call(kw_leader *leader)
{
    atomic_store(&leader->is_called, true);
    return !atomic_load(&leader->is_led);
}

/* Leaves. True where the leader was called: it has to look again, as everybody else may. */
static inline bool kw_leader_leave_called(kw_leader *leader)
{
    atomic_store(&leader->is_led, false);
    return atomic_load(&leader->is_called);
}

/* What the leader was called for is about to be looked at. */
static inline void kw_leader_heed(kw_leader *leader)
{
    atomic_store(&leader->is_called, false);
}

/* In what follows the monitor is held. */

/* Wakes who has slept longest: to lead, or to look at what has changed. */
void kw_leader_hand_on(kw_leader *leader, kw_wake_list *wakes, kw_monitor *monitor);

void kw_leader_wake_all(kw_leader *leader, kw_wake_list *wakes, kw_monitor *monitor);

/* Sleeps until it is woken, or for wait_ns of real time, or for no reason; the monitor is left
 * meanwhile. Who goes away after it, and finds nobody to lead, hands on: the wake may have been
 * meant to bring a leader. */
void kw_leader_wait(kw_leader *leader, kw_monitor *monitor, uint64_t wait_ns);

/* Likewise, as a sleeper whom others can find, and wake by itself. */
void kw_leader_wait_as(kw_leader *leader, kw_monitor *monitor, kw_sleeper *sleeper,
                       uint64_t wait_ns);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Lane roles: who reads the connection of a lane and who writes to it, one thread each, and the
 * waiters who sleep meanwhile. The lane's monitor guards it; the writer alone leaves without it. */
#ifndef NET_LANE_ROLES_H
#define NET_LANE_ROLES_H

#include "net/lane_waiter.h"
#include "net/leader.h"

/* Starts as zero. */
typedef struct kw_lane_roles {
    kw_leader reader;  /* its followers sleep until they are answered, or are to take a role on */
    kw_leader writer;  /* called, it looks at the queue before it is gone */
    uint64_t left_ns;  /* when the last reader left */
    uint64_t sleeps_n; /* of waiters, while others did the work */
} kw_lane_roles;

static inline bool kw_lane_roles_is_read(const kw_lane_roles *roles)
{
    return kw_leader_is_led(&roles->reader);
}

static inline bool kw_lane_roles_is_written(const kw_lane_roles *roles)
{
    return kw_leader_is_led(&roles->writer);
}

static inline bool kw_lane_roles_are_free(const kw_lane_roles *roles)
{
    return !kw_lane_roles_is_read(roles) && !kw_lane_roles_is_written(roles);
}

/* The waiter becomes the reader; nobody is. True where nobody has listened for a while. */
bool kw_lane_roles_take_reader(kw_lane_roles *roles, kw_lane_waiter *waiter, uint64_t now_ns);

/* The waiter becomes the writer; nobody is. */
void kw_lane_roles_take_writer(kw_lane_roles *roles, kw_lane_waiter *waiter);

/* Gives back what roles the waiter has. */
void kw_lane_roles_leave(kw_lane_roles *roles, kw_lane_waiter *waiter, uint64_t now_ns);

/* Wakes the waiter where it sleeps. */
void kw_lane_roles_wake(kw_lane_roles *roles, kw_wake_list *wakes, kw_monitor *monitor,
                        kw_lane_waiter *waiter);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* How the roles of a lane change hands. */
#include "net/lane_roles.h"

#include "base/moment.h"

/* Bytes that are there when reading begins again are looked at for replies that nobody asked for,
 * but for a pause as short as this. */
#define PAUSE_NS KW_NS_PER_MS

bool kw_lane_roles_take_reader(kw_lane_roles *roles, kw_lane_waiter *waiter, uint64_t now_ns)
{
    waiter->is_reader = kw_leader_try(&roles->reader);
    return now_ns > roles->left_ns + PAUSE_NS;
}

void kw_lane_roles_take_writer(kw_lane_roles *roles, kw_lane_waiter *waiter)
{
    waiter->is_writer = kw_leader_try(&roles->writer);
}

void kw_lane_roles_leave(kw_lane_roles *roles, kw_lane_waiter *waiter, uint64_t now_ns)
{
    if (waiter->is_writer) {
        waiter->is_writer = false;
        kw_leader_leave(&roles->writer);
    }
    if (waiter->is_reader) {
        waiter->is_reader = false;
        kw_leader_leave(&roles->reader);
        roles->left_ns = now_ns;
    }
}

void kw_lane_roles_wake(kw_lane_roles *roles, kw_wake_list *wakes, kw_monitor *monitor,
                        kw_lane_waiter *waiter)
{
    kw_wait_queue_wake(&roles->reader.followers, wakes, monitor, &waiter->sleeper,
                       kw_lane_waiter_has_ended(waiter));
}

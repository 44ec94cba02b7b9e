/* SPDX-License-Identifier: BSD-3-Clause */
/* Those who sleep while another thread leads, and their waking. */
#include "net/leader.h"

void kw_leader_hand_on(kw_leader *leader, kw_wake_list *wakes, kw_monitor *monitor)
{
    if (leader->followers.first != NULL) {
        kw_wait_queue_wake(&leader->followers, wakes, monitor, leader->followers.first, false);
    }
}

void kw_leader_wake_all(kw_leader *leader, kw_wake_list *wakes, kw_monitor *monitor)
{
    while (leader->followers.first != NULL) {
        kw_leader_hand_on(leader, wakes, monitor);
    }
}

void kw_leader_wait_as(kw_leader *leader, kw_monitor *monitor, kw_sleeper *sleeper,
                       uint64_t wait_ns)
{
    kw_wait_queue_add(&leader->followers, sleeper);
    kw_monitor_unlock(monitor);
    (void)kw_sleeper_wait(sleeper, monitor, wait_ns);
    kw_monitor_lock(monitor);
    kw_wait_queue_remove(&leader->followers, sleeper);
}

void kw_leader_wait(kw_leader *leader, kw_monitor *monitor, uint64_t wait_ns)
{
    kw_sleeper sleeper = {.is_listed = false};
    kw_leader_wait_as(leader, monitor, &sleeper, wait_ns);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Sync: a lock with a condition that is waited for with a time limit. */
#ifndef NET_SYNC_H
#define NET_SYNC_H

#include <keyway/error.h>

#include <pthread.h>
#include <stdint.h>

typedef struct kw_monitor {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
} kw_monitor;

/* KW_ERR_NOMEM where the system has no room for them. */
kw_err kw_monitor_init(kw_monitor *monitor);
void kw_monitor_fini(kw_monitor *monitor);

void kw_monitor_lock(kw_monitor *monitor);
void kw_monitor_unlock(kw_monitor *monitor);

/* Unlocks, waits for a wake or for wait_ns of real time, locks again. May wake for no
 * reason. */
void kw_monitor_wait(kw_monitor *monitor, uint64_t wait_ns);

void kw_monitor_wake_one(kw_monitor *monitor);
void kw_monitor_wake_all(kw_monitor *monitor);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Sync: a lock with a condition that is waited for with a time limit. On Linux each is one word
 * that futex(2) watches, so that a free lock costs one atomic operation to take and one to leave,
 * a third of what the system's costs; elsewhere, and with KW_SYSTEM_LOCKS, they are the system's,
 * which tools that look for the order of locks know. */
#ifndef NET_SYNC_H
#define NET_SYNC_H

#include <keyway/error.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#if defined(__linux__) && defined(__LP64__)
#define KW_HAS_FUTEX

/* Sleeps while *word is value, for wait_ns of real time at most; or returns for no reason. */
void kw_futex_wait(atomic_uint *word, unsigned value, uint64_t wait_ns);

/* Wakes so many of those who sleep at the address, which is all that is looked at. */
void kw_futex_wake(atomic_uint *word, int n);
#endif

#if defined(KW_HAS_FUTEX) && !defined(KW_SYSTEM_LOCKS)
#define KW_HAS_WORD_LOCKS

typedef struct kw_monitor {
    atomic_uint lock;      /* free, held, or held while somebody may sleep for it */
    atomic_uint turn;      /* goes on with each wake: what kw_monitor_wait watches */
    atomic_uint waiters_n; /* in kw_monitor_wait */
} kw_monitor;

#else

typedef struct kw_monitor {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
} kw_monitor;

#endif

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

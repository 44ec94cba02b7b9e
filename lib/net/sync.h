/* SPDX-License-Identifier: BSD-3-Clause */
/* Sync: a lock with a condition that is waited for with a time limit. */
#ifndef NET_SYNC_H
#define NET_SYNC_H

#include <keyway/error.h>

#include <pthread.h>
#include <stdint.h>

typedef struct kw_gate {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
} kw_gate;

/* KW_ERR_NOMEM where the system has no room for them. */
kw_err kw_gate_init(kw_gate *gate);
void kw_gate_fini(kw_gate *gate);

void kw_gate_lock(kw_gate *gate);
void kw_gate_unlock(kw_gate *gate);

/* Unlocks, waits for a wake or for wait_ns of real time, locks again. May wake for no
 * reason. */
void kw_gate_wait(kw_gate *gate, uint64_t wait_ns);

void kw_gate_wake_one(kw_gate *gate);
void kw_gate_wake_all(kw_gate *gate);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/sync.h"

#include <time.h>

#define NS_PER_S ((uint64_t)1000000000)

/* Longer waits are cut, so that no sum overflows; every caller waits in a loop. */
#define WAIT_MAX_NS (3600 * NS_PER_S)

#if defined(__APPLE__)

static int cond_init(pthread_cond_t *cond)
{
    return pthread_cond_init(cond, NULL);
}

static void cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t wait_ns)
{
    struct timespec span = {(time_t)(wait_ns / NS_PER_S), (long)(wait_ns % NS_PER_S)};
    pthread_cond_timedwait_relative_np(cond, mutex, &span);
}

#else

static int cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    int error = pthread_condattr_init(&attr);
    if (error != 0) {
        return error;
    }
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    error = pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
    return error;
}

static void cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t wait_ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + wait_ns;
    until.tv_sec += (time_t)(ns / NS_PER_S);
    until.tv_nsec = (long)(ns % NS_PER_S);
    pthread_cond_timedwait(cond, mutex, &until);
}

#endif

kw_err kw_gate_init(kw_gate *gate)
{
    if (pthread_mutex_init(&gate->mutex, NULL) != 0) {
        return KW_ERR_NOMEM;
    }
    if (cond_init(&gate->cond) != 0) {
        pthread_mutex_destroy(&gate->mutex);
        return KW_ERR_NOMEM;
    }
    return KW_OK;
}

void kw_gate_fini(kw_gate *gate)
{
    pthread_cond_destroy(&gate->cond);
    pthread_mutex_destroy(&gate->mutex);
}

void kw_gate_lock(kw_gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
}

void kw_gate_unlock(kw_gate *gate)
{
    pthread_mutex_unlock(&gate->mutex);
}

void kw_gate_wait(kw_gate *gate, uint64_t wait_ns)
{
    cond_wait(&gate->cond, &gate->mutex, wait_ns < WAIT_MAX_NS ? wait_ns : WAIT_MAX_NS);
}

void kw_gate_wake_one(kw_gate *gate)
{
    pthread_cond_signal(&gate->cond);
}

void kw_gate_wake_all(kw_gate *gate)
{
    pthread_cond_broadcast(&gate->cond);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Locks and timed waits of pthreads, on the monotonic clock. */
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

kw_err kw_monitor_init(kw_monitor *monitor)
{
    if (pthread_mutex_init(&monitor->mutex, NULL) != 0) {
        return KW_ERR_NOMEM;
    }
    if (cond_init(&monitor->cond) != 0) {
        pthread_mutex_destroy(&monitor->mutex);
        return KW_ERR_NOMEM;
    }
    return KW_OK;
}

void kw_monitor_fini(kw_monitor *monitor)
{
    pthread_cond_destroy(&monitor->cond);
    pthread_mutex_destroy(&monitor->mutex);
}

void kw_monitor_lock(kw_monitor *monitor)
{
    pthread_mutex_lock(&monitor->mutex);
}

void kw_monitor_unlock(kw_monitor *monitor)
{
    pthread_mutex_unlock(&monitor->mutex);
}

void kw_monitor_wait(kw_monitor *monitor, uint64_t wait_ns)
{
    cond_wait(&monitor->cond, &monitor->mutex, wait_ns < WAIT_MAX_NS ? wait_ns : WAIT_MAX_NS);
}

void kw_monitor_wake_one(kw_monitor *monitor)
{
    pthread_cond_signal(&monitor->cond);
}

void kw_monitor_wake_all(kw_monitor *monitor)
{
    pthread_cond_broadcast(&monitor->cond);
}

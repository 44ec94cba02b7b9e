/* SPDX-License-Identifier: BSD-3-Clause */
/* Locks and timed waits, on the monotonic clock: words that futex(2) watches, or those of pthreads.
 */
#include "net/sync.h"

#include <time.h>

#define NS_PER_S ((uint64_t)1000000000)

/* Longer waits are cut, so that no sum overflows; every caller waits in a loop. */
#define WAIT_MAX_NS (3600 * NS_PER_S)

#if defined(KW_HAS_FUTEX)

#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

/* FUTEX_WAIT_PRIVATE and FUTEX_WAKE_PRIVATE of futex(2), whose header is a package of its own on
 * some systems (Alpine's linux-headers). */
#define FUTEX_WAIT_NUMBER 128
#define FUTEX_WAKE_NUMBER 129

void kw_futex_wait(atomic_uint *word, unsigned value, uint64_t wait_ns)
{
    wait_ns = wait_ns < WAIT_MAX_NS ? wait_ns : WAIT_MAX_NS;
    struct timespec span = {(time_t)(wait_ns / NS_PER_S), (long)(wait_ns % NS_PER_S)};
    (void)syscall(SYS_futex, word, FUTEX_WAIT_NUMBER, value, &span, NULL, 0);
}

void kw_futex_wake(atomic_uint *word, int n)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_NUMBER, n, NULL, NULL, 0);
}

#endif

#if defined(KW_HAS_WORD_LOCKS)

enum { FREE, HELD, CONTENDED };

kw_err kw_monitor_init(kw_monitor *monitor)
{
    atomic_init(&monitor->lock, FREE);
    atomic_init(&monitor->turn, 0);
    atomic_init(&monitor->waiters_n, 0);
    return KW_OK;
}

void kw_monitor_fini(kw_monitor *monitor)
{
    (void)monitor;
}

/* Whoever sleeps has left CONTENDED behind, and takes the lock with it: there may be others who
 * sleep, so that each of those who had to wait wakes one when it leaves. */
static void lock_held(kw_monitor *monitor)
{
    while (atomic_exchange_explicit(&monitor->lock, CONTENDED, memory_order_acquire) != FREE) {
        kw_futex_wait(&monitor->lock, CONTENDED, WAIT_MAX_NS);
    }
}

void kw_monitor_lock(kw_monitor *monitor)
{
    unsigned free = FREE;
    if (!atomic_compare_exchange_strong_explicit(&monitor->lock, &free, HELD, memory_order_acquire,
                                                 memory_order_relaxed)) {
        lock_held(monitor);
    }
}

void kw_monitor_unlock(kw_monitor *monitor)
{
    if (atomic_exchange_explicit(&monitor->lock, FREE, memory_order_release) == CONTENDED) {
        kw_futex_wake(&monitor->lock, 1);
    }
}

/* No wake is lost: the turn is read, and the waiter counted, with the lock held. Who changes what
 * the waiter looked at locks after it, and so finds it counted; the turn then is another one, and
 * either the waiter does not fall asleep, or it does before the turn changes and is woken. */
void kw_monitor_wait(kw_monitor *monitor, uint64_t wait_ns)
{
    unsigned turn = atomic_load_explicit(&monitor->turn, memory_order_relaxed);
    atomic_fetch_add_explicit(&monitor->waiters_n, 1, memory_order_relaxed);
    kw_monitor_unlock(monitor);
    kw_futex_wait(&monitor->turn, turn, wait_ns);
    kw_monitor_lock(monitor);
    atomic_fetch_sub_explicit(&monitor->waiters_n, 1, memory_order_relaxed);
}

static void wake(kw_monitor *monitor, int n)
{
    if (atomic_load_explicit(&monitor->waiters_n, memory_order_relaxed) > 0) {
        atomic_fetch_add_explicit(&monitor->turn, 1, memory_order_release);
        kw_futex_wake(&monitor->turn, n);
    }
}

void kw_monitor_wake_one(kw_monitor *monitor)
{
    wake(monitor, 1);
}

void kw_monitor_wake_all(kw_monitor *monitor)
{
    wake(monitor, INT_MAX);
}

#else

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

#endif

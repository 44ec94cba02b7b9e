/* SPDX-License-Identifier: BSD-3-Clause */
/* Mutexes, conditions and futexes of the library's threads, which are tasks. Whoever waits, unlocks
 * or wakes wrongly ends the run. */
#include "sim/system.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr);
int __wrap_pthread_cond_destroy(pthread_cond_t *cond);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_cond_broadcast(pthread_cond_t *cond);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *until);
long __wrap_syscall(long number, ...);

#define LIVE 0x10c4u

/* What stands in the memory of a pthread_mutex_t, and of a pthread_cond_t. */
typedef struct lock {
    unsigned live;
    unsigned owner; /* and 1; 0: nobody */
    sim_tasks waiters;
} lock;

typedef struct bell {
    unsigned live;
    sim_tasks waiters;
} bell;

_Static_assert(sizeof(lock) <= sizeof(pthread_mutex_t), "a lock fits");
_Static_assert(sizeof(bell) <= sizeof(pthread_cond_t), "a bell fits");

static lock *lock_of(pthread_mutex_t *mutex, const char *what)
{
    lock *self = (lock *)(void *)mutex;
    if (self->live != LIVE) {
        sim_fail("%s of a lock that is not there", what);
    }
    return self;
}

static bell *bell_of(pthread_cond_t *cond, const char *what)
{
    bell *self = (bell *)(void *)cond;
    if (self->live != LIVE) {
        sim_fail("%s of a condition that is not there", what);
    }
    return self;
}

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr)
{
    (void)attr;
    lock fresh = {LIVE, 0, 0};
    memcpy((void *)mutex, &fresh, sizeof(fresh));
    return 0;
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex)
{
    lock *self = lock_of(mutex, "the end");
    if (self->owner != 0 || self->waiters != 0) {
        sim_fail("the end of a lock that somebody has or waits for");
    }
    self->live = 0;
    return 0;
}

static void take(lock *self)
{
    while (self->owner != 0) {
        if (self->owner == sim_self() + 1) {
            sim_fail("a lock is taken twice by one thread");
        }
        if (sim_self() == SIM_NOBODY) {
            sim_fail("a lock is held, and nobody runs who could leave it");
        }
        self->waiters |= sim_self_bit();
        sim_park(SIM_NEVER);
        self->waiters &= ~sim_self_bit();
    }
    self->owner = sim_self() + 1;
    sim_count_lock(1);
}

static void leave(lock *self)
{
    if (self->owner != sim_self() + 1) {
        sim_fail("a lock is left by a thread that has not got it");
    }
    self->owner = 0;
    sim_count_lock(-1);
    sim_tasks waiters = self->waiters;
    sim_wake_one(&waiters);
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    lock *self = lock_of(mutex, "a lock");
    sim_point();
    take(self);
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    leave(lock_of(mutex, "an unlock"));
    sim_point();
    return 0;
}

int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr)
{
    (void)attr;
    bell fresh = {LIVE, 0};
    memcpy((void *)cond, &fresh, sizeof(fresh));
    return 0;
}

int __wrap_pthread_cond_destroy(pthread_cond_t *cond)
{
    bell *self = bell_of(cond, "the end");
    if (self->waiters != 0) {
        sim_fail("the end of a condition that somebody waits for");
    }
    self->live = 0;
    return 0;
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond)
{
    bell *self = bell_of(cond, "a signal");
    sim_wake_one(&self->waiters);
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *cond)
{
    bell *self = bell_of(cond, "a signal");
    sim_tasks waiters = self->waiters;
    self->waiters = 0;
    sim_wake(waiters);
    return 0;
}

static uint64_t ns_of(const struct timespec *span)
{
    return (uint64_t)span->tv_sec * SIM_S + (uint64_t)span->tv_nsec;
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *until)
{
    bell *self = bell_of(cond, "a wait");
    self->waiters |= sim_self_bit();
    leave(lock_of(mutex, "a wait"));
    if (sim_locks_n() > 0) {
        sim_fail("a thread waits with a lock in its hands");
    }
    bool is_woken = sim_park(ns_of(until));
    self->waiters &= ~sim_self_bit();
    take(lock_of(mutex, "the end of a wait"));
    return is_woken ? 0 : ETIMEDOUT;
}

/* Futexes: who sleeps at which word. */

static atomic_uint *words[SIM_TASKS];

#define FUTEX_WAIT_NUMBER 128
#define FUTEX_WAKE_NUMBER 129

static long futex_wait(atomic_uint *word, unsigned value, const struct timespec *span)
{
    if (sim_locks_n() > 0) {
        sim_fail("a thread sleeps with a lock in its hands");
    }
    if (atomic_load(word) != value) {
        errno = EAGAIN;
        return -1;
    }
    unsigned self = sim_self();
    words[self] = word;
    bool is_woken = sim_park(span != NULL ? sim_now() + ns_of(span) : SIM_NEVER);
    words[self] = NULL;
    errno = ETIMEDOUT;
    return is_woken ? 0 : -1;
}

static long futex_wake(const atomic_uint *word, unsigned n)
{
    sim_tasks sleepers = 0;
    for (unsigned i = 0; i < SIM_TASKS; i++) {
        sleepers |= words[i] == word ? (sim_tasks)1 << i : 0;
    }
    long woken = 0;
    while (n-- > 0 && sleepers != 0) {
        sim_wake_one(&sleepers);
        woken++;
    }
    return woken;
}

long __wrap_syscall(long number, ...)
{
    va_list args;
    va_start(args, number);
    atomic_uint *word = va_arg(args, atomic_uint *);
    int act = va_arg(args, int);
    unsigned value = va_arg(args, unsigned);
    const struct timespec *span = va_arg(args, const struct timespec *);
    va_end(args);
    if (number != SYS_futex) {
        sim_fail("system call %ld is not simulated", number);
    }
    sim_point();
    if (act == FUTEX_WAIT_NUMBER) {
        return futex_wait(word, value, span);
    }
    if (act != FUTEX_WAKE_NUMBER) {
        sim_fail("futex act %d is not simulated", act);
    }
    return futex_wake(word, value);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The calm clock: a thread that ticks, and what others read between two ticks. */
#include "support/calm.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "support/check.h"

#define TICK_NS     1000000
#define TICK_MAX_NS ((uint64_t)2000000)

/* The only clock of the program; lock guards what follows it. */
static struct {
    bool is_on; /* written before any thread reads it */
    bool is_forbidden;
    pthread_mutex_t lock;
    bool is_child;    /* nobody ticks */
    uint64_t real_ns; /* of the last tick, by the system's clock */
    uint64_t calm_ns; /* of the last tick */
} calm = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t real_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The lock is held. */
static uint64_t now_locked(uint64_t real_ns)
{
    uint64_t since_ns = real_ns > calm.real_ns ? real_ns - calm.real_ns : 0;
    if (!calm.is_child && since_ns > TICK_MAX_NS) {
        since_ns = TICK_MAX_NS;
    }
    return calm.calm_ns + since_ns;
}

static void *tick(void *arg)
{
    const struct timespec pause = {0, TICK_NS};
    (void)arg;
    for (;;) {
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&calm.lock);
        uint64_t real_ns = real_now_ns();
        calm.calm_ns = now_locked(real_ns);
        calm.real_ns = real_ns;
        pthread_mutex_unlock(&calm.lock);
    }
    return NULL;
}

static void before_fork(void)
{
    pthread_mutex_lock(&calm.lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&calm.lock);
}

static void in_child(void)
{
    calm.is_child = true;
    pthread_mutex_unlock(&calm.lock);
}

void kw_test_calm_start(void)
{
    sigset_t all;
    sigset_t old;
    pthread_t thread;
    if (calm.is_on || calm.is_forbidden) {
        return;
    }
    calm.real_ns = real_now_ns();
    calm.calm_ns = calm.real_ns;
    calm.is_on = true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    bool is_started = pthread_create(&thread, NULL, tick, NULL) == 0 &&
                      pthread_detach(thread) == 0 &&
                      pthread_atfork(before_fork, after_fork, in_child) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!is_started) {
        kw_test_die("no thread for the calm clock");
    }
}

void kw_test_calm_forbid(void)
{
    calm.is_forbidden = true;
}

bool kw_test_calm_is_on(void)
{
    return calm.is_on;
}

uint64_t kw_test_calm_ns(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&calm.lock);
    uint64_t now_ns = now_locked(real_now_ns());
    pthread_mutex_unlock(&calm.lock);
    return now_ns;
}

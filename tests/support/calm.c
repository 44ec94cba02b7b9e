/* SPDX-License-Identifier: BSD-3-Clause */
/* The calm clock: a thread that ticks, and what others read between two ticks. */
#include "support/calm.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "support/check.h"

/* A tick costs 15 us of a processor; a hundred processes tick at once where a test has parts. */
#define TICK_NS     2000000
#define TICK_MAX_NS ((uint64_t)3000000)

/* Between two looks at joins that may have no end. */
#define CHECK_TICKS 128

/* However busy the machine is, tests come to their end. */
#define SHARE_MIN 200u

/* Looks by which it is told how slow the machine is. */
#define LOOKS_N 25u

/* Times of real servers are made for what a thread gets beside the other tests that check.sh runs;
 * where it gets less they grow, and no more below the second share. */
#define SUITE_SHARE       400u
#define STRETCH_SHARE_MIN 80u

/* The only clock of the program; lock guards what follows it. */
static struct {
    atomic_bool is_on;
    bool is_forbidden;
    int load_fd;       /* /proc/loadavg; stays open, so that tests may count descriptors */
    long processors_n; /* asked once: the C library opens a file for it */
    pthread_mutex_t lock;
    bool is_child;    /* nobody ticks */
    unsigned share;   /* of a thousandth of real time, how many go by until the next tick */
    uint64_t real_ns; /* of the last tick, by the system's clock */
    uint64_t calm_ns; /* of the last tick */
} calm = {.lock = PTHREAD_MUTEX_INITIALIZER, .share = 1000};

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
    if (calm.is_child) {
        return calm.calm_ns + since_ns;
    }
    return calm.calm_ns + (since_ns < TICK_MAX_NS ? since_ns : TICK_MAX_NS) * calm.share / 1000;
}

/* What a thread that wants to run gets of a processor now, of a thousand; 1000 where the system
 * does not tell. */
static unsigned read_share(void)
{
    char text[100] = "";
    unsigned running_n = 0;
    bool is_told = calm.load_fd >= 0 && pread(calm.load_fd, text, sizeof(text) - 1, 0) > 0 &&
                   sscanf(text, "%*s %*s %*s %u", &running_n) == 1;
    if (!is_told || calm.processors_n < 1 || running_n <= (unsigned long)calm.processors_n) {
        return 1000;
    }
    return 1000 * (unsigned)calm.processors_n / running_n;
}

unsigned kw_test_stretch_ms(unsigned ms)
{
    const struct timespec pause = {0, TICK_NS};
    unsigned sum = 0;
    if (!calm.is_on) {
        return ms;
    }
    for (unsigned i = 0; i < LOOKS_N; i++) {
        sum += read_share();
        nanosleep(&pause, NULL);
    }
    unsigned share = sum / LOOKS_N > STRETCH_SHARE_MIN ? sum / LOOKS_N : STRETCH_SHARE_MIN;
    return share < SUITE_SHARE ? (unsigned)((uint64_t)ms * SUITE_SHARE / share) : ms;
}

static void *tick(void *arg)
{
    const struct timespec pause = {0, TICK_NS};
    unsigned ticks_n = 0;
    (void)arg;
    for (;;) {
        nanosleep(&pause, NULL);
        unsigned share = read_share();
        share = share > SHARE_MIN ? share : SHARE_MIN;
        pthread_mutex_lock(&calm.lock);
        uint64_t real_ns = real_now_ns();
        calm.calm_ns = now_locked(real_ns);
        calm.real_ns = real_ns;
        calm.share = share;
        pthread_mutex_unlock(&calm.lock);
        if (++ticks_n % CHECK_TICKS == 0) {
            kw_test_joins_check();
        }
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

static void start(void)
{
    sigset_t all;
    sigset_t old;
    pthread_t thread;
    if (calm.is_forbidden) {
        return;
    }
    calm.load_fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
    calm.processors_n = sysconf(_SC_NPROCESSORS_ONLN);
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

void kw_test_calm_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
}

void kw_test_calm_forbid(void)
{
    calm.is_forbidden = true;
}

int kw_test_calm_fds(void)
{
    return calm.is_on && calm.load_fd >= 0 ? 1 : 0;
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

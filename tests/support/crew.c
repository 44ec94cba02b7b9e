/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that begin together, and how late the machine wakes one of its own. */
#include "support/crew.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/check.h"

#define LATE_US (50000u * KW_TEST_SLOWNESS)

/* A thread that wants to run may wait for all the others to have had their turns. */
#define TURN_US 2000u

typedef struct member {
    kw_test_crew *crew;
    unsigned number;
    pthread_t thread;
} member;

struct kw_test_crew {
    kw_test_crew_fn fn;
    void *arg;
    pthread_mutex_t gate; /* held until all are there */
    unsigned members_n;
    member *members;
    pthread_t watcher;
    atomic_bool is_over;
    uint64_t tardy_us; /* the watcher's */
};

struct kw_test_times {
    pthread_mutex_t lock;
    uint64_t *us;
    size_t n;
    size_t cap;
};

static void *work(void *arg)
{
    member *self = arg;
    pthread_mutex_lock(&self->crew->gate);
    pthread_mutex_unlock(&self->crew->gate);
    self->crew->fn(self->crew->arg, self->number);
    return NULL;
}

static void *watch(void *arg)
{
    kw_test_crew *crew = arg;
    while (!atomic_load(&crew->is_over)) {
        uint64_t start_ns = kw_test_now_ns();
        kw_test_sleep_ms(5);
        uint64_t spent_us = (kw_test_now_ns() - start_ns) / 1000;
        uint64_t tardy_us = spent_us > 5000 ? spent_us - 5000 : 0;
        crew->tardy_us = tardy_us > crew->tardy_us ? tardy_us : crew->tardy_us;
    }
    return NULL;
}

static void start_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
    if (pthread_create(thread, NULL, run, arg) != 0) {
        kw_test_die("no thread");
    }
}

kw_test_crew *kw_test_crew_start(unsigned threads_n, kw_test_crew_fn fn, void *arg)
{
    kw_test_crew *crew = calloc(1, sizeof(*crew));
    member *members = calloc(threads_n, sizeof(*members));
    if (crew == NULL || members == NULL) {
        kw_test_die("no memory");
    }
    crew->fn = fn;
    crew->arg = arg;
    crew->members = members;
    crew->members_n = threads_n;
    pthread_mutex_init(&crew->gate, NULL);
    pthread_mutex_lock(&crew->gate);
    for (unsigned i = 0; i < threads_n; i++) {
        members[i].crew = crew;
        members[i].number = i;
        start_thread(&members[i].thread, work, &members[i]);
    }
    start_thread(&crew->watcher, watch, crew);
    pthread_mutex_unlock(&crew->gate);
    return crew;
}

uint64_t kw_test_crew_join(kw_test_crew *crew)
{
    for (unsigned i = 0; i < crew->members_n; i++) {
        kw_test_join(crew->members[i].thread);
    }
    atomic_store(&crew->is_over, true);
    kw_test_join(crew->watcher);
    long processors_n = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t turns_us = (uint64_t)crew->members_n * TURN_US;
    uint64_t tardy_us =
        crew->tardy_us + (processors_n > 0 ? turns_us / (uint64_t)processors_n : turns_us);
    pthread_mutex_destroy(&crew->gate);
    free(crew->members);
    free(crew);
    return tardy_us;
}

uint64_t kw_test_crew_run(unsigned threads_n, kw_test_crew_fn fn, void *arg)
{
    return kw_test_crew_join(kw_test_crew_start(threads_n, fn, arg));
}

kw_test_times *kw_test_times_new(void)
{
    kw_test_times *times = calloc(1, sizeof(*times));
    if (times == NULL) {
        kw_test_die("no memory");
    }
    pthread_mutex_init(&times->lock, NULL);
    return times;
}

void kw_test_times_free(kw_test_times *times)
{
    if (times != NULL) {
        pthread_mutex_destroy(&times->lock);
        free(times->us);
        free(times);
    }
}

void kw_test_times_add(kw_test_times *times, uint64_t us)
{
    pthread_mutex_lock(&times->lock);
    if (times->n == times->cap) {
        times->cap = times->cap == 0 ? 1024 : times->cap * 2;
        times->us = realloc(times->us, times->cap * sizeof(times->us[0]));
        if (times->us == NULL) {
            kw_test_die("no memory");
        }
    }
    times->us[times->n++] = us;
    pthread_mutex_unlock(&times->lock);
}

size_t kw_test_times_count(kw_test_times *times)
{
    pthread_mutex_lock(&times->lock);
    size_t n = times->n;
    pthread_mutex_unlock(&times->lock);
    return n;
}

uint64_t kw_test_times_at(kw_test_times *times, unsigned permille)
{
    pthread_mutex_lock(&times->lock);
    uint64_t us = 0;
    if (times->n > 0) {
        qsort(times->us, times->n, sizeof(times->us[0]), kw_test_compare_uint64);
        size_t at = times->n * permille / 1000;
        us = times->us[at < times->n ? at : times->n - 1];
    }
    pthread_mutex_unlock(&times->lock);
    return us;
}

bool kw_test_times_are_late(kw_test_times *over, const char *name, uint64_t tardy_us)
{
    uint64_t worst_us = kw_test_times_at(over, 1000);
    bool is_late = worst_us > LATE_US + 2 * tardy_us;
    if (is_late) {
        fprintf(stderr, "%s: %llu us past a deadline, the machine is late by %llu us\n", name,
                (unsigned long long)worst_us, (unsigned long long)tardy_us);
    }
    return is_late;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/park.h"

enum { AWAKE, ASLEEP, NUDGED, DONE };

#if defined(__linux__) && defined(__LP64__)

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S ((uint64_t)1000000000)

/* Waits are cut, so that no sum overflows; every caller waits in a loop. */
#define WAIT_MAX_NS (3600 * NS_PER_S)

static void sleep_on(kw_park *park, kw_monitor *monitor, uint64_t wait_ns)
{
    (void)monitor;
    wait_ns = wait_ns < WAIT_MAX_NS ? wait_ns : WAIT_MAX_NS;
    struct timespec span = {(time_t)(wait_ns / NS_PER_S), (long)(wait_ns % NS_PER_S)};
    (void)syscall(SYS_futex, &park->word, FUTEX_WAIT_PRIVATE, ASLEEP, &span, NULL, 0);
}

/* An address that is nobody's by now wakes nobody, or somebody who looks and sleeps on. */
static void rouse(kw_park *park, kw_monitor *monitor)
{
    (void)monitor;
    (void)syscall(SYS_futex, &park->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void rouse_all(const kw_wakes *wakes, kw_monitor *monitor)
{
    for (size_t i = 0; i < wakes->n; i++) {
        rouse(wakes->parks[i], monitor);
    }
}

#else

/* Without a futex all sleepers share the monitor's condition, and look whom it is for. */
static void sleep_on(kw_park *park, kw_monitor *monitor, uint64_t wait_ns)
{
    kw_monitor_lock(monitor);
    if (atomic_load_explicit(&park->word, memory_order_relaxed) == ASLEEP) {
        kw_monitor_wait(monitor, wait_ns);
    }
    kw_monitor_unlock(monitor);
}

static void rouse(kw_park *park, kw_monitor *monitor)
{
    (void)park;
    kw_monitor_wake_all(monitor);
}

static void rouse_all(const kw_wakes *wakes, kw_monitor *monitor)
{
    if (wakes->n > 0) {
        kw_monitor_wake_all(monitor);
    }
}

#endif

void kw_parks_add(kw_parks *parks, kw_park *park)
{
    atomic_store_explicit(&park->word, ASLEEP, memory_order_relaxed);
    park->is_listed = true;
    park->next = NULL;
    park->before = parks->last;
    if (parks->last != NULL) {
        parks->last->next = park;
    } else {
        parks->first = park;
    }
    parks->last = park;
}

void kw_parks_remove(kw_parks *parks, kw_park *park)
{
    if (!park->is_listed) {
        return;
    }
    park->is_listed = false;
    if (park->before != NULL) {
        park->before->next = park->next;
    } else {
        parks->first = park->next;
    }
    if (park->next != NULL) {
        park->next->before = park->before;
    } else {
        parks->last = park->before;
    }
}

bool kw_park_wait(kw_park *park, kw_monitor *monitor, uint64_t wait_ns)
{
    if (atomic_load_explicit(&park->word, memory_order_acquire) == ASLEEP) {
        sleep_on(park, monitor, wait_ns);
    }
    return atomic_load_explicit(&park->word, memory_order_acquire) == DONE;
}

void kw_parks_wake(kw_parks *parks, kw_wakes *wakes, kw_monitor *monitor, kw_park *park,
                   bool is_last)
{
    if (!park->is_listed) {
        return;
    }
    kw_parks_remove(parks, park);
    atomic_store_explicit(&park->word, is_last ? DONE : NUDGED, memory_order_release);
    if (wakes->n == KW_WAKES_MAX) {
        rouse(park, monitor);
        return;
    }
    wakes->parks[wakes->n++] = park;
}

void kw_wakes_send(kw_wakes *wakes, kw_monitor *monitor)
{
    rouse_all(wakes, monitor);
    wakes->n = 0;
}

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

static void sleep_on(kw_park *park, kw_gate *gate, uint64_t wait_ns)
{
    (void)gate;
    wait_ns = wait_ns < WAIT_MAX_NS ? wait_ns : WAIT_MAX_NS;
    struct timespec span = {(time_t)(wait_ns / NS_PER_S), (long)(wait_ns % NS_PER_S)};
    (void)syscall(SYS_futex, &park->word, FUTEX_WAIT_PRIVATE, ASLEEP, &span, NULL, 0);
}

/* An address that is nobody's by now wakes nobody, or somebody who looks and sleeps on. */
static void rouse(kw_park *park, kw_gate *gate)
{
    (void)gate;
    (void)syscall(SYS_futex, &park->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void rouse_all(const kw_wakes *wakes, kw_gate *gate)
{
    for (size_t i = 0; i < wakes->n; i++) {
        rouse(wakes->parks[i], gate);
    }
}

#else

/* Without a futex all sleepers share the gate's condition, and look whom it is for. */
static void sleep_on(kw_park *park, kw_gate *gate, uint64_t wait_ns)
{
    kw_gate_lock(gate);
    if (atomic_load_explicit(&park->word, memory_order_relaxed) == ASLEEP) {
        kw_gate_wait(gate, wait_ns);
    }
    kw_gate_unlock(gate);
}

static void rouse(kw_park *park, kw_gate *gate)
{
    (void)park;
    kw_gate_wake_all(gate);
}

static void rouse_all(const kw_wakes *wakes, kw_gate *gate)
{
    if (wakes->n > 0) {
        kw_gate_wake_all(gate);
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

bool kw_park_wait(kw_park *park, kw_gate *gate, uint64_t wait_ns)
{
    if (atomic_load_explicit(&park->word, memory_order_acquire) == ASLEEP) {
        sleep_on(park, gate, wait_ns);
    }
    return atomic_load_explicit(&park->word, memory_order_acquire) == DONE;
}

void kw_parks_wake(kw_parks *parks, kw_wakes *wakes, kw_gate *gate, kw_park *park, bool is_last)
{
    if (!park->is_listed) {
        return;
    }
    kw_parks_remove(parks, park);
    atomic_store_explicit(&park->word, is_last ? DONE : NUDGED, memory_order_release);
    if (wakes->n == KW_WAKES_MAX) {
        rouse(park, gate);
        return;
    }
    wakes->parks[wakes->n++] = park;
}

void kw_wakes_send(kw_wakes *wakes, kw_gate *gate)
{
    rouse_all(wakes, gate);
    wakes->n = 0;
}

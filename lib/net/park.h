/* SPDX-License-Identifier: BSD-3-Clause */
/* Park: threads sleep, and others wake them. */
#ifndef NET_PARK_H
#define NET_PARK_H

#include "net/sync.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the sleeper's memory; starts as zero. All parks of one kw_monitor belong together. */
typedef struct kw_park kw_park;
struct kw_park {
    atomic_uint word;
    bool is_listed;
    kw_park *next;
    kw_park *before;
};

/* Those who sleep, the first one first; starts as zero. Its monitor is held in what follows. */
typedef struct kw_parks {
    kw_park *first;
    kw_park *last;
} kw_parks;

/* The thread is going to sleep. */
void kw_parks_add(kw_parks *parks, kw_park *park);

/* It is awake again; nothing where a wake has taken it out already. */
void kw_parks_remove(kw_parks *parks, kw_park *park);

/* Sleeps until woken or for wait_ns of real time; the monitor is not held. True where the wake
 * was the last one: then all that the waker wrote before it is seen, and nobody else writes
 * any more. May return for no reason. */
bool kw_park_wait(kw_park *park, kw_monitor *monitor, uint64_t wait_ns);

/* More sleepers than this are woken with the monitor held. */
#define KW_WAKES_MAX 64

/* Wakes that are collected with the monitor held and sent without it, so that no sleeper wakes
 * up only to wait for the monitor. */
typedef struct kw_wakes {
    size_t n;
    kw_park *parks[KW_WAKES_MAX]; /* addresses only: the sleepers may be gone by now */
} kw_wakes;

/* Wakes it where it sleeps, with the monitor held; from here on the sleeper may be gone. is_last:
 * what it waits for is there. */
void kw_parks_wake(kw_parks *parks, kw_wakes *wakes, kw_monitor *monitor, kw_park *park,
                   bool is_last);

/* The monitor is not held. */
void kw_wakes_send(kw_wakes *wakes, kw_monitor *monitor);

#endif

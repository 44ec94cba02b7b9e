/* Park: one thread sleeps, and another wakes it. */
#ifndef NET_PARK_H
#define NET_PARK_H

#include "net/sync.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the sleeper's memory; starts as zero. All parks of one kw_gate belong together. */
typedef struct kw_park {
    atomic_uint word;
} kw_park;

/* Says, with the gate held, that the thread is going to sleep. */
void kw_park_begin(kw_park *park);

/* Sleeps until woken or for wait_ns of real time; the gate is not held. True where the wake
 * was the last one: then all that the waker wrote before it is seen, and nobody else writes
 * any more. May return for no reason. */
bool kw_park_wait(kw_park *park, kw_gate *gate, uint64_t wait_ns);

/* More sleepers than this are woken with the gate held. */
#define KW_WAKES_MAX 64

/* Wakes that are collected with the gate held and sent without it, so that no sleeper wakes
 * up only to wait for the gate. */
typedef struct kw_wakes {
    size_t n;
    kw_park *parks[KW_WAKES_MAX]; /* addresses only: the sleepers may be gone by now */
} kw_wakes;

/* The gate is held. From here on the sleeper may be gone. is_last: what it waits for is
 * there. */
void kw_wakes_add(kw_wakes *wakes, kw_gate *gate, kw_park *park, bool is_last);

/* The gate is not held. */
void kw_wakes_send(kw_wakes *wakes, kw_gate *gate);

#endif

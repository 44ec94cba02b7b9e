/* SPDX-License-Identifier: BSD-3-Clause */
/* Wait queue: threads sleep, and others wake them. */
#ifndef NET_WAIT_QUEUE_H
#define NET_WAIT_QUEUE_H

#include "net/sync.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One thread that may sleep; in its own memory, all zeros at first. Sleepers of one queue belong to
 * one kw_monitor. */
typedef struct kw_sleeper kw_sleeper;
struct kw_sleeper {
    atomic_uint word; /* what the futex watches */
    bool is_listed;   /* it is in a queue, by next and before */
    kw_sleeper *next;
    kw_sleeper *before;
};

/* Those who sleep, the first one first; starts as zero. Its monitor is held in what follows. */
typedef struct kw_wait_queue {
    kw_sleeper *first;
    kw_sleeper *last;
} kw_wait_queue;

/* The thread is going to sleep. */
void kw_wait_queue_add(kw_wait_queue *queue, kw_sleeper *sleeper);

/* It is awake again; nothing where a wake has taken it out already. */
void kw_wait_queue_remove(kw_wait_queue *queue, kw_sleeper *sleeper);

/* Looks so often whether it was woken, and gives the processor to others in between: who is woken
 * so has cost nobody a system call. True where the wake was the last one, as below. */
bool kw_sleeper_look(kw_sleeper *sleeper, unsigned looks_n);

/* Sleeps until woken or for wait_ns of real time; the monitor is not held. True where the wake
 * was the last one: then all that the waker wrote before it is seen, and nobody else writes
 * any more. May return for no reason. */
bool kw_sleeper_wait(kw_sleeper *sleeper, kw_monitor *monitor, uint64_t wait_ns);

/* More sleepers than this are woken with the monitor held. */
#define KW_WAKE_LIST_MAX 64

/* Wakes that are collected with the monitor held and sent without it, so that no sleeper wakes
 * up only to wait for the monitor. */
typedef struct kw_wake_list {
    size_t n;
    kw_sleeper *parks[KW_WAKE_LIST_MAX]; /* only addresses: what they point to may be gone */
} kw_wake_list;

/* Wakes the sleeper, with the monitor held; afterwards it may be gone. is_last: what it waits for
 * has come. */
void kw_wait_queue_wake(kw_wait_queue *queue, kw_wake_list *wakes, kw_monitor *monitor,
                        kw_sleeper *sleeper, bool is_last);

/* The monitor is not held. */
void kw_wake_list_send(kw_wake_list *wakes, kw_monitor *monitor);

#endif

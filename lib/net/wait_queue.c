/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that sleep: on a futex each where there is one, else on their monitor's condition. */
#include "net/wait_queue.h"

#include <sched.h>

/* Who waits looks by itself, and needs no call, until it says that it is about to sleep. Of its
 * saying so and of the wake, each one atomic change of the word, one is the first. Is it the wake,
 * the sleeper finds it and does not sleep. Else the waker finds that it may sleep, and makes the
 * call: the word is another one by then, so that the system lets nobody fall asleep any more, and
 * finds whoever has. */
enum { AWAKE, LOOKING, ASLEEP, NUDGED, DONE };

#if defined(KW_HAS_FUTEX)

static void sleep_on(kw_sleeper *sleeper, kw_monitor *monitor, uint64_t wait_ns)
{
    (void)monitor;
    kw_futex_wait(&sleeper->word, ASLEEP, wait_ns);
}

/* Wakes whoever sleeps at the address. Where the sleeper is gone that is nobody, or another one,
 * who looks and sleeps on. */
static void rouse(kw_sleeper *sleeper, kw_monitor *monitor)
{
    (void)monitor;
    kw_futex_wake(&sleeper->word, 1);
}

static void rouse_all(const kw_wake_list *wakes, kw_monitor *monitor)
{
    for (size_t i = 0; i < wakes->n; i++) {
        rouse(wakes->parks[i], monitor);
    }
}

#else

/* Without a futex all sleepers share the monitor's condition; each looks whether it is meant. */
static void sleep_on(kw_sleeper *sleeper, kw_monitor *monitor, uint64_t wait_ns)
{
    kw_monitor_lock(monitor);
    if (atomic_load_explicit(&sleeper->word, memory_order_relaxed) == ASLEEP) {
        kw_monitor_wait(monitor, wait_ns);
    }
    kw_monitor_unlock(monitor);
}

static void rouse(kw_sleeper *sleeper, kw_monitor *monitor)
{
    (void)sleeper;
    kw_monitor_wake_all(monitor);
}

static void rouse_all(const kw_wake_list *wakes, kw_monitor *monitor)
{
    if (wakes->n > 0) {
        kw_monitor_wake_all(monitor);
    }
}

#endif

void kw_wait_queue_add(kw_wait_queue *queue, kw_sleeper *sleeper)
{
    atomic_store_explicit(&sleeper->word, LOOKING, memory_order_relaxed);
    sleeper->is_listed = true;
    sleeper->next = NULL;
    sleeper->before = queue->last;
    if (queue->last != NULL) {
        queue->last->next = sleeper;
    } else {
        queue->first = sleeper;
    }
    queue->last = sleeper;
}

void kw_wait_queue_remove(kw_wait_queue *queue, kw_sleeper *sleeper)
{
    if (!sleeper->is_listed) {
        return;
    }
    sleeper->is_listed = false;
    if (sleeper->before != NULL) {
        sleeper->before->next = sleeper->next;
    } else {
        queue->first = sleeper->next;
    }
    if (sleeper->next != NULL) {
        sleeper->next->before = sleeper->before;
    } else {
        queue->last = sleeper->before;
    }
}

bool kw_sleeper_look(kw_sleeper *sleeper, unsigned looks_n)
{
    for (; looks_n > 0; looks_n--) {
        if (atomic_load_explicit(&sleeper->word, memory_order_acquire) != LOOKING) {
            break;
        }
        sched_yield();
    }
    return atomic_load_explicit(&sleeper->word, memory_order_acquire) == DONE;
}

bool kw_sleeper_wait(kw_sleeper *sleeper, kw_monitor *monitor, uint64_t wait_ns)
{
    unsigned looking = LOOKING;
    if (atomic_compare_exchange_strong(&sleeper->word, &looking, ASLEEP)) {
        sleep_on(sleeper, monitor, wait_ns);
    }
    return atomic_load_explicit(&sleeper->word, memory_order_acquire) == DONE;
}

void kw_wait_queue_wake(kw_wait_queue *queue, kw_wake_list *wakes, kw_monitor *monitor,
                        kw_sleeper *sleeper, bool is_last)
{
    if (!sleeper->is_listed) {
        return;
    }
    kw_wait_queue_remove(queue, sleeper);
    if (atomic_exchange(&sleeper->word, is_last ? DONE : NUDGED) != ASLEEP) {
        return; /* it looks by itself; and may be gone */
    }
    if (wakes->n == KW_WAKE_LIST_MAX) {
        rouse(sleeper, monitor);
        return;
    }
    wakes->parks[wakes->n++] = sleeper;
}

void kw_wake_list_send(kw_wake_list *wakes, kw_monitor *monitor)
{
    rouse_all(wakes, monitor);
    wakes->n = 0;
}

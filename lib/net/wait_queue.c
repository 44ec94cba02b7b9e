/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that sleep: on a futex each where there is one, else on their monitor's condition. */
#include "net/wait_queue.h"

enum { AWAKE, ASLEEP, NUDGED, DONE };

#if defined(__linux__) && defined(__LP64__)

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* FUTEX_WAIT_PRIVATE and FUTEX_WAKE_PRIVATE of futex(2), whose header is a package of its own on
 * some systems (Alpine's linux-headers). */
#define FUTEX_WAIT_NUMBER 128
#define FUTEX_WAKE_NUMBER 129

#define NS_PER_S ((uint64_t)1000000000)

/* Waits are cut, so that no sum overflows; every caller waits in a loop. */
#define WAIT_MAX_NS (3600 * NS_PER_S)

static void sleep_on(kw_sleeper *sleeper, kw_monitor *monitor, uint64_t wait_ns)
{
    (void)monitor;
    wait_ns = wait_ns < WAIT_MAX_NS ? wait_ns : WAIT_MAX_NS;
    struct timespec span = {(time_t)(wait_ns / NS_PER_S), (long)(wait_ns % NS_PER_S)};
    (void)syscall(SYS_futex, &sleeper->word, FUTEX_WAIT_NUMBER, ASLEEP, &span, NULL, 0);
}

/* Wakes whoever sleeps at the address. Where the sleeper is gone that is nobody, or another one,
 * who looks and sleeps on. */
static void rouse(kw_sleeper *sleeper, kw_monitor *monitor)
{
    (void)monitor;
    (void)syscall(SYS_futex, &sleeper->word, FUTEX_WAKE_NUMBER, 1, NULL, NULL, 0);
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
    atomic_store_explicit(&sleeper->word, ASLEEP, memory_order_relaxed);
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

bool kw_sleeper_wait(kw_sleeper *sleeper, kw_monitor *monitor, uint64_t wait_ns)
{
    if (atomic_load_explicit(&sleeper->word, memory_order_acquire) == ASLEEP) {
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
    atomic_store_explicit(&sleeper->word, is_last ? DONE : NUDGED, memory_order_release);
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

/* SPDX-License-Identifier: BSD-3-Clause */
/* Carries out what fetches say, in turns of the host's loop. A task is worked on by the thread that
 * processes, and by no other; those who add one, end a load or end a flight wake it. */
#include "cache/cache_loop.h"

#include "base/error.h"
#include "cache/cache_fetch.h"
#include "cache/cache_task.h"

#include <string.h>

/* Tasks at a time: whoever comes then is told that too much is under way. */
#define TASKS_MAX KW_FLIGHTS_WAITERS_MAX

/* While answers of connections that track are awaited, which the loop does not watch. */
#define LOOK_NS (1 * KW_NS_PER_MS)

static kw_cache_loop *loop_of(kw_loop_guest *guest)
{
    return (kw_cache_loop *)(void *)guest;
}

/* The tasks that were added since the last look are among all from now on. */
static kw_cache_task *take_inbox(kw_cache_loop *self)
{
    kw_monitor_lock(&self->monitor);
    kw_cache_task *first = self->inbox;
    self->inbox = self->inbox_last = NULL;
    kw_monitor_unlock(&self->monitor);
    return first;
}

static void begin_new(kw_cache_loop *self)
{
    kw_cache_task *task = take_inbox(self);
    while (task != NULL) {
        kw_cache_task *next = task->next;
        kw_cache_task_link(self, task);
        if (!kw_loop_is_over(self->loop)) {
            kw_cache_task_begin(task);
        }
        task = next;
    }
}

/* Reads under way are sent and looked at, and proofs asked for, as calls in passing do. */
static void tend(kw_cache_loop *self)
{
    kw_cache *cache = self->cache;
    if (cache->near == NULL) {
        return;
    }
    uint64_t now_ns = kw_tracker_now(cache->tracker);
    if (self->tracking_n > 0 || kw_tracker_is_due(cache->tracker, now_ns)) {
        kw_tracker_tend(cache->tracker, now_ns);
    }
}

/* Goes over all tasks; a callback may add some, and end none but its own. */
static void go_over(kw_cache_loop *self)
{
    kw_cache_task *task = self->tasks;
    while (task != NULL && !kw_loop_is_over(self->loop)) {
        self->next = task->next;
        kw_cache_task_go_on(task);
        task = self->next;
    }
}

static uint64_t process(kw_loop_guest *guest)
{
    kw_cache_loop *self = loop_of(guest);
    const kw_env *env = &self->cache->topology->env;
    kw_poller_look(&self->poller);
    begin_new(self);
    if (kw_loop_is_over(self->loop)) {
        return UINT64_MAX;
    }
    tend(self);
    go_over(self);
    kw_monitor_lock(&self->monitor);
    bool has_more = self->inbox != NULL;
    kw_monitor_unlock(&self->monitor);
    if (has_more) {
        return 0;
    }
    bool looks = self->tracking_n > 0 || (self->links_n > 0 && self->poller.backend->needs_calls);
    return looks ? kw_env_now(env) + LOOK_NS : UINT64_MAX; /* tasks have said when they are due */
}

kw_err kw_cache_loop_need(kw_cache *cache, kw_error *error, kw_loop *loop)
{
    kw_cache_loop *known = atomic_load(&cache->loop);
    if (known != NULL) {
        return KW_OK;
    }
    kw_cache_loop *self = kw_mem_calloc(&cache->mem, 1, sizeof(*self));
    if (self == NULL || kw_monitor_init(&self->monitor) != KW_OK) {
        kw_mem_free(&cache->mem, self);
        return kw_error_refuse(error, KW_ERR_NOMEM, "no memory for a cache in a loop");
    }
    kw_err code = kw_poller_init(&self->poller, error, &cache->topology->env);
    if (code != KW_OK) {
        kw_monitor_fini(&self->monitor);
        kw_mem_free(&cache->mem, self);
        return code;
    }
    self->mem = cache->mem;
    atomic_init(&self->refs, 1);
    self->cache = cache;
    self->loop = loop;
    self->guest.process_fn = process;
    self->guest.fd = self->poller.fd;
    if (!atomic_compare_exchange_strong(&cache->loop, &known, self)) {
        kw_poller_fini(&self->poller, false); /* another thread was first */
        kw_monitor_fini(&self->monitor);
        kw_mem_free(&cache->mem, self);
        return KW_OK;
    }
    kw_flights_set_loop(&cache->flights, &self->poller);
    kw_loop_guest_enter(loop, &self->guest);
    return KW_OK;
}

kw_err kw_cache_loop_add(kw_cache *cache, kw_error *error, const kw_cache_task_wish *wish)
{
    kw_cache_loop *self = atomic_load(&cache->loop);
    if (atomic_fetch_add(&self->tasks_n, 1) >= TASKS_MAX) {
        atomic_fetch_sub(&self->tasks_n, 1);
        return kw_error_refuse(error, KW_ERR_QUEUE_FULL,
                               "10,000 calls of the cache are under way in the loop");
    }
    kw_cache_task *task = kw_cache_task_new(self, wish);
    if (task == NULL) {
        atomic_fetch_sub(&self->tasks_n, 1);
        return kw_error_refuse(error, KW_ERR_NOMEM, "no memory for a call of a cache");
    }
    kw_monitor_lock(&self->monitor);
    if (self->inbox_last != NULL) {
        self->inbox_last->next = task;
    } else {
        self->inbox = task;
    }
    self->inbox_last = task;
    kw_monitor_unlock(&self->monitor);
    kw_poller_wake(&self->poller);
    return KW_OK;
}

void kw_cache_loop_close(kw_cache *cache, kw_loop *loop, bool has_forked)
{
    kw_cache_loop *self = atomic_load(&cache->loop);
    if (self == NULL) {
        return;
    }
    if (loop != NULL) {
        kw_loop_guest_leave(loop, &self->guest);
    }
    kw_flights_set_loop(&cache->flights, NULL);
    kw_cache_task *task;
    while ((task = take_inbox(self)) != NULL) {
        while (task != NULL) {
            kw_cache_task *next = task->next;
            kw_cache_task_link(self, task);
            task = next;
        }
    }
    while (self->tasks != NULL) {
        kw_cache_task_cancel(self->tasks, has_forked);
    }
    kw_monitor_lock(&self->monitor);
    self->is_closed = true;
    kw_monitor_unlock(&self->monitor);
    kw_poller_fini(&self->poller, has_forked);
    atomic_store(&cache->loop, NULL);
    kw_cache_loop_unref(self);
}

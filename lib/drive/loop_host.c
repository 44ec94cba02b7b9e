/* SPDX-License-Identifier: BSD-3-Clause */
/* What the host asks a loop: when it wants to be called, and whether it may be closed. */
#include "drive/loop_private.h"

#include "base/moment.h"

/* No host sleeps longer. */
#define TIMEOUT_MAX_MS (3600 * 1000)

/* Where nothing tells that a socket has something, it is looked for this often. */
#define CALLS_NS (1 * KW_NS_PER_MS)

/* The servers are looked at by another thread, which a look-up of a name may hold up: this loop
 * looks again so often whether it is its turn. */
#define WATCHED_NS (10 * KW_NS_PER_MS)

uint64_t kw_loop_next_ns(const kw_loop *self)
{
    uint64_t at_ns = kw_pipeline_next_ns(&self->pipeline);
    const kw_env *env = &self->topology->env;
    uint64_t failure_watch_ns = atomic_load_explicit(&env->failure_watch_ns, memory_order_relaxed);
    uint64_t keep_ns = atomic_load_explicit(&env->keep_ns, memory_order_relaxed);
    uint64_t watched_ns = self->pipeline.scan.now_ns + WATCHED_NS;
    if (failure_watch_ns < watched_ns && kw_leader_is_led(&self->topology->failure_watch.watcher)) {
        failure_watch_ns = watched_ns;
    }
    at_ns = kw_sooner(failure_watch_ns, at_ns);
    at_ns = kw_sooner(keep_ns, at_ns);
    at_ns = self->has_guests && self->guests_ns < at_ns ? self->guests_ns : at_ns;
    uint64_t soon_ns = self->pipeline.scan.now_ns + CALLS_NS;
    bool is_soon =
        self->poller.backend->needs_calls && self->pipeline.open_n > 0 && soon_ns < at_ns;
    return is_soon ? soon_ns : at_ns;
}

int kw_loop_timeout(kw_loop *self)
{
    kw_monitor_lock(&self->monitor);
    uint64_t at_ns = self->next_ns;
    self->told_ns = at_ns;
    self->sleeper = pthread_self();
    kw_monitor_unlock(&self->monitor);
    if (at_ns == UINT64_MAX) {
        return -1;
    }
    return kw_clock_ms_until(kw_env_now(&self->topology->env), at_ns, TIMEOUT_MAX_MS);
}

bool kw_loop_defers_close(kw_loop *self)
{
    kw_monitor_lock(&self->monitor);
    bool is_deferred = kw_loop_is_inside(self);
    self->wants_closing = self->wants_closing || is_deferred;
    kw_monitor_unlock(&self->monitor);
    return is_deferred;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What the host asks a loop: when it wants to be called, and whether it may be closed. */
#include "drive/loop_private.h"

/* No host sleeps longer. */
#define TIMEOUT_MAX_MS (3600 * 1000)

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

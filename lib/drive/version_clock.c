/* SPDX-License-Identifier: BSD-3-Clause */
/* Gives versions, and bounds those of others, for all calls of one kw_quorum. */
#include "drive/version_clock.h"

#include "engine/backoff.h"
#include "net/clock.h"

#include <string.h>

#define NOTICE_NS (1000 * KW_NS_PER_MS)

static uint64_t wall_ms(const kw_version_clock *self)
{
    return self->clock != NULL ? self->clock(self->clock_arg) : kw_clock_wall_ms();
}

/* What is not above the highest stamp given or learnt teaches nothing. */
static void note_known(kw_version_clock *self)
{
    atomic_store_explicit(&self->known, self->stamper.last, memory_order_relaxed);
}

static kw_stamp next_stamp(void *arg, kw_stamp past)
{
    kw_version_clock *self = arg;
    uint64_t now_ms = wall_ms(self);
    kw_monitor_lock(&self->monitor);
    kw_stamp stamp = kw_stamper_next(&self->stamper, now_ms, past);
    note_known(self);
    kw_monitor_unlock(&self->monitor);
    return stamp;
}

static void learn_stamp(void *arg, kw_stamp seen)
{
    kw_version_clock *self = arg;
    if (seen.time <= atomic_load_explicit(&self->known, memory_order_relaxed)) {
        return; /* as most that are read: without a lock, and without the clock */
    }
    uint64_t now_ms = wall_ms(self);
    kw_monitor_lock(&self->monitor);
    kw_stamper_learn(&self->stamper, now_ms, seen);
    note_known(self);
    kw_monitor_unlock(&self->monitor);
}

bool kw_version_clock_init(kw_version_clock *self, kw_env *env)
{
    memset(self, 0, sizeof(*self));
    self->env = env;
    uint64_t bound_ms = env->options.version_ahead_ms;
    self->ahead_ms = bound_ms > 0 ? bound_ms : env->options.tombstone_ms / 4;
    kw_stamper_init(&self->stamper, kw_env_unique(env), self->ahead_ms);
    return kw_monitor_init(&self->monitor) == KW_OK;
}

void kw_version_clock_fini(kw_version_clock *self)
{
    kw_monitor_fini(&self->monitor);
}

kw_quorum_clock kw_version_clock_face(kw_version_clock *self)
{
    kw_quorum_clock face = {next_stamp, learn_stamp, self};
    return face;
}

uint64_t kw_version_clock_latest(kw_version_clock *self)
{
    uint64_t now_ms = wall_ms(self);
    kw_monitor_lock(&self->monitor);
    uint64_t latest = kw_stamper_latest(&self->stamper, now_ms, self->ahead_ms);
    if (self->stamper.last >= latest) {
        kw_stamper_init(&self->stamper, kw_env_unique(self->env), self->ahead_ms);
        note_known(self);
    }
    kw_monitor_unlock(&self->monitor);
    return latest;
}

uint64_t kw_version_clock_ahead_ms(const kw_version_clock *self, kw_stamp version)
{
    uint64_t now_ms = wall_ms(self);
    uint64_t version_ms = kw_stamp_ms(version);
    return version_ms > now_ms ? version_ms - now_ms : 0;
}

bool kw_version_clock_may_tell(kw_version_clock *self)
{
    uint64_t now_ns = kw_env_now(self->env);
    uint64_t due_ns = atomic_load(&self->notice_ns);
    return now_ns >= due_ns &&
           atomic_compare_exchange_strong(&self->notice_ns, &due_ns, now_ns + NOTICE_NS);
}

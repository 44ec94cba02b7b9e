/* SPDX-License-Identifier: BSD-3-Clause */
/* How long a late answer is waited for: silence, a lost owner, answers owed to nobody. */
#include "engine/patience.h"

#include "base/moment.h"

/* A blocking command may be silent for long: the map is asked for at growing intervals, at most
 * this. */
#define BLOCKED_PAUSE_MAX_NS ((uint64_t)10000 * KW_NS_PER_MS)

/* Parts of a call's timeout. */
#define STALL_PART 4
#define GRACE_PART 4

/* An answer that is owed to nobody is waited for this many stalls of the rule, however short the
 * timeout of those who have left. */
#define OWED_STALLS 2

void kw_patience_init(kw_patience *self, const kw_patience_rule *rule, uint64_t now_ns)
{
    self->is_blocking = rule->is_blocking;
    self->has_others = rule->has_others;
    self->stall_ns = kw_sooner(rule->stall_ns, rule->timeout_ns / STALL_PART);
    self->owed_max_ns = OWED_STALLS * rule->stall_ns;
    self->grace_ns = kw_sooner(rule->grace_ns, rule->timeout_ns / GRACE_PART);
    kw_patience_on_heard(self, now_ns);
}

void kw_patience_on_heard(kw_patience *self, uint64_t now_ns)
{
    self->heard_ns = now_ns;
    self->pause_ns = self->stall_ns;
    self->look_ns = now_ns + self->stall_ns;
    self->owed_ns = 0;
    self->lost_ns = 0;
}

void kw_patience_on_left(kw_patience *self, uint64_t now_ns)
{
    self->owed_ns = self->owed_ns != 0 ? self->owed_ns : now_ns;
}

/* From when on no answer is expected of a node that has lost the slot: a blocked client is told by
 * the server, and mostly later than an answer would come. */
static uint64_t end_of_grace(const kw_patience *self)
{
    if (self->lost_ns == 0) {
        return UINT64_MAX;
    }
    uint64_t from_ns = self->lost_ns > self->heard_ns ? self->lost_ns : self->heard_ns;
    return from_ns + (self->is_blocking ? self->stall_ns : self->grace_ns);
}

static uint64_t end_of_owed(const kw_patience *self)
{
    return self->owed_ns != 0 ? self->owed_ns + self->owed_max_ns : UINT64_MAX;
}

/* From when on it is given up, whatever else happens. */
static uint64_t end_of(const kw_patience *self)
{
    uint64_t silent_ns = self->has_others ? self->heard_ns + self->stall_ns : UINT64_MAX;
    return kw_sooner(silent_ns, kw_sooner(end_of_owed(self), end_of_grace(self)));
}

kw_patience_step kw_patience_on_time(kw_patience *self, uint64_t now_ns, uint64_t lost_ns)
{
    self->lost_ns = self->has_others ? 0 : lost_ns;
    kw_patience_step step = {KW_PATIENCE_WAIT, now_ns};
    if (now_ns >= end_of(self)) {
        step.kind = KW_PATIENCE_GIVE_UP;
        return step;
    }
    if (now_ns >= self->look_ns) {
        step.kind = KW_PATIENCE_LOOK;
        self->look_ns = now_ns + self->pause_ns;
        if (self->is_blocking && self->pause_ns < BLOCKED_PAUSE_MAX_NS) {
            self->pause_ns = kw_sooner(2 * self->pause_ns, BLOCKED_PAUSE_MAX_NS);
        }
    }
    step.until_ns = kw_patience_next_ns(self);
    return step;
}

uint64_t kw_patience_next_ns(const kw_patience *self)
{
    return kw_sooner(self->look_ns, end_of(self));
}

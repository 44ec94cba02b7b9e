/* SPDX-License-Identifier: BSD-3-Clause */
/* How long a late answer is waited for: silence, a lost owner, answers owed to nobody. */
#include "engine/patience.h"

#include "engine/backoff.h"

/* A blocking command may be silent for long: the map is asked for at growing intervals, at most
 * this. */
#define BLOCKED_PAUSE_MAX_NS ((uint64_t)10000 * KW_NS_PER_MS)

/* Parts of a call's timeout. */
#define STALL_PART 4
#define GRACE_PART 8

/* An answer that is owed to nobody is waited for this many stalls of the rule, however short the
 * timeout of those who have left. */
#define OWED_STALLS 2

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void kw_patience_init(kw_patience *self, const kw_patience_rule *rule, uint64_t now_ns)
{
    self->is_blocking = rule->is_blocking;
    self->stall_ns = least(rule->stall_ns, rule->timeout_ns / STALL_PART);
    self->owed_max_ns = OWED_STALLS * rule->stall_ns;
    self->grace_ns = least(rule->grace_ns, rule->timeout_ns / GRACE_PART);
    kw_patience_on_sent(self, now_ns);
}

void kw_patience_on_sent(kw_patience *self, uint64_t now_ns)
{
    self->heard_ns = now_ns;
    self->pause_ns = self->stall_ns;
    self->look_ns = now_ns + self->stall_ns;
    self->owed_ns = 0;
}

void kw_patience_on_heard(kw_patience *self, uint64_t now_ns)
{
    kw_patience_on_sent(self, now_ns);
}

void kw_patience_on_left(kw_patience *self, uint64_t now_ns)
{
    self->owed_ns = self->owed_ns != 0 ? self->owed_ns : now_ns;
}

/* From when on no answer is expected of a node that has lost the slot: a blocked client is told by
 * the server, and mostly later than an answer would come. */
static uint64_t end_of_grace(const kw_patience *self, uint64_t lost_ns)
{
    uint64_t from_ns = lost_ns > self->heard_ns ? lost_ns : self->heard_ns;
    return from_ns + (self->is_blocking ? self->stall_ns : self->grace_ns);
}

static uint64_t end_of_owed(const kw_patience *self)
{
    return self->owed_ns != 0 ? self->owed_ns + self->owed_max_ns : UINT64_MAX;
}

kw_patience_step kw_patience_on_time(kw_patience *self, uint64_t now_ns, uint64_t lost_ns)
{
    kw_patience_step step = {KW_PATIENCE_WAIT, kw_patience_next_ns(self)};
    uint64_t end_ns = end_of_owed(self);
    if (lost_ns != 0) {
        end_ns = least(end_ns, end_of_grace(self, lost_ns));
    }
    if (now_ns >= end_ns) {
        step.kind = KW_PATIENCE_GIVE_UP;
        step.until_ns = now_ns;
        return step;
    }
    if (now_ns >= self->look_ns) {
        step.kind = KW_PATIENCE_LOOK;
        self->look_ns = now_ns + self->pause_ns;
        if (self->is_blocking && self->pause_ns < BLOCKED_PAUSE_MAX_NS) {
            self->pause_ns = least(2 * self->pause_ns, BLOCKED_PAUSE_MAX_NS);
        }
    }
    step.until_ns = least(end_ns, self->look_ns);
    return step;
}

uint64_t kw_patience_next_ns(const kw_patience *self)
{
    return least(self->look_ns, end_of_owed(self));
}

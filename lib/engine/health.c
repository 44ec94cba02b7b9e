/* SPDX-License-Identifier: BSD-3-Clause */
/* Decides when a node may be dialled: several at once while healthy, one at a time after a
 * failure. */
#include "engine/health.h"

#include "base/moment.h"

#define PAUSE_FIRST_NS (50 * KW_NS_PER_MS)
#define PAUSE_MAX_NS   (800 * KW_NS_PER_MS)

void kw_health_init(kw_health *health)
{
    kw_backoff_init(&health->backoff, PAUSE_FIRST_NS, PAUSE_MAX_NS);
    health->retry_ns = 0;
    health->dial_until_ns = 0;
    health->before_ns = 0;
    health->well_ns = 0;
    health->dialling_n = 0;
    health->is_failing = false;
}

bool kw_health_may_dial(const kw_health *health, uint64_t now_ns)
{
    bool is_left_alone = now_ns >= health->dial_until_ns;
    if (health->is_failing) {
        return (health->dialling_n == 0 || is_left_alone) && now_ns >= health->retry_ns;
    }
    return health->dialling_n < KW_HEALTH_DIALS_MAX || is_left_alone;
}

void kw_health_on_dial(kw_health *health, uint64_t until_ns)
{
    bool is_alone = health->dialling_n == 0;
    /* Else so many were left alone, which others do not wait for. */
    if (health->is_failing || health->dialling_n < KW_HEALTH_DIALS_MAX) {
        health->before_ns = is_alone ? 0 : kw_later(health->before_ns, health->dial_until_ns);
        health->dial_until_ns = until_ns;
    }
    health->dialling_n++;
}

/* Most likely the last one that began: those that are left may be older, and left alone, and are
 * not waited for in its time. */
static void end_dial(kw_health *health)
{
    health->dialling_n--;
    health->dial_until_ns = kw_sooner(health->dial_until_ns, health->before_ns);
}

void kw_health_on_connected(kw_health *health, uint64_t begun_ns)
{
    health->well_ns = begun_ns > health->well_ns ? begun_ns : health->well_ns;
    end_dial(health);
    health->is_failing = false;
    kw_backoff_reset(&health->backoff);
}

bool kw_health_on_failed(kw_health *health, uint64_t begun_ns, uint64_t now_ns, kw_random *random)
{
    end_dial(health);
    if (begun_ns != 0 && begun_ns < health->well_ns) {
        return false;
    }
    if (health->is_failing && now_ns < health->retry_ns) {
        return true; /* begun while the node was healthy: the failure is counted */
    }
    health->is_failing = true;
    health->retry_ns = now_ns + kw_backoff_next(&health->backoff, random);
    return true;
}

void kw_health_on_abandoned(kw_health *health)
{
    end_dial(health);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Decides when a node may be dialled: several at once while healthy, one at a time after a
 * failure. */
#include "engine/health.h"

#define PAUSE_FIRST_NS (50 * KW_NS_PER_MS)
#define PAUSE_MAX_NS   (800 * KW_NS_PER_MS)

void kw_health_init(kw_health *health)
{
    kw_backoff_init(&health->backoff, PAUSE_FIRST_NS, PAUSE_MAX_NS);
    health->retry_ns = 0;
    health->dial_until_ns = 0;
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
    if (health->is_failing || health->dialling_n < KW_HEALTH_DIALS_MAX) {
        health->dial_until_ns =
            until_ns; /* else so many were left alone, which others do not wait for */
    }
    health->dialling_n++;
}

void kw_health_on_connected(kw_health *health, uint64_t begun_ns)
{
    health->well_ns = begun_ns > health->well_ns ? begun_ns : health->well_ns;
    health->dialling_n--;
    health->is_failing = false;
    kw_backoff_reset(&health->backoff);
}

bool kw_health_on_failed(kw_health *health, uint64_t begun_ns, uint64_t now_ns, kw_random *random)
{
    health->dialling_n--;
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
    health->dialling_n--;
}

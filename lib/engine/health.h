/* SPDX-License-Identifier: BSD-3-Clause */
/* Health: whether a node may be dialled now. */
#ifndef ENGINE_HEALTH_H
#define ENGINE_HEALTH_H

#include "base/random.h"
#include "engine/backoff.h"

#include <stdbool.h>
#include <stdint.h>

/* A node is healthy until a connect to it fails. From then on one connect at a time
 * is allowed, after growing pauses, until one succeeds. Connects that fail together
 * are one failure. */
typedef struct kw_health {
    kw_backoff backoff;     /* between connects to a failing node */
    uint64_t retry_ns;      /* no connect to a failing node before this */
    uint64_t dial_until_ns; /* by then those under way have ended, or were left alone .. */
    uint64_t before_ns;     /* .. and those that were there before the last one */
    uint64_t well_ns;       /* when the last one began that succeeded */
    unsigned dialling_n;    /* connects under way */
    bool is_failing;
} kw_health;

/* Connects under way at once to a healthy node. */
#define KW_HEALTH_DIALS_MAX 8u

void kw_health_init(kw_health *health);

/* True where a connect may start now. One that does is told by on_dial, and its end by one of
 * on_connected, on_failed and on_abandoned. until_ns: when its own time is over; it may have been
 * left alone then, as whoever drives it, an event loop or a caller of tickets, need not come again:
 * others do not wait for it any more. */
bool kw_health_may_dial(const kw_health *health, uint64_t now_ns);
void kw_health_on_dial(kw_health *health, uint64_t until_ns);
void kw_health_on_connected(kw_health *health, uint64_t begun_ns);

/* begun_ns: when it, or its greeting, began; 0: it has not. False where that was before one began
 * that succeeded: a connection that was left alone for a while, and says nothing of the node now.
 */
bool kw_health_on_failed(kw_health *health, uint64_t begun_ns, uint64_t now_ns, kw_random *random);

/* A dial that was given up for no fault of the node. */
void kw_health_on_abandoned(kw_health *health);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The system's monotonic clock, and waits in whole milliseconds. */
#include "net/clock.h"

#include "base/moment.h"

#include <time.h>

#define NS_PER_S ((uint64_t)1000000000)

#ifdef CLOCK_MONOTONIC_COARSE
#define ROUGH_CLOCK CLOCK_MONOTONIC_COARSE
#else
#define ROUGH_CLOCK CLOCK_MONOTONIC
#endif

static uint64_t read_clock(const kw_clock *clock, clockid_t id)
{
    if (clock->now_fn != NULL) {
        return clock->now_fn(clock->arg);
    }
    struct timespec now;
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t kw_clock_now(const kw_clock *clock)
{
    return read_clock(clock, CLOCK_MONOTONIC);
}

uint64_t kw_clock_roughly(const kw_clock *clock)
{
    return read_clock(clock, ROUGH_CLOCK);
}

uint64_t kw_clock_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec > 0 ? (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / KW_NS_PER_MS : 0;
}

int kw_clock_ms_until(uint64_t now_ns, uint64_t until_ns, int max_ms)
{
    if (until_ns <= now_ns) {
        return 0;
    }
    uint64_t ms = (until_ns - now_ns - 1) / KW_NS_PER_MS + 1;
    return ms < (uint64_t)max_ms ? (int)ms : max_ms;
}

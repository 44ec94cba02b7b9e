/* SPDX-License-Identifier: BSD-3-Clause */
/* Clock: monotonic time, the system's or the host's. */
#ifndef NET_CLOCK_H
#define NET_CLOCK_H

#include <keyway/config.h>

#include "base/moment.h"

#include <stdint.h>

/* No wait of a thread is longer where others may change something meanwhile of which nobody wakes
 * it: a closed handle, another map, a fetch that nobody drives. It looks then, and goes on. */
#define KW_SLICE_MS 50
#define KW_SLICE_NS (KW_SLICE_MS * KW_NS_PER_MS)

typedef struct kw_clock {
    kw_clock_fn now_fn; /* NULL: the system's monotonic clock */
    void *arg;
} kw_clock;

/* Nanoseconds since some fixed point. */
uint64_t kw_clock_now(const kw_clock *clock);

/* As kw_clock_now, but up to some milliseconds late, and for a fifth of its price. */
uint64_t kw_clock_roughly(const kw_clock *clock);

/* Milliseconds since 1970, by the system's clock that people set. */
uint64_t kw_clock_wall_ms(void);

/* Whole milliseconds from now_ns to until_ns, rounded up and at most max_ms; 0 where
 * until_ns has passed. */
int kw_clock_ms_until(uint64_t now_ns, uint64_t until_ns, int max_ms);

#endif

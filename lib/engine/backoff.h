/* SPDX-License-Identifier: BSD-3-Clause */
/* Backoff: how long to pause before trying again. */
#ifndef ENGINE_BACKOFF_H
#define ENGINE_BACKOFF_H

#include "base/moment.h"
#include "base/random.h"

#include <stdint.h>

/* Exponential, with full jitter ("Exponential Backoff And Jitter", AWS Architecture
 * Blog, 2015), so that callers who failed together do not return together. */
typedef struct kw_backoff {
    uint64_t first_ns;   /* ceiling of the first pause */
    uint64_t max_ns;     /* ceiling of every pause */
    unsigned failures_n; /* in a row: how often the ceiling has doubled */
} kw_backoff;

static inline void kw_backoff_init(kw_backoff *backoff, uint64_t first_ns, uint64_t max_ns)
{
    backoff->first_ns = first_ns;
    backoff->max_ns = max_ns;
    backoff->failures_n = 0;
}

/* The next pause: between 1/8 of its ceiling and the ceiling, which doubles. */
uint64_t kw_backoff_next(kw_backoff *backoff, kw_random *random);

void kw_backoff_reset(kw_backoff *backoff);

#endif

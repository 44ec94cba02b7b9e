/* SPDX-License-Identifier: BSD-3-Clause */
/* Moment: nanoseconds of the handle's clock, and which of two comes first. */
#ifndef BASE_MOMENT_H
#define BASE_MOMENT_H

#include <stdint.h>

#define KW_NS_PER_MS ((uint64_t)1000000)

static inline uint64_t kw_sooner(uint64_t one_ns, uint64_t other_ns)
{
    return one_ns < other_ns ? one_ns : other_ns;
}

static inline uint64_t kw_later(uint64_t one_ns, uint64_t other_ns)
{
    return one_ns > other_ns ? one_ns : other_ns;
}

#endif

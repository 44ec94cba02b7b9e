/* SPDX-License-Identifier: BSD-3-Clause */
/* Histogram: from a time to its bucket, and back. */
#include "engine/histogram.h"

/* Bits behind the first one that tell the buckets of one power of two apart. */
#define FINE_BITS 3
#define FINE_N    (1u << FINE_BITS)

static unsigned high_bit(uint64_t value)
{
    unsigned bit = 0;
    for (unsigned step = 32; step > 0; step /= 2) {
        if (value >> step != 0) {
            value >>= step;
            bit += step;
        }
    }
    return bit;
}

size_t kw_histogram_bucket(uint64_t ns)
{
    uint64_t units = ns >> KW_HISTOGRAM_UNIT_BITS;
    if (units < FINE_N) {
        return (size_t)units;
    }
    unsigned shift = high_bit(units) - FINE_BITS;
    size_t bucket = ((size_t)shift << FINE_BITS) + (size_t)(units >> shift);
    return bucket < KW_HISTOGRAM_BUCKETS_N ? bucket : KW_HISTOGRAM_BUCKETS_N - 1;
}

uint64_t kw_histogram_bound_ns(size_t bucket)
{
    if (bucket >= KW_HISTOGRAM_BUCKETS_N - 1) {
        return UINT64_MAX;
    }
    uint64_t next = (uint64_t)bucket + 1;
    if (next <= 2 * FINE_N) {
        return next << KW_HISTOGRAM_UNIT_BITS;
    }
    unsigned shift = (unsigned)(next >> FINE_BITS) - 1;
    return (FINE_N + (next & (FINE_N - 1))) << shift << KW_HISTOGRAM_UNIT_BITS;
}

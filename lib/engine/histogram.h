/* SPDX-License-Identifier: BSD-3-Clause */
/* Histogram: how long things took, in log-linear classes; added to by any thread. */
#ifndef ENGINE_HISTOGRAM_H
#define ENGINE_HISTOGRAM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Times are counted in units of 2^7 ns. Below 8 units each has a bucket of its own; from there on
 * each power of two has eight, so that a bucket is an eighth of its time wide at most. The last one
 * has all that is longer than 2 minutes (HdrHistogram's layout, of three bits). */
#define KW_HISTOGRAM_UNIT_BITS 7
#define KW_HISTOGRAM_BUCKETS_N 224

typedef struct kw_histogram {
    atomic_uint_fast64_t counts[KW_HISTOGRAM_BUCKETS_N];
    atomic_uint_fast64_t sum_ns;
} kw_histogram;

/* The bucket of a time. */
size_t kw_histogram_bucket(uint64_t ns);

/* The first time that is too long for a bucket; UINT64_MAX of the last. */
uint64_t kw_histogram_bound_ns(size_t bucket);

static inline void kw_histogram_add(kw_histogram *self, uint64_t ns)
{
    atomic_fetch_add_explicit(&self->counts[kw_histogram_bucket(ns)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&self->sum_ns, ns, memory_order_relaxed);
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Cache load: one load while the host works at it, in its function or, after that, anywhere. */
#ifndef CACHE_CACHE_LOAD_H
#define CACHE_CACHE_LOAD_H

#include "cache/cache.h"

struct kw_cache_load {
    kw_allocator mem;
    kw_bytes key;
    kw_blob *given; /* NULL: nothing yet */
    kw_monitor *monitor;
    bool is_ended; /* guarded by the monitor, as how */
    kw_cache_loaded how;
    void (*end_fn)(kw_cache_load *load); /* called with how set, in place of the monitor */
};

/* The monitor is that of whoever waits in kw_cache_load_await. */
void kw_cache_load_init(kw_cache_load *load, kw_cache *cache, kw_bytes key);

/* Waits for kw_cache_load_end, and says how it went. */
kw_cache_loaded kw_cache_load_await(kw_cache_load *load);

/* As kw_cache_load_end. */
void kw_cache_load_set(kw_cache_load *load, kw_cache_loaded how);

#endif

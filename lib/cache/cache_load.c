/* SPDX-License-Identifier: BSD-3-Clause */
/* The end of a load that the host's function did not wait for. */
#include "cache/cache_load.h"

void kw_cache_load_init(kw_cache_load *load, kw_cache *cache, kw_bytes key)
{
    load->mem = cache->mem;
    load->key = key;
    load->given = NULL;
    load->monitor = &cache->flights.monitor;
    load->is_ended = false;
    load->how = KW_CACHE_FAILED;
    load->end_fn = NULL;
}

void kw_cache_load_set(kw_cache_load *load, kw_cache_loaded how)
{
    load->how = how;
    if (load->end_fn != NULL) {
        load->end_fn(load);
        return;
    }
    kw_monitor *monitor = load->monitor; /* the load is gone once it is seen to have ended */
    kw_monitor_lock(monitor);
    load->is_ended = true;
    kw_monitor_wake_all(monitor);
    kw_monitor_unlock(monitor);
}

kw_cache_loaded kw_cache_load_await(kw_cache_load *load)
{
    kw_monitor_lock(load->monitor);
    while (!load->is_ended) {
        kw_monitor_wait(load->monitor, UINT64_MAX); /* whoever ends it wakes this one */
    }
    kw_monitor_unlock(load->monitor);
    return load->how;
}

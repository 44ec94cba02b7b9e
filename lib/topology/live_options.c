/* SPDX-License-Identifier: BSD-3-Clause */
/* A setting is changed under its lock, and whoever goes by the old one is woken. */
#include "topology/live_options.h"

#include "settings/option_change.h"
#include "topology/replica_discovery.h"

kw_err kw_live_options_set(kw_topology *topology, kw_error *error, kw_bytes name, kw_bytes value)
{
    kw_options *options = &topology->env.options;
    kw_monitor_lock(&topology->monitor);
    uint64_t refresh_ms = options->refresh_interval_ms;
    kw_err code = kw_option_change(options, error, name, value);
    bool is_rhythm_new = options->refresh_interval_ms != refresh_ms;
    kw_monitor_unlock(&topology->monitor);
    if (code != KW_OK) {
        return code;
    }
    if (is_rhythm_new) {
        kw_refresher_on_interval(&topology->refresher);
    }
    if (kw_replica_discovery_is_on(topology)) {
        atomic_store(&topology->env.failure_watch_ns, 0);
    }
    kw_pool_keeper_on_change(topology);
    kw_topology_wake_all(topology); /* who waits for a place may have one now */
    return KW_OK;
}

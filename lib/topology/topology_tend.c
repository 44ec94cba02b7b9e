/* SPDX-License-Identifier: BSD-3-Clause */
/* Work that runs inside callers' calls, since the library has no thread: each part is asked in
 * turn whether something is due. */
#include "topology/topology_tend.h"

#include "net/conn_diary.h"
#include "topology/identity_events.h"
#include "topology/lag.h"
#include "topology/login_watch.h"
#include "topology/node_registry.h"
#include "topology/sentinel_events.h"

static inline bool is_due(const atomic_uint_fast64_t *at_ns, uint64_t now_ns)
{
    return now_ns >= atomic_load_explicit(at_ns, memory_order_relaxed);
}

void kw_topology_tend(kw_topology *topology, uint64_t now_ns)
{
    if (kw_env_has_fetch(&topology->env)) {
        if (atomic_load_explicit(&topology->env.is_suspect, memory_order_relaxed) &&
            atomic_exchange(&topology->env.is_suspect, false)) {
            (void)kw_refresher_want(&topology->refresher);
        }
        kw_refresher_poke(&topology->refresher, now_ns);
        if (atomic_load_explicit(&topology->refresher.has_news, memory_order_relaxed)) {
            kw_sentinel_events_tend(topology);
        }
    }
    if (is_due(&topology->env.failure_watch_ns, now_ns)) {
        kw_failure_watch_tend(topology, now_ns);
    }
    if (is_due(&topology->env.lag_ns, now_ns)) {
        kw_lag_tend(topology, now_ns);
    }
    if (is_due(&topology->env.keep_ns, now_ns)) {
        kw_pool_keeper_tend(topology, now_ns);
    }
    if (is_due(&topology->sweep_ns, now_ns)) {
        kw_node_registry_sweep(topology, now_ns);
    }
    if (kw_logins_is_due(&topology->env.logins, now_ns)) {
        kw_login_watch_tend(topology, now_ns);
    }
    if (atomic_load_explicit(&topology->env.has_told, memory_order_relaxed)) {
        kw_identity_events_tend(topology);
    }
    if (atomic_load_explicit(&topology->env.has_noted, memory_order_relaxed)) {
        topology->env.events->tend_fn(topology);
    }
}

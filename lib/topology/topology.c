/* SPDX-License-Identifier: BSD-3-Clause */
/* What every part of a topology uses: the snapshot in use, the counters, the host's ear. */
#include "topology/topology.h"

#include "route/ring_positions.h"
#include "route/slot.h"

kw_snapshot *kw_topology_snapshot(kw_topology *topology)
{
    kw_monitor_lock(&topology->monitor);
    kw_snapshot *snapshot = topology->snapshot != NULL ? kw_snapshot_ref(topology->snapshot) : NULL;
    kw_monitor_unlock(&topology->monitor);
    return snapshot;
}

kw_node *kw_topology_owner_in(const kw_topology *topology, const kw_snapshot *snapshot,
                              kw_bytes key)
{
    if (kw_topology_is_ring(topology)) {
        return kw_snapshot_at_position(snapshot, kw_ring_position_of(topology->placement, key));
    }
    bool has_slots = topology->env.options.scheme == KW_SCHEME_CLUSTER;
    return kw_snapshot_owner(snapshot, has_slots ? kw_slot_of(key.data, key.len) : 0);
}

kw_node *kw_topology_owner_of(kw_topology *topology, kw_bytes key)
{
    kw_snapshot *snapshot = kw_topology_snapshot(topology);
    if (snapshot == NULL) {
        return NULL;
    }
    kw_node *owner = kw_topology_owner_in(topology, snapshot, key);
    owner = owner != NULL ? kw_node_ref(owner) : NULL;
    kw_snapshot_unref(snapshot);
    return owner;
}

void kw_topology_count_failure(kw_topology *topology, kw_err code, kw_effect effect)
{
    size_t number = (size_t)-code;
    if (number < KW_COUNTED_CODES_N && (size_t)effect < KW_COUNTED_EFFECTS_N) {
        atomic_fetch_add_explicit(&topology->counters.failed[number][effect], 1,
                                  memory_order_relaxed);
    }
}

void kw_topology_tell(kw_topology *topology, kw_event *event)
{
    const kw_env *env = &topology->env;
    event->size = sizeof(*event);
    bool is_bad = event->kind == KW_EVENT_NODE_DOWN || event->kind == KW_EVENT_NODE_EJECTED ||
                  event->kind == KW_EVENT_PRIMARY_DOWN || event->kind == KW_EVENT_REPLICA_DOWN ||
                  event->kind == KW_EVENT_LOGIN_REFUSED || event->kind == KW_EVENT_CLUSTER_REPLACED;
    kw_env_log(env, is_bad ? KW_LOG_WARNING : KW_LOG_INFO, "%s", event->text);
    if (env->event != NULL) {
        env->event(env->event_arg, event);
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Turns what connections and fetches have found of replaced servers into events for the host. */
#include "topology/identity_events.h"

#include "topology/topology.h"

#include <stdio.h>
#include <string.h>

/* The name that the server has on the ring; nothing where there is none. */
static void set_member(kw_event *event, const kw_snapshot *snapshot, const kw_endpoint *server)
{
    size_t node;
    const kw_ring *ring = snapshot != NULL ? kw_map_ring(snapshot->map) : NULL;
    if (ring != NULL && kw_map_find_node(snapshot->map, &node, server)) {
        uint16_t shard = kw_map_member_at(snapshot->map, node)->shard;
        event->member = kw_ring_node_name(ring, &event->member_len, shard);
    }
}

void kw_identity_events_tend(kw_topology *topology)
{
    kw_identity_told told;
    if (!kw_leader_try(&topology->teller)) {
        return;
    }
    while (kw_identity_next_told(&topology->env, &told)) {
        kw_snapshot *snapshot = kw_topology_snapshot(topology);
        char node[KW_ENDPOINT_TEXT];
        char text[KW_ENDPOINT_TEXT + 200];
        kw_event event;
        memset(&event, 0, sizeof(event));
        event.kind = KW_EVENT_CLUSTER_REPLACED;
        event.member = "";
        event.node = kw_endpoint_text(node, &told.server);
        event.text = text;
        set_member(&event, snapshot, &told.server);
        snprintf(text, sizeof(text),
                 "%s has nothing in common with what was known, and is followed: %s", node,
                 told.why);
        kw_topology_tell(topology, &event);
        kw_snapshot_unref(snapshot);
    }
    kw_leader_leave(&topology->teller);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Replica discovery: which replicas a node of a ring has, by its answer to ROLE. */
#ifndef TOPOLOGY_REPLICA_DISCOVERY_H
#define TOPOLOGY_REPLICA_DISCOVERY_H

#include "topology/topology.h"

/* True where reads go to replicas, which so must be known. */
static inline bool kw_replica_discovery_is_on(const kw_topology *topology)
{
    return topology->env.options.scheme == KW_SCHEME_RING &&
           topology->env.options.read != KW_READ_OF_PRIMARY;
}

/* Takes what the node has answered to its probe, if that is news. */
void kw_replica_discovery_take(kw_topology *topology, kw_node *node);

#endif

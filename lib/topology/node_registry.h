/* SPDX-License-Identifier: BSD-3-Clause */
/* Node registry: every node that a handle knows: those of the map, the seeds, and those that a
 * redirect named. */
#ifndef TOPOLOGY_NODE_REGISTRY_H
#define TOPOLOGY_NODE_REGISTRY_H

#include "topology/topology.h"

/* A known node, borrowed; NULL: none. The topology's monitor is held. */
kw_node *kw_node_registry_find(const kw_topology *topology, const kw_endpoint *endpoint);

/* For the refresher, of which arg is the topology: whom to ask for a map. */
size_t kw_node_registry_candidates(void *arg, kw_node **nodes, bool *is_seed, size_t max);

/* For the refresher too: kw_topology_node. */
kw_node *kw_node_registry_node(void *arg, const kw_endpoint *endpoint);

/* And kw_topology_known_node. */
kw_node *kw_node_registry_known(void *arg, const kw_endpoint *endpoint);

/* A reference to the node at the endpoint: of the map, a seed, or a new one. NULL when there is no
 * memory. Any thread. */
kw_node *kw_topology_node(kw_topology *topology, const kw_endpoint *endpoint);

/* A reference to the node at the endpoint where it is known already; NULL otherwise. */
kw_node *kw_topology_known_node(kw_topology *topology, const kw_endpoint *endpoint);

/* Finds idle connections of nodes that nobody calls any more. */
void kw_node_registry_sweep(kw_topology *topology, uint64_t now_ns);

#endif

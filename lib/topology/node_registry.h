/* SPDX-License-Identifier: BSD-3-Clause */
/* Node registry: every node that a handle knows: those of the map, the seeds, and those that a
 * redirect named. */
#ifndef TOPOLOGY_NODE_REGISTRY_H
#define TOPOLOGY_NODE_REGISTRY_H

#include "api/client.h"

/* A known node, borrowed; NULL: none. The client's monitor is held. */
kw_node *kw_node_registry_find(const kw_client *client, const kw_endpoint *endpoint);

/* For the refresher, of which arg is the client: whom to ask for a map. */
size_t kw_node_registry_candidates(void *arg, kw_node **nodes, bool *is_seed, size_t max);

/* The same: kw_client_node. */
kw_node *kw_node_registry_node(void *arg, const kw_endpoint *endpoint);

/* Finds idle connections of nodes that nobody calls any more. */
void kw_node_registry_sweep(kw_client *client, uint64_t now_ns);

#endif

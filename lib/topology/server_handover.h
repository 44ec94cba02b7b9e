/* SPDX-License-Identifier: BSD-3-Clause */
/* Server handover: the one server of a handle has become a replica, and names its primary
 * (REDIRECT): the map is that primary, until it cannot be reached. */
#ifndef TOPOLOGY_SERVER_HANDOVER_H
#define TOPOLOGY_SERVER_HANDOVER_H

#include "topology/topology.h"

/* The server at the endpoint was named. Nothing happens but where the handle has one server. Any
 * thread, with no lock held. */
void kw_server_handover_follow(kw_topology *topology, const kw_endpoint *primary);

/* The node cannot be reached, or, where it is NULL, the one in use: if it was named by a server,
 * the one that the settings name is in use again. True where that is so. As above. */
bool kw_server_handover_end(kw_topology *topology, const kw_node *node);

#endif

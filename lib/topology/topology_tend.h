/* SPDX-License-Identifier: BSD-3-Clause */
/* Topology, tended: what a caller does for the handle when its own work is done. */
#ifndef TOPOLOGY_TOPOLOGY_TEND_H
#define TOPOLOGY_TOPOLOGY_TEND_H

#include "topology/topology.h"

/* Goes on with a fetch of the map, probes and measures nodes, tells events, and closes connections
 * that were idle for too long: whatever is due. Never waits. Any thread. */
void kw_topology_tend(kw_topology *topology, uint64_t now_ns);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Lag: asks primaries and replicas that are read from how far they are in the replication stream.
 * It runs inside callers' calls. */
#ifndef TOPOLOGY_LAG_H
#define TOPOLOGY_LAG_H

#include "topology/snapshot.h"

struct kw_topology;

/* Does what is due; cheap where nothing is. Never waits. */
void kw_lag_tend(struct kw_topology *topology, uint64_t now_ns);

/* Somebody asks for the figures of all nodes: they are measured for some seconds. */
void kw_lag_want_all(struct kw_topology *topology, uint64_t now_ns);

#endif

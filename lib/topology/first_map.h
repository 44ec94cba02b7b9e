/* SPDX-License-Identifier: BSD-3-Clause */
/* First map: waiting for it, where there is none yet. */
#ifndef TOPOLOGY_FIRST_MAP_H
#define TOPOLOGY_FIRST_MAP_H

#include "topology/topology.h"

/* How long a caller waits for a map. */
typedef struct kw_map_wait {
    uint64_t deadline_ns;
    const atomic_bool *closing; /* kw_env_is_closing */
} kw_map_wait;

/* A reference to the snapshot in use, waited for where there is no map yet. Failure is why the last
 * fetch brought none: KW_ERR_TOPOLOGY, KW_ERR_NO_SENTINEL, ... */
kw_err kw_topology_need_snapshot(kw_topology *topology, kw_snapshot **snapshot, kw_error *error,
                                 kw_map_wait wait);

#endif

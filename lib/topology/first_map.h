/* SPDX-License-Identifier: BSD-3-Clause */
/* First map: waiting for it, where there is none yet. */
#ifndef TOPOLOGY_FIRST_MAP_H
#define TOPOLOGY_FIRST_MAP_H

#include "topology/topology.h"

/* A reference to the snapshot in use, waited for until deadline_ns where there is no map yet.
 * Failure is why the last fetch brought none: KW_ERR_TOPOLOGY, KW_ERR_NO_SENTINEL, ... */
kw_err kw_topology_need_snapshot(kw_topology *topology, kw_snapshot **snapshot, kw_error *error,
                                 uint64_t deadline_ns);

#endif

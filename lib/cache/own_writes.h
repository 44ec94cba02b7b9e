/* SPDX-License-Identifier: BSD-3-Clause */
/* Own writes: what a handle's commands do to values in the process' memory. */
#ifndef CACHE_OWN_WRITES_H
#define CACHE_OWN_WRITES_H

#include "topology/topology.h"

/* The handle's stamps, from here on kept by its commands; NULL where there is no memory. */
kw_write_stamps *kw_own_writes_watch(kw_topology *topology);

#endif

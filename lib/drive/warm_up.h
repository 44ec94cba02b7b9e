/* SPDX-License-Identifier: BSD-3-Clause */
/* Warm-up: a connection to every server that calls will go to, ahead of the first one. */
#ifndef DRIVE_WARM_UP_H
#define DRIVE_WARM_UP_H

#include "topology/first_map.h"

/* Connects to each primary of the snapshot, and to each replica that reads may go to, all at once,
 * until the end of the wait; each has answered a PING. Failure is that of the first primary that
 * could not be had, and error names all of them, within its room. A replica that cannot be had is
 * none: reads go elsewhere. */
kw_err kw_warm_up(kw_topology *topology, kw_error *error, const kw_snapshot *snapshot,
                  kw_map_wait wait);

#endif

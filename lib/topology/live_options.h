/* SPDX-License-Identifier: BSD-3-Clause */
/* Live options: settings that change while the handle is in use. */
#ifndef TOPOLOGY_LIVE_OPTIONS_H
#define TOPOLOGY_LIVE_OPTIONS_H

#include "topology/topology.h"

/* Changes one, for all that begins from now on. Failure is that of kw_option_change. Any thread. */
kw_err kw_live_options_set(kw_topology *topology, kw_error *error, kw_bytes name, kw_bytes value);

#endif

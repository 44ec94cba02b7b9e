/* SPDX-License-Identifier: BSD-3-Clause */
/* Identity events: servers that were replaced by others, told to the host. */
#ifndef TOPOLOGY_IDENTITY_EVENTS_H
#define TOPOLOGY_IDENTITY_EVENTS_H

struct kw_topology;

/* Tells what is not told yet, with no lock held; any thread. */
void kw_identity_events_tend(struct kw_topology *topology);

#endif

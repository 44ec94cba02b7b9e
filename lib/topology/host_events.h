/* SPDX-License-Identifier: BSD-3-Clause */
/* Host events: what was noted of connections, maps and replaced servers, told to the host. */
#ifndef TOPOLOGY_HOST_EVENTS_H
#define TOPOLOGY_HOST_EVENTS_H

struct kw_topology;

/* Tells what is not told yet, with no lock held. Any thread. */
void kw_host_events_tend(struct kw_topology *topology);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Sentinel events: what sentinels say of a group's servers, told to the host. */
#ifndef TOPOLOGY_SENTINEL_EVENTS_H
#define TOPOLOGY_SENTINEL_EVENTS_H

struct kw_topology;

/* Tells the host what it has not been told yet. Never waits: while one thread tells, others return
 * at once. */
void kw_sentinel_events_tend(struct kw_topology *topology);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Sentinel events: what sentinels say of a group's servers, told to the host. */
#ifndef TOPOLOGY_SENTINEL_EVENTS_H
#define TOPOLOGY_SENTINEL_EVENTS_H

struct kw_topology;

/* Tells what has not been told; never waits. One thread at a time tells, others pass by. */
void kw_sentinel_events_tend(struct kw_topology *topology);

#endif

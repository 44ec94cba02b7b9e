/* SPDX-License-Identifier: BSD-3-Clause */
/* Pool keeper: with pool-min, opens connections ahead of their need, to every server that calls go
 * to, and keeps them from falling asleep; inside the calls of the host. */
#ifndef TOPOLOGY_POOL_KEEPER_H
#define TOPOLOGY_POOL_KEEPER_H

#include <stdint.h>

struct kw_topology;

/* Connections that it has under way at once. */
typedef struct kw_pool_keeper kw_pool_keeper;

/* Does what is due; cheap where nothing is. Never waits. */
void kw_pool_keeper_tend(struct kw_topology *topology, uint64_t now_ns);

/* The map, or pool-min, has changed: looks at once. Any thread. */
void kw_pool_keeper_on_change(struct kw_topology *topology);

/* Frees it, and what is under way; nobody is inside any more. */
void kw_pool_keeper_end(struct kw_topology *topology);

#endif

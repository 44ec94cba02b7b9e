/* SPDX-License-Identifier: BSD-3-Clause */
/* Ring build: nodes become points, lists or scores. */
#ifndef ROUTE_RING_BUILD_H
#define ROUTE_RING_BUILD_H

#include <keyway/error.h>

#include "route/ring.h"

/* True where a stands before b in the order of the ring's nodes. */
bool kw_ring_node_before(const kw_ring_rules *rules, const kw_ring_node *a, const kw_ring_node *b);

/* False where the nodes keep the order in which they were added. */
bool kw_ring_rules_has_order(const kw_ring_rules *rules);

/* Fills in what leads to the nodes, which stand in their order, and the counts of points
 * and zones. base may be NULL, else it is a ring of the same rules: where origins[i] is not
 * KW_RING_NO_NODE, it has node i with the same name and weight under that number, and its
 * points are taken over. KW_ERR_ARGUMENT for too many points, KW_ERR_NOMEM; what the ring holds
 * then is freed with it. */
kw_err kw_ring_build(kw_ring *ring, kw_error *error, const kw_ring *base, const uint32_t *origins);

#endif

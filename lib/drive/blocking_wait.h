/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocking wait: the waits of one command that blocks its caller. */
#ifndef DRIVE_BLOCKING_WAIT_H
#define DRIVE_BLOCKING_WAIT_H

#include "topology/topology.h"
#include "drive/plan.h"
#include "engine/op.h"

typedef struct kw_blocking_wait {
    kw_topology *topology;
    const kw_plan *plan;
    kw_op *op;
    uint64_t now_ns;
    kw_error failure;   /* what stood in the way last */
    uint64_t sent_ns;   /* when the command went to its node */
    uint64_t fetch;     /* the refresh that the op asked for; 0: none */
    uint64_t changes_n; /* maps published when the node was chosen */
} kw_blocking_wait;

void kw_blocking_wait_init(kw_blocking_wait *self, kw_topology *topology, const kw_plan *plan,
                           kw_op *op);

/* A connection to node, as kw_node_acquire; the times of options are set here. A pool that stays
 * empty is not waited for until the deadline: the slot may have a new owner by then. */
kw_err kw_blocking_wait_acquire(kw_blocking_wait *self, kw_node *node, kw_conn **conn,
                                uint64_t *retry_ns, kw_acquire_options *options);

/* Waits for the reply of the request that conn carries to node, until the plan's deadline.
 * An answer that is late asks for a new map now and then, and is given up (KW_ERR_CLOSED)
 * once the map says that another node owns the slot. KW_OK when it is done; KW_ERR_TIMEOUT
 * at the deadline. */
kw_err kw_blocking_wait_reply(kw_blocking_wait *self, kw_conn *conn, const kw_node *node,
                              kw_request *request);

/* The same for a command on the node's lane; KW_OK when it has ended. */
kw_err kw_blocking_wait_lane(kw_blocking_wait *self, kw_node *node, kw_lane_waiter *waiter);

/* Does what a REFRESH or a SLEEP step says; returns the next step. */
kw_step kw_blocking_wait_step(kw_blocking_wait *self, const kw_step *step);

#endif

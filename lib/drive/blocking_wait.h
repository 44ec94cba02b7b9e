/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocking wait: the waits of one command that blocks its caller. */
#ifndef DRIVE_BLOCKING_WAIT_H
#define DRIVE_BLOCKING_WAIT_H

#include "topology/topology.h"
#include "drive/observer.h"
#include "drive/plan.h"
#include "engine/op.h"

typedef struct kw_blocking_wait {
    kw_topology *topology;
    const kw_plan *plan;
    kw_op op;
    uint64_t now_ns;
    kw_error failure;   /* what stood in the way last */
    kw_node *node;      /* the last one sent to: a reference; NULL: none yet */
    bool is_asking;     /* it went there behind ASKING */
    uint64_t sent_ns;   /* when the command went to its node */
    uint64_t placed_ns; /* when it was handed to a connection, where somebody watches; 0: not yet */
    kw_story *story;    /* for whoever watches; NULL: nothing is kept */
    uint64_t changes_n; /* maps published when the node was chosen */
} kw_blocking_wait;

/* encoded_len: of the command. A long one was not encoded in no time: the clock is looked at. */
void kw_blocking_wait_init(kw_blocking_wait *self, kw_topology *topology, const kw_plan *plan,
                           size_t encoded_len);

/* How one kind of call does a SEND step; arg is the caller's. Returns the next step. */
typedef kw_step (*kw_blocking_send_fn)(void *arg, const kw_step *step);

/* The life of one command: heeds what the op says, sends or waits. The step is DONE or FAIL.
 * is_repeatable: as the plan's, or less. */
kw_step kw_blocking_wait_run(kw_blocking_wait *self, kw_blocking_send_fn send, void *arg,
                             bool is_repeatable);

/* The story of the failure that the step is. */
void kw_blocking_wait_explain(const kw_blocking_wait *self, kw_error *error, const kw_step *step);

/* Frees what init and run have left. */
void kw_blocking_wait_fini(kw_blocking_wait *self);

/* The node that a SEND step means, in self->node; false, and *next is the step to be done, where
 * there is none. */
bool kw_blocking_wait_choose(kw_blocking_wait *self, kw_step *next, const kw_step *step);

/* The command goes onto a connection now. */
void kw_blocking_wait_on_send(kw_blocking_wait *self);

/* The request has a reply: DONE where it is the caller's, else it is freed. */
kw_step kw_blocking_wait_on_reply(kw_blocking_wait *self, kw_request *request);

/* The try has ended without a reply. */
kw_step kw_blocking_wait_on_failed(kw_blocking_wait *self, const kw_try_end *end);

/* In blocking_show.c. Tells whoever watches how a try has ended: with a reply, or with code. */
void kw_blocking_wait_show_try(kw_blocking_wait *self, const kw_reply *reply, kw_err code);

/* kw_blocking_wait_on_reply, while somebody watches. */
kw_step kw_blocking_wait_show_reply(kw_blocking_wait *self, kw_request *request);

/* A command has ended: counts it where it has no reply, and tells whoever watches. */
void kw_blocking_wait_show_end(kw_blocking_wait *self, const kw_step *step);

/* A connection to the node, as kw_node_acquire; the times of options are set here. A pool that
 * stays empty is not waited for until the deadline: the slot may have a new owner by then. */
kw_err kw_blocking_wait_acquire(kw_blocking_wait *self, kw_conn **conn, uint64_t *retry_ns,
                                kw_acquire_options *options);

/* Waits for the reply of the request that conn carries to the node, until the plan's deadline.
 * An answer that is late asks for a new map now and then, and is given up (KW_ERR_CLOSED) once
 * the map says that another node owns the slot. KW_OK when it is done; KW_ERR_TIMEOUT at the
 * deadline. */
kw_err kw_blocking_wait_reply(kw_blocking_wait *self, kw_conn *conn, kw_request *request);

/* kw_blocking_wait_reply for a command on the node's lane; KW_OK when it has ended. */
kw_err kw_blocking_wait_lane(kw_blocking_wait *self, kw_lane_waiter *waiter);

#endif

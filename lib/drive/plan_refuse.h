/* SPDX-License-Identifier: BSD-3-Clause */
/* Plan refuse: what is said to who gives a command that changes or binds its connection, and what
 * takes its place here; and to who gives options that no route is made of, or acks that nobody
 * waits for. */
#ifndef DRIVE_PLAN_REFUSE_H
#define DRIVE_PLAN_REFUSE_H

#include "drive/plan.h"

/* KW_ERR_REFUSED, with a text for the command in a shared call, or in a session. */
kw_err kw_plan_refuse(const kw_plan *plan, kw_error *error, bool is_in_session);

/* KW_ERR_ARGUMENT, and what of the call's options is wrong, of those that the route looks at. */
kw_err kw_plan_refuse_route(kw_error *error, kw_route route);

/* Refuses acks where nobody waits for replicas: batches, callbacks, tickets, calls to many nodes. A
 * write that was to be acknowledged never goes without in silence. writer: the command that may
 * write, or NULL. */
kw_err kw_plan_check_acks(const kw_topology *topology, kw_error *error, const kw_plan_task *task,
                          const char *writer);

#endif

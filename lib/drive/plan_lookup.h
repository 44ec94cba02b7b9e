/* SPDX-License-Identifier: BSD-3-Clause */
/* Plan lookup: where a command goes that the table does not know; servers are asked. */
#ifndef DRIVE_PLAN_LOOKUP_H
#define DRIVE_PLAN_LOOKUP_H

#include "drive/plan.h"

/* Routes by what was learnt before, or needs COMMAND INFO. */
kw_err kw_plan_look_up(kw_plan *plan, kw_topology *topology, kw_error *error,
                       const kw_plan_task *task);

/* What task->reply says: to COMMAND INFO, to COMMAND GETKEYS. */
kw_err kw_plan_on_info(kw_plan *plan, kw_topology *topology, kw_error *error,
                       const kw_plan_task *task);
kw_err kw_plan_on_keys(kw_plan *plan, kw_topology *topology, kw_error *error,
                       const kw_plan_task *task);

/* The plan and the bytes of the question that the plan's need stands for, to any node and within
 * the plan's deadline. False when there is no memory. */
bool kw_plan_question(kw_plan *question, kw_buf *encoded, const kw_plan *plan,
                      const kw_plan_task *task);

/* The question got no reply; failure says why. */
kw_err kw_plan_unanswered(kw_error *error, const kw_error *failure);

/* Waits for what the plan needs; a reply goes to task->reply, to be freed. */
kw_err kw_plan_ask(kw_plan *plan, kw_topology *topology, kw_error *error, kw_plan_task *task);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of each way of sending, for those whose arguments are made elsewhere: scripts. task has
 * options, arguments and script. */
#ifndef API_COMMAND_H
#define API_COMMAND_H

#include <keyway/batch.h>
#include <keyway/loop.h>
#include <keyway/session.h>
#include <keyway/submit.h>

#include "drive/plan.h"

kw_reply *kw_command_run(kw_client *client, kw_error *error, kw_plan_task *task);
kw_err kw_batch_add_task(kw_batch *batch, kw_error *error, kw_plan_task *task);
kw_ticket *kw_submit_task(kw_client *client, kw_error *error, kw_plan_task *task);
kw_err kw_call_async_task(kw_client *client, kw_error *error, kw_callback callback,
                          kw_plan_task *task);
kw_reply *kw_session_run_task(kw_session *session, kw_error *error, const kw_plan_task *task);

/* A command of the session was not sent, for a reason of its own. */
void kw_session_leave_out(kw_session *session);

/* The batch's handle. */
const kw_client *kw_batch_client(const kw_batch *batch);

/* Memory of the handle, for arguments. NULL for a batch, or a session, that is NULL. */
const kw_allocator *kw_batch_memory(const kw_batch *batch);
const kw_allocator *kw_session_memory(const kw_session *session);

/* True where a script's name would come too late to be repeated: in a MULTI, or behind WATCH. */
bool kw_session_is_held(const kw_session *session);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands with callbacks for what is made of many: the handle was entered. */
#ifndef API_LOOP_CALLS_H
#define API_LOOP_CALLS_H

#include <keyway/loop.h>

#include "api/client.h"
#include "drive/loop.h"
#include "drive/plan.h"

/* The handle's event loop, made at first use; NULL, with error set, where it cannot be. The handle
 * was entered. Any thread. */
kw_loop *kw_client_need_loop(kw_client *client, kw_error *error);

/* kw_call_async, as a task. */
kw_err kw_client_begin(kw_client *client, kw_error *error, kw_callback callback,
                       kw_plan_task *task);

/* Calls the callback in a kw_process at until_ns, or the next one behind it, with KW_ERR_TIMEOUT
 * and no reply. Errors: those of kw_call_async. */
kw_err kw_client_pause(kw_client *client, kw_error *error, kw_callback callback, uint64_t until_ns);

#endif

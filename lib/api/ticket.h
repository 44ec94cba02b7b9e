/* SPDX-License-Identifier: BSD-3-Clause */
/* Tickets for what is made of many commands: begun without a wait, and waited for together. */
#ifndef API_TICKET_H
#define API_TICKET_H

#include <keyway/submit.h>

#include "api/client.h"
#include "drive/plan.h"

/* kw_submit_call without any wait. The handle was entered. */
kw_ticket *kw_ticket_begin(kw_client *client, kw_error *error, const kw_plan_task *task);

/* Waits until one of the tickets has ended, or until until_ns: KW_OK, KW_ERR_TIMEOUT,
 * KW_ERR_CANCELLED where the handle is being closed, KW_ERR_NOMEM. The handle was entered. */
kw_err kw_ticket_wait_any(kw_client *client, kw_error *error, kw_ticket *const *any, size_t any_n,
                          uint64_t until_ns);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Transaction: what the answers to a whole transaction mean, MULTI, its commands and EXEC in one
 * send. One reply is made of them, and one verdict: until EXEC was taken nothing has run. */
#ifndef ENGINE_TRANSACTION_H
#define ENGINE_TRANSACTION_H

#include "base/reply.h"

/* EXEC's reply, or an error that says more: why a command was not queued, as "EXECABORT Transaction
 * discarded because of: " and the server's words; or that MULTI itself was refused. refusal: the
 * first error before it, or NULL; both are taken over. Without memory it is EXEC's own. */
kw_reply *kw_transaction_reply(kw_reply *refusal, kw_reply *last);

/* Where an error of EXEC names its cause, which the server has found before anything ran: true, and
 * *text is that cause. */
bool kw_transaction_cause(kw_bytes *text);

#endif

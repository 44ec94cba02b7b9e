/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: a transaction given whole.
 *
 * A kw_transaction is a list of commands that run together or not at all: MULTI, the commands and
 * EXEC leave in one send, whoever waits for them:
 *
 *   kw_transaction *transfer = kw_transaction_new(client, &error);
 *   kw_transaction_add(transfer, &error, "DECRBY {bank}:a %d", 5);
 *   kw_transaction_add(transfer, &error, "INCRBY {bank}:b %d", 5);
 *   kw_reply *reply = kw_transaction_run(transfer, &error, NULL);
 *
 * It takes one round trip, on connections that other commands use as well, and is sent by waiting
 * calls, tickets, callbacks and batches alike. All its keys have one owner: on a cluster one slot,
 * on a ring one node. Where a command depends on what another one reads, that is one for WATCH in a
 * session (<keyway/session.h>), or for a script.
 *
 * The reply is EXEC's: an array with one reply for each command, in their order; one that failed
 * when it ran has its error there, and the others have run. A command that the server does not even
 * queue makes the reply an error, "EXECABORT Transaction discarded because of: " and the server's
 * words, and nothing has run.
 *
 * Redirects, pauses, retries, the deadline and effects are those of one command. What the server
 * says before EXEC, MOVED and ASK too, means that nothing has run: the whole is tried again until
 * its deadline. Where it was sent and no answer came it may have run, whole (effect maybe), and is
 * not sent again, unless all its commands are reads or the options say idempotent. */
#ifndef KEYWAY_TRANSACTION_H
#define KEYWAY_TRANSACTION_H

#include <stdarg.h>
#include <stddef.h>

#include <keyway/batch.h>
#include <keyway/client.h>
#include <keyway/command.h>
#include <keyway/error.h>
#include <keyway/export.h>
#include <keyway/loop.h>
#include <keyway/reply.h>
#include <keyway/submit.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Commands that run together. One thread per transaction; what was sent does not need it any more:
 * it may be sent again, changed, or freed meanwhile. */
typedef struct kw_transaction kw_transaction;

/* Makes an empty transaction for the handle. The caller frees it with kw_transaction_free. After
 * kw_close of the handle it can only be freed.
 *
 * NULL where it fails. Errors: KW_ERR_ARGUMENT (client is NULL), KW_ERR_NOMEM. Any thread. */
KW_API kw_transaction *kw_transaction_new(kw_client *client, kw_error *error);

/* Adds one command, formatted as by kw_command. Its bytes are copied. Without a command
 * that could not be added the others are not to run: after a failure the transaction is sent in no
 * way (KW_ERR_ORDER) before kw_transaction_clear.
 *
 * Errors: KW_ERR_ARGUMENT (a wrong format), KW_ERR_CROSSSLOT (its keys have another owner than
 * those that were added before), KW_ERR_KEYS (its keys cannot be found), KW_ERR_REFUSED (it goes to
 * many nodes, binds its connection, or is MULTI or EXEC itself), KW_ERR_FORKED, KW_ERR_DRAINING,
 * KW_ERR_NOMEM. A command that keyway does not know is looked up at a server, and the errors of
 * kw_command are possible then. One thread per object. */
KW_API kw_err kw_transaction_add(kw_transaction *transaction, kw_error *error, const char *format,
                                 ...);

/* Adds one command as kw_transaction_add does; what the format asks for comes as a va_list, which
 * is used up. Errors: those of kw_transaction_add. One thread per object. */
KW_API kw_err kw_transaction_vadd(kw_transaction *transaction, kw_error *error, const char *format,
                                  va_list values);

/* Adds one command as kw_transaction_add does, given as its arguments. Errors: those of
 * kw_transaction_add. One thread per object. */
KW_API kw_err kw_transaction_add_argv(kw_transaction *transaction, kw_error *error,
                                      kw_argv command);

/* Number of commands that were added since the transaction was made or cleared; 0 for NULL. One
 * thread per object. */
KW_API size_t kw_transaction_count(const kw_transaction *transaction);

/* Sends the transaction and waits for its reply, which the caller frees with kw_reply_free. Of the
 * options, which may be NULL, it takes timeout_ms, idempotent and fail_fast.
 *
 * NULL where there is no reply; error says why, and whether the transaction may have run. Errors:
 * those of kw_command; KW_ERR_ARGUMENT (NULL, no commands, wrong options, or a route in them),
 * KW_ERR_ORDER (a command could not be added),
 * KW_ERR_UNSUPPORTED (acks, acks_local or token_out; writes on a handle with the option acks). One
 * thread per object. */
KW_API kw_reply *kw_transaction_run(kw_transaction *transaction, kw_error *error,
                                    const kw_call_options *options);

/* Sends the transaction, whose reply goes to a callback, as kw_call_async does a command, with the
 * options of kw_transaction_run. Errors: those of kw_call_async and kw_transaction_run. One thread
 * per object. */
KW_API kw_err kw_transaction_async(kw_transaction *transaction, kw_error *error,
                                   kw_callback callback, const kw_call_options *options);

/* Sends the transaction, whose reply is waited for later, as kw_submit_call does a command, with
 * the options of kw_transaction_run. NULL where it fails. Errors: those of kw_submit_call and
 * kw_transaction_run. One thread per object. */
KW_API kw_ticket *kw_transaction_submit(kw_transaction *transaction, kw_error *error,
                                        const kw_call_options *options);

/* Adds the transaction to a batch, as one command with one reply. Its bytes are copied. Errors:
 * those of kw_batch_add and kw_transaction_run, KW_ERR_ARGUMENT for one of another handle. One
 * thread per object. */
KW_API kw_err kw_batch_add_transaction(kw_batch *batch, kw_error *error,
                                       const kw_transaction *transaction);

/* Forgets all commands. The memory is kept for the next ones. NULL is allowed. One thread per
 * object. */
KW_API void kw_transaction_clear(kw_transaction *transaction);

/* Frees the transaction. What was sent goes on. NULL is allowed. One thread per object. */
KW_API void kw_transaction_free(kw_transaction *transaction);

#ifdef __cplusplus
}
#endif

#endif

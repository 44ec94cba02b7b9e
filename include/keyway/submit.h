/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: send a command now, wait for its reply later.
 *
 * A kw_ticket is a command on its way; the thread that submits it, or any other, waits for it when
 * it needs the reply:
 *
 *   kw_ticket *ticket = kw_submit(client, &error, "GET user:{%d}:profile", 123);
 *   kw_reply *reply = kw_ticket_await(ticket, &error);
 *   kw_ticket_free(ticket);
 *
 * Redirects, pauses, safe retries, the deadline, which runs from the submit on, and effects are
 * those of kw_command. They happen while somebody waits for any ticket of the handle, or calls the
 * handle otherwise: the library has no thread. Commands that one thread submits, and that share a
 * key, run in the order of submitting, also across a redirect; but for blocking commands (BLPOP
 * and its like), each of which has a connection of its own. Tickets travel on connections of their
 * own: between them and calls that wait there is no order. */
#ifndef KEYWAY_SUBMIT_H
#define KEYWAY_SUBMIT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <keyway/argv.h>
#include <keyway/client.h>
#include <keyway/command.h>
#include <keyway/error.h>
#include <keyway/export.h>
#include <keyway/reply.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A command on its way. Any thread may wait for it, until kw_ticket_free. */
typedef struct kw_ticket kw_ticket;

/* Sends a command, formatted as by kw_command, and waits for no more than its connection to be
 * opened. The caller frees the ticket with kw_ticket_free; at once, where nobody wants to know how
 * the command ends.
 *
 * NULL where the command cannot be sent at all; kw_ticket_await tells of what happens later.
 * Errors: KW_ERR_ARGUMENT, KW_ERR_KEYS, KW_ERR_CROSSSLOT, KW_ERR_REFUSED, KW_ERR_UNSUPPORTED (a
 * write on a handle with the option acks), KW_ERR_FORKED, KW_ERR_NOMEM. Any thread. */
KW_API kw_ticket *kw_submit(kw_client *client, kw_error *error, const char *format, ...);

/* Sends a command as kw_submit does; what the format asks for comes as a va_list, which is used
 * up. Errors: those of kw_submit. Any thread. */
KW_API kw_ticket *kw_vsubmit(kw_client *client, kw_error *error, const char *format,
                             va_list values);

/* Sends a command as kw_submit does, given as its arguments, with options as for kw_call; NULL
 * options are the defaults. Errors: those of kw_submit; KW_ERR_ARGUMENT also for wrong options,
 * KW_ERR_UNSUPPORTED for options that only kw_call obeys (acks, acks_local, token_out). Any
 * thread. */
KW_API kw_ticket *kw_submit_call(kw_client *client, kw_error *error, const kw_call_options *options,
                                 kw_argv command);

/* Waits until the command has ended, and hands over its reply, which the caller frees with
 * kw_reply_free. Of several threads that wait for tickets of one handle, one reads for all.
 *
 * NULL where there is no reply; error says why, and whether the command may have run. Errors:
 * those of kw_command, and KW_ERR_ARGUMENT (ticket is NULL, or its reply was handed over before).
 * Any thread, several at once. */
KW_API kw_reply *kw_ticket_await(kw_ticket *ticket, kw_error *error);

/* Waits at most timeout_ms milliseconds for the command to end; 0 only looks. True where it has
 * ended, so that kw_ticket_await does not wait; false for NULL. Any thread, several at once. */
KW_API bool kw_ticket_wait(kw_ticket *ticket, uint64_t timeout_ms);

/* Gives up the ticket's command, unless it has ended: kw_ticket_await then says KW_ERR_CANCELLED,
 * with the effect none where the command was not sent, else maybe. An answer that is there first
 * stays the ticket's. The ticket is still to be freed.
 *
 * KW_OK also where it has ended. Errors: KW_ERR_ARGUMENT (ticket is NULL), KW_ERR_FORKED,
 * KW_ERR_NOMEM. Any thread, until kw_ticket_free. */
KW_API kw_err kw_ticket_cancel(kw_ticket *ticket, kw_error *error);

/* Frees a ticket that nobody waits for, and its reply where that was not handed over. A command
 * that has not ended goes on by itself: it has been sent, and a redirect or a safe retry happens
 * when the handle is called next. Also allowed after kw_close, by which every ticket has ended
 * (KW_ERR_CANCELLED), and in a forked child. NULL is allowed. One thread, once. */
KW_API void kw_ticket_free(kw_ticket *ticket);

#ifdef __cplusplus
}
#endif

#endif

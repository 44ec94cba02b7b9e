/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: send a command now, wait for its reply later. */
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

/* A command on its way. Redirects, pauses, safe retries, its deadline (from the submit on)
 * and effects are those of kw_command; they happen while somebody waits for any ticket of
 * the handle, or calls it otherwise. Commands that one thread submits, and that share a key,
 * run in their order, also across a redirect; but for blocking commands (BLPOP), each of which
 * has a connection of its own. Tickets travel on connections of their own: between them and
 * the calls that wait there is no order. */
typedef struct kw_ticket kw_ticket;

/* Sends a command, formatted as kw_command does, and waits for no more than its connection to
 * be opened. NULL, with error set, for what cannot be sent at all; whatever happens later is
 * told by kw_ticket_await. Freed with kw_ticket_free, which may follow at once: fire and forget.
 * Any thread. */
KW_API kw_ticket *kw_submit(kw_client *client, kw_error *error, const char *format, ...);

/* The same with a va_list. */
KW_API kw_ticket *kw_vsubmit(kw_client *client, kw_error *error, const char *format,
                             va_list values);

/* The same with ready arguments and options, as kw_call: NULL options are the defaults. */
KW_API kw_ticket *kw_submit_call(kw_client *client, kw_error *error, const kw_call_options *options,
                                 kw_argv command);

/* Waits until the command has ended, and gives its reply, the caller's to free with
 * kw_reply_free; NULL, with error set, where there is none, as kw_command. The reply is given
 * once; KW_ERR_ARGUMENT from then on. Any thread, several at once; one of them reads for all. */
KW_API kw_reply *kw_ticket_await(kw_ticket *ticket, kw_error *error);

/* True where the command has ended, so that kw_ticket_await does not wait; waits for that at most
 * timeout_ms (0: looks only). Any thread. */
KW_API bool kw_ticket_wait(kw_ticket *ticket, uint64_t timeout_ms);

/* Frees a ticket that nobody waits for, and a reply that was not taken. A command that has not
 * ended goes on by itself: it has been sent, and a redirect or a safe retry happens when the
 * handle is called next. NULL is allowed; also after kw_close, by which every ticket has ended
 * (KW_ERR_CANCELLED), and in a forked child. */
KW_API void kw_ticket_free(kw_ticket *ticket);

#ifdef __cplusplus
}
#endif

#endif

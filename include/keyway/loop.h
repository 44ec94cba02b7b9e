/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: commands with callbacks, for programs with an event loop of their own. */
#ifndef KEYWAY_LOOP_H
#define KEYWAY_LOOP_H

#include <stdarg.h>
#include <stddef.h>

#include <keyway/argv.h>
#include <keyway/client.h>
#include <keyway/command.h>
#include <keyway/error.h>
#include <keyway/export.h>
#include <keyway/reply.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The host's loop watches kw_fd for reading, and calls kw_process when it is readable or
 * when kw_timeout is over. <keyway/adapters/...> does that for libevent, libuv, libev and
 * glib. By hand, with poll:
 *
 *   struct pollfd entry = {kw_fd(kw, &err), POLLIN, 0};
 *   while (...) {
 *       poll(&entry, 1, kw_timeout(kw));
 *       kw_process(kw, &err);
 *   }
 *
 * Redirects, pauses, safe retries, deadlines and effects are those of kw_command. Commands
 * that one thread gives, and that share a key, run in their order, also across a redirect;
 * but for blocking commands (BLPOP), each of which has a connection of its own. Between
 * these commands and the waiting calls of other threads there is no order: they travel on
 * different connections. */

/* Called once for each accepted command: with its reply, the callback's to free with
 * kw_reply_free, and error NULL; or with reply NULL and error, which lives until the
 * callback returns. Only kw_process and kw_close call it, with no lock held, and it may call
 * everything: kw_command_async (sent in the same turn), calls that wait (the loop waits with
 * them), kw_close (which then happens when the callback has returned). kw_process is refused
 * there. In a forked child it is not called for commands of the parent. */
typedef void (*kw_reply_fn)(void *arg, kw_reply *reply, const kw_error *error);

/* Where a reply goes: fn is called with arg. A small value, given as it is:
 * (kw_callback){on_reply, request}. */
typedef struct kw_callback {
    kw_reply_fn fn; /* never NULL */
    void *arg;      /* the caller's own; keyway only hands it on */
} kw_callback;

/* Accepts a command, formatted as kw_command does, whose reply goes to the callback; sent by
 * the next kw_process, which kw_fd asks for. Its bytes are copied. Any failure code: it is
 * never called. KW_OK: it will be, at the latest at the handle's timeout or, with
 * KW_ERR_CANCELLED, in kw_close. Never waits. Any thread. */
KW_API kw_err kw_command_async(kw_client *client, kw_error *error, kw_callback callback,
                               const char *format, ...);

/* The same with a va_list. */
KW_API kw_err kw_vcommand_async(kw_client *client, kw_error *error, kw_callback callback,
                                const char *format, va_list values);

/* The same with ready arguments and options, as kw_call: NULL options are the defaults. */
KW_API kw_err kw_call_async(kw_client *client, kw_error *error, kw_callback callback,
                            const kw_call_options *options, kw_argv command);

/* One descriptor for the whole handle, readable when kw_process has something to do. The
 * handle's: watch it, and do nothing else with it; stop watching it before kw_close. The same
 * until then, but for a forked child, where it is closed (and another one with
 * after-fork=reopen). Made at first use; -1, with error set, where that fails. Any thread. */
KW_API int kw_fd(kw_client *client, kw_error *error);

/* Milliseconds after which kw_process wants to be called although the descriptor is quiet;
 * -1: never. Ask again after each kw_process; nothing else makes it shorter without making
 * the descriptor readable. Where the system has neither epoll nor kqueue it is short while
 * commands are under way. Any thread. */
KW_API int kw_timeout(kw_client *client);

/* Sends, receives and follows what it can without waiting, and calls the callbacks. KW_OK,
 * also when there was nothing to do and when another thread is at it. KW_ERR_REFUSED from
 * inside a callback. KW_ERR_CANCELLED where a callback called kw_close: the handle is freed,
 * and not to be touched again. KW_ERR_FORKED in a child process. Any thread, one at a time
 * does the work. Two things may make it wait: a host name that has to be looked up
 * (resolver=thread bounds that), and the callbacks. */
KW_API kw_err kw_process(kw_client *client, kw_error *error);

#ifdef __cplusplus
}
#endif

#endif

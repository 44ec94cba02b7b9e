/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: commands with callbacks, for programs with an event loop of their own.
 *
 * A command is given with a callback and never waits; the host's loop watches one descriptor for
 * the whole handle. By hand, with poll:
 *
 *   kw_command_async(client, &error, (kw_callback){on_reply, request}, "GET user:%d", id);
 *   struct pollfd entry = {kw_fd(client, &error), POLLIN, 0};
 *   while (poll(&entry, 1, kw_timeout(client)) >= 0 && kw_process(client, &error) == KW_OK) {}
 *
 * <keyway/adapters/libevent.h>, libuv.h, libev.h and glib.h do that in those loops.
 *
 * Redirects, pauses, safe retries, deadlines and effects are those of kw_command. Commands that
 * one thread gives, and that share a key, run in the order in which they were given, also across a
 * redirect; but for blocking commands (BLPOP and its like), each of which has a connection of its
 * own. Between commands with callbacks and the waiting calls of other threads there is no order:
 * they travel on different connections. */
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

/* Takes the end of one command. Either reply is the command's reply, which the callback frees with
 * kw_reply_free, and error is NULL; or reply is NULL, and error, which lives until the callback
 * returns, says why there is none and whether the command may have run.
 *
 * Called exactly once for each accepted command, by kw_process and kw_close alone, with no lock
 * held. It may call everything but kw_process: it may give further commands, which are sent in the
 * same turn, make calls that wait, for which the loop waits as well, and call kw_close, which
 * takes effect when the callback has returned. It returns: no exception leaves it. In a forked
 * child it is not called for commands of the parent. */
typedef void (*kw_reply_fn)(void *arg, kw_reply *reply, const kw_error *error);

/* Where a reply goes: fn is called with arg. A small value, passed by value:
 * (kw_callback){on_reply, request}; in C++ {on_reply, request}. */
typedef struct kw_callback {
    kw_reply_fn fn; /* never NULL */
    void *arg;      /* the caller's own; keyway only hands it on */
} kw_callback;

/* Accepts a command, formatted as by kw_command, whose end goes to the callback. It is sent by the
 * next kw_process, which the descriptor of kw_fd asks for. Its bytes are copied. Never waits.
 *
 * KW_OK: the callback will be called, at the latest at the command's deadline (keyway/command.h)
 * or, with KW_ERR_CANCELLED, in kw_close. Any other code: it never will be. The errors of
 * kw_command that come before anything is sent are returned, or told to the callback where they
 * show later.
 *
 * Errors: KW_ERR_ARGUMENT, KW_ERR_KEYS, KW_ERR_CROSSSLOT, KW_ERR_REFUSED, KW_ERR_UNSUPPORTED (a
 * write on a handle with the option acks), KW_ERR_CANCELLED, KW_ERR_FORKED, KW_ERR_NOMEM. Any
 * thread. */
KW_API kw_err kw_command_async(kw_client *client, kw_error *error, kw_callback callback,
                               const char *format, ...);

/* Accepts a command as kw_command_async does; what the format asks for comes as a va_list, which
 * is used up. Errors: those of kw_command_async. Any thread. */
KW_API kw_err kw_vcommand_async(kw_client *client, kw_error *error, kw_callback callback,
                                const char *format, va_list values);

/* Accepts a command as kw_command_async does, given as its arguments, with options as for kw_call;
 * NULL options are the defaults. Errors: those of kw_command_async; KW_ERR_ARGUMENT also for wrong
 * options, KW_ERR_UNSUPPORTED for options that only kw_call obeys (acks, acks_local, token_out).
 * Any thread. */
KW_API kw_err kw_call_async(kw_client *client, kw_error *error, kw_callback callback,
                            const kw_call_options *options, kw_argv command);

/* Gives up the commands that were given with this callback (the same fn, the same arg) and have not
 * ended. Each of them is told KW_ERR_CANCELLED by its callback, in a later kw_process: with the
 * effect none where it was not sent, else maybe, and its place on the connection stays for the late
 * answer. One whose answer is there first is told of that, as ever. Commands that are given with
 * the callback after this call are not meant. Never waits, and calls no callback.
 *
 * KW_OK also where no such command is under way. Errors: KW_ERR_ARGUMENT (client or callback.fn is
 * NULL), KW_ERR_FORKED, KW_ERR_NOMEM. Any thread, also in a callback. */
KW_API kw_err kw_cancel(kw_client *client, kw_error *error, kw_callback callback);

/* The descriptor to watch for the whole handle: it is readable when kw_process has something to
 * do. It is the handle's: do nothing else with it, and stop watching it before kw_close. It is made
 * at first use and stays the same; only in a forked child it is closed, and with after-fork=reopen
 * there is another one.
 *
 * -1 where it cannot be made. Errors: KW_ERR_ARGUMENT (client is NULL), KW_ERR_FORKED,
 * KW_ERR_NOMEM (also where the system has no descriptor left). Any thread. */
KW_API int kw_fd(kw_client *client, kw_error *error);

/* Milliseconds after which kw_process is to be called although the descriptor is quiet; -1 for
 * never. Ask again after each kw_process; nothing else makes the time shorter without making the
 * descriptor readable. Where the system has neither epoll nor kqueue it is short while commands
 * are under way. Any thread. */
KW_API int kw_timeout(kw_client *client);

/* Sends, receives and follows redirects as far as that goes without waiting, and calls the
 * callbacks that are due. Any thread may call it; one at a time does the work, for others it
 * returns at once. Two things can make it wait: a host name that has to be looked up, unless
 * resolver=thread, and what the callbacks do.
 *
 * KW_OK, also where there was nothing to do. Errors: KW_ERR_REFUSED (called in a callback),
 * KW_ERR_CANCELLED (a callback called kw_close: the handle is freed, and not to be touched again),
 * KW_ERR_FORKED (in a child process), KW_ERR_ARGUMENT (client is NULL), KW_ERR_NOMEM. Any
 * thread. */
KW_API kw_err kw_process(kw_client *client, kw_error *error);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: a connection of one's own in an event loop, for WATCH, MULTI and EXEC.
 *
 * A kw_async_session is a kw_session whose commands come with callbacks, as those of
 * kw_command_async do, and which lives from one callback to the next: what one of them has read
 * decides what the next command is.
 *
 *   kw_async_session *session = kw_async_session_open(client, &error, "{user:123}", 10);
 *   kw_async_session_command(session, &error, ignore, "WATCH {user:123}:n");
 *   kw_async_session_command(session, &error, on_value, "GET {user:123}:n");
 *   ... in on_value: MULTI, SET, EXEC, and kw_async_session_close
 *
 * Its commands run one at a time, in the order in which they were given, on one connection to the
 * owner of the key. While nothing is watched, queued or set on that connection, the session is
 * clean: redirects, pauses and safe retries happen inside, and it moves with its slot. While
 * something is, it cannot move: each error of the server, MOVED and ASK too, is the caller's to
 * read, and a connection that is lost takes along what was built on it. What a lost command has
 * done is told as by a kw_session: one lost inside MULTI has certainly not run (effect none), an
 * EXEC may have.
 *
 * Many commands may be given at once: MULTI, some that it queues, and EXEC. Where one of them ends
 * without a reply, or a server refuses a MULTI or a WATCH, those that were given behind it before
 * its callback is called are not sent, and end with KW_ERR_ORDER: half a transaction is none. What
 * is given later is sent again: its caller knows. Behind a MULTI that failed that begins with the
 * EXEC, or with the next WATCH, MULTI, UNWATCH or DISCARD: whoever gives its commands meanwhile may
 * not know yet. */
#ifndef KEYWAY_ASYNC_SESSION_H
#define KEYWAY_ASYNC_SESSION_H

#include <stdarg.h>
#include <stddef.h>

#include <keyway/argv.h>
#include <keyway/client.h>
#include <keyway/command.h>
#include <keyway/error.h>
#include <keyway/export.h>
#include <keyway/loop.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A pinned connection for commands with callbacks. One thread per session at a time gives commands;
 * many sessions may be open on one handle, each of which takes one of its node's pool-max
 * connections from its first command on. */
typedef struct kw_async_session kw_async_session;

/* Opens a session at the owner of the key's slot, or of the key on a ring (of a single server:
 * whatever the key). key may hold any bytes, key_len of them (NULL only with 0), with a hash tag or
 * without. Never waits, and asks no server: the connection is made for the first command. The
 * caller ends the session with kw_async_session_close.
 *
 * NULL where there is none. Errors: KW_ERR_ARGUMENT (NULL), KW_ERR_REFUSED (a ring with copies),
 * KW_ERR_CANCELLED (the handle is being closed), KW_ERR_DRAINING, KW_ERR_FORKED, KW_ERR_NOMEM. Any
 * thread. */
KW_API kw_async_session *kw_async_session_open(kw_client *client, kw_error *error, const char *key,
                                               size_t key_len);

/* Accepts a command, formatted as by kw_command, behind all that were given to the session before.
 * Its end goes to the callback, as that of kw_command_async does, once and in a kw_process;
 * kw_cancel with the callback gives it up. Its bytes are copied. Never waits. The deadline is the
 * handle's timeout from now on, and as much longer as a blocking command may block: the time behind
 * earlier commands of the session is part of it.
 *
 * KW_OK: the callback will be called. Any other code: it never will be. EXEC behind a command of
 * its MULTI that ended so is refused, too (KW_ERR_ORDER), until DISCARD is given.
 *
 * Errors: those of kw_command_async; KW_ERR_CROSSSLOT for keys outside of the session's slot (on a
 * single server all keys are inside; keys of a command that the library does not know are not
 * looked at); KW_ERR_REFUSED for commands that change who gets which reply (the SUBSCRIBE family,
 * MONITOR, CLIENT REPLY, HELLO, AUTH, RESET, QUIT and the like). To the callback: those of
 * kw_session_command; KW_ERR_CLOSED, with the effect none, for a session that is broken, as it lost
 * its connection while it waited for an answer, or while it was not clean: close it and open
 * another; KW_ERR_ORDER where it was given behind a command that failed. SELECT binds the session
 * to its connection. One thread per object. */
KW_API kw_err kw_async_session_command(kw_async_session *session, kw_error *error,
                                       kw_callback callback, const char *format, ...);

/* Accepts a command as kw_async_session_command does; what the format asks for comes as a va_list,
 * which is used up. Errors: those of kw_async_session_command. One thread per object. */
KW_API kw_err kw_async_session_vcommand(kw_async_session *session, kw_error *error,
                                        kw_callback callback, const char *format, va_list values);

/* Accepts a command as kw_async_session_command does, given as its arguments. Errors: those of
 * kw_async_session_command. One thread per object. */
KW_API kw_err kw_async_session_command_argv(kw_async_session *session, kw_error *error,
                                            kw_callback callback, kw_argv command);

/* Accepts a command as kw_async_session_command_argv does, with options of its own, of which
 * timeout_ms, idempotent and fail_fast are for a session. NULL options are the defaults. Errors:
 * those of kw_async_session_command, and KW_ERR_ARGUMENT for other options. One thread per object.
 */
KW_API kw_err kw_async_session_call(kw_async_session *session, kw_error *error,
                                    kw_callback callback, const kw_call_options *options,
                                    kw_argv command);

/* Ends the session, which the caller does not touch any more: commands that were given before are
 * carried out and told first. Then a clean one's connection goes back to the pool; any other is
 * closed, with which the server drops what was watched or queued. Never waits, also in a callback;
 * after kw_close of the handle it frees what is left, and is not called while another thread is in
 * kw_close. In a forked child it sends nothing. NULL is allowed. One thread per object. */
KW_API void kw_async_session_close(kw_async_session *session);

#ifdef __cplusplus
}
#endif

#endif

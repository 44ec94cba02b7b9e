/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: a connection of one's own, for transactions and what else binds a connection.
 *
 * A kw_session is a connection that one thread has to itself, to the owner of one slot: for WATCH,
 * MULTI and EXEC, for WAIT behind one's own writes, for commands that leave a setting on their
 * connection:
 *
 *   kw_session *session = kw_session_open(client, &error, "{user:123}", 10);
 *   kw_reply *reply = kw_session_command(session, &error, "MULTI");
 *   kw_session_close(session);
 *
 * A session is clean while nothing is watched, no MULTI is open, and no command has left a setting
 * on the connection. A clean session behaves as kw_command does: redirects, pauses and safe
 * retries happen inside, and it moves with its slot. One that is not clean cannot move: each error
 * of the server, MOVED and ASK too, is the caller's to read. (The server gives the transaction up
 * then: EXEC answers EXECABORT or the redirect, nothing has run, and the session is clean and moves
 * with its next command.) While a slot is on its way to another node, a key that has gone ahead
 * cannot be watched: WATCH answers ASK. Read that reply: what follows a WATCH that failed is not
 * guarded by it. What follows a MULTI that failed, in whatever way, is not sent (KW_ERR_ORDER), up
 * to its EXEC: no command runs by itself that was to be queued. WATCH, MULTI, UNWATCH and DISCARD
 * begin again.
 *
 * A session that loses its connection while it waits for an answer, or while it is not clean, is
 * broken: the call says what is known of its command, every later one says KW_ERR_CLOSED and sends
 * nothing; close the session and open another. */
#ifndef KEYWAY_SESSION_H
#define KEYWAY_SESSION_H

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

/* A pinned connection. One thread per session at a time; many sessions of many threads may be open
 * on one handle, each of which takes one of its node's pool-max connections. */
typedef struct kw_session kw_session;

/* Pins a connection to the owner of the key's slot, or of the key on a ring (of a single server:
 * any connection, whatever the key), and waits for it until the handle's timeout. key may hold any
 * bytes, key_len of them (NULL only with 0), with a hash tag or without. The caller ends the
 * session with kw_session_close, before kw_close of the handle.
 *
 * NULL where there is no connection by then. Errors: those of kw_connect, KW_ERR_ARGUMENT (NULL),
 * KW_ERR_NOT_SERVED (nobody owns the slot), KW_ERR_REFUSED (a ring with copies). Any thread. */
KW_API kw_session *kw_session_open(kw_client *client, kw_error *error, const char *key,
                                   size_t key_len);

/* Sends one command, formatted as by kw_command, on the session's connection and waits for its
 * reply, which the caller frees with kw_reply_free. Its deadline is the handle's timeout, and as
 * much longer as a blocking command may block. Commands without keys concern the one node.
 *
 * NULL where there is no reply; error says why, and whether the command may have run. One that was
 * lost inside MULTI has certainly not run (effect none); an EXEC may have. Behind a command that
 * was refused inside MULTI, before it was sent, EXEC runs nothing: DISCARD goes in its place, and
 * KW_ERR_ORDER says so.
 *
 * Errors: those of kw_command, and KW_ERR_CROSSSLOT for keys outside of the session's slot, before
 * anything is sent (on a single server all keys are inside); KW_ERR_REFUSED for commands that
 * change who gets which reply (the SUBSCRIBE family, MONITOR, CLIENT REPLY, HELLO, AUTH, RESET,
 * QUIT and the like), and for WAIT where the session has moved since its last write;
 * KW_ERR_CLOSED for a session that is broken; KW_ERR_CANCELLED where kw_close was called
 * meanwhile: this session may be closed after that. One thread per object. */
KW_API kw_reply *kw_session_command(kw_session *session, kw_error *error, const char *format, ...);

/* Sends one command as kw_session_command does; what the format asks for comes as a va_list, which
 * is used up. Errors: those of kw_session_command. One thread per object. */
KW_API kw_reply *kw_session_vcommand(kw_session *session, kw_error *error, const char *format,
                                     va_list values);

/* Sends one command as kw_session_command does, given as argc ready arguments: argv[i] has
 * argvlen[i] bytes, or ends with a zero byte where argvlen is NULL. Errors: those of
 * kw_session_command. One thread per object. */
KW_API kw_reply *kw_session_command_argv(kw_session *session, kw_error *error, int argc,
                                         const char **argv, const size_t *argvlen);

/* Sends one command as kw_session_command_argv does, with options of its own, of which timeout_ms,
 * idempotent and fail_fast are for a session. timeout_ms is the deadline of a blocking command,
 * too: one that is not answered by then takes the session along, as it always does. NULL options
 * are the defaults. Errors: those of kw_session_command, and KW_ERR_ARGUMENT for other options. One
 * thread per object. */
KW_API kw_reply *kw_session_call(kw_session *session, kw_error *error,
                                 const kw_call_options *options, kw_argv command);

/* Ends the session. A clean one's connection goes back to the pool; any other is closed, with which
 * the server drops what was watched or queued. In a forked child it frees the child's copy and
 * sends nothing. NULL is allowed. One thread per object. */
KW_API void kw_session_close(kw_session *session);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: Lua scripts and functions, which run on the servers.
 *
 * A kw_script is a text that is given once. Runs leave by its SHA1, computed here, and the text
 * follows to a server that says that it lacks it: nothing has run then, so that a script is never
 * run twice to learn that it was missing:
 *
 *   kw_script *take = kw_script_new(NULL, &error, KW_SCRIPT_WRITES, text, strlen(text));
 *   kw_reply *reply = kw_script_run(client, &error, take, 1, "stock:%s %d", item, 3);
 *   kw_reply_free(reply);
 *   kw_script_free(take);
 *
 * A kw_library is the same for functions (FUNCTION LOAD, FCALL).
 *
 * A script may go by every way that a command can travel: a call, a batch, a ticket, a callback, a
 * session. All else is as of any command: keys, routes, deadlines, effects, order. An error that
 * the script itself makes must not begin with a word by which servers say that they have run
 * nothing, as the script would be run again: MOVED, ASK, REDIRECT, TRYAGAIN, CLUSTERDOWN, LOADING,
 * MASTERDOWN, or "NOSCRIPT No matching script". */
#ifndef KEYWAY_SCRIPT_H
#define KEYWAY_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#include <keyway/argv.h>
#include <keyway/batch.h>
#include <keyway/command.h>
#include <keyway/error.h>
#include <keyway/export.h>
#include <keyway/loop.h>
#include <keyway/memory.h>
#include <keyway/reply.h>
#include <keyway/session.h>
#include <keyway/submit.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A script. It does not change: any thread may run it, on any handle, until kw_script_free. */
typedef struct kw_script kw_script;

/* What a script does. */
typedef enum kw_script_kind {
    KW_SCRIPT_WRITES = 0,   /* EVALSHA and EVAL: it goes to primaries */
    KW_SCRIPT_READ_ONLY = 1 /* EVALSHA_RO and EVAL_RO (Redis 7): servers refuse its writes; it goes
                               where reads go, also to replicas, and is repeated as they are */
} kw_script_kind;

/* A script of that text, which is copied, and may hold any bytes, text_len of them. The caller
 * frees it with kw_script_free. allocator gives its memory; NULL: malloc and free.
 *
 * NULL where it fails. Errors: KW_ERR_ARGUMENT (text is NULL or empty, or kind is unknown),
 * KW_ERR_NOMEM. Any thread. */
KW_API kw_script *kw_script_new(const kw_allocator *allocator, kw_error *error, kw_script_kind kind,
                                const char *text, size_t text_len);

/* The SHA1 of the text (FIPS 180-4), 40 lower-case hexadecimal digits, borrowed from the script.
 * NULL for NULL. Any thread. */
KW_API const char *kw_script_sha1(const kw_script *script);

/* Runs the script with keys and arguments from a format, as kw_command takes it: the first keys_n
 * of its words are the keys (KEYS of the script), all others its arguments (ARGV). On a cluster and
 * a ring the keys say where it runs; without keys it runs at any primary.
 *
 * Returns what kw_command returns, with the same errors; KW_ERR_ARGUMENT also where there are fewer
 * words than keys, and then nothing was sent. Any thread. */
KW_API kw_reply *kw_script_run(kw_client *client, kw_error *error, const kw_script *script,
                               size_t keys_n, const char *format, ...);

/* A run: a script, and its keys and arguments. values.argc of 0 is allowed; all is borrowed for the
 * call. */
typedef struct kw_script_input {
    const kw_script *script;
    size_t keys_n;  /* of values, the first ones are the keys */
    kw_argv values; /* keys and arguments */
} kw_script_input;

/* Runs a script as kw_call sends a command; options may be NULL. To all primaries, or all nodes
 * (options->route), and with acks or a token, it leaves with its text. Errors: those of kw_call,
 * and of kw_script_run. Any thread. */
KW_API kw_reply *kw_script_call(kw_client *client, kw_error *error, const kw_call_options *options,
                                kw_script_input input);

/* Adds a run to a batch, as kw_batch_add does a command. The first one to a node that is not known
 * to have the script brings its text, the others behind it are sent by its name. The script may be
 * freed before the batch runs. Errors: those of kw_batch_add, and of kw_script_run. One thread per
 * object. */
KW_API kw_err kw_script_add(kw_batch *batch, kw_error *error, kw_script_input input);

/* Sends a run whose reply is waited for later, as kw_submit_call does a command; options may be
 * NULL. The script may be freed before the reply is there. NULL where it fails. Errors: those of
 * kw_submit_call, and of kw_script_run. Any thread. */
KW_API kw_ticket *kw_script_submit(kw_client *client, kw_error *error,
                                   const kw_call_options *options, kw_script_input input);

/* Sends a run whose reply goes to a callback, as kw_call_async does a command; options may be NULL.
 * The script may be freed before the reply is there. Errors: those of kw_call_async, and of
 * kw_script_run. Any thread. */
KW_API kw_err kw_script_async(kw_client *client, kw_error *error, kw_callback callback,
                              const kw_call_options *options, kw_script_input input);

/* Runs a script in a session, as kw_session_command_argv does a command. In a MULTI, and behind
 * WATCH, it leaves with its text: by its name, EXEC could not be repeated. Errors: those of
 * kw_session_command_argv, and of kw_script_run. One thread per object. */
KW_API kw_reply *kw_script_in_session(kw_session *session, kw_error *error, kw_script_input input);

/* A library of functions: the text of FUNCTION LOAD (Redis 7), given once. It does not change: any
 * thread may use it, on any handle, until kw_library_free. */
typedef struct kw_library kw_library;

/* A library of that text, "#!lua name=mylib" and so on, which is copied. allocator gives its
 * memory; NULL: malloc and free. The caller frees it with kw_library_free.
 *
 * NULL where it fails. Errors: KW_ERR_ARGUMENT (text is NULL or empty), KW_ERR_NOMEM. Any thread.
 */
KW_API kw_library *kw_library_new(const kw_allocator *allocator, kw_error *error, const char *text,
                                  size_t text_len);

/* Loads the library at all primaries (FUNCTION LOAD REPLACE), in the place of one of its name.
 *
 * Errors: KW_ERR_SERVER with a server's words, and those of kw_call; some primaries may have it
 * then. Any thread. */
KW_API kw_err kw_library_load(kw_client *client, kw_error *error, const kw_library *library);

/* A call of a function, and its keys and arguments; all is borrowed for the call. */
typedef struct kw_function_input {
    const kw_library *library;
    const char *function; /* its name */
    bool is_read_only;    /* FCALL_RO: it may go to replicas */
    size_t keys_n;        /* of values, the first ones are the keys */
    kw_argv values;       /* keys and arguments; an argc of 0 is allowed */
} kw_function_input;

/* Calls a function (FCALL) as kw_call sends a command; options may be NULL. Where a node says
 * "Function not found", as one does that joined the cluster after kw_library_load, nothing has run:
 * the library is loaded there (at all primaries, where there are no keys), not in the place of
 * another version, and the function called once more. All of it within one deadline. FCALL is an
 * ordinary command as well: batches and the like send it by kw_batch_add, without this care.
 *
 * Returns what kw_call returns, with the same errors; KW_ERR_ARGUMENT also where library or
 * function is NULL, and where there are fewer values than keys. Any thread. */
KW_API kw_reply *kw_library_call(kw_client *client, kw_error *error, const kw_call_options *options,
                                 kw_function_input input);

/* Frees the library. NULL is allowed. Any thread, once. */
KW_API void kw_library_free(kw_library *library);

/* Frees the script. What runs it goes on. NULL is allowed. Any thread, once. */
KW_API void kw_script_free(kw_script *script);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: many commands, one wait.
 *
 * A kw_batch collects commands and sends them together: to all their nodes at once, each node's in
 * one pipeline. Each command has its own result, and follows its own redirects and retries:
 *
 *   kw_batch *batch = kw_batch_new(client, &error);
 *   kw_batch_add(batch, &error, "GET user:{%d}:profile", id);
 *   kw_err code = kw_batch_run(batch, &error, 0);
 *
 * Commands on one key run in the order in which they were added; between different keys there is
 * no order. MGET, MSET, MSETEX, DEL, UNLINK, EXISTS and TOUCH over keys of several owners are split
 * and joined, as by kw_command. A batch is no transaction. */
#ifndef KEYWAY_BATCH_H
#define KEYWAY_BATCH_H

#include <stdarg.h>
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

/* Commands to be sent together, and their results. One thread per batch; many batches of many
 * threads may run on one handle at the same time. */
typedef struct kw_batch kw_batch;

/* Makes an empty batch for the handle. The caller frees it with kw_batch_free. After kw_close of
 * the handle a batch can only be read and freed.
 *
 * NULL where it fails. Errors: KW_ERR_ARGUMENT (client is NULL), KW_ERR_NOMEM. Any thread. */
KW_API kw_batch *kw_batch_new(kw_client *client, kw_error *error);

/* Adds one command, formatted as by kw_command. Its bytes are copied. A failure leaves the batch
 * as it was: the number of this command is that of the next one which is added.
 *
 * Errors: KW_ERR_ARGUMENT (a wrong format, or the batch has run and was not cleared),
 * KW_ERR_CROSSSLOT (the command's keys have different owners, and it is none of those that are
 * split, or the option cross-slot refuses that), KW_ERR_KEYS (its keys cannot be found),
 * KW_ERR_REFUSED (it blocks, it goes to many nodes, or it binds its connection), KW_ERR_UNSUPPORTED
 * (a write on a handle with the option acks), KW_ERR_FORKED, KW_ERR_NOMEM. A command that keyway
 * does not know is looked up at a server, and the errors of kw_command are possible then. One
 * thread per object. */
KW_API kw_err kw_batch_add(kw_batch *batch, kw_error *error, const char *format, ...);

/* Adds one command as kw_batch_add does; what the format asks for comes as a va_list, which is
 * used up. Errors: those of kw_batch_add. One thread per object. */
KW_API kw_err kw_batch_vadd(kw_batch *batch, kw_error *error, const char *format, va_list values);

/* Adds one command as kw_batch_add does, given as argc ready arguments: argv[i] has argvlen[i]
 * bytes, or ends with a zero byte where argvlen is NULL. The bytes are copied. Errors: those of
 * kw_batch_add. One thread per object. */
KW_API kw_err kw_batch_add_argv(kw_batch *batch, kw_error *error, int argc, const char **argv,
                                const size_t *argvlen);

/* Adds one command as kw_batch_add_argv does, with options of its own: where it goes, whom it reads
 * from, whether it may be repeated, whether it waits for a server that is down. NULL options are
 * the defaults; what they point at is not used afterwards. All of a batch has one deadline, that of
 * kw_batch_run: options->timeout_ms is 0. Errors: those of kw_batch_add; KW_ERR_ARGUMENT for
 * options that are wrong, lack what their route needs, or have a timeout_ms; KW_ERR_UNSUPPORTED for
 * acks and token_out. One thread per object. */
KW_API kw_err kw_batch_add_call(kw_batch *batch, kw_error *error, const kw_call_options *options,
                                kw_argv command);

/* Number of commands that were added since the batch was made or cleared; 0 for NULL. One thread
 * per object. */
KW_API size_t kw_batch_count(const kw_batch *batch);

/* Sends every command and waits until each has ended, for at most timeout_ms milliseconds (0: the
 * handle's timeout). An error that a server answers is a reply.
 *
 * KW_OK where each command has a reply. Otherwise the code of the first command that has none,
 * with its story in error; the other commands have their replies all the same, and
 * kw_batch_reply tells of each. A batch that has run cannot run again before kw_batch_clear.
 * A command that was split has a reply where any of its parts has one: where not all did what they
 * should it is an error, whose elements (kw_reply_at) say for each key what happened: its value, or
 * "OK", or an error.
 * While it runs it takes the commands' bytes, about 250 bytes for each command, 64 KB for each
 * node while that is being sent to, and the replies.
 *
 * Errors: those of kw_command, and KW_ERR_ARGUMENT (batch is NULL, or has run already). One thread
 * per object. */
KW_API kw_err kw_batch_run(kw_batch *batch, kw_error *error, uint64_t timeout_ms);

/* Reply of the command that was added as number index, counted from 0. It is borrowed from the
 * batch, until kw_batch_take, kw_batch_clear or kw_batch_free.
 *
 * NULL where the command has no reply; error then says why, and whether the command may have run.
 * Errors: those of kw_command, and KW_ERR_ARGUMENT (no such command, the batch has not run, or
 * the reply was taken). One thread per object. */
KW_API const kw_reply *kw_batch_reply(const kw_batch *batch, kw_error *error, size_t index);

/* Hands over the reply of command number index: the caller frees it with kw_reply_free, also after
 * the batch. It is moved out of the memory that the batch's replies share.
 *
 * NULL where the command has no reply. Errors: those of kw_batch_reply, and KW_ERR_NOMEM, with
 * which the reply stays in the batch. One thread per object. */
KW_API kw_reply *kw_batch_take(kw_batch *batch, kw_error *error, size_t index);

/* Forgets all commands and results. The memory is kept for the next commands. NULL is allowed. One
 * thread per object. */
KW_API void kw_batch_clear(kw_batch *batch);

/* Frees the batch, and the replies that were not taken. NULL is allowed. One thread per object. */
KW_API void kw_batch_free(kw_batch *batch);

#ifdef __cplusplus
}
#endif

#endif

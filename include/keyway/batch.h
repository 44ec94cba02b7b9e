/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: many commands, one wait. */
#ifndef KEYWAY_BATCH_H
#define KEYWAY_BATCH_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <keyway/client.h>
#include <keyway/error.h>
#include <keyway/export.h>
#include <keyway/reply.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Commands to be sent together: to all their nodes at once, each node's in one pipeline,
 * in the order in which they were added. Each has its own result; redirects, pauses and
 * safe retries happen for each alone. Commands on one key run in the order of adding. A
 * batch is no transaction. One thread per batch; many batches of many threads may run on
 * one handle. */
typedef struct kw_batch kw_batch;

/* An empty batch for the handle; once that is closed, the batch can only be read and freed.
 * NULL, with error set, when there is no memory. Freed with kw_batch_free. Any thread. */
KW_API kw_batch *kw_batch_new(kw_client *client, kw_error *error);

/* Adds a command, formatted as kw_command does; its bytes are copied. KW_ERR_ARGUMENT,
 * KW_ERR_CROSSSLOT, KW_ERR_KEYS or KW_ERR_REFUSED, with the batch unchanged, for one that
 * cannot be sent: blocking commands and those that go to all nodes cannot be part of a
 * batch. */
KW_API kw_err kw_batch_add(kw_batch *batch, kw_error *error, const char *format, ...);

/* The same with a va_list. */
KW_API kw_err kw_batch_vadd(kw_batch *batch, kw_error *error, const char *format, va_list values);

/* The same with ready arguments, as kw_command_argv. */
KW_API kw_err kw_batch_add_argv(kw_batch *batch, kw_error *error, int argc, const char **argv,
                                const size_t *argvlen);

/* Commands added so far. */
KW_API size_t kw_batch_count(const kw_batch *batch);

/* Sends every command and waits until each has ended, at most timeout_ms (0: the handle's
 * timeout). KW_OK where each has a reply (a server's error is one); else the code of the
 * first that has none, with its story in error; the others have their replies all the
 * same. A batch that has run gives its results until it is cleared, and cannot run again
 * before. Memory: the commands' bytes, about 250 bytes a command, 64 KB a node for what is
 * being sent, and the replies. */
KW_API kw_err kw_batch_run(kw_batch *batch, kw_error *error, uint64_t timeout_ms);

/* Reply of command number index (from 0, in the order of adding), borrowed from the batch;
 * NULL, with error set, where it has none. */
KW_API const kw_reply *kw_batch_reply(const kw_batch *batch, kw_error *error, size_t index);

/* The same, but the reply is the caller's from now on, to free with kw_reply_free. It is moved
 * out of the memory that the batch's replies share: KW_ERR_NOMEM, with the reply still in the
 * batch, where there is none for it. */
KW_API kw_reply *kw_batch_take(kw_batch *batch, kw_error *error, size_t index);

/* Forgets all commands and results; the memory is kept for the next ones. */
KW_API void kw_batch_clear(kw_batch *batch);

/* Frees the batch and the replies that were not taken. NULL is allowed. */
KW_API void kw_batch_free(kw_batch *batch);

#ifdef __cplusplus
}
#endif

#endif

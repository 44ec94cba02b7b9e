/* SPDX-License-Identifier: BSD-3-Clause */
/* Args: a caller's kw_argv as an array of kw_bytes. */
#ifndef API_ARGS_H
#define API_ARGS_H

#include <keyway/command.h>
#include <keyway/error.h>

#include "base/format.h"

typedef struct kw_arg_bytes {
    const kw_allocator *mem;
    kw_bytes *argv; /* argc of them, pointing at the caller's bytes */
    size_t argc;
    kw_bytes inline_argv[KW_ARGS_INLINE];
} kw_arg_bytes;

/* KW_ERR_ARGUMENT for a NULL argument and an argc that is not positive; KW_ERR_NOMEM. After success
 * kw_arg_bytes_fini; args must not be moved. */
kw_err kw_arg_bytes_init(kw_arg_bytes *args, kw_error *error, const kw_allocator *mem,
                         const kw_argv *command);
void kw_arg_bytes_fini(kw_arg_bytes *args);

/* The first argument, which may be refused yet; nothing where there is none. */
kw_bytes kw_args_name(const kw_argv *command);

/* The options that a call was given, in space where they are of another size, as a program
 * that was compiled against an older header gives fewer; the defaults for NULL. NULL, with
 * error set, where options->size is wrong. */
const kw_call_options *kw_args_options(kw_call_options *space, kw_error *error,
                                       const kw_call_options *options);

#endif

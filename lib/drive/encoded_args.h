/* SPDX-License-Identifier: BSD-3-Clause */
/* Encoded args: the arguments of commands that this library has encoded, found again. */
#ifndef DRIVE_ENCODED_ARGS_H
#define DRIVE_ENCODED_ARGS_H

#include "base/bytes.h"
#include "base/memory.h"

/* Commands with so many arguments need no heap. */
#define KW_ENCODED_ARGS_INLINE 16

/* One encoded command, taken apart. It must not be moved. */
typedef struct kw_encoded_args {
    const kw_allocator *mem;
    kw_bytes space[KW_ENCODED_ARGS_INLINE];
    kw_bytes *argv;
    size_t argc;
} kw_encoded_args;

/* Takes the first command off *encoded, which begins behind it then. False when there is no
 * memory. After success kw_encoded_args_fini. */
bool kw_encoded_args_take(kw_encoded_args *args, const kw_allocator *mem, kw_bytes *encoded);

static inline void kw_encoded_args_fini(kw_encoded_args *args)
{
    if (args->argv != args->space) {
        kw_mem_free(args->mem, args->argv);
    }
}

#endif

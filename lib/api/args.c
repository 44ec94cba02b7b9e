/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments of public calls, checked and brought into the library's own form. */
#include "api/args.h"

#include "base/apart.h"
#include "base/error.h"

#include <string.h>

/* False where a NULL is among them. */
KW_APART static bool take_texts(kw_bytes *to, size_t argc, const char *const *argv)
{
    for (size_t i = 0; i < argc; i++) {
        if (argv[i] == NULL) {
            return false;
        }
        to[i] = kw_bytes_of(argv[i]);
    }
    return true;
}

/* Likewise; with a length of 0 it is an empty argument. */
static inline bool take(kw_bytes *to, size_t argc, const char *const *argv, const size_t *lens)
{
    for (size_t i = 0; i < argc; i++) {
        to[i].data = argv[i];
        to[i].len = lens[i];
        if (argv[i] == NULL && lens[i] > 0) {
            return false;
        }
    }
    return true;
}

/* What is not few arguments with their lengths. */
KW_APART static kw_err init_otherwise(kw_arg_bytes *args, kw_error *error, const kw_argv *command)
{
    if (command->argv == NULL || command->argc <= 0) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "argv is NULL, or argc is not positive");
    }
    if (args->argc > KW_ARGS_INLINE) {
        args->argv = kw_mem_calloc(args->mem, args->argc, sizeof(args->argv[0]));
        if (args->argv == NULL) {
            return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for %zu arguments",
                                args->argc);
        }
    }
    if (command->argvlen != NULL ? take(args->argv, args->argc, command->argv, command->argvlen)
                                 : take_texts(args->argv, args->argc, command->argv)) {
        return KW_OK;
    }
    kw_arg_bytes_fini(args);
    return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "an argument in argv is NULL");
}

kw_err kw_arg_bytes_init(kw_arg_bytes *args, kw_error *error, const kw_allocator *mem,
                         const kw_argv *command)
{
    args->mem = mem;
    args->argc = (size_t)command->argc;
    args->argv = args->inline_argv;
    bool is_plain = command->argv != NULL && command->argvlen != NULL && command->argc > 0 &&
                    command->argc <= KW_ARGS_INLINE;
    return is_plain && take(args->inline_argv, args->argc, command->argv, command->argvlen)
               ? KW_OK
               : init_otherwise(args, error, command);
}

void kw_arg_bytes_fini(kw_arg_bytes *args)
{
    if (args->argv != args->inline_argv) {
        kw_mem_free(args->mem, args->argv);
    }
}

kw_bytes kw_args_name(const kw_argv *command)
{
    bool is_there = command->argv != NULL && command->argc > 0 && command->argv[0] != NULL;
    if (!is_there) {
        return (kw_bytes){NULL, 0};
    }
    return command->argvlen != NULL ? (kw_bytes){command->argv[0], command->argvlen[0]}
                                    : kw_bytes_of(command->argv[0]);
}

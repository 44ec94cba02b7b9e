/* SPDX-License-Identifier: BSD-3-Clause */
#include "api/args.h"

#include "base/error.h"

#include <string.h>

static bool take(kw_argv *args, const char **argv, const size_t *argvlen)
{
    for (size_t i = 0; i < args->argc; i++) {
        if (argv[i] == NULL && (argvlen == NULL || argvlen[i] > 0)) {
            return false;
        }
        args->argv[i].data = argv[i];
        args->argv[i].len = argvlen != NULL ? argvlen[i] : strlen(argv[i]);
    }
    return true;
}

kw_err kw_argv_init(kw_argv *args, kw_error *error, const kw_allocator *mem, int argc,
                    const char **argv, const size_t *argvlen)
{
    if (argv == NULL || argc <= 0) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                            "argv is NULL, or argc is not positive");
    }
    args->mem = mem;
    args->argc = (size_t)argc;
    args->argv = args->inline_argv;
    if (args->argc > KW_ARGS_INLINE) {
        args->argv = kw_mem_calloc(mem, args->argc, sizeof(args->argv[0]));
        if (args->argv == NULL) {
            return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for %zu arguments",
                                args->argc);
        }
    }
    if (!take(args, argv, argvlen)) {
        kw_argv_fini(args);
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "an argument in argv is NULL");
    }
    return KW_OK;
}

void kw_argv_fini(kw_argv *args)
{
    if (args->argv != args->inline_argv) {
        kw_mem_free(args->mem, args->argv);
    }
}

const kw_call_options *kw_args_options(kw_call_options *space, kw_error *error,
                                       const kw_call_options *options)
{
    static const kw_call_options defaults = KW_CALL_OPTIONS_INIT;
    if (options == NULL) {
        return &defaults;
    }
    size_t len = options->size;
    if (len < offsetof(kw_call_options, key) || len > sizeof(*space)) {
        kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                     "options->size is wrong: start with KW_CALL_OPTIONS_INIT");
        return NULL;
    }
    *space = defaults;
    memcpy(space, options, len);
    return space;
}

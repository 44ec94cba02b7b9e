/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/keys.h: a command's key positions, without a connection. */
#include <keyway/keys.h>

#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "route/keys.h"

/* Commands up to this many arguments need no heap. */
#define ARGS_INLINE 64

static kw_err read_arguments(kw_bytes *args, kw_error *error, const kw_argv *command)
{
    for (size_t i = 0; i < (size_t)command->argc; i++) {
        args[i].data = command->argv[i];
        if (command->argvlen != NULL) {
            args[i].len = command->argvlen[i];
        } else {
            args[i].len = args[i].data != NULL ? strlen(args[i].data) : 1;
        }
        if (args[i].data == NULL && args[i].len > 0) {
            return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "argument %zu is NULL", i);
        }
    }
    return KW_OK;
}

static kw_err find(kw_keys *keys, kw_error *error, const kw_bytes *args, size_t argc)
{
    const kw_command_info *command = kw_command_find(args, argc);
    if (command == NULL) {
        char name[64];
        return kw_error_set(error, KW_ERR_KEYS, KW_EFFECT_NONE,
                            "the table has no command \"%s\", or not this subcommand of it",
                            kw_bytes_show(name, sizeof(name), args[0]));
    }
    return kw_keys_find(keys, error, command, args, argc);
}

static size_t write_positions(size_t *positions, size_t positions_max, const kw_keys *keys)
{
    size_t n = 0;
    for (size_t r = 0; r < keys->ranges_n; r++) {
        const kw_key_range *range = &keys->ranges[r];
        for (size_t i = 0; i < range->count && n + i < positions_max; i++) {
            positions[n + i] = range->at + i * range->step;
        }
        n += range->count;
    }
    return n;
}

kw_err kw_command_keys(kw_argv command, kw_error *error, size_t *positions, size_t positions_max,
                       size_t *positions_n)
{
    if (command.argc < 1 || command.argv == NULL) {
        return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "a command has no arguments");
    }
    size_t args_n = (size_t)command.argc;
    kw_bytes inline_args[ARGS_INLINE];
    kw_bytes *args = inline_args;
    if (args_n > ARGS_INLINE) {
        args = kw_mem_calloc(kw_mem_default(), args_n, sizeof(args[0]));
        if (args == NULL) {
            return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for %zu arguments",
                                args_n);
        }
    }
    kw_keys keys;
    kw_err err = read_arguments(args, error, &command);
    err = err == KW_OK ? find(&keys, error, args, args_n) : err;
    if (err == KW_OK) {
        *positions_n = write_positions(positions, positions_max, &keys);
    }
    if (args != inline_args) {
        kw_mem_free(kw_mem_default(), args);
    }
    return err;
}

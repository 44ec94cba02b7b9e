/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/keys.h: a command's key positions, without a connection. */
#include <keyway/keys.h>

#include "api/args.h"
#include "base/error.h"
#include "base/memory.h"
#include "route/keys.h"

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
    kw_arg_bytes args;
    kw_keys keys;
    kw_err err = kw_arg_bytes_init(&args, error, kw_mem_default(), &command);
    if (err != KW_OK) {
        return err;
    }
    err = find(&keys, error, args.argv, args.argc);
    if (err == KW_OK) {
        *positions_n = write_positions(positions, positions_max, &keys);
    }
    kw_arg_bytes_fini(&args);
    return err;
}

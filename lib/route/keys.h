/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys: where in its arguments a command has them. */
#ifndef ROUTE_KEYS_H
#define ROUTE_KEYS_H

#include <keyway/error.h>

#include "route/command.h"

/* count arguments: number at, number at + step, and so on. */
typedef struct kw_key_range {
    size_t at;
    size_t count;
    size_t step;
} kw_key_range;

/* No command of the table needs more ranges than this. */
#define KW_KEY_RANGES_MAX 4

typedef struct kw_keys {
    const kw_bytes *argv; /* the command's arguments, borrowed */
    size_t ranges_n;
    kw_key_range ranges[KW_KEY_RANGES_MAX];
    size_t argc; /* of argv */
} kw_keys;

/* Key positions by the key specifications of the command (COMMAND DOCS). A command
 * without keys gives ranges_n 0 and success. KW_ERR_KEYS, and an error that says
 * which argument is wrong, where the arguments contradict the command (numkeys that
 * is no number or too large, too few arguments). Every index is below argc. */
kw_err kw_keys_find(kw_keys *keys, kw_error *error, const kw_command_info *command,
                    const kw_bytes *argv, size_t argc);

/* The channel of PUBLISH, which servers know as no key; empty, with data NULL, for all else. */
kw_bytes kw_keys_channel(const kw_command_info *command, const kw_bytes *argv, size_t argc);

/* The argument that is the only key of a command which has it at a fixed place, as most do; 0: only
 * kw_keys_find can tell. */
size_t kw_keys_only(const kw_command_info *command, size_t argc);

/* The number of keys, and key number index. */
size_t kw_keys_count(const kw_keys *keys);
kw_bytes kw_keys_at(const kw_keys *keys, size_t index);

/* KW_ERR_ARGUMENT, and an error that says so, where the last key lacks what belongs to each, as in
 * "MSET a 1 b": asked where the keys are not of one server, which has words for it itself. keys has
 * at least one key. */
kw_err kw_keys_check_whole(const kw_keys *keys, kw_error *error);

/* Slot of all the keys: *slot is written. KW_ERR_CROSSSLOT where they differ, with
 * an error that names the first two keys that differ and their slots (bytes made
 * printable, long keys cut); KW_ERR_ARGUMENT as kw_keys_check_whole. keys has at least one key. */
kw_err kw_keys_slot(uint16_t *slot, kw_error *error, const kw_keys *keys);

#endif

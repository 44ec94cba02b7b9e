/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: which arguments of a command are keys, without a connection.
 *
 *   const char *words[] = {"EVAL", "return 1", "2", "a", "b", "not-a-key"};
 *   size_t at[8], n;
 *   kw_command_keys((kw_argv){6, words, NULL}, &error, at, 8, &n);
 *
 * finds 2 keys, at 3 and 4. */
#ifndef KEYWAY_KEYS_H
#define KEYWAY_KEYS_H

#include <stddef.h>

#include <keyway/argv.h>
#include <keyway/error.h>
#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Finds the keys among a command's arguments, by the key specifications of Redis and Valkey: what
 * COMMAND GETKEYS finds, and also the channels of the commands for shard channels. The command's
 * name may be in any case. Writes the first positions_max positions, counted from 0, to positions
 * (NULL only with 0), and the number of all keys, which may be larger, to *positions_n; 0 for a
 * command without keys.
 *
 * Errors: KW_ERR_KEYS (the built-in table does not know the command, or its arguments contradict
 * it), KW_ERR_ARGUMENT (no arguments, or one that is NULL), KW_ERR_NOMEM. Any thread. */
KW_API kw_err kw_command_keys(kw_argv command, kw_error *error, size_t *positions,
                              size_t positions_max, size_t *positions_n);

#ifdef __cplusplus
}
#endif

#endif

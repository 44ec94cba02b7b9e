/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: which arguments of a command are keys, without a connection. */
#ifndef KEYWAY_KEYS_H
#define KEYWAY_KEYS_H

#include <stddef.h>

#include <keyway/argv.h>
#include <keyway/error.h>
#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Positions among a command's arguments of its keys, by the key specifications of Redis and
 * Valkey (what COMMAND GETKEYS finds, and the channels of the shard channel commands
 * as well). The command's name may be in any case. Writes the first
 * positions_max positions to positions (NULL only with 0), and the number of all keys,
 * which may be larger, to *positions_n; 0 for a command without keys. KW_ERR_KEYS, with
 * an error that says what is wrong, for a command that the built-in table does not
 * know and for arguments that contradict the command; KW_ERR_ARGUMENT for argc below 1
 * or a NULL argument that is not empty; KW_ERR_NOMEM. Any thread. */
KW_API kw_err kw_command_keys(kw_argv command, kw_error *error, size_t *positions,
                              size_t positions_max, size_t *positions_n);

#ifdef __cplusplus
}
#endif

#endif

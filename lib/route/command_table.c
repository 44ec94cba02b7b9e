/* SPDX-License-Identifier: BSD-3-Clause */
/* The command table, made of the rows of command_rows.def. */
#include "route/command_table.h"

#define NONE            0
#define READ            KW_COMMAND_READ
#define WRITE           KW_COMMAND_WRITE
#define BLOCKING        KW_COMMAND_BLOCKING
#define SCRIPT          KW_COMMAND_SCRIPT
#define SESSION         KW_COMMAND_SESSION
#define REFUSED         KW_COMMAND_REFUSED
#define HAS_SUBCOMMANDS KW_COMMAND_HAS_SUBCOMMANDS

/* clang-format off */
#define NO_KEY            { KW_KEYS_NONE,      0,  0, 0 }
#define KEY               { KW_KEYS_RANGE,     1,  1, 1 }
#define KEY_2ND           { KW_KEYS_RANGE,     2,  2, 1 }
#define KEY_PAIR          { KW_KEYS_RANGE,     1,  2, 1 }
#define KEYS              { KW_KEYS_RANGE,     1, -1, 1 }
#define KEYS_STEP_2       { KW_KEYS_RANGE,     1, -1, 2 }
#define KEYS_STEP_3       { KW_KEYS_RANGE,     1, -1, 3 }
#define KEYS_FROM_2       { KW_KEYS_RANGE,     2, -1, 1 }
#define KEYS_BUT_LAST     { KW_KEYS_RANGE,     1, -2, 1 }
#define KEYS_OPTIONAL     { KW_KEYS_OPTIONAL,  1, -1, 1 }
#define COUNTED(at)       { KW_KEYS_COUNTED,   at, 0, 1 }
#define COUNTED_PAIRS(at) { KW_KEYS_COUNTED,   at, 0, 2 }
#define KEY_AND_COUNTED   { KW_KEYS_STORE,     1,  0, 1 }
#define SORT_KEYS         { KW_KEYS_SORT,      1,  2, 1 }
#define GEO_KEYS(options) { KW_KEYS_GEORADIUS, 1, options, 1 }
#define STREAMS           { KW_KEYS_STREAMS,   1,  0, 1 }
#define MIGRATE_KEYS      { KW_KEYS_MIGRATE,   3,  6, 1 }
/* clang-format on */

#define ROW(name, ...) name,
const kw_command_names kw_command_all_names = {
#include "route/command_rows.def"
};
#undef ROW

/* What stands for keys is a braced list, so it is the rest of the arguments. */
#define ROW(name, flags, request, response, block, ...)                                            \
    {offsetof(kw_command_names, KW_COMMAND_NAME_OF(__LINE__)),                                     \
     sizeof(name) - 1,                                                                             \
     flags,                                                                                        \
     KW_REQUEST_##request,                                                                         \
     KW_RESPONSE_##response,                                                                       \
     KW_BLOCK_##block,                                                                             \
     __VA_ARGS__},
const kw_command_info kw_command_table[] = {
#include "route/command_rows.def"
};
#undef ROW

const size_t kw_command_table_n = sizeof(kw_command_table) / sizeof(kw_command_table[0]);

/* SPDX-License-Identifier: BSD-3-Clause */
/* Command table: what keyway knows of every command of Redis and Valkey. */
#ifndef ROUTE_COMMAND_H
#define ROUTE_COMMAND_H

#include <keyway/error.h>

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Flags of a command. */
#define KW_COMMAND_READ     0x01u /* changes nothing: may be repeated, may go to a replica */
#define KW_COMMAND_WRITE    0x02u
#define KW_COMMAND_BLOCKING 0x04u /* may wait in the server; see kw_command_block_ms */
#define KW_COMMAND_SCRIPT                                                                          \
    0x08u /* runs other commands (EVAL, FCALL, EXEC), whose errors may be its reply */
#define KW_COMMAND_SESSION                                                                         \
    0x10u                        /* changes its connection (MULTI, WATCH, SUBSCRIBE, SELECT,       \
                                    CLIENT REPLY, MONITOR, RESET, HELLO, AUTH, QUIT, ...) */
#define KW_COMMAND_REFUSED 0x20u /* cannot work on a shared cluster handle at all */

/* Where a command without keys goes; the servers' request_policy tips. */
typedef enum kw_request_policy {
    KW_REQUEST_KEYED,       /* to the owner of its keys */
    KW_REQUEST_ANY,         /* any one node */
    KW_REQUEST_ONE_NODE,    /* the node that it concerns, which only the caller knows */
    KW_REQUEST_ALL_SHARDS,  /* every primary */
    KW_REQUEST_ALL_NODES,   /* every node */
    KW_REQUEST_MULTI_SHARD, /* keyed, and can be split per slot (MGET, MSET, DEL, ...) */
    KW_REQUEST_SPECIAL      /* the tips give no rule (SCAN, ...): the caller says where */
} kw_request_policy;

/* How several replies become one; the servers' response_policy tips. */
typedef enum kw_response_policy {
    KW_RESPONSE_DEFAULT_KEYLESS, /* arrays are appended in any order */
    KW_RESPONSE_DEFAULT_KEYED,   /* elements in the order of the keys */
    KW_RESPONSE_ONE_SUCCEEDED,
    KW_RESPONSE_ALL_SUCCEEDED,
    KW_RESPONSE_AGG_LOGICAL_AND,
    KW_RESPONSE_AGG_LOGICAL_OR,
    KW_RESPONSE_AGG_MIN,
    KW_RESPONSE_AGG_MAX,
    KW_RESPONSE_AGG_SUM,
    KW_RESPONSE_ANY_VALUE, /* one that is not nil, if there is one (RANDOMKEY) */
    KW_RESPONSE_SPECIAL
} kw_response_policy;

typedef struct kw_command_info kw_command_info;

/* The row of a command, its subcommand included ("OBJECT ENCODING"); names in any
 * case. NULL where the table does not know it. A known container with an unknown
 * subcommand gives NULL as well; alone (argc 1) it has a row without flags and keys,
 * for any node, whose server will refuse it. Constant, never freed. */
const kw_command_info *kw_command_find(const kw_bytes *argv, size_t argc);

/* Likewise; sooner where it is the command of like, the row of the one before it, or NULL. */
const kw_command_info *kw_command_find_like(const kw_command_info *like, const kw_bytes *argv,
                                            size_t argc);

const char *kw_command_name(const kw_command_info *command); /* "OBJECT ENCODING" */
unsigned kw_command_flags(const kw_command_info *command);   /* KW_COMMAND_... */
kw_request_policy kw_command_request(const kw_command_info *command);
kw_response_policy kw_command_response(const kw_command_info *command);

/* How long the command may wait in the server, in milliseconds, read from its
 * arguments and rounded up (BLPOP ... 5 gives 5000). UINT64_MAX for 0, which means for
 * ever, and for what is no plain number in range. 0 for what does not block, XREAD
 * without BLOCK included. */
uint64_t kw_command_block_ms(const kw_command_info *command, const kw_bytes *argv, size_t argc);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Command table: the rows behind route/command.h. Only command.c, keys.c and their tests read
 * them. */
#ifndef ROUTE_COMMAND_TABLE_H
#define ROUTE_COMMAND_TABLE_H

#include "route/command.h"

#include <stddef.h>
#include <stdint.h>

/* Longest name with its subcommand, without the zero byte. */
#define KW_COMMAND_NAME_MAX 29

/* A flag of the table only: the second argument names a subcommand, which has a row
 * of its own. */
#define KW_COMMAND_HAS_SUBCOMMANDS 0x80u

/* How the keys of a command are found; first, last and step are those of its rule. */
typedef enum kw_key_finder {
    KW_KEYS_NONE,
    KW_KEYS_RANGE,     /* first .. last by step; last below 0 counts from the end */
    KW_KEYS_OPTIONAL,  /* a range, which may be empty */
    KW_KEYS_COUNTED,   /* argument first is their number, they follow by step */
    KW_KEYS_STORE,     /* a key at first, behind it their number, then more keys */
    KW_KEYS_SORT,      /* a key at first, and one behind STORE */
    KW_KEYS_GEORADIUS, /* a key at first, and one behind STORE or STOREDIST; options
                          begin at last */
    KW_KEYS_STREAMS,   /* the first half of what follows STREAMS; options begin at first */
    KW_KEYS_MIGRATE    /* argument 3, or where that is empty, all behind KEYS */
} kw_key_finder;

/* Which argument says how long the command may wait. */
typedef enum kw_block_argument {
    KW_BLOCK_NEVER,
    KW_BLOCK_FIRST_S, /* argument 1, seconds with a fraction */
    KW_BLOCK_FOURTH_S,
    KW_BLOCK_FIFTH_S, /* arguments 4 and 5, likewise */
    KW_BLOCK_LAST_S,  /* the last argument, likewise */
    KW_BLOCK_LAST_MS, /* the last argument, milliseconds */
    KW_BLOCK_OPTION   /* behind the option BLOCK, milliseconds; it waits only with it */
} kw_block_argument;

typedef struct kw_key_rule {
    uint8_t finder; /* kw_key_finder */
    uint8_t first;  /* argument of the first key, or as the finder says */
    int8_t last;
    uint8_t step; /* from one key to the next: 2 where each has a value behind it */
} kw_key_rule;

/* All names, one behind the other, each with its zero byte: rows are as long as what they say. The
 * member of a name is called by its line in command_rows.def. */
#define KW_COMMAND_NAME_JOINED(line) name_of_line_##line
#define KW_COMMAND_NAME_OF(line)     KW_COMMAND_NAME_JOINED(line)
#define ROW(name, ...)               char KW_COMMAND_NAME_OF(__LINE__)[sizeof(name)];
typedef struct kw_command_names {
#include "route/command_rows.def"
} kw_command_names;
#undef ROW
extern const kw_command_names kw_command_all_names;

/* Bytes only, without pointers: the table is shared by all processes. */
struct kw_command_info {
    uint16_t name_at; /* in kw_command_all_names; upper case */
    uint8_t name_len;
    uint8_t flags;    /* KW_COMMAND_... */
    uint8_t request;  /* kw_request_policy */
    uint8_t response; /* kw_response_policy */
    uint8_t block;    /* kw_block_argument */
    kw_key_rule keys;
};

static inline const char *kw_command_row_name(const kw_command_info *row)
{
    return (const char *)&kw_command_all_names + row->name_at;
}

/* Rows by name. */
extern const kw_command_info kw_command_table[];
extern const size_t kw_command_table_n;

/* An open-addressing hash index: row number + 1 at the name's home or behind it, with
 * KW_COMMAND_INDEX_SUB where it is the row of a subcommand; 0 where nothing is. Rows
 * were entered in their order. test_command makes it anew from the rows, and prints
 * the right one where this one is wrong. */
#define KW_COMMAND_INDEX_BITS 10
#define KW_COMMAND_INDEX_N    (1u << KW_COMMAND_INDEX_BITS)
#define KW_COMMAND_INDEX_SUB  0x8000u
extern const uint16_t kw_command_index[KW_COMMAND_INDEX_N];

/* Hash of a name in any case, going on from hash, 0 at first: hashing "A" and then " B" gives
 * what "A B" gives. Of 2,000,000 random factors this one has the shortest probes of those by which
 * the busiest commands are found at the first. */
static inline uint32_t kw_command_hash(uint32_t hash, const char *name, size_t name_len)
{
    for (size_t i = 0; i < name_len; i++) {
        hash = hash * 0xcaba7a5du + ((unsigned char)name[i] | 0x20u);
    }
    return hash;
}

/* The index entry at which the search for a name of this hash begins: its home. */
static inline uint32_t kw_command_home(uint32_t hash)
{
    return hash >> (32 - KW_COMMAND_INDEX_BITS);
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Option table: every option by name, how its value reads, and where it goes. */
#ifndef SETTINGS_OPTION_TABLE_H
#define SETTINGS_OPTION_TABLE_H

#include <keyway/error.h>

#include "base/bytes.h"
#include "settings/options.h"

typedef enum kw_option_kind {
    KW_OPTION_DURATION,     /* "500ms", "2s", "1m", "1h", "0" */
    KW_OPTION_COUNT,        /* a plain number */
    KW_OPTION_SIZE,         /* bytes: "512", "4kb", "64mb", "1gb" */
    KW_OPTION_PROTOCOL,     /* 2, or 3 where hiredis reads it */
    KW_OPTION_TEXT,         /* any text */
    KW_OPTION_NAME,         /* text without spaces and control bytes */
    KW_OPTION_FORK,         /* "refuse" or "reopen" */
    KW_OPTION_RESOLVER,     /* "system" or "thread" */
    KW_OPTION_SERVER,       /* what kw_config_set_uri takes; not by kw_option_set */
    KW_OPTION_SPLIT,        /* "split" or "refuse" */
    KW_OPTION_ORDER,        /* "pipelined" or "strict" */
    KW_OPTION_PLACEMENT,    /* as kw_ring_change_new takes it */
    KW_OPTION_NODE_DOWN,    /* "fail", "wait", "next" or "eject" */
    KW_OPTION_QUORUM,       /* "strict" or "weak" */
    KW_OPTION_GUARD,        /* "off" or "on" */
    KW_OPTION_READ,         /* "primary", "replica", "zone:name", ... */
    KW_OPTION_VERIFY,       /* "full", "ca" or "none" */
    KW_OPTION_SENTINEL_TLS, /* "same", "off" or "on" */
    KW_OPTION_IDENTITY,     /* "follow", "strict" or "off" */
    KW_OPTION_ZONES,        /* "server>zone,server>zone" */
    KW_OPTION_ADDRESSES,    /* "from>to,from>to" */
    KW_OPTION_NODES,        /* "10.0.0.0/8,.example.com" */
    KW_OPTION_YES           /* "yes" or "no" */
} kw_option_kind;

/* Without pointers, which would have to be relocated in each process. */
typedef struct kw_option_row {
    char name[20];
    char default_value[12]; /* "": none */
    uint8_t kind;           /* kw_option_kind */
    bool is_live;           /* it may change while a handle is in use; the member is atomic then */
    uint16_t offset;        /* of the member of kw_options */
    uint32_t min;           /* of a number; for a duration in milliseconds */
    uint64_t max;
} kw_option_row;

/* There are no more rows than this. */
#define KW_OPTIONS_MAX 128

/* NULL past the last row. */
const kw_option_row *kw_option_row_at(size_t index);

/* NULL for an unknown name. */
const kw_option_row *kw_option_row_find(kw_bytes name);

/* The row of a name; NULL, with error set, for an unknown one. */
const kw_option_row *kw_option_row_need(kw_error *error, kw_bytes name);

/* The known name that is nearest to an unknown one, or NULL where none is near. */
const char *kw_option_nearest(kw_bytes name);

/* Reads value and puts it into options; on failure options is unchanged and error names
 * the option and what is wrong. */
kw_err kw_option_set(kw_options *options, kw_error *error, const kw_allocator *mem,
                     const kw_option_row *row, kw_bytes value);

/* kw_option_set of a duration, count or size, in any struct that the row's offset is of. */
kw_err kw_option_set_number(void *options, kw_error *error, const kw_option_row *row,
                            kw_bytes value);

#endif

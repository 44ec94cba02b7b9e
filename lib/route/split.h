/* SPDX-License-Identifier: BSD-3-Clause */
/* Split: a command over keys of many slots becomes one command a slot (on a ring: a node),
 * and their replies one reply (MGET, MSET, MSETEX, DEL, UNLINK, EXISTS, TOUCH). */
#ifndef ROUTE_SPLIT_H
#define ROUTE_SPLIT_H

#include <keyway/error.h>

#include "base/reply.h"
#include "route/command.h"
#include "route/keys.h"

/* How keys are grouped where slots do not do it: on a ring, by their nodes. */
typedef struct kw_split_groups {
    uint16_t (*group_fn)(const void *arg, kw_bytes key); /* the group of a key */
    const void *arg;
} kw_split_groups;

/* Keys of one slot, or group: order[at] .. order[at + count - 1]. */
typedef struct kw_split_part {
    uint16_t slot;
    size_t at;
    size_t count;
} kw_split_part;

typedef struct kw_split {
    const kw_allocator *mem;
    const kw_bytes *argv; /* borrowed */
    size_t argc;
    kw_key_range keys; /* positions in argv; before them the name, and perhaps their number */
    size_t parts_n;
    kw_split_part *parts; /* in the order of their slots */
    uint32_t *order;      /* numbers of the keys, by slot, then as the caller has them */
    kw_bytes *scratch;    /* arguments of one part */
    char number[21];      /* of keys, of the part that was gathered last */
    bool is_counted;      /* replies are numbers of keys */
    kw_reply *root;       /* the joined reply, whose values the sinks fill in; or NULL */
    kw_reply_sink *sinks; /* of the parts, for root; or NULL */
} kw_split;

/* True where the command can be split at all: what stands before and behind its keys holds for any
 * of them alone. */
bool kw_split_can(const kw_command_info *command, const kw_keys *keys, size_t argc);

/* keys->argv is borrowed until kw_split_fini; groups may be NULL: by slots. KW_ERR_NOMEM. */
kw_err kw_split_init(kw_split *split, const kw_allocator *mem, const kw_keys *keys,
                     const kw_split_groups *groups);
void kw_split_fini(kw_split *split);

/* The command of one part, by its arguments: split->scratch; returns their number. */
size_t kw_split_gather(kw_split *split, const kw_split_part *part);

/* Appends the command of one part, encoded. False when there is no memory. */
bool kw_split_encode(kw_split *split, kw_buf *buf, const kw_split_part *part);

/* Makes sinks for the parts of a command that gives a value for each key, so that their
 * replies need not be copied; for other commands there are none. False when there is no
 * memory. */
bool kw_split_open(kw_split *split, const kw_command_info *command);

/* Of a part's number; NULL where there are none. */
const kw_reply_sink *kw_split_sink(const kw_split *split, size_t part);

/* What became of one part: a reply (kw_reply_sunk where it is in its sink), or a text that
 * says why there is none. */
typedef struct kw_split_result {
    const kw_reply *reply;
    const char *text;
} kw_split_result;

/* One reply from the results, one for each part. Where every part did what it should,
 * what a single server would have answered. Else an error, whose elements say for each
 * key what happened: its value (MGET) or "OK", or the error of its part. */
kw_err kw_split_join(kw_reply **joined, kw_split *split, const kw_command_info *command,
                     const kw_split_result *results);

#endif

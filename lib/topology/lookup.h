/* SPDX-License-Identifier: BSD-3-Clause */
/* Lookup: commands that the table does not know, learnt from a server. */
#ifndef TOPOLOGY_LOOKUP_H
#define TOPOLOGY_LOOKUP_H

#include "base/bytes.h"
#include "base/reply.h"
#include "net/sync.h"

#include <stdbool.h>

/* What a server's COMMAND INFO says of one command. */
typedef struct kw_learnt {
    bool is_known; /* false: the server does not know it either */
    bool is_read;
    bool is_write;
    bool is_movable; /* its keys are found by COMMAND GETKEYS only */
    long long first; /* first key, 0: none */
    long long last;  /* last key, negative from the end */
    long long step;
} kw_learnt;

typedef struct kw_lookup_entry kw_lookup_entry;

/* Remembers at most KW_LOOKUP_MAX commands; the oldest goes. */
#define KW_LOOKUP_MAX 128

typedef struct kw_lookup {
    kw_gate gate;
    const kw_allocator *mem;
    kw_lookup_entry *entries; /* newest first */
    size_t entries_n;
} kw_lookup;

kw_err kw_lookup_init(kw_lookup *lookup, const kw_allocator *mem);
void kw_lookup_fini(kw_lookup *lookup);

/* False where the command was not learnt yet. Any thread. */
bool kw_lookup_find(kw_lookup *lookup, kw_learnt *learnt, kw_bytes name);

/* Reads COMMAND INFO's answer for one command and remembers it; without memory it is
 * learnt for this call only. False where the answer is none. */
bool kw_lookup_learn(kw_lookup *lookup, kw_learnt *learnt, kw_bytes name, const kw_reply *reply);

#endif

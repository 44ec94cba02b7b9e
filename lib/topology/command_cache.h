/* SPDX-License-Identifier: BSD-3-Clause */
/* Command cache: commands that the table does not know, learnt from a server. */
#ifndef TOPOLOGY_COMMAND_CACHE_H
#define TOPOLOGY_COMMAND_CACHE_H

#include "base/bytes.h"
#include "base/reply.h"
#include "net/sync.h"

#include <stdbool.h>

/* What a server's COMMAND INFO says of one command. */
typedef struct kw_learnt {
    bool is_known; /* false: the server does not know it either */
    bool is_read;
    bool is_write;
    bool is_blocking; /* it may wait in the server, nobody can tell for how long */
    bool is_movable;  /* its keys are found by COMMAND GETKEYS only */
    long long first;  /* first key, 0: none */
    long long last;   /* last key, negative from the end */
    long long step;
} kw_learnt;

typedef struct kw_command_cache_entry kw_command_cache_entry;

/* Remembers at most KW_COMMAND_CACHE_MAX commands; the oldest goes. */
#define KW_COMMAND_CACHE_MAX 128

typedef struct kw_command_cache {
    kw_monitor monitor; /* guards all below */
    const kw_allocator *mem;
    kw_command_cache_entry *entries; /* newest first */
    size_t entries_n;
} kw_command_cache;

kw_err kw_command_cache_init(kw_command_cache *cache, const kw_allocator *mem);
void kw_command_cache_fini(kw_command_cache *cache);

/* False where the command was not learnt yet. Any thread. */
bool kw_command_cache_find(kw_command_cache *cache, kw_learnt *learnt, kw_bytes name);

/* Reads COMMAND INFO's answer for one command and remembers it; without memory it is
 * learnt for this call only. False where the answer is none. */
bool kw_command_cache_learn(kw_command_cache *cache, kw_learnt *learnt, kw_bytes name,
                            const kw_reply *reply);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Remembers what servers said of commands that the built-in table does not know. */
#include "topology/command_cache.h"

#include <string.h>

struct kw_command_cache_entry {
    kw_command_cache_entry *next;
    kw_learnt learnt;
    size_t name_len;
    char name[]; /* as the caller wrote it */
};

/* Fields of one command in the answer to COMMAND INFO. */
#define FIELD_FLAGS 2
#define FIELD_FIRST 3
#define FIELD_LAST  4
#define FIELD_STEP  5
#define FIELDS_MIN  6

kw_err kw_command_cache_init(kw_command_cache *cache, const kw_allocator *mem)
{
    cache->mem = mem;
    cache->entries = NULL;
    cache->entries_n = 0;
    return kw_monitor_init(&cache->monitor);
}

static void free_entries(const kw_command_cache *cache, kw_command_cache_entry *entry)
{
    while (entry != NULL) {
        kw_command_cache_entry *next = entry->next;
        kw_mem_free(cache->mem, entry);
        entry = next;
    }
}

void kw_command_cache_fini(kw_command_cache *cache)
{
    free_entries(cache, cache->entries);
    kw_monitor_fini(&cache->monitor);
}

bool kw_command_cache_find(kw_command_cache *cache, kw_learnt *learnt, kw_bytes name)
{
    bool is_found = false;
    kw_monitor_lock(&cache->monitor);
    for (const kw_command_cache_entry *entry = cache->entries; entry != NULL; entry = entry->next) {
        kw_bytes known = {entry->name, entry->name_len};
        if (kw_bytes_equal_nocase(known, name)) {
            *learnt = entry->learnt;
            is_found = true;
            break;
        }
    }
    kw_monitor_unlock(&cache->monitor);
    return is_found;
}

static void remember(kw_command_cache *cache, const kw_learnt *learnt, kw_bytes name)
{
    kw_command_cache_entry *entry = kw_mem_alloc(cache->mem, sizeof(*entry) + name.len);
    if (entry == NULL) {
        return;
    }
    entry->learnt = *learnt;
    entry->name_len = name.len;
    memcpy(entry->name, name.data, name.len);
    kw_command_cache_entry *oldest = NULL;
    kw_monitor_lock(&cache->monitor);
    entry->next = cache->entries;
    cache->entries = entry;
    if (++cache->entries_n > KW_COMMAND_CACHE_MAX) {
        kw_command_cache_entry **link = &cache->entries;
        while ((*link)->next != NULL) {
            link = &(*link)->next;
        }
        oldest = *link;
        *link = NULL;
        cache->entries_n--;
    }
    kw_monitor_unlock(&cache->monitor);
    free_entries(cache, oldest);
}

static bool has_flag(const kw_reply *flags, const char *name)
{
    for (size_t i = 0; i < kw_reply_count(flags); i++) {
        if (kw_bytes_equal(kw_reply_bytes(kw_reply_at(flags, i)), kw_bytes_of(name))) {
            return true;
        }
    }
    return false;
}

bool kw_command_cache_learn(kw_command_cache *cache, kw_learnt *learnt, kw_bytes name,
                            const kw_reply *reply)
{
    if (kw_reply_type(reply) != KW_REPLY_ARRAY || kw_reply_count(reply) != 1) {
        return false;
    }
    const kw_reply *row = kw_reply_at(reply, 0);
    memset(learnt, 0, sizeof(*learnt));
    if (kw_reply_type(row) == KW_REPLY_ARRAY && kw_reply_count(row) >= FIELDS_MIN) {
        const kw_reply *flags = kw_reply_at(row, FIELD_FLAGS);
        learnt->is_known = true;
        learnt->is_read = has_flag(flags, "readonly");
        learnt->is_write = has_flag(flags, "write");
        learnt->is_blocking = has_flag(flags, "blocking");
        learnt->is_movable = has_flag(flags, "movablekeys");
        learnt->first = kw_reply_int(kw_reply_at(row, FIELD_FIRST));
        learnt->last = kw_reply_int(kw_reply_at(row, FIELD_LAST));
        learnt->step = kw_reply_int(kw_reply_at(row, FIELD_STEP));
        remember(cache, learnt, name); /* but not that it is unknown: a module may be loaded */
    }
    return true;
}

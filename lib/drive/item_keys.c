/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds the keys of an encoded command again, and hashes them for the ordering. */
#include "drive/item_keys.h"

#include "route/keys.h"

#include <string.h>

/* Commands with so many arguments, or keys, need no heap. */
#define INLINE_N 16

/* Of a command that no table knows, so many arguments may be keys: all of them are taken for it,
 * which at worst makes it wait for another. */
#define UNKNOWN_MAX 64

/* An encoded command, taken apart. */
typedef struct parts {
    const kw_allocator *mem;
    kw_bytes space[INLINE_N];
    kw_bytes *argv;
    size_t argc;
} parts;

/* The number behind one byte, up to "\r\n", which *at is put behind. The bytes are the library's
 * own: they are well-formed. */
static size_t read_count(const char **at)
{
    size_t count = 0;
    const char *digit = *at + 1;
    for (; *digit != '\r'; digit++) {
        count = 10 * count + (size_t)(*digit - '0');
    }
    *at = digit + 2;
    return count;
}

static bool take_apart(parts *self, kw_bytes encoded)
{
    const char *at = encoded.data;
    self->argc = read_count(&at);
    self->argv = self->space;
    if (self->argc > INLINE_N) {
        self->argv = kw_mem_calloc(self->mem, self->argc, sizeof(self->argv[0]));
    }
    for (size_t i = 0; self->argv != NULL && i < self->argc; i++) {
        self->argv[i].len = read_count(&at);
        self->argv[i].data = at;
        at += self->argv[i].len + 2;
    }
    return self->argv != NULL;
}

/* Finds the keys of a command that the table knows; of others every argument counts as one. */
static bool find_keys(kw_keys *keys, const kw_item *item, const parts *found)
{
    if (item->plan.command != NULL) {
        return kw_keys_find(keys, NULL, item->plan.command, found->argv, found->argc) == KW_OK;
    }
    keys->argv = found->argv;
    keys->ranges_n = found->argc > 1 ? 1 : 0;
    keys->ranges[0].at = 1;
    keys->ranges[0].count = found->argc - 1 < UNKNOWN_MAX ? found->argc - 1 : UNKNOWN_MAX;
    keys->ranges[0].step = 1;
    return true;
}

/* The seed of a key's hash: where the caller names the node, the key is another than elsewhere. */
static uint64_t seed_of(const kw_item *item)
{
    return item->plan.kind == KW_PLAN_NODE ? (uint64_t)(uintptr_t)item->plan.node : 0;
}

static bool is_read(const kw_plan *plan)
{
    unsigned flags = plan->command != NULL ? kw_command_flags(plan->command) : 0;
    return (flags & (KW_COMMAND_READ | KW_COMMAND_WRITE)) == KW_COMMAND_READ;
}

static bool add(kw_item *item, kw_ordering *ordering, const kw_keys *keys)
{
    const kw_allocator *mem = ordering->mem;
    uint64_t space[INLINE_N];
    size_t n = kw_keys_count(keys);
    uint64_t *hashes = n > INLINE_N ? kw_mem_calloc(mem, n, sizeof(hashes[0])) : space;
    for (size_t i = 0; hashes != NULL && i < n; i++) {
        hashes[i] = kw_order_hash(kw_keys_at(keys, i), seed_of(item));
    }
    bool is_added = hashes != NULL &&
                    kw_ordering_add(ordering, &item->ordered, is_read(&item->plan), hashes, n);
    if (hashes != space) {
        kw_mem_free(mem, hashes);
    }
    return is_added;
}

/* Adds the keys of a command whose plan does not name them: several, or to a node of the caller's
 * choice. */
static bool add_parts(kw_item *item, kw_ordering *ordering)
{
    parts found;
    kw_keys keys;
    found.mem = ordering->mem;
    if (!take_apart(&found, item->request.bytes)) {
        return false;
    }
    keys.ranges_n = 0;
    if (!find_keys(&keys, item, &found)) {
        keys.ranges_n = 0; /* a server says what is wrong with it */
    }
    bool is_added = keys.ranges_n == 0 || add(item, ordering, &keys);
    if (found.argv != found.space) {
        kw_mem_free(found.mem, found.argv);
    }
    return is_added;
}

bool kw_item_keys_add(kw_item *item, kw_ordering *ordering)
{
    if (item->plan.is_blocking || item->is_map_only) {
        return true;
    }
    if (item->plan.key_hash != 0) {
        return kw_ordering_add(ordering, &item->ordered, is_read(&item->plan), &item->plan.key_hash,
                               1);
    }
    return add_parts(item, ordering);
}

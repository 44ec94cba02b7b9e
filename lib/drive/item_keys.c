/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds the keys of an encoded command again, and hashes them for the ordering. */
#include "drive/item_keys.h"

#include "drive/encoded_args.h"
#include "route/keys.h"

#include <string.h>

/* Commands with so many keys need no heap. */
#define INLINE_N 16

/* Of a command that no table knows, so many arguments may be keys: all of them are taken for it,
 * which at worst makes it wait for another. */
#define UNKNOWN_MAX 64

/* Finds the keys of a command that the table knows; of others every argument counts as one. */
static bool find_keys(kw_keys *keys, const kw_command_info *command, const kw_encoded_args *found)
{
    if (command != NULL) {
        return kw_keys_find(keys, NULL, command, found->argv, found->argc) == KW_OK;
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

/* Hashes of keys, gathered. */
typedef struct hashes {
    const kw_allocator *mem;
    uint64_t seed;
    uint64_t space[INLINE_N];
    uint64_t *at;
    size_t n;
    size_t capacity;
} hashes;

static bool reserve(hashes *self, size_t n)
{
    if (self->capacity - self->n >= n) {
        return true;
    }
    size_t capacity = 2 * (self->n + n);
    uint64_t *at = kw_mem_calloc(self->mem, capacity, sizeof(at[0]));
    if (at == NULL) {
        return false;
    }
    memcpy(at, self->at, self->n * sizeof(at[0]));
    if (self->at != self->space) {
        kw_mem_free(self->mem, self->at);
    }
    self->at = at;
    self->capacity = capacity;
    return true;
}

static bool gather_channel(hashes *self, kw_bytes channel)
{
    if (!reserve(self, 1)) {
        return false;
    }
    self->at[self->n++] = kw_order_hash(channel, self->seed);
    return true;
}

/* The keys of one command, or its channel; a server says what is wrong with one whose keys cannot
 * be found. */
static bool gather(hashes *self, const kw_command_info *command, const kw_encoded_args *args)
{
    kw_keys keys;
    keys.ranges_n = 0;
    if (!find_keys(&keys, command, args)) {
        return true;
    }
    if (keys.ranges_n == 0) {
        kw_bytes channel = {NULL, 0};
        if (command != NULL) {
            channel = kw_keys_channel(command, args->argv, args->argc);
        }
        return channel.data == NULL || gather_channel(self, channel);
    }
    size_t n = kw_keys_count(&keys);
    if (!reserve(self, n)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        self->at[self->n++] = kw_order_hash(kw_keys_at(&keys, i), self->seed);
    }
    return true;
}

/* The keys of a command, or of all commands of a whole transaction. */
static bool gather_all(hashes *self, const kw_item *item)
{
    kw_bytes rest = item->request.bytes;
    bool is_good = true;
    while (is_good && rest.len > 0) {
        kw_encoded_args args;
        if (!kw_encoded_args_take(&args, self->mem, &rest)) {
            return false;
        }
        const kw_command_info *command =
            item->plan.is_transaction ? kw_command_find(args.argv, args.argc) : item->plan.command;
        is_good = gather(self, command, &args);
        kw_encoded_args_fini(&args);
    }
    return is_good;
}

/* Adds the keys of a command whose plan does not name them: several, or to a node of the caller's
 * choice. */
static bool add_parts(kw_item *item, kw_ordering *ordering)
{
    hashes found = {.mem = ordering->mem, .seed = seed_of(item), .capacity = INLINE_N};
    found.at = found.space;
    bool is_added = gather_all(&found, item) &&
                    (found.n == 0 || kw_ordering_add(ordering, &item->ordered, is_read(&item->plan),
                                                     found.at, found.n));
    if (found.at != found.space) {
        kw_mem_free(found.mem, found.at);
    }
    return is_added;
}

bool kw_item_keys_add(kw_item *item, kw_ordering *ordering)
{
    if (item->plan.is_blocking || item->is_map_only) {
        return true;
    }
    if (item->plan.keys == KW_PLAN_KEYS_HASHED) {
        return kw_ordering_add_one(ordering, &item->ordered, is_read(&item->plan),
                                   item->plan.key_hash);
    }
    return add_parts(item, ordering);
}

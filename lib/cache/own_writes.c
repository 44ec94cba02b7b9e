/* SPDX-License-Identifier: BSD-3-Clause */
/* Changes the stamps of the keys that a command writes; of all keys where nobody can say which. */
#include "cache/own_writes.h"

#include "cache/near.h"
#include "route/keys.h"

/* What a change, and a write under way, add to a stamp. */
#define CHANGE ((uint64_t)1 << 24)
#define OPEN   ((uint64_t)1)

typedef struct own_write {
    kw_own_write face;
    kw_write_stamps *stamps;
    size_t hashes_n; /* 0: all keys */
    uint64_t hashes[];
} own_write;

static void change(const own_write *write, uint64_t by)
{
    for (size_t i = 0; i < write->hashes_n; i++) {
        atomic_fetch_add(&write->stamps->at[write->hashes[i] % KW_WRITE_STAMPS_N], by);
    }
    for (size_t i = 0; write->hashes_n == 0 && i < KW_WRITE_STAMPS_N; i++) {
        atomic_fetch_add(&write->stamps->at[i], by);
    }
}

static void end(kw_own_write *face)
{
    own_write *write = (own_write *)(void *)face;
    kw_allocator mem = write->stamps->mem;
    change(write, CHANGE - OPEN);
    kw_write_stamps_unref(write->stamps);
    kw_mem_free(&mem, write);
}

static kw_own_write *begin(kw_write_stamps *stamps, const kw_own_command *command)
{
    kw_keys keys;
    bool is_known = command->command != NULL && kw_keys_find(&keys, NULL, command->command,
                                                             command->argv, command->argc) == KW_OK;
    size_t n = is_known ? kw_keys_count(&keys) : 0;
    own_write *write = kw_mem_alloc(&stamps->mem, sizeof(*write) + n * sizeof(write->hashes[0]));
    if (write == NULL) {
        return NULL;
    }
    write->face.next = NULL;
    write->face.end_fn = end;
    write->stamps = stamps;
    atomic_fetch_add_explicit(&stamps->refs, 1, memory_order_relaxed);
    write->hashes_n = n;
    for (size_t i = 0; i < n; i++) {
        write->hashes[i] = kw_near_hash(kw_keys_at(&keys, i));
    }
    change(write, CHANGE + OPEN);
    return &write->face;
}

kw_write_stamps *kw_own_writes_watch(kw_topology *topology)
{
    kw_write_stamps *known = atomic_load(&topology->write_stamps);
    if (known != NULL) {
        return known;
    }
    kw_write_stamps *stamps = kw_mem_calloc(&topology->env.mem, 1, sizeof(*stamps));
    if (stamps == NULL) {
        return NULL;
    }
    stamps->mem = topology->env.mem;
    atomic_init(&stamps->refs, 1);
    stamps->begin_fn = begin;
    if (!atomic_compare_exchange_strong(&topology->write_stamps, &known, stamps)) {
        kw_mem_free(&topology->env.mem, stamps);
        return known;
    }
    return stamps;
}

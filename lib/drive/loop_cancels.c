/* SPDX-License-Identifier: BSD-3-Clause */
/* Callbacks whose commands are to be given up: a sorted array while it is looked into. */
#include "drive/loop_cancels.h"

#include <stdlib.h>
#include <string.h>

bool kw_loop_cancels_add(kw_loop_cancels *cancels, const kw_allocator *mem,
                         const kw_loop_cancel_entry *entry)
{
    if (cancels->n == cancels->capacity) {
        size_t capacity = cancels->capacity > 0 ? 2 * cancels->capacity : 8;
        kw_loop_cancel_entry *entries =
            kw_mem_resize(mem, cancels->entries, capacity, sizeof(entries[0]));
        if (entries == NULL) {
            return false;
        }
        cancels->entries = entries;
        cancels->capacity = capacity;
    }
    cancels->entries[cancels->n++] = *entry;
    return true;
}

/* By arg, which mostly differs, then by function. */
static int compare(const kw_callback *a, const kw_callback *b)
{
    uintptr_t arg_a = (uintptr_t)a->arg;
    uintptr_t arg_b = (uintptr_t)b->arg;
    if (arg_a != arg_b) {
        return arg_a < arg_b ? -1 : 1;
    }
    return a->fn == b->fn ? 0 : (uintptr_t)a->fn < (uintptr_t)b->fn ? -1 : 1;
}

static int compare_entries(const void *a, const void *b)
{
    const kw_loop_cancel_entry *left = a;
    const kw_loop_cancel_entry *right = b;
    int order = compare(&left->callback, &right->callback);
    if (order != 0 || left->stamp == right->stamp) {
        return order;
    }
    return (int32_t)(left->stamp - right->stamp) > 0 ? -1 : 1; /* what means most comes first */
}

void kw_loop_cancels_sort(kw_loop_cancels *cancels)
{
    if (cancels->n < 2) {
        return;
    }
    qsort(cancels->entries, cancels->n, sizeof(cancels->entries[0]), compare_entries);
    size_t n = 1;
    for (size_t i = 1; i < cancels->n; i++) {
        if (compare(&cancels->entries[n - 1].callback, &cancels->entries[i].callback) != 0) {
            cancels->entries[n++] = cancels->entries[i];
        }
    }
    cancels->n = n;
}

bool kw_loop_cancels_has(const kw_loop_cancels *cancels, const kw_async_command *command)
{
    kw_callback callback = {command->fn, command->arg};
    size_t low = 0;
    size_t high = cancels->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const kw_loop_cancel_entry *entry = &cancels->entries[middle];
        int order = compare(&callback, &entry->callback);
        if (order == 0) {
            return (int32_t)(command->stamp - entry->stamp) <= 0;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return false;
}

void kw_loop_cancels_fini(kw_loop_cancels *cancels, const kw_allocator *mem)
{
    kw_mem_free(mem, cancels->entries);
    memset(cancels, 0, sizeof(*cancels));
}

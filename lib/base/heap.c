/* SPDX-License-Identifier: BSD-3-Clause */
/* A binary heap of pointers, each of which knows its place. */
#include "base/heap.h"

#include <string.h>

void kw_heap_init(kw_heap *heap, const kw_allocator *mem)
{
    heap->mem = mem;
    heap->entries = heap->space;
    heap->n = 0;
    heap->capacity = KW_HEAP_INLINE;
}

void kw_heap_fini(kw_heap *heap)
{
    if (heap->entries != heap->space) {
        kw_mem_free(heap->mem, heap->entries);
    }
    heap->entries = heap->space;
    heap->n = 0;
    heap->capacity = KW_HEAP_INLINE;
}

static void put(kw_heap *heap, size_t at, kw_heap_entry *entry)
{
    heap->entries[at] = entry;
    entry->place = at + 1;
}

/* Up from at, which is free, to where the entry is due no sooner than the one above it. */
static void rise(kw_heap *heap, size_t at, kw_heap_entry *entry)
{
    while (at > 0 && heap->entries[(at - 1) / 2]->at_ns > entry->at_ns) {
        put(heap, at, heap->entries[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(heap, at, entry);
}

/* Down from at, which is free, to where the entry is due no later than those below it. */
static void sink(kw_heap *heap, size_t at, kw_heap_entry *entry)
{
    for (size_t below = 2 * at + 1; below < heap->n; below = 2 * at + 1) {
        if (below + 1 < heap->n && heap->entries[below + 1]->at_ns < heap->entries[below]->at_ns) {
            below++;
        }
        if (heap->entries[below]->at_ns >= entry->at_ns) {
            break;
        }
        put(heap, at, heap->entries[below]);
        at = below;
    }
    put(heap, at, entry);
}

static bool grow(kw_heap *heap)
{
    bool is_inline = heap->entries == heap->space;
    size_t capacity = 2 * heap->capacity;
    kw_heap_entry **entries =
        kw_mem_resize(heap->mem, is_inline ? NULL : heap->entries, capacity, sizeof(entries[0]));
    if (entries == NULL) {
        return false;
    }
    if (is_inline) {
        memcpy(entries, heap->space, sizeof(heap->space));
    }
    heap->entries = entries;
    heap->capacity = capacity;
    return true;
}

bool kw_heap_push(kw_heap *heap, kw_heap_entry *entry, uint64_t at_ns)
{
    if (heap->n == heap->capacity && !grow(heap)) {
        return false;
    }
    entry->at_ns = at_ns;
    rise(heap, heap->n++, entry);
    return true;
}

void kw_heap_remove(kw_heap *heap, kw_heap_entry *entry)
{
    if (entry->place == 0) {
        return;
    }
    size_t at = entry->place - 1;
    kw_heap_entry *last = heap->entries[--heap->n];
    entry->place = 0;
    if (last == entry) {
        return;
    }
    if (at > 0 && heap->entries[(at - 1) / 2]->at_ns > last->at_ns) {
        rise(heap, at, last);
    } else {
        sink(heap, at, last);
    }
}

void kw_heap_take_out(kw_heap *heap, bool (*takes_fn)(void *arg, kw_heap_entry *entry), void *arg)
{
    size_t kept_n = 0;
    for (size_t i = 0; i < heap->n; i++) {
        kw_heap_entry *entry = heap->entries[i];
        entry->place = 0;
        if (!takes_fn(arg, entry)) {
            put(heap, kept_n++, entry);
        }
    }
    if (kept_n == heap->n) {
        return;
    }
    heap->n = kept_n;
    for (size_t i = kept_n / 2; i > 0; i--) {
        sink(heap, i - 1, heap->entries[i - 1]);
    }
}

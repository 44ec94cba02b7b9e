/* SPDX-License-Identifier: BSD-3-Clause */
/* Heap: what is due first, of many things with a time each. Things are parts of their owners'
 * memory, and can be taken out at any time. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include "base/memory.h"

typedef struct kw_heap_entry {
    uint64_t at_ns;
    size_t place; /* in the heap, and one; 0: it is in none */
} kw_heap_entry;

/* In no heap. */
static inline void kw_heap_entry_init(kw_heap_entry *entry)
{
    entry->at_ns = 0;
    entry->place = 0;
}

/* So many entries need no memory of their own. A heap stays where it is. */
#define KW_HEAP_INLINE 8

typedef struct kw_heap {
    const kw_allocator *mem;
    kw_heap_entry *space[KW_HEAP_INLINE];
    kw_heap_entry **entries; /* a binary heap */
    size_t n;
    size_t capacity;
} kw_heap;

void kw_heap_init(kw_heap *heap, const kw_allocator *mem);
void kw_heap_fini(kw_heap *heap);

/* The entry is in no heap. False when there is no memory. */
bool kw_heap_push(kw_heap *heap, kw_heap_entry *entry, uint64_t at_ns);

/* Nothing where the entry is in no heap. */
void kw_heap_remove(kw_heap *heap, kw_heap_entry *entry);

/* Takes out every entry that takes_fn, called once for each, says true of: its owner's again by
 * then. */
void kw_heap_take_out(kw_heap *heap, bool (*takes_fn)(void *arg, kw_heap_entry *entry), void *arg);

/* The entry that is due first; NULL: the heap is empty. */
static inline kw_heap_entry *kw_heap_first(const kw_heap *heap)
{
    return heap->n > 0 ? heap->entries[0] : NULL;
}

static inline bool kw_heap_has(const kw_heap_entry *entry)
{
    return entry->place > 0;
}

/* When that is; UINT64_MAX: never. */
static inline uint64_t kw_heap_first_ns(const kw_heap *heap)
{
    return heap->n > 0 ? heap->entries[0]->at_ns : UINT64_MAX;
}

#endif

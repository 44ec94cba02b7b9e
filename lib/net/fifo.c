/* SPDX-License-Identifier: BSD-3-Clause */
/* The ring of owners, and how one of them leaves it. */
#include "net/fifo.h"

#define FIRST_CAPACITY ((size_t)8)

void kw_fifo_init(kw_fifo *fifo, const kw_allocator *mem)
{
    fifo->mem = mem;
    fifo->owners = NULL;
    fifo->capacity = 0;
    fifo->head = 0;
    fifo->count = 0;
}

void kw_fifo_fini(kw_fifo *fifo)
{
    kw_mem_free(fifo->mem, fifo->owners);
    kw_fifo_init(fifo, fifo->mem);
}

static bool grow(kw_fifo *fifo)
{
    size_t capacity;
    if (!kw_size_mul(&capacity, fifo->capacity > 0 ? fifo->capacity : FIRST_CAPACITY / 2, 2)) {
        return false;
    }
    kw_owner *owners = kw_mem_calloc(fifo->mem, capacity, sizeof(*owners));
    if (owners == NULL) {
        return false;
    }
    for (size_t i = 0; i < fifo->count; i++) {
        owners[i] = fifo->owners[(fifo->head + i) & (fifo->capacity - 1)];
    }
    kw_mem_free(fifo->mem, fifo->owners);
    fifo->owners = owners;
    fifo->capacity = capacity;
    fifo->head = 0;
    return true;
}

bool kw_fifo_grow(kw_fifo *fifo, size_t n)
{
    while (fifo->capacity - fifo->count < n) {
        if (!grow(fifo)) {
            return false;
        }
    }
    return true;
}

bool kw_fifo_forget(kw_fifo *fifo, const kw_request *request)
{
    for (size_t i = 0; i < fifo->count; i++) {
        kw_owner *owner = &fifo->owners[(fifo->head + i) & (fifo->capacity - 1)];
        if (kw_owner_request(owner) == request) {
            owner->kind = KW_OWNER_NOBODY;
            owner->end_at = request->end_at;
            return true;
        }
    }
    return false;
}

bool kw_fifo_drop_last(kw_fifo *fifo, const kw_request *request, size_t n)
{
    if (fifo->count < n || kw_owner_request(kw_fifo_at(fifo, fifo->count - 1)) != request) {
        return false;
    }
    fifo->count -= n;
    return true;
}

void kw_fifo_make_optional(kw_fifo *fifo)
{
    for (size_t i = 0; i < fifo->count; i++) {
        kw_owner *owner = &fifo->owners[(fifo->head + i) & (fifo->capacity - 1)];
        if (owner->kind != KW_OWNER_REQUEST && owner->kind != KW_OWNER_PARTS &&
            owner->kind != KW_OWNER_IDENTITY) {
            owner->what = kw_owner_what(owner);
            owner->kind = KW_OWNER_OPTIONAL;
        }
    }
}

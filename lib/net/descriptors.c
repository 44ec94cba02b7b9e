/* SPDX-License-Identifier: BSD-3-Clause */
/* The list of open sockets, in blocks that are added to and never moved. */
#include "net/descriptors.h"

#include <errno.h>
#include <unistd.h>

void kw_descriptors_init(kw_descriptors *self)
{
    atomic_init(&self->first.next, NULL);
    for (size_t i = 0; i < KW_DESCRIPTORS_BLOCK; i++) {
        atomic_init(&self->first.sockets[i], 0);
    }
}

void kw_descriptors_fini(kw_descriptors *self, const kw_allocator *mem)
{
    kw_descriptors_block *block = atomic_load(&self->first.next);
    while (block != NULL) {
        kw_descriptors_block *next = atomic_load(&block->next);
        kw_mem_free(mem, block);
        block = next;
    }
}

static bool add_to_block(kw_descriptors_block *block, int socket)
{
    for (size_t i = 0; i < KW_DESCRIPTORS_BLOCK; i++) {
        int none = 0;
        if (atomic_compare_exchange_strong(&block->sockets[i], &none, socket + 1)) {
            return true;
        }
    }
    return false;
}

/* The block behind, made where there is none yet; NULL when there is no memory. */
static kw_descriptors_block *next_block(kw_descriptors_block *block, const kw_allocator *mem)
{
    kw_descriptors_block *next = atomic_load(&block->next);
    if (next != NULL) {
        return next;
    }
    kw_descriptors_block *fresh = kw_mem_calloc(mem, 1, sizeof(*fresh));
    if (fresh == NULL) {
        return NULL;
    }
    if (!atomic_compare_exchange_strong(&block->next, &next, fresh)) {
        kw_mem_free(mem, fresh); /* another thread was faster; next is its block */
        return next;
    }
    return fresh;
}

bool kw_descriptors_add(kw_descriptors *self, const kw_allocator *mem, int socket)
{
    kw_descriptors_block *block = &self->first;
    while (block != NULL) {
        if (add_to_block(block, socket)) {
            return true;
        }
        block = next_block(block, mem);
    }
    return false;
}

int kw_descriptors_keep(kw_descriptors *self, const kw_allocator *mem, int fd)
{
    if (fd < 0) {
        return -errno;
    }
    if (!kw_descriptors_add(self, mem, fd)) {
        (void)close(fd);
        return -ENOMEM;
    }
    return fd;
}

bool kw_descriptors_remove(kw_descriptors *self, int socket)
{
    kw_descriptors_block *block = &self->first;
    while (block != NULL) {
        for (size_t i = 0; i < KW_DESCRIPTORS_BLOCK; i++) {
            int expected = socket + 1;
            if (atomic_compare_exchange_strong(&block->sockets[i], &expected, 0)) {
                return true;
            }
        }
        block = atomic_load(&block->next);
    }
    return false;
}

void kw_descriptors_close_all(kw_descriptors *self, void (*close_fn)(void *arg, int socket),
                              void *arg)
{
    kw_descriptors_block *block = &self->first;
    while (block != NULL) {
        for (size_t i = 0; i < KW_DESCRIPTORS_BLOCK; i++) {
            int socket = atomic_exchange(&block->sockets[i], 0);
            if (socket > 0) {
                close_fn(arg, socket - 1);
            }
        }
        block = atomic_load(&block->next);
    }
}

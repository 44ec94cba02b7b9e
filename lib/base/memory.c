/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory by the host's allocator, or by that of the C library. */
#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *default_malloc(void *arg, size_t len)
{
    (void)arg;
    return malloc(len);
}

static void *default_realloc(void *arg, void *block, size_t len)
{
    (void)arg;
    return realloc(block, len);
}

static void default_free(void *arg, void *block)
{
    (void)arg;
    free(block);
}

static const kw_allocator default_allocator = {
    sizeof(kw_allocator), NULL, default_malloc, default_realloc, default_free,
};

const kw_allocator *kw_mem_default(void)
{
    return &default_allocator;
}

void *kw_mem_alloc(const kw_allocator *mem, size_t len)
{
    return mem->malloc_fn(mem->arg, len > 0 ? len : 1);
}

void *kw_mem_calloc(const kw_allocator *mem, size_t count, size_t len)
{
    size_t total;
    if (!kw_size_mul(&total, count, len)) {
        return NULL;
    }
    void *block = kw_mem_alloc(mem, total);
    if (block != NULL) {
        memset(block, 0, total);
    }
    return block;
}

void *kw_mem_resize(const kw_allocator *mem, void *block, size_t count, size_t len)
{
    size_t total;
    if (!kw_size_mul(&total, count, len)) {
        return NULL;
    }
    return mem->realloc_fn(mem->arg, block, total > 0 ? total : 1);
}

char *kw_mem_strndup(const kw_allocator *mem, const char *text, size_t len)
{
    size_t total;
    if (!kw_size_add(&total, len, 1)) {
        return NULL;
    }
    char *copy = kw_mem_alloc(mem, total);
    if (copy != NULL) {
        if (len > 0) {
            memcpy(copy, text, len);
        }
        copy[len] = '\0';
    }
    return copy;
}

void kw_mem_free(const kw_allocator *mem, void *block)
{
    if (block != NULL) {
        mem->free_fn(mem->arg, block);
    }
}

void kw_mem_wipe(void *data, size_t len)
{
    volatile char *at = data;
    for (size_t i = 0; i < len; i++) {
        at[i] = 0;
    }
}

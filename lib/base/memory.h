/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory: the host's allocator, and sizes that do not overflow. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <keyway/memory.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* malloc, realloc and free of the C library. */
const kw_allocator *kw_mem_default(void);

/* len bytes, uninitialised; NULL when there is no memory. len 0 gives a block. */
void *kw_mem_alloc(const kw_allocator *mem, size_t len);

/* count x len bytes of zeros; NULL when there is no memory or on overflow. */
void *kw_mem_calloc(const kw_allocator *mem, size_t count, size_t len);

/* block moved to count x len bytes; NULL (and block untouched) when there is no
 * memory or on overflow. */
void *kw_mem_resize(const kw_allocator *mem, void *block, size_t count, size_t len);

/* A copy of len bytes with a zero byte behind; NULL when there is no memory. */
char *kw_mem_strndup(const kw_allocator *mem, const char *text, size_t len);

void kw_mem_free(const kw_allocator *mem, void *block);

/* Writes zeros over a secret; the compiler does not leave it out, though nobody reads them. */
void kw_mem_wipe(void *data, size_t len);

/* The processor may bring these bytes near while something else is done: they are about to be
 * written to. No more than a hint; data need not be valid. */
static inline void kw_mem_bring_near(const void *data, size_t len)
{
#if defined(__GNUC__) || defined(__clang__)
    for (size_t at = 0; at < len; at += 64) {
        __builtin_prefetch((const char *)data + at, 1);
    }
#else
    (void)data;
    (void)len;
#endif
}

/* *product = a x b, *sum = a + b; false (and nothing written) on overflow. */
static inline bool kw_size_mul(size_t *product, size_t a, size_t b)
{
    if (b != 0 && a > SIZE_MAX / b) {
        return false;
    }
    *product = a * b;
    return true;
}

static inline bool kw_size_add(size_t *sum, size_t a, size_t b)
{
    if (a > SIZE_MAX - b) {
        return false;
    }
    *sum = a + b;
    return true;
}

#endif

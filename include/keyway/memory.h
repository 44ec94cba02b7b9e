/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: memory that the host application gives. */
#ifndef KEYWAY_MEMORY_H
#define KEYWAY_MEMORY_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An allocator of the host. The three functions follow malloc, realloc and
 * free, with arg as their first argument; they are called from any thread that
 * calls keyway. realloc_fn gets NULL for a new block; free_fn gets NULL never.
 * The struct is copied where it is given; what arg points to must outlive every
 * object made with it. */
typedef struct kw_allocator {
    size_t size; /* sizeof(kw_allocator) */
    void *arg;
    void *(*malloc_fn)(void *arg, size_t len);
    void *(*realloc_fn)(void *arg, void *block, size_t len);
    void (*free_fn)(void *arg, void *block);
} kw_allocator;

#ifdef __cplusplus
}
#endif

#endif

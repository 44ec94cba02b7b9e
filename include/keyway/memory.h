/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: memory that the host application gives.
 *
 *   kw_allocator allocator = {sizeof(allocator), arg, my_malloc, my_realloc, my_free};
 *   kw_config *config = kw_config_new(&allocator);
 *   kw_client *client = kw_open_config(config, &error);
 *
 * From then on the memory of the handle, and of all that is made with it, comes from there, but for
 * what hiredis, the TLS library and the system take for themselves. */
#ifndef KEYWAY_MEMORY_H
#define KEYWAY_MEMORY_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An allocator of the host. Its functions follow malloc, realloc and free, with arg as their first
 * argument; they are called from any thread that calls keyway. The struct is copied where it is
 * given; what arg points to must outlive every object made with it. */
typedef struct kw_allocator {
    size_t size;                                             /* sizeof(kw_allocator) */
    void *arg;                                               /* the host's own */
    void *(*malloc_fn)(void *arg, size_t len);               /* len bytes, or NULL */
    void *(*realloc_fn)(void *arg, void *block, size_t len); /* block is NULL for a new one */
    void (*free_fn)(void *arg, void *block);                 /* block is never NULL */
} kw_allocator;

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Blob: bytes of a value that several callers hold; they never change. */
#ifndef CACHE_BLOB_H
#define CACHE_BLOB_H

#include "base/reply.h"

#include <stdatomic.h>

typedef struct kw_blob {
    atomic_size_t refs;
    kw_allocator mem;
    kw_reply *reply; /* has the bytes; NULL: they follow */
    kw_bytes bytes;
} kw_blob;

/* With one reference. NULL where there is no memory. */
kw_blob *kw_blob_copy(const kw_allocator *mem, kw_bytes bytes);

/* Bytes that are a part of the reply, which it takes over, also where there is no memory. */
kw_blob *kw_blob_of_reply(const kw_allocator *mem, kw_reply *reply, kw_bytes bytes);

static inline kw_blob *kw_blob_ref(kw_blob *blob)
{
    if (blob != NULL) {
        atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
    }
    return blob;
}

/* NULL is allowed. */
void kw_blob_unref(kw_blob *blob);

#endif

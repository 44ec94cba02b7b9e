/* SPDX-License-Identifier: BSD-3-Clause */
/* Blobs are freed by the last who lets go, which may be after the cache itself is gone. */
#include "cache/blob.h"

#include <string.h>

static kw_blob *make(const kw_allocator *mem, size_t room)
{
    size_t len;
    kw_blob *blob = kw_size_add(&len, room, sizeof(*blob)) ? kw_mem_alloc(mem, len) : NULL;
    if (blob != NULL) {
        atomic_init(&blob->refs, 1);
        blob->mem = *mem;
        blob->reply = NULL;
    }
    return blob;
}

kw_blob *kw_blob_copy(const kw_allocator *mem, kw_bytes bytes)
{
    kw_blob *blob = make(mem, bytes.len);
    if (blob != NULL) {
        char *at = (char *)(blob + 1);
        if (bytes.len > 0) {
            memcpy(at, bytes.data, bytes.len);
        }
        blob->bytes.data = at;
        blob->bytes.len = bytes.len;
    }
    return blob;
}

kw_blob *kw_blob_of_reply(const kw_allocator *mem, kw_reply *reply, kw_bytes bytes)
{
    kw_blob *blob = make(mem, 0);
    if (blob == NULL) {
        kw_reply_free(reply);
        return NULL;
    }
    blob->reply = reply;
    blob->bytes = bytes;
    return blob;
}

void kw_blob_unref(kw_blob *blob)
{
    if (blob != NULL && atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel) == 1) {
        kw_allocator mem = blob->mem;
        kw_reply_free(blob->reply);
        kw_mem_free(&mem, blob);
    }
}

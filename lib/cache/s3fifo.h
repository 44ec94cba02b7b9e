/* SPDX-License-Identifier: BSD-3-Clause */
/* S3-FIFO: which entry has to go when there is no room ("FIFO queues are all you need for cache
 * eviction", Yang, Zhang, Qiu, Yue and Rashmi, SOSP 2023). A small queue for what is new, a main
 * one for what was wanted again, and a memory of names that were let go lately, the ghosts. A hit
 * only counts; nothing moves. */
#ifndef CACHE_S3FIFO_H
#define CACHE_S3FIFO_H

#include "base/memory.h"

#include <stdatomic.h>

typedef struct kw_s3_link {
    struct kw_s3_link *newer;
    struct kw_s3_link *older;
    uint64_t hash;     /* of the name */
    uint32_t size;     /* what it counts for */
    atomic_uchar hits; /* since it came to its place, 3 at most */
    bool is_main;
} kw_s3_link;

typedef struct kw_s3_queue {
    kw_s3_link *newest;
    kw_s3_link *oldest;
    uint64_t size; /* sum */
    uint64_t n;
} kw_s3_queue;

/* A name that was let go: a part of its hash, and when. */
typedef struct kw_s3_ghost {
    uint32_t mark; /* 0: none */
    uint32_t time; /* as ghosts_n was */
} kw_s3_ghost;

typedef struct kw_s3fifo {
    uint64_t room; /* that the sizes of all may come to */
    kw_s3_queue small;
    kw_s3_queue main;
    kw_s3_ghost *ghosts; /* rows of 4 */
    uint64_t rows_mask;
    uint32_t ghosts_n; /* so far; wraps */
} kw_s3fifo;

/* names_n: how many entries there may be about. KW_ERR_NOMEM is false. */
bool kw_s3fifo_init(kw_s3fifo *self, const kw_allocator *mem, uint64_t room, uint64_t names_n);
void kw_s3fifo_fini(kw_s3fifo *self, const kw_allocator *mem);

/* Bytes of its ghosts. */
size_t kw_s3fifo_bytes(const kw_s3fifo *self);

/* Takes in a new entry, whose hash and size are set; others may have to go then. */
void kw_s3fifo_insert(kw_s3fifo *self, kw_s3_link *link);

/* It is gone for another reason than room. */
void kw_s3fifo_remove(kw_s3fifo *self, kw_s3_link *link);

/* The entry that has to go, taken out; NULL: there is room. */
kw_s3_link *kw_s3fifo_evict(kw_s3fifo *self);

/* It was wanted. Any thread; stores only while that changes something. */
static inline void kw_s3fifo_hit(kw_s3_link *link)
{
    unsigned char hits = atomic_load_explicit(&link->hits, memory_order_relaxed);
    if (hits < 3) {
        atomic_store_explicit(&link->hits, (unsigned char)(hits + 1), memory_order_relaxed);
    }
}

static inline uint64_t kw_s3fifo_size(const kw_s3fifo *self)
{
    return self->small.size + self->main.size;
}

static inline uint64_t kw_s3fifo_n(const kw_s3fifo *self)
{
    return self->small.n + self->main.n;
}

#endif

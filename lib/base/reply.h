/* SPDX-License-Identifier: BSD-3-Clause */
/* Replies: a redisReply tree in one arena, freed with its root. */
#ifndef BASE_REPLY_H
#define BASE_REPLY_H

#include <keyway/reply.h>

#include <hiredis.h>

#include "base/bytes.h"
#include "base/memory.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is in a reply's memory is aligned for any type. */
#define KW_REPLY_ALIGN (alignof(max_align_t))

/* A kw_reply is a redisReply in memory of ours, and so is each of its elements. */
struct kw_reply {
    redisReply hiredis;
};

/* A new root, a nil, with room for room bytes without a second allocation. NULL
 * when there is no memory. Freed with kw_reply_free. */
kw_reply *kw_reply_new(const kw_allocator *mem, size_t room);

/* Memory for many replies that are freed together, or nearly so: a piece of it is freed with
 * the last reply in it, by whatever thread. Zeros are an empty pool. One thread at a time. */
typedef struct kw_reply_slab kw_reply_slab;
typedef struct kw_reply_pool {
    kw_reply_slab *slab; /* the piece that is being filled; or NULL */
    char *at;            /* its free bytes: at .. end */
    char *end;
    size_t used_n; /* replies in it so far */
} kw_reply_pool;

/* What is there of a stream, from a reply on, and what that takes of it; both more than 0. */
typedef struct kw_reply_stream {
    size_t len;
    size_t reply_len;
} kw_reply_stream;

/* As kw_reply_new, from the pool, which begins a new piece where that does not fit: one for all
 * that is there, as if it were replies like this one. */
kw_reply *kw_reply_pool_new(kw_reply_pool *pool, const kw_allocator *mem, size_t room,
                            kw_reply_stream stream);

/* A new root, a string, status or error with a copy of the bytes: with memory of its own, or from
 * the pool, as kw_reply_pool_new. NULL when there is no memory. */
kw_reply *kw_reply_new_string(const kw_allocator *mem, kw_reply_kind kind, kw_bytes text);
kw_reply *kw_reply_pool_string(kw_reply_pool *pool, const kw_allocator *mem, kw_reply_stream stream,
                               kw_reply_kind kind, kw_bytes text);

/* Begins no reply in the piece any more: the pool is empty again. */
void kw_reply_pool_close(kw_reply_pool *pool);

/* Where the elements of an array go while it is read, in place of a reply of its own: element
 * i, of count, becomes element places[i] of root, an array that has that place. */
typedef struct kw_reply_sink {
    kw_reply *root;
    const uint32_t *places;
    size_t count;
} kw_reply_sink;

/* Stands for a reply whose elements went to their sink: an array without elements, constant.
 * kw_reply_free leaves it alone. */
kw_reply *kw_reply_sunk(void);

/* True for a root that shares its memory with others. */
bool kw_reply_is_pooled(kw_reply *root);

/* The reply in memory of its own: itself where it has that already, else a copy, and the reply
 * is freed. NULL, and the reply stays, when there is no memory. */
kw_reply *kw_reply_own(const kw_allocator *mem, kw_reply *reply);

/* A copy of a root or an element in one piece of memory. NULL when there is none. */
kw_reply *kw_reply_clone(const kw_allocator *mem, const kw_reply *from);

/* How much of a reply's room is used up: by kw_reply_alloc of len bytes, by kw_reply_set_array,
 * and by kw_reply_copy. Unchecked sums: the sizes are of what is in memory already. */
static inline size_t kw_reply_room(size_t len)
{
    return (len + KW_REPLY_ALIGN - 1) / KW_REPLY_ALIGN * KW_REPLY_ALIGN;
}
size_t kw_reply_array_room(size_t count);

/* Memory that lives as long as root, aligned for any type; NULL when there is
 * none. */
void *kw_reply_alloc(kw_reply *root, size_t len);

/* Makes reply (root itself or an element below it) a string, status or error with
 * a copy of the bytes. False when there is no memory. */
bool kw_reply_set_string(kw_reply *root, kw_reply *reply, kw_reply_kind kind, kw_bytes text);

/* Makes reply an array (or set, map, push) of count nil elements. False when
 * there is no memory. */
bool kw_reply_set_array(kw_reply *root, kw_reply *reply, kw_reply_kind kind, size_t count);

/* Makes reply an array of count elements that come one after the other, by kw_reply_next_slot: its
 * memory grows with them, for a count may be a lie. False when there is no memory. */
bool kw_reply_begin_array(kw_reply *root, kw_reply *reply, kw_reply_kind kind, size_t count);

/* Element index of such an array, a nil; those before it were asked for. NULL when there is no
 * memory, and beyond count: up to 1.4.0 hiredis reads more elements of a map than it announced,
 * where twice their number does not fit into a size_t of 32 bits. */
kw_reply *kw_reply_next_slot(kw_reply *root, kw_reply *reply, size_t index);

void kw_reply_set_integer(kw_reply *reply, kw_reply_kind kind, long long value);

/* Makes reply, an element of root's tree or root, a copy of from and all below. False when
 * there is no memory. */
bool kw_reply_copy(kw_reply *root, kw_reply *reply, const kw_reply *from);

/* Makes root an error with a copy of the text, and leaves it its elements. False when
 * there is no memory. */
bool kw_reply_make_error(kw_reply *root, kw_bytes text);

/* Says of an error that its command, or a part of it, may have run all the same; copies say so,
 * too. */
void kw_reply_mark_partial(kw_reply *error);

/* True for an error so marked, and for one with an element that is so marked or no error. */
bool kw_reply_is_partial(const kw_reply *error);

/* kw_reply_type of a reply that is there. */
static inline bool kw_reply_is(const kw_reply *reply, kw_reply_kind kind)
{
    return reply->hiredis.type == (int)kind;
}

/* Element to be written while the tree is built; index is below the count. */
kw_reply *kw_reply_slot(kw_reply *reply, size_t index);

/* Bytes of a string-like reply; empty for every other kind. */
kw_bytes kw_reply_bytes(const kw_reply *reply);

#endif

/* Replies: a redisReply tree in one arena, freed with its root. */
#ifndef BASE_REPLY_H
#define BASE_REPLY_H

#include <keyway/reply.h>

#include <hiredis.h>

#include "base/bytes.h"
#include "base/memory.h"

#include <stdbool.h>
#include <stddef.h>

/* A kw_reply is a redisReply; elements are kw_reply as well. */
struct kw_reply {
    redisReply hiredis;
};

/* A new root, a nil, with room for room bytes without a second allocation. NULL
 * when there is no memory. Freed with kw_reply_free. */
kw_reply *kw_reply_new(const kw_allocator *mem, size_t room);

/* What kw_reply_alloc takes of the room for len bytes; len is a size of memory there is. */
size_t kw_reply_room(size_t len);

/* Memory that lives as long as root, aligned for any type; NULL when there is
 * none. */
void *kw_reply_alloc(kw_reply *root, size_t len);

/* Makes reply (root itself or an element below it) a string, status or error with
 * a copy of the bytes. False when there is no memory. */
bool kw_reply_set_string(kw_reply *root, kw_reply *reply, kw_reply_kind kind, kw_bytes text);

/* Makes reply an array (or set, map, push) of count nil elements. False when
 * there is no memory. */
bool kw_reply_set_array(kw_reply *root, kw_reply *reply, kw_reply_kind kind, size_t count);

void kw_reply_set_integer(kw_reply *reply, kw_reply_kind kind, long long value);

/* Makes reply, an element of root's tree or root, a copy of from and all below. False when
 * there is no memory. */
bool kw_reply_copy(kw_reply *root, kw_reply *reply, const kw_reply *from);

/* Makes root an error with a copy of the text, and leaves it its elements. False when
 * there is no memory. */
bool kw_reply_make_error(kw_reply *root, kw_bytes text);

/* Element to be written while the tree is built; index is below the count. */
kw_reply *kw_reply_slot(kw_reply *reply, size_t index);

/* Bytes of a string-like reply; empty for every other kind. */
kw_bytes kw_reply_bytes(const kw_reply *reply);

#endif

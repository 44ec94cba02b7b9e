/* SPDX-License-Identifier: BSD-3-Clause */
/* Copies of replies: into the tree of another, and in memory of their own. */
#include "base/reply.h"

#include <string.h>

bool kw_reply_copy(kw_reply *root, kw_reply *reply, const kw_reply *from)
{
    /* What newer hiredis releases have besides text and elements (a double's value) comes
     * with the struct. */
    redisReply made = from->hiredis;
    if (made.str != NULL) {
        made.str = kw_reply_alloc(root, (size_t)made.len + 1);
        if (made.str == NULL) {
            return false;
        }
        memcpy(made.str, from->hiredis.str, (size_t)made.len + 1);
    }
    if (made.elements > 0) {
        kw_reply array;
        if (!kw_reply_set_array(root, &array, kw_reply_type(from), made.elements)) {
            return false;
        }
        made.element = array.hiredis.element;
    }
    for (size_t i = 0; i < made.elements; i++) {
        kw_reply *element = (kw_reply *)(void *)made.element[i];
        if (!kw_reply_copy(root, element, kw_reply_at(from, i))) {
            return false;
        }
    }
    reply->hiredis = made;
    return true;
}

static size_t copy_room(const kw_reply *from)
{
    size_t count = from->hiredis.elements;
    size_t room = from->hiredis.str != NULL ? kw_reply_room((size_t)from->hiredis.len + 1) : 0;
    room += count > 0 ? kw_reply_array_room(count) : 0;
    for (size_t i = 0; i < count; i++) {
        room += copy_room(kw_reply_at(from, i));
    }
    return room;
}

kw_reply *kw_reply_clone(const kw_allocator *mem, const kw_reply *from)
{
    kw_reply *root = kw_reply_new(mem, copy_room(from));
    if (root != NULL && !kw_reply_copy(root, root, from)) {
        kw_reply_free(root);
        return NULL;
    }
    return root;
}

kw_reply *kw_reply_own(const kw_allocator *mem, kw_reply *reply)
{
    if (!kw_reply_is_pooled(reply)) {
        return reply;
    }
    kw_reply *copy = kw_reply_clone(mem, reply);
    if (copy != NULL) {
        kw_reply_free(reply);
    }
    return copy;
}

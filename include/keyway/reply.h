/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: what a server answered. */
#ifndef KEYWAY_REPLY_H
#define KEYWAY_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A reply and everything below it, in one piece of memory. Whoever got it from
 * keyway owns it and frees the root with kw_reply_free; elements are borrowed
 * from their root. Reading is safe from any thread, freeing once from one. */
typedef struct kw_reply kw_reply;

/* The numbers are hiredis' own. */
typedef enum kw_reply_kind {
    KW_REPLY_NONE = 0, /* what kw_reply_type says of NULL */
    KW_REPLY_STRING = 1,
    KW_REPLY_ARRAY = 2,
    KW_REPLY_INTEGER = 3,
    KW_REPLY_NIL = 4,
    KW_REPLY_STATUS = 5,
    KW_REPLY_ERROR = 6,
    KW_REPLY_DOUBLE = 7,
    KW_REPLY_BOOL = 8,
    KW_REPLY_MAP = 9,
    KW_REPLY_SET = 10,
    KW_REPLY_ATTR = 11,
    KW_REPLY_PUSH = 12,
    KW_REPLY_BIGNUM = 13,
    KW_REPLY_VERB = 14
} kw_reply_kind;

/* Kind of the reply; KW_REPLY_NONE for NULL. Any thread. */
KW_API kw_reply_kind kw_reply_type(const kw_reply *reply);

/* True where the server answered with an error; kw_reply_str is its text. False
 * for NULL. Any thread. */
KW_API bool kw_reply_is_error(const kw_reply *reply);

/* True for a nil reply (a missing key). False for NULL. Any thread. */
KW_API bool kw_reply_is_nil(const kw_reply *reply);

/* Bytes of a string, status, error, double, big number or verbatim reply,
 * followed by a zero byte that len does not count; NULL for every other kind and
 * for NULL. len may be NULL. Borrowed from the reply. Any thread. */
KW_API const char *kw_reply_str(const kw_reply *reply, size_t *len);

/* Value of an integer or boolean reply; 0 for every other kind and for NULL. Any
 * thread. */
KW_API long long kw_reply_int(const kw_reply *reply);

/* Elements of an array, set, map (keys and values counted each) or push; 0 for
 * every other kind and for NULL. Any thread. */
KW_API size_t kw_reply_count(const kw_reply *reply);

/* Element at index, borrowed from reply; NULL past the end, and for what has no
 * elements. Any thread. */
KW_API const kw_reply *kw_reply_at(const kw_reply *reply, size_t index);

/* Frees a reply that keyway returned. NULL is allowed; an element of another
 * reply is not. Any thread. */
KW_API void kw_reply_free(kw_reply *reply);

#ifdef __cplusplus
}
#endif

#endif

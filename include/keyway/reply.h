/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: what a server answered.
 *
 * A kw_reply is a reply and everything below it, in one piece of memory:
 *
 *   kw_reply *reply = kw_command(client, &error, "LRANGE tasks 0 -1");
 *   for (size_t i = 0; i < kw_reply_count(reply); i++)
 *       puts(kw_reply_str(kw_reply_at(reply, i), NULL));
 *   kw_reply_free(reply);
 *
 * Every function takes NULL for a reply, so that elements need not be looked at twice. */
#ifndef KEYWAY_REPLY_H
#define KEYWAY_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A reply. Whoever got it from keyway owns it and frees the root with kw_reply_free; its elements
 * are borrowed from the root. Reading is safe from any thread; it is freed once, by one. */
typedef struct kw_reply kw_reply;

/* What a reply is. The numbers are those of hiredis; those behind KW_REPLY_ERROR come with the
 * option protocol=3 alone. */
typedef enum kw_reply_kind {
    KW_REPLY_NONE = 0, /* what kw_reply_type says of NULL */
    KW_REPLY_STRING = 1,
    KW_REPLY_ARRAY = 2,
    KW_REPLY_INTEGER = 3,
    KW_REPLY_NIL = 4,
    KW_REPLY_STATUS = 5, /* a short text, such as OK */
    KW_REPLY_ERROR = 6,
    KW_REPLY_DOUBLE = 7,
    KW_REPLY_BOOL = 8,
    KW_REPLY_MAP = 9, /* its elements are keys and values in turn */
    KW_REPLY_SET = 10,
    KW_REPLY_ATTR = 11,
    KW_REPLY_PUSH = 12,
    KW_REPLY_BIGNUM = 13, /* an integer of any length, as text */
    KW_REPLY_VERB = 14    /* a text with a format */
} kw_reply_kind;

/* Kind of the reply; KW_REPLY_NONE for NULL. Any thread. */
KW_API kw_reply_kind kw_reply_type(const kw_reply *reply);

/* True where the server answered with an error; kw_reply_str is its text. False for NULL. Any
 * thread. */
KW_API bool kw_reply_is_error(const kw_reply *reply);

/* True for a nil reply, such as GET of a key that is not there. False for NULL. Any thread. */
KW_API bool kw_reply_is_nil(const kw_reply *reply);

/* Bytes of a string, status, error, double, big number or verbatim reply, with a zero byte behind
 * that *len (may be NULL) does not count. Borrowed from the reply. NULL for every other kind, and
 * for NULL. Any thread. */
KW_API const char *kw_reply_str(const kw_reply *reply, size_t *len);

/* Value of an integer or boolean reply; 0 for every other kind, and for NULL. Any thread. */
KW_API long long kw_reply_int(const kw_reply *reply);

/* Number of elements of an array, a set or a map, whose keys and values count each; also of the
 * error of a command that was split by its keys, whose elements are the replies of the parts. 0 for
 * every other reply, and for NULL. Any thread. */
KW_API size_t kw_reply_count(const kw_reply *reply);

/* Element number index, counted from 0, borrowed from the reply. NULL past the last, for what has
 * no elements, and for NULL. Any thread. */
KW_API const kw_reply *kw_reply_at(const kw_reply *reply, size_t index);

/* Frees a reply that keyway handed over, with all its elements. NULL is allowed; an element of
 * another reply is not. Any thread, once. */
KW_API void kw_reply_free(kw_reply *reply);

#ifdef __cplusplus
}
#endif

#endif

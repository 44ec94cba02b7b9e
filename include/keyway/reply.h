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

#include <keyway/error.h>
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

/* Value of an integer or boolean reply; of an error with elements (a part of a DEL, EXISTS, TOUCH
 * or UNLINK of many keys failed) the number that the other parts counted. 0 for every other kind,
 * and for NULL. Any thread. */
KW_API long long kw_reply_int(const kw_reply *reply);

/* Number of elements of an array, a set or a map, whose keys and values count each; also of the
 * error of a command that was split by its keys, whose elements are the replies of the parts. 0 for
 * every other reply, and for NULL. Any thread. */
KW_API size_t kw_reply_count(const kw_reply *reply);

/* Element number index, counted from 0, borrowed from the reply. NULL past the last, for what has
 * no elements, and for NULL. Any thread. */
KW_API const kw_reply *kw_reply_at(const kw_reply *reply, size_t index);

/* Name of a kind: "string", "array", "int", "nil", "status", "error", "double", "bool", "map",
 * "set", "attribute", "push", "bignum", "verbatim", "none"; "?" for a number that is no kind. The
 * text is constant. Any thread. */
KW_API const char *kw_reply_kind_name(kw_reply_kind kind);

/* The code that a server's error begins with, such as WRONGTYPE, MOVED or ERR: the first of the
 * error's bytes, borrowed from the reply and not ended by a zero byte; *len (may be NULL) says how
 * many. *len is 0 where the error's text begins with no code. NULL, and *len 0, for every other
 * kind, and for NULL. Any thread. */
KW_API const char *kw_reply_code(const kw_reply *reply, size_t *len);

/* True for a server's error of that code: kw_reply_has_code(reply, "WRONGTYPE"). False for every
 * other kind, and for NULL. Any thread. */
KW_API bool kw_reply_has_code(const kw_reply *reply, const char *code);

/* The bytes of kw_reply_str, or otherwise where the reply has none: nil, a number, NULL. Borrowed
 * from the reply. Any thread. */
KW_API const char *kw_reply_text(const kw_reply *reply, const char *otherwise);

/* The whole number that a reply is: an integer, a boolean, or text that is a decimal number and
 * nothing else but a sign before it ("-7", "+7"), as GET of a counter gives. error is the one that
 * was given to the call, so that one branch does for all that went wrong:
 *
 *   kw_reply *reply = kw_command(client, &error, "GET %s", key);
 *   if (kw_reply_to_int(reply, &error, &visits) != KW_OK)
 *       fprintf(stderr, "%s\n", error.text);
 *
 * Errors, with *value as it was: KW_ERR_REPLY (nil, another kind, text such as "1.5", " 1" or "",
 * or a number that a long long does not hold; effect done, the text says which); KW_ERR_SERVER (a
 * server's error, as kw_reply_outcome tells it); of NULL, what error holds already, or
 * KW_ERR_ARGUMENT. Any thread. */
KW_API kw_err kw_reply_to_int(const kw_reply *reply, kw_error *error, long long *value);

/* The number that a reply is: a double, an integer, a boolean, or text that is a decimal number and
 * nothing else ("1.5", "+7", "3e10", "inf", "-inf"), as ZSCORE gives it with protocol=2; the
 * process' locale does not matter. Errors: those of kw_reply_to_int, for what a double does not
 * hold. Any thread. */
KW_API kw_err kw_reply_to_double(const kw_reply *reply, kw_error *error, double *value);

/* Value of the field of that name, borrowed from the reply: in a map, or in an array of names and
 * values in turn, as HGETALL and CONFIG GET answer with protocol=2. NULL where there is none, for
 * every other kind, and for NULL. Looks at one field after the other. Any thread. */
KW_API const kw_reply *kw_reply_get(const kw_reply *reply, const char *name);

/* What a call came to. */
typedef enum kw_outcome {
    KW_OUTCOME_ERROR, /* no reply, or a server's error: the kw_error says why */
    KW_OUTCOME_NIL,   /* nothing is there */
    KW_OUTCOME_VALUE
} kw_outcome;

/* One outcome for what a call can end with, so that a program needs one branch for what failed:
 *
 *   kw_reply *reply = kw_command(client, &error, "GET %s", key);
 *   if (kw_reply_outcome(reply, &error) == KW_OUTCOME_ERROR)
 *       fprintf(stderr, "%s\n", error.text);
 *
 * reply is what the call returned, and error (NULL is allowed) the one that was given to it. Of a
 * server's error it becomes KW_ERR_SERVER with the server's words, cut where they are long, and
 * with effect none; maybe, where a part may have run: where the words speak of a script, of a
 * command for several nodes that not all of them refused, and where what was to be a transaction
 * has lost its MULTI. Else error stays as the call has left it. Any thread. */
KW_API kw_outcome kw_reply_outcome(const kw_reply *reply, kw_error *error);

/* Frees a reply that keyway handed over, with all its elements. NULL is allowed; an element of
 * another reply is not. Any thread, once. */
KW_API void kw_reply_free(kw_reply *reply);

#ifdef __cplusplus
}
#endif

#endif

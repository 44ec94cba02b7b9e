/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes: borrowed views, a growing buffer, and numbers read from text. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include "base/memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrowed bytes; may hold zeros. data may be NULL where len is 0. */
typedef struct kw_bytes {
    const char *data;
    size_t len;
} kw_bytes;

kw_bytes kw_bytes_of(const char *text); /* up to the zero byte; NULL gives empty */
bool kw_bytes_equal(kw_bytes a, kw_bytes b);
bool kw_bytes_equal_nocase(kw_bytes a, kw_bytes b); /* ASCII letters only */
bool kw_bytes_starts(kw_bytes bytes, const char *prefix);

/* Splits at the first (last) separator: *head before, *tail behind it. False,
 * with nothing written, when there is none. */
bool kw_bytes_split(kw_bytes *head, kw_bytes *tail, kw_bytes bytes, char separator);
bool kw_bytes_split_last(kw_bytes *head, kw_bytes *tail, kw_bytes bytes, char separator);

/* The next "name:value" of an answer to INFO, whose lines *rest still has; other lines are passed
 * over. False where there is none. */
bool kw_bytes_next_field(kw_bytes *name, kw_bytes *value, kw_bytes *rest);

/* A decimal number without sign, space or leading '+', at most max. False, with
 * nothing written, for anything else. */
bool kw_bytes_to_uint(uint64_t *value, kw_bytes bytes, uint64_t max);

/* Copies bytes into out (out_len > 0 bytes, always ended with a zero byte) for
 * people to read: control bytes, quotes, backslashes and bytes past ASCII become
 * \xHH, what does not fit is cut and ends in "...". Returns out. */
char *kw_bytes_show(char *out, size_t out_len, kw_bytes bytes);

/* A growing buffer. After a failed call the buffer holds what it held before. */
typedef struct kw_buf {
    const kw_allocator *mem;
    char *data;
    size_t len;
    size_t capacity;
    char *inline_data; /* first memory, lent by the owner; not freed */
    bool is_secret;    /* written over before it is moved or freed */
} kw_buf;

/* inline_data (inline_len bytes, may be NULL and 0) is used before the heap. */
void kw_buf_init(kw_buf *buf, const kw_allocator *mem, char *inline_data, size_t inline_len);
void kw_buf_fini(kw_buf *buf);

/* The slow way of kw_buf_reserve: len more bytes do not fit. */
bool kw_buf_grow(kw_buf *buf, size_t len);

/* Makes room for len more bytes behind buf->len; false when there is no memory. */
static inline bool kw_buf_reserve(kw_buf *buf, size_t len)
{
    return len <= buf->capacity - buf->len || kw_buf_grow(buf, len);
}

bool kw_buf_append(kw_buf *buf, const char *data, size_t len);

/* Empties a secret buffer, and writes over what it held; from here on it is no secret. */
void kw_buf_forget(kw_buf *buf);

/* The slow way of kw_uint_to_text: numbers of any length. */
size_t kw_uint_to_text_long(char *out, uint64_t value);

/* Decimal digits of value into out (at least 20 bytes, no zero byte behind);
 * returns their number. */
static inline size_t kw_uint_to_text(char *out, uint64_t value)
{
    if (value < 10) { /* most lengths on the wire are these .. */
        out[0] = (char)('0' + value);
        return 1;
    }
    if (value < 100) { /* .. or these */
        unsigned tens = (unsigned)value / 10;
        out[0] = (char)('0' + tens);
        out[1] = (char)('0' + (unsigned)value - tens * 10);
        return 2;
    }
    return kw_uint_to_text_long(out, value);
}

/* Texts that stand one behind the other, each with its zero byte, "one\0two\0": a table without
 * pointers, each of which is 32 bytes of a program that may be loaded anywhere. The text at index;
 * it must be there. */
const char *kw_texts_at(const char *texts, size_t index);

/* Which of texts_n such texts value is; texts_n where it is none of them. */
size_t kw_texts_find(const char *texts, size_t texts_n, kw_bytes value);

/* FNV-1a of 64 bits (Fowler, Noll, Vo): short names and keys that are only compared. Not for
 * hostile input, and not for placement. */
uint64_t kw_bytes_hash(kw_bytes bytes);

/* As kw_bytes_hash, but never 0: for names where 0 says that there is none. */
uint64_t kw_bytes_id(kw_bytes bytes);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments become a command in RESP, encoded once for all its sends. */
#include "base/resp.h"

#include "base/apart.h"

#include <string.h>

static inline char *put_line_end(char *at)
{
    memcpy(at, "\r\n", 2);
    return at + 2;
}

static inline char *put_head(char *at, char sign, size_t number)
{
    *at++ = sign;
    if (number < 10) { /* as most are */
        *at = (char)('0' + number);
        return put_line_end(at + 1);
    }
    at += kw_uint_to_text(at, number);
    return put_line_end(at);
}

/* An argument up to this length is put down without a call. */
#define SHORT_LEN ((size_t)16)

/* The first bytes and the last ones, which may be the same. */
static inline char *put_short(char *at, const char *data, size_t len)
{
    if (len >= 8) {
        memcpy(at, data, 8);
        memcpy(at + len - 8, data + len - 8, 8);
    } else if (len >= 4) {
        memcpy(at, data, 4);
        memcpy(at + len - 4, data + len - 4, 4);
    } else if (len > 0) {
        at[0] = data[0];
        at[len / 2] = data[len / 2];
        at[len - 1] = data[len - 1];
    }
    return at + len;
}

/* The arguments from the first long one on. */
KW_APART static char *write_rest(char *at, const kw_bytes *argv, const kw_bytes *end)
{
    for (; argv < end; argv++) {
        at = put_head(at, '$', argv->len);
        if (argv->len > SHORT_LEN) {
            memcpy(at, argv->data, argv->len);
            at = put_line_end(at + argv->len);
        } else {
            at = put_line_end(put_short(at, argv->data, argv->len));
        }
    }
    return at;
}

KW_APART static char *write_many(char *at, const kw_bytes *argv, size_t argc)
{
    return write_rest(put_head(at, '*', argc), argv, argv + argc);
}

/* Of a sign, the number's digits and the end of the line; and at most. */
static inline size_t head_len(size_t number)
{
    size_t len = number < 10 ? 4 : 5;
    for (; number >= 100; number /= 10) {
        len++;
    }
    return len;
}

#define HEAD_MAX_LEN ((size_t)23)

/* What is added, or a sum, beyond which a size can tell no more; its bit is looked at once. */
#define TOO_LONG (SIZE_MAX / 2 + 1)

/* The arguments' own bytes; false where they, and as many heads, are more than a size can tell. */
static inline bool bytes_of(size_t *len, const kw_bytes *argv, size_t argc)
{
    size_t sum = 0;
    size_t seen = 0;
    for (size_t i = 0; i < argc; i++) {
        sum += argv[i].len;
        seen |= sum | argv[i].len;
    }
    *len = sum;
    return seen < TOO_LONG && argc < SIZE_MAX / 2 / (HEAD_MAX_LEN + 2) - 1;
}

bool kw_resp_len(size_t *len, const kw_bytes *argv, size_t argc)
{
    size_t sum = head_len(argc);
    size_t seen = 0;
    for (size_t i = 0; i < argc; i++) {
        sum += argv[i].len;
        seen |= sum | argv[i].len;
        sum += head_len(argv[i].len) + 2;
    }
    *len = sum;
    return (seen | sum) < TOO_LONG;
}

char *kw_resp_write(char *at, const kw_bytes *argv, size_t argc)
{
    const kw_bytes *end = argv + argc;
    if (argc > 9) {
        return write_many(at, argv, argc);
    }
    at = put_head(at, '*', argc);
    for (; argv < end; argv++) {
        kw_bytes it = *argv;
        if (it.len > SHORT_LEN) {
            return write_rest(at, argv, end);
        }
        at = put_head(at, '$', it.len);
        at = put_line_end(put_short(at, it.data, it.len));
    }
    return at;
}

bool kw_resp_append(kw_buf *buf, const kw_bytes *argv, size_t argc)
{
    size_t len;
    if (!bytes_of(&len, argv, argc) ||
        !kw_buf_reserve(buf, len + (argc + 1) * (HEAD_MAX_LEN + 2))) {
        return false;
    }
    buf->len = (size_t)(kw_resp_write(buf->data + buf->len, argv, argc) - buf->data);
    return true;
}

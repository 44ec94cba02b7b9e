/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments become a command in RESP, encoded once for all its sends. */
#include "base/resp.h"

#include <string.h>

static inline char *put_line_end(char *at)
{
    memcpy(at, "\r\n", 2);
    return at + 2;
}

static inline char *put_head(char *at, char sign, size_t number)
{
    *at++ = sign;
    at += kw_uint_to_text(at, number);
    return put_line_end(at);
}

/* Of a sign, the number's digits and the end of the line; and at most. */
static inline size_t head_len(size_t number)
{
    size_t len = 4;
    for (; number >= 10; number /= 10) {
        len++;
    }
    return len;
}

#define HEAD_MAX_LEN ((size_t)23)

/* The arguments' own bytes; false where they, and as many heads, are more than a size can tell. */
static inline bool bytes_of(size_t *len, const kw_bytes *argv, size_t argc)
{
    size_t sum = 0;
    for (size_t i = 0; i < argc; i++) {
        if (argv[i].len > SIZE_MAX / 2 - sum) {
            return false;
        }
        sum += argv[i].len;
    }
    *len = sum;
    return argc < SIZE_MAX / 2 / (HEAD_MAX_LEN + 2) - 1;
}

bool kw_resp_len(size_t *len, const kw_bytes *argv, size_t argc)
{
    if (!bytes_of(len, argv, argc)) {
        return false;
    }
    *len += head_len(argc);
    for (size_t i = 0; i < argc; i++) {
        *len += head_len(argv[i].len) + 2;
    }
    return true;
}

char *kw_resp_write(char *at, const kw_bytes *argv, size_t argc)
{
    at = put_head(at, '*', argc);
    for (size_t i = 0; i < argc; i++) {
        at = put_head(at, '$', argv[i].len);
        if (argv[i].len > 0) {
            memcpy(at, argv[i].data, argv[i].len);
            at += argv[i].len;
        }
        at = put_line_end(at);
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

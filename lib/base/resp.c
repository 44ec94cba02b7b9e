/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments become a command in RESP, encoded once for all its sends. */
#include "base/resp.h"

#include <string.h>

/* "$" or "*", up to 20 digits, "\r\n". */
#define HEAD_MAX_LEN ((size_t)23)

static inline char *put_head(char *at, char sign, size_t number)
{
    *at++ = sign;
    at += kw_uint_to_text(at, number);
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

static bool size_of(size_t *total, const kw_bytes *argv, size_t argc)
{
    size_t sum = HEAD_MAX_LEN;
    for (size_t i = 0; i < argc; i++) {
        if (argv[i].len >= SIZE_MAX - sum - HEAD_MAX_LEN - 2) {
            return false;
        }
        sum += argv[i].len + HEAD_MAX_LEN + 2;
    }
    *total = sum;
    return true;
}

bool kw_resp_append(kw_buf *buf, const kw_bytes *argv, size_t argc)
{
    size_t total;
    if (!size_of(&total, argv, argc) || !kw_buf_reserve(buf, total)) {
        return false;
    }
    char *at = put_head(buf->data + buf->len, '*', argc);
    for (size_t i = 0; i < argc; i++) {
        at = put_head(at, '$', argv[i].len);
        if (argv[i].len > 0) {
            memcpy(at, argv[i].data, argv[i].len);
            at += argv[i].len;
        }
        *at++ = '\r';
        *at++ = '\n';
    }
    buf->len = (size_t)(at - buf->data);
    return true;
}

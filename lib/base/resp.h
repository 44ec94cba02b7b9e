/* SPDX-License-Identifier: BSD-3-Clause */
/* RESP: a command becomes the bytes that a server reads. */
#ifndef BASE_RESP_H
#define BASE_RESP_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>

/* The bytes of one encoded command; false on overflow. */
bool kw_resp_len(size_t *len, const kw_bytes *argv, size_t argc);

/* Writes one command to at, kw_resp_len bytes, and returns its end. */
char *kw_resp_write(char *at, const kw_bytes *argv, size_t argc);

/* Appends one command ("*2\r\n$3\r\nGET\r\n$1\r\na\r\n"). False, with buf unchanged,
 * when there is no memory or the size overflows. */
bool kw_resp_append(kw_buf *buf, const kw_bytes *argv, size_t argc);

#endif

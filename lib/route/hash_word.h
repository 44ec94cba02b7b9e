/* SPDX-License-Identifier: BSD-3-Clause */
/* Words of hashed bytes, lowest byte first on every machine. */
#ifndef ROUTE_HASH_WORD_H
#define ROUTE_HASH_WORD_H

#include <stddef.h>
#include <stdint.h>

/* len <= 8 bytes, the missing high ones zero. */
static inline uint64_t kw_word_le(const char *data, size_t len)
{
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++) {
        word |= (uint64_t)(unsigned char)data[i] << (8 * i);
    }
    return word;
}

static inline uint32_t kw_word_le32(const char *data)
{
    const unsigned char *p = (const unsigned char *)data;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

#endif

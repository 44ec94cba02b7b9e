/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC16 words: bytes as numbers, loaded and searched with no read outside of
 * them; and the hash tag rule on top. */
#ifndef ROUTE_CRC16_WORD_H
#define ROUTE_CRC16_WORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes that are searched word by word: a call of memchr pays only behind them. */
#define KW_WORDS_LEN 32

/* Compilers make one load and one byte swap of each of these. */
static inline uint32_t kw_load_be32(const char *data)
{
    const unsigned char *p = (const unsigned char *)data;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static inline uint64_t kw_load_le64(const char *data)
{
    const unsigned char *p = (const unsigned char *)data;
    return (uint64_t)p[7] << 56 | (uint64_t)p[6] << 48 | (uint64_t)p[5] << 40 |
           (uint64_t)p[4] << 32 | (uint64_t)p[3] << 24 | (uint64_t)p[2] << 16 |
           (uint64_t)p[1] << 8 | (uint64_t)p[0];
}

/* Swaps a little-endian load: where a caller wants the same bytes in both orders, compilers then
 * make one load and a swap, which they do not see when the two are spelt out apart. */
static inline uint64_t kw_load_be64(const char *data)
{
    return __builtin_bswap64(kw_load_le64(data));
}

/* len < 8 bytes as one number with zero bytes in front. The loads overlap: a byte read
 * twice lands at the same place. */
static inline uint64_t kw_load_short(const char *data, size_t len)
{
    if (len >= 4) {
        return (uint64_t)kw_load_be32(data) << (8 * (len - 4)) | kw_load_be32(data + len - 4);
    }
    if (len == 0) {
        return 0;
    }
    const unsigned char *p = (const unsigned char *)data;
    size_t middle = len / 2;
    return (uint64_t)p[0] << (8 * (len - 1)) | (uint64_t)p[middle] << (8 * (len - 1 - middle)) |
           p[len - 1];
}

/* The first len - 8 bytes of a word, 8 <= len <= 16, with zero bytes in front: what
 * stands before the last word of len bytes. Two shifts, since one by 64 bits is
 * undefined. */
static inline uint64_t kw_word_front(uint64_t word, size_t len)
{
    size_t half = 4 * (16 - len);
    return word >> half >> half;
}

/* kw_word_front of 8 <= len <= 16 bytes in memory. */
static inline uint64_t kw_load_front(const char *data, size_t len)
{
    return kw_word_front(kw_load_be64(data), len);
}

/* Not 0 where a byte of word equals byte; the lowest bit set is the top bit of the
 * lowest such byte. (A borrow may mark bytes above it.) */
static inline uint64_t kw_match_byte(uint64_t word, char byte)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t differs = word ^ (unsigned char)byte * ones;
    return (differs - ones) & ~differs & 0x80 * ones;
}

/* Index of the lowest byte that a match, not 0, marks: the first of a little-endian
 * word. */
static inline size_t kw_match_first(uint64_t match)
{
    return (size_t)__builtin_ctzll(match) / 8;
}

/* Index of the first byte that equals byte, when the first 8 of len hold none; len where there is
 * none at all. */
static inline size_t kw_find_far(const char *data, size_t len, char byte)
{
    size_t last = len < KW_WORDS_LEN ? len - 8 : KW_WORDS_LEN - 8;
    for (size_t at = 8; at < last; at += 8) {
        uint64_t match = kw_match_byte(kw_load_le64(data + at), byte);
        if (match != 0) {
            return at + kw_match_first(match);
        }
    }
    /* The last word overlaps others, which are known to hold no such byte. */
    uint64_t match = kw_match_byte(kw_load_le64(data + last), byte);
    if (match != 0) {
        return last + kw_match_first(match);
    }
    if (len <= KW_WORDS_LEN) {
        return len;
    }
    const char *found = memchr(data + KW_WORDS_LEN, byte, len - KW_WORDS_LEN);
    return found != NULL ? (size_t)(found - data) : len;
}

/* Index of the first byte that equals byte, which is not zero; len where there is none. */
static inline size_t kw_find_byte(const char *data, size_t len, char byte)
{
    if (len < 8) {
        uint64_t word = __builtin_bswap64(kw_load_short(data, len));
        uint64_t match = kw_match_byte(word, byte);
        return match != 0 ? kw_match_first(match) - (8 - len) : len;
    }
    uint64_t match = kw_match_byte(kw_load_le64(data), byte);
    return match != 0 ? kw_match_first(match) : kw_find_far(data, len, byte);
}

/* The quick way for hash tags of 1 to 8 bytes, which most are: true, with the tag in *word and zero
 * bytes in front of it. False where only a search can tell. The key's first '{' is at open. */
static inline bool kw_tag_word(uint64_t *word, const char *key, size_t key_len, size_t open)
{
    size_t rest_len = key_len - open - 1;
    if (key_len < 8 || rest_len == 0) {
        return false;
    }
    const char *tag = key + open + 1;
    uint64_t rest =
        rest_len >= 8 ? kw_load_le64(tag) : kw_load_le64(key + key_len - 8) >> (8 * (8 - rest_len));
    uint64_t match = kw_match_byte(rest, '}');
    if (match == 0) {
        *word = __builtin_bswap64(rest);
        return rest_len > 8 && tag[8] == '}';
    }
    unsigned bits = 8 * (unsigned)kw_match_first(match);
    *word = __builtin_bswap64(rest << ((64 - bits) & 63));
    return bits > 0;
}

/* Hash tag rule of the Redis Cluster specification for a key whose first '{' is at
 * open: the bytes up to the next '}' if there is at least one, else the whole key. */
static inline const char *kw_tag_at(const char *key, size_t key_len, size_t open, size_t *tag_len)
{
    const char *tag = key + open + 1;
    size_t rest_len = key_len - open - 1;
    size_t len = kw_find_byte(tag, rest_len, '}');
    if (len == 0 || len == rest_len) {
        *tag_len = key_len;
        return key;
    }
    *tag_len = len;
    return tag;
}

#endif

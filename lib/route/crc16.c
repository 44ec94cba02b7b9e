/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC16 by tables, eight bytes a step, and the choice of the processor's fastest way. */
#include "route/crc16.h"

#include "route/crc16_word.h"

/* Checksum of 8 bytes that are followed by `row` zero bytes: byte i of a word moves
 * 7 - i rows. Leading zero bytes are free, since the initial value is 0. */
static inline uint16_t word_of(unsigned row, uint64_t word)
{
    const uint16_t(*table)[256] = kw_crc16_table + row;
    uint32_t a = (uint32_t)table[7][word >> 56] ^ table[6][word >> 48 & 255];
    uint32_t b = (uint32_t)table[5][word >> 40 & 255] ^ table[4][word >> 32 & 255];
    uint32_t c = (uint32_t)table[3][word >> 24 & 255] ^ table[2][word >> 16 & 255];
    uint32_t d = (uint32_t)table[1][word >> 8 & 255] ^ table[0][word & 255];
    return (uint16_t)((a ^ b) ^ (c ^ d));
}

/* word_of for 8 bytes in memory: loading single bytes is cheaper than shifting them out of a
 * word. crc is the checksum of all bytes before. */
static inline uint16_t word_at(unsigned row, const char *data, uint16_t crc)
{
    const unsigned char *p = (const unsigned char *)data;
    const uint16_t(*table)[256] = kw_crc16_table + row;
    uint32_t a = (uint32_t)table[7][p[0] ^ crc >> 8] ^ table[6][p[1] ^ (crc & 255)];
    uint32_t b = (uint32_t)table[5][p[2]] ^ table[4][p[3]];
    uint32_t c = (uint32_t)table[3][p[4]] ^ table[2][p[5]];
    uint32_t d = (uint32_t)table[1][p[6]] ^ table[0][p[7]];
    return (uint16_t)((a ^ b) ^ (c ^ d));
}

static inline uint16_t block_at(const char *data, uint16_t crc)
{
    return word_at(8, data, crc) ^ word_at(0, data + 8, 0);
}

/* 8 to 16 bytes. */
static inline uint16_t middle_of(const char *data, size_t len)
{
    if (len == 8) {
        return word_at(0, data, 0);
    }
    if (len == 16) {
        return block_at(data, 0);
    }
    uint64_t front = kw_word_front(kw_load_be64(data), len);
    return word_of(8, front) ^ word_at(0, data + len - 8, 0);
}

/* More than 16 bytes: an odd head, then whole blocks. */
static uint16_t long_of(const char *data, size_t len)
{
    size_t head = len & 15;
    uint16_t crc = 0;
    if (head >= 8) {
        crc = middle_of(data, head);
    } else if (head > 0) {
        crc = word_of(0, kw_load_be64(data) >> (8 * (8 - head)));
    }
    for (size_t i = head; i < len; i += 16) {
        crc = block_at(data + i, crc);
    }
    return crc;
}

static uint16_t any_of(const char *data, size_t len)
{
    if (len < 8) {
        return word_of(0, kw_load_short(data, len));
    }
    return len <= 16 ? middle_of(data, len) : long_of(data, len);
}

/* Checksum of the routed part of a key whose first '{' is at open. */
static uint16_t tagged(const char *key, size_t key_len, size_t open)
{
    uint64_t word;
    if (kw_tag_word(&word, key, key_len, open)) {
        return word_of(0, word);
    }
    key = kw_tag_at(key, key_len, open, &key_len);
    return any_of(key, key_len);
}

static uint16_t short_routed(const char *key, size_t key_len)
{
    uint64_t word = kw_load_short(key, key_len);
    if (kw_match_byte(word, '{') != 0) {
        return tagged(key, key_len, kw_find_byte(key, key_len, '{'));
    }
    return word_of(0, word);
}

static uint16_t long_routed(const char *key, size_t key_len)
{
    size_t open = kw_find_far(key, key_len, '{');
    return open < key_len ? tagged(key, key_len, open) : long_of(key, key_len);
}

uint16_t kw_crc16_portable(const char *data, size_t len)
{
    return any_of(data, len);
}

/* One size a function, so that none pays for the registers of another. */
uint16_t kw_crc16_routed_portable(const char *key, size_t key_len)
{
    if (key_len < 8) {
        return short_routed(key, key_len);
    }
    uint64_t match = kw_match_byte(kw_load_le64(key), '{');
    if (match != 0) {
        return tagged(key, key_len, kw_match_first(match));
    }
    if (key_len > 16) {
        return long_routed(key, key_len);
    }
    match = kw_match_byte(kw_load_le64(key + key_len - 8), '{');
    if (match != 0) {
        return tagged(key, key_len, key_len - 8 + kw_match_first(match));
    }
    return middle_of(key, key_len);
}

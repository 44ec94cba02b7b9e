/* SPDX-License-Identifier: BSD-3-Clause */
/* The longer hashes of compatible placements: Murmur2, MurmurHash64A and lookup3. */
#include "route/hash_compat.h"

#include "route/hash_word.h"

static uint32_t rotate(uint32_t word, unsigned bits)
{
    return word << bits | word >> (32 - bits);
}

/* MurmurHash2 by Austin Appleby; the seed depends on the length, as in libmemcached. */
uint32_t kw_hash_murmur(const char *key, size_t key_len)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t len = (uint32_t)key_len;
    uint32_t hash = (UINT32_C(0xdeadbeef) * len) ^ len;
    size_t at = 0;
    for (; key_len - at >= 4; at += 4) {
        uint32_t k = kw_word_le32(key + at) * m;
        k ^= k >> 24;
        hash = (hash * m) ^ (k * m);
    }
    if (at < key_len) {
        hash = (hash ^ (uint32_t)kw_word_le(key + at, key_len - at)) * m;
    }
    hash ^= hash >> 13;
    hash *= m;
    return hash ^ hash >> 15;
}

uint64_t kw_hash_murmur64a(const char *key, size_t key_len, uint64_t seed)
{
    const uint64_t m = UINT64_C(0xc6a4a7935bd1e995);
    uint64_t hash = seed ^ ((uint64_t)key_len * m);
    size_t at = 0;
    for (; key_len - at >= 8; at += 8) {
        uint64_t k = kw_word_le(key + at, 8) * m;
        k ^= k >> 47;
        hash = (hash ^ (k * m)) * m;
    }
    if (at < key_len) {
        hash = (hash ^ kw_word_le(key + at, key_len - at)) * m;
    }
    hash ^= hash >> 47;
    hash *= m;
    return hash ^ hash >> 47;
}

/* Bob Jenkins' lookup3, hashlittle: twelve bytes a round. */
uint32_t kw_hash_jenkins(const char *key, size_t key_len)
{
    static const unsigned char round[6] = {4, 6, 8, 16, 19, 4};
    static const unsigned char last[7] = {14, 11, 25, 16, 4, 14, 24};
    uint32_t start = UINT32_C(0xdeadbeef) + (uint32_t)key_len + 13;
    uint32_t s[3] = {start, start, start};
    size_t at = 0;
    if (key_len == 0) {
        return start;
    }
    for (; key_len - at > 12; at += 12) {
        for (size_t i = 0; i < 3; i++) {
            s[i] += kw_word_le32(key + at + 4 * i);
        }
        /* a -= c, a ^= rot(c), c += b, and the same for the next letters */
        for (size_t i = 0; i < 6; i++) {
            uint32_t *x = &s[i % 3];
            uint32_t *y = &s[(i + 2) % 3];
            *x = (*x - *y) ^ rotate(*y, round[i]);
            *y += s[(i + 1) % 3];
        }
    }
    for (size_t i = 0; i < 3 && at + 4 * i < key_len; i++) {
        size_t left = key_len - at - 4 * i;
        s[i] += (uint32_t)kw_word_le(key + at + 4 * i, left < 4 ? left : 4);
    }
    /* c ^= b, c -= rot(b), then a by c, b by a, and so on */
    for (size_t i = 0; i < 7; i++) {
        uint32_t *x = &s[(i + 2) % 3];
        uint32_t y = s[(i + 1) % 3];
        *x = (*x ^ y) - rotate(y, last[i]);
    }
    return s[2];
}

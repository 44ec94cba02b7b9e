/* SPDX-License-Identifier: BSD-3-Clause */
/* SHA1 (FIPS 180-4, section 6.1), of a text that is whole. */
#include "base/sha1.h"

#include <stdint.h>
#include <string.h>

#define BLOCK 64u

static uint32_t rotate(uint32_t word, unsigned bits)
{
    return (word << bits) | (word >> (32 - bits));
}

static uint32_t word_at(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The rounds' function of b, c and d, with its constant. */
static uint32_t mix(unsigned round, uint32_t b, uint32_t c, uint32_t d)
{
    if (round < 20) {
        return ((b & c) | (~b & d)) + UINT32_C(0x5a827999);
    }
    if (round < 40) {
        return (b ^ c ^ d) + UINT32_C(0x6ed9eba1);
    }
    if (round < 60) {
        return ((b & c) | (b & d) | (c & d)) + UINT32_C(0x8f1bbcdc);
    }
    return (b ^ c ^ d) + UINT32_C(0xca62c1d6);
}

static void take_block(uint32_t state[5], const unsigned char *block)
{
    uint32_t w[80];
    for (unsigned i = 0; i < 80; i++) {
        w[i] = i < 16 ? word_at(block + (size_t)4 * i)
                      : rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    }
    uint32_t a = state[0];
    uint32_t b = state[1];
    uint32_t c = state[2];
    uint32_t d = state[3];
    uint32_t e = state[4];
    for (unsigned i = 0; i < 80; i++) {
        uint32_t next = rotate(a, 5) + mix(i, b, c, d) + e + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

void kw_sha1(unsigned char digest[KW_SHA1_BYTES], kw_bytes text)
{
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const unsigned char *at = (const unsigned char *)text.data;
    size_t left = text.len;
    for (; left >= BLOCK; at += BLOCK, left -= BLOCK) {
        take_block(state, at);
    }
    unsigned char last[2 * BLOCK] = {0}; /* the rest, a bit, zeros, the length in bits */
    if (left > 0) {
        memcpy(last, at, left);
    }
    last[left] = 0x80;
    size_t last_len = left < BLOCK - 8 ? BLOCK : 2 * BLOCK;
    uint64_t bits = (uint64_t)text.len * 8;
    for (unsigned i = 0; i < 8; i++) {
        last[last_len - 1 - i] = (unsigned char)(bits >> (8 * i));
    }
    for (size_t i = 0; i < last_len; i += BLOCK) {
        take_block(state, last + i);
    }
    for (unsigned i = 0; i < KW_SHA1_BYTES; i++) {
        digest[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
    }
}

void kw_sha1_text(char out[KW_SHA1_TEXT + 1], kw_bytes text)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[KW_SHA1_BYTES];
    kw_sha1(digest, text);
    for (unsigned i = 0; i < KW_SHA1_BYTES; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[KW_SHA1_TEXT] = '\0';
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC16 by carry-less multiplication, for x86-64 and 64-bit ARM. */
#include "route/crc16.h"

#include "route/crc16_word.h"

/* The one file that knows processors: what each has of 128-bit vectors first, the
 * checksum over it second, and who has none last. The vector of a block of 16 bytes
 * is the polynomial they spell: its first byte is the highest. */

#if defined(__x86_64__) && defined(__GNUC__)

#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>

#define HAS_CLMUL 1
#define CLMUL     __attribute__((target("pclmul,ssse3")))

typedef __m128i vec;

static bool look(atomic_schar *known)
{
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    bool has = __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_PCLMUL) != 0 && (c & bit_SSSE3) != 0;
    atomic_store_explicit(known, has ? 1 : -1, memory_order_relaxed);
    return has;
}

/* What the processor has is looked up once; threads that look at the same time find the same. The
 * compiler's runtime knows it as well (__builtin_cpu_supports), but takes 5 KB of each program for
 * it. */
static inline bool is_supported(void)
{
    static atomic_schar known; /* 0: not yet looked */
    signed char now = atomic_load_explicit(&known, memory_order_relaxed);
    return now != 0 ? now > 0 : look(&known);
}

static inline CLMUL vec vec_of(uint64_t high, uint64_t low)
{
    return _mm_set_epi64x((int64_t)high, (int64_t)low);
}

static inline CLMUL vec load(const char *data)
{
    return _mm_loadu_si128((const __m128i_u *)data);
}

static inline CLMUL vec shuffle(vec a, const unsigned char *order)
{
    return _mm_shuffle_epi8(a, _mm_loadu_si128((const __m128i_u *)order));
}

static inline CLMUL vec add(vec a, vec b)
{
    return _mm_xor_si128(a, b);
}

static inline CLMUL vec mul_low(vec a, vec b)
{
    return _mm_clmulepi64_si128(a, b, 0x00);
}

static inline CLMUL vec mul_high(vec a, vec b)
{
    return _mm_clmulepi64_si128(a, b, 0x11);
}

/* The low half; the high half is zero. */
static inline CLMUL vec low_of(vec a)
{
    return _mm_move_epi64(a);
}

/* The low half moved to the high half. */
static inline CLMUL vec raise(vec a)
{
    return _mm_slli_si128(a, 8);
}

/* Each half times x^48. */
static inline CLMUL vec shift_48(vec a)
{
    return _mm_slli_epi64(a, 48);
}

static inline CLMUL uint16_t to_u16(vec a)
{
    return (uint16_t)_mm_cvtsi128_si32(a);
}

/* All ones in each byte that is '{'. */
static inline CLMUL vec match_brace(vec a)
{
    return _mm_cmpeq_epi8(a, _mm_set1_epi8('{'));
}

static inline CLMUL vec either(vec a, vec b)
{
    return _mm_or_si128(a, b);
}

static inline CLMUL bool is_any(vec a)
{
    return _mm_movemask_epi8(a) != 0;
}

#elif defined(__aarch64__) && defined(__AARCH64EL__) && defined(__GNUC__) &&                       \
    (defined(__ARM_FEATURE_AES) || defined(__ARM_FEATURE_CRYPTO))

#include <arm_neon.h>

#define HAS_CLMUL 1
#define CLMUL

typedef uint64x2_t vec;

/* The compiler was told that every processor it builds for has it. */
static inline bool is_supported(void)
{
    return true;
}

static inline vec vec_of(uint64_t high, uint64_t low)
{
    return vcombine_u64(vcreate_u64(low), vcreate_u64(high));
}

static inline vec load(const char *data)
{
    return vreinterpretq_u64_u8(vld1q_u8((const unsigned char *)data));
}

static inline vec shuffle(vec a, const unsigned char *order)
{
    return vreinterpretq_u64_u8(vqtbl1q_u8(vreinterpretq_u8_u64(a), vld1q_u8(order)));
}

static inline vec add(vec a, vec b)
{
    return veorq_u64(a, b);
}

static inline vec mul_low(vec a, vec b)
{
    poly64_t x = (poly64_t)vgetq_lane_u64(a, 0);
    poly64_t y = (poly64_t)vgetq_lane_u64(b, 0);
    return vreinterpretq_u64_p128(vmull_p64(x, y));
}

static inline vec mul_high(vec a, vec b)
{
    return vreinterpretq_u64_p128(
        vmull_high_p64(vreinterpretq_p64_u64(a), vreinterpretq_p64_u64(b)));
}

/* The low half; the high half is zero. */
static inline vec low_of(vec a)
{
    return vsetq_lane_u64(0, a, 1);
}

/* The low half moved to the high half. */
static inline vec raise(vec a)
{
    return vextq_u64(vdupq_n_u64(0), a, 1);
}

/* Each half times x^48. */
static inline vec shift_48(vec a)
{
    return vshlq_n_u64(a, 48);
}

static inline uint16_t to_u16(vec a)
{
    return (uint16_t)vgetq_lane_u64(a, 0);
}

/* All ones in each byte that is '{'. */
static inline vec match_brace(vec a)
{
    return vreinterpretq_u64_u8(vceqq_u8(vreinterpretq_u8_u64(a), vdupq_n_u8('{')));
}

static inline vec either(vec a, vec b)
{
    return vorrq_u64(a, b);
}

static inline bool is_any(vec a)
{
    return vmaxvq_u32(vreinterpretq_u32_u64(a)) != 0;
}

#endif

#if defined(HAS_CLMUL)

/* x^(64 n) mod P, P = x^16 + x^12 + x^5 + 1: a half that stands n halves before the
 * end, times this, is congruent to its share of the whole and below x^80. */
#define X64_1 0xb861
#define X64_2 0xaefc
#define X64_3 0x650b
#define X64_4 0x8e29
#define X64_5 0x26aa
#define X64_6 0xcde2
#define X64_7 0x2535
#define X64_8 0x13fc
#define X64_9 0x8832

/* Coefficients of 1/P as a power series, for Barrett reduction: the first 64 behind the leading
 * one, and those of them that the 16 highest bits of an 80 bit number are multiplied with. */
#define INVERSE_LOW  0x11303471a041b343u
#define INVERSE_HIGH 0xb343e568u
#define POLYNOMIAL   0x11021u

/* The short ways are in one function, where a call more is measurable, and all else is
 * out of it, so that it saves no registers. */
#define ALWAYS inline __attribute__((always_inline))
#define APART  __attribute__((noinline))

/* Returned in place of a checksum, which has 16 bits, where a search met a '{'. */
#define BRACE 0x10000u

/* Masks for byte shuffles: the 16 from 16 - n on take the first n bytes in reverse order, with
 * zeros behind them. */
static const unsigned char backwards[32] = {
    15,   14,   13,   12,   11,   10,   9,    8,    7,    6,    5,    4,    3,    2,    1,    0,
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
};

/* Four blocks in a row: 64 bytes. */
typedef struct stripe {
    vec block[4];
} stripe;

static inline CLMUL vec block_at(const char *data)
{
    return shuffle(load(data), backwards);
}

/* The first n of 16 readable bytes, with zero bytes in front. */
static inline CLMUL vec block_front(const char *data, size_t n)
{
    return shuffle(load(data), backwards + 16 - n);
}

static inline CLMUL vec fold(vec a, uint64_t high, uint64_t low)
{
    vec by = vec_of(high, low);
    return add(mul_high(a, by), mul_low(a, by));
}

/* w x^16 mod P for w below x^80 (Barrett): the low 16 bits of the quotient are enough,
 * since the product's low 16 bits are all that is asked for. */
static inline CLMUL uint16_t reduce(vec w)
{
    vec inverse = vec_of(INVERSE_HIGH, INVERSE_LOW);
    vec quotient = add(mul_low(w, inverse), mul_high(shift_48(w), inverse));
    return to_u16(mul_high(add(quotient, raise(w)), vec_of(POLYNOMIAL, 0)));
}

/* reduce for w below x^64. */
static inline CLMUL uint16_t reduce_half(vec w)
{
    vec quotient = mul_low(w, vec_of(0, INVERSE_LOW));
    return to_u16(mul_high(add(quotient, raise(w)), vec_of(POLYNOMIAL, 0)));
}

static inline CLMUL vec fold_last(vec a)
{
    return add(low_of(a), mul_high(a, vec_of(X64_1, 0)));
}

static inline CLMUL uint16_t reduce_stripe(const stripe *s)
{
    vec first = add(fold(s->block[0], X64_7, X64_6), fold(s->block[1], X64_5, X64_4));
    vec second = add(fold(s->block[2], X64_3, X64_2), fold_last(s->block[3]));
    return reduce(add(first, second));
}

static inline CLMUL bool has_brace(const stripe *s)
{
    vec first = either(match_brace(s->block[0]), match_brace(s->block[1]));
    vec second = either(match_brace(s->block[2]), match_brace(s->block[3]));
    return is_any(either(first, second));
}

/* The first n of more than 32 readable bytes, 1 <= n <= 64, with zero bytes in front. */
static inline CLMUL stripe stripe_front(const char *data, size_t n)
{
    vec zero = vec_of(0, 0);
    if (n > 48) {
        stripe s = {{block_front(data, n - 48), block_at(data + n - 48), block_at(data + n - 32),
                     block_at(data + n - 16)}};
        return s;
    }
    if (n > 32) {
        stripe s = {
            {zero, block_front(data, n - 32), block_at(data + n - 32), block_at(data + n - 16)}};
        return s;
    }
    if (n > 16) {
        stripe s = {{zero, zero, block_front(data, n - 16), block_at(data + n - 16)}};
        return s;
    }
    stripe s = {{zero, zero, zero, block_front(data, n)}};
    return s;
}

/* Moves the stripe 64 bytes on, over the next 64 bytes. */
static inline CLMUL void advance(stripe *s, const stripe *next)
{
    for (size_t i = 0; i < 4; i++) {
        s->block[i] = add(fold(s->block[i], X64_9, X64_8), next->block[i]);
    }
}

static inline CLMUL stripe stripe_at(const char *data)
{
    stripe s = {{block_at(data), block_at(data + 16), block_at(data + 32), block_at(data + 48)}};
    return s;
}

/* The checksum of up to 16, 32 and more bytes, or BRACE where `seek` is set and there is
 * a '{'; `seek` is a constant where they are called. */
static ALWAYS CLMUL uint32_t short_of(const char *data, size_t len, bool seek)
{
    if (len < 8) {
        uint64_t word = kw_load_short(data, len);
        if (seek && kw_match_byte(word, '{') != 0) {
            return BRACE;
        }
        return reduce_half(vec_of(0, word));
    }
    vec block =
        len == 16 ? block_at(data) : vec_of(kw_load_front(data, len), kw_load_be64(data + len - 8));
    if (seek && is_any(match_brace(block))) {
        return BRACE;
    }
    return reduce(fold_last(block));
}

static ALWAYS CLMUL uint32_t middle_of(const char *data, size_t len, bool seek)
{
    vec first = block_front(data, len - 16);
    vec last = block_at(data + len - 16);
    if (seek && is_any(either(match_brace(first), match_brace(last)))) {
        return BRACE;
    }
    return reduce(add(fold(first, X64_3, X64_2), fold_last(last)));
}

static inline CLMUL uint32_t long_of(const char *data, size_t len, bool seek)
{
    size_t at = ((len - 1) & 63) + 1;
    stripe s = stripe_front(data, at);
    if (seek && has_brace(&s)) {
        return BRACE;
    }
    for (; at < len; at += 64) {
        stripe next = stripe_at(data + at);
        if (seek && has_brace(&next)) {
            return BRACE;
        }
        advance(&s, &next);
    }
    return reduce_stripe(&s);
}

bool kw_crc16_has_clmul(void)
{
    return is_supported();
}

CLMUL uint16_t kw_crc16_clmul(const char *data, size_t len)
{
    if (len <= 16) {
        return (uint16_t)short_of(data, len, false);
    }
    return (uint16_t)(len <= 32 ? middle_of(data, len, false) : long_of(data, len, false));
}

/* Checksum of the routed part of a key whose first '{' is at open. */
static APART CLMUL uint16_t tagged(const char *key, size_t key_len, size_t open)
{
    uint64_t word;
    if (kw_tag_word(&word, key, key_len, open)) {
        return reduce_half(vec_of(0, word));
    }
    key = kw_tag_at(key, key_len, open, &key_len);
    return kw_crc16_clmul(key, key_len);
}

static APART CLMUL uint16_t find_tagged(const char *key, size_t key_len)
{
    return tagged(key, key_len, kw_find_byte(key, key_len, '{'));
}

/* Checksum of the routed part of a key of more than 32 bytes. */
static APART CLMUL uint16_t long_routed(const char *key, size_t key_len)
{
    uint32_t crc = long_of(key, key_len, true);
    return crc != BRACE ? (uint16_t)crc : find_tagged(key, key_len);
}

/* Most tags start within the first word, and need no more than it to be found. */
CLMUL uint16_t kw_crc16_routed_clmul(const char *key, size_t key_len)
{
    if (key_len >= 8) {
        uint64_t match = kw_match_byte(kw_load_le64(key), '{');
        if (match != 0) {
            return tagged(key, key_len, kw_match_first(match));
        }
    }
    if (key_len > 32) {
        return long_routed(key, key_len);
    }
    uint32_t crc = key_len <= 16 ? short_of(key, key_len, true) : middle_of(key, key_len, true);
    return crc != BRACE ? (uint16_t)crc : find_tagged(key, key_len);
}

uint16_t kw_crc16_routed(const char *key, size_t key_len)
{
    return is_supported() ? kw_crc16_routed_clmul(key, key_len)
                          : kw_crc16_routed_portable(key, key_len);
}

#else

bool kw_crc16_has_clmul(void)
{
    return false;
}

uint16_t kw_crc16_clmul(const char *data, size_t len)
{
    return kw_crc16_portable(data, len);
}

uint16_t kw_crc16_routed_clmul(const char *key, size_t key_len)
{
    return kw_crc16_routed_portable(key, key_len);
}

uint16_t kw_crc16_routed(const char *key, size_t key_len)
{
    return kw_crc16_routed_portable(key, key_len);
}

#endif

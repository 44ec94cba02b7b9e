/* SPDX-License-Identifier: BSD-3-Clause */
/* Stamp: the version of a value that several servers keep a copy of. */
#ifndef ENGINE_STAMP_H
#define ENGINE_STAMP_H

#include <stdbool.h>
#include <stdint.h>

/* Ordered by time, then by writer; no two writes have the same. All zeros: nothing was
 * ever written. */
typedef struct kw_stamp {
    uint64_t time;   /* milliseconds since 1970, 48 bits, and a counter, 16 bits */
    uint64_t writer; /* random number of the handle that wrote */
} kw_stamp;

#define KW_STAMP_BYTES    16u
#define KW_STAMP_TIME_MAX (UINT64_MAX >> 1) /* no stamp has a later time */

int kw_stamp_compare(kw_stamp a, kw_stamp b); /* below, at or above 0 */

static inline bool kw_stamp_is_zero(kw_stamp stamp)
{
    return stamp.time == 0 && stamp.writer == 0;
}

static inline bool kw_stamp_equal(kw_stamp a, kw_stamp b)
{
    return a.time == b.time && a.writer == b.writer;
}

/* Numbers as bytes, highest first, so that bytes compare as stamps do. */
void kw_stamp_put(unsigned char out[KW_STAMP_BYTES], kw_stamp stamp);
kw_stamp kw_stamp_get(const unsigned char bytes[KW_STAMP_BYTES]);
void kw_stamp_put_number(unsigned char *out, uint64_t number, unsigned bytes_n);
uint64_t kw_stamp_get_number(const unsigned char *bytes, unsigned bytes_n);

/* Makes stamps: a hybrid logical clock (Kulkarni, Demirbas, Madappa, Avva, Leone 2014).
 * Never the same stamp twice, never an earlier one, also where the clock goes back. What
 * is learnt of a clock that is ahead is kept as an offset, so that a writer whose clock is
 * slow meets the others' versions once, not again and again. */
typedef struct kw_stamper {
    uint64_t writer;
    uint64_t last;      /* time of the highest stamp given or learnt */
    uint64_t offset_ms; /* the clock of others is ahead by this, as far as is known */
    uint64_t offset_max_ms;
} kw_stamper;

/* A clock that is ahead by more than this changes the next stamp, but not the offset; nor by more
 * than so small a part of what versions may be ahead by: clocks that step forth and back learn of
 * each other again and again, and would drive the offsets, which never become less, beyond what
 * whoever has none believes. */
#define KW_STAMPER_OFFSET_MAX_MS 60000u
#define KW_STAMPER_OFFSET_PARTS  8u

/* Milliseconds since 1970 of the clock that gave it. */
static inline uint64_t kw_stamp_ms(kw_stamp stamp)
{
    return stamp.time >> 16;
}

/* ahead_ms: by how much others' clocks may be ahead (kw_stamper_latest). */
void kw_stamper_init(kw_stamper *stamper, uint64_t writer, uint64_t ahead_ms);

/* A new stamp, above past; past KW_STAMP_TIME_MAX where there is none left, and then no stamp
 * at all. now_ms: the caller's clock, since 1970. */
kw_stamp kw_stamper_next(kw_stamper *stamper, uint64_t now_ms, kw_stamp past);

/* The greatest time that a stamp may have whose maker's clock is ahead by ahead_ms at most. */
uint64_t kw_stamper_latest(const kw_stamper *stamper, uint64_t now_ms, uint64_t ahead_ms);

/* A stamp of another writer was seen: later ones of ours are above it. */
void kw_stamper_learn(kw_stamper *stamper, uint64_t now_ms, kw_stamp seen);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Stamps compared and written, and the hybrid logical clock that makes them. */
#include "engine/stamp.h"

#define COUNTER_BITS 16u
#define CLOCK_MAX_MS (KW_STAMP_TIME_MAX >> COUNTER_BITS)

int kw_stamp_compare(kw_stamp a, kw_stamp b)
{
    if (a.time != b.time) {
        return a.time < b.time ? -1 : 1;
    }
    if (a.writer != b.writer) {
        return a.writer < b.writer ? -1 : 1;
    }
    return 0;
}

void kw_stamp_put_number(unsigned char *out, uint64_t number, unsigned bytes_n)
{
    for (unsigned i = bytes_n; i > 0; i--) {
        out[i - 1] = (unsigned char)(number & 0xffu);
        number >>= 8;
    }
}

uint64_t kw_stamp_get_number(const unsigned char *bytes, unsigned bytes_n)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < bytes_n; i++) {
        number = number << 8 | bytes[i];
    }
    return number;
}

void kw_stamp_put(unsigned char out[KW_STAMP_BYTES], kw_stamp stamp)
{
    kw_stamp_put_number(out, stamp.time, 8);
    kw_stamp_put_number(out + 8, stamp.writer, 8);
}

/* Eight bytes in one expression, of which compilers make one load. */
static uint64_t get_whole(const unsigned char *bytes)
{
    return (uint64_t)bytes[0] << 56 | (uint64_t)bytes[1] << 48 | (uint64_t)bytes[2] << 40 |
           (uint64_t)bytes[3] << 32 | (uint64_t)bytes[4] << 24 | (uint64_t)bytes[5] << 16 |
           (uint64_t)bytes[6] << 8 | (uint64_t)bytes[7];
}

kw_stamp kw_stamp_get(const unsigned char bytes[KW_STAMP_BYTES])
{
    kw_stamp stamp = {get_whole(bytes), get_whole(bytes + 8)};
    return stamp;
}

void kw_stamper_init(kw_stamper *stamper, uint64_t writer, uint64_t ahead_ms)
{
    uint64_t part_ms = ahead_ms / KW_STAMPER_OFFSET_PARTS;
    stamper->writer = writer;
    stamper->last = 0;
    stamper->offset_ms = 0;
    stamper->offset_max_ms =
        part_ms < KW_STAMPER_OFFSET_MAX_MS ? part_ms : KW_STAMPER_OFFSET_MAX_MS;
}

/* The caller's clock, corrected by what is known of others', in the unit of stamps. */
static uint64_t clock_ms(const kw_stamper *stamper, uint64_t now_ms)
{
    uint64_t limit = CLOCK_MAX_MS - KW_STAMPER_OFFSET_MAX_MS;
    uint64_t bounded = now_ms < limit ? now_ms : limit;
    uint64_t ahead = bounded + stamper->offset_ms;
    return ahead < CLOCK_MAX_MS ? ahead : CLOCK_MAX_MS;
}

kw_stamp kw_stamper_next(kw_stamper *stamper, uint64_t now_ms, kw_stamp past)
{
    uint64_t time = clock_ms(stamper, now_ms) << COUNTER_BITS;
    uint64_t known = past.time > stamper->last ? past.time : stamper->last;
    if (time <= known) {
        time = known + 1;
    }
    stamper->last = time < KW_STAMP_TIME_MAX ? time : KW_STAMP_TIME_MAX;
    kw_stamp stamp = {time, stamper->writer};
    return stamp;
}

uint64_t kw_stamper_latest(const kw_stamper *stamper, uint64_t now_ms, uint64_t ahead_ms)
{
    uint64_t ours_ms = clock_ms(stamper, now_ms);
    uint64_t latest_ms = ahead_ms < CLOCK_MAX_MS - ours_ms ? ours_ms + ahead_ms : CLOCK_MAX_MS;
    return latest_ms << COUNTER_BITS | ((UINT64_C(1) << COUNTER_BITS) - 1);
}

void kw_stamper_learn(kw_stamper *stamper, uint64_t now_ms, kw_stamp seen)
{
    if (seen.time > KW_STAMP_TIME_MAX) {
        return;
    }
    uint64_t seen_ms = seen.time >> COUNTER_BITS;
    uint64_t ours_ms = clock_ms(stamper, now_ms);
    if (seen_ms > ours_ms && stamper->offset_ms + (seen_ms - ours_ms) <= stamper->offset_max_ms) {
        stamper->offset_ms += seen_ms - ours_ms;
    }
    if (seen.time > stamper->last) {
        stamper->last = seen.time;
    }
}

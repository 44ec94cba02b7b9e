/* SPDX-License-Identifier: BSD-3-Clause */
/* Records as bytes: written field by field, and checked when read. */
#include "engine/record.h"

#include <string.h>

#define MAGIC        0x93u
#define FORMAT       1u
#define LINGER_BYTES 6u
#define TIME_BYTES   8u
#define FLOOR_BYTES  16u

static unsigned flags_of(const kw_record *record)
{
    bool has_origin = !kw_stamp_equal(record->stamp, record->origin);
    return (record->is_tombstone ? KW_RECORD_TOMBSTONE : 0u) |
           (record->is_copied ? KW_RECORD_COPIED : 0u) | (has_origin ? KW_RECORD_ORIGIN : 0u) |
           (record->is_mortal ? KW_RECORD_MORTAL : 0u) |
           (record->floor > 0 || record->recent > 0 ? KW_RECORD_FLOOR : 0u) |
           (kw_stamp_is_zero(record->promise) ? 0u : KW_RECORD_PROMISE) |
           (record->is_kept ? KW_RECORD_KEPT : 0u);
}

size_t kw_record_put_head(unsigned char out[KW_RECORD_HEAD_MAX], const kw_record *record)
{
    unsigned flags = flags_of(record);
    out[0] = MAGIC;
    out[1] = FORMAT;
    out[2] = (unsigned char)flags;
    kw_stamp_put(out + 3, record->stamp);
    size_t len = KW_RECORD_HEAD_MIN;
    if ((flags & KW_RECORD_ORIGIN) != 0) {
        kw_stamp_put(out + len, record->origin);
        len += KW_STAMP_BYTES;
    }
    if ((flags & KW_RECORD_MORTAL) != 0) {
        kw_stamp_put_number(out + len, record->linger_ms, LINGER_BYTES);
        len += LINGER_BYTES;
    }
    if ((flags & KW_RECORD_FLOOR) != 0) {
        kw_stamp_put_number(out + len, record->floor, TIME_BYTES);
        kw_stamp_put_number(out + len + TIME_BYTES, record->recent, TIME_BYTES);
        len += FLOOR_BYTES;
    }
    if ((flags & KW_RECORD_PROMISE) != 0) {
        kw_stamp_put(out + len, record->promise);
        len += KW_STAMP_BYTES;
    }
    return len;
}

static size_t head_len(unsigned flags)
{
    return KW_RECORD_HEAD_MIN + ((flags & KW_RECORD_ORIGIN) != 0 ? KW_STAMP_BYTES : 0) +
           ((flags & KW_RECORD_MORTAL) != 0 ? LINGER_BYTES : 0) +
           ((flags & KW_RECORD_FLOOR) != 0 ? FLOOR_BYTES : 0) +
           ((flags & KW_RECORD_PROMISE) != 0 ? KW_STAMP_BYTES : 0);
}

/* Checks a record that was read: stamps within bounds, nothing written that is the default, no
 * value behind a tombstone. */
static bool is_sound(const kw_record *record, unsigned flags)
{
    bool has_origin = (flags & KW_RECORD_ORIGIN) != 0;
    return record->stamp.time <= KW_STAMP_TIME_MAX && record->promise.time <= KW_STAMP_TIME_MAX &&
           record->floor <= KW_STAMP_TIME_MAX && record->recent <= KW_STAMP_TIME_MAX &&
           (!has_origin || kw_stamp_compare(record->origin, record->stamp) < 0) &&
           (record->floor > 0 || record->recent > 0 || (flags & KW_RECORD_FLOOR) == 0) &&
           (!kw_stamp_is_zero(record->promise) || (flags & KW_RECORD_PROMISE) == 0) &&
           (!record->is_tombstone || (record->value.len == 0 && !record->is_mortal)) &&
           (!record->is_kept || record->is_tombstone || record->linger_ms >= KW_RECORD_KEPT_MS) &&
           (!kw_stamp_is_zero(record->stamp) || (record->is_tombstone && !has_origin));
}

bool kw_record_says_mortal(kw_bytes bytes)
{
    const unsigned char *data = (const unsigned char *)bytes.data;
    return bytes.len >= KW_RECORD_HEAD_MIN && data[0] == MAGIC && data[1] == FORMAT &&
           (data[2] & KW_RECORD_MORTAL) != 0;
}

/* A value with nothing but its version before it, as most are. */
static bool get_plain(kw_record *record, kw_bytes bytes)
{
    kw_stamp stamp = kw_stamp_get((const unsigned char *)bytes.data + 3);
    if (stamp.time > KW_STAMP_TIME_MAX || kw_stamp_is_zero(stamp)) {
        return false;
    }
    memset(record, 0, sizeof(*record));
    record->stamp = stamp;
    record->origin = stamp;
    record->value.data = bytes.data + KW_RECORD_HEAD_MIN;
    record->value.len = bytes.len - KW_RECORD_HEAD_MIN;
    return true;
}

bool kw_record_get(kw_record *record, kw_bytes bytes)
{
    const unsigned char *data = (const unsigned char *)bytes.data;
    if (bytes.len < KW_RECORD_HEAD_MIN || data[0] != MAGIC || data[1] != FORMAT) {
        return false;
    }
    unsigned flags = data[2];
    if (flags == 0) {
        return get_plain(record, bytes);
    }
    if ((flags & ~KW_RECORD_FLAGS) != 0 || bytes.len < head_len(flags)) {
        return false;
    }
    kw_record read;
    memset(&read, 0, sizeof(read));
    read.is_tombstone = (flags & KW_RECORD_TOMBSTONE) != 0;
    read.is_copied = (flags & KW_RECORD_COPIED) != 0;
    read.is_mortal = (flags & KW_RECORD_MORTAL) != 0;
    read.is_kept = (flags & KW_RECORD_KEPT) != 0;
    read.stamp = kw_stamp_get(data + 3);
    read.origin = read.stamp;
    size_t at = KW_RECORD_HEAD_MIN;
    if ((flags & KW_RECORD_ORIGIN) != 0) {
        read.origin = kw_stamp_get(data + at);
        at += KW_STAMP_BYTES;
    }
    if ((flags & KW_RECORD_MORTAL) != 0) {
        read.linger_ms = kw_stamp_get_number(data + at, LINGER_BYTES);
        at += LINGER_BYTES;
    }
    if ((flags & KW_RECORD_FLOOR) != 0) {
        read.floor = kw_stamp_get_number(data + at, TIME_BYTES);
        read.recent = kw_stamp_get_number(data + at + TIME_BYTES, TIME_BYTES);
        at += FLOOR_BYTES;
    }
    if ((flags & KW_RECORD_PROMISE) != 0) {
        read.promise = kw_stamp_get(data + at);
        at += KW_STAMP_BYTES;
    }
    read.value.data = bytes.data + at;
    read.value.len = bytes.len - at;
    if (!is_sound(&read, flags)) {
        return false;
    }
    *record = read;
    return true;
}

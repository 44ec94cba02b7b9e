/* SPDX-License-Identifier: BSD-3-Clause */
/* Record: a value as each of its copies is kept, behind a header with its version. The
 * format is frozen: what it says is on disks.
 *
 *   byte 0       0x93, no character of any text in UTF-8
 *   byte 1       1, the format
 *   byte 2       flags, below; all others are 0
 *   bytes 3-18   version: time and writer, 8 bytes each, highest byte first
 *   16 bytes     KW_RECORD_ORIGIN: the version that readers are told
 *   6 bytes      KW_RECORD_MORTAL: milliseconds that it stays when its life is over
 *   16 bytes     KW_RECORD_FLOOR: two times, floor and recent
 *   16 bytes     KW_RECORD_PROMISE: version
 *
 * KW_RECORD_KEPT alone adds no bytes: some copy may still hold what this one ended, so it does
 * not end until all copies were seen to hold it. A kept tombstone's key has no TTL; a kept
 * value stays for KW_RECORD_KEPT_MS longer when its life is over.
 *
 *   the rest     the value
 *
 * A plain value without a life of its own has 19 bytes of header. */
#ifndef ENGINE_RECORD_H
#define ENGINE_RECORD_H

#include "base/bytes.h"
#include "engine/stamp.h"

#define KW_RECORD_TOMBSTONE 0x01u /* deleted, or never written: no value */
#define KW_RECORD_COPIED    0x02u /* came by repair, not from its writer */
#define KW_RECORD_ORIGIN    0x04u
#define KW_RECORD_MORTAL    0x08u
#define KW_RECORD_FLOOR     0x10u
#define KW_RECORD_PROMISE   0x20u
#define KW_RECORD_KEPT      0x40u
#define KW_RECORD_FLAGS     0x7fu

#define KW_RECORD_HEAD_MIN      19u
#define KW_RECORD_HEAD_MAX      73u
#define KW_RECORD_LINGER_MAX_MS ((UINT64_C(1) << 48) - 1)
#define KW_RECORD_KEPT_MS       (UINT64_C(1) << 40)

typedef struct kw_record {
    kw_stamp stamp;     /* orders the records of a key */
    kw_stamp origin;    /* the write that made the value; equal to stamp unless a ballot
                           wrote the value anew */
    kw_stamp promise;   /* nothing below it is taken any more; zero: none */
    uint64_t floor;     /* this copy remembers which records repair has brought to it: of those
                           later than floor, only the one with the origin time recent .. */
    uint64_t recent;    /* .. (0: none); all others later than floor came from their writers */
    uint64_t linger_ms; /* of a mortal one: the key's TTL less this is the value's */
    bool is_tombstone;
    bool is_copied; /* came by repair or as a hint, not from its writer */
    bool is_mortal; /* the key ends, linger_ms after the value does */
    bool is_kept;   /* a tombstone, or a mortal one */
    kw_bytes value; /* borrowed */
} kw_record;

/* Writes the header; returns its length. */
size_t kw_record_put_head(unsigned char out[KW_RECORD_HEAD_MAX], const kw_record *record);

/* Reads a record, its value borrowed from bytes. False, with nothing written, for anything
 * that is none. */
bool kw_record_get(kw_record *record, kw_bytes bytes);

/* True where the header says that the value has a life; nothing else of it is checked. */
bool kw_record_says_mortal(kw_bytes bytes);

#endif

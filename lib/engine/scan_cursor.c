/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes a walk as text. */
#include "engine/scan_cursor_private.h"

#include <string.h>

/* Bytes that become text of KW_SCAN_CURSOR_LEN, and what a pass takes of them where there are so
 * many that more is needed. */
#define BYTES_MAX  ((KW_SCAN_CURSOR_LEN - KW_SCAN_CURSOR_PREFIX_LEN) / 4 * 3)
#define BYTES_EACH ((size_t)30)

const char kw_scan_cursor_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static bool put_varint(kw_buf *out, uint64_t value)
{
    char bytes[10];
    size_t n = 0;
    do {
        bytes[n] = (char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        n++;
        value >>= 7;
    } while (value > 0);
    return kw_buf_append(out, bytes, n);
}

static bool put_fixed(kw_buf *out, uint64_t value, size_t len)
{
    char bytes[8];
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)(value >> (8 * i) & 0xff);
    }
    return kw_buf_append(out, bytes, len);
}

/* The state of a slot as it is written; numbers: those of passes. */
static uint64_t state_at(const kw_scan_walk *walk, unsigned slot, const uint32_t *numbers)
{
    uint16_t at = walk->slots[slot];
    return at == KW_SCAN_SLOT_OPEN    ? KW_SCAN_CURSOR_OPEN
           : at == KW_SCAN_SLOT_GIVEN ? KW_SCAN_CURSOR_GIVEN
                                      : KW_SCAN_CURSOR_PASSES + numbers[at];
}

static unsigned run_end(const kw_scan_walk *walk, unsigned from)
{
    unsigned end = from + 1;
    while (end <= walk->spec.last && walk->slots[end] == walk->slots[from]) {
        end++;
    }
    return end;
}

/* Runs, where those of passes that are shorter than least count as open: they will be walked by
 * slot. False when there is no memory. */
static bool put_runs(kw_buf *out, const kw_scan_walk *walk, const uint32_t *numbers, unsigned least)
{
    unsigned end;
    uint64_t state = KW_SCAN_CURSOR_OPEN;
    uint64_t len = 0;
    bool is_whole = put_varint(out, 0);
    for (unsigned slot = walk->spec.first; slot <= walk->spec.last; slot = end) {
        end = run_end(walk, slot);
        uint64_t next = state_at(walk, slot, numbers);
        next = next >= KW_SCAN_CURSOR_PASSES && end - slot < least ? KW_SCAN_CURSOR_OPEN : next;
        if (len > 0 && next != state) {
            is_whole = is_whole && put_varint(out, len) && put_varint(out, state);
            len = 0;
        }
        state = next;
        len += end - slot;
    }
    return is_whole && put_varint(out, len) && put_varint(out, state);
}

static bool put_bits(kw_buf *out, const kw_scan_walk *walk)
{
    kw_scan_slots given;
    memset(&given, 0, sizeof(given));
    for (unsigned slot = walk->spec.first; slot <= walk->spec.last; slot++) {
        if (walk->slots[slot] == KW_SCAN_SLOT_GIVEN) {
            kw_scan_slots_add(&given, slot - walk->spec.first);
        }
    }
    size_t len = (walk->spec.last - walk->spec.first + 8) / 8;
    return put_varint(out, 1) && kw_buf_append(out, (const char *)given.bits, len);
}

/* Where the one key is in motion, whoever goes on is to begin anew: he could not tell what he sees
 * of it from what was seen before. */
static bool is_kept(const kw_scan_walk *walk, const kw_scan_pass *pass)
{
    return pass->is_known && (walk->spec.kind != KW_SCAN_OF_KEY || walk->motion_n == 0);
}

/* Passes, which get numbers: those that are in use, one behind the other. */
static bool put_passes(kw_buf *out, const kw_scan_walk *walk, uint32_t *numbers)
{
    uint32_t n = 0;
    for (size_t i = 0; i < walk->passes_n; i++) {
        numbers[i] = n;
        n += is_kept(walk, &walk->passes[i]) ? 1 : 0;
    }
    bool is_whole = put_varint(out, n);
    for (size_t i = 0; is_whole && i < walk->passes_n; i++) {
        const kw_scan_pass *pass = &walk->passes[i];
        if (is_kept(walk, pass)) {
            is_whole = put_fixed(out, pass->print, 8) && put_varint(out, pass->level) &&
                       put_varint(out, pass->seen_n) && put_varint(out, pass->is_done ? 0 : 1) &&
                       (pass->is_done || put_varint(out, pass->cursor));
        }
    }
    return is_whole;
}

/* Passes and slots, as exact as they can be in the room: first fewer slots of passes, then none and
 * no passes either, then a bit for each slot. */
static bool put_state(kw_buf *out, const kw_scan_walk *walk, uint32_t *numbers, size_t room)
{
    size_t start = out->len;
    for (unsigned least = 1; walk->slots != NULL && least < KW_SLOTS_N; least *= 2) {
        out->len = start;
        if (!put_passes(out, walk, numbers) || !put_runs(out, walk, numbers, least)) {
            return false;
        }
        if (out->len <= room) {
            return true;
        }
    }
    out->len = start;
    if (walk->slots == NULL) {
        return put_passes(out, walk, numbers);
    }
    if (!put_varint(out, 0) || !put_runs(out, walk, numbers, 2 * KW_SLOTS_N)) {
        return false;
    }
    if (out->len <= room) {
        return true;
    }
    out->len = start;
    return put_varint(out, 0) && put_bits(out, walk);
}

/* What one part of a round takes at most. */
#define PART_LEN ((size_t)32)

/* What a round has room for at least: some slots, so that who ends after each batch gets on. */
#define ROUND_LEN ((size_t)320)

static bool put_half(kw_buf *out, const kw_scan_half *half)
{
    return put_varint(out, KW_SCAN_CURSOR_HALF) && put_varint(out, half->slot) &&
           put_fixed(out, half->print, 8) && put_varint(out, half->cursor);
}

static bool is_given_at_rest(const kw_scan_job *job)
{
    return job->stage == KW_SCAN_JOB_GIVEN && job->peer_print == 0;
}

/* What was given of the slots from that job on, one behind the other, at one host; *next: the job
 * behind them. */
static bool put_jobs(kw_buf *out, const kw_scan_walk *walk, size_t at, size_t *next)
{
    const kw_scan_job *job = &walk->jobs[at];
    *next = at + 1;
    if (job->stage == KW_SCAN_JOB_GIVEN && !is_given_at_rest(job)) {
        return put_varint(out, KW_SCAN_CURSOR_MOVING) && put_varint(out, job->slot) &&
               put_fixed(out, job->print, 8) && put_fixed(out, job->peer_print, 8) &&
               put_fixed(out, job->motion, 8);
    }
    if (job->stage != KW_SCAN_JOB_GIVEN) {
        kw_scan_half half = {job->slot, job->print, job->cursor};
        return job->peer_print != 0 || !job->is_large || job->cursor == 0 || put_half(out, &half);
    }
    while (*next < walk->jobs_n && is_given_at_rest(&walk->jobs[*next]) &&
           walk->jobs[*next].print == job->print &&
           walk->jobs[*next].slot == job->slot + (*next - at)) {
        *next += 1;
    }
    return put_varint(out, KW_SCAN_CURSOR_RESTING) && put_varint(out, job->slot) &&
           put_varint(out, *next - at) && put_fixed(out, job->print, 8);
}

/* The round, as far as there is room: what is left out will be given again. */
static bool put_round(kw_buf *out, const kw_scan_walk *walk, size_t room)
{
    bool is_whole = true;
    for (size_t i = 0; is_whole && i < walk->halves_n && out->len + PART_LEN < room; i++) {
        is_whole = put_half(out, &walk->halves[i]);
    }
    for (size_t i = 0; is_whole && i < walk->jobs_n && out->len + PART_LEN < room;) {
        is_whole = put_jobs(out, walk, i, &i);
    }
    return is_whole && put_varint(out, KW_SCAN_CURSOR_END);
}

uint64_t kw_scan_cursor_checksum(kw_bytes bytes)
{
    uint64_t hash = kw_bytes_hash(bytes);
    return (hash ^ hash >> 32) & UINT32_MAX;
}

static bool put_all(kw_buf *raw, const kw_scan_walk *walk, uint32_t scope, uint32_t *numbers)
{
    size_t needed = 64 + walk->passes_n * BYTES_EACH;
    size_t room = (needed > BYTES_MAX ? needed : BYTES_MAX) - 4;
    size_t round_len = walk->jobs_n + walk->halves_n > 0 ? ROUND_LEN : 1;
    bool is_whole = put_fixed(raw, walk->spec.kind, 1) && put_fixed(raw, scope, 4) &&
                    put_fixed(raw, walk->ring, 8) && put_fixed(raw, walk->is_begun ? 1 : 0, 1) &&
                    put_state(raw, walk, numbers, room - round_len);
    is_whole = is_whole && (walk->slots == NULL || put_round(raw, walk, room));
    kw_bytes bytes = {raw->data, raw->len};
    return is_whole && put_fixed(raw, kw_scan_cursor_checksum(bytes), 4);
}

static bool put_text(kw_buf *out, kw_bytes raw)
{
    if (!kw_buf_append(out, KW_SCAN_CURSOR_PREFIX, KW_SCAN_CURSOR_PREFIX_LEN) ||
        !kw_buf_reserve(out, raw.len / 3 * 4 + 4)) {
        return false;
    }
    uint32_t bits = 0;
    unsigned bits_n = 0;
    for (size_t i = 0; i < raw.len; i++) {
        bits = bits << 8 | (unsigned char)raw.data[i];
        bits_n += 8;
        for (; bits_n >= 6; bits_n -= 6) {
            out->data[out->len++] = kw_scan_cursor_letters[bits >> (bits_n - 6) & 63];
        }
    }
    if (bits_n > 0) {
        out->data[out->len++] = kw_scan_cursor_letters[bits << (6 - bits_n) & 63];
    }
    return true;
}

bool kw_scan_cursor_write(kw_buf *out, const kw_scan_walk *walk, uint32_t scope)
{
    kw_buf raw;
    kw_buf_init(&raw, walk->mem, NULL, 0);
    uint32_t *numbers = kw_mem_calloc(walk->mem, walk->passes_n + 1, sizeof(numbers[0]));
    kw_bytes bytes = {NULL, 0};
    bool is_whole = numbers != NULL && put_all(&raw, walk, scope, numbers);
    if (is_whole) {
        bytes.data = raw.data;
        bytes.len = raw.len;
    }
    is_whole = is_whole && put_text(out, bytes);
    kw_mem_free(walk->mem, numbers);
    kw_buf_fini(&raw);
    return is_whole;
}

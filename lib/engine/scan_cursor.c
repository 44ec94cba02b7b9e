/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes a walk as text and reads it again.
 *
 *   "kws1." and base64url (RFC 4648, without padding) of: kind, 1 byte; scope, 4 bytes; ring, 8
 *   bytes; number of passes; of each its print, 8 bytes, level, keys gone through, and 0 where it
 * is done, else 1 and its cursor; of a cluster the slots; 4 bytes of a checksum of all before. The
 * slots: 0 and runs of length and state (0 open, 1 given, 2 and more: a pass), or 1 and a bit for
 * each slot, set where it was given. Numbers without a size are varints, 7 bits a byte, lowest
 * first; all others are lowest first. */
#include "engine/scan_cursor.h"

#include <string.h>

#define PREFIX     "kws1."
#define PREFIX_LEN (sizeof(PREFIX) - 1)

/* Bytes that become text of KW_SCAN_CURSOR_LEN, and what a pass takes of them where there are so
 * many that more is needed. */
#define BYTES_MAX  ((KW_SCAN_CURSOR_LEN - PREFIX_LEN) / 4 * 3)
#define BYTES_EACH ((size_t)30)

#define STATE_OPEN   0u
#define STATE_GIVEN  1u
#define STATE_PASSES 2u

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

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
    return at == KW_SCAN_SLOT_OPEN    ? STATE_OPEN
           : at == KW_SCAN_SLOT_GIVEN ? STATE_GIVEN
                                      : STATE_PASSES + numbers[at];
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
    uint64_t state = STATE_OPEN;
    uint64_t len = 0;
    bool is_whole = put_varint(out, 0);
    for (unsigned slot = walk->spec.first; slot <= walk->spec.last; slot = end) {
        end = run_end(walk, slot);
        uint64_t next = state_at(walk, slot, numbers);
        next = next >= STATE_PASSES && end - slot < least ? STATE_OPEN : next;
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

/* Passes, which get numbers: those that are in use, one behind the other. */
static bool put_passes(kw_buf *out, const kw_scan_walk *walk, uint32_t *numbers)
{
    uint32_t n = 0;
    for (size_t i = 0; i < walk->passes_n; i++) {
        numbers[i] = n;
        n += walk->passes[i].is_known ? 1 : 0;
    }
    bool is_whole = put_varint(out, n);
    for (size_t i = 0; is_whole && i < walk->passes_n; i++) {
        const kw_scan_pass *pass = &walk->passes[i];
        if (pass->is_known) {
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

static uint64_t checksum(kw_bytes bytes)
{
    uint64_t hash = kw_bytes_hash(bytes);
    return (hash ^ hash >> 32) & UINT32_MAX;
}

static bool put_all(kw_buf *raw, const kw_scan_walk *walk, uint32_t scope, uint32_t *numbers)
{
    size_t needed = 64 + walk->passes_n * BYTES_EACH;
    size_t room = (needed > BYTES_MAX ? needed : BYTES_MAX) - 4;
    bool is_whole = put_fixed(raw, walk->spec.kind, 1) && put_fixed(raw, scope, 4) &&
                    put_fixed(raw, walk->ring, 8) && put_fixed(raw, walk->is_begun ? 1 : 0, 1) &&
                    put_state(raw, walk, numbers, room);
    kw_bytes bytes = {raw->data, raw->len};
    return is_whole && put_fixed(raw, checksum(bytes), 4);
}

static bool put_text(kw_buf *out, kw_bytes raw)
{
    if (!kw_buf_append(out, PREFIX, PREFIX_LEN) || !kw_buf_reserve(out, raw.len / 3 * 4 + 4)) {
        return false;
    }
    uint32_t bits = 0;
    unsigned bits_n = 0;
    for (size_t i = 0; i < raw.len; i++) {
        bits = bits << 8 | (unsigned char)raw.data[i];
        bits_n += 8;
        for (; bits_n >= 6; bits_n -= 6) {
            out->data[out->len++] = letters[bits >> (bits_n - 6) & 63];
        }
    }
    if (bits_n > 0) {
        out->data[out->len++] = letters[bits << (6 - bits_n) & 63];
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

/* Bytes that are being read; what is wrong first ends it. */
typedef struct reader {
    kw_bytes bytes;
    size_t at;
    const char *what; /* NULL: all is well */
} reader;

static uint64_t wrong(reader *in, const char *what)
{
    in->what = in->what != NULL ? in->what : what;
    return 0;
}

static uint64_t get_fixed(reader *in, size_t len)
{
    uint64_t value = 0;
    if (in->what != NULL || in->bytes.len - in->at < len) {
        return wrong(in, "it ends too early");
    }
    for (size_t i = 0; i < len; i++) {
        value |= (uint64_t)(unsigned char)in->bytes.data[in->at++] << (8 * i);
    }
    return value;
}

static uint64_t get_varint(reader *in, uint64_t max, const char *what)
{
    uint64_t value = 0;
    size_t start = in->at;
    for (unsigned shift = 0;; shift += 7) {
        uint64_t byte = get_fixed(in, 1);
        if (in->what != NULL) {
            return 0;
        }
        bool is_over = shift > 63 || (shift == 63 && byte > 1);
        value |= is_over ? 0 : (byte & 0x7f) << shift;
        if (is_over || ((byte & 0x80) == 0 && value > max)) {
            in->at = start;
            return wrong(in, what);
        }
        if ((byte & 0x80) == 0) {
            return value;
        }
    }
}

static void get_passes(reader *in, kw_scan_walk *walk)
{
    uint64_t n = get_varint(in, KW_SCAN_HOSTS_MAX, "there are no so many nodes");
    walk->passes = kw_mem_calloc(walk->mem, (size_t)n + 1, sizeof(walk->passes[0]));
    if (walk->passes == NULL) {
        wrong(in, "");
        return;
    }
    for (uint64_t i = 0; i < n && in->what == NULL; i++) {
        kw_scan_pass pass = {.is_known = true, .host = KW_SCAN_NONE};
        pass.print = get_fixed(in, 8);
        pass.level = (unsigned)get_varint(in, KW_SCAN_HOSTS_MAX, "there are no so many levels");
        pass.seen_n = get_varint(in, UINT64_MAX, "a number is too large");
        pass.is_done = get_varint(in, 1, "a node is neither walked nor not") == 0;
        pass.cursor = pass.is_done ? 0 : get_varint(in, UINT64_MAX, "a number is too large");
        walk->passes[walk->passes_n++] = pass;
    }
}

static void get_runs(reader *in, kw_scan_walk *walk)
{
    unsigned slot = walk->spec.first;
    while (slot <= walk->spec.last && in->what == NULL) {
        uint64_t len = get_varint(in, walk->spec.last + 1 - slot, "slots end past the last one");
        uint64_t state = get_varint(in, STATE_PASSES - 1 + walk->passes_n, "no such node");
        if (len == 0) {
            wrong(in, "no slots");
        }
        uint16_t value = state == STATE_OPEN    ? KW_SCAN_SLOT_OPEN
                         : state == STATE_GIVEN ? KW_SCAN_SLOT_GIVEN
                                                : (uint16_t)(state - STATE_PASSES);
        for (; len > 0 && in->what == NULL; len--) {
            walk->slots[slot++] = value;
        }
    }
}

static void get_slots(reader *in, kw_scan_walk *walk)
{
    bool is_bits = get_varint(in, 1, "slots are neither in runs nor bits") == 1;
    if (!is_bits) {
        get_runs(in, walk);
        return;
    }
    for (unsigned slot = walk->spec.first; slot <= walk->spec.last && in->what == NULL; slot += 8) {
        uint64_t bits = get_fixed(in, 1);
        for (unsigned i = 0; i < 8 && slot + i <= walk->spec.last; i++) {
            walk->slots[slot + i] = (bits >> i & 1) != 0 ? KW_SCAN_SLOT_GIVEN : KW_SCAN_SLOT_OPEN;
        }
    }
}

static void get_all(reader *in, kw_scan_walk *walk, uint32_t scope)
{
    if (get_fixed(in, 1) != (uint64_t)walk->spec.kind || get_fixed(in, 4) != scope) {
        wrong(in, "it is of another walk: other options, or another kind of handle");
        return;
    }
    walk->ring = get_fixed(in, 8);
    walk->is_begun = get_varint(in, 1, "it has neither begun nor not") == 1;
    get_passes(in, walk);
    if (walk->slots != NULL) {
        get_slots(in, walk);
    }
    if (in->what == NULL && in->at != in->bytes.len) {
        wrong(in, "something is behind its end");
    }
}

/* The bytes of the text, in memory of out; false, with the letter in *at, where it is none. */
static bool get_text(kw_buf *out, size_t *at, kw_bytes text)
{
    uint32_t bits = 0;
    unsigned bits_n = 0;
    for (*at = PREFIX_LEN; *at < text.len; *at += 1) {
        const char *letter = text.data[*at] != '\0' ? strchr(letters, text.data[*at]) : NULL;
        if (letter == NULL) {
            return false;
        }
        bits = bits << 6 | (uint32_t)(letter - letters);
        bits_n += 6;
        if (bits_n >= 8) {
            bits_n -= 8;
            out->data[out->len++] = (char)(bits >> bits_n & 0xff);
        }
    }
    return true;
}

static kw_err refuse(kw_scan_fault *fault, size_t at, const char *what)
{
    fault->at = at;
    fault->what = what;
    return KW_ERR_ARGUMENT;
}

/* Moves what was read into the walk, which has nothing of its own but slots. */
static void take(kw_scan_walk *walk, kw_scan_walk *from)
{
    kw_mem_free(walk->mem, walk->passes);
    walk->passes = from->passes;
    walk->passes_n = from->passes_n;
    walk->ring = from->ring;
    walk->is_begun = from->is_begun;
    from->passes = NULL;
    if (walk->slots != NULL) {
        memcpy(walk->slots, from->slots, KW_SLOTS_N * sizeof(walk->slots[0]));
    }
}

static kw_err read_bytes(kw_scan_walk *walk, kw_scan_fault *fault, kw_bytes bytes, uint32_t scope)
{
    reader in = {{bytes.data, bytes.len - 4}, 0, NULL};
    kw_scan_walk draft;
    if (!kw_scan_walk_init(&draft, walk->mem, &walk->spec)) {
        return KW_ERR_NOMEM;
    }
    get_all(&in, &draft, scope);
    kw_err code = KW_OK;
    if (in.what != NULL && in.what[0] == '\0') {
        code = KW_ERR_NOMEM;
    } else if (in.what != NULL) {
        code = refuse(fault, PREFIX_LEN + in.at * 4 / 3, in.what);
    } else {
        take(walk, &draft);
    }
    kw_scan_walk_fini(&draft);
    return code;
}

kw_err kw_scan_cursor_read(kw_scan_walk *walk, kw_scan_fault *fault, kw_bytes text, uint32_t scope)
{
    if (!kw_bytes_starts(text, PREFIX)) {
        return refuse(fault, 0,
                      "it does not begin with \"" PREFIX "\", as those of this version do");
    }
    kw_buf raw;
    size_t at;
    kw_buf_init(&raw, walk->mem, NULL, 0);
    if (!kw_buf_reserve(&raw, text.len)) {
        return KW_ERR_NOMEM;
    }
    kw_err code;
    if (!get_text(&raw, &at, text)) {
        code = refuse(fault, at, "no letter of a cursor");
    } else if (raw.len < 5) {
        code = refuse(fault, text.len, "it ends too early");
    } else {
        kw_bytes bytes = {raw.data, raw.len};
        kw_bytes body = {raw.data, raw.len - 4};
        reader tail = {bytes, raw.len - 4, NULL};
        code =
            get_fixed(&tail, 4) == checksum(body)
                ? read_bytes(walk, fault, bytes, scope)
                : refuse(fault, text.len, "its checksum does not fit: a part was changed or lost");
    }
    kw_buf_fini(&raw);
    return code;
}

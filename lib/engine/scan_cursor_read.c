/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads a walk from its text, which may be anything. */
#include "engine/scan_cursor_private.h"

#include <string.h>

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
        uint64_t state = get_varint(in, KW_SCAN_CURSOR_PASSES - 1 + walk->passes_n, "no such node");
        if (len == 0) {
            wrong(in, "no slots");
        }
        uint16_t value = state == KW_SCAN_CURSOR_OPEN ? KW_SCAN_SLOT_OPEN
                         : state == KW_SCAN_CURSOR_GIVEN
                             ? KW_SCAN_SLOT_GIVEN
                             : (uint16_t)(state - KW_SCAN_CURSOR_PASSES);
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

/* Slots that were given, each as a whole. */
static void get_jobs(reader *in, kw_scan_walk *walk, uint64_t part)
{
    kw_scan_job job = {.stage = KW_SCAN_JOB_GIVEN, .peer = KW_SCAN_UNOWNED};
    uint64_t slot = get_varint(in, walk->spec.last, "no such slot");
    uint64_t n = 1;
    if (part == KW_SCAN_CURSOR_RESTING) {
        n = get_varint(in, walk->spec.last + 1 - slot, "slots end past the last one");
    }
    job.print = get_fixed(in, 8);
    if (part == KW_SCAN_CURSOR_MOVING) {
        job.peer_print = get_fixed(in, 8);
        job.motion = get_fixed(in, 8);
    }
    if (in->what == NULL && (slot < walk->spec.first || n > KW_SCAN_ROUND_MAX - walk->jobs_n)) {
        wrong(in, "no such slots in a round");
    }
    for (; n > 0 && in->what == NULL; n--) {
        job.slot = (uint16_t)slot++;
        walk->jobs[walk->jobs_n++] = job;
    }
}

static void get_half(reader *in, kw_scan_walk *walk)
{
    kw_scan_half half;
    half.slot = (uint16_t)get_varint(in, walk->spec.last, "no such slot");
    half.print = get_fixed(in, 8);
    half.cursor = get_varint(in, UINT64_MAX, "a number is too large");
    if (in->what == NULL && walk->halves_n < KW_SCAN_HALVES_MAX) {
        walk->halves[walk->halves_n++] = half; /* of others nothing is known */
    }
}

static void get_round(reader *in, kw_scan_walk *walk)
{
    while (in->what == NULL) {
        uint64_t part = get_varint(in, KW_SCAN_CURSOR_PART_MAX, "no part of a round");
        if (in->what != NULL || part == KW_SCAN_CURSOR_END) {
            return;
        }
        if (part == KW_SCAN_CURSOR_HALF) {
            get_half(in, walk);
        } else {
            get_jobs(in, walk, part);
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
        get_round(in, walk);
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
    for (*at = KW_SCAN_CURSOR_PREFIX_LEN; *at < text.len; *at += 1) {
        const char *letter =
            text.data[*at] != '\0' ? strchr(kw_scan_cursor_letters, text.data[*at]) : NULL;
        if (letter == NULL) {
            return false;
        }
        bits = bits << 6 | (uint32_t)(letter - kw_scan_cursor_letters);
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
        memcpy(walk->jobs, from->jobs, from->jobs_n * sizeof(walk->jobs[0]));
        memcpy(walk->halves, from->halves, sizeof(walk->halves));
        walk->jobs_n = from->jobs_n;
        walk->halves_n = from->halves_n;
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
        code = refuse(fault, KW_SCAN_CURSOR_PREFIX_LEN + in.at * 4 / 3, in.what);
    } else {
        take(walk, &draft);
    }
    kw_scan_walk_fini(&draft);
    return code;
}

kw_err kw_scan_cursor_read(kw_scan_walk *walk, kw_scan_fault *fault, kw_bytes text, uint32_t scope)
{
    if (!kw_bytes_starts(text, KW_SCAN_CURSOR_PREFIX)) {
        return refuse(fault, 0,
                      "it does not begin with \"" KW_SCAN_CURSOR_PREFIX
                      "\", as those of this version do");
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
            get_fixed(&tail, 4) == kw_scan_cursor_checksum(body)
                ? read_bytes(walk, fault, bytes, scope)
                : refuse(fault, text.len, "its checksum does not fit: a part was changed or lost");
    }
    kw_buf_fini(&raw);
    return code;
}

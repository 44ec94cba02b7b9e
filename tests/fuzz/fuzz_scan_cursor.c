/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzz entry: cursors of scans. Bytes are a text as it comes, or what is in one, with the checksum
 * that belongs to it. What is read is written, read and written again, and stays as it is. */
#include "engine/scan_cursor_private.h"

#include <stdlib.h>
#include <string.h>

#define LEN_MAX ((size_t)8192)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void need(bool is_well)
{
    if (!is_well) {
        abort();
    }
}

/* The text of a cursor with these bytes. */
static void make_text(kw_buf *out, kw_bytes bytes)
{
    unsigned char all[LEN_MAX + 4];
    uint64_t sum = kw_scan_cursor_checksum(bytes);
    memcpy(all, bytes.data, bytes.len);
    for (size_t i = 0; i < 4; i++) {
        all[bytes.len + i] = (unsigned char)(sum >> (8 * i));
    }
    size_t bits_n = 8 * (bytes.len + 4);
    need(kw_buf_append(out, KW_SCAN_CURSOR_PREFIX, KW_SCAN_CURSOR_PREFIX_LEN));
    for (size_t bit = 0; bit < bits_n; bit += 6) {
        unsigned value = 0;
        for (size_t i = bit; i < bit + 6; i++) {
            value = value << 1 | (i < bits_n ? all[i / 8] >> (7 - i % 8) & 1u : 0);
        }
        need(kw_buf_append(out, &kw_scan_cursor_letters[value], 1));
    }
}

/* Reads a text; what is read is written to *again. False where it is none. */
static bool go_round(kw_buf *again, const kw_scan_spec *spec, uint32_t scope, kw_bytes text)
{
    kw_scan_walk walk;
    kw_scan_fault fault = {SIZE_MAX, NULL};
    need(kw_scan_walk_init(&walk, kw_mem_default(), spec));
    kw_err code = kw_scan_cursor_read(&walk, &fault, text, scope);
    need(code == KW_OK || (code == KW_ERR_ARGUMENT && fault.at <= text.len && fault.what != NULL));
    again->len = 0;
    need(code != KW_OK || kw_scan_cursor_write(again, &walk, scope));
    kw_scan_walk_fini(&walk);
    return code == KW_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 6 || len > LEN_MAX) {
        return 0;
    }
    kw_buf text;
    kw_buf again;
    kw_buf_init(&text, kw_mem_default(), NULL, 0);
    kw_buf_init(&again, kw_mem_default(), NULL, 0);
    kw_scan_spec spec = {.kind = (kw_scan_kind)(data[1] % 3), .count = 500, .parallel_n = 8};
    spec.last = spec.kind == KW_SCAN_OF_CLUSTER ? KW_SLOTS_N - 1 : 0;
    kw_bytes bytes = {(const char *)&data[1], len - 1};
    uint32_t scope =
        data[2] | (uint32_t)data[3] << 8 | (uint32_t)data[4] << 16 | (uint32_t)data[5] << 24;
    if (data[0] % 2 == 0) {
        need(kw_buf_append(&text, bytes.data, bytes.len));
    } else {
        make_text(&text, bytes);
    }
    if (go_round(&again, &spec, scope, (kw_bytes){text.data, text.len})) {
        text.len = 0;
        need(kw_buf_append(&text, again.data, again.len));
        need(go_round(&again, &spec, scope, (kw_bytes){text.data, text.len}));
        need(kw_bytes_equal((kw_bytes){text.data, text.len}, (kw_bytes){again.data, again.len}));
    }
    kw_buf_fini(&text);
    kw_buf_fini(&again);
    return 0;
}

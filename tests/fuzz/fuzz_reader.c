/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes as a server's replies: read in one piece, in pieces, and one by one, which goes
 * through hiredis alone, they give the same replies and the same end. */
#include <stdlib.h>
#include <string.h>

#include "base/reader.h"

#define INPUT_MAX   ((size_t)4096)
#define REPLIES_MAX ((size_t)2048)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

typedef struct reading {
    kw_reply *replies[REPLIES_MAX];
    size_t replies_n;
    kw_err code;
} reading;

static void expect(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static void read_all(reading *self, kw_reader *reader)
{
    kw_reply *reply = NULL;
    do {
        reader->pools = self->replies_n % 3 == 0;
        self->code = kw_reader_next(reader, &reply, NULL);
        if (self->code != KW_OK) {
            return;
        }
        if (reply != NULL) {
            expect(self->replies_n < REPLIES_MAX);
            self->replies[self->replies_n++] = reply;
        }
    } while (reply != NULL && kw_reader_has_rest(reader));
}

static void read_pieces(reading *self, const char *data, size_t len, size_t piece_len)
{
    static const kw_reader_limits limits = {.bytes = 2048, .items = 100, .depth = 5};
    kw_reader reader;
    self->replies_n = 0;
    self->code = kw_reader_init(&reader, kw_mem_default(), &limits);
    for (size_t at = 0; at < len && self->code == KW_OK; at += piece_len) {
        size_t piece = piece_len < len - at ? piece_len : len - at;
        expect(kw_reader_feed(&reader, NULL, data + at, piece) == KW_OK);
        read_all(self, &reader);
    }
    kw_reader_fini(&reader);
}

static void expect_same(const kw_reply *a, const kw_reply *b)
{
    expect(kw_reply_type(a) == kw_reply_type(b) && kw_reply_int(a) == kw_reply_int(b));
    expect(kw_bytes_equal(kw_reply_bytes(a), kw_reply_bytes(b)));
    expect(kw_reply_count(a) == kw_reply_count(b));
    for (size_t i = 0; i < kw_reply_count(a); i++) {
        expect_same(kw_reply_at(a, i), kw_reply_at(b, i));
    }
}

static void forget(reading *self)
{
    for (size_t i = 0; i < self->replies_n; i++) {
        kw_reply_free(self->replies[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static reading slow;
    static reading fast;
    if (len < 2 || len > INPUT_MAX) {
        return 0;
    }
    const char *text = (const char *)data + 1;
    read_pieces(&slow, text, len - 1, 1);
    size_t pieces[] = {len, 1 + (size_t)data[0]};
    for (size_t k = 0; k < 2; k++) {
        read_pieces(&fast, text, len - 1, pieces[k]);
        expect(fast.replies_n == slow.replies_n && fast.code == slow.code);
        for (size_t i = 0; i < fast.replies_n; i++) {
            expect_same(fast.replies[i], slow.replies[i]);
        }
        forget(&fast);
    }
    forget(&slow);
    return 0;
}

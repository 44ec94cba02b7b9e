/* SPDX-License-Identifier: BSD-3-Clause */
/* The reader: whatever pieces the bytes come in, and whether hiredis or the short way reads
 * them, the replies are the same. Fed byte by byte, everything goes through hiredis. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "base/reader.h"
#include "base/reader_functions.h"
#include "base/reader_plain.h"
#include "support/check.h"

/* hiredis reads big numbers from 1.1 on. */
#if HIREDIS_MAJOR > 1 || (HIREDIS_MAJOR == 1 && HIREDIS_MINOR >= 1)
#define BIG      "("
#define BIG_KIND KW_REPLY_BIGNUM
#else
#define BIG      "+"
#define BIG_KIND KW_REPLY_STATUS
#endif

#define REPLIES_MAX 2500
#define STREAM_MAX  ((size_t)4 * 1024)

/* What a reader made of a stream. */
typedef struct reading {
    kw_reply *replies[REPLIES_MAX];
    size_t replies_n;
    kw_err code;
    bool has_rest;
} reading;

static const kw_reader_limits usual = {.bytes = 1 << 20, .items = 1000, .depth = 4};

static kw_err read_all(reading *self, kw_reader *reader)
{
    kw_reply *reply = NULL;
    do {
        reader->pools = self->replies_n % 2 == 0;
        kw_err code = kw_reader_next(reader, &reply, NULL);
        if (code != KW_OK) {
            return code;
        }
        if (reply != NULL) {
            assert_true(self->replies_n < REPLIES_MAX);
            self->replies[self->replies_n++] = reply;
        }
    } while (reply != NULL && kw_reader_has_rest(reader));
    return KW_OK;
}

/* Pieces of at most piece_max bytes: all of that length; or of random ones, some of them lent. */
static void read_stream(reading *self, const kw_reader_limits *limits, kw_bytes stream,
                        size_t piece_max, kw_random *random)
{
    kw_reader reader;
    memset(self, 0, sizeof(*self));
    assert_int_equal(kw_reader_init(&reader, kw_mem_default(), limits), KW_OK);
    for (size_t at = 0; at < stream.len && self->code == KW_OK;) {
        size_t len = random != NULL ? 1 + (size_t)(kw_random_next(random) % piece_max) : piece_max;
        len = len < stream.len - at ? len : stream.len - at;
        char *copy = malloc(len); /* so that reads past the end are seen */
        assert_non_null(copy);
        memcpy(copy, stream.data + at, len);
        bool lends = random != NULL && kw_random_next(random) % 2 == 0;
        kw_err fed = lends ? kw_reader_lend(&reader, NULL, copy, len)
                           : kw_reader_feed(&reader, NULL, copy, len);
        assert_int_equal(fed, KW_OK);
        if (!lends) {
            free(copy);
        }
        at += len;
        self->code = read_all(self, &reader);
        assert_int_equal(kw_reader_end_loan(&reader, NULL), KW_OK);
        if (lends) {
            free(copy);
        }
    }
    self->has_rest = kw_reader_has_rest(&reader);
    kw_reader_fini(&reader);
}

static void forget(reading *self)
{
    for (size_t i = 0; i < self->replies_n; i++) {
        kw_reply_free(self->replies[i]);
    }
}

static void assert_same_reply(const kw_reply *a, const kw_reply *b)
{
    assert_int_equal(kw_reply_type(a), kw_reply_type(b));
    assert_int_equal(kw_reply_int(a), kw_reply_int(b));
    assert_true(kw_bytes_equal(kw_reply_bytes(a), kw_reply_bytes(b)));
    assert_int_equal(kw_reply_count(a), kw_reply_count(b));
    for (size_t i = 0; i < kw_reply_count(a); i++) {
        assert_same_reply(kw_reply_at(a, i), kw_reply_at(b, i));
    }
}

static void assert_same(const reading *a, const reading *b)
{
    assert_int_equal(a->code, b->code);
    assert_int_equal(a->replies_n, b->replies_n);
    for (size_t i = 0; i < a->replies_n; i++) {
        assert_same_reply(a->replies[i], b->replies[i]);
    }
    if (a->code == KW_OK) {
        assert_int_equal(a->has_rest, b->has_rest);
    }
}

/* However it comes, the stream reads as it does byte by byte. */
static void check_stream(const kw_reader_limits *limits, kw_bytes stream, kw_random *random)
{
    reading slow;
    reading fast;
    read_stream(&slow, limits, stream, 1, NULL);
    for (size_t piece_max = 2; piece_max < 2 * stream.len; piece_max = piece_max * 3 + 1) {
        read_stream(&fast, limits, stream, piece_max, random);
        assert_same(&slow, &fast);
        forget(&fast);
    }
    read_stream(&fast, limits, stream, stream.len, NULL);
    assert_same(&slow, &fast);
    forget(&fast);
    forget(&slow);
}

typedef struct row {
    const char *stream;
    size_t replies_n;
    kw_err code;
} row;

/* Small limits: strings of 40 bytes, 3 elements, depth 2. */
static const kw_reader_limits small = {.bytes = 40, .items = 3, .depth = 2};

static const row rows[] = {
    {"+OK\r\n", 1, KW_OK},
    {"+\r\n-\r\n", 2, KW_OK},
    {"-ERR no\r\n:1\r\n", 2, KW_OK},
    {":0\r\n:-1\r\n:999999999999999999\r\n:9223372036854775807\r\n", 4, KW_OK},
    {":-9223372036854775808\r\n", 1, KW_OK},
    {"$0\r\n\r\n$1\r\na\r\n$-1\r\n*-1\r\n*0\r\n", 5, KW_OK},
    {"$3\r\na\r\n\r\n+x\r\n", 2, KW_OK},
    {"*2\r\n$1\r\na\r\n:5\r\n+x\r\n", 2, KW_OK},
    {"*3\r\n-ERR x\r\n$-1\r\n+y\r\n", 1, KW_OK},
    {"*1\r\n*1\r\n:1\r\n:2\r\n", 2, KW_OK},
    {"*2\r\n*0\r\n*-1\r\n", 1, KW_OK},
    {"+a\r\n*2\r\n:1\r\n", 1, KW_OK},
    {"$5\r\nab", 0, KW_OK},
    {"*4\r\n:1\r\n:2\r\n:3\r\n:4\r\n", 0, KW_ERR_LIMIT},
    {"*1\r\n*1\r\n*1\r\n:1\r\n", 0, KW_ERR_LIMIT},
    {"+x\r\n$60\r\n012345678901234567890123456789012345678901234567890123456789\r\n", 1,
     KW_ERR_LIMIT},
    {"!no reply\r\n", 0, KW_ERR_PROTOCOL},
    {"+x\r\nwhat\r\n", 1, KW_ERR_PROTOCOL},
    {"*2\r\n:1\r\nwhat\r\n", 0, KW_ERR_PROTOCOL},
};

static void test_reader_streams_give_their_replies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        reading whole;
        kw_bytes stream = kw_bytes_of(rows[i].stream);
        read_stream(&whole, &small, stream, stream.len, NULL);
        assert_int_equal(whole.replies_n, rows[i].replies_n);
        assert_int_equal(whole.code, rows[i].code);
        forget(&whole);
        check_stream(&small, stream, NULL);
        for (size_t len = 1; len < stream.len; len++) {
            kw_bytes cut = {stream.data, len};
            check_stream(&small, cut, NULL);
        }
    }
}

/* What servers do not write: only hiredis says whether it is valid. 4294967297 is 1 in 32 bits. */
static void test_reader_odd_streams_are_left_to_hiredis(void **state)
{
    static const char *const odd[] = {":01\r\n",
                                      ":+1\r\n",
                                      ":-0\r\n",
                                      ":\r\n",
                                      ":1x\r\n",
                                      ":1\n",
                                      "$01\r\na\r\n",
                                      "$-2\r\n",
                                      "$\r\n",
                                      "*-2\r\n",
                                      "*01\r\n:1\r\n",
                                      "$1\r\nab\r\n",
                                      "+a\rb\r\n",
                                      "-a\rb\r\n:1\r\n",
                                      "$1\r\na",
                                      "$1\r\nax\r\n",
                                      ":9999999999999999999\r\n",
                                      "*99999999999999999\r\n",
                                      "$99999999999999999\r\n",
                                      "$4294967297\r\na\r\n",
                                      "*4294967297\r\n:1\r\n",
                                      "*2\r\n$4294967297\r\na\r\n:1\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        check_stream(&usual, kw_bytes_of(odd[i]), NULL);
    }
}

/* A reader with the text as its input. */
static void start_with(kw_reader *reader, const kw_allocator *mem, const char *text, size_t len)
{
    assert_int_equal(kw_reader_init(reader, mem, &usual), KW_OK);
    assert_int_equal(kw_reader_feed(reader, NULL, text, len), KW_OK);
}

static void test_reader_plain_reads_what_is_plain_and_whole(void **state)
{
    static const char plain[] = "*4\r\n$1\r\na\r\n:1\r\n$-1\r\n-ERR no\r\n";
    static const char nested[] = "*1\r\n*1\r\n:1\r\n";
    kw_reader reader;
    (void)state;
    for (size_t len = 1; len < sizeof(plain); len++) {
        start_with(&reader, kw_mem_default(), plain, len);
        kw_reply *reply = kw_reader_plain(&reader);
        assert_int_equal(reply != NULL, len == sizeof(plain) - 1);
        assert_int_equal(kw_reply_count(reply), reply != NULL ? 4 : 0);
        assert_int_equal(reader.input_at, reply != NULL ? len : 0);
        kw_reply_free(reply);
        kw_reader_fini(&reader);
    }
    start_with(&reader, kw_mem_default(), nested, sizeof(nested) - 1);
    assert_null(kw_reader_plain(&reader));
    kw_reader_fini(&reader);
}

/* One memory block for a whole plain reply. */
static void test_reader_plain_array_is_one_allocation(void **state)
{
    static const char plain[] = "*3\r\n$20\r\n01234567890123456789\r\n:1\r\n$3\r\nabc\r\n";
    kw_test_memory memory;
    kw_reader reader;
    (void)state;
    kw_test_memory_init(&memory, 0);
    start_with(&reader, &memory.allocator, plain, sizeof(plain) - 1);
    unsigned long before = kw_test_memory_calls(&memory);
    kw_reply *reply = kw_reader_plain(&reader);
    assert_int_equal(kw_reply_count(reply), 3);
    assert_int_equal(kw_test_memory_calls(&memory), before + 1);
    kw_reader_fini(&reader);
    kw_reply_free(reply);
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

/* Replies that share memory outlive the reader, and each other in any order. */
static void test_reader_pooled_replies_share_memory(void **state)
{
    static char text[40 * 100];
    kw_reply *replies[100];
    kw_test_memory memory;
    kw_reader reader;
    size_t len = 0;
    (void)state;
    for (size_t i = 0; i < 100; i++) {
        len += (size_t)sprintf(text + len, i % 3 == 0 ? ":%zu\r\n" : "$20\r\n%020zu\r\n", i);
    }
    kw_test_memory_init(&memory, 0);
    start_with(&reader, &memory.allocator, text, len);
    unsigned long before = kw_test_memory_calls(&memory);
    for (size_t i = 0; i < 100; i++) {
        reader.pools = true;
        assert_int_equal(kw_reader_next(&reader, &replies[i], NULL), KW_OK);
        assert_non_null(replies[i]);
    }
    assert_true(kw_test_memory_calls(&memory) - before < 10);
    kw_reader_fini(&reader);
    replies[50] = kw_reply_own(&memory.allocator, replies[50]);
    for (size_t i = 0; i < 100; i++) {
        kw_reply *reply = replies[i * 37 % 100];
        long long value = kw_reply_type(reply) == KW_REPLY_STRING
                              ? strtoll(kw_reply_str(reply, NULL), NULL, 10)
                              : kw_reply_int(reply);
        assert_int_equal(value, i * 37 % 100);
        kw_reply_free(reply);
    }
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

/* Short replies take much more memory than bytes on the wire: a piece has room for as many as are
 * there, and none for more. */
static void test_reader_pooled_short_replies_share_a_piece(void **state)
{
    static const char *const texts[] = {"+OK\r\n", ":1\r\n", "$-1\r\n", "*1\r\n:1\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char text[100 * 16] = "";
        kw_reply *replies[50];
        kw_test_memory memory;
        kw_reader reader;
        for (size_t k = 0; k < 50; k++) {
            strcat(text, texts[i]);
        }
        kw_test_memory_init(&memory, 0);
        start_with(&reader, &memory.allocator, text, strlen(text));
        unsigned long before = kw_test_memory_calls(&memory);
        for (size_t k = 0; k < 50; k++) {
            reader.pools = true;
            assert_int_equal(kw_reader_next(&reader, &replies[k], NULL), KW_OK);
            assert_non_null(replies[k]);
        }
        assert_int_equal(kw_test_memory_calls(&memory) - before, 1);
        kw_reader_fini(&reader);
        for (size_t k = 0; k < 50; k++) {
            kw_reply_free(replies[k]);
        }
        assert_int_equal(kw_test_memory_live(&memory), 0);
    }
}

/* What a reader with a sink of two places makes of the text. */
static kw_reply *read_sunk(kw_reply *root, const char *text, size_t piece_len)
{
    static const uint32_t places[] = {2, 0};
    kw_reply_sink sink = {root, places, 2};
    kw_reader reader;
    kw_reply *reply = NULL;
    size_t len = strlen(text);
    assert_int_equal(kw_reader_init(&reader, kw_mem_default(), &usual), KW_OK);
    for (size_t at = 0; at < len; at += piece_len) {
        size_t piece = piece_len < len - at ? piece_len : len - at;
        assert_null(reply);
        assert_int_equal(kw_reader_feed(&reader, NULL, text + at, piece), KW_OK);
        reader.sink = &sink;
        assert_int_equal(kw_reader_next(&reader, &reply, NULL), KW_OK);
    }
    assert_non_null(reply);
    assert_null(reader.sink);
    kw_reader_fini(&reader);
    return reply;
}

static void test_reader_sink_takes_the_elements(void **state)
{
    static const char text[] = "*2\r\n$3\r\nabc\r\n:7\r\n";
    (void)state;
    kw_reply *root = kw_reply_new(kw_mem_default(), 0);
    assert_true(kw_reply_set_array(root, root, KW_REPLY_ARRAY, 3));
    kw_reply *reply = read_sunk(root, text, sizeof(text));
    assert_ptr_equal(reply, kw_reply_sunk());
    kw_reply_free(reply);
    assert_string_equal(kw_reply_str(kw_reply_at(root, 2), NULL), "abc");
    assert_int_equal(kw_reply_type(kw_reply_at(root, 1)), KW_REPLY_NIL);
    assert_int_equal(kw_reply_int(kw_reply_at(root, 0)), 7);
    kw_reply_free(root);
}

/* Then the caller copies what it got. */
static void test_reader_sink_is_left_out_where_it_does_not_fit(void **state)
{
    static const char *const texts[] = {
        "-ERR no\r\n", "*1\r\n:1\r\n", "*3\r\n:1\r\n:2\r\n:3\r\n", "*2\r\n:1\r\n*1\r\n:2\r\n",
        "$-1\r\n",     "*0\r\n"};
    (void)state;
    kw_reply *root = kw_reply_new(kw_mem_default(), 0);
    assert_true(kw_reply_set_array(root, root, KW_REPLY_ARRAY, 3));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        kw_reply *reply = read_sunk(root, texts[i], 100);
        assert_ptr_not_equal(reply, kw_reply_sunk());
        kw_reply_free(reply);
    }
    kw_reply *reply = read_sunk(root, "*2\r\n:1\r\n:2\r\n", 5);
    assert_ptr_not_equal(reply, kw_reply_sunk());
    assert_int_equal(kw_reply_count(reply), 2);
    kw_reply_free(reply);
    kw_reply_free(root);
}

/* The first that lacks memory is an error, and nothing is lost. */
static void test_reader_without_memory_says_so(void **state)
{
    static const char text[] = "$3\r\nabc\r\n*2\r\n:1\r\n$3\r\nabc\r\n";
    (void)state;
    for (int pools = 0; pools < 2; pools++) {
        for (unsigned long fail_at = 1; fail_at < 8; fail_at++) {
            kw_test_memory memory;
            kw_reader reader;
            kw_reply *reply = NULL;
            kw_test_memory_init(&memory, fail_at);
            memory.fail_on = true;
            assert_int_equal(kw_reader_init(&reader, &memory.allocator, &usual), KW_OK);
            kw_err code = kw_reader_feed(&reader, NULL, text, sizeof(text) - 1);
            for (size_t i = 0; i < 2 && code == KW_OK; i++) {
                reader.pools = pools != 0;
                code = kw_reader_next(&reader, &reply, NULL);
                assert_int_equal(code == KW_OK, reply != NULL);
                kw_reply_free(reply);
            }
            assert_true(code == KW_OK || code == KW_ERR_NOMEM);
            assert_true(fail_at > 1 || code == KW_ERR_NOMEM);
            kw_reader_fini(&reader);
            assert_int_equal(kw_test_memory_live(&memory), 0);
        }
    }
}

static size_t put_random(char *out, kw_random *random, unsigned depth)
{
    uint64_t what = kw_random_next(random) % (depth < 3 ? 9 : 7);
    size_t n = (size_t)(kw_random_next(random) % 12);
    switch (what) {
    case 0:
        return (size_t)sprintf(out, "+status %zu\r\n", n);
    case 1:
        return (size_t)sprintf(out, "-ERR %zu\r\n", n);
    case 2:
        return (size_t)sprintf(out, ":%lld\r\n", (long long)kw_random_next(random));
    case 3:
        return (size_t)sprintf(out, "$-1\r\n");
    case 4:
        n = (size_t)(kw_random_next(random) % 900);
        return (size_t)sprintf(out, "$%zu\r\n%0*d\r\n", n + 1, (int)n + 1, 1);
    case 5:
    case 6:
        return (size_t)sprintf(out, "$%zu\r\n%0*d\r\n", n + 1, (int)n + 1, 1);
    default:
        break;
    }
    size_t len = (size_t)sprintf(out, "*%zu\r\n", n);
    for (size_t i = 0; i < n; i++) {
        len += put_random(out + len, random, depth + 1);
    }
    return len;
}

typedef struct aside_row {
    const char *stream;
    size_t replies_n;
    size_t pushes_n;
    bool has_reply_rest;
    kw_err code;
} aside_row;

static void read_asides(const aside_row *aside, bool is_resp3, size_t piece_len, kw_err code)
{
    kw_reader reader;
    size_t replies_n = 0;
    kw_err got = KW_OK;
    assert_int_equal(kw_reader_init(&reader, kw_mem_default(), &usual), KW_OK);
    reader.is_resp3 = is_resp3;
    size_t stream_len = strlen(aside->stream);
    for (size_t at = 0; at < stream_len && got == KW_OK; at += piece_len) {
        size_t len = piece_len < stream_len - at ? piece_len : stream_len - at;
        kw_reply *reply = NULL;
        assert_int_equal(kw_reader_feed(&reader, NULL, aside->stream + at, len), KW_OK);
        do {
            got = kw_reader_next(&reader, &reply, NULL);
            replies_n += reply != NULL ? 1 : 0;
            kw_reply_free(reply);
        } while (got == KW_OK && reply != NULL && kw_reader_has_rest(&reader));
    }
    assert_int_equal(got, code);
    if (code == KW_OK) {
        assert_int_equal(replies_n, aside->replies_n);
        assert_int_equal(reader.pushes_n, aside->pushes_n);
        assert_int_equal(kw_reader_has_reply_rest(&reader), aside->has_reply_rest);
    }
    kw_reader_fini(&reader);
}

static void test_reader_pushed_messages_are_no_replies(void **state)
{
    (void)state;
    static const aside_row asides[] = {
        {">2\r\n+invalidate\r\n*1\r\n+k\r\n:1\r\n", 1, 1, false, KW_OK},
        {":1\r\n>2\r\n+invalidate\r\n*1\r\n+k\r\n", 1, 1, false, KW_OK},
        {":1\r\n>2\r\n+invalid", 1, 0, false, KW_OK},
        {":1\r\n:", 1, 0, true, KW_OK},
        {">1\r\n+a\r\n>1\r\n+b\r\n*1\r\n$1\r\nx\r\n>1\r\n+c\r\n%1\r\n+k\r\n,1.5\r\n", 2, 3, false,
         KW_OK},
        {"*2\r\n:1\r\n>1\r\n+a\r\n", 0, 0, false, KW_ERR_PROTOCOL},
        {"*2\r\n:1\r\n|1\r\n+a\r\n:1\r\n:2\r\n", 0, 0, false, KW_ERR_PROTOCOL},
    };
    for (size_t i = 0; i < sizeof(asides) / sizeof(asides[0]); i++) {
        for (size_t piece_len = 1; piece_len < 64; piece_len += 9) {
            if (kw_reader_knows_resp3()) {
                read_asides(&asides[i], true, piece_len, asides[i].code);
            } else if (strchr(asides[i].stream, '>') != NULL && asides[i].stream[0] == '>') {
                read_asides(&asides[i], false, piece_len, KW_ERR_PROTOCOL);
            }
        }
    }
    static const aside_row unwanted = {">1\r\n+a\r\n:1\r\n", 0, 0, false, KW_ERR_PROTOCOL};
    read_asides(&unwanted, false, 64, KW_ERR_PROTOCOL);
}

/* Half of a line's end early in it does not end it: what comes behind is looked through again with
 * each piece. */
static void test_reader_endless_lines_are_an_error(void **state)
{
    (void)state;
    static const char *const heads[] = {"+", "+a\r", "-ERR \r\r", ":1\r", "$1\r", "*1\r\n+\r\r"};
    char piece[1024];
    memset(piece, 'b', sizeof(piece));
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        kw_reader reader;
        kw_reply *reply = NULL;
        size_t len = strlen(heads[i]);
        assert_int_equal(kw_reader_init(&reader, kw_mem_default(), &usual), KW_OK);
        assert_int_equal(kw_reader_feed(&reader, NULL, heads[i], len), KW_OK);
        kw_err code = kw_reader_next(&reader, &reply, NULL);
        for (; code == KW_OK && len < 4 * 64 * 1024; len += sizeof(piece)) {
            assert_int_equal(kw_reader_feed(&reader, NULL, piece, sizeof(piece)), KW_OK);
            code = kw_reader_next(&reader, &reply, NULL);
            assert_null(reply);
        }
        assert_int_equal(code, KW_ERR_PROTOCOL);
        assert_in_range(len, 0, 64 * 1024 + 64 * sizeof(piece));
        kw_reader_fini(&reader);
    }
}

static void test_reader_endless_pushes_are_an_error(void **state)
{
    (void)state;
    kw_reader reader;
    kw_reply *reply = NULL;
    kw_err code = KW_OK;
    if (!kw_reader_knows_resp3()) {
        return;
    }
    assert_int_equal(kw_reader_init(&reader, kw_mem_default(), &usual), KW_OK);
    reader.is_resp3 = true;
    for (size_t i = 0; i < 20000 && code == KW_OK; i++) {
        assert_int_equal(kw_reader_feed(&reader, NULL, ">1\r\n+a\r\n", 8), KW_OK);
        code = kw_reader_next(&reader, &reply, NULL);
        assert_null(reply);
    }
    assert_int_equal(code, KW_ERR_PROTOCOL);
    kw_reader_fini(&reader);
}

static void test_reader_resp3_kinds_arrive(void **state)
{
    (void)state;
    static const char stream[] =
        "*8\r\n#t\r\n,-2.5\r\n_\r\n" BIG "12345678901234567890\r\n=7\r\ntxt:abc\r\n"
        "~2\r\n:1\r\n:2\r\n%1\r\n+k\r\n+v\r\n#f\r\n";
    reading self;
    if (!kw_reader_knows_resp3()) {
        return;
    }
    read_stream(&self, &usual, kw_bytes_of(stream), 1, NULL);
    assert_int_equal(self.code, KW_OK);
    assert_int_equal(self.replies_n, 1);
    static const kw_reply_kind kinds[] = {KW_REPLY_BOOL, KW_REPLY_DOUBLE, KW_REPLY_NIL,
                                          BIG_KIND,      KW_REPLY_VERB,   KW_REPLY_SET,
                                          KW_REPLY_MAP,  KW_REPLY_BOOL};
    static const char *const texts[] = {NULL,  "-2.5", NULL, "12345678901234567890",
                                        "abc", NULL,   NULL, NULL};
    static const size_t counts[] = {0, 0, 0, 0, 0, 2, 2, 0};
    static const long long numbers[] = {1, 0, 0, 0, 0, 0, 0, 0};
    for (size_t i = 0; i < 8; i++) {
        const kw_reply *it = kw_reply_at(self.replies[0], i);
        assert_int_equal(kw_reply_type(it), kinds[i]);
        assert_int_equal(kw_reply_count(it), counts[i]);
        assert_int_equal(kw_reply_int(it), numbers[i]);
        if (texts[i] != NULL) {
            assert_string_equal(kw_reply_str(it, NULL), texts[i]);
        } else {
            assert_null(kw_reply_str(it, NULL));
        }
    }
    kw_reply *copy = kw_reply_clone(kw_mem_default(), self.replies[0]);
    assert_string_equal(kw_reply_str(kw_reply_at(copy, 1), NULL), "-2.5");
    kw_reply_free(copy);
    kw_reply_free(self.replies[0]);
}

static void test_reader_random_streams_read_alike_in_any_pieces(void **state)
{
    static char text[STREAM_MAX * 500];
    kw_random random;
    (void)state;
    kw_random_init(&random, kw_test_seed("reader"));
    for (size_t turn = 0; turn < 100; turn++) {
        kw_bytes stream = {text, 0};
        for (size_t i = 0; i < 20 && stream.len < STREAM_MAX; i++) {
            stream.len += put_random(text + stream.len, &random, 0);
        }
        if (turn % 2 == 1) { /* and one wrong byte */
            text[kw_random_next(&random) % stream.len] = (char)(kw_random_next(&random) % 128);
        }
        check_stream(&usual, stream, &random);
    }
}

/* An allocator that knows how much it has given. */
static void *counted_alloc(void *arg, size_t len)
{
    *(size_t *)arg += len;
    return malloc(len);
}

static void *counted_resize(void *arg, void *block, size_t len)
{
    *(size_t *)arg += len;
    return realloc(block, len);
}

static void counted_free(void *arg, void *block)
{
    (void)arg;
    free(block);
}

/* What a server says of a length is not believed before the bytes are there. */
static void test_reader_memory_grows_with_what_came(void **state)
{
    (void)state;
    static const char *const heads[] = {"*1000000\r\n", "*3\r\n*999000\r\n",
                                        "*1000000\r\n:1\r\n:2\r\n", "$1000000000\r\n",
                                        "*2\r\n:1\r\n$1000000000\r\nabc"};
    static const kw_reader_limits wide = {.bytes = 2000000000, .items = 1000000, .depth = 7};
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        size_t given = 0;
        kw_allocator memory = {sizeof(memory), &given, counted_alloc, counted_resize, counted_free};
        kw_reader reader;
        kw_reply *reply = NULL;
        assert_int_equal(kw_reader_init(&reader, &memory, &wide), KW_OK);
        assert_int_equal(kw_reader_feed(&reader, NULL, heads[i], strlen(heads[i])), KW_OK);
        assert_int_equal(kw_reader_next(&reader, &reply, NULL), KW_OK);
        assert_null(reply);
        if (given > 8192) {
            kw_test_die("%s: %zu bytes for %zu that came", heads[i], given, strlen(heads[i]));
        }
        kw_reader_fini(&reader);
    }
}

/* Arrays that are read as they come have all their elements, whatever their number. */
static void test_reader_array_that_grows_keeps_its_elements(void **state)
{
    (void)state;
    enum { MOST = 70 };
    for (size_t count = 0; count <= MOST; count++) {
        char stream[MOST * 30 + 40];
        size_t len = (size_t)sprintf(stream, "*%zu\r\n", count);
        for (size_t i = 0; i < count; i++) {
            len += (size_t)sprintf(stream + len, "*2\r\n:%zu\r\n*1\r\n+s%zu\r\n", i, i);
        }
        kw_reader reader;
        kw_reply *reply = NULL;
        assert_int_equal(kw_reader_init(&reader, kw_mem_default(), &usual), KW_OK);
        assert_int_equal(kw_reader_feed(&reader, NULL, stream, len), KW_OK);
        assert_int_equal(kw_reader_next(&reader, &reply, NULL), KW_OK);
        assert_int_equal(kw_reply_count(reply), count);
        for (size_t i = 0; i < count; i++) {
            char text[20];
            const kw_reply *pair = kw_reply_at(reply, i);
            sprintf(text, "s%zu", i);
            assert_int_equal(kw_reply_int(kw_reply_at(pair, 0)), i);
            assert_string_equal(kw_reply_str(kw_reply_at(kw_reply_at(pair, 1), 0), NULL), text);
        }
        kw_reply_free(reply);
        kw_reader_fini(&reader);
    }
}

/* The option's greatest limit is more than a size_t of 32 bits holds: what it allows is read there
 * too. */
static void test_reader_limit_of_items_past_32_bits_allows_all(void **state)
{
    (void)state;
    static const kw_reader_limits greatest = {
        .bytes = 1 << 20, .items = UINT64_C(1) << 32, .depth = 7};
    static const char *const streams[] = {
        "*2\r\n:1\r\n:2\r\n", "*2\r\n*1\r\n:1\r\n*2\r\n:2\r\n+x\r\n", "*0\r\n", "*1\r\n*0\r\n"};
    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        kw_bytes stream = kw_bytes_of(streams[i]);
        reading whole;
        read_stream(&whole, &greatest, stream, stream.len, NULL);
        assert_int_equal(whole.code, KW_OK);
        assert_int_equal(whole.replies_n, 1);
        forget(&whole);
        check_stream(&greatest, stream, NULL);
    }
}

/* Which limit it was, of those that the caller may raise. */
static void test_reader_error_names_the_limit(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        const char *option;
    } cases[] = {
        {"$41\r\n", " reply-bytes-max=40;"},
        {"*4\r\n", " reply-items-max=3;"},
        {"*1\r\n*1\r\n*1\r\n", " reply-depth-max=2;"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        kw_reader reader;
        kw_reply *reply = NULL;
        kw_error error = KW_ERROR_INIT;
        assert_int_equal(kw_reader_init(&reader, kw_mem_default(), &small), KW_OK);
        assert_int_equal(kw_reader_feed(&reader, NULL, cases[i].reply, strlen(cases[i].reply)),
                         KW_OK);
        assert_int_equal(kw_reader_next(&reader, &reply, &error), KW_ERR_LIMIT);
        assert_non_null(strstr(error.text, cases[i].option));
        kw_reader_fini(&reader);
    }
}

/* By the option, or by hiredis before 1.0, which reads 7. */
static void test_reader_deep_reply_is_over_a_limit_and_no_stranger(void **state)
{
    (void)state;
    static const kw_reader_limits deep = {.bytes = 1 << 20, .items = 1000, .depth = 32};
    kw_reader reader;
    kw_reply *reply = NULL;
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_reader_init(&reader, kw_mem_default(), &deep), KW_OK);
    for (int i = 0; i < 33; i++) {
        assert_int_equal(kw_reader_feed(&reader, NULL, "*1\r\n", 4), KW_OK);
    }
    assert_int_equal(kw_reader_next(&reader, &reply, &error), KW_ERR_LIMIT);
    assert_int_equal(error.effect, KW_EFFECT_DONE);
    assert_null(strstr(error.text, "is it a Redis server"));
    kw_reader_fini(&reader);
}

/* A string that says that it is over the limit is refused by its head. */
static void test_reader_string_over_the_limit_is_refused_at_once(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        kw_err expected;
    } cases[] = {
        {"$41\r\n", KW_ERR_LIMIT},
        /* what no memory of the machine can hold is hiredis' to refuse */
        {"$1000000000000\r\n", sizeof(size_t) < 8 ? KW_ERR_PROTOCOL : KW_ERR_LIMIT},
        {"$40\r\n", KW_ERR_LIMIT}, /* with its head and its end */
        {"$30\r\n",
         KW_OK}, /* with its head it will be over the limit; not known to be sent whole */
        {"*2\r\n$30\r\n", KW_OK},
        {"*2\r\n$5\r\n12345\r\n$30\r\n", KW_ERR_LIMIT},
        {"$41", KW_OK}, /* more digits, or anything, may follow */
        {"+41", KW_OK},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t piece = 1; piece <= strlen(cases[i].head); piece++) {
            kw_reader reader;
            kw_reply *reply = NULL;
            kw_err code = KW_OK;
            assert_int_equal(kw_reader_init(&reader, kw_mem_default(), &small), KW_OK);
            for (size_t at = 0; code == KW_OK && at < strlen(cases[i].head); at += piece) {
                size_t left = strlen(cases[i].head) - at;
                assert_int_equal(
                    kw_reader_feed(&reader, NULL, cases[i].head + at, left < piece ? left : piece),
                    KW_OK);
                code = kw_reader_next(&reader, &reply, NULL);
                assert_null(reply);
            }
            if (code != cases[i].expected) {
                kw_test_die("%s in pieces of %zu: %s", cases[i].head, piece, kw_err_name(code));
            }
            kw_reader_fini(&reader);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader_streams_give_their_replies),
        cmocka_unit_test(test_reader_odd_streams_are_left_to_hiredis),
        cmocka_unit_test(test_reader_plain_reads_what_is_plain_and_whole),
        cmocka_unit_test(test_reader_plain_array_is_one_allocation),
        cmocka_unit_test(test_reader_pooled_replies_share_memory),
        cmocka_unit_test(test_reader_pooled_short_replies_share_a_piece),
        cmocka_unit_test(test_reader_sink_takes_the_elements),
        cmocka_unit_test(test_reader_sink_is_left_out_where_it_does_not_fit),
        cmocka_unit_test(test_reader_without_memory_says_so),
        cmocka_unit_test(test_reader_pushed_messages_are_no_replies),
        cmocka_unit_test(test_reader_endless_lines_are_an_error),
        cmocka_unit_test(test_reader_endless_pushes_are_an_error),
        cmocka_unit_test(test_reader_resp3_kinds_arrive),
        cmocka_unit_test(test_reader_random_streams_read_alike_in_any_pieces),
        cmocka_unit_test(test_reader_memory_grows_with_what_came),
        cmocka_unit_test(test_reader_array_that_grows_keeps_its_elements),
        cmocka_unit_test(test_reader_limit_of_items_past_32_bits_allows_all),
        cmocka_unit_test(test_reader_error_names_the_limit),
        cmocka_unit_test(test_reader_deep_reply_is_over_a_limit_and_no_stranger),
        cmocka_unit_test(test_reader_string_over_the_limit_is_refused_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

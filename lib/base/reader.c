/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes from the socket to whole replies: a plain one at once, others in pieces by hiredis. */
#include "base/reader.h"

#include "base/apart.h"
#include "base/error.h"
#include "base/reader_functions.h"
#include "base/reader_limits.h"
#include "base/reader_plain.h"

#include <string.h>

/* A status, error or integer line, or the head of a string or array, is shorter. */
#define LINE_MAX_LEN ((size_t)64 * 1024)

/* An empty buffer of this size is kept for the next reply. */
#define BUFFER_KEEP_LEN ((size_t)16 * 1024)

/* First byte of what a server of TLS says to a greeting without it. */
#define TLS_ALERT '\x15'

/* Messages that a server may push between two replies. */
#define PUSHES_MAX ((size_t)10000)

/* The first bytes of a reply that hiredis gets; then up to twice as many each time. hiredis
 * moves what stands behind a reply to the front, so that too much is a waste. */
#define PIECE_LEN     ((size_t)512)
#define PIECE_MAX_LEN ((size_t)16 * 1024)

/* A parser with an empty buffer; the one before stays where there is no memory. */
static bool start_anew(kw_reader *reader)
{
    redisReader *fresh = redisReaderCreateWithFunctions(kw_reader_functions());
    if (fresh == NULL) {
        return false;
    }
    fresh->privdata = reader;
    fresh->maxbuf = 0; /* see shed_buffer */
    if (reader->hiredis != NULL) {
        redisReaderFree(reader->hiredis);
    }
    reader->hiredis = fresh;
    reader->buffer_len = 0;
    return true;
}

kw_err kw_reader_init(kw_reader *reader, const kw_allocator *mem, const kw_reader_limits *limits)
{
    memset(reader, 0, sizeof(*reader));
    reader->mem = mem;
    reader->limits = *limits;
    kw_buf_init(&reader->kept, mem, NULL, 0);
    return start_anew(reader) ? KW_OK : KW_ERR_NOMEM;
}

void kw_reader_fini(kw_reader *reader)
{
    if (reader->hiredis != NULL) {
        redisReaderFree(reader->hiredis);
        reader->hiredis = NULL;
    }
    kw_buf_fini(&reader->kept);
    kw_reply_pool_close(&reader->pool);
}

/* True where a line ends in these bytes: by both of its bytes, as one of them may be of the line.
 */
static bool has_line_end(const char *at, size_t len)
{
    const char *end = at + len;
    while ((at = memchr(at, '\r', (size_t)(end - at))) != NULL) {
        at++;
        if (at < end && *at == '\n') {
            return true;
        }
    }
    return false;
}

/* True where the bytes not parsed yet are a line without an end. hiredis looks for
 * the end from the start each time, so that its length is bounded here. */
static bool has_endless_line(const kw_reader *reader)
{
    const redisReader *hiredis = reader->hiredis;
    size_t len = hiredis->len - hiredis->pos;
    return len > LINE_MAX_LEN && !has_line_end(hiredis->buf + hiredis->pos, LINE_MAX_LEN);
}

static kw_err over_limit(const kw_reader *reader, kw_error *error, const char *option,
                         uint64_t limit)
{
    return kw_error_set(error, KW_ERR_LIMIT, KW_EFFECT_DONE, "a reply over %s=%llu%s", option,
                        (unsigned long long)limit,
                        reader->is_internal ? "" : "; raise it, or ask for less at a time");
}

static kw_err over_bytes(const kw_reader *reader, kw_error *error)
{
    return over_limit(reader, error, "reply-bytes-max", kw_reader_limits_of(reader).bytes);
}

/* Gives large buffers back between two replies. hiredis would do the same by itself, but
 * up to 0.14 it asserts that there is memory for an empty one. */
static void shed_buffers(kw_reader *reader)
{
    if (reader->buffer_len > BUFFER_KEEP_LEN && reader->pending_len == 0) {
        start_anew(reader);
    }
    if (reader->input_at == reader->input.len) {
        reader->input_at = 0;
        reader->input.len = 0;
        reader->kept.len = 0;
        if (reader->kept.capacity > BUFFER_KEEP_LEN) {
            kw_buf_fini(&reader->kept);
        }
    }
}

static kw_err no_memory(kw_error *error)
{
    return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_MAYBE, "no memory to read a reply");
}

static bool keep(kw_reader *reader, const char *data, size_t len)
{
    if (!kw_buf_append(&reader->kept, data, len)) {
        return false;
    }
    reader->input.data = reader->kept.data;
    reader->input.len = reader->kept.len;
    return true;
}

kw_err kw_reader_feed(kw_reader *reader, kw_error *error, const char *data, size_t len)
{
    shed_buffers(reader);
    return keep(reader, data, len) ? KW_OK : no_memory(error);
}

/* As kw_reader_lend, where there are bytes of before, or large buffers. */
KW_APART static bool lend_behind(kw_reader *reader, const char *data, size_t len)
{
    shed_buffers(reader);
    if (reader->input.len > 0) {
        return keep(reader, data, len);
    }
    reader->input.data = data;
    reader->input.len = len;
    reader->is_lent = true;
    return true;
}

kw_err kw_reader_lend(kw_reader *reader, kw_error *error, const char *data, size_t len)
{
    if (reader->input.len > 0 || reader->buffer_len > BUFFER_KEEP_LEN ||
        reader->kept.capacity > BUFFER_KEEP_LEN) {
        return lend_behind(reader, data, len) ? KW_OK : no_memory(error);
    }
    reader->input.data = data;
    reader->input.len = len;
    reader->is_lent = true;
    return KW_OK;
}

/* What no reply has taken of the bytes that were lent. */
KW_APART static kw_err keep_rest(kw_reader *reader, kw_error *error)
{
    kw_bytes rest = {reader->input.data + reader->input_at, reader->input.len - reader->input_at};
    reader->input_at = 0;
    reader->input.len = 0;
    return keep(reader, rest.data, rest.len) ? KW_OK : no_memory(error);
}

kw_err kw_reader_end_loan(kw_reader *reader, kw_error *error)
{
    if (!reader->is_lent) {
        return KW_OK;
    }
    reader->is_lent = false;
    if (reader->input_at < reader->input.len) {
        return keep_rest(reader, error);
    }
    reader->input_at = 0;
    reader->input.len = 0;
    return KW_OK;
}

static kw_err explain(kw_reader *reader, kw_error *error)
{
    kw_reader_limits limits = kw_reader_limits_of(reader);
    if (reader->is_too_deep) {
        return over_limit(reader, error, "reply-depth-max", limits.depth);
    }
    if (reader->has_too_many) {
        return over_limit(reader, error, "reply-items-max", limits.items);
    }
    if (reader->has_nested_aside) {
        return kw_error_set(error, KW_ERR_PROTOCOL, KW_EFFECT_MAYBE,
                            "the server sent a push message or an attribute inside a reply");
    }
    if (reader->hiredis->err == REDIS_ERR_OOM) {
        return no_memory(error);
    }
    if (strstr(reader->hiredis->errstr, "nested multi bulk") != NULL) {
        return kw_error_set(error, KW_ERR_LIMIT, KW_EFFECT_DONE,
                            "a reply that is nested deeper than hiredis reads before 1.0, 7");
    }
    char text[160];
    kw_bytes_show(text, sizeof(text), kw_bytes_of(reader->hiredis->errstr));
    return kw_error_set(
        error, KW_ERR_PROTOCOL, KW_EFFECT_MAYBE, "the server's bytes are no valid reply: %s; %s",
        text, reader->head == TLS_ALERT ? "it may want TLS (rediss://)" : "is it a Redis server?");
}

/* Gives hiredis some more of the input. */
static kw_err feed_piece(kw_reader *reader, kw_error *error)
{
    size_t len = reader->input.len - reader->input_at;
    if (reader->pending_len == 0) {
        reader->piece_len = PIECE_LEN;
        reader->head = reader->input.data[reader->input_at];
    }
    len = len < reader->piece_len ? len : reader->piece_len;
    if (redisReaderFeed(reader->hiredis, reader->input.data + reader->input_at, len) != REDIS_OK) {
        return no_memory(error);
    }
    reader->input_at += len;
    reader->pending_len += len;
    reader->piece_len = reader->piece_len < PIECE_MAX_LEN ? 2 * reader->piece_len : PIECE_MAX_LEN;
    if (reader->hiredis->len > reader->buffer_len) {
        reader->buffer_len = reader->hiredis->len;
    }
    return KW_OK;
}

/* What hiredis has behind a whole reply, a part of the last piece, goes back to the input. */
static void take_back(kw_reader *reader)
{
    reader->input_at -= reader->hiredis->len - reader->hiredis->pos;
    reader->hiredis->pos = reader->hiredis->len;
    reader->pending_len = 0;
    reader->root = NULL;
}

/* True where a string that is not all there says that it is longer than the reply may be. hiredis
 * stands behind the sign of what it waits for; a number and the end of its line are there for
 * nothing but a string. */
static bool has_endless_string(const kw_reader *reader)
{
    const redisReader *hiredis = reader->hiredis;
    uint64_t limit = kw_reader_limits_of(reader).bytes;
    uint64_t len = 0;
    size_t at = hiredis->pos;
    for (; at < hiredis->len && hiredis->buf[at] >= '0' && hiredis->buf[at] <= '9'; at++) {
        if (len > limit) {
            break; /* more digits make it no shorter */
        }
        len = len * 10 + (uint64_t)(hiredis->buf[at] - '0');
    }
    while (at < hiredis->len && hiredis->buf[at] >= '0' && hiredis->buf[at] <= '9') {
        at++;
    }
    uint64_t before_len = reader->pending_len - (hiredis->len - hiredis->pos);
    return at > hiredis->pos && at + 1 < hiredis->len && hiredis->buf[at] == '\r' &&
           hiredis->buf[at + 1] == '\n' && (len > limit || before_len > limit - len);
}

/* As kw_reader_next, by hiredis, with one more piece. */
static kw_err read_piece(kw_reader *reader, kw_reply **reply, kw_error *error)
{
    void *object = NULL;
    kw_err code = feed_piece(reader, error);
    if (code != KW_OK) {
        return code;
    }
    if (redisReaderGetReply(reader->hiredis, &object) != REDIS_OK) {
        return explain(reader, error);
    }
    size_t rest_len = object != NULL ? reader->hiredis->len - reader->hiredis->pos : 0;
    if (reader->pending_len - rest_len > kw_reader_limits_of(reader).bytes) {
        kw_reply_free(object);
        return over_bytes(reader, error);
    }
    if (object != NULL) {
        take_back(reader);
    } else if (has_endless_string(reader)) {
        return over_bytes(reader, error);
    } else if (has_endless_line(reader)) {
        return kw_error_set(error, KW_ERR_PROTOCOL, KW_EFFECT_MAYBE,
                            "the server sent a line of over %zu bytes", LINE_MAX_LEN);
    }
    *reply = object;
    return KW_OK;
}

/* The next reply where it is plain, and all there; else NULL. */
static inline kw_reply *next_plain(kw_reader *reader)
{
    bool is_at_start = reader->pending_len == 0 && reader->input_at < reader->input.len;
    return is_at_start ? kw_reader_plain(reader) : NULL;
}

/* The next whole object at the top of the stream, by hiredis: a reply, a push or an attribute. */
static kw_err next_object(kw_reader *reader, kw_reply **reply, kw_error *error)
{
    kw_err code = KW_OK;
    while (code == KW_OK && *reply == NULL && reader->input_at < reader->input.len) {
        code = read_piece(reader, reply, error);
    }
    return code;
}

/* True for a push or an attribute: what a server may send without being asked. */
static bool is_aside(const kw_reply *reply)
{
    return kw_reply_is(reply, KW_REPLY_PUSH) || kw_reply_is(reply, KW_REPLY_ATTR);
}

static kw_err drop_aside(kw_reader *reader, kw_reply *aside, kw_error *error)
{
    kw_reply_free(aside);
    if (!reader->is_resp3) {
        return kw_error_set(error, KW_ERR_PROTOCOL, KW_EFFECT_MAYBE,
                            "the server pushed a message, which this protocol (2) has not");
    }
    if (++reader->pushes_row > PUSHES_MAX) {
        return kw_error_set(error, KW_ERR_PROTOCOL, KW_EFFECT_MAYBE,
                            "the server pushed over %zu messages in place of a reply", PUSHES_MAX);
    }
    reader->pushes_n++;
    return KW_OK;
}

/* The next reply, which is not plain, or behind something else. */
static kw_err next_by_hiredis(kw_reader *reader, kw_reply **reply, kw_error *error)
{
    kw_err code = next_object(reader, reply, error);
    while (*reply != NULL && is_aside(*reply)) {
        code = drop_aside(reader, *reply, error);
        *reply = code == KW_OK ? next_plain(reader) : NULL;
        code = code == KW_OK ? next_object(reader, reply, error) : code;
    }
    return code;
}

kw_err kw_reader_next(kw_reader *reader, kw_reply **reply, kw_error *error)
{
    kw_err code = KW_OK;
    *reply = next_plain(reader);
    if (*reply == NULL) {
        code = next_by_hiredis(reader, reply, error);
    }
    if (*reply != NULL) {
        reader->pools = false;
        reader->sink = NULL;
        reader->pushes_row = 0;
    }
    if (reader->pool.slab != NULL && reader->input_at == reader->input.len) {
        kw_reply_pool_close(&reader->pool);
    }
    return code;
}

bool kw_reader_has_reply_rest(const kw_reader *reader)
{
    if (!kw_reader_has_rest(reader)) {
        return false;
    }
    char head = reader->pending_len > 0 ? reader->head : reader->input.data[reader->input_at];
    return !reader->is_resp3 || head != '>';
}

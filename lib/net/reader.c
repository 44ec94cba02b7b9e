#include "net/reader.h"

#include "base/error.h"
#include "net/reader_functions.h"

#include <string.h>

/* A status, error or integer line, or the head of a string or array, is shorter. */
#define LINE_MAX_LEN ((size_t)64 * 1024)

/* The library's own questions (HELLO, CLUSTER SLOTS) may be answered by this much, however
 * little a caller allows. */
#define OWN_BYTES_MAX ((uint64_t)4 * 1024 * 1024)
#define OWN_ITEMS_MAX ((uint64_t)1000000)
#define OWN_DEPTH_MAX ((uint64_t)7)

/* An empty buffer of this size is kept for the next reply. */
#define BUFFER_KEEP_LEN ((size_t)16 * 1024)

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

kw_err kw_reader_init(kw_reader *reader, const kw_allocator *mem, const kw_options *options)
{
    memset(reader, 0, sizeof(*reader));
    reader->mem = mem;
    reader->options = options;
    return start_anew(reader) ? KW_OK : KW_ERR_NOMEM;
}

void kw_reader_fini(kw_reader *reader)
{
    if (reader->hiredis != NULL) {
        redisReaderFree(reader->hiredis);
        reader->hiredis = NULL;
    }
}

/* True where the bytes not parsed yet are a line without an end. hiredis looks for
 * the end from the start each time, so that its length is bounded here. */
static bool has_endless_line(const kw_reader *reader)
{
    const redisReader *hiredis = reader->hiredis;
    size_t len = hiredis->len - hiredis->pos;
    return len > LINE_MAX_LEN && memchr(hiredis->buf + hiredis->pos, '\r', LINE_MAX_LEN) == NULL;
}

static uint64_t at_least(uint64_t limit, uint64_t floor)
{
    return limit > floor ? limit : floor;
}

kw_reader_limits kw_reader_limits_of(const kw_reader *reader)
{
    const kw_options *options = reader->options;
    kw_reader_limits limits = {options->reply_bytes_max, options->reply_items_max,
                               options->reply_depth_max};
    if (reader->is_ours) {
        limits.bytes = at_least(limits.bytes, OWN_BYTES_MAX);
        limits.items = at_least(limits.items, OWN_ITEMS_MAX);
        limits.depth = at_least(limits.depth, OWN_DEPTH_MAX);
    }
    return limits;
}

static kw_err over_limit(const kw_reader *reader, kw_error *error)
{
    kw_reader_limits limits = kw_reader_limits_of(reader);
    return kw_error_set(
        error, KW_ERR_LIMIT, KW_EFFECT_DONE,
        "reply over a limit (reply-bytes-max=%llu, reply-items-max=%llu, reply-depth-max=%llu)",
        (unsigned long long)limits.bytes, (unsigned long long)limits.items,
        (unsigned long long)limits.depth);
}

/* Gives a large buffer back between two replies. hiredis would do the same by itself, but
 * up to 0.14 it asserts that there is memory for an empty one. */
static void shed_buffer(kw_reader *reader)
{
    if (reader->buffer_len > BUFFER_KEEP_LEN && reader->pending_len == 0) {
        start_anew(reader);
    }
}

kw_err kw_reader_feed(kw_reader *reader, kw_error *error, const char *data, size_t len)
{
    shed_buffer(reader);
    if (redisReaderFeed(reader->hiredis, data, len) != REDIS_OK) {
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_MAYBE, "no memory to read a reply");
    }
    reader->pending_len += len;
    if (reader->hiredis->len > reader->buffer_len) {
        reader->buffer_len = reader->hiredis->len;
    }
    return KW_OK;
}

static kw_err explain(kw_reader *reader, kw_error *error)
{
    if (reader->is_over_limit) {
        return over_limit(reader, error);
    }
    if (reader->hiredis->err == REDIS_ERR_OOM) {
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_MAYBE, "no memory to read a reply");
    }
    char text[160];
    kw_bytes_show(text, sizeof(text), kw_bytes_of(reader->hiredis->errstr));
    return kw_error_set(error, KW_ERR_PROTOCOL, KW_EFFECT_MAYBE,
                        "the server's bytes are no valid reply: %s; is it a Redis server?", text);
}

kw_err kw_reader_next(kw_reader *reader, kw_reply **reply, kw_error *error)
{
    void *object = NULL;
    if (redisReaderGetReply(reader->hiredis, &object) != REDIS_OK) {
        return explain(reader, error);
    }
    /* What was fed may hold the end of one reply and others behind it. */
    size_t rest_len = object != NULL ? reader->hiredis->len - reader->hiredis->pos : 0;
    if (reader->pending_len - rest_len > kw_reader_limits_of(reader).bytes) {
        kw_reply_free(object);
        return over_limit(reader, error);
    }
    if (object != NULL) {
        reader->root = NULL;
        reader->pending_len = rest_len;
    } else if (has_endless_line(reader)) {
        return kw_error_set(error, KW_ERR_PROTOCOL, KW_EFFECT_MAYBE,
                            "the server sent a line of over %zu bytes", LINE_MAX_LEN);
    }
    *reply = object;
    return KW_OK;
}

bool kw_reader_has_rest(const kw_reader *reader)
{
    return reader->pending_len > 0;
}

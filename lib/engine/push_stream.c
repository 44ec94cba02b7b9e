/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a stream: feeds come and go, commands are asked, silence is measured. */
#include "engine/push_stream.h"

#include "base/resp.h"

#include <string.h>

/* Between two connections that both came to something. */
#define STEADY_NS (50 * KW_NS_PER_MS)

/* Pauses before the next one where they came to nothing. */
#define PAUSE_FIRST_NS (50 * KW_NS_PER_MS)
#define PAUSE_MAX_NS   (2000 * KW_NS_PER_MS)

static const char *const names[][2] = {
    [KW_TOPIC_CHANNEL] = {"SUBSCRIBE", "UNSUBSCRIBE"},
    [KW_TOPIC_PATTERN] = {"PSUBSCRIBE", "PUNSUBSCRIBE"},
    [KW_TOPIC_SHARDED] = {"SSUBSCRIBE", "SUNSUBSCRIBE"},
};

void kw_push_stream_init(kw_push_stream *stream, const kw_allocator *mem, uint64_t silence_ns)
{
    memset(stream, 0, sizeof(*stream));
    stream->mem = mem;
    stream->silence_ns = silence_ns;
    kw_buf_init(&stream->out, mem, NULL, 0);
    kw_backoff_init(&stream->backoff, PAUSE_FIRST_NS, PAUSE_MAX_NS);
}

void kw_push_stream_fini(kw_push_stream *stream)
{
    kw_buf_fini(&stream->out);
    kw_mem_free(stream->mem, stream->asks);
}

void kw_push_stream_on_open(kw_push_stream *stream, uint64_t now_ns, bool is_resp3)
{
    stream->is_open = true;
    stream->is_resp3 = is_resp3;
    stream->is_proved = false;
    stream->opened_ns = now_ns;
    stream->heard_ns = now_ns;
    stream->asked_ns = now_ns;
}

void kw_push_stream_on_lost(kw_push_stream *stream, kw_topics *topics, kw_random *random,
                            uint64_t now_ns)
{
    if (stream->is_proved) {
        kw_backoff_reset(&stream->backoff);
        uint64_t steady_ns = stream->opened_ns + STEADY_NS;
        stream->retry_ns = now_ns > steady_ns ? now_ns : steady_ns;
    } else {
        stream->retry_ns = now_ns + kw_backoff_next(&stream->backoff, random);
    }
    stream->is_open = false;
    stream->is_proved = false;
    while (stream->asks_n > 0) {
        kw_feed *feed = stream->asks[stream->asks_head].feed;
        stream->asks_head = (stream->asks_head + 1) & (stream->asks_capacity - 1);
        stream->asks_n--;
        if (feed != NULL) {
            feed->asks_n--;
            kw_topics_release(topics, feed->topic);
        }
    }
    stream->leaving_n = 0;
    stream->overtaken_n = 0;
    stream->out.len = 0;
}

static bool reserve_ask(kw_push_stream *stream)
{
    if (stream->asks_n < stream->asks_capacity) {
        return true;
    }
    size_t capacity = stream->asks_capacity > 0 ? 2 * stream->asks_capacity : 16;
    kw_ask *asks = kw_mem_calloc(stream->mem, capacity, sizeof(asks[0]));
    if (asks == NULL) {
        return false;
    }
    for (size_t i = 0; i < stream->asks_n; i++) {
        asks[i] = stream->asks[(stream->asks_head + i) & (stream->asks_capacity - 1)];
    }
    kw_mem_free(stream->mem, stream->asks);
    stream->asks = asks;
    stream->asks_head = 0;
    stream->asks_capacity = capacity;
    return true;
}

static bool ask(kw_push_stream *stream, kw_ask_kind kind, kw_feed *feed, uint64_t now_ns)
{
    kw_bytes argv[2] = {kw_bytes_of("PING"), {NULL, 0}};
    if (feed != NULL) {
        argv[0] = kw_bytes_of(names[feed->topic->kind][kind == KW_ASK_UNSUBSCRIBE]);
        argv[1] = kw_topic_name(feed->topic);
    }
    if (!reserve_ask(stream) || !kw_resp_append(&stream->out, argv, feed != NULL ? 2 : 1)) {
        return false;
    }
    stream->asked_ns = stream->asks_n == 0 ? now_ns : stream->asked_ns;
    kw_ask *next =
        &stream->asks[(stream->asks_head + stream->asks_n) & (stream->asks_capacity - 1)];
    next->kind = kind;
    next->feed = feed;
    next->serial = feed != NULL ? ++feed->serial : 0;
    stream->asks_n++;
    stream->leaving_n += kind == KW_ASK_UNSUBSCRIBE ? 1 : 0;
    if (feed != NULL) {
        feed->asks_n++;
    }
    return true;
}

void kw_push_stream_attach(kw_push_stream *stream, kw_feed *feed)
{
    feed->stream = stream;
    feed->state = KW_FEED_WANTED;
    feed->stream_before = NULL;
    feed->stream_next = stream->feeds;
    if (stream->feeds != NULL) {
        stream->feeds->stream_before = feed;
    }
    stream->feeds = feed;
    stream->feeds_n++;
    stream->wanted_n++;
}

static void unlink_feed(kw_feed *feed)
{
    kw_push_stream *stream = feed->stream;
    if (feed->stream_before != NULL) {
        feed->stream_before->stream_next = feed->stream_next;
    } else {
        stream->feeds = feed->stream_next;
    }
    if (feed->stream_next != NULL) {
        feed->stream_next->stream_before = feed->stream_before;
    }
    stream->feeds_n--;
    stream->wanted_n -= feed->state == KW_FEED_WANTED ? 1 : 0;
    feed->stream = NULL;
    feed->state = KW_FEED_IDLE;
}

bool kw_push_stream_detach(kw_feed *feed, uint64_t now_ns)
{
    kw_push_stream *stream = feed->stream;
    bool is_there = feed->state == KW_FEED_ASKED || feed->state == KW_FEED_ACTIVE;
    unlink_feed(feed);
    return !is_there || !stream->is_open || ask(stream, KW_ASK_UNSUBSCRIBE, feed, now_ns);
}

bool kw_push_stream_ask(kw_push_stream *stream, uint64_t now_ns)
{
    kw_feed *feed = stream->wanted_n > 0 ? stream->feeds : NULL;
    for (; feed != NULL && stream->wanted_n > 0; feed = feed->stream_next) {
        if (feed->state != KW_FEED_WANTED) {
            continue;
        }
        if (!ask(stream, KW_ASK_SUBSCRIBE, feed, now_ns)) {
            return false;
        }
        feed->state = KW_FEED_ASKED;
        stream->wanted_n--;
    }
    return true;
}

/* Nothing has come since something was asked. */
static bool is_awaited(const kw_push_stream *stream)
{
    return stream->asks_n > 0 && stream->asked_ns >= stream->heard_ns;
}

kw_push_pulse kw_push_stream_on_time(kw_push_stream *stream, uint64_t now_ns)
{
    if (!stream->is_open || now_ns < kw_push_stream_due_ns(stream)) {
        return KW_PUSH_WAIT;
    }
    if (is_awaited(stream)) {
        return KW_PUSH_LOST;
    }
    if (stream->asks_n > 0) {
        stream->asked_ns = now_ns; /* it was heard since: what is asked serves as PING */
        return KW_PUSH_WAIT;
    }
    return ask(stream, KW_ASK_PING, NULL, now_ns) ? KW_PUSH_WAIT : KW_PUSH_LOST;
}

uint64_t kw_push_stream_due_ns(const kw_push_stream *stream)
{
    if (!stream->is_open) {
        return UINT64_MAX;
    }
    return (is_awaited(stream) ? stream->asked_ns : stream->heard_ns) + stream->silence_ns / 2;
}

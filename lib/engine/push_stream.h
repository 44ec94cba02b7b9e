/* SPDX-License-Identifier: BSD-3-Clause */
/* Push stream: what a connection that has subscribed was asked for, what its messages mean, and
 * when it is asked whether it is there. Without input and output: the bytes that are to be sent
 * wait in out, those that came are read by base/push.h. */
#ifndef ENGINE_PUSH_STREAM_H
#define ENGINE_PUSH_STREAM_H

#include "base/push.h"
#include "engine/topics.h"
#include "engine/verdict.h"

/* A command that was asked, and not answered. */
typedef enum kw_ask_kind { KW_ASK_SUBSCRIBE, KW_ASK_UNSUBSCRIBE, KW_ASK_PING } kw_ask_kind;
typedef struct kw_ask {
    kw_ask_kind kind;
    unsigned serial; /* of the feed's asks */
    kw_feed *feed;   /* NULL: PING */
} kw_ask;

typedef struct kw_push_stream {
    const kw_allocator *mem;
    bool is_open;   /* it takes commands */
    bool is_resp3;  /* messages of unknown kinds may be pushed, and are passed over */
    bool is_proved; /* it has confirmed something since it was opened */
    kw_feed *feeds; /* that are of this stream */
    size_t feeds_n;
    size_t wanted_n;      /* of which so many are to be asked for */
    kw_ask *asks;         /* a ring */
    size_t asks_capacity; /* a power of two, or 0 */
    size_t asks_head;
    size_t asks_n;
    size_t leaving_n;    /* UNSUBSCRIBE among them: messages of topics that were left may come */
    size_t overtaken_n;  /* SUNSUBSCRIBE that the server's own word has answered: MOVED follows */
    kw_buf out;          /* commands to be sent */
    uint64_t silence_ns; /* who says nothing for so long is lost */
    uint64_t opened_ns;
    uint64_t heard_ns; /* something came last */
    uint64_t asked_ns; /* since then an answer is awaited, where one is */
    uint64_t retry_ns; /* it is not opened before this */
    kw_backoff backoff;
} kw_push_stream;

typedef enum kw_push_news_kind {
    KW_PUSH_NOTHING,
    KW_PUSH_MESSAGE,
    KW_PUSH_SUBSCRIBED, /* the feed is active */
    KW_PUSH_ENDED,      /* the server has unsubscribed the feed: its slot has moved */
    KW_PUSH_MOVED,      /* the feed's slot has another owner, as the verdict says */
    KW_PUSH_LATER,      /* the feed is turned away for now */
    KW_PUSH_REFUSED,    /* the feed is refused */
    KW_PUSH_BROKEN      /* no message of a subscription: the stream is not to be trusted */
} kw_push_news_kind;

/* What one message means. Bytes are borrowed from it. */
typedef struct kw_push_news {
    kw_push_news_kind kind;
    kw_feed *feed;
    kw_message_kind type; /* of KW_PUSH_MESSAGE */
    kw_bytes channel;
    kw_bytes text;      /* of the message, or of an error */
    kw_verdict verdict; /* of an error */
} kw_push_news;

typedef enum kw_push_pulse {
    KW_PUSH_WAIT,
    KW_PUSH_LOST /* it was silent for too long */
} kw_push_pulse;

void kw_push_stream_init(kw_push_stream *stream, const kw_allocator *mem, uint64_t silence_ns);
void kw_push_stream_fini(kw_push_stream *stream);

/* A connection is there. */
void kw_push_stream_on_open(kw_push_stream *stream, uint64_t now_ns, bool is_resp3);

/* It is lost: nothing is asked any more, and retry_ns is set. The topics of feeds that commands
 * named are released. */
void kw_push_stream_on_lost(kw_push_stream *stream, kw_topics *topics, kw_random *random,
                            uint64_t now_ns);

/* The feed, which is of no stream, is of this one. */
void kw_push_stream_attach(kw_push_stream *stream, kw_feed *feed);

/* The feed is of no stream any more; what the server has of it is left. False when there is no
 * memory for the command: then the stream is to be given up. */
bool kw_push_stream_detach(kw_feed *feed, uint64_t now_ns);

/* Asks for all feeds that are wanted. False when there is no memory: some may be asked for. */
bool kw_push_stream_ask(kw_push_stream *stream, uint64_t now_ns);

/* What a message means. */
kw_push_news kw_push_stream_take(kw_push_stream *stream, kw_topics *topics, const kw_push *push);

/* Bytes came. */
static inline void kw_push_stream_on_heard(kw_push_stream *stream, uint64_t now_ns)
{
    stream->heard_ns = now_ns;
}

/* Behind a look at the socket: asks PING where it is time. */
kw_push_pulse kw_push_stream_on_time(kw_push_stream *stream, uint64_t now_ns);

/* When on_time is to be called at the latest; UINT64_MAX: it need not be. */
uint64_t kw_push_stream_due_ns(const kw_push_stream *stream);

#endif

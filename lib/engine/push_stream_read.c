/* SPDX-License-Identifier: BSD-3-Clause */
/* What comes on a stream: messages of its feeds, answers in the order of its commands, and what the
 * server does by itself. Whatever is none of these breaks it. */
#include "engine/push_stream.h"

#include "route/slot.h"

#include <string.h>

typedef enum verb_act { VERB_MESSAGE, VERB_SUBSCRIBED, VERB_UNSUBSCRIBED, VERB_PONG } verb_act;

/* Kinds of messages that a server sends to who has subscribed, and how many elements each has. */
typedef struct verb_row {
    const char *name;
    size_t name_len;
    verb_act act;
    kw_topic_kind topic;
    size_t items_n;
} verb_row;

#define NAME(text) text, sizeof(text) - 1

static const verb_row verbs[] = {
    {NAME("message"), VERB_MESSAGE, KW_TOPIC_CHANNEL, 3},
    {NAME("pmessage"), VERB_MESSAGE, KW_TOPIC_PATTERN, 4},
    {NAME("smessage"), VERB_MESSAGE, KW_TOPIC_SHARDED, 3},
    {NAME("subscribe"), VERB_SUBSCRIBED, KW_TOPIC_CHANNEL, 3},
    {NAME("psubscribe"), VERB_SUBSCRIBED, KW_TOPIC_PATTERN, 3},
    {NAME("ssubscribe"), VERB_SUBSCRIBED, KW_TOPIC_SHARDED, 3},
    {NAME("unsubscribe"), VERB_UNSUBSCRIBED, KW_TOPIC_CHANNEL, 3},
    {NAME("punsubscribe"), VERB_UNSUBSCRIBED, KW_TOPIC_PATTERN, 3},
    {NAME("sunsubscribe"), VERB_UNSUBSCRIBED, KW_TOPIC_SHARDED, 3},
    {NAME("pong"), VERB_PONG, KW_TOPIC_CHANNEL, 2},
};

static const verb_row *find_verb(const kw_push *push)
{
    const kw_bytes *name = &push->items[0].text;
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (name->len == verbs[i].name_len && memcmp(name->data, verbs[i].name, name->len) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

static kw_push_news news_of(kw_push_news_kind kind)
{
    kw_push_news news;
    memset(&news, 0, sizeof(news));
    news.kind = kind;
    return news;
}

static kw_push_news broken(const char *text)
{
    kw_push_news news = news_of(KW_PUSH_BROKEN);
    news.text = kw_bytes_of(text);
    return news;
}

/* The command that is answered next; NULL: none. */
static const kw_ask *first_ask(const kw_push_stream *stream)
{
    return stream->asks_n > 0 ? &stream->asks[stream->asks_head] : NULL;
}

/* It is answered. */
static kw_ask pop_ask(kw_push_stream *stream)
{
    kw_ask first = stream->asks[stream->asks_head];
    stream->asks_head = (stream->asks_head + 1) & (stream->asks_capacity - 1);
    stream->asks_n--;
    stream->asked_ns = stream->heard_ns; /* the next one has waited for this one */
    stream->leaving_n -= first.kind == KW_ASK_UNSUBSCRIBE ? 1 : 0;
    if (first.feed != NULL) {
        first.feed->asks_n--;
    }
    return first;
}

/* True where the command was the last one that asked for its feed, which is of this stream still:
 * others were asked before the feed left, and came back. */
static bool is_current(const kw_push_stream *stream, const kw_ask *answered)
{
    const kw_feed *feed = answered->feed;
    return answered->kind == KW_ASK_SUBSCRIBE && feed->stream == stream &&
           feed->state == KW_FEED_ASKED && feed->serial == answered->serial &&
           !feed->topic->is_removed;
}

/* True where something may come still of a topic that was left. */
static bool has_late_ones(const kw_push_stream *stream, const kw_topics *topics)
{
    return stream->leaving_n > 0 || topics->removed_n > 0;
}

static kw_push_news on_message(kw_push_stream *stream, kw_topics *topics, const kw_push *push,
                               const verb_row *verb)
{
    kw_bytes name = push->items[1].text;
    kw_topic *topic = kw_topics_find(topics, verb->topic, name);
    kw_feed *feed = topic != NULL ? kw_topic_feed_of(topic, stream) : NULL;
    if (feed == NULL || feed->state != KW_FEED_ACTIVE) {
        /* It was sent before the server had read that the topic is left. */
        return has_late_ones(stream, topics)
                   ? news_of(KW_PUSH_NOTHING)
                   : broken("a message of a topic that was not asked for");
    }
    kw_push_news news;
    news.kind = KW_PUSH_MESSAGE;
    news.feed = feed;
    news.type = (kw_message_kind)verb->topic;
    news.channel = push->items[verb->items_n - 2].text;
    news.text = push->items[verb->items_n - 1].text;
    return news;
}

/* Releases the topic of an answered command, which nobody may name any more. */
static void release(kw_topics *topics, const kw_ask *answered)
{
    if (answered->feed != NULL) {
        kw_topics_release(topics, answered->feed->topic);
    }
}

static bool is_answer_to(const kw_ask *ask, kw_ask_kind kind, const verb_row *verb, kw_bytes name)
{
    return ask != NULL && ask->kind == kind && ask->feed->topic->kind == verb->topic &&
           kw_bytes_equal(kw_topic_name(ask->feed->topic), name);
}

static kw_push_news on_subscribed(kw_push_stream *stream, kw_topics *topics, const kw_push *push,
                                  const verb_row *verb)
{
    if (!is_answer_to(first_ask(stream), KW_ASK_SUBSCRIBE, verb, push->items[1].text)) {
        return broken("a subscription that was not asked for");
    }
    kw_ask answered = pop_ask(stream);
    stream->is_proved = true;
    if (!is_current(stream, &answered)) {
        release(topics, &answered);
        return news_of(KW_PUSH_NOTHING);
    }
    kw_push_news news = news_of(KW_PUSH_SUBSCRIBED);
    news.feed = answered.feed;
    news.feed->state = KW_FEED_ACTIVE;
    kw_backoff_reset(&news.feed->backoff);
    return news;
}

static kw_push_news on_unsubscribed(kw_push_stream *stream, kw_topics *topics, const kw_push *push,
                                    const verb_row *verb)
{
    kw_bytes name = push->items[1].text;
    if (is_answer_to(first_ask(stream), KW_ASK_UNSUBSCRIBE, verb, name)) {
        kw_ask answered = pop_ask(stream);
        /* It may be the server's own word, as the slot has moved: then an answer is still to come.
         */
        stream->overtaken_n += verb->topic == KW_TOPIC_SHARDED ? 1 : 0;
        release(topics, &answered);
        return news_of(KW_PUSH_NOTHING);
    }
    kw_topic *topic = kw_topics_find(topics, verb->topic, name);
    kw_feed *feed = topic != NULL ? kw_topic_feed_of(topic, stream) : NULL;
    if (feed == NULL || feed->state != KW_FEED_ACTIVE) {
        return has_late_ones(stream, topics) ? news_of(KW_PUSH_NOTHING)
                                             : broken("the end of a topic that was not asked for");
    }
    kw_push_news news = news_of(KW_PUSH_ENDED);
    news.feed = feed;
    return news;
}

static kw_push_news on_pong(kw_push_stream *stream)
{
    const kw_ask *first = first_ask(stream);
    if (first == NULL || first->kind != KW_ASK_PING) {
        return broken("an answer to PING, which was not asked");
    }
    (void)pop_ask(stream);
    return news_of(KW_PUSH_NOTHING);
}

/* True for MOVED that a SUNSUBSCRIBE gets which was answered already. */
static bool is_late_move(kw_push_stream *stream, const kw_verdict *verdict)
{
    const kw_ask *first = first_ask(stream);
    bool is_of_slot =
        first != NULL && first->feed != NULL && first->feed->topic->kind == KW_TOPIC_SHARDED &&
        kw_slot_of(first->feed->topic->name, first->feed->topic->name_len) == verdict->slot;
    if (verdict->kind != KW_VERDICT_MOVED || is_of_slot || stream->overtaken_n == 0) {
        return false;
    }
    stream->overtaken_n--;
    return true;
}

static kw_push_news_kind refusal_kind(const kw_verdict *verdict)
{
    switch (verdict->kind) {
    case KW_VERDICT_MOVED:
        return KW_PUSH_MOVED;
    case KW_VERDICT_FINAL:
    case KW_VERDICT_AUTH:
    case KW_VERDICT_NO_SCRIPT:
        return KW_PUSH_REFUSED;
    case KW_VERDICT_ASK:
    case KW_VERDICT_REDIRECT:
    case KW_VERDICT_TRY_AGAIN:
    case KW_VERDICT_CLUSTER_DOWN:
    case KW_VERDICT_LOADING:
    case KW_VERDICT_MASTER_DOWN:
    case KW_VERDICT_READONLY:
    case KW_VERDICT_BUSY:
    case KW_VERDICT_UNBLOCKED:
    case KW_VERDICT_FULL:
        return KW_PUSH_LATER;
    }
    return KW_PUSH_LATER;
}

static kw_push_news on_error(kw_push_stream *stream, kw_topics *topics, kw_bytes text)
{
    kw_verdict verdict = kw_verdict_of(text, false);
    if (is_late_move(stream, &verdict)) {
        return news_of(KW_PUSH_NOTHING);
    }
    if (stream->asks_n == 0) {
        return broken("an error that answers nothing");
    }
    kw_ask answered = pop_ask(stream);
    if (answered.kind == KW_ASK_PING) {
        /* LOADING, MASTERDOWN, NOPERM: somebody is there. */
        return news_of(KW_PUSH_NOTHING);
    }
    if (!is_current(stream, &answered)) {
        release(topics, &answered);
        return news_of(KW_PUSH_NOTHING);
    }
    kw_push_news news = news_of(refusal_kind(&verdict));
    news.feed = answered.feed;
    news.text = text;
    news.verdict = verdict;
    return news;
}

/* True where the elements that are read as texts are texts. */
static bool has_texts(const kw_push *push, const verb_row *verb)
{
    size_t n = verb->act == VERB_MESSAGE ? verb->items_n : 2;
    for (size_t i = 1; i < n; i++) {
        if (push->items[i].kind != KW_PUSH_TEXT) {
            return false;
        }
    }
    return true;
}

kw_push_news kw_push_stream_take(kw_push_stream *stream, kw_topics *topics, const kw_push *push)
{
    if (push->type == '-') {
        return on_error(stream, topics, push->items[0].text);
    }
    if (push->type == '+') {
        return on_pong(stream);
    }
    bool is_named = push->items[0].kind == KW_PUSH_TEXT;
    const verb_row *verb = is_named ? find_verb(push) : NULL;
    bool is_push = push->type == '>' && stream->is_resp3;
    if (verb == NULL && is_push && is_named) {
        return news_of(KW_PUSH_NOTHING); /* of another kind, which nobody has asked for */
    }
    if (verb == NULL || (push->type == '>' && !stream->is_resp3) ||
        push->items_n != verb->items_n || !has_texts(push, verb)) {
        return broken("no message of a subscription");
    }
    switch (verb->act) {
    case VERB_MESSAGE:
        return on_message(stream, topics, push, verb);
    case VERB_SUBSCRIBED:
        return on_subscribed(stream, topics, push, verb);
    case VERB_UNSUBSCRIBED:
        return on_unsubscribed(stream, topics, push, verb);
    case VERB_PONG:
        return on_pong(stream);
    }
    return broken("no message of a subscription");
}

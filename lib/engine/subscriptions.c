/* SPDX-License-Identifier: BSD-3-Clause */
/* What comes on streams becomes messages and gaps, in their order. */
#include "engine/subscriptions.h"

#include <stdio.h>
#include <string.h>

void kw_subscriptions_init(kw_subscriptions *self, const kw_allocator *mem,
                           const kw_subscriptions_rule *rule)
{
    memset(self, 0, sizeof(*self));
    self->mem = mem;
    self->tells_subscribed = rule->tells_subscribed;
    kw_topics_init(&self->topics, mem);
    kw_message_queue_init(&self->queue, mem, &rule->queue);
    kw_gap_init(&self->gap, mem);
    kw_random_init(&self->random, rule->seed);
}

void kw_subscriptions_fini(kw_subscriptions *self)
{
    kw_topics_fini(&self->topics);
    kw_message_queue_fini(&self->queue);
    kw_gap_fini(&self->gap);
}

/* An event, or that there was no memory for it. */
static void push_event(kw_subscriptions *self, kw_message *event)
{
    if (event != NULL) {
        kw_message_queue_push(&self->queue, event);
    } else {
        kw_message_queue_lose(&self->queue, true);
    }
}

void kw_subscriptions_flush(kw_subscriptions *self)
{
    kw_gap *gap = &self->gap;
    if (gap->topics_n == 0) {
        return;
    }
    push_event(self, kw_gap_message(gap, self->mem));
    gap->topics_n = 0;
    gap->names.len = 0;
    gap->ms = 0;
    gap->node.len = 0; /* the node may be gone at the next time */
}

/* The feed's loss is told with the next flush. */
static void collect(kw_subscriptions *self, kw_feed *feed, kw_bytes node, uint64_t now_ns)
{
    kw_gap *gap = &self->gap;
    bool is_same =
        gap->topics_n > 0 && gap->reason == feed->reason && kw_bytes_equal(gap->node, node);
    if (!is_same) {
        kw_subscriptions_flush(self);
    }
    gap->reason = feed->reason;
    gap->node = node;
    uint64_t ms = (now_ns - feed->lost_ns + KW_NS_PER_MS - 1) / KW_NS_PER_MS;
    gap->ms = ms > gap->ms ? ms : gap->ms;
    if (!kw_gap_add(gap, feed->topic->kind, kw_topic_name(feed->topic))) {
        kw_message_queue_lose(&self->queue, true);
    }
    feed->reason = 0;
}

static void tell(kw_subscriptions *self, const kw_message_parts *parts)
{
    push_event(self, kw_message_new(self->mem, parts));
}

static void on_subscribed(kw_subscriptions *self, kw_feed *feed, kw_bytes node, uint64_t now_ns)
{
    if (feed->reason != 0) {
        collect(self, feed, node, now_ns);
    } else if (self->tells_subscribed && !feed->was_active) {
        kw_message_parts parts = {
            .kind = KW_MESSAGE_SUBSCRIBED, .channel = kw_topic_name(feed->topic), .node = node};
        tell(self, &parts);
    }
    feed->was_active = true;
    kw_topics_count(&self->topics, feed->topic);
}

static void on_message(kw_subscriptions *self, const kw_push_news *news, kw_bytes node)
{
    kw_message_parts parts = {news->type, news->channel, {NULL, 0}, news->text, node};
    if (news->type == KW_MESSAGE_PATTERN) {
        parts.pattern = kw_topic_name(news->feed->topic);
    }
    if (self->gap.topics_n > 0) {
        kw_subscriptions_flush(self);
    }
    kw_message *message = kw_message_new(self->mem, &parts);
    if (message != NULL) {
        kw_message_queue_push(&self->queue, message);
    } else {
        kw_message_queue_lose(&self->queue, false);
    }
}

/* Messages of the feed are missing from now on, if it was active. */
static void note_loss(kw_feed *feed, kw_gap_reason reason, uint64_t lost_ns, uint64_t now_ns)
{
    if (feed->state == KW_FEED_ACTIVE && feed->reason == 0) {
        feed->reason = reason;
        feed->lost_ns = lost_ns;
        feed->since_ns = now_ns;
    }
}

/* The feed is of no stream any more: the server knows it no more, or the stream is lost. */
static void let_go(kw_subscriptions *self, kw_feed *feed, uint64_t now_ns)
{
    feed->state = feed->state == KW_FEED_WANTED ? KW_FEED_WANTED : KW_FEED_IDLE;
    (void)kw_push_stream_detach(feed, now_ns); /* there is nothing to be said */
    kw_topics_count(&self->topics, feed->topic);
    kw_topics_put_todo(&self->topics, feed->topic);
}

static void refuse(kw_subscriptions *self, const kw_push_news *news, kw_bytes node, uint64_t now_ns)
{
    kw_topic *topic = news->feed->topic;
    kw_message_parts parts = {.kind = KW_MESSAGE_REFUSED,
                              .channel = kw_topic_name(topic),
                              .bytes = news->text,
                              .node = node};
    char name[60];
    char text[80];
    kw_subscriptions_flush(self);
    tell(self, &parts);
    self->refusals_n++;
    bool is_unknown =
        topic->kind == KW_TOPIC_SHARDED && kw_bytes_starts(news->text, "ERR unknown command");
    snprintf(self->refusal, sizeof(self->refusal), "\"%s\": %s%s",
             kw_bytes_show(name, sizeof(name), kw_topic_name(topic)),
             kw_bytes_show(text, sizeof(text), news->text),
             is_unknown ? "; sharded channels need Redis 7 or Valkey" : "");
    let_go(self, news->feed, now_ns);
    kw_topics_remove(&self->topics, topic);
}

/* MOVED is followed at once, but not again and again. */
static void turn_away(kw_subscriptions *self, const kw_push_news *news, uint64_t now_ns)
{
    kw_feed *feed = news->feed;
    bool is_at_once = news->kind == KW_PUSH_MOVED && feed->backoff.failures_n == 0;
    uint64_t pause_ns = kw_backoff_next(&feed->backoff, &self->random);
    feed->retry_ns = is_at_once ? now_ns : now_ns + pause_ns;
    let_go(self, feed, now_ns);
}

kw_push_news kw_subscriptions_on_push(kw_subscriptions *self, kw_push_stream *stream,
                                      const kw_push *push, kw_bytes node, uint64_t now_ns)
{
    kw_push_news news = kw_push_stream_take(stream, &self->topics, push);
    switch (news.kind) {
    case KW_PUSH_MESSAGE:
        on_message(self, &news, node);
        news.kind = KW_PUSH_NOTHING;
        break;
    case KW_PUSH_SUBSCRIBED:
        on_subscribed(self, news.feed, node, now_ns);
        news.kind = KW_PUSH_NOTHING;
        break;
    case KW_PUSH_ENDED:
        note_loss(news.feed, KW_GAP_MOVED, now_ns, now_ns);
        let_go(self, news.feed, now_ns);
        break;
    case KW_PUSH_MOVED:
    case KW_PUSH_LATER:
        turn_away(self, &news, now_ns);
        break;
    case KW_PUSH_REFUSED:
        refuse(self, &news, node, now_ns);
        news.kind = KW_PUSH_NOTHING;
        break;
    case KW_PUSH_NOTHING:
    case KW_PUSH_BROKEN:
        break;
    }
    return news;
}

void kw_subscriptions_on_lost(kw_subscriptions *self, kw_push_stream *stream, kw_gap_reason reason,
                              uint64_t now_ns)
{
    uint64_t heard_ns = stream->heard_ns;
    kw_push_stream_on_lost(stream, &self->topics, &self->random, now_ns);
    while (stream->feeds != NULL) {
        kw_feed *feed = stream->feeds;
        note_loss(feed, reason, heard_ns, now_ns);
        let_go(self, feed, now_ns);
    }
}

bool kw_subscriptions_leave(kw_subscriptions *self, kw_feed *feed, kw_gap_reason reason,
                            uint64_t now_ns)
{
    if (feed->stream == NULL) {
        return true;
    }
    note_loss(feed, reason, feed->stream->heard_ns, now_ns);
    bool is_said = kw_push_stream_detach(feed, now_ns);
    kw_topics_count(&self->topics, feed->topic);
    kw_topics_put_todo(&self->topics, feed->topic);
    return is_said;
}

void kw_subscriptions_on_gone(kw_subscriptions *self, kw_feed *feed, kw_bytes node, uint64_t now_ns)
{
    if (feed->reason != 0) {
        feed->reason = KW_GAP_NODES;
        collect(self, feed, node, now_ns);
        kw_subscriptions_flush(self);
    }
    feed->node = NULL;
    kw_topics_count(&self->topics, feed->topic);
}

void kw_subscriptions_on_come(kw_feed *feed, uint64_t now_ns)
{
    feed->reason = KW_GAP_NODES;
    feed->lost_ns = now_ns;
    feed->since_ns = now_ns;
    feed->was_active = true;
}

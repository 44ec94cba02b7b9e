/* SPDX-License-Identifier: BSD-3-Clause */
/* Subscriptions: the decisions of a subscriber. It has the topics and the queue, is told what comes
 * on which stream and which streams are lost, and sees to it that no loss goes untold:
 *
 * - A feed that was active, and is so no more, has lost messages from then on. Once it is active
 *   again, at whatever node, a gap is told before its first message. A feed that never was active
 *   has lost none.
 * - A message is taken from the stream that its feed is of, and only while the feed is active
 *   there: what an old stream brings still is dropped. So none comes twice.
 * - What has no room in the queue is a gap in its place (engine/message_queue.h). */
#ifndef ENGINE_SUBSCRIPTIONS_H
#define ENGINE_SUBSCRIPTIONS_H

#include "engine/message_queue.h"
#include "engine/push_stream.h"

typedef struct kw_subscriptions {
    const kw_allocator *mem;
    kw_topics topics;
    kw_message_queue queue;
    kw_gap gap; /* feeds that are active again, and not told of */
    kw_random random;
    bool tells_subscribed;
    uint64_t refusals_n; /* topics that were refused */
    char refusal[200];   /* the last one, for people */
} kw_subscriptions;

typedef struct kw_subscriptions_rule {
    kw_queue_rule queue;
    bool tells_subscribed;
    uint64_t seed;
} kw_subscriptions_rule;

void kw_subscriptions_init(kw_subscriptions *self, const kw_allocator *mem,
                           const kw_subscriptions_rule *rule);

/* No stream has a feed any more. */
void kw_subscriptions_fini(kw_subscriptions *self);

/* One message of a stream, from that node. What is to be done about it: KW_PUSH_NOTHING,
 * KW_PUSH_BROKEN (the stream is to be given up: kw_subscriptions_on_lost), KW_PUSH_MOVED (the
 * verdict says where to), KW_PUSH_ENDED and KW_PUSH_LATER (the map may be old). */
kw_push_news kw_subscriptions_on_push(kw_subscriptions *self, kw_push_stream *stream,
                                      const kw_push *push, kw_bytes node, uint64_t now_ns);

/* Tells of the gaps that were collected. Behind each round of messages. */
void kw_subscriptions_flush(kw_subscriptions *self);

/* The stream's connection is lost; its feeds need another one. */
void kw_subscriptions_on_lost(kw_subscriptions *self, kw_push_stream *stream, kw_gap_reason reason,
                              uint64_t now_ns);

/* The feed leaves the stream that it is of, and needs another one; false when there is no memory:
 * then that stream is lost. Nothing where it is of none. */
bool kw_subscriptions_leave(kw_subscriptions *self, kw_feed *feed, kw_gap_reason reason,
                            uint64_t now_ns);

/* A node of a topic at several has gone: its feed, which is of no stream any more, is not in use.
 * What it has lost is told at once. */
void kw_subscriptions_on_gone(kw_subscriptions *self, kw_feed *feed, kw_bytes node,
                              uint64_t now_ns);

/* A node has come for a topic at several, which is late: what was published there before is
 * missing.
 */
void kw_subscriptions_on_come(kw_feed *feed, uint64_t now_ns);

#endif

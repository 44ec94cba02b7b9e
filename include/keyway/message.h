/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: what a subscriber gets: messages of publish/subscribe, and what it may have missed.
 *
 * kw_subscriber_take, and the callback of a subscriber, hand out a kw_message, which is the
 * caller's to free:
 *
 *   kw_message *message = kw_subscriber_take(subscriber, &error, 1000);
 *   if (message != NULL && kw_message_type(message) == KW_MESSAGE_GAP)
 *       puts("messages may be missing before this one");
 *   kw_message_free(message); */
#ifndef KEYWAY_MESSAGE_H
#define KEYWAY_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include <keyway/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One message. Constant, and independent of the subscriber and the handle that it came from, which
 * may be closed before it is freed. Of NULL functions say 0 or NULL, and no kind that there is. */
typedef struct kw_message kw_message;

/* What a message is. More may follow: pass over those that are not known. */
typedef enum kw_message_kind {
    KW_MESSAGE_CHANNEL = 0, /* published to a channel (SUBSCRIBE) */
    KW_MESSAGE_PATTERN = 1, /* published to a channel that matches a pattern (PSUBSCRIBE) */
    KW_MESSAGE_SHARDED = 2, /* published to a sharded channel (SSUBSCRIBE) */
    KW_MESSAGE_GAP = 3,     /* messages may have been lost before the ones that follow */
    KW_MESSAGE_SUBSCRIBED =
        4,                 /* a topic is subscribed, for the first time; where it is asked for */
    KW_MESSAGE_REFUSED = 5 /* the server refuses a topic, which is given up */
} kw_message_kind;

/* What can be subscribed. */
typedef enum kw_topic_kind {
    KW_TOPIC_CHANNEL = 0, /* a channel, by its name */
    KW_TOPIC_PATTERN = 1, /* all channels that match, as by PSUBSCRIBE */
    KW_TOPIC_SHARDED = 2  /* a sharded channel: Redis 7, Valkey */
} kw_topic_kind;

/* Why messages may have been lost. More may follow. */
typedef enum kw_gap_reason {
    KW_GAP_CLOSED = 1, /* the connection to the node was lost */
    KW_GAP_SILENT = 2, /* the node was silent for too long: a half-open connection, a stopped
                          server */
    KW_GAP_MOVED = 3,  /* the topic belongs to another node now */
    KW_GAP_NODES = 4,  /* a topic of several nodes: this one has come, or has left */
    KW_GAP_PROTOCOL =
        5, /* the node's bytes were no message, or of a topic that was not asked for */
    KW_GAP_OVERFLOW = 6, /* the subscriber's queue was full */
    KW_GAP_MEMORY = 7    /* there was no memory for them */
} kw_gap_reason;

/* What the message is. Any thread. */
KW_API kw_message_kind kw_message_type(const kw_message *message);

/* The channel that was published to: any bytes, with a zero byte behind that *len (may be NULL)
 * does not count. Of KW_MESSAGE_SUBSCRIBED and KW_MESSAGE_REFUSED it is the topic's name; empty for
 * a gap. Borrowed from the message. Any thread. */
KW_API const char *kw_message_channel(const kw_message *message, size_t *len);

/* The pattern that matched, with a zero byte behind that *len (may be NULL) does not count; empty
 * for all but KW_MESSAGE_PATTERN. Borrowed from the message. Any thread. */
KW_API const char *kw_message_pattern(const kw_message *message, size_t *len);

/* What was published: any bytes, with a zero byte behind that *len (may be NULL) does not count. Of
 * KW_MESSAGE_REFUSED the server's words, of KW_MESSAGE_GAP the story in words, for people. Borrowed
 * from the message. Any thread. */
KW_API const char *kw_message_bytes(const kw_message *message, size_t *len);

/* "host:port" of the node that the message came from; of a gap the node where the topic is
 * subscribed now; "" for a loss that is of no node (KW_GAP_OVERFLOW, KW_GAP_MEMORY). Borrowed from
 * the message. Any thread. */
KW_API const char *kw_message_node(const kw_message *message);

/* Why messages may have been lost; of a gap only, 0 for every other message. Any thread. */
KW_API kw_gap_reason kw_message_gap_reason(const kw_message *message);

/* How long the gap was, in milliseconds: what was published in that time before the gap was told
 * may be missing. 0 for KW_GAP_OVERFLOW, KW_GAP_MEMORY and whatever is no gap. Any thread. */
KW_API uint64_t kw_message_gap_ms(const kw_message *message);

/* How many messages were dropped: of KW_GAP_OVERFLOW and KW_GAP_MEMORY alone; 0: it is not known.
 * Any thread. */
KW_API uint64_t kw_message_gap_lost(const kw_message *message);

/* Number of topics that a gap is about; 0 for a gap that is about all of the subscriber's, and for
 * what is no gap. Any thread. */
KW_API size_t kw_message_topics_n(const kw_message *message);

/* Name of topic number index of a gap, counted from 0, with a zero byte behind that *len (may be
 * NULL) does not count; *kind (may be NULL) is what it is. NULL, and nothing written, where there
 * is no such topic. Borrowed from the message. Any thread. */
KW_API const char *kw_message_topic(const kw_message *message, size_t *len, kw_topic_kind *kind,
                                    size_t index);

/* Name of a reason, "closed"; "?" for a number that is none. The text is constant. Any thread. */
KW_API const char *kw_gap_reason_name(kw_gap_reason reason);

/* Frees a message. NULL is allowed. One thread per object. */
KW_API void kw_message_free(kw_message *message);

#ifdef __cplusplus
}
#endif

#endif

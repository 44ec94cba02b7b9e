/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: publish/subscribe that says what it missed.
 *
 * A kw_subscriber hears channels, patterns and sharded channels of a handle's servers:
 *
 *   kw_subscriber *subscriber = kw_subscriber_open(client, &error, NULL);
 *   kw_subscribe(subscriber, &error, KW_TOPIC_CHANNEL, "news", 4);
 *   kw_message *message;
 *   while ((message = kw_subscriber_take(subscriber, &error, 60000)) != NULL) {
 *       printf("%s\n", kw_message_bytes(message, NULL));
 *       kw_message_free(message);
 *   }
 *
 * It follows the servers by itself: slots that move, failovers, nodes that come, leave or hang,
 * lost connections. A topic is subscribed again, where it belongs, at once, and with pauses where
 * that fails.
 *
 * What is promised:
 *
 * - Messages come at most once, in the order in which the subscriber's server got them; what may
 *   make a difference in a cluster is said below.
 * - Whatever may have been lost between the subscriber and its nodes is told: KW_MESSAGE_GAP comes
 *   before the first message behind it, with the topics, the length in time and the reason, and
 *   never without a reason. It comes once the topics are subscribed again: who reads what it has
 *   missed from elsewhere then misses nothing more. What a full queue drops is told in its place.
 * - What servers lose between each other, on the bus of a cluster or on the way to a replica,
 *   nobody can tell. Nor is a message told of that was published before the subscription was
 *   confirmed: kw_subscriber_wait waits for that.
 * - In a cluster a message may be on its way between servers while the subscriber's node is lost:
 *   of an ordinary channel to all of them, of a sharded one to those of its shard. So the
 *   subscriber waits for a tenth of a second before it subscribes elsewhere, or at the heir of a
 *   sharded channel's owner. A bus that takes longer than that could bring one message twice.
 * - In a cluster a sharded channel may have two servers for a while: the owner, and one that still
 *   believes to be it (a primary that was replaced and is back) or has become its replica: that one
 *   runs SPUBLISH as well, without MOVED, so a publisher whose map is old goes on there. The bus
 *   carries what it runs to the subscriber's node. That comes once, but may come late, behind
 *   messages that were published after it, or be lost on the bus untold. Whoever published it can
 *   see that: the reply to SPUBLISH counts only receivers at the server that ran it (0 where there
 *   are none but this one). A message that got no reply may be run, and come, late as well. A map
 *   is old for refresh-interval at the longest, and no longer than until the publisher connects
 *   anew.
 *
 * Where topics are subscribed: with one server there; under Sentinel at the primary, or at a
 * replica where read-preference says so; on a ring at the owner of the channel's name, which
 * PUBLISH goes to as well, and patterns at every primary; in a cluster channels, sharded
 * or not, at the owner of their slot, and patterns at one primary each, spread by their names; an
 * ordinary channel goes elsewhere where that owner is not well, and stays there.
 * Keyspace notifications concern the node that they happen on: kw_subscribe_nodes. PUBLISH and
 * SPUBLISH are commands like any other, and of one channel have the order of commands of one key,
 * in batches, tickets and callbacks, too: in a cluster PUBLISH goes to the owner of the channel's
 * slot, and to another primary only while that one is not well.
 *
 * The library has no thread: connections are worked on inside calls. So take messages, or call
 * kw_process for a subscriber with a callback, all the time; whoever uses the handle for commands
 * helps. A server cuts off a subscriber that does not read (client-output-buffer-limit pubsub). */
#ifndef KEYWAY_SUBSCRIBER_H
#define KEYWAY_SUBSCRIBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <keyway/client.h>
#include <keyway/error.h>
#include <keyway/export.h>
#include <keyway/message.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Subscriptions and their queue of messages. Any number of threads may use one, and one handle may
 * have several. */
typedef struct kw_subscriber kw_subscriber;

/* What is done with messages that the queue has no room for. */
typedef enum kw_overflow {
    KW_OVERFLOW_DROP_OLDEST = 0, /* they take the place of the oldest; a gap is told there */
    KW_OVERFLOW_DROP_NEWEST = 1, /* they are dropped; a gap is told behind the others */
    KW_OVERFLOW_STOP_READING =
        2 /* nothing more is read before there is room: the server keeps them,
             until its limit makes it close the connection, which is a gap */
} kw_overflow;

/* Takes one message, which the callback frees with kw_message_free. Called by kw_process alone,
 * with no lock held; it may call everything but kw_process, also kw_subscriber_close and kw_close.
 */
typedef void (*kw_message_fn)(void *arg, kw_message *message);

/* How a subscriber works. Start with KW_SUBSCRIBER_OPTIONS_INIT. */
typedef struct kw_subscriber_options {
    size_t size;           /* sizeof(kw_subscriber_options) */
    size_t messages_max;   /* most messages that wait to be taken; 0: 100,000 */
    size_t bytes_max;      /* most bytes of memory that they take, though one message is kept
                              whatever its size; 0: 64 MiB */
    kw_overflow overflow;  /* beyond these */
    uint64_t silence_ms;   /* a connection on which nothing comes for half of it is asked PING, and
                              given up where nothing has come by the end; 0: 10,000 */
    bool tells_subscribed; /* KW_MESSAGE_SUBSCRIBED comes once a topic is subscribed at first */
    kw_message_fn fn;      /* messages are handed out by kw_process; NULL: by kw_subscriber_take */
    void *arg;             /* the caller's own, for fn */
} kw_subscriber_options;

/* clang-format off */
#define KW_SUBSCRIBER_OPTIONS_INIT { sizeof(kw_subscriber_options), 0, 0, \
                                     KW_OVERFLOW_DROP_OLDEST, 0, false, NULL, NULL }
/* clang-format on */

/* Opens a subscriber without topics; nothing is connected yet. NULL options are the defaults. The
 * caller closes it with kw_subscriber_close. kw_close of the handle ends it: its calls return
 * KW_ERR_CANCELLED from then on, and it is still to be closed. In a forked child its calls return
 * KW_ERR_FORKED.
 *
 * NULL where it fails. Errors: KW_ERR_ARGUMENT (client is NULL, or wrong options),
 * KW_ERR_CANCELLED, KW_ERR_DRAINING, KW_ERR_FORKED, KW_ERR_NOMEM. Any thread. */
KW_API kw_subscriber *kw_subscriber_open(kw_client *client, kw_error *error,
                                         const kw_subscriber_options *options);

/* Closes a subscriber. Calls that wait on it in other threads return KW_ERR_CANCELLED, which this
 * one waits for; no call may begin any more. Messages that were taken stay; those that were not are
 * dropped. In its own callback it takes effect when that has returned. It begins before kw_close of
 * the handle, or when that has returned. NULL is allowed. One thread per object. */
KW_API void kw_subscriber_close(kw_subscriber *subscriber);

/* Adds a topic, at the node where it belongs. Never waits: see kw_subscriber_wait. A topic that is
 * there already stays as it is: this is no counter. What a server says against it is told by
 * KW_MESSAGE_REFUSED, after which the topic is gone: no permission, or no sharded channels (before
 * Redis 7).
 *
 * Errors: KW_ERR_ARGUMENT (subscriber or name is NULL, no such kind, or a pattern that
 * kw_subscribe_nodes has added), KW_ERR_CANCELLED, KW_ERR_FORKED, KW_ERR_NOMEM. Any thread. */
KW_API kw_err kw_subscribe(kw_subscriber *subscriber, kw_error *error, kw_topic_kind kind,
                           const char *name, size_t name_len);

/* Which nodes. */
typedef enum kw_subscribe_at {
    KW_AT_PRIMARIES = 0, /* every primary */
    KW_AT_NODES = 1      /* every node, replicas included */
} kw_subscribe_at;

/* Adds a pattern at several nodes, as keyspace notifications need it: each node tells of its own
 * keys alone ("__keyevent@0__:expired"; a name without special characters matches itself). Nodes
 * that come are subscribed, and one that comes later, or leaves, is a gap (KW_GAP_NODES).
 * kw_message_node says which node a message is of. The servers' notify-keyspace-events has to be
 * set. kw_unsubscribe with KW_TOPIC_PATTERN removes it. Never waits.
 *
 * Errors: KW_ERR_ARGUMENT (subscriber or pattern is NULL, no such nodes, or a pattern that is
 * subscribed at other ones), KW_ERR_CANCELLED, KW_ERR_FORKED, KW_ERR_NOMEM. Any thread. */
KW_API kw_err kw_subscribe_nodes(kw_subscriber *subscriber, kw_error *error, kw_subscribe_at at,
                                 const char *pattern, size_t pattern_len);

/* Removes a topic; nothing where it is not there. Messages of it that wait in the queue are still
 * handed out, no others. Never waits.
 *
 * Errors: KW_ERR_ARGUMENT (subscriber or name is NULL, or no such kind), KW_ERR_CANCELLED,
 * KW_ERR_FORKED. Any thread. */
KW_API kw_err kw_unsubscribe(kw_subscriber *subscriber, kw_error *error, kw_topic_kind kind,
                             const char *name, size_t name_len);

/* Waits, for timeout_ms milliseconds at most (0: the handle's timeout), until every topic is
 * subscribed: what is published from then on is received, or a gap is told. Messages that come
 * meanwhile wait in the queue. Not in a callback.
 *
 * Errors: KW_ERR_TIMEOUT (with what is known of the reason), KW_ERR_REFUSED (a server has refused a
 * topic since the last call; the others may not be subscribed yet), KW_ERR_ARGUMENT (subscriber is
 * NULL), KW_ERR_CANCELLED, KW_ERR_DRAINING, KW_ERR_FORKED. Any thread. */
KW_API kw_err kw_subscriber_wait(kw_subscriber *subscriber, kw_error *error, uint64_t timeout_ms);

/* Takes the next message, and waits for it for timeout_ms milliseconds at most; 0 looks, and does
 * not wait. Several threads may take, and each message goes to one of them. The caller frees it
 * with kw_message_free.
 *
 * NULL where there is none. Errors: KW_ERR_TIMEOUT (none has come), KW_ERR_REFUSED (the subscriber
 * has a callback), KW_ERR_ARGUMENT (subscriber is NULL), KW_ERR_CANCELLED (it, or the handle, was
 * closed), KW_ERR_DRAINING (kw_drain was called, and nothing is left), KW_ERR_FORKED, KW_ERR_NOMEM
 * (a gap could not be told: it is with the next call). Any thread. */
KW_API kw_message *kw_subscriber_take(kw_subscriber *subscriber, kw_error *error,
                                      uint64_t timeout_ms);

#ifdef __cplusplus
}
#endif

#endif

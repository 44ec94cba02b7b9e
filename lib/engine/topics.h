/* SPDX-License-Identifier: BSD-3-Clause */
/* Topics: what a subscriber has subscribed, and its feeds: a topic at one node each. */
#ifndef ENGINE_TOPICS_H
#define ENGINE_TOPICS_H

#include <keyway/message.h>

#include "base/bytes.h"
#include "engine/backoff.h"

#include <stdbool.h>
#include <stdint.h>

struct kw_push_stream;

/* Where a topic is subscribed. */
typedef enum kw_topic_scope {
    KW_TOPIC_AT_ONE,       /* at the one node that it belongs to, or that was chosen for it */
    KW_TOPIC_AT_PRIMARIES, /* at every primary */
    KW_TOPIC_AT_NODES      /* at every node */
} kw_topic_scope;

typedef enum kw_feed_state {
    KW_FEED_IDLE,   /* no node is chosen */
    KW_FEED_WANTED, /* of a stream, which is to ask for it */
    KW_FEED_ASKED,  /* asked for, and not confirmed */
    KW_FEED_ACTIVE  /* its messages come */
} kw_feed_state;

typedef struct kw_topic kw_topic;
typedef struct kw_feed kw_feed;
struct kw_feed {
    kw_topic *topic;
    kw_feed *next;                 /* of the topic */
    struct kw_push_stream *stream; /* NULL: none */
    kw_feed *stream_next;          /* of that stream */
    kw_feed *stream_before;
    const void *node;   /* of a topic at several nodes: its own; NULL: the feed is not in use */
    const void *chosen; /* of a topic at one node: the last one; only compared */
    kw_feed_state state;
    unsigned asks_n;      /* commands of streams that name it and were not answered */
    unsigned serial;      /* of the last one */
    bool was_active;      /* it was told of, or need not be */
    kw_gap_reason reason; /* why messages are missing since lost_ns; 0: none are */
    uint64_t lost_ns;
    uint64_t since_ns;  /* when that was noticed */
    uint64_t retry_ns;  /* no node is chosen before this */
    kw_backoff backoff; /* between tries that were turned away */
};

struct kw_topic {
    kw_topic *hash_next;
    kw_topic *todo_next;
    kw_topic *todo_before;
    kw_topic *all_next;
    kw_topic *all_before;
    bool is_todo;
    bool is_removed; /* out of the table */
    bool is_ready;   /* counted among those whose feeds are all active */
    bool was_placed; /* nodes that come are late */
    kw_topic_kind kind;
    kw_topic_scope scope;
    uint64_t hash;
    uint64_t place; /* slot, or position on the ring */
    kw_feed *feeds; /* of a topic at one node just first */
    kw_feed first;
    size_t name_len;
    char name[];
};

typedef struct kw_topics {
    const kw_allocator *mem;
    kw_topic **buckets;
    size_t buckets_n; /* a power of two, or 0 */
    size_t topics_n;
    size_t ready_n;   /* topics whose feeds are all active */
    size_t removed_n; /* topics that were removed, and had no look since */
    kw_topic *all;    /* those of the table */
    uint64_t todos_n; /* how often one was listed that needs a look */
    kw_topic *todo;   /* those that need a look, in the order in which they came */
    kw_topic *todo_last;
} kw_topics;

static inline kw_bytes kw_topic_name(const kw_topic *topic)
{
    kw_bytes name = {topic->name, topic->name_len};
    return name;
}

void kw_topics_init(kw_topics *topics, const kw_allocator *mem);

/* Frees all of them; no stream has a feed any more. */
void kw_topics_fini(kw_topics *topics);

/* NULL where there is none. */
kw_topic *kw_topics_find(const kw_topics *topics, kw_topic_kind kind, kw_bytes name);

/* A new topic, which needs a look. NULL when there is no memory. */
kw_topic *kw_topics_add(kw_topics *topics, kw_topic_kind kind, kw_bytes name, kw_topic_scope scope);

/* Takes it out of the table; it needs a look, after which it is freed. */
void kw_topics_remove(kw_topics *topics, kw_topic *topic);

/* Frees a topic that was removed, once no feed of it is of a stream or named by a command. */
void kw_topics_release(kw_topics *topics, kw_topic *topic);

/* The topic needs a look, or had one. */
void kw_topics_put_todo(kw_topics *topics, kw_topic *topic);
void kw_topics_drop_todo(kw_topics *topics, kw_topic *topic);

/* A feed for the node, which is the topic's already, or not in use, or new. NULL when there is no
 * memory. */
kw_feed *kw_topics_feed(kw_topics *topics, kw_topic *topic, const void *node);

/* Counts the topic among those that are ready, or not, after a change of its feeds. */
void kw_topics_count(kw_topics *topics, kw_topic *topic);

/* The feed of the topic on that stream; NULL: none. */
kw_feed *kw_topic_feed_of(kw_topic *topic, const struct kw_push_stream *stream);

#endif

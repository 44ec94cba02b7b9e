/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of topics: found by kind and name, listed where they need a look. */
#include "engine/topics.h"

#include <string.h>

/* Pauses after a node has turned a topic away. */
#define BACKOFF_FIRST_NS (20 * KW_NS_PER_MS)
#define BACKOFF_MAX_NS   (1000 * KW_NS_PER_MS)

#define BUCKETS_MIN 64

void kw_topics_init(kw_topics *topics, const kw_allocator *mem)
{
    memset(topics, 0, sizeof(*topics));
    topics->mem = mem;
}

static uint64_t hash_of(kw_topic_kind kind, kw_bytes name)
{
    return kw_bytes_hash(name) + (uint64_t)kind;
}

static void free_topic(const kw_topics *topics, kw_topic *topic)
{
    for (kw_feed *feed = topic->feeds; feed != NULL;) {
        kw_feed *next = feed->next;
        if (feed != &topic->first) {
            kw_mem_free(topics->mem, feed);
        }
        feed = next;
    }
    kw_mem_free(topics->mem, topic);
}

void kw_topics_fini(kw_topics *topics)
{
    while (topics->all != NULL) {
        kw_topics_remove(topics, topics->all);
    }
    while (topics->todo != NULL) {
        kw_topic *topic = topics->todo;
        kw_topics_drop_todo(topics, topic);
        free_topic(topics, topic);
    }
    kw_mem_free(topics->mem, topics->buckets);
}

static kw_topic **bucket_of(const kw_topics *topics, uint64_t hash)
{
    return &topics->buckets[(hash ^ hash >> 32) & (topics->buckets_n - 1)];
}

kw_topic *kw_topics_find(const kw_topics *topics, kw_topic_kind kind, kw_bytes name)
{
    if (topics->buckets_n == 0) {
        return NULL;
    }
    uint64_t hash = hash_of(kind, name);
    kw_topic *topic = *bucket_of(topics, hash);
    while (topic != NULL && (topic->hash != hash || topic->kind != kind ||
                             !kw_bytes_equal(kw_topic_name(topic), name))) {
        topic = topic->hash_next;
    }
    return topic;
}

static bool grow(kw_topics *topics)
{
    if (topics->topics_n < topics->buckets_n) {
        return true;
    }
    kw_topics wider = *topics;
    wider.buckets_n = topics->buckets_n > 0 ? 2 * topics->buckets_n : BUCKETS_MIN;
    wider.buckets = kw_mem_calloc(topics->mem, wider.buckets_n, sizeof(wider.buckets[0]));
    if (wider.buckets == NULL) {
        return topics->buckets_n > 0;
    }
    for (kw_topic *topic = topics->all; topic != NULL; topic = topic->all_next) {
        kw_topic **bucket = bucket_of(&wider, topic->hash);
        topic->hash_next = *bucket;
        *bucket = topic;
    }
    kw_mem_free(topics->mem, topics->buckets);
    topics->buckets = wider.buckets;
    topics->buckets_n = wider.buckets_n;
    return true;
}

static void init_feed(kw_feed *feed, kw_topic *topic)
{
    memset(feed, 0, sizeof(*feed));
    feed->topic = topic;
    kw_backoff_init(&feed->backoff, BACKOFF_FIRST_NS, BACKOFF_MAX_NS);
}

static void put_in_table(kw_topics *topics, kw_topic *topic)
{
    kw_topic **bucket = bucket_of(topics, topic->hash);
    topic->hash_next = *bucket;
    *bucket = topic;
    topic->all_next = topics->all;
    if (topics->all != NULL) {
        topics->all->all_before = topic;
    }
    topics->all = topic;
    topics->topics_n++;
}

kw_topic *kw_topics_add(kw_topics *topics, kw_topic_kind kind, kw_bytes name, kw_topic_scope scope)
{
    size_t len;
    kw_topic *topic = NULL;
    if (grow(topics) && kw_size_add(&len, sizeof(*topic) + 1, name.len)) {
        topic = kw_mem_alloc(topics->mem, len);
    }
    if (topic == NULL) {
        return NULL;
    }
    memset(topic, 0, sizeof(*topic));
    topic->kind = kind;
    topic->scope = scope;
    topic->hash = hash_of(kind, name);
    topic->name_len = name.len;
    if (name.len > 0) {
        memcpy(topic->name, name.data, name.len);
    }
    topic->name[name.len] = '\0';
    init_feed(&topic->first, topic);
    topic->feeds = &topic->first;
    put_in_table(topics, topic);
    kw_topics_put_todo(topics, topic);
    return topic;
}

void kw_topics_remove(kw_topics *topics, kw_topic *topic)
{
    kw_topic **link = bucket_of(topics, topic->hash);
    while (*link != topic) {
        link = &(*link)->hash_next;
    }
    *link = topic->hash_next;
    if (topic->all_before != NULL) {
        topic->all_before->all_next = topic->all_next;
    } else {
        topics->all = topic->all_next;
    }
    if (topic->all_next != NULL) {
        topic->all_next->all_before = topic->all_before;
    }
    topics->topics_n--;
    topics->ready_n -= topic->is_ready ? 1 : 0;
    topic->is_ready = false;
    kw_topics_drop_todo(topics, topic); /* it comes last, behind what it was in the table */
    topic->is_removed = true;
    kw_topics_put_todo(topics, topic);
}

void kw_topics_release(kw_topics *topics, kw_topic *topic)
{
    if (!topic->is_removed || topic->is_todo) {
        return;
    }
    for (const kw_feed *feed = topic->feeds; feed != NULL; feed = feed->next) {
        if (feed->stream != NULL || feed->asks_n > 0) {
            return;
        }
    }
    free_topic(topics, topic);
}

void kw_topics_put_todo(kw_topics *topics, kw_topic *topic)
{
    topics->todos_n++;
    if (topic->is_todo) {
        return;
    }
    topic->is_todo = true;
    topics->removed_n += topic->is_removed ? 1 : 0;
    topic->todo_next = NULL;
    topic->todo_before = topics->todo_last;
    if (topics->todo_last != NULL) {
        topics->todo_last->todo_next = topic;
    } else {
        topics->todo = topic;
    }
    topics->todo_last = topic;
}

void kw_topics_drop_todo(kw_topics *topics, kw_topic *topic)
{
    if (!topic->is_todo) {
        return;
    }
    topic->is_todo = false;
    topics->removed_n -= topic->is_removed ? 1 : 0;
    if (topic->todo_before != NULL) {
        topic->todo_before->todo_next = topic->todo_next;
    } else {
        topics->todo = topic->todo_next;
    }
    if (topic->todo_next != NULL) {
        topic->todo_next->todo_before = topic->todo_before;
    } else {
        topics->todo_last = topic->todo_before;
    }
}

kw_feed *kw_topics_feed(kw_topics *topics, kw_topic *topic, const void *node)
{
    kw_feed *unused = NULL;
    for (kw_feed *feed = topic->feeds; feed != NULL; feed = feed->next) {
        if (feed->node == node) {
            return feed;
        }
        if (feed->node == NULL && feed->stream == NULL && feed->asks_n == 0) {
            unused = feed;
        }
    }
    if (unused == NULL) {
        unused = kw_mem_alloc(topics->mem, sizeof(*unused));
        if (unused == NULL) {
            return NULL;
        }
        unused->next = topic->feeds;
        topic->feeds = unused;
    }
    kw_feed *next = unused->next;
    init_feed(unused, topic);
    unused->next = next;
    unused->node = node;
    return unused;
}

void kw_topics_count(kw_topics *topics, kw_topic *topic)
{
    bool is_many = topic->scope != KW_TOPIC_AT_ONE;
    bool is_ready = !topic->is_removed;
    size_t active_n = 0;
    for (const kw_feed *feed = topic->feeds; feed != NULL; feed = feed->next) {
        bool is_used = !is_many || feed->node != NULL;
        active_n += feed->state == KW_FEED_ACTIVE ? 1 : 0;
        is_ready = is_ready && (!is_used || feed->state == KW_FEED_ACTIVE);
    }
    is_ready = is_ready && active_n > 0;
    topics->ready_n += is_ready ? 1 : 0;
    topics->ready_n -= topic->is_ready ? 1 : 0;
    topic->is_ready = is_ready;
}

kw_feed *kw_topic_feed_of(kw_topic *topic, const struct kw_push_stream *stream)
{
    kw_feed *feed = topic->feeds;
    while (feed != NULL && feed->stream != stream) {
        feed = feed->next;
    }
    return feed;
}

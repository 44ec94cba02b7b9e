/* SPDX-License-Identifier: BSD-3-Clause */
/* Which node carries which topic. A sharded channel belongs to its slot's owner, on a ring every
 * channel to the owner of its name. In a cluster all nodes hear of all channels: an ordinary one
 * is at the owner of its slot, to which PUBLISH goes, too; a pattern, or a channel whose owner is
 * not well, at a primary chosen by the highest hash of both names ("rendezvous hashing", Thaler and
 * Ravishankar 1998). Each stays where it is while that node is in the map. */
#include "drive/receiver_private.h"

#include "base/error.h"
#include "route/slot.h"

/* In a cluster a message may still be on its way from the node that was left to others that get it,
 * too: all of them, or of a sharded channel those of the same shard. Who subscribed there at once
 * would get it twice. */
#define ELSEWHERE_NS (100 * KW_NS_PER_MS)

/* No memory: tried again after this. */
#define MEMORY_NS (50 * KW_NS_PER_MS)

/* What one look goes by. */
typedef struct look {
    kw_receiver *receiver;
    const kw_snapshot *snapshot;
    const kw_options *options;
    uint64_t now_ns;
    uint64_t due_ns; /* when a topic needs the next look */
} look;

static void look_again(look *self, uint64_t at_ns)
{
    self->due_ns = at_ns < self->due_ns ? at_ns : self->due_ns;
}

static kw_push_link *find_link(const kw_receiver *self, const kw_node *node)
{
    for (size_t i = 0; i < self->links_n; i++) {
        if (self->links[i]->node == node) {
            return self->links[i];
        }
    }
    return NULL;
}

/* The link of the node, made where there is none. NULL when there is no memory. */
static kw_push_link *need_link(kw_receiver *self, kw_node *node)
{
    kw_push_link *link = find_link(self, node);
    if (link != NULL) {
        return link;
    }
    if (self->links_n == self->links_capacity) {
        size_t capacity = self->links_capacity > 0 ? 2 * self->links_capacity : 8;
        kw_push_link **links =
            kw_mem_resize(&self->topology->env.mem, self->links, capacity, sizeof(links[0]));
        if (links == NULL) {
            return NULL;
        }
        self->links = links;
        self->links_capacity = capacity;
    }
    link = kw_push_link_new(node, self->silence_ns);
    if (link != NULL) {
        self->links[self->links_n++] = link;
    }
    return link;
}

/* Bits of both names, well mixed (the finalizer of MurmurHash3, Appleby 2011). */
static uint64_t score_of(const kw_topic *topic, const kw_node *node)
{
    uint64_t word = topic->hash ^ (kw_bytes_hash(kw_bytes_of(node->name)) * 0x9e3779b97f4a7c15u);
    word = (word ^ word >> 33) * 0xff51afd7ed558ccdu;
    word = (word ^ word >> 33) * 0xc4ceb9fe1a85ec53u;
    return word ^ word >> 33;
}

/* True where the node can be dialled now, as far as is known. */
static bool may_dial(const look *self, kw_node *node, bool is_strict)
{
    const kw_push_link *link = find_link(self->receiver, node);
    bool is_waiting = link != NULL && !link->stream.is_open && link->conn == NULL &&
                      link->stream.retry_ns > self->now_ns;
    return !is_waiting && !(is_strict && kw_node_is_failing(node));
}

/* Of the primaries that are well the one with the highest score; NULL: none is. */
static kw_node *spread(const look *self, const kw_topic *topic, bool is_strict)
{
    const kw_map *map = self->snapshot->map;
    kw_node *best = NULL;
    uint64_t best_score = 0;
    for (size_t i = 0; i < kw_map_shards_n(map); i++) {
        kw_node *node = self->snapshot->nodes[kw_map_shard_at(map, i)->primary];
        uint64_t score = score_of(topic, node);
        if ((best == NULL || score > best_score) && may_dial(self, node, is_strict)) {
            best = node;
            best_score = score;
        }
    }
    return best;
}

static kw_node *spread_widely(const look *self, const kw_topic *topic)
{
    kw_node *owner = topic->kind == KW_TOPIC_CHANNEL
                         ? kw_snapshot_owner(self->snapshot, (unsigned)topic->place)
                         : NULL;
    if (owner != NULL && may_dial(self, owner, true)) {
        return owner; /* PUBLISH goes to it as well */
    }
    kw_node *node = spread(self, topic, true);
    return node != NULL ? node : spread(self, topic, false);
}

/* Under Sentinel, a primary or one of its replicas, as reads are. */
static kw_node *reader(const look *self)
{
    kw_node *primary = kw_snapshot_owner(self->snapshot, 0);
    kw_snapshot_read read = {.preference = self->options->read, .zone = self->options->read_zone};
    if (primary == NULL || read.preference == KW_READ_OF_PRIMARY) {
        return primary;
    }
    return kw_snapshot_reader(self->snapshot, primary, read, &self->receiver->subs.random);
}

static bool is_spread(const look *self, const kw_topic *topic)
{
    return self->options->scheme == KW_SCHEME_CLUSTER && topic->kind != KW_TOPIC_SHARDED;
}

/* The node that the topic is to be subscribed at; NULL: none is known. */
static kw_node *choose(const look *self, const kw_topic *topic)
{
    switch (self->options->scheme) {
    case KW_SCHEME_CLUSTER:
        return is_spread(self, topic) ? spread_widely(self, topic)
                                      : kw_snapshot_owner(self->snapshot, (unsigned)topic->place);
    case KW_SCHEME_RING:
        return kw_snapshot_at_position(self->snapshot, topic->place);
    case KW_SCHEME_SENTINEL:
        return reader(self);
    case KW_SCHEME_SINGLE:
        return kw_snapshot_owner(self->snapshot, 0);
    }
    return NULL;
}

/* True where the topic may stay where it is: nothing is moved without need. */
static bool fits(const look *self, const kw_topic *topic, const kw_push_link *link)
{
    if (self->snapshot == NULL) {
        return true;
    }
    bool is_free =
        self->options->scheme == KW_SCHEME_SENTINEL && self->options->read != KW_READ_OF_PRIMARY;
    if (is_free || is_spread(self, topic)) {
        return link->is_in_map;
    }
    const kw_node *node = choose(self, topic);
    return node == NULL || node == link->node;
}

/* A stream that could not be told that a topic is left is of no use any more: the lost connection
 * says it. */
static void give_up(look *self, kw_push_link *link)
{
    kw_subscriptions_on_lost(&self->receiver->subs, &link->stream, KW_GAP_MEMORY, self->now_ns);
    link->is_lost = true;
}

static void leave(look *self, kw_feed *feed, kw_gap_reason reason)
{
    kw_push_stream *stream = feed->stream;
    if (stream == NULL) {
        return;
    }
    if (!kw_subscriptions_leave(&self->receiver->subs, feed, reason, self->now_ns)) {
        give_up(self, kw_push_link_of(stream));
    }
}

static void attach(look *self, kw_feed *feed, kw_node *node)
{
    kw_push_link *link = need_link(self->receiver, node);
    if (link == NULL) {
        look_again(self, self->now_ns + MEMORY_NS);
        return;
    }
    feed->chosen = node;
    kw_push_stream_attach(&link->stream, feed);
}

/* True where both are of one shard, as far as the map says: one that it does not name was the
 * primary that another one has replaced. */
static bool is_of_shard(const look *self, const void *before, const kw_node *primary)
{
    const kw_snapshot *snapshot = self->snapshot;
    uint16_t shard = KW_MAP_NO_SHARD;
    uint16_t other = KW_MAP_NO_SHARD;
    for (size_t i = 0; i < snapshot->nodes_n; i++) {
        const kw_map_member *member = kw_map_member_at(snapshot->map, i);
        shard = snapshot->nodes[i] == primary ? member->shard : shard;
        other = snapshot->nodes[i] == before ? member->shard : other;
    }
    return other == KW_MAP_NO_SHARD || other == shard;
}

/* When the topic may be subscribed at the node, since it was lost at another one. */
static uint64_t may_be_at_ns(const look *self, const kw_feed *feed, const kw_node *node)
{
    bool is_elsewhere =
        feed->reason != 0 && feed->chosen != node && self->options->scheme == KW_SCHEME_CLUSTER;
    bool hears_both =
        is_elsewhere && (is_spread(self, feed->topic) || is_of_shard(self, feed->chosen, node));
    return hears_both ? feed->since_ns + ELSEWHERE_NS : 0;
}

static void place_one(look *self, kw_topic *topic)
{
    kw_feed *feed = &topic->first;
    if (feed->stream != NULL && !fits(self, topic, kw_push_link_of(feed->stream))) {
        leave(self, feed, KW_GAP_MOVED);
    }
    if (feed->stream != NULL) {
        return;
    }
    kw_node *node =
        self->snapshot != NULL && self->now_ns >= feed->retry_ns ? choose(self, topic) : NULL;
    if (node == NULL) {
        uint64_t soon_ns = self->now_ns + KW_RECEIVER_LOOK_NS;
        look_again(self, feed->retry_ns > self->now_ns ? feed->retry_ns : soon_ns);
        return;
    }
    uint64_t from_ns = may_be_at_ns(self, feed, node);
    if (self->now_ns < from_ns) {
        look_again(self, from_ns);
        return;
    }
    attach(self, feed, node);
}

/* True where a topic at several nodes is to be at this one. */
static bool is_wanted(const look *self, const kw_topic *topic, size_t node)
{
    return topic->scope == KW_TOPIC_AT_NODES ||
           kw_map_member_at(self->snapshot->map, node)->is_primary;
}

/* True where the feed's node is one that the topic is to be at. */
static bool is_still_wanted(const look *self, const kw_topic *topic, const kw_feed *feed)
{
    for (size_t i = 0; i < self->snapshot->nodes_n; i++) {
        if (self->snapshot->nodes[i] == feed->node) {
            return is_wanted(self, topic, i);
        }
    }
    return false;
}

static void drop_gone(look *self, kw_topic *topic)
{
    for (kw_feed *feed = topic->feeds; feed != NULL; feed = feed->next) {
        if (feed->node == NULL || is_still_wanted(self, topic, feed)) {
            continue;
        }
        /* The link keeps a reference to the node while the feed is of it, or its name is told. */
        const kw_push_link *link = find_link(self->receiver, feed->node);
        leave(self, feed, KW_GAP_NODES);
        kw_subscriptions_on_gone(&self->receiver->subs, feed,
                                 kw_bytes_of(link != NULL ? link->node->name : ""), self->now_ns);
    }
}

/* One node of a topic at several. */
static void place_at(look *self, kw_topic *topic, kw_node *node)
{
    kw_feed *feed = kw_topics_feed(&self->receiver->subs.topics, topic, node);
    if (feed == NULL) {
        look_again(self, self->now_ns + MEMORY_NS);
        return;
    }
    if (feed->stream != NULL) {
        return;
    }
    if (feed->chosen == NULL && topic->was_placed) {
        kw_subscriptions_on_come(feed, self->now_ns);
    }
    if (self->now_ns >= feed->retry_ns) {
        attach(self, feed, node);
    } else {
        look_again(self, feed->retry_ns);
    }
}

static void place_many(look *self, kw_topic *topic)
{
    kw_subscriptions *subs = &self->receiver->subs;
    if (self->snapshot == NULL) {
        look_again(self, self->now_ns + KW_RECEIVER_LOOK_NS);
        return;
    }
    drop_gone(self, topic);
    for (size_t i = 0; i < self->snapshot->nodes_n; i++) {
        if (is_wanted(self, topic, i)) {
            place_at(self, topic, self->snapshot->nodes[i]);
        }
    }
    topic->was_placed = true;
    kw_topics_count(&subs->topics, topic);
}

/* True where nothing is left to be chosen. */
static bool is_placed(const kw_topic *topic)
{
    bool is_many = topic->scope != KW_TOPIC_AT_ONE;
    size_t placed_n = 0;
    for (const kw_feed *feed = topic->feeds; feed != NULL; feed = feed->next) {
        placed_n += feed->stream != NULL ? 1 : 0;
        if (feed->stream == NULL && (!is_many || feed->node != NULL)) {
            return false;
        }
    }
    return placed_n > 0;
}

static void place(look *self, kw_topic *topic)
{
    kw_topics *topics = &self->receiver->subs.topics;
    if (topic->is_removed) {
        for (kw_feed *feed = topic->feeds; feed != NULL; feed = feed->next) {
            leave(self, feed, KW_GAP_MOVED);
        }
        kw_topics_drop_todo(topics, topic);
        kw_topics_release(topics, topic);
        return;
    }
    if (topic->scope == KW_TOPIC_AT_ONE) {
        place_one(self, topic);
    } else {
        place_many(self, topic);
    }
    if (is_placed(topic)) {
        kw_topics_drop_todo(topics, topic);
    } else if (self->snapshot == NULL) {
        look_again(self, self->now_ns + KW_RECEIVER_LOOK_NS);
    }
}

/* Another map: every topic is looked at. */
static void look_at_all(kw_receiver *self, const kw_snapshot *snapshot)
{
    for (size_t i = 0; i < self->links_n; i++) {
        kw_push_link *link = self->links[i];
        link->is_in_map = kw_snapshot_find(snapshot, &link->node->endpoint) == link->node;
    }
    for (kw_topic *topic = self->subs.topics.all; topic != NULL; topic = topic->all_next) {
        kw_topics_put_todo(&self->subs.topics, topic);
    }
}

void kw_receiver_place(kw_receiver *self, const kw_snapshot *snapshot, uint64_t now_ns)
{
    look sight = {self, snapshot, &self->topology->env.options, now_ns, UINT64_MAX};
    kw_topics *topics = &self->subs.topics;
    uint64_t changes_n = kw_refresher_changes_n(&self->topology->refresher);
    uint64_t number = snapshot != NULL ? snapshot->number : 0;
    if (snapshot != NULL && (changes_n != self->changes_n || number != self->snapshot_n)) {
        self->changes_n = changes_n;
        self->snapshot_n = number;
        look_at_all(self, snapshot);
    }
    if (topics->todos_n == self->todos_n && now_ns < self->place_ns) {
        return;
    }
    self->todos_n = topics->todos_n;
    const kw_topic *last = topics->todo_last;
    kw_topic *next = topics->todo;
    while (next != NULL) {
        kw_topic *topic = next;
        next = topic == last ? NULL : topic->todo_next;
        place(&sight, topic);
    }
    self->place_ns = sight.due_ns;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The channels that a pipeline has: found by their nodes, listed where they have something to do,
 * in a heap by the time when they have; and the stories of why they had no connection, or no
 * answer. */
#include "drive/pipeline_private.h"

#include "base/error.h"

#include <string.h>

/* Between connections that could not be had. */
#define PAUSE_FIRST_NS (5 * KW_NS_PER_MS)
#define PAUSE_MAX_NS   (250 * KW_NS_PER_MS)

/* So few channels are looked through one by one. */
#define FEW_MAX   8
#define TABLE_MIN 32

static size_t home_of(const kw_channel_table *table, const kw_node *node)
{
    uint64_t hash = (uint64_t)(uintptr_t)node * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(hash >> 32) & (table->slots_n - 1);
}

/* The slot of the node's channel, or the free one that it would have. */
static size_t slot_of(const kw_channel_table *table, const kw_node *node)
{
    size_t at = home_of(table, node);
    while (table->slots[at] != NULL && table->slots[at]->node != node) {
        at = (at + 1) & (table->slots_n - 1);
    }
    return at;
}

static bool grow_table(kw_channel_table *table, const kw_allocator *mem)
{
    kw_channel_table fresh = {.slots_n = table->slots_n > 0 ? 2 * table->slots_n : TABLE_MIN,
                              .n = table->n};
    fresh.slots = kw_mem_calloc(mem, fresh.slots_n, sizeof(fresh.slots[0]));
    if (fresh.slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < table->slots_n; i++) {
        if (table->slots[i] != NULL) {
            fresh.slots[slot_of(&fresh, table->slots[i]->node)] = table->slots[i];
        }
    }
    kw_mem_free(mem, table->slots);
    *table = fresh;
    return true;
}

/* Room for one more; the first ones are put into the table when they are no longer few. */
static bool reserve_table(kw_pipeline *self)
{
    kw_channel_table *table = &self->shared;
    const kw_allocator *mem = &self->topology->env.mem;
    if (table->slots_n == 0) {
        if (self->channels_n < FEW_MAX) {
            return true;
        }
        if (!grow_table(table, mem)) {
            return false;
        }
        for (size_t i = 0; i < self->channels_n; i++) {
            if (!self->channels[i]->is_exclusive) {
                table->slots[slot_of(table, self->channels[i]->node)] = self->channels[i];
                table->n++;
            }
        }
    }
    return table->slots_n >= 2 * (table->n + 1) || grow_table(table, mem);
}

/* Those behind it may have been put there because its place was taken. */
static void remove_from_table(kw_channel_table *table, const kw_channel *channel)
{
    size_t at = slot_of(table, channel->node);
    table->slots[at] = NULL;
    table->n--;
    for (at = (at + 1) & (table->slots_n - 1); table->slots[at] != NULL;
         at = (at + 1) & (table->slots_n - 1)) {
        kw_channel *moved = table->slots[at];
        table->slots[at] = NULL;
        table->slots[slot_of(table, moved->node)] = moved;
    }
}

static bool grow(kw_pipeline *self)
{
    const kw_allocator *mem = &self->topology->env.mem;
    size_t capacity = 2 * self->channels_capacity;
    kw_channel **channels = self->channels != self->few ? self->channels : NULL;
    channels = kw_mem_resize(mem, channels, capacity, sizeof(channels[0]));
    if (channels == NULL) {
        return false;
    }
    if (self->channels == self->few) {
        memcpy(channels, self->few, sizeof(self->few));
    }
    self->channels = channels;
    self->channels_capacity = capacity;
    return true;
}

/* A new one, of zeros: in the pipeline itself, while there is room. */
static kw_channel *new_channel(kw_pipeline *self)
{
    for (size_t i = 0; i < KW_PIPELINE_INLINE; i++) {
        if (self->inlined[i].node == NULL) {
            return memset(&self->inlined[i], 0, sizeof(self->inlined[i]));
        }
    }
    return kw_mem_calloc(&self->topology->env.mem, 1, sizeof(kw_channel));
}

static void free_channel(kw_pipeline *self, kw_channel *channel)
{
    for (size_t i = 0; i < KW_PIPELINE_INLINE; i++) {
        if (channel == &self->inlined[i]) {
            channel->node = NULL;
            return;
        }
    }
    kw_mem_free(&self->topology->env.mem, channel);
}

static kw_channel *add_channel(kw_pipeline *self, kw_node *node)
{
    if (self->channels_n == self->channels_capacity && !grow(self)) {
        return NULL;
    }
    kw_channel *channel = new_channel(self);
    if (channel != NULL) {
        channel->node = kw_node_ref(node);
        channel->watch.socket = -1;
        channel->at = self->channels_n;
        channel->hope_ns = UINT64_MAX;
        kw_backoff_init(&channel->backoff, PAUSE_FIRST_NS, PAUSE_MAX_NS);
        self->channels[self->channels_n++] = channel;
    }
    return channel;
}

static kw_channel *find_channel(const kw_pipeline *self, const kw_node *node)
{
    if (self->shared.slots_n > 0) {
        return self->shared.slots[slot_of(&self->shared, node)];
    }
    for (size_t i = 0; i < self->channels_n; i++) {
        if (self->channels[i]->node == node && !self->channels[i]->is_exclusive) {
            return self->channels[i];
        }
    }
    return NULL;
}

kw_channel *kw_pipeline_channel(kw_pipeline *self, kw_node *node, bool is_exclusive)
{
    kw_channel *channel;
    if (is_exclusive) {
        channel = reserve_table(self) ? add_channel(self, node) : NULL;
        if (channel != NULL) {
            channel->is_exclusive = true;
        }
        return channel;
    }
    channel = find_channel(self, node);
    if (channel == NULL && reserve_table(self) && (channel = add_channel(self, node)) != NULL &&
        self->shared.slots_n > 0) {
        self->shared.slots[slot_of(&self->shared, node)] = channel;
        self->shared.n++;
    }
    self->latest = channel;
    return channel;
}

void kw_pipeline_remove_channel(kw_pipeline *self, kw_channel *channel)
{
    const kw_allocator *mem = &self->topology->env.mem;
    self->channels[channel->at] = self->channels[--self->channels_n];
    self->channels[channel->at]->at = channel->at;
    if (!channel->is_exclusive && self->shared.slots_n > 0) {
        remove_from_table(&self->shared, channel);
    }
    self->latest = self->latest == channel ? NULL : self->latest;
    kw_heap_remove(&self->timers, &channel->timer);
    kw_channel_release(channel, &self->scan, NULL);
    kw_loss_unref(channel->loss, mem);
    kw_loss_unref(channel->waited, mem);
    kw_loss_unref(channel->late, mem);
    kw_node_unref(channel->node);
    free_channel(self, channel);
}

void kw_pipeline_set_timer(kw_pipeline *self, kw_channel *channel, uint64_t at_ns)
{
    if (at_ns == UINT64_MAX || (kw_heap_has(&channel->timer) && channel->timer.at_ns <= at_ns)) {
        return;
    }
    kw_heap_remove(&self->timers, &channel->timer);
    if (!kw_heap_push(&self->timers, &channel->timer, at_ns)) {
        self->has_no_memory = true;
    }
}

kw_loss *kw_pipeline_new_loss(kw_pipeline *self, const kw_try_end *end, const kw_node *node)
{
    kw_loss *loss = kw_loss_new(&self->topology->env.mem);
    if (loss != NULL) {
        loss->end = *end;
        loss->seed = kw_random_next(&self->random);
        loss->has_slots = kw_driver_has_slots(self->topology);
        loss->failure = self->scan.failure;
        if (node != NULL) {
            kw_error_set_node(&loss->failure, node->name);
        }
    }
    return loss;
}

/* The channel's story of that kind, made anew where it told something else. */
static kw_loss *need_loss(kw_pipeline *self, kw_channel *channel, kw_loss **place,
                          const kw_try_end *end, const char *text)
{
    kw_loss *loss = *place;
    if (loss != NULL && loss->end.code == end->code && loss->end.was_opened == end->was_opened &&
        loss->end.was_ready == end->was_ready && strcmp(loss->failure.text, text) == 0) {
        return loss;
    }
    kw_loss_unref(loss, &self->topology->env.mem);
    kw_error_set(&self->scan.failure, end->code, KW_EFFECT_NONE, "%s", text);
    *place = kw_pipeline_new_loss(self, end, channel->node);
    return *place;
}

kw_loss *kw_pipeline_loss_of_late(kw_pipeline *self, kw_channel *channel, const kw_item *item)
{
    kw_try_end end = {KW_ERR_TIMEOUT, true, true, true, 0};
    const char *text = kw_conn_silence(channel->conn, &item->request);
    return need_loss(self, channel, &channel->late, &end, text);
}

kw_loss *kw_pipeline_loss_of_queued(kw_pipeline *self, kw_channel *channel)
{
    kw_try_end end = {KW_ERR_TIMEOUT, true, true, false, 0};
    if (channel->conn == NULL && channel->failure != KW_ERR_POOL_FULL && channel->loss != NULL) {
        return channel->loss;
    }
    if (channel->conn == NULL) {
        end.code = KW_ERR_POOL_FULL;
        end.was_opened = false;
        end.was_ready = false;
        return need_loss(self, channel, &channel->waited, &end,
                         "all connections stayed busy; raise pool-max or timeout");
    }
    end.was_ready = channel->conn->state == KW_CONN_READY;
    if (channel->conn->state == KW_CONN_GREETING) {
        end.code = KW_ERR_HANDSHAKE;
        return need_loss(self, channel, &channel->waited, &end,
                         "the deadline came before the greeting was answered; raise timeout");
    }
    return need_loss(self, channel, &channel->waited, &end,
                     end.was_ready ? "the connection took nothing"
                                   : "the deadline came while connecting");
}

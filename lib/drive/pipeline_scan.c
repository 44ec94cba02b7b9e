/* SPDX-License-Identifier: BSD-3-Clause */
#include "drive/pipeline_private.h"

#include "base/error.h"

#include <string.h>

/* A blocking command may be silent for long; the map is looked at again at growing
 * intervals, at most this. */
#define BLOCKED_LOOK_MAX_NS ((uint64_t)10000 * KW_NS_PER_MS)

/* While a fetch of the map is under way, a pipeline that cannot watch its socket looks again
 * after this; sooner where a command waits for the map. */
#define FETCH_LOOK_NS (10 * KW_NS_PER_MS)
#define MAP_LOOK_NS   (1 * KW_NS_PER_MS)

void kw_pipeline_init(kw_pipeline *self, kw_topology *topology)
{
    memset(self, 0, sizeof(*self));
    self->topology = topology;
    self->scan.topology = topology;
    self->scan.failure.size = sizeof(self->scan.failure);
    self->scan.now_ns = kw_env_now(&topology->env);
    self->wake_ns = UINT64_MAX;
    self->changes_n = kw_refresher_changes_n(&topology->refresher);
    kw_random_init(&self->random, self->scan.now_ns ^ (uint64_t)(uintptr_t)self);
}

void kw_pipeline_fini(kw_pipeline *self)
{
    const kw_allocator *mem = &self->topology->env.mem;
    for (size_t i = 0; i < self->channels_n; i++) {
        kw_channel_release(self->channels[i], &self->scan, NULL);
        kw_node_unref(self->channels[i]->node);
        kw_mem_free(mem, self->channels[i]);
    }
    kw_mem_free(mem, self->channels);
    self->channels = NULL;
    self->channels_n = 0;
}

/* Commands that were routed by the map before this one are told apart from now on. */
static void check_fence(kw_pipeline *self)
{
    kw_pipeline_long_lived *long_lived = self->long_lived;
    uint64_t changes_n = kw_refresher_changes_n(&self->topology->refresher);
    if (long_lived->fence_changes_n != changes_n) {
        long_lived->fence_changes_n = changes_n;
        long_lived->fence_order = self->orders_n;
        long_lived->fenced_n = self->open_n;
    }
}

static void begin(kw_pipeline *self, kw_item *item)
{
    kw_pipeline_long_lived *long_lived = self->long_lived;
    if (long_lived != NULL) {
        check_fence(self);
        long_lived->by_slot[kw_pipeline_place(&item->plan)]++;
    }
    item->order = self->orders_n++;
    self->open_n++;
}

void kw_pipeline_add(kw_pipeline *self, kw_item *item, const kw_snapshot *snapshot)
{
    begin(self, item);
    kw_node *node = NULL;
    if (snapshot != NULL && !item->is_map_only) {
        node = kw_driver_look(snapshot, &item->plan, &self->random);
    }
    if (node == NULL || kw_node_faults_is_down(&node->faults)) {
        kw_pipeline_route(self, item);
    } else if (self->long_lived == NULL || !kw_pipeline_is_held_up(self, item, node)) {
        kw_pipeline_put(self, item, node);
    }
}

static void pump_all(kw_pipeline *self)
{
    for (size_t i = 0; i < self->channels_n; i++) {
        kw_channel *channel = self->channels[i];
        kw_err code = kw_channel_pump(channel, &self->scan);
        code = code == KW_OK ? kw_channel_watch(channel, &self->scan) : code;
        if (code != KW_OK) {
            kw_pipeline_fail_channel(self, channel, code);
        }
    }
}

void kw_pipeline_fill(kw_pipeline *self)
{
    for (size_t i = 0; i < self->channels_n; i++) {
        kw_channel *channel = self->channels[i];
        kw_err code = kw_channel_fill(channel, &self->scan);
        if (code != KW_OK) {
            kw_pipeline_fail_channel(self, channel, code);
        }
    }
}

/* The time for which a silent channel is left alone between two looks at the map. */
static void plan_look(kw_pipeline *self, kw_channel *channel)
{
    const kw_options *options = &self->topology->env.options;
    uint64_t stall_ns = options->stall_ms * KW_NS_PER_MS;
    uint64_t grace_ns = options->grace_ms * KW_NS_PER_MS;
    if (channel->look_ns == 0) {
        channel->look_ns = channel->heard_ns + stall_ns;
        channel->pause_ns = grace_ns > 0 && grace_ns < stall_ns / 2 ? grace_ns : stall_ns / 2;
        return;
    }
    channel->look_ns = self->scan.now_ns + channel->pause_ns;
    if (channel->is_exclusive && channel->pause_ns < BLOCKED_LOOK_MAX_NS) {
        channel->pause_ns *= 2;
    }
}

/* A silent node loses its commands once their slot has another owner, and a connection on
 * which a command's deadline has passed is given up in the end. */
static void check_silence(kw_pipeline *self, kw_channel *channel, kw_item *first)
{
    const kw_options *options = &self->topology->env.options;
    uint64_t silent_ms = (self->scan.now_ns - channel->heard_ns) / KW_NS_PER_MS;
    const char *text = NULL;
    if (first->state == KW_ITEM_GONE) {
        text = silent_ms >= options->timeout_ms + options->stall_ms
                   ? "no answer to a command before it, for longer than the timeout"
                   : NULL;
    } else if (silent_ms >= options->stall_ms + options->grace_ms &&
               kw_pipeline_has_op(self, first) &&
               kw_driver_has_lost_owner(self->topology, &first->plan, &first->retry_state->op,
                                        channel->node)) {
        text = "no answer, and the slot belongs to another node now";
    }
    if (text != NULL) {
        kw_error_set(&self->scan.failure, KW_ERR_CLOSED, KW_EFFECT_MAYBE, "%s", text);
        kw_pipeline_fail_channel(self, channel, KW_ERR_CLOSED);
    }
}

/* A node that is silent for too long makes the map suspect. */
static void check_stalled(kw_pipeline *self)
{
    bool has_map = kw_driver_has_map(self->topology);
    if (!has_map && self->long_lived == NULL) {
        return;
    }
    for (size_t i = 0; i < self->channels_n; i++) {
        kw_channel *channel = self->channels[i];
        kw_item *first = channel->flight.head;
        if (first == NULL) {
            continue;
        }
        if (channel->look_ns == 0) {
            plan_look(self, channel);
        }
        if (self->scan.now_ns >= channel->look_ns) {
            plan_look(self, channel);
            if (has_map) {
                (void)kw_refresher_want(&self->topology->refresher);
            }
            check_silence(self, channel, first);
        }
    }
}

/* When the channel is to be looked at without its socket's word. */
static uint64_t channel_next_ns(const kw_channel *channel)
{
    if (channel->conn == NULL) {
        return channel->queue.head != NULL ? channel->retry_ns : UINT64_MAX;
    }
    if (channel->conn->state != KW_CONN_READY) {
        return channel->conn->deadline_ns;
    }
    return channel->flight.head != NULL && channel->look_ns > 0 ? channel->look_ns : UINT64_MAX;
}

/* The map's fetches, whose sockets a long-lived pipeline does not watch. */
static uint64_t lasting_next_ns(const kw_pipeline *self)
{
    const kw_pipeline_long_lived *long_lived = self->long_lived;
    uint64_t due_ns = atomic_load_explicit(&self->topology->refresher.due_ns, memory_order_relaxed);
    if (!kw_driver_has_map(self->topology)) {
        due_ns = UINT64_MAX;
    } else if (due_ns == 0) { /* one is under way */
        due_ns = self->scan.now_ns + (self->fetch > 0 ? MAP_LOOK_NS : FETCH_LOOK_NS);
    }
    due_ns = long_lived->due_ns < due_ns ? long_lived->due_ns : due_ns;
    return self->channels_n > 0 && long_lived->tidy_ns < due_ns ? long_lived->tidy_ns : due_ns;
}

uint64_t kw_pipeline_next_ns(const kw_pipeline *self)
{
    if (kw_pipeline_has_map_news(self)) {
        return self->scan.now_ns + 1;
    }
    uint64_t next_ns = self->sleepers.head != NULL ? self->wake_ns : UINT64_MAX;
    for (size_t i = 0; i < self->channels_n; i++) {
        uint64_t at_ns = channel_next_ns(self->channels[i]);
        next_ns = at_ns < next_ns ? at_ns : next_ns;
    }
    if (self->long_lived != NULL) {
        uint64_t at_ns = lasting_next_ns(self);
        next_ns = at_ns < next_ns ? at_ns : next_ns;
    }
    return next_ns > self->scan.now_ns ? next_ns : self->scan.now_ns + 1;
}

void kw_pipeline_advance(kw_pipeline *self)
{
    kw_pipeline_wake_all(self);
    kw_pipeline_expire(self);
    pump_all(self);
    check_stalled(self);
}

void kw_pipeline_end_all(kw_pipeline *self, kw_err code)
{
    kw_error_set(&self->scan.failure, KW_OK, KW_EFFECT_NONE, "no answer");
    for (size_t i = 0; i < self->channels_n; i++) {
        kw_pipeline_fail_channel(self, self->channels[i], code);
    }
    kw_items sleepers = self->sleepers;
    memset(&self->sleepers, 0, sizeof(self->sleepers));
    kw_item *item;
    while ((item = kw_items_pop(&sleepers)) != NULL) {
        if (kw_pipeline_has_op(self, item)) {
            kw_try_end end = {.code = code};
            kw_pipeline_fail_try(self, item, &end);
        }
    }
}

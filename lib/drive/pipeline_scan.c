/* SPDX-License-Identifier: BSD-3-Clause */
/* The turns of a pipeline: what is done in one, how long it may take, when the next one is due. */
#include "drive/pipeline_private.h"

#include "base/error.h"
#include "base/moment.h"

#include <string.h>

/* A turn ends after this time, once it looks at the clock. */
#define TURN_NS (6 * KW_NS_PER_MS)

/* While a fetch of the map is under way, a pipeline that cannot watch its socket looks again
 * after this; sooner where a command waits for the map. */
#define FETCH_LOOK_NS (10 * KW_NS_PER_MS)
#define MAP_LOOK_NS   (1 * KW_NS_PER_MS)

void kw_pipeline_init(kw_pipeline *self, kw_topology *topology)
{
    const kw_allocator *mem = &topology->env.mem;
    memset(self, 0, offsetof(kw_pipeline, few));
    self->channels = self->few;
    self->channels_capacity = sizeof(self->few) / sizeof(self->few[0]);
    for (size_t i = 0; i < KW_PIPELINE_INLINE; i++) {
        self->inlined[i].node = NULL;
    }
    self->topology = topology;
    self->scan.topology = topology;
    self->scan.failure.size = sizeof(self->scan.failure);
    self->changes_n = kw_refresher_changes_n(&topology->refresher);
    kw_heap_init(&self->timers, mem);
    kw_heap_init(&self->wakes, mem);
    kw_ordering_init(&self->ordering, mem, topology->env.options.is_order_strict);
    self->scan.now_ns = kw_env_now(&topology->env);
    self->turn_end_ns = self->scan.now_ns + TURN_NS;
    kw_random_init(&self->random, self->scan.now_ns ^ (uint64_t)(uintptr_t)self);
}

void kw_pipeline_live_long(kw_pipeline *self, kw_pipeline_long_lived *long_lived, bool is_unordered)
{
    self->long_lived = long_lived;
    self->is_unordered = is_unordered;
    kw_heap_init(&long_lived->due, &self->topology->env.mem);
    self->is_ordered = !self->is_unordered;
    self->scan.ordering = self->is_ordered ? &self->ordering : NULL;
}

void kw_pipeline_fini(kw_pipeline *self)
{
    while (self->channels_n > 0) {
        kw_pipeline_remove_channel(self, self->channels[self->channels_n - 1]);
    }
    if (self->channels != self->few) {
        kw_mem_free(&self->topology->env.mem, self->channels);
    }
    kw_mem_free(&self->topology->env.mem, self->shared.slots);
    kw_loss_unref(self->mapless_loss, &self->topology->env.mem);
    kw_loss_unref(self->noted, &self->topology->env.mem);
    self->channels = NULL;
    kw_heap_fini(&self->timers);
    kw_heap_fini(&self->wakes);
    kw_ordering_fini(&self->ordering);
    if (self->long_lived != NULL) {
        kw_heap_fini(&self->long_lived->due);
    }
}

void kw_pipeline_begin_turn(kw_pipeline *self)
{
    self->scan.now_ns = kw_env_now(&self->topology->env);
    self->turn_end_ns = self->scan.now_ns + TURN_NS;
    self->work_n = 0;
    self->is_late = false;
}

static void heed_map(kw_pipeline *self)
{
    uint64_t changes_n = kw_refresher_changes_n(&self->topology->refresher);
    if (!kw_pipeline_has_map_news(self)) {
        return;
    }
    self->fetch = 0;
    self->told = self->asleep.head;
    if (changes_n != self->changes_n) {
        self->changes_n = changes_n;
        kw_pipeline_on_map(self);
    }
}

void kw_pipeline_advance(kw_pipeline *self)
{
    heed_map(self);
    kw_pipeline_run_timers(self);
    kw_pipeline_wake(self);
    if (self->long_lived != NULL) {
        kw_pipeline_expire(self);
    }
    kw_pipeline_pump(self);
}

bool kw_pipeline_is_unfinished(const kw_pipeline *self)
{
    bool has_mapless = self->mapless.head != NULL && self->leader == NULL;
    return self->listed != NULL || self->routing.head != NULL || self->lost.head != NULL ||
           self->told != NULL || has_mapless || kw_pipeline_has_map_news(self);
}

/* When to look after a fetch of the map, whose socket a long-lived pipeline does not watch, and
 * after a map that others have published meanwhile: by it somebody else may have what is under way.
 */
static uint64_t map_ns(const kw_pipeline *self)
{
    if (self->long_lived == NULL || !kw_driver_has_map(self->topology)) {
        return UINT64_MAX;
    }
    uint64_t now_ns = self->scan.now_ns;
    uint64_t due_ns = atomic_load_explicit(&self->topology->refresher.due_ns, memory_order_relaxed);
    if (due_ns == 0) { /* one is under way */
        return now_ns + (self->fetch > 0 ? MAP_LOOK_NS : FETCH_LOOK_NS);
    }
    uint64_t stall_ns = self->topology->env.options.stall_ms * KW_NS_PER_MS;
    uint64_t look_ns = now_ns + (stall_ns > FETCH_LOOK_NS ? stall_ns : FETCH_LOOK_NS);
    return self->open_n > 0 ? kw_sooner(due_ns, look_ns) : due_ns;
}

uint64_t kw_pipeline_next_ns(const kw_pipeline *self)
{
    if (kw_pipeline_is_unfinished(self)) {
        return self->scan.now_ns + 1;
    }
    const uint64_t times[] = {
        kw_heap_first_ns(&self->wakes),
        kw_heap_first_ns(&self->timers),
        kw_pipeline_due_ns(self),
        map_ns(self),
        self->long_lived != NULL && self->channels_n > 0 ? self->long_lived->tidy_ns : UINT64_MAX,
    };
    uint64_t next_ns = UINT64_MAX;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        next_ns = times[i] < next_ns ? times[i] : next_ns;
    }
    return next_ns > self->scan.now_ns ? next_ns : self->scan.now_ns + 1;
}

/* Ends all commands of one list; each ends, or goes to another list, which comes later. */
static void end_list(kw_pipeline *self, kw_items *list, const kw_try_end *end)
{
    kw_item *item;
    while ((item = kw_items_pop(list)) != NULL) {
        item->state = KW_ITEM_ROUTING;
        if (kw_pipeline_has_op(self, item)) {
            kw_op *op = &item->retry_state->op;
            op->spec.deadline_ns = 0; /* nothing is waited for any more */
            kw_pipeline_apply(
                self, item,
                kw_driver_on_failed(self->topology, op, item->node, self->scan.now_ns, end));
        }
    }
}

static void end_sleepers(kw_pipeline *self, const kw_try_end *end)
{
    kw_items asleep = self->asleep;
    memset(&self->asleep, 0, sizeof(self->asleep));
    self->told = NULL;
    for (kw_item *item = asleep.head; item != NULL; item = item->next) {
        kw_heap_remove(&self->wakes, &item->retry_state->wake);
    }
    end_list(self, &asleep, end);
}

/* True for a connection that has answered everything: it may be used again, though others have not
 * kept the deadline. */
static bool is_at_rest(const kw_channel *channel)
{
    const kw_conn *conn = channel->conn;
    return conn != NULL && conn->state == KW_CONN_READY && conn->owners.count == 0 &&
           channel->flight.head == NULL && channel->queue.head == NULL;
}

/* Ends the commands of one channel, sent or not. */
static void end_channel(kw_pipeline *self, kw_channel *channel, kw_err code)
{
    kw_loss *queued = code == KW_ERR_TIMEOUT ? kw_pipeline_loss_of_queued(self, channel) : NULL;
    kw_item *item;
    while (queued != NULL && (item = channel->queue.head) != NULL) {
        kw_channel_dequeue(channel, item);
        if (item->retry_state == NULL) {
            item->node = channel->node;
        }
        kw_pipeline_fail_try(self, item, queued, false);
    }
    const kw_item *first = channel->flight.head;
    kw_error_set(&self->scan.failure, KW_OK, KW_EFFECT_NONE, "%s",
                 first != NULL ? kw_conn_silence(channel->conn, &first->request) : "no answer");
    bool is_kept = code == KW_ERR_TIMEOUT && is_at_rest(channel);
    if (!is_kept && (channel->conn != NULL || channel->queue.head != NULL)) {
        kw_pipeline_fail_channel(self, channel, code);
    }
}

/* Ends the commands that wait to be told of a loss, or for a connection that will not be. */
static void end_lost(kw_pipeline *self, const kw_try_end *end)
{
    kw_item *item;
    while ((item = kw_items_pop(&self->lost)) != NULL) {
        kw_loss *loss = item->loss;
        item->loss = NULL;
        kw_pipeline_fail_try(self, item, loss, item->has_left);
        kw_loss_unref(loss, &self->topology->env.mem);
    }
    end_sleepers(self, end);
    end_list(self, &self->routing, end);
}

void kw_pipeline_end_all(kw_pipeline *self, kw_err code)
{
    kw_try_end end = {.code = code};
    kw_error_set(&self->scan.failure, KW_OK, KW_EFFECT_NONE, "no answer");
    self->leader = NULL;
    for (size_t i = 0; i < self->channels_n; i++) {
        end_channel(self, self->channels[i], code);
    }
    end_lost(self, &end);
    end_list(self, &self->mapless, &end);
    end_list(self, &self->scan.held, &end);
    for (size_t i = 0; i < self->channels_n; i++) {
        kw_items queued = {NULL, NULL};
        kw_channel_take_queue(self->channels[i], &queued);
        end_list(self, &queued, &end);
    }
    end_lost(self, &end);
}

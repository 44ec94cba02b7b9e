/* SPDX-License-Identifier: BSD-3-Clause */
#include "drive/pipeline_private.h"

#include "base/error.h"

#include <string.h>

/* Connections that could not be looked at, since commands sleep, are looked at again after
 * this. */
#define TIDY_LATER_NS (100 * KW_NS_PER_MS)

static bool grow(kw_pipeline *self)
{
    size_t capacity = self->channels_capacity > 0 ? 2 * self->channels_capacity : 8;
    kw_channel **channels =
        kw_mem_resize(&self->topology->env.mem, self->channels, capacity, sizeof(channels[0]));
    if (channels == NULL) {
        return false;
    }
    self->channels = channels;
    self->channels_capacity = capacity;
    return true;
}

static kw_channel *add_channel(kw_pipeline *self, kw_node *node)
{
    if (self->channels_n == self->channels_capacity && !grow(self)) {
        return NULL;
    }
    kw_channel *channel = kw_mem_calloc(&self->topology->env.mem, 1, sizeof(*channel));
    if (channel != NULL) {
        channel->node = kw_node_ref(node);
        channel->watch.socket = -1;
        self->channels[self->channels_n++] = channel;
    }
    return channel;
}

kw_channel *kw_pipeline_channel(kw_pipeline *self, kw_node *node, bool is_exclusive)
{
    for (size_t i = self->channels_n; !is_exclusive && i > 0; i--) {
        kw_channel *channel = self->channels[i - 1];
        if (channel->node == node && !channel->is_exclusive) {
            return channel;
        }
    }
    kw_channel *channel = add_channel(self, node);
    if (channel != NULL && is_exclusive) {
        channel->is_exclusive = true;
        self->long_lived->exclusives_n++;
    }
    return channel;
}

/* What was kept for a late reply is not needed any more. */
static void drop(kw_pipeline *self, kw_item *item)
{
    kw_reply_free(item->request.reply);
    item->request.reply = NULL;
    item->state = KW_ITEM_ENDED;
    self->long_lived->on_dropped(self, item);
}

void kw_pipeline_collect(kw_pipeline *self, kw_channel *channel)
{
    kw_item *item;
    while ((item = kw_channel_answered(channel, self->scan.now_ns)) != NULL) {
        if (item->state == KW_ITEM_GONE) {
            drop(self, item);
        } else {
            kw_pipeline_on_answer(self, item);
        }
    }
}

/* A reply over a limit was one command's; to those behind it, its connection is lost. */
static kw_err code_behind(kw_pipeline *self, kw_err code)
{
    if (code != KW_ERR_LIMIT) {
        return code;
    }
    return kw_error_set(&self->scan.failure, KW_ERR_CLOSED, KW_EFFECT_NONE,
                        "the reply to a command before it was over a limit");
}

/* What was on the connection, and what was to follow. */
static void lose_all(kw_pipeline *self, kw_channel *channel, kw_items *flight, kw_items *queue,
                     kw_try_end *loss)
{
    kw_item *item;
    while ((item = kw_items_pop(flight)) != NULL) {
        loss->has_left = item->request.is_done;
        if (item->state == KW_ITEM_GONE) {
            drop(self, item);
        } else {
            kw_pipeline_on_lost(self, item, loss);
        }
        loss->code = code_behind(self, loss->code);
    }
    loss->code = code_behind(self, loss->code);
    loss->has_left = false;
    while ((item = kw_items_pop(queue)) != NULL) {
        item->node = channel->node; /* where it would have gone */
        kw_pipeline_on_lost(self, item, loss);
    }
}

void kw_pipeline_fail_channel(kw_pipeline *self, kw_channel *channel, kw_err code)
{
    /* With a reply too many, or garbage behind one, none that came with it is trusted. */
    if (code != KW_ERR_DESYNC && code != KW_ERR_PROTOCOL) {
        kw_pipeline_collect(self, channel);
    }
    kw_items flight = channel->flight;
    kw_items queue = channel->queue;
    memset(&channel->flight, 0, sizeof(channel->flight));
    memset(&channel->queue, 0, sizeof(channel->queue));
    kw_try_end loss = {code, channel->conn != NULL, channel->is_counted, false, 0};
    for (kw_item *item = flight.head; item != NULL; item = item->next) {
        item->request.is_done = kw_conn_has_sent(channel->conn, &item->request);
        if (item->retry_state != NULL && kw_conn_has_half(channel->conn, &item->request)) {
            kw_op_on_half_sent(&item->retry_state->op);
        }
    }
    if (channel->conn != NULL) {
        channel->conn->state = KW_CONN_DEAD;
    }
    bool is_internal = code == KW_ERR_TIMEOUT || code == KW_ERR_CANCELLED;
    kw_channel_release(channel, &self->scan, is_internal ? NULL : &self->scan.failure);
    channel->is_counted = false;
    lose_all(self, channel, &flight, &queue, &loss);
}

/* What has come. */
static void take(kw_pipeline *self, kw_channel *channel, kw_err code)
{
    if (code != KW_OK) {
        kw_pipeline_fail_channel(self, channel, code);
    } else {
        kw_pipeline_collect(self, channel);
    }
}

void kw_pipeline_on_ready(kw_pipeline *self, kw_channel *channel, short revents)
{
    if (channel->conn == NULL) {
        return;
    }
    take(self, channel, kw_channel_progress(channel, &self->scan, revents));
}

void kw_pipeline_go_on(kw_pipeline *self, kw_channel *channel)
{
    take(self, channel, kw_conn_go_on(channel->conn, &self->scan.failure));
}

/* The deadline of one that waits to be sent: what it waits for is the obstacle. */
static void expire_queued(kw_pipeline *self, kw_channel *channel, kw_item *item)
{
    if (!kw_pipeline_has_op(self, item)) {
        return;
    }
    kw_try_end end = {KW_ERR_TIMEOUT, true, true, false, 0};
    const char *text = "the connection took nothing";
    if (channel->conn == NULL) {
        end.code = KW_ERR_POOL_FULL;
        end.was_opened = false;
        end.was_ready = false;
        text = "all connections stayed busy; raise pool-max or timeout";
    } else if (channel->conn->state != KW_CONN_READY) {
        end.was_ready = false;
        text = "the deadline came while connecting";
    }
    item->node = channel->node;
    kw_error_set(&item->retry_state->failure, end.code, KW_EFFECT_NONE, "%s", text);
    kw_pipeline_fail_try(self, item, &end);
}

static void expire_queue(kw_pipeline *self, kw_channel *channel)
{
    kw_items queue = channel->queue;
    memset(&channel->queue, 0, sizeof(channel->queue));
    kw_item *item;
    while ((item = kw_items_pop(&queue)) != NULL) {
        uint64_t deadline_ns = item->plan.deadline_ns;
        if (self->scan.now_ns >= deadline_ns) {
            expire_queued(self, channel, item);
        } else {
            kw_items_push(&channel->queue, item);
            self->long_lived->due_ns =
                deadline_ns < self->long_lived->due_ns ? deadline_ns : self->long_lived->due_ns;
        }
    }
}

/* One on the connection stays there: its late reply is nobody else's. */
static void expire_flight(kw_pipeline *self, kw_channel *channel)
{
    for (kw_item *item = channel->flight.head; item != NULL; item = item->next) {
        uint64_t deadline_ns = item->plan.deadline_ns;
        if (item->state == KW_ITEM_GONE || item->request.is_done) {
            continue;
        }
        if (self->scan.now_ns < deadline_ns) {
            self->long_lived->due_ns =
                deadline_ns < self->long_lived->due_ns ? deadline_ns : self->long_lived->due_ns;
            continue;
        }
        if (kw_pipeline_has_op(self, item)) {
            kw_error_set(&item->retry_state->failure, KW_OK, KW_EFFECT_NONE, "no answer");
            kw_try_end end = {KW_ERR_TIMEOUT, true, true, true, 0};
            kw_pipeline_fail_try(self, item, &end);
        }
        item->state = KW_ITEM_GONE;
    }
}

void kw_pipeline_expire(kw_pipeline *self)
{
    if (self->long_lived == NULL || self->scan.now_ns < self->long_lived->due_ns) {
        return;
    }
    self->long_lived->due_ns = UINT64_MAX;
    for (size_t i = 0; i < self->channels_n; i++) {
        kw_channel *channel = self->channels[i];
        expire_queue(self, channel);
        expire_flight(self, channel);
        if (channel->is_exclusive && channel->flight.head != NULL &&
            channel->flight.head->state == KW_ITEM_GONE) {
            kw_pipeline_fail_channel(self, channel, KW_ERR_TIMEOUT); /* nobody else needs it */
        }
    }
}

static void remove_channel(kw_pipeline *self, size_t at)
{
    kw_channel *channel = self->channels[at];
    self->channels[at] = self->channels[--self->channels_n];
    self->long_lived->exclusives_n -= channel->is_exclusive ? 1 : 0;
    kw_channel_release(channel, &self->scan, NULL);
    kw_node_unref(channel->node);
    kw_mem_free(&self->topology->env.mem, channel);
}

static bool is_needless(const kw_pipeline *self, const kw_channel *channel,
                        const kw_snapshot *snapshot)
{
    if (channel->queue.head != NULL || channel->flight.head != NULL) {
        return false;
    }
    uint64_t idle_ns = self->topology->env.options.pool_idle_ms * KW_NS_PER_MS;
    return channel->is_exclusive || self->scan.now_ns > channel->heard_ns + idle_ns ||
           (snapshot != NULL &&
            kw_snapshot_find(snapshot, &channel->node->endpoint) != channel->node);
}

void kw_pipeline_tidy(kw_pipeline *self)
{
    kw_pipeline_long_lived *long_lived = self->long_lived;
    uint64_t changes_n = kw_refresher_changes_n(&self->topology->refresher);
    bool is_late = self->scan.now_ns >= long_lived->tidy_ns;
    bool is_due = long_lived->tidied_changes_n != changes_n || is_late;
    uint64_t pause_ns = self->topology->env.options.pool_idle_ms * KW_NS_PER_MS / 2 + 1;
    /* A sleeper may name the node of a channel that has nothing to do. */
    if ((!is_due && long_lived->exclusives_n == 0) || self->sleepers.head != NULL) {
        if (is_late) { /* else it would be due all the time */
            pause_ns = pause_ns < TIDY_LATER_NS ? pause_ns : TIDY_LATER_NS;
            long_lived->tidy_ns = self->scan.now_ns + pause_ns;
        }
        return;
    }
    kw_snapshot *snapshot = is_due ? kw_topology_snapshot(self->topology) : NULL;
    for (size_t i = self->channels_n; i > 0; i--) {
        if (is_needless(self, self->channels[i - 1], snapshot)) {
            remove_channel(self, i - 1);
        }
    }
    kw_snapshot_unref(snapshot);
    if (is_due) {
        long_lived->tidied_changes_n = changes_n;
        long_lived->tidy_ns = self->scan.now_ns + pause_ns;
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of a pipeline that wait for something else than their reply: a pause, a map, commands of
 * their keys, their deadline. Nothing here looks at more of them than it has something for. */
#include "drive/pipeline_private.h"

#include "base/error.h"
#include "drive/pin.h"

#include <string.h>

/* Goes on with a command whose op has waited long enough. */
static void wake(kw_pipeline *self, kw_item *item)
{
    kw_retry_state *state = item->retry_state;
    kw_err code = KW_ERR_TIMEOUT;
    bool is_asleep = item->state == KW_ITEM_SLEEPING;
    uint64_t until_ns = state->wake.at_ns;
    kw_pipeline_remove_sleeper(self, item);
    item->state = KW_ITEM_ROUTING;
    if (is_asleep) {
        kw_pipeline_apply(self, item, kw_op_on_woke(&state->op, self->scan.now_ns));
        return;
    }
    if (kw_refresher_has_ended(&self->topology->refresher, state->op.fetch)) {
        kw_error failure = kw_error_none();
        code = kw_refresher_result(&self->topology->refresher, &failure);
        kw_pipeline_note(self, item, &failure);
    } else if (self->scan.now_ns < until_ns) {
        code = KW_OK; /* another map was published */
    }
    kw_pipeline_apply(self, item,
                      kw_driver_on_refreshed(self->topology, &state->op, self->scan.now_ns, code));
}

/* True where the news of a map, or of the end of a fetch, is for the sleeper. */
static bool is_told(kw_pipeline *self, const kw_item *item)
{
    kw_refresher *refresher = &self->topology->refresher;
    const kw_retry_state *state = item->retry_state;
    return (item->state == KW_ITEM_REFRESHING &&
            kw_refresher_has_ended(refresher, state->op.fetch)) ||
           (state->wakes_on_map && kw_refresher_changes_n(refresher) != state->changes_n);
}

static void tell_sleepers(kw_pipeline *self)
{
    for (size_t n = 0; self->told != NULL && kw_pipeline_may_work(self, n); n++) {
        kw_item *item = self->told;
        if (is_told(self, item)) {
            wake(self, item);
            continue;
        }
        self->told = item->next;
        kw_pipeline_note_fetch(self, item);
    }
}

static void wake_sleepers(kw_pipeline *self)
{
    for (size_t n = 0;
         kw_heap_first_ns(&self->wakes) <= self->scan.now_ns && kw_pipeline_may_work(self, n);
         n++) {
        kw_heap_entry *entry = kw_heap_first(&self->wakes);
        kw_retry_state *state =
            (kw_retry_state *)(void *)((char *)entry - offsetof(kw_retry_state, wake));
        wake(self, state->item);
    }
}

/* Fails a command like the one that waited for the first map before it: the reason is the same for
 * all. */
static void fail_mapless(kw_pipeline *self, kw_item *item)
{
    if (kw_pipeline_has_op(self, item)) {
        kw_op *op = &item->retry_state->op;
        kw_item_note(item, self->mapless_loss, &self->topology->env.mem);
        (void)kw_op_on_mapless(op, self->scan.now_ns);
        kw_pipeline_apply(
            self, item,
            kw_driver_on_refreshed(self->topology, op, self->scan.now_ns, self->mapless_code));
    }
}

static void go_on_without_map(kw_pipeline *self, const kw_snapshot *snapshot)
{
    for (size_t n = 0;
         self->mapless.head != NULL && self->leader == NULL && kw_pipeline_may_work(self, n); n++) {
        kw_item *item = kw_items_pop(&self->mapless);
        item->state = KW_ITEM_ROUTING;
        if (snapshot != NULL) {
            kw_pipeline_route(self, item, snapshot);
        } else if (self->mapless_code != KW_OK) {
            fail_mapless(self, item);
        } else {
            kw_items rest = self->mapless;
            memset(&self->mapless, 0, sizeof(self->mapless));
            kw_pipeline_wait_for_map(self, item);
            kw_items_append(&rest, &self->mapless);
            self->mapless = rest;
        }
    }
}

static void route_some(kw_pipeline *self, const kw_snapshot *snapshot)
{
    for (size_t n = 0; self->routing.head != NULL && kw_pipeline_may_work(self, n); n++) {
        kw_pipeline_route(self, kw_items_pop(&self->routing), snapshot);
    }
}

static void tell_lost(kw_pipeline *self)
{
    for (size_t n = 0; self->lost.head != NULL && kw_pipeline_may_work(self, n); n++) {
        kw_item *item = kw_items_pop(&self->lost);
        kw_loss *loss = item->loss;
        item->loss = NULL;
        kw_pipeline_fail_try(self, item, loss, item->has_left);
        kw_loss_unref(loss, &self->topology->env.mem);
    }
}

void kw_pipeline_wake(kw_pipeline *self)
{
    tell_lost(self);
    wake_sleepers(self);
    tell_sleepers(self);
    if (self->mapless.head != NULL || self->routing.head != NULL) {
        kw_snapshot *snapshot = kw_topology_snapshot(self->topology);
        go_on_without_map(self, snapshot);
        route_some(self, snapshot);
        kw_snapshot_unref(snapshot);
    }
}

static void fail_cancelled(kw_pipeline *self, kw_item *item, bool has_left)
{
    kw_loss *loss = kw_pipeline_loss_of_cancelled(self, item, has_left);
    kw_pipeline_fail_try(self, item, loss, has_left);
    kw_loss_unref(loss, &self->topology->env.mem);
}

/* Ends a command that is on a connection, and leaves its place there: the late reply is no other
 * command's. */
static void expire_sent(kw_pipeline *self, kw_item *item)
{
    kw_channel *channel = item->channel;
    if (channel->pin != NULL) {
        channel->pin->is_lost = true; /* it ends with its command */
    }
    if (kw_item_is_cancelled(item)) {
        fail_cancelled(self, item, true);
    } else {
        kw_pipeline_fail_try(self, item, kw_pipeline_loss_of_late(self, channel, item), true);
    }
    item->state = KW_ITEM_GONE;
    if (channel->is_exclusive) {
        kw_pipeline_fail_channel(self, channel, KW_ERR_TIMEOUT); /* nobody else needs it */
    } else if (channel->flight.head == item) {
        kw_patience_on_left(&channel->patience, self->scan.now_ns);
        kw_pipeline_set_timer(self, channel, kw_patience_next_ns(&channel->patience));
    }
}

static void expire_queued(kw_pipeline *self, kw_item *item)
{
    kw_channel *channel = item->channel;
    if (item->retry_state == NULL) {
        item->node = channel->node;
    }
    kw_pipeline_fail_try(self, item, kw_pipeline_loss_of_queued(self, channel), false);
}

static void expire_held(kw_pipeline *self, kw_item *item)
{
    if (item->is_pause) {
        kw_pipeline_end_item(self, item, KW_ERR_TIMEOUT);
        return;
    }
    kw_try_end end = {.code = KW_ERR_TIMEOUT};
    kw_error_set(&self->scan.failure, KW_OK, KW_EFFECT_NONE,
                 kw_pin_command_of(item) != NULL ? "it waited for an earlier command of its session"
                                                 : "it waited for an earlier command of its key");
    kw_loss *loss = kw_pipeline_new_loss(self, &end, NULL);
    kw_pipeline_fail_try(self, item, loss, false);
    kw_loss_unref(loss, &self->topology->env.mem);
}

/* Ends a command that was given up, and is in no list any more. */
static void end_unsent(kw_pipeline *self, kw_item *item)
{
    kw_loss *before = item->loss; /* of one that was lost, and not told yet */
    bool has_left = item->state == KW_ITEM_LOST && item->has_left;
    item->loss = NULL;
    fail_cancelled(self, item, has_left);
    kw_loss_unref(before, &self->topology->env.mem);
}

/* Ends a command whose deadline has come, wherever it is. */
static void expire(kw_pipeline *self, kw_item *item)
{
    kw_item_state state = item->state;
    uint64_t now_ns = self->scan.now_ns;
    bool is_cancelled = kw_item_is_cancelled(item);
    if ((state == KW_ITEM_SLEEPING || state == KW_ITEM_REFRESHING) && !is_cancelled) {
        wake(self, item);
        return;
    }
    kw_pipeline_unlist(self, item);
    if (is_cancelled && state != KW_ITEM_SENT) {
        end_unsent(self, item);
        return;
    }
    switch (state) {
    case KW_ITEM_QUEUED:
        expire_queued(self, item);
        break;
    case KW_ITEM_SENT:
        expire_sent(self, item);
        break;
    case KW_ITEM_HELD:
        expire_held(self, item);
        break;
    case KW_ITEM_MAPLESS:
    case KW_ITEM_ROUTING:
        if (kw_pipeline_has_op(self, item)) {
            kw_op *op = &item->retry_state->op;
            kw_error failure = kw_error_none();
            (void)kw_refresher_result(&self->topology->refresher, &failure);
            kw_pipeline_note(self, item, &failure);
            kw_pipeline_apply(self, item, kw_driver_on_mapless(self->topology, op, now_ns));
        }
        break;
    case KW_ITEM_LOST: {
        kw_loss *loss = item->loss;
        item->loss = NULL;
        kw_pipeline_fail_try(self, item, loss, item->has_left);
        kw_loss_unref(loss, &self->topology->env.mem);
        break;
    }
    case KW_ITEM_NEW:
    case KW_ITEM_SLEEPING:
    case KW_ITEM_REFRESHING:
    case KW_ITEM_ENDED:
    case KW_ITEM_GONE:
        break;
    }
}

void kw_pipeline_expire(kw_pipeline *self)
{
    for (size_t n = 0;
         kw_pipeline_due_ns(self) <= self->scan.now_ns && kw_pipeline_may_work(self, n); n++) {
        kw_item *item = kw_pipeline_first_due(self->long_lived);
        kw_pipeline_unwatch_deadline(self, item);
        if (self->scan.now_ns < kw_item_deadline_ns(item)) {
            (void)kw_pipeline_watch_deadline(self, item); /* it has its place meanwhile */
            continue;
        }
        expire(self, item);
    }
}

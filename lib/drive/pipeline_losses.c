/* SPDX-License-Identifier: BSD-3-Clause */
/* What becomes of a pipeline's commands when their connection ends, or none can be had: each is
 * told in its turn, waits on for another connection, or is sent again in the order of its key. */
#include "drive/pipeline_private.h"

#include "base/error.h"
#include "drive/pin.h"

#include <string.h>

/* Frees what was kept for a late reply that nobody waits for any more. */
static void drop(kw_pipeline *self, kw_item *item)
{
    kw_reply_free(item->request.reply);
    item->request.reply = NULL;
    item->state = KW_ITEM_ENDED;
    self->long_lived->on_dropped(self, item);
}

void kw_pipeline_collect(kw_pipeline *self, kw_channel *channel)
{
    kw_item *item = kw_channel_answered(channel);
    if (item == NULL) {
        return;
    }
    bool is_many = kw_pipeline_has_many(channel);
    for (size_t n = 0; item != NULL; item = kw_channel_answered(channel)) {
        if (is_many) {
            kw_pipeline_look_ahead(channel, n++);
        }
        if (item->state == KW_ITEM_GONE) {
            drop(self, item);
        } else {
            kw_pipeline_on_answer(self, item);
        }
    }
    kw_channel_on_heard(channel, self->scan.now_ns);
}

/* True where the callers' time is over, or they are not wanted any more. */
static bool is_of_time(kw_err code)
{
    return code == KW_ERR_TIMEOUT || code == KW_ERR_CANCELLED;
}

/* True for a loss after which another connection may do. */
static bool may_pass(kw_err code)
{
    return code == KW_ERR_CONNECT || code == KW_ERR_RESOLVE || code == KW_ERR_HANDSHAKE ||
           code == KW_ERR_ROLE || code == KW_ERR_IDENTITY || code == KW_ERR_CLOSED ||
           code == KW_ERR_POOL_FULL;
}

static void put_lost(kw_pipeline *self, kw_items *lost, kw_item *item, kw_loss *loss)
{
    item->state = KW_ITEM_LOST;
    kw_item_note(item, loss, &self->topology->env.mem);
    kw_items_push_front(lost, item);
}

/* Sorts a command that was on the connection; they come last one first. */
static void sort_sent(kw_pipeline *self, kw_channel *channel, kw_item *item, kw_items *lost,
                      kw_loss *loss)
{
    bool is_again = !item->has_left;
    kw_reply_free(item->request.reply);
    item->request.reply = NULL;
    item->is_overtaken = false;
    if (item->has_left && self->is_ordered) {
        is_again = kw_ordering_on_lost(&self->ordering, &item->ordered, item->plan.is_repeatable);
        item->is_overtaken = !is_again;
    }
    if (is_again && self->is_ordered) {
        kw_ordering_on_back(&self->ordering, &item->ordered);
    }
    bool is_kept = item->retry_state == NULL && !item->has_left && !item->has_half &&
                   loss != NULL && may_pass(loss->end.code) && kw_channel_keeps(&self->scan, item);
    if (is_kept) {
        item->sends_n--;
        item->node = NULL;
        item->is_choosy = false;
        kw_channel_put_back(channel, item);
    } else {
        put_lost(self, lost, item, loss);
    }
}

/* Sorts the commands that were on the connection. The first one's loss may be its own: a reply over
 * a limit. */
static void sort_flight(kw_pipeline *self, kw_channel *channel, kw_loss *loss, kw_loss *behind)
{
    kw_items lost = {NULL, NULL};
    kw_item *item = channel->flight.tail;
    memset(&channel->flight, 0, sizeof(channel->flight));
    while (item != NULL) {
        kw_item *before = item->before;
        if (item->state == KW_ITEM_GONE) {
            drop(self, item);
        } else {
            sort_sent(self, channel, item, &lost, before == NULL ? loss : behind);
        }
        item = before;
    }
    kw_items_append(&self->lost, &lost);
    kw_pipeline_take_freed(self);
}

/* The node is not waited for: what is queued is told so. code: why no connection was had. */
static bool is_hopeless(kw_pipeline *self, kw_channel *channel, kw_err code)
{
    return kw_failure_watch_check(self->topology, channel->node, self->scan.now_ns,
                                  &channel->hope_ns) == KW_ADMITTED_NOT ||
           kw_driver_is_nameless(self->topology, code);
}

/* Sorts the commands that were to follow on the connection. */
static void sort_queue(kw_pipeline *self, kw_channel *channel, kw_loss *behind)
{
    bool is_final = behind == NULL || !may_pass(behind->end.code) ||
                    is_hopeless(self, channel, behind->end.code);
    if (!is_final && channel->choosy_n == 0) {
        return;
    }
    kw_items lost = {NULL, NULL};
    kw_item *item = channel->queue.tail;
    while (item != NULL) {
        kw_item *before = item->before;
        if (is_final || item->is_choosy) {
            kw_channel_dequeue(channel, item);
            item->has_left = false;
            item->has_half = false;
            if (item->retry_state == NULL) {
                item->node = channel->node; /* where it would have gone */
            }
            put_lost(self, &lost, item, behind);
        }
        item = before;
    }
    kw_items_append(&self->lost, &lost);
}

/* Where a reply over a limit ended the connection: the command that it was for is told so; those
 * behind it are told that the connection was lost. So it is with a part of a reply at the deadline.
 */
static kw_loss *loss_behind(kw_pipeline *self, kw_channel *channel, kw_loss *loss)
{
    if (loss != NULL && is_of_time(loss->end.code) && channel->flight.head != NULL) {
        const char *text = kw_conn_silence(channel->conn, NULL);
        if (strcmp(text, loss->failure.text) == 0) {
            return kw_loss_ref(loss);
        }
        kw_error_set(&self->scan.failure, KW_OK, KW_EFFECT_NONE, "%s", text);
        return kw_pipeline_new_loss(self, &loss->end, channel->node);
    }
    if (loss == NULL || loss->end.code != KW_ERR_LIMIT) {
        return loss != NULL ? kw_loss_ref(loss) : NULL;
    }
    kw_try_end end = loss->end;
    end.code = KW_ERR_CLOSED;
    kw_error_set(&self->scan.failure, KW_ERR_CLOSED, KW_EFFECT_NONE,
                 "the reply to a command before it was over a limit");
    return kw_pipeline_new_loss(self, &end, channel->node);
}

static void give_up_conn(kw_pipeline *self, kw_channel *channel, kw_err code)
{
    for (kw_item *item = channel->flight.head; item != NULL; item = item->next) {
        item->has_left = kw_conn_has_sent(channel->conn, &item->request);
        item->has_half = kw_conn_has_half(channel->conn, &item->request);
    }
    if (channel->conn != NULL) {
        channel->conn->state = KW_CONN_DEAD;
    }
    kw_channel_release(channel, &self->scan, is_of_time(code) ? NULL : &self->scan.failure);
}

void kw_pipeline_tell_channel(kw_pipeline *self, kw_channel *channel, kw_err code)
{
    const kw_allocator *mem = &self->topology->env.mem;
    /* With a reply too many, or garbage behind one, none that came with it is trusted. */
    if (code != KW_ERR_DESYNC && code != KW_ERR_PROTOCOL) {
        kw_pipeline_collect(self, channel);
    }
    if (channel->queue.head != NULL || channel->flight.head != NULL) {
        (void)kw_pipeline_need_ordering(self);
    }
    if (channel->pin != NULL && channel->flight.head != NULL) {
        channel->pin->is_lost = true;
    }
    kw_try_end end = {code, channel->conn != NULL, channel->is_counted, false, channel->retry_ns};
    kw_loss *loss = kw_pipeline_new_loss(self, &end, channel->node);
    kw_loss *behind = loss_behind(self, channel, loss);
    give_up_conn(self, channel, code);
    sort_flight(self, channel, loss, behind);
    channel->hope_ns = UINT64_MAX; /* what the failure before said */
    sort_queue(self, channel, behind);
    kw_loss_unref(loss, mem);
    kw_loss_unref(channel->loss, mem);
    channel->loss = behind;
    channel->failure = code;
    if (channel->queue.head != NULL) {
        kw_step step = {.wants_refresh = true};
        kw_driver_heed(self->topology, NULL, &step);
    }
    kw_pipeline_list_channel(self, channel);
}

void kw_pipeline_fail_channel(kw_pipeline *self, kw_channel *channel, kw_err code)
{
    kw_pipeline_tell_channel(self, channel, code);
    uint64_t again_ns = self->scan.now_ns + kw_backoff_next(&channel->backoff, &self->random);
    channel->retry_ns = kw_later(channel->retry_ns, again_ns);
}

/* Takes what has come: whole replies first, then the failure behind them. */
static void take(kw_pipeline *self, kw_channel *channel, kw_err code)
{
    if (code != KW_OK) {
        kw_pipeline_fail_channel(self, channel, code);
    } else {
        kw_pipeline_collect(self, channel);
    }
    kw_pipeline_list_channel(self, channel);
}

void kw_pipeline_on_ready(kw_pipeline *self, kw_channel *channel, short revents)
{
    if (channel->conn != NULL) {
        take(self, channel, kw_channel_progress(channel, &self->scan, revents));
    }
}

void kw_pipeline_go_on(kw_pipeline *self, kw_channel *channel)
{
    take(self, channel, kw_conn_go_on(channel->conn, &self->scan.failure));
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "drive/pipeline_private.h"

#include "base/error.h"

#include <string.h>

void kw_item_fini(kw_item *item, const kw_allocator *mem)
{
    kw_reply_free(item->request.reply);
    item->request.reply = NULL;
    kw_mem_free(mem, item->retry_state);
    item->retry_state = NULL;
    kw_plan_fini(&item->plan);
}

void kw_pipeline_end_item(kw_pipeline *self, kw_item *item, kw_err code)
{
    kw_pipeline_long_lived *long_lived = self->long_lived;
    item->state = KW_ITEM_ENDED;
    item->code = code;
    if (code != KW_OK) {
        kw_reply_free(item->request.reply);
        item->request.reply = NULL;
    }
    self->open_n--;
    if (long_lived != NULL) {
        long_lived->by_slot[kw_pipeline_place(&item->plan)]--;
        long_lived->fenced_n -= item->order < long_lived->fence_order ? 1 : 0;
        long_lived->retried_n -= item->retry_state != NULL ? 1 : 0;
        long_lived->on_ended(self, item);
    }
}

/* Without memory for the op a command ends where it is. */
static void end_without_memory(kw_pipeline *self, kw_item *item)
{
    if (item->retry_state != NULL) {
        kw_error_set(&item->retry_state->failure, KW_ERR_NOMEM, item->retry_state->op.effect,
                     "no memory to go on with %s", item->plan.name);
    }
    kw_pipeline_end_item(self, item, KW_ERR_NOMEM);
}

/* The op of a command, brought to where the command is; NULL when there is no memory. */
static kw_op *need_op(kw_pipeline *self, kw_item *item)
{
    if (item->retry_state == NULL) {
        item->retry_state = kw_mem_calloc(&self->topology->env.mem, 1, sizeof(*item->retry_state));
        if (item->retry_state == NULL) {
            return NULL;
        }
        item->retry_state->failure.size = sizeof(item->retry_state->failure);
        kw_op_spec spec = kw_driver_spec(self->topology, &item->plan);
        (void)kw_op_start(&item->retry_state->op, &spec, kw_random_next(&self->random));
        for (unsigned i = 0; i < item->sends_n; i++) {
            kw_op_on_send(&item->retry_state->op);
        }
        kw_driver_note_node(&item->retry_state->op, &item->plan, item->node);
        if (self->long_lived != NULL) {
            self->long_lived->retried_n++;
        }
    }
    return &item->retry_state->op;
}

static bool is_before(const kw_item *other, const kw_item *item)
{
    return other->order < item->order && kw_plan_is_ordered(&other->plan, &item->plan) &&
           !other->plan.is_blocking && other->state != KW_ITEM_GONE;
}

/* An earlier command of the same keys that sleeps: order is kept behind it. */
static const kw_item *sleeper_before(const kw_pipeline *self, const kw_item *item)
{
    for (const kw_item *other = self->sleepers.head; other != NULL; other = other->next) {
        if (is_before(other, item)) {
            return other;
        }
    }
    return NULL;
}

/* Sent once more, or about to be. */
static bool is_again(const kw_item *item)
{
    return item->sends_n > (item->state == KW_ITEM_SENT ? 1 : 0);
}

static bool is_one_before(const kw_items *list, const kw_item *item, bool is_other_node)
{
    for (const kw_item *other = list->head; other != NULL; other = other->next) {
        if ((is_other_node || (item->sends_n == 0 && is_again(other))) && is_before(other, item)) {
            return true;
        }
    }
    return false;
}

/* An earlier command of the same keys that may run after this one: it is at another node, by
 * an older map, or it was refused before and may be again. */
static bool is_overtaking(const kw_pipeline *self, const kw_item *item, const kw_node *node)
{
    bool is_fenced = self->long_lived->fenced_n > 0;
    if (!is_fenced && self->long_lived->retried_n == 0) {
        return false;
    }
    for (size_t i = 0; i < self->channels_n; i++) {
        const kw_channel *channel = self->channels[i];
        bool is_other = is_fenced && channel->node != node;
        if (!channel->is_exclusive && (is_one_before(&channel->flight, item, is_other) ||
                                       is_one_before(&channel->queue, item, is_other))) {
            return true;
        }
    }
    return false;
}

void kw_pipeline_put(kw_pipeline *self, kw_item *item, kw_node *node)
{
    bool is_exclusive = self->long_lived != NULL && item->plan.is_blocking;
    kw_channel *channel = kw_pipeline_channel(self, node, is_exclusive);
    if (channel == NULL) {
        end_without_memory(self, item);
        return;
    }
    if (self->long_lived != NULL && item->plan.deadline_ns < self->long_lived->due_ns) {
        self->long_lived->due_ns = item->plan.deadline_ns;
    }
    item->state = KW_ITEM_QUEUED;
    kw_items_push(&channel->queue, item);
}

/* Sleepers stay in the order of the commands, which is mostly the order they come in. */
static void push_sleeper(kw_pipeline *self, kw_item *item)
{
    self->wake_ns = item->wake_ns < self->wake_ns ? item->wake_ns : self->wake_ns;
    self->has_fenced = self->has_fenced || item->is_fenced;
    if (item->wakes_on_map && item->changes_n != self->changes_n) {
        self->wake_ns = 0; /* the map that it waits for may be here already */
    }
    if (item->state == KW_ITEM_REFRESHING && (self->fetch == 0 || item->fetch < self->fetch)) {
        self->fetch = item->fetch;
    }
    kw_item **link = &self->sleepers.head;
    if (self->sleepers.tail == NULL || self->sleepers.tail->order < item->order) {
        kw_items_push(&self->sleepers, item);
        return;
    }
    while ((*link)->order < item->order) {
        link = &(*link)->next;
    }
    item->next = *link;
    *link = item;
}

/* before NULL: until those that are elsewhere have ended. */
static void put_behind(kw_pipeline *self, kw_item *item, const kw_item *before)
{
    uint64_t deadline_ns = item->plan.deadline_ns;
    item->state = KW_ITEM_BEHIND;
    item->is_fenced = before == NULL || before->is_fenced;
    item->wake_ns = before != NULL && before->wake_ns < deadline_ns ? before->wake_ns : deadline_ns;
    item->wakes_on_map = before != NULL && before->wakes_on_map;
    item->changes_n = before != NULL ? before->changes_n : self->changes_n;
    push_sleeper(self, item);
}

bool kw_pipeline_is_held_up(kw_pipeline *self, kw_item *item, const kw_node *node)
{
    const kw_pipeline_long_lived *long_lived = self->long_lived;
    if (item->plan.is_blocking ||
        (long_lived != NULL && long_lived->by_slot[kw_pipeline_place(&item->plan)] < 2)) {
        return false;
    }
    const kw_item *before = self->sleepers.head != NULL ? sleeper_before(self, item) : NULL;
    bool is_fenced =
        before == NULL && node != NULL && long_lived != NULL && is_overtaking(self, item, node);
    if (before == NULL && !is_fenced) {
        return false;
    }
    put_behind(self, item, before);
    return true;
}

static bool is_past_deadline(const kw_pipeline *self, const kw_item *item)
{
    return self->long_lived != NULL && self->scan.now_ns >= item->plan.deadline_ns;
}

/* Where the last SEND step, or the map, sends the command. */
void kw_pipeline_route(kw_pipeline *self, kw_item *item)
{
    item->is_fenced = false;
    if (!is_past_deadline(self, item) && kw_pipeline_is_held_up(self, item, NULL)) {
        return;
    }
    item->changes_n = kw_refresher_changes_n(&self->topology->refresher);
    kw_op *op = need_op(self, item);
    if (op == NULL) {
        end_without_memory(self, item);
        return;
    }
    if (is_past_deadline(self, item)) {
        kw_try_end end = {.code = KW_ERR_TIMEOUT};
        kw_pipeline_fail_try(self, item, &end);
        return;
    }
    kw_step step = {.kind = KW_STEP_SEND, .is_redirected = item->is_redirected};
    kw_node *node = kw_driver_choose(self->topology, &item->plan, op, &step);
    if (node == NULL) {
        kw_pipeline_apply(self, item, kw_driver_on_unserved(self->topology, op, self->scan.now_ns));
        return;
    }
    if (item->is_map_only) {
        kw_pipeline_end_item(self, item, KW_OK);
    } else if (!kw_pipeline_is_held_up(self, item, node)) {
        kw_pipeline_put(self, item, node);
    }
    kw_node_unref(node); /* the channel has its own reference */
}

static void fail_item(kw_pipeline *self, kw_item *item, const kw_step *step)
{
    kw_error story = KW_ERROR_INIT;
    kw_driver_story told = {&item->plan, step, &item->retry_state->failure, item->node,
                            item->sends_n};
    kw_driver_explain(self->topology, &story, &told);
    item->retry_state->failure = story;
    kw_pipeline_end_item(self, item, step->code);
}

static void put_to_sleep(kw_pipeline *self, kw_item *item, const kw_step *step, kw_item_state state)
{
    item->state = state;
    item->wake_ns = step->until_ns;
    item->wakes_on_map = step->wakes_on_map;
    push_sleeper(self, item);
}

/* Does what the op of the command says. */
void kw_pipeline_apply(kw_pipeline *self, kw_item *item, kw_step step)
{
    step = kw_driver_temper(self->topology, &item->retry_state->op, item->node, step);
    uint64_t fetch = kw_driver_heed(self->topology, &item->retry_state->op, &step);
    item->fetch = fetch > 0 ? fetch : item->fetch;
    switch (step.kind) {
    case KW_STEP_SEND:
        item->is_redirected = step.is_redirected;
        item->is_asking = step.is_asking;
        kw_pipeline_route(self, item);
        break;
    case KW_STEP_SLEEP:
        put_to_sleep(self, item, &step, KW_ITEM_SLEEPING);
        break;
    case KW_STEP_REFRESH:
        put_to_sleep(self, item, &step, KW_ITEM_REFRESHING);
        break;
    case KW_STEP_DONE:
        kw_pipeline_end_item(self, item, KW_OK);
        break;
    case KW_STEP_FAIL:
        fail_item(self, item, &step);
        break;
    }
}

/* A command whose op is asked for the first time; true where it has one. */
bool kw_pipeline_has_op(kw_pipeline *self, kw_item *item)
{
    if (need_op(self, item) != NULL) {
        return true;
    }
    end_without_memory(self, item);
    return false;
}

void kw_pipeline_on_answer(kw_pipeline *self, kw_item *item)
{
    kw_node_well(item->node);
    if (!kw_reply_is_error(item->request.reply)) {
        kw_pipeline_end_item(self, item, KW_OK); /* as the op says of everything that is no error */
        return;
    }
    if (!kw_pipeline_has_op(self, item)) {
        return;
    }
    kw_step step =
        kw_driver_on_reply(self->topology, &item->plan, &item->retry_state->op, item->node,
                           self->scan.now_ns, item->request.reply, &item->retry_state->failure);
    if (step.kind != KW_STEP_DONE) {
        kw_reply_free(item->request.reply);
        item->request.reply = NULL;
    }
    kw_pipeline_apply(self, item, step);
}

void kw_pipeline_fail_try(kw_pipeline *self, kw_item *item, const kw_try_end *end)
{
    kw_op *op = &item->retry_state->op;
    kw_step step = kw_driver_on_failed(self->topology, op, item->node, self->scan.now_ns, end);
    item->sends_n = op->sends_n; /* of what did not leave it counts nothing */
    kw_pipeline_apply(self, item, step);
}

void kw_pipeline_on_lost(kw_pipeline *self, kw_item *item, const kw_try_end *end)
{
    if (!kw_pipeline_has_op(self, item)) {
        return;
    }
    item->retry_state->failure = self->scan.failure;
    kw_reply_free(item->request.reply);
    item->request.reply = NULL;
    kw_pipeline_fail_try(self, item, end);
}

/* A wait of an op that may be over. */
static bool is_woken(kw_pipeline *self, const kw_item *item)
{
    kw_refresher *refresher = &self->topology->refresher;
    if (self->scan.now_ns >= item->wake_ns || item->is_fenced) {
        return true;
    }
    if (item->state == KW_ITEM_REFRESHING && kw_refresher_has_ended(refresher, item->fetch)) {
        return true;
    }
    return item->wakes_on_map && kw_refresher_changes_n(refresher) != item->changes_n;
}

static void wake(kw_pipeline *self, kw_item *item)
{
    kw_error failure = KW_ERROR_INIT;
    kw_err code = KW_ERR_TIMEOUT;
    switch (item->state) {
    case KW_ITEM_SLEEPING:
        kw_pipeline_apply(self, item, kw_op_on_woke(&item->retry_state->op, self->scan.now_ns));
        break;
    case KW_ITEM_REFRESHING:
        if (kw_refresher_has_ended(&self->topology->refresher, item->fetch)) {
            code = kw_refresher_result(&self->topology->refresher, &failure);
            item->retry_state->failure = failure;
        } else if (self->scan.now_ns < item->wake_ns) {
            code = KW_OK; /* another map was published */
        }
        kw_pipeline_apply(self, item,
                          kw_op_on_refreshed(&item->retry_state->op, self->scan.now_ns, code));
        break;
    case KW_ITEM_BEHIND:
        kw_pipeline_route(self, item);
        break;
    case KW_ITEM_NEW:
    case KW_ITEM_QUEUED:
    case KW_ITEM_SENT:
    case KW_ITEM_ENDED:
    case KW_ITEM_GONE:
        break;
    }
}

bool kw_pipeline_has_map_news(const kw_pipeline *self)
{
    kw_refresher *refresher = &self->topology->refresher;
    return self->sleepers.head != NULL &&
           (self->changes_n != kw_refresher_changes_n(refresher) ||
            (self->fetch > 0 && kw_refresher_has_ended(refresher, self->fetch)));
}

/* True where a look at the sleepers may be worth it. */
static bool may_wake(const kw_pipeline *self)
{
    return self->scan.now_ns >= self->wake_ns || self->has_fenced || kw_pipeline_has_map_news(self);
}

void kw_pipeline_wake_all(kw_pipeline *self)
{
    if (self->sleepers.head == NULL || !may_wake(self)) {
        return;
    }
    self->wake_ns = UINT64_MAX;
    self->fetch = 0;
    self->has_fenced = false;
    self->changes_n = kw_refresher_changes_n(&self->topology->refresher);
    kw_items sleepers = self->sleepers;
    memset(&self->sleepers, 0, sizeof(self->sleepers));
    kw_item *item;
    while ((item = kw_items_pop(&sleepers)) != NULL) {
        if (is_woken(self, item)) {
            wake(self, item);
        } else {
            push_sleeper(self, item);
        }
    }
}

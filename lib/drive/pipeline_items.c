/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of one command of a pipeline: where it goes, what its reply means, how it ends. */
#include "drive/pipeline_private.h"

#include "base/error.h"
#include "drive/item_keys.h"
#include "drive/pin.h"

#include <string.h>

/* The one that waits for the first map has ended: how is told to those behind it, unless it was
 * but its own deadline. */
static void end_leader(kw_pipeline *self, const kw_item *item, kw_err code)
{
    self->leader = NULL;
    bool is_own = code == KW_OK || self->scan.now_ns >= item->plan.deadline_ns;
    self->mapless_code = is_own ? KW_OK : code;
}

/* What the ordering is told of a command that has ended. */
static kw_order_end order_end(const kw_item *item, kw_err code)
{
    if (code == KW_OK) {
        return KW_ORDER_RAN;
    }
    return item->effect == KW_EFFECT_NONE ? KW_ORDER_NOT_RUN : KW_ORDER_MAY_RUN;
}

/* The next command of a session begins, once it is routed. */
static void give_turn(kw_pipeline *self, kw_item *next)
{
    if (next != NULL) {
        next->state = KW_ITEM_ROUTING;
        kw_items_push(&self->routing, next);
    }
}

void kw_pipeline_end_item(kw_pipeline *self, kw_item *item, kw_err code)
{
    item->state = KW_ITEM_ENDED;
    item->code = code;
    if (kw_topology_observer(self->topology) != NULL) {
        kw_pipeline_show_end(self, item, code);
    }
    if (self->is_ordered) {
        kw_ordering_on_end(&self->ordering, &item->ordered, order_end(item, code));
        kw_pipeline_take_freed(self);
    }
    if (item == self->leader) {
        end_leader(self, item, code);
    }
    if (kw_pin_command_of(item) != NULL) {
        give_turn(self, kw_pin_on_end(self, item, code));
    }
    if (code != KW_OK) {
        self->has_failed = true;
        kw_topology_count_failure(self->topology, code, item->effect);
        kw_reply_free(item->request.reply);
        item->request.reply = NULL;
    }
    if (item->retry_state != NULL) {
        kw_node_unref(item->node);
    }
    item->node = NULL;
    self->open_n--;
    if (self->long_lived == NULL) {
        item->due_ns = self->scan.now_ns;
        return;
    }
    kw_pipeline_unwatch_deadline(self, item);
    item->due_ns = self->scan.now_ns;
    self->long_lived->on_ended(self, item);
}

/* Without memory for the op a command ends where it is. */
static void end_without_memory(kw_pipeline *self, kw_item *item)
{
    item->effect = item->sends_n > 0 ? KW_EFFECT_MAYBE : KW_EFFECT_NONE;
    if (item->retry_state != NULL) {
        item->effect = item->retry_state->op.effect;
    }
    kw_item_note(item, NULL, &self->topology->env.mem);
    kw_pipeline_end_item(self, item, KW_ERR_NOMEM);
}

/* Starts an op, and tells it where the command is. */
static void start_op(kw_pipeline *self, const kw_item *item, kw_op *op)
{
    kw_driver_spec(self->topology, &op->spec, &item->plan);
    op->spec.deadline_ns = kw_item_deadline_ns(item);
    (void)kw_op_start(op, &op->spec, kw_random_next(&self->random));
    for (unsigned i = 0; i < item->sends_n; i++) {
        kw_op_on_send(op);
    }
    kw_driver_note_node(op, &item->plan, item->node);
}

/* Memory for the op, with which a command may be sent again: the order of keys matters now. */
static bool need_retry_state(kw_pipeline *self, kw_item *item)
{
    if (!kw_pipeline_need_ordering(self)) {
        return false;
    }
    item->retry_state = kw_mem_calloc(&self->topology->env.mem, 1, sizeof(*item->retry_state));
    if (item->retry_state == NULL) {
        return false;
    }
    item->retry_state->item = item;
    item->retry_state->story = self->story; /* its own, if there is one */
    self->story = NULL;
    item->node = item->node != NULL ? kw_node_ref(item->node) : NULL;
    return true;
}

bool kw_pipeline_has_op(kw_pipeline *self, kw_item *item)
{
    if (item->retry_state != NULL) {
        return true;
    }
    if (!need_retry_state(self, item)) {
        end_without_memory(self, item);
        return false;
    }
    start_op(self, item, &item->retry_state->op);
    return true;
}

static void put(kw_pipeline *self, kw_item *item, kw_node *node)
{
    bool is_exclusive = self->long_lived != NULL && item->plan.is_blocking;
    kw_channel *channel = self->latest;
    if (kw_pin_command_of(item) != NULL) {
        channel = kw_pin_channel(self, item, node);
    } else if (channel == NULL || channel->node != node || is_exclusive) {
        channel = kw_pipeline_channel(self, node, is_exclusive);
    }
    if (channel == NULL) {
        end_without_memory(self, item);
        return;
    }
    kw_channel_put(channel, &self->scan, item);
    kw_pipeline_list_channel(self, channel);
}

/* Ends a command whose deadline came while it had no node. */
static void end_homeless(kw_pipeline *self, kw_item *item)
{
    if (kw_pipeline_has_op(self, item)) {
        kw_try_end end = {.code = kw_item_late_code(item)};
        kw_pipeline_apply(self, item,
                          kw_driver_on_failed(self->topology, &item->retry_state->op, item->node,
                                              self->scan.now_ns, &end));
    }
}

/* The node by the snapshot alone, as most commands need it; NULL: the op has to say more. */
static kw_node *look(kw_pipeline *self, const kw_item *item, const kw_snapshot *snapshot)
{
    if (item->retry_state != NULL || item->is_redirected) {
        return NULL;
    }
    kw_node *node =
        snapshot != NULL ? kw_driver_look(snapshot, &item->plan, &self->random) : item->plan.node;
    return node != NULL && !kw_node_faults_is_down(&node->faults) ? node : NULL;
}

static void fail_item(kw_pipeline *self, kw_item *item, const kw_step *step)
{
    if (item == self->leader) {
        kw_loss_unref(self->mapless_loss, &self->topology->env.mem);
        self->mapless_loss = item->loss != NULL ? kw_loss_ref(item->loss) : NULL;
    }
    kw_pipeline_explain(self, item, step);
    kw_pipeline_end_item(self, item, step->code);
}

/* The reference to the node is given. */
static void send_to(kw_pipeline *self, kw_item *item, kw_node *node)
{
    if (item->is_map_only) {
        kw_pipeline_end_item(self, item, KW_OK);
    } else {
        self->leader = item != self->leader ? self->leader : NULL;
        put(self, item, node);
    }
    kw_node_unref(node); /* the channel has its own reference */
}

static void route_by_op(kw_pipeline *self, kw_item *item)
{
    kw_retry_state *state = item->retry_state;
    state->changes_n = kw_refresher_changes_n(&self->topology->refresher);
    if (kw_pin_binds(item) && state->pin->session.conn != NULL) {
        item->is_asking = false;
        put(self, item, state->pin->session.node);
        return;
    }
    kw_step step = {.kind = KW_STEP_SEND, .is_redirected = item->is_redirected};
    kw_node *node = kw_driver_choose(self->topology, &item->plan, &state->op, &step);
    if (node == NULL) {
        kw_pipeline_apply(
            self, item,
            kw_driver_on_unserved(self->topology, &item->plan, &state->op, self->scan.now_ns));
        return;
    }
    send_to(self, item, node);
}

/* Routes a command that has no op yet, whose node cannot simply be had. Most that end so end here:
 * they need no memory for it. */
static void route_first(kw_pipeline *self, kw_item *item)
{
    kw_op op;
    kw_step step = {.kind = KW_STEP_SEND};
    uint64_t changes_n = kw_refresher_changes_n(&self->topology->refresher);
    start_op(self, item, &op);
    kw_node *node = kw_driver_choose(self->topology, &item->plan, &op, &step);
    if (node == NULL) {
        step = kw_driver_on_unserved(self->topology, &item->plan, &op, self->scan.now_ns);
        step = kw_driver_temper(self->topology, &op, item->node, step);
    }
    if (step.kind == KW_STEP_FAIL) {
        kw_driver_heed(self->topology, &op, &step);
        fail_item(self, item, &step);
    } else if (!need_retry_state(self, item)) {
        end_without_memory(self, item);
        kw_node_unref(node);
    } else {
        item->retry_state->op = op;
        item->retry_state->changes_n = changes_n;
        if (node != NULL) {
            send_to(self, item, node);
        } else {
            kw_pipeline_apply(self, item, step);
        }
    }
}

/* Begins a session's command whose turn has come; false where it has ended by that. */
static bool has_begun(kw_pipeline *self, kw_item *item)
{
    const kw_pin_command *command = kw_pin_command_of(item);
    if (command == NULL || command->has_begun) {
        return true;
    }
    kw_retry_state *state = item->retry_state;
    kw_error failure;
    failure.size = sizeof(failure);
    kw_err code = kw_pin_begin(state->pin, item, &failure);
    start_op(self, item, &state->op);
    if (code != KW_OK) {
        kw_pipeline_note(self, item, &failure);
        kw_step step = {.kind = KW_STEP_FAIL, .code = code, .effect = KW_EFFECT_NONE};
        kw_pipeline_apply(self, item, step);
    }
    return code == KW_OK;
}

void kw_pipeline_route(kw_pipeline *self, kw_item *item, const kw_snapshot *snapshot)
{
    item->state = KW_ITEM_ROUTING;
    if (item->is_pause) {
        item->state = KW_ITEM_HELD; /* by nothing but its deadline */
        kw_items_push(&self->scan.held, item);
        return;
    }
    if (self->long_lived != NULL && self->scan.now_ns >= kw_item_deadline_ns(item)) {
        end_homeless(self, item);
        return;
    }
    if (!has_begun(self, item)) {
        return;
    }
    if (item->is_map_only && snapshot != NULL) {
        kw_pipeline_end_item(self, item, KW_OK);
        return;
    }
    kw_node *node = look(self, item, snapshot);
    if (node != NULL && !item->is_map_only) {
        put(self, item, node);
    } else if (snapshot == NULL && item->retry_state == NULL) {
        kw_pipeline_wait_for_map(self, item);
    } else if (item->retry_state == NULL) {
        route_first(self, item);
    } else {
        route_by_op(self, item);
    }
}

/* A session's command: what is before it there comes first. */
static void add_pinned(kw_pipeline *self, kw_item *item, const kw_snapshot *snapshot)
{
    start_op(self, item, &item->retry_state->op);
    if (kw_pin_takes(item->retry_state->pin, item)) {
        kw_pipeline_route(self, item, snapshot);
        return;
    }
    item->state = KW_ITEM_HELD;
    kw_items_push(&self->scan.held, item);
}

void kw_pipeline_add(kw_pipeline *self, kw_item *item, const kw_snapshot *snapshot)
{
    self->open_n++;
    item->state = KW_ITEM_ROUTING;
    /* Reads from replicas are at other nodes than writes: nothing but this keeps their order. */
    bool is_apart = item->plan.read != KW_READ_OF_PRIMARY || self->ordering.is_strict;
    if ((self->long_lived != NULL && !kw_pipeline_watch_deadline(self, item)) ||
        (is_apart && !self->is_ordered && !kw_pipeline_need_ordering(self)) ||
        (self->is_ordered && !item->ordered.is_added && kw_pin_command_of(item) == NULL &&
         !kw_item_keys_add(item, &self->ordering))) {
        end_without_memory(self, item);
        return;
    }
    if (kw_pin_command_of(item) != NULL) {
        add_pinned(self, item, snapshot);
        return;
    }
    kw_node *node = snapshot != NULL && !item->is_map_only
                        ? kw_driver_look(snapshot, &item->plan, &self->random)
                        : NULL;
    if (node != NULL && !kw_node_faults_is_down(&node->faults)) {
        put(self, item, node);
    } else {
        kw_pipeline_route(self, item, snapshot);
    }
}

/* What was sent, and is to be sent again, is behind nothing that was added later. */
static void take_back(kw_pipeline *self, kw_item *item)
{
    if (self->is_ordered && item->ordered.has_left) {
        kw_ordering_on_back(&self->ordering, &item->ordered);
        kw_pipeline_take_freed(self);
    }
}

/* The reply is the caller's. */
static void end_answered(kw_pipeline *self, kw_item *item)
{
    if (kw_pin_command_of(item) != NULL) {
        kw_pin_on_answer(self, item);
    }
    kw_pipeline_end_item(self, item, KW_OK);
}

/* True for an error that a session's caller has to read, whatever it means. */
static bool is_callers(const kw_item *item)
{
    const kw_pin_command *command = kw_pin_command_of(item);
    return command != NULL &&
           (!command->is_free || kw_session_keeps_redirect(command->effect, item->request.reply));
}

void kw_pipeline_apply(kw_pipeline *self, kw_item *item, kw_step step)
{
    kw_retry_state *state = item->retry_state;
    step = kw_driver_temper(self->topology, &state->op, item->node, step);
    kw_driver_heed(self->topology, &state->op, &step);
    item->sends_n = (uint16_t)state->op.sends_n; /* of what did not leave it counts nothing */
    switch (step.kind) {
    case KW_STEP_SEND:
        take_back(self, item);
        item->is_redirected = step.is_redirected;
        item->is_asking = step.is_asking;
        item->state = KW_ITEM_ROUTING;
        route_by_op(self, item);
        break;
    case KW_STEP_SLEEP:
    case KW_STEP_REFRESH:
        take_back(self, item);
        if (!kw_pipeline_put_to_sleep(self, item, &step)) {
            end_without_memory(self, item);
        }
        break;
    case KW_STEP_DONE:
        end_answered(self, item);
        break;
    case KW_STEP_FAIL:
        fail_item(self, item, &step);
        break;
    }
}

void kw_pipeline_on_answer(kw_pipeline *self, kw_item *item)
{
    kw_node_well(item->node);
    if (!kw_reply_is(item->request.reply, KW_REPLY_ERROR)) {
        end_answered(self, item); /* as the op says of everything that is no error */
        return;
    }
    if (!kw_pipeline_has_op(self, item)) {
        return;
    }
    kw_retry_state *retry = item->retry_state;
    if (kw_topology_observer(self->topology) != NULL) {
        kw_pipeline_show_try(self, item, KW_OK);
    }
    if (is_callers(item)) {
        kw_driver_heed_readonly(self->topology, item->node, item->request.reply);
        end_answered(self, item);
        return;
    }
    kw_error words; /* scan.failure may tell of the connection's end, behind this answer */
    words.size = sizeof(words);
    kw_driver_answer answer = {item->node, self->scan.now_ns, &item->request, &words};
    kw_step step = kw_driver_on_reply(self->topology, &item->plan, &retry->op, &answer);
    if (step.kind != KW_STEP_DONE) {
        kw_pipeline_note(self, item, &words);
    }
    kw_pipeline_apply(self, item, step);
}

/* A command that ends as many others do, which share its story. */
static void end_by_loss(kw_pipeline *self, kw_item *item, kw_loss *loss, const kw_step *step)
{
    kw_driver_heed(self->topology, NULL, step);
    kw_item_note(item, loss, &self->topology->env.mem);
    item->effect = step->effect;
    kw_pipeline_end_item(self, item, step->code);
}

/* Tells a command that has no op yet of a failed try: most that end, end so. */
static void fail_first_try(kw_pipeline *self, kw_item *item, kw_loss *loss, const kw_try_end *end)
{
    kw_op op;
    start_op(self, item, &op);
    kw_random_init(&op.random, loss->seed);
    op.spec.is_repeatable = op.spec.is_repeatable && !item->is_overtaken;
    if (item->has_half) {
        kw_op_on_half_sent(&op);
    }
    kw_step step = kw_driver_on_failed(self->topology, &op, item->node, self->scan.now_ns, end);
    step = kw_driver_temper(self->topology, &op, item->node, step);
    item->sends_n = (uint16_t)op.sends_n;
    if (step.kind == KW_STEP_FAIL && step.code != KW_ERR_NO_SERVICE) { /* loss says it all */
        end_by_loss(self, item, loss, &step);
        return;
    }
    if (!need_retry_state(self, item)) {
        end_without_memory(self, item);
        return;
    }
    item->retry_state->op = op;
    kw_item_note(item, loss, &self->topology->env.mem);
    kw_pipeline_apply(self, item, step);
}

void kw_pipeline_fail_try(kw_pipeline *self, kw_item *item, kw_loss *loss, bool has_left)
{
    kw_reply_free(item->request.reply);
    item->request.reply = NULL;
    if (loss == NULL) {
        if (item->retry_state != NULL && has_left) {
            item->retry_state->op.effect = KW_EFFECT_MAYBE; /* of this try the op does not know */
        }
        end_without_memory(self, item);
        return;
    }
    kw_try_end end = loss->end;
    end.has_left = has_left;
    if (kw_topology_observer(self->topology) != NULL) {
        kw_pipeline_show_try(self, item, end.code);
    }
    if (item->retry_state == NULL) {
        fail_first_try(self, item, loss, &end);
        return;
    }
    kw_op *op = &item->retry_state->op;
    op->spec.is_repeatable = op->spec.is_repeatable && !item->is_overtaken;
    if (item->has_half) {
        kw_op_on_half_sent(op);
    }
    kw_item_note(item, loss, &self->topology->env.mem);
    if (kw_pin_ends_with(item, &end)) {
        kw_step step = {.kind = KW_STEP_FAIL, .code = end.code, .effect = KW_EFFECT_NONE};
        step.wants_refresh = true;
        kw_pipeline_apply(self, item, step);
        return;
    }
    kw_pipeline_apply(self, item,
                      kw_driver_on_failed(self->topology, op, item->node, self->scan.now_ns, &end));
}

void kw_pipeline_wait_for_map(kw_pipeline *self, kw_item *item)
{
    if (self->leader != NULL || self->mapless.head != NULL) {
        item->state = KW_ITEM_MAPLESS;
        kw_items_push(&self->mapless, item);
        return;
    }
    self->leader = item;
    self->mapless_code = KW_OK;
    if (kw_pipeline_has_op(self, item)) {
        item->retry_state->changes_n = kw_refresher_changes_n(&self->topology->refresher);
        kw_pipeline_apply(self, item,
                          kw_driver_on_unserved(self->topology, &item->plan, &item->retry_state->op,
                                                self->scan.now_ns));
    }
}

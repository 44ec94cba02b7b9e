#include "api/run_parts.h"

#include "base/error.h"

#include <string.h>

void kw_item_fini(kw_item *item, const kw_allocator *mem)
{
    kw_reply_free(item->request.reply);
    item->request.reply = NULL;
    kw_mem_free(mem, item->trouble);
    item->trouble = NULL;
    kw_plan_fini(&item->plan);
}

void kw_run_end_item(kw_run *self, kw_item *item, kw_err code)
{
    item->state = KW_ITEM_ENDED;
    item->code = code;
    if (code != KW_OK) {
        kw_reply_free(item->request.reply);
        item->request.reply = NULL;
    }
    self->open_n--;
}

/* Without memory for the op a command ends where it is. */
static void end_without_memory(kw_run *self, kw_item *item)
{
    kw_run_end_item(self, item, KW_ERR_NOMEM);
}

/* The op of a command, brought to where the command is; NULL when there is no memory. */
static kw_op *need_op(kw_run *self, kw_item *item)
{
    if (item->trouble == NULL) {
        item->trouble = kw_mem_calloc(&self->client->env.mem, 1, sizeof(*item->trouble));
        if (item->trouble == NULL) {
            return NULL;
        }
        item->trouble->failure.size = sizeof(item->trouble->failure);
        kw_op_spec spec = kw_drive_spec(self->client, &item->plan);
        spec.deadline_ns = self->deadline_ns;
        (void)kw_op_start(&item->trouble->op, &spec, kw_random_next(&self->random));
        for (unsigned i = 0; i < item->sends_n; i++) {
            kw_op_on_send(&item->trouble->op);
        }
    }
    return &item->trouble->op;
}

static bool grow_channels(kw_run *self)
{
    size_t capacity = self->channels_capacity > 0 ? 2 * self->channels_capacity : 8;
    const kw_allocator *mem = &self->client->env.mem;
    kw_channel *channels = kw_mem_resize(mem, self->channels, capacity, sizeof(channels[0]));
    if (channels == NULL) {
        return false;
    }
    self->channels = channels;
    struct pollfd *sockets = kw_mem_resize(mem, self->sockets, capacity + 1, sizeof(sockets[0]));
    if (sockets == NULL) {
        return false;
    }
    self->sockets = sockets;
    self->channels_capacity = capacity;
    return true;
}

/* The channel to the node, new if need be; NULL when there is no memory. */
static kw_channel *need_channel(kw_run *self, kw_node *node)
{
    for (size_t i = self->channels_n; i > 0; i--) {
        if (self->channels[i - 1].node == node) {
            return &self->channels[i - 1];
        }
    }
    if (self->channels_n == self->channels_capacity && !grow_channels(self)) {
        return NULL;
    }
    kw_channel *channel = &self->channels[self->channels_n++];
    memset(channel, 0, sizeof(*channel));
    channel->node = kw_node_ref(node);
    return channel;
}

/* An earlier command of the same keys that sleeps: order is kept behind it. */
static const kw_item *sleeper_before(const kw_run *self, const kw_item *item)
{
    for (const kw_item *other = self->sleepers.head; other != NULL; other = other->next) {
        if (other < item && kw_plan_is_ordered(&other->plan, &item->plan)) {
            return other;
        }
    }
    return NULL;
}

void kw_run_put(kw_run *self, kw_item *item, kw_node *node)
{
    kw_channel *channel = need_channel(self, node);
    if (channel == NULL) {
        end_without_memory(self, item);
        return;
    }
    item->state = KW_ITEM_QUEUED;
    kw_items_push(&channel->queue, item);
}

/* Sleepers stay in the order of the commands, which is mostly the order they come in. */
static void push_sleeper(kw_run *self, kw_item *item)
{
    kw_item **link = &self->sleepers.head;
    if (self->sleepers.tail == NULL || self->sleepers.tail < item) {
        kw_items_push(&self->sleepers, item);
        return;
    }
    while (*link < item) {
        link = &(*link)->next;
    }
    item->next = *link;
    *link = item;
}

/* Where the last SEND step, or the map, sends the command. */
void kw_run_route(kw_run *self, kw_item *item)
{
    const kw_item *before = sleeper_before(self, item);
    if (before != NULL) {
        item->state = KW_ITEM_BEHIND;
        item->wake_ns = before->wake_ns;
        item->wakes_on_map = before->wakes_on_map;
        item->changes_n = before->changes_n;
        push_sleeper(self, item);
        return;
    }
    item->changes_n = kw_refresher_changes_n(&self->client->refresher);
    kw_op *op = need_op(self, item);
    if (op == NULL) {
        end_without_memory(self, item);
        return;
    }
    kw_step step = {.kind = KW_STEP_SEND, .is_redirected = item->is_redirected};
    kw_node *node = kw_drive_choose(self->client, &item->plan, op, &step);
    if (node == NULL) {
        kw_run_apply(self, item, kw_drive_on_unserved(self->client, op, self->turn.now_ns));
        return;
    }
    kw_run_put(self, item, node);
    kw_node_unref(node); /* the channel has its own reference */
}

static void fail_item(kw_run *self, kw_item *item, const kw_step *step)
{
    kw_error story = KW_ERROR_INIT;
    kw_drive_story told = {&item->plan, step, &item->trouble->failure, item->node, item->sends_n};
    kw_drive_explain(self->client, &story, &told);
    item->trouble->failure = story;
    kw_run_end_item(self, item, step->code);
}

static void put_to_sleep(kw_run *self, kw_item *item, const kw_step *step, kw_item_state state)
{
    item->state = state;
    item->wake_ns = step->until_ns;
    item->wakes_on_map = step->wakes_on_map;
    push_sleeper(self, item);
}

/* Does what the op of the command says. */
void kw_run_apply(kw_run *self, kw_item *item, kw_step step)
{
    uint64_t fetch = kw_drive_heed(self->client, &item->trouble->op, &step);
    item->fetch = fetch > 0 ? fetch : item->fetch;
    switch (step.kind) {
    case KW_STEP_SEND:
        item->is_redirected = step.is_redirected;
        item->is_asking = step.is_asking;
        kw_run_route(self, item);
        break;
    case KW_STEP_SLEEP:
        put_to_sleep(self, item, &step, KW_ITEM_SLEEPING);
        break;
    case KW_STEP_REFRESH:
        put_to_sleep(self, item, &step, KW_ITEM_REFRESHING);
        break;
    case KW_STEP_DONE:
        kw_run_end_item(self, item, KW_OK);
        break;
    case KW_STEP_FAIL:
        fail_item(self, item, &step);
        break;
    }
}

/* A command whose op is asked for the first time; true where it has one. */
bool kw_run_has_op(kw_run *self, kw_item *item)
{
    if (need_op(self, item) != NULL) {
        return true;
    }
    end_without_memory(self, item);
    return false;
}

static void on_answer(kw_run *self, kw_item *item)
{
    if (!kw_reply_is_error(item->request.reply)) {
        kw_run_end_item(self, item, KW_OK); /* as the op says of everything that is no error */
        return;
    }
    if (!kw_run_has_op(self, item)) {
        return;
    }
    kw_step step =
        kw_drive_on_reply(self->client, &item->plan, &item->trouble->op, item->node,
                          self->turn.now_ns, item->request.reply, &item->trouble->failure);
    if (step.kind != KW_STEP_DONE) {
        kw_reply_free(item->request.reply);
        item->request.reply = NULL;
    }
    kw_run_apply(self, item, step);
}

void kw_run_collect(kw_run *self, kw_channel *channel)
{
    kw_item *item;
    kw_items answered = {NULL, NULL};
    while ((item = kw_channel_answered(channel, self->turn.now_ns)) != NULL) {
        kw_items_push(&answered, item);
    }
    /* What follows may add channels, and so move this one. */
    while ((item = kw_items_pop(&answered)) != NULL) {
        on_answer(self, item);
    }
}

/* One sent command of a lost connection. */
static void on_lost(kw_run *self, kw_item *item, kw_err code, bool was_ready, bool has_left)
{
    if (!kw_run_has_op(self, item)) {
        return;
    }
    kw_op *op = &item->trouble->op;
    item->trouble->failure = self->turn.failure;
    kw_reply_free(item->request.reply);
    item->request.reply = NULL;
    bool is_refused = !was_ready && code != KW_ERR_TIMEOUT && code != KW_ERR_CANCELLED;
    uint64_t now_ns = self->turn.now_ns;
    kw_run_apply(self, item,
                 is_refused
                     ? kw_op_on_unready(op, now_ns, code, has_left)
                     : kw_drive_on_loss(self->client, op, item->node, now_ns, code, has_left));
}

/* A reply over a limit was one command's; to those behind it, its connection is lost. */
static kw_err code_behind(kw_run *self, kw_err code)
{
    if (code != KW_ERR_LIMIT) {
        return code;
    }
    return kw_error_set(&self->turn.failure, KW_ERR_CLOSED, KW_EFFECT_NONE,
                        "the reply to a command before it was over a limit");
}

/* The channel's connection, or the way to it, is lost: code says why. */
void kw_run_fail_channel(kw_run *self, size_t index, kw_err code)
{
    /* With a reply too many, or garbage behind one, none that came with it is trusted. */
    if (code != KW_ERR_DESYNC && code != KW_ERR_PROTOCOL) {
        kw_run_collect(self, &self->channels[index]);
    }
    kw_channel *channel = &self->channels[index];
    kw_items flight = channel->flight;
    kw_items queue = channel->queue;
    memset(&channel->flight, 0, sizeof(channel->flight));
    memset(&channel->queue, 0, sizeof(channel->queue));
    bool was_ready = channel->is_counted;
    for (kw_item *item = flight.head; item != NULL; item = item->next) {
        item->request.is_done = kw_conn_has_sent(channel->conn, &item->request);
    }
    if (channel->conn != NULL) {
        channel->conn->state = KW_CONN_DEAD;
    }
    bool is_ours = code == KW_ERR_TIMEOUT || code == KW_ERR_CANCELLED;
    kw_channel_release(channel, self->turn.now_ns, is_ours ? NULL : &self->turn.failure);
    channel->is_counted = false;
    kw_node *node = channel->node;
    kw_item *item;
    while ((item = kw_items_pop(&flight)) != NULL) {
        on_lost(self, item, code, was_ready, item->request.is_done);
        code = code_behind(self, code);
    }
    code = code_behind(self, code);
    while ((item = kw_items_pop(&queue)) != NULL) {
        item->node = node; /* where it would have gone */
        on_lost(self, item, code, was_ready, false);
    }
}

/* A wait of an op that may be over. */
static bool is_woken(kw_run *self, const kw_item *item)
{
    kw_refresher *refresher = &self->client->refresher;
    if (self->turn.now_ns >= item->wake_ns) {
        return true;
    }
    if (item->state == KW_ITEM_REFRESHING && kw_refresher_has_ended(refresher, item->fetch)) {
        return true;
    }
    return item->wakes_on_map && kw_refresher_changes_n(refresher) != item->changes_n;
}

static void wake(kw_run *self, kw_item *item)
{
    kw_error failure = KW_ERROR_INIT;
    kw_err code = KW_ERR_TIMEOUT;
    switch (item->state) {
    case KW_ITEM_SLEEPING:
        kw_run_apply(self, item, kw_op_on_woke(&item->trouble->op, self->turn.now_ns));
        break;
    case KW_ITEM_REFRESHING:
        if (kw_refresher_has_ended(&self->client->refresher, item->fetch)) {
            code = kw_refresher_result(&self->client->refresher, &failure);
            item->trouble->failure = failure;
        } else if (self->turn.now_ns < item->wake_ns) {
            code = KW_OK; /* another map was published */
        }
        kw_run_apply(self, item, kw_op_on_refreshed(&item->trouble->op, self->turn.now_ns, code));
        break;
    case KW_ITEM_BEHIND:
        kw_run_route(self, item);
        break;
    case KW_ITEM_NEW:
    case KW_ITEM_QUEUED:
    case KW_ITEM_SENT:
    case KW_ITEM_ENDED:
        break;
    }
}

void kw_run_wake_all(kw_run *self)
{
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

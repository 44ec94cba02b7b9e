#include "api/run.h"

#include "api/run_parts.h"
#include "base/error.h"

#include <string.h>

#define NO_CHANNEL SIZE_MAX

static void pump_all(kw_run *self)
{
    for (size_t i = 0; i < self->channels_n; i++) {
        kw_err code = kw_channel_pump(&self->channels[i], &self->turn);
        if (code != KW_OK) {
            kw_run_fail_channel(self, i, code);
        }
    }
}

/* A node that is silent for too long makes the map suspect, and loses its commands once
 * their slot has another owner. */
static void check_stalled(kw_run *self)
{
    const kw_options *options = &self->client->env.options;
    if (!kw_drive_has_map(self->client)) {
        return;
    }
    for (size_t i = 0; i < self->channels_n; i++) {
        kw_channel *channel = &self->channels[i];
        kw_item *first = channel->flight.head;
        uint64_t silent_ns = self->turn.now_ns - channel->heard_ns;
        if (first == NULL || silent_ns < options->stall_ms * KW_NS_PER_MS) {
            continue;
        }
        (void)kw_refresher_want(&self->client->refresher);
        if (silent_ns >= (options->stall_ms + options->grace_ms) * KW_NS_PER_MS &&
            kw_run_has_op(self, first) &&
            kw_drive_has_lost_owner(self->client, &first->plan, &first->trouble->op,
                                    channel->node)) {
            kw_error_set(&self->turn.failure, KW_ERR_CLOSED, KW_EFFECT_MAYBE,
                         "no answer, and the slot belongs to another node now");
            kw_run_fail_channel(self, i, KW_ERR_CLOSED);
        }
    }
}

/* The next moment at which something is to be done without a socket's word. */
static uint64_t next_turn_ns(const kw_run *self)
{
    uint64_t stall_ns = self->client->env.options.stall_ms * KW_NS_PER_MS;
    uint64_t next_ns = self->deadline_ns;
    for (const kw_item *item = self->sleepers.head; item != NULL; item = item->next) {
        next_ns = item->wake_ns < next_ns ? item->wake_ns : next_ns;
    }
    for (size_t i = 0; i < self->channels_n; i++) {
        const kw_channel *channel = &self->channels[i];
        uint64_t at_ns = next_ns;
        if (channel->conn == NULL && channel->queue.head != NULL) {
            at_ns = channel->retry_ns;
        } else if (channel->conn != NULL && channel->conn->state != KW_CONN_READY) {
            at_ns = channel->conn->deadline_ns;
        } else if (channel->flight.head != NULL) {
            uint64_t silent_ns = channel->heard_ns + stall_ns;
            at_ns = silent_ns > self->turn.now_ns ? silent_ns : self->turn.now_ns + stall_ns / 2;
        }
        next_ns = at_ns < next_ns ? at_ns : next_ns;
    }
    return next_ns > self->turn.now_ns ? next_ns : self->turn.now_ns + 1;
}

/* The only channel that anything is awaited of, where that is but replies; else
 * NO_CHANNEL. */
static size_t only_reader(const kw_run *self)
{
    size_t found = NO_CHANNEL;
    if (self->sleepers.head != NULL) {
        return NO_CHANNEL;
    }
    for (size_t i = 0; i < self->channels_n; i++) {
        if (self->channels[i].queue.head != NULL || kw_channel_is_waiting(&self->channels[i])) {
            if (found != NO_CHANNEL || self->channels[i].conn == NULL ||
                !kw_channel_is_reading(&self->channels[i])) {
                return NO_CHANNEL;
            }
            found = i;
        }
    }
    return found;
}

/* Waits for the replies of one channel, without a poll. */
static void read_one(kw_run *self, size_t index)
{
    kw_channel *channel = &self->channels[index];
    kw_err code = kw_conn_wait(channel->conn, &self->turn.failure, &channel->flight.tail->request,
                               self->turn.now_ns, next_turn_ns(self));
    self->turn.now_ns = kw_env_now(&self->client->env);
    if (code != KW_OK && code != KW_ERR_TIMEOUT) {
        kw_run_fail_channel(self, index, code);
        return;
    }
    kw_run_collect(self, channel);
}

static void read_many(kw_run *self)
{
    size_t n = 0;
    for (size_t i = 0; i < self->channels_n; i++) {
        if (kw_channel_is_waiting(&self->channels[i])) {
            self->sockets[n].fd = self->channels[i].conn->socket;
            self->sockets[n++].events = kw_conn_events(self->channels[i].conn);
        }
    }
    kw_refresher_goal goal = {.until_ns = next_turn_ns(self)};
    goal.sockets = self->sockets;
    goal.sockets_n = n;
    goal.wakes_on_map = self->sleepers.head != NULL;
    goal.changes_n = kw_refresher_changes_n(&self->client->refresher);
    (void)kw_refresher_wait(&self->client->refresher, &self->turn.failure, &goal);
    self->turn.now_ns = kw_env_now(&self->client->env);
    size_t k = 0;
    for (size_t i = 0; i < self->channels_n && k < n; i++) {
        kw_channel *channel = &self->channels[i];
        if (channel->conn == NULL || channel->conn->socket != self->sockets[k].fd) {
            continue;
        }
        short revents = self->sockets[k++].revents;
        kw_err code = revents != 0 ? kw_channel_progress(channel, &self->turn, revents) : KW_OK;
        if (code != KW_OK) {
            kw_run_fail_channel(self, i, code);
        } else if (revents != 0) {
            kw_run_collect(self, channel);
        }
    }
}

/* Ends what has not ended: the deadline came, or the handle is closed. */
static void end_all(kw_run *self, kw_err code)
{
    kw_error_set(&self->turn.failure, KW_OK, KW_EFFECT_NONE, "no answer");
    for (size_t i = 0; i < self->channels_n; i++) {
        kw_run_fail_channel(self, i, code);
    }
    kw_items sleepers = self->sleepers;
    memset(&self->sleepers, 0, sizeof(self->sleepers));
    kw_item *item;
    while ((item = kw_items_pop(&sleepers)) != NULL) {
        if (kw_run_has_op(self, item)) {
            kw_run_apply(self, item,
                         kw_drive_on_loss(self->client, &item->trouble->op, item->node,
                                          self->turn.now_ns, code, false));
        }
    }
}

/* The first way of every command, by one look at the map. */
static void route_all(kw_run *self, const kw_view *view)
{
    for (size_t i = 0; i < self->items_n; i++) {
        kw_item *item = &self->items[i];
        kw_node *node = kw_drive_look(view, &item->plan, &self->random);
        if (node != NULL) {
            kw_run_put(self, item, node);
        } else {
            kw_run_route(self, item);
        }
    }
}

static void run_loop(kw_run *self)
{
    while (self->open_n > 0) {
        if (atomic_load_explicit(&self->client->env.is_closing, memory_order_relaxed)) {
            end_all(self, KW_ERR_CANCELLED);
            return;
        }
        if (self->turn.now_ns >= self->deadline_ns) {
            end_all(self, KW_ERR_TIMEOUT);
            return;
        }
        kw_run_wake_all(self);
        pump_all(self);
        check_stalled(self);
        if (self->open_n == 0) {
            return;
        }
        size_t reader = only_reader(self);
        if (reader != NO_CHANNEL) {
            read_one(self, reader);
        } else {
            read_many(self);
        }
    }
}

static void finish(kw_run *self)
{
    for (size_t i = 0; i < self->channels_n; i++) {
        kw_channel_release(&self->channels[i], self->turn.now_ns, NULL);
    }
    for (size_t i = 0; i < self->items_n; i++) {
        self->items[i].node = NULL; /* goes with its channel */
    }
    for (size_t i = 0; i < self->channels_n; i++) {
        kw_node_unref(self->channels[i].node);
    }
    kw_mem_free(&self->client->env.mem, self->channels);
    kw_mem_free(&self->client->env.mem, self->sockets);
    kw_client_tend(self->client, self->turn.now_ns);
}

/* Every command ends like the look-up of the first map. */
static kw_err fail_all(kw_run *self, const kw_error *failure)
{
    for (size_t i = 0; i < self->items_n; i++) {
        if (kw_run_has_op(self, &self->items[i])) {
            self->items[i].trouble->failure = *failure;
            kw_run_end_item(self, &self->items[i], failure->code);
        }
    }
    return failure->code;
}

kw_err kw_run_all(kw_client *client, kw_item *items, size_t items_n, uint64_t deadline_ns)
{
    kw_run self;
    memset(&self, 0, sizeof(self));
    self.client = client;
    self.items = items;
    self.items_n = items_n;
    self.open_n = items_n;
    self.deadline_ns = deadline_ns;
    self.turn.client = client;
    self.turn.failure.size = sizeof(self.turn.failure);
    self.turn.now_ns = kw_env_now(&client->env);
    kw_random_init(&self.random, self.turn.now_ns ^ (uint64_t)(uintptr_t)items);
    kw_view *view;
    kw_error failure = KW_ERROR_INIT;
    if (kw_client_need_view(client, &view, &failure, deadline_ns) != KW_OK) {
        return fail_all(&self, &failure);
    }
    route_all(&self, view);
    kw_view_unref(view);
    run_loop(&self);
    finish(&self);
    for (size_t i = 0; i < items_n; i++) {
        if (items[i].code != KW_OK) {
            return items[i].code;
        }
    }
    return KW_OK;
}

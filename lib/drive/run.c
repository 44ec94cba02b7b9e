/* SPDX-License-Identifier: BSD-3-Clause */
/* The wait of a batch: a run whose commands are all there at the start, and which its
 * caller waits for. */
#include "drive/run.h"

#include "drive/run_private.h"
#include "base/error.h"

/* A batch to no more nodes than this needs no heap for their sockets. */
#define SOCKETS_INLINE 32

/* So long a batch waits for the node that it was sent to last alone. */
#define LAST_WAIT_NS (1 * KW_NS_PER_MS)

typedef struct batch_wait {
    kw_run run;
    uint64_t deadline_ns;
    struct pollfd *sockets; /* one more than there are channels */
    size_t sockets_n;
    struct pollfd inline_sockets[SOCKETS_INLINE];
    bool has_waited;
} batch_wait;

static uint64_t next_ns(const batch_wait *self)
{
    uint64_t at_ns = kw_run_next_ns(&self->run);
    return at_ns < self->deadline_ns ? at_ns : self->deadline_ns;
}

/* The only channel that anything is awaited of, where that is but replies; else NULL. */
static kw_channel *only_reader(const kw_run *run)
{
    kw_channel *found = NULL;
    if (run->sleepers.head != NULL) {
        return NULL;
    }
    for (size_t i = 0; i < run->channels_n; i++) {
        kw_channel *channel = run->channels[i];
        if (channel->queue.head != NULL || kw_channel_is_waiting(channel)) {
            if (found != NULL || channel->conn == NULL || !kw_channel_is_reading(channel)) {
                return NULL;
            }
            found = channel;
        }
    }
    return found;
}

/* Waits for the replies of one channel, without a poll. */
static void read_one(batch_wait *self, kw_channel *channel)
{
    kw_run *run = &self->run;
    kw_err code = kw_conn_wait(channel->conn, &run->turn.failure, &channel->flight.tail->request,
                               run->turn.now_ns, next_ns(self));
    run->turn.now_ns = kw_env_now(&run->client->env);
    if (code != KW_OK && code != KW_ERR_TIMEOUT) {
        kw_run_fail_channel(run, channel, code);
        return;
    }
    kw_run_collect(run, channel);
}

/* Room for every channel's socket and the one behind; false when there is no memory. */
static bool reserve(batch_wait *self)
{
    size_t wanted_n = self->run.channels_n + 1;
    if (wanted_n <= self->sockets_n) {
        return true;
    }
    const kw_allocator *mem = &self->run.client->env.mem;
    struct pollfd *sockets = self->sockets != self->inline_sockets ? self->sockets : NULL;
    sockets = kw_mem_resize(mem, sockets, 2 * wanted_n, sizeof(sockets[0]));
    if (sockets == NULL) {
        return false;
    }
    self->sockets = sockets;
    self->sockets_n = 2 * wanted_n;
    return true;
}

static size_t fill_sockets(batch_wait *self)
{
    size_t n = 0;
    for (size_t i = 0; i < self->run.channels_n; i++) {
        const kw_channel *channel = self->run.channels[i];
        if (kw_channel_is_waiting(channel)) {
            self->sockets[n].fd = channel->conn->socket;
            self->sockets[n++].events = kw_conn_events(channel->conn);
        }
    }
    return n;
}

/* True where nothing but replies of nodes is awaited. */
static bool is_reading_only(const kw_run *run)
{
    size_t readers_n = 0;
    for (size_t i = 0; i < run->channels_n; i++) {
        const kw_channel *channel = run->channels[i];
        bool is_waiting = kw_channel_is_waiting(channel);
        if (channel->queue.head != NULL || (is_waiting && !kw_channel_is_reading(channel))) {
            return false;
        }
        readers_n += is_waiting ? 1 : 0;
    }
    return readers_n > 0 && run->sleepers.head == NULL;
}

static void wait_for(batch_wait *self, struct pollfd *sockets, size_t n, uint64_t until_ns)
{
    kw_run *run = &self->run;
    kw_refresher_goal goal = {.until_ns = until_ns};
    goal.sockets = sockets;
    goal.sockets_n = n;
    goal.wakes_on_map = run->sleepers.head != NULL;
    goal.changes_n = run->changes_n; /* the map that sleepers know of */
    (void)kw_refresher_wait(&run->client->refresher, &run->turn.failure, &goal);
    run->turn.now_ns = kw_env_now(&run->client->env);
}

/* The node that was sent to last mostly answers last: one wait for it, instead of one for
 * each node, after which there may be something of every node. */
static void wait_for_last(batch_wait *self)
{
    kw_run *run = &self->run;
    size_t n = fill_sockets(self);
    uint64_t until_ns = run->turn.now_ns + LAST_WAIT_NS;
    uint64_t due_ns = next_ns(self);
    wait_for(self, &self->sockets[n - 1], 1, until_ns < due_ns ? until_ns : due_ns);
    for (size_t i = 0; i < run->channels_n; i++) {
        if (kw_channel_is_waiting(run->channels[i])) {
            kw_run_on_ready(run, run->channels[i], POLLIN);
        }
    }
}

static void read_many(batch_wait *self)
{
    kw_run *run = &self->run;
    size_t n = fill_sockets(self);
    wait_for(self, self->sockets, n, next_ns(self));
    size_t k = 0;
    for (size_t i = 0; i < run->channels_n && k < n; i++) {
        kw_channel *channel = run->channels[i];
        if (channel->conn == NULL || channel->conn->socket != self->sockets[k].fd) {
            continue;
        }
        short revents = self->sockets[k++].revents;
        if (revents != 0) {
            kw_run_on_ready(run, channel, revents);
        }
    }
}

static void wait_all(batch_wait *self)
{
    kw_run *run = &self->run;
    while (run->open_n > 0) {
        if (atomic_load_explicit(&run->client->env.is_closing, memory_order_relaxed)) {
            kw_run_end_all(run, KW_ERR_CANCELLED);
            return;
        }
        if (run->turn.now_ns >= self->deadline_ns) {
            kw_run_end_all(run, KW_ERR_TIMEOUT);
            return;
        }
        kw_run_advance(run);
        if (run->open_n == 0) {
            return;
        }
        if (!reserve(self)) {
            kw_run_end_all(run, KW_ERR_NOMEM);
            return;
        }
        kw_channel *reader = only_reader(run);
        if (reader != NULL) {
            read_one(self, reader);
        } else if (!self->has_waited && is_reading_only(run)) {
            self->has_waited = true;
            wait_for_last(self);
        } else {
            read_many(self);
        }
    }
}

/* Every command ends like the look-up of the first map. */
static void fail_all(kw_run *run, kw_item *items, size_t items_n, const kw_error *failure)
{
    run->open_n = items_n;
    for (size_t i = 0; i < items_n; i++) {
        if (kw_run_has_op(run, &items[i])) {
            items[i].trouble->failure = *failure;
            kw_run_end_item(run, &items[i], failure->code);
        }
    }
}

kw_err kw_run_all(kw_client *client, kw_item *items, size_t items_n, uint64_t deadline_ns)
{
    batch_wait self;
    kw_run_init(&self.run, client);
    self.deadline_ns = deadline_ns;
    self.sockets = self.inline_sockets;
    self.sockets_n = SOCKETS_INLINE;
    self.has_waited = false;
    for (size_t i = 0; i < items_n; i++) {
        items[i].plan.deadline_ns = deadline_ns;
    }
    kw_failure_watch_help(client);
    kw_view *view;
    kw_error failure = KW_ERROR_INIT;
    if (kw_client_need_view(client, &view, &failure, deadline_ns) != KW_OK) {
        fail_all(&self.run, items, items_n, &failure);
        return failure.code;
    }
    for (size_t i = 0; i < items_n; i++) {
        kw_run_add(&self.run, &items[i], view);
    }
    kw_view_unref(view);
    wait_all(&self);
    kw_run_fini(&self.run);
    if (self.sockets != self.inline_sockets) {
        kw_mem_free(&client->env.mem, self.sockets);
    }
    kw_client_tend(client, self.run.turn.now_ns);
    kw_err code = KW_OK;
    for (size_t i = items_n; i > 0; i--) {
        items[i - 1].node = NULL; /* went with its channel */
        code = items[i - 1].code != KW_OK ? items[i - 1].code : code;
    }
    return code;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The wait of a batch: a pipeline whose commands are all there at the start, and which its
 * caller waits for. */
#include "drive/pipeline.h"

#include "topology/topology_tend.h"
#include "topology/first_map.h"
#include "drive/pipeline_private.h"
#include "base/error.h"

/* A batch to no more nodes than this needs no heap for their sockets. */
#define SOCKETS_INLINE 32

/* So long a batch waits for the node that it was sent to last alone. */
#define LAST_WAIT_NS (1 * KW_NS_PER_MS)

typedef struct batch_wait {
    kw_pipeline pipeline;
    uint64_t deadline_ns;
    struct pollfd *sockets; /* one more than there are channels */
    size_t sockets_n;
    struct pollfd inline_sockets[SOCKETS_INLINE];
    bool has_waited;
} batch_wait;

static uint64_t next_ns(const batch_wait *self)
{
    uint64_t at_ns = kw_pipeline_next_ns(&self->pipeline);
    return at_ns < self->deadline_ns ? at_ns : self->deadline_ns;
}

/* The only channel that anything is awaited of, where that is but replies; else NULL. */
static kw_channel *only_reader(const kw_pipeline *pipeline)
{
    kw_channel *found = NULL;
    if (pipeline->sleepers.head != NULL) {
        return NULL;
    }
    for (size_t i = 0; i < pipeline->channels_n; i++) {
        kw_channel *channel = pipeline->channels[i];
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
    kw_pipeline *pipeline = &self->pipeline;
    kw_err code =
        kw_conn_wait(channel->conn, &pipeline->scan.failure, &channel->flight.tail->request,
                     pipeline->scan.now_ns, next_ns(self));
    pipeline->scan.now_ns = kw_env_now(&pipeline->topology->env);
    if (code != KW_OK && code != KW_ERR_TIMEOUT) {
        kw_pipeline_fail_channel(pipeline, channel, code);
        return;
    }
    kw_pipeline_collect(pipeline, channel);
}

/* Room for every channel's socket and the one behind; false when there is no memory. */
static bool reserve(batch_wait *self)
{
    size_t wanted_n = self->pipeline.channels_n + 1;
    if (wanted_n <= self->sockets_n) {
        return true;
    }
    const kw_allocator *mem = &self->pipeline.topology->env.mem;
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
    for (size_t i = 0; i < self->pipeline.channels_n; i++) {
        const kw_channel *channel = self->pipeline.channels[i];
        if (kw_channel_is_waiting(channel)) {
            self->sockets[n].fd = channel->conn->socket;
            self->sockets[n++].events = kw_conn_events(channel->conn);
        }
    }
    return n;
}

/* True where nothing but replies of nodes is awaited. */
static bool is_reading_only(const kw_pipeline *pipeline)
{
    size_t readers_n = 0;
    for (size_t i = 0; i < pipeline->channels_n; i++) {
        const kw_channel *channel = pipeline->channels[i];
        bool is_waiting = kw_channel_is_waiting(channel);
        if (channel->queue.head != NULL || (is_waiting && !kw_channel_is_reading(channel))) {
            return false;
        }
        readers_n += is_waiting ? 1 : 0;
    }
    return readers_n > 0 && pipeline->sleepers.head == NULL;
}

static void wait_for(batch_wait *self, struct pollfd *sockets, size_t n, uint64_t until_ns)
{
    kw_pipeline *pipeline = &self->pipeline;
    kw_refresher_goal goal = {.until_ns = until_ns};
    goal.sockets = sockets;
    goal.sockets_n = n;
    goal.wakes_on_map = pipeline->sleepers.head != NULL;
    goal.changes_n = pipeline->changes_n; /* the map that sleepers know of */
    (void)kw_refresher_wait(&pipeline->topology->refresher, &pipeline->scan.failure, &goal);
    pipeline->scan.now_ns = kw_env_now(&pipeline->topology->env);
}

/* The node that was sent to last mostly answers last: one wait for it, instead of one for
 * each node, after which there may be something of every node. */
static void wait_for_last(batch_wait *self)
{
    kw_pipeline *pipeline = &self->pipeline;
    size_t n = fill_sockets(self);
    uint64_t until_ns = pipeline->scan.now_ns + LAST_WAIT_NS;
    uint64_t due_ns = next_ns(self);
    wait_for(self, &self->sockets[n - 1], 1, until_ns < due_ns ? until_ns : due_ns);
    for (size_t i = 0; i < pipeline->channels_n; i++) {
        if (kw_channel_is_waiting(pipeline->channels[i])) {
            kw_pipeline_on_ready(pipeline, pipeline->channels[i], POLLIN);
        }
    }
}

static void read_many(batch_wait *self)
{
    kw_pipeline *pipeline = &self->pipeline;
    size_t n = fill_sockets(self);
    wait_for(self, self->sockets, n, next_ns(self));
    size_t k = 0;
    for (size_t i = 0; i < pipeline->channels_n && k < n; i++) {
        kw_channel *channel = pipeline->channels[i];
        if (channel->conn == NULL || channel->conn->socket != self->sockets[k].fd) {
            continue;
        }
        short revents = self->sockets[k++].revents;
        if (revents != 0) {
            kw_pipeline_on_ready(pipeline, channel, revents);
        }
    }
}

static void wait_all(batch_wait *self)
{
    kw_pipeline *pipeline = &self->pipeline;
    while (pipeline->open_n > 0) {
        if (atomic_load_explicit(&pipeline->topology->env.is_closing, memory_order_relaxed)) {
            kw_pipeline_end_all(pipeline, KW_ERR_CANCELLED);
            return;
        }
        if (pipeline->scan.now_ns >= self->deadline_ns) {
            kw_pipeline_end_all(pipeline, KW_ERR_TIMEOUT);
            return;
        }
        kw_pipeline_advance(pipeline);
        if (pipeline->open_n == 0) {
            return;
        }
        if (!reserve(self)) {
            kw_pipeline_end_all(pipeline, KW_ERR_NOMEM);
            return;
        }
        kw_channel *reader = only_reader(pipeline);
        if (reader != NULL) {
            read_one(self, reader);
        } else if (!self->has_waited && is_reading_only(pipeline)) {
            self->has_waited = true;
            wait_for_last(self);
        } else {
            read_many(self);
        }
    }
}

/* Every command ends like the look-up of the first map. */
static void fail_all(kw_pipeline *pipeline, kw_item *items, size_t items_n, const kw_error *failure)
{
    pipeline->open_n = items_n;
    for (size_t i = 0; i < items_n; i++) {
        if (kw_pipeline_has_op(pipeline, &items[i])) {
            items[i].retry_state->failure = *failure;
            kw_pipeline_end_item(pipeline, &items[i], failure->code);
        }
    }
}

kw_err kw_pipeline_all(kw_topology *topology, kw_item *items, size_t items_n, uint64_t deadline_ns)
{
    batch_wait self;
    kw_pipeline_init(&self.pipeline, topology);
    self.deadline_ns = deadline_ns;
    self.sockets = self.inline_sockets;
    self.sockets_n = SOCKETS_INLINE;
    self.has_waited = false;
    for (size_t i = 0; i < items_n; i++) {
        items[i].plan.deadline_ns = deadline_ns;
    }
    kw_failure_watch_help(topology);
    kw_snapshot *snapshot;
    kw_error failure = KW_ERROR_INIT;
    if (kw_topology_need_snapshot(topology, &snapshot, &failure, deadline_ns) != KW_OK) {
        fail_all(&self.pipeline, items, items_n, &failure);
        return failure.code;
    }
    for (size_t i = 0; i < items_n; i++) {
        kw_pipeline_add(&self.pipeline, &items[i], snapshot);
    }
    kw_snapshot_unref(snapshot);
    wait_all(&self);
    kw_pipeline_fini(&self.pipeline);
    if (self.sockets != self.inline_sockets) {
        kw_mem_free(&topology->env.mem, self.sockets);
    }
    kw_topology_tend(topology, self.pipeline.scan.now_ns);
    kw_err code = KW_OK;
    for (size_t i = items_n; i > 0; i--) {
        items[i - 1].node = NULL; /* went with its channel */
        code = items[i - 1].code != KW_OK ? items[i - 1].code : code;
    }
    return code;
}

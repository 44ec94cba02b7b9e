/* SPDX-License-Identifier: BSD-3-Clause */
/* The one wait for a pipeline's sockets, of batches and of quorum exchanges alike. */
#include "drive/run_wait.h"

#include "base/moment.h"
#include "base/error.h"

void kw_run_wait_init(kw_run_wait *self, kw_pipeline *pipeline, bool is_for_all)
{
    self->pipeline = pipeline;
    self->sockets = self->space;
    self->sockets_n = KW_RUN_WAIT_INLINE;
    self->is_shared = false;
    self->reads_in_turn = is_for_all;
}

void kw_run_wait_fini(kw_run_wait *self)
{
    if (self->sockets != self->space) {
        kw_mem_free(&self->pipeline->topology->env.mem, self->sockets);
    }
}

/* Room for every channel's socket and the one behind; false when there is no memory. */
static bool reserve(kw_run_wait *self)
{
    size_t wanted_n = self->pipeline->channels_n + KW_FETCH_ASKS_MAX;
    if (wanted_n <= self->sockets_n) {
        return true;
    }
    const kw_allocator *mem = &self->pipeline->topology->env.mem;
    struct pollfd *sockets = self->sockets != self->space ? self->sockets : NULL;
    sockets = kw_mem_resize(mem, sockets, 2 * wanted_n, sizeof(sockets[0]));
    if (sockets == NULL) {
        return false;
    }
    self->sockets = sockets;
    self->sockets_n = 2 * wanted_n;
    return true;
}

static bool has_waiting(const kw_pipeline *pipeline)
{
    return pipeline->asleep.head != NULL || kw_pipeline_is_unfinished(pipeline);
}

/* What is awaited: replies of some channels alone, or more than that. */
typedef struct readers {
    kw_channel *last; /* NULL: there is none */
    size_t n;
    bool is_all; /* nothing else is awaited */
} readers;

static readers find_readers(const kw_pipeline *pipeline)
{
    readers found = {NULL, 0, !has_waiting(pipeline)};
    for (size_t i = 0; found.is_all && i < pipeline->channels_n; i++) {
        kw_channel *channel = pipeline->channels[i];
        bool is_waiting = kw_channel_is_waiting(channel);
        if (channel->queue.head != NULL || (is_waiting && !kw_channel_is_reading(channel))) {
            found.is_all = false;
        }
        if (is_waiting) {
            found.last = channel;
            found.n++;
        }
    }
    return found;
}

/* Waits for the reply to one request of a channel, without a poll. */
static void read_one(kw_run_wait *self, kw_channel *channel, kw_item *item, uint64_t until_ns)
{
    kw_pipeline *pipeline = self->pipeline;
    uint64_t slice_ns = pipeline->scan.now_ns + KW_SLICE_NS;
    kw_err code = kw_conn_wait(channel->conn, &pipeline->scan.failure, &item->request,
                               pipeline->scan.now_ns, kw_sooner(until_ns, slice_ns));
    kw_pipeline_begin_turn(pipeline);
    if (code != KW_OK && code != KW_ERR_TIMEOUT) {
        kw_pipeline_fail_channel(pipeline, channel, code);
    } else {
        kw_pipeline_collect(pipeline, channel);
    }
    self->reads_in_turn = self->reads_in_turn && code != KW_ERR_TIMEOUT;
}

/* One receive a node, in which it is waited for, in the order of sending: what the first ones have
 * sent is dealt with while the others work. Once a node is slow, or something else is to be done,
 * what others have sent is taken without a wait. */
static void read_in_turn(kw_run_wait *self, uint64_t until_ns)
{
    kw_pipeline *pipeline = self->pipeline;
    for (size_t i = 0; i < pipeline->channels_n; i++) {
        kw_channel *channel = pipeline->channels[i];
        bool is_next = kw_channel_is_waiting(channel);
        if (is_next && self->reads_in_turn && !has_waiting(pipeline)) {
            read_one(self, channel, channel->flight.head, until_ns);
        }
        if (kw_channel_is_waiting(channel)) { /* or it has more */
            kw_pipeline_on_ready(pipeline, channel, POLLIN);
        }
    }
    for (size_t i = 0; i < pipeline->channels_n; i++) {
        kw_pipeline_list_channel(pipeline, pipeline->channels[i]);
    }
}

static size_t fill_sockets(kw_run_wait *self)
{
    size_t n = 0;
    for (size_t i = 0; i < self->pipeline->channels_n; i++) {
        const kw_channel *channel = self->pipeline->channels[i];
        if (kw_channel_is_waiting(channel)) {
            self->sockets[n].fd = channel->conn->socket;
            self->sockets[n].revents = 0;
            self->sockets[n++].events = kw_conn_events(channel->conn);
        }
    }
    return n;
}

/* Reads what sockets have just now, without a wait: there is other work to be done. */
static void look_at(kw_pipeline *pipeline, struct pollfd *sockets, size_t n)
{
    kw_env *env = &pipeline->topology->env;
    for (size_t i = 0; i < n; i++) {
        sockets[i].revents = 0;
    }
    if (n > 0) {
        (void)env->transport->poll_fn(env->transport->arg, sockets, n, 0);
    }
    kw_refresher_poke(&pipeline->topology->refresher, pipeline->scan.now_ns);
    kw_pipeline_begin_turn(pipeline);
}

static void wait_for(kw_pipeline *pipeline, struct pollfd *sockets, size_t n, uint64_t until_ns)
{
    if (kw_pipeline_is_unfinished(pipeline)) {
        look_at(pipeline, sockets, n);
        return;
    }
    kw_refresher_goal goal = {.until_ns = until_ns, .closing = pipeline->closing};
    goal.sockets = sockets;
    goal.sockets_n = n;
    goal.wakes_on_map = true;
    goal.changes_n = pipeline->changes_n; /* the map that it knows of */
    goal.fetch = pipeline->fetch;         /* and whose end some wait for, also without news */
    (void)kw_refresher_wait(&pipeline->topology->refresher, &pipeline->scan.failure, &goal);
    kw_pipeline_begin_turn(pipeline);
}

static void read_many(kw_run_wait *self, uint64_t until_ns)
{
    kw_pipeline *pipeline = self->pipeline;
    size_t n = fill_sockets(self);
    wait_for(pipeline, self->sockets, n, until_ns);
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

/* A fetch of the map is under way, or due: it goes on while a pipeline waits for sockets. */
static bool has_fetch(const kw_pipeline *pipeline)
{
    kw_topology *topology = pipeline->topology;
    return kw_driver_has_map(topology) &&
           atomic_load_explicit(&topology->refresher.due_ns, memory_order_relaxed) <=
               pipeline->scan.now_ns;
}

bool kw_run_wait_turn(kw_run_wait *self, uint64_t until_ns)
{
    if (!reserve(self)) {
        return false;
    }
    uint64_t next_ns = kw_pipeline_next_ns(self->pipeline);
    until_ns = kw_sooner(next_ns, until_ns);
    readers found = find_readers(self->pipeline);
    bool is_free = found.is_all && !has_fetch(self->pipeline);
    if (is_free && found.n == 1) {
        const kw_items *flight = &found.last->flight;
        read_one(self, found.last, self->is_shared ? flight->head : flight->tail, until_ns);
        kw_pipeline_list_channel(self->pipeline, found.last);
    } else if (is_free && found.n > 1 && self->reads_in_turn) {
        read_in_turn(self, until_ns);
    } else {
        read_many(self, until_ns);
    }
    return true;
}

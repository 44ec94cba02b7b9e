/* SPDX-License-Identifier: BSD-3-Clause */
/* What is done with the channels of a pipeline, and when: they are pumped, looked after while they
 * are silent, and given back. */
#include "drive/pipeline_private.h"

#include "base/error.h"

/* Connections that could not be looked at, since commands wait to be told of a loss, are looked
 * at again after this. */
#define TIDY_LATER_NS (100 * KW_NS_PER_MS)

/* What is queued for a node that cannot be had chooses its node again at most so often. */
#define REROUTE_NS (50 * KW_NS_PER_MS)

static bool has_nothing(const kw_channel *channel)
{
    return channel->queue.head == NULL && channel->flight.head == NULL;
}

static bool is_idle(const kw_channel *channel)
{
    return has_nothing(channel) && (channel->conn == NULL || channel->watch.events == POLLIN);
}

kw_channel *kw_pipeline_only_reader(const kw_pipeline *self)
{
    kw_channel *reader = NULL;
    for (size_t i = 0; i < self->channels_n; i++) {
        kw_channel *channel = self->channels[i];
        if (is_idle(channel)) {
            continue;
        }
        bool is_reading = channel->watch.socket >= 0 && channel->watch.events == POLLIN &&
                          channel->flight.head != NULL;
        if (reader != NULL || !is_reading) {
            return NULL;
        }
        reader = channel;
    }
    return reader;
}

/* When the channel is to be looked at without its socket's word. */
static uint64_t due_ns_of(const kw_channel *channel)
{
    if (channel->is_rerouting) {
        return channel->rerouted_ns + REROUTE_NS;
    }
    if (channel->conn == NULL) {
        uint64_t at_ns =
            channel->hope_ns < channel->retry_ns ? channel->hope_ns : channel->retry_ns;
        return channel->queue.head != NULL ? at_ns : UINT64_MAX;
    }
    if (channel->conn->state != KW_CONN_READY) {
        return kw_conn_due_ns(channel->conn);
    }
    return channel->flight.head != NULL ? kw_patience_next_ns(&channel->patience) : UINT64_MAX;
}

/* Deals with the commands that the pump put aside: held, or overtaken. */
static void settle(kw_pipeline *self)
{
    kw_pipeline_take_freed(self);
    if (self->scan.overtaken.head == NULL) {
        return;
    }
    kw_item *item;
    while ((item = kw_items_pop(&self->scan.overtaken)) != NULL) {
        item->state = KW_ITEM_ROUTING;
        if (kw_pipeline_has_op(self, item)) {
            kw_error failure = kw_error_none();
            kw_error_set(&failure, KW_OK, KW_EFFECT_NONE,
                         "it was refused before, and not sent again");
            kw_pipeline_note(self, item, &failure);
            kw_pipeline_apply(self, item, kw_op_on_overtaken(&item->retry_state->op));
        }
    }
}

/* True for a channel of one command that has ended, with nothing left to be told. */
static bool is_done(const kw_pipeline *self, const kw_channel *channel)
{
    return channel->is_exclusive && channel->pin == NULL && has_nothing(channel) &&
           !channel->is_listed && self->lost.head == NULL;
}

/* How many pieces of work that was. */
static unsigned pump(kw_pipeline *self, kw_channel *channel)
{
    unsigned work_n = 1;
    if (is_done(self, channel)) {
        kw_pipeline_remove_channel(self, channel);
        return work_n;
    }
    kw_err code = kw_channel_pump(channel, &self->scan);
    code = code == KW_OK ? kw_channel_watch(channel, &self->scan) : code;
    if (code != KW_OK) {
        kw_pipeline_fail_channel(self, channel, code);
    } else if (kw_channel_has_more(channel, &self->scan)) {
        kw_pipeline_list_channel(self, channel);
        work_n = KW_PIPELINE_LEAST_N; /* it has sent much */
        (void)kw_pipeline_look_at_clock(self, 0);
    }
    settle(self);
    if (is_done(self, channel)) {
        kw_pipeline_remove_channel(self, channel);
    } else {
        kw_pipeline_set_timer(self, channel, due_ns_of(channel));
    }
    return work_n;
}

void kw_pipeline_pump(kw_pipeline *self)
{
    kw_channel *last = self->listed != NULL ? self->last_listed : NULL;
    for (size_t n = 0; last != NULL && kw_pipeline_may_work(self, n);) {
        kw_channel *channel = self->listed;
        last = channel != last ? last : NULL; /* those that are listed meanwhile come later */
        self->listed = channel->next_listed;
        channel->is_listed = false;
        n += pump(self, channel);
    }
}

void kw_pipeline_fill(kw_pipeline *self)
{
    for (kw_channel *channel = self->listed; channel != NULL; channel = channel->next_listed) {
        kw_err code = kw_channel_fill(channel, &self->scan);
        if (code != KW_OK) {
            kw_pipeline_fail_channel(self, channel, code);
        }
        settle(self);
    }
}

/* Lets the commands that are queued for a node that cannot be had choose their nodes again. */
static void reroute(kw_pipeline *self, kw_channel *channel)
{
    /* Behind a read that leaves with the greeting they stay: it may be of their keys. */
    bool is_waiting = channel->conn == NULL ||
                      (channel->conn->state != KW_CONN_READY && channel->flight.head == NULL);
    channel->is_rerouting = is_waiting && channel->queue.head != NULL;
    if (!channel->is_rerouting || self->scan.now_ns < channel->rerouted_ns + REROUTE_NS) {
        return;
    }
    channel->is_rerouting = false;
    channel->rerouted_ns = self->scan.now_ns;
    kw_channel_take_queue(channel, &self->routing);
}

/* A node that is silent for too long makes the map suspect, and loses its commands once their slot
 * has another owner; a connection that owes answers to nobody but them is given up. */
static void check_silence(kw_pipeline *self, kw_channel *channel)
{
    kw_item *first = channel->flight.head;
    if (first == NULL || channel->conn->state != KW_CONN_READY) {
        return;
    }
    uint64_t lost_ns = 0;
    if (first->state != KW_ITEM_GONE) {
        lost_ns = kw_driver_lost_ns(self->topology, &first->plan, channel->node, first->is_asking);
    }
    kw_patience_step step = kw_patience_on_time(&channel->patience, self->scan.now_ns, lost_ns);
    if (step.kind == KW_PATIENCE_LOOK && !channel->is_exclusive) {
        kw_node_doubt(channel->node, channel->conn, self->scan.now_ns);
    }
    if (step.kind == KW_PATIENCE_LOOK && kw_driver_has_map(self->topology)) {
        (void)kw_refresher_want(&self->topology->refresher);
    }
    if (step.kind == KW_PATIENCE_GIVE_UP) {
        kw_error_set(&self->scan.failure, KW_ERR_CLOSED, KW_EFFECT_MAYBE, "%s",
                     lost_ns != 0 ? "no answer, and the slot belongs to another node now"
                                  : "no answer to a command before it, for too long");
        kw_pipeline_fail_channel(self, channel, KW_ERR_CLOSED);
    }
}

/* Whether the node is still waited for is asked when that may have changed. */
static void check_hope(kw_pipeline *self, kw_channel *channel)
{
    bool is_due = channel->conn == NULL && self->scan.now_ns >= channel->hope_ns;
    if (is_due && channel->queue.head != NULL && channel->loss != NULL) {
        self->scan.failure = channel->loss->failure;
        kw_pipeline_tell_channel(self, channel, channel->failure);
    }
}

static void on_time(kw_pipeline *self, kw_channel *channel)
{
    check_hope(self, channel);
    if (channel->is_rerouting) {
        reroute(self, channel);
    }
    check_silence(self, channel);
    kw_pipeline_list_channel(self, channel);
}

void kw_pipeline_run_timers(kw_pipeline *self)
{
    for (size_t n = 0; kw_heap_first_ns(&self->timers) != UINT64_MAX; n++) {
        kw_heap_entry *entry = kw_heap_first(&self->timers);
        kw_channel *channel = (kw_channel *)(void *)((char *)entry - offsetof(kw_channel, timer));
        uint64_t due_ns = due_ns_of(channel);
        /* One that is early does no harm, but to a host that has nothing else to do. */
        if (entry->at_ns > self->scan.now_ns && (due_ns == entry->at_ns || self->open_n > 0)) {
            break;
        }
        kw_heap_remove(&self->timers, entry);
        if (due_ns <= self->scan.now_ns) {
            on_time(self, channel); /* its pump sets the timer again */
        } else {
            kw_pipeline_set_timer(self, channel, due_ns);
        }
        if (!kw_pipeline_may_work(self, n)) {
            break;
        }
    }
}

void kw_pipeline_on_map(kw_pipeline *self)
{
    for (size_t i = 0; i < self->channels_n; i++) {
        kw_channel *channel = self->channels[i];
        reroute(self, channel);
        check_silence(self, channel);
        kw_pipeline_set_timer(self, channel, due_ns_of(channel));
    }
}

static bool is_needless(const kw_pipeline *self, const kw_channel *channel,
                        const kw_snapshot *snapshot)
{
    if (!has_nothing(channel) || channel->is_listed || channel->pin != NULL) {
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
    uint64_t pause_ns = self->topology->env.options.pool_idle_ms * KW_NS_PER_MS / 2 + 1;
    if (long_lived->tidied_changes_n == changes_n && !is_late) {
        return;
    }
    if (self->lost.head != NULL) { /* they may name the node of a channel with nothing to do */
        pause_ns = pause_ns < TIDY_LATER_NS ? pause_ns : TIDY_LATER_NS;
        long_lived->tidy_ns = self->scan.now_ns + pause_ns;
        return;
    }
    kw_snapshot *snapshot = kw_topology_snapshot(self->topology);
    for (size_t i = self->channels_n; i > 0; i--) {
        if (is_needless(self, self->channels[i - 1], snapshot)) {
            kw_pipeline_remove_channel(self, self->channels[i - 1]);
        }
    }
    kw_snapshot_unref(snapshot);
    long_lived->tidied_changes_n = changes_n;
    long_lived->tidy_ns = self->scan.now_ns + pause_ns;
}

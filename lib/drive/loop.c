/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands with callbacks: accepted from any thread, carried by one, told outside of every
 * lock. */
#include "drive/loop_private.h"

#include "topology/topology_tend.h"
#include "drive/loop_guests.h"
#include "drive/loop_pins.h"
#include "base/error.h"

#include <string.h>

/* A callback that gives another command is followed at once, this many times; then the host
 * gets its turn. */
#define ROUNDS_MAX 16

/* Who only sends leaves sockets alone for so long. */
#define LOOK_NS (1 * KW_NS_PER_MS)

/* From so many commands under way on, a second look at the sockets pays. */
#define MUCH_N 10

/* Blocks that are kept for the next commands at most. */
#define BLOCKS_MAX 1024

static inline void free_async(kw_loop *self, kw_async_command *command)
{
    kw_async_command_fini(command, self->topology);
    if (command->size == KW_BLOCK_OF_ITS_OWN || self->used.n + self->kept_n >= BLOCKS_MAX) {
        kw_loop_blocks_free(command, &self->topology->env.mem);
        return;
    }
    kw_loop_blocks_put(&self->used, command);
}

static void on_ended(kw_pipeline *pipeline, kw_item *item)
{
    kw_loop *self = (kw_loop *)pipeline->owner;
    kw_async_command *command = item->owner;
    if (--command->open_n == 0) {
        kw_async_commands_push(&self->done, command);
    }
}

static void on_dropped(kw_pipeline *pipeline, kw_item *item)
{
    kw_async_command *command = item->owner;
    if (command->is_delivered && !kw_async_command_is_held(command)) {
        free_async((kw_loop *)pipeline->owner, command);
    }
}

static kw_loop *new_loop(kw_topology *topology, kw_error *error)
{
    kw_loop *self = kw_mem_calloc(&topology->env.mem, 1, sizeof(*self));
    if (self == NULL || kw_monitor_init(&self->monitor) != KW_OK) {
        kw_mem_free(&topology->env.mem, self);
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for an event loop");
        return NULL;
    }
    self->topology = topology;
    if (kw_poller_init(&self->poller, error, &topology->env) != KW_OK) {
        kw_monitor_fini(&self->monitor);
        kw_mem_free(&topology->env.mem, self);
        return NULL;
    }
    kw_pipeline_init(&self->pipeline, topology);
    self->pipeline.owner = self;
    self->pipeline.scan.poller = &self->poller;
    self->long_lived.on_ended = on_ended;
    self->long_lived.on_dropped = on_dropped;
    kw_pipeline_live_long(&self->pipeline, &self->long_lived, false);
    self->next_ns = UINT64_MAX;
    self->told_ns = UINT64_MAX;
    self->sleeper = pthread_self();
    return self;
}

static void free_loop(kw_loop *self, bool has_forked)
{
    const kw_allocator *mem = &self->topology->env.mem;
    kw_pipeline_fini(&self->pipeline);
    kw_loop_end_pins(self);
    kw_poller_fini(&self->poller, has_forked);
    kw_loop_blocks_fini(&self->blocks, mem);
    kw_loop_blocks_fini(&self->used, mem);
    kw_loop_cancels_fini(&self->cancels, mem);
    kw_loop_cancels_fini(&self->cancelled, mem);
    kw_monitor_fini(&self->monitor);
    kw_mem_free(mem, self);
}

kw_loop *kw_loop_need(kw_topology *topology, kw_error *error, kw_loop_place *place,
                      kw_call_counts *counts)
{
    kw_loop *loop = kw_loop_at(place);
    if (loop != NULL) {
        return loop;
    }
    kw_loop *fresh = new_loop(topology, error);
    if (fresh == NULL) {
        return NULL;
    }
    fresh->place = place;
    fresh->counts = counts;
    if (!atomic_compare_exchange_strong(place, &loop, fresh)) {
        free_loop(fresh, false); /* another thread was first */
        return loop;
    }
    return fresh;
}

/* What the processing thread has used goes back to all; the monitor is held. */
static void return_blocks(kw_loop *self)
{
    kw_loop_discharge(self, self->told_n, self->told_len);
    self->told_n = 0;
    self->told_len = 0;
    self->kept_n = self->blocks.n + self->used.n;
    kw_loop_blocks_move(&self->blocks, &self->used);
}

/* Gives the pipeline what was accepted, as far as the turn has time. */
static void add_some(kw_loop *self)
{
    if (self->backlog.head == NULL) {
        return;
    }
    kw_snapshot *snapshot = kw_topology_snapshot(self->topology);
    for (size_t n = 0; self->backlog.head != NULL && kw_pipeline_may_work(&self->pipeline, n);
         n++) {
        kw_loop_add_items(self, kw_async_commands_pop(&self->backlog), snapshot);
    }
    kw_snapshot_unref(snapshot);
}

/* Everything that needs no socket's word. */
static void advance(kw_loop *self)
{
    kw_refresher *refresher = &self->topology->refresher;
    uint64_t ended_n;
    kw_topology_tend(self->topology, self->pipeline.scan.now_ns);
    do {
        ended_n = kw_refresher_ended_n(refresher);
        kw_pipeline_advance(&self->pipeline);
        /* A map may be wanted now, and be there at once for those who wait for it. */
        kw_topology_tend(self->topology, self->pipeline.scan.now_ns);
    } while (kw_refresher_ended_n(refresher) != ended_n);
    kw_pipeline_tidy(&self->pipeline);
}

static void count_told(kw_loop *self, const kw_async_command *command)
{
    self->told_n++;
    self->told_len += command->len;
}

/* A reply that is not simply the item's, or none. */
static void tell(kw_loop *self, kw_async_command *command)
{
    kw_error error = kw_error_none();
    kw_reply_fn fn = command->fn;
    void *arg = command->arg;
    kw_reply *reply = kw_async_command_take(command, &error);
    if (!command->item.is_pause) {
        kw_call_counts_add(self->counts, 1, reply == NULL ? 1 : 0);
    }
    count_told(self, command);
    command->is_delivered = true;
    if (!kw_async_command_is_held(command)) {
        free_async(self, command);
    }
    fn(arg, reply, reply == NULL ? &error : NULL);
}

static inline void deliver_one(kw_loop *self, kw_async_command *command)
{
    if (command->item.retry_state != NULL) {
        kw_pin_on_told(&command->item);
    }
    if (command->more != NULL && kw_async_command_go_on(self->topology, command)) {
        kw_snapshot *snapshot = kw_topology_snapshot(self->topology);
        kw_loop_add_items(self, command, snapshot);
        kw_snapshot_unref(snapshot);
        return;
    }
    if (command->more != NULL || command->item.code != KW_OK) {
        tell(self, command);
        return;
    }
    kw_reply_fn fn = command->fn;
    void *arg = command->arg;
    kw_reply *reply = command->item.request.reply;
    command->item.request.reply = NULL;
    kw_call_counts_add(self->counts, 1, 0);
    count_told(self, command);
    free_async(self, command);
    fn(arg, reply, NULL);
}

/* What is left of those that have ended comes before what ended meanwhile. */
static void put_back(kw_loop *self, kw_async_commands *ended)
{
    kw_async_commands_append(ended, &self->done);
    self->done = *ended;
}

/* False where a callback has ended it all. */
static bool deliver(kw_loop *self)
{
    if (self->done.head == NULL) {
        return true;
    }
    /* What ends while these are told of is told in the next round. */
    kw_async_commands ended = self->done;
    memset(&self->done, 0, sizeof(self->done));
    for (size_t n = 0; ended.head != NULL && kw_pipeline_may_work(&self->pipeline, n); n++) {
        deliver_one(self, kw_async_commands_pop(&ended));
        if (kw_loop_is_over(self)) {
            put_back(self, &ended);
            return false;
        }
    }
    put_back(self, &ended);
    return true;
}

static kw_err begin(kw_loop *self, kw_error *error, bool *is_mine, bool *was_signalled)
{
    kw_err code = KW_OK;
    kw_monitor_lock(&self->monitor);
    *is_mine = !self->is_processing && !self->wants_closing;
    if (*is_mine) {
        kw_loop_begin(self);
        self->has_guests = self->guests != NULL;
        *was_signalled = self->is_signalled;
        self->is_signalled = false;
    } else if (kw_loop_is_inside(self)) {
        code = KW_ERR_REFUSED;
    }
    kw_monitor_unlock(&self->monitor);
    if (code != KW_OK) {
        kw_error_set(error, code, KW_EFFECT_NONE,
                     "kw_process was called from a callback, which it is waiting for");
    }
    return code;
}

/* What a turn does with the inbox. */
typedef enum inbox_act {
    INBOX_TAKE, /* go on in any case */
    INBOX_TAKE_OR_LEAVE,
    INBOX_LEAVE /* what is there is for the next call */
} inbox_act;

/* Everything that was accepted; the monitor is held. */
static void take_accepted(kw_loop *self)
{
    kw_async_commands_append(&self->backlog, &self->inbox);
    kw_async_commands_append(&self->backlog, &self->given);
    memset(&self->inbox, 0, sizeof(self->inbox));
    memset(&self->given, 0, sizeof(self->given));
    if (self->cancels.n > 0) {
        self->cancelled = self->cancels; /* empty: what it had was done at once */
        memset(&self->cancels, 0, sizeof(self->cancels));
    }
}

/* True where something is to be done at once; the monitor is held. */
static bool has_more(const kw_loop *self)
{
    return self->inbox.head != NULL || self->given.head != NULL || self->done.head != NULL ||
           self->backlog.head != NULL || self->cancels.n > 0 || self->has_cut ||
           kw_loop_has_free_pin(self) || (self->guests != NULL && !self->has_guests) ||
           kw_pipeline_is_unfinished(&self->pipeline);
}

/* False: another thread may process now. */
static bool take_inbox(kw_loop *self, inbox_act act)
{
    bool wakes = false;
    kw_monitor_lock(&self->monitor);
    return_blocks(self);
    bool is_more = has_more(self);
    bool goes_on = act == INBOX_TAKE || (act == INBOX_TAKE_OR_LEAVE && is_more);
    if (goes_on) {
        take_accepted(self);
    } else {
        self->next_ns = kw_loop_next_ns(self);
        /* A host that sleeps has to hear of an earlier time. */
        bool is_other = !pthread_equal(self->sleeper, self->processor);
        wakes = is_more || (is_other && self->next_ns < self->told_ns);
        atomic_store(&self->is_processing, false);
        self->is_signalled = wakes;
    }
    /* Once it is left, all that is here may be another thread's already. */
    bool has_cancelled = goes_on && self->cancelled.n > 0;
    bool has_leaving = goes_on && self->has_leaving;
    kw_monitor_unlock(&self->monitor);
    if (has_cancelled) {
        kw_loop_give_up(self);
    }
    if (has_leaving) {
        kw_loop_let_pins_go(self);
    }
    if (wakes) {
        kw_poller_wake(&self->poller);
    }
    return goes_on;
}

/* Before more is read: callbacks for what is there, and the next commands. False where a
 * callback ended it all. */
static bool feed(kw_loop *self)
{
    if (self->done.head == NULL) {
        return true;
    }
    if (!deliver(self)) {
        return false;
    }
    (void)take_inbox(self, INBOX_TAKE);
    self->pipeline.scan.now_ns = kw_env_now(&self->topology->env); /* callbacks take time */
    add_some(self);
    kw_pipeline_fill(&self->pipeline);
    return true;
}

/* All that one socket has, some replies at a time, as far as the turn has time. */
static bool read_channel(kw_loop *self, kw_channel *channel, short revents)
{
    if (!kw_pipeline_has_left(channel)) {
        kw_pipeline_on_ready(&self->pipeline, channel, revents);
    }
    for (size_t n = 0; kw_pipeline_has_left(channel); n++) {
        if (!kw_pipeline_may_work(&self->pipeline, n)) {
            self->has_cut = true;
            return true;
        }
        if (!feed(self)) {
            return false;
        }
        if (kw_pipeline_has_left(channel)) { /* it may have been lost meanwhile */
            kw_pipeline_go_on(&self->pipeline, channel);
        }
    }
    return true;
}

/* What every socket has. False where a callback ended it all. */
static bool look(kw_loop *self)
{
    kw_pipeline *pipeline = &self->pipeline;
    kw_poller_look(&self->poller);
    for (size_t i = 0; i < pipeline->channels_n; i++) {
        kw_channel *channel = pipeline->channels[i];
        short revents = channel->watch.revents;
        channel->watch.revents = 0;
        bool has_something = revents != 0 || kw_pipeline_has_left(channel);
        if (has_something && (!read_channel(self, channel, revents) || !feed(self))) {
            return false;
        }
    }
    return true;
}

static bool read_sockets(kw_loop *self, bool is_signalled)
{
    /* Where one socket is waited for, the question whether it has something and the answer are
     * one system call. */
    kw_channel *reader = is_signalled ? NULL : kw_pipeline_only_reader(&self->pipeline);
    self->has_cut = false;
    self->looked_ns = self->pipeline.scan.now_ns;
    if (reader != NULL) {
        bool goes_on = read_channel(self, reader, POLLIN);
        if (!goes_on || self->done.head != NULL) {
            return goes_on;
        }
    }
    /* Where much is under way, some has come while the rest was read: the next commands leave
     * together, which costs both sides less. */
    return look(self) && (self->pipeline.open_n < MUCH_N || reader != NULL || look(self));
}

/* False where a callback ended the handle, or its process. */
static bool turn(kw_loop *self, bool was_signalled, bool hastens)
{
    inbox_act act = INBOX_TAKE;
    kw_pipeline_begin_turn(&self->pipeline);
    bool reads = !hastens || was_signalled || self->has_cut ||
                 self->pipeline.scan.now_ns >= self->looked_ns + LOOK_NS;
    if (reads && !read_sockets(self, was_signalled)) {
        return false;
    }
    if (self->has_guests) {
        kw_loop_guests_process(self);
        if (kw_loop_is_over(self)) {
            return false;
        }
    }
    for (unsigned round = 0;; round++) {
        if (!deliver(self)) {
            return false;
        }
        if (!take_inbox(self, act)) {
            return true;
        }
        self->pipeline.scan.now_ns = kw_env_now(&self->topology->env); /* callbacks take time */
        add_some(self);
        advance(self);
        bool goes_on = round < ROUNDS_MAX && !self->pipeline.is_late;
        act = goes_on ? INBOX_TAKE_OR_LEAVE : INBOX_LEAVE;
    }
}

/* Whoever waits for the turn's end to leave the loop is waited for by the handle's end. */
static void leave_closed(kw_loop *self)
{
    kw_monitor_lock(&self->monitor);
    atomic_store(&self->is_processing, false);
    kw_monitor_unlock(&self->monitor);
}

static kw_err process(kw_loop *self, kw_error *error, bool hastens)
{
    bool is_mine;
    bool was_signalled = false;
    kw_err code = begin(self, error, &is_mine, &was_signalled);
    if (code != KW_OK || !is_mine || turn(self, was_signalled, hastens)) {
        return code;
    }
    if (self->wants_closing) {
        leave_closed(self);
        return kw_error_set(error, KW_ERR_CANCELLED, KW_EFFECT_NONE,
                            "a callback has closed the handle");
    }
    return kw_error_set(error, KW_ERR_FORKED, KW_EFFECT_NONE,
                        "a callback has forked; the commands under way are the parent's");
}

kw_err kw_loop_process(kw_loop *self, kw_error *error)
{
    return process(self, error, false);
}

void kw_loop_hasten(kw_loop *self)
{
    (void)process(self, NULL, true);
}

/* Ends every command; what a turn would do is done without a socket. */
static void end_all(kw_loop *self)
{
    kw_monitor_lock(&self->monitor);
    kw_loop_begin(self);
    take_accepted(self);
    kw_monitor_unlock(&self->monitor);
    while (self->backlog.head != NULL) {
        kw_pipeline_begin_turn(&self->pipeline);
        add_some(self);
    }
    kw_pipeline_end_all(&self->pipeline, KW_ERR_CANCELLED);
}

void kw_loop_end(kw_loop *self)
{
    end_all(self);
    while (self->done.head != NULL) {
        deliver_one(self, kw_async_commands_pop(&self->done));
        if (self->pipeline.open_n > 0) {
            kw_pipeline_end_all(&self->pipeline, KW_ERR_CANCELLED);
        }
    }
    free_loop(self, false);
}

void kw_loop_abandon(kw_loop *self, const kw_error *told)
{
    atomic_bool *is_closing = &self->topology->env.is_closing;
    bool was_closing = atomic_exchange(is_closing, true);
    self->pipeline.scan.poller = NULL; /* the parent's as well */
    end_all(self);
    kw_async_command *command;
    while ((command = kw_async_commands_pop(&self->done)) != NULL) {
        kw_reply_fn fn = command->fn;
        void *arg = command->arg;
        free_async(self, command);
        if (told != NULL) {
            fn(arg, NULL, told);
        }
    }
    free_loop(self, true);
    atomic_store(is_closing, was_closing);
}

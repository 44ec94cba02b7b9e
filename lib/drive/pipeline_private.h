/* SPDX-License-Identifier: BSD-3-Clause */
/* Pipeline: what its sources share. A pipeline is told which commands there are and which sockets
 * are ready, and says when it wants to go on; it never waits, and does bounded work at a time. A
 * batch waits for it (pipeline.c), an event loop does not (loop.c). */
#ifndef DRIVE_PIPELINE_PRIVATE_H
#define DRIVE_PIPELINE_PRIVATE_H

#include "drive/channel.h"
#include "drive/pipeline.h"

typedef struct kw_pipeline kw_pipeline;

/* What a long-lived pipeline has besides: its commands come and go, each with its own deadline. */
typedef struct kw_pipeline_long_lived {
    /* A command has ended, and is the caller's again unless its state becomes GONE: then it
     * stays until on_dropped. They may not call the pipeline. */
    void (*on_ended)(kw_pipeline *pipeline, kw_item *item);
    void (*on_dropped)(kw_pipeline *pipeline, kw_item *item);
    kw_item *due_head; /* by their deadlines: mostly those who come later end later .. */
    kw_item *due_tail;
    kw_heap due;               /* .. and the others */
    uint64_t tidied_changes_n; /* the map by which connections were tidied last */
    uint64_t tidy_ns;          /* when idle connections are looked at next */
} kw_pipeline_long_lived;

/* Channels by their nodes. */
typedef struct kw_channel_table {
    kw_channel **slots; /* open addressing; a power of two of them, or none */
    size_t slots_n;
    size_t n;
} kw_channel_table;

/* So many channels need no memory of their own. */
#define KW_PIPELINE_INLINE 4

/* A pipeline on its way. */
struct kw_pipeline {
    kw_topology *topology;
    kw_pipeline_long_lived *long_lived; /* NULL: of a batch */
    void *owner;                        /* for whoever made it long_lived */
    kw_channel_scan scan;               /* with the time of this turn; its held ones are all that
                                           are */
    kw_channel **channels;
    size_t channels_n;
    size_t channels_capacity;
    kw_channel_table shared; /* those of many commands */
    kw_channel *latest;      /* the one of them that was found last; or NULL */
    kw_channel *listed;      /* those that have something to do, in their order */
    kw_channel *last_listed; /* where there are any */
    kw_heap timers;          /* of channels */
    kw_ordering ordering;
    bool is_ordered;            /* a batch is, once anything goes wrong */
    bool is_unordered;          /* and this one never is */
    bool has_no_memory;         /* to keep the order: all that is left ends */
    bool has_failed;            /* one at least ended without a reply */
    const atomic_bool *closing; /* of a batch: kw_env_is_closing */
    kw_item *items;             /* of a batch */
    size_t items_n;
    kw_items routing; /* ROUTING ones: their node is to be chosen */
    kw_items mapless; /* came before the first map, behind .. */
    kw_item *leader;  /* .. the one whose op waits for it; NULL: none */
    kw_err mapless_code;
    kw_loss *mapless_loss; /* why its op has failed, for those behind it; or NULL */
    kw_loss *noted;        /* what kw_pipeline_note noted last; or NULL */
    kw_items lost;         /* LOST ones: their ops are to be told */
    kw_items asleep;       /* SLEEPING and REFRESHING ones .. */
    kw_heap wakes;         /* .. by their times */
    kw_item *told;         /* the next of them to be told of a new map; NULL: all have been */
    uint64_t fetch;        /* a fetch that some of them wait for (0: none) */
    uint64_t changes_n;    /* the map that commands were told of last */
    size_t open_n;         /* commands that have not ended */
    uint64_t turn_end_ns;
    unsigned work_n; /* pieces of work since the clock was looked at */
    bool is_late;    /* the turn has taken its time */
    kw_story *story; /* for whoever watches, of a command without a retry_state whose try has just
                        ended; NULL: nothing is kept */
    kw_random random;
    kw_channel *few[2 * KW_PIPELINE_INLINE]; /* the first memory of channels */
    kw_channel inlined[KW_PIPELINE_INLINE];  /* last: without a node it is free */
};

void kw_pipeline_init(kw_pipeline *self, kw_topology *topology);

/* Its commands come and go; long_lived's callbacks are set. is_unordered: whoever gives them keeps
 * what order there is. */
void kw_pipeline_live_long(kw_pipeline *self, kw_pipeline_long_lived *long_lived,
                           bool is_unordered);

/* Gives all connections back. Every command has ended. */
void kw_pipeline_fini(kw_pipeline *self);

/* A new turn: what follows is bounded by its time. */
void kw_pipeline_begin_turn(kw_pipeline *self);

/* Of each kind of work so much is done in every turn, however late it is. */
#define KW_PIPELINE_LEAST_N 16u

/* True while the turn has time; n: what has been done of this kind of work, of which some is done
 * in each turn. */
bool kw_pipeline_look_at_clock(kw_pipeline *self, size_t n);
static inline bool kw_pipeline_may_work(kw_pipeline *self, size_t n)
{
    /* So many pieces of work go between two looks at the clock. */
    return (!self->is_late && ++self->work_n % 128 != 0) || kw_pipeline_look_at_clock(self, n);
}

/* A new command, by snapshot (NULL: no map yet). Its plan, encoded bytes and owner are set. It may
 * end at once. */
void kw_pipeline_add(kw_pipeline *self, kw_item *item, const kw_snapshot *snapshot);

/* Goes on with what waits for no socket: sleepers, deadlines, what is to be sent. */
void kw_pipeline_advance(kw_pipeline *self);

/* True where the turn has left something to be done at once. */
bool kw_pipeline_is_unfinished(const kw_pipeline *self);

/* Puts what waits to be sent on connections; kw_pipeline_advance sends it. */
void kw_pipeline_fill(kw_pipeline *self);

/* The only channel that awaits something, where that can be nothing but bytes to read; else NULL.
 */
kw_channel *kw_pipeline_only_reader(const kw_pipeline *self);

/* Goes on with a channel whose socket has something. */
void kw_pipeline_on_ready(kw_pipeline *self, kw_channel *channel, short revents);

/* Goes on with the replies that it has left, while that is true of the channel. */
static inline bool kw_pipeline_has_left(const kw_channel *channel)
{
    return channel->conn != NULL && channel->conn->is_cut;
}
void kw_pipeline_go_on(kw_pipeline *self, kw_channel *channel);

/* The next moment at which something is to be done without a socket's word. */
uint64_t kw_pipeline_next_ns(const kw_pipeline *self);

/* Ends what has not ended: the deadline came, or the handle is closed. */
void kw_pipeline_end_all(kw_pipeline *self, kw_err code);

/* Gives back what a long-lived pipeline needs no more: connections that are idle for long, or to
 * nodes that left the map. */
void kw_pipeline_tidy(kw_pipeline *self);

/* In pipeline_items.c: the life of one command. */

/* The op of a command, brought to where the command is; false, and the command has ended,
 * when there is no memory. */
bool kw_pipeline_has_op(kw_pipeline *self, kw_item *item);

void kw_pipeline_end_item(kw_pipeline *self, kw_item *item, kw_err code);

/* Where the last SEND step, or the map, sends the command. snapshot: that of this moment, or
 * NULL. */
void kw_pipeline_route(kw_pipeline *self, kw_item *item, const kw_snapshot *snapshot);

/* Does what the op of the command says. */
void kw_pipeline_apply(kw_pipeline *self, kw_item *item, kw_step step);

/* A command has its reply. */
void kw_pipeline_on_answer(kw_pipeline *self, kw_item *item);

/* The try of a command has ended without a reply, as loss says; has_left: its own. */
void kw_pipeline_fail_try(kw_pipeline *self, kw_item *item, kw_loss *loss, bool has_left);

/* In pipeline_story.c: what a command is told. */

/* The failure stood in the way of the command, which has a retry_state. Commands that say so of the
 * same one after another share it. */
void kw_pipeline_note(kw_pipeline *self, kw_item *item, const kw_error *failure);

/* The story of a command whose op has failed, which is the command's from now on. */
void kw_pipeline_explain(kw_pipeline *self, kw_item *item, const kw_step *step);

/* True where more commands await replies of the channel than the processor has near by itself. */
static inline bool kw_pipeline_has_many(const kw_channel *channel)
{
    return channel->conn != NULL && channel->conn->owners.count > KW_CHANNEL_MANY_N;
}

/* In pipeline_ahead.c: of the channel's next replies given_n have been collected; those of the next
 * but one time come soon. */
void kw_pipeline_look_ahead(const kw_channel *channel, size_t given_n);

/* In pipeline_show.c, for when somebody watches. */

/* Tells how a try has ended: with a reply, or with code. */
void kw_pipeline_show_try(kw_pipeline *self, kw_item *item, kw_err code);

/* Tells that a command has ended, before other commands go on for it. */
void kw_pipeline_show_end(kw_pipeline *self, kw_item *item, kw_err code);

/* In pipeline_waits.c: commands that wait for something else than their reply. */

/* Its op sleeps, or waits for a map; false when there is no memory. */
bool kw_pipeline_put_to_sleep(kw_pipeline *self, kw_item *item, const kw_step *step);

/* A command without a map. */
void kw_pipeline_wait_for_map(kw_pipeline *self, kw_item *item);

/* From now on commands of one key are in order; false when there is no memory. */
bool kw_pipeline_need_ordering(kw_pipeline *self);

/* What the ordering has freed chooses its node again. */
void kw_pipeline_route_freed(kw_pipeline *self);
static inline void kw_pipeline_take_freed(kw_pipeline *self)
{
    if (self->ordering.freed != NULL) {
        kw_pipeline_route_freed(self);
    }
}

/* Takes the command out of whatever list its state says. */
void kw_pipeline_unlist(kw_pipeline *self, kw_item *item);

/* Watches the deadline of the command, of a long-lived pipeline; false when there is no memory. */
bool kw_pipeline_watch_deadline(kw_pipeline *self, kw_item *item);
void kw_pipeline_unwatch_deadline(kw_pipeline *self, kw_item *item);

/* The deadline of the command is now. */
void kw_pipeline_hurry(kw_pipeline *self, kw_item *item);

/* The least fetch that a sleeper waits for is at most that of the item, where it waits for one. */
void kw_pipeline_note_fetch(kw_pipeline *self, const kw_item *item);

/* Takes one out that sleeps. */
void kw_pipeline_remove_sleeper(kw_pipeline *self, kw_item *item);

/* The command whose deadline comes first; NULL: there is none. */
kw_item *kw_pipeline_first_due(const kw_pipeline_long_lived *long_lived);

/* When the first deadline comes. */
uint64_t kw_pipeline_due_ns(const kw_pipeline *self);

/* Ends the commands whose deadline has come. */
void kw_pipeline_expire(kw_pipeline *self);

/* In pipeline_cancel.c: */

/* True for a command that is to be given up. */
typedef bool (*kw_pipeline_match_fn)(const void *arg, const kw_item *item);

/* Gives up those commands of a long-lived pipeline that match: they end with KW_ERR_CANCELLED in
 * kw_pipeline_expire, which has to follow; first those that were not sent. */
void kw_pipeline_cancel(kw_pipeline *self, kw_pipeline_match_fn match_fn, const void *arg);

/* A story for a command that was given up; NULL when there is no memory. */
kw_loss *kw_pipeline_loss_of_cancelled(kw_pipeline *self, const kw_item *item, bool has_left);

/* Goes on with those whose pause is over, whose map is there, or whose node is to be chosen. */
void kw_pipeline_wake(kw_pipeline *self);

/* True where sleepers have not been told yet of a new map, or of the end of a fetch. */
bool kw_pipeline_has_map_news(const kw_pipeline *self);

/* In pipeline_channels.c: the life of connections. */

/* The channel to the node, new if need be; NULL when there is no memory. */
kw_channel *kw_pipeline_channel(kw_pipeline *self, kw_node *node, bool is_exclusive);

/* The channel has something to do. */
static inline void kw_pipeline_list_channel(kw_pipeline *self, kw_channel *channel)
{
    if (!channel->is_listed) {
        channel->is_listed = true;
        channel->next_listed = NULL;
        *(self->listed != NULL ? &self->last_listed->next_listed : &self->listed) = channel;
        self->last_listed = channel;
    }
}

/* The channel is looked at again at that time, or before. */
void kw_pipeline_set_timer(kw_pipeline *self, kw_channel *channel, uint64_t at_ns);

/* Ends, or sends on, every command of the channel that was answered. */
void kw_pipeline_collect(kw_pipeline *self, kw_channel *channel);

/* Those who wait for the channel are told that its connection, or the way to it, is lost: code says
 * why. */
void kw_pipeline_tell_channel(kw_pipeline *self, kw_channel *channel, kw_err code);

/* Likewise, and it was lost just now: the next try to open one comes later. */
void kw_pipeline_fail_channel(kw_pipeline *self, kw_channel *channel, kw_err code);

/* A story for what is lost now, as scan.failure tells it; NULL when there is no memory. */
kw_loss *kw_pipeline_new_loss(kw_pipeline *self, const kw_try_end *end, const kw_node *node);

/* What a command that waits on the channel's queue waits for, at its deadline; and why one that
 * was sent has no answer then. The channel's; NULL when there is no memory. */
kw_loss *kw_pipeline_loss_of_queued(kw_pipeline *self, kw_channel *channel);
kw_loss *kw_pipeline_loss_of_late(kw_pipeline *self, kw_channel *channel, const kw_item *item);

/* Takes the channel, which has nothing to do, away. */
void kw_pipeline_remove_channel(kw_pipeline *self, kw_channel *channel);

/* The map has changed: who is silent may have lost its slots, and what waits for a connection
 * chooses its node again. */
void kw_pipeline_on_map(kw_pipeline *self);

/* Goes on with channels whose time has come, or that have something to do. */
void kw_pipeline_run_timers(kw_pipeline *self);
void kw_pipeline_pump(kw_pipeline *self);

#endif

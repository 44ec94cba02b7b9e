/* SPDX-License-Identifier: BSD-3-Clause */
/* Pipeline, its parts: what the driver of many commands is made of. A pipeline is told which
 * commands there are and which sockets are ready, and says when it wants to go on; it never waits.
 * A batch waits for it (pipeline.c), an event loop does not (loop.c). */
#ifndef DRIVE_PIPELINE_PRIVATE_H
#define DRIVE_PIPELINE_PRIVATE_H

#include "drive/channel.h"
#include "drive/pipeline.h"

typedef struct kw_pipeline kw_pipeline;

#define KW_PIPELINE_SLOTS_N 1024u

/* What a pipeline has besides whose commands come and go, each with its own deadline. */
typedef struct kw_pipeline_long_lived {
    /* A command has ended, and is the caller's again unless its state becomes GONE: then it
     * stays until on_dropped. They may not call the pipeline. */
    void (*on_ended)(kw_pipeline *pipeline, kw_item *item);
    void (*on_dropped)(kw_pipeline *pipeline, kw_item *item);
    uint64_t due_ns;      /* no command on a channel has an earlier deadline */
    uint64_t fence_order; /* commands before this one were sent by an older map .. */
    size_t fenced_n;      /* .. and so many of them are under way */
    uint64_t fence_changes_n;
    size_t retried_n; /* commands under way that have an op */
    uint64_t tidied_changes_n;
    uint64_t tidy_ns; /* idle connections are looked at next */
    size_t exclusives_n;
    uint32_t by_slot[KW_PIPELINE_SLOTS_N]; /* commands under way, by their slot's last bits */
} kw_pipeline_long_lived;

/* Where by_slot counts the command: what shares no place has no key in common. */
static inline size_t kw_pipeline_place(const kw_plan *plan)
{
    return plan->kind == KW_PLAN_SLOT ? plan->slot % KW_PIPELINE_SLOTS_N : 0;
}

/* A pipeline on its way. */
struct kw_pipeline {
    kw_topology *topology;
    kw_pipeline_long_lived *long_lived; /* NULL: of a batch */
    void *owner;                        /* for whoever made it long_lived */
    kw_channel_scan scan;               /* with the time of this turn */
    kw_channel **channels;
    size_t channels_n;
    size_t channels_capacity;
    kw_items sleepers;  /* SLEEPING, BEHIND and REFRESHING ones, by their order */
    uint64_t wake_ns;   /* none of them is to be woken before, unless .. */
    uint64_t fetch;     /* .. this fetch has ended (0: none is waited for) .. */
    bool has_fenced;    /* .. or some wait for others .. */
    uint64_t changes_n; /* .. or the map is not this one any more */
    size_t open_n;      /* not ended */
    uint64_t orders_n;
    kw_random random;
};

void kw_pipeline_init(kw_pipeline *self, kw_topology *topology);

/* Gives all connections back. Every command has ended. */
void kw_pipeline_fini(kw_pipeline *self);

/* A new command, by snapshot (NULL: no map yet). Its plan and encoded bytes are set; everything
 * else but owner is zero. It may end at once. */
void kw_pipeline_add(kw_pipeline *self, kw_item *item, const kw_snapshot *snapshot);

/* Goes on with everything that waits for no socket: sleepers, deadlines, what is to be
 * sent. */
void kw_pipeline_advance(kw_pipeline *self);

/* Puts what waits to be sent on connections; kw_pipeline_advance sends it. */
void kw_pipeline_fill(kw_pipeline *self);

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

/* Parts of the above, in run_items.c: the life of one command. */

/* The op of a command, brought to where the command is; false, and the command has ended,
 * when there is no memory. */
bool kw_pipeline_has_op(kw_pipeline *pipeline, kw_item *item);

void kw_pipeline_end_item(kw_pipeline *self, kw_item *item, kw_err code);

/* To the end of what is to be sent to the node. */
void kw_pipeline_put(kw_pipeline *self, kw_item *item, kw_node *node);

/* Where the last SEND step, or the map, sends the command. */
void kw_pipeline_route(kw_pipeline *self, kw_item *item);

/* True where the command has to wait for an earlier one of its slot; it then does. */
bool kw_pipeline_is_held_up(kw_pipeline *pipeline, kw_item *item, const kw_node *node);

/* Does what the op of the command says. */
void kw_pipeline_apply(kw_pipeline *self, kw_item *item, kw_step step);

/* What a reply other than an error of the server's means. */
void kw_pipeline_on_answer(kw_pipeline *self, kw_item *item);

/* The try of a command that has an op has ended without a reply. */
void kw_pipeline_fail_try(kw_pipeline *self, kw_item *item, const kw_try_end *end);

/* A command whose connection, or the way to it, is lost, for the reason in scan.failure. */
void kw_pipeline_on_lost(kw_pipeline *self, kw_item *item, const kw_try_end *end);

/* Goes on with every command whose pause is over. */
void kw_pipeline_wake_all(kw_pipeline *self);

/* True where sleepers have not been told yet of a new map, or of the end of a fetch. */
bool kw_pipeline_has_map_news(const kw_pipeline *pipeline);

/* In run_channels.c: the life of connections. */

/* The channel to the node, new if need be; NULL when there is no memory. */
kw_channel *kw_pipeline_channel(kw_pipeline *self, kw_node *node, bool is_exclusive);

/* Ends, or sends on, every command of the channel that was answered. */
void kw_pipeline_collect(kw_pipeline *self, kw_channel *channel);

/* The channel's connection, or the way to it, is lost: code says why. */
void kw_pipeline_fail_channel(kw_pipeline *self, kw_channel *channel, kw_err code);

/* Ends the commands on channels whose own deadline has come. */
void kw_pipeline_expire(kw_pipeline *self);

#endif

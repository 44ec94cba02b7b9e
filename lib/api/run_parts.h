/* Run parts: what the loop of a run and the life of its commands share. */
#ifndef API_RUN_PARTS_H
#define API_RUN_PARTS_H

#include "api/channel.h"
#include "api/run.h"

/* A run on its way. */
typedef struct kw_run {
    kw_client *client;
    kw_item *items;
    size_t items_n;
    uint64_t deadline_ns;
    kw_channel_turn turn; /* with the time of this turn */
    kw_channel *channels;
    size_t channels_n;
    size_t channels_capacity;
    struct pollfd *sockets; /* one more than channels */
    kw_items sleepers;      /* SLEEPING, BEHIND and REFRESHING ones */
    size_t open_n;          /* not ended */
    kw_random random;
} kw_run;

/* The op of a command, brought to where the command is; false, and the command has ended,
 * when there is no memory. */
bool kw_run_has_op(kw_run *run, kw_item *item);

void kw_run_end_item(kw_run *run, kw_item *item, kw_err code);

/* To the end of what is to be sent to the node. */
void kw_run_put(kw_run *run, kw_item *item, kw_node *node);

/* Where the last SEND step, or the map, sends the command. */
void kw_run_route(kw_run *run, kw_item *item);

/* Does what the op of the command says. */
void kw_run_apply(kw_run *run, kw_item *item, kw_step step);

/* Ends, or sends on, every command of the channel that was answered. May move channels. */
void kw_run_collect(kw_run *run, kw_channel *channel);

/* The channel's connection, or the way to it, is lost: code says why. May move channels. */
void kw_run_fail_channel(kw_run *run, size_t index, kw_err code);

/* Goes on with every command whose pause is over. */
void kw_run_wake_all(kw_run *run);

#endif

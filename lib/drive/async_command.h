/* SPDX-License-Identifier: BSD-3-Clause */
/* Async command: one command on its way to a callback. */
#ifndef DRIVE_ASYNC_COMMAND_H
#define DRIVE_ASYNC_COMMAND_H

#include <keyway/loop.h>

#include "drive/fanout.h"

/* What a command has that is not simply sent: it is looked up first, or becomes fanout. */
typedef struct kw_async_command_more {
    kw_plan plan; /* while it needs something, item is the question, or a wait for the map */
    kw_call_options options;
    char *node;       /* options.node */
    kw_bytes encoded; /* in the block */
    size_t argc;
    kw_bytes *argv; /* pointing into encoded */
    kw_buf question;
    bool has_fanout;
    kw_fanout fanout;
    kw_error failure; /* why there will be no reply; KW_OK: see the items */
} kw_async_command_more;

/* Blocks with room for short commands are used again: for a read with its key, and for a write with
 * a small value. */
typedef enum kw_block_size {
    KW_BLOCK_SMALL,
    KW_BLOCK_MEDIUM,
    KW_BLOCK_SIZES_N,
    KW_BLOCK_OF_ITS_OWN = KW_BLOCK_SIZES_N /* as large as its command, and used once */
} kw_block_size;
#define KW_BLOCK_SMALL_ROOM  ((size_t)48)
#define KW_BLOCK_MEDIUM_ROOM ((size_t)112)

typedef struct kw_async_command kw_async_command;
struct kw_async_command {
    kw_reply_fn fn;
    void *arg;
    kw_async_command_more *more;
    size_t len;      /* of the encoded command */
    uint32_t stamp;  /* of when it was accepted, among what was cancelled */
    uint16_t open_n; /* items that have not ended: no more than there are slots */
    uint8_t place;   /* of the block, in its chunk (loop_blocks.h) */
    kw_block_size size : 4;
    bool is_delivered : 1; /* its callback was called: items stay for their late replies */
    kw_item item;          /* the command, or what more says; its owner is this */
    char bytes[];          /* the encoded command */
};

/* The smallest with room for len bytes. */
static inline kw_block_size kw_block_size_of(size_t len)
{
    return len <= KW_BLOCK_SMALL_ROOM    ? KW_BLOCK_SMALL
           : len <= KW_BLOCK_MEDIUM_ROOM ? KW_BLOCK_MEDIUM
                                         : KW_BLOCK_OF_ITS_OWN;
}

/* By then it is to have a connection. */
static inline uint64_t kw_async_command_place_ns(const kw_async_command *command)
{
    return kw_plan_place_ns(command->more != NULL ? &command->more->plan : &command->item.plan);
}

/* First in, first out: commands that the pipeline has not got, or that have ended, by the item's
 * owner_next. */
typedef struct kw_async_commands {
    kw_async_command *head;
    kw_async_command *tail;
} kw_async_commands;

static inline void kw_async_commands_push(kw_async_commands *list, kw_async_command *command)
{
    command->item.owner_next = NULL;
    if (list->tail != NULL) {
        list->tail->item.owner_next = command;
    } else {
        list->head = command;
    }
    list->tail = command;
}

/* All of behind, which is not to be used any more, to the end of the list. */
static inline void kw_async_commands_append(kw_async_commands *list,
                                            const kw_async_commands *behind)
{
    if (list->tail != NULL) {
        list->tail->item.owner_next = behind->head;
        list->tail = behind->tail != NULL ? behind->tail : list->tail;
    } else {
        *list = *behind;
    }
}

static inline kw_async_command *kw_async_commands_pop(kw_async_commands *list)
{
    kw_async_command *command = list->head;
    if (command != NULL) {
        list->head = command->item.owner_next;
        list->tail = list->head != NULL ? list->tail : NULL;
    }
    return command;
}

/* Plans and encodes a command, of kw_resp_len bytes, into a new or a used block. Never waits.
 * Failure is what kw_plan_start refuses, or KW_ERR_NOMEM; the block is as before. */
kw_err kw_async_command_init(kw_async_command *command, kw_topology *topology, kw_error *error,
                             const kw_plan_task *task);

/* Makes a block a pause: its callback is called at until_ns with KW_ERR_TIMEOUT. */
void kw_async_command_init_pause(kw_async_command *command, uint64_t until_ns);

/* Frees all but the block. */
void kw_async_command_fini(kw_async_command *command, kw_topology *topology);

/* The items that a pipeline is to get now, items_n of them; more may follow. */
kw_item *kw_async_command_items(kw_async_command *command, size_t *items_n);

/* A command whose plan has no time begins now. */
void kw_async_command_set_time(kw_async_command *command, uint64_t now_ns);

/* All items have ended: true where kw_async_command_items has the next ones, false where
 * kw_async_command_take has the result. */
bool kw_async_command_go_on(kw_topology *topology, kw_async_command *command);

/* The reply, the caller's; or NULL with error set. */
kw_reply *kw_async_command_take(kw_async_command *command, kw_error *error);

/* True where an item is still on a connection, for a late reply. */
bool kw_async_command_is_held(const kw_async_command *command);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Loop blocks: memory of commands that have ended, by its size, for the next ones. It is asked for,
 * and given back, in chunks of several blocks where there are many: very many commands at once cost
 * the allocator little, and a few little memory. */
#ifndef DRIVE_LOOP_BLOCKS_H
#define DRIVE_LOOP_BLOCKS_H

#include "drive/async_command.h"

/* Starts as zero. */
typedef struct kw_loop_blocks {
    kw_async_commands of_size[KW_BLOCK_SIZES_N];
    size_t n;
} kw_loop_blocks;

void kw_loop_blocks_fini(kw_loop_blocks *blocks, const kw_allocator *mem);

/* A new block for an encoded command of len bytes; the others of its chunk are put into rest.
 * open_n: commands that have one. NULL when there is no memory. */
kw_async_command *kw_loop_blocks_new(kw_loop_blocks *rest, const kw_allocator *mem, size_t len,
                                     size_t open_n);

/* Gives a block back; its chunk is freed with the last one. Any thread. */
void kw_loop_blocks_free(kw_async_command *command, const kw_allocator *mem);

/* The block of a command that is not one of its own. */
void kw_loop_blocks_put(kw_loop_blocks *blocks, kw_async_command *command);

/* The smallest one with room for len bytes; NULL: there is none. */
kw_async_command *kw_loop_blocks_take(kw_loop_blocks *blocks, size_t len);

/* All of from, which is empty then, to be taken before the others. */
void kw_loop_blocks_move(kw_loop_blocks *blocks, kw_loop_blocks *from);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Loop blocks: memory of commands that have ended, by its size, for the next ones. */
#ifndef DRIVE_LOOP_BLOCKS_H
#define DRIVE_LOOP_BLOCKS_H

#include "drive/async_command.h"

/* Starts as zero. */
typedef struct kw_loop_blocks {
    kw_async_commands of_size[KW_BLOCK_SIZES_N];
    size_t n;
} kw_loop_blocks;

void kw_loop_blocks_fini(kw_loop_blocks *blocks, const kw_allocator *mem);

/* The block of a command that is not one of its own. */
void kw_loop_blocks_put(kw_loop_blocks *blocks, kw_async_command *command);

/* The smallest one with room for len bytes; NULL: there is none. */
kw_async_command *kw_loop_blocks_take(kw_loop_blocks *blocks, size_t len);

/* All of from, which is empty then, to be taken before the others. */
void kw_loop_blocks_move(kw_loop_blocks *blocks, kw_loop_blocks *from);

#endif

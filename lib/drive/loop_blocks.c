/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of blocks that can be used again, one for each size. */
#include "drive/loop_blocks.h"

#include <string.h>

void kw_loop_blocks_fini(kw_loop_blocks *blocks, const kw_allocator *mem)
{
    kw_async_command *command;
    for (size_t size = 0; size < KW_BLOCK_SIZES_N; size++) {
        while ((command = kw_async_commands_pop(&blocks->of_size[size])) != NULL) {
            kw_mem_free(mem, command);
        }
    }
    blocks->n = 0;
}

void kw_loop_blocks_put(kw_loop_blocks *blocks, kw_async_command *command)
{
    kw_async_commands_push(&blocks->of_size[command->size], command);
    blocks->n++;
}

kw_async_command *kw_loop_blocks_take(kw_loop_blocks *blocks, size_t len)
{
    for (size_t size = kw_block_size_of(len); size < KW_BLOCK_SIZES_N; size++) {
        kw_async_command *command = kw_async_commands_pop(&blocks->of_size[size]);
        if (command != NULL) {
            blocks->n--;
            return command;
        }
    }
    return NULL;
}

void kw_loop_blocks_move(kw_loop_blocks *blocks, kw_loop_blocks *from)
{
    if (from->n == 0) {
        return;
    }
    for (size_t size = 0; size < KW_BLOCK_SIZES_N; size++) {
        kw_async_commands_append(&from->of_size[size], &blocks->of_size[size]);
        blocks->of_size[size] = from->of_size[size];
    }
    blocks->n += from->n;
    memset(from, 0, sizeof(*from));
}

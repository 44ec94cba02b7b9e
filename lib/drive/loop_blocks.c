/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of blocks that can be used again, one for each size. */
#include "drive/loop_blocks.h"

#include <stdatomic.h>
#include <string.h>

/* So many blocks are one chunk, one behind the other; the first ones, and those of its own, are one
 * each. */
#define CHUNK_N 16

typedef struct chunk {
    atomic_size_t used_n; /* blocks that were not given back */
    max_align_t blocks[];
} chunk;

/* Of one block, so that the next one behind it is aligned; 0: too much. */
static size_t block_len(kw_block_size size, size_t len)
{
    size_t room = size == KW_BLOCK_SMALL    ? KW_BLOCK_SMALL_ROOM
                  : size == KW_BLOCK_MEDIUM ? KW_BLOCK_MEDIUM_ROOM
                                            : len;
    size_t total;
    return kw_size_add(&total, room, sizeof(kw_async_command)) ? total : 0;
}

static kw_async_command *block_of(chunk *self, size_t len, size_t place)
{
    return (kw_async_command *)(void *)((char *)self->blocks + place * len);
}

kw_async_command *kw_loop_blocks_new(kw_loop_blocks *rest, const kw_allocator *mem, size_t len,
                                     size_t open_n)
{
    kw_block_size size = kw_block_size_of(len);
    size_t n = size == KW_BLOCK_OF_ITS_OWN || open_n < CHUNK_N ? 1 : CHUNK_N;
    size_t each_len = block_len(size, len);
    size_t total;
    bool has_len = each_len > 0 && kw_size_add(&total, n * each_len, sizeof(chunk));
    chunk *self = has_len ? kw_mem_alloc(mem, total) : NULL;
    if (self == NULL) {
        return NULL;
    }
    atomic_init(&self->used_n, n);
    for (size_t i = 0; i < n; i++) {
        kw_async_command *command = block_of(self, each_len, i);
        command->size = size;
        command->place = (uint8_t)i;
        if (i > 0) {
            kw_loop_blocks_put(rest, command);
        }
    }
    return block_of(self, each_len, 0);
}

void kw_loop_blocks_free(kw_async_command *command, const kw_allocator *mem)
{
    /* The length of a block of its own does not count: it is the first one. */
    size_t before_len = command->place * block_len(command->size, 0);
    char *blocks = (char *)command - before_len;
    chunk *self = (chunk *)(void *)(blocks - offsetof(chunk, blocks));
    if (atomic_fetch_sub_explicit(&self->used_n, 1, memory_order_acq_rel) == 1) {
        kw_mem_free(mem, self);
    }
}

void kw_loop_blocks_fini(kw_loop_blocks *blocks, const kw_allocator *mem)
{
    kw_async_command *command;
    for (size_t size = 0; size < KW_BLOCK_SIZES_N; size++) {
        while ((command = kw_async_commands_pop(&blocks->of_size[size])) != NULL) {
            kw_loop_blocks_free(command, mem);
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

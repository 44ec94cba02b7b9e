/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks of powers of two, in lists of those that are free; under AddressSanitizer malloc's, which
 * sees what is wrong. */
#include "sim/arena.h"

#include "sim/fiber.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA_LEN ((size_t)1 << 31)
#define SIZES_N   28
#define HEADER    16

typedef struct block {
    struct block *next; /* of the free ones */
    size_t size;        /* which of the sizes */
} block;

static struct {
    char *begin;
    size_t used;
    block *free[SIZES_N];
} arena;

void *sim_map_at(uintptr_t at, size_t len)
{
    void *place = mmap((void *)at, len, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) {
        perror("sim: memory");
        exit(EXIT_FAILURE);
    }
    return place;
}

void sim_arena_begin(void)
{
    if (arena.begin == NULL) {
        arena.begin = sim_map_at(SIM_ARENA_AT, ARENA_LEN);
    }
    arena.used = 0;
    memset(arena.free, 0, sizeof(arena.free));
}

#if defined(SIM_HAS_ASAN)

void *sim_arena_give(size_t len)
{
    return malloc(len);
}

void *sim_arena_change(void *old, size_t len)
{
    return realloc(old, len);
}

void sim_arena_take_back(void *old)
{
    free(old);
}

#else

void *sim_arena_give(size_t len)
{
    size_t size = len <= 16 ? 0 : 60 - (size_t)__builtin_clzll(len - 1);
    block *fresh = arena.free[size];
    if (fresh != NULL) {
        arena.free[size] = fresh->next;
    } else {
        if (arena.used + HEADER + ((size_t)16 << size) > ARENA_LEN) {
            return NULL;
        }
        fresh = (block *)(void *)(arena.begin + arena.used);
        arena.used += HEADER + ((size_t)16 << size);
        fresh->size = size;
    }
    /* Not what was there in another run. */
    char *bytes = (char *)fresh + HEADER;
    memset(bytes, 0xa5, len < 4096 ? len : 4096);
    return bytes;
}

void sim_arena_take_back(void *old)
{
    block *freed = (block *)(void *)((char *)old - HEADER);
    memset(old, 0x5a, ((size_t)16 << freed->size) < 4096 ? (size_t)16 << freed->size : 4096);
    freed->next = arena.free[freed->size];
    arena.free[freed->size] = freed;
}

void *sim_arena_change(void *old, size_t len)
{
    void *other = sim_arena_give(len);
    if (old != NULL && other != NULL) {
        size_t had = (size_t)16 << ((block *)(void *)((char *)old - HEADER))->size;
        memcpy(other, old, had < len ? had : len);
        sim_arena_take_back(old);
    }
    return other;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Arena: memory of one run, at the same addresses in each run: what depends on an address (a table
 * of nodes, a seed) is the same for the same seed. */
#ifndef SIM_ARENA_H
#define SIM_ARENA_H

#include <stddef.h>
#include <stdint.h>

/* Address space that nothing else uses: of the arena, and of the stacks. */
#define SIM_ARENA_AT ((uintptr_t)0x200000000000)
#define SIM_STACK_AT ((uintptr_t)0x210000000000)

/* So many bytes there, zeros; the program ends where they cannot be had. */
void *sim_map_at(uintptr_t at, size_t len);

/* All is forgotten. */
void sim_arena_begin(void);

void *sim_arena_give(size_t len);
void *sim_arena_change(void *old, size_t len);
void sim_arena_take_back(void *old);

#endif

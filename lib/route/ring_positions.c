/* SPDX-License-Identifier: BSD-3-Clause */
/* Positions on a ring of a command's keys, where there is more than one. */
#include "route/ring_positions.h"

kw_ring_positions *kw_ring_positions_new(const kw_allocator *mem, size_t n)
{
    kw_ring_positions *positions =
        kw_mem_alloc(mem, sizeof(*positions) + n * sizeof(positions->at[0]));
    if (positions != NULL) {
        positions->mem = *mem;
        positions->is_stale_split = false;
        positions->n = n;
    }
    return positions;
}

void kw_ring_positions_free(kw_ring_positions *positions)
{
    if (positions != NULL) {
        kw_allocator mem = positions->mem;
        kw_mem_free(&mem, positions);
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Ring cells: from points, each a hash and a node in one number, to the array that
 * lookups read. */
#ifndef ROUTE_RING_CELLS_H
#define ROUTE_RING_CELLS_H

#include "base/memory.h"
#include "route/ring.h"

/* Sorts points into the array sorted, which does not overlap them. False when there is no
 * memory. */
bool kw_ring_sort(uint64_t *sorted, const uint64_t *points, size_t points_n,
                  const kw_allocator *mem);

/* Gives the ring, which has its points, its cells. False when there is no memory. */
bool kw_ring_cells_make(kw_ring *ring);

#endif

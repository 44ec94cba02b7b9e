/* SPDX-License-Identifier: BSD-3-Clause */
/* Sorts points, and spreads them over the cells that lookups read. */
#include "route/ring_cells.h"

#include <string.h>

#define SORT_BITS_MAX  20
#define CELLS_BITS_MAX 25

/* Cells behind the last point and the last that top bits name: the lookup may look two
 * further without a check. */
#define CELLS_BEHIND 2

/* Bits of the smallest power of two that is at least n, 1 to max. */
static unsigned bits_for(size_t n, unsigned max)
{
    unsigned bits = 1;
    while (bits < max && (size_t)1 << bits < n) {
        bits++;
    }
    return bits;
}

/* Shell's sort with the gaps of Knuth: a bucket has a point or two as a rule, and no
 * choice of names makes a large one slow. */
static void sort_bucket(uint64_t *points, size_t points_n)
{
    size_t gap = 1;
    while (gap < points_n / 9) {
        gap = 3 * gap + 1;
    }
    for (; gap > 0; gap /= 3) {
        for (size_t i = gap; i < points_n; i++) {
            uint64_t point = points[i];
            size_t at = i;
            for (; at >= gap && points[at - gap] > point; at -= gap) {
                points[at] = points[at - gap];
            }
            points[at] = point;
        }
    }
}

bool kw_ring_sort(uint64_t *sorted, const uint64_t *points, size_t points_n,
                  const kw_allocator *mem)
{
    unsigned bits = bits_for(points_n, SORT_BITS_MAX);
    size_t buckets_n = (size_t)1 << bits;
    uint32_t *ends = kw_mem_calloc(mem, buckets_n, sizeof(ends[0]));
    if (ends == NULL) {
        return false;
    }
    for (size_t i = 0; i < points_n; i++) {
        ends[points[i] >> (64 - bits)]++;
    }
    uint32_t sum = 0;
    for (size_t i = 0; i < buckets_n; i++) {
        uint32_t count = ends[i];
        ends[i] = sum; /* where the bucket begins; counted up to its end below */
        sum += count;
    }
    for (size_t i = 0; i < points_n; i++) {
        sorted[ends[points[i] >> (64 - bits)]++] = points[i];
    }
    uint32_t from = 0;
    for (size_t i = 0; i < buckets_n; i++) {
        if (ends[i] - from > 1) {
            sort_bucket(sorted + from, ends[i] - from);
        }
        from = ends[i];
    }
    kw_mem_free(mem, ends);
    return true;
}

/* Cell of a point: the one that its top bits name, or the first free one behind. */
static size_t place(uint64_t point, unsigned shift, size_t next)
{
    size_t home = (size_t)(point >> shift);
    return home > next ? home : next;
}

/* What a cell says of a point. */
static kw_ring_cell look_ahead(uint64_t point, unsigned shift, size_t at)
{
    int64_t place = (int64_t)(point >> (shift - KW_RING_CELL_BITS));
    int64_t ahead = place - (int64_t)at * (1 << KW_RING_CELL_BITS);
    ahead = ahead > INT16_MAX ? INT16_MAX : ahead < INT16_MIN ? INT16_MIN : ahead;
    kw_ring_cell cell = {(int16_t)ahead, (uint16_t)(point & 0xffff)};
    return cell;
}

bool kw_ring_cells_make(kw_ring *ring)
{
    /* One and a half to three cells a point. */
    size_t points_n = ring->points_n - 1;
    unsigned bits = bits_for(points_n + points_n / 2, CELLS_BITS_MAX);
    unsigned shift = 64 - bits;
    size_t cells_n = (size_t)1 << bits;
    size_t next = 0;
    for (size_t i = 0; i < points_n; i++) {
        next = place(ring->points[i], shift, next) + 1;
    }
    cells_n = (next > cells_n ? next : cells_n) + CELLS_BEHIND;
    kw_ring_cell *cells = kw_mem_alloc(&ring->mem, cells_n * sizeof(cells[0]));
    if (cells == NULL) {
        return false;
    }
    next = 0;
    for (size_t i = 0; i < points_n; i++) {
        size_t end = place(ring->points[i], shift, next) + 1;
        for (; next < end; next++) {
            cells[next] = look_ahead(ring->points[i], shift, next);
        }
    }
    for (; next < cells_n; next++) {
        cells[next] = look_ahead(ring->points[points_n], shift, next);
    }
    ring->cells = cells;
    ring->cells_n = cells_n;
    ring->shift = shift - KW_RING_CELL_BITS;
    return true;
}

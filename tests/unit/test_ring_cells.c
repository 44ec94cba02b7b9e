/* SPDX-License-Identifier: BSD-3-Clause */
/* Cells of a ring, at the edges and at random, against a plain search. */
#include "route/ring_cells.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "support/check.h"

enum { POINTS_MAX = 3000 };

/* A point of 48 bits and its node. */
static uint64_t point(uint64_t hash, uint64_t node)
{
    return hash << 16 | node;
}

/* Owner by the definition: the first point at or after the hash, else the lowest. */
static uint64_t owner_of(const uint64_t *sorted, size_t points_n, uint64_t hash)
{
    for (size_t i = 0; i < points_n; i++) {
        if (sorted[i] >> 16 >= hash >> 16) {
            return sorted[i] & 0xffff;
        }
    }
    return sorted[0] & 0xffff;
}

/* Sorts the points, makes cells of them, and asks for the hashes at and around each. */
static void check(const uint64_t *points, size_t points_n)
{
    static uint64_t sorted[POINTS_MAX + 1];
    static uint64_t expected[POINTS_MAX];
    kw_ring ring = {.mem = *kw_mem_default(), .live_n = 1};
    memcpy(expected, points, points_n * sizeof(points[0]));
    qsort(expected, points_n, sizeof(points[0]), kw_test_compare_uint64);
    assert_true(kw_ring_sort(sorted, points, points_n, kw_mem_default()));
    assert_memory_equal(sorted, expected, points_n * sizeof(points[0]));
    sorted[points_n] = ~UINT64_C(0xffff) | (sorted[0] & 0xffff);
    ring.points = sorted;
    ring.points_n = points_n + 1;
    assert_true(kw_ring_cells_make(&ring));
    for (size_t i = 0; i < points_n; i++) {
        for (int step = -2; step <= 2; step++) {
            uint64_t hash = (sorted[i] | 0xffff) + (uint64_t)(int64_t)step * 0x10000;
            assert_true(kw_ring_owner_of(&ring, hash) == owner_of(sorted, points_n, hash));
            uint32_t owner = kw_ring_cell_owner(&ring, hash);
            assert_true(owner == KW_RING_NO_NODE || owner == kw_ring_owner_of(&ring, hash));
        }
    }
    kw_mem_free(&ring.mem, ring.cells);
}

static void test_cells_hold_points_at_the_edges(void **state)
{
    (void)state;
    const uint64_t highest = (UINT64_C(1) << 48) - 1;
    const uint64_t lowest_only[] = {point(0, 3)};
    const uint64_t highest_only[] = {point(highest, 4)};
    const uint64_t both[] = {point(highest, 1), point(0, 2)};
    const uint64_t near[] = {point(highest, 9), point(highest - 1, 8), point(highest - 1, 7),
                             point(1, 6), point(0, 5)};
    check(lowest_only, 1);
    check(highest_only, 1);
    check(both, 2);
    check(near, 5);
}

static void test_cells_of_equal_points_give_the_lower_node(void **state)
{
    (void)state;
    uint64_t points[300];
    for (uint64_t i = 0; i < 300; i++) {
        points[i] = point(0x123456789abc + i / 100, 299 - i);
    }
    check(points, 300);
}

/* All points where the same top bits name one cell, at both ends and in the middle. */
static void test_cells_of_points_in_one_heap_find_them(void **state)
{
    (void)state;
    static const uint64_t places[] = {0, 0x7fffffffff00, 0xffffffffff00 - POINTS_MAX};
    static uint64_t points[POINTS_MAX];
    for (size_t p = 0; p < 3; p++) {
        for (uint64_t i = 0; i < 400; i++) {
            points[i] = point(places[p] + (i * 7919) % 400, i % 7);
        }
        check(points, 400);
    }
}

static void test_cells_of_random_points_find_them(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 5, 8, 100, 1000, 1365, 1366};
    static uint64_t points[POINTS_MAX];
    kw_random random;
    kw_random_init(&random, kw_test_seed("ring_cells"));
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        /* The second time within a small part of the ring, besides a few. */
        for (int dense = 0; dense < 2; dense++) {
            for (size_t i = 0; i < sizes[s]; i++) {
                uint64_t hash = kw_random_next(&random) >> 16;
                points[i] = point(dense && i % 50 != 0 ? hash >> 7 : hash, i % 60000);
            }
            check(points, sizes[s]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells_hold_points_at_the_edges),
        cmocka_unit_test(test_cells_of_equal_points_give_the_lower_node),
        cmocka_unit_test(test_cells_of_points_in_one_heap_find_them),
        cmocka_unit_test(test_cells_of_random_points_find_them),
    };
    return cmocka_run_group_tests_name("ring_cells", tests, NULL, NULL);
}

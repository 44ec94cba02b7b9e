/* SPDX-License-Identifier: BSD-3-Clause */
/* Preference lists, zones, nodes that are down, and bounded loads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/ring_make.h"

enum { KEYS_N = 300 };

static const char *const placements[] = {"kw1",      "twemproxy", "jedis",
                                         "go-redis", "modulo",    "twemproxy:modula:md5"};

/* A ring of nodes n1 .. nN in zones z0 .. z(zones-1) in turn. */
static kw_ring *zoned(const char *placement, unsigned nodes_n, unsigned zones_n)
{
    kw_ring_change *change = ring_change(placement);
    for (unsigned i = 1; i <= nodes_n; i++) {
        char name[16];
        char zone[16];
        int len = snprintf(name, sizeof(name), "n%u", i);
        snprintf(zone, sizeof(zone), "z%u", i % zones_n);
        ring_add_all(change, name);
        assert_int_equal(kw_ring_change_set_zone(change, NULL, name, (size_t)len, zone), KW_OK);
    }
    kw_ring *ring = ring_commit(change);
    kw_ring_change_free(change);
    return ring;
}

static size_t walk_all(uint32_t *nodes, size_t max, const kw_ring *ring, const char *key,
                       size_t key_len)
{
    size_t n = 0;
    uint32_t node;
    kw_ring_walk *walk = kw_ring_walk_new(ring, key, key_len);
    while ((node = kw_ring_walk_next(walk)) != KW_RING_NO_NODE) {
        assert_true(n < max);
        nodes[n++] = node;
    }
    assert_true(kw_ring_walk_next(walk) == KW_RING_NO_NODE);
    kw_ring_walk_free(walk);
    return n;
}

static void test_walk_gives_every_node_once_and_the_owner_first(void **state)
{
    (void)state;
    for (size_t p = 0; p < sizeof(placements) / sizeof(placements[0]); p++) {
        for (unsigned zones_n = 1; zones_n <= 9; zones_n += 4) {
            kw_ring *ring = zoned(placements[p], 20, zones_n);
            for (unsigned k = 0; k < KEYS_N; k++) {
                uint32_t nodes[20];
                uint32_t some[20];
                uint32_t owner;
                const char *key = (const char *)&k;
                bool given[20] = {false};
                assert_int_equal(walk_all(nodes, 20, ring, key, sizeof(k)), 20);
                assert_int_equal(kw_ring_lookup(ring, &owner, key, sizeof(k)), KW_OK);
                assert_int_equal(nodes[0], owner);
                for (size_t i = 0; i < 20; i++) {
                    assert_false(given[nodes[i]]);
                    given[nodes[i]] = true;
                    assert_int_equal(kw_ring_preference(ring, some, i, key, sizeof(k)), i);
                    assert_memory_equal(some, nodes, i * sizeof(nodes[0]));
                }
            }
            kw_ring_unref(ring);
        }
    }
}

/* First one node of each zone, then the others, both in the order of the list without
 * zones. */
static void test_walk_with_zones_begins_with_one_of_each(void **state)
{
    (void)state;
    enum { NODES_N = 12, ZONES_N = 3 };
    kw_ring *plain = ring_of_count("kw1", NODES_N);
    kw_ring *ring = zoned("kw1", NODES_N, ZONES_N);
    for (unsigned k = 0; k < KEYS_N; k++) {
        uint32_t walked[NODES_N];
        uint32_t nodes[NODES_N];
        uint32_t expected[NODES_N];
        size_t n = 0;
        bool zone_given[ZONES_N] = {false};
        bool given[NODES_N] = {false};
        walk_all(walked, NODES_N, plain, (const char *)&k, sizeof(k));
        walk_all(nodes, NODES_N, ring, (const char *)&k, sizeof(k));
        for (size_t i = 0; i < NODES_N; i++) {
            size_t zone = (size_t)(kw_ring_node_zone(ring, walked[i])[1] - '0');
            if (!zone_given[zone]) {
                zone_given[zone] = given[i] = true;
                expected[n++] = walked[i];
            }
        }
        assert_int_equal(n, ZONES_N);
        for (size_t i = 0; i < NODES_N; i++) {
            if (!given[i]) {
                expected[n++] = walked[i];
            }
        }
        assert_memory_equal(nodes, expected, sizeof(nodes));
    }
    kw_ring_unref(plain);
    kw_ring_unref(ring);
}

static void test_walk_second_is_the_owner_without_the_first(void **state)
{
    (void)state;
    static const char *const arcs[] = {"kw1", "go-redis", "jedis"};
    for (size_t p = 0; p < 3; p++) {
        kw_ring *ring = ring_of_count(arcs[p], 7);
        for (unsigned k = 0; k < KEYS_N; k++) {
            uint32_t nodes[2];
            size_t len;
            assert_int_equal(kw_ring_preference(ring, nodes, 2, (const char *)&k, sizeof(k)), 2);
            const char *name = kw_ring_node_name(ring, &len, nodes[0]);
            kw_ring_change *change = kw_ring_change_of(ring, NULL);
            assert_int_equal(kw_ring_change_remove(change, NULL, name, len), KW_OK);
            kw_ring *without = ring_commit(change);
            assert_string_equal(ring_owner(without, (const char *)&k, sizeof(k)),
                                kw_ring_node_name(ring, NULL, nodes[1]));
            kw_ring_change_free(change);
            kw_ring_unref(without);
        }
        kw_ring_unref(ring);
    }
}

static void test_walk_leaves_out_nodes_without_points(void **state)
{
    (void)state;
    for (size_t p = 0; p < sizeof(placements) / sizeof(placements[0]); p++) {
        kw_ring *ring = ring_of(placements[p], "a b*0 c d*0");
        uint32_t nodes[4];
        assert_int_equal(walk_all(nodes, 4, ring, "k", 1), 2);
        assert_int_equal(kw_ring_preference(ring, nodes, 4, "k", 1), 2);
        kw_ring_unref(ring);
    }
}

static void test_lookup_bounded_idle_is_the_owner(void **state)
{
    (void)state;
    static const uint32_t idle[20];
    kw_ring_load load = {sizeof(load), idle, 0};
    for (size_t p = 0; p < sizeof(placements) / sizeof(placements[0]); p++) {
        kw_ring *ring = zoned(placements[p], 20, 3);
        for (unsigned k = 0; k < KEYS_N; k++) {
            uint32_t owner;
            uint32_t node;
            kw_ring_lookup(ring, &owner, (const char *)&k, sizeof(k));
            assert_int_equal(
                kw_ring_lookup_bounded(ring, &node, (const char *)&k, sizeof(k), &load), KW_OK);
            assert_int_equal(node, owner);
        }
        kw_ring_unref(ring);
    }
}

/* Hot keys only: no node goes past its cap, and each call goes to the first node of the
 * preference list that has room. */
static void test_lookup_bounded_keeps_every_node_below_its_cap(void **state)
{
    (void)state;
    for (size_t p = 0; p < sizeof(placements) / sizeof(placements[0]); p++) {
        for (unsigned zones_n = 1; zones_n <= 4; zones_n += 3) {
            uint32_t busy[10] = {0};
            kw_ring_load load = {sizeof(load), busy, 1.5};
            kw_ring *ring = zoned(placements[p], 10, zones_n);
            for (unsigned call = 0; call < 500; call++) {
                uint32_t list[10];
                uint32_t node = 99;
                size_t i = 0;
                double cap = 1.5 * (call + 1) / 10;
                assert_int_equal(kw_ring_lookup_bounded(ring, &node, "hot", 3, &load), KW_OK);
                assert_int_equal(kw_ring_preference(ring, list, 10, "hot", 3), 10);
                while (busy[list[i]] >= cap) {
                    i++;
                }
                assert_int_equal(node, list[i]);
                busy[node]++;
            }
            for (size_t i = 0; i < 10; i++) {
                assert_true(busy[i] <= 75);
            }
            kw_ring_unref(ring);
        }
    }
}

static void test_lookup_bounded_shares_by_weight(void **state)
{
    (void)state;
    uint32_t busy[2] = {0, 0};
    kw_ring_load load = {sizeof(load), busy, 1};
    kw_ring *ring = ring_of("kw1", "small big*3");
    uint32_t big;
    assert_int_equal(kw_ring_find(ring, &big, "big", 3), KW_OK);
    for (unsigned call = 0; call < 400; call++) {
        uint32_t node;
        assert_int_equal(kw_ring_lookup_bounded(ring, &node, "hot", 3, &load), KW_OK);
        busy[node]++;
    }
    assert_in_range(busy[big], 299, 301);
    load.factor = 0.5;
    assert_int_equal(kw_ring_lookup_bounded(ring, &big, "hot", 3, &load), KW_ERR_ARGUMENT);
    kw_ring_unref(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk_gives_every_node_once_and_the_owner_first),
        cmocka_unit_test(test_walk_with_zones_begins_with_one_of_each),
        cmocka_unit_test(test_walk_second_is_the_owner_without_the_first),
        cmocka_unit_test(test_walk_leaves_out_nodes_without_points),
        cmocka_unit_test(test_lookup_bounded_idle_is_the_owner),
        cmocka_unit_test(test_lookup_bounded_keeps_every_node_below_its_cap),
        cmocka_unit_test(test_lookup_bounded_shares_by_weight),
    };
    return cmocka_run_group_tests_name("ring_walk", tests, NULL, NULL);
}

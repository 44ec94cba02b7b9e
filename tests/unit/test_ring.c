/* SPDX-License-Identifier: BSD-3-Clause */
/* Placement kw1: golden vectors, order of adding, weights and zones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "route/hash_compat.h"
#include "unit/ring_make.h"

/* Five nodes, names of any bytes, several weights. */
static kw_ring *golden_ring(const char *placement)
{
    kw_ring_change *change = ring_change(placement);
    ring_add_all(change, "b*2 c.example.org:6379 a 10.0.0.1:6379");
    assert_int_equal(kw_ring_change_add(change, NULL, "\xff\0\xfe", 3, 3), KW_OK);
    kw_ring *ring = ring_commit(change);
    kw_ring_change_free(change);
    return ring;
}

typedef struct golden {
    const char *key;
    size_t key_len;
    uint64_t hash;
    const char *owner;
    uint64_t seeded_hash;
    const char *seeded_owner;
} golden;

#define GOLDEN_FINGERPRINT 0xada9c58712f1112d

/* Frozen: a change here loses data. Hashes have 48 bits; the seed is 7. */
static const golden goldens[] = {
    {"", 0, 0x2d06800538d3, "c.example.org:6379", 0x913ae0873e9b, "10.0.0.1:6379"},
    {"a", 1, 0xe6c632b61e96, "\xff", 0x9ed5888bc5a2, "c.example.org:6379"},
    {"keyway", 6, 0xfdadf32dfb7c, "10.0.0.1:6379", 0x47c17538b22f, "a"},
    {"user:1000", 9, 0xfb6841b2068c, "b", 0xf6ead51240d0, "\xff"},
    {"user:{123}:profile", 18, 0x404a763b3f4c, "\xff", 0x1a10f43a5891, "b"},
    {"{123}", 5, 0x404a763b3f4c, "\xff", 0x1a10f43a5891, "b"},
    {"foo{}{bar}", 10, 0xc183e6678835, "b", 0x671a23340363, "b"},
    {"foo{{bar}}zap", 13, 0xa3610095f98f, "c.example.org:6379", 0x75857f63b47b, "\xff"},
    {"\0\xff\x80", 3, 0x2682fcb65dac, "b", 0x3656f29dbbfd, "10.0.0.1:6379"},
    {"caf\xc3\xa9", 5, 0x4c83dbd5f29d, "10.0.0.1:6379", 0x52f8bbf6b7f2, "a"},
    {"0123456789abcdef", 16, 0x64439946d8fa, "a", 0xb5c9aa9d3ebd, "b"},
    {"a key of more than sixteen bytes", 32, 0x27258608776b, "\xff", 0x06cd8e9211c3, "b"},
};

static void test_ring_lookup_gives_golden_vectors(void **state)
{
    (void)state;
    kw_ring *ring = golden_ring(NULL);
    kw_ring *seeded = golden_ring("kw1/seed:7");
    for (size_t i = 0; i < sizeof(goldens) / sizeof(goldens[0]); i++) {
        const golden *g = &goldens[i];
        assert_true(kw_ring_hash(ring, g->key, g->key_len) == g->hash);
        assert_true(kw_ring_hash(seeded, g->key, g->key_len) == g->seeded_hash);
        assert_string_equal(ring_owner(ring, g->key, g->key_len), g->owner);
        assert_string_equal(ring_owner(seeded, g->key, g->key_len), g->seeded_owner);
    }
    char long_key[100];
    memset(long_key, 'x', sizeof(long_key));
    assert_true(kw_ring_hash(ring, long_key, sizeof(long_key)) == 0xc90984ffdf50);
    assert_string_equal(ring_owner(ring, long_key, sizeof(long_key)), "b");
    kw_ring_unref(ring);
    kw_ring_unref(seeded);
}

static void test_ring_placement_and_fingerprint_are_frozen(void **state)
{
    (void)state;
    kw_ring *ring = golden_ring(NULL);
    kw_ring *seeded = golden_ring("kw1/notag/seed:7/v150");
    kw_ring *smaller = golden_ring("kw1/v149");
    kw_ring *empty = ring_of("kw1", "");
    assert_string_equal(kw_ring_placement(ring), "kw1/xxh3/v150/tag");
    assert_string_equal(kw_ring_placement(seeded), "kw1/xxh3/v150/notag/seed:7");
    assert_true(kw_ring_fingerprint(ring) == GOLDEN_FINGERPRINT);
    assert_true(kw_ring_fingerprint(seeded) == GOLDEN_FINGERPRINT);
    assert_true(kw_ring_fingerprint(smaller) != GOLDEN_FINGERPRINT);
    assert_true(kw_ring_fingerprint(empty) == 0x2d06800538d394c2);
    kw_ring_unref(ring);
    kw_ring_unref(seeded);
    kw_ring_unref(smaller);
    kw_ring_unref(empty);
}

static void test_ring_nodes_tell_what_they_are(void **state)
{
    (void)state;
    size_t len;
    uint32_t node = 99;
    kw_ring *ring = golden_ring(NULL);
    double sum = 0;
    assert_int_equal(kw_ring_nodes_n(ring), 5);
    assert_int_equal(kw_ring_find(ring, &node, "\xff\0\xfe", 3), KW_OK);
    assert_memory_equal(kw_ring_node_name(ring, &len, node), "\xff\0\xfe", 4);
    assert_int_equal(len, 3);
    assert_int_equal(kw_ring_node_weight(ring, node), 3);
    assert_int_equal(kw_ring_node_points(ring, node), 450);
    assert_string_equal(kw_ring_node_zone(ring, node), "");
    for (uint32_t i = 0; i < 5; i++) {
        const char *name = kw_ring_node_name(ring, &len, i);
        assert_int_equal(kw_ring_find(ring, &node, name, len), KW_OK);
        assert_int_equal(node, i);
        sum += kw_ring_node_share(ring, i);
    }
    assert_true(sum == 1);
    assert_int_equal(kw_ring_find(ring, &node, "\xff", 1), KW_ERR_ARGUMENT);
    assert_int_equal(kw_ring_find(ring, &node, NULL, 0), KW_ERR_ARGUMENT);
    assert_null(kw_ring_node_name(ring, &len, 5));
    assert_null(kw_ring_node_zone(ring, 5));
    assert_int_equal(kw_ring_node_weight(ring, 5), 0);
    assert_int_equal(kw_ring_node_points(ring, 5), 0);
    assert_true(kw_ring_node_share(ring, 5) == 0);
    kw_ring_unref(ring);
    kw_ring_unref(NULL);
}

static void test_ring_order_of_adding_does_not_matter(void **state)
{
    (void)state;
    static const char *const placements[] = {"kw1", "modulo", "twemproxy", "go-redis",
                                             "twemproxy:modula:crc32a"};
    for (size_t i = 0; i < sizeof(placements) / sizeof(placements[0]); i++) {
        kw_ring *a = ring_of(placements[i], "one two*3 three four*2 five");
        kw_ring *b = ring_of(placements[i], "five four*2 one three two*3");
        double moved = 1;
        assert_true(kw_ring_fingerprint(a) == kw_ring_fingerprint(b));
        assert_int_equal(kw_ring_moved(a, NULL, &moved, b), KW_OK);
        assert_true(moved == 0);
        for (uint32_t node = 0; node < 5; node++) {
            assert_string_equal(kw_ring_node_name(a, NULL, node), kw_ring_node_name(b, NULL, node));
        }
        kw_ring_unref(a);
        kw_ring_unref(b);
    }
}

/* Shares and moved parts against what happens to keys, with every hash of every placement. */
static void check_figures(const char *placement)
{
    enum { KEYS_N = 20000, NODES_N = 4 };
    kw_ring *before = ring_of(placement, "a b*2 c d");
    kw_ring *after = ring_of(placement, "a b*2 c");
    size_t counts[NODES_N] = {0};
    size_t moved_n = 0;
    double moved = -1;
    for (uint32_t i = 0; i < KEYS_N; i++) {
        uint64_t key[2] = {(i + 1) * UINT64_C(0x9e3779b97f4a7c15),
                           (i + 7) * UINT64_C(0xbf58476d1ce4e5b9)};
        uint32_t node = 0;
        assert_int_equal(kw_ring_lookup(before, &node, (const char *)key, sizeof(key)), KW_OK);
        counts[node]++;
        moved_n += strcmp(kw_ring_node_name(before, NULL, node),
                          ring_owner(after, (const char *)key, sizeof(key))) != 0;
    }
    for (uint32_t node = 0; node < NODES_N; node++) {
        double share = (double)counts[node] / KEYS_N - kw_ring_node_share(before, node);
        if (share < -0.02 || share > 0.02) {
            fail_msg("%s: node %u has %zu of %d keys, and a share of %f", placement, node,
                     counts[node], KEYS_N, kw_ring_node_share(before, node));
        }
    }
    assert_int_equal(kw_ring_moved(before, NULL, &moved, after), KW_OK);
    if (moved < (double)moved_n / KEYS_N - 0.02 || moved > (double)moved_n / KEYS_N + 0.02) {
        fail_msg("%s: %zu of %d keys moved, %f is told", placement, moved_n, KEYS_N, moved);
    }
    kw_ring_unref(before);
    kw_ring_unref(after);
}

static void test_ring_figures_are_those_of_its_hash(void **state)
{
    (void)state;
    static const char *const others[] = {"kw1", "modulo", "jedis", "go-redis"};
    static const char *const ways[] = {"ketama", "modula"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        check_figures(others[i]);
    }
    for (size_t i = 0; kw_hash_compat_at(i) != NULL; i++) {
        for (size_t k = 0; k < 2; k++) {
            char placement[60];
            snprintf(placement, sizeof(placement), "twemproxy:%s:%s", ways[k],
                     kw_hash_compat_at(i)->name);
            check_figures(placement);
        }
    }
}

/* crc32 has 15 bits in twemproxy: exactly, over all hashes. */
static void test_ring_figures_of_a_narrow_hash_are_exact(void **state)
{
    (void)state;
    kw_ring *before = ring_of("twemproxy:modula:crc32", "a b c d e f g");
    kw_ring *after = ring_of("twemproxy:modula:crc32", "a b c d e");
    size_t moved_n = 0;
    double moved = 0;
    for (size_t hash = 0; hash < 32768; hash++) {
        moved_n += hash % 7 != hash % 5;
    }
    assert_true(kw_ring_node_share(before, 0) == 4682.0 / 32768); /* 0, 7, ... 32767 */
    assert_true(kw_ring_node_share(before, 1) == 4681.0 / 32768);
    assert_int_equal(kw_ring_moved(before, NULL, &moved, after), KW_OK);
    assert_true(moved == (double)moved_n / 32768);
    kw_ring_unref(before);
    kw_ring_unref(after);
}

static void test_ring_without_points_owns_nothing(void **state)
{
    (void)state;
    static const char *const placements[] = {"kw1",   "modulo",   "twemproxy:ketama:md5",
                                             "jedis", "go-redis", "twemproxy:modula:md5"};
    for (size_t i = 0; i < sizeof(placements) / sizeof(placements[0]); i++) {
        for (int idle = 0; idle < 2; idle++) {
            kw_ring *ring = ring_of(placements[i], idle ? "a*0 b*0" : "");
            uint32_t node = 77;
            kw_ring_load load = {sizeof(load), (const uint32_t[]){0, 0}, 0};
            kw_ring_walk *walk = kw_ring_walk_new(ring, "k", 1);
            assert_int_equal(kw_ring_nodes_n(ring), idle ? 2 : 0);
            assert_int_equal(kw_ring_lookup(ring, &node, "k", 1), KW_ERR_NOT_SERVED);
            assert_int_equal(kw_ring_lookup_bounded(ring, &node, "k", 1, &load), KW_ERR_NOT_SERVED);
            assert_int_equal(kw_ring_preference(ring, &node, 1, "k", 1), 0);
            assert_true(kw_ring_walk_next(walk) == KW_RING_NO_NODE);
            assert_int_equal(node, 77);
            assert_true(kw_ring_node_share(ring, 0) == 0);
            kw_ring_walk_free(walk);
            kw_ring_unref(ring);
        }
    }
}

static void test_ring_of_one_node_gives_it_everything(void **state)
{
    (void)state;
    static const char *const placements[] = {"kw1",   "kw1/v1",   "modulo",
                                             "jedis", "go-redis", "twemproxy:ketama:crc32"};
    for (size_t i = 0; i < sizeof(placements) / sizeof(placements[0]); i++) {
        kw_ring *ring = ring_of(placements[i], "only idle*0");
        for (unsigned k = 0; k < 1000; k++) {
            assert_string_equal(ring_owner(ring, (const char *)&k, sizeof(k)), "only");
        }
        uint32_t node = 9;
        assert_int_equal(kw_ring_find(ring, &node, "only", 4), KW_OK);
        assert_true(kw_ring_node_share(ring, node) == 1);
        assert_string_equal(ring_owner(ring, NULL, 0), "only");
        kw_ring_unref(ring);
    }
}

/* Binary search over the points as they are, from the specification. */
static void test_ring_lookup_agrees_with_arcs_at_every_size(void **state)
{
    (void)state;
    static const unsigned sizes[] = {1, 2, 3, 10, 100, 1000};
    static const char *const placements[] = {"kw1", "kw1/v1", "twemproxy", "jedis"};
    for (size_t i = 0; i < 24; i++) {
        kw_ring *empty = ring_of(placements[i % 4], "");
        kw_ring *ring = ring_of_count(placements[i % 4], sizes[i / 4]);
        /* From nothing, every range moves: the ranges are the arcs. */
        kw_ring_diff *diff = kw_ring_diff_new(empty, NULL, ring);
        size_t count = kw_ring_diff_count(diff);
        for (unsigned k = 0; k < 2000; k++) {
            uint64_t hash = kw_ring_hash(ring, (const char *)&k, sizeof(k));
            size_t low = 0;
            for (size_t high = count; high - low > 1;) {
                size_t middle = (low + high) / 2;
                if (kw_ring_diff_at(diff, middle)->first <= hash) {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            const kw_ring_move *arc = kw_ring_diff_at(diff, low);
            uint32_t node;
            assert_true(arc->first <= hash && hash <= arc->last);
            assert_int_equal(kw_ring_lookup(ring, &node, (const char *)&k, sizeof(k)), KW_OK);
            assert_int_equal(node, arc->to);
        }
        assert_null(kw_ring_diff_at(diff, count));
        kw_ring_diff_free(diff);
        kw_ring_unref(ring);
        kw_ring_unref(empty);
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median over 25 sets of names of the largest share against the mean. */
static double peak_to_mean(unsigned nodes_n)
{
    double peaks[25];
    for (unsigned set = 0; set < 25; set++) {
        kw_ring_change *change = ring_change(NULL);
        for (unsigned i = 0; i < nodes_n; i++) {
            char name[40];
            int len = snprintf(name, sizeof(name), "set%u-node%u:6379", set, i);
            kw_ring_change_add(change, NULL, name, (size_t)len, 1);
        }
        kw_ring *ring = ring_commit(change);
        peaks[set] = 0;
        for (uint32_t i = 0; i < nodes_n; i++) {
            double share = kw_ring_node_share(ring, i) * nodes_n;
            peaks[set] = share > peaks[set] ? share : peaks[set];
        }
        kw_ring_unref(ring);
        kw_ring_change_free(change);
    }
    qsort(peaks, 25, sizeof(peaks[0]), compare);
    return peaks[12];
}

static void test_ring_shares_are_even(void **state)
{
    (void)state;
    double ten = peak_to_mean(10);
    double hundred = peak_to_mean(100);
    printf("peak to mean, median of 25: %.3f at 10 nodes, %.3f at 100\n", ten, hundred);
    assert_true(ten <= 1.15);
    assert_true(hundred <= 1.25);
}

static void test_ring_of_a_thousand_nodes_works(void **state)
{
    (void)state;
    kw_ring *ring = ring_of_count("kw1", 1000);
    size_t live = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        live += kw_ring_node_share(ring, i) > 0;
    }
    assert_int_equal(kw_ring_nodes_n(ring), 1000);
    assert_int_equal(live, 1000);
    kw_ring_unref(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring_lookup_gives_golden_vectors),
        cmocka_unit_test(test_ring_placement_and_fingerprint_are_frozen),
        cmocka_unit_test(test_ring_nodes_tell_what_they_are),
        cmocka_unit_test(test_ring_order_of_adding_does_not_matter),
        cmocka_unit_test(test_ring_figures_are_those_of_its_hash),
        cmocka_unit_test(test_ring_figures_of_a_narrow_hash_are_exact),
        cmocka_unit_test(test_ring_without_points_owns_nothing),
        cmocka_unit_test(test_ring_of_one_node_gives_it_everything),
        cmocka_unit_test(test_ring_lookup_agrees_with_arcs_at_every_size),
        cmocka_unit_test(test_ring_shares_are_even),
        cmocka_unit_test(test_ring_of_a_thousand_nodes_works),
    };
    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}

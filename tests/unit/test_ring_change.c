/* SPDX-License-Identifier: BSD-3-Clause */
/* What moves when nodes come and go, and rings that are changed again and again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "unit/ring_make.h"

static const char *name_of(const kw_ring *ring, uint32_t node)
{
    return node == KW_RING_NO_NODE ? "-" : kw_ring_node_name(ring, NULL, node);
}

/* Each range that moves goes from or to the one node; none is empty or overlaps. Returns
 * the part that moves. */
static double check_moves(const kw_ring *from, const kw_ring *to, const char *only)
{
    kw_ring_diff *diff = kw_ring_diff_new(from, NULL, to);
    double sum = 0;
    double moved = -1;
    assert_non_null(diff);
    for (size_t i = 0; i < kw_ring_diff_count(diff); i++) {
        const kw_ring_move *move = kw_ring_diff_at(diff, i);
        const char *a = name_of(from, move->from);
        const char *b = name_of(to, move->to);
        assert_true(move->first <= move->last);
        assert_true(i == 0 || move->first > kw_ring_diff_at(diff, i - 1)->last);
        assert_string_not_equal(a, b);
        if (only != NULL) {
            assert_true(strcmp(a, only) == 0 || strcmp(b, only) == 0);
        }
        sum += (double)(move->last - move->first) + 1;
    }
    kw_ring_diff_free(diff);
    assert_int_equal(kw_ring_moved(from, NULL, &moved, to), KW_OK);
    assert_true(moved == sum / (double)(UINT64_C(1) << 48));
    return moved;
}

static double share_of(const kw_ring *ring, const char *name)
{
    uint32_t node;
    return kw_ring_find(ring, &node, name, strlen(name)) == KW_OK ? kw_ring_node_share(ring, node)
                                                                  : 0;
}

static void test_ring_change_moves_only_what_it_must(void **state)
{
    (void)state;
    for (unsigned count = 1; count <= 100; count = count * 2 + 1) {
        kw_ring *old = ring_of_count(NULL, count);
        kw_ring_change *change = kw_ring_change_of(old, NULL);
        ring_add_all(change, "d*2");
        kw_ring *added = ring_commit(change);
        assert_true(check_moves(old, added, "d") == share_of(added, "d"));
        kw_ring_change_reweight(change, NULL, "d", 1, 5);
        kw_ring *heavier = ring_commit(change);
        assert_true(check_moves(added, heavier, "d") ==
                    share_of(heavier, "d") - share_of(added, "d"));
        kw_ring_change_reweight(change, NULL, "d", 1, 1);
        kw_ring *lighter = ring_commit(change);
        assert_true(check_moves(heavier, lighter, "d") ==
                    share_of(heavier, "d") - share_of(lighter, "d"));
        kw_ring_change_reweight(change, NULL, "d", 1, 0);
        kw_ring *idle = ring_commit(change);
        assert_true(check_moves(idle, old, NULL) == 0);
        kw_ring_change_remove(change, NULL, "d", 1);
        kw_ring *removed = ring_commit(change);
        assert_true(check_moves(lighter, removed, "d") == share_of(lighter, "d"));
        assert_true(kw_ring_fingerprint(removed) == kw_ring_fingerprint(old));
        kw_ring_change_free(change);
        kw_ring_unref(old);
        kw_ring_unref(added);
        kw_ring_unref(heavier);
        kw_ring_unref(lighter);
        kw_ring_unref(idle);
        kw_ring_unref(removed);
    }
}

static void random_step(kw_ring_change *change, kw_random *random)
{
    char name[8];
    size_t len = (size_t)snprintf(name, sizeof(name), "n%u", (unsigned)kw_random_below(random, 20));
    uint32_t weight = (uint32_t)kw_random_below(random, 4);
    switch (kw_random_below(random, 3)) {
    case 0:
        kw_ring_change_add(change, NULL, name, len, weight);
        break;
    case 1:
        kw_ring_change_remove(change, NULL, name, len);
        break;
    default:
        kw_ring_change_reweight(change, NULL, name, len, weight);
        break;
    }
}

/* A ring of a ring's nodes, built from nothing. */
static kw_ring *build_anew(const kw_ring *ring)
{
    kw_ring_change *change = ring_change(kw_ring_placement(ring));
    for (size_t i = kw_ring_nodes_n(ring); i > 0; i--) {
        size_t len;
        uint32_t node = (uint32_t)(i - 1);
        const char *name = kw_ring_node_name(ring, &len, node);
        kw_ring_change_add(change, NULL, name, len, kw_ring_node_weight(ring, node));
    }
    kw_ring *anew = ring_commit(change);
    kw_ring_change_free(change);
    return anew;
}

static void test_ring_change_of_a_ring_equals_a_build_from_nothing(void **state)
{
    (void)state;
    kw_random random;
    kw_random_init(&random, kw_test_seed("ring_change"));
    kw_ring *ring = ring_of("kw1/v20", "");
    for (int round = 0; round < 300; round++) {
        kw_ring_change *change = kw_ring_change_of(ring, NULL);
        for (uint64_t steps = 1 + kw_random_below(&random, 5); steps > 0; steps--) {
            random_step(change, &random);
        }
        kw_ring *next = ring_commit(change);
        kw_ring *anew = build_anew(next);
        assert_true(kw_ring_fingerprint(next) == kw_ring_fingerprint(anew));
        assert_true(check_moves(next, anew, NULL) == 0);
        kw_ring_unref(anew);
        kw_ring_change_free(change);
        kw_ring_unref(ring);
        ring = next;
    }
    kw_ring_unref(ring);
}

static void test_ring_moved_compares_kw1_with_modulo(void **state)
{
    (void)state;
    double moved;
    kw_ring *a = ring_of("kw1", "a b c");
    kw_ring *b = ring_of("kw1", "a b c d");
    assert_int_equal(kw_ring_moved(a, NULL, &moved, b), KW_OK);
    assert_true(moved > 0.2 && moved < 0.3);
    kw_ring_unref(a);
    kw_ring_unref(b);
    a = ring_of("modulo", "a b c");
    b = ring_of("modulo", "a b c d");
    assert_int_equal(kw_ring_moved(a, NULL, &moved, b), KW_OK);
    assert_true(moved >= 0.5);
    unsigned differ = 0;
    for (unsigned k = 0; k < 12000; k++) {
        differ +=
            strcmp(ring_owner(a, (const char *)&k, 4), ring_owner(b, (const char *)&k, 4)) != 0;
    }
    assert_true(differ / 12000.0 > moved - 0.03 && differ / 12000.0 < moved + 0.03);
    assert_null(kw_ring_diff_new(a, NULL, b));
    kw_ring_unref(a);
    kw_ring_unref(b);
    a = ring_of("go-redis", "a b c");
    b = ring_of("go-redis", "a b c d");
    assert_int_equal(kw_ring_moved(a, NULL, &moved, b), KW_OK);
    assert_true(moved == 0.25);
    kw_ring_unref(a);
    kw_ring_unref(b);
}

static void test_ring_diff_of_no_owner_is_everything(void **state)
{
    (void)state;
    static const char *const lists[][2] = {{"a", ""}, {"", "a"}, {"a b", "c"}, {"a*0", "a"}};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        kw_ring *from = ring_of("kw1/v2", lists[i][0]);
        kw_ring *to = ring_of("kw1/v2", lists[i][1]);
        assert_true(check_moves(from, to, NULL) == 1);
        kw_ring_unref(from);
        kw_ring_unref(to);
    }
    kw_ring *none = ring_of("kw1", "");
    kw_ring *idle = ring_of("kw1", "a*0");
    assert_true(check_moves(none, idle, NULL) == 0);
    kw_ring_unref(none);
    kw_ring_unref(idle);
}

static void test_ring_diff_of_different_hashes_is_refused(void **state)
{
    (void)state;
    static const char *const others[] = {"kw1/seed:1",           "kw1/notag", "kw1/tag:()",
                                         "twemproxy:ketama:md5", "modulo",    "jedis"};
    kw_ring *ring = ring_of("kw1", "a b");
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        kw_error error = KW_ERROR_INIT;
        double moved = 5;
        kw_ring *other = ring_of(others[i], "a b");
        assert_null(kw_ring_diff_new(ring, &error, other));
        assert_int_equal(error.code, KW_ERR_ARGUMENT);
        assert_int_equal(kw_ring_moved(other, NULL, &moved, ring), KW_ERR_ARGUMENT);
        assert_true(moved == 5);
        kw_ring_unref(other);
    }
    kw_ring_unref(ring);
    /* Another number of points is another ring of the same hashes. */
    kw_ring *few = ring_of("kw1/v10", "a b");
    kw_ring *many = ring_of("kw1/v11", "a b");
    assert_true(check_moves(few, many, NULL) > 0);
    kw_ring_unref(few);
    kw_ring_unref(many);
}

static void test_ring_change_refuses_what_is_wrong(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    char name[KW_RING_NAME_MAX + 2] = "";
    memset(name, 'n', sizeof(name) - 1);
    kw_ring_change *change = ring_change(NULL);
    assert_int_equal(kw_ring_change_add(change, &error, "", 0, 1), KW_ERR_ARGUMENT);
    assert_int_equal(kw_ring_change_add(change, &error, name, 256, 1), KW_ERR_ARGUMENT);
    assert_int_equal(kw_ring_change_add(change, &error, name, 255, 1), KW_OK);
    assert_int_equal(kw_ring_change_add(change, &error, name, 255, 2), KW_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "there already"));
    assert_int_equal(kw_ring_change_remove(change, &error, name, 254), KW_ERR_ARGUMENT);
    assert_int_equal(kw_ring_change_reweight(change, &error, "x", 1, 4), KW_ERR_ARGUMENT);
    assert_int_equal(kw_ring_change_set_zone(change, &error, "x\1", 2, "z"), KW_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "\"x\\x01\""));
    assert_int_equal(kw_ring_change_set_zone(change, &error, name, 255, name + 192),
                     KW_ERR_ARGUMENT);
    kw_ring *ring = ring_commit(change);
    assert_int_equal(kw_ring_nodes_n(ring), 1);
    assert_int_equal(kw_ring_node_weight(ring, 0), 1);
    kw_ring_unref(ring);
    kw_ring_change_free(change);
    kw_ring_change_free(NULL);
}

static void test_ring_change_bounds_points_nodes_and_zones(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_ring_change *change = ring_change("kw1");
    ring_add_all(change, "a*4294967295 b*4294967295");
    assert_null(kw_ring_change_commit(change, &error));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    assert_int_equal(kw_ring_change_reweight(change, NULL, "a", 1, 1), KW_OK);
    assert_int_equal(kw_ring_change_reweight(change, NULL, "b", 1, 1), KW_OK);
    for (unsigned i = 1; i <= KW_RING_ZONES_MAX; i++) {
        char zone[8];
        snprintf(zone, sizeof(zone), "z%u", i);
        assert_int_equal(kw_ring_change_set_zone(change, &error, "a", 1, zone),
                         i < KW_RING_ZONES_MAX ? KW_OK : KW_ERR_ARGUMENT);
    }
    kw_ring *ring = ring_commit(change);
    uint32_t a;
    assert_int_equal(kw_ring_find(ring, &a, "a", 1), KW_OK);
    assert_string_equal(kw_ring_node_zone(ring, a), "z63");
    assert_string_equal(kw_ring_node_zone(ring, 1 - a), "");
    kw_ring_unref(ring);
    kw_ring_change_free(change);
    change = ring_change("modulo");
    for (unsigned i = 0; i <= KW_RING_NODES_MAX; i++) {
        assert_int_equal(kw_ring_change_add(change, NULL, (const char *)&i, sizeof(i), 1),
                         i < KW_RING_NODES_MAX ? KW_OK : KW_ERR_ARGUMENT);
    }
    kw_ring_change_free(change);
}

static void test_ring_placements_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "kw2",
        "kw1/",
        "kw1//tag",
        "kw1/v0",
        "kw1/v",
        "kw1/v-1",
        "kw1/v65537",
        "kw1/tag:",
        "kw1/tag:x",
        "kw1/tag:xyz",
        "kw1/tag/",
        "kw1/unsigned",
        "kw1/seed:",
        "kw1/seed:x",
        "modulo/v1",
        "kw1:md5",
        "twemproxy:md5",
        "twemproxy:ketama:",
        "twemproxy:ketama:hsieh",
        "twemproxy:ketama:md5/seed:1",
        "twemproxy/xxh3",
        "twemproxy:random",
        "go-redis/notag",
        "go-redis/tag:()",
        "jedis/v5",
        "jedis:",
        "jedis/unsigned",
        "kw1/seed:18446744073709551616",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        kw_error error = KW_ERROR_INIT;
        assert_null(kw_ring_change_new(bad[i], &error, NULL));
        assert_int_equal(error.code, KW_ERR_ARGUMENT);
        assert_true(error.text[0] != '\0');
    }
}

static void test_ring_placement_in_full_reads_as_itself(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        {"kw1", "kw1/xxh3/v150/tag"},
        {"kw1/tag://", "kw1/xxh3/v150/tag://"},
        {"kw1/tag:/|/v65536/seed:18446744073709551615",
         "kw1/xxh3/v65536/tag:/|/seed:18446744073709551615"},
        {"modulo/notag", "modulo/xxh3/notag"},
        {"twemproxy", "twemproxy:ketama:fnv1a_64/notag"},
        {"twemproxy:modula", "twemproxy:modula:fnv1a_64/notag"},
        {"twemproxy:ketama:one_at_a_time/unsigned/tag:$$",
         "twemproxy:ketama:one_at_a_time/tag:$$/unsigned"},
        {"go-redis", "go-redis/tag"},
        {"jedis", "jedis/notag"},
        {"jedis:2.9/tag", "jedis:2.9/tag"},
        {"jedis:unnamed", "jedis:unnamed/notag"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        kw_ring *ring = ring_of(texts[i][0], "a");
        kw_ring *again = ring_of(kw_ring_placement(ring), "a");
        assert_string_equal(kw_ring_placement(ring), texts[i][1]);
        assert_string_equal(kw_ring_placement(again), texts[i][1]);
        kw_ring_unref(ring);
        kw_ring_unref(again);
    }
}

/* Everything a change does, with allocation k failing: what was there stays. True where
 * nothing failed. */
static bool torture(const char *placement, unsigned long k)
{
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    kw_error error = KW_ERROR_INIT;
    kw_ring *next = NULL;
    kw_ring_diff *diff = NULL;
    double moved = 0;
    kw_ring_change *change = kw_ring_change_new(placement, &error, &memory.allocator);
    ring_add_all(change, "a b*2 c d e f g h");
    kw_ring *ring = ring_commit(change);
    kw_ring_change_free(change);
    uint64_t fingerprint = kw_ring_fingerprint(ring);
    memory.fail_at = kw_test_memory_calls(&memory) + k;
    change = kw_ring_change_of(ring, &error);
    bool ok = change != NULL && kw_ring_change_add(change, &error, "i", 1, 1) == KW_OK &&
              kw_ring_change_reweight(change, &error, "b", 1, 3) == KW_OK &&
              kw_ring_change_set_zone(change, &error, "c", 1, "west") == KW_OK;
    if (ok) {
        next = kw_ring_change_commit(change, &error);
        ok = next != NULL;
    }
    if (ok && kw_ring_moved(ring, &error, &moved, next) != KW_OK) {
        ok = false;
    }
    if (ok && strncmp(placement, "kw1", 3) == 0) {
        diff = kw_ring_diff_new(ring, &error, next);
        ok = diff != NULL;
    }
    if (ok) {
        kw_ring_walk *walk = kw_ring_walk_new(ring, "k", 1);
        ok = walk != NULL;
        error.code = ok ? error.code : KW_ERR_NOMEM;
        kw_ring_walk_free(walk);
    }
    assert_true(ok || error.code == KW_ERR_NOMEM);
    assert_true(kw_ring_fingerprint(ring) == fingerprint);
    kw_ring_diff_free(diff);
    kw_ring_change_free(change);
    kw_ring_unref(next);
    kw_ring_unref(ring);
    assert_int_equal(kw_test_memory_live(&memory), 0);
    return ok;
}

static void test_ring_change_without_memory_leaves_the_ring(void **state)
{
    (void)state;
    static const char *const placements[] = {"kw1", "modulo", "twemproxy", "jedis", "go-redis"};
    for (size_t i = 0; i < sizeof(placements) / sizeof(placements[0]); i++) {
        unsigned long k = 1;
        while (!torture(placements[i], k)) {
            assert_true(++k < 100);
        }
        assert_true(k > 5);
    }
}

/* The first commit of all, with allocation k failing; the change commits afterwards. */
static void test_ring_first_commit_without_memory_can_be_repeated(void **state)
{
    (void)state;
    bool failed = true;
    for (unsigned long k = 1; failed; k++) {
        kw_test_memory memory;
        kw_error error = KW_ERROR_INIT;
        kw_test_memory_init(&memory, k);
        kw_ring_change *change = kw_ring_change_new(NULL, &error, &memory.allocator);
        failed = change == NULL;
        if (change != NULL) {
            failed = kw_ring_change_add(change, &error, "a", 1, 1) != KW_OK;
            if (failed) {
                ring_add_all(change, "a");
            }
            kw_ring *ring = kw_ring_change_commit(change, &error);
            failed = failed || ring == NULL;
            if (ring == NULL) {
                ring = ring_commit(change);
            }
            assert_string_equal(ring_owner(ring, "k", 1), "a");
            kw_ring_unref(ring);
        }
        assert_true(!failed || error.code == KW_ERR_NOMEM);
        kw_ring_change_free(change);
        assert_int_equal(kw_test_memory_live(&memory), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring_change_moves_only_what_it_must),
        cmocka_unit_test(test_ring_change_of_a_ring_equals_a_build_from_nothing),
        cmocka_unit_test(test_ring_moved_compares_kw1_with_modulo),
        cmocka_unit_test(test_ring_diff_of_no_owner_is_everything),
        cmocka_unit_test(test_ring_diff_of_different_hashes_is_refused),
        cmocka_unit_test(test_ring_change_refuses_what_is_wrong),
        cmocka_unit_test(test_ring_change_bounds_points_nodes_and_zones),
        cmocka_unit_test(test_ring_placements_that_are_none_are_refused),
        cmocka_unit_test(test_ring_placement_in_full_reads_as_itself),
        cmocka_unit_test(test_ring_change_without_memory_leaves_the_ring),
        cmocka_unit_test(test_ring_first_commit_without_memory_can_be_repeated),
    };
    return cmocka_run_group_tests_name("ring_change", tests, NULL, NULL);
}

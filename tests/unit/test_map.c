/* SPDX-License-Identifier: BSD-3-Clause */
/* Maps: made, patched by MOVED, compared, shared by threads. */
#include "route/map.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "support/check.h"

static kw_endpoint endpoint_of(const char *text)
{
    kw_endpoint endpoint;
    assert_true(kw_endpoint_parse(&endpoint, kw_bytes_of(text)));
    return endpoint;
}

/* A range of slots and its servers, the primary first. */
typedef struct row {
    unsigned first;
    unsigned last;
    const char *servers[4];
} row;

#define ROWS_NODES_MAX 32

static kw_map *map_of(const kw_allocator *mem, const row *rows, size_t rows_n)
{
    kw_endpoint nodes[ROWS_NODES_MAX];
    uint16_t sorted[ROWS_NODES_MAX];
    kw_node_set set = {nodes, sorted, 0};
    kw_map_member members[ROWS_NODES_MAX];
    uint16_t slots[KW_SLOTS_N];
    memset(slots, 0xff, sizeof(slots));
    for (size_t i = 0; i < rows_n; i++) {
        for (size_t k = 0; k < 4 && rows[i].servers[k] != NULL; k++) {
            kw_endpoint endpoint = endpoint_of(rows[i].servers[k]);
            kw_map_member member = {(uint16_t)i, k == 0, false, 0, k + 1};
            members[kw_node_set_add(&set, &endpoint)] = member;
        }
        for (unsigned slot = rows[i].first; slot <= rows[i].last; slot++) {
            slots[slot] = (uint16_t)i;
        }
    }
    kw_map_parts parts = {.set = &set, .members = members, .shards_n = rows_n, .slots = slots};
    kw_map *map = NULL;
    assert_int_equal(kw_map_new(&map, mem, &parts), KW_OK);
    return map;
}

static const row three[] = {
    {0, 5460, {"a:1", "ra:1", "rb:1"}},
    {5461, 10922, {"b:1"}},
    {10923, 16383, {"c:1", "rc:1"}},
};

static const char *owner_of(const kw_map *map, unsigned slot)
{
    uint16_t shard = kw_map_shard_of(map, slot);
    if (shard == KW_MAP_NO_SHARD) {
        return "";
    }
    return kw_map_node(map, kw_map_shard_at(map, shard)->primary)->host;
}

static void test_map_single_owns_every_slot(void **state)
{
    (void)state;
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    kw_endpoint server = endpoint_of("127.0.0.1:6379");
    kw_map *map = kw_map_new_single(&memory.allocator, &server);
    assert_non_null(map);
    assert_false(kw_map_is_cluster(map));
    assert_int_equal(kw_map_nodes_n(map), 1);
    assert_int_equal(kw_map_shards_n(map), 1);
    assert_int_equal(kw_map_shard_of(map, 0), 0);
    assert_int_equal(kw_map_shard_of(map, 16383), 0);
    assert_int_equal(kw_map_shard_of(map, 16384), KW_MAP_NO_SHARD);
    assert_string_equal(owner_of(map, 77), "127.0.0.1");
    kw_map *patched = NULL;
    assert_int_equal(kw_map_patch(map, &patched, 1, &server), KW_ERR_UNSUPPORTED);
    assert_ptr_equal(kw_map_ref(map), map);
    kw_map_unref(map);
    assert_int_equal(kw_test_memory_live(&memory), 1);
    kw_map_unref(map);
    kw_map_unref(NULL);
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

static void *count_malloc(void *arg, size_t len)
{
    *(size_t *)arg += len;
    return malloc(len);
}

static void count_free(void *arg, void *block)
{
    (void)arg;
    free(block);
}

static void test_map_slot_table_is_33_kb_of_clusters_only(void **state)
{
    (void)state;
    size_t total = 0;
    kw_allocator counting = {sizeof(counting), &total, count_malloc, NULL, count_free};
    kw_endpoint server = endpoint_of("a:1");
    kw_map *single = kw_map_new_single(&counting, &server);
    assert_true(total < 1024);
    total = 0;
    kw_map *cluster = map_of(&counting, &three[1], 1);
    assert_true(total < 33 * 1024);
    kw_map_unref(single);
    kw_map_unref(cluster);
}

static void test_map_single_equals_only_its_like(void **state)
{
    (void)state;
    static kw_endpoint server = {"h", 1};
    kw_map *map = kw_map_new_single(kw_mem_default(), &server);
    assert_non_null(map);
    assert_true(kw_map_equal(map, map));
    kw_map *other = kw_map_new_single(kw_mem_default(), &server);
    assert_true(kw_map_equal(map, other));
    kw_map *cluster = map_of(kw_mem_default(), three, 3);
    assert_false(kw_map_equal(map, cluster));
    assert_false(kw_map_equal(cluster, map));
    kw_map_unref(cluster);
    kw_map_unref(other);
    kw_map_unref(map);
}

static void test_map_new_lists_nodes_and_shards(void **state)
{
    (void)state;
    kw_map *map = map_of(kw_mem_default(), three, 3);
    assert_true(kw_map_is_cluster(map));
    assert_int_equal(kw_map_nodes_n(map), 6);
    assert_int_equal(kw_map_shards_n(map), 3);
    const kw_map_shard *shard = kw_map_shard_at(map, kw_map_shard_of(map, 5460));
    assert_int_equal(shard->replicas_n, 2);
    assert_string_equal(kw_map_node(map, kw_map_replica(map, shard, 0))->host, "ra");
    assert_string_equal(kw_map_node(map, kw_map_replica(map, shard, 1))->host, "rb");
    assert_int_equal(kw_map_shard_at(map, kw_map_shard_of(map, 5461))->replicas_n, 0);
    for (size_t i = 0; i < kw_map_nodes_n(map); i++) {
        size_t node;
        assert_true(kw_map_find_node(map, &node, kw_map_node(map, i)));
        assert_int_equal(node, i);
    }
    kw_endpoint stranger = endpoint_of("a:2");
    size_t node = 99;
    assert_false(kw_map_find_node(map, &node, &stranger));
    assert_int_equal(node, 99);
    assert_string_equal(owner_of(map, 0), "a");
    assert_string_equal(owner_of(map, 10922), "b");
    assert_string_equal(owner_of(map, 16383), "c");
    kw_map_unref(map);
}

static void test_map_new_leaves_out_shards_without_slots(void **state)
{
    (void)state;
    /* The second row takes all slots of the first. */
    static const row rows[] = {
        {0, 9, {"a:1", "ra:1"}},
        {0, 9, {"b:1"}},
    };
    kw_map *map = map_of(kw_mem_default(), rows, 2);
    assert_int_equal(kw_map_shards_n(map), 1);
    assert_int_equal(kw_map_nodes_n(map), 1);
    assert_string_equal(owner_of(map, 9), "b");
    assert_int_equal(kw_map_shard_of(map, 10), KW_MAP_NO_SHARD);
    kw_map_unref(map);
}

static void test_map_patch_known_primary_stores_in_place(void **state)
{
    (void)state;
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    kw_map *map = map_of(&memory.allocator, three, 3);
    unsigned long calls = kw_test_memory_calls(&memory);
    kw_endpoint b = endpoint_of("b:1");
    kw_map *patched = map;
    assert_int_equal(kw_map_patch(map, &patched, 16383, &b), KW_OK);
    assert_null(patched);
    assert_string_equal(owner_of(map, 16383), "b");
    assert_string_equal(owner_of(map, 16382), "c");
    assert_int_equal(kw_test_memory_calls(&memory), calls);
    kw_map_unref(map);
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

static void test_map_patch_slot_past_the_last_is_refused(void **state)
{
    (void)state;
    kw_map *map = map_of(kw_mem_default(), three, 3);
    kw_endpoint b = endpoint_of("b:1");
    kw_map *patched = map;
    assert_int_equal(kw_map_patch(map, &patched, 16384, &b), KW_ERR_ARGUMENT);
    assert_int_equal(kw_map_patch(map, &patched, 0xffffffffu, &b), KW_ERR_ARGUMENT);
    assert_ptr_equal(patched, map);
    kw_map_unref(map);
}

static void test_map_hole_is_the_run_of_the_slot_or_the_first(void **state)
{
    (void)state;
    kw_map *whole = map_of(kw_mem_default(), three, 3);
    assert_int_equal(kw_map_hole_at(whole, 5).slots_n, 0);
    kw_map_unref(whole);
    const row parts[] = {{1, 99, {"a:1"}}, {200, 16382, {"b:1"}}};
    kw_map *map = map_of(kw_mem_default(), parts, 2);
    const struct {
        unsigned slot, first, last;
    } rows[] = {{0, 0, 0}, {5, 0, 0}, {100, 100, 199}, {199, 100, 199}, {16383, 16383, 16383}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_map_hole hole = kw_map_hole_at(map, rows[i].slot);
        assert_int_equal(hole.first, rows[i].first);
        assert_int_equal(hole.last, rows[i].last);
        assert_int_equal(hole.slots_n, 102);
    }
    kw_map_unref(map);
}

static void test_map_patch_fills_a_hole(void **state)
{
    (void)state;
    kw_map *map = map_of(kw_mem_default(), three, 2);
    kw_endpoint b = endpoint_of("b:1");
    kw_map *patched = NULL;
    assert_string_equal(owner_of(map, 16000), "");
    assert_int_equal(kw_map_patch(map, &patched, 16000, &b), KW_OK);
    assert_null(patched);
    assert_string_equal(owner_of(map, 16000), "b");
    kw_map_unref(map);
}

static void test_map_patch_unknown_primary_makes_a_copy(void **state)
{
    (void)state;
    kw_map *map = map_of(kw_mem_default(), three, 3);
    kw_endpoint fresh = endpoint_of("[::1]:7000");
    kw_map *patched = NULL;
    assert_int_equal(kw_map_patch(map, &patched, 3, &fresh), KW_OK);
    assert_non_null(patched);
    assert_string_equal(owner_of(map, 3), "a");
    assert_string_equal(owner_of(patched, 3), "::1");
    assert_string_equal(owner_of(patched, 2), "a");
    assert_int_equal(kw_map_shards_n(patched), 4);
    assert_int_equal(kw_map_nodes_n(patched), 7);
    assert_int_equal(kw_map_shard_at(patched, kw_map_shard_of(patched, 2))->replicas_n, 2);
    assert_false(kw_map_equal(map, patched));
    kw_map_unref(map);
    assert_string_equal(owner_of(patched, 16383), "c");
    kw_map_unref(patched);
}

static void test_map_patch_replica_becomes_a_primary(void **state)
{
    (void)state;
    kw_map *map = map_of(kw_mem_default(), three, 3);
    kw_endpoint replica = endpoint_of("ra:1");
    kw_map *patched = NULL;
    assert_int_equal(kw_map_patch(map, &patched, 0, &replica), KW_OK);
    assert_non_null(patched);
    assert_string_equal(owner_of(patched, 0), "ra");
    assert_string_equal(owner_of(patched, 1), "a");
    assert_int_equal(kw_map_nodes_n(patched), 6);
    size_t node;
    assert_true(kw_map_find_node(patched, &node, &replica));
    assert_int_equal(kw_map_member_at(patched, node)->zone, 2); /* it has not moved house */
    const kw_map_shard *old = kw_map_shard_at(patched, kw_map_shard_of(patched, 1));
    assert_int_equal(old->replicas_n, 1);
    assert_string_equal(kw_map_node(patched, kw_map_replica(patched, old, 0))->host, "rb");
    /* From here the whole shard follows in place. */
    kw_map *again = map;
    for (unsigned slot = 1; slot <= 5460; slot++) {
        assert_int_equal(kw_map_patch(patched, &again, slot, &replica), KW_OK);
        assert_null(again);
    }
    kw_map_unref(patched);
    kw_map_unref(map);
}

static void test_map_patch_ever_new_ports_stays_small(void **state)
{
    (void)state;
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    kw_map *map = map_of(&memory.allocator, three, 3);
    for (unsigned i = 0; i < 5000; i++) {
        kw_endpoint fresh = {"evil", (uint16_t)(i + 1)};
        kw_map *patched = NULL;
        assert_int_equal(kw_map_patch(map, &patched, 7, &fresh), KW_OK);
        kw_map_unref(map);
        map = patched;
        assert_true(kw_map_nodes_n(map) <= 7);
    }
    kw_map_unref(map);
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

static void test_map_patch_every_slot_elsewhere_meets_the_limit(void **state)
{
    (void)state;
    kw_map *map = map_of(kw_mem_default(), three, 3);
    kw_err err = KW_OK;
    unsigned slot = 0;
    while (err == KW_OK && slot < KW_SLOTS_N) {
        kw_endpoint fresh = {"evil", (uint16_t)(slot + 1)};
        kw_map *patched = NULL;
        err = kw_map_patch(map, &patched, slot, &fresh);
        if (err == KW_OK) {
            kw_map_unref(map);
            map = patched;
            slot++;
        } else {
            assert_null(patched);
        }
    }
    assert_int_equal(err, KW_ERR_LIMIT);
    assert_int_equal(kw_map_nodes_n(map), KW_MAP_NODES_MAX);
    assert_string_equal(owner_of(map, 16383), "c");
    assert_int_equal(slot, KW_MAP_NODES_MAX - 6);
    kw_map_unref(map);
}

static void test_map_patch_without_memory_changes_nothing(void **state)
{
    (void)state;
    kw_endpoint fresh = endpoint_of("d:1");
    kw_err err = KW_ERR_NOMEM;
    for (unsigned long k = 1; err == KW_ERR_NOMEM; k++) {
        assert_true(k < 100);
        kw_test_memory memory;
        kw_test_memory_init(&memory, 0);
        kw_map *map = map_of(&memory.allocator, three, 3);
        memory.fail_at = kw_test_memory_calls(&memory) + k;
        kw_map *patched = NULL;
        err = kw_map_patch(map, &patched, 3, &fresh);
        assert_string_equal(owner_of(map, 3), "a");
        assert_true((patched == NULL) == (err != KW_OK));
        kw_map_unref(patched);
        kw_map_unref(map);
        assert_int_equal(kw_test_memory_live(&memory), 0);
    }
    assert_int_equal(err, KW_OK);
}

static void test_map_new_single_without_memory_gives_null(void **state)
{
    (void)state;
    kw_endpoint server = endpoint_of("d:1");
    for (unsigned long k = 1; k <= 2; k++) {
        kw_test_memory memory;
        kw_test_memory_init(&memory, k);
        assert_null(kw_map_new_single(&memory.allocator, &server));
        assert_int_equal(kw_test_memory_live(&memory), 0);
    }
}

static void test_map_equal_in_any_order(void **state)
{
    (void)state;
    static const row same[] = {
        {10923, 16383, {"c:1", "rc:1"}},
        {0, 5460, {"a:1", "rb:1", "ra:1"}},
        {5461, 10922, {"b:1"}},
    };
    static const row others[][3] = {
        {{10923, 16383, {"c:1", "rc:1"}},
         {0, 5460, {"a:1", "rb:1", "ra:1"}},
         {5461, 10921, {"b:1"}}},
        {{10923, 16383, {"c:1"}}, {0, 5460, {"a:1", "rb:1", "ra:1"}}, {5461, 10922, {"b:1"}}},
        {{10923, 16383, {"c:1", "rb:1"}},
         {0, 5460, {"a:1", "rc:1", "ra:1"}},
         {5461, 10922, {"b:1"}}},
        {{10923, 16383, {"rc:1", "c:1"}},
         {0, 5460, {"a:1", "rb:1", "ra:1"}},
         {5461, 10922, {"b:1"}}},
        {{10923, 16383, {"c:2", "rc:1"}},
         {0, 5460, {"a:1", "rb:1", "ra:1"}},
         {5461, 10922, {"b:1"}}},
        {{10923, 16383, {"b:1"}},
         {0, 5460, {"a:1", "rb:1", "ra:1"}},
         {5461, 10922, {"c:1", "rc:1"}}},
    };
    kw_map *map = map_of(kw_mem_default(), three, 3);
    kw_map *equal = map_of(kw_mem_default(), same, 3);
    assert_true(kw_map_equal(map, equal));
    assert_true(kw_map_equal(equal, map));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        kw_map *other = map_of(kw_mem_default(), others[i], 3);
        assert_false(kw_map_equal(map, other));
        assert_false(kw_map_equal(other, map));
        kw_map_unref(other);
    }
    kw_endpoint a = endpoint_of("a:1");
    kw_map *patched = NULL;
    assert_int_equal(kw_map_patch(equal, &patched, 16383, &a), KW_OK);
    assert_false(kw_map_equal(map, equal));
    kw_map_unref(equal);
    kw_map_unref(map);
}

static void test_node_set_random_order_finds_all(void **state)
{
    (void)state;
    enum { NODES = 600 };
    static kw_endpoint nodes[NODES];
    static uint16_t sorted[NODES];
    kw_node_set set = {nodes, sorted, 0};
    kw_random random;
    kw_random_init(&random, kw_test_seed("node_set"));
    while (set.n < NODES) {
        kw_endpoint endpoint = {"", 0};
        snprintf(endpoint.host, sizeof(endpoint.host), "h%u",
                 (unsigned)kw_random_below(&random, 40));
        endpoint.port = (uint16_t)(1 + kw_random_below(&random, 40));
        size_t node;
        size_t before = set.n;
        bool is_known = kw_node_set_find(&set, &node, &endpoint);
        size_t added = kw_node_set_add(&set, &endpoint);
        assert_true(is_known ? added == node && set.n == before
                             : added == before && set.n == before + 1);
    }
    for (size_t i = 0; i < NODES; i++) {
        size_t node;
        assert_true(kw_node_set_find(&set, &node, &nodes[i]));
        assert_int_equal(node, i);
    }
}

/* Threads */

enum { THREADS = 4, ROUNDS = 2000 };

typedef struct worker {
    kw_map *map;
    uint64_t seed;
    unsigned wrong;
} worker;

static void *patch_and_read(void *arg)
{
    worker *self = arg;
    static const char *const hosts[] = {"a", "b", "c", "d"};
    kw_random random;
    kw_random_init(&random, self->seed);
    for (int i = 0; i < ROUNDS; i++) {
        unsigned slot = (unsigned)kw_random_below(&random, KW_SLOTS_N);
        kw_endpoint endpoint = {"", 1};
        size_t pick = (size_t)kw_random_below(&random, i % 64 == 0 ? 4 : 3);
        memcpy(endpoint.host, hosts[pick], 2);
        kw_map *patched = NULL;
        kw_map *held = kw_map_ref(self->map);
        kw_err err = kw_map_patch(held, &patched, slot, &endpoint);
        self->wrong += err != KW_OK || (patched != NULL) != (pick == 3);
        const kw_map *map = patched != NULL ? patched : held;
        uint16_t shard = kw_map_shard_of(map, slot);
        self->wrong += shard >= kw_map_shards_n(map);
        self->wrong += patched != NULL && strcmp(owner_of(patched, slot), "d") != 0;
        kw_map_unref(patched);
        kw_map_unref(held);
    }
    return NULL;
}

static void test_map_patched_by_threads_stays_whole(void **state)
{
    (void)state;
    kw_map *map = map_of(kw_mem_default(), three, 3);
    uint64_t seed = kw_test_seed("map_threads");
    pthread_t threads[THREADS];
    worker workers[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        worker fresh = {map, seed + i, 0};
        workers[i] = fresh;
        assert_int_equal(pthread_create(&threads[i], NULL, patch_and_read, &workers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(workers[i].wrong, 0);
    }
    for (unsigned slot = 0; slot < KW_SLOTS_N; slot++) {
        assert_true(kw_map_shard_of(map, slot) < 3);
    }
    kw_map_unref(map);
}

/* Runs that begin, end and break at any place, beside those that are found slot by slot. */
static void test_map_runs_are_found_and_filled_exactly(void **state)
{
    (void)state;
    static uint16_t slots[KW_SLOTS_N];
    static uint16_t expected[KW_SLOTS_N];
    kw_random random;
    kw_random_init(&random, 7);
    for (int i = 0; i < 2000; i++) {
        size_t from = kw_random_next(&random) % 400;
        size_t end = from + 1 + kw_random_next(&random) % 400;
        uint16_t value = (uint16_t)(kw_random_next(&random) % 3);
        for (size_t slot = from; slot < end; slot++) {
            expected[slot] = value;
        }
        kw_map_run_fill(slots, from, end, value);
        assert_memory_equal(slots, expected, sizeof(slots));
        size_t last = from + 1 + kw_random_next(&random) % 800;
        size_t stop = from + 1;
        while (stop < last && slots[stop] == slots[from]) {
            stop++;
        }
        assert_int_equal(kw_map_run_end(slots, from, last), stop);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_single_owns_every_slot),
        cmocka_unit_test(test_map_slot_table_is_33_kb_of_clusters_only),
        cmocka_unit_test(test_map_single_equals_only_its_like),
        cmocka_unit_test(test_map_new_lists_nodes_and_shards),
        cmocka_unit_test(test_map_new_leaves_out_shards_without_slots),
        cmocka_unit_test(test_map_patch_known_primary_stores_in_place),
        cmocka_unit_test(test_map_patch_slot_past_the_last_is_refused),
        cmocka_unit_test(test_map_hole_is_the_run_of_the_slot_or_the_first),
        cmocka_unit_test(test_map_patch_fills_a_hole),
        cmocka_unit_test(test_map_patch_unknown_primary_makes_a_copy),
        cmocka_unit_test(test_map_patch_replica_becomes_a_primary),
        cmocka_unit_test(test_map_patch_ever_new_ports_stays_small),
        cmocka_unit_test(test_map_patch_every_slot_elsewhere_meets_the_limit),
        cmocka_unit_test(test_map_patch_without_memory_changes_nothing),
        cmocka_unit_test(test_map_new_single_without_memory_gives_null),
        cmocka_unit_test(test_map_equal_in_any_order),
        cmocka_unit_test(test_node_set_random_order_finds_all),
        cmocka_unit_test(test_map_patched_by_threads_stays_whole),
        cmocka_unit_test(test_map_runs_are_found_and_filled_exactly),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}

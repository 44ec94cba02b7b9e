/* SPDX-License-Identifier: BSD-3-Clause */
/* Members of a ring become a map: shards with replicas, and who has the keys of one that is
 * down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "route/ring_members.h"
#include "route/ring_map.h"
#include "unit/ring_make.h"

#include <keyway/ring.h>

/* Adds members of "name=port" words; every member has the server h:port, and r:port as its
 * replica where the port is even. */
static void add_members(kw_ring_members *members, const char *words)
{
    char name[64];
    unsigned port;
    for (int used = 0; sscanf(words, " %63[^=]=%u%n", name, &port, &used) == 2; words += used) {
        kw_member member = {.weight = 1, .name_len = strlen(name)};
        memcpy(member.name, name, strlen(name) + 1);
        assert_true(kw_endpoint_set(&member.server, kw_bytes_of("h"), port));
        if (port % 2 == 0) {
            kw_endpoint replica;
            assert_true(kw_endpoint_set(&replica, kw_bytes_of("r"), port));
            assert_true(kw_member_add_replica(&member, &replica, kw_mem_default()));
        }
        assert_true(kw_ring_members_add(members, &member, kw_mem_default()));
    }
}

static kw_map *map_of(const kw_ring_members *members, const kw_map_parts *parts)
{
    kw_map *map = NULL;
    kw_error error = KW_ERROR_INIT;
    if (kw_ring_map_new(&map, &error, kw_mem_default(), members, parts) != KW_OK) {
        kw_test_die("%s", error.text);
    }
    return map;
}

static kw_ring *ring_of_members(const kw_ring_members *members, const char *placement)
{
    kw_error error = KW_ERROR_INIT;
    kw_ring *empty = ring_of(placement, "");
    kw_ring *ring = kw_ring_map_ring(members, empty, &error);
    kw_ring_unref(empty);
    if (ring == NULL) {
        kw_test_die("%s", error.text);
    }
    return ring;
}

/* Port of the primary that has the place. */
static unsigned port_at(const kw_map *map, uint64_t place)
{
    uint16_t shard = kw_map_shard_at_position(map, place);
    return shard != KW_MAP_NO_SHARD ? kw_map_node(map, kw_map_shard_at(map, shard)->primary)->port
                                    : 0;
}

static void test_ring_map_shards_are_nodes_with_their_replicas(void **state)
{
    (void)state;
    kw_ring_members members = {0};
    add_members(&members, "c=3 a=1 b=2 d=4");
    kw_map_parts parts = {.ring = ring_of_members(&members, "kw1")};
    kw_map *map = map_of(&members, &parts);
    assert_false(kw_map_is_cluster(map));
    assert_int_equal(kw_map_shards_n(map), 4);
    assert_int_equal(kw_map_nodes_n(map), 6);
    for (uint32_t i = 0; i < 4; i++) {
        const kw_map_shard *shard = kw_map_shard_at(map, i);
        unsigned port = (unsigned)(kw_ring_node_name(parts.ring, NULL, i)[0] - 'a') + 1;
        assert_int_equal(kw_map_node(map, shard->primary)->port, port);
        assert_int_equal(shard->replicas_n, port % 2 == 0 ? 1 : 0);
        if (shard->replicas_n > 0) {
            size_t replica = kw_map_replica(map, shard, 0);
            assert_string_equal(kw_map_node(map, replica)->host, "r");
            assert_int_equal(kw_map_node(map, replica)->port, port);
            assert_false(kw_map_member_at(map, replica)->is_primary);
        }
    }
    kw_map_unref(map);
    kw_ring_unref(parts.ring);
    kw_ring_members_fini(&members, kw_mem_default());
}

static void test_ring_map_places_are_those_of_the_ring(void **state)
{
    (void)state;
    static const char *const placements[] = {"kw1", "modulo", "twemproxy", "go-redis", "jedis"};
    for (size_t p = 0; p < sizeof(placements) / sizeof(placements[0]); p++) {
        kw_ring_members members = {0};
        add_members(&members, "a=1 b=2 c=3");
        kw_map_parts parts = {.ring = ring_of_members(&members, placements[p])};
        kw_map *map = map_of(&members, &parts);
        for (int i = 0; i < 500; i++) {
            char key[24];
            kw_bytes bytes = {key, (size_t)snprintf(key, sizeof(key), "{%d}key", i)};
            uint32_t owner;
            assert_int_equal(kw_ring_lookup(parts.ring, &owner, key, bytes.len), KW_OK);
            assert_int_equal(kw_map_shard_of_key(map, bytes), owner);
            assert_int_equal(
                kw_map_shard_at_position(map, kw_ring_hash_of(parts.ring, key, bytes.len)), owner);
        }
        kw_map_unref(map);
        kw_ring_unref(parts.ring);
        kw_ring_members_fini(&members, kw_mem_default());
    }
}

/* The first of the preference list that is up has the key. */
static void test_ring_map_next_is_the_first_of_the_list_that_is_up(void **state)
{
    (void)state;
    kw_ring_members members = {0};
    add_members(&members, "a=1 b=2 c=3 d=4 e=5");
    snprintf(members.members[0].zone, sizeof(members.members[0].zone), "x");
    snprintf(members.members[1].zone, sizeof(members.members[1].zone), "x");
    snprintf(members.members[2].zone, sizeof(members.members[2].zone), "y");
    kw_map_parts parts = {.ring = ring_of_members(&members, "kw1"), .skips_down = true};
    for (unsigned mask = 0; mask < 32; mask++) {
        unsigned char is_down[5];
        for (unsigned i = 0; i < 5; i++) {
            is_down[i] = mask >> i & 1;
        }
        parts.is_down = is_down;
        kw_map *map = map_of(&members, &parts);
        for (int i = 0; i < 100; i++) {
            char key[24];
            size_t len = (size_t)snprintf(key, sizeof(key), "key:%d", i);
            uint32_t list[5];
            assert_int_equal(kw_ring_preference(parts.ring, list, 5, key, len), 5);
            uint32_t expected = list[0]; /* where all are down */
            for (size_t k = 5; k > 0; k--) {
                expected = is_down[list[k - 1]] == 0 ? list[k - 1] : expected;
            }
            kw_bytes bytes = {key, len};
            assert_int_equal(kw_map_shard_of_key(map, bytes), expected);
        }
        kw_map_unref(map);
    }
    kw_ring_unref(parts.ring);
    kw_ring_members_fini(&members, kw_mem_default());
}

static void test_ring_map_an_ejected_node_has_nothing_and_keeps_its_shard(void **state)
{
    (void)state;
    static const char *const placements[] = {"kw1", "modulo", "twemproxy", "go-redis"};
    for (size_t p = 0; p < sizeof(placements) / sizeof(placements[0]); p++) {
        kw_ring_members members = {0};
        add_members(&members, "a=1 b=2 c=3");
        kw_map_parts parts = {.ring = ring_of_members(&members, placements[p])};
        kw_ring_change *change = kw_ring_change_of(parts.ring, NULL);
        assert_int_equal(kw_ring_change_remove(change, NULL, "b", 1), KW_OK);
        parts.live = ring_commit(change);
        kw_ring_change_free(change);
        kw_map *map = map_of(&members, &parts);
        for (int i = 0; i < 500; i++) {
            char key[24];
            size_t len = (size_t)snprintf(key, sizeof(key), "%d:key", i);
            const char *owner = ring_owner(parts.live, key, len);
            uint64_t place = kw_ring_hash_of(parts.ring, key, len);
            assert_int_equal(port_at(map, place), owner[0] - 'a' + 1);
        }
        assert_int_equal(kw_map_shards_n(map), 3);
        kw_map_unref(map);
        kw_ring_unref(parts.live);
        kw_ring_unref(parts.ring);
        kw_ring_members_fini(&members, kw_mem_default());
    }
}

static void test_ring_map_without_members_places_nothing(void **state)
{
    (void)state;
    kw_ring_members members = {0};
    kw_map_parts parts = {.ring = ring_of_members(&members, "kw1")};
    kw_map *map = map_of(&members, &parts);
    assert_int_equal(kw_map_shards_n(map), 0);
    assert_int_equal(kw_map_shard_at_position(map, 0), KW_MAP_NO_SHARD);
    assert_int_equal(kw_map_shard_of_key(map, kw_bytes_of("key")), KW_MAP_NO_SHARD);
    kw_map_unref(map);
    kw_ring_unref(parts.ring);
}

static void test_ring_map_a_name_is_made_of_the_address(void **state)
{
    (void)state;
    static const struct {
        const char *placement;
        const char *host;
        unsigned port;
        const char *name;
    } rows[] = {
        {"kw1", "h", 6379, "h:6379"},   {"kw1", "::1", 6379, "[::1]:6379"},
        {"kw1", "h", 11211, "h:11211"}, {"twemproxy", "h", 6379, "h:6379"},
        {"twemproxy", "h", 11211, "h"}, {"twemproxy:modula:md5", "h", 11211, "h"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_ring *empty = ring_of(rows[i].placement, "");
        kw_member member = {.weight = 1};
        assert_true(kw_endpoint_set(&member.server, kw_bytes_of(rows[i].host), rows[i].port));
        kw_ring_map_name(&member, empty);
        assert_string_equal(member.name, rows[i].name);
        assert_int_equal(member.name_len, strlen(rows[i].name));
        kw_ring_map_name(&member, empty); /* one that has a name keeps it */
        assert_string_equal(member.name, rows[i].name);
        kw_ring_unref(empty);
    }
}

static void test_ring_map_each_allocation_failing_leaks_nothing(void **state)
{
    (void)state;
    kw_ring_members members = {0};
    add_members(&members, "a=1 b=2 c=3");
    kw_map_parts parts = {.ring = ring_of_members(&members, "kw1")};
    kw_err code = KW_ERR_NOMEM;
    for (unsigned long fail_at = 1; code != KW_OK; fail_at++) {
        kw_test_memory memory;
        kw_test_memory_init(&memory, fail_at);
        kw_map *map = NULL;
        kw_ring_members copy = {0};
        code = kw_ring_members_copy(&copy, &members, &memory.allocator) ? KW_OK : KW_ERR_NOMEM;
        if (code == KW_OK) {
            code = kw_ring_map_new(&map, NULL, &memory.allocator, &copy, &parts);
        }
        kw_map_unref(map);
        kw_ring_members_fini(&copy, &memory.allocator);
        assert_int_equal(kw_test_memory_live(&memory), 0);
        assert_true(fail_at < 100);
    }
    kw_ring_unref(parts.ring);
    kw_ring_members_fini(&members, kw_mem_default());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring_map_shards_are_nodes_with_their_replicas),
        cmocka_unit_test(test_ring_map_places_are_those_of_the_ring),
        cmocka_unit_test(test_ring_map_next_is_the_first_of_the_list_that_is_up),
        cmocka_unit_test(test_ring_map_an_ejected_node_has_nothing_and_keeps_its_shard),
        cmocka_unit_test(test_ring_map_without_members_places_nothing),
        cmocka_unit_test(test_ring_map_a_name_is_made_of_the_address),
        cmocka_unit_test(test_ring_map_each_allocation_failing_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

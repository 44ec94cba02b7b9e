/* SPDX-License-Identifier: BSD-3-Clause */
/* Placements of go-redis and Jedis, against owners that these have given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "route/hash_compat.h"
#include "unit/ring_make.h"

/* Owners of keys, computed apart from the library, of the definitions of go-redis'
 * rendezvous and of Jedis' shards. */
typedef struct golden {
    const char *key;
    const char *go_redis;
    const char *jedis;
    const char *jedis_29;
    const char *jedis_unnamed;
} golden;

static const golden goldens[] = {
    {"", "z", "shard2", "z", "shard2"},
    {"a", "shard1", "third", "third", "z"},
    {"keyway", "z", "shard1", "z", "shard2"},
    {"user:1000", "third", "z", "third", "z"},
    {"foo{bar}zap", "z", "shard2", "z", "shard1"},
    {"caf\xc3\xa9", "shard1", "shard2", "third", "shard1"},
    {"0123456789abcdef", "shard2", "shard2", "shard2", "z"},
    {"key-17-of-many", "shard1", "shard1", "shard2", "shard2"},
    {"{}x", "shard2", "shard2", "shard2", "z"},
};

static void check(const char *placement, const char *list, size_t column)
{
    kw_ring *ring = ring_of(placement, list);
    for (size_t i = 0; i < sizeof(goldens) / sizeof(goldens[0]); i++) {
        const golden *g = &goldens[i];
        const char *const owners[] = {g->go_redis, g->jedis, g->jedis_29, g->jedis_unnamed};
        assert_string_equal(ring_owner(ring, g->key, strlen(g->key)), owners[column]);
    }
    kw_ring_unref(ring);
}

static void test_go_redis_owners_are_those_of_its_rendezvous(void **state)
{
    (void)state;
    check("go-redis", "shard1 shard2 third z", 0);
    check("go-redis", "z third*5 shard2 down*0 shard1", 0);
}

static void test_jedis_owners_are_those_of_its_shards(void **state)
{
    (void)state;
    check("jedis", "shard1 z*3 shard2*2 third", 1);
    check("jedis:2.9", "shard1 z*3 shard2*2 third", 2);
    check("jedis:unnamed", "shard1 z*3 shard2*2 third", 3);
}

static void test_jedis_nodes_keep_the_order_of_adding(void **state)
{
    (void)state;
    static const char *const expected[] = {"z", "a", "m"};
    kw_ring *ring = ring_of("jedis:unnamed", "z a gone m");
    kw_ring_change *change = kw_ring_change_of(ring, NULL);
    assert_int_equal(kw_ring_change_remove(change, NULL, "gone", 4), KW_OK);
    kw_ring *next = ring_commit(change);
    for (uint32_t i = 0; i < 3; i++) {
        assert_string_equal(kw_ring_node_name(next, NULL, i), expected[i]);
    }
    kw_ring_change_free(change);
    kw_ring_unref(ring);
    kw_ring_unref(next);
}

/* Jedis' default pattern wants one character between the braces, and takes any but the ends of
 * lines. */
static void test_jedis_tags_are_those_of_its_pattern(void **state)
{
    (void)state;
    kw_ring *plain = ring_of("jedis", "a b");
    kw_ring *ring = ring_of("jedis/tag", "a b");
    static const char *const keys[][2] = {
        {"x{tag}y", "tag"},
        {"{}a}", "}a"},
        {"{}", "{}"},
        {"{", "{"},
        {"{a", "{a"},
        {"{{a}", "{a"},
        {"}x{a}", "a"},
        {"{}}", "}"},
        {"{\n}x", "{\n}x"},
        {"{a\n}", "{a\n}"},
        {"{a\r{b}", "b"},
        {"{}\n}{c}", "c"},
        {"{\xC2\x85}", "{\xC2\x85}"},
        {"{\xC2\x86}", "\xC2\x86"},
        {"{\n", "{\n"},
        {"{a\xE2\x80\xA8}", "{a\xE2\x80\xA8}"},
        {"{a\xE2\x80\xA9{b}", "b"},
        {"{\xE2\x80", "{\xE2\x80"},
        {"{a\xE2\x80\xAA}", "a\xE2\x80\xAA"},
        {"{\v}", "\v"},
        {"{a{\n{b}c}", "b"},
    };
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        assert_true(kw_ring_hash(ring, keys[i][0], strlen(keys[i][0])) ==
                    kw_ring_hash(plain, keys[i][1], strlen(keys[i][1])));
    }
    kw_ring_unref(plain);
    kw_ring_unref(ring);
}

static void test_murmur64a_gives_known_answers(void **state)
{
    (void)state;
    assert_true(kw_hash_murmur64a("", 0, 0x1234abcd) == 0x742d0865aa627b0b);
    assert_true(kw_hash_murmur64a("a", 1, 0x1234abcd) == 0x6ee2d45a1217e2fd);
    assert_true(kw_hash_murmur64a("keyway", 6, 0x1234abcd) == 0xad86e86081530954);
    assert_true(kw_hash_murmur64a("user:1000", 9, 0x1234abcd) == 0xa673268ad0d72f81);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_go_redis_owners_are_those_of_its_rendezvous),
        cmocka_unit_test(test_jedis_owners_are_those_of_its_shards),
        cmocka_unit_test(test_jedis_nodes_keep_the_order_of_adding),
        cmocka_unit_test(test_jedis_tags_are_those_of_its_pattern),
        cmocka_unit_test(test_murmur64a_gives_known_answers),
    };
    return cmocka_run_group_tests_name("ring_compat", tests, NULL, NULL);
}

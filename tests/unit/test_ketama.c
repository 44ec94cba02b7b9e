/* SPDX-License-Identifier: BSD-3-Clause */
/* Ketama's points and server lines, against those of nutcracker. */
#include "route/ketama.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/ring_make.h"

static kw_ring *ring_of_servers(const char *placement, const char *const *lines, size_t lines_n)
{
    kw_ring_change *change = ring_change(placement);
    for (size_t i = 0; i < lines_n; i++) {
        kw_error error = KW_ERROR_INIT;
        if (kw_ring_change_add_server(change, &error, lines[i]) != KW_OK) {
            kw_test_die("%s", error.text);
        }
    }
    kw_ring *ring = ring_commit(change);
    kw_ring_change_free(change);
    return ring;
}

static void test_ketama_points_are_the_published_ones(void **state)
{
    (void)state;
    static const char *const lines[] = {"127.0.0.1:31971:1"};
    static const uint32_t expected[] = {1024693411, 3347484133, 3133126108, 1052617929};
    uint64_t points[160];
    kw_ring *ring = ring_of_servers("twemproxy", lines, 1);
    assert_int_equal(kw_ring_node_points(ring, 0), 160);
    kw_ketama_points(points, ring);
    for (size_t i = 0; i < 4; i++) {
        assert_true(points[i] == (uint64_t)expected[i] << 32);
    }
    kw_ring_unref(ring);
}

typedef struct server_line {
    const char *line;
    const char *name; /* NULL: refused */
    uint32_t weight;
} server_line;

static const server_line server_lines[] = {
    {"127.0.0.1:6379:1", "127.0.0.1:6379", 1},
    {"127.0.0.1:6379:7 alpha", "alpha", 7},
    {"127.0.0.1:06379:1", "127.0.0.1:06379", 1},
    {"localhost:6379:1", "localhost:6379", 1},
    {"127.0.0.1:11211:1", "127.0.0.1", 1},
    {"127.0.0.1:11211:1 a", "a", 1},
    {"::1:6379:2", "::1:6379", 2},
    {"/tmp/a.sock:3", "/tmp/a.sock:", 3},
    {"/tmp/a.sock:3 named", "named", 3},
    {"h:1:0", "h:1", 0},
    {"h:65535:2147483647", "h:65535", 2147483647},
    {"h:65536:1", NULL, 0},
    {"h:0:1", NULL, 0},
    {"h:1:2147483648", NULL, 0},
    {"h:1:", NULL, 0},
    {"h:1", NULL, 0},
    {"h", NULL, 0},
    {"", NULL, 0},
    {":1:1", NULL, 0},
    {"h::1", NULL, 0},
    {"h:1:-1", NULL, 0},
    {"h:1:1 ", NULL, 0},
    {":1", NULL, 0},
    {" a", NULL, 0},
};

static void test_ketama_server_lines_give_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(server_lines) / sizeof(server_lines[0]); i++) {
        const server_line *s = &server_lines[i];
        kw_error error = KW_ERROR_INIT;
        kw_ring_change *change = ring_change("twemproxy");
        kw_err err = kw_ring_change_add_server(change, &error, s->line);
        assert_int_equal(err, s->name != NULL ? KW_OK : KW_ERR_ARGUMENT);
        kw_ring *ring = ring_commit(change);
        if (s->name != NULL) {
            assert_string_equal(kw_ring_node_name(ring, NULL, 0), s->name);
            assert_int_equal(kw_ring_node_weight(ring, 0), s->weight);
        } else {
            assert_int_equal(kw_ring_nodes_n(ring), 0);
        }
        kw_ring_unref(ring);
        kw_ring_change_free(change);
    }
}

static void test_ketama_name_of_a_line_may_be_255_bytes(void **state)
{
    (void)state;
    char line[300] = "h:1:1 ";
    memset(line + 6, 'n', 256);
    kw_ring_change *change = ring_change("twemproxy");
    assert_int_equal(kw_ring_change_add_server(change, NULL, line), KW_ERR_ARGUMENT);
    line[6 + 255] = '\0';
    assert_int_equal(kw_ring_change_add_server(change, NULL, line), KW_OK);
    assert_int_equal(kw_ring_change_add_server(change, NULL, line), KW_ERR_ARGUMENT);
    kw_ring *ring = ring_commit(change);
    assert_int_equal(kw_ring_node_points(ring, 0), 160);
    kw_ring_unref(ring);
    kw_ring_change_free(change);
}

static void test_ketama_nodes_stand_by_length_then_bytes(void **state)
{
    (void)state;
    static const char *const expected[] = {"b", "z", "aa", "ab", "aaa"};
    kw_ring *ring = ring_of("twemproxy", "aaa z ab b aa");
    for (uint32_t i = 0; i < 5; i++) {
        assert_string_equal(kw_ring_node_name(ring, NULL, i), expected[i]);
    }
    kw_ring_unref(ring);
}

/* Single precision: 25 equal servers have 156 points each, where exact numbers give
 * 160. */
static void test_ketama_counts_are_those_of_single_precision(void **state)
{
    (void)state;
    static const unsigned short_counts[] = {25};
    for (unsigned n = 1; n <= 30; n++) {
        kw_ring *ring = ring_of_count("twemproxy", n);
        bool is_short = n == short_counts[0];
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(kw_ring_node_points(ring, i), is_short ? 156 : 160);
        }
        kw_ring_unref(ring);
    }
    kw_ring *ring = ring_of("twemproxy", "a*1 b*5 c*2 d*3 e*0");
    static const unsigned counts[] = {72, 360, 144, 216, 0};
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(kw_ring_node_points(ring, i), counts[i]);
    }
    kw_ring_unref(ring);
}

static void test_ketama_light_weights_may_own_nothing(void **state)
{
    (void)state;
    kw_ring *ring = ring_of("twemproxy", "heavy*1000000 light*1");
    uint32_t light;
    uint32_t nodes[2];
    assert_int_equal(kw_ring_find(ring, &light, "light", 5), KW_OK);
    assert_int_equal(kw_ring_node_points(ring, light), 0);
    assert_int_equal(kw_ring_preference(ring, nodes, 2, "k", 1), 1);
    assert_string_equal(kw_ring_node_name(ring, NULL, nodes[0]), "heavy");
    kw_ring_unref(ring);
}

static void test_ketama_empty_key_has_hash_zero(void **state)
{
    (void)state;
    static const char *const placements[] = {"twemproxy", "twemproxy:modula:md5", "twemproxy/tag"};
    for (size_t i = 0; i < 3; i++) {
        kw_ring *ring = ring_of(placements[i], "a b c");
        assert_true(kw_ring_hash(ring, "", 0) == 0);
        assert_true(kw_ring_hash(ring, "{}", 2) != 0);
        kw_ring_unref(ring);
    }
}

static void test_ketama_tags_take_any_two_characters(void **state)
{
    (void)state;
    kw_ring *plain = ring_of("twemproxy", "a b c");
    kw_ring *same = ring_of("twemproxy/tag:||", "a b c");
    kw_ring *round = ring_of("twemproxy/tag:()", "a b c");
    uint64_t tag = kw_ring_hash(plain, "tag", 3);
    assert_true(kw_ring_hash(same, "x|tag|y|z|", 10) == tag);
    assert_true(kw_ring_hash(same, "|tag", 4) == kw_ring_hash(plain, "|tag", 4));
    assert_true(kw_ring_hash(same, "||tag|", 6) == kw_ring_hash(plain, "||tag|", 6));
    assert_true(kw_ring_hash(round, ")x(tag))", 8) == tag);
    assert_true(kw_ring_hash(round, "()(tag)", 7) == kw_ring_hash(plain, "()(tag)", 7));
    assert_true(kw_ring_hash(round, "(((tag)", 7) == kw_ring_hash(plain, "((tag", 5));
    kw_ring_unref(plain);
    kw_ring_unref(same);
    kw_ring_unref(round);
}

static void test_ketama_bytes_may_be_unsigned(void **state)
{
    (void)state;
    kw_ring *x86 = ring_of("twemproxy", "a");
    kw_ring *arm = ring_of("twemproxy/unsigned", "a");
    assert_true(kw_ring_hash(x86, "caf\xc3\xa9", 5) == 3472276361);
    assert_true(kw_ring_hash(arm, "caf\xc3\xa9", 5) == 3483635081);
    kw_ring_unref(x86);
    kw_ring_unref(arm);
}

static void test_modula_lists_nodes_by_weight(void **state)
{
    (void)state;
    kw_ring *ring = ring_of("twemproxy:modula:crc32a", "bb*2 c*3 a");
    static const char *const expected[] = {"a", "c", "c", "c", "bb", "bb"};
    for (unsigned k = 0; k < 1000; k++) {
        uint64_t hash = kw_ring_hash(ring, (const char *)&k, sizeof(k));
        assert_string_equal(ring_owner(ring, (const char *)&k, sizeof(k)), expected[hash % 6]);
    }
    kw_ring_unref(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ketama_points_are_the_published_ones),
        cmocka_unit_test(test_ketama_server_lines_give_names),
        cmocka_unit_test(test_ketama_name_of_a_line_may_be_255_bytes),
        cmocka_unit_test(test_ketama_nodes_stand_by_length_then_bytes),
        cmocka_unit_test(test_ketama_counts_are_those_of_single_precision),
        cmocka_unit_test(test_ketama_light_weights_may_own_nothing),
        cmocka_unit_test(test_ketama_empty_key_has_hash_zero),
        cmocka_unit_test(test_ketama_tags_take_any_two_characters),
        cmocka_unit_test(test_ketama_bytes_may_be_unsigned),
        cmocka_unit_test(test_modula_lists_nodes_by_weight),
    };
    return cmocka_run_group_tests_name("ketama", tests, NULL, NULL);
}

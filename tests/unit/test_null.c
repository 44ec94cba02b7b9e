/* SPDX-License-Identifier: BSD-3-Clause */
/* What could not be made is NULL, and no function that is given it crashes: of rings, of their
 * changes, walks and comparisons, and of messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

static void is_argument(kw_error *error)
{
    assert_int_equal(error->code, KW_ERR_ARGUMENT);
    assert_int_equal(error->effect, KW_EFFECT_NONE);
    assert_true(error->text[0] != '\0');
    *error = (kw_error)KW_ERROR_INIT;
}

static void test_null_change_of_a_ring_is_an_argument_error(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_ring_change *change = kw_ring_change_new("no such placement", &error, NULL);
    assert_null(change);
    is_argument(&error);
    assert_int_equal(kw_ring_change_add(change, &error, "a", 1, 1), KW_ERR_ARGUMENT);
    is_argument(&error);
    assert_int_equal(kw_ring_change_add_server(change, &error, "h:1:1 a"), KW_ERR_ARGUMENT);
    is_argument(&error);
    assert_int_equal(kw_ring_change_reweight(change, &error, "a", 1, 1), KW_ERR_ARGUMENT);
    is_argument(&error);
    assert_int_equal(kw_ring_change_set_zone(change, &error, "a", 1, "z"), KW_ERR_ARGUMENT);
    is_argument(&error);
    assert_int_equal(kw_ring_change_remove(change, &error, "a", 1), KW_ERR_ARGUMENT);
    is_argument(&error);
    assert_null(kw_ring_change_commit(change, &error));
    is_argument(&error);
    assert_null(kw_ring_change_of(NULL, &error));
    is_argument(&error);
    kw_ring_change_free(change);
}

static void test_null_ring_has_no_nodes(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    uint32_t node = 7;
    double moved = 7;
    const uint32_t in_flight[] = {0};
    const kw_ring_load load = {sizeof(load), in_flight, 0};
    assert_null(kw_ring_ref(NULL));
    assert_int_equal(kw_ring_lookup(NULL, &node, "a", 1), KW_ERR_ARGUMENT);
    assert_int_equal(kw_ring_lookup_bounded(NULL, &node, "a", 1, &load), KW_ERR_ARGUMENT);
    assert_int_equal(kw_ring_find(NULL, &node, "a", 1), KW_ERR_ARGUMENT);
    assert_int_equal(kw_ring_preference(NULL, &node, 1, "a", 1), 0);
    assert_int_equal(kw_ring_hash(NULL, "a", 1), 0);
    assert_int_equal(kw_ring_nodes_n(NULL), 0);
    assert_null(kw_ring_node_name(NULL, NULL, 0));
    assert_null(kw_ring_node_zone(NULL, 0));
    assert_int_equal(kw_ring_node_weight(NULL, 0), 0);
    assert_int_equal(kw_ring_node_points(NULL, 0), 0);
    assert_true(kw_ring_node_share(NULL, 0) == 0);
    assert_null(kw_ring_placement(NULL));
    assert_int_equal(kw_ring_fingerprint(NULL), 0);
    assert_null(kw_ring_walk_new(NULL, "a", 1));
    assert_int_equal(kw_ring_walk_next(NULL), KW_RING_NO_NODE);
    assert_null(kw_ring_diff_new(NULL, &error, NULL));
    is_argument(&error);
    assert_int_equal(kw_ring_moved(NULL, &error, &moved, NULL), KW_ERR_ARGUMENT);
    is_argument(&error);
    assert_int_equal(kw_ring_diff_count(NULL), 0);
    assert_null(kw_ring_diff_at(NULL, 0));
    assert_int_equal(node, 7);
    assert_true(moved == 7);
}

static void test_null_message_says_nothing(void **state)
{
    (void)state;
    size_t len = 7;
    assert_int_equal(kw_message_type(NULL), (kw_message_kind)-1);
    assert_null(kw_message_channel(NULL, &len));
    assert_int_equal(len, 0);
    assert_null(kw_message_pattern(NULL, NULL));
    assert_null(kw_message_bytes(NULL, NULL));
    assert_null(kw_message_node(NULL));
    assert_int_equal(kw_message_gap_reason(NULL), 0);
    assert_int_equal(kw_message_gap_ms(NULL), 0);
    assert_int_equal(kw_message_gap_lost(NULL), 0);
    assert_int_equal(kw_message_topics_n(NULL), 0);
    assert_null(kw_message_topic(NULL, NULL, NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null_change_of_a_ring_is_an_argument_error),
        cmocka_unit_test(test_null_ring_has_no_nodes),
        cmocka_unit_test(test_null_message_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What could not be made is NULL, and no function that is given it crashes. */
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

#define NOTHING(call)                                                                              \
    assert_null(call);                                                                             \
    is_argument(&error)

#define REFUSED(call)                                                                              \
    assert_int_equal(call, KW_ERR_ARGUMENT);                                                       \
    is_argument(&error)

/* Of every function: its subject is NULL, and so is what else may be pointed at. What is told of it
 * is an argument error, where there is somewhere to tell it; nothing is written. */
static void test_null_subject_is_survived_by_every_function(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    const kw_argv command = {0, NULL, NULL};
    const kw_callback callback = {NULL, NULL};
    const kw_cache_bytes bytes = {NULL, 0};
    const kw_cache_loader loader = {NULL, NULL};
    const kw_cache_callback cached = {NULL, NULL};
    const kw_scan_callback scanned = {NULL, NULL};
    const kw_script_input input = {.script = NULL};
    const kw_function_input function = {.library = NULL};
    size_t len = 7;
    uint64_t number = 7;

    /* clang-format off */
    NOTHING(kw_async_session_open(NULL, &error, NULL, 0));
    REFUSED(kw_async_session_command(NULL, &error, callback, "GET k"));
    REFUSED(kw_async_session_command_argv(NULL, &error, callback, command));
    REFUSED(kw_async_session_call(NULL, &error, callback, NULL, command));
    kw_async_session_close(NULL);
    NOTHING(kw_batch_new(NULL, &error));
    REFUSED(kw_batch_add(NULL, &error, "GET k"));
    REFUSED(kw_batch_add_argv(NULL, &error, 0, NULL, NULL));
    REFUSED(kw_batch_add_call(NULL, &error, NULL, command));
    assert_int_equal(kw_batch_count(NULL), 0);
    REFUSED(kw_batch_run(NULL, &error, 0));
    NOTHING(kw_batch_reply(NULL, &error, 0));
    NOTHING(kw_batch_take(NULL, &error, 0));
    kw_batch_clear(NULL);
    kw_batch_free(NULL);
    NOTHING(kw_cache_open(NULL, &error, NULL));
    kw_cache_close(NULL);
    kw_cache_load_end(NULL, KW_CACHE_LOADED);
    assert_int_equal(kw_cache_load_key(NULL).len, 0);
    assert_int_equal(kw_cache_load_give(NULL, NULL, 0), KW_ERR_ARGUMENT);
    REFUSED(kw_cache_get(NULL, &error, NULL, bytes));
    assert_int_equal(kw_cache_get_many(NULL, &error, NULL, NULL, 0), KW_OK); /* of no keys */
    REFUSED(kw_cache_fetch(NULL, &error, NULL, bytes, loader));
    REFUSED(kw_cache_put(NULL, &error, bytes, bytes));
    REFUSED(kw_cache_forget(NULL, &error, bytes));
    assert_false(kw_cache_peek(NULL, NULL, bytes));
    REFUSED(kw_cache_get_async(NULL, &error, bytes, cached));
    REFUSED(kw_cache_fetch_async(NULL, &error, bytes, loader, cached));
    REFUSED(kw_cache_put_async(NULL, &error, bytes, bytes, cached));
    REFUSED(kw_cache_forget_async(NULL, &error, bytes, cached));
    kw_cache_release(NULL);
    REFUSED(kw_cache_stats(NULL, &error, NULL));
    assert_null(kw_open(NULL, NULL));
    assert_null(kw_open_config(NULL, NULL));
    NOTHING(kw_open_shared(NULL, &error));
    kw_close(NULL);
    REFUSED(kw_drain(NULL, &error, 0));
    REFUSED(kw_connect(NULL, &error));
    REFUSED(kw_refresh(NULL, &error, 0));
    REFUSED(kw_client_set_login(NULL, &error, NULL, NULL));
    REFUSED(kw_client_set(NULL, &error, NULL, NULL));
    REFUSED(kw_client_slot_node(NULL, &error, NULL, 0, 0));
    REFUSED(kw_client_key_node(NULL, &error, NULL, 0, NULL, 0));
    NOTHING(kw_command(NULL, &error, "GET k"));
    NOTHING(kw_command_argv(NULL, &error, 0, NULL, NULL));
    NOTHING(kw_call(NULL, &error, NULL, command));
    assert_int_equal(kw_config_set_uri(NULL, NULL, NULL), KW_ERR_CONFIG);
    assert_int_equal(kw_config_set(NULL, NULL, NULL, NULL), KW_ERR_CONFIG);
    (void)kw_uri_escape(NULL, 0, NULL, 0);
    assert_non_null(kw_config_option(0, NULL, NULL));
    kw_config_set_log(NULL, KW_LOG_ERROR, NULL, NULL);
    kw_config_set_clock(NULL, NULL, NULL);
    kw_config_set_login(NULL, NULL, NULL);
    kw_config_set_resolver(NULL, NULL, NULL);
    kw_config_set_event(NULL, NULL, NULL);
    kw_config_set_slow_call(NULL, NULL, NULL);
    REFUSED(kw_lookup_add(NULL, &error, NULL));
    kw_lookup_end(NULL, NULL);
    REFUSED(kw_login_give(NULL, &error, NULL, NULL, 0));
    kw_config_free(NULL);
    REFUSED(kw_command_keys(command, &error, NULL, 0, NULL));
    REFUSED(kw_command_async(NULL, &error, callback, "GET k"));
    REFUSED(kw_call_async(NULL, &error, callback, NULL, command));
    REFUSED(kw_cancel(NULL, &error, callback));
    assert_int_equal(kw_fd(NULL, &error), -1);
    is_argument(&error);
    assert_int_equal(kw_timeout(NULL), -1);
    REFUSED(kw_process(NULL, &error));
    REFUSED(kw_client_measure(NULL, &error, 0));
    assert_int_equal(kw_client_latency(NULL, NULL, 0, (kw_latency_part)0, (kw_command_class)0), KW_ERR_ARGUMENT);
    kw_latency_add(NULL, NULL);
    kw_latency_subtract(NULL, NULL);
    assert_int_equal(kw_latency_quantile(NULL, 0.5), 0);
    REFUSED(kw_client_heat(NULL, &error, &number, 1));
    NOTHING(kw_client_ring(NULL, &error));
    NOTHING(kw_members_begin(NULL, &error));
    REFUSED(kw_members_add(NULL, &error, NULL));
    REFUSED(kw_members_remove(NULL, &error, NULL, 0));
    REFUSED(kw_members_reweight(NULL, &error, NULL, 0, 1));
    REFUSED(kw_members_set_zone(NULL, &error, NULL, 0, NULL));
    REFUSED(kw_members_set_server(NULL, &error, NULL, 0, NULL));
    NOTHING(kw_members_ring(NULL, &error));
    REFUSED(kw_members_commit(NULL, &error));
    kw_members_free(NULL);
    kw_message_free(NULL);
    NOTHING(kw_quorum_new(NULL, &error));
    kw_quorum_free(NULL);
    kw_quorum_set_clock(NULL, NULL, NULL);
    NOTHING(kw_quorum_run(NULL, &error, NULL, 0, 0));
    REFUSED(kw_quorum_result(NULL, &error, 0));
    assert_false(kw_quorum_is_written(NULL, 0));
    assert_null(kw_quorum_value(NULL, &len, 0));
    (void)kw_quorum_version_of(NULL, 0);
    (void)kw_quorum_ttl_ms(NULL, 0);
    kw_quorum_results_free(NULL);
    NOTHING(kw_quorum_get(NULL, &error, NULL, 0));
    REFUSED(kw_quorum_set(NULL, &error, NULL, 0, NULL, 0));
    REFUSED(kw_quorum_delete(NULL, &error, NULL, 0));
    (void)kw_reply_type(NULL);
    (void)kw_reply_is_error(NULL);
    (void)kw_reply_is_nil(NULL);
    assert_null(kw_reply_str(NULL, NULL));
    assert_int_equal(kw_reply_int(NULL), 0);
    assert_int_equal(kw_reply_count(NULL), 0);
    assert_null(kw_reply_at(NULL, 0));
    assert_null(kw_reply_code(NULL, NULL));
    assert_false(kw_reply_has_code(NULL, NULL));
    assert_null(kw_reply_text(NULL, NULL));
    (void)kw_reply_to_int(NULL, &error, NULL);
    error = (kw_error)KW_ERROR_INIT;
    (void)kw_reply_to_double(NULL, &error, NULL);
    error = (kw_error)KW_ERROR_INIT;
    assert_null(kw_reply_get(NULL, NULL));
    (void)kw_reply_outcome(NULL, NULL);
    kw_reply_free(NULL);
    kw_ring_unref(NULL);
    kw_ring_walk_free(NULL);
    kw_ring_diff_free(NULL);
    NOTHING(kw_scan_open(NULL, &error, NULL));
    REFUSED(kw_scan_next(NULL, &error, NULL));
    REFUSED(kw_scan_next_async(NULL, &error, scanned));
    NOTHING(kw_scan_cursor(NULL, &error));
    REFUSED(kw_scan_get_progress(NULL, &error, NULL));
    kw_scan_cancel(NULL);
    kw_scan_close(NULL);
    NOTHING(kw_script_new(NULL, &error, KW_SCRIPT_WRITES, NULL, 0));
    assert_null(kw_script_sha1(NULL));
    NOTHING(kw_script_run(NULL, &error, NULL, 0, "k"));
    NOTHING(kw_script_call(NULL, &error, NULL, input));
    REFUSED(kw_script_add(NULL, &error, input));
    NOTHING(kw_script_submit(NULL, &error, NULL, input));
    REFUSED(kw_script_async(NULL, &error, callback, NULL, input));
    NOTHING(kw_script_in_session(NULL, &error, input));
    NOTHING(kw_library_new(NULL, &error, NULL, 0));
    REFUSED(kw_library_load(NULL, &error, NULL));
    NOTHING(kw_library_call(NULL, &error, NULL, function));
    kw_library_free(NULL);
    kw_script_free(NULL);
    NOTHING(kw_session_open(NULL, &error, NULL, 0));
    NOTHING(kw_session_command(NULL, &error, "GET k"));
    NOTHING(kw_session_command_argv(NULL, &error, 0, NULL, NULL));
    NOTHING(kw_session_call(NULL, &error, NULL, command));
    kw_session_close(NULL);
    assert_int_equal(kw_slot(NULL, 0), 0);
    assert_null(kw_hash_tag(NULL, 0, &len));
    assert_int_equal(len, 0);
    assert_non_null(kw_hash_tag("a{b}", 4, NULL));
    assert_int_equal(kw_client_stats(NULL, NULL), KW_ERR_ARGUMENT);
    assert_int_equal(kw_client_node_stats(NULL, NULL, 0), KW_ERR_ARGUMENT);
    assert_int_equal(kw_client_node_slots(NULL, NULL, 0, NULL, 0), KW_ERR_ARGUMENT);
    assert_int_equal(kw_client_failures(NULL, KW_OK, KW_EFFECT_NONE), 0);
    assert_int_equal(kw_stats_text(NULL, NULL, 0, (kw_stats_format)0), 0);
    NOTHING(kw_submit(NULL, &error, "GET k"));
    NOTHING(kw_submit_call(NULL, &error, NULL, command));
    NOTHING(kw_ticket_await(NULL, &error));
    (void)kw_ticket_wait(NULL, 0);
    REFUSED(kw_ticket_cancel(NULL, &error));
    kw_ticket_free(NULL);
    NOTHING(kw_subscriber_open(NULL, &error, NULL));
    kw_subscriber_close(NULL);
    REFUSED(kw_subscribe(NULL, &error, KW_TOPIC_CHANNEL, NULL, 0));
    REFUSED(kw_subscribe_nodes(NULL, &error, (kw_subscribe_at)0, NULL, 0));
    REFUSED(kw_unsubscribe(NULL, &error, KW_TOPIC_CHANNEL, NULL, 0));
    REFUSED(kw_subscriber_wait(NULL, &error, 0));
    NOTHING(kw_subscriber_take(NULL, &error, 0));
    NOTHING(kw_transaction_new(NULL, &error));
    REFUSED(kw_transaction_add(NULL, &error, "GET k"));
    REFUSED(kw_transaction_add_argv(NULL, &error, command));
    assert_int_equal(kw_transaction_count(NULL), 0);
    NOTHING(kw_transaction_run(NULL, &error, NULL));
    REFUSED(kw_transaction_async(NULL, &error, callback, NULL));
    NOTHING(kw_transaction_submit(NULL, &error, NULL));
    REFUSED(kw_batch_add_transaction(NULL, &error, NULL));
    kw_transaction_clear(NULL);
    kw_transaction_free(NULL);
    /* clang-format on */
    assert_int_equal(number, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null_change_of_a_ring_is_an_argument_error),
        cmocka_unit_test(test_null_ring_has_no_nodes),
        cmocka_unit_test(test_null_message_says_nothing),
        cmocka_unit_test(test_null_subject_is_survived_by_every_function),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands with callbacks on real servers: order, many under way, split commands, blocking
 * commands, and the handle's end. With each way of watching sockets that the system has.
 * KW_TEST_FAST */
#include "live/loop_cluster.h"
#include "net/transport.h"

#include <poll.h>

static int set_up(void **state)
{
    (void)state;
    cluster = kw_test_cluster_start(3, 0, 1000, NULL);
    return cluster == NULL;
}

static void is_text(size_t at, const char *text)
{
    assert_string_equal(kw_reply_str(answers[at].reply, NULL), text);
}

static void test_loop_first_command_finds_its_way(void **state)
{
    (void)state;
    give(&answers[0], "SET first %d", 1);
    assert_int_equal(answers[0].calls_n, 0); /* only kw_process calls */
    give(&answers[1], "GET first");
    give(&answers[2], "PING");
    wait_for(3);
    is_text(0, "OK");
    is_text(1, "1");
    is_text(2, "PONG");
}

/* Many under way on all nodes; each callback gets its own reply, and one key's commands run
 * in their order. */
/* Where it is asked without waiting, the answer is there all the same. */
static int poll_patiently(void *arg, struct pollfd *sockets, size_t sockets_n, int wait_ms)
{
    (void)arg;
    const kw_transport *below = kw_transport_sockets();
    return below->poll_fn(below->arg, sockets, sockets_n, wait_ms > 0 ? wait_ms : 1000);
}

static void test_loop_map_that_comes_at_once_wakes_who_waits_for_it(void **state)
{
    (void)state;
    kw_transport patient = *kw_transport_sockets();
    patient.poll_fn = poll_patiently;
    kw->topology->env.transport = &patient;
    give(&answers[0], "SET first:map value");
    KW_TEST_UNTIL(answers[0].calls_n > 0)
    { /* called when it asks for that, and not before */
        assert_int_equal(kw_test_turn(kw, KW_TEST_PATIENCE_MS), KW_OK);
    }
    assert_int_equal(kw_reply_type(answers[0].reply), KW_REPLY_STATUS);
    kw_close(kw); /* before its transport is gone */
    assert_int_equal(open_handle(state), 0);
}

static void test_loop_many_under_way_keep_order_per_key(void **state)
{
    (void)state;
    give(&answers[0], "FLUSHALL");
    wait_for(1);
    kw_test_answer_clear(&answers[0]);
    for (int i = 0; i < ANSWERS_N; i++) {
        give(&answers[i], "INCR many:%d", i % 500);
    }
    wait_for(ANSWERS_N);
    for (int i = 0; i < ANSWERS_N; i++) {
        assert_int_equal(kw_reply_int(answers[i].reply), i / 500 + 1);
    }
    for (int i = 500; i < ANSWERS_N; i++) {
        assert_true(answers[i].place > answers[i - 500].place);
    }
}

static void test_loop_servers_errors_are_replies(void **state)
{
    (void)state;
    give(&answers[0], "SET word text");
    give(&answers[1], "INCR word");
    wait_for(2);
    assert_true(kw_reply_is_error(answers[1].reply));
}

static void test_loop_split_commands_are_joined(void **state)
{
    (void)state;
    give(&answers[0], "MSET a 1 b 2 c 3 d 4 e 5");
    wait_for(1);
    is_text(0, "OK");
    give(&answers[1], "MGET a b missing c d e a");
    give(&answers[2], "DEL a b missing c");
    give(&answers[3], "DBSIZE");
    wait_for(4);
    static const char *const values[] = {"1", "2", NULL, "3", "4", "5", "1"};
    assert_int_equal(kw_reply_count(answers[1].reply), 7);
    for (size_t i = 0; i < 7; i++) {
        const char *text = kw_reply_str(kw_reply_at(answers[1].reply, i), NULL);
        if (values[i] == NULL) {
            assert_null(text);
        } else {
            assert_string_equal(text, values[i]);
        }
    }
    assert_int_equal(kw_reply_int(answers[2].reply), 3);
    assert_int_equal(kw_reply_type(answers[3].reply), KW_REPLY_INTEGER);
}

/* A command for all nodes is the first one: there is no map yet. */
static void test_loop_visit_of_all_nodes_waits_for_the_map(void **state)
{
    (void)state;
    const char *argv[] = {"PING"};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.route = KW_ROUTE_NODE;
    options.node = kw_test_server_address(kw_test_cluster_node(cluster, 1));
    char node[100];
    snprintf(node, sizeof(node), "%s", options.node);
    options.node = node;
    give(&answers[0], "DBSIZE");
    assert_int_equal(kw_call_async(kw, NULL, (kw_callback){kw_test_on_reply, &answers[1]}, &options,
                                   (kw_argv){1, argv, NULL}),
                     KW_OK);
    memset(node, 'x', sizeof(node)); /* the caller's options are the caller's again */
    wait_for(2);
    is_text(1, "PONG");
    options.node = "10.1.2.3:4";
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_call_async(kw, &error, (kw_callback){kw_test_on_reply, &answers[2]},
                                   &options, (kw_argv){1, argv, NULL}),
                     KW_ERR_ARGUMENT);
    assert_int_equal(answers[2].calls_n, 0);
}

/* Commands that the table does not know are looked up without waiting. */
static void test_loop_unknown_commands_are_looked_up(void **state)
{
    (void)state;
    give(&answers[0], "NOSUCHCOMMAND key");
    give(&answers[1], "NOSUCHCOMMAND");
    give(&answers[2], "PING");
    wait_for(3);
    assert_true(kw_reply_is_error(answers[0].reply));
    assert_non_null(strstr(kw_reply_str(answers[0].reply, NULL), "unknown command"));
    assert_true(kw_reply_is_error(answers[1].reply));
}

static void test_loop_wrong_uses_are_refused(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_reply_fn fn = kw_test_on_reply;
    assert_int_equal(kw_command_async(NULL, &error, (kw_callback){fn, NULL}, "PING"),
                     KW_ERR_ARGUMENT);
    assert_int_equal(kw_command_async(kw, &error, (kw_callback){NULL, NULL}, "PING"),
                     KW_ERR_ARGUMENT);
    assert_int_equal(kw_command_async(kw, &error, (kw_callback){fn, NULL}, "MULTI"),
                     KW_ERR_REFUSED);
    assert_int_equal(kw_command_async(kw, &error, (kw_callback){fn, NULL}, "SINTER a b"),
                     KW_ERR_CROSSSLOT);
    assert_int_equal(kw_command_async(kw, &error, (kw_callback){fn, NULL}, "GET %s", (char *)NULL),
                     KW_ERR_ARGUMENT);
    assert_int_equal(kw_process(NULL, &error), KW_ERR_ARGUMENT);
    assert_int_equal(kw_fd(NULL, &error), -1);
    assert_int_equal(kw_timeout(NULL), -1);
    assert_int_equal(kw_process(kw, &error), KW_OK); /* nothing to do */
}

/* Blocking commands have connections of their own, and hold nobody up. */
static void test_loop_blocking_commands_hold_nobody_up(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        give(&answers[i], "BLPOP {list}:%d 0", i);
    }
    give(&answers[20], "BLPOP {list}:none 0.05");
    give(&answers[21], "SET {list} 1");
    assert_true(kw_test_turns(kw, &answers[21], 1, ENOUGH_MS));
    assert_true(kw_test_turns(kw, &answers[20], 1, ENOUGH_MS));
    assert_true(kw_reply_is_nil(answers[20].reply));
    for (int i = 0; i < 20; i++) {
        assert_int_equal(answers[i].calls_n, 0);
        give(&answers[22 + i], "RPUSH {list}:%d value%d", i, i);
    }
    wait_for(42);
    for (size_t i = 0; i < 20; i++) {
        char text[20];
        snprintf(text, sizeof(text), "value%zu", i);
        assert_string_equal(kw_reply_str(kw_reply_at(answers[i].reply, 1), NULL), text);
    }
}

/* Callbacks that go on: each gives the next command, sent in the same turn. */
typedef struct chain {
    int left;
    int turns;
    kw_err process_code;
    bool has_waited;
} chain;

static void on_link(void *arg, kw_reply *reply, const kw_error *error)
{
    chain *self = arg;
    assert_null(error);
    kw_reply_free(reply);
    self->process_code = kw_process(kw, NULL);
    if (self->left == 50) {
        /* A call that waits is allowed, and has its answer. */
        reply = kw_command(kw, NULL, "PING");
        self->has_waited = kw_reply_type(reply) == KW_REPLY_STATUS;
        kw_reply_free(reply);
    }
    if (--self->left > 0) {
        assert_int_equal(kw_command_async(kw, NULL, (kw_callback){on_link, self}, "INCR chain"),
                         KW_OK);
    }
}

static void test_loop_callbacks_may_call_everything_but_process(void **state)
{
    (void)state;
    chain self = {.left = 100};
    assert_int_equal(kw_command_async(kw, NULL, (kw_callback){on_link, &self}, "SET chain 0"),
                     KW_OK);
    uint64_t end_ms = kw_test_now_ms() + ENOUGH_MS;
    while (self.left > 0 && kw_test_now_ms() < end_ms) {
        assert_int_equal(kw_test_turn(kw, 100), KW_OK);
    }
    assert_int_equal(self.left, 0);
    assert_int_equal(self.process_code, KW_ERR_REFUSED);
    assert_true(self.has_waited);
    kw_reply *reply = kw_command(kw, NULL, "GET chain");
    assert_string_equal(kw_reply_str(reply, NULL), "99");
    kw_reply_free(reply);
}

/* The descriptor is quiet while there is nothing, and readable for what another thread
 * gives. */
static void *give_from_thread(void *arg)
{
    kw_test_sleep_ms(50);
    give(arg, "PING");
    return NULL;
}

static void test_loop_other_threads_wake_the_descriptor(void **state)
{
    (void)state;
    give(&answers[0], "PING");
    wait_for(1);
    kw_test_turns_for(kw, 50);
    struct pollfd entry = {kw_fd(kw, NULL), POLLIN, 0};
    assert_int_equal(poll(&entry, 1, 0), 0);
    assert_true(kw_timeout(kw) > 1000); /* the map's slow refresh */
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, give_from_thread, &answers[1]), 0);
    assert_int_equal(poll(&entry, 1, ENOUGH_MS), 1);
    wait_for(2);
    kw_test_join(thread);
}

static void test_loop_more_bytes_than_sockets_hold(void **state)
{
    (void)state;
    static char value[1 << 20];
    memset(value, 'v', sizeof(value) - 1);
    for (int i = 0; i < 20; i++) {
        give(&answers[2 * i], "SET big:%d %b", i, value, sizeof(value) - 1);
        give(&answers[2 * i + 1], "GET big:%d", i);
    }
    wait_for(40);
    for (size_t i = 0; i < 20; i++) {
        size_t len;
        kw_reply_str(answers[2 * i + 1].reply, &len);
        assert_int_equal(len, sizeof(value) - 1);
    }
}

/* What is under way when the handle is closed is told so, once each. */
static void test_loop_close_tells_every_callback(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        give(&answers[i], i % 2 == 0 ? "BLPOP closing:%d 0" : "GET closing:%d", i);
    }
    for (int i = 0; i < 20; i++) {
        kw_test_turn(kw, 5);
    }
    for (int i = 200; i < 300; i++) {
        give(&answers[i], "MGET closing:%d closing:a closing:b", i);
    }
    kw_close(kw);
    kw = NULL;
    for (int i = 0; i < 300; i++) {
        assert_int_equal(answers[i].calls_n, 1);
        if (answers[i].reply == NULL) {
            assert_int_equal(answers[i].error.code, KW_ERR_CANCELLED);
        } else {
            assert_true(i < 200 && i % 2 == 1);
        }
    }
}

static void on_last(void *arg, kw_reply *reply, const kw_error *error)
{
    kw_test_on_reply(arg, reply, error);
    kw_close(kw);
    assert_int_equal(kw_command_async(kw, NULL, (kw_callback){kw_test_on_reply, NULL}, "PING"),
                     KW_ERR_CANCELLED);
}

static void test_loop_close_in_a_callback_comes_after_it(void **state)
{
    (void)state;
    give(&answers[1], "BLPOP nothing 0");
    assert_int_equal(kw_command_async(kw, NULL, (kw_callback){on_last, &answers[0]}, "PING"),
                     KW_OK);
    kw_err code = KW_OK;
    uint64_t end_ms = kw_test_now_ms() + ENOUGH_MS;
    while (code == KW_OK && kw_test_now_ms() < end_ms) {
        code = kw_test_turn(kw, 100);
    }
    kw = NULL;
    assert_int_equal(code, KW_ERR_CANCELLED);
    assert_int_equal(answers[0].calls_n, 1);
    assert_non_null(answers[0].reply);
    assert_int_equal(answers[1].calls_n, 1);
    assert_int_equal(answers[1].error.code, KW_ERR_CANCELLED);
}

int main(void)
{
#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, open_handle, close_handle),                              \
        cmocka_unit_test_setup_teardown(name, open_on_poll, close_handle)
    const struct CMUnitTest tests[] = {
        TEST(test_loop_first_command_finds_its_way),
        TEST(test_loop_map_that_comes_at_once_wakes_who_waits_for_it),
        TEST(test_loop_many_under_way_keep_order_per_key),
        TEST(test_loop_servers_errors_are_replies),
        TEST(test_loop_split_commands_are_joined),
        TEST(test_loop_visit_of_all_nodes_waits_for_the_map),
        TEST(test_loop_unknown_commands_are_looked_up),
        TEST(test_loop_wrong_uses_are_refused),
        TEST(test_loop_blocking_commands_hold_nobody_up),
        TEST(test_loop_callbacks_may_call_everything_but_process),
        TEST(test_loop_other_threads_wake_the_descriptor),
        TEST(test_loop_more_bytes_than_sockets_hold),
        TEST(test_loop_close_tells_every_callback),
        TEST(test_loop_close_in_a_callback_comes_after_it),
    };
#undef TEST
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

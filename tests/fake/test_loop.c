/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults under commands with callbacks: deadlines, late answers, lost connections, garbage,
 * redirects and order. No reply is another's, nothing runs twice, and every callback is
 * called once. With each way of watching sockets. */
#include "fake/cut.h"
#include "fake/loop_fakes.h"

/* With a deadline of its own. */
static void give_within(size_t at, uint64_t timeout_ms, const char *name, const char *key)
{
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = timeout_ms;
    const char *argv[] = {name, key};
    assert_int_equal(kw_call_async(kw, NULL, (kw_callback){kw_test_on_reply, &answers[at]},
                                   &options, (kw_argv){2, argv, NULL}),
                     KW_OK);
}

/* Each at its own deadline, in whatever order they were given; a late reply is nobody's, and
 * the connection goes on. */
static void test_loop_late_answers_are_nobodys(void **state)
{
    (void)state;
    open_handle("");
    kw_fake_on(fakes[1], 3, "INCR late*",
               KW_FAKE_STEPS(KW_FAKE_DELAY(60), KW_FAKE_SEND(":666\r\n")));
    answer(fakes[1], "INCR own*", ":1");
    give(9, "INCR own{foo}");
    wait_for(9, 1);
    uint64_t start_ms = kw_test_now_ms();
    give_within(0, 40, "INCR", "late{foo}0");
    give_within(1, 20, "INCR", "late{foo}1");
    give_within(2, 5, "INCR", "late{foo}2");
    wait_for(0, 3);
    assert_true(kw_test_now_ms() - start_ms >= 40);
    for (size_t i = 0; i < 3; i++) {
        is_failure(i, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE);
        assert_int_equal(answers[i].error.attempts, 1);
        assert_string_equal(answers[i].error.node, kw_fake_address(fakes[1]));
    }
    assert_true(answers[2].place < answers[1].place && answers[1].place < answers[0].place);
    for (size_t i = 10; i < 60; i++) {
        give(i, "INCR own{foo}%zu", i);
        kw_test_turn(kw, 1);
    }
    wait_for(10, 50);
    for (size_t i = 10; i < 60; i++) {
        is_number(i, 1);
    }
    assert_int_equal(kw_fake_count(fakes[1], "INCR late*"), 3);
    kw_fake_entry first = {.connection = 0};
    for (size_t i = 0; i < kw_fake_log_count(fakes[1]); i++) {
        kw_fake_entry entry;
        kw_fake_log_at(fakes[1], i, &entry);
        if (strncmp(entry.text, "INCR", 4) == 0) {
            first = first.connection == 0 ? entry : first;
            assert_int_equal(entry.connection, first.connection);
        }
    }
}

/* A server that never answers again: its connection is given up in the end, others' keys
 * notice nothing, and the next connection works. */
static void test_loop_connection_that_stays_silent_is_given_up(void **state)
{
    (void)state;
    open_handle("&stall-timeout=50ms");
    answer(fakes[0], "INCR bar", ":9");
    kw_fake_on(fakes[1], 1, "INCR foo", KW_FAKE_STEPS(KW_FAKE_STALL));
    answer(fakes[1], "INCR foo", ":1");
    give(0, "INCR foo");
    give(1, "INCR bar");
    wait_for(0, 2);
    is_failure(0, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE);
    is_number(1, 9);
    kw_test_turns_for(kw, 250);
    give(2, "INCR foo");
    wait_for(2, 1);
    is_number(2, 1);
    assert_int_equal(kw_fake_count(fakes[1], "INCR foo"), 2);
}

static void check_cut(const cut *row)
{
    for (size_t i = 0; i < row->answered_n; i++) {
        is_number(i, i < 2 ? 1 : 3);
    }
    for (size_t i = row->answered_n; i < 10; i++) {
        assert_int_equal(answers[i].calls_n, 1);
        expect_cut(row, i, &answers[i].error);
    }
    expect_each_sent_once();
}

static void try_cut(const cut *row)
{
    begin(NULL);
    open_handle("");
    answer(fakes[1], "PING", "+PONG");
    answer(fakes[1], "GET *", ":0");
    give(20, "GET foo"); /* the connection is there */
    wait_for(20, 1);
    arrange_cut(row);
    for (int i = 0; i < 10; i++) {
        give((size_t)i, "INCR foo{foo}%d", i);
    }
    give(10, "INCR bar");
    wait_for(0, 11);
    check_cut(row);
    is_number(10, 9); /* the other node's keys notice nothing */
    kw_fake_reset(fakes[1]);
    answer(fakes[1], "INCR foo*", ":100");
    kw_fake_disconnect(fakes[1], false);
    kw_test_turns_for(kw, 30);
    give(11, "INCR foo");
    wait_for(11, 1);
    is_number(11, 100);
    end(NULL);
}

static void test_loop_cut_off_says_maybe_of_what_was_not_answered(void **state)
{
    (void)state;
    bool was_on_poll = is_on_poll;
    for (size_t i = 0; i < CUTS_N; i++) {
        is_on_poll = was_on_poll;
        try_cut(&cuts[i]);
    }
}

static void test_loop_reads_go_again_on_a_new_connection(void **state)
{
    (void)state;
    open_handle("");
    kw_fake_on_reply(fakes[1], 2, "STRLEN *", ":7");
    kw_fake_on(fakes[1], 1, "STRLEN *", KW_FAKE_STEPS(KW_FAKE_RESET));
    answer(fakes[1], "STRLEN *", ":7");
    for (size_t i = 0; i < 8; i++) {
        give(i, "STRLEN {foo}%zu", i);
    }
    wait_for(0, 8);
    for (size_t i = 0; i < 8; i++) {
        is_number(i, 7);
    }
}

static void test_loop_refused_connects_end_at_the_deadline(void **state)
{
    (void)state;
    open_handle("");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    kw_fake_down(fakes[1]);
    answer(fakes[0], "INCR bar", ":9");
    uint64_t start_ms = kw_test_now_ms();
    give(0, "INCR foo");
    give(1, "INCR bar");
    give(2, "GET {foo}x");
    give(3, "MGET foo bar");
    wait_for(0, 4);
    assert_in_range(kw_test_now_ms() - start_ms, TIMEOUT_MS - 1, TIMEOUT_MS + LATE_MS);
    is_failure(0, KW_ERR_CONNECT, KW_EFFECT_NONE);
    is_number(1, 9);
    is_failure(2, KW_ERR_CONNECT, KW_EFFECT_NONE);
    kw_fake_up(fakes[1]);
    answer(fakes[1], "INCR foo", ":1");
    give_within(4, LATE_MS, "INCR", "foo"); /* the pause between two connects is over by then */
    wait_for(4, 1);
    is_number(4, 1);
}

/* No node of the cluster gives a map. */
static void test_loop_without_a_map_ends_at_the_deadline(void **state)
{
    (void)state;
    open_handle("");
    for (size_t i = 0; i < 3; i++) {
        kw_fake_down(fakes[i]);
    }
    give(0, "INCR foo");
    give(1, "DBSIZE");
    give(2, "UNHEARD.OF foo");
    give(3, "PING");
    wait_for(0, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_null(answers[i].reply);
        assert_int_equal(answers[i].error.effect, KW_EFFECT_NONE);
        assert_int_not_equal(answers[i].error.code, KW_ERR_TIMEOUT);
    }
}

/* MOVED, ASK and TRYAGAIN for single commands. */
static void test_loop_commands_follow_their_own_redirects(void **state)
{
    (void)state;
    open_handle("");
    kw_fake_on_reply(fakes[1], 1, "INCR moved{foo}", "-MOVED %u %s", FOO_SLOT,
                     kw_fake_address(fakes[2]));
    kw_fake_on_reply(fakes[0], 1, "INCR asked{bar}", "-ASK 5061 %s", kw_fake_address(fakes[2]));
    kw_fake_on_reply(fakes[0], 2, "INCR again{bar}", "-TRYAGAIN later");
    answer(fakes[0], "INCR *", ":0");
    answer(fakes[1], "INCR *", ":1");
    answer(fakes[2], "INCR *", ":2");
    static const char *const commands[] = {"INCR first{foo}", "INCR moved{foo}", "INCR first{bar}",
                                           "INCR asked{bar}", "INCR again{bar}"};
    static const int numbers[] = {1, 2, 0, 2, 0};
    for (size_t i = 0; i < 5; i++) {
        give(i, commands[i]);
    }
    wait_for(0, 5);
    for (size_t i = 0; i < 5; i++) {
        is_number(i, numbers[i]);
    }
    assert_int_equal(kw_fake_count(fakes[0], "INCR again{bar}"), 3);
    assert_int_equal(kw_fake_count(fakes[2], "ASKING"), 1);
}

/* The first command of a key is redirected, and the map says so already, while the second is still
 * at the old node, and may have run: all others wait for it. */
static void test_loop_order_is_kept_behind_a_slow_redirect(void **state)
{
    (void)state;
    char moved[100];
    int len =
        snprintf(moved, sizeof(moved), "-MOVED %u %s\r\n", FOO_SLOT, kw_fake_address(fakes[2]));
    const kw_fake_range moved_to[] = {{0, 8000, fakes[0], NULL},
                                      {8001, FOO_SLOT - 1, fakes[1], NULL},
                                      {FOO_SLOT, FOO_SLOT, fakes[2], NULL},
                                      {FOO_SLOT + 1, 16383, fakes[1], NULL}};
    kw = kw_test_open("redis-cluster://%s?timeout=5s", kw_fake_address(fakes[0]));
    kw->topology->env.poller = is_on_poll ? kw_poller_poll() : NULL;
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    kw_fake_set_cluster(fakes, 3, moved_to, 4);
    kw_fake_on(fakes[1], 1, "APPEND foo a", KW_FAKE_STEPS(KW_FAKE_BYTES(moved, (size_t)len)));
    kw_fake_on(fakes[1], 1, "APPEND foo b",
               KW_FAKE_STEPS(KW_FAKE_DELAY(80), KW_FAKE_BYTES(moved, (size_t)len)));
    answer(fakes[2], "APPEND *", ":1");
    give(0, "APPEND foo a");
    give(1, "APPEND foo b");
    kw_test_turns_for(kw, 20);
    assert_int_equal(answers[0].calls_n, 0);
    give(2, "APPEND foo c");
    give(3, "APPEND foo d");
    wait_for(0, 4);
    static const char *const order[] = {"APPEND foo a", "APPEND foo b", "APPEND foo c",
                                        "APPEND foo d"};
    size_t at = 0;
    for (size_t i = 0; i < kw_fake_log_count(fakes[2]); i++) {
        kw_fake_entry entry;
        kw_fake_log_at(fakes[2], i, &entry);
        if (strncmp(entry.text, "APPEND", 6) == 0) {
            assert_string_equal(entry.text, order[at++]);
        }
    }
    assert_int_equal(at, 4);
}

/* A command that sleeps holds those of its slot up, and no others. */
static void test_loop_order_is_kept_behind_a_pause(void **state)
{
    (void)state;
    open_handle("");
    kw_fake_on_reply(fakes[1], 3, "APPEND foo a", "-TRYAGAIN later");
    answer(fakes[1], "APPEND *", ":1");
    give(0, "APPEND foo a");
    kw_stats stats = {.size = sizeof(stats)};
    for (int i = 0; i < 1000 && stats.waits == 0; i++) {
        kw_test_turn(kw, 1);
        assert_int_equal(kw_client_stats(kw, &stats), KW_OK);
    }
    give(1, "APPEND foo b");
    give(2, "APPEND {foo2} c");
    wait_for(0, 3);
    assert_true(answers[0].place < answers[1].place);
}

/* A reply that nothing asked for, on a connection that is idle. */
static void test_loop_unasked_reply_ends_the_connection(void **state)
{
    (void)state;
    open_handle("");
    answer(fakes[1], "INCR *", ":1");
    give(0, "INCR foo");
    wait_for(0, 1);
    unsigned accepted_n = kw_fake_accepted(fakes[1]);
    kw_fake_push(fakes[1], ":666\r\n", 6);
    kw_test_turns_for(kw, 50);
    give(1, "INCR foo");
    wait_for(1, 1);
    is_number(1, 1);
    assert_int_equal(kw_fake_accepted(fakes[1]), accepted_n + 1);
}

/* A server that closes an idle connection is noticed at once. */
static void test_loop_idle_connection_that_closes_is_left(void **state)
{
    (void)state;
    open_handle("");
    answer(fakes[1], "INCR *", ":1");
    for (size_t i = 0; i < 10; i++) {
        give(i, "INCR foo");
        wait_for(i, 1);
        is_number(i, 1);
        kw_fake_disconnect(fakes[1], i % 2 == 0);
        kw_test_turns_for(kw, 20);
    }
    assert_int_equal(kw_fake_count(fakes[1], "INCR foo"), 10);
}

/* Behind another one on the connection; the host was away for too long. */
static void test_loop_late_command_is_not_sent(void **state)
{
    (void)state;
    open_handle("");
    kw_fake_on(fakes[1], 1, "INCR slow*",
               KW_FAKE_STEPS(KW_FAKE_DELAY(200), KW_FAKE_SEND(":1\r\n")));
    give(0, "INCR slow{foo}");
    while (kw_fake_count(fakes[1], "INCR slow*") == 0) {
        kw_test_turn(kw, 1);
    }
    give_within(1, 5, "INCR", "late{foo}");
    kw_test_sleep_ms(10);
    wait_for(0, 2);
    is_number(0, 1);
    is_failure(1, KW_ERR_QUEUE_TIMEOUT, KW_EFFECT_NONE);
    assert_int_equal(kw_fake_count(fakes[1], "INCR late*"), 0);
}

int main(void)
{
#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, begin, end),                                             \
        cmocka_unit_test_setup_teardown(name, begin_on_poll, end)
    const struct CMUnitTest tests[] = {
        TEST(test_loop_late_answers_are_nobodys),
        TEST(test_loop_late_command_is_not_sent),
        TEST(test_loop_connection_that_stays_silent_is_given_up),
        TEST(test_loop_cut_off_says_maybe_of_what_was_not_answered),
        TEST(test_loop_reads_go_again_on_a_new_connection),
        TEST(test_loop_refused_connects_end_at_the_deadline),
        TEST(test_loop_without_a_map_ends_at_the_deadline),
        TEST(test_loop_commands_follow_their_own_redirects),
        TEST(test_loop_order_is_kept_behind_a_slow_redirect),
        TEST(test_loop_order_is_kept_behind_a_pause),
        TEST(test_loop_unasked_reply_ends_the_connection),
        TEST(test_loop_idle_connection_that_closes_is_left),
    };
#undef TEST
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

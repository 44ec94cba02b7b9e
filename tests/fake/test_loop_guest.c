/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands with callbacks as guests of a process: forks, memory that is not there, a full
 * pool, and calls that wait beside them. With each way of watching sockets. */
#include "fake/loop_fakes.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child touches nothing of the parent's, and is called for nothing of the parent's. */
static void test_loop_fork_leaves_the_commands_to_the_parent(void **state)
{
    (void)state;
    open_handle("");
    answer(fakes[1], "INCR *", ":1");
    kw_fake_on(fakes[1], 1, "GET foo", KW_FAKE_STEPS(KW_FAKE_DELAY(100), KW_FAKE_SEND(":7\r\n")));
    give(0, "INCR foo");
    wait_for(0, 1);
    give(1, "GET foo");
    assert_true(kw_test_turn(kw, 50) == KW_OK);
    assert_true(kw_fake_wait(fakes[1], "GET foo", 1, LATE_MS));
    give(2, "INCR foo"); /* accepted, and not sent */
    pid_t child = fork();
    if (child == 0) {
        kw_error error = KW_ERROR_INIT;
        bool is_refused = kw_process(kw, &error) == KW_ERR_FORKED && kw_fd(kw, &error) == -1 &&
                          kw_timeout(kw) == -1 &&
                          kw_command_async(kw, &error, (kw_callback){kw_test_on_reply, &answers[3]},
                                           "PING") == KW_ERR_FORKED;
        kw_close(kw);
        _exit(is_refused && answers[1].calls_n + answers[2].calls_n + answers[3].calls_n == 0 ? 0
                                                                                              : 1);
    }
    wait_for_child(child);
    wait_for(1, 2);
    is_number(1, 7);
    is_number(2, 1);
    assert_int_equal(kw_fake_count(fakes[1], "INCR foo"), 2);
}

/* With after-fork=reopen the child has a loop of its own. */
static void test_loop_fork_child_may_start_anew(void **state)
{
    (void)state;
    open_handle("&after-fork=reopen");
    answer(fakes[1], "INCR *", ":1");
    kw_fake_on(fakes[1], 1, "GET foo", KW_FAKE_STEPS(KW_FAKE_DELAY(150), KW_FAKE_SEND(":7\r\n")));
    give(0, "INCR foo");
    wait_for(0, 1);
    give(1, "GET foo");
    assert_true(kw_test_turn(kw, 50) == KW_OK);
    pid_t child = fork();
    if (child == 0) {
        kw_command_async(kw, NULL, (kw_callback){kw_test_on_reply, &answers[2]}, "INCR {foo}child");
        bool is_told = kw_test_turns(kw, &answers[2], 1, LATE_MS) && answers[2].reply != NULL;
        kw_close(kw);
        _exit(is_told && answers[1].calls_n == 0 ? 0 : 1);
    }
    wait_for_child(child);
    wait_for(1, 1);
    is_number(1, 7);
    assert_int_equal(kw_fake_count(fakes[1], "INCR {foo}child"), 1);
}

/* A callback forks, and the child comes back from it. */
static void fork_in_callback(void *arg, kw_reply *reply, const kw_error *error)
{
    kw_test_on_reply(&answers[0], reply, error);
    *(pid_t *)arg = fork();
}

static void test_loop_fork_in_a_callback_ends_the_childs_turn(void **state)
{
    (void)state;
    open_handle("");
    answer(fakes[1], "INCR *", ":1");
    pid_t child = -1;
    assert_int_equal(
        kw_command_async(kw, NULL, (kw_callback){fork_in_callback, &child}, "INCR foo"), KW_OK);
    give(1, "INCR foo");
    kw_err code = KW_OK;
    KW_TEST_UNTIL(child >= 0 || code != KW_OK)
    {
        code = kw_test_turn(kw, 50);
    }
    if (child == 0) {
        _exit(code == KW_ERR_FORKED && answers[1].calls_n == 0 ? 0 : 1);
    }
    assert_int_equal(code, KW_OK);
    wait_for_child(child);
    wait_for(1, 1);
    is_number(1, 1);
    assert_int_equal(kw_fake_count(fakes[1], "INCR foo"), 2);
}

/* No order between the two: a call that waits does not queue behind callbacks. */
static void test_loop_calls_that_wait_travel_beside_it(void **state)
{
    (void)state;
    open_handle("");
    kw_fake_on(fakes[1], 1, "INCR foo", KW_FAKE_STEPS(KW_FAKE_STALL));
    answer(fakes[1], "GET foo", ":7");
    give(0, "INCR foo");
    KW_TEST_UNTIL(kw_fake_count(fakes[1], "INCR foo") > 0)
    {
        kw_test_turn(kw, 5);
    }
    kw_reply *reply = kw_command(kw, NULL, "GET foo");
    assert_int_equal(kw_reply_int(reply), 7);
    kw_reply_free(reply);
    assert_int_equal(answers[0].calls_n, 0);
    wait_for(0, 1);
    is_failure(0, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE);
}

/* The pool is one connection, and it is busy: the loop has its own. */
static void test_loop_a_full_pool_holds_only_blocking_commands_up(void **state)
{
    (void)state;
    open_handle("&pool-max=1");
    answer(fakes[1], "INCR *", ":1");
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "BLPOP *", KW_FAKE_STEPS(KW_FAKE_STALL));
    give(0, "BLPOP foo 0.1");
    give(1, "BLPOP foo 0.1");
    give(2, "INCR foo");
    wait_for(0, 3);
    is_number(2, 1);
    assert_int_equal(kw_fake_count(fakes[1], "BLPOP *"), 1);
    size_t sent = answers[0].error.effect == KW_EFFECT_MAYBE ? 0 : 1;
    is_failure(sent, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE);
    is_failure(1 - sent, KW_ERR_POOL_FULL, KW_EFFECT_NONE);
}

/* Every allocation fails in turn: what was accepted is told once, and nothing is left. */
static unsigned long run_without_memory(unsigned long fail_at, bool fails_on)
{
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    kw_config *config = kw_test_config_new(&memory.allocator);
    char uri[100];
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=100ms", kw_fake_address(fakes[0]));
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    kw = kw_open_config(config, NULL);
    kw->topology->env.poller = is_on_poll ? kw_poller_poll() : NULL;
    kw_config_free(config);
    unsigned long before = kw_test_memory_calls(&memory);
    memory.fail_at = fail_at > 0 ? before + fail_at : 0;
    memory.fail_on = fails_on;
    static const char *const commands[] = {"INCR foo", "MGET foo bar", "DBSIZE", "UNHEARD.OF foo",
                                           "BLPOP foo 1"};
    bool accepted[5];
    for (size_t i = 0; i < 5; i++) {
        accepted[i] = kw_command_async(kw, NULL, (kw_callback){kw_test_on_reply, &answers[i]},
                                       commands[i]) == KW_OK;
        if (!accepted[i]) {
            answers[i].calls_n = 100;
        }
    }
    if (!kw_test_turns(kw, answers, 5, TIMEOUT_MS + LATE_MS)) {
        for (size_t i = 0; i < 5; i++) {
            print_message("fail_at %lu: %s was%s called\n", fail_at, commands[i],
                          answers[i].calls_n > 0 ? "" : " never");
        }
        fail_msg("not every callback was called");
    }
    unsigned long calls = kw_test_memory_calls(&memory) - before;
    kw_close(kw);
    kw = NULL;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(answers[i].calls_n, accepted[i] ? 1 : 100);
        kw_test_answer_clear(&answers[i]);
    }
    assert_int_equal(kw_test_memory_live(&memory), 0);
    return calls;
}

static void test_loop_survives_every_failed_allocation(void **state)
{
    (void)state;
    answer(fakes[1], "INCR *", ":1");
    answer(fakes[1], "BLPOP *", "*-1");
    answer(fakes[1], "UNHEARD.OF *", ":5");
    for (size_t i = 0; i < 2; i++) {
        answer(fakes[i], "MGET *", "*1\r\n:1");
        answer(fakes[i], "DBSIZE", ":1");
        answer(fakes[i], "COMMAND INFO *",
               "*1\r\n*6\r\n$10\r\nunheard.of\r\n:-2\r\n*1\r\n+write\r\n:1\r\n:1\r\n:1");
    }
    unsigned long calls = run_without_memory(0, false);
    assert_in_range(calls, 20, 1000);
    for (unsigned long at = 1; at <= calls; at++) {
        run_without_memory(at, false);
    }
    for (unsigned long at = 1; at <= calls; at += 5) {
        run_without_memory(at, true);
    }
}

/* Idle connections are due to be looked at while a command sleeps, which forbids it. */
static void test_loop_with_a_sleeper_is_not_busy(void **state)
{
    (void)state;
    open_handle("&pool-idle=40ms");
    answer(fakes[1], "INCR *", ":1");
    answer(fakes[1], "GET *", "-LOADING data");
    give(0, "INCR foo");
    wait_for(0, 1);
    give(1, "GET foo");
    unsigned turns_n = 0;
    while (answers[1].calls_n == 0 && turns_n < 10000) {
        assert_true(kw_test_turn(kw, LATE_MS) == KW_OK);
        turns_n++;
    }
    assert_in_range(turns_n, 2, 1000); /* by the clock alone, one a millisecond at most */
}

int main(void)
{
#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, begin, end),                                             \
        cmocka_unit_test_setup_teardown(name, begin_on_poll, end)
    const struct CMUnitTest tests[] = {
        TEST(test_loop_fork_leaves_the_commands_to_the_parent),
        TEST(test_loop_fork_child_may_start_anew),
        TEST(test_loop_fork_in_a_callback_ends_the_childs_turn),
        TEST(test_loop_calls_that_wait_travel_beside_it),
        TEST(test_loop_a_full_pool_holds_only_blocking_commands_up),
        TEST(test_loop_with_a_sleeper_is_not_busy),
        TEST(test_loop_survives_every_failed_allocation),
    };
#undef TEST
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that are given up, by callback and by ticket: each is told once, with the effect that is
 * true of where it was, the others keep their order and their answers, and late ones are nobody's.
 */
#include "fake/loop_fakes.h"

/* No command ends by its own deadline. */
static void open_patient(void)
{
    kw = kw_test_open("redis-cluster://%s?timeout=20s", kw_fake_address(fakes[0]));
    kw->topology->env.poller = is_on_poll ? kw_poller_poll() : NULL;
}

/* The callback of command number at. */
static kw_callback callback_of(size_t at)
{
    return (kw_callback){kw_test_on_reply, &answers[at]};
}

static void cancel(size_t at)
{
    kw_error error = KW_ERROR_INIT;
    if (kw_cancel(kw, &error, callback_of(at)) != KW_OK) {
        fail_msg("%s", error.text);
    }
}

static void test_cancel_before_anything_was_sent_has_no_effect(void **state)
{
    (void)state;
    open_handle("");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    answer(fakes[1], "INCR *", ":1");
    for (size_t i = 0; i < 10; i++) {
        give(i, "INCR foo");
    }
    cancel(3);
    cancel(7);
    cancel(50);                              /* which nobody has given */
    assert_int_equal(answers[3].calls_n, 0); /* never within the call itself */
    wait_for(0, 10);
    for (size_t i = 0; i < 10; i++) {
        if (i == 3 || i == 7) {
            is_failure(i, KW_ERR_CANCELLED, KW_EFFECT_NONE);
        } else {
            is_number(i, 1);
        }
    }
    assert_int_equal(kw_fake_count(fakes[1], "INCR foo"), 8);
}

/* Its place on the connection stays: the late answer is not the next one's. */
static void test_cancel_of_what_was_sent_says_maybe(void **state)
{
    (void)state;
    open_handle("");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    kw_fake_on(fakes[1], 1, "INCR foo", KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_SEND(":1\r\n")));
    kw_fake_on_reply(fakes[1], 1, "INCR foo", ":2");
    kw_fake_on_reply(fakes[1], 1, "INCR foo", ":3");
    give(0, "INCR foo");
    give(1, "INCR foo");
    KW_TEST_UNTIL(kw_fake_count(fakes[1], "INCR foo") >= 1)
    {
        kw_test_turn(kw, 10);
    }
    cancel(0);
    wait_for(0, 1);
    is_failure(0, KW_ERR_CANCELLED, KW_EFFECT_MAYBE);
    kw_fake_pass(fakes[1]);
    wait_for(1, 1);
    is_number(1, 2);
    give(2, "INCR foo");
    wait_for(2, 1);
    is_number(2, 3);
    assert_int_equal(answers[0].calls_n, 1);
}

/* A server that is gone, an earlier command of its key, a question about a command that nobody
 * knows. */
static void test_cancel_of_what_waits_has_no_effect(void **state)
{
    (void)state;
    open_patient();
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    kw_fake_down(fakes[1]);
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "COMMAND INFO *", KW_FAKE_STEPS(KW_FAKE_STALL));
    give(0, "INCR foo");
    give(1, "INCR foo");
    give(2, "NEW.COMMAND bar");
    kw_test_turns_for(kw, 50);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(answers[i].calls_n, 0);
        cancel(i);
    }
    wait_for(0, 3);
    for (size_t i = 0; i < 3; i++) {
        is_failure(i, KW_ERR_CANCELLED, KW_EFFECT_NONE);
    }
}

/* Again and again refused: on its way, or in a pause between. */
static void test_cancel_of_what_a_server_puts_off_ends_it(void **state)
{
    (void)state;
    open_patient();
    answer(fakes[1], "INCR *", "-TRYAGAIN later");
    give(0, "INCR foo");
    give(1, "INCR foo"); /* held behind it */
    KW_TEST_UNTIL(kw_fake_count(fakes[1], "INCR foo") >= 3)
    {
        kw_test_turn(kw, 10);
    }
    cancel(0);
    cancel(1);
    wait_for(0, 2);
    assert_int_equal(answers[0].error.code, KW_ERR_CANCELLED);
    assert_int_equal(answers[1].error.code, KW_ERR_CANCELLED);
    size_t sent_n = kw_fake_count(fakes[1], "INCR foo");
    kw_test_turns_for(kw, 300);
    assert_true(kw_fake_count(fakes[1], "INCR foo") <= sent_n + 1);
}

static void test_cancel_before_there_is_a_map_has_no_effect(void **state)
{
    (void)state;
    open_patient();
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "CLUSTER *", KW_FAKE_STEPS(KW_FAKE_STALL));
    for (size_t i = 0; i < 5; i++) {
        give(i, "INCR foo");
    }
    give(5, "MGET foo bar");
    give(6, "DBSIZE");
    kw_test_turns_for(kw, 50);
    for (size_t i = 0; i < 7; i++) {
        cancel(i);
    }
    wait_for(0, 7);
    for (size_t i = 0; i < 7; i++) {
        is_failure(i, KW_ERR_CANCELLED, KW_EFFECT_NONE);
    }
}

/* What is given with the same callback behind the cancel is another command. */
static void test_cancel_means_what_was_given_before_it(void **state)
{
    (void)state;
    open_handle("");
    answer(fakes[1], "INCR *", ":1");
    give(0, "INCR foo");
    cancel(0);
    give(0, "INCR foo");
    wait_for(0, 1);
    KW_TEST_UNTIL(answers[0].calls_n == 2)
    {
        kw_test_turn(kw, 10);
    }
    assert_int_equal(kw_fake_count(fakes[1], "INCR foo"), 1);
    assert_non_null(answers[0].reply);
}

/* The connection of a command that blocks is closed, and the server with it gives up. */
static void test_cancel_of_a_blocking_command_closes_its_connection(void **state)
{
    (void)state;
    open_handle("");
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "BLPOP *", KW_FAKE_STEPS(KW_FAKE_STALL));
    give(0, "BLPOP foo 0");
    KW_TEST_UNTIL(kw_fake_count(fakes[1], "BLPOP *") == 1)
    {
        kw_test_turn(kw, 10);
    }
    unsigned open_n = kw_fake_open(fakes[1]);
    cancel(0);
    wait_for(0, 1);
    is_failure(0, KW_ERR_CANCELLED, KW_EFFECT_MAYBE);
    KW_TEST_AWAIT(kw_fake_open(fakes[1]) < open_n);
}

/* Each by itself, all in one turn. */
static void test_cancel_of_a_hundred_of_many_finds_each(void **state)
{
    (void)state;
    open_patient();
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "GET *", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_test_answer other = {0};
    for (size_t i = 0; i < 20000; i++) {
        bool is_meant = i % 200 == 0;
        kw_callback callback = {kw_test_on_reply, is_meant ? &answers[i / 200] : &other};
        assert_int_equal(kw_command_async(kw, NULL, callback, "GET foo"), KW_OK);
    }
    kw_test_turns_for(kw, 50);
    for (size_t i = 100; i > 0; i--) {
        cancel(i - 1);
    }
    wait_for(0, 100);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(answers[i].error.code, KW_ERR_CANCELLED);
    }
    assert_int_equal(other.calls_n, 0);
    kw_close(kw);
    kw = NULL;
    assert_int_equal(other.calls_n, 19900);
    kw_test_answer_clear(&other);
}

/* Two threads that process, and how many callbacks they have called. */
static struct {
    atomic_bool is_over;
    atomic_uint ended_n;
} hosts;

static void *process_until_over(void *arg)
{
    struct pollfd entry = {kw_fd(kw, NULL), POLLIN, 0};
    while (!atomic_load(&hosts.is_over)) {
        assert_int_equal(kw_process(kw, NULL), KW_OK);
        (void)poll(&entry, 1, 1);
    }
    return arg;
}

static void count_end(void *arg, kw_reply *reply, const kw_error *error)
{
    kw_test_on_reply(arg, reply, error);
    atomic_fetch_add(&hosts.ended_n, 1);
}

/* The one that has just left the turn to the other touches nothing of it, as the thread sanitizer
 * sees. */
static void test_cancel_while_two_threads_process_in_turn(void **state)
{
    (void)state;
    pthread_t threads[2];
    open_patient();
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "INCR foo", KW_FAKE_STEPS(KW_FAKE_STALL));
    atomic_store(&hosts.is_over, false);
    atomic_store(&hosts.ended_n, 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, process_until_over, NULL), 0);
    }
    for (size_t i = 0; i < ANSWERS_N; i++) {
        kw_callback callback = {count_end, &answers[i]};
        assert_int_equal(kw_command_async(kw, NULL, callback, "INCR foo"), KW_OK);
        assert_int_equal(kw_cancel(kw, NULL, callback), KW_OK);
        KW_TEST_AWAIT(atomic_load(&hosts.ended_n) == i + 1);
    }
    atomic_store(&hosts.is_over, true);
    for (size_t i = 0; i < 2; i++) {
        kw_test_join(threads[i]);
    }
    for (size_t i = 0; i < ANSWERS_N; i++) {
        assert_int_equal(answers[i].calls_n, 1);
        assert_int_equal(answers[i].error.code, KW_ERR_CANCELLED);
    }
}

static void test_cancel_wrong_uses_are_refused(void **state)
{
    (void)state;
    open_handle("");
    assert_int_equal(kw_cancel(NULL, NULL, callback_of(0)), KW_ERR_ARGUMENT);
    assert_int_equal(kw_cancel(kw, NULL, (kw_callback){NULL, NULL}), KW_ERR_ARGUMENT);
    assert_int_equal(kw_cancel(kw, NULL, callback_of(0)), KW_OK); /* nothing to give up */
    assert_int_equal(kw_ticket_cancel(NULL, NULL), KW_ERR_ARGUMENT);
}

static void test_ticket_that_is_given_up_ends_at_once(void **state)
{
    (void)state;
    open_patient();
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    kw_fake_on(fakes[1], 1, "INCR foo", KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_SEND(":1\r\n")));
    kw_fake_on_reply(fakes[1], 1, "INCR foo", ":2");
    kw_error error = KW_ERROR_INIT;
    kw_ticket *first = kw_submit(kw, &error, "INCR foo");
    kw_ticket *second = kw_submit(kw, &error, "INCR foo");
    KW_TEST_AWAIT(kw_fake_count(fakes[1], "INCR foo") >= 1);
    assert_int_equal(kw_ticket_cancel(first, &error), KW_OK);
    assert_null(kw_ticket_await(first, &error));
    expect_error("first", &error, KW_ERR_CANCELLED, KW_EFFECT_MAYBE);
    assert_int_equal(kw_ticket_cancel(first, &error), KW_OK); /* it has ended */
    kw_fake_pass(fakes[1]);
    kw_reply *reply = kw_ticket_await(second, &error);
    assert_int_equal(kw_reply_int(reply), 2);
    kw_reply_free(reply);
    kw_ticket_free(first);
    kw_ticket_free(second);
}

static void *await_ticket(void *arg)
{
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_ticket_await(arg, &error));
    expect_error("awaited", &error, KW_ERR_CANCELLED, KW_EFFECT_MAYBE);
    return NULL;
}

/* Another thread waits for it, and works for all meanwhile. */
static void test_ticket_that_is_waited_for_can_be_given_up(void **state)
{
    (void)state;
    open_patient();
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "INCR foo", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_ticket *ticket = kw_submit(kw, NULL, "INCR foo");
    KW_TEST_AWAIT(kw_fake_count(fakes[1], "INCR foo") >= 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, await_ticket, ticket), 0);
    kw_test_await_calls(kw, 1);
    assert_int_equal(kw_ticket_cancel(ticket, NULL), KW_OK);
    kw_test_join(thread);
    kw_ticket_free(ticket);
}

#define ON_BOTH(test)                                                                              \
    cmocka_unit_test_setup_teardown(test, begin, end),                                             \
        cmocka_unit_test_setup_teardown(test, begin_on_poll, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_cancel_before_anything_was_sent_has_no_effect),
        ON_BOTH(test_cancel_of_what_was_sent_says_maybe),
        ON_BOTH(test_cancel_of_what_waits_has_no_effect),
        ON_BOTH(test_cancel_of_what_a_server_puts_off_ends_it),
        ON_BOTH(test_cancel_before_there_is_a_map_has_no_effect),
        ON_BOTH(test_cancel_means_what_was_given_before_it),
        ON_BOTH(test_cancel_of_a_blocking_command_closes_its_connection),
        ON_BOTH(test_cancel_of_a_hundred_of_many_finds_each),
        ON_BOTH(test_cancel_while_two_threads_process_in_turn),
        ON_BOTH(test_cancel_wrong_uses_are_refused),
        ON_BOTH(test_ticket_that_is_given_up_ends_at_once),
        ON_BOTH(test_ticket_that_is_waited_for_can_be_given_up),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What is waited for, and how long: owners that change while an answer is awaited, slots that
 * nobody serves, connections that fall silent, places that nobody leaves. By every way of sending
 * where they could differ. */
#include "fake/fakes.h"
#include "support/parts.h"
#include "support/turn.h"
#include "support/ways.h"

/* foo is in the upper half of the slots, fakes[1]'s at first. */
#define KEY "foo"

static const kw_fake_step stalls[] = {KW_FAKE_STALL, KW_FAKE_END};

static void own_upper(kw_fake *owner)
{
    const kw_fake_range ranges[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, owner, NULL}};
    kw_fake_set_cluster(fakes, FAKES_N, ranges, owner != NULL ? 2 : 1);
}

static kw_client *open_anew(const char *options)
{
    renew_fakes();
    return open_connected(options);
}

static void answer_all(void)
{
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "INCR *", ":%zu", i);
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "GET *", "$1\r\nv");
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "BLPOP *", "*2\r\n$3\r\nfoo\r\n$1\r\n%zu", i);
    }
}

typedef struct act {
    unsigned after_ms;
    kw_fake *owner;
    kw_client *client; /* is to hear of it by a MOVED; or NULL */
} act;

/* After a while the upper half has another owner. */
static void *change_owner(void *arg)
{
    const act *self = arg;
    kw_test_sleep_ms(self->after_ms);
    own_upper(self->owner);
    if (self->client != NULL) {
        kw_reply_free(kw_command(self->client, NULL, "INCR told{foo}"));
    }
    return NULL;
}

static void test_wait_silent_node_that_lost_its_slot_is_left_within_a_short_timeout(void **state)
{
    (void)state;
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        kw_client *kw = open_anew("timeout=450ms"); /* below stall-timeout */
        kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "GET *", stalls);
        answer_all();
        own_upper(fakes[2]);
        kw_test_end end = kw_test_send(kw, (kw_test_way)way, "GET", KEY);
        if (!end.is_answered) {
            fail_msg("by %s: %s", kw_test_way_name((kw_test_way)way), end.error.text);
        }
        assert_int_equal(kw_fake_count(fakes[2], "GET *"), 1);
        kw_close(kw);
    }
}

/* The map changes just behind the send: the answer of the old owner, which comes later than grace,
 * is not taken. */
static void test_wait_grace_counts_from_the_new_map(void **state)
{
    (void)state;
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        kw_client *kw = open_anew("timeout=5s");
        kw_fake_on_reply(fakes[1], 1, "INCR told*", "-MOVED 12182 %s", kw_fake_address(fakes[2]));
        kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "INCR foo",
                   KW_FAKE_STEPS(KW_FAKE_DELAY(2000), KW_FAKE_SEND(":9\r\n")));
        answer_all();
        act change = {50, fakes[2], kw};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, change_owner, &change), 0);
        kw_test_end end = kw_test_send(kw, (kw_test_way)way, "INCR", KEY);
        kw_test_join(thread);
        if (end.is_answered || end.error.code != KW_ERR_CLOSED ||
            end.error.effect != KW_EFFECT_MAYBE || end.took_us / 1000 > 1000 + LATE_MS / 2) {
            fail_msg("by %s: %s after %llu us", kw_test_way_name((kw_test_way)way), end.error.text,
                     (unsigned long long)end.took_us);
        }
        kw_close(kw);
    }
}

/* Ways in which several commands are under way. */
typedef enum many_way { BY_CALLBACKS, BY_TICKETS, BY_BATCH, MANY_WAYS_N } many_way;

#define MANY_N ((size_t)3)

/* Sends a command so often at once, with its options, and waits for the end of each. */
static void send_many(kw_client *kw, many_way way, const kw_call_options *options, kw_argv command,
                      kw_test_answer *answers)
{
    kw_ticket *tickets[MANY_N];
    kw_batch *batch = way == BY_BATCH ? kw_batch_new(kw, NULL) : NULL;
    for (size_t i = 0; i < MANY_N; i++) {
        kw_callback callback = {kw_test_on_reply, &answers[i]};
        switch (way) {
        case BY_CALLBACKS:
            assert_int_equal(kw_call_async(kw, NULL, callback, options, command), KW_OK);
            break;
        case BY_TICKETS:
            tickets[i] = kw_submit_call(kw, NULL, options, command);
            assert_non_null(tickets[i]);
            break;
        case BY_BATCH:
            assert_int_equal(kw_batch_add_call(batch, NULL, options, command), KW_OK);
            break;
        case MANY_WAYS_N:
            break;
        }
    }
    if (way == BY_CALLBACKS) {
        assert_true(kw_test_turns(kw, answers, MANY_N, 10000));
    } else if (way == BY_BATCH) {
        (void)kw_batch_run(batch, NULL, 0);
    }
    for (size_t i = 0; i < MANY_N && way != BY_CALLBACKS; i++) {
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = way == BY_TICKETS ? kw_ticket_await(tickets[i], &error)
                                            : kw_batch_take(batch, &error, i);
        kw_test_on_reply(&answers[i], reply, reply == NULL ? &error : NULL);
        if (way == BY_TICKETS) {
            kw_ticket_free(tickets[i]);
        }
    }
    kw_batch_free(batch);
}

static void test_wait_slot_without_an_owner_holds_nobody_longer_than_it_lasts(void **state)
{
    (void)state;
    static const char *argv[] = {"INCR", KEY};
    for (int way = 0; way < MANY_WAYS_N; way++) {
        kw_client *kw = open_anew("timeout=6s");
        kw_test_answer answers[MANY_N] = {{0}};
        own_upper(NULL);
        kw_fake_on_reply(fakes[1], 1, "INCR *", "-CLUSTERDOWN Hash slot not served");
        answer_all();
        act change = {700, fakes[1], NULL};
        pthread_t thread;
        uint64_t start_ms = kw_test_now_ms();
        assert_int_equal(pthread_create(&thread, NULL, change_owner, &change), 0);
        send_many(kw, (many_way)way, NULL, (kw_argv){2, argv, NULL}, answers);
        kw_test_join(thread);
        assert_in_range(kw_test_now_ms() - start_ms, 0, 2000 + LATE_MS);
        for (size_t i = 0; i < MANY_N; i++) {
            bool is_told = answers[i].reply != NULL || answers[i].error.code == KW_ERR_ORDER;
            if (!is_told) {
                fail_msg("way %d, %zu: %s", way, i, answers[i].error.text);
            }
            kw_test_answer_clear(&answers[i]);
        }
        kw_close(kw);
    }
}

/* Answers that are owed to nobody: who comes later does not wait behind them for long. */
static void test_wait_behind_a_silence_is_about_a_second(void **state)
{
    (void)state;
    kw_client *kw = open_anew("timeout=400ms");
    kw_fake_on(fakes[1], 1, "GET *", stalls);
    answer_all();
    uint64_t start_ms = kw_test_now_ms();
    kw_test_end end;
    do {
        end = kw_test_send(kw, KW_TEST_TICKET, "GET", KEY);
    } while (!end.is_answered && kw_test_now_ms() - start_ms < 10000);
    assert_true(end.is_answered);
    assert_in_range(kw_test_now_ms() - start_ms, 400, 1600 + LATE_MS);
    kw_close(kw);
}

/* Blocked at a node that says nothing: once another call has learnt that the slot is elsewhere, the
 * old owner has a stall to say so itself. */
static void test_wait_blocked_command_leaves_a_silent_owner(void **state)
{
    (void)state;
    for (int by_ticket = 0; by_ticket <= 1; by_ticket++) {
        kw_client *kw = open_anew("timeout=5s");
        kw_test_answer answer = {0};
        kw_ticket *ticket = NULL;
        kw_fake_on_reply(fakes[1], 1, "INCR told*", "-MOVED 12182 %s", kw_fake_address(fakes[2]));
        kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "BLPOP *", stalls);
        answer_all();
        if (by_ticket) {
            ticket = kw_submit(kw, NULL, "BLPOP " KEY " 0");
            assert_non_null(ticket);
        } else {
            kw_callback callback = {kw_test_on_reply, &answer};
            assert_int_equal(kw_command_async(kw, NULL, callback, "BLPOP " KEY " 0"), KW_OK);
            kw_test_turns_for(kw, 50);
        }
        own_upper(fakes[2]);
        kw_reply_free(kw_command(kw, NULL, "INCR told{foo}"));
        uint64_t start_ms = kw_test_now_ms();
        kw_error error = KW_ERROR_INIT;
        if (by_ticket) {
            assert_null(kw_ticket_await(ticket, &error));
            kw_ticket_free(ticket);
        } else {
            assert_true(kw_test_turns(kw, &answer, 1, 10000));
            error = answer.error;
        }
        assert_in_range(kw_test_now_ms() - start_ms, 300, 600 + LATE_MS);
        assert_int_equal(error.code, KW_ERR_CLOSED);
        assert_int_equal(error.effect, KW_EFFECT_MAYBE);
        kw_close(kw);
    }
}

/* However long it has been blocked by then: another thread may learn it at any time, and does not
 * wake the host. */
static void test_wait_blocked_for_long_looks_for_a_map_of_others(void **state)
{
    (void)state;
    kw_client *kw = open_anew("timeout=5s&stall-timeout=100ms&refresh-interval=0ms");
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "BLPOP *", stalls);
    answer_all();
    kw_test_answer answer = {0};
    kw_callback callback = {kw_test_on_reply, &answer};
    assert_int_equal(kw_command_async(kw, NULL, callback, "BLPOP " KEY " 60"), KW_OK);
    int longest_ms = 0;
    for (uint64_t end_ms = kw_test_now_ms() + 1600; kw_test_now_ms() < end_ms;) {
        kw_test_turns_for(kw, 10);
        int next_ms = kw_timeout(kw);
        assert_in_range(next_ms, 0, 60000);
        longest_ms = next_ms > longest_ms ? next_ms : longest_ms;
    }
    assert_in_range(longest_ms, 0, 101);
    assert_int_equal(answer.calls_n, 0);
    kw_close(kw);
    kw_test_answer_clear(&answer);
}

static void test_wait_for_a_place_is_bounded_by_timeout_for_blocking_commands(void **state)
{
    (void)state;
    kw_client *kw = open_anew("timeout=500ms&pool-max=1");
    kw_fake_on(fakes[1], 1, "BLPOP *", KW_FAKE_STEPS(KW_FAKE_DELAY(2500), KW_FAKE_SEND("*-1\r\n")));
    answer_all();
    kw_test_answer answers[2] = {{0}};
    kw_callback first = {kw_test_on_reply, &answers[0]};
    kw_callback second = {kw_test_on_reply, &answers[1]};
    assert_int_equal(kw_command_async(kw, NULL, first, "BLPOP " KEY " 3"), KW_OK);
    kw_test_turns_for(kw, 50);
    uint64_t start_ms = kw_test_now_ms();
    assert_int_equal(kw_command_async(kw, NULL, second, "BLPOP " KEY " 3"), KW_OK);
    assert_true(kw_test_turns(kw, &answers[1], 1, 10000));
    assert_in_range(kw_test_now_ms() - start_ms, 450, 500 + LATE_MS);
    assert_int_equal(answers[1].error.code, KW_ERR_POOL_FULL);
    assert_int_equal(answers[1].error.effect, KW_EFFECT_NONE);
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(kw, &error, "BLPOP " KEY " 3"));
    assert_int_equal(error.code, KW_ERR_POOL_FULL);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_in_range(error.elapsed_ms, 450, 500 + LATE_MS);
    assert_true(kw_test_turns(kw, &answers[0], 1, 10000));
    assert_int_equal(kw_fake_count(fakes[1], "BLPOP *"), 1);
    kw_test_answer_clear(&answers[0]);
    kw_close(kw);
}

static void test_wait_pinned_node_that_leaves_the_map_is_not_waited_for(void **state)
{
    (void)state;
    static const char *argv[] = {"INCR", "x"};
    for (int way = 0; way <= MANY_WAYS_N; way++) { /* the last one is a call */
        kw_client *kw = open_anew("timeout=10s");
        kw_call_options options = KW_CALL_OPTIONS_INIT;
        options.route = KW_ROUTE_NODE;
        options.node = kw_fake_address(fakes[1]);
        answer_all();
        kw_fake_down(fakes[1]);
        act change = {200, fakes[2], NULL};
        pthread_t thread;
        kw_test_answer answers[MANY_N] = {{0}};
        assert_int_equal(pthread_create(&thread, NULL, change_owner, &change), 0);
        if (way < MANY_WAYS_N) {
            send_many(kw, (many_way)way, &options, (kw_argv){2, argv, NULL}, answers);
        } else {
            answers[0].reply = kw_call(kw, &answers[0].error, &options, (kw_argv){2, argv, NULL});
        }
        kw_test_join(thread);
        for (size_t i = 0; i < (way < MANY_WAYS_N ? MANY_N : 1); i++) {
            assert_null(answers[i].reply);
            assert_int_equal(answers[i].error.effect, KW_EFFECT_NONE);
            assert_in_range(answers[i].error.elapsed_ms, 150, 1500 + LATE_MS);
        }
        kw_close(kw);
    }
}

static void test_wait_of_commands_to_all_nodes_is_told(void **state)
{
    (void)state;
    static const char *argv[] = {"DBSIZE"};
    for (int way = 0; way <= BY_BATCH; way++) { /* a batch takes none: a call */
        kw_client *kw = open_anew("timeout=400ms");
        kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "DBSIZE", stalls);
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "DBSIZE", ":1");
        kw_test_answer answers[MANY_N] = {{0}};
        if (way != BY_BATCH) {
            send_many(kw, (many_way)way, NULL, (kw_argv){1, argv, NULL}, answers);
        } else {
            answers[0].error = (kw_error)KW_ERROR_INIT;
            answers[0].reply = kw_call(kw, &answers[0].error, NULL, (kw_argv){1, argv, NULL});
        }
        assert_null(answers[0].reply);
        assert_int_equal(answers[0].error.code, KW_ERR_TIMEOUT);
        assert_int_equal(answers[0].error.attempts, 1);
        assert_in_range(answers[0].error.elapsed_ms, 399, 400 + LATE_MS);
        kw_close(kw);
    }
}

/* The server has ended a connection that was idle: seen before the first send, by all. */
static void test_wait_idle_connection_that_was_closed_costs_no_write(void **state)
{
    (void)state;
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        kw_client *kw = open_anew("timeout=3s");
        answer_all();
        for (int i = 0; i < 2; i++) {
            kw_test_end end = kw_test_send(kw, (kw_test_way)way, "INCR", KEY);
            if (!end.is_answered) {
                fail_msg("by %s: %s", kw_test_way_name((kw_test_way)way), end.error.text);
            }
            kw_fake_down(fakes[1]);
            kw_fake_up(fakes[1]);
            kw_test_sleep_ms(20);
        }
        assert_int_equal(kw_fake_count(fakes[1], "INCR *"), 2);
        kw_close(kw);
    }
}

/* Connects that the node ends in the test below. */
#define REFUSED_N 8u

/* The most tries of any call. */
static void on_slow(void *arg, const kw_slow_call *call)
{
    size_t *most = arg;
    *most = call->tries_n > *most ? call->tries_n : *most;
}

static kw_client *open_watched(size_t *tries_n)
{
    char uri[200];
    kw_config *config = kw_test_config_new(NULL);
    renew_fakes();
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=60s&on-node-down=wait&slow-call=1ms",
             kw_fake_address(fakes[0]));
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    kw_config_set_slow_call(config, on_slow, tries_n);
    kw_client *kw = kw_open_config(config, NULL);
    kw_config_free(config);
    assert_non_null(kw);
    need_map(kw);
    return kw;
}

/* What was lost waits for the next connection as what was not sent does: a failed try of each of
 * them for each connect would be much where very many are under way. */
static void test_wait_of_lost_commands_is_no_try_for_each_connect(void **state)
{
    (void)state;
    static const char *argv[] = {"GET", KEY};
    for (int way = 0; way < MANY_WAYS_N; way++) {
        size_t tries_n = 0;
        kw_test_answer answers[MANY_N] = {{0}};
        kw_client *kw = open_watched(&tries_n);
        kw_reply_free(kw_command(kw, NULL, "GET " KEY));
        kw_fake_on(fakes[1], 1, "GET *", KW_FAKE_STEPS(KW_FAKE_RESET));
        kw_fake_on_accept(fakes[1], REFUSED_N + 1, KW_FAKE_STEPS(KW_FAKE_RESET));
        answer_all();
        unsigned accepted_n = kw_fake_accepted(fakes[1]);
        send_many(kw, (many_way)way, NULL, (kw_argv){2, argv, NULL}, answers);
        for (size_t i = 0; i < MANY_N; i++) {
            if (answers[i].reply == NULL) {
                fail_msg("way %d, %zu: %s", way, i, answers[i].error.text);
            }
            kw_test_answer_clear(&answers[i]);
        }
        assert_true(kw_fake_accepted(fakes[1]) - accepted_n > REFUSED_N);
        assert_int_equal(tries_n, 2); /* the one that was lost, and the one that was answered */
        kw_close(kw);
    }
}

static int run(size_t part)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wait_silent_node_that_lost_its_slot_is_left_within_a_short_timeout),
        cmocka_unit_test(test_wait_grace_counts_from_the_new_map),
        cmocka_unit_test(test_wait_slot_without_an_owner_holds_nobody_longer_than_it_lasts),
        cmocka_unit_test(test_wait_behind_a_silence_is_about_a_second),
        cmocka_unit_test(test_wait_blocked_command_leaves_a_silent_owner),
        cmocka_unit_test(test_wait_blocked_for_long_looks_for_a_map_of_others),
        cmocka_unit_test(test_wait_for_a_place_is_bounded_by_timeout_for_blocking_commands),
        cmocka_unit_test(test_wait_pinned_node_that_leaves_the_map_is_not_waited_for),
        cmocka_unit_test(test_wait_of_commands_to_all_nodes_is_told),
        cmocka_unit_test(test_wait_of_lost_commands_is_no_try_for_each_connect),
        cmocka_unit_test(test_wait_idle_connection_that_was_closed_costs_no_write),
    };
    (void)part;
    return KW_TEST_RUN_SHARE(tests, start_fakes, stop_fakes);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 5, run);
}

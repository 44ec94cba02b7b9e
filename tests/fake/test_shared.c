/* SPDX-License-Identifier: BSD-3-Clause */
/* Handles that share what is known of the servers: one map and login for all, loops, connections
 * and figures of their own; closed in any order, and beside each other's work. */
#include "fake/fakes.h"

#include "support/turn.h"

#include <stdatomic.h>
#include <unistd.h>

#define HANDLES_N 64

static kw_client *share(kw_client *first)
{
    kw_error error = KW_ERROR_INIT;
    kw_client *kw = kw_open_shared(first, &error);
    if (kw == NULL) {
        fail_msg("%s", error.text);
    }
    return kw;
}

/* One command by the handle's loop. */
static void ask(kw_client *kw, const char *command, long long number)
{
    kw_test_answer answer = {0};
    kw_error error = KW_ERROR_INIT;
    kw_callback callback = {kw_test_on_reply, &answer};
    if (kw_command_async(kw, &error, callback, command) != KW_OK) {
        fail_msg("%s", error.text);
    }
    assert_true(kw_test_turns(kw, &answer, 1, 5000));
    if (answer.reply == NULL || kw_reply_int(answer.reply) != number) {
        fail_msg("%s: %s", command, answer.error.text);
    }
    kw_test_answer_clear(&answer);
}

static void renew_numbered(void)
{
    renew_fakes();
    answer(fakes[0], "INCR *", ":0");
    answer(fakes[1], "INCR *", ":1");
    answer(fakes[0], "GET *", ":0");
    answer(fakes[1], "GET *", ":1");
}

static void test_shared_handles_fetch_one_map_for_all(void **state)
{
    (void)state;
    renew_numbered();
    kw_client *handles[HANDLES_N];
    handles[0] = open_cluster("timeout=5s&refresh-interval=0");
    for (size_t i = 1; i < HANDLES_N; i++) {
        handles[i] = share(handles[i - 1]);
    }
    for (size_t i = 0; i < HANDLES_N; i++) {
        ask(handles[i], "INCR foo", 1);
        ask(handles[i], "INCR bar", 0);
    }
    assert_int_equal(maps_asked(), 1);
    /* Each has connections of its own for its loop. */
    assert_int_equal(kw_fake_open(fakes[1]), HANDLES_N);
    for (size_t i = 0; i < HANDLES_N; i++) {
        kw_close(handles[(i * 37) % HANDLES_N]);
    }
    KW_TEST_AWAIT(kw_fake_open(fakes[1]) == 0);
}

/* A slot that one has seen move has moved for all. */
static void test_shared_handles_learn_from_each_other(void **state)
{
    (void)state;
    renew_numbered();
    kw_client *first = open_connected("timeout=5s&refresh-interval=0");
    kw_client *second = share(first);
    ask(second, "INCR foo", 1);
    own_all(fakes[0]);
    answer(fakes[0], "STRLEN *", ":8");
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "STRLEN foo", "-MOVED %u %s", FOO_SLOT,
                     kw_fake_address(fakes[0]));
    expect_number(first, "STRLEN foo", 8);
    ask(second, "STRLEN foo", 8);
    assert_int_equal(kw_fake_count(fakes[1], "STRLEN foo"), 1);
    kw_close(first);
    ask(second, "STRLEN foo", 8);
    kw_close(second);
}

/* What one has found out of a server that is down holds for the other: it fails at once, by calls
 * and in its loop, and dials nothing. */
static void test_shared_handles_have_one_failure_detector(void **state)
{
    (void)state;
    renew_servers();
    answer(fakes[0], "INCR *", ":1");
    kw_client *first = kw_test_open("redis://%s?timeout=20s", kw_fake_address(fakes[0]));
    kw_client *second = share(first);
    ask(second, "INCR foo", 1);
    kw_fake_down(fakes[0]);
    kw_error error = KW_ERROR_INIT;
    KW_TEST_UNTIL(strstr(error.text, "down") != NULL)
    {
        assert_null(kw_command(first, &error, "INCR foo"));
    }
    uint64_t dials_n = kw_test_stats(first).connect_failures;
    uint64_t start_ms = kw_test_now_ms();
    assert_null(kw_command(second, &error, "INCR foo"));
    expect_error("call", &error, KW_ERR_CONNECT, KW_EFFECT_NONE);
    kw_test_answer told = {0};
    kw_callback callback = {kw_test_on_reply, &told};
    assert_int_equal(kw_command_async(second, NULL, callback, "INCR foo"), KW_OK);
    assert_true(kw_test_turns(second, &told, 1, 5000));
    expect_error("callback", &told.error, KW_ERR_CONNECT, KW_EFFECT_NONE);
    kw_test_answer_clear(&told);
    uint64_t took_ms = kw_test_now_ms() - start_ms;
    assert_in_range(took_ms, 0, LATE_MS);
    uint64_t more_n = kw_test_stats(second).connect_failures - dials_n;
    assert_in_range(more_n, 0, 1 + took_ms / 1000); /* of both: the prober's, once a second */
    kw_fake_up(fakes[0]);
    kw_test_sleep_ms(1100);
    expect_number(second, "INCR foo", 1); /* and who finds it well again does so for both */
    expect_number(first, "INCR foo", 1);
    kw_close(first);
    kw_close(second);
}

/* A login and settings that are given to one are the other's: its loop's connection sends AUTH. */
static void test_shared_handles_have_one_login_and_settings(void **state)
{
    (void)state;
    renew_servers();
    answer(fakes[0], "INCR *", ":1");
    answer(fakes[0], "AUTH *", "+OK");
    kw_client *first = kw_test_open("redis://:one@%s?timeout=20s", kw_fake_address(fakes[0]));
    kw_client *second = share(first);
    ask(first, "INCR foo", 1);
    ask(second, "INCR foo", 1);
    kw_fake_log_clear(fakes[0]);
    assert_int_equal(kw_client_set_login(first, NULL, NULL, "two"), KW_OK);
    ask(second, "INCR foo", 1);
    assert_int_equal(kw_fake_count(fakes[0], "AUTH two"), 1);
    ask(first, "INCR foo", 1);
    assert_int_equal(kw_fake_count(fakes[0], "AUTH two"), 2);
    assert_int_equal(kw_client_set(first, NULL, "timeout", "60ms"), KW_OK);
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "STRLEN *", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(second, &error, "STRLEN foo"));
    assert_int_equal(error.code, KW_ERR_TIMEOUT);
    assert_in_range(error.elapsed_ms, 0, LATE_MS);
    kw_close(first);
    kw_close(second);
}

/* Callbacks and tickets of the one are cancelled; the other's go on. */
static void test_closing_one_leaves_the_others_work_alone(void **state)
{
    (void)state;
    renew_numbered();
    kw_client *first = open_connected("timeout=20s");
    kw_client *second = share(first);
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "STRLEN slow*",
               KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_SEND(":7\r\n")));
    kw_test_answer mine = {0};
    kw_test_answer yours = {0};
    kw_callback callbacks[2] = {{kw_test_on_reply, &mine}, {kw_test_on_reply, &yours}};
    assert_int_equal(kw_command_async(first, NULL, callbacks[0], "STRLEN slow{foo}"), KW_OK);
    kw_ticket *ticket = kw_submit(first, NULL, "STRLEN slow{foo}");
    assert_int_equal(kw_command_async(second, NULL, callbacks[1], "STRLEN slow{foo}"), KW_OK);
    KW_TEST_UNTIL(kw_fake_at_gates(fakes[1]) == 3)
    {
        kw_test_turn(first, 5);
        kw_test_turn(second, 5);
    }
    kw_close(first);
    assert_int_equal(mine.calls_n, 1);
    assert_int_equal(mine.error.code, KW_ERR_CANCELLED);
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_ticket_await(ticket, &error));
    assert_int_equal(error.code, KW_ERR_CANCELLED);
    kw_ticket_free(ticket);
    for (size_t i = 0; i < 3; i++) {
        kw_fake_pass(fakes[1]);
    }
    assert_true(kw_test_turns(second, &yours, 1, 5000));
    assert_int_equal(kw_reply_int(yours.reply), 7);
    expect_number(second, "GET foo", 1);
    kw_test_answer_clear(&mine);
    kw_test_answer_clear(&yours);
    kw_close(second);
}

typedef struct waiter {
    pthread_t thread;
    kw_client *kw;
    kw_ticket *ticket;
    kw_error error;
} waiter;

static void *await(void *arg)
{
    waiter *self = arg;
    kw_reply_free(kw_ticket_await(self->ticket, &self->error));
    return NULL;
}

/* Who waits for a ticket of the handle that is closed does not wait on. */
static void test_closing_one_ends_waits_for_its_tickets(void **state)
{
    (void)state;
    renew_numbered();
    kw_client *first = open_connected("timeout=20s");
    kw_client *second = share(first);
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "STRLEN slow*", KW_FAKE_STEPS(KW_FAKE_STALL));
    waiter self = {.kw = second, .error = KW_ERROR_INIT};
    self.ticket = kw_submit(second, NULL, "STRLEN slow{foo}");
    assert_int_equal(pthread_create(&self.thread, NULL, await, &self), 0);
    kw_test_await_calls(second, 1);
    kw_close(second);
    kw_test_join(self.thread);
    assert_int_equal(self.error.code, KW_ERR_CANCELLED);
    kw_ticket_free(self.ticket);
    expect_number(first, "GET foo", 1);
    kw_close(first);
}

static void test_each_has_figures_of_its_own(void **state)
{
    (void)state;
    renew_numbered();
    kw_client *first = open_connected("timeout=5s");
    kw_client *second = share(first);
    expect_number(first, "GET foo", 1);
    ask(second, "GET foo", 1);
    ask(second, "GET bar", 0);
    assert_int_equal(kw_test_stats(first).commands, 1);
    assert_int_equal(kw_test_stats(second).commands, 2);
    assert_int_equal(kw_test_stats(second).failures, 0);
    assert_int_equal(kw_test_stats(first).refreshes, kw_test_stats(second).refreshes);
    kw_close(first);
    kw_close(second);
}

static void test_draining_one_leaves_the_others_open(void **state)
{
    (void)state;
    renew_numbered();
    kw_client *first = open_connected("timeout=5s");
    kw_client *second = share(first);
    assert_int_equal(kw_drain(first, NULL, 0), KW_OK);
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(first, &error, "GET foo"));
    assert_int_equal(error.code, KW_ERR_DRAINING);
    expect_number(second, "GET foo", 1);
    ask(second, "GET foo", 1);
    kw_close(first);
    kw_close(second);
}

static void test_in_a_forked_child_each_starts_anew(void **state)
{
    (void)state;
    renew_numbered();
    kw_client *first = open_connected("timeout=5s&after-fork=reopen");
    kw_client *second = share(first);
    kw_client *third = share(first);
    ask(first, "GET foo", 1);
    ask(second, "GET foo", 1);
    ask(third, "GET foo", 1);
    pid_t child = fork();
    if (child == 0) {
        ask(second, "GET foo", 1);
        expect_number(first, "GET bar", 0);
        ask(first, "GET bar", 0);
        kw_close(third); /* the parent's alone: its sockets are nobody's here */
        ask(second, "GET bar", 0);
        kw_close(first);
        ask(second, "GET foo", 1);
        kw_close(second);
        _exit(0);
    }
    wait_for_child(child);
    ask(third, "GET foo", 1);
    kw_close(second);
    ask(first, "GET foo", 1);
    kw_close(first);
    ask(third, "GET bar", 0);
    kw_close(third);
}

static void test_in_a_forked_child_each_is_refused(void **state)
{
    (void)state;
    renew_numbered();
    kw_client *first = open_connected("timeout=5s");
    kw_client *second = share(first);
    ask(second, "GET foo", 1);
    pid_t child = fork();
    if (child == 0) {
        kw_error error = KW_ERROR_INIT;
        bool is_refused = kw_command(second, &error, "GET foo") == NULL &&
                          error.code == KW_ERR_FORKED && kw_open_shared(first, &error) == NULL &&
                          error.code == KW_ERR_FORKED;
        kw_close(first);
        kw_close(second);
        _exit(is_refused ? 0 : 1);
    }
    wait_for_child(child);
    ask(second, "GET foo", 1);
    kw_close(second);
    kw_close(first);
}

/* Bytes that the library has, each block with its size before it. */
static atomic_size_t live_bytes;

static void *measured_realloc(void *arg, void *block, size_t len)
{
    (void)arg;
    size_t *start = block != NULL ? (size_t *)block - 2 : NULL;
    size_t before = start != NULL ? *start : 0;
    size_t *fresh = realloc(start, len + 2 * sizeof(size_t));
    if (fresh == NULL) {
        return NULL;
    }
    *fresh = len;
    atomic_fetch_add(&live_bytes, len);
    atomic_fetch_sub(&live_bytes, before);
    return fresh + 2;
}

static void *measured_malloc(void *arg, size_t len)
{
    return measured_realloc(arg, NULL, len);
}

static void measured_free(void *arg, void *block)
{
    (void)arg;
    if (block != NULL) {
        atomic_fetch_sub(&live_bytes, ((size_t *)block)[-2]);
        free((size_t *)block - 2);
    }
}

/* With a loop that has a connection to each of three nodes. */
static void test_a_handle_more_takes_little_memory(void **state)
{
    (void)state;
    renew_fakes();
    const kw_fake_range thirds[] = {
        {0, 5000, fakes[2], NULL}, {5001, 10000, fakes[0], NULL}, {10001, 16383, fakes[1], NULL}};
    kw_fake_set_cluster(fakes, 3, thirds, 3);
    for (size_t i = 0; i < FAKES_N; i++) {
        answer(fakes[i], "GET *", ":1");
    }
    const kw_allocator allocator = {sizeof(allocator), NULL, measured_malloc, measured_realloc,
                                    measured_free};
    kw_config *config = kw_test_config_new(&allocator);
    char uri[200];
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=5s&refresh-interval=0",
             kw_fake_address(fakes[0]));
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    kw_client *first = kw_open_config(config, NULL);
    kw_config_free(config);
    kw_client *handles[HANDLES_N];
    ask(first, "GET foo", 1);
    ask(first, "GET bar", 1);
    ask(first, "GET hello", 1); /* slot 866 */
    size_t before = atomic_load(&live_bytes);
    for (size_t i = 0; i < HANDLES_N; i++) {
        handles[i] = share(first);
        ask(handles[i], "GET foo", 1);
        ask(handles[i], "GET bar", 1);
        ask(handles[i], "GET hello", 1);
    }
    size_t each = (atomic_load(&live_bytes) - before) / HANDLES_N;
    assert_in_range(before, 1, 72 * 1000); /* and the first one, which has the map */
    assert_in_range(each, 1, 20 * 1000);
    print_message("%zu bytes a handle with three connections, %zu the first\n", each, before);
    assert_int_equal(maps_asked(), 1);
    for (size_t i = 0; i < HANDLES_N; i++) {
        kw_close(handles[i]);
    }
    kw_close(first);
    assert_int_equal(atomic_load(&live_bytes), 0);
}

static void test_shared_of_nothing_is_refused(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_open_shared(NULL, &error));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
}

typedef struct host {
    pthread_t thread;
    kw_client *kw;
    unsigned answered_n;
} host;

static atomic_uint started_n;

static void count(void *arg, kw_reply *reply, const kw_error *error)
{
    host *self = arg;
    (void)error;
    self->answered_n += reply != NULL ? 1 : 0;
    kw_reply_free(reply);
}

/* A loop in a thread; it closes its handle itself. */
static void *run_loop(void *arg)
{
    host *self = arg;
    atomic_fetch_add(&started_n, 1);
    for (unsigned i = 0; i < 50; i++) {
        kw_callback callback = {count, self};
        if (kw_command_async(self->kw, NULL, callback, "GET {foo}%u", i) != KW_OK) {
            break;
        }
        kw_test_turn(self->kw, 5);
    }
    for (unsigned turns = 0; self->answered_n < 50 && turns < 2000; turns++) {
        kw_test_turn(self->kw, 10);
    }
    kw_close(self->kw);
    return NULL;
}

/* For ThreadSanitizer: opened, used and closed by threads of their own, at once. */
static void test_loops_in_threads_share_one_topology(void **state)
{
    (void)state;
    renew_numbered();
    kw_client *first = open_cluster("timeout=20s&refresh-interval=20ms");
    host hosts[HANDLES_N];
    for (size_t i = 0; i < HANDLES_N; i++) {
        hosts[i] = (host){.kw = share(first)};
        assert_int_equal(pthread_create(&hosts[i].thread, NULL, run_loop, &hosts[i]), 0);
    }
    kw_close(first);
    for (size_t i = 0; i < HANDLES_N; i++) {
        kw_test_join(hosts[i].thread);
        assert_int_equal(hosts[i].answered_n, 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_handles_fetch_one_map_for_all),
        cmocka_unit_test(test_shared_handles_learn_from_each_other),
        cmocka_unit_test(test_shared_handles_have_one_failure_detector),
        cmocka_unit_test(test_shared_handles_have_one_login_and_settings),
        cmocka_unit_test(test_closing_one_leaves_the_others_work_alone),
        cmocka_unit_test(test_closing_one_ends_waits_for_its_tickets),
        cmocka_unit_test(test_each_has_figures_of_its_own),
        cmocka_unit_test(test_draining_one_leaves_the_others_open),
        cmocka_unit_test(test_in_a_forked_child_each_starts_anew),
        cmocka_unit_test(test_in_a_forked_child_each_is_refused),
        cmocka_unit_test(test_a_handle_more_takes_little_memory),
        cmocka_unit_test(test_shared_of_nothing_is_refused),
        cmocka_unit_test(test_loops_in_threads_share_one_topology),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

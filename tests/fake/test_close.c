/* SPDX-License-Identifier: BSD-3-Clause */
/* Closing a handle while other threads are in calls: all come back at once, cancelled. */
#include "fake/fakes.h"

#include "api/client.h"

#define CLOSE_MS (100 * KW_TEST_SLOWNESS)

static kw_client *open_at(const char *scheme, const char *address, const char *options)
{
    return kw_test_open("%s://%s?%s", scheme, address, options);
}

/* One thread in a call that is to end by kw_close. */
typedef struct waiter {
    pthread_t thread;
    kw_client *kw;
    const char *command; /* NULL: a batch; behind an at sign: in a session */
    kw_error error;
    bool has_reply;
} waiter;

static void wait_in_session(waiter *self)
{
    kw_session *session = kw_session_open(self->kw, &self->error, "foo", 3);
    kw_reply *reply =
        session != NULL ? kw_session_command(session, &self->error, self->command + 1) : NULL;
    self->has_reply = reply != NULL;
    kw_reply_free(reply);
    kw_session_close(session);
}

static void *wait_in_call(void *arg)
{
    waiter *self = arg;
    if (self->command != NULL && self->command[0] == '@') {
        wait_in_session(self);
        return NULL;
    }
    if (self->command != NULL) {
        kw_reply *reply = kw_command(self->kw, &self->error, self->command);
        self->has_reply = reply != NULL;
        kw_reply_free(reply);
        return NULL;
    }
    kw_batch *batch = kw_batch_new(self->kw, NULL);
    kw_batch_add(batch, NULL, "INCR foo");
    kw_batch_add(batch, NULL, "INCR bar");
    self->has_reply = kw_batch_run(batch, &self->error, 0) == KW_OK;
    kw_batch_free(batch);
    return NULL;
}

typedef struct close_row {
    const char *name;
    const char *scheme;
    const char *options;
    const char *pattern; /* what the fakes never answer, or answer by steps */
    const kw_fake_step *steps;
    const char *command;
} close_row;

#define CALLERS_N 8

static void begin_callers(waiter *waiters, kw_client *kw, const char *command)
{
    for (size_t i = 0; i < CALLERS_N; i++) {
        waiters[i] = (waiter){.kw = kw, .command = command, .error = KW_ERROR_INIT};
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, wait_in_call, &waiters[i]), 0);
    }
    kw_test_await_calls(kw, CALLERS_N);
}

/* Closes the handle, under which the callers are; the time that it took. */
static uint64_t close_under(waiter *waiters, const char *name, kw_client *kw)
{
    uint64_t start_ms = kw_test_now_ms();
    kw_close(kw);
    for (size_t i = 0; i < CALLERS_N; i++) {
        kw_test_join(waiters[i].thread);
    }
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    for (size_t i = 0; i < CALLERS_N; i++) {
        if (waiters[i].has_reply || waiters[i].error.code != KW_ERR_CANCELLED) {
            fail_msg("%s: %s: %s", name, kw_err_name(waiters[i].error.code), waiters[i].error.text);
        }
    }
    return elapsed_ms;
}

static uint64_t close_under_callers(const char *name, kw_client *kw, const char *command)
{
    waiter waiters[CALLERS_N];
    begin_callers(waiters, kw, command);
    kw_test_sleep_ms(60 * KW_TEST_SLOWNESS);
    return close_under(waiters, name, kw);
}

/* Closes one of two handles that share what they know: its own callers come back at once, the
 * other's wait on. */
static uint64_t close_beside_callers(const char *name, kw_client *kw, kw_client *other,
                                     const char *command)
{
    waiter waiters[CALLERS_N];
    waiter others[CALLERS_N];
    begin_callers(others, other, command);
    begin_callers(waiters, kw, command);
    kw_test_sleep_ms(60 * KW_TEST_SLOWNESS);
    uint64_t elapsed_ms = close_under(waiters, name, kw);
    kw_test_sleep_ms(20);
    if (atomic_load(&other->calls_n) != CALLERS_N) {
        fail_msg("%s: %zu of the other handle's callers are left", name,
                 atomic_load(&other->calls_n));
    }
    (void)close_under(others, name, other);
    return elapsed_ms;
}

typedef enum company { ALONE, BESIDE_FIRST, BESIDE_LATER } company;

/* Alone, or beside another handle that was opened first, or later. */
static void run_close_row(const close_row *row, company beside)
{
    uint64_t best_ms = UINT64_MAX;
    for (int k = 0; k < 5 && best_ms > CLOSE_MS; k++) {
        renew_fakes();
        for (size_t i = 0; i < 2; i++) {
            kw_fake_on(fakes[i], KW_FAKE_ALWAYS, row->pattern, row->steps);
        }
        int descriptors_n = kw_test_fd_count();
        kw_client *kw = open_at(row->scheme, kw_fake_address(fakes[0]), row->options);
        kw_client *other = beside != ALONE ? kw_open_shared(kw, NULL) : NULL;
        uint64_t elapsed_ms;
        if (beside == ALONE) {
            elapsed_ms = close_under_callers(row->name, kw, row->command);
        } else if (beside == BESIDE_FIRST) {
            elapsed_ms = close_beside_callers(row->name, other, kw, row->command);
        } else {
            elapsed_ms = close_beside_callers(row->name, kw, other, row->command);
        }
        best_ms = elapsed_ms < best_ms ? elapsed_ms : best_ms;
        for (int i = 0; i < 400 && kw_fake_open(fakes[0]) + kw_fake_open(fakes[1]) > 0; i++) {
            kw_test_sleep_ms(5);
        }
        assert_in_range(kw_test_fd_count(), 0, descriptors_n);
    }
    if (best_ms > CLOSE_MS) {
        fail_msg("%s: closed after %llu ms", row->name, (unsigned long long)best_ms);
    }
}

static void run_close_rows(bool is_shared)
{
#define STALL KW_FAKE_STEPS(KW_FAKE_STALL)
    const close_row rows[] = {
        {"waiting for a reply", "redis", "timeout=5s", "INCR *", STALL, "INCR foo"},
        {"waiting for a reply, long", "redis", "timeout=5s&stall-timeout=5s", "INCR *", STALL,
         "INCR foo"},
        {"waiting for a connection", "redis", "timeout=5s&pool-max=1", "INCR *", STALL, "INCR foo"},
        {"greeting", "redis", "timeout=5s&connect-timeout=5s", "HELLO *", STALL, "INCR foo"},
        {"greeting, early", "redis", "timeout=5s&connect-timeout=5s", "HELLO *", STALL, "GET foo"},
        {"pausing", "redis", "timeout=5s", "INCR *",
         KW_FAKE_STEPS(KW_FAKE_SEND("-LOADING data\r\n")), "INCR foo"},
        {"waiting in a cluster", "redis-cluster", "timeout=5s&stall-timeout=3s", "INCR *", STALL,
         "INCR foo"},
        {"waiting for the map", "redis-cluster", "timeout=5s", "CLUSTER S*", STALL, "INCR foo"},
        {"without a map", "redis-cluster", "timeout=5s", "CLUSTER S*",
         KW_FAKE_STEPS(KW_FAKE_SEND("*0\r\n")), "INCR foo"},
        {"blocking", "redis-cluster", "timeout=5s", "BLPOP *", STALL, "BLPOP foo 0"},
        {"in a session", "redis-cluster", "timeout=5s&pool-max=16", "INCR *", STALL, "@INCR foo"},
        {"opening a session", "redis", "timeout=5s&pool-max=1", "INCR *", STALL, "@INCR foo"},
        {"in a batch", "redis-cluster", "timeout=5s&stall-timeout=3s", "INCR *", STALL, NULL},
        {"in parts", "redis-cluster", "timeout=5s", "MGET *", STALL, "MGET foo bar"},
        {"looking a command up", "redis-cluster", "timeout=5s", "COMMAND *", STALL, "mod.x foo"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        run_close_row(&rows[i], !is_shared ? ALONE : i % 2 == 0 ? BESIDE_FIRST : BESIDE_LATER);
    }
}

static void test_close_ends_every_call_at_once(void **state)
{
    (void)state;
    run_close_rows(false);
}

static void test_close_of_one_shared_handle_ends_its_own_calls_at_once(void **state)
{
    (void)state;
    run_close_rows(true);
}

static void test_close_ends_connects_that_are_swallowed(void **state)
{
    (void)state;
    kw_test_hole hole;
    if (!kw_test_hole_open(&hole)) {
        print_message("no address that swallows connects can be made here\n");
        return;
    }
    char address[40];
    snprintf(address, sizeof(address), "127.0.0.1:%u", (unsigned)hole.port);
    static const char *const schemes[] = {"redis", "redis-cluster"};
    static const char *const commands[] = {"INCR foo", "GET foo"};
    for (size_t i = 0; i < 4; i++) {
        uint64_t best_ms = UINT64_MAX;
        for (int k = 0; k < 5 && best_ms > CLOSE_MS; k++) {
            kw_client *kw = open_at(schemes[i / 2], address, "timeout=5s&connect-timeout=5s");
            uint64_t elapsed_ms = close_under_callers("swallowed", kw, commands[i % 2]);
            best_ms = elapsed_ms < best_ms ? elapsed_ms : best_ms;
        }
        assert_in_range(best_ms, 0, CLOSE_MS);
    }
    kw_test_hole_close(&hole);
}

/* What ended the call was the close, and no deadline: the connect goes on for the other handle. */
static void test_close_of_a_shared_handle_is_what_its_dialling_call_tells(void **state)
{
    (void)state;
    kw_test_hole hole;
    if (!kw_test_hole_open(&hole)) {
        print_message("no address that swallows connects can be made here\n");
        return;
    }
    char address[40];
    snprintf(address, sizeof(address), "127.0.0.1:%u", (unsigned)hole.port);
    kw_client *kw = open_at("redis", address, "timeout=5s&connect-timeout=5s");
    kw_client *other = kw_open_shared(kw, NULL);
    waiter self = {.kw = kw, .command = "INCR foo", .error = KW_ERROR_INIT};
    assert_int_equal(pthread_create(&self.thread, NULL, wait_in_call, &self), 0);
    kw_test_await_calls(kw, 1);
    kw_test_sleep_ms(60 * KW_TEST_SLOWNESS);
    kw_close(kw);
    kw_test_join(self.thread);
    assert_int_equal(self.error.code, KW_ERR_CANCELLED);
    if (strstr(self.error.text, "was closed") == NULL || strstr(self.error.text, "raise") != NULL) {
        fail_msg("%s", self.error.text);
    }
    kw_close(other);
    kw_test_hole_close(&hole);
}

/* A call waits on a node that leaves the map meanwhile. */
static void test_close_ends_calls_on_nodes_that_left_the_map(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw =
        open_at("redis-cluster", kw_fake_address(fakes[0]), "timeout=5s&stall-timeout=4s");
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "INCR foo", STALL);
    waiter self = {.kw = kw, .command = "INCR foo", .error = KW_ERROR_INIT};
    assert_int_equal(pthread_create(&self.thread, NULL, wait_in_call, &self), 0);
    assert_true(kw_fake_wait(fakes[1], "INCR foo", 1, 5000));
    const kw_fake_range all[] = {{0, 16383, fakes[0], NULL}};
    kw_fake_set_cluster(fakes, 2, all, 1);
    kw_fake_on_reply(fakes[0], 1, "INCR bar", "-CLUSTERDOWN asks for a map");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", ":1");
    char node[100] = "";
    for (int i = 0; i < 400 && strcmp(node, kw_fake_address(fakes[0])) != 0; i++) {
        kw_reply_free(kw_command(kw, NULL, "INCR bar"));
        assert_int_equal(kw_client_slot_node(kw, NULL, node, sizeof(node), 12182), KW_OK);
        kw_test_sleep_ms(5);
    }
    assert_string_equal(node, kw_fake_address(fakes[0]));
    uint64_t start_ms = kw_test_now_ms();
    kw_close(kw);
    kw_test_join(self.thread);
    assert_in_range(kw_test_now_ms() - start_ms, 0, CLOSE_MS);
    assert_int_equal(self.error.code, KW_ERR_CANCELLED);
    assert_int_equal(self.error.effect, KW_EFFECT_MAYBE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_close_ends_every_call_at_once),
        cmocka_unit_test(test_close_of_one_shared_handle_ends_its_own_calls_at_once),
        cmocka_unit_test(test_close_ends_connects_that_are_swallowed),
        cmocka_unit_test(test_close_of_a_shared_handle_is_what_its_dialling_call_tells),
        cmocka_unit_test(test_close_ends_calls_on_nodes_that_left_the_map),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Closing a handle while other threads are in calls: all come back at once, cancelled. */
#include "fake/fakes.h"

#define CLOSE_MS (100 * KW_TEST_SLOWNESS)

static kw_client *open_at(const char *scheme, const char *address, const char *options)
{
    return kw_test_open("%s://%s?%s", scheme, address, options);
}

/* One thread in a call that is to end by kw_close. */
typedef struct waiter {
    pthread_t thread;
    kw_client *kw;
    const char *command; /* NULL: a batch */
    kw_error error;
    bool has_reply;
} waiter;

static void *wait_in_call(void *arg)
{
    waiter *self = arg;
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

/* Closes the handle under eight callers; the time that it took. */
static uint64_t close_under_callers(const char *name, kw_client *kw, const char *command)
{
    waiter waiters[8];
    for (size_t i = 0; i < 8; i++) {
        waiters[i] = (waiter){.kw = kw, .command = command, .error = KW_ERROR_INIT};
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, wait_in_call, &waiters[i]), 0);
    }
    kw_test_await_calls(kw, 8);
    kw_test_sleep_ms(60 * KW_TEST_SLOWNESS);
    uint64_t start_ms = kw_test_now_ms();
    kw_close(kw);
    for (size_t i = 0; i < 8; i++) {
        kw_test_join(waiters[i].thread);
    }
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    for (size_t i = 0; i < 8; i++) {
        if (waiters[i].has_reply || waiters[i].error.code != KW_ERR_CANCELLED) {
            fail_msg("%s: %s: %s", name, kw_err_name(waiters[i].error.code), waiters[i].error.text);
        }
    }
    return elapsed_ms;
}

static void run_close_row(const close_row *row)
{
    uint64_t best_ms = UINT64_MAX;
    for (int k = 0; k < 5 && best_ms > CLOSE_MS; k++) {
        renew_fakes();
        for (size_t i = 0; i < 2; i++) {
            kw_fake_on(fakes[i], KW_FAKE_ALWAYS, row->pattern, row->steps);
        }
        int descriptors_n = kw_test_fd_count();
        kw_client *kw = open_at(row->scheme, kw_fake_address(fakes[0]), row->options);
        uint64_t elapsed_ms = close_under_callers(row->name, kw, row->command);
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

static void test_close_ends_every_call_at_once(void **state)
{
    (void)state;
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
        {"in a batch", "redis-cluster", "timeout=5s&stall-timeout=3s", "INCR *", STALL, NULL},
        {"in parts", "redis-cluster", "timeout=5s", "MGET *", STALL, "MGET foo bar"},
        {"looking a command up", "redis-cluster", "timeout=5s", "COMMAND *", STALL, "mod.x foo"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        run_close_row(&rows[i]);
    }
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
        cmocka_unit_test(test_close_ends_connects_that_are_swallowed),
        cmocka_unit_test(test_close_ends_calls_on_nodes_that_left_the_map),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

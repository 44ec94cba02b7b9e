/* SPDX-License-Identifier: BSD-3-Clause */
/* Many callers of sick nodes: how often maps are fetched and servers dialled, what the other
 * nodes' keys notice, and what becomes of calls at a node that loses its slot. */
#include "fake/fakes.h"

/* A thread that calls for a while. */
typedef struct user {
    pthread_t thread;
    kw_client *kw;
    const char *command;
    uint64_t until_ms;
    uint64_t slowest_ms;
    unsigned calls_n;
} user;

static void *use_handle(void *arg)
{
    user *self = arg;
    while (kw_test_now_ms() < self->until_ms) {
        uint64_t start_ms = kw_test_now_ms();
        kw_reply_free(kw_command(self->kw, NULL, self->command));
        uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
        self->slowest_ms = elapsed_ms > self->slowest_ms ? elapsed_ms : self->slowest_ms;
        self->calls_n++;
    }
    return NULL;
}

/* That many threads for so long; how long it took in the end. */
static uint64_t use_by_many(kw_client *kw, const char *command, size_t users_n, unsigned span_ms)
{
    user users[64];
    uint64_t start_ms = kw_test_now_ms();
    for (size_t i = 0; i < users_n; i++) {
        users[i] = (user){.kw = kw, .command = command, .until_ms = start_ms + span_ms};
        assert_int_equal(pthread_create(&users[i].thread, NULL, use_handle, &users[i]), 0);
    }
    for (size_t i = 0; i < users_n; i++) {
        kw_test_join(users[i].thread);
    }
    return kw_test_now_ms() - start_ms;
}

static void test_load_map_is_fetched_by_one_caller_at_a_time(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=700ms");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "INCR foo", "-MOVED %u %s", FOO_SLOT,
                         kw_fake_address(fakes[(i + 1) % 3]));
        kw_fake_log_clear(fakes[i]);
    }
    uint64_t elapsed_ms = use_by_many(kw, "INCR foo", 64, 500);
    assert_in_range(maps_asked(), 1, elapsed_ms / 100 + 2);
    kw_close(kw);
}

static void test_load_connects_to_a_refusing_server_are_few(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        renew_fakes();
        kw_fake_on_accept(fakes[0], KW_FAKE_ALWAYS, KW_FAKE_STEPS(KW_FAKE_RESET));
        char uri[200];
        snprintf(uri, sizeof(uri), "%s://%s?timeout=100ms", k == 0 ? "redis" : "redis-cluster",
                 kw_fake_address(fakes[0]));
        kw_client *kw = kw_test_try_open(uri, NULL);
        unsigned accepted_n = kw_fake_accepted(fakes[0]);
        uint64_t elapsed_ms = use_by_many(kw, "INCR bar", 16, 600);
        assert_in_range(kw_fake_accepted(fakes[0]) - accepted_n, 1, 20 * (elapsed_ms + 500) / 1000);
        kw_close(kw);
    }
}

/* The first four connections are served, all others turned away. */
static bool have_four_places(void *arg, kw_fake_call *call)
{
    unsigned first = *(const unsigned *)arg;
    if (strcmp(kw_fake_call_arg(call, 0, NULL), "HELLO") != 0 ||
        kw_fake_call_connection(call) <= first + 4) {
        return false;
    }
    kw_fake_call_replyf(call, "-ERR max number of clients reached\r\n");
    kw_fake_call_close(call);
    return true;
}

/* A server without places for more connections serves callers by those it has given. */
static void test_load_full_server_serves_by_the_places_it_gave(void **state)
{
    (void)state;
    renew_fakes();
    unsigned first = kw_fake_accepted(fakes[0]);
    kw_fake_respond(fakes[0], have_four_places, &first);
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "BLPOP *",
               KW_FAKE_STEPS(KW_FAKE_DELAY(4), KW_FAKE_SEND("*-1\r\n")));
    char uri[200];
    snprintf(uri, sizeof(uri), "%s?timeout=1s", kw_fake_uri(fakes[0]));
    kw_client *kw = kw_test_try_open(uri, NULL);
    uint64_t elapsed_ms = use_by_many(kw, "BLPOP bar 0.001", 16, 1200);
    kw_stats stats = {.size = sizeof(stats)};
    assert_int_equal(kw_client_stats(kw, &stats), KW_OK);
    assert_true(stats.commands > 100);
    assert_in_range(stats.failures, 0, stats.commands / 50); /* callers are not served in turn */
    assert_in_range(kw_fake_accepted(fakes[0]) - first, 5, 16 + 20 * (elapsed_ms + 500) / 1000);
    kw_close(kw);
}

/* Callers hang on a silent node; the others' keys notice nothing. */
static void test_load_sick_node_costs_only_its_own_keys(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=300ms&stall-timeout=50ms");
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "INCR *", KW_FAKE_STEPS(KW_FAKE_STALL));
    answer(fakes[0], "INCR bar", ":0");
    expect_number(kw, "INCR bar", 0);
    user hanging[8];
    for (size_t i = 0; i < 8; i++) {
        hanging[i] = (user){.kw = kw, .command = "INCR foo", .until_ms = kw_test_now_ms() + 600};
        assert_int_equal(pthread_create(&hanging[i].thread, NULL, use_handle, &hanging[i]), 0);
    }
    uint64_t best_ms = UINT64_MAX;
    unsigned calls_n = 0;
    for (int k = 0; k < 3; k++) {
        user self = {.kw = kw, .command = "INCR bar", .until_ms = kw_test_now_ms() + 200};
        use_handle(&self);
        best_ms = self.slowest_ms < best_ms ? self.slowest_ms : best_ms;
        calls_n += self.calls_n;
    }
    for (size_t i = 0; i < 8; i++) {
        kw_test_join(hanging[i].thread);
    }
    assert_in_range(best_ms, 0, 50 * KW_TEST_SLOWNESS);
    assert_true(calls_n > 50);
    kw_close(kw);
}

/* The owner changes under calls that wait: they are given a grace, then cut. */
static void test_load_owner_change_cuts_calls_on_the_old_one(void **state)
{
    (void)state;
    static const char *const commands[] = {"GET foo", "INCR foo"};
    for (size_t i = 0; i < 2; i++) {
        renew_fakes();
        kw_client *kw = open_cluster("timeout=4s&stall-timeout=50ms&grace=50ms");
        assert_int_equal(kw_connect(kw, NULL), KW_OK);
        kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "* foo", KW_FAKE_STEPS(KW_FAKE_STALL));
        own_all(fakes[2]);
        answer(fakes[2], "GET foo", ":2");
        answer(fakes[2], "INCR foo", ":2");
        kw_error error = KW_ERROR_INIT;
        uint64_t start_ms = kw_test_now_ms();
        kw_reply *reply = kw_command(kw, &error, commands[i]);
        assert_in_range(kw_test_now_ms() - start_ms, 90, 600 + LATE_MS);
        if (i == 0) {
            assert_int_equal(kw_reply_int(reply), 2); /* a read goes to the new one */
        } else {
            assert_null(reply);
            assert_int_equal(error.code, KW_ERR_CLOSED);
            assert_int_equal(error.effect, KW_EFFECT_MAYBE);
            assert_int_equal(kw_fake_count(fakes[2], "INCR foo"), 0);
        }
        kw_reply_free(reply);
        kw_close(kw);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_map_is_fetched_by_one_caller_at_a_time),
        cmocka_unit_test(test_load_connects_to_a_refusing_server_are_few),
        cmocka_unit_test(test_load_full_server_serves_by_the_places_it_gave),
        cmocka_unit_test(test_load_sick_node_costs_only_its_own_keys),
        cmocka_unit_test(test_load_owner_change_cuts_calls_on_the_old_one),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

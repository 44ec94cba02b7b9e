/* SPDX-License-Identifier: BSD-3-Clause */
/* An orderly end: nothing new is taken, everything that was begun comes to its end, within a limit
 * or without. */
#include "fake/loop_fakes.h"

#include "support/ways.h"

#include <keyway/cache.h>
#include <keyway/scan.h>
#include <keyway/subscriber.h>

static void open_patient(void)
{
    kw = kw_test_open("redis-cluster://%s?timeout=20s", kw_fake_address(fakes[0]));
    kw->topology->env.poller = is_on_poll ? kw_poller_poll() : NULL;
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
}

static void drain(uint64_t timeout_ms)
{
    kw_error error = KW_ERROR_INIT;
    if (kw_drain(kw, &error, timeout_ms) != KW_OK) {
        fail_msg("%s", error.text);
    }
}

/* Refused in every way, before anything is sent. */
static void expect_refusals(kw_batch *batch)
{
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_batch_add(batch, NULL, "INCR foo"), KW_ERR_DRAINING);
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_ERR_DRAINING);
    expect_error("batch", &error, KW_ERR_DRAINING, KW_EFFECT_NONE);
    kw_batch_free(batch);
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        if (way == KW_TEST_BATCH) {
            continue;
        }
        kw_test_end end = kw_test_send(kw, (kw_test_way)way, "INCR", "foo");
        assert_false(end.is_answered);
        expect_error(kw_test_way_name((kw_test_way)way), &end.error, KW_ERR_DRAINING,
                     KW_EFFECT_NONE);
    }
    assert_int_equal(received("INCR *"), 0);
}

static void test_drain_of_an_idle_handle_ends_at_once_and_takes_nothing_new(void **state)
{
    (void)state;
    open_patient();
    answer(fakes[1], "INCR *", ":1");
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_equal(kw_batch_add(batch, NULL, "INCR foo"), KW_OK);
    drain(0);
    expect_refusals(batch);
    drain(1); /* once more is nothing */
}

static void test_drain_calls_the_callbacks_that_are_left(void **state)
{
    (void)state;
    open_patient();
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "GET *",
               KW_FAKE_STEPS(KW_FAKE_DELAY(20), KW_FAKE_SEND(":1\r\n")));
    for (size_t i = 0; i < 20; i++) {
        give(i, "GET foo");
    }
    drain(20000);
    for (size_t i = 0; i < 20; i++) {
        is_number(i, 1);
    }
    assert_int_equal(kw_process(kw, NULL), KW_OK); /* still allowed, with nothing to do */
}

static kw_cache_loaded load(void *arg, kw_cache_load *self)
{
    (void)self;
    ++*(unsigned *)arg;
    return KW_CACHE_NONE;
}

/* Also what is made of commands, and what asks for the map: every entry that would send anything.
 */
static void test_drain_takes_nothing_new_by_any_entry(void **state)
{
    (void)state;
    open_patient();
    kw_scan *scan = kw_scan_open(kw, NULL, NULL);
    kw_cache *cache = kw_cache_open(kw, NULL, "ttl=5m");
    kw_cache_bytes key = kw_cache_text("foo");
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    unsigned loads_n = 0;
    char node[64];
    assert_non_null(scan);
    assert_non_null(cache);
    drain(0);
    size_t before_n = 0;
    for (size_t i = 0; i < FAKES_N; i++) {
        before_n += kw_fake_count(fakes[i], "*");
    }
    kw_scan_batch found = KW_SCAN_BATCH_INIT;
    assert_int_equal(kw_scan_next(scan, NULL, &found), KW_ERR_DRAINING);
    assert_null(kw_scan_open(kw, NULL, NULL));
    assert_int_equal(kw_cache_get(cache, NULL, &value, key), KW_ERR_DRAINING);
    assert_int_equal(kw_cache_fetch(cache, NULL, &value, key, (kw_cache_loader){load, &loads_n}),
                     KW_ERR_DRAINING);
    assert_int_equal(kw_cache_put(cache, NULL, key, kw_cache_text("1")), KW_ERR_DRAINING);
    assert_int_equal(kw_cache_forget(cache, NULL, key), KW_ERR_DRAINING);
    assert_null(kw_cache_open(kw, NULL, "ttl=5m"));
    assert_int_equal(kw_refresh(kw, NULL, 0), KW_ERR_DRAINING);
    assert_int_equal(kw_connect(kw, NULL), KW_ERR_DRAINING);
    assert_int_equal(kw_client_slot_node(kw, NULL, node, sizeof(node), 1), KW_ERR_DRAINING);
    assert_int_equal(kw_client_key_node(kw, NULL, node, sizeof(node), "a", 1), KW_ERR_DRAINING);
    assert_null(kw_session_open(kw, NULL, "foo", 3));
    assert_null(kw_subscriber_open(kw, NULL, NULL));
    for (size_t i = 0; i < FAKES_N; i++) {
        before_n -= kw_fake_count(fakes[i], "*");
    }
    assert_int_equal(before_n, 0);
    assert_int_equal(loads_n, 0);
    kw_cache_close(cache);
    kw_scan_close(scan);
}

/* Of a callback that gives a command: it is refused, as everybody's. */
typedef struct chain {
    kw_err code;
    unsigned calls_n;
} chain;

static void go_on(void *arg, kw_reply *reply, const kw_error *error)
{
    chain *self = arg;
    (void)error;
    kw_reply_free(reply);
    self->calls_n++;
    self->code = kw_command_async(kw, NULL, (kw_callback){go_on, self}, "GET foo");
}

static void test_drain_ends_a_chain_of_callbacks(void **state)
{
    (void)state;
    open_patient();
    answer(fakes[1], "GET *", ":1");
    chain self = {KW_OK, 0};
    assert_int_equal(kw_command_async(kw, NULL, (kw_callback){go_on, &self}, "GET foo"), KW_OK);
    drain(0);
    assert_int_equal(self.calls_n, 1);
    assert_int_equal(self.code, KW_ERR_DRAINING);
}

/* Also those that nobody waits for. */
static void test_drain_waits_for_tickets(void **state)
{
    (void)state;
    open_patient();
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "INCR *",
               KW_FAKE_STEPS(KW_FAKE_DELAY(20), KW_FAKE_SEND(":7\r\n")));
    kw_ticket *kept = kw_submit(kw, NULL, "INCR foo");
    for (int i = 0; i < 10; i++) {
        kw_ticket_free(kw_submit(kw, NULL, "INCR foo"));
    }
    drain(20000);
    assert_int_equal(kw_fake_count(fakes[1], "INCR foo"), 11);
    assert_true(kw_ticket_wait(kept, 0));
    kw_reply *reply = kw_ticket_await(kept, NULL);
    assert_int_equal(kw_reply_int(reply), 7);
    kw_reply_free(reply);
    kw_ticket_free(kept);
}

typedef struct caller {
    pthread_t thread;
    kw_error error;
    long long number;
} caller;

static void *call(void *arg)
{
    caller *self = arg;
    kw_reply *reply = kw_command(kw, &self->error, "INCR foo");
    self->number = reply != NULL ? kw_reply_int(reply) : -1;
    kw_reply_free(reply);
    return NULL;
}

static void test_drain_waits_for_calls_of_other_threads(void **state)
{
    (void)state;
    open_patient();
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "INCR *",
               KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_SEND(":5\r\n")));
    caller self = {.error = KW_ERROR_INIT};
    assert_int_equal(pthread_create(&self.thread, NULL, call, &self), 0);
    KW_TEST_AWAIT(kw_fake_at_gates(fakes[1]) == 1);
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_drain(kw, &error, 30), KW_ERR_TIMEOUT);
    expect_error("late", &error, KW_ERR_TIMEOUT, KW_EFFECT_NONE);
    assert_non_null(strstr(error.text, "1 calls"));
    kw_fake_pass(fakes[1]);
    drain(20000);
    kw_test_join(self.thread);
    assert_int_equal(self.number, 5);
}

/* The transaction comes to its end; no other begins. */
static void test_drain_waits_for_sessions(void **state)
{
    (void)state;
    open_patient();
    answer(fakes[1], "MULTI", "+OK");
    answer(fakes[1], "INCR *", "+QUEUED");
    answer(fakes[1], "EXEC", "*1\r\n:1");
    kw_session *session = kw_session_open(kw, NULL, "foo", 3);
    kw_reply_free(kw_session_command(session, NULL, "MULTI"));
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_drain(kw, &error, 10), KW_ERR_TIMEOUT);
    kw_reply_free(kw_session_command(session, NULL, "INCR foo"));
    kw_reply *reply = kw_session_command(session, &error, "EXEC");
    assert_int_equal(kw_reply_count(reply), 1);
    kw_reply_free(reply);
    kw_session_close(session);
    drain(0);
}

/* A poll that is over at once, though the clock goes on as if it had taken its time. */
static struct {
    kw_transport transport;
    const kw_transport *below;
    uint64_t now_ns;
    uint64_t waited_ms;
} patience;

static uint64_t tell_time(void *arg)
{
    (void)arg;
    return patience.now_ns;
}

static int poll_at_once(void *arg, struct pollfd *sockets, size_t sockets_n, int wait_ms)
{
    int ready = patience.below->poll_fn(arg, sockets, sockets_n, 0);
    patience.waited_ms += ready == 0 ? (uint64_t)wait_ms : 0;
    patience.now_ns += ready == 0 ? (uint64_t)wait_ms * 1000000 : 100000;
    return ready;
}

static void test_drain_waits_no_longer_than_its_deadline(void **state)
{
    (void)state;
    open_patient();
    kw_session *session = kw_session_open(kw, NULL, "foo", 3);
    assert_non_null(session);
    assert_true(kw_fd(kw, NULL) >= 0); /* a loop to wait for */
    kw_env *env = &kw->topology->env;
    const kw_clock clock = env->clock;
    patience.below = env->transport;
    patience.transport = *env->transport;
    patience.transport.poll_fn = poll_at_once;
    patience.now_ns = kw_clock_now(&clock);
    patience.waited_ms = 0;
    env->transport = &patience.transport;
    env->clock = (kw_clock){tell_time, NULL};
    assert_int_equal(kw_drain(kw, NULL, 3), KW_ERR_TIMEOUT);
    assert_int_equal(patience.waited_ms, 3);
    env->transport = patience.below;
    env->clock = clock;
    kw_session_close(session);
    drain(0);
}

static void drain_inside(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)error;
    kw_reply_free(reply);
    *(kw_err *)arg = kw_drain(kw, NULL, 10);
}

static void test_drain_in_a_callback_is_refused(void **state)
{
    (void)state;
    open_patient();
    answer(fakes[1], "GET *", ":1");
    kw_err code = KW_OK;
    assert_int_equal(kw_command_async(kw, NULL, (kw_callback){drain_inside, &code}, "GET foo"),
                     KW_OK);
    KW_TEST_UNTIL(code != KW_OK)
    {
        kw_test_turn(kw, 10);
    }
    assert_int_equal(code, KW_ERR_REFUSED);
}

static void close_inside(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)error;
    kw_reply_free(reply);
    kw_close(arg);
}

/* The handle is gone when the drain returns. */
static void test_drain_whose_callback_closes_the_handle_says_so(void **state)
{
    (void)state;
    open_patient();
    answer(fakes[1], "GET *", ":1");
    assert_int_equal(kw_command_async(kw, NULL, (kw_callback){close_inside, kw}, "GET foo"), KW_OK);
    assert_int_equal(kw_drain(kw, NULL, 0), KW_ERR_CANCELLED);
    kw = NULL;
}

static void test_drain_of_nothing_is_refused(void **state)
{
    (void)state;
    assert_int_equal(kw_drain(NULL, NULL, 0), KW_ERR_ARGUMENT);
}

#define ON_BOTH(test)                                                                              \
    cmocka_unit_test_setup_teardown(test, begin, end),                                             \
        cmocka_unit_test_setup_teardown(test, begin_on_poll, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_drain_of_an_idle_handle_ends_at_once_and_takes_nothing_new),
        ON_BOTH(test_drain_takes_nothing_new_by_any_entry),
        ON_BOTH(test_drain_calls_the_callbacks_that_are_left),
        ON_BOTH(test_drain_ends_a_chain_of_callbacks),
        ON_BOTH(test_drain_waits_for_tickets),
        ON_BOTH(test_drain_waits_for_calls_of_other_threads),
        ON_BOTH(test_drain_waits_for_sessions),
        ON_BOTH(test_drain_waits_no_longer_than_its_deadline),
        ON_BOTH(test_drain_in_a_callback_is_refused),
        ON_BOTH(test_drain_whose_callback_closes_the_handle_says_so),
        ON_BOTH(test_drain_of_nothing_is_refused),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A turn of an event loop is bounded, whatever is under way: by a clock that only sends push on, so
 * that no machine is too slow for it. */
#include "fake/fakes.h"
#include "support/turn.h"

#include "api/client.h"

#define MUCH_N 60000u

/* What a turn may take, and the sends with which its last piece of work may be late. */
#define TURN_MS  6
#define LATE_N   4
#define SEND_NS  1000000u
#define TURN_MAX ((TURN_MS + LATE_N) * (uint64_t)SEND_NS)

/* What a socket takes at a time; then "GET foo", of 22 bytes, leaves in five parts. */
#define LITTLE    ((size_t)5)
#define GET_PARTS 5

static struct {
    kw_transport transport;
    const kw_transport *below;
    uint64_t now_ns;
    size_t sent_n[FAKES_N]; /* by each node, in the order of their first sends */
    int sockets[FAKES_N];
} sends;

static uint64_t tell_time(void *arg)
{
    (void)arg;
    return sends.now_ns;
}

/* Takes all, gives it to nobody, and a millisecond has passed. */
static ssize_t swallow(void *arg, int socket, const char *data, size_t len)
{
    (void)arg;
    (void)data;
    sends.now_ns += SEND_NS;
    size_t at = 0;
    while (at < FAKES_N - 1 && sends.sockets[at] != socket && sends.sockets[at] >= 0) {
        at++;
    }
    sends.sockets[at] = socket;
    sends.sent_n[at]++;
    return (ssize_t)len;
}

static void on_end(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)error;
    assert_null(reply);
    ++*(size_t *)arg;
}

static void connect_to(kw_client *kw, const char *key)
{
    kw_test_answer answer = {0};
    kw_callback callback = {kw_test_on_reply, &answer};
    assert_int_equal(kw_command_async(kw, NULL, callback, "GET %s", key), KW_OK);
    assert_true(kw_test_turns(kw, &answer, 1, 20000));
    assert_non_null(answer.reply);
    kw_test_answer_clear(&answer);
}

static void note_sends(kw_client *kw)
{
    kw_env *env = &kw->topology->env;
    sends.now_ns = kw_env_now(env);
    sends.below = env->transport;
    sends.transport = *env->transport;
    sends.transport.send_fn = swallow;
    for (size_t i = 0; i < FAKES_N; i++) {
        sends.sockets[i] = -1;
        sends.sent_n[i] = 0;
    }
    env->transport = &sends.transport;
    env->clock = (kw_clock){tell_time, NULL};
}

/* Very much waits to be sent: each turn sends as much as it has time for, to each node in its turn,
 * and leaves the rest to the next. */
static void test_turn_ends_in_its_time_however_much_is_to_be_sent(void **state)
{
    (void)state;
    static const char *const keys[] = {"foo", "bar"}; /* each node's one */
    size_t ended_n = 0;
    renew_fakes();
    kw_client *kw = kw_test_open("redis-cluster://%s?timeout=60s", kw_fake_address(fakes[0]));
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "GET *", "$1\r\nv");
        connect_to(kw, keys[i]);
    }
    note_sends(kw);
    for (size_t i = 0; i < MUCH_N; i++) {
        kw_callback callback = {on_end, &ended_n};
        assert_int_equal(kw_command_async(kw, NULL, callback, "GET %s", keys[i % 2]), KW_OK);
    }
    size_t turns_n = 0;
    for (uint64_t before_ns = 0; before_ns != sends.now_ns; turns_n++) {
        before_ns = sends.now_ns;
        assert_int_equal(kw_process(kw, NULL), KW_OK);
        assert_true(sends.now_ns - before_ns <= TURN_MAX);
    }
    assert_true(turns_n > 2);
    assert_int_equal(sends.sent_n[0], sends.sent_n[1]);
    kw->topology->env.transport = sends.below;
    kw_close(kw);
    assert_int_equal(ended_n, MUCH_N);
}

/* Takes a little, as a system does whose buffer is full but for that. */
static ssize_t take_little(void *arg, int socket, const char *data, size_t len)
{
    (void)arg;
    sends.sent_n[0]++;
    return sends.below->send_fn(sends.below->arg, socket, data, len < LITTLE ? len : LITTLE);
}

/* A socket that took a part takes the next one when it says so: it is not asked at once. */
static void test_turn_does_not_ask_again_a_socket_that_took_a_part(void **state)
{
    (void)state;
    kw_test_answer answer = {0};
    kw_callback callback = {kw_test_on_reply, &answer};
    renew_fakes();
    kw_client *kw = kw_test_open("redis-cluster://%s?timeout=60s", kw_fake_address(fakes[0]));
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "GET *", "$1\r\nv");
    connect_to(kw, "foo");
    kw_env *env = &kw->topology->env;
    sends.below = env->transport;
    sends.transport = *env->transport;
    sends.transport.send_fn = take_little;
    sends.sent_n[0] = 0;
    env->transport = &sends.transport;
    assert_int_equal(kw_command_async(kw, NULL, callback, "GET foo"), KW_OK);
    size_t before_n = 0;
    KW_TEST_UNTIL(answer.calls_n > 0)
    {
        kw_test_turn(kw, 100);
        assert_true(sends.sent_n[0] <= before_n + 1);
        before_n = sends.sent_n[0];
    }
    assert_int_equal(before_n, GET_PARTS);
    env->transport = sends.below;
    kw_test_answer_clear(&answer);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turn_does_not_ask_again_a_socket_that_took_a_part),
        cmocka_unit_test(test_turn_ends_in_its_time_however_much_is_to_be_sent),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A lane, one step after the other: each test stops a thread in the middle of a call of the
 * transport, does what must not go wrong just then, and lets it go on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/client.h"
#include "topology/node_registry.h"
#include "fake/lane_acts.h"
#include "support/ask.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

static uint64_t stand_still(void *arg)
{
    (void)arg;
    return 1000000000u;
}

/* Whether so many commands of a lone caller cost a send and a recv each, and nothing else. */
static bool is_cheap(kw_client *kw, unsigned commands_n)
{
    unsigned long counts[KW_TEST_SYSCALLS_N];
    bool result = true;
    for (size_t i = 0; i < KW_TEST_SYSCALLS_N; i++) {
        counts[i] = kw_test_strain_count(&stage.strain, (kw_test_syscall)i);
    }
    for (unsigned i = 0; i < commands_n; i++) {
        kw_reply_free(kw_test_ask(kw, "ECHO %u", i));
    }
    for (size_t i = 0; i < KW_TEST_SYSCALLS_N; i++) {
        bool is_once = i == KW_TEST_SEND || i == KW_TEST_RECV;
        unsigned long n = kw_test_strain_count(&stage.strain, (kw_test_syscall)i) - counts[i];
        result = result && n == (is_once ? commands_n : 0);
    }
    return result;
}

/* A lone caller: one send, one recv, no poll, no sleep; but where this machine keeps an answer back
 * for so long that the recv ends without it. The clock stands, so that no pause of this machine is
 * taken for a connection that was idle. */
static void test_lane_lone_caller_costs_two_system_calls(void **state)
{
    enum { ROUNDS = 20, COMMANDS = 25 };
    (void)state;
    kw_client *kw = kw_test_open("%s?share-above=0", kw_fake_uri(stage.fake));
    kw->topology->env.transport = &stage.strain.transport;
    kw->topology->env.clock.now_fn = stand_still;
    kw_reply_free(kw_test_ask(kw, "ECHO warm"));
    unsigned cheap_n = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        cheap_n += is_cheap(kw, COMMANDS) ? 1 : 0;
    }
    assert_in_range(cheap_n, ROUNDS * 3 / 4, ROUNDS);
    kw_node *node = kw_topology_node(kw->topology, &kw->topology->env.options.seeds[0]);
    assert_true(node->lane.sends_n >= ROUNDS * COMMANDS);
    assert_int_equal(node->lane.roles.sleeps_n, 0);
    kw_node_unref(node);
    kw_close(kw);
}

/* Who may write does so before anything else. */
static void test_lane_open_gate_sends_at_once(void **state)
{
    (void)state;
    expect_right(1);
    for (size_t crowd_n = 0; crowd_n < 10; crowd_n += 5) {
        stage.lane->batching.crowd_n = crowd_n; /* as if so many had just been answered */
        unsigned long before_n = sends_n();
        kw_test_rider *rider = kw_test_rider_new(2);
        uint64_t now_ns = kw_test_now_ns();
        uint64_t until_ns = now_ns + 60 * (uint64_t)1000000000;
        assert_int_equal(
            kw_lane_submit(stage.lane, &rider->failure, &rider->waiter, now_ns, until_ns), KW_OK);
        assert_int_equal(sends_n(), before_n + 1);
        assert_int_equal(kw_lane_wait(stage.lane, &rider->waiter, &now_ns, until_ns), KW_OK);
        assert_true(kw_test_rider_is_right(rider));
        kw_test_rider_free(rider);
    }
}

/* No reply counts as overdue, however slow this machine is: the lane takes more commands. */
static void have_patience(void)
{
    kw_monitor_lock(&stage.lane->monitor);
    stage.lane->stream.mark_n = UINT64_MAX;
    stage.lane->stream.mark_ns = kw_test_now_ns() + LONG_MS * KW_NS_PER_MS;
    kw_monitor_unlock(&stage.lane->monitor);
}

/* A command is on its way, and whoever reads for it is held up; others come meanwhile. */
enum { OTHERS = 10 };
typedef struct meeting {
    actor first;
    actor others[OTHERS];
    hold recv_hold;
} meeting;

static void begin_meeting(meeting *it)
{
    expect_right(1);
    hold_next(&it->recv_hold, KW_TEST_RECV, true, 0);
    actor_start(&it->first, 2, LONG_MS);
    WAIT_FOR(atomic_load(&it->recv_hold.is_held));
    have_patience();
}

static void end_meeting(meeting *it)
{
    atomic_store(&it->recv_hold.is_released, true);
    for (unsigned i = 0; i < OTHERS; i++) {
        WAIT_FOR(atomic_load(&it->others[i].is_over));
        assert_true(kw_test_rider_is_right(it->others[i].rider));
        actor_end(&it->others[i]);
    }
    actor_end(&it->first);
}

/* Commands that come while a batch is unanswered leave in one send. */
static void test_lane_closed_gate_makes_one_batch(void **state)
{
    (void)state;
    meeting it;
    begin_meeting(&it);
    kw_monitor_lock(&stage.lane->monitor);
    assert_true(kw_combining_batches(&stage.lane->combining));
    stage.lane->batching.trip_ns = 3600 * (uint64_t)1000000000; /* no time opens the gate */
    kw_monitor_unlock(&stage.lane->monitor);
    unsigned long before_n = sends_n();
    for (unsigned i = 0; i < OTHERS; i++) {
        actor_start(&it.others[i], 10 + i, LONG_MS);
    }
    WAIT_FOR(queue_n() == OTHERS && sleeps_n() >= OTHERS);
    assert_int_equal(sends_n(), before_n);
    end_meeting(&it);
    assert_int_equal(sends_n(), before_n + 1);
}

/* Where callers do not combine, none waits for the answer to another's command. */
static void test_lane_that_does_not_combine_sends_each_at_once(void **state)
{
    (void)state;
    meeting it;
    begin_meeting(&it);
    kw_monitor_lock(&stage.lane->monitor);
    stage.lane->combining.way = KW_COMBINING_NONE;
    kw_monitor_unlock(&stage.lane->monitor);
    unsigned long before_n = sends_n();
    for (unsigned i = 0; i < OTHERS; i++) {
        actor_start(&it.others[i], 10 + i, LONG_MS);
        WAIT_FOR(sends_n() == before_n + i + 1);
    }
    end_meeting(&it);
}

/* The writer has sent its bytes, and does not know yet; its reply is there, its reader gone.
 * Who comes now waits for the writer's next look. */
static void test_lane_writer_that_leaves_looks_for_what_came(void **state)
{
    (void)state;
    actor reader, writer, late;
    hold send_hold;
    kw_fake_on(stage.fake, 1, "ECHO n:000002", KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_SEND("+a\r\n")));
    expect_right(1);
    actor_start(&reader, 2, LONG_MS);
    WAIT_FOR(kw_fake_count(stage.fake, "ECHO n:000002") == 1);
    WAIT_FOR(is_read_alone()); /* it has no part in the send that is held up */
    open_gate();
    hold_next(&send_hold, KW_TEST_SEND, true, 0);
    actor_start(&writer, 3, LONG_MS);
    WAIT_FOR(atomic_load(&send_hold.is_held));
    kw_fake_pass(stage.fake);
    WAIT_FOR(atomic_load(&reader.is_over));
    /* Nobody reads now: the late one does, and the writer's reply comes to it. */
    actor_start(&late, 4, LONG_MS);
    WAIT_FOR(queue_n() == 1);
    WAIT_FOR(owners_n() == 0);
    unsigned long before_n = sends_n();
    atomic_store(&send_hold.is_released, true);
    hold second;
    hold_next(&second, KW_TEST_SEND, false, 0);
    WAIT_FOR(atomic_load(&second.is_held));
    assert_true(pthread_equal(second.thread, writer.thread));
    assert_int_equal(sends_n(), before_n + 1);
    atomic_store(&second.is_released, true);
    WAIT_FOR(atomic_load(&late.is_over));
    assert_true(kw_test_rider_is_right(late.rider));
    actor_end(&reader);
    actor_end(&writer);
    actor_end(&late);
}

/* The command of a caller that answers nothing, and who is its reader. */
static void start_silent_reader(actor *reader)
{
    expect_right(1);
    atomic_store(&stage.is_mute, true);
    actor_start(reader, 100, LONG_MS);
    WAIT_FOR(kw_fake_count(stage.fake, "ECHO n:000100") == 1);
    WAIT_FOR(is_read_alone()); /* else it sends what comes meanwhile as well */
    have_patience();
    open_gate();
}

/* A writer leaves bytes behind while another thread reads: who sleeps goes on with them. */
static void test_lane_rest_of_a_writer_that_left_is_sent(void **state)
{
    (void)state;
    actor reader, writer, sleeper;
    start_silent_reader(&reader);
    atomic_store(&stage.strain.room, 10);
    actor_start(&writer, 2, 300);
    WAIT_FOR(atomic_load(&stage.strain.room) == 0);
    uint64_t slept_n = sleeps_n();
    actor_start(&sleeper, 3, LONG_MS);
    WAIT_FOR(sleeps_n() > slept_n);
    WAIT_FOR(atomic_load(&writer.is_over));
    assert_int_equal(writer.code, KW_ERR_TIMEOUT);
    atomic_store(&stage.strain.room, SIZE_MAX);
    WAIT_FOR(kw_fake_count(stage.fake, "ECHO n:000002") == 1);
    actor_lose(&reader);
    WAIT_FOR(atomic_load(&sleeper.is_over));
    actor_end(&sleeper);
    actor_end(&writer);
}

static void renew_once(void *arg, kw_test_syscall what, bool is_after)
{
    atomic_bool *is_done = arg;
    if (what == KW_TEST_OPEN && is_after && !atomic_exchange(is_done, true)) {
        kw_node_renew(stage.node);
    }
}

/* What the server is changes while a connection to it is being opened. */
static void test_lane_connection_from_before_a_renewal_is_not_used(void **state)
{
    (void)state;
    atomic_bool is_done;
    atomic_init(&is_done, false);
    atomic_store(&stage.strain.hook_arg, &is_done);
    atomic_store(&stage.strain.hook, renew_once);
    kw_test_rider *rider = kw_test_rider_new(1);
    rider->waiter.is_early = true;
    assert_int_equal(kw_test_rider_run(&stage, rider, LONG_MS), KW_OK);
    assert_true(kw_test_rider_is_right(rider));
    kw_test_rider_free(rider);
    assert_int_equal(kw_fake_count(stage.fake, "ECHO *"), 1);
    assert_int_equal(kw_fake_accepted(stage.fake), 2);
}

/* A connection that the lane has not used for long goes back to the pool as one that rested all the
 * time: whoever takes it looks at it first. */
static void test_lane_rest_is_no_use_of_the_connection(void **state)
{
    (void)state;
    expect_right(1);
    uint64_t heard_ns = stage.lane->stream.heard_ns;
    uint64_t swept_ns = heard_ns + 10000 * KW_NS_PER_MS;
    kw_lane_sweep(stage.lane, swept_ns, 1000 * KW_NS_PER_MS);
    assert_null(stage.lane->stream.conn);
    assert_non_null(stage.node->idle);
    assert_int_equal(stage.node->idle->idle_since_ns, heard_ns);
    assert_false(kw_conn_is_fresh(stage.node->idle, swept_ns));
}

/* Callers wait for a short time each, one after the other, and all in vain: what each has heard
 * counts together, and the connection ends as one that says nothing. The pauses between them do
 * not: nobody has listened then. A caller who comes late may find it so at once, and waits on the
 * next one. */
static void test_lane_short_waits_find_the_silence_together(void **state)
{
    enum { CALLERS = 60, WAIT_MS = 45 };
    (void)state;
    expect_right(1);
    unsigned before_n = kw_fake_accepted(stage.fake);
    atomic_store(&stage.is_mute, true);
    unsigned n = 0;
    while (n < CALLERS && stage.lane->stream.conn != NULL) {
        kw_test_rider *rider = kw_test_rider_new(2 + n++);
        assert_int_equal(kw_test_rider_run(&stage, rider, WAIT_MS), KW_ERR_TIMEOUT);
        kw_test_rider_free(rider);
        kw_test_sleep_ms(2);
    }
    assert_null(stage.lane->stream.conn);
    unsigned silent_n = 1 + kw_fake_accepted(stage.fake) - before_n;
    assert_in_range(n, 1, silent_n * (2 + KW_LANE_LATE_NS / KW_NS_PER_MS / WAIT_MS));
    atomic_store(&stage.is_mute, false);
    expect_right(1);
}

/* Nobody waits any more for a connection that is being opened: the next caller goes on with it,
 * and meanwhile it does not count as the lane's. */
static void test_lane_half_open_connection_is_left_to_the_pool(void **state)
{
    (void)state;
    kw_fake_on(stage.fake, KW_FAKE_ALWAYS, "CLIENT SETINFO LIB-NAME *",
               KW_FAKE_STEPS(KW_FAKE_DELAY(200), KW_FAKE_SEND("+OK\r\n")));
    kw_test_rider *rider = kw_test_rider_new(1);
    assert_int_equal(kw_test_rider_run(&stage, rider, 30), KW_ERR_TIMEOUT);
    assert_false(rider->waiter.has_left);
    kw_test_rider_free(rider);
    assert_null(stage.lane->stream.conn);
    assert_non_null(stage.node->idle);
    assert_int_equal(stage.node->shared_n, 0);
    assert_int_equal(stage.node->health.dialling_n, 1);
    assert_null(kw_test_stage_find_leftover(&stage));
    expect_right(2);
    assert_int_equal(kw_fake_accepted(stage.fake), 1);
    assert_int_equal(stage.node->health.dialling_n, 0);
}

/* An early command is given up; the greeting is over all the same. */
static void test_lane_greeting_does_not_wait_for_a_tombstone(void **state)
{
    (void)state;
    actor second;
    kw_fake_on(stage.fake, KW_FAKE_ALWAYS, "CLIENT SETINFO LIB-NAME *",
               KW_FAKE_STEPS(KW_FAKE_DELAY(100), KW_FAKE_SEND("+OK\r\n")));
    atomic_store(&stage.is_mute, true);
    kw_test_rider *rider = kw_test_rider_new(1);
    rider->waiter.is_early = true;
    assert_int_equal(kw_test_rider_run(&stage, rider, 30), KW_ERR_TIMEOUT);
    assert_true(rider->waiter.has_left);
    kw_test_rider_free(rider);
    actor_start(&second, 2, LONG_MS);
    WAIT_FOR(kw_fake_count(stage.fake, "ECHO n:000002") == 1);
    assert_int_equal(locked(&stage.lane->stream.tombstones_n), 1);
    actor_lose(&second);
}

/* A reply in the bytes of the greeting, and one more that nothing asked for. */
static void test_lane_doubtful_reply_of_an_early_command_is_dropped(void **state)
{
    (void)state;
    kw_fake_on(stage.fake, KW_FAKE_ALWAYS, "CLIENT SETINFO LIB-VER *",
               KW_FAKE_STEPS(KW_FAKE_DELAY(1)));
    kw_fake_on(stage.fake, KW_FAKE_ALWAYS, "ECHO n:000001",
               KW_FAKE_STEPS(KW_FAKE_SEND("+OK\r\n$8\r\nn:000001\r\n+more\r\n")));
    kw_test_rider *rider = kw_test_rider_new(1);
    rider->waiter.is_early = true;
    assert_int_equal(kw_test_rider_run(&stage, rider, LONG_MS), KW_OK);
    assert_int_equal(rider->waiter.state, KW_LANE_WAITER_BROKEN);
    assert_int_equal(rider->waiter.code, KW_ERR_DESYNC);
    assert_true(rider->waiter.has_left);
    assert_null(rider->waiter.request.reply);
    kw_test_rider_free(rider);
}

/* The server answers a command of which it has a half: the rest of that must not be taken for
 * a part of the next one. */
static void test_lane_answer_to_half_a_command_ends_the_connection(void **state)
{
    (void)state;
    actor first;
    expect_right(1);
    atomic_store(&stage.strain.room, 10);
    actor_start(&first, 2, LONG_MS);
    WAIT_FOR(atomic_load(&stage.strain.room) == 0);
    kw_test_sleep_ms(5);
    kw_fake_push(stage.fake, "+early\r\n", 8);
    WAIT_FOR(atomic_load(&first.is_over));
    assert_int_equal(first.rider->waiter.state, KW_LANE_WAITER_ANSWERED);
    actor_end(&first);
    atomic_store(&stage.strain.room, SIZE_MAX);
    assert_null(stage.lane->stream.conn);
    expect_right(3);
    assert_int_equal(kw_fake_accepted(stage.fake), 2);
}

/* An early answer, read by another thread while the writer is inside of send. */
static void test_lane_writer_sees_that_it_was_answered_early(void **state)
{
    (void)state;
    actor reader, writer;
    hold send_hold;
    start_silent_reader(&reader);
    atomic_store(&stage.strain.room, 10);
    hold_next(&send_hold, KW_TEST_SEND, true, 0); /* has sent ten bytes */
    actor_start(&writer, 2, LONG_MS);
    WAIT_FOR(atomic_load(&send_hold.is_held));
    kw_fake_push(stage.fake, "+one\r\n+early\r\n", 14);
    WAIT_FOR(atomic_load(&reader.is_over));
    atomic_store(&stage.is_mute, false);
    atomic_store(&send_hold.is_released, true);
    WAIT_FOR(atomic_load(&writer.is_over));
    assert_int_equal(writer.rider->waiter.state, KW_LANE_WAITER_ANSWERED);
    actor_end(&reader);
    actor_end(&writer);
    assert_null(stage.lane->stream.conn);
    atomic_store(&stage.strain.room, SIZE_MAX);
    expect_right(3);
}

/* Nothing of the command has left: no reply is its own. */
static void test_lane_answer_to_an_unsent_command_is_dropped(void **state)
{
    (void)state;
    actor first;
    expect_right(1);
    atomic_store(&stage.strain.room, 0);
    actor_start(&first, 2, LONG_MS);
    WAIT_FOR(owners_n() == 1);
    kw_test_sleep_ms(20);
    kw_fake_push(stage.fake, "+wrong\r\n", 8);
    WAIT_FOR(atomic_load(&first.is_over));
    assert_int_equal(first.rider->waiter.state, KW_LANE_WAITER_BROKEN);
    assert_false(first.rider->waiter.has_left);
    assert_null(first.rider->waiter.request.reply);
    actor_end(&first);
}

/* Bytes that the lane has not yet read. */
static size_t arrived_n(void)
{
    int n = 0;
    assert_int_equal(ioctl(stage.lane->stream.conn->socket, FIONREAD, &n), 0);
    return (size_t)n;
}

/* An unasked reply behind those whose callers have left, which fill more than one recv: they are
 * all read before anything is sent. */
static void test_lane_unasked_reply_behind_many_tombstones_is_noticed(void **state)
{
    enum { TOMBSTONES = 10, LARGE = 6000 };
    static char large[LARGE + 32];
    static char value[LARGE];
    (void)state;
    memset(value, 'x', LARGE);
    size_t len = kw_fake_bulk(large, value, LARGE);
    const kw_fake_step late[] = {KW_FAKE_GATE, KW_FAKE_BYTES(large, len), KW_FAKE_END};
    kw_fake_on(stage.fake, KW_FAKE_ALWAYS, "ECHO n:0001*", late);
    expect_right(1);
    /* Where this machine stood still for long a connection may have been replaced. */
    for (unsigned i = 0; locked(&stage.lane->stream.tombstones_n) < TOMBSTONES; i++) {
        assert_in_range(i, 0, 99);
        open_gate();
        kw_test_rider *rider = kw_test_rider_new(100 + i);
        assert_int_equal(kw_test_rider_run(&stage, rider, 5), KW_ERR_TIMEOUT);
        kw_test_rider_free(rider);
    }
    kw_fake_await_open(stage.fake, 1);
    unsigned accepted_n = kw_fake_accepted(stage.fake);
    for (size_t i = 0; i < TOMBSTONES; i++) {
        kw_fake_pass(stage.fake);
    }
    KW_TEST_AWAIT(arrived_n() == TOMBSTONES * len)
    kw_fake_push(stage.fake, "+wrong\r\n", 8);
    KW_TEST_AWAIT(arrived_n() == TOMBSTONES * len + 8)
    expect_right(2);
    expect_right(3);
    assert_int_equal(kw_fake_accepted(stage.fake), accepted_n + 1);
}

static void *ask_client(void *arg)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(stage.client, &error, "APPEND k %s", (const char *)arg);
    bool is_right = kw_reply_int(reply) == 1;
    kw_reply_free(reply);
    return is_right ? arg : NULL;
}

/* A dial has failed, and a caller waits for the lane's connection: it is one that was open already,
 * on which the command leaves. Its answer takes longer than a dial of a failing node is given. */
static void test_lane_of_a_failing_node_waits_for_what_has_left(void **state)
{
    (void)state;
    hold look;
    pthread_t first;
    pthread_t second;
    void *is_right = NULL;
    kw_fake_on_reply(stage.fake, 1, "APPEND *", ":1");
    kw_fake_on(stage.fake, KW_FAKE_ALWAYS, "APPEND *",
               KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_SEND(":1\r\n")));
    assert_non_null(ask_client("a"));
    kw_node *node = kw_snapshot_owner(stage.client->topology->snapshot, 0);
    kw_lane *own = stage.lane;
    stage.lane = &node->lane;
    atomic_store(&node->is_crowded, true);
    kw_monitor_lock(&node->monitor);
    node->health.is_failing = true;
    node->idle->idle_since_ns -= 1000 * KW_NS_PER_MS; /* who takes it looks at it */
    kw_monitor_unlock(&node->monitor);
    hold_next(&look, KW_TEST_RECV, false, 0);
    assert_int_equal(pthread_create(&first, NULL, ask_client, "b"), 0);
    WAIT_FOR(atomic_load(&look.is_held));
    assert_int_equal(pthread_create(&second, NULL, ask_client, "c"), 0);
    WAIT_FOR(queue_n() == 2);
    atomic_store(&look.is_released, true);
    WAIT_FOR(owners_n() == 2);
    kw_test_sleep_ms(200);
    kw_fake_pass(stage.fake);
    kw_fake_pass(stage.fake);
    assert_int_equal(pthread_join(first, &is_right), 0);
    assert_non_null(is_right);
    assert_int_equal(pthread_join(second, &is_right), 0);
    assert_non_null(is_right);
    stage.lane = own;
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE(test_lane_lone_caller_costs_two_system_calls),
        SCENE(test_lane_open_gate_sends_at_once),
        SCENE(test_lane_closed_gate_makes_one_batch),
        SCENE(test_lane_that_does_not_combine_sends_each_at_once),
        SCENE(test_lane_writer_that_leaves_looks_for_what_came),
        SCENE(test_lane_rest_of_a_writer_that_left_is_sent),
        SCENE(test_lane_connection_from_before_a_renewal_is_not_used),
        SCENE(test_lane_rest_is_no_use_of_the_connection),
        SCENE(test_lane_short_waits_find_the_silence_together),
        SCENE(test_lane_half_open_connection_is_left_to_the_pool),
        SCENE(test_lane_of_a_failing_node_waits_for_what_has_left),
        SCENE(test_lane_greeting_does_not_wait_for_a_tombstone),
        SCENE(test_lane_doubtful_reply_of_an_early_command_is_dropped),
        SCENE(test_lane_answer_to_half_a_command_ends_the_connection),
        SCENE(test_lane_writer_sees_that_it_was_answered_early),
        SCENE(test_lane_answer_to_an_unsent_command_is_dropped),
        SCENE(test_lane_unasked_reply_behind_many_tombstones_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What the scenes of a lane have in common: threads that carry a command each, calls of the
 * transport that are held up, and looks at the lane with its gate held. */
#ifndef FAKE_LANE_ACTS_H
#define FAKE_LANE_ACTS_H

#include "support/lane_stage.h"

#include <pthread.h>
#include <string.h>

/* recvs and waits that end by themselves end long after the test has failed. */
#define QUERY "timeout=30s&stall-timeout=30s&connect-timeout=10s&pool-max=4"

enum { LONG_MS = 60000, SOON_MS = 5000 * KW_TEST_SLOWNESS };

static kw_test_stage stage;

static int set_up(void **state)
{
    (void)state;
    memset(&stage, 0, sizeof(stage));
    kw_test_stage_open(&stage, QUERY, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    atomic_store(&stage.strain.room, SIZE_MAX);
    atomic_store(&stage.strain.hook, NULL); /* what it holds was the test's */
    kw_test_stage_close(&stage);
    return 0;
}

/* A thread that carries one command. */
typedef struct actor {
    pthread_t thread;
    kw_test_rider *rider;
    unsigned timeout_ms;
    kw_err code;
    atomic_bool is_over;
} actor;

static void *act(void *arg)
{
    actor *self = arg;
    self->code = kw_test_rider_run(&stage, self->rider, self->timeout_ms);
    atomic_store(&self->is_over, true);
    return NULL;
}

static void actor_start(actor *self, unsigned number, unsigned timeout_ms)
{
    self->rider = kw_test_rider_new(number);
    self->timeout_ms = timeout_ms;
    self->code = KW_OK;
    atomic_init(&self->is_over, false);
    assert_int_equal(pthread_create(&self->thread, NULL, act, self), 0);
}

/* Waits until the condition holds; it must, soon. */
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        uint64_t end_ms = kw_test_now_ms() + SOON_MS;                                              \
        while (!(condition)) {                                                                     \
            if (kw_test_now_ms() > end_ms) {                                                       \
                kw_test_die("line %d: not in time: %s", __LINE__, #condition);                     \
            }                                                                                      \
            kw_test_sleep_ms(1);                                                                   \
        }                                                                                          \
    } while (false)

static void actor_end(actor *self)
{
    kw_test_join(self->thread);
    kw_test_rider_free(self->rider);
}

/* Ends all waits of actors that nobody answers. */
static void actor_lose(actor *self)
{
    kw_fake_disconnect(stage.fake, false);
    WAIT_FOR(atomic_load(&self->is_over));
    actor_end(self);
}

static size_t locked(const size_t *value)
{
    kw_monitor_lock(&stage.lane->monitor);
    size_t n = *value;
    kw_monitor_unlock(&stage.lane->monitor);
    return n;
}

static size_t queue_n(void)
{
    return locked(&stage.lane->queue.n);
}

static size_t owners_n(void)
{
    kw_monitor_lock(&stage.lane->monitor);
    size_t n = stage.lane->stream.conn != NULL ? stage.lane->stream.conn->owners.count : 0;
    kw_monitor_unlock(&stage.lane->monitor);
    return n;
}

/* Somebody waits for replies, and nobody sends. */
static bool is_read_alone(void)
{
    kw_monitor_lock(&stage.lane->monitor);
    bool is_alone =
        kw_lane_roles_is_read(&stage.lane->roles) && !kw_lane_roles_is_written(&stage.lane->roles);
    kw_monitor_unlock(&stage.lane->monitor);
    return is_alone;
}

static uint64_t sleeps_n(void)
{
    kw_monitor_lock(&stage.lane->monitor);
    uint64_t n = stage.lane->roles.sleeps_n;
    kw_monitor_unlock(&stage.lane->monitor);
    return n;
}

/* The next command does not wait for an answer to those before it. */
static void open_gate(void)
{
    kw_monitor_lock(&stage.lane->monitor);
    stage.lane->batching.batch_at = 0;
    kw_monitor_unlock(&stage.lane->monitor);
}

static void expect_right(unsigned number)
{
    kw_test_rider *rider = kw_test_rider_new(number);
    assert_int_equal(kw_test_rider_run(&stage, rider, LONG_MS), KW_OK);
    assert_true(kw_test_rider_is_right(rider));
    kw_test_rider_free(rider);
}

static unsigned long sends_n(void)
{
    return kw_test_strain_count(&stage.strain, KW_TEST_SEND);
}

/* One call of one kind is held up. */
typedef struct hold {
    kw_test_syscall what;
    bool is_after;
    atomic_int left_n; /* calls before it */
    atomic_bool is_held;
    atomic_bool is_released;
    pthread_t thread; /* whose call it is */
} hold;

static void hold_up(void *arg, kw_test_syscall what, bool is_after)
{
    hold *self = arg;
    if (what != self->what || is_after != self->is_after ||
        atomic_fetch_sub(&self->left_n, 1) != 0) {
        return;
    }
    self->thread = pthread_self();
    atomic_store(&self->is_held, true);
    KW_TEST_AWAIT(atomic_load(&self->is_released))
}

static void hold_next(hold *self, kw_test_syscall what, bool is_after, int left_n)
{
    self->what = what;
    self->is_after = is_after;
    atomic_init(&self->left_n, left_n);
    atomic_init(&self->is_held, false);
    atomic_init(&self->is_released, false);
    atomic_store(&stage.strain.hook_arg, self);
    atomic_store(&stage.strain.hook, hold_up);
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* One thread works for all: two never lead at once, what is asked for is done, and nobody sleeps
 * while there is work and nobody leads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/leader.h"
#include "support/check.h"
#include "support/crew.h"

#include <sched.h>
#include <string.h>

enum { THREADS = 8, ROUNDS = 3000 };

typedef struct work {
    kw_leader leader;
    kw_monitor monitor;
    atomic_uint leading_n; /* threads that lead */
    atomic_uint wrong_n;
    atomic_uint wanted; /* pieces of work asked for */
    atomic_uint done;   /* pieces that are done: written by the leader alone */
    atomic_uint left_n; /* leaders that left in the middle */
    atomic_uint slept_n;
} work;

static void work_init(work *self)
{
    memset(self, 0, sizeof(*self));
    assert_int_equal(kw_monitor_init(&self->monitor), KW_OK);
}

static void begin(work *self)
{
    atomic_fetch_add(&self->wrong_n, atomic_fetch_add(&self->leading_n, 1) != 0);
}

static void end(work *self)
{
    atomic_fetch_sub(&self->leading_n, 1);
}

/* Each thread asks for a piece of work, and either finds a leader that sees it, or leads. */
static void call_or_lead(void *arg, unsigned number)
{
    work *self = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        atomic_fetch_add(&self->wanted, 1);
        bool is_called = true;
        if (!kw_leader_call(&self->leader)) {
            continue; /* whoever leads looks again */
        }
        while (is_called && kw_leader_try(&self->leader)) {
            begin(self);
            kw_leader_heed(&self->leader);
            atomic_store(&self->done, atomic_load(&self->wanted));
            if ((i + number) % 16 == 0) {
                sched_yield();
            }
            end(self);
            is_called = kw_leader_leave_called(&self->leader);
        }
    }
}

static void test_leader_that_is_called_looks_again_before_it_is_gone(void **state)
{
    (void)state;
    work it;
    work_init(&it);
    kw_test_crew_run(THREADS, call_or_lead, &it);
    assert_int_equal(atomic_load(&it.wrong_n), 0);
    assert_int_equal(atomic_load(&it.wanted), THREADS * ROUNDS);
    assert_int_equal(atomic_load(&it.done), THREADS * ROUNDS);
    assert_false(kw_leader_is_led(&it.leader));
    kw_monitor_fini(&it.monitor);
}

/* Leads for a while, never to the end of all work, and hands on. */
static void lead(work *self, unsigned goal)
{
    kw_wake_list wakes = {.n = 0};
    begin(self);
    for (int i = 0; i < 5 && atomic_load(&self->done) < goal; i++) {
        atomic_fetch_add(&self->done, 1);
    }
    end(self);
    kw_monitor_lock(&self->monitor);
    kw_leader_leave(&self->leader);
    kw_leader_hand_on(&self->leader, &wakes, &self->monitor);
    atomic_fetch_add(&self->left_n, 1);
    kw_monitor_unlock(&self->monitor);
    kw_wake_list_send(&wakes, &self->monitor);
}

/* Each waits until much is done; the work of all is done by whoever leads, a little at a time. No
 * sleep ends by itself: a hand-over that is lost hangs the test, which the suite's limit ends. */
static void wait_for_much(void *arg, unsigned number)
{
    work *self = arg;
    for (unsigned goal = number + 1; goal <= ROUNDS; goal += THREADS) {
        kw_monitor_lock(&self->monitor);
        while (atomic_load(&self->done) < goal) {
            if (kw_leader_try(&self->leader)) {
                kw_monitor_unlock(&self->monitor);
                lead(self, goal);
                kw_monitor_lock(&self->monitor);
            } else {
                atomic_fetch_add(&self->slept_n, 1);
                kw_leader_wait(&self->leader, &self->monitor, UINT64_MAX);
            }
        }
        kw_wake_list wakes = {.n = 0};
        if (!kw_leader_is_led(&self->leader)) {
            kw_leader_hand_on(&self->leader, &wakes, &self->monitor);
        }
        kw_monitor_unlock(&self->monitor);
        kw_wake_list_send(&wakes, &self->monitor);
    }
}

static void test_leader_that_leaves_hands_the_work_on(void **state)
{
    (void)state;
    work it;
    work_init(&it);
    kw_test_crew_run(THREADS, wait_for_much, &it);
    assert_int_equal(atomic_load(&it.wrong_n), 0);
    assert_true(atomic_load(&it.done) >= ROUNDS);
    assert_null(it.leader.followers.first);
    kw_monitor_fini(&it.monitor);
}

static void test_leader_is_one(void **state)
{
    (void)state;
    kw_leader leader;
    memset(&leader, 0, sizeof(leader));
    assert_false(kw_leader_is_led(&leader));
    assert_true(kw_leader_try(&leader));
    assert_true(kw_leader_is_led(&leader));
    assert_false(kw_leader_try(&leader));
    assert_false(kw_leader_call(&leader));
    assert_true(kw_leader_leave_called(&leader));
    assert_true(kw_leader_try(&leader));
    kw_leader_heed(&leader);
    assert_false(kw_leader_leave_called(&leader));
    assert_true(kw_leader_call(&leader)); /* nobody leads: it is for the caller */
}

/* A sleep ends at its time; a wake that comes first ends it, and wake_all ends all. */
static void sleep_once(void *arg, unsigned number)
{
    work *self = arg;
    if (number == 0) {
        kw_wake_list wakes = {.n = 0};
        while (atomic_load(&self->slept_n) < THREADS - 1) {
            sched_yield();
        }
        kw_monitor_lock(&self->monitor);
        kw_leader_wake_all(&self->leader, &wakes, &self->monitor);
        kw_monitor_unlock(&self->monitor);
        kw_wake_list_send(&wakes, &self->monitor);
        return;
    }
    kw_monitor_lock(&self->monitor);
    atomic_fetch_add(&self->slept_n, 1);
    kw_leader_wait(&self->leader, &self->monitor, UINT64_MAX);
    kw_monitor_unlock(&self->monitor);
}

static void test_leader_wait_ends_by_a_wake_or_by_its_time(void **state)
{
    (void)state;
    work it;
    work_init(&it);
    kw_test_crew_run(THREADS, sleep_once, &it);
    kw_monitor_lock(&it.monitor);
    kw_leader_wait(&it.leader, &it.monitor, 1000000);
    assert_null(it.leader.followers.first);
    kw_monitor_unlock(&it.monitor);
    kw_monitor_fini(&it.monitor);
}

/* Who looks is woken without a call; who has said that it sleeps is not. */
static void test_leader_wake_of_one_who_looks_needs_no_call(void **state)
{
    (void)state;
    work it;
    work_init(&it);
    kw_wait_queue queue = {NULL, NULL};
    kw_sleeper sleeper = {.is_listed = false};
    for (unsigned i = 0; i < 3; i++) {
        kw_wake_list wakes = {.n = 0};
        kw_wait_queue_add(&queue, &sleeper);
        assert_false(kw_sleeper_look(&sleeper, i));
        if (i == 2) {
            assert_false(kw_sleeper_wait(&sleeper, &it.monitor, 1)); /* its time is over */
        }
        kw_wait_queue_wake(&queue, &wakes, &it.monitor, &sleeper, i != 1);
        assert_int_equal(wakes.n, i == 2 ? 1 : 0);
        assert_int_equal(kw_sleeper_look(&sleeper, 1), i != 1);
        assert_int_equal(kw_sleeper_wait(&sleeper, &it.monitor, UINT64_MAX), i != 1);
        assert_null(queue.first);
    }
    kw_monitor_fini(&it.monitor);
}

/* Sleepers that look as often as their number says, and are woken at any moment of it: none sleeps
 * on. The suite's limit ends one that does. */
typedef struct bed {
    work *work;
    kw_wait_queue queue;
    unsigned awake_n; /* threads that wait no more */
} bed;

static void wake_others(bed *self)
{
    work *it = self->work;
    kw_monitor_lock(&it->monitor);
    while (self->awake_n < THREADS - 1) {
        kw_wake_list wakes = {.n = 0};
        while (self->queue.first != NULL) {
            kw_wait_queue_wake(&self->queue, &wakes, &it->monitor, self->queue.first, true);
        }
        kw_monitor_unlock(&it->monitor);
        kw_wake_list_send(&wakes, &it->monitor);
        sched_yield();
        kw_monitor_lock(&it->monitor);
    }
    kw_monitor_unlock(&it->monitor);
}

static void look_and_sleep(void *arg, unsigned number)
{
    bed *self = arg;
    work *it = self->work;
    if (number == 0) {
        wake_others(self);
        return;
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        kw_sleeper sleeper = {.is_listed = false};
        kw_monitor_lock(&it->monitor);
        kw_wait_queue_add(&self->queue, &sleeper);
        kw_monitor_unlock(&it->monitor);
        if (!kw_sleeper_look(&sleeper, number - 1)) {
            while (!kw_sleeper_wait(&sleeper, &it->monitor, UINT64_MAX)) {
            }
        }
    }
    kw_monitor_lock(&it->monitor);
    self->awake_n++;
    kw_monitor_unlock(&it->monitor);
}

static void test_leader_wake_reaches_who_is_about_to_sleep(void **state)
{
    (void)state;
    work it;
    work_init(&it);
    bed self = {&it, {NULL, NULL}, 0};
    kw_test_crew_run(THREADS, look_and_sleep, &self);
    assert_int_equal(self.awake_n, THREADS - 1);
    assert_null(self.queue.first);
    kw_monitor_fini(&it.monitor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leader_is_one),
        cmocka_unit_test(test_leader_that_is_called_looks_again_before_it_is_gone),
        cmocka_unit_test(test_leader_that_leaves_hands_the_work_on),
        cmocka_unit_test(test_leader_wake_of_one_who_looks_needs_no_call),
        cmocka_unit_test(test_leader_wake_reaches_who_is_about_to_sleep),
        cmocka_unit_test(test_leader_wait_ends_by_a_wake_or_by_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Locks and their conditions: one thread is inside at a time and sees what the others wrote,
 * whoever waits for a lock or a wake gets it, and a wait ends by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/sync.h"
#include "support/check.h"
#include "support/crew.h"

#include <sched.h>
#include <string.h>

enum { THREADS = 8, ROUNDS = 20000, PLACES = 3, PASSES = 3000 };

typedef struct place {
    kw_monitor monitor;
    unsigned long count; /* plain: the lock guards it */
    unsigned inside_n;
    unsigned wrong_n;
    unsigned full_n; /* of PLACES */
    unsigned taken_n;
} place;

static void place_init(place *self)
{
    memset(self, 0, sizeof(*self));
    assert_int_equal(kw_monitor_init(&self->monitor), KW_OK);
}

static void count_up(void *arg, unsigned number)
{
    place *self = arg;
    (void)number;
    for (unsigned i = 0; i < ROUNDS; i++) {
        kw_monitor_lock(&self->monitor);
        self->wrong_n += self->inside_n++ != 0 ? 1 : 0;
        self->count++;
        if (i % 512 == 0) {
            sched_yield(); /* others meet a lock that is held */
        }
        self->inside_n--;
        kw_monitor_unlock(&self->monitor);
    }
}

static void test_sync_lock_lets_one_in_at_a_time(void **state)
{
    (void)state;
    place it;
    place_init(&it);
    kw_test_crew_run(THREADS, count_up, &it);
    assert_int_equal(it.count, (unsigned long)THREADS * ROUNDS);
    assert_int_equal(it.wrong_n, 0);
    kw_monitor_fini(&it.monitor);
}

/* Half of the threads fill places, the others empty them, and each waits for the others. No wait
 * ends by itself: a wake that is lost hangs the test, which the suite's limit ends. */
static void pass_on(void *arg, unsigned number)
{
    place *self = arg;
    bool fills = number % 2 == 0;
    for (unsigned i = 0; i < PASSES; i++) {
        kw_monitor_lock(&self->monitor);
        while (fills ? self->full_n == PLACES : self->full_n == 0) {
            kw_monitor_wait(&self->monitor, UINT64_MAX);
        }
        self->full_n += fills ? 1u : -1u;
        self->taken_n += fills ? 0 : 1;
        kw_monitor_unlock(&self->monitor);
        kw_monitor_wake_all(&self->monitor);
    }
}

static void test_sync_wake_is_not_lost(void **state)
{
    (void)state;
    place it;
    place_init(&it);
    kw_test_crew_run(THREADS, pass_on, &it);
    assert_int_equal(it.taken_n, THREADS / 2 * PASSES);
    assert_int_equal(it.full_n, 0);
    kw_monitor_fini(&it.monitor);
}

/* One wake for one waiter each: as many wakes as there are waiters end all their waits. */
static void wait_for_one(void *arg, unsigned number)
{
    place *self = arg;
    kw_monitor_lock(&self->monitor);
    if (number > 0) {
        self->inside_n++;
        while (self->full_n == 0) {
            kw_monitor_wait(&self->monitor, UINT64_MAX);
        }
        self->full_n--;
        kw_monitor_unlock(&self->monitor);
        return;
    }
    while (self->inside_n < THREADS - 1) {
        kw_monitor_unlock(&self->monitor);
        sched_yield();
        kw_monitor_lock(&self->monitor);
    }
    for (unsigned i = 1; i < THREADS; i++) {
        self->full_n++;
        kw_monitor_wake_one(&self->monitor);
    }
    kw_monitor_unlock(&self->monitor);
}

static void test_sync_each_wake_of_one_ends_one_wait(void **state)
{
    (void)state;
    place it;
    place_init(&it);
    kw_test_crew_run(THREADS, wait_for_one, &it);
    assert_int_equal(it.full_n, 0);
    kw_monitor_fini(&it.monitor);
}

static void test_sync_wait_ends_at_its_time(void **state)
{
    (void)state;
    place it;
    place_init(&it);
    kw_monitor_lock(&it.monitor);
    kw_monitor_wait(&it.monitor, 1000000);
    kw_monitor_unlock(&it.monitor);
    kw_monitor_lock(&it.monitor); /* it was left, and is free again */
    kw_monitor_unlock(&it.monitor);
    kw_monitor_fini(&it.monitor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sync_lock_lets_one_in_at_a_time),
        cmocka_unit_test(test_sync_wake_is_not_lost),
        cmocka_unit_test(test_sync_each_wake_of_one_ends_one_wait),
        cmocka_unit_test(test_sync_wait_ends_at_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

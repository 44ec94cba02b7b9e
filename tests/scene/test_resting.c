/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether those who wait look or sleep: worlds in which the one or the other brings more answers,
 * as seen by a clock of their own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/resting.h"
#include "support/check.h"

#define US ((uint64_t)1000)
#define MS (1000 * US)
#define S  (1000 * MS)

/* A read brings so many answers each time, after so long, by whether those who wait look. */
typedef struct world {
    unsigned answers_n;
    uint64_t asleep_ns;
    uint64_t looking_ns;
} world;

/* Runs the world for so long: the thousandths of its time in which they looked. */
static unsigned run(kw_resting *resting, uint64_t *now_ns, world it, uint64_t span_ns)
{
    uint64_t looked_ns = 0;
    uint64_t end_ns = *now_ns + span_ns;
    for (unsigned i = 0; *now_ns < end_ns; i++) {
        bool looks = kw_resting_looks(resting) > 0;
        uint64_t read_ns = looks ? it.looking_ns : it.asleep_ns;
        read_ns += read_ns * (i % 5) / 20; /* no two reads take the same time */
        *now_ns += read_ns;
        looked_ns += looks ? read_ns : 0;
        kw_resting_on_answers(resting, it.answers_n, *now_ns);
    }
    return (unsigned)(looked_ns * 1000 / span_ns);
}

static const world likes_looks = {10, 100 * US, 60 * US};
static const world likes_sleep = {10, 100 * US, 120 * US};
static const world is_crowded = {10, 100 * US, 3 * MS}; /* other programs take what is given up */
static const world is_equal = {10, 100 * US, 98 * US};
static const world has_no_crowd = {1, 40 * US, 20 * US};

static void test_resting_better_way_is_kept(void **state)
{
    (void)state;
    kw_resting resting = {0};
    uint64_t now_ns = 5 * S;
    run(&resting, &now_ns, likes_looks, S);
    assert_true(run(&resting, &now_ns, likes_looks, 20 * S) > 970);
}

static void test_resting_worse_way_is_tried_ever_more_rarely(void **state)
{
    (void)state;
    const world worlds[] = {likes_sleep, is_crowded, is_equal};
    for (size_t i = 0; i < 3; i++) {
        kw_resting resting = {0};
        uint64_t now_ns = 5 * S;
        assert_true(run(&resting, &now_ns, worlds[i], 2 * S) < (i == 1 ? 300 : 100));
        run(&resting, &now_ns, worlds[i], 10 * S);
        assert_true(run(&resting, &now_ns, worlds[i], 20 * S) < (i == 1 ? 50 : 10));
    }
}

static void test_resting_way_is_left_when_the_world_has_changed(void **state)
{
    (void)state;
    kw_resting resting = {0};
    uint64_t now_ns = 5 * S;
    for (unsigned i = 0; i < 3; i++) {
        run(&resting, &now_ns, likes_looks, 10 * S);
        assert_true(run(&resting, &now_ns, likes_looks, S) > 900);
        run(&resting, &now_ns, likes_sleep, 5 * S);
        assert_true(run(&resting, &now_ns, likes_sleep, S) < 100);
    }
}

static void test_resting_other_crowd_is_tried_soon(void **state)
{
    (void)state;
    kw_resting resting = {0};
    uint64_t now_ns = 5 * S;
    run(&resting, &now_ns, likes_sleep, 20 * S); /* trials are rare by now */
    world larger = likes_looks;
    larger.answers_n = 30;
    run(&resting, &now_ns, larger, 300 * MS);
    assert_true(run(&resting, &now_ns, larger, S) > 900);
}

static void test_resting_few_callers_never_look(void **state)
{
    (void)state;
    kw_resting resting = {0};
    uint64_t now_ns = 5 * S;
    assert_int_equal(run(&resting, &now_ns, has_no_crowd, 10 * S), 0);
    run(&resting, &now_ns, likes_looks, 2 * S);
    assert_true(run(&resting, &now_ns, likes_looks, S) > 900);
    run(&resting, &now_ns, has_no_crowd, 200 * MS);
    assert_int_equal(run(&resting, &now_ns, has_no_crowd, S), 0);
}

/* The time in which nobody calls is in no comparison. */
static void test_resting_silence_says_nothing(void **state)
{
    (void)state;
    kw_resting resting = {0};
    uint64_t now_ns = 5 * S;
    unsigned looked = 0;
    for (unsigned i = 0; i < 400; i++) {
        unsigned now = run(&resting, &now_ns, likes_looks, 9 * MS);
        looked += i >= 300 ? now : 0;
        now_ns += 200 * MS;
    }
    assert_true(looked / 100 > 750); /* trials are a larger part of it than without silences */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resting_better_way_is_kept),
        cmocka_unit_test(test_resting_worse_way_is_tried_ever_more_rarely),
        cmocka_unit_test(test_resting_way_is_left_when_the_world_has_changed),
        cmocka_unit_test(test_resting_other_crowd_is_tried_soon),
        cmocka_unit_test(test_resting_few_callers_never_look),
        cmocka_unit_test(test_resting_silence_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

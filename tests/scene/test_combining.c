/* SPDX-License-Identifier: BSD-3-Clause */
/* How much callers wait for each other: worlds in which the one way or the other brings more
 * answers, as seen by a clock of their own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/combining.h"
#include "support/check.h"

#define US ((uint64_t)1000)
#define MS (1000 * US)
#define S  (1000 * MS)

/* So many callers are answered together each time, after so long, by the way that is in use. */
typedef struct world {
    unsigned callers_n;
    uint64_t read_ns[KW_COMBINING_WAYS_N];
} world;

/* Runs the world for so long: the thousandths of its time in which that way was in use. */
static unsigned run(kw_combining *combining, uint64_t *now_ns, world it, uint64_t span_ns,
                    kw_combining_way way)
{
    uint64_t used_ns = 0;
    uint64_t end_ns = *now_ns + span_ns;
    for (unsigned i = 0; *now_ns < end_ns; i++) {
        bool is_used = combining->way == way;
        uint64_t read_ns = it.read_ns[combining->way];
        read_ns += read_ns * (i % 5) / 20; /* no two reads take the same time */
        used_ns += is_used ? read_ns : 0;
        for (unsigned n = 0; n < it.callers_n; n++) {
            kw_combining_on_command(combining, n == 0 ? 0 : it.callers_n - 1, *now_ns);
        }
        *now_ns += read_ns;
        kw_combining_on_answers(combining, it.callers_n, *now_ns);
    }
    return (unsigned)(used_ns * 1000 / span_ns);
}

static unsigned looked(kw_combining *combining, uint64_t *now_ns, world it, uint64_t span_ns)
{
    return run(combining, now_ns, it, span_ns, KW_COMBINING_LOOKS);
}

static unsigned batched(kw_combining *combining, uint64_t *now_ns, world it, uint64_t span_ns)
{
    return run(combining, now_ns, it, span_ns, KW_COMBINING_BATCHES);
}

static unsigned left_at_once(kw_combining *combining, uint64_t *now_ns, world it, uint64_t span_ns)
{
    return run(combining, now_ns, it, span_ns, KW_COMBINING_NONE);
}

static const world likes_looks = {10, {100 * US, 90 * US, 60 * US, 110 * US}};
static const world likes_gathering = {10, {100 * US, 70 * US, 110 * US, 110 * US}};
static const world likes_batches = {10, {90 * US, 110 * US, 120 * US, 110 * US}};
static const world is_equal = {10, {100 * US, 98 * US, 98 * US, 98 * US}};
static const world has_no_crowd = {1, {40 * US, 20 * US, 20 * US, 20 * US}};
/* Other programs take what is given up. */
static const world is_beside_others = {10, {2 * MS, 20 * MS, 40 * MS, 1 * MS}};
static const world is_stalled = {2, {5 * MS, 60 * MS, 90 * MS, 2 * MS}};

static void test_combining_better_way_is_kept(void **state)
{
    (void)state;
    kw_combining combining = {0};
    uint64_t now_ns = 5 * S;
    looked(&combining, &now_ns, likes_looks, 2 * S);
    assert_true(looked(&combining, &now_ns, likes_looks, 20 * S) > 950);
    run(&combining, &now_ns, likes_gathering, 5 * S, KW_COMBINING_GATHERS);
    assert_true(run(&combining, &now_ns, likes_gathering, 20 * S, KW_COMBINING_GATHERS) > 950);
}

static void test_combining_worse_ways_are_tried_ever_more_rarely(void **state)
{
    (void)state;
    const world worlds[] = {likes_batches, is_equal};
    for (size_t i = 0; i < 2; i++) {
        kw_combining combining = {0};
        uint64_t now_ns = 5 * S;
        assert_true(batched(&combining, &now_ns, worlds[i], 4 * S) > 700);
        batched(&combining, &now_ns, worlds[i], 10 * S);
        assert_true(batched(&combining, &now_ns, worlds[i], 20 * S) > 950);
    }
}

static void test_combining_way_is_left_when_the_world_has_changed(void **state)
{
    (void)state;
    kw_combining combining = {0};
    uint64_t now_ns = 5 * S;
    for (unsigned i = 0; i < 3; i++) {
        looked(&combining, &now_ns, likes_looks, 10 * S);
        assert_true(looked(&combining, &now_ns, likes_looks, S) > 850);
        batched(&combining, &now_ns, likes_batches, 8 * S);
        assert_true(batched(&combining, &now_ns, likes_batches, S) > 850);
    }
}

/* Other programs come, and want the processors: what the crowd does is left within some tens of
 * its reads, however slow these are. */
static void test_combining_way_that_has_become_much_worse_is_left_at_once(void **state)
{
    (void)state;
    kw_combining combining = {0};
    uint64_t now_ns = 5 * S;
    looked(&combining, &now_ns, likes_looks, 20 * S);
    assert_int_equal(combining.best, KW_COMBINING_LOOKS);
    left_at_once(&combining, &now_ns, is_beside_others, 3 * S);
    assert_true(left_at_once(&combining, &now_ns, is_beside_others, 20 * S) > 900);
}

/* Answers that come one by one, and late, since who reads gives the processor to other programs. */
static void test_combining_crowd_that_is_stalled_combines_nothing(void **state)
{
    (void)state;
    kw_combining combining = {0};
    uint64_t now_ns = 5 * S;
    looked(&combining, &now_ns, likes_looks, 20 * S);
    left_at_once(&combining, &now_ns, is_stalled, 8 * S);
    assert_true(left_at_once(&combining, &now_ns, is_stalled, 10 * S) > 800);
}

static void test_combining_other_crowd_is_tried_soon(void **state)
{
    (void)state;
    kw_combining combining = {0};
    uint64_t now_ns = 5 * S;
    looked(&combining, &now_ns, likes_batches, 20 * S); /* trials are rare by now */
    world larger = likes_looks;
    larger.callers_n = 60;
    looked(&combining, &now_ns, larger, 1500 * MS);
    assert_true(looked(&combining, &now_ns, larger, S) > 850);
}

static void test_combining_few_callers_try_nothing(void **state)
{
    (void)state;
    kw_combining combining = {0};
    uint64_t now_ns = 5 * S;
    assert_true(batched(&combining, &now_ns, has_no_crowd, 10 * S) >= 1000);
    looked(&combining, &now_ns, likes_looks, 2 * S);
    assert_true(looked(&combining, &now_ns, likes_looks, S) > 850);
    batched(&combining, &now_ns, has_no_crowd, 200 * MS);
    assert_true(batched(&combining, &now_ns, has_no_crowd, S) >= 1000);
}

/* The time in which nobody calls is in no comparison. */
static void test_combining_silence_says_nothing(void **state)
{
    (void)state;
    kw_combining combining = {0};
    uint64_t now_ns = 5 * S;
    unsigned sum = 0;
    for (unsigned i = 0; i < 400; i++) {
        unsigned now = looked(&combining, &now_ns, likes_looks, 9 * MS);
        sum += i >= 300 ? now : 0;
        now_ns += 200 * MS;
    }
    assert_true(sum / 100 > 700); /* trials are a larger part of it than without silences */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_combining_better_way_is_kept),
        cmocka_unit_test(test_combining_worse_ways_are_tried_ever_more_rarely),
        cmocka_unit_test(test_combining_way_is_left_when_the_world_has_changed),
        cmocka_unit_test(test_combining_way_that_has_become_much_worse_is_left_at_once),
        cmocka_unit_test(test_combining_crowd_that_is_stalled_combines_nothing),
        cmocka_unit_test(test_combining_other_crowd_is_tried_soon),
        cmocka_unit_test(test_combining_few_callers_try_nothing),
        cmocka_unit_test(test_combining_silence_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

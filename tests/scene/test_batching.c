/* SPDX-License-Identifier: BSD-3-Clause */
/* When a batch leaves: scenes of commands and answers, one event a line with the time and what is
 * decided at it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/batching.h"
#include "support/check.h"

#define US ((uint64_t)1000)

typedef enum scene_event {
    BATCH,   /* a batch of so many commands leaves */
    ANSWERS, /* so many replies come together */
    LOOKS,   /* may the next batch leave? somebody reads (1) or not (0) */
    TRIP,    /* the round trip that is believed, in microseconds */
    CROWD,   /* commands worth gathering */
    ALONE,   /* may a command leave by itself, behind so many in the queue? */
    RESET,   /* a new connection */
    END
} scene_event;

typedef struct scene_row {
    scene_event event;
    unsigned n;
    uint64_t at_us;
    uint64_t expected;
} scene_row;

typedef struct scene {
    const char *name;
    const scene_row *rows;
} scene;

#define SCENE(...) ((const scene_row[]){__VA_ARGS__, {END, 0, 0, 0}})

/* One event; what is decided at it, or expected itself where nothing is. */
static uint64_t play(kw_batching *batching, const scene_row *row)
{
    uint64_t now_ns = row->at_us * US;
    switch (row->event) {
    case BATCH:
        kw_batching_on_batch(batching, now_ns);
        kw_batching_on_sent(batching, row->n);
        return row->expected;
    case ANSWERS:
        kw_batching_on_answers(batching, row->n, now_ns);
        return row->expected;
    case LOOKS:
        return kw_batching_may_leave(batching, row->n != 0, now_ns);
    case TRIP:
        return batching->trip_ns / US;
    case CROWD:
        return kw_batching_take_crowd(batching);
    case ALONE:
        return kw_batching_goes_alone(batching, row->n);
    case RESET:
        kw_batching_reset(batching);
        return row->expected;
    case END:
        break;
    }
    return row->expected;
}

static void run(const scene *it, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        kw_batching batching = {0};
        for (const scene_row *row = it[i].rows; row->event != END; row++) {
            uint64_t got = play(&batching, row);
            if (got != row->expected) {
                kw_test_die("%s, line %zu: %llu, not %llu", it[i].name,
                            (size_t)(row - it[i].rows) + 1, (unsigned long long)got,
                            (unsigned long long)row->expected);
            }
        }
    }
}

/* The clock begins somewhere; here at 10 seconds. */
#define T(us) (10000000u + (us))

static void test_batching_next_batch_waits_for_the_first_answer(void **state)
{
    (void)state;
    const scene scenes[] = {
        {"nothing is under way", SCENE({LOOKS, 1, T(0), 1})},
        {"unanswered", SCENE({BATCH, 1, T(0), 0}, {LOOKS, 1, T(10), 0}, {LOOKS, 1, T(1000), 0})},
        {"the first of its answers is enough", SCENE({BATCH, 10, T(0), 0}, {LOOKS, 1, T(1), 0},
                                                     {ANSWERS, 1, T(50), 0}, {LOOKS, 1, T(50), 1})},
        {"an answer to the batch before it is none to it",
         SCENE({BATCH, 4, T(0), 0}, {ANSWERS, 1, T(50), 0}, {BATCH, 4, T(51), 0},
               {LOOKS, 1, T(52), 0}, {ANSWERS, 3, T(60), 0}, {LOOKS, 1, T(60), 0},
               {ANSWERS, 1, T(70), 0}, {LOOKS, 1, T(70), 1})},
        {"all are answered",
         SCENE({BATCH, 3, T(0), 0}, {ANSWERS, 3, T(40), 0}, {LOOKS, 1, T(40), 1})},
        {"nobody reads: no answer would be noticed",
         SCENE({BATCH, 1, T(0), 0}, {LOOKS, 1, T(1), 0}, {LOOKS, 0, T(1), 1})},
        {"a new connection",
         SCENE({BATCH, 5, T(0), 0}, {LOOKS, 1, T(1), 0}, {RESET, 0, T(2), 0}, {LOOKS, 1, T(2), 1})},
    };
    run(scenes, sizeof(scenes) / sizeof(scenes[0]));
}

static void test_batching_far_server_gets_the_next_batch_after_a_part_of_the_round_trip(
    void **state)
{
    (void)state;
    const scene scenes[] = {
        {"near: two milliseconds, whatever the round trip",
         SCENE({BATCH, 1, T(0), 0}, {ANSWERS, 1, T(40), 0}, {TRIP, 0, 0, 40}, {BATCH, 1, T(50), 0},
               {LOOKS, 1, T(2050), 0}, {LOOKS, 1, T(2051), 1})},
        {"far: a quarter of the round trip",
         SCENE({BATCH, 1, T(0), 0}, {ANSWERS, 1, T(8000), 0}, {TRIP, 0, 0, 8000},
               {BATCH, 1, T(9000), 0}, {LOOKS, 1, T(11000), 0}, {LOOKS, 1, T(11001), 1})},
        {"just below and at the border",
         SCENE({BATCH, 1, T(0), 0}, {ANSWERS, 1, T(199), 0}, {BATCH, 1, T(1000), 0},
               {LOOKS, 1, T(1100), 0}, {ANSWERS, 1, T(1199), 0}, {RESET, 0, 0, 0},
               {BATCH, 1, T(2000000), 0}, {ANSWERS, 1, T(2000200), 0}, {TRIP, 0, 0, 200},
               {BATCH, 1, T(2001000), 0}, {LOOKS, 1, T(2001050), 0}, {LOOKS, 1, T(2001051), 1})},
    };
    run(scenes, sizeof(scenes) / sizeof(scenes[0]));
}

static void test_batching_round_trip_is_the_shortest_of_a_second(void **state)
{
    (void)state;
    const scene scenes[] = {
        {"a longer one is not believed at once",
         SCENE({BATCH, 1, T(0), 0}, {ANSWERS, 1, T(50), 0}, {BATCH, 1, T(100), 0},
               {ANSWERS, 1, T(900), 0}, {TRIP, 0, 0, 50})},
        {"a shorter one is",
         SCENE({BATCH, 1, T(0), 0}, {ANSWERS, 1, T(50), 0}, {BATCH, 1, T(100), 0},
               {ANSWERS, 1, T(120), 0}, {TRIP, 0, 0, 20})},
        {"after a second the next is taken as it is",
         SCENE({BATCH, 1, T(0), 0}, {ANSWERS, 1, T(50), 0}, {BATCH, 1, T(1000100), 0},
               {ANSWERS, 1, T(1000900), 0}, {TRIP, 0, 0, 800})},
        {"only the first answer to a batch measures",
         SCENE({BATCH, 3, T(0), 0}, {ANSWERS, 1, T(50), 0}, {ANSWERS, 2, T(51), 0},
               {TRIP, 0, 0, 50}, {BATCH, 1, T(60), 0}, {ANSWERS, 0, T(61), 0}, {TRIP, 0, 0, 50})},
        {"it outlives the connection",
         SCENE({BATCH, 1, T(0), 0}, {ANSWERS, 1, T(50), 0}, {RESET, 0, 0, 0}, {TRIP, 0, 0, 50})},
    };
    run(scenes, sizeof(scenes) / sizeof(scenes[0]));
}

static void test_batching_crowd_is_waited_for_once(void **state)
{
    (void)state;
    const scene scenes[] = {
        {"no crowd", SCENE({CROWD, 0, 0, 0}, {ALONE, 0, 0, 1}, {ALONE, 1, 0, 0})},
        {"two are none",
         SCENE({BATCH, 2, T(0), 0}, {ANSWERS, 2, T(50), 0}, {ALONE, 0, 0, 1}, {CROWD, 0, 0, 0})},
        {"three are", SCENE({BATCH, 3, T(0), 0}, {ANSWERS, 3, T(50), 0}, {ALONE, 0, 0, 0},
                            {CROWD, 0, 0, 3}, {CROWD, 0, 0, 0}, {ALONE, 0, 0, 1})},
        {"all since the last batch count", SCENE({BATCH, 9, T(0), 0}, {ANSWERS, 8, T(50), 0},
                                                 {ANSWERS, 1, T(51), 0}, {CROWD, 0, 0, 9})},
        {"a batch that leaves is not waited for",
         SCENE({BATCH, 9, T(0), 0}, {ANSWERS, 8, T(50), 0}, {BATCH, 1, T(51), 0},
               {ANSWERS, 1, T(60), 0}, {CROWD, 0, 0, 0})},
    };
    run(scenes, sizeof(scenes) / sizeof(scenes[0]));
}

/* 64 more commands that meet fewer than three others than eight times those that meet more: then
 * callers need not share any more. */
static void test_batching_few_callers_stop_sharing(void **state)
{
    (void)state;
    kw_batching batching = {0};
    for (int i = 0; i < 63; i++) {
        assert_false(kw_batching_on_command(&batching, 2, 3));
    }
    assert_false(kw_batching_on_command(&batching, 3, 3)); /* as eight fewer */
    for (int i = 0; i < 8; i++) {
        assert_false(kw_batching_on_command(&batching, 0, 3));
    }
    assert_true(kw_batching_on_command(&batching, 0, 3));
    assert_false(kw_batching_on_command(&batching, 0, 3));
    for (int i = 0; i < 1000; i++) {
        assert_false(kw_batching_on_command(&batching, 0, 0)); /* share-above=0: always shared */
    }
}

/* One in eight meets many: they share on. Whoever came to share by that would else go at once. */
static void test_batching_callers_who_often_meet_share_on(void **state)
{
    (void)state;
    kw_batching batching = {0};
    for (int i = 0; i < 10000; i++) {
        assert_false(kw_batching_on_command(&batching, i % 8 == 0 ? 3 : 0, 3));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batching_next_batch_waits_for_the_first_answer),
        cmocka_unit_test(
            test_batching_far_server_gets_the_next_batch_after_a_part_of_the_round_trip),
        cmocka_unit_test(test_batching_round_trip_is_the_shortest_of_a_second),
        cmocka_unit_test(test_batching_crowd_is_waited_for_once),
        cmocka_unit_test(test_batching_few_callers_stop_sharing),
        cmocka_unit_test(test_batching_callers_who_often_meet_share_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Scenes of patience: one line a turn, what happens and what the wait is to do. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/backoff.h"
#include "engine/patience.h"

#define MS KW_NS_PER_MS

typedef enum event {
    E_BEGUN, /* another command is sent, where nothing is awaited */
    E_HEARD,
    E_LEFT, /* the caller of the oldest command */
    E_TIME
} event;

typedef struct scene_turn {
    event event;
    uint64_t at_ms;
    uint64_t lost_ms;      /* TIME: when the slot's new owner was published; 0: it has none */
    kw_patience_kind kind; /* TIME */
    uint64_t until_ms;     /* TIME, unless it is given up */
} scene_turn;

#define WAIT    KW_PATIENCE_WAIT
#define LOOK    KW_PATIENCE_LOOK
#define GIVE_UP KW_PATIENCE_GIVE_UP, 0

static void play(const char *name, const kw_patience_rule *rule, const scene_turn *turns, size_t n)
{
    kw_patience patience;
    kw_patience_init(&patience, rule, 0);
    for (size_t i = 0; i < n; i++) {
        uint64_t now_ns = turns[i].at_ms * MS;
        kw_patience_step step = {KW_PATIENCE_WAIT, 0};
        switch (turns[i].event) {
        case E_BEGUN:
            kw_patience_init(&patience, rule, now_ns);
            continue;
        case E_HEARD:
            kw_patience_on_heard(&patience, now_ns);
            continue;
        case E_LEFT:
            kw_patience_on_left(&patience, now_ns);
            continue;
        case E_TIME:
            step = kw_patience_on_time(&patience, now_ns, turns[i].lost_ms * MS);
            break;
        }
        bool is_over = turns[i].kind == KW_PATIENCE_GIVE_UP;
        if (step.kind != turns[i].kind || (!is_over && step.until_ns != turns[i].until_ms * MS)) {
            fail_msg("%s, turn %zu: kind %d, until %llu us", name, i + 1, (int)step.kind,
                     (unsigned long long)(step.until_ns / 1000));
        }
    }
}

#define PLAY(name, rule, ...)                                                                      \
    play(name, rule, (const scene_turn[]){__VA_ARGS__},                                            \
         sizeof((const scene_turn[]){__VA_ARGS__}) / sizeof(scene_turn))

static const kw_patience_rule long_call = {500 * MS, 200 * MS, 5000 * MS, false, false};
static const kw_patience_rule short_call = {500 * MS, 200 * MS, 400 * MS, false, false};
static const kw_patience_rule hasty = {500 * MS, 0, 5000 * MS, false, false};
static const kw_patience_rule of_replica = {500 * MS, 200 * MS, 5000 * MS, true, false};
static const kw_patience_rule blocked = {500 * MS, 200 * MS, 100000 * MS, false, true};

/* clang-format off */
static void test_patience_silence_asks_for_maps(void **state)
{
    (void)state;
    PLAY("every stall", &long_call,
        {E_TIME, 10, 0, WAIT, 500},
        {E_TIME, 500, 0, LOOK, 1000},
        {E_TIME, 700, 0, WAIT, 1000},
        {E_TIME, 1000, 0, LOOK, 1500});
    PLAY("an answer begins it anew", &long_call,
        {E_TIME, 500, 0, LOOK, 1000},
        {E_HEARD, 600, 0, WAIT, 0},
        {E_TIME, 1000, 0, WAIT, 1100},
        {E_TIME, 1100, 0, LOOK, 1600});
    PLAY("so does a send into silence", &long_call,
        {E_BEGUN, 900, 0, WAIT, 0},
        {E_TIME, 900, 0, WAIT, 1400});
    PLAY("a blocked command: less and less often", &blocked,
        {E_TIME, 500, 0, LOOK, 1000},
        {E_TIME, 1000, 0, LOOK, 2000},
        {E_TIME, 2000, 0, LOOK, 4000},
        {E_TIME, 4000, 0, LOOK, 8000},
        {E_TIME, 8000, 0, LOOK, 16000},
        {E_TIME, 16000, 0, LOOK, 26000},
        {E_TIME, 26000, 0, LOOK, 36000});
}

static void test_patience_grace_counts_from_the_new_map(void **state)
{
    (void)state;
    PLAY("found out at once", &long_call,
        {E_TIME, 20, 20, WAIT, 220},
        {E_TIME, 219, 20, WAIT, 220},
        {E_TIME, 220, 20, GIVE_UP});
    PLAY("found out late: no grace is left", &long_call, {E_TIME, 500, 100, GIVE_UP});
    PLAY("published before it was sent", &long_call,
        {E_BEGUN, 300, 0, WAIT, 0},
        {E_TIME, 310, 100, WAIT, 500},
        {E_TIME, 500, 100, GIVE_UP});
    PLAY("a node that still answers is given its time", &long_call,
        {E_TIME, 20, 20, WAIT, 220},
        {E_HEARD, 200, 0, WAIT, 0},
        {E_TIME, 220, 20, WAIT, 400},
        {E_TIME, 400, 20, GIVE_UP});
    PLAY("it comes back", &long_call,
        {E_TIME, 20, 20, WAIT, 220},
        {E_TIME, 220, 0, WAIT, 500});
    PLAY("no grace at all", &hasty, {E_TIME, 20, 20, GIVE_UP});
}

static void test_patience_blocked_command_is_given_a_stall(void **state)
{
    (void)state;
    PLAY("its old owner has that long to say MOVED", &blocked,
        {E_TIME, 9000, 0, LOOK, 9500},
        {E_TIME, 9100, 9100, WAIT, 9500},
        {E_TIME, 9500, 9100, LOOK, 9600},
        {E_TIME, 9599, 9100, WAIT, 9600},
        {E_TIME, 9600, 9100, GIVE_UP});
}

static void test_patience_with_a_replica_ends_with_its_silence(void **state)
{
    (void)state;
    PLAY("others have the answer", &of_replica,
        {E_TIME, 499, 0, WAIT, 500},
        {E_TIME, 500, 0, GIVE_UP});
    PLAY("unless it says something", &of_replica,
        {E_HEARD, 400, 0, WAIT, 0},
        {E_TIME, 500, 0, WAIT, 900},
        {E_TIME, 900, 0, GIVE_UP});
    PLAY("that others own the slot is nothing new", &of_replica,
        {E_TIME, 20, 10, WAIT, 500},
        {E_TIME, 499, 10, WAIT, 500},
        {E_TIME, 500, 10, GIVE_UP});
}

static void test_patience_is_a_part_of_a_short_timeout(void **state)
{
    (void)state;
    PLAY("a quarter", &short_call,
        {E_TIME, 10, 0, WAIT, 100},
        {E_TIME, 100, 0, LOOK, 200},
        {E_TIME, 120, 110, WAIT, 200},
        {E_TIME, 210, 110, GIVE_UP});
}

static void test_patience_answers_owed_to_nobody_are_not_waited_for_long(void **state)
{
    (void)state;
    PLAY("two stalls, whatever comes behind", &short_call,
        {E_LEFT, 400, 0, WAIT, 0},
        {E_TIME, 400, 0, LOOK, 500},
        {E_LEFT, 800, 0, WAIT, 0},
        {E_TIME, 1399, 0, LOOK, 1400},
        {E_TIME, 1400, 0, GIVE_UP});
    PLAY("unless something is heard", &long_call,
        {E_LEFT, 400, 0, WAIT, 0},
        {E_HEARD, 900, 0, WAIT, 0},
        {E_TIME, 1400, 0, LOOK, 1900},
        {E_LEFT, 1500, 0, WAIT, 0},
        {E_TIME, 1500, 0, WAIT, 1900},
        {E_TIME, 2500, 0, GIVE_UP});
}
/* clang-format on */

static void test_patience_next_time_is_that_of_the_step(void **state)
{
    (void)state;
    kw_patience patience;
    kw_patience_init(&patience, &long_call, 0);
    assert_int_equal(kw_patience_next_ns(&patience), 500 * MS);
    (void)kw_patience_on_time(&patience, 500 * MS, 0);
    assert_int_equal(kw_patience_next_ns(&patience), 1000 * MS);
    kw_patience_on_left(&patience, 600 * MS);
    (void)kw_patience_on_time(&patience, 1500 * MS, 0);
    assert_int_equal(kw_patience_next_ns(&patience), 1600 * MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patience_silence_asks_for_maps),
        cmocka_unit_test(test_patience_grace_counts_from_the_new_map),
        cmocka_unit_test(test_patience_blocked_command_is_given_a_stall),
        cmocka_unit_test(test_patience_with_a_replica_ends_with_its_silence),
        cmocka_unit_test(test_patience_is_a_part_of_a_short_timeout),
        cmocka_unit_test(test_patience_answers_owed_to_nobody_are_not_waited_for_long),
        cmocka_unit_test(test_patience_next_time_is_that_of_the_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

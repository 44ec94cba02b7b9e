/* SPDX-License-Identifier: BSD-3-Clause */
/* When a server counts as down, and as back, and what becomes of calls to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/failure_detector.h"

#define MS KW_NS_PER_MS

/* Keys move when a node goes down: its return is to be proven. */
static const kw_failure_detector_rule wary = {3, 1000 * MS, 2, true};

/* Calls fail while a node is down: its first answer is taken. */
static const kw_failure_detector_rule quick = {3, 1000 * MS, 1, false};

static const kw_faults refused = {3, 0, 1000 * MS, KW_FAULT_REFUSED, true};

typedef struct fault_row {
    kw_faults faults;
    uint64_t now_ms;
    bool is_down;
} fault_row;

static void test_failure_detector_needs_failures_in_a_row_over_a_second_and_a_proof(void **state)
{
    (void)state;
    static const fault_row rows[] = {
        {{1, 0, 5000 * MS, KW_FAULT_REFUSED, true}, 5000, false},
        {{2, 0, 5000 * MS, KW_FAULT_REFUSED, true}, 5000, false},
        {{3, 0, 999 * MS, KW_FAULT_REFUSED, true}, 999, false},
        {{3, 0, 1000 * MS, KW_FAULT_REFUSED, true}, 1000, true},
        {{3, 0, 10 * MS, KW_FAULT_LOST, true}, 5000, false}, /* a moment, and nobody tried since */
        {{3, 500 * MS, 1499 * MS, KW_FAULT_REFUSED, true}, 1499, false},
        {{3, 500 * MS, 1500 * MS, KW_FAULT_LOST, true}, 1500, true},
        {{9, 0, 5000 * MS, KW_FAULT_LATE, false}, 5000, false}, /* slow commands, nothing else */
        {{9, 0, 5000 * MS, KW_FAULT_LATE, true}, 5000, true},   /* and a PING without an answer */
        {{9, 0, 5000 * MS, KW_FAULT_UNANSWERED, true}, 5000, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_failure_detector outage;
        kw_failure_detector_init(&outage);
        uint64_t now_ns = rows[i].now_ms * MS;
        bool is_down = kw_failure_detector_on_faults(&outage, &quick, now_ns, &rows[i].faults);
        if (is_down != rows[i].is_down || outage.is_down != is_down) {
            fail_msg("row %zu", i);
        }
        assert_int_equal(outage.downs_n, is_down ? 1 : 0);
        assert_true(!is_down || outage.probe_ns > now_ns);
        assert_false(kw_failure_detector_on_faults(&outage, &quick, now_ns, &rows[i].faults) &&
                     is_down); /* it is already */
    }
}

/* A lone caller of a silent server fails once a deadline: these are failures in a row. */
static void test_failure_detector_begins_a_row_anew_where_nobody_has_tried(void **state)
{
    (void)state;
    const kw_fault_kind late = KW_FAULT_LATE;
    assert_false(kw_failure_detector_is_apart(7000 * MS, 7000 * MS, 0, late));
    assert_false(
        kw_failure_detector_is_apart(6000 * MS, 7000 * MS, 0, late)); /* told by another thread */
    assert_false(kw_failure_detector_is_apart(2000 * MS, 0, 0, late));
    assert_true(kw_failure_detector_is_apart(2001 * MS, 0, 0, late));
    assert_false(kw_failure_detector_is_apart(15000 * MS, 10000 * MS, 5000 * MS, late));
    assert_false(kw_failure_detector_is_apart(17000 * MS, 10000 * MS, 5000 * MS, late));
    assert_true(kw_failure_detector_is_apart(17001 * MS, 10000 * MS, 5000 * MS, late));
}

/* A cluster's node was replaced while nobody called: the first refusal is one failure, not the last
 * of a row that began long ago, and the map is asked for before calls fail at once. */
static void test_failure_detector_refusal_after_a_pause_is_the_first(void **state)
{
    (void)state;
    assert_true(kw_failure_detector_is_apart(14000 * MS, 10000 * MS, 5000 * MS, KW_FAULT_REFUSED));
    assert_false(kw_failure_detector_is_apart(12000 * MS, 10000 * MS, 5000 * MS, KW_FAULT_REFUSED));
}

static void test_failure_detector_is_looked_at_again_when_the_second_is_over(void **state)
{
    (void)state;
    const kw_faults faults = {1, 300 * MS, 300 * MS, KW_FAULT_REFUSED, true};
    assert_int_equal(kw_failure_detector_due_ns(&quick, 400 * MS, &faults), 1300 * MS);
    assert_true(kw_failure_detector_due_ns(&quick, 1300 * MS, &faults) > 1300 * MS);
}

static void test_failure_detector_needs_answers_in_a_row(void **state)
{
    (void)state;
    kw_failure_detector outage;
    kw_random random;
    kw_random_init(&random, 1);
    kw_failure_detector_init(&outage);
    assert_true(kw_failure_detector_on_faults(&outage, &wary, 1000 * MS, &refused));
    assert_false(kw_failure_detector_on_well(&outage, &wary, 1050 * MS));
    assert_false(kw_failure_detector_on_answer(&outage, &wary, 1100 * MS));
    kw_failure_detector_on_silence(&outage, 1200 * MS, &random);
    assert_false(kw_failure_detector_on_answer(&outage, &wary, 1300 * MS));
    assert_true(kw_failure_detector_on_answer(&outage, &wary, 1400 * MS));
    assert_false(outage.is_down);
    assert_false(kw_failure_detector_on_answer(&outage, &wary, 1500 * MS));
}

static void test_failure_detector_takes_the_first_answer_where_no_key_moves(void **state)
{
    (void)state;
    kw_failure_detector outage;
    kw_failure_detector_init(&outage);
    for (uint64_t i = 1; i < 9; i++) { /* however often it comes and goes */
        assert_true(kw_failure_detector_on_faults(&outage, &quick, i * 1000 * MS, &refused));
        assert_true(i % 2 == 0 ? kw_failure_detector_on_well(&outage, &quick, i * 1000 * MS)
                               : kw_failure_detector_on_answer(&outage, &quick, i * 1000 * MS));
        assert_false(outage.is_down);
    }
}

static void test_failure_detector_gives_elections_their_time(void **state)
{
    (void)state;
    assert_int_equal(kw_failure_election_ns(true, 1000), 4000 * MS);
    assert_int_equal(kw_failure_election_ns(true, 0), 32000 * MS);
    assert_int_equal(kw_failure_election_ns(false, 500), 10500 * MS);
    assert_int_equal(kw_failure_election_ns(false, 0), 30000 * MS);
}

typedef struct admit_row {
    kw_failure_sight view;
    uint64_t now_ms;
    kw_admission admission;
} admit_row;

static void test_failure_detector_admits_a_probe_a_second(void **state)
{
    (void)state;
    static const admit_row rows[] = {
        /* another may take its place until 4 s: calls wait as ever */
        {{KW_FAULT_REFUSED, 4000 * MS, 1000 * MS, 0, false}, 3999, KW_ADMITTED},
        {{KW_FAULT_UNANSWERED, 4000 * MS, 1000 * MS, 0, false}, 3999, KW_ADMITTED},
        {{KW_FAULT_REFUSED, 4000 * MS, 3900 * MS, 0, false}, 4000, KW_ADMITTED_NOT},
        /* one that refuses: by the call that comes a second after the last try */
        {{KW_FAULT_REFUSED, 0, 1000 * MS, 0, false}, 1999, KW_ADMITTED_NOT},
        {{KW_FAULT_REFUSED, 0, 1000 * MS, 0, false}, 2000, KW_ADMITTED_AS_PROBE},
        {{KW_FAULT_REFUSED, 0, 2000 * MS, 0, true}, 2001, KW_ADMITTED_SOON}, /* as it goes */
        {{KW_FAULT_REFUSED, 0, 2000 * MS, 0, true}, 3000, KW_ADMITTED_AS_PROBE},
        /* one that is silent: nobody waits, unless there is a sign of life */
        {{KW_FAULT_UNANSWERED, 0, 1000 * MS, 0, false}, 9000, KW_ADMITTED_NOT},
        {{KW_FAULT_LATE, 0, 1000 * MS, 0, false}, 9000, KW_ADMITTED_NOT},
        {{KW_FAULT_LOST, 0, 1000 * MS, 0, false}, 9000, KW_ADMITTED_NOT},
        {{KW_FAULT_UNANSWERED, 0, 1000 * MS, 9010 * MS, false}, 9000, KW_ADMITTED_SOON},
        {{KW_FAULT_UNANSWERED, 0, 1000 * MS, 9010 * MS, false}, 9010, KW_ADMITTED_NOT},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_admission admission = kw_failure_detector_admit(&rows[i].view, rows[i].now_ms * MS);
        if (admission != rows[i].admission) {
            fail_msg("row %zu: %d", i, (int)admission);
        }
    }
}

static void test_failure_detector_probes_with_growing_pauses_of_less_than_a_second(void **state)
{
    (void)state;
    kw_failure_detector outage;
    kw_random random;
    kw_random_init(&random, 2);
    kw_failure_detector_init(&outage);
    assert_true(kw_failure_detector_on_faults(&outage, &wary, 1000 * MS, &refused));
    uint64_t now_ns = outage.probe_ns;
    uint64_t longest_ns = 0;
    for (int i = 0; i < 50; i++) {
        kw_failure_detector_on_silence(&outage, now_ns, &random);
        uint64_t pause_ns = outage.probe_ns - now_ns;
        longest_ns = pause_ns > longest_ns ? pause_ns : longest_ns;
        assert_in_range(pause_ns, 1 * MS, 800 * MS);
        now_ns = outage.probe_ns;
    }
    assert_true(longest_ns > 400 * MS);
}

/* How many answered probes bring a node back that went down. */
static unsigned answers_until_up(kw_failure_detector *outage, uint64_t now_ns)
{
    assert_true(kw_failure_detector_on_faults(outage, &wary, now_ns, &refused));
    unsigned n = 1;
    while (!kw_failure_detector_on_answer(outage, &wary, now_ns)) {
        n++;
        assert_true(n < 100);
    }
    return n;
}

static void test_failure_detector_of_one_that_comes_and_goes_lasts_longer(void **state)
{
    (void)state;
    static const unsigned expected[] = {2, 4, 8, 16, 32, 32};
    kw_failure_detector outage;
    kw_failure_detector_init(&outage);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_int_equal(answers_until_up(&outage, (1 + i) * 1000 * MS), expected[i]);
    }
    assert_int_equal(answers_until_up(&outage, 60000 * MS), 2); /* steady for long enough */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure_detector_needs_failures_in_a_row_over_a_second_and_a_proof),
        cmocka_unit_test(test_failure_detector_begins_a_row_anew_where_nobody_has_tried),
        cmocka_unit_test(test_failure_detector_refusal_after_a_pause_is_the_first),
        cmocka_unit_test(test_failure_detector_is_looked_at_again_when_the_second_is_over),
        cmocka_unit_test(test_failure_detector_takes_the_first_answer_where_no_key_moves),
        cmocka_unit_test(test_failure_detector_gives_elections_their_time),
        cmocka_unit_test(test_failure_detector_admits_a_probe_a_second),
        cmocka_unit_test(test_failure_detector_needs_answers_in_a_row),
        cmocka_unit_test(test_failure_detector_probes_with_growing_pauses_of_less_than_a_second),
        cmocka_unit_test(test_failure_detector_of_one_that_comes_and_goes_lasts_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

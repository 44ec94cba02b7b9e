/* SPDX-License-Identifier: BSD-3-Clause */
/* What several processes see of values on three of five servers, while one server at a time
 * is killed and restarted with its data, stopped, slowed or cut off, is linearizable.
 * KW_TEST_SECONDS in the environment: how long (default 3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "support/check.h"
#include "support/quorum_crowd.h"

/* So long a planted fault is looked for. */
#define FOUND_SECONDS 90u

static unsigned seconds(void)
{
    const char *text = getenv("KW_TEST_SECONDS");
    return text != NULL ? (unsigned)atoi(text) : 3;
}

static void assert_sound(const kw_test_crowd_plan *plan, const char *name)
{
    kw_test_crowd_result result = kw_test_crowd_run(plan, name, true);
    assert_int_equal(result.violations_n, 0);
    /* Undecided are few of thousands, and of some dozen one, where a busy machine makes acts meet.
     */
    assert_true(result.hard_n <= 1 + result.keys_n / 200);
    assert_true(result.done_n > 100);
}

static void test_crowd_under_faults_is_linearizable(void **state)
{
    (void)state;
    kw_test_crowd_plan plan = {
        .options = "copies=3", .seconds = (seconds() + 1) / 2, .has_checked = true, .acts_n = 0};
    assert_sound(&plan, "faults");
    plan.options = "copies=3&quorum-hints=on&share-above=0";
    assert_sound(&plan, "faults, hints, shared");
}

static void test_crowd_with_servers_that_come_back_empty_is_linearizable(void **state)
{
    (void)state;
    kw_test_crowd_plan plan = {.options = "copies=3&quorum-guard=on",
                               .seconds = seconds() * 2 / 3,
                               .has_checked = true,
                               .empties = true};
    assert_sound(&plan, "empty servers");
}

/* Values end, tombstones too, and more than once while a server is away. */
static void test_crowd_with_lives_that_end_is_linearizable(void **state)
{
    (void)state;
    kw_test_crowd_plan plan = {.options = "copies=3&tombstone-ttl=2s",
                               .seconds = seconds() * 2 / 3,
                               .has_checked = true,
                               .has_lives = true,
                               .skew_ms = 200};
    assert_sound(&plan, "faults, lives");
}

/* Planted faults are found: most by each run of two seconds, the server that is not repaired
 * by two runs of three. */
static void assert_found(kw_test_crowd_plan plan, const char *name)
{
    uint64_t end_ns = kw_test_now_ns() + FOUND_SECONDS * UINT64_C(1000000000);
    plan.seconds = 2;
    do {
        kw_test_crowd_result result = kw_test_crowd_run(&plan, name, false);
        if (result.violations_n > 0) {
            return;
        }
    } while (kw_test_now_ns() < end_ns);
    fail_msg("%s was not found", name);
}

static void test_crowd_writes_to_one_copy_are_found(void **state)
{
    (void)state;
    kw_test_crowd_plan plan = {.options = "copies=3&write-quorum=1&read-quorum=2&quorum=weak",
                               .has_halves = true};
    assert_found(plan, "write-quorum=1");
}

static void test_crowd_reads_without_writing_back_are_found(void **state)
{
    (void)state;
    kw_test_crowd_plan plan = {.options = "copies=3&write-quorum=2&read-quorum=2&quorum=weak",
                               .has_halves = true};
    assert_found(plan, "no write back");
}

static void test_crowd_empty_servers_that_are_not_repaired_are_found(void **state)
{
    (void)state;
    kw_test_crowd_plan plan = {.options = "copies=3&quorum-guard=on", .skips_repair = true};
    assert_found(plan, "no repair");
}

static void test_crowd_writes_past_the_version_check_are_found(void **state)
{
    (void)state;
    kw_test_crowd_plan plan = {.options = "copies=3", .rolls_back = true};
    assert_found(plan, "no version check");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crowd_under_faults_is_linearizable),
        cmocka_unit_test(test_crowd_with_servers_that_come_back_empty_is_linearizable),
        cmocka_unit_test(test_crowd_with_lives_that_end_is_linearizable),
        cmocka_unit_test(test_crowd_empty_servers_that_are_not_repaired_are_found),
        cmocka_unit_test(test_crowd_writes_to_one_copy_are_found),
        cmocka_unit_test(test_crowd_reads_without_writing_back_are_found),
        cmocka_unit_test(test_crowd_writes_past_the_version_check_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

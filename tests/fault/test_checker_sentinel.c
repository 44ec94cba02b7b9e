/* SPDX-License-Identifier: BSD-3-Clause */
/* A real Sentinel group under load of many threads, disturbed in every way that operators and
 * accidents have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/checker.h"
#include "support/group.h"

enum { THREADS = 8, SHORT_MS = 2000, LONG_MS = 8000, RECOVERIES_MAX = 16 };

/* The whole program's: tests go on with the group as the one before left it. */
typedef struct stage {
    kw_test_group *group;
    kw_client *client;
    kw_checker *checker;
    int fds_before; /* before the handle was opened */
    uint64_t recoveries_us[RECOVERIES_MAX];
    size_t recoveries_n;
} stage;

/* What must hold whatever happens. */
static void assert_never(const kw_checker_report *report)
{
    assert_int_equal(report->wrong, 0);
    assert_int_equal(report->doubled, 0);
    assert_int_equal(report->late, 0);
    assert_int_equal(report->failed_done, 0);
}

static void assert_clean(const kw_checker_report *report)
{
    assert_never(report);
    assert_int_equal(report->lost, 0);
    assert_int_equal(report->failed_none + report->failed_maybe, 0);
}

/* Acknowledged writes that are found to be gone until the group is in step, and all are read. */
static uint64_t settle(stage *it)
{
    kw_checker_report report;
    kw_test_group_wait(it->group, 60000);
    kw_test_sleep_ms(300);
    kw_checker_sweep(it->checker);
    kw_checker_take(it->checker, &report);
    kw_checker_print("  settled", &report);
    assert_never(&report);
    return report.lost;
}

/* What the primary had run when it went away, and how many calls had been answered. Replication is
 * asynchronous: what a primary acknowledges and does not pass on, Redis itself may lose. */
typedef struct history {
    long long offset; /* of the replication, in bytes */
    uint64_t answered_n;
} history;

static uint64_t answered_n(stage *it)
{
    uint64_t n = 0;
    for (unsigned group = 0; group < KW_CHECKER_GROUPS; group++) {
        n += kw_checker_answered(it->checker, group);
    }
    return n;
}

static history read_history(stage *it, kw_test_server *primary)
{
    history seen = {.answered_n = answered_n(it)};
    seen.offset = kw_test_server_info(primary, "master_repl_offset");
    return seen;
}

#define WRITE_BYTES 30 /* of the replication: no write is less */

/* Writes that Redis may have lost: those that the heir did not have, by its own word, when it was
 * promoted; those between the reading of the history and the end of the old primary, which were
 * so many calls at the most; and one of each thread. */
static uint64_t losable_n(const history *old, kw_test_server *heir, uint64_t answered_n_at_end)
{
    long long had = kw_test_server_info(heir, "second_repl_offset") - 1;
    uint64_t missed_n = old->offset > had ? (uint64_t)(old->offset - had) / WRITE_BYTES : 0;
    uint64_t since_n = answered_n_at_end - old->answered_n;
    fprintf(stderr, "  the heir had %lld of %lld bytes, %lu calls since\n", had, old->offset,
            (unsigned long)since_n);
    return missed_n + since_n + THREADS;
}

/* How long after the promotion the first call that began later was answered. */
static uint64_t wait_recovery(stage *it, uint64_t promoted_ns)
{
    uint64_t end_ms = kw_test_now_ms() + 10000;
    uint64_t first_ns = 0;
    while (first_ns == 0) {
        for (unsigned group = 0; group < KW_CHECKER_GROUPS; group++) {
            uint64_t at_ns = kw_checker_first_ns(it->checker, group);
            first_ns =
                at_ns > promoted_ns && (first_ns == 0 || at_ns < first_ns) ? at_ns : first_ns;
        }
        assert_true(kw_test_now_ms() < end_ms);
        kw_test_sleep_ms(1);
    }
    it->recoveries_us[it->recoveries_n] = (first_ns - promoted_ns) / 1000;
    return it->recoveries_us[it->recoveries_n++];
}

static void test_load_without_a_fault_is_clean(void **state)
{
    stage *it = *state;
    kw_checker_report report;
    kw_test_sleep_ms(1500);
    kw_checker_take(it->checker, &report);
    kw_checker_print("calm", &report);
    assert_clean(&report);
    assert_true(report.calls > 100);
}

static void test_killed_sentinel_is_not_noticed(void **state)
{
    stage *it = *state;
    kw_checker_report report;
    kw_test_server_kill(kw_test_group_sentinel(it->group, 0));
    kw_test_sleep_ms(1500);
    kw_test_server_pause(kw_test_group_sentinel(it->group, 1));
    kw_test_sleep_ms(1500);
    kw_test_server_resume(kw_test_group_sentinel(it->group, 1));
    kw_test_server_restart(kw_test_group_sentinel(it->group, 0));
    kw_checker_take(it->checker, &report);
    kw_checker_print("sentinels killed and stopped", &report);
    assert_clean(&report);
    kw_test_group_wait(it->group, 60000);
}

/* One outage of the primary: by SIGKILL, or by SIGSTOP until another one has taken over. */
static void run_outage(stage *it, bool is_stop)
{
    kw_checker_report report;
    uint64_t promoted_ns;
    kw_test_server *old = kw_test_group_primary(it->group);
    assert_non_null(old);
    history seen = read_history(it, old);
    uint64_t start_ns = kw_test_now_ns();
    if (is_stop) {
        kw_test_server_pause(old);
    } else {
        kw_test_server_kill(old);
    }
    uint64_t answered_n_at_end = answered_n(it);
    kw_checker_mark(it->checker);
    kw_test_server *heir = kw_test_group_wait_promotion(it->group, old, &promoted_ns);
    uint64_t recovery_us = wait_recovery(it, promoted_ns);
    uint64_t most_n = losable_n(&seen, heir, answered_n_at_end);
    kw_test_sleep_ms(1000);
    kw_checker_sweep(it->checker);
    kw_checker_take(it->checker, &report);
    kw_checker_print(is_stop ? "stopped" : "killed", &report);
    fprintf(stderr, "  promotion after %lu ms, first answer %lu us later\n",
            (unsigned long)((promoted_ns - start_ns) / 1000000), (unsigned long)recovery_us);
    assert_never(&report);
    assert_true(report.lost <= most_n);
    assert_true(report.failed_maybe <= THREADS);
    assert_true(recovery_us <= (1000000 + 2 * report.tardy_us) * KW_TEST_SLOWNESS);
    if (is_stop) {
        kw_test_server_resume(old);
    } else {
        kw_test_server_restart(old);
    }
    kw_test_sleep_ms(1000); /* as a primary that nobody follows, until it is told */
    kw_checker_take(it->checker, &report);
    kw_checker_print("  the old one is back", &report);
    assert_never(&report);
    assert_int_equal(report.lost, 0); /* what was acknowledged since the promotion is there */
    assert_int_equal(settle(it), 0);
}

static void test_killed_primary_costs_only_the_calls_it_held(void **state)
{
    run_outage(*state, false);
    run_outage(*state, false);
}

static void test_stopped_primary_that_comes_back_keeps_acknowledged_writes(void **state)
{
    run_outage(*state, true);
    run_outage(*state, true);
}

/* The old primary takes writes for seconds after the sentinels have promoted another one; what
 * it acknowledges until the client knows is lost. Where it took none, it goes on with the heir's
 * stream: then nothing is. */
static void test_failover_by_command_back_and_forth(void **state)
{
    stage *it = *state;
    kw_checker_report report;
    for (int round = 0; round < 2; round++) {
        uint64_t promoted_ns;
        kw_test_server *heir = kw_test_group_failover(it->group, &promoted_ns);
        long long copies_n = kw_test_server_info(heir, "sync_full");
        char name[64] = "";
        while (strcmp(name, kw_test_server_address(heir)) != 0) {
            assert_int_equal(kw_client_slot_node(it->client, NULL, name, sizeof(name), 0), KW_OK);
            assert_true(kw_test_now_ns() - promoted_ns < 10000000000u);
            kw_test_sleep_ms(1);
        }
        uint64_t ms = (kw_test_now_ns() - promoted_ns) / 1000000;
        kw_checker_take(it->checker, &report);
        kw_checker_print("failover by command", &report);
        fprintf(stderr, "  the heir is used %lu ms after its promotion\n", (unsigned long)ms);
        assert_never(&report);
        assert_true(ms < 2300 * KW_TEST_SLOWNESS); /* the sentinels' second, and ours */
        uint64_t lost_n = report.lost + settle(it);
        bool has_parted = kw_test_server_info(heir, "sync_full") > copies_n;
        fprintf(stderr, "  the old primary had %s the heir had not\n",
                has_parted ? "writes that" : "nothing that");
        assert_true(has_parted || lost_n == 0);
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void test_handle_is_whole_after_all_faults(void **state)
{
    stage *it = *state;
    kw_checker_report report;
    kw_checker_stop(it->checker, &report);
    it->checker = NULL;
    kw_checker_print("end", &report);
    assert_never(&report);
    qsort(it->recoveries_us, it->recoveries_n, sizeof(it->recoveries_us[0]), compare);
    uint64_t median_us = it->recoveries_us[it->recoveries_n / 2];
    fprintf(stderr, "first answer after a promotion: median %lu us, worst %lu us of %zu\n",
            (unsigned long)median_us, (unsigned long)it->recoveries_us[it->recoveries_n - 1],
            it->recoveries_n);
    kw_close(it->client);
    it->client = NULL;
    assert_int_equal(kw_test_fd_count(), it->fds_before);
}

static int start_stage(void **state)
{
    static stage it; /* the program's only one */
    static const kw_checker_setup setup = {THREADS, {SHORT_MS, LONG_MS}, NULL, NULL};
    it.group = kw_test_group_start(2, NULL, NULL);
    it.fds_before = kw_test_fd_count();
    it.client = kw_test_open("%s?timeout=5000ms", kw_test_group_uri(it.group));
    it.checker = kw_checker_start(it.client, &setup);
    *state = &it;
    return 0;
}

static int end_stage(void **state)
{
    stage *it = *state;
    kw_checker_report report;
    if (it->checker != NULL) {
        kw_checker_stop(it->checker, &report);
    }
    kw_close(it->client);
    kw_test_group_free(it->group);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_without_a_fault_is_clean),
        cmocka_unit_test(test_killed_sentinel_is_not_noticed),
        cmocka_unit_test(test_failover_by_command_back_and_forth),
        cmocka_unit_test(test_killed_primary_costs_only_the_calls_it_held),
        cmocka_unit_test(test_stopped_primary_that_comes_back_keeps_acknowledged_writes),
        cmocka_unit_test(test_handle_is_whole_after_all_faults),
    };
    return cmocka_run_group_tests(tests, start_stage, end_stage);
}

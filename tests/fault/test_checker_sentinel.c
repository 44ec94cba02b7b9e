/* SPDX-License-Identifier: BSD-3-Clause */
/* A real Sentinel group under load of many threads, disturbed in every way that operators and
 * accidents have. */
#include <string.h>

#include "fault/checker_asserts.h"
#include "support/ask.h"
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
    unsigned promoted_n; /* of the promotions, those that a test has been judged by */
} stage;

/* Whatever happens: no call that has run is told as a failure, either. */
static void assert_certain(const kw_checker_report *report)
{
    assert_never(report);
    assert_int_equal(report->failed_done, 0);
}

/* Until the group is in step, and all that was written is read. */
static void settle(stage *it, kw_checker_report *report)
{
    kw_test_group_wait(it->group, 60000);
    kw_test_sleep_ms(300);
    kw_checker_sweep(it->checker);
    kw_checker_take(it->checker, report);
    kw_checker_print("  settled", report);
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

/* How long after the promotion the first call that began after the outage was answered; 0 where
 * that was before this thread, which may be late, knew of the promotion. */
static uint64_t wait_recovery(stage *it, uint64_t promoted_ns)
{
    uint64_t first_ns = 0;
    KW_TEST_UNTIL(first_ns != 0)
    {
        for (unsigned group = 0; group < KW_CHECKER_GROUPS; group++) {
            uint64_t at_ns = kw_checker_first_ns(it->checker, group);
            first_ns = at_ns != 0 && (first_ns == 0 || at_ns < first_ns) ? at_ns : first_ns;
        }
        kw_test_sleep_ms(1);
    }
    it->recoveries_us[it->recoveries_n] =
        first_ns > promoted_ns ? (first_ns - promoted_ns) / 1000 : 0;
    return it->recoveries_us[it->recoveries_n++];
}

/* Promotions that sentinels have led, by their logs, from when they send for one: whether it was
 * done is logged only by who is still the leader when it looks. Two that lead at once, or one
 * shortly behind the other, promote a server each: until they agree both take writes, and those to
 * one of them are lost. */
static unsigned promotions_n(stage *it)
{
    unsigned n = 0;
    for (size_t i = 0; i < KW_TEST_SENTINELS; i++) {
        char place[300];
        char line[400];
        snprintf(place, sizeof(place), "%s/log",
                 kw_test_server_folder(kw_test_group_sentinel(it->group, i)));
        FILE *log = fopen(place, "r");
        assert_non_null(log);
        while (fgets(line, sizeof(line), log) != NULL) {
            n += strstr(line, "+failover-state-send-slaveof-noone") != NULL ? 1 : 0;
        }
        fclose(log);
    }
    return n;
}

/* True where so many servers have been promoted since this was asked, and no more: else what was
 * written is not judged. One that comes behind a test is the next one's. */
static bool has_promoted(stage *it, unsigned n)
{
    unsigned found_n = promotions_n(it) - it->promoted_n;
    it->promoted_n += found_n;
    if (found_n != n) {
        fprintf(stderr, "  not judged: the sentinels have promoted %u servers\n", found_n);
    }
    return found_n == n;
}

/* Behind what is not judged: until what is read is what was read before, so that what comes then is
 * judged by itself. */
static void forget_split(stage *it)
{
    kw_checker_report report = {.lost = 1};
    for (int tries = 0; tries < 5 && report.lost + report.wrong + report.doubled > 0; tries++) {
        settle(it, &report);
    }
}

static void test_load_without_a_fault_is_clean(void **state)
{
    stage *it = *state;
    kw_checker_report report;
    kw_test_sleep_ms(1500);
    kw_checker_take(it->checker, &report);
    kw_checker_print("calm", &report);
    if (has_promoted(it, 0)) {
        assert_clean(&report);
    } else {
        forget_split(it);
    }
    assert_true(report.calls > 100);
}

/* A sentinel that was stopped for two seconds says nothing for a while ("TILT mode" in Redis'
 * documentation): this time is the system's, not the calm clock's. */
static void stop_for_a_second(kw_test_server *sentinel)
{
    uint64_t end_ms = kw_test_real_ms() + 1000;
    kw_test_server_pause(sentinel);
    while (kw_test_real_ms() < end_ms) {
        kw_test_sleep_ms(1);
    }
    kw_test_server_resume(sentinel);
}

static void test_killed_sentinel_is_not_noticed(void **state)
{
    stage *it = *state;
    kw_checker_report report;
    kw_test_server_kill(kw_test_group_sentinel(it->group, 0));
    kw_test_sleep_ms(1500);
    stop_for_a_second(kw_test_group_sentinel(it->group, 1));
    kw_test_server_restart(kw_test_group_sentinel(it->group, 0));
    kw_test_group_hasten(it->group);
    kw_checker_take(it->checker, &report);
    kw_checker_print("sentinels killed and stopped", &report);
    if (has_promoted(it, 0)) {
        assert_clean(&report);
    } else {
        forget_split(it);
    }
    kw_test_group_wait(it->group, 60000);
}

/* What must hold of an outage with one promotion: while it lasted, when the old primary was back,
 * and until the group was in step. */
static void judge_outage(const kw_checker_report reports[3], uint64_t most_n)
{
    assert_true(reports[0].lost <= most_n);
    assert_true(reports[0].failed_maybe <= THREADS);
    for (size_t i = 0; i < 3; i++) {
        assert_certain(&reports[i]);
        assert_true(i == 0 || reports[i].lost == 0); /* acknowledged since the promotion */
    }
}

/* One outage of the primary: by SIGKILL, or by SIGSTOP until another one has taken over. */
static void run_outage(stage *it, bool is_stop)
{
    kw_checker_report reports[3];
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
    kw_checker_take(it->checker, &reports[0]);
    kw_checker_print(is_stop ? "stopped" : "killed", &reports[0]);
    fprintf(stderr, "  promotion after %lu ms, first answer %lu us later\n",
            (unsigned long)((promoted_ns - start_ns) / 1000000), (unsigned long)recovery_us);
    if (is_stop) {
        kw_test_server_resume(old);
    } else {
        kw_test_server_restart(old);
    }
    kw_test_sleep_ms(1000); /* as a primary that nobody follows, until it is told */
    kw_checker_take(it->checker, &reports[1]);
    kw_checker_print("  the old one is back", &reports[1]);
    settle(it, &reports[2]);
    if (has_promoted(it, 1)) {
        judge_outage(reports, most_n);
        assert_true(recovery_us <= (1000000 + 2 * reports[0].tardy_us) * KW_TEST_SLOWNESS);
    } else {
        forget_split(it);
    }
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
    kw_checker_report reports[2];
    for (int round = 0; round < 2; round++) {
        uint64_t promoted_ns;
        kw_test_server *heir = kw_test_group_failover(it->group, &promoted_ns);
        long long copies_n = kw_test_server_info(heir, "sync_full");
        char name[64] = "";
        while (strcmp(name, kw_test_server_address(heir)) != 0 &&
               promotions_n(it) == it->promoted_n + 1) {
            assert_int_equal(kw_client_slot_node(it->client, NULL, name, sizeof(name), 0), KW_OK);
            assert_true(kw_test_now_ns() - promoted_ns < 10000000000u);
            kw_test_sleep_ms(5);
        }
        uint64_t ms = (kw_test_now_ns() - promoted_ns) / 1000000;
        kw_checker_take(it->checker, &reports[0]);
        kw_checker_print("failover by command", &reports[0]);
        fprintf(stderr, "  the heir is used %lu ms after its promotion\n", (unsigned long)ms);
        settle(it, &reports[1]);
        bool has_parted = kw_test_server_info(heir, "sync_full") > copies_n;
        fprintf(stderr, "  the old primary had %s the heir had not\n",
                has_parted ? "writes that" : "nothing that");
        if (has_promoted(it, 1)) {
            assert_certain(&reports[0]);
            assert_certain(&reports[1]);
            assert_true(has_parted || reports[0].lost + reports[1].lost == 0);
            assert_true(ms < 2300 * KW_TEST_SLOWNESS); /* the sentinels' second, and ours */
        } else {
            forget_split(it);
        }
    }
}

static void test_handle_is_whole_after_all_faults(void **state)
{
    stage *it = *state;
    kw_checker_report report;
    kw_checker_stop(it->checker, &report);
    it->checker = NULL;
    kw_checker_print("end", &report);
    assert_certain(&report);
    (void)tell_recoveries(it->recoveries_us, it->recoveries_n);
    kw_close(it->client);
    it->client = NULL;
    assert_int_equal(kw_test_fds_tell(it->fds_before), it->fds_before);
}

static int start_stage(void **state)
{
    static stage it; /* the program's only one */
    static const kw_checker_setup setup = {THREADS, {SHORT_MS, LONG_MS}, NULL, NULL};
    it.group = kw_test_group_start(2, NULL, NULL);
    kw_test_group_hasten(it.group);
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

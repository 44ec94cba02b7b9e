/* SPDX-License-Identifier: BSD-3-Clause */
/* A real cluster under load of many threads, disturbed in every way that operators and
 * accidents have; and the checker's own proof that it notices what it should. */
#include <hiredis.h>
#include <stdatomic.h>
#include <string.h>

#include "fault/checker_asserts.h"
#include "support/ask.h"
#include "support/cluster.h"
#include "support/link.h"
#include "support/parts.h"

enum { THREADS = 8, SHORT_MS = 2000, LONG_MS = 5000, RECOVERIES_MAX = 16 };

/* The whole program's: tests go on with the cluster as the one before left it. */
typedef struct stage {
    kw_test_cluster *cluster;
    kw_client *client;
    kw_checker *checker;
    int fds_before; /* before the handle was opened */
    int fds_calm;   /* under load, without a fault */
    size_t rss_calm;
    uint64_t p99_calm_us[KW_CHECKER_GROUPS];
    uint64_t recoveries_us[RECOVERIES_MAX];
    size_t recoveries_n;
    uint64_t elected_ms; /* last planned failover; see kw_test_cluster_failover */
} stage;

/* The node of the group's slots, and its replica. */
static kw_test_server *primary_of(stage *it, unsigned group)
{
    static const unsigned slots[KW_CHECKER_GROUPS] = {3000, 8000, 13000};
    kw_test_server *primary = kw_test_cluster_owner(it->cluster, slots[group]);
    assert_non_null(primary);
    return primary;
}

/* When the replica says that it is a primary. */
static uint64_t wait_promotion(kw_test_server *replica)
{
    uint64_t end_ms = kw_test_now_ms() + 30000;
    kw_test_link *link = kw_test_server_link(replica);
    bool is_primary = false;
    uint64_t now_ns = 0;
    while (!is_primary) {
        redisReply *role = kw_test_link_ask(link, "ROLE");
        now_ns = kw_test_now_ns();
        assert_non_null(role);
        is_primary = role->elements > 0 && strcmp(role->element[0]->str, "master") == 0;
        freeReplyObject(role);
        assert_true(kw_test_now_ms() < end_ms);
        kw_test_sleep_ms(2);
    }
    kw_test_link_close(link);
    return now_ns;
}

/* Waits for the group's first answer and writes down how long after the promotion it came. */
static uint64_t wait_recovery(stage *it, unsigned group, uint64_t promoted_ns)
{
    uint64_t end_ms = kw_test_now_ms() + 10000;
    while (kw_checker_first_ns(it->checker, group) == 0) {
        assert_true(kw_test_now_ms() < end_ms);
        kw_test_sleep_ms(1);
    }
    uint64_t first_ns = kw_checker_first_ns(it->checker, group);
    uint64_t us = first_ns > promoted_ns ? (first_ns - promoted_ns) / 1000 : 0;
    it->recoveries_us[it->recoveries_n++] = us;
    return us;
}

static void test_load_without_a_fault_is_clean(void **state)
{
    stage *it = *state;
    kw_checker_report report;
    kw_test_sleep_ms(300);
    kw_checker_take(it->checker, &report);
    assert_clean(&report);
    kw_test_sleep_ms(1000);
    for (unsigned group = 0; group < KW_CHECKER_GROUPS; group++) {
        it->p99_calm_us[group] = kw_checker_p99_us(it->checker, group, NULL);
    }
    it->fds_calm = kw_test_fd_count();
    it->rss_calm = kw_test_rss_bytes();
    kw_checker_take(it->checker, &report);
    kw_checker_print("calm", &report);
    assert_clean(&report);
    assert_true(report.calls > 100);
}

/* redis-cli moves slots of one primary to another. */
static void reshard(stage *it, kw_test_server *from, kw_test_server *to, unsigned slots_n)
{
    char command[500];
    snprintf(command, sizeof(command),
             "cli=redis-cli; command -v $cli > /dev/null || cli=valkey-cli; "
             "$cli --cluster reshard %s --cluster-from %s --cluster-to %s --cluster-slots %u "
             "--cluster-yes > /dev/null",
             kw_test_server_address(from), kw_test_cluster_id(it->cluster, from),
             kw_test_cluster_id(it->cluster, to), slots_n);
    assert_int_equal(system(command), 0);
}

static void test_resharding_back_and_forth_fails_no_call(void **state)
{
    stage *it = *state;
    kw_checker_report report;
    kw_stats before = kw_test_stats(it->client);
    kw_test_server *first = kw_test_cluster_node(it->cluster, 0);
    kw_test_server *second = kw_test_cluster_node(it->cluster, 1);
    uint64_t start_ms = kw_test_now_ms();
    kw_test_cluster_move(it->cluster, 0, 999, second);
    kw_test_cluster_move(it->cluster, 0, 999, first);
    kw_test_cluster_wait(it->cluster, 60000);
    reshard(it, first, second, 100);
    kw_test_cluster_wait(it->cluster, 60000);
    reshard(it, second, first, 100);
    kw_test_cluster_wait(it->cluster, 60000);
    uint64_t spent_ms = kw_test_now_ms() - start_ms;
    kw_checker_take(it->checker, &report);
    kw_checker_print("reshard", &report);
    kw_stats after = kw_test_stats(it->client);
    fprintf(stderr, "  %lu ms: %lu MOVED, %lu ASK, %lu waits, %lu maps fetched\n",
            (unsigned long)spent_ms, (unsigned long)(after.moved - before.moved),
            (unsigned long)(after.ask - before.ask), (unsigned long)(after.waits - before.waits),
            (unsigned long)(after.refreshes - before.refreshes));
    assert_clean(&report);
    assert_true(after.moved > before.moved);
    assert_true(after.refreshes - before.refreshes <= spent_ms / 100 + 2);
}

/* With all their keys at once: for a moment the servers hold writes back, and then say MOVED. */
static void test_slots_that_move_as_a_whole_fail_no_call(void **state)
{
    stage *it = *state;
    kw_checker_report report;
    kw_test_server *first = kw_test_cluster_owner(it->cluster, 0);
    kw_test_server *second = kw_test_cluster_owner(it->cluster, 8000);
    kw_stats before = kw_test_stats(it->client);
    kw_checker_take(it->checker, &report);
    if (!kw_test_cluster_move_whole(it->cluster, 0, 4000, second)) {
        return; /* before Valkey 9.0 and Redis 8.4 */
    }
    kw_test_cluster_wait(it->cluster, 60000);
    assert_true(kw_test_cluster_move_whole(it->cluster, 0, 4000, first));
    kw_test_cluster_wait(it->cluster, 60000);
    kw_checker_sweep(it->checker);
    kw_checker_take(it->checker, &report);
    kw_checker_print("moved as a whole", &report);
    assert_clean(&report);
    assert_true(kw_test_stats(it->client).moved > before.moved);
}

static void test_planned_failover_there_and_back_fails_no_call(void **state)
{
    stage *it = *state;
    kw_checker_report report;
    for (unsigned round = 0; round < 2 * KW_CHECKER_GROUPS; round++) {
        kw_test_server *old = primary_of(it, round / 2);
        kw_test_server *replica = kw_test_cluster_replica(it->cluster, old);
        assert_non_null(replica);
        kw_test_cluster_failover(it->cluster, replica);
        kw_test_cluster_wait(it->cluster, 60000);
        kw_test_sleep_ms(200);
    }
    it->elected_ms = kw_test_now_ms();
    kw_checker_take(it->checker, &report);
    kw_checker_print("planned failover", &report);
    assert_clean(&report);
}

/* Asynchronous replication loses what a primary acknowledged and did not yet pass on. It
 * does both in one turn of its loop, which has at most one call of each thread. */
static void assert_outage(stage *it, const kw_checker_report *report, uint64_t outage_ms,
                          uint64_t recovery_us)
{
    assert_never(report);
    assert_true(report->lost <= THREADS);
    assert_int_equal(report->failed_done, 0);
    if (outage_ms + 1500 < LONG_MS) {
        assert_true(report->failed_long <= THREADS / 2); /* what each had sent */
        assert_int_equal(report->failed_long_certain, 0);
    }
    assert_true(recovery_us <= 1000000 + 2 * report->tardy_us);
    assert_true(kw_test_fd_count() <= it->fds_calm + THREADS * 6);
}

/* Calls to the other nodes go on as before: none waits for the node that is away, which
 * would take half a second and more. */
static void assert_others_calm(const stage *it, unsigned hit, const uint64_t *p99_us,
                               const kw_checker_report *report)
{
    for (unsigned group = 0; group < KW_CHECKER_GROUPS; group++) {
        if (group != hit) {
            fprintf(stderr, "  node of group %u: p99 %lu us, calm %lu us\n", group,
                    (unsigned long)p99_us[group], (unsigned long)it->p99_calm_us[group]);
            assert_true(p99_us[group] <=
                        10 * it->p99_calm_us[group] + 150000 + 2 * report->tardy_us);
        }
    }
}

/* One outage of a group's primary: by SIGKILL, or by SIGSTOP until others have taken over. */
static void run_outage(stage *it, unsigned group, bool is_stop)
{
    kw_checker_report report;
    kw_checker_report after;
    kw_test_server *primary = primary_of(it, group);
    kw_test_server *replica = kw_test_cluster_replica(it->cluster, primary);
    assert_non_null(replica);
    while (kw_test_now_ms() < it->elected_ms + 4500) {
        kw_test_sleep_ms(10);
    }
    kw_checker_take(it->checker, &report);
    assert_clean(&report);
    kw_stats before = kw_test_stats(it->client);
    uint64_t start_ns = kw_test_now_ns();
    if (is_stop) {
        kw_test_server_pause(primary);
    } else {
        kw_test_server_kill(primary);
    }
    kw_checker_mark(it->checker);
    uint64_t promoted_ns = wait_promotion(replica);
    uint64_t recovery_us = wait_recovery(it, group, promoted_ns);
    uint64_t outage_ms = (promoted_ns - start_ns) / 1000000;
    kw_test_sleep_ms(600);
    uint64_t p99_us[KW_CHECKER_GROUPS];
    for (unsigned other = 0; other < KW_CHECKER_GROUPS; other++) {
        uint64_t calls;
        p99_us[other] = kw_checker_p99_us(it->checker, other, &calls);
        assert_true(other == group || calls > 50);
    }
    kw_checker_take(it->checker, &report);
    kw_checker_print(is_stop ? "stopped" : "killed", &report);
    fprintf(stderr, "  promotion after %lu ms, first answer %lu us later\n",
            (unsigned long)outage_ms, (unsigned long)recovery_us);
    assert_others_calm(it, group, p99_us, &report);
    assert_outage(it, &report, outage_ms, recovery_us);
    if (!is_stop) {
        assert_true(report.failed_maybe <= THREADS);
        kw_test_server_restart(primary);
    } else {
        kw_test_server_resume(primary);
    }
    kw_test_cluster_wait(it->cluster, 60000);
    kw_test_sleep_ms(200);
    kw_stats now = kw_test_stats(it->client);
    assert_true(now.connects >= before.connects); /* also those of nodes that are gone */
    assert_true(now.disconnects > before.disconnects);
    kw_checker_take(it->checker, &after);
    kw_checker_print(is_stop ? "  continued" : "  restarted", &after);
    assert_clean(&after); /* what was acknowledged since the promotion is there */
}

static void test_killed_primary_costs_only_the_calls_it_held(void **state)
{
    run_outage(*state, 0, false);
    run_outage(*state, 2, false);
    run_outage(*state, 0, false);
}

static void test_stopped_primary_that_comes_back_keeps_acknowledged_writes(void **state)
{
    run_outage(*state, 1, true);
    run_outage(*state, 2, true);
}

static void test_handle_is_whole_after_all_faults(void **state)
{
    stage *it = *state;
    kw_checker_report report;
    kw_checker_stop(it->checker, &report);
    it->checker = NULL;
    kw_checker_print("end", &report);
    assert_clean(&report);
    uint64_t median_us = tell_recoveries(it->recoveries_us, it->recoveries_n);
    assert_true(median_us <= 600000 + 2 * report.tardy_us);
    kw_stats stats = kw_test_stats(it->client);
    fprintf(stderr, "%lu connections for %lu nodes, %lu opened, %lu lost; %lu retries\n",
            (unsigned long)stats.connections, (unsigned long)stats.nodes,
            (unsigned long)stats.connects, (unsigned long)stats.disconnects,
            (unsigned long)stats.retries);
    assert_true(stats.connections + stats.disconnects <= stats.connects);
    assert_true(kw_test_fd_count() <= it->fds_calm + THREADS * 3);
    size_t rss = kw_test_rss_bytes();
    fprintf(stderr, "memory %zu KB, calm %zu KB\n", rss / 1024, it->rss_calm / 1024);
    assert_true(rss <= it->rss_calm + (8u << 20));
    kw_close(it->client);
    it->client = NULL;
    assert_int_equal(kw_test_fds_tell(it->fds_before), it->fds_before);
}

static int start_stage(void **state)
{
    static stage it; /* the program's only one */
    static const kw_checker_setup setup = {THREADS, {SHORT_MS, LONG_MS}, NULL, NULL};
    it.cluster = kw_test_cluster_start(3, 1, 1000,
                                       "cluster-require-full-coverage no\n"
                                       "cluster-allow-replica-migration no\n"
                                       "cluster-replica-validity-factor 0\n");
    it.fds_before = kw_test_fd_count();
    it.client = kw_test_open("%s?timeout=5000ms", kw_test_cluster_uri(it.cluster));
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
    kw_test_cluster_free(it->cluster);
    return 0;
}

/* Faults planted between the checker and the library. */
typedef enum plant_kind {
    PLANT_NONE,
    PLANT_REPEAT,
    PLANT_SWAP,
    PLANT_FORGET,
    PLANT_LATE
} plant_kind;

typedef struct plant {
    plant_kind kind;
    atomic_uint calls_n;
    _Atomic(kw_reply *) kept;
} plant;

static kw_reply *planted_call(void *arg, unsigned thread, kw_client *client, kw_error *error,
                              const kw_call_options *options, int argc, const char **argv,
                              const size_t *argvlen)
{
    plant *it = arg;
    (void)thread;
    bool is_turn = atomic_fetch_add(&it->calls_n, 1) % 50 == 49;
    bool is_read = strcmp(argv[0], "GET") == 0 && argv[1][0] == 'v';
    if (it->kind == PLANT_REPEAT && is_turn && strcmp(argv[0], "INCR") == 0) {
        /* As a client that sends a command again whose answer it did not see. */
        kw_reply_free(kw_call(client, error, options, (kw_argv){argc, argv, argvlen}));
    }
    if (it->kind == PLANT_FORGET && is_turn && strcmp(argv[0], "SET") == 0) {
        /* An answer without a write, as of a primary that nobody follows any more. */
        const char *ping[] = {"SET", "elsewhere", "1"};
        return kw_call(client, error, options, (kw_argv){3, ping, NULL});
    }
    if (it->kind == PLANT_LATE && is_turn) {
        kw_test_sleep_ms((unsigned)options->timeout_ms + 700);
    }
    kw_reply *reply = kw_call(client, error, options, (kw_argv){argc, argv, argvlen});
    if (it->kind == PLANT_SWAP && is_read && reply != NULL) {
        kw_reply *other = atomic_exchange(&it->kept, reply);
        return other != NULL ? other
                             : kw_call(client, error, options, (kw_argv){argc, argv, argvlen});
    }
    return reply;
}

/* What was noticed so far, in all. */
static void add_to(kw_checker_report *all, kw_checker *checker)
{
    kw_checker_report part;
    kw_checker_take(checker, &part);
    all->calls += part.calls;
    all->failed_none += part.failed_none;
    all->failed_maybe += part.failed_maybe;
    all->failed_done += part.failed_done;
    all->wrong += part.wrong;
    all->doubled += part.doubled;
    all->lost += part.lost;
    all->late += part.late;
}

/* What was planted, which the checker must notice; of nothing, as many calls as show something. */
static bool is_noticed(const kw_checker_report *report, plant_kind kind)
{
    switch (kind) {
    case PLANT_NONE:
        return report->calls > 200;
    case PLANT_REPEAT:
        return report->doubled > 0;
    case PLANT_SWAP:
        return report->wrong > 0;
    case PLANT_FORGET:
        return report->lost > 0;
    case PLANT_LATE:
        return report->late > 0;
    }
    return false;
}

static void run_plant(kw_checker_report *report, plant_kind kind)
{
    kw_test_server *server = kw_test_server_start(NULL);
    kw_client *client = kw_test_open("%s", kw_test_server_uri(server));
    plant it = {kind, 0, NULL};
    kw_checker_setup setup = {4, {100, 100}, planted_call, &it};
    if (kind != PLANT_LATE) {
        setup.timeout_ms[0] = 5000;
    }
    kw_checker *checker = kw_checker_start(client, &setup);
    kw_checker_report last;
    memset(report, 0, sizeof(*report));
    KW_TEST_UNTIL(is_noticed(report, kind))
    {
        kw_test_sleep_ms(20);
        add_to(report, checker);
    }
    kw_checker_stop(checker, &last);
    report->wrong += last.wrong;
    report->doubled += last.doubled;
    report->lost += last.lost;
    report->late += last.late;
    kw_reply_free(atomic_load(&it.kept));
    kw_close(client);
    kw_test_server_free(server);
    kw_checker_print("planted", report);
}

static void test_checker_notices_a_planted_fault(void **state)
{
    kw_checker_report report;
    (void)state;
    run_plant(&report, PLANT_NONE);
    assert_clean(&report);
    run_plant(&report, PLANT_REPEAT);
    assert_true(report.doubled > 0);
    assert_int_equal(report.wrong, 0);
    run_plant(&report, PLANT_SWAP);
    assert_true(report.wrong > 0);
    run_plant(&report, PLANT_FORGET);
    assert_true(report.lost > 0);
    run_plant(&report, PLANT_LATE);
    assert_true(report.late > 0);
}

static int run(size_t part)
{
    const struct CMUnitTest proofs[] = {
        cmocka_unit_test(test_checker_notices_a_planted_fault),
    };
    const struct CMUnitTest faults[] = {
        cmocka_unit_test(test_load_without_a_fault_is_clean),
        cmocka_unit_test(test_planned_failover_there_and_back_fails_no_call),
        cmocka_unit_test(test_resharding_back_and_forth_fails_no_call),
        cmocka_unit_test(test_slots_that_move_as_a_whole_fail_no_call),
        cmocka_unit_test(test_killed_primary_costs_only_the_calls_it_held),
        cmocka_unit_test(test_stopped_primary_that_comes_back_keeps_acknowledged_writes),
        cmocka_unit_test(test_handle_is_whole_after_all_faults),
    };
    return part == 0 ? cmocka_run_group_tests(faults, start_stage, end_stage)
                     : cmocka_run_group_tests(proofs, NULL, NULL);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 2, run);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A crowd on one lane, with delays around every call of the transport and between the roles:
 * waiters with deadlines of all lengths, leaders that leave at each point, writes of one byte,
 * connections that break. Nobody waits while nobody reads, every reply reaches its owner, and
 * what was said not to be sent was not received. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/crew.h"
#include "support/lane_stage.h"

#include <stdlib.h>
#include <string.h>

/* The server answers within milliseconds: who waits for longer than STUCK waits for nobody. */
enum { THREADS = 12, TURNS_MAX = 4000, LONG_MS = 20000, STUCK_MS = 3000 * KW_TEST_SLOWNESS };

#define QUERY "timeout=15s&stall-timeout=15s&connect-timeout=5s&pool-max=4"

static kw_test_stage stage;

typedef struct strain_row {
    const char *name;
    unsigned turns_n;
    unsigned delays, shorts, fulls, breaks; /* permille of calls */
    unsigned slows, closes;                 /* permille of answers */
    bool is_tended;                         /* renewed, retired and swept meanwhile */
    bool loses_nothing;                     /* who has time is answered */
} strain_row;

typedef enum outcome { UNUSED, ANSWERED, UNSENT, MAYBE } outcome;

typedef struct crowd {
    const strain_row *row;
    atomic_uint next;
    atomic_uint working_n; /* threads */
    atomic_uint wrong_n;
    atomic_uint lost_n; /* of who had time, ended without a reply */
    atomic_uint stuck_n;
    unsigned char outcomes[TURNS_MAX];
    kw_test_times *over;
} crowd;

static uint64_t ns_of(uint64_t ms)
{
    return ms * 1000000;
}

/* Waits, in pieces or at once, and leaves early now and then. KW_OK: it has ended. */
static kw_err wait_somehow(kw_test_rider *rider, uint64_t *now_ns, uint64_t until_ns)
{
    kw_test_strain *strain = &stage.strain;
    unsigned way = kw_test_strain_below(strain, 16);
    kw_err code = KW_ERR_TIMEOUT;
    if (way == 0) {
        return code; /* leaves at once */
    }
    if (way > 4) {
        return kw_lane_wait(stage.lane, &rider->waiter, now_ns, until_ns);
    }
    while (code == KW_ERR_TIMEOUT && *now_ns < until_ns) {
        uint64_t slice_ns = *now_ns + kw_test_strain_below(strain, 2000000);
        code = kw_lane_wait(stage.lane, &rider->waiter, now_ns,
                            slice_ns < until_ns ? slice_ns : until_ns);
        kw_test_strain_delay(strain);
        if (way == 1 && kw_test_strain_below(strain, 4) == 0) {
            return code;
        }
    }
    return code;
}

static outcome outcome_of(crowd *it, const kw_test_rider *rider)
{
    if (rider->waiter.state == KW_LANE_WAITER_ANSWERED) {
        atomic_fetch_add(&it->wrong_n, !kw_test_rider_is_right(rider));
        return ANSWERED;
    }
    return rider->waiter.has_left ? MAYBE : UNSENT;
}

static outcome ride(crowd *it, kw_test_rider *rider, unsigned wait_ms)
{
    kw_lane_waiter *waiter = &rider->waiter;
    uint64_t now_ns = kw_test_now_ns();
    uint64_t until_ns = now_ns + ns_of(wait_ms);
    kw_err code = kw_lane_submit(stage.lane, &rider->failure, waiter, now_ns, until_ns);
    if (code != KW_OK) {
        return UNSENT;
    }
    kw_test_strain_delay(&stage.strain);
    code = wait_somehow(rider, &now_ns, until_ns);
    if (code == KW_OK) {
        bool is_lost = wait_ms == LONG_MS && waiter->state != KW_LANE_WAITER_ANSWERED;
        atomic_fetch_add(&it->lost_n, is_lost);
        return outcome_of(it, rider);
    }
    kw_test_strain_delay(&stage.strain);
    (void)kw_lane_abandon(stage.lane, waiter, now_ns);
    return outcome_of(it, rider);
}

static void take_turns(void *arg, unsigned thread)
{
    static const unsigned waits_ms[] = {0, 1, 5, LONG_MS, LONG_MS};
    crowd *it = arg;
    (void)thread;
    for (unsigned i; (i = atomic_fetch_add(&it->next, 1)) < it->row->turns_n;) {
        kw_test_rider *rider = kw_test_rider_new(i);
        unsigned wait_ms = waits_ms[kw_test_strain_below(&stage.strain, 5)];
        rider->waiter.is_early = kw_test_strain_below(&stage.strain, 2) == 0;
        rider->waiter.is_asking = kw_test_strain_below(&stage.strain, 8) == 0;
        uint64_t queued_ns = kw_test_queued_ns();
        uint64_t start_ns = kw_test_now_ns();
        it->outcomes[i] = (unsigned char)ride(it, rider, wait_ms);
        kw_test_rider_free(rider);
        uint64_t spent_ns = kw_test_now_ns() - start_ns;
        if (spent_ns > ns_of(STUCK_MS)) {
            atomic_fetch_add(&it->stuck_n, 1);
            break;
        }
        if (wait_ms < LONG_MS) {
            uint64_t due_ns = ns_of(wait_ms) + kw_test_queued_ns() - queued_ns;
            uint64_t over_ns = spent_ns > due_ns ? spent_ns - due_ns : 0;
            kw_test_times_add(it->over, over_ns / 1000);
        }
    }
    atomic_fetch_sub(&it->working_n, 1);
}

/* What the rest of the library does to a node under traffic. */
static void tend(crowd *it)
{
    while (atomic_load(&it->working_n) > 1) {
        switch (kw_test_strain_below(&stage.strain, 8)) {
        case 0:
            kw_node_renew(stage.node);
            break;
        case 1:
            kw_node_retire(stage.node);
            kw_test_strain_delay(&stage.strain);
            kw_node_unretire(stage.node);
            break;
        case 2:
            kw_node_sweep(stage.node, kw_test_now_ns() + ns_of(3600000));
            break;
        case 3:
            kw_node_set_role(stage.node, KW_CONN_PRIMARY);
            break;
        case 4:
            kw_node_set_role(stage.node, KW_CONN_ANY);
            break;
        default:
            break;
        }
        kw_test_sleep_ms(1 + kw_test_strain_below(&stage.strain, 4));
    }
}

static void work(void *arg, unsigned thread)
{
    crowd *it = arg;
    if (thread == 0 && it->row->is_tended) {
        tend(it);
        atomic_fetch_sub(&it->working_n, 1);
    } else {
        take_turns(arg, thread);
    }
}

static void check_outcomes(const crowd *it)
{
    unsigned char counts[TURNS_MAX];
    kw_test_stage_count(&stage, counts, TURNS_MAX);
    for (unsigned i = 0; i < it->row->turns_n; i++) {
        unsigned n = counts[i];
        bool is_right = it->outcomes[i] == ANSWERED ? n == 1
                        : it->outcomes[i] == UNSENT ? n == 0
                                                    : n <= 1;
        if (!is_right) {
            fail_msg("%s: command %u was received %u times, and its owner heard %u", it->row->name,
                     i, n, it->outcomes[i]);
        }
    }
}

/* Without strain a command is answered again, and everything is given back. */
static void check_end(const char *name)
{
    atomic_store(&stage.strain.delay_permille, 0);
    atomic_store(&stage.strain.short_permille, 0);
    atomic_store(&stage.strain.full_permille, 0);
    atomic_store(&stage.strain.break_permille, 0);
    atomic_store(&stage.strain.break_at, 0);
    atomic_store(&stage.strain.room, SIZE_MAX);
    atomic_store(&stage.slow_permille, 0);
    atomic_store(&stage.close_permille, 0);
    uint64_t end_ns = kw_test_now_ns() + ns_of(10000);
    bool is_right = false;
    while (!is_right && kw_test_now_ns() < end_ns) {
        kw_test_rider *rider = kw_test_rider_new(999999);
        (void)kw_test_rider_run(&stage, rider, 5000);
        is_right = kw_test_rider_is_right(rider);
        kw_test_rider_free(rider);
    }
    if (!is_right) {
        fail_msg("%s: not usable afterwards", name);
    }
    const char *leftover = kw_test_stage_find_leftover(&stage);
    if (leftover != NULL) {
        fail_msg("%s: %s is left", name, leftover);
    }
}

static void run_row(const strain_row *row, uint64_t seed)
{
    static crowd it;
    memset(&it, 0, sizeof(it));
    it.row = row;
    it.over = kw_test_times_new();
    kw_test_stage_open(&stage, QUERY, seed);
    atomic_store(&stage.strain.delay_permille, row->delays);
    atomic_store(&stage.strain.short_permille, row->shorts);
    atomic_store(&stage.strain.full_permille, row->fulls);
    atomic_store(&stage.strain.break_permille, row->breaks);
    atomic_store(&stage.slow_permille, row->slows);
    atomic_store(&stage.close_permille, row->closes);
    unsigned threads_n = THREADS + row->is_tended;
    atomic_store(&it.working_n, threads_n);
    uint64_t tardy_us = kw_test_crew_run(threads_n, work, &it);
    if (atomic_load(&it.stuck_n) > 0) {
        fail_msg("%s: %u commands waited for a server that had answered", row->name,
                 atomic_load(&it.stuck_n));
    }
    if (atomic_load(&it.wrong_n) > 0) {
        fail_msg("%s: %u replies of other commands", row->name, atomic_load(&it.wrong_n));
    }
    if (row->loses_nothing && atomic_load(&it.lost_n) > 0) {
        fail_msg("%s: %u commands lost for no reason", row->name, atomic_load(&it.lost_n));
    }
    check_end(row->name);
    check_outcomes(&it);
    assert_false(kw_test_times_are_late(it.over, row->name, tardy_us));
    kw_test_times_free(it.over);
    kw_test_stage_close(&stage);
}

static void test_lane_crowd_leaves_nobody_behind(void **state)
{
    static const strain_row rows[] = {
        {.name = "at ease", .turns_n = 4000, .loses_nothing = true},
        {.name = "delays", .turns_n = 3000, .delays = 300, .loses_nothing = true},
        {.name = "slow answers",
         .turns_n = 1500,
         .delays = 100,
         .slows = 30,
         .loses_nothing = true},
        {.name = "short writes",
         .turns_n = 1500,
         .delays = 100,
         .shorts = 900,
         .loses_nothing = true},
        {.name = "full sockets",
         .turns_n = 2000,
         .delays = 200,
         .shorts = 200,
         .fulls = 300,
         .loses_nothing = true},
        {.name = "tended", .turns_n = 3000, .delays = 200, .slows = 10, .is_tended = true},
        {.name = "resets", .turns_n = 2000, .delays = 200, .breaks = 10},
        {.name = "resets of full sockets",
         .turns_n = 2000,
         .delays = 200,
         .shorts = 100,
         .fulls = 200,
         .breaks = 10,
         .is_tended = true},
        {.name = "closed by the server", .turns_n = 2000, .delays = 200, .closes = 20},
        {.name = "everything",
         .turns_n = 3000,
         .delays = 200,
         .shorts = 50,
         .fulls = 50,
         .breaks = 3,
         .slows = 10,
         .closes = 3,
         .is_tended = true},
    };
    (void)state;
    uint64_t seed = kw_test_seed("lane");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        run_row(&rows[i], seed + i);
    }
}

/* Every call of a small crowd, from the first connect on, finds the connection lost once. */
static void test_lane_reset_at_each_call_ends_every_waiter(void **state)
{
    enum { CALLS = 60, SMALL = 48 };
    (void)state;
    uint64_t seed = kw_test_seed("lane reset");
    for (unsigned long at = 1; at <= CALLS; at++) {
        static crowd it;
        strain_row row = {.name = "one reset", .turns_n = SMALL};
        memset(&it, 0, sizeof(it));
        it.row = &row;
        it.over = kw_test_times_new();
        kw_test_stage_open(&stage, QUERY, seed + at);
        atomic_store(&stage.strain.break_at, at);
        atomic_store(&stage.strain.delay_permille, at % 2 == 0 ? 200 : 0);
        kw_test_crew_run(4, take_turns, &it);
        assert_int_equal(atomic_load(&it.stuck_n), 0);
        assert_int_equal(atomic_load(&it.wrong_n), 0);
        check_end(row.name);
        check_outcomes(&it);
        kw_test_times_free(it.over);
        kw_test_stage_close(&stage);
    }
}

/* Every allocation of a crowd fails once: no waiter is left behind. */
static void test_lane_without_memory_ends_every_waiter(void **state)
{
    enum { SMALL = 40, PLACES_MAX = 400 };
    (void)state;
    uint64_t seed = kw_test_seed("lane memory");
    bool has_failed = true;
    for (unsigned long n = 1; has_failed; n += 1 + n / 16) {
        static crowd it;
        strain_row row = {.name = "one block", .turns_n = SMALL};
        memset(&it, 0, sizeof(it));
        it.row = &row;
        it.over = kw_test_times_new();
        kw_test_stage_open(&stage, QUERY, seed + n);
        stage.memory.fail_at = kw_test_memory_calls(&stage.memory) + n;
        kw_test_crew_run(4, take_turns, &it);
        has_failed = kw_test_memory_calls(&stage.memory) >= stage.memory.fail_at;
        stage.memory.fail_at = 0;
        assert_int_equal(atomic_load(&it.stuck_n), 0);
        assert_int_equal(atomic_load(&it.wrong_n), 0);
        check_end(row.name);
        check_outcomes(&it);
        kw_test_times_free(it.over);
        kw_test_stage_close(&stage);
        assert_true(n < PLACES_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lane_crowd_leaves_nobody_behind),
        cmocka_unit_test(test_lane_reset_at_each_call_ends_every_waiter),
        cmocka_unit_test(test_lane_without_memory_ends_every_waiter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

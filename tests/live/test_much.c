/* SPDX-License-Identifier: BSD-3-Clause */
/* Much under way at once: what many commands cost together, and that nobody pays for others. Time
 * is that of the thread on its processor: how busy the machine is does not count. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <keyway.h>

#include "support/check.h"
#include "support/ask.h"
#include "support/cluster.h"
#include "support/turn.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define MUCH_N 200000u

/* A call of kw_process leaves before that, by the handle's clock; the callbacks are the host's. */
#define TURN_MAX_MS 20.0

/* What a processor of a guest does for others counts as its thread's: the least of so many runs is
 * what the library takes. Who is quick enough in one of them is so. */
#define ROUNDS 3

static kw_test_cluster *cluster;

typedef struct tally {
    size_t answers_n;
    size_t failures_n;
    kw_error failure; /* the first */
    double ms;        /* of the thread */
    double turn_ms;   /* the longest kw_process */
    size_t turns_n;
} tally;

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    tally *self = arg;
    self->answers_n++;
    if (error != NULL && self->failures_n++ == 0) {
        self->failure = *error;
    }
    kw_reply_free(reply);
}

static void give(tally *self, kw_client *kw, size_t n, const char *format)
{
    for (size_t i = 0; i < n; i++) {
        kw_callback callback = {on_reply, self};
        assert_int_equal(kw_command_async(kw, NULL, callback, format, i), KW_OK);
    }
}

static void turn_once(tally *self, kw_client *kw)
{
    struct pollfd entry = {kw_fd(kw, NULL), POLLIN, 0};
    int timeout_ms = kw_timeout(kw);
    (void)poll(&entry, 1, timeout_ms < 0 || timeout_ms > 100 ? 100 : timeout_ms);
    double before_ms = kw_test_cpu_ms();
    assert_int_equal(kw_process(kw, NULL), KW_OK);
    double turn_ms = kw_test_cpu_ms() - before_ms;
    self->turn_ms = turn_ms > self->turn_ms ? turn_ms : self->turn_ms;
    self->turns_n++;
}

/* Turns until all have ended, or a limit far away. */
static void turn_out(tally *self, kw_client *kw, size_t n, const char *format, double start_ms)
{
    uint64_t end_ms = kw_test_now_ms() + 120000;
    while (self->answers_n < n && kw_test_now_ms() < end_ms) {
        turn_once(self, kw);
    }
    self->ms = kw_test_cpu_ms() - start_ms;
    fprintf(stderr, "%s, %zu: %zu answers, %zu failures, %.0f ms, %zu turns, longest %.1f ms %s\n",
            format, n, self->answers_n, self->failures_n, self->ms, self->turns_n, self->turn_ms,
            self->failure.text);
    assert_int_equal(self->answers_n, n);
}

/* Gives n commands at once, and turns until they have ended. */
static tally run(kw_client *kw, size_t n, const char *format)
{
    tally self = {0};
    double start_ms = kw_test_cpu_ms();
    give(&self, kw, n, format);
    turn_out(&self, kw, n, format, start_ms);
    return self;
}

/* By the system's clock: the calm one would make turns longer beside busy programs. */
static kw_client *open_really(const char *uri)
{
    kw_error error = KW_ERROR_INIT;
    kw_client *kw = kw_open(uri, &error);
    if (kw == NULL) {
        fail_msg("%s", error.text);
    }
    return kw;
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

static kw_client *open_handle(const char *options)
{
    return kw_test_open("%s?%s", kw_test_cluster_uri(cluster), options);
}

static void test_much_on_a_fresh_handle_is_answered_as_on_a_warm_one(void **state)
{
    (void)state;
    double least_fresh_ms = 1e9;
    double least_warm_ms = 1e9;
    double fresh_turn_ms = 1e9;
    double warm_turn_ms = 1e9;
    char uri[300];
    snprintf(uri, sizeof(uri), "%s?timeout=60s", kw_test_cluster_uri(cluster));
    bool is_good = false;
    for (int round = 0; round < ROUNDS && !is_good;
         round++) { /* the first one makes the memory warm */
        kw_client *fresh_kw = open_really(uri);
        tally fresh = run(fresh_kw, MUCH_N, "SET much:%zu x");
        kw_close(fresh_kw);
        kw_client *warm_kw = open_really(uri);
        assert_int_equal(kw_connect(warm_kw, NULL), KW_OK);
        (void)run(warm_kw, 100, "SET warm:%zu x");
        tally warm = run(warm_kw, MUCH_N, "SET much:%zu x");
        kw_close(warm_kw);
        assert_int_equal(fresh.failures_n, 0);
        assert_int_equal(warm.failures_n, 0);
        fresh_turn_ms = least(fresh_turn_ms, fresh.turn_ms);
        warm_turn_ms = least(warm_turn_ms, warm.turn_ms);
        least_fresh_ms = least(least_fresh_ms, fresh.ms);
        least_warm_ms = least(least_warm_ms, warm.ms);
        is_good = fresh_turn_ms <= TURN_MAX_MS && warm_turn_ms <= TURN_MAX_MS &&
                  least_fresh_ms <= 1.3 * least_warm_ms;
    }
    assert_true(fresh_turn_ms <= TURN_MAX_MS);
    assert_true(warm_turn_ms <= TURN_MAX_MS);
    assert_true(least_fresh_ms <= 1.3 * least_warm_ms);
}

static void test_much_with_a_dead_node_costs_only_its_keys(void **state)
{
    (void)state;
    enum { N = 20000 };
    kw_test_server *a = kw_test_server_start("");
    kw_test_server *b = kw_test_server_start("");
    double turn_ms = 1e9;
    double well_turn_ms = 0; /* how quick the machine is: the same where all are well */
    char uri[300];
    char well_uri[300];
    snprintf(uri, sizeof(uri), "redis-ring://a=%s,b=%s,c=127.0.0.1:1?timeout=2s",
             kw_test_server_address(a), kw_test_server_address(b));
    snprintf(well_uri, sizeof(well_uri), "redis-ring://a=%s,b=%s?timeout=20s",
             kw_test_server_address(a), kw_test_server_address(b));
    for (int round = 0; round < ROUNDS && turn_ms > TURN_MAX_MS; round++) {
        kw_client *well = open_really(well_uri);
        double ms = run(well, N, "SET much:%zu x").turn_ms;
        well_turn_ms = ms > well_turn_ms ? ms : well_turn_ms;
        kw_close(well);
        kw_client *kw = open_really(uri);
        tally all = run(kw, N, "SET much:%zu x");
        assert_in_range(all.failures_n, N / 5, N / 2); /* the dead one's share */
        assert_int_equal(all.failure.code, KW_ERR_CONNECT);
        assert_int_equal(all.failure.effect, KW_EFFECT_NONE);
        turn_ms = least(turn_ms, all.turn_ms);
        kw_close(kw);
    }
    assert_true(turn_ms <= TURN_MAX_MS || turn_ms <= 3 * well_turn_ms);
    kw_test_server_free(a);
    kw_test_server_free(b);
}

static void test_much_to_a_refused_port_ends_at_the_deadline(void **state)
{
    (void)state;
    enum { N = 64000 };
    kw_client *kw = kw_test_open("redis://127.0.0.1:1?timeout=800ms"); /* less than down-after */
    kw_batch *batch = kw_batch_new(kw, NULL);
    for (int i = 0; i < N; i++) {
        assert_int_equal(kw_batch_add(batch, NULL, "SET much:%d x", i), KW_OK);
    }
    double before_ms = kw_test_cpu_ms();
    assert_int_equal(kw_batch_run(batch, NULL, 0), KW_ERR_CONNECT);
    double spent_ms = kw_test_cpu_ms() - before_ms;
    for (size_t i = 0; i < N; i += N - 1) {
        kw_error error = KW_ERROR_INIT;
        assert_null(kw_batch_reply(batch, &error, i));
        assert_int_equal(error.code, KW_ERR_CONNECT);
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        assert_int_equal(error.attempts, 0);
        assert_true(error.elapsed_ms >= 799);
    }
    assert_true(spent_ms < 500); /* nearly all of it is waiting */
    kw_batch_free(batch);
    kw_close(kw);
}

/* Threads that give tickets without end, and one that has something to wait for. */
typedef struct storm {
    kw_client *kw;
    atomic_bool is_over;
    atomic_size_t done_n;
} storm;

static void *fire_and_forget(void *arg)
{
    storm *self = arg;
    while (!atomic_load(&self->is_over)) {
        kw_ticket_free(kw_submit(self->kw, NULL, "INCR storm"));
    }
    return NULL;
}

static void *run_batches(void *arg)
{
    storm *self = arg;
    while (!atomic_load(&self->is_over)) {
        kw_batch *batch = kw_batch_new(self->kw, NULL);
        (void)kw_batch_add(batch, NULL, "INCR storm");
        if (kw_batch_run(batch, NULL, 0) == KW_OK) {
            atomic_fetch_add(&self->done_n, 1);
        }
        kw_batch_free(batch);
    }
    return NULL;
}

#define STORM_THREADS 8

static void start_storm(storm *self, pthread_t *threads, void *(*what)(void *))
{
    for (size_t i = 0; i < STORM_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, what, self), 0);
    }
}

static void end_storm(storm *self, pthread_t *threads, size_t n)
{
    atomic_store(&self->is_over, true);
    for (size_t i = 0; i < n; i++) {
        kw_test_join(threads[i]);
    }
}

static void test_much_of_others_does_not_keep_who_waits(void **state)
{
    (void)state;
    storm self = {.kw = open_handle("timeout=20s&queue-max=20000")};
    pthread_t threads[STORM_THREADS];
    start_storm(&self, threads, fire_and_forget);
    for (int i = 0; i < 5; i++) {
        kw_ticket *ticket = NULL;
        KW_TEST_UNTIL(ticket != NULL)
        { /* the others have filled the queue */
            ticket = kw_submit(self.kw, NULL, "BLPOP nothing 600"); /* the server's own time */
        }
        uint64_t start_ms = kw_test_now_ms();
        assert_false(kw_ticket_wait(ticket, 200));
        assert_in_range(kw_test_now_ms() - start_ms, 199, 200 + 1500);
        kw_ticket_free(ticket);
    }
    end_storm(&self, threads, STORM_THREADS);
    kw_close(self.kw);
}

static void test_much_shares_a_pool_of_one(void **state)
{
    (void)state;
    storm self = {.kw = open_handle("timeout=5s&pool-max=1&queue-max=20000")};
    pthread_t threads[2 * STORM_THREADS];
    start_storm(&self, threads, fire_and_forget);
    start_storm(&self, threads + STORM_THREADS, run_batches);
    KW_TEST_AWAIT(atomic_load(&self.done_n) >= 2 * (size_t)STORM_THREADS)
    end_storm(&self, threads, sizeof(threads) / sizeof(threads[0]));
    kw_close(self.kw);
}

/* A server joins while many commands wait, and some are on their way: all are answered, and no turn
 * is longer for it. */
static void test_much_is_answered_while_a_ring_changes(void **state)
{
    (void)state;
    enum { N = 20000 };
    kw_error error = KW_ERROR_INIT;
    kw_test_server *servers[3];
    char uri[300];
    char joins[100];
    double turn_ms = 1e9;
    for (size_t i = 0; i < 3; i++) {
        servers[i] = kw_test_server_start("");
    }
    snprintf(uri, sizeof(uri), "redis-ring://a=%s,b=%s?timeout=60s",
             kw_test_server_address(servers[0]), kw_test_server_address(servers[1]));
    snprintf(joins, sizeof(joins), "c=%s", kw_test_server_address(servers[2]));
    for (int round = 0; round < ROUNDS && turn_ms > TURN_MAX_MS; round++) {
        kw_client *kw = open_really(uri);
        tally all = {0};
        (void)run(kw, 100, "SET warm:%zu x");
        double start_ms = kw_test_cpu_ms();
        give(&all, kw, N, "SET much:%zu x");
        turn_once(&all, kw);
        assert_in_range(all.answers_n, 0, N - 1);
        kw_members *members = kw_members_begin(kw, &error);
        assert_int_equal(kw_members_add(members, &error, joins), KW_OK);
        assert_int_equal(kw_members_commit(members, &error), KW_OK);
        kw_members_free(members);
        turn_out(&all, kw, N, "SET much:%zu x", start_ms);
        turn_ms = least(turn_ms, all.turn_ms);
        assert_int_equal(all.failures_n, 0);
        kw_close(kw);
    }
    assert_true(turn_ms <= TURN_MAX_MS);
    for (size_t i = 0; i < 3; i++) {
        kw_test_server_free(servers[i]);
    }
}

static int set_up(void **state)
{
    (void)state;
    cluster = kw_test_cluster_start(3, 0, 0, "");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kw_test_cluster_free(cluster);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_much_with_a_dead_node_costs_only_its_keys),
        cmocka_unit_test(test_much_is_answered_while_a_ring_changes),
        cmocka_unit_test(test_much_to_a_refused_port_ends_at_the_deadline),
        cmocka_unit_test(test_much_of_others_does_not_keep_who_waits),
        cmocka_unit_test(test_much_shares_a_pool_of_one),
        cmocka_unit_test(test_much_on_a_fresh_handle_is_answered_as_on_a_warm_one),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

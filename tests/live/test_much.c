/* SPDX-License-Identifier: BSD-3-Clause */
/* Much under way at once: what many commands cost together, and that nobody pays for others. Time is
 * that of the thread on its processor: how busy the machine is does not count. */
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
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MUCH_N 200000u

/* A call of kw_process is to leave after a few milliseconds; the callbacks are the host's. */
#define TURN_MAX_MS 20.0

static kw_test_cluster *cluster;

static double cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

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

/* Gives n commands at once and turns until all have ended, or a limit far away. */
static tally run(kw_client *kw, size_t n, const char *format)
{
    tally self = {0};
    double start_ms = cpu_ms();
    uint64_t end_ms = kw_test_now_ms() + 120000;
    for (size_t i = 0; i < n; i++) {
        kw_callback callback = {on_reply, &self};
        assert_int_equal(kw_command_async(kw, NULL, callback, format, i), KW_OK);
    }
    while (self.answers_n < n && kw_test_now_ms() < end_ms) {
        struct pollfd entry = {kw_fd(kw, NULL), POLLIN, 0};
        int timeout_ms = kw_timeout(kw);
        (void)poll(&entry, 1, timeout_ms < 0 || timeout_ms > 100 ? 100 : timeout_ms);
        double before_ms = cpu_ms();
        assert_int_equal(kw_process(kw, NULL), KW_OK);
        double turn_ms = cpu_ms() - before_ms;
        self.turn_ms = turn_ms > self.turn_ms ? turn_ms : self.turn_ms;
        self.turns_n++;
    }
    self.ms = cpu_ms() - start_ms;
    fprintf(stderr, "%s, %zu: %zu answers, %zu failures, %.0f ms, %zu turns, longest %.1f ms %s\n",
            format, n, self.answers_n, self.failures_n, self.ms, self.turns_n, self.turn_ms,
            self.failure.text);
    assert_int_equal(self.answers_n, n);
    return self;
}

static kw_client *open_handle(const char *options)
{
    return kw_test_open("%s?%s", kw_test_cluster_uri(cluster), options);
}

static void test_much_on_a_fresh_handle_is_answered_as_on_a_warm_one(void **state)
{
    (void)state;
    kw_client *kw = open_handle("timeout=60s");
    tally fresh = run(kw, MUCH_N, "SET much:%zu x");
    tally warm = run(kw, MUCH_N, "SET much:%zu x");
    tally again = run(kw, MUCH_N, "SET much:%zu x");
    kw_close(kw);
    double least_ms = warm.ms < again.ms ? warm.ms : again.ms;
    assert_int_equal(fresh.failures_n, 0);
    assert_int_equal(warm.failures_n, 0);
    assert_true(fresh.ms <= 1.3 * least_ms + 50);
    assert_true(fresh.turn_ms <= TURN_MAX_MS);
    assert_true(warm.turn_ms <= TURN_MAX_MS);
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
        cmocka_unit_test(test_much_on_a_fresh_handle_is_answered_as_on_a_warm_one),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

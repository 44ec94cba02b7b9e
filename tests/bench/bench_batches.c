/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches of GETs over all slots, against raw hiredis that appends to all nodes, flushes
 * all, then reads all. Instructions are counted by bench_instructions. --gate: exit status 1
 * where a goal is missed. */
#include "support/bench.h"
#include "support/calm.h"
#include "support/fake.h"

#include <hiredis.h>

#include <stdio.h>
#include <string.h>

#define KEYS_N        ((size_t)1000)
#define ROUNDS_N      ((size_t)21)
#define ROUND_CALLS_N ((size_t)20000)

/* Of nodes that answer late. */
#define LATE_MS       200u
#define LATE_ROUNDS_N ((size_t)5)

static kw_bench bench;
static kw_batch *batch;

typedef void (*batch_fn)(size_t first, size_t n);

static void run_raw(size_t first, size_t n)
{
    const char *argv[] = {"GET", NULL};
    const size_t lens[] = {3, KW_BENCH_KEY_LEN};
    for (size_t i = 0; i < n; i++) {
        size_t key = (first + i) % KEYS_N;
        argv[1] = bench.keys[key];
        redisAppendCommandArgv(bench.raw[bench.owners[key]], 2, argv, lens);
    }
    for (size_t node = 0; node < KW_BENCH_NODES_N; node++) {
        for (int is_done = 0; !is_done;) {
            kw_bench_die_if(redisBufferWrite(bench.raw[node], &is_done) != REDIS_OK, "raw write");
        }
    }
    for (size_t i = 0; i < n; i++) {
        void *reply = NULL;
        redisContext *raw = bench.raw[bench.owners[(first + i) % KEYS_N]];
        kw_bench_die_if(redisGetReply(raw, &reply) != REDIS_OK, "raw read");
        kw_bench_die_if(((redisReply *)reply)->type != REDIS_REPLY_STRING, "raw GET");
        freeReplyObject(reply);
    }
}

static void run_batch(size_t n)
{
    kw_bench_die_if(kw_batch_run(batch, NULL, 0) != KW_OK, "keyway batch");
    for (size_t i = 0; i < n; i++) {
        const kw_reply *reply = kw_batch_reply(batch, NULL, i);
        kw_bench_die_if(kw_reply_type(reply) != KW_REPLY_STRING, "keyway GET");
    }
    kw_batch_clear(batch);
}

static void run_argv(size_t first, size_t n)
{
    const char *argv[] = {"GET", NULL};
    const size_t lens[] = {3, KW_BENCH_KEY_LEN};
    for (size_t i = 0; i < n; i++) {
        argv[1] = bench.keys[(first + i) % KEYS_N];
        kw_bench_die_if(kw_batch_add_argv(batch, NULL, 2, argv, lens) != KW_OK, "add");
    }
    run_batch(n);
}

static void run_format(size_t first, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *key = bench.keys[(first + i) % KEYS_N];
        kw_bench_die_if(kw_batch_add(batch, NULL, "GET %s", key) != KW_OK, "add");
    }
    run_batch(n);
}

/* Commands per second of one round. */
static double run_round(batch_fn run, size_t n)
{
    uint64_t start_ns = kw_test_now_ns();
    for (size_t at = 0; at < ROUND_CALLS_N; at += n) {
        run(at, n);
    }
    return (double)ROUND_CALLS_N * 1e9 / (double)(kw_test_now_ns() - start_ns);
}

static void compare(size_t n, double bound)
{
    static const batch_fn ways[] = {run_raw, run_argv, run_format};
    static const char *const names[] = {"raw hiredis", "keyway, argv", "keyway, format"};
    double rates[3][ROUNDS_N];
    double ratios[ROUNDS_N];
    for (size_t round = 0; round < ROUNDS_N; round++) {
        for (size_t k = 0; k < 3; k++) {
            size_t way = (k + round) % 3;
            rates[way][round] = run_round(ways[way], n);
        }
        ratios[round] = rates[1][round] / rates[0][round];
    }
    printf("\nBatches of %zu GETs, 3 primaries, medians of %zu rounds\n", n, ROUNDS_N);
    for (size_t way = 0; way < 3; way++) {
        printf("  %-24s %8.0f per second\n", names[way], kw_bench_median(rates[way], ROUNDS_N));
    }
    kw_bench_goal(&bench, "throughput, argv, keyway / raw", kw_bench_median(ratios, ROUNDS_N),
                  ">=", bound);
}

/* Milliseconds of a batch with one command for each of three nodes that answer late. */
static double run_late(kw_client *kw)
{
    kw_batch *late = kw_batch_new(kw, NULL);
    for (unsigned i = 0; i < 30; i += 10) {
        kw_bench_die_if(kw_batch_add(late, NULL, "GET late:%u", i) != KW_OK, "add");
    }
    uint64_t start_ns = kw_test_now_ns();
    kw_bench_die_if(kw_batch_run(late, NULL, 0) != KW_OK, "late batch");
    double elapsed_ms = (double)(kw_test_now_ns() - start_ns) / 1e6;
    kw_batch_free(late);
    return elapsed_ms;
}

static void bench_late(void)
{
    kw_fake *fakes[KW_BENCH_NODES_N];
    kw_fake_range ranges[KW_BENCH_NODES_N];
    unsigned slots[KW_BENCH_NODES_N];
    double times_ms[LATE_ROUNDS_N];
    for (unsigned i = 0; i < KW_BENCH_NODES_N; i++) {
        char key[16];
        snprintf(key, sizeof(key), "late:%u", i * 10);
        slots[i] = kw_slot(key, strlen(key));
        fakes[i] = kw_fake_start();
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "GET *",
                   KW_FAKE_STEPS(KW_FAKE_DELAY(LATE_MS), KW_FAKE_SEND("$1\r\nv\r\n")));
    }
    for (unsigned i = 0; i < KW_BENCH_NODES_N; i++) {
        kw_fake_range range = {slots[i], slots[i], fakes[i], NULL};
        ranges[i] = range;
    }
    kw_fake_set_cluster(fakes, KW_BENCH_NODES_N, ranges, KW_BENCH_NODES_N);
    char uri[64];
    snprintf(uri, sizeof(uri), "redis-cluster://%s", kw_fake_address(fakes[0]));
    kw_client *kw = kw_open(uri, NULL);
    (void)run_late(kw); /* connections are opened */
    for (size_t i = 0; i < LATE_ROUNDS_N; i++) {
        times_ms[i] = run_late(kw);
    }
    printf("\nA batch over three nodes that answer after %u ms, median of %zu\n", LATE_MS,
           LATE_ROUNDS_N);
    kw_bench_goal(&bench, "milliseconds", kw_bench_median(times_ms, LATE_ROUNDS_N), "<=", 230);
    kw_close(kw);
    for (unsigned i = 0; i < KW_BENCH_NODES_N; i++) {
        kw_fake_free(fakes[i]);
    }
}

int main(int argc, char **argv)
{
    kw_test_calm_forbid();
    kw_bench_init(&bench, KEYS_N, NULL);
    batch = kw_batch_new(bench.kw, NULL);
    compare(10, 1.2);
    compare(100, 1.1);
    compare(1000, 1.5);
    bench_late();
    kw_batch_free(batch);
    return kw_bench_end(&bench, argc, argv);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Single calls: one thread's GETs through keyway and through raw hiredis connections
 * that are routed by hand, in interleaved rounds on one cluster; the way from nothing to
 * three replies; memory of a handle; system calls and allocations per command.
 * --gate: exit status 1 where a goal is missed. */
#include "support/bench.h"

#include <hiredis.h>

#include <stdio.h>

#define KEYS_N    ((size_t)300)
#define ROUNDS_N  21
#define CALLS_N   1500
#define OPENS_N   31
#define HANDLES_N 100

static kw_bench bench;
static double latencies_us[CALLS_N];

typedef void (*get_fn)(kw_client *kw, size_t key);

static void get_raw_argv(kw_client *kw, size_t key)
{
    (void)kw;
    const char *argv[] = {"GET", bench.keys[key]};
    const size_t lens[] = {3, KW_BENCH_KEY_LEN};
    redisReply *reply = redisCommandArgv(bench.raw[bench.owners[key]], 2, argv, lens);
    kw_bench_die_if(reply == NULL || reply->type != REDIS_REPLY_STRING, "raw GET");
    freeReplyObject(reply);
}

static void get_raw_format(kw_client *kw, size_t key)
{
    (void)kw;
    redisReply *reply = redisCommand(bench.raw[bench.owners[key]], "GET %s", bench.keys[key]);
    kw_bench_die_if(reply == NULL || reply->type != REDIS_REPLY_STRING, "raw GET");
    freeReplyObject(reply);
}

static void get_kw_argv(kw_client *kw, size_t key)
{
    const char *argv[] = {"GET", bench.keys[key]};
    const size_t lens[] = {3, KW_BENCH_KEY_LEN};
    kw_reply *reply = kw_command_argv(kw, NULL, 2, argv, lens);
    kw_bench_die_if(kw_reply_type(reply) != KW_REPLY_STRING, "keyway GET");
    kw_reply_free(reply);
}

static void get_kw_format(kw_client *kw, size_t key)
{
    kw_reply *reply = kw_command(kw, NULL, "GET %s", bench.keys[key]);
    kw_bench_die_if(kw_reply_type(reply) != KW_REPLY_STRING, "keyway GET");
    kw_reply_free(reply);
}

/* Calls per second of one round; *latency_us is its median. */
static double run_round(get_fn get, double *latency_us)
{
    uint64_t start_ns = kw_test_now_ns();
    uint64_t before_ns = start_ns;
    for (size_t i = 0; i < CALLS_N; i++) {
        get(bench.kw, i % KEYS_N);
        uint64_t now_ns = kw_test_now_ns();
        latencies_us[i] = (double)(now_ns - before_ns) / 1e3;
        before_ns = now_ns;
    }
    *latency_us = kw_bench_median(latencies_us, CALLS_N);
    return CALLS_N / ((double)(before_ns - start_ns) / 1e9);
}

static void bench_gets(void)
{
    static const char *const names[] = {"raw hiredis, argv", "keyway, argv", "raw hiredis, format",
                                        "keyway, format"};
    static const get_fn gets[] = {get_raw_argv, get_kw_argv, get_raw_format, get_kw_format};
    double rates[4][ROUNDS_N];
    double latencies[4][ROUNDS_N];
    for (size_t round = 0; round < ROUNDS_N; round++) {
        for (size_t k = 0; k < 4; k++) {
            size_t way = (k + round) % 4;
            rates[way][round] = run_round(gets[way], &latencies[way][round]);
        }
    }
    double rate[4];
    double latency[4];
    printf("\nOne thread, GET of a 32-byte value, 3 primaries, median of %d rounds\n", ROUNDS_N);
    for (size_t way = 0; way < 4; way++) {
        rate[way] = kw_bench_median(rates[way], ROUNDS_N);
        latency[way] = kw_bench_median(latencies[way], ROUNDS_N);
        printf("  %-24s %8.0f per second   %6.1f us median\n", names[way], rate[way], latency[way]);
    }
    kw_bench_goal(&bench, "throughput, argv, keyway / raw", rate[1] / rate[0], ">=", 0.98);
    kw_bench_goal(&bench, "throughput, format, keyway / raw", rate[3] / rate[2], ">=", 0.98);
    kw_bench_goal(&bench, "median latency, argv, raw / keyway", latency[0] / latency[1],
                  ">=", 0.98);
    kw_bench_goal(&bench, "median latency, format, raw / keyway", latency[2] / latency[3],
                  ">=", 0.98);
}

/* Numbers of keys, one of each node. */
static void one_key_each(size_t picked[3])
{
    for (size_t node = 0; node < 3; node++) {
        size_t key = 0;
        while (bench.owners[key] != node) {
            key++;
        }
        picked[node] = key;
    }
}

static double open_raw(const size_t picked[3])
{
    uint64_t start_ns = kw_test_now_ns();
    redisContext *contexts[3];
    for (size_t i = 0; i < 3; i++) {
        contexts[i] = kw_bench_connect(&bench, i);
        if (i == 0) {
            freeReplyObject(redisCommand(contexts[0], "CLUSTER SLOTS"));
        }
        redisReply *reply = redisCommand(contexts[i], "GET %s", bench.keys[picked[i]]);
        kw_bench_die_if(reply == NULL || reply->type != REDIS_REPLY_STRING, "raw GET");
        freeReplyObject(reply);
    }
    double us = (double)(kw_test_now_ns() - start_ns) / 1e3;
    for (size_t i = 0; i < 3; i++) {
        redisFree(contexts[i]);
    }
    return us;
}

static double open_kw(const size_t picked[3])
{
    uint64_t start_ns = kw_test_now_ns();
    kw_client *kw = kw_open(kw_test_cluster_uri(bench.cluster), NULL);
    kw_bench_die_if(kw == NULL, "kw_open");
    for (size_t i = 0; i < 3; i++) {
        kw_reply *reply = kw_command(kw, NULL, "GET %s", bench.keys[picked[i]]);
        kw_bench_die_if(kw_reply_type(reply) != KW_REPLY_STRING, "keyway GET");
        kw_reply_free(reply);
    }
    double us = (double)(kw_test_now_ns() - start_ns) / 1e3;
    kw_close(kw);
    return us;
}

static void bench_open(void)
{
    size_t picked[3];
    double raw[OPENS_N];
    double kw[OPENS_N];
    one_key_each(picked);
    for (size_t i = 0; i < OPENS_N; i++) {
        raw[i] = open_raw(picked);
        kw[i] = open_kw(picked);
    }
    double raw_us = kw_bench_median(raw, OPENS_N);
    double kw_us = kw_bench_median(kw, OPENS_N);
    printf("\nFrom nothing to a reply of each of three nodes, median of %d\n", OPENS_N);
    printf("  raw hiredis and one CLUSTER SLOTS %6.0f us   keyway %6.0f us\n", raw_us, kw_us);
    kw_bench_goal(&bench, "raw / keyway", raw_us / kw_us, ">=", 1.0);
}

static void bench_memory(void)
{
    size_t picked[3];
    one_key_each(picked);
    static kw_client *handles[HANDLES_N];
    size_t before = kw_test_rss_bytes();
    for (size_t h = 0; h < HANDLES_N; h++) {
        handles[h] = kw_open(kw_test_cluster_uri(bench.cluster), NULL);
        for (size_t i = 0; i < 3; i++) {
            kw_reply_free(kw_command(handles[h], NULL, "GET %s", bench.keys[picked[i]]));
        }
    }
    size_t after = kw_test_rss_bytes();
    for (size_t h = 0; h < HANDLES_N; h++) {
        kw_close(handles[h]);
    }
    double total_kb = (double)(after > before ? after - before : 0) / 1024;
    printf("\nResident memory of %d handles with three connections each\n", HANDLES_N);
    kw_bench_goal(&bench, "KB a handle", total_kb / HANDLES_N, "<=", 80);
}

static void bench_counts(void)
{
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    kw_config *config = kw_config_new(&memory.allocator);
    kw_bench_die_if(kw_config_set_uri(config, NULL, kw_test_cluster_uri(bench.cluster)) != KW_OK,
                    "URI");
    kw_client *kw = kw_open_config(config, NULL);
    kw_config_free(config);
    for (size_t i = 0; i < KEYS_N; i++) {
        get_kw_argv(kw, i);
    }
    static kw_bench_counts counts;
    kw_bench_count(&counts, kw);
    unsigned long calls = kw_test_memory_calls(&memory);
    for (size_t i = 0; i < CALLS_N; i++) {
        get_kw_argv(kw, i % KEYS_N);
    }
    calls = kw_test_memory_calls(&memory) - calls;
    printf("\nPer GET of a lone caller (an idle connection is looked at after 1 ms: the rest)\n");
    kw_bench_goal(&bench, "send calls", (double)counts.sends_n / CALLS_N, "<=", 1.0);
    kw_bench_goal(&bench, "recv calls", (double)counts.recvs_n / CALLS_N, "<=", 1.1);
    kw_bench_goal(&bench, "poll calls", (double)counts.polls_n / CALLS_N, "<=", 0.01);
    kw_bench_goal(&bench, "allocations, the reply's one included", (double)calls / CALLS_N,
                  "<=", 4.0);
    kw_close(kw);
}

int main(int argc, char **argv)
{
    kw_bench_init(&bench, KEYS_N, NULL);
    bench_gets();
    bench_open();
    bench_memory();
    bench_counts();
    return kw_bench_end(&bench, argc, argv);
}

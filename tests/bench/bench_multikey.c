/* SPDX-License-Identifier: BSD-3-Clause */
/* MGET over all slots, which keyway splits and joins, against what raw hiredis can do: GETs
 * in a pipeline to each node, routed by hand; and MGET of keys under one tag against its own
 * MGET. --gate: exit status 1 where a goal is missed. */
#include "support/bench.h"

#include <hiredis.h>

#include <stdio.h>
#include <stdlib.h>

#define KEYS_MAX     ((size_t)1000)
#define ROUNDS_N     ((size_t)21)
#define ROUND_KEYS_N ((size_t)20000)

static const char *argv[KEYS_MAX + 1];
static size_t lens[KEYS_MAX + 1];

typedef void (*mget_fn)(kw_bench *bench, size_t n);

static void use_keys(const kw_bench *bench)
{
    argv[0] = "MGET";
    lens[0] = 4;
    for (size_t i = 0; i < bench->keys_n; i++) {
        argv[i + 1] = bench->keys[i];
        lens[i + 1] = KW_BENCH_KEY_LEN;
    }
}

static void run_keyway(kw_bench *bench, size_t n)
{
    kw_reply *reply = kw_command_argv(bench->kw, NULL, (int)n + 1, argv, lens);
    kw_bench_die_if(kw_reply_count(reply) != n, "keyway MGET");
    for (size_t i = 0; i < n; i++) {
        kw_bench_die_if(kw_reply_type(kw_reply_at(reply, i)) != KW_REPLY_STRING, "a value");
    }
    kw_reply_free(reply);
}

static void run_raw_mget(kw_bench *bench, size_t n)
{
    redisReply *reply = redisCommandArgv(bench->raw[bench->owners[0]], (int)n + 1, argv, lens);
    kw_bench_die_if(reply == NULL || reply->elements != n, "raw MGET");
    for (size_t i = 0; i < n; i++) {
        kw_bench_die_if(reply->element[i]->type != REDIS_REPLY_STRING, "a value");
    }
    freeReplyObject(reply);
}

static void run_raw_gets(kw_bench *bench, size_t n)
{
    static redisReply *replies[KEYS_MAX];
    for (size_t i = 0; i < n; i++) {
        const char *get[] = {"GET", bench->keys[i]};
        const size_t get_lens[] = {3, KW_BENCH_KEY_LEN};
        redisAppendCommandArgv(bench->raw[bench->owners[i]], 2, get, get_lens);
    }
    for (size_t node = 0; node < KW_BENCH_NODES_N; node++) {
        for (int is_done = 0; !is_done;) {
            kw_bench_die_if(redisBufferWrite(bench->raw[node], &is_done) != REDIS_OK, "raw write");
        }
    }
    for (size_t i = 0; i < n; i++) {
        void *reply = NULL;
        kw_bench_die_if(redisGetReply(bench->raw[bench->owners[i]], &reply) != REDIS_OK, "read");
        replies[i] = reply;
    }
    for (size_t i = 0; i < n; i++) {
        kw_bench_die_if(replies[i]->type != REDIS_REPLY_STRING, "raw GET");
        freeReplyObject(replies[i]);
    }
}

/* Keys per second of one round. */
static double run_round(kw_bench *bench, mget_fn run, size_t n)
{
    uint64_t start_ns = kw_test_now_ns();
    for (size_t at = 0; at < ROUND_KEYS_N; at += n) {
        run(bench, n);
    }
    return (double)ROUND_KEYS_N * 1e9 / (double)(kw_test_now_ns() - start_ns);
}

static void compare(kw_bench *bench, mget_fn raw, size_t n, double bound)
{
    double ours[ROUNDS_N];
    double theirs[ROUNDS_N];
    double ratios[ROUNDS_N];
    for (size_t round = 0; round < ROUNDS_N; round++) {
        bool is_raw_first = round % 2 == 0;
        double first = run_round(bench, is_raw_first ? raw : run_keyway, n);
        double second = run_round(bench, is_raw_first ? run_keyway : raw, n);
        theirs[round] = is_raw_first ? first : second;
        ours[round] = is_raw_first ? second : first;
        ratios[round] = ours[round] / theirs[round];
    }
    printf("  raw hiredis %8.0f   keyway %8.0f keys per second\n",
           kw_bench_median(theirs, ROUNDS_N), kw_bench_median(ours, ROUNDS_N));
    kw_bench_goal(bench, "keyway / raw", kw_bench_median(ratios, ROUNDS_N), ">=", bound);
}

/* 1.8 and 2 times libvalkey's pipelined GETs, which reach 0.73 and 0.68 of raw hiredis'. */
static void bench_slots(kw_bench *bench)
{
    use_keys(bench);
    printf("\nMGET of 100 keys over all slots; raw: GETs in pipelines, routed by hand\n");
    compare(bench, run_raw_gets, 100, 1.31);
    printf("\nMGET of 1000 keys over all slots; raw: the same\n");
    compare(bench, run_raw_gets, 1000, 1.35);
}

static void bench_tag(kw_bench *bench)
{
    use_keys(bench);
    printf("\nMGET of 100 keys under one tag; raw: the same MGET\n");
    compare(bench, run_raw_mget, 100, 0.98);
}

int main(int args_n, char **args)
{
    kw_bench slots;
    kw_bench tag;
    kw_bench_init(&slots, KEYS_MAX, NULL);
    bench_slots(&slots);
    int status = kw_bench_end(&slots, args_n, args);
    kw_bench_init(&tag, 100, "{t}:");
    bench_tag(&tag);
    int tag_status = kw_bench_end(&tag, args_n, args);
    return status == EXIT_SUCCESS ? tag_status : status;
}

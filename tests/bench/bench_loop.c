/* SPDX-License-Identifier: BSD-3-Clause */
/* GETs with callbacks in a libevent loop, over all slots, so many under way at any time:
 * against hiredis' own asynchronous API, a connection to each node. Each callback gives the
 * next command. --gate: exit status 1 where a goal is missed. */
#include "support/bench.h"

#include <keyway/adapters/libevent.h>

#include <hiredis.h>

#include <async.h>

#include <adapters/libevent.h>

#include <stdio.h>

#define KEYS_N   ((size_t)1000)
#define ROUNDS_N ((size_t)15)

static kw_bench bench;
static struct event_base *base;
static redisAsyncContext *contexts[KW_BENCH_NODES_N];

/* One round. */
static size_t given_n;
static size_t answered_n;
static size_t round_n;

static void give_raw(void);
static void give_kw(void);

static void count(void)
{
    if (++answered_n == round_n) {
        event_base_loopbreak(base);
    }
}

static void on_raw(redisAsyncContext *context, void *reply, void *arg)
{
    (void)context;
    (void)arg;
    kw_bench_die_if(reply == NULL || ((redisReply *)reply)->type != REDIS_REPLY_STRING, "raw GET");
    if (given_n < round_n) {
        give_raw();
    }
    count();
}

static void give_raw(void)
{
    size_t key = given_n++ % KEYS_N;
    const char *argv[] = {"GET", bench.keys[key]};
    const size_t lens[] = {3, KW_BENCH_KEY_LEN};
    int status = redisAsyncCommandArgv(contexts[bench.owners[key]], on_raw, NULL, 2, argv, lens);
    kw_bench_die_if(status != REDIS_OK, "raw command");
}

static void on_kw(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)arg;
    (void)error;
    kw_bench_die_if(kw_reply_type(reply) != KW_REPLY_STRING, "keyway GET");
    kw_reply_free(reply);
    if (given_n < round_n) {
        give_kw();
    }
    count();
}

static void give_kw(void)
{
    const char *argv[] = {"GET", bench.keys[given_n++ % KEYS_N]};
    const size_t lens[] = {3, KW_BENCH_KEY_LEN};
    kw_err code =
        kw_call_async(bench.kw, NULL, (kw_callback){on_kw, NULL}, NULL, (kw_argv){2, argv, lens});
    kw_bench_die_if(code != KW_OK, "keyway command");
}

/* Commands per second of one round. */
static double run_round(void (*give)(void), size_t under_way_n, size_t n)
{
    given_n = 0;
    answered_n = 0;
    round_n = n;
    uint64_t start_ns = kw_test_now_ns();
    while (given_n < under_way_n) {
        give();
    }
    event_base_dispatch(base);
    return (double)n * 1e9 / (double)(kw_test_now_ns() - start_ns);
}

static void compare(size_t under_way_n, size_t n, double bound)
{
    double rates[2][ROUNDS_N];
    double ratios[ROUNDS_N];
    for (size_t round = 0; round < ROUNDS_N; round++) {
        for (size_t k = 0; k < 2; k++) {
            size_t way = (k + round) % 2;
            rates[way][round] = run_round(way == 0 ? give_raw : give_kw, under_way_n, n);
        }
        ratios[round] = rates[1][round] / rates[0][round];
    }
    printf("\nGETs with callbacks, %zu under way, 3 primaries, medians of %zu rounds\n",
           under_way_n, ROUNDS_N);
    printf("  %-24s %8.0f per second\n", "hiredis on libevent",
           kw_bench_median(rates[0], ROUNDS_N));
    printf("  %-24s %8.0f per second\n", "keyway on libevent", kw_bench_median(rates[1], ROUNDS_N));
    kw_bench_goal(&bench, "throughput, keyway / hiredis", kw_bench_median(ratios, ROUNDS_N),
                  ">=", bound);
}

int main(int argc, char **argv)
{
    kw_bench_init(&bench, KEYS_N, NULL);
    base = event_base_new();
    for (size_t node = 0; node < KW_BENCH_NODES_N; node++) {
        const kw_test_server *server = kw_test_cluster_node(bench.cluster, node);
        contexts[node] = redisAsyncConnect("127.0.0.1", kw_test_server_port(server));
        kw_bench_die_if(contexts[node] == NULL || contexts[node]->err != 0, "raw connect");
        redisLibeventAttach(contexts[node], base);
    }
    kw_libevent *handle = kw_libevent_attach(bench.kw, NULL, base);
    kw_bench_die_if(handle == NULL, "attach");
    compare(1, 1500, 1.0);
    compare(50, 20000, 1.2);
    compare(500, 40000, 1.3);
    kw_libevent_detach(handle);
    for (size_t node = 0; node < KW_BENCH_NODES_N; node++) {
        redisAsyncFree(contexts[node]);
    }
    event_base_free(base);
    return kw_bench_end(&bench, argc, argv);
}

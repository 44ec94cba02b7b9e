/* SPDX-License-Identifier: BSD-3-Clause */
/* GETs of many threads on one handle, against raw hiredis with a connection per thread and
 * node that is routed by hand: throughput, the servers' CPU time, and system calls per
 * command. redis-benchmark's figure, where there is one, is a client of one thread that
 * does nothing else. --gate: exit status 1 where a goal is missed. */
#include "support/bench.h"

#include <hiredis.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define KEYS_N      ((size_t)300)
#define THREADS_MAX ((size_t)64)
#define ROUNDS_N    ((size_t)9)
#define ROUND_MS    150

static kw_bench bench;
static kw_bench_counts counts;

/* One thread's connections and figures. */
typedef struct caller {
    pthread_t thread;
    redisContext *raw[KW_BENCH_NODES_N];
    size_t first; /* its first key */
    bool is_raw;
    unsigned long calls_n;
} caller;

static caller callers[THREADS_MAX];
static pthread_barrier_t barrier;
static atomic_bool has_ended;

static void get_raw(const caller *self, size_t key)
{
    const char *argv[] = {"GET", bench.keys[key]};
    const size_t lens[] = {3, KW_BENCH_KEY_LEN};
    redisReply *reply = redisCommandArgv(self->raw[bench.owners[key]], 2, argv, lens);
    kw_bench_die_if(reply == NULL || reply->type != REDIS_REPLY_STRING, "raw GET");
    freeReplyObject(reply);
}

static void get_kw(size_t key)
{
    const char *argv[] = {"GET", bench.keys[key]};
    const size_t lens[] = {3, KW_BENCH_KEY_LEN};
    kw_reply *reply = kw_command_argv(bench.kw, NULL, 2, argv, lens);
    kw_bench_die_if(kw_reply_type(reply) != KW_REPLY_STRING, "keyway GET");
    kw_reply_free(reply);
}

static void *call(void *arg)
{
    caller *self = arg;
    unsigned long calls_n = 0;
    pthread_barrier_wait(&barrier);
    while (!atomic_load_explicit(&has_ended, memory_order_relaxed)) {
        size_t key = (self->first + calls_n++) % KEYS_N;
        if (self->is_raw) {
            get_raw(self, key);
        } else {
            get_kw(key);
        }
    }
    self->calls_n = calls_n;
    return NULL;
}

/* What one round of one way cost. */
typedef struct figures {
    double rate;   /* commands per second */
    double cpu_us; /* of the servers, per command */
    double sends;  /* per command; of keyway alone, as the two below */
    double recvs;
    double polls;
    double waits; /* voluntary switches of this process, per command */
} figures;

static double voluntary_switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_nvcsw;
}

static figures run_round(size_t threads_n, bool is_raw)
{
    atomic_store(&has_ended, false);
    pthread_barrier_init(&barrier, NULL, (unsigned)threads_n + 1);
    for (size_t i = 0; i < threads_n; i++) {
        callers[i].is_raw = is_raw;
        callers[i].first = i * 37;
        kw_bench_die_if(pthread_create(&callers[i].thread, NULL, call, &callers[i]) != 0, "thread");
    }
    atomic_store(&counts.sends_n, 0);
    atomic_store(&counts.recvs_n, 0);
    atomic_store(&counts.polls_n, 0);
    double cpu_s = kw_bench_server_cpu_s(&bench);
    double switches = voluntary_switches();
    pthread_barrier_wait(&barrier);
    uint64_t start_ns = kw_test_now_ns();
    kw_test_sleep_ms(ROUND_MS);
    atomic_store(&has_ended, true);
    double calls_n = 0;
    for (size_t i = 0; i < threads_n; i++) {
        pthread_join(callers[i].thread, NULL);
        calls_n += (double)callers[i].calls_n;
    }
    double elapsed_s = (double)(kw_test_now_ns() - start_ns) / 1e9;
    pthread_barrier_destroy(&barrier);
    figures found = {
        .rate = calls_n / elapsed_s,
        .cpu_us = (kw_bench_server_cpu_s(&bench) - cpu_s) * 1e6 / calls_n,
        .sends = (double)counts.sends_n / calls_n,
        .recvs = (double)counts.recvs_n / calls_n,
        .polls = (double)counts.polls_n / calls_n,
        .waits = (voluntary_switches() - switches) / calls_n,
    };
    return found;
}

/* GETs per second of redis-benchmark with as many connections; 0: it is not there. */
static double run_redis_benchmark(size_t connections_n)
{
    char command[300];
    snprintf(command, sizeof(command),
             "redis-benchmark -h 127.0.0.1 -p %u --cluster -c %zu -n %d -d 32 -r 300 -t get --csv "
             "2> /dev/null | sed -n 's/^\"GET\",\"\\([0-9.]*\\)\".*/\\1/p'",
             (unsigned)kw_test_server_port(kw_test_cluster_node(bench.cluster, 0)), connections_n,
             connections_n < 4 ? 10000 : 40000);
    FILE *pipe = popen(command, "r");
    double rate = 0;
    if (pipe == NULL) {
        return 0;
    }
    if (fscanf(pipe, "%lf", &rate) != 1) {
        rate = 0;
    }
    pclose(pipe);
    return rate;
}

static double median_of(const figures *rounds, size_t offset)
{
    double values[ROUNDS_N];
    for (size_t i = 0; i < ROUNDS_N; i++) {
        memcpy(&values[i], (const char *)&rounds[i] + offset, sizeof(values[i]));
    }
    return kw_bench_median(values, ROUNDS_N);
}

static double median_ratio(const figures *a, const figures *b, size_t offset)
{
    double ratios[ROUNDS_N];
    for (size_t i = 0; i < ROUNDS_N; i++) {
        double x;
        double y;
        memcpy(&x, (const char *)&a[i] + offset, sizeof(x));
        memcpy(&y, (const char *)&b[i] + offset, sizeof(y));
        ratios[i] = y > 0 ? x / y : 0;
    }
    return kw_bench_median(ratios, ROUNDS_N);
}

static void print_way(const char *name, const figures *rounds)
{
    printf("  %-12s %8.0f per second   server CPU %5.1f us   waits %.2f", name,
           median_of(rounds, offsetof(figures, rate)), median_of(rounds, offsetof(figures, cpu_us)),
           median_of(rounds, offsetof(figures, waits)));
}

typedef struct stage {
    size_t threads_n;
    double rate_goal;
    double sends_goal; /* 0: none */
    double cpu_goal;   /* 0: none */
} stage;

static void run_stage(const stage *self)
{
    static figures ours[ROUNDS_N];
    static figures theirs[ROUNDS_N];
    (void)run_round(self->threads_n, false); /* connections are opened */
    (void)run_round(self->threads_n, true);
    for (size_t i = 0; i < ROUNDS_N; i++) {
        bool is_raw_first = i % 2 == 0;
        figures first = run_round(self->threads_n, is_raw_first);
        figures second = run_round(self->threads_n, !is_raw_first);
        theirs[i] = is_raw_first ? first : second;
        ours[i] = is_raw_first ? second : first;
    }
    printf("\n%zu thread%s, medians of %zu rounds, per command\n", self->threads_n,
           self->threads_n > 1 ? "s" : "", ROUNDS_N);
    print_way("raw hiredis", theirs);
    printf("\n");
    print_way("keyway", ours);
    printf("   sends %.3f recvs %.3f polls %.3f\n", median_of(ours, offsetof(figures, sends)),
           median_of(ours, offsetof(figures, recvs)), median_of(ours, offsetof(figures, polls)));
    double benchmark = run_redis_benchmark(self->threads_n);
    if (benchmark > 0) {
        printf("  %-12s %8.0f per second\n", "redis-bench.", benchmark);
    }
    kw_bench_goal(&bench, "throughput, keyway / raw",
                  median_ratio(ours, theirs, offsetof(figures, rate)), ">=", self->rate_goal);
    if (self->sends_goal > 0) {
        kw_bench_goal(&bench, "sends per command", median_of(ours, offsetof(figures, sends)),
                      "<=", self->sends_goal);
    }
    if (self->cpu_goal > 0) {
        kw_bench_goal(&bench, "server CPU per command, keyway / raw",
                      median_ratio(ours, theirs, offsetof(figures, cpu_us)), "<=", self->cpu_goal);
    }
}

int main(int argc, char **argv)
{
    static const stage stages[] = {
        {1, 0.98, 1.0, 0}, {4, 0.95, 0, 0},       {16, 1.5, 0, 0},
        {32, 2.0, 0.1, 0}, {64, 2.6, 0.07, 0.20},
    };
    kw_bench_init(&bench, KEYS_N, NULL);
    kw_bench_count(&counts, bench.kw);
    for (size_t i = 0; i < THREADS_MAX; i++) {
        for (size_t node = 0; node < KW_BENCH_NODES_N; node++) {
            callers[i].raw[node] = kw_bench_connect(&bench, node);
        }
    }
    printf("\nMany threads, one handle; GET of a 32-byte value, 3 primaries\n");
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
        run_stage(&stages[i]);
        fflush(stdout);
    }
    for (size_t i = 0; i < THREADS_MAX; i++) {
        for (size_t node = 0; node < KW_BENCH_NODES_N; node++) {
            redisFree(callers[i].raw[node]);
        }
    }
    return kw_bench_end(&bench, argc, argv);
}

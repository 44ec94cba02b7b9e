/* SPDX-License-Identifier: BSD-3-Clause */
/* GETs of many threads on one handle, against raw hiredis with a connection per thread and
 * node that is routed by hand: throughput, 99th percentile, the servers' CPU time, and system calls
 * per command. redis-benchmark's figure, where there is one, is a client of one thread that
 * does nothing else. --gate: exit status 1 where a goal is missed. --cells: the table of
 * README.md, a line for each cell. Both run what KW_BENCH_THREADS=N selects, or all of it. */
#include "support/bench.h"

#include <hiredis.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEYS_N      ((size_t)300)
#define THREADS_MAX ((size_t)256)
#define ROUNDS_N    ((size_t)9)
#define ROUNDS_MAX  ((size_t)15)
#define SAMPLES_MAX ((size_t)4096) /* latencies of a thread: the last ones of a round */
#define LEN_MAX     ((size_t)16384)
#define ROUND_MS    150

static kw_bench bench;
static kw_bench_counts counts;

/* One thread's connections and figures. */
typedef struct caller {
    pthread_t thread;
    redisContext *raw[KW_BENCH_NODES_N];
    size_t first; /* its first key */
    bool is_raw;
    uint64_t work_ns; /* of its own, between two calls */
    unsigned long calls_n;
    float us[SAMPLES_MAX];
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
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command_argv(bench.kw, &error, 2, argv, lens);
    kw_bench_die_if(kw_reply_type(reply) != KW_REPLY_STRING, error.text);
    kw_reply_free(reply);
}

static void work(uint64_t until_ns)
{
    while (kw_test_now_ns() < until_ns) {
    }
}

static void *call(void *arg)
{
    caller *self = arg;
    unsigned long calls_n = 0;
    pthread_barrier_wait(&barrier);
    while (!atomic_load_explicit(&has_ended, memory_order_relaxed)) {
        size_t key = (self->first + calls_n) % KEYS_N;
        uint64_t start_ns = kw_test_now_ns();
        if (self->is_raw) {
            get_raw(self, key);
        } else {
            get_kw(key);
        }
        uint64_t end_ns = kw_test_now_ns();
        self->us[calls_n++ % SAMPLES_MAX] = (float)(end_ns - start_ns) / 1000;
        if (self->work_ns > 0) {
            work(end_ns + self->work_ns);
        }
    }
    self->calls_n = calls_n;
    return NULL;
}

/* What one round of one way cost. */
typedef struct figures {
    double rate;   /* commands per second */
    double p99_us; /* that 99 of 100 calls take at most */
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

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return (x > y) - (x < y);
}

static double p99_us(size_t threads_n)
{
    static float all[THREADS_MAX * SAMPLES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < threads_n; i++) {
        size_t own_n = callers[i].calls_n < SAMPLES_MAX ? callers[i].calls_n : SAMPLES_MAX;
        memcpy(all + n, callers[i].us, own_n * sizeof(all[0]));
        n += own_n;
    }
    qsort(all, n, sizeof(all[0]), compare_floats);
    return n > 0 ? (double)all[n * 99 / 100] : 0;
}

static figures run_round(size_t threads_n, uint64_t work_ns, bool is_raw)
{
    atomic_store(&has_ended, false);
    pthread_barrier_init(&barrier, NULL, (unsigned)threads_n + 1);
    for (size_t i = 0; i < threads_n; i++) {
        callers[i].is_raw = is_raw;
        callers[i].first = i * 37;
        callers[i].work_ns = work_ns;
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
        .p99_us = p99_us(threads_n),
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

/* Medians of what the first n rounds have at an offset. */
static double median_of(const figures *rounds, size_t n, size_t offset)
{
    double values[ROUNDS_MAX];
    for (size_t i = 0; i < n; i++) {
        memcpy(&values[i], (const char *)&rounds[i] + offset, sizeof(values[i]));
    }
    return kw_bench_median(values, n);
}

static double median_ratio(const figures *a, const figures *b, size_t n, size_t offset)
{
    double ratios[ROUNDS_MAX];
    for (size_t i = 0; i < n; i++) {
        double x;
        double y;
        memcpy(&x, (const char *)&a[i] + offset, sizeof(x));
        memcpy(&y, (const char *)&b[i] + offset, sizeof(y));
        ratios[i] = y > 0 ? x / y : 0;
    }
    return kw_bench_median(ratios, n);
}

static void print_way(const char *name, const figures *rounds)
{
    printf("  %-12s %8.0f per second   99 of 100 in %6.0f us   server CPU %5.1f us   waits %.2f",
           name, median_of(rounds, ROUNDS_N, offsetof(figures, rate)),
           median_of(rounds, ROUNDS_N, offsetof(figures, p99_us)),
           median_of(rounds, ROUNDS_N, offsetof(figures, cpu_us)),
           median_of(rounds, ROUNDS_N, offsetof(figures, waits)));
}

typedef struct stage {
    size_t threads_n;
    double rate_goal;
    double sends_goal; /* 0: none */
    double cpu_goal;   /* 0: none */
} stage;

/* What is measured at a time. */
typedef struct cell {
    size_t threads_n;
    bool is_beside_loops; /* a program that wants it on each processor */
    unsigned work_us;     /* of the callers, between their calls */
    size_t len;           /* of values */
} cell;

static void connect_raw(size_t threads_n)
{
    for (size_t i = 0; i < threads_n; i++) {
        for (size_t node = 0; node < KW_BENCH_NODES_N && callers[i].raw[node] == NULL; node++) {
            callers[i].raw[node] = kw_bench_connect(&bench, node);
        }
    }
}

/* Rounds of both ways in turn, behind one of each that opens connections. */
static void run_pairs(figures *ours, figures *theirs, const cell *it, size_t n)
{
    uint64_t work_ns = (uint64_t)it->work_us * 1000;
    connect_raw(it->threads_n);
    (void)run_round(it->threads_n, work_ns, false);
    (void)run_round(it->threads_n, work_ns, true);
    for (size_t i = 0; i < n; i++) {
        bool is_raw_first = i % 2 == 0;
        figures first = run_round(it->threads_n, work_ns, is_raw_first);
        figures second = run_round(it->threads_n, work_ns, !is_raw_first);
        theirs[i] = is_raw_first ? first : second;
        ours[i] = is_raw_first ? second : first;
    }
}

static void run_stage(const stage *self)
{
    static figures ours[ROUNDS_N];
    static figures theirs[ROUNDS_N];
    cell it = {self->threads_n, false, 0, sizeof(KW_BENCH_VALUE) - 1};
    run_pairs(ours, theirs, &it, ROUNDS_N);
    printf("\n%zu thread%s, medians of %zu rounds, per command\n", self->threads_n,
           self->threads_n > 1 ? "s" : "", ROUNDS_N);
    print_way("raw hiredis", theirs);
    printf("\n");
    print_way("keyway", ours);
    printf("   sends %.3f recvs %.3f polls %.3f\n",
           median_of(ours, ROUNDS_N, offsetof(figures, sends)),
           median_of(ours, ROUNDS_N, offsetof(figures, recvs)),
           median_of(ours, ROUNDS_N, offsetof(figures, polls)));
    double benchmark = run_redis_benchmark(self->threads_n);
    if (benchmark > 0) {
        printf("  %-12s %8.0f per second\n", "redis-bench.", benchmark);
    }
    kw_bench_goal(&bench, "throughput, keyway / raw",
                  median_ratio(ours, theirs, ROUNDS_N, offsetof(figures, rate)),
                  ">=", self->rate_goal);
    if (self->sends_goal > 0) {
        kw_bench_goal(&bench, "sends per command",
                      median_of(ours, ROUNDS_N, offsetof(figures, sends)), "<=", self->sends_goal);
    }
    if (self->cpu_goal > 0) {
        kw_bench_goal(&bench, "server CPU per command, keyway / raw",
                      median_ratio(ours, theirs, ROUNDS_N, offsetof(figures, cpu_us)),
                      "<=", self->cpu_goal);
    }
}

/* Busy loops: programs that want all processors. */

#define LOOPS_MAX ((long)64)

static pid_t loops[LOOPS_MAX];

static void start_loops(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    for (long i = 0; i < n && i < LOOPS_MAX; i++) {
        pid_t parent = getpid();
        loops[i] = fork();
        kw_bench_die_if(loops[i] < 0, "a busy loop");
        if (loops[i] == 0) {
            while (getppid() == parent) { /* it ends with the bench */
            }
            _exit(0);
        }
    }
}

static void end_loops(void)
{
    for (long i = 0; i < LOOPS_MAX && loops[i] > 0; i++) {
        (void)kill(loops[i], SIGKILL);
        (void)waitpid(loops[i], NULL, 0);
        loops[i] = 0;
    }
}

static void set_values(size_t len)
{
    static char value[LEN_MAX];
    memset(value, 'v', sizeof(value));
    for (size_t i = 0; i < KEYS_N; i++) {
        const char *argv[] = {"SET", bench.keys[i], value};
        const size_t lens[] = {3, KW_BENCH_KEY_LEN, len};
        kw_reply *reply = kw_command_argv(bench.kw, NULL, 3, argv, lens);
        kw_bench_die_if(kw_reply_type(reply) != KW_REPLY_STATUS, "SET");
        kw_reply_free(reply);
    }
}

static void run_cell(const cell *it)
{
    static figures ours[ROUNDS_MAX];
    static figures theirs[ROUNDS_MAX];
    set_values(it->len);
    if (it->is_beside_loops) {
        start_loops();
    }
    run_pairs(ours, theirs, it, ROUNDS_MAX);
    end_loops();
    size_t rate = offsetof(figures, rate);
    size_t p99 = offsetof(figures, p99_us);
    size_t waits = offsetof(figures, waits);
    printf("| %zu | %s | %u us | %zu | %.0f | %.0f | %.2f | %.0f / %.0f | %.2f / %.2f | %.3f |\n",
           it->threads_n, it->is_beside_loops ? "yes" : "no", it->work_us, it->len,
           median_of(theirs, ROUNDS_MAX, rate), median_of(ours, ROUNDS_MAX, rate),
           median_ratio(ours, theirs, ROUNDS_MAX, rate), median_of(theirs, ROUNDS_MAX, p99),
           median_of(ours, ROUNDS_MAX, p99), median_of(theirs, ROUNDS_MAX, waits),
           median_of(ours, ROUNDS_MAX, waits),
           median_of(ours, ROUNDS_MAX, offsetof(figures, sends)));
}

static bool is_selected(size_t threads_n)
{
    const char *only = getenv("KW_BENCH_THREADS");
    return only == NULL || strtoul(only, NULL, 10) == threads_n;
}

static void run_cells(void)
{
    static const cell cells[] = {
        {2, false, 0, 32},    {4, false, 0, 32},    {8, false, 0, 32},    {16, false, 0, 32},
        {32, false, 0, 32},   {64, false, 0, 32},   {256, false, 0, 32},  {2, true, 0, 32},
        {4, true, 0, 32},     {8, true, 0, 32},     {16, true, 0, 32},    {64, true, 0, 32},
        {8, false, 5, 32},    {64, false, 5, 32},   {8, false, 100, 32},  {64, false, 100, 32},
        {16, false, 0, 1024}, {64, false, 0, 1024}, {8, false, 0, 16384}, {64, false, 0, 16384},
    };
    printf("| threads | busy loops | own work | bytes | raw hiredis a second | keyway a second "
           "| keyway / raw | 99 of 100, us, raw / keyway | waits a command, raw / keyway "
           "| sends a command |\n|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
        if (is_selected(cells[i].threads_n)) {
            run_cell(&cells[i]);
            fflush(stdout);
        }
    }
}

static void run_stages(void)
{
    static const stage stages[] = {
        {1, 0.98, 1.0, 0}, {4, 1.0, 0, 0},        {16, 1.8, 0, 0},
        {32, 2.3, 0.1, 0}, {64, 3.0, 0.05, 0.15},
    };
    printf("\nMany threads, one handle; GET of a 32-byte value, 3 primaries\n");
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
        if (is_selected(stages[i].threads_n)) {
            run_stage(&stages[i]);
            fflush(stdout);
        }
    }
}

static void disconnect_raw(void)
{
    for (size_t i = 0; i < THREADS_MAX && callers[i].raw[0] != NULL; i++) {
        for (size_t node = 0; node < KW_BENCH_NODES_N; node++) {
            redisFree(callers[i].raw[node]);
        }
    }
}

int main(int argc, char **argv)
{
    bool has_cells = argc > 1 && strcmp(argv[1], "--cells") == 0;
    kw_bench_init(&bench, KEYS_N, NULL);
    kw_bench_count(&counts, bench.kw);
    if (has_cells) {
        run_cells();
    } else {
        run_stages();
    }
    disconnect_raw();
    return kw_bench_end(&bench, argc, argv);
}

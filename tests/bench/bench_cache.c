/* SPDX-License-Identifier: BSD-3-Clause */
/* Values in the process' memory: what a hit costs beside a GET by raw hiredis, in time and in
 * instructions (counted by valgrind), with one thread and two (slices in which nothing else ran);
 * what a miss costs beside a plain GET; memory beside keys and values. With --gate the exit status
 * is 1 where a goal is missed. */
#include <keyway.h>

#include "support/bench.h"
#include "support/calm.h"
#include "support/zipf.h"

#include <hiredis.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEYS_N   ((size_t)20000)
#define ROUNDS_N 7

static kw_bench bench;

/* Keys by Zipf 0.99, drawn before anything is measured. */
#define DRAWS_N ((size_t)1 << 16)
static unsigned draws[DRAWS_N];

static void draw_all(void)
{
    kw_test_zipf zipf = kw_test_zipf_new(KEYS_N, 0.99);
    kw_random random;
    kw_random_init(&random, 42);
    for (size_t i = 0; i < DRAWS_N; i++) {
        draws[i] = kw_test_zipf_draw(&zipf, &random);
    }
    kw_test_zipf_free(&zipf);
}

static kw_cache_source get(kw_cache *cache, size_t at)
{
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    kw_cache_bytes key = {bench.keys[at], KW_BENCH_KEY_LEN};
    kw_bench_die_if(kw_cache_get(cache, NULL, &value, key) != KW_OK || value.len != 32, "no value");
    kw_cache_source source = value.source;
    kw_cache_release(&value);
    return source;
}

static kw_cache *open_cache(kw_client *client, const char *options)
{
    kw_cache *cache = kw_cache_open(client, NULL, options);
    kw_bench_die_if(cache == NULL, "no cache");
    return cache;
}

static kw_cache_figures figures_of(kw_cache *cache)
{
    kw_cache_figures figures = {.size = sizeof(figures)};
    (void)kw_cache_stats(cache, NULL, &figures);
    return figures;
}

/* Until all keys are near. */
static void fill(kw_cache *cache)
{
    for (size_t far_n = 1; far_n > 0;) {
        far_n = 0;
        for (size_t i = 0; i < KEYS_N; i++) {
            far_n += get(cache, i) != KW_CACHE_FROM_NEAR;
        }
    }
}

/* Hits are found in slices of a few milliseconds. */
#define SLICES_N   200
#define SLICE_HITS ((size_t)20000)

typedef struct slice {
    double start_s;
    double end_s;
    double cpu_s;
} slice;

typedef struct hitting {
    kw_cache *cache;
    bool is_one; /* key */
    slice slices[SLICES_N];
} hitting;

static double cpu_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *hit(void *arg)
{
    hitting *self = arg;
    for (size_t k = 0; k < SLICES_N; k++) {
        slice *now = &self->slices[k];
        now->start_s = kw_bench_now_s();
        double cpu_s = cpu_now_s();
        for (size_t i = 0; i < SLICE_HITS; i++) {
            (void)get(self->cache, self->is_one ? 0 : draws[(k * SLICE_HITS + i) % DRAWS_N]);
        }
        now->cpu_s = cpu_now_s() - cpu_s;
        now->end_s = kw_bench_now_s();
    }
    return NULL;
}

/* True where the thread had a processor for all of it. */
static bool is_calm(const slice *self)
{
    return self->cpu_s >= 0.97 * (self->end_s - self->start_s);
}

/* True where the other one, if there is one, had a processor of its own all the while. */
static bool is_beside(const slice *self, const hitting *other)
{
    bool is_good = true;
    double until_s = self->start_s;
    for (size_t i = 0; other != NULL && is_good && i < SLICES_N; i++) {
        const slice *at = &other->slices[i];
        if (at->end_s > self->start_s && at->start_s < self->end_s) {
            is_good = is_calm(at) && (at->start_s <= self->start_s || until_s > self->start_s);
            until_s = at->end_s;
        }
    }
    return is_good && (other == NULL || until_s >= self->end_s);
}

/* The slices in which nothing else ran; their seconds of processor time are put behind others. */
static size_t take_calm(double *seconds, size_t n, const hitting *self, const hitting *other)
{
    for (size_t i = 0; i < SLICES_N; i++) {
        if (is_calm(&self->slices[i]) && is_beside(&self->slices[i], other)) {
            seconds[n++] = self->slices[i].cpu_s;
        }
    }
    return n;
}

/* Rounds until so many slices were calm; and at the most. */
#define CALM_MIN   ((size_t)50)
#define ROUNDS_MAX 20

/* Hits that each of so many threads finds in a second of processor time, the median of slices. */
static double hits_per_s(kw_cache *cache, unsigned threads_n, bool is_one)
{
    static hitting work[2];
    static double seconds[ROUNDS_MAX * 2 * SLICES_N];
    size_t n = 0;
    for (int round = 0; n < CALM_MIN && round < ROUNDS_MAX; round++) {
        pthread_t threads[2];
        for (unsigned k = 0; k < threads_n; k++) {
            work[k].cache = cache;
            work[k].is_one = is_one;
            kw_bench_die_if(pthread_create(&threads[k], NULL, hit, &work[k]) != 0, "no thread");
        }
        for (unsigned k = 0; k < threads_n; k++) {
            pthread_join(threads[k], NULL);
        }
        for (unsigned k = 0; k < threads_n; k++) {
            n = take_calm(seconds, n, &work[k], threads_n == 2 ? &work[1 - k] : NULL);
        }
    }
    if (n < CALM_MIN) {
        printf("  %u threads: the machine was calm for %zu slices alone\n", threads_n, n);
    }
    kw_bench_die_if(n == 0, "the machine is too busy to measure hits");
    return (double)SLICE_HITS / kw_bench_median(seconds, n);
}

/* Of one thread; and *two: how many times as many two threads find. */
static double hits_of_one(kw_cache *cache, double *two, bool is_one)
{
    double rate = hits_per_s(cache, 1, is_one);
    *two = 2 * hits_per_s(cache, 2, is_one) / rate;
    return rate;
}

static double raw_gets_per_s(void)
{
    double rates[ROUNDS_N];
    for (int i = 0; i < ROUNDS_N; i++) {
        double start_s = kw_bench_now_s();
        for (size_t k = 0; k < 10000; k++) {
            size_t at = draws[k];
            redisReply *reply = redisCommand(bench.raw[bench.owners[at]], "GET %b", bench.keys[at],
                                             KW_BENCH_KEY_LEN);
            kw_bench_die_if(reply == NULL || reply->len != 32, "no value");
            freeReplyObject(reply);
        }
        rates[i] = 10000 / (kw_bench_now_s() - start_s);
    }
    return kw_bench_median(rates, ROUNDS_N);
}

#define MISS_SLICES_N 100
#define MISS_SLICE    ((size_t)500)

typedef struct miss_cost {
    double cpu; /* of misses beside as many plain GETs, the median of slices in turn */
    double time;
    double server; /* the servers' processor time */
} miss_cost;

static void get_plainly(size_t at)
{
    kw_reply *reply = kw_command(bench.kw, NULL, "GET %b", bench.keys[at], KW_BENCH_KEY_LEN);
    kw_bench_die_if(kw_reply_type(reply) != KW_REPLY_STRING, "no value");
    kw_reply_free(reply);
}

/* Gets of keys that are not near beside plain GETs. */
static miss_cost cost_of_misses(kw_cache *tiny)
{
    static double cpu[MISS_SLICES_N];
    static double time[MISS_SLICES_N];
    double server_s[2] = {0, 0};
    for (size_t i = 0; i < MISS_SLICES_N; i++) {
        double cpu_s[2];
        double time_s[2];
        for (int misses = 0; misses < 2; misses++) {
            double server_start_s = kw_bench_server_cpu_s(&bench);
            double start_s = kw_bench_now_s();
            double cpu_start_s = cpu_now_s();
            for (size_t k = 0; k < MISS_SLICE; k++) {
                size_t at = (i * MISS_SLICE + k) % KEYS_N;
                if (misses == 1) {
                    (void)get(tiny, at);
                } else {
                    get_plainly(at);
                }
            }
            cpu_s[misses] = cpu_now_s() - cpu_start_s;
            time_s[misses] = kw_bench_now_s() - start_s;
            server_s[misses] += kw_bench_server_cpu_s(&bench) - server_start_s;
        }
        cpu[i] = cpu_s[1] / cpu_s[0];
        time[i] = time_s[1] / time_s[0];
    }
    miss_cost cost = {kw_bench_median(cpu, MISS_SLICES_N), kw_bench_median(time, MISS_SLICES_N),
                      server_s[1] / server_s[0]};
    return cost;
}

/* Hits under valgrind: "PROGRAM --hits URI n" of one key that is near. */
static int run_hits(const char *uri, size_t n)
{
    kw_client *kw = kw_open(uri, NULL);
    kw_cache *cache = open_cache(kw, "near-bytes=1mb&near-staleness=1h");
    kw_cache_bytes key = {"bench:cache:hits", KW_BENCH_KEY_LEN};
    kw_reply_free(kw_command(kw, NULL, "SET bench:cache:hits " KW_BENCH_VALUE));
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    for (size_t left = n; left > 0;) {
        kw_bench_die_if(kw_cache_get(cache, NULL, &value, key) != KW_OK, "no value");
        left -= value.source == KW_CACHE_FROM_NEAR ? 1 : 0;
        kw_cache_release(&value);
    }
    kw_cache_close(cache);
    kw_close(kw);
    return 0;
}

static double instructions(const char *program, size_t n)
{
    char command[1000];
    snprintf(command, sizeof(command),
             "valgrind --tool=callgrind --callgrind-out-file=/dev/null '%s' --hits '%s' %zu 2>&1 | "
             "sed -n 's/.*Collected : //p'",
             program, kw_test_cluster_uri(bench.cluster), n);
    FILE *output = popen(command, "r");
    double counted = 0;
    kw_bench_die_if(output == NULL || fscanf(output, "%lf", &counted) != 1, "no valgrind");
    pclose(output);
    return counted;
}

int main(int argc, char **argv)
{
    kw_test_calm_forbid();
    if (argc == 4 && strcmp(argv[1], "--hits") == 0) {
        return run_hits(argv[2], (size_t)atol(argv[3]));
    }
    kw_bench_init(&bench, KEYS_N, NULL);
    draw_all();
    kw_cache *cache = open_cache(bench.kw, "near-bytes=64mb&near-staleness=5s&near-ttl=1h");
    kw_cache *tiny = open_cache(bench.kw, "near-bytes=64kb&near-staleness=5s");
    uint64_t empty = figures_of(cache).near_bytes;
    fill(cache);
    double bytes = (double)(figures_of(cache).near_bytes - empty);
    double two;
    double two_of_one_key;
    double one = hits_of_one(cache, &two, false);
    (void)hits_of_one(cache, &two_of_one_key, true);
    double raw = raw_gets_per_s();
    printf("hits of one thread %.0f a second, raw hiredis %.0f GETs\n", one, raw);
    kw_bench_goal(&bench, "a hit against a raw GET, times", one / raw, ">=", 150);
    kw_bench_goal(&bench, "two threads against one, Zipf", two, ">=", 1.9);
    kw_bench_goal(&bench, "two threads against one, one key", two_of_one_key, ">=", 1);
    kw_bench_goal(&bench, "bytes an entry beside key and value",
                  bytes / (double)KEYS_N - KW_BENCH_KEY_LEN - 32, "<=", 96);
    miss_cost miss = cost_of_misses(tiny);
    kw_bench_goal(&bench, "a miss against a plain GET, processor time", miss.cpu, "<=", 1.15);
    kw_bench_goal(&bench, "a miss against a plain GET, time", miss.time, "<=", 1.15);
    printf("servers' processor time for a miss against a plain GET %.2f\n", miss.server);
    double few = instructions(argv[0], 100000);
    kw_bench_goal(&bench, "instructions of a hit", (instructions(argv[0], 300000) - few) / 200000,
                  "<=", 350);
    kw_cache_close(tiny);
    kw_cache_close(cache);
    return kw_bench_end(&bench, argc, argv);
}

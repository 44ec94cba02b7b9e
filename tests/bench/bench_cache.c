/* SPDX-License-Identifier: BSD-3-Clause */
/* Values in the process' memory: what a hit costs beside a GET by raw hiredis, in time and in
 * instructions (counted by valgrind), with one thread and two (by processor time: what else runs
 * does not count); what a miss costs beside a plain
 * GET; memory beside keys and values. With --gate the exit status is 1 where a goal is missed. */
#include <keyway.h>

#include "support/bench.h"
#include "support/calm.h"

#include <hiredis.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEYS_N   ((size_t)20000)
#define ROUNDS_N 7

static kw_bench bench;

/* Ranks by Zipf 0.99, drawn before anything is measured. */
#define DRAWS_N ((size_t)1 << 16)
static unsigned draws[DRAWS_N];

static void draw_all(void)
{
    double *sums = malloc(KEYS_N * sizeof(double));
    double sum = 0;
    for (size_t i = 0; i < KEYS_N; i++) {
        sum += 1 / pow((double)i + 1, 0.99);
        sums[i] = sum;
    }
    uint64_t random = 42;
    for (size_t i = 0; i < DRAWS_N; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        double at = (double)(random >> 11) / 9007199254740992.0 * sum;
        unsigned low = 0;
        unsigned high = KEYS_N - 1;
        while (low < high) {
            unsigned middle = (low + high) / 2;
            *(sums[middle] < at ? &low : &high) = sums[middle] < at ? middle + 1 : middle;
        }
        draws[i] = low;
    }
    free(sums);
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

typedef struct hitting {
    kw_cache *cache;
    size_t n;
    bool is_one; /* key */
    double cpu_s;
} hitting;

static double thread_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *hit(void *arg)
{
    hitting *self = arg;
    double start_s = thread_s();
    for (size_t i = 0; i < self->n; i++) {
        (void)get(self->cache, self->is_one ? 0 : draws[i % DRAWS_N]);
    }
    self->cpu_s = thread_s() - start_s;
    return NULL;
}

/* Hits that so many threads find in a second of processor time of each. */
static double hits_per_s(kw_cache *cache, unsigned threads_n, bool is_one)
{
    pthread_t threads[2];
    hitting work[2];
    double rate = 0;
    for (unsigned k = 0; k < threads_n; k++) {
        work[k] = (hitting){cache, 1000000, is_one, 0};
        kw_bench_die_if(pthread_create(&threads[k], NULL, hit, &work[k]) != 0, "no thread");
    }
    for (unsigned k = 0; k < threads_n; k++) {
        pthread_join(threads[k], NULL);
        rate += (double)work[k].n / work[k].cpu_s;
    }
    return rate;
}

/* Of one thread; and *two: how many times as many two threads find, the median of rounds in turn.
 */
static double hits_of_one(kw_cache *cache, double *two, bool is_one)
{
    double rates[ROUNDS_N];
    double ratios[ROUNDS_N];
    for (int i = 0; i < ROUNDS_N; i++) {
        rates[i] = hits_per_s(cache, 1, is_one);
        ratios[i] = hits_per_s(cache, 2, is_one) / rates[i];
    }
    *two = kw_bench_median(ratios, ROUNDS_N);
    return kw_bench_median(rates, ROUNDS_N);
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

/* Seconds of n gets of keys that are not near, beside as many plain GETs, in turn. */
static double miss_ratio(kw_cache *tiny)
{
    double ratios[ROUNDS_N];
    for (int i = 0; i < ROUNDS_N; i++) {
        double start_s = kw_bench_now_s();
        for (size_t k = 0; k < KEYS_N; k++) {
            (void)get(tiny, k);
        }
        double missed_s = kw_bench_now_s() - start_s;
        start_s = kw_bench_now_s();
        for (size_t k = 0; k < KEYS_N; k++) {
            kw_reply *reply = kw_command(bench.kw, NULL, "GET %b", bench.keys[k], KW_BENCH_KEY_LEN);
            kw_bench_die_if(kw_reply_type(reply) != KW_REPLY_STRING, "no value");
            kw_reply_free(reply);
        }
        ratios[i] = missed_s / (kw_bench_now_s() - start_s);
    }
    return kw_bench_median(ratios, ROUNDS_N);
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
    kw_bench_goal(&bench, "a miss against a plain GET, time", miss_ratio(tiny), "<=", 1.15);
    double few = instructions(argv[0], 100000);
    kw_bench_goal(&bench, "instructions of a hit", (instructions(argv[0], 300000) - few) / 200000,
                  "<=", 350);
    kw_cache_close(tiny);
    kw_cache_close(cache);
    return kw_bench_end(&bench, argc, argv);
}

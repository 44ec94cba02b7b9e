/* SPDX-License-Identifier: BSD-3-Clause */
/* What near values do to a cluster of three under a Zipf load: threads read as fast as they can
 * while one writes, with no near values, and with room for 1 %, 10 % and all of the keys. Calls a
 * second, the servers' processor time for a thousand calls, how long the slowest in a hundred calls
 * takes at least, and a chart of the three. KW_BENCH_SECONDS is how long each lasts. */
#include <keyway.h>

#include "support/bench.h"
#include "support/zipf.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEYS_N    ((size_t)50000)
#define READERS_N 4
#define WRITES_S  200 /* of one more thread, by the same law */

/* Times in steps of an eighth of a power of two, in nanoseconds. */
#define STEPS_N 256

static kw_bench bench;
static kw_test_zipf zipf;

typedef struct reader {
    kw_cache *cache;
    uint64_t seed;
    uint64_t calls_n;
    uint64_t steps[STEPS_N];
} reader;

typedef struct cell {
    const char *name;
    double part; /* of the keys that there is room for; 0: no near values */
    double calls_s;
    double hits;      /* of a hundred calls */
    double server_ms; /* of a thousand calls */
    double p99_us;
} cell;

static atomic_bool is_over;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static unsigned step_of(uint64_t ns)
{
    unsigned power = 0;
    while (power < 28 && ns >> (power + 1) >= 8) {
        power++;
    }
    return power * 8 + (unsigned)(ns >> power) % 8 + (ns >> power >= 8 ? 8 : 0);
}

/* The least time of a step. */
static double ns_of(unsigned step)
{
    return step < 8 ? step : (double)(8 + step % 8) * (double)(UINT64_C(1) << (step / 8 - 1));
}

static void *read_keys(void *arg)
{
    reader *self = arg;
    kw_random random;
    kw_random_init(&random, self->seed);
    while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
        kw_cache_value value = KW_CACHE_VALUE_INIT;
        kw_cache_bytes key = {bench.keys[kw_test_zipf_draw(&zipf, &random)], KW_BENCH_KEY_LEN};
        uint64_t begun_ns = now_ns();
        kw_bench_die_if(kw_cache_get(self->cache, NULL, &value, key) != KW_OK, "get");
        kw_cache_release(&value);
        self->steps[step_of(now_ns() - begun_ns)]++;
        self->calls_n++;
    }
    return NULL;
}

static void *write_keys(void *arg)
{
    kw_client *other = arg;
    kw_random random;
    kw_random_init(&random, 7);
    while (!atomic_load(&is_over)) {
        const char *key = bench.keys[kw_test_zipf_draw(&zipf, &random)];
        kw_reply_free(kw_command(other, NULL, "SET %s %s", key, KW_BENCH_VALUE));
        struct timespec pause = {0, 1000000000 / WRITES_S};
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static double seconds(void)
{
    const char *text = getenv("KW_BENCH_SECONDS");
    return text != NULL && atof(text) > 0 ? atof(text) : 3;
}

static void sleep_s(double s)
{
    struct timespec pause = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)};
    nanosleep(&pause, NULL);
}

static double p99_us_of(const reader *readers, uint64_t calls_n)
{
    uint64_t seen = 0;
    for (unsigned step = 0; step < STEPS_N; step++) {
        for (size_t i = 0; i < READERS_N; i++) {
            seen += readers[i].steps[step];
        }
        if (seen * 100 >= calls_n * 99) {
            return ns_of(step) / 1000;
        }
    }
    return 0;
}

static kw_cache_figures figures_of(kw_cache *cache)
{
    kw_cache_figures figures = {.size = sizeof(figures)};
    (void)kw_cache_stats(cache, NULL, &figures);
    return figures;
}

/* One run of the load; nothing of it is kept where self is NULL: memory is warm then. */
static void run(kw_cache *cache, cell *self)
{
    static reader readers[READERS_N];
    pthread_t threads[READERS_N + 1];
    kw_client *other = kw_open(kw_test_cluster_uri(bench.cluster), NULL);
    kw_bench_die_if(other == NULL, "kw_open");
    atomic_store(&is_over, false);
    uint64_t near_hits = figures_of(cache).near_hits;
    double cpu_s = kw_bench_server_cpu_s(&bench);
    double start_s = kw_bench_now_s();
    for (size_t i = 0; i < READERS_N; i++) {
        readers[i] = (reader){.cache = cache, .seed = i};
        kw_bench_die_if(pthread_create(&threads[i], NULL, read_keys, &readers[i]) != 0, "thread");
    }
    kw_bench_die_if(pthread_create(&threads[READERS_N], NULL, write_keys, other) != 0, "thread");
    sleep_s(self != NULL ? seconds() : seconds() / 2);
    atomic_store(&is_over, true);
    uint64_t calls_n = 0;
    for (size_t i = 0; i <= READERS_N; i++) {
        pthread_join(threads[i], NULL);
        calls_n += i < READERS_N ? readers[i].calls_n : 0;
    }
    if (self != NULL) {
        double n = (double)calls_n;
        self->calls_s = n / (kw_bench_now_s() - start_s);
        self->server_ms = (kw_bench_server_cpu_s(&bench) - cpu_s) * 1e6 / n;
        self->hits = 100 * (double)(figures_of(cache).near_hits - near_hits) / n;
        self->p99_us = p99_us_of(readers, calls_n);
    }
    kw_close(other);
}

static void measure(cell *self)
{
    char options[100] = "";
    if (self->part > 0) {
        /* About 230 bytes for an entry, its part of the table, and what waits for pins. */
        snprintf(options, sizeof(options), "near-ttl=1h&near-bytes=%zu",
                 (size_t)(self->part * (double)KEYS_N * 230) + 16384);
    }
    kw_error error = KW_ERROR_INIT;
    kw_cache *cache = kw_cache_open(bench.kw, &error, options);
    kw_bench_die_if(cache == NULL, error.text);
    run(cache, NULL);
    run(cache, self);
    kw_cache_close(cache);
}

/* A letter for each doubling beyond the least. */
static void draw(const cell *cells, size_t n, const char *what, double (*of)(const cell *cell))
{
    double least = of(&cells[0]);
    for (size_t i = 1; i < n; i++) {
        least = of(&cells[i]) < least ? of(&cells[i]) : least;
    }
    printf("\n  %s\n", what);
    for (size_t i = 0; i < n; i++) {
        char bar[64] = "#";
        size_t len = 1;
        for (double at = least; at * 1.19 < of(&cells[i]) && len < sizeof(bar) - 1; at *= 1.41421) {
            bar[len++] = '#';
        }
        bar[len] = '\0';
        printf("  %-16s %-34s %.*f\n", cells[i].name, bar, of(&cells[i]) < 100 ? 1 : 0,
               of(&cells[i]));
    }
}

static double calls_of(const cell *self)
{
    return self->calls_s;
}

static double server_of(const cell *self)
{
    return self->server_ms;
}

static double p99_of(const cell *self)
{
    return self->p99_us;
}

int main(int argc, char **argv)
{
    cell cells[] = {{"no near values", 0, 0, 0, 0, 0},
                    {"room for 1 %", 0.01, 0, 0, 0, 0},
                    {"room for 10 %", 0.1, 0, 0, 0, 0},
                    {"room for all", 1, 0, 0, 0, 0}};
    const size_t n = sizeof(cells) / sizeof(cells[0]);
    kw_bench_init(&bench, KEYS_N, NULL);
    zipf = kw_test_zipf_new(KEYS_N, 0.99);
    printf("  Zipf 0.99, %zu keys, %d threads, %d writes a second\n", KEYS_N, READERS_N, WRITES_S);
    for (size_t i = 0; i < n; i++) {
        measure(&cells[i]);
        printf("  %-16s %10.0f calls a second, %5.1f %% near, servers %5.2f ms of CPU a thousand "
               "calls, p99 %6.1f us\n",
               cells[i].name, cells[i].calls_s, cells[i].hits, cells[i].server_ms, cells[i].p99_us);
    }
    printf("\n  Each # is half of a doubling.\n");
    draw(cells, n, "calls a second", calls_of);
    draw(cells, n, "servers' CPU, ms a thousand calls", server_of);
    draw(cells, n, "p99, us", p99_of);
    kw_test_zipf_free(&zipf);
    return kw_bench_end(&bench, argc, argv);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What part of a Zipf load the near values of a cache hit, beside plain simulations of S3-FIFO and
 * of LRU with as many entries on the same trace: a million keys, room for 1 % and for 10 % of them,
 * alone and with a scan of cold keys, each of which never comes again. No server is asked: what is
 * not near is put there at once. With --gate the exit status is 1 where near values are more than a
 * point behind the simulation of S3-FIFO. */
#include <keyway.h>

#include "cache/near.h"

#include "support/bench.h"
#include "support/eviction.h"
#include "support/zipf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_N    1000000u
#define REQUESTS_N 3000000u
#define SCAN_PART  25 /* of 100 requests, where there is a scan */

static uint32_t trace[REQUESTS_N];

static void draw_trace(const kw_test_zipf *zipf, unsigned scan_part)
{
    kw_random random;
    kw_random_init(&random, 42);
    uint32_t cold = NAMES_N;
    for (size_t i = 0; i < REQUESTS_N; i++) {
        bool is_cold = kw_random_below(&random, 100) < scan_part;
        trace[i] = is_cold ? cold++ : kw_test_zipf_draw(zipf, &random);
    }
}

/* Bytes of near-bytes for so many entries of 16-byte keys and 32-byte values: table, ghosts and
 * what waits for pins count, too. */
static kw_near *near_for(kw_write_stamps *stamps, size_t entries_n)
{
    const uint64_t size = sizeof(kw_near_entry) + KW_BENCH_KEY_LEN + 32 + 16;
    kw_near *near = NULL;
    for (uint64_t bytes = entries_n * size; near == NULL || near->queues.room / size < entries_n;
         bytes += entries_n) {
        if (near != NULL) {
            kw_near_close(near);
        }
        kw_near_limits limits = {bytes, UINT64_MAX / 2, UINT64_MAX / 2};
        near = kw_near_new(kw_mem_default(), &limits, stamps);
        kw_bench_die_if(near == NULL, "no memory");
    }
    atomic_store(&near->pairs[0].proof_ns, 1);
    return near;
}

static bool request_near(kw_near *near, uint32_t name)
{
    char text[KW_BENCH_KEY_LEN + 1];
    snprintf(text, sizeof(text), "key:%012u", name);
    kw_bytes key = {text, KW_BENCH_KEY_LEN};
    kw_pins_guard pin;
    if (kw_near_find(near, &pin, key, 2) != NULL) {
        kw_near_give_back(pin);
        return true;
    }
    kw_near_place place = {.hash = kw_near_hash(key), .sent_ns = 1};
    kw_bench_die_if(!kw_near_place_take(near, &place, 0, 0), "no place");
    kw_bytes value = {KW_BENCH_VALUE, 32};
    kw_near_place_end(near, &place, key, value, UINT64_MAX);
    return false;
}

static double percent(size_t hits)
{
    return 100.0 * (double)hits / REQUESTS_N;
}

static double ratio_of_near(size_t room)
{
    static kw_write_stamps stamps;
    kw_near *near = near_for(&stamps, room);
    size_t hits = 0;
    for (size_t i = 0; i < REQUESTS_N; i++) {
        hits += request_near(near, trace[i]);
    }
    kw_near_close(near);
    return percent(hits);
}

static double ratio_of_s3fifo(size_t room)
{
    kw_test_s3fifo *simulation = kw_test_s3fifo_new(NAMES_N + REQUESTS_N, room);
    size_t hits = 0;
    for (size_t i = 0; i < REQUESTS_N; i++) {
        hits += kw_test_s3fifo_request(simulation, trace[i]);
    }
    kw_test_s3fifo_free(simulation);
    return percent(hits);
}

static double ratio_of_lru(size_t room)
{
    kw_test_lru *simulation = kw_test_lru_new(NAMES_N + REQUESTS_N, room);
    size_t hits = 0;
    for (size_t i = 0; i < REQUESTS_N; i++) {
        hits += kw_test_lru_request(simulation, trace[i]);
    }
    kw_test_lru_free(simulation);
    return percent(hits);
}

int main(int argc, char **argv)
{
    static const double exponents[] = {0.8, 0.99, 1.2};
    double worst = -100;
    printf("  hits in a hundred        near   S3-FIFO   LRU\n");
    for (size_t i = 0; i < sizeof(exponents) / sizeof(exponents[0]); i++) {
        kw_test_zipf zipf = kw_test_zipf_new(NAMES_N, exponents[i]);
        for (unsigned scan_part = 0; scan_part <= SCAN_PART; scan_part += SCAN_PART) {
            draw_trace(&zipf, scan_part);
            for (size_t room = NAMES_N / 100; room <= NAMES_N / 10; room *= 10) {
                double near = ratio_of_near(room);
                double simulated = ratio_of_s3fifo(room);
                printf("  Zipf %.2f %2zu %%%s  %5.1f  %5.1f     %5.1f\n", exponents[i],
                       room * 100 / NAMES_N, scan_part > 0 ? " and a scan" : "           ", near,
                       simulated, ratio_of_lru(room));
                worst = fmax(worst, simulated - near);
            }
        }
        kw_test_zipf_free(&zipf);
    }
    kw_bench bench = {0};
    kw_bench_goal(&bench, "points behind S3-FIFO at the worst", worst, "<=", 1);
    return bench.is_missed && argc > 1 && strcmp(argv[1], "--gate") == 0 ? 1 : 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* S3-FIFO beside a plain simulation of the paper's algorithm, and LRU, over Zipf loads with and
 * without scans of cold keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "cache/s3fifo.h"
#include "support/eviction.h"
#include "support/zipf.h"

#define NAMES    100000u
#define REQUESTS 1000000u

/* A load: names from 0 by Zipf, and every so many requests a name that never comes again. */
typedef struct load {
    kw_test_zipf names;
    kw_random random;
    unsigned scan_part; /* of 100 */
    uint64_t cold;
} load;

static load load_new(double exponent, unsigned scan_part)
{
    load self = {kw_test_zipf_new(NAMES, exponent), {0}, scan_part, NAMES};
    kw_random_init(&self.random, 42);
    return self;
}

static uint64_t load_next(load *self)
{
    bool is_cold = kw_random_below(&self->random, 100) < self->scan_part;
    return is_cold ? self->cold++ : kw_test_zipf_draw(&self->names, &self->random);
}

/* What each sees of a request. */
typedef bool (*request_fn)(void *arg, uint64_t name);

static double hit_ratio(load *from, request_fn request, void *arg)
{
    unsigned hits = 0;
    for (unsigned i = 0; i < REQUESTS; i++) {
        hits += request(arg, load_next(from)) ? 1 : 0;
    }
    kw_test_zipf_free(&from->names);
    return 100.0 * hits / REQUESTS;
}

/* Names that the largest load has: all, and a cold one with each request. */
#define ALL_NAMES (NAMES + REQUESTS)

/* Ours: an entry of size 1 for each name. */
typedef struct ours {
    kw_s3fifo queues;
    kw_s3_link *links;
    bool *is_in;
} ours;

static bool request_ours(void *arg, uint64_t name)
{
    ours *self = arg;
    kw_s3_link *link = &self->links[name];
    if (self->is_in[name]) {
        kw_s3fifo_hit(link);
        return true;
    }
    link->hash = kw_random_next(&(kw_random){name});
    link->size = 1;
    self->is_in[name] = true;
    kw_s3fifo_insert(&self->queues, link);
    kw_s3_link *victim;
    while ((victim = kw_s3fifo_evict(&self->queues)) != NULL) {
        self->is_in[victim - self->links] = false;
    }
    return false;
}

static double ratio_of_ours(double exponent, unsigned scan_part, uint64_t room)
{
    load from = load_new(exponent, scan_part);
    ours self = {.links = calloc(ALL_NAMES, sizeof(kw_s3_link)), .is_in = calloc(ALL_NAMES, 1)};
    assert_true(kw_s3fifo_init(&self.queues, kw_mem_default(), room, room));
    double ratio = hit_ratio(&from, request_ours, &self);
    kw_s3fifo_fini(&self.queues, kw_mem_default());
    free(self.links);
    free(self.is_in);
    return ratio;
}

static bool request_plain(void *arg, uint64_t name)
{
    return kw_test_s3fifo_request(arg, (size_t)name);
}

static double ratio_of_plain(double exponent, unsigned scan_part, uint64_t room)
{
    load from = load_new(exponent, scan_part);
    kw_test_s3fifo *self = kw_test_s3fifo_new(ALL_NAMES, (size_t)room);
    double ratio = hit_ratio(&from, request_plain, self);
    kw_test_s3fifo_free(self);
    return ratio;
}

static bool request_lru(void *arg, uint64_t name)
{
    return kw_test_lru_request(arg, (size_t)name);
}

static double ratio_of_lru(double exponent, unsigned scan_part, uint64_t room)
{
    load from = load_new(exponent, scan_part);
    kw_test_lru *self = kw_test_lru_new(ALL_NAMES, (size_t)room);
    double ratio = hit_ratio(&from, request_lru, self);
    kw_test_lru_free(self);
    return ratio;
}

static void test_s3fifo_hits_as_the_plain_simulation(void **state)
{
    (void)state;
    static const double exponents[] = {0.8, 0.99, 1.2};
    static const uint64_t rooms[] = {NAMES / 100, NAMES / 10};
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 0; k < 2; k++) {
            for (unsigned scan = 0; scan <= 25; scan += 25) {
                double own = ratio_of_ours(exponents[i], scan, rooms[k]);
                double simulated = ratio_of_plain(exponents[i], scan, rooms[k]);
                double by_lru = ratio_of_lru(exponents[i], scan, rooms[k]);
                printf("zipf %.2f, room %2d %%, cold %2u %%: s3fifo %.2f %%, simulation %.2f %%, "
                       "lru %.2f %%\n",
                       exponents[i], k == 0 ? 1 : 10, scan, own, simulated, by_lru);
                assert_true(fabs(own - simulated) < 1);
                assert_true(own > by_lru - 1);
            }
        }
    }
}

static void test_s3fifo_keeps_its_sums(void **state)
{
    (void)state;
    kw_s3fifo queues;
    kw_s3_link links[200];
    bool is_in[200] = {false};
    kw_random random;
    kw_random_init(&random, 5);
    assert_true(kw_s3fifo_init(&queues, kw_mem_default(), 1000, 16));
    for (int i = 0; i < 100000; i++) {
        size_t at = (size_t)kw_random_below(&random, 200);
        if (!is_in[at]) {
            links[at].hash = at;
            links[at].size = 1 + (uint32_t)kw_random_below(&random, 60);
            kw_s3fifo_insert(&queues, &links[at]);
            is_in[at] = true;
        } else if (kw_random_below(&random, 4) == 0) {
            kw_s3fifo_remove(&queues, &links[at]);
            is_in[at] = false;
        } else {
            kw_s3fifo_hit(&links[at]);
        }
        kw_s3_link *victim;
        while ((victim = kw_s3fifo_evict(&queues)) != NULL) {
            assert_true(is_in[victim - links]);
            is_in[victim - links] = false;
        }
        uint64_t size = 0;
        uint64_t n = 0;
        for (size_t k = 0; k < 200; k++) {
            size += is_in[k] ? links[k].size : 0;
            n += is_in[k] ? 1 : 0;
        }
        assert_int_equal(kw_s3fifo_size(&queues), size);
        assert_int_equal(kw_s3fifo_n(&queues), n);
        assert_true(size <= 1000);
    }
    kw_s3fifo_fini(&queues, kw_mem_default());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_s3fifo_keeps_its_sums),
        cmocka_unit_test(test_s3fifo_hits_as_the_plain_simulation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Key to slot against the byte-at-a-time way of Redis and its clients: the same work,
 * whole call, distinct keys, rounds in turn, medians. With --gate a ratio below its
 * goal, or a machine too busy to tell, makes the program fail. */
#include <keyway/slot.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "route/crc16.h"
#include "route/slot.h"

#define ATTEMPTS_N 20
#define QUIET      1.1 /* most a median may exceed the fastest round */
#define KEYS_N     1024
#define KEY_MAX    1024
#define ROUNDS_N   41
#define CALLS_N    16384

typedef unsigned (*slot_fn)(const char *key, size_t key_len);

/* One line of the table. tag_at and tag_len place a hash tag, tag_len 0 means none;
 * goals are ratios, 0 means none. */
typedef struct row {
    size_t key_len;
    size_t tag_at;
    size_t tag_len;
    double goal_portable;
    double goal_clmul;
} row;

static const row rows[] = {
    {4, 0, 0, 0, 0},   {8, 0, 0, 0, 0},    {12, 0, 0, 0, 0},   {16, 0, 0, 3, 4},
    {20, 0, 0, 0, 0},  {32, 0, 0, 4, 6.5}, {48, 0, 0, 0, 0},   {64, 0, 0, 5, 10},
    {128, 0, 0, 0, 0}, {256, 0, 0, 0, 16}, {1024, 0, 0, 0, 0}, {8, 0, 6, 1, 1},
    {16, 0, 6, 1, 1},  {16, 0, 8, 1, 1},   {24, 0, 6, 1, 1},   {24, 0, 7, 1, 1},
    {24, 0, 8, 1, 1},  {24, 5, 6, 1, 1},   {32, 8, 8, 1, 1},   {64, 0, 8, 1, 1},
    {64, 20, 6, 1, 1}, {64, 50, 8, 1, 1},  {256, 0, 6, 1, 1},  {256, 200, 8, 1, 1},
};

/* One key behind the other. */
static char keys[KEYS_N * KEY_MAX];

/* The peers' way, for the comparison only. */
static uint16_t reference_crc16(const char *data, size_t len)
{
    uint16_t crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc = (uint16_t)(crc << 8) ^ kw_crc16_table[0][(crc >> 8 ^ (unsigned char)data[i]) & 0xff];
    }
    return crc;
}

static unsigned reference_slot(const char *key, size_t key_len)
{
    size_t open = 0;
    while (open < key_len && key[open] != '{') {
        open++;
    }
    if (open == key_len) {
        return reference_crc16(key, key_len) & 0x3fff;
    }
    size_t end = open + 1;
    while (end < key_len && key[end] != '}') {
        end++;
    }
    if (end == key_len || end == open + 1) {
        return reference_crc16(key, key_len) & 0x3fff;
    }
    return reference_crc16(key + open + 1, end - open - 1) & 0x3fff;
}

static unsigned portable_slot(const char *key, size_t key_len)
{
    return kw_crc16_routed_portable(key, key_len) % KW_SLOTS_N;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void make_keys(const row *r)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789:_-.";
    static uint32_t state = 1;
    for (size_t i = 0; i < KEYS_N; i++) {
        char *key = keys + i * r->key_len;
        for (size_t k = 0; k < r->key_len; k++) {
            state = state * 1664525u + 1013904223u;
            key[k] = alphabet[(state >> 16) % (sizeof(alphabet) - 1)];
        }
        if (r->tag_len > 0) {
            key[r->tag_at] = '{';
            key[r->tag_at + r->tag_len + 1] = '}';
        }
    }
}

/* Nanoseconds a call, once; the sum of the slots keeps the calls alive and must agree. */
static double time_once(uint64_t *sum, slot_fn slot, size_t key_len)
{
    size_t calls_n = CALLS_N / (1 + key_len / 64);
    uint64_t total = 0;
    uint64_t start_ns = now_ns();
    for (size_t i = 0; i < calls_n; i++) {
        total += slot(keys + i % KEYS_N * key_len, key_len);
    }
    uint64_t spent_ns = now_ns() - start_ns;
    *sum = total;
    return (double)spent_ns / (double)calls_n;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Medians of the first ways_n ways. *quiet is false where a median is well above the
 * fastest round of its way: something else had the processor. False when the ways
 * disagree about a slot. */
static bool measure(double *medians, bool *quiet, const row *r, size_t ways_n)
{
    static const slot_fn ways[] = {reference_slot, portable_slot, kw_slot};
    static double times[3][ROUNDS_N];
    make_keys(r);
    for (size_t round = 0; round < ROUNDS_N; round++) {
        uint64_t sums[3] = {0};
        for (size_t way = 0; way < ways_n; way++) {
            times[way][round] = time_once(&sums[way], ways[way], r->key_len);
            if (sums[way] != sums[0]) {
                return false;
            }
        }
    }
    *quiet = true;
    for (size_t way = 0; way < ways_n; way++) {
        qsort(times[way], ROUNDS_N, sizeof(double), compare);
        medians[way] = times[way][ROUNDS_N / 2];
        *quiet = *quiet && medians[way] <= QUIET * times[way][0];
    }
    return true;
}

/* Prints one line; false when a goal is missed, the slots differ or no measurement was
 * quiet. Whether to measure again depends on the noise alone, never on the ratio: noise
 * slows the reference most, and the first ratio that passes would be a flattering one. */
static bool show_row(const row *r, bool has_clmul)
{
    double ns[3] = {0};
    bool quiet = false;
    for (size_t attempt = 0; attempt < ATTEMPTS_N && !quiet; attempt++) {
        if (!measure(ns, &quiet, r, has_clmul ? 3 : 2)) {
            printf("%5zu: slots differ\n", r->key_len);
            return false;
        }
    }
    char tag[32] = "-";
    if (r->tag_len > 0) {
        snprintf(tag, sizeof(tag), "%zu at %zu", r->tag_len, r->tag_at);
    }
    printf("%5zu %9s %10.1f %9.1f %7.2fx", r->key_len, tag, ns[0], ns[1], ns[0] / ns[1]);
    bool reached = ns[0] >= r->goal_portable * ns[1];
    if (has_clmul) {
        printf(" %9.1f %7.2fx", ns[2], ns[0] / ns[2]);
        reached = reached && ns[0] >= r->goal_clmul * ns[2];
    }
    printf("%s%s\n", quiet ? "" : "  disturbed", reached ? "" : "  below its goal");
    return reached && quiet;
}

int main(int argc, char **argv)
{
    bool gate = argc > 1 && strcmp(argv[1], "--gate") == 0;
    bool has_clmul = kw_crc16_has_clmul();
    bool reached = true;
    printf("  key       tag  reference  portable          %s\n",
           has_clmul ? "    clmul" : "(no clmul on this processor)");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        reached = show_row(&rows[i], has_clmul) && reached;
    }
    return gate && !reached ? EXIT_FAILURE : EXIT_SUCCESS;
}

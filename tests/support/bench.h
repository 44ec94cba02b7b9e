/* SPDX-License-Identifier: BSD-3-Clause */
/* What benchmarks share: a cluster of three primaries full of keys, raw hiredis connections
 * to its nodes, a transport that counts, and figures beside their goals. */
#ifndef SUPPORT_BENCH_H
#define SUPPORT_BENCH_H

#include <keyway.h>

#include "net/transport.h"
#include "support/check.h"
#include "support/cluster.h"
#include "support/server.h"

#include <stdatomic.h>

#define KW_BENCH_NODES_N ((size_t)3)
#define KW_BENCH_KEY_LEN ((size_t)16)
#define KW_BENCH_VALUE   "01234567890123456789012345678901"

struct redisContext;

typedef struct kw_bench {
    kw_test_cluster *cluster;
    kw_client *kw;
    struct redisContext *raw[KW_BENCH_NODES_N];
    size_t keys_n;
    char (*keys)[KW_BENCH_KEY_LEN + 1];
    unsigned char *owners; /* node of each key: an index into raw */
    bool is_missed;        /* a goal was */
} kw_bench;

/* Each key holds KW_BENCH_VALUE; tag is NULL, or what all keys share, at most 4 letters with
 * its braces. */
void kw_bench_init(kw_bench *bench, size_t keys_n, const char *tag);

/* Exit status of the program; argv may hold --gate. */
int kw_bench_end(kw_bench *bench, int argc, char **argv);

void kw_bench_die_if(bool is_wrong, const char *what);

/* A raw connection to a node; never NULL. */
struct redisContext *kw_bench_connect(const kw_bench *bench, size_t node);

double kw_bench_now_s(void); /* seconds of the monotonic clock */

/* A handle on a ring of three servers; tail: the rest of its URI. */
kw_client *kw_bench_open_ring(kw_test_server *const servers[3], const char *tail);

double kw_bench_median(double *values, size_t n); /* sorts them */

/* Prints the value and its goal; relation is ">=" or "<=". */
void kw_bench_goal(kw_bench *bench, const char *name, double value, const char *relation,
                   double bound);

/* CPU seconds that the servers have used so far. */
double kw_bench_server_cpu_s(const kw_bench *bench);

/* A transport that counts what it passes on to the one below. Any thread. */
typedef struct kw_bench_counts {
    kw_transport transport;
    const kw_transport *below;
    atomic_ulong sends_n;
    atomic_ulong recvs_n;
    atomic_ulong polls_n;
} kw_bench_counts;

/* The handle's calls are counted from now on; no other thread may use it meanwhile. counts
 * outlives the handle. */
void kw_bench_count(kw_bench_counts *counts, kw_client *kw);

#endif

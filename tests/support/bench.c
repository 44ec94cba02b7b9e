/* SPDX-License-Identifier: BSD-3-Clause */
/* The benchmarks' cluster, its keys, and the table of figures and goals. */
#include "support/bench.h"

#include "api/client.h"
#include "support/calm.h"

#include <hiredis.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void kw_bench_die_if(bool is_wrong, const char *what)
{
    if (is_wrong) {
        kw_test_die("bench: %s", what);
    }
}

double kw_bench_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

kw_client *kw_bench_open_ring(kw_test_server *const servers[3], const char *tail)
{
    char uri[400];
    snprintf(uri, sizeof(uri), "redis-ring://a=%s,b=%s,c=%s%s", kw_test_server_address(servers[0]),
             kw_test_server_address(servers[1]), kw_test_server_address(servers[2]), tail);
    kw_error error = KW_ERROR_INIT;
    kw_client *client = kw_open(uri, &error);
    kw_bench_die_if(client == NULL, error.text);
    return client;
}

struct redisContext *kw_bench_connect(const kw_bench *bench, size_t node)
{
    uint16_t port = kw_test_server_port(kw_test_cluster_node(bench->cluster, node));
    redisContext *raw = redisConnect("127.0.0.1", port);
    kw_bench_die_if(raw == NULL || raw->err != 0, "raw connect");
    return raw;
}

/* Keys that are set at once. */
#define FILL_N ((size_t)1000)

static void fill_keys(kw_bench *bench, size_t first)
{
    kw_batch *batch = kw_batch_new(bench->kw, NULL);
    kw_bench_die_if(batch == NULL, "no memory");
    for (size_t i = first; i < bench->keys_n && i < first + FILL_N; i++) {
        kw_bench_die_if(
            kw_batch_add(batch, NULL, "SET %s %s", bench->keys[i], KW_BENCH_VALUE) != KW_OK, "SET");
    }
    kw_bench_die_if(kw_batch_run(batch, NULL, 0) != KW_OK, "SET");
    kw_batch_free(batch);
}

void kw_bench_init(kw_bench *bench, size_t keys_n, const char *tag)
{
    memset(bench, 0, sizeof(*bench));
    kw_test_calm_forbid();
    bench->cluster = kw_test_cluster_start(KW_BENCH_NODES_N, 0, 0, NULL);
    bench->kw = kw_open(kw_test_cluster_uri(bench->cluster), NULL);
    bench->keys_n = keys_n;
    bench->keys = calloc(keys_n, sizeof(bench->keys[0]));
    bench->owners = calloc(keys_n, sizeof(bench->owners[0]));
    kw_bench_die_if(bench->kw == NULL || bench->keys == NULL || bench->owners == NULL, "kw_open");
    for (size_t i = 0; i < KW_BENCH_NODES_N; i++) {
        bench->raw[i] = kw_bench_connect(bench, i);
    }
    static const kw_test_server *owners[KW_TEST_SLOTS];
    for (size_t i = 0; i < keys_n; i++) {
        snprintf(bench->keys[i], sizeof(bench->keys[i]), "%-4.4s%012u",
                 tag != NULL ? tag : "key:", (unsigned)i % 1000000u);
        unsigned slot = kw_slot(bench->keys[i], KW_BENCH_KEY_LEN);
        if (owners[slot] == NULL) {
            owners[slot] = kw_test_cluster_owner(bench->cluster, slot);
        }
        while (owners[slot] != kw_test_cluster_node(bench->cluster, bench->owners[i])) {
            bench->owners[i]++;
        }
    }
    for (size_t i = 0; i < keys_n; i += FILL_N) {
        fill_keys(bench, i);
    }
}

int kw_bench_end(kw_bench *bench, int argc, char **argv)
{
    for (size_t i = 0; i < KW_BENCH_NODES_N; i++) {
        redisFree(bench->raw[i]);
    }
    kw_close(bench->kw);
    kw_test_cluster_free(bench->cluster);
    free(bench->keys);
    free(bench->owners);
    bool is_gate = argc > 1 && strcmp(argv[1], "--gate") == 0;
    return is_gate && bench->is_missed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

double kw_bench_median(double *values, size_t n)
{
    qsort(values, n, sizeof(values[0]), compare);
    return values[n / 2];
}

void kw_bench_goal(kw_bench *bench, const char *name, double value, const char *relation,
                   double bound)
{
    bool is_met = relation[0] == '>' ? value >= bound : value <= bound;
    printf("  %-44s %9.3f  (goal %s %.2f) %s\n", name, value, relation, bound,
           is_met ? "" : "MISSED");
    bench->is_missed = bench->is_missed || !is_met;
}

double kw_bench_server_cpu_s(const kw_bench *bench)
{
    double total_s = 0;
    for (size_t i = 0; i < KW_BENCH_NODES_N; i++) {
        clockid_t clock;
        struct timespec used;
        pid_t pid = kw_test_server_pid(kw_test_cluster_node(bench->cluster, i));
        kw_bench_die_if(clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0,
                        "no CPU time of a server");
        total_s += (double)used.tv_sec + (double)used.tv_nsec / 1e9;
    }
    return total_s;
}

static ssize_t count_send(void *arg, int socket, const char *data, size_t len)
{
    kw_bench_counts *self = arg;
    atomic_fetch_add_explicit(&self->sends_n, 1, memory_order_relaxed);
    return self->below->send_fn(self->below->arg, socket, data, len);
}

static ssize_t count_recv(void *arg, int socket, char *data, size_t len, bool waits)
{
    kw_bench_counts *self = arg;
    atomic_fetch_add_explicit(&self->recvs_n, 1, memory_order_relaxed);
    return self->below->recv_fn(self->below->arg, socket, data, len, waits);
}

static int count_poll(void *arg, struct pollfd *sockets, size_t sockets_n, int wait_ms)
{
    kw_bench_counts *self = arg;
    atomic_fetch_add_explicit(&self->polls_n, 1, memory_order_relaxed);
    return self->below->poll_fn(self->below->arg, sockets, sockets_n, wait_ms);
}

void kw_bench_count(kw_bench_counts *counts, kw_client *kw)
{
    memset(counts, 0, sizeof(*counts));
    counts->below = kw->topology->env.transport;
    counts->transport = *counts->below;
    counts->transport.send_fn = count_send;
    counts->transport.recv_fn = count_recv;
    counts->transport.poll_fn = count_poll;
    counts->transport.arg = counts; /* sockets need nothing of their arg */
    kw->topology->env.transport = &counts->transport;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* GETs of many threads over TLS, on three primaries: one handle for all of them, against a handle,
 * and so a connection to each node, for each thread. Rounds take turns; a line of a table for each
 * number of threads and length of values. --gate: exit status 1 where a goal is missed. */
#include "support/bench.h"
#include "support/calm.h"
#include "support/certs.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_N      ((size_t)300)
#define THREADS_MAX ((size_t)64)
#define ROUNDS_N    ((size_t)15)
#define LEN_MAX     ((size_t)16384)
#define ROUND_MS    150

static kw_bench bench; /* of its goals alone */
static kw_test_certs certs;
static kw_test_cluster *cluster;
static kw_client *shared;
static char keys[KEYS_N][KW_BENCH_KEY_LEN + 1];

typedef struct caller {
    pthread_t thread;
    kw_client *own;
    bool is_shared;
    size_t first; /* its first key */
    unsigned long calls_n;
} caller;

static caller callers[THREADS_MAX];
static pthread_barrier_t barrier;
static atomic_bool has_ended;

static kw_client *open_client(void)
{
    char uri[400];
    kw_error error = KW_ERROR_INIT;
    snprintf(uri, sizeof(uri), "rediss-cluster://127.0.0.1:%u?timeout=20s&tls-ca=%s",
             (unsigned)kw_test_server_tls_port(kw_test_cluster_node(cluster, 0)),
             kw_test_certs_path(&certs, "ca", false));
    kw_client *client = kw_open(uri, &error);
    kw_bench_die_if(client == NULL, error.text);
    return client;
}

static void *call(void *arg)
{
    caller *self = arg;
    kw_client *client = self->is_shared ? shared : self->own;
    self->calls_n = 0;
    pthread_barrier_wait(&barrier);
    while (!atomic_load_explicit(&has_ended, memory_order_relaxed)) {
        const char *argv[] = {"GET", keys[(self->first + self->calls_n++) % KEYS_N]};
        const size_t lens[] = {3, KW_BENCH_KEY_LEN};
        kw_reply *reply = kw_command_argv(client, NULL, 2, argv, lens);
        kw_bench_die_if(kw_reply_type(reply) != KW_REPLY_STRING, "GET");
        kw_reply_free(reply);
    }
    return NULL;
}

/* Commands a second of one round. */
static double run_round(size_t threads_n, bool is_shared)
{
    atomic_store(&has_ended, false);
    pthread_barrier_init(&barrier, NULL, (unsigned)threads_n + 1);
    for (size_t i = 0; i < threads_n; i++) {
        callers[i].is_shared = is_shared;
        callers[i].first = i * 37;
        if (callers[i].own == NULL) {
            callers[i].own = open_client();
        }
        kw_bench_die_if(pthread_create(&callers[i].thread, NULL, call, &callers[i]) != 0, "thread");
    }
    pthread_barrier_wait(&barrier);
    double start_s = kw_bench_now_s();
    kw_test_sleep_ms(ROUND_MS);
    atomic_store(&has_ended, true);
    double calls_n = 0;
    for (size_t i = 0; i < threads_n; i++) {
        pthread_join(callers[i].thread, NULL);
        calls_n += (double)callers[i].calls_n;
    }
    double rate = calls_n / (kw_bench_now_s() - start_s);
    pthread_barrier_destroy(&barrier);
    return rate;
}

static void set_values(size_t len)
{
    static char value[LEN_MAX];
    memset(value, 'v', sizeof(value));
    for (size_t i = 0; i < KEYS_N; i++) {
        const char *argv[] = {"SET", keys[i], value};
        const size_t lens[] = {3, KW_BENCH_KEY_LEN, len};
        kw_reply *reply = kw_command_argv(shared, NULL, 3, argv, lens);
        kw_bench_die_if(kw_reply_type(reply) != KW_REPLY_STATUS, "SET");
        kw_reply_free(reply);
    }
}

static void run_cell(size_t threads_n, size_t len)
{
    double ours[ROUNDS_N];
    double theirs[ROUNDS_N];
    double ratios[ROUNDS_N];
    char name[80];
    set_values(len);
    (void)run_round(threads_n, true); /* connections are opened */
    (void)run_round(threads_n, false);
    for (size_t i = 0; i < ROUNDS_N; i++) {
        bool is_shared_first = i % 2 == 0;
        double first = run_round(threads_n, is_shared_first);
        double second = run_round(threads_n, !is_shared_first);
        ours[i] = is_shared_first ? first : second;
        theirs[i] = is_shared_first ? second : first;
        ratios[i] = ours[i] / theirs[i];
    }
    printf("\n%zu threads over TLS, values of %zu bytes, medians of %zu rounds\n", threads_n, len,
           ROUNDS_N);
    printf("  a handle for each %8.0f per second   one handle %8.0f per second\n",
           kw_bench_median(theirs, ROUNDS_N), kw_bench_median(ours, ROUNDS_N));
    snprintf(name, sizeof(name), "throughput, one handle / a handle for each");
    kw_bench_goal(&bench, name, kw_bench_median(ratios, ROUNDS_N), ">=", 0.97);
    fflush(stdout);
}

static void start(void)
{
    char config[2000];
    kw_test_calm_forbid();
    kw_test_certs_config(&certs, config, sizeof(config), "good",
                         "tls-auth-clients no\ntls-cluster yes\ntls-replication yes\n");
    cluster = kw_test_cluster_start(KW_BENCH_NODES_N, 0, 0, config);
    for (size_t i = 0; i < KEYS_N; i++) {
        snprintf(keys[i], sizeof(keys[i]), "key:%012u", (unsigned)i);
    }
    shared = open_client();
}

/* Nothing is connected yet. */
static bool has_tls(void)
{
    kw_client *client = kw_open("rediss://127.0.0.1:1", NULL);
    kw_close(client);
    return client != NULL;
}

int main(int argc, char **argv)
{
    static const size_t threads[] = {1, 2, 4, 8, 16, 32, 64};
    if (!has_tls() || !kw_test_certs_make(&certs)) {
        printf("nothing is measured: this build is without TLS (make TLS=yes), or openssl is not "
               "installed\n");
        return EXIT_SUCCESS;
    }
    start();
    for (size_t i = 0; i < sizeof(threads) / sizeof(threads[0]); i++) {
        run_cell(threads[i], 32);
    }
    run_cell(8, 16384);
    run_cell(64, 16384);
    for (size_t i = 0; i < THREADS_MAX; i++) {
        kw_close(callers[i].own);
    }
    kw_close(shared);
    kw_test_cluster_free(cluster);
    kw_test_certs_remove(&certs);
    bool is_gate = argc > 1 && strcmp(argv[1], "--gate") == 0;
    return is_gate && bench.is_missed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What one command costs while something else grows: nodes, commands under way, members of a ring,
 * bytes of a value, handles. growth.sh makes a table of it.
 *
 * growth: lines of "WHAT_SIZE:WAY count value" of one command. */
#include "counts/measure.h"
#include "counts/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define KEYS_N      20000
#define HANDLES_MAX 1000
#define MEMBERS_MAX 1000

#define CLUSTER "redis-cluster://127.0.0.1:7001?queue-max=1000000&reply-bytes-max=128mb"

static void run_batches(kw_client *kw, size_t n)
{
    counts_run_batches(kw, n, 1000);
}

static size_t under_way_n;

static void run_loop(kw_client *kw, size_t n)
{
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = 3600 * 1000;
    counts_run_loop(kw, n, under_way_n, &options);
}

/* Handles that take turns; the first one is the caller's. */

static kw_client *handles[HANDLES_MAX];
static size_t handles_n;

static void run_handles(kw_client *kw, size_t n)
{
    handles[0] = kw;
    for (size_t i = 1; i < handles_n; i++) {
        handles[i] = handles[i] != NULL ? handles[i] : counts_open(CLUSTER);
    }
    for (size_t i = 0; i < n; i++) {
        kw_argv get = counts_get(i / handles_n % 10);
        kw_reply *reply =
            kw_command_argv(handles[i % handles_n], NULL, get.argc, get.argv, get.argvlen);
        counts_check_value(reply);
        kw_reply_free(reply);
    }
}

static void close_handles(void)
{
    for (size_t i = 1; i < handles_n; i++) {
        kw_close(handles[i]);
        handles[i] = NULL;
    }
}

static void measure(const char *what, size_t size, const char *uri, const counts_way *way)
{
    char name[80];
    snprintf(name, sizeof(name), "%s_%zu:%s", what, size, way->name);
    counts_way named = {name, way->run, way->n};
    counts_measure(&named, uri);
    fflush(stdout);
}

static void grow_nodes(void)
{
    static const unsigned sizes[] = {1, 10, 100, 1000};
    static const counts_way ways[] = {{"GET", counts_run_calls, 2000},
                                      {"GET_in_batch_of_1000", run_batches, 4000},
                                      {"GET_in_loop_1000_under_way", run_loop, 4000}};
    under_way_n = 1000;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        counts_network_servers.nodes_n = sizes[i];
        for (size_t k = 0; k < sizeof(ways) / sizeof(ways[0]); k++) {
            measure("nodes", sizes[i], CLUSTER, &ways[k]);
        }
    }
    counts_network_servers.nodes_n = 3;
}

static void grow_under_way(void)
{
    static const size_t sizes[] = {1, 10, 100, 1000, 10000, 100000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        counts_way way = {"GET_in_loop", run_loop, sizes[i] > 10000 ? 2 * sizes[i] : 20000};
        under_way_n = sizes[i];
        measure("under_way", sizes[i], CLUSTER, &way);
    }
}

static void grow_ring(void)
{
    static const size_t sizes[] = {1, 10, 100, 1000};
    static const counts_way way = {"GET", counts_run_calls, 2000};
    static char uri[MEMBERS_MAX * 20];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        int at = snprintf(uri, sizeof(uri), "redis-ring://");
        for (size_t k = 0; k < sizes[i]; k++) {
            at += snprintf(uri + at, sizeof(uri) - (size_t)at, "%s127.0.0.1:%zu", k > 0 ? "," : "",
                           10000 + k);
        }
        measure("members", sizes[i], uri, &way);
    }
}

static void grow_values(void)
{
    static const size_t sizes[] = {16, 1024, 16384, 65536, 1 << 20, 16 << 20, 64 << 20};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t len = sizes[i];
        counts_way way = {"GET", counts_run_calls, len > 100000 ? 4 : 200};
        counts_network_servers.value_len = len;
        measure("bytes", len, CLUSTER, &way);
    }
    counts_network_servers.value_len = 32;
}

static void grow_handles(void)
{
    static const size_t sizes[] = {1, 10, 100, 1000};
    static const counts_way way = {"GET", run_handles, 10000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        handles_n = sizes[i];
        measure("handles", sizes[i], CLUSTER, &way);
        close_handles();
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*grow)(void);
    } parts[] = {{"nodes", grow_nodes},
                 {"under_way", grow_under_way},
                 {"members", grow_ring},
                 {"bytes", grow_values},
                 {"handles", grow_handles}};
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    counts_work_init(KEYS_N);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (argc < 2 || strcmp(argv[1], parts[i].name) == 0) {
            parts[i].grow();
        }
    }
    return EXIT_SUCCESS;
}

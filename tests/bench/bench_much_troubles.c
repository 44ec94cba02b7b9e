/* SPDX-License-Identifier: BSD-3-Clause */
/* Much under way in trouble: what one command costs its thread with few and with very many under
 * way, while one node of three is dead, and across a failover. --gate: exit status 1 where a goal
 * is missed. */
#include "support/bench.h"
#include "support/calm.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUCH_N   ((size_t)200000)
#define FEW_N    ((size_t)1000)
#define MANY_N   ((size_t)100000)
#define KEYS_N   ((size_t)1000)
#define ROUNDS_N 3

/* Before a cluster's node may be elected again (cluster.h). */
#define WIN_PAUSE_MS 4500

static char keys[KEYS_N][24];

/* One round: commands, at most so many at a time, and a server that dies behind some of them. */
typedef struct run_state {
    kw_client *kw;
    size_t given_n;
    size_t ended_n;
    size_t failed_n;
    kw_test_server *victim; /* NULL: nobody dies */
} run_state;

static void give(run_state *self);

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    run_state *self = arg;
    self->failed_n += error != NULL ? 1 : 0;
    kw_bench_die_if(kw_reply_is_error(reply), "an error of a server");
    kw_reply_free(reply);
    self->ended_n++;
    if (self->given_n < MUCH_N) {
        give(self);
    }
}

static void give(run_state *self)
{
    const char *argv[] = {"GET", keys[self->given_n++ % KEYS_N]};
    kw_callback callback = {on_reply, self};
    kw_error error = KW_ERROR_INIT;
    kw_err code = kw_call_async(self->kw, &error, callback, NULL, (kw_argv){2, argv, NULL});
    kw_bench_die_if(code != KW_OK, error.text);
}

/* Microseconds of the thread for a command. */
static double run(run_state *self, size_t under_way_n)
{
    self->given_n = 0;
    self->ended_n = 0;
    self->failed_n = 0;
    double start_ms = kw_test_cpu_ms();
    for (size_t i = 0; i < under_way_n; i++) {
        give(self);
    }
    while (self->ended_n < MUCH_N) {
        struct pollfd entry = {kw_fd(self->kw, NULL), POLLIN, 0};
        (void)poll(&entry, 1, kw_timeout(self->kw));
        kw_bench_die_if(kw_process(self->kw, NULL) != KW_OK, "kw_process");
        if (self->victim != NULL && self->ended_n >= MUCH_N / 4) {
            kw_test_server_kill(self->victim);
            self->victim = NULL;
        }
    }
    return (kw_test_cpu_ms() - start_ms) * 1e3 / (double)MUCH_N;
}

static kw_client *open_handle(const kw_test_cluster *cluster, const char *timeout)
{
    char uri[400];
    kw_error error = KW_ERROR_INIT;
    snprintf(uri, sizeof(uri), "%s?timeout=%s", kw_test_cluster_uri(cluster), timeout);
    kw_client *kw = kw_open(uri, &error);
    kw_bench_die_if(kw == NULL, error.text);
    return kw;
}

static void warm_up(run_state *self)
{
    for (size_t i = 0; i < KEYS_N; i++) {
        kw_reply_free(kw_command(self->kw, NULL, "SET %s " KW_BENCH_VALUE, keys[i]));
    }
    (void)run(self, FEW_N);
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

static void tell(kw_bench *bench, const char *name, double few_us, double many_us)
{
    printf("%s: 1,000 under way: %.2f us a command; 100,000: %.2f us\n", name, few_us, many_us);
    kw_bench_goal(bench, name, many_us / few_us, "<=", 1.2);
    fflush(stdout);
}

/* Its commands fail at once, as those of a node that is down do. */
static void measure_dead_node(kw_bench *bench)
{
    kw_test_cluster *cluster =
        kw_test_cluster_start(3, 0, 1000, "cluster-require-full-coverage no\n");
    run_state state = {.kw = open_handle(cluster, "10s")};
    double few_us = 1e9;
    double many_us = 1e9;
    warm_up(&state);
    kw_test_server_kill(kw_test_cluster_node(cluster, 2));
    do { /* until none waits for it any more */
        (void)run(&state, FEW_N);
        kw_test_sleep_ms(500);
    } while (state.failed_n < MUCH_N / 4);
    for (size_t i = 0; i < ROUNDS_N; i++) {
        few_us = least(few_us, run(&state, FEW_N));
        many_us = least(many_us, run(&state, MANY_N));
        kw_bench_die_if(state.failed_n < MUCH_N / 5 || state.failed_n > MUCH_N / 2,
                        "not the dead node's share has failed");
    }
    tell(bench, "one node of three is dead: 100,000 / 1,000", few_us, many_us);
    kw_close(state.kw);
    kw_test_cluster_free(cluster);
}

/* What one command costs where the owner of a third of the keys dies meanwhile, and is replaced. As
 * many are under way before, while all is well: the memory that they take is there for both numbers
 * of them, or is not taken for the first time by one of them alone. */
static double run_failover(run_state *self, kw_test_cluster *cluster, size_t under_way_n)
{
    kw_test_server *owner = kw_test_cluster_owner(cluster, 0);
    kw_bench_die_if(owner == NULL, "no owner");
    (void)run(self, under_way_n);
    self->victim = owner;
    double us = run(self, under_way_n);
    kw_bench_die_if(self->failed_n > 0, "a read has failed in a failover");
    kw_test_server_restart(owner);
    kw_test_cluster_wait(cluster, 60000);
    kw_test_sleep_ms(WIN_PAUSE_MS);
    return us;
}

static void measure_failover(kw_bench *bench)
{
    kw_test_cluster *cluster = kw_test_cluster_start(3, 1, 1000, NULL);
    run_state state = {.kw = open_handle(cluster, "60s&on-node-down=wait")};
    double few_us = 1e9;
    double many_us = 1e9;
    warm_up(&state);
    for (size_t i = 0; i < ROUNDS_N; i++) {
        few_us = least(few_us, run_failover(&state, cluster, FEW_N));
        many_us = least(many_us, run_failover(&state, cluster, MANY_N));
    }
    tell(bench, "across a failover: 100,000 / 1,000", few_us, many_us);
    kw_close(state.kw);
    kw_test_cluster_free(cluster);
}

int main(int argc, char **argv)
{
    kw_bench bench;
    memset(&bench, 0, sizeof(bench));
    kw_test_calm_forbid();
    for (size_t i = 0; i < KEYS_N; i++) {
        snprintf(keys[i], sizeof(keys[i]), "much:%zu", i);
    }
    measure_dead_node(&bench);
    measure_failover(&bench);
    return kw_bench_end(&bench, argc, argv);
}

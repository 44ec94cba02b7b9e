/* SPDX-License-Identifier: BSD-3-Clause */
/* Much under way at once: what one command costs its thread with few and with very many under way,
 * beside what it costs hiredis' own asynchronous interface; what a fresh handle adds, how long a
 * kw_process lasts, and the memory of a command. --gate: exit status 1 where a goal is missed. */
#include "support/bench.h"
#include "support/meter.h"

#include <hiredis.h>

#include <async.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_N ((size_t)1000)
#define MUCH_N ((size_t)200000)
#define FEW_N  ((size_t)1000)

static kw_bench bench;

/* One round: n commands, at most under_way_n at a time. */
typedef struct run_state {
    kw_client *kw;
    size_t n;
    size_t given_n;
    size_t answered_n;
    double turn_ms;
} run_state;

static void give(run_state *self);

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    run_state *self = arg;
    kw_bench_die_if(reply == NULL, error != NULL ? error->text : "GET");
    kw_reply_free(reply);
    self->answered_n++;
    if (self->given_n < self->n) {
        give(self);
    }
}

static void give(run_state *self)
{
    const char *argv[] = {"GET", bench.keys[self->given_n++ % KEYS_N]};
    kw_callback callback = {on_reply, self};
    kw_error error = KW_ERROR_INIT;
    kw_err code = kw_call_async(self->kw, &error, callback, NULL, (kw_argv){2, argv, NULL});
    kw_bench_die_if(code != KW_OK, error.text);
}

/* Milliseconds of the thread. */
static double run(run_state *self, kw_client *kw, size_t n, size_t under_way_n)
{
    memset(self, 0, sizeof(*self));
    self->kw = kw;
    self->n = n;
    double start_ms = kw_test_cpu_ms();
    for (size_t i = 0; i < under_way_n && i < n; i++) {
        give(self);
    }
    while (self->answered_n < n) {
        struct pollfd entry = {kw_fd(kw, NULL), POLLIN, 0};
        (void)poll(&entry, 1, kw_timeout(kw));
        double before_ms = kw_test_cpu_ms();
        kw_bench_die_if(kw_process(kw, NULL) != KW_OK, "kw_process");
        double turn_ms = kw_test_cpu_ms() - before_ms;
        self->turn_ms = turn_ms > self->turn_ms ? turn_ms : self->turn_ms;
    }
    return kw_test_cpu_ms() - start_ms;
}

/* Those commands by hiredis, a connection to each node, on poll(2). */

typedef struct raw_node {
    redisAsyncContext *context;
    bool reads;
    bool writes;
} raw_node;

static raw_node raw_nodes[KW_BENCH_NODES_N];

static void add_read(void *arg)
{
    ((raw_node *)arg)->reads = true;
}

static void end_read(void *arg)
{
    ((raw_node *)arg)->reads = false;
}

static void add_write(void *arg)
{
    ((raw_node *)arg)->writes = true;
}

static void end_write(void *arg)
{
    ((raw_node *)arg)->writes = false;
}

static void open_raw(void)
{
    for (size_t i = 0; i < KW_BENCH_NODES_N; i++) {
        const kw_test_server *server = kw_test_cluster_node(bench.cluster, i);
        redisAsyncContext *context = redisAsyncConnect("127.0.0.1", kw_test_server_port(server));
        kw_bench_die_if(context == NULL || context->err != 0, "raw connect");
        context->ev.addRead = add_read;
        context->ev.delRead = end_read;
        context->ev.addWrite = add_write;
        context->ev.delWrite = end_write;
        context->ev.data = &raw_nodes[i];
        raw_nodes[i].context = context;
        raw_nodes[i].writes = true; /* the connect */
    }
}

static void give_raw(run_state *self);

static void on_raw(redisAsyncContext *context, void *reply, void *arg)
{
    run_state *self = arg;
    (void)context;
    kw_bench_die_if(reply == NULL, "raw GET");
    self->answered_n++;
    if (self->given_n < self->n) {
        give_raw(self);
    }
}

static void give_raw(run_state *self)
{
    size_t key = self->given_n++ % KEYS_N;
    const char *argv[] = {"GET", bench.keys[key]};
    const size_t lens[] = {3, KW_BENCH_KEY_LEN};
    redisAsyncContext *context = raw_nodes[bench.owners[key]].context;
    kw_bench_die_if(redisAsyncCommandArgv(context, on_raw, self, 2, argv, lens) != REDIS_OK,
                    "raw command");
}

static void process_raw(void)
{
    struct pollfd entries[KW_BENCH_NODES_N];
    for (size_t i = 0; i < KW_BENCH_NODES_N; i++) {
        entries[i].fd = raw_nodes[i].context->c.fd;
        entries[i].events =
            (short)((raw_nodes[i].reads ? POLLIN : 0) | (raw_nodes[i].writes ? POLLOUT : 0));
    }
    (void)poll(entries, KW_BENCH_NODES_N, -1);
    for (size_t i = 0; i < KW_BENCH_NODES_N; i++) {
        if ((entries[i].revents & POLLIN) != 0) {
            redisAsyncHandleRead(raw_nodes[i].context);
        }
        if ((entries[i].revents & POLLOUT) != 0) {
            redisAsyncHandleWrite(raw_nodes[i].context);
        }
    }
}

/* Milliseconds of the thread. */
static double run_raw(run_state *self, size_t n, size_t under_way_n)
{
    memset(self, 0, sizeof(*self));
    self->n = n;
    double start_ms = kw_test_cpu_ms();
    for (size_t i = 0; i < under_way_n && i < n; i++) {
        give_raw(self);
    }
    while (self->answered_n < n) {
        process_raw();
    }
    return kw_test_cpu_ms() - start_ms;
}

static kw_client *open_handle(const kw_allocator *allocator)
{
    kw_error error = KW_ERROR_INIT;
    kw_config *config = kw_config_new(allocator);
    kw_bench_die_if(kw_config_set_uri(config, &error, kw_test_cluster_uri(bench.cluster)) != KW_OK,
                    error.text);
    kw_bench_die_if(kw_config_set(config, &error, "timeout", "60s") != KW_OK, error.text);
    kw_client *kw = kw_open_config(config, &error);
    kw_bench_die_if(kw == NULL, error.text);
    kw_config_free(config);
    return kw;
}

#define ROUNDS_N 5

static double least_of(const double values[ROUNDS_N])
{
    double least = values[0];
    for (size_t i = 1; i < ROUNDS_N; i++) {
        least = values[i] < least ? values[i] : least;
    }
    return least;
}

/* Of one command, in us; the least of the rounds is what other programs have disturbed least. */
static double us_of(const double values[ROUNDS_N])
{
    return least_of(values) * 1e3 / (double)MUCH_N;
}

int main(int argc, char **argv)
{
    run_state state;
    double fresh_ms[ROUNDS_N];
    double warm_ms[ROUNDS_N];
    double few_ms[ROUNDS_N];
    double many_ms[ROUNDS_N];
    double raw_few_ms[ROUNDS_N];
    double raw_many_ms[ROUNDS_N];
    double turn_ms = 0;
    double memory_len = 0;
    kw_bench_init(&bench, KEYS_N, NULL);
    open_raw();
    for (size_t i = 0; i < ROUNDS_N; i++) {
        kw_test_meter memory = {0, 0};
        kw_allocator allocator = kw_test_meter_allocator(&memory);
        kw_client *kw = open_handle(&allocator);
        fresh_ms[i] = run(&state, kw, MUCH_N, MUCH_N);
        turn_ms = state.turn_ms > turn_ms ? state.turn_ms : turn_ms;
        memory_len = (double)memory.most_len / (double)MUCH_N;
        warm_ms[i] = run(&state, kw, MUCH_N, MUCH_N);
        few_ms[i] = run(&state, kw, MUCH_N, FEW_N);
        many_ms[i] = run(&state, kw, MUCH_N, MUCH_N / 2);
        kw_close(kw);
        raw_few_ms[i] = run_raw(&state, MUCH_N, FEW_N);
        raw_many_ms[i] = run_raw(&state, MUCH_N, MUCH_N / 2);
    }
    printf("%zu under way: %.2f us a command fresh, %.2f warm; 1,000: %.2f us; 100,000: %.2f us\n",
           MUCH_N, us_of(fresh_ms), us_of(warm_ms), us_of(few_ms), us_of(many_ms));
    printf(
        "hiredis: 1,000: %.2f us; 100,000: %.2f us, %.2f times as much; keyway / hiredis: %.2f\n",
        us_of(raw_few_ms), us_of(raw_many_ms), us_of(raw_many_ms) / us_of(raw_few_ms),
        us_of(many_ms) / us_of(raw_many_ms));
    kw_bench_goal(&bench, "fresh handle / warm one", us_of(fresh_ms) / us_of(warm_ms), "<=", 1.3);
    kw_bench_goal(&bench, "100,000 under way / 1,000", us_of(many_ms) / us_of(few_ms), "<=", 1.2);
    kw_bench_goal(&bench, "longest kw_process, ms", turn_ms, "<=", 20);
    kw_bench_goal(&bench, "bytes a command", memory_len, "<=", 400 + 36);
    for (size_t i = 0; i < KW_BENCH_NODES_N; i++) {
        redisAsyncFree(raw_nodes[i].context);
    }
    return kw_bench_end(&bench, argc, argv);
}

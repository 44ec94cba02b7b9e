/* SPDX-License-Identifier: BSD-3-Clause */
/* MGET of keys of a ring of 4 plain servers, which keyway splits into one MGET a node and
 * joins, against the same written by hand on raw hiredis: keys sorted by their nodes, one
 * MGET to each, all written before any is read, values put back in order.
 * --gate: exit status 1 where a goal is missed. */
#define RING_SERVERS 4

#include "live/ring_servers.h"
#include "support/bench.h"
#include "support/calm.h"

#include <hiredis.h>

#define KEYS_MAX     ((size_t)1000)
#define ROUNDS_N     ((size_t)21)
#define ROUND_KEYS_N ((size_t)20000)

typedef struct bench {
    ring_servers *servers;
    kw_client *kw;
    kw_ring *ring;
    redisContext *raw[RING_SERVERS]; /* by the numbers of the ring */
    char keys[KEYS_MAX][24];
    const char *argv[KEYS_MAX + 1];
    size_t lens[KEYS_MAX + 1];
    kw_bench goals;
} bench;

typedef void (*mget_fn)(bench *self, size_t n);

static void start(bench *self)
{
    void *state;
    kw_error error = KW_ERROR_INIT;
    ring_start(&state);
    self->servers = state;
    self->kw = ring_open(self->servers, "");
    self->ring = kw_client_ring(self->kw, &error);
    for (uint32_t i = 0; i < RING_SERVERS; i++) {
        const char *name = kw_ring_node_name(self->ring, NULL, i);
        kw_test_server *server = self->servers->servers[name[0] - 'a'];
        self->raw[i] = redisConnect("127.0.0.1", kw_test_server_port(server));
        kw_bench_die_if(self->raw[i] == NULL || self->raw[i]->err != 0, "raw connect");
    }
    self->argv[0] = "MGET";
    self->lens[0] = 4;
    for (size_t i = 0; i < KEYS_MAX; i++) {
        snprintf(self->keys[i], sizeof(self->keys[i]), "key:%012u", (unsigned)i);
        self->argv[i + 1] = self->keys[i];
        self->lens[i + 1] = KW_BENCH_KEY_LEN;
        kw_test_ask_ok(self->kw, "SET %s %s", self->keys[i], KW_BENCH_VALUE);
    }
}

static void stop(bench *self)
{
    void *state = self->servers;
    for (size_t i = 0; i < RING_SERVERS; i++) {
        redisFree(self->raw[i]);
    }
    kw_ring_unref(self->ring);
    kw_close(self->kw);
    ring_stop(&state);
}

static void run_keyway(bench *self, size_t n)
{
    kw_reply *reply = kw_command_argv(self->kw, NULL, (int)n + 1, self->argv, self->lens);
    kw_bench_die_if(kw_reply_count(reply) != n, "keyway MGET");
    for (size_t i = 0; i < n; i++) {
        kw_bench_die_if(kw_reply_type(kw_reply_at(reply, i)) != KW_REPLY_STRING, "a value");
    }
    kw_reply_free(reply);
}

/* One node's part, written by hand. */
typedef struct part {
    const char *argv[KEYS_MAX + 1];
    size_t lens[KEYS_MAX + 1];
    size_t at[KEYS_MAX];
    size_t n;
    redisReply *reply;
} part;

static void write_parts(bench *self, part *parts, size_t n)
{
    for (size_t k = 0; k < RING_SERVERS; k++) {
        parts[k].argv[0] = "MGET";
        parts[k].lens[0] = 4;
        parts[k].n = 0;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t node = 0;
        (void)kw_ring_lookup(self->ring, &node, self->argv[i + 1], self->lens[i + 1]);
        part *to = &parts[node];
        to->at[to->n++] = i;
        to->argv[to->n] = self->argv[i + 1];
        to->lens[to->n] = self->lens[i + 1];
    }
    for (size_t k = 0; k < RING_SERVERS; k++) {
        int is_done = parts[k].n == 0;
        if (!is_done) {
            redisAppendCommandArgv(self->raw[k], (int)parts[k].n + 1, parts[k].argv, parts[k].lens);
        }
        while (!is_done) {
            kw_bench_die_if(redisBufferWrite(self->raw[k], &is_done) != REDIS_OK, "raw write");
        }
    }
}

static void run_raw(bench *self, size_t n)
{
    static part parts[RING_SERVERS];
    static redisReply *values[KEYS_MAX];
    write_parts(self, parts, n);
    for (size_t k = 0; k < RING_SERVERS; k++) {
        void *reply = NULL;
        if (parts[k].n > 0) {
            kw_bench_die_if(redisGetReply(self->raw[k], &reply) != REDIS_OK, "raw read");
            parts[k].reply = reply;
            kw_bench_die_if(parts[k].reply->elements != parts[k].n, "raw MGET");
        }
        for (size_t i = 0; i < parts[k].n; i++) {
            values[parts[k].at[i]] = parts[k].reply->element[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        kw_bench_die_if(values[i]->type != REDIS_REPLY_STRING, "a value");
    }
    for (size_t k = 0; k < RING_SERVERS; k++) {
        if (parts[k].n > 0) {
            freeReplyObject(parts[k].reply);
        }
    }
}

/* Keys per second of one round. */
static double run_round(bench *self, mget_fn run, size_t n)
{
    uint64_t start_ns = kw_test_now_ns();
    for (size_t at = 0; at < ROUND_KEYS_N; at += n) {
        run(self, n);
    }
    return (double)ROUND_KEYS_N * 1e9 / (double)(kw_test_now_ns() - start_ns);
}

static void compare(bench *self, size_t n)
{
    double ours[ROUNDS_N];
    double theirs[ROUNDS_N];
    double ratios[ROUNDS_N];
    for (size_t round = 0; round < ROUNDS_N; round++) {
        bool is_raw_first = round % 2 == 0;
        double first = run_round(self, is_raw_first ? run_raw : run_keyway, n);
        double second = run_round(self, is_raw_first ? run_keyway : run_raw, n);
        theirs[round] = is_raw_first ? first : second;
        ours[round] = is_raw_first ? second : first;
        ratios[round] = ours[round] / theirs[round];
    }
    printf("\nMGET of %zu keys on a ring of 4 servers; raw: an MGET a node, by hand\n", n);
    printf("  raw hiredis %8.0f   keyway %8.0f keys per second\n",
           kw_bench_median(theirs, ROUNDS_N), kw_bench_median(ours, ROUNDS_N));
    kw_bench_goal(&self->goals, "keyway / raw", kw_bench_median(ratios, ROUNDS_N), ">=", 1.0);
}

int main(int argc, char **argv)
{
    static bench self;
    kw_test_calm_forbid();
    start(&self);
    compare(&self, 100);
    compare(&self, 1000);
    stop(&self);
    bool is_gate = argc > 1 && strcmp(argv[1], "--gate") == 0;
    return is_gate && self.goals.is_missed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum, much at once: values on three copies by 16 threads, and in batches of 100, beside plain
 * values through a handle, and beside raw hiredis that sends the same bytes to the same three
 * servers. Ways take turns in each round; medians are shown. */
#include <keyway.h>

#include <hiredis.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/quorum_script.h"
#include "support/bench.h"
#include "support/server.h"

#define SERVERS_N 3u
#define ROUNDS_N  7u
#define OPS_N     16000u /* of all threads, a round */
#define KEYS_N    500u   /* of a thread */
#define THREADS_N 16u
#define BATCH_N   100u
#define LINGER_MS UINT64_C(86400000)

typedef enum way { RAW, QUORUM, PLAIN, WAYS_N } way;

typedef struct world world;

typedef struct worker {
    world *all;
    unsigned number;
    unsigned ops_n;
    unsigned batch_n;
    way by;
    bool is_set;
    redisContext *raw[SERVERS_N];
    uint64_t last; /* time of the last version that raw has given */
    pthread_t thread;
} worker;

struct world {
    kw_test_server *servers[SERVERS_N];
    kw_client *plain;
    kw_client *client;
    kw_quorum *quorum;
    worker workers[THREADS_N];
};

static size_t name_key(char out[32], const worker *self, unsigned number)
{
    return (size_t)snprintf(out, 32, "%s:%02u:%06u", self->by == PLAIN ? "plai" : "quor",
                            self->number, number % KEYS_N);
}

/* What the op would send to each of its copies. */
static void encode(worker *self, kw_buf *buf, unsigned number)
{
    char key[32];
    kw_quorum_ask ask;
    memset(&ask, 0, sizeof(ask));
    ask.kind = self->is_set ? KW_QUORUM_PUT : KW_QUORUM_GET;
    ask.linger_ms = LINGER_MS;
    ask.behind_ms = LINGER_MS / 2;
    uint64_t time_now = (uint64_t)time(NULL) * 1000 << 16;
    self->last = time_now > self->last ? time_now : self->last + 1;
    ask.record.stamp.time = self->last;
    ask.record.stamp.writer = 1000 + self->number;
    ask.record.origin = ask.record.stamp;
    ask.record.value = kw_bytes_of(KW_BENCH_VALUE);
    kw_quorum_place place = {{key, name_key(key, self, number)}, {NULL, 0}, !self->is_set};
    kw_bench_die_if(!kw_quorum_script_encode(buf, &place, &ask), "no memory");
}

static void do_raw(worker *self, unsigned first)
{
    kw_buf buf;
    kw_buf_init(&buf, kw_mem_default(), NULL, 0);
    for (unsigned i = 0; i < self->batch_n; i++) {
        encode(self, &buf, first + i);
    }
    for (unsigned s = 0; s < SERVERS_N; s++) {
        int is_done = 0;
        redisAppendFormattedCommand(self->raw[s], buf.data, buf.len);
        while (is_done == 0 && redisBufferWrite(self->raw[s], &is_done) == REDIS_OK) {
        }
    }
    for (unsigned s = 0; s < SERVERS_N; s++) {
        for (unsigned i = 0; i < self->batch_n; i++) {
            redisReply *reply = NULL;
            kw_bench_die_if(redisGetReply(self->raw[s], (void **)&reply) != REDIS_OK, "raw");
            kw_bench_die_if(reply->type == REDIS_REPLY_ERROR, reply->str);
            freeReplyObject(reply);
        }
    }
    kw_buf_fini(&buf);
}

static void do_quorum(worker *self, unsigned first)
{
    static const kw_quorum_request blank = KW_QUORUM_REQUEST_INIT;
    kw_quorum_request requests[BATCH_N];
    char keys[BATCH_N][32];
    for (unsigned i = 0; i < self->batch_n; i++) {
        requests[i] = blank;
        requests[i].act = self->is_set ? KW_QUORUM_ACT_SET : KW_QUORUM_ACT_GET;
        requests[i].key = keys[i];
        requests[i].key_len = name_key(keys[i], self, first + i);
        requests[i].value = self->is_set ? KW_BENCH_VALUE : NULL;
        requests[i].value_len = self->is_set ? strlen(KW_BENCH_VALUE) : 0;
    }
    kw_error error = KW_ERROR_INIT;
    kw_quorum_results *results =
        kw_quorum_run(self->all->quorum, &error, requests, self->batch_n, 0);
    kw_bench_die_if(results == NULL || error.code != KW_OK, error.text);
    kw_quorum_results_free(results);
}

static void do_plain(worker *self, unsigned first)
{
    static const char *const formats[] = {"GET %s", "SET %s " KW_BENCH_VALUE};
    const char *format = formats[self->is_set ? 1 : 0];
    kw_error error = KW_ERROR_INIT;
    char key[32];
    if (self->batch_n == 1) {
        name_key(key, self, first);
        kw_reply *reply = kw_command(self->all->plain, &error, format, key);
        kw_bench_die_if(reply == NULL, error.text);
        kw_reply_free(reply);
        return;
    }
    kw_batch *batch = kw_batch_new(self->all->plain, &error);
    for (unsigned i = 0; i < self->batch_n; i++) {
        name_key(key, self, first + i);
        kw_bench_die_if(kw_batch_add(batch, &error, format, key) != KW_OK, error.text);
    }
    kw_bench_die_if(kw_batch_run(batch, &error, 0) != KW_OK, error.text);
    kw_batch_free(batch);
}

static void *work(void *arg)
{
    static void (*const ways[WAYS_N])(worker * self, unsigned first) = {do_raw, do_quorum,
                                                                        do_plain};
    worker *self = arg;
    for (unsigned i = 0; i < self->ops_n; i += self->batch_n) {
        ways[self->by](self, i);
    }
    return NULL;
}

/* Ops a second. */
static double run_round(world *self, way by, bool is_set, unsigned threads_n, unsigned batch_n)
{
    double begin = kw_bench_now_s();
    for (unsigned i = 0; i < threads_n; i++) {
        worker *one = &self->workers[i];
        one->by = by;
        one->is_set = is_set;
        one->batch_n = batch_n;
        one->ops_n = OPS_N / threads_n;
        kw_bench_die_if(pthread_create(&one->thread, NULL, work, one) != 0, "no thread");
    }
    for (unsigned i = 0; i < threads_n; i++) {
        pthread_join(self->workers[i].thread, NULL);
    }
    return OPS_N / (kw_bench_now_s() - begin);
}

static void measure(world *self, kw_bench *bench, bool is_set, unsigned threads_n, unsigned batch_n)
{
    static const char *const names[] = {"raw, the same bytes", "quorum", "plain"};
    double rates[WAYS_N][ROUNDS_N];
    double median[WAYS_N];
    for (unsigned round = 0; round < ROUNDS_N; round++) {
        for (unsigned by = 0; by < WAYS_N; by++) {
            rates[by][round] = run_round(self, (way)by, is_set, threads_n, batch_n);
        }
    }
    printf("%s, %u threads, batches of %u\n", is_set ? "set" : "get", threads_n, batch_n);
    for (unsigned by = 0; by < WAYS_N; by++) {
        median[by] = kw_bench_median(rates[by], ROUNDS_N);
        printf("  %-20s %8.0f a second\n", names[by], median[by]);
    }
    kw_bench_goal(bench, "quorum / raw", median[QUORUM] / median[RAW], ">=", 0.8);
    kw_bench_goal(bench, "quorum / plain", median[QUORUM] / median[PLAIN],
                  ">=", is_set ? 0.2 : 0.4);
}

int main(int argc, char **argv)
{
    static world self;
    static kw_bench bench; /* for its goals alone */
    for (unsigned i = 0; i < SERVERS_N; i++) {
        self.servers[i] = kw_test_server_start("save \"\"\n");
    }
    self.plain = kw_bench_open_ring(self.servers, "");
    self.client = kw_bench_open_ring(self.servers, "?copies=3");
    self.quorum = kw_quorum_new(self.client, NULL);
    kw_bench_die_if(self.quorum == NULL, "no quorum");
    for (unsigned i = 0; i < THREADS_N; i++) {
        self.workers[i].all = &self;
        self.workers[i].number = i;
        for (unsigned s = 0; s < SERVERS_N; s++) {
            self.workers[i].raw[s] =
                redisConnect("127.0.0.1", kw_test_server_port(self.servers[s]));
            kw_bench_die_if(self.workers[i].raw[s] == NULL, "cannot connect");
            freeReplyObject(redisCommand(self.workers[i].raw[s], "SCRIPT LOAD %s",
                                         kw_quorum_script()->text.data));
        }
    }
    measure(&self, &bench, true, THREADS_N, 1);
    measure(&self, &bench, false, THREADS_N, 1);
    measure(&self, &bench, true, 1, BATCH_N);
    measure(&self, &bench, false, 1, BATCH_N);
    for (unsigned i = 0; i < THREADS_N * SERVERS_N; i++) {
        redisFree(self.workers[i / SERVERS_N].raw[i % SERVERS_N]);
    }
    kw_quorum_free(self.quorum);
    kw_close(self.client);
    kw_close(self.plain);
    for (unsigned i = 0; i < SERVERS_N; i++) {
        kw_test_server_free(self.servers[i]);
    }
    bool is_gate = argc > 1 && strcmp(argv[1], "--gate") == 0;
    return is_gate && bench.is_missed ? 1 : 0;
}

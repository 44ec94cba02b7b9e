/* Single calls: one thread's GETs through keyway and through raw hiredis connections
 * that are routed by hand, in interleaved rounds on one cluster; the way from nothing to
 * three replies; memory of a handle; system calls and allocations per command.
 * --gate: exit status 1 where a goal is missed. */
#include <keyway.h>

#include "api/client.h"
#include "support/check.h"
#include "support/cluster.h"

#include <hiredis.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_N    300
#define KEY_LEN   16
#define ROUNDS_N  21
#define CALLS_N   1500
#define OPENS_N   31
#define HANDLES_N 100

typedef struct bench {
    kw_test_cluster *cluster;
    kw_client *kw;
    redisContext *raw[3];
    char keys[KEYS_N][KEY_LEN + 1];
    redisContext *owner[KEYS_N]; /* raw connection of each key */
    double latencies_us[CALLS_N];
    bool is_missed;
} bench;

typedef void (*get_fn)(bench *self, size_t key);

static void die_if(bool is_wrong, const char *what)
{
    if (is_wrong) {
        kw_test_die("bench: %s", what);
    }
}

static void get_raw_argv(bench *self, size_t key)
{
    const char *argv[] = {"GET", self->keys[key]};
    const size_t lens[] = {3, KEY_LEN};
    redisReply *reply = redisCommandArgv(self->owner[key], 2, argv, lens);
    die_if(reply == NULL || reply->type != REDIS_REPLY_STRING, "raw GET");
    freeReplyObject(reply);
}

static void get_raw_format(bench *self, size_t key)
{
    redisReply *reply = redisCommand(self->owner[key], "GET %s", self->keys[key]);
    die_if(reply == NULL || reply->type != REDIS_REPLY_STRING, "raw GET");
    freeReplyObject(reply);
}

static void get_kw_argv(bench *self, size_t key)
{
    const char *argv[] = {"GET", self->keys[key]};
    const size_t lens[] = {3, KEY_LEN};
    kw_reply *reply = kw_command_argv(self->kw, NULL, 2, argv, lens);
    die_if(kw_reply_type(reply) != KW_REPLY_STRING, "keyway GET");
    kw_reply_free(reply);
}

static void get_kw_format(bench *self, size_t key)
{
    kw_reply *reply = kw_command(self->kw, NULL, "GET %s", self->keys[key]);
    die_if(kw_reply_type(reply) != KW_REPLY_STRING, "keyway GET");
    kw_reply_free(reply);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof(values[0]), compare);
    return values[n / 2];
}

/* Calls per second of one round; *latency_us is its median. */
static double run_round(bench *self, get_fn get, double *latency_us)
{
    uint64_t start_ns = kw_test_now_ns();
    uint64_t before_ns = start_ns;
    for (size_t i = 0; i < CALLS_N; i++) {
        get(self, i % KEYS_N);
        uint64_t now_ns = kw_test_now_ns();
        self->latencies_us[i] = (double)(now_ns - before_ns) / 1e3;
        before_ns = now_ns;
    }
    *latency_us = median(self->latencies_us, CALLS_N);
    return CALLS_N / ((double)(before_ns - start_ns) / 1e9);
}

static void goal(bench *self, const char *name, double value, const char *relation, double bound)
{
    bool is_met = relation[0] == '>' ? value >= bound : value <= bound;
    printf("  %-44s %9.2f  (goal %s %.2f) %s\n", name, value, relation, bound,
           is_met ? "" : "MISSED");
    self->is_missed = self->is_missed || !is_met;
}

static void bench_gets(bench *self)
{
    static const char *const names[] = {"raw hiredis, argv", "keyway, argv", "raw hiredis, format",
                                        "keyway, format"};
    static const get_fn gets[] = {get_raw_argv, get_kw_argv, get_raw_format, get_kw_format};
    double rates[4][ROUNDS_N];
    double latencies[4][ROUNDS_N];
    for (size_t round = 0; round < ROUNDS_N; round++) {
        for (size_t k = 0; k < 4; k++) {
            size_t way = (k + round) % 4;
            rates[way][round] = run_round(self, gets[way], &latencies[way][round]);
        }
    }
    double rate[4];
    double latency[4];
    printf("\nOne thread, GET of a 32-byte value, 3 primaries, median of %d rounds\n", ROUNDS_N);
    for (size_t way = 0; way < 4; way++) {
        rate[way] = median(rates[way], ROUNDS_N);
        latency[way] = median(latencies[way], ROUNDS_N);
        printf("  %-24s %8.0f per second   %6.1f us median\n", names[way], rate[way], latency[way]);
    }
    goal(self, "throughput, argv, keyway / raw", rate[1] / rate[0], ">=", 0.98);
    goal(self, "throughput, format, keyway / raw", rate[3] / rate[2], ">=", 0.98);
    goal(self, "median latency, argv, raw / keyway", latency[0] / latency[1], ">=", 0.98);
    goal(self, "median latency, format, raw / keyway", latency[2] / latency[3], ">=", 0.98);
}

/* Keys of three nodes: their numbers in self->keys. */
static void one_key_each(const bench *self, size_t picked[3])
{
    for (size_t node = 0; node < 3; node++) {
        size_t key = 0;
        while (self->owner[key] != self->raw[node]) {
            key++;
        }
        picked[node] = key;
    }
}

static double open_raw(bench *self, const size_t picked[3])
{
    uint64_t start_ns = kw_test_now_ns();
    redisContext *contexts[3];
    for (size_t i = 0; i < 3; i++) {
        uint16_t port = kw_test_server_port(kw_test_cluster_node(self->cluster, i));
        contexts[i] = redisConnect("127.0.0.1", port);
        die_if(contexts[i] == NULL || contexts[i]->err != 0, "raw connect");
        if (i == 0) {
            freeReplyObject(redisCommand(contexts[0], "CLUSTER SLOTS"));
        }
        redisReply *reply = redisCommand(contexts[i], "GET %s", self->keys[picked[i]]);
        die_if(reply == NULL || reply->type != REDIS_REPLY_STRING, "raw GET");
        freeReplyObject(reply);
    }
    double us = (double)(kw_test_now_ns() - start_ns) / 1e3;
    for (size_t i = 0; i < 3; i++) {
        redisFree(contexts[i]);
    }
    return us;
}

static double open_kw(bench *self, const size_t picked[3])
{
    uint64_t start_ns = kw_test_now_ns();
    kw_client *kw = kw_open(kw_test_cluster_uri(self->cluster), NULL);
    die_if(kw == NULL, "kw_open");
    for (size_t i = 0; i < 3; i++) {
        kw_reply *reply = kw_command(kw, NULL, "GET %s", self->keys[picked[i]]);
        die_if(kw_reply_type(reply) != KW_REPLY_STRING, "keyway GET");
        kw_reply_free(reply);
    }
    double us = (double)(kw_test_now_ns() - start_ns) / 1e3;
    kw_close(kw);
    return us;
}

static void bench_open(bench *self)
{
    size_t picked[3];
    double raw[OPENS_N];
    double kw[OPENS_N];
    one_key_each(self, picked);
    for (size_t i = 0; i < OPENS_N; i++) {
        raw[i] = open_raw(self, picked);
        kw[i] = open_kw(self, picked);
    }
    double raw_us = median(raw, OPENS_N);
    double kw_us = median(kw, OPENS_N);
    printf("\nFrom nothing to a reply of each of three nodes, median of %d\n", OPENS_N);
    printf("  raw hiredis and one CLUSTER SLOTS %6.0f us   keyway %6.0f us\n", raw_us, kw_us);
    goal(self, "raw / keyway", raw_us / kw_us, ">=", 1.0);
}

static void bench_memory(bench *self)
{
    size_t picked[3];
    one_key_each(self, picked);
    static kw_client *handles[HANDLES_N];
    size_t before = kw_test_rss_bytes();
    for (size_t h = 0; h < HANDLES_N; h++) {
        handles[h] = kw_open(kw_test_cluster_uri(self->cluster), NULL);
        for (size_t i = 0; i < 3; i++) {
            kw_reply_free(kw_command(handles[h], NULL, "GET %s", self->keys[picked[i]]));
        }
    }
    size_t after = kw_test_rss_bytes();
    for (size_t h = 0; h < HANDLES_N; h++) {
        kw_close(handles[h]);
    }
    double total_kb = (double)(after > before ? after - before : 0) / 1024;
    printf("\nResident memory of %d handles with three connections each\n", HANDLES_N);
    goal(self, "KB a handle", total_kb / HANDLES_N, "<=", 12.0 * 1024 / HANDLES_N);
}

/* A transport that counts what it passes on. */
typedef struct counting {
    kw_transport transport;
    const kw_transport *real;
    unsigned long sends_n;
    unsigned long recvs_n;
    unsigned long polls_n;
} counting;

static ssize_t count_send(void *arg, int socket, const char *data, size_t len)
{
    counting *self = arg;
    self->sends_n++;
    return self->real->send_fn(self->real->arg, socket, data, len);
}

static ssize_t count_recv(void *arg, int socket, char *data, size_t len, bool waits)
{
    counting *self = arg;
    self->recvs_n++;
    return self->real->recv_fn(self->real->arg, socket, data, len, waits);
}

static int count_poll(void *arg, struct pollfd *sockets, size_t sockets_n, int wait_ms)
{
    counting *self = arg;
    self->polls_n++;
    return self->real->poll_fn(self->real->arg, sockets, sockets_n, wait_ms);
}

static void bench_counts(bench *self)
{
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    kw_config *config = kw_config_new(&memory.allocator);
    die_if(kw_config_set_uri(config, kw_test_cluster_uri(self->cluster), NULL) != KW_OK, "URI");
    kw_client *kw = kw_open_config(config, NULL);
    kw_config_free(config);
    counting counts = {*kw->env.transport, kw->env.transport, 0, 0, 0};
    counts.transport.send_fn = count_send;
    counts.transport.recv_fn = count_recv;
    counts.transport.poll_fn = count_poll;
    kw_client *mine = self->kw;
    self->kw = kw;
    for (size_t i = 0; i < KEYS_N; i++) {
        get_kw_argv(self, i);
    }
    counts.transport.arg = &counts;
    kw->env.transport = &counts.transport; /* sockets need nothing of their arg */
    unsigned long calls = kw_test_memory_calls(&memory);
    for (size_t i = 0; i < CALLS_N; i++) {
        get_kw_argv(self, i % KEYS_N);
    }
    calls = kw_test_memory_calls(&memory) - calls;
    printf("\nPer GET of a lone caller (an idle connection is looked at after 1 ms: the rest)\n");
    goal(self, "send calls", (double)counts.sends_n / CALLS_N, "<=", 1.0);
    goal(self, "recv calls", (double)counts.recvs_n / CALLS_N, "<=", 1.1);
    goal(self, "poll calls", (double)counts.polls_n / CALLS_N, "<=", 0.01);
    goal(self, "allocations, the reply's one included", (double)calls / CALLS_N, "<=", 4.0);
    self->kw = mine;
    kw_close(kw);
}

static void set_up(bench *self)
{
    memset(self, 0, sizeof(*self));
    self->cluster = kw_test_cluster_start(3, 0, 0, NULL);
    self->kw = kw_open(kw_test_cluster_uri(self->cluster), NULL);
    die_if(self->kw == NULL, "kw_open");
    for (size_t i = 0; i < 3; i++) {
        uint16_t port = kw_test_server_port(kw_test_cluster_node(self->cluster, i));
        self->raw[i] = redisConnect("127.0.0.1", port);
        die_if(self->raw[i] == NULL || self->raw[i]->err != 0, "raw connect");
    }
    for (size_t i = 0; i < KEYS_N; i++) {
        snprintf(self->keys[i], sizeof(self->keys[i]), "key:%012zu", i);
        kw_reply *reply =
            kw_command(self->kw, NULL, "SET %s 01234567890123456789012345678901", self->keys[i]);
        die_if(kw_reply_type(reply) != KW_REPLY_STATUS, "SET");
        kw_reply_free(reply);
        kw_test_server *owner =
            kw_test_cluster_owner(self->cluster, kw_slot(self->keys[i], KEY_LEN));
        for (size_t k = 0; k < 3; k++) {
            if (owner == kw_test_cluster_node(self->cluster, k)) {
                self->owner[i] = self->raw[k];
            }
        }
    }
}

int main(int argc, char **argv)
{
    static bench self;
    set_up(&self);
    bench_gets(&self);
    bench_open(&self);
    bench_memory(&self);
    bench_counts(&self);
    for (size_t i = 0; i < 3; i++) {
        redisFree(self.raw[i]);
    }
    kw_close(self.kw);
    kw_test_cluster_free(self.cluster);
    bool is_gate = argc > 1 && strcmp(argv[1], "--gate") == 0;
    return is_gate && self.is_missed ? EXIT_FAILURE : EXIT_SUCCESS;
}

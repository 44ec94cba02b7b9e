/* SPDX-License-Identifier: BSD-3-Clause */
/* Instructions in user space per GET, counted by valgrind: keyway and raw hiredis routed by
 * hand; one at a time by argv and by format, in batches, and as a key of an MGET. The
 * steadiest of the figures: it does not depend on the machine's speed. Runs itself under
 * callgrind. --gate: exit status 1 where a goal is missed. */
#include <keyway.h>

#include "support/calm.h"
#include "support/check.h"
#include "support/cluster.h"

#include <hiredis.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_N  ((size_t)1000)
#define KEY_LEN ((size_t)16)

static char keys[KEYS_N][KEY_LEN + 1];

static void make_keys(void)
{
    for (size_t i = 0; i < KEYS_N; i++) {
        snprintf(keys[i], sizeof(keys[i]), "key:%012zu", i);
    }
}

static void die_if(bool is_wrong)
{
    if (is_wrong) {
        kw_test_die("bench: no value of a key");
    }
}

/* keyway: n is a multiple of KEYS_N. */

static const char *get_argv[] = {"GET", NULL};
static const size_t get_lens[] = {3, KEY_LEN};

static void get_argv_kw(kw_client *kw, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        get_argv[1] = keys[i % KEYS_N];
        kw_reply *reply = kw_command_argv(kw, NULL, 2, get_argv, get_lens);
        die_if(kw_reply_type(reply) != KW_REPLY_STRING);
        kw_reply_free(reply);
    }
}

static void get_format_kw(kw_client *kw, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        kw_reply *reply = kw_command(kw, NULL, "GET %s", keys[i % KEYS_N]);
        die_if(kw_reply_type(reply) != KW_REPLY_STRING);
        kw_reply_free(reply);
    }
}

static void get_batches_kw(kw_client *kw, size_t n, size_t batch_n)
{
    kw_batch *batch = kw_batch_new(kw, NULL);
    for (size_t at = 0; at < n; at += batch_n) {
        for (size_t i = 0; i < batch_n; i++) {
            get_argv[1] = keys[(at + i) % KEYS_N];
            die_if(kw_batch_add_argv(batch, NULL, 2, get_argv, get_lens) != KW_OK);
        }
        die_if(kw_batch_run(batch, NULL, 0) != KW_OK);
        for (size_t i = 0; i < batch_n; i++) {
            die_if(kw_reply_type(kw_batch_reply(batch, NULL, i)) != KW_REPLY_STRING);
        }
        kw_batch_clear(batch);
    }
    kw_batch_free(batch);
}

static void get_tens_kw(kw_client *kw, size_t n)
{
    get_batches_kw(kw, n, 10);
}

static void get_thousands_kw(kw_client *kw, size_t n)
{
    get_batches_kw(kw, n, KEYS_N);
}

static void mget_kw(kw_client *kw, size_t n)
{
    static const char *argv[KEYS_N + 1] = {"MGET"};
    static size_t lens[KEYS_N + 1] = {4};
    for (size_t i = 0; i < KEYS_N; i++) {
        argv[i + 1] = keys[i];
        lens[i + 1] = KEY_LEN;
    }
    for (size_t at = 0; at < n; at += KEYS_N) {
        kw_reply *reply = kw_command_argv(kw, NULL, (int)KEYS_N + 1, argv, lens);
        die_if(kw_reply_count(reply) != KEYS_N);
        kw_reply_free(reply);
    }
}

/* Raw hiredis: one server has all keys, so that nothing is left of routing. */

static void get_argv_raw(redisContext *raw, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        get_argv[1] = keys[i % KEYS_N];
        redisReply *reply = redisCommandArgv(raw, 2, get_argv, get_lens);
        die_if(reply == NULL || reply->type != REDIS_REPLY_STRING);
        freeReplyObject(reply);
    }
}

static void get_format_raw(redisContext *raw, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        redisReply *reply = redisCommand(raw, "GET %s", keys[i % KEYS_N]);
        die_if(reply == NULL || reply->type != REDIS_REPLY_STRING);
        freeReplyObject(reply);
    }
}

static void get_batches_raw(redisContext *raw, size_t n, size_t batch_n)
{
    for (size_t at = 0; at < n; at += batch_n) {
        for (size_t i = 0; i < batch_n; i++) {
            get_argv[1] = keys[(at + i) % KEYS_N];
            redisAppendCommandArgv(raw, 2, get_argv, get_lens);
        }
        for (size_t i = 0; i < batch_n; i++) {
            void *reply = NULL;
            die_if(redisGetReply(raw, &reply) != REDIS_OK);
            freeReplyObject(reply);
        }
    }
}

static void get_tens_raw(redisContext *raw, size_t n)
{
    get_batches_raw(raw, n, 10);
}

static void get_thousands_raw(redisContext *raw, size_t n)
{
    get_batches_raw(raw, n, KEYS_N);
}

typedef struct way {
    const char *title;
    void (*kw)(kw_client *kw, size_t n);
    void (*raw)(redisContext *raw, size_t n); /* or this one */
    size_t few;
    size_t many;
    double bound; /* 0: none */
} way;

static const way ways[] = {
    {"raw hiredis, argv", NULL, get_argv_raw, 1000, 3000, 0},
    {"raw hiredis, format", NULL, get_format_raw, 1000, 3000, 0},
    {"raw hiredis, pipeline of 10", NULL, get_tens_raw, 1000, 5000, 0},
    {"raw hiredis, pipeline of 1000", NULL, get_thousands_raw, 5000, 15000, 0},
    {"keyway, argv", get_argv_kw, NULL, 1000, 3000, 3000},
    {"keyway, format", get_format_kw, NULL, 1000, 3000, 4500},
    {"keyway, batch of 10", get_tens_kw, NULL, 1000, 5000, 0},
    {"keyway, batch of 1000", get_thousands_kw, NULL, 5000, 15000, 2000},
    {"keyway, MGET of 1000, a key", mget_kw, NULL, 5000, 15000, 0},
};

#define WAYS_N (sizeof(ways) / sizeof(ways[0]))

/* The counted program: uri, number of the way, GETs. */
static void run_way(const char *where, const way *way_of, size_t n)
{
    if (way_of->kw != NULL) {
        kw_client *kw = kw_open(where, NULL);
        way_of->kw(kw, n);
        kw_close(kw);
    } else {
        redisContext *raw = redisConnect("127.0.0.1", atoi(where));
        way_of->raw(raw, n);
        redisFree(raw);
    }
}

/* Instructions of one run of this program under callgrind. */
static double count(const char *program, size_t number, const char *where, size_t n)
{
    char command[1024];
    snprintf(command, sizeof(command),
             "valgrind --tool=callgrind --callgrind-out-file=/dev/null '%s' '%s' %zu %zu 2>&1 | "
             "sed -n 's/.*Collected : //p'",
             program, where, number, n);
    FILE *pipe = popen(command, "r");
    double instructions = 0;
    if (pipe == NULL || fscanf(pipe, "%lf", &instructions) != 1) {
        kw_test_die("bench: no count from valgrind");
    }
    pclose(pipe);
    return instructions;
}

/* False where a goal is missed. */
static bool report(const char *program, size_t number, const char *where)
{
    const way *self = &ways[number];
    double instructions = count(program, number, where, self->many);
    instructions -= count(program, number, where, self->few);
    double each = instructions / (double)(self->many - self->few);
    printf("  %-36s %7.0f", self->title, each);
    bool is_met = self->bound <= 0 || each <= self->bound;
    if (self->bound > 0) {
        printf("  (goal <= %.0f) %s", self->bound, is_met ? "" : "MISSED");
    }
    printf("\n");
    return is_met;
}

static bool compare(const char *program)
{
    kw_test_cluster *cluster = kw_test_cluster_start(3, 0, 0, NULL);
    kw_test_server *single = kw_test_server_start(NULL);
    kw_client *both[] = {kw_open(kw_test_cluster_uri(cluster), NULL),
                         kw_open(kw_test_server_uri(single), NULL)};
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < KEYS_N; i++) {
            kw_reply_free(kw_command(both[k], NULL, "SET %s %s", keys[i],
                                     "01234567890123456789012345678901"));
        }
        kw_close(both[k]);
    }
    char port[16];
    snprintf(port, sizeof(port), "%u", (unsigned)kw_test_server_port(single));
    printf("\nUser-space instructions per GET, 3 primaries\n");
    bool is_met = true;
    for (size_t i = 0; i < WAYS_N; i++) {
        const char *where = ways[i].kw != NULL ? kw_test_cluster_uri(cluster) : port;
        is_met = report(program, i, where) && is_met;
    }
    kw_test_server_free(single);
    kw_test_cluster_free(cluster);
    return is_met;
}

int main(int argc, char **argv)
{
    kw_test_calm_forbid();
    make_keys();
    if (argc == 4) {
        size_t number = strtoul(argv[2], NULL, 10);
        run_way(argv[1], &ways[number < WAYS_N ? number : 0], strtoul(argv[3], NULL, 10));
        return EXIT_SUCCESS;
    }
    if (system("valgrind --version > /dev/null 2>&1") != 0) {
        printf("\nInstructions per GET: not counted, valgrind is not installed\n");
        return EXIT_SUCCESS;
    }
    bool is_gate = argc > 1 && strcmp(argv[1], "--gate") == 0;
    return compare(argv[0]) || !is_gate ? EXIT_SUCCESS : EXIT_FAILURE;
}

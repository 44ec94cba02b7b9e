/* SPDX-License-Identifier: BSD-3-Clause */
/* What one command costs, in counts that are the same in each run: system calls, allocations and
 * readings of the clock are printed; counts.sh runs this under callgrind for the instructions.
 *
 * counts [NAME...]: the ways of those names, or all, as lines of "way what value". */
#include <keyway.h>

#include "counts/network.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_N  1000
#define KEY_LEN 16

static char keys[KEYS_N][KEY_LEN + 1];
static unsigned long allocations_n;
static unsigned long clocks_n;

static void die_if(bool is_wrong, const char *what)
{
    if (is_wrong) {
        fprintf(stderr, "counts: %s\n", what);
        exit(EXIT_FAILURE);
    }
}

/* What the handle is given: an allocator that counts, and a clock that goes on by a microsecond
 * each time it is read, so that nothing depends on the machine's speed. */

static void *count_malloc(void *arg, size_t len)
{
    (void)arg;
    allocations_n++;
    return malloc(len);
}

static void *count_realloc(void *arg, void *block, size_t len)
{
    (void)arg;
    allocations_n++;
    return realloc(block, len);
}

static void count_free(void *arg, void *block)
{
    (void)arg;
    free(block);
}

static uint64_t count_clock(void *arg)
{
    (void)arg;
    return UINT64_C(1000000000) + (uint64_t)++clocks_n * 1000;
}

static kw_client *open_client(void)
{
    static const kw_allocator allocator = {sizeof(allocator), NULL, count_malloc, count_realloc,
                                           count_free};
    kw_config *config = kw_config_new(&allocator);
    die_if(config == NULL, "no memory");
    kw_config_set_clock(config, count_clock, NULL);
    die_if(kw_config_set_uri(config, NULL, "redis-cluster://127.0.0.1:7001") != KW_OK, "no URI");
    kw_client *client = kw_open_config(config, NULL);
    kw_config_free(config);
    kw_error error = KW_ERROR_INIT;
    die_if(kw_connect(client, &error) != KW_OK, error.text);
    return client;
}

static const char *get_argv[] = {"GET", NULL};
static const size_t get_lens[] = {3, KEY_LEN};

static void check_value(const kw_reply *reply)
{
    size_t len = 0;
    die_if(kw_reply_type(reply) != KW_REPLY_STRING || kw_reply_str(reply, &len) == NULL ||
               len != COUNTS_VALUE_LEN,
           "no value of a key");
}

static void run_get_argv(kw_client *kw, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        get_argv[1] = keys[i % KEYS_N];
        kw_reply *reply = kw_command_argv(kw, NULL, 2, get_argv, get_lens);
        check_value(reply);
        kw_reply_free(reply);
    }
}

static void run_get_format(kw_client *kw, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        kw_reply *reply = kw_command(kw, NULL, "GET %s", keys[i % KEYS_N]);
        check_value(reply);
        kw_reply_free(reply);
    }
}

static void run_batches(kw_client *kw, size_t n, size_t batch_n)
{
    kw_batch *batch = kw_batch_new(kw, NULL);
    for (size_t at = 0; at < n; at += batch_n) {
        for (size_t i = 0; i < batch_n; i++) {
            get_argv[1] = keys[(at + i) % KEYS_N];
            die_if(kw_batch_add_argv(batch, NULL, 2, get_argv, get_lens) != KW_OK, "batch");
        }
        die_if(kw_batch_run(batch, NULL, 0) != KW_OK, "batch");
        for (size_t i = 0; i < batch_n; i++) {
            check_value(kw_batch_reply(batch, NULL, i));
        }
        kw_batch_clear(batch);
    }
    kw_batch_free(batch);
}

static void run_batch_10(kw_client *kw, size_t n)
{
    run_batches(kw, n, 10);
}

static void run_batch_1000(kw_client *kw, size_t n)
{
    run_batches(kw, n, 1000);
}

static void run_mget_100(kw_client *kw, size_t n)
{
    const char *argv[101] = {"MGET"};
    size_t lens[101] = {4};
    for (size_t at = 0; at < n; at += 100) {
        for (size_t i = 0; i < 100; i++) {
            argv[i + 1] = keys[(at + i) % KEYS_N];
            lens[i + 1] = KEY_LEN;
        }
        kw_reply *reply = kw_command_argv(kw, NULL, 101, argv, lens);
        die_if(kw_reply_count(reply) != 100, "MGET");
        check_value(kw_reply_at(reply, 99));
        kw_reply_free(reply);
    }
}

/* Commands in the event loop: each reply gives the next command. */
typedef struct loop {
    kw_client *client;
    size_t given;
    size_t answered;
    size_t n;
} loop;

static void give(loop *self);

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    loop *self = arg;
    (void)error;
    check_value(reply);
    kw_reply_free(reply);
    self->answered++;
    give(self);
}

static void give(loop *self)
{
    if (self->given == self->n) {
        return;
    }
    get_argv[1] = keys[self->given++ % KEYS_N];
    die_if(kw_call_async(self->client, NULL, (kw_callback){on_reply, self}, NULL,
                         (kw_argv){2, get_argv, get_lens}) != KW_OK,
           "command in the loop");
}

static void run_loop(kw_client *kw, size_t n, size_t under_way_n)
{
    loop self = {kw, 0, 0, n};
    while (self.given < under_way_n) {
        give(&self);
    }
    while (self.answered < n) {
        die_if(kw_process(kw, NULL) != KW_OK, "kw_process");
    }
}

static void run_loop_1(kw_client *kw, size_t n)
{
    run_loop(kw, n, 1);
}

static void run_loop_50(kw_client *kw, size_t n)
{
    run_loop(kw, n, 50);
}

static void run_tickets_50(kw_client *kw, size_t n)
{
    kw_ticket *tickets[50];
    for (size_t at = 0; at < n; at += 50) {
        for (size_t i = 0; i < 50; i++) {
            get_argv[1] = keys[(at + i) % KEYS_N];
            tickets[i] = kw_submit_call(kw, NULL, NULL, (kw_argv){2, get_argv, get_lens});
        }
        for (size_t i = 0; i < 50; i++) {
            kw_reply *reply = kw_ticket_await(tickets[i], NULL);
            check_value(reply);
            kw_reply_free(reply);
            kw_ticket_free(tickets[i]);
        }
    }
}

/* A session a transaction: MULTI, INCR, EXEC. */
static void run_session(kw_client *kw, size_t n)
{
    static const char *const commands[] = {"MULTI", "INCR %s", "EXEC"};
    for (size_t i = 0; i < n; i++) {
        const char *key = keys[i % KEYS_N];
        kw_session *session = kw_session_open(kw, NULL, key, KEY_LEN);
        for (size_t k = 0; k < 3; k++) {
            kw_reply *reply = kw_session_command(session, NULL, commands[k], key);
            die_if(reply == NULL || kw_reply_type(reply) == KW_REPLY_ERROR, commands[k]);
            kw_reply_free(reply);
        }
        kw_session_close(session);
    }
}

typedef struct way {
    const char *name;
    void (*run)(kw_client *kw, size_t n);
    size_t n;
} way;

static const way ways[] = {
    {"get_argv", run_get_argv, 1000},       {"get_format", run_get_format, 1000},
    {"get_batch_10", run_batch_10, 1000},   {"get_batch_1000", run_batch_1000, 4000},
    {"mget_100_a_key", run_mget_100, 4000}, {"get_loop_1", run_loop_1, 1000},
    {"get_loop_50", run_loop_50, 3000},     {"get_tickets_50", run_tickets_50, 2000},
    {"session_of_3", run_session, 500},
};

/* Callgrind, which counts.sh starts, knows these by name: it writes what it has counted at the end
 * of each. They are called by their addresses, so that no compiler makes them a part of others. */
void warm_up_counts(const way *self, kw_client *client);
void measure_counts(const way *self, kw_client *client);

/* Something to do behind the call, so that it is no jump, and that differs, so that the two are not
 * folded. */
static volatile unsigned warm_n;
static volatile unsigned measured_n;

void warm_up_counts(const way *self, kw_client *client)
{
    self->run(client, self->n);
    warm_n++;
}

void measure_counts(const way *self, kw_client *client)
{
    self->run(client, self->n);
    measured_n++;
}

static void (*volatile warm)(const way *self, kw_client *client) = warm_up_counts;
static void (*volatile measure)(const way *self, kw_client *client) = measure_counts;

static void print(const way *self, const char *what, unsigned long count)
{
    printf("%s %s %.4f\n", self->name, what, (double)count / (double)self->n);
}

static void count(const way *self)
{
    kw_client *client = open_client();
    warm(self, client);
    allocations_n = 0;
    unsigned long clocks_before_n = clocks_n;
    counts_network_reset();
    measure(self, client);
    counts_calls calls = counts_network;
    printf("%s commands %zu\n", self->name, self->n);
    print(self, "sends", calls.sends);
    print(self, "receives", calls.receives);
    print(self, "polls", calls.polls);
    print(self, "other_system_calls", calls.others);
    print(self, "allocations", allocations_n);
    print(self, "clock_readings", clocks_n - clocks_before_n);
    kw_close(client);
}

static bool is_wanted(const way *self, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], self->name) == 0) {
            return true;
        }
    }
    return argc == 1;
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < KEYS_N; i++) {
        snprintf(keys[i], sizeof(keys[i]), "key:%012zu", i);
    }
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        if (is_wanted(&ways[i], argc, argv)) {
            count(&ways[i]);
        }
    }
    return EXIT_SUCCESS;
}

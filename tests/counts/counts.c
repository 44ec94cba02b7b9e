/* SPDX-License-Identifier: BSD-3-Clause */
/* What one command costs, in counts that are the same in each run: system calls, allocations and
 * readings of the clock are printed; counts.sh runs this under callgrind for the instructions.
 *
 * counts [NAME...]: the ways of those names, or all, as lines of "way what value". */
#include "counts/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_N  1000
#define KEY_LEN 16

static char keys[KEYS_N][KEY_LEN + 1];
static const char *get_argv[] = {"GET", NULL};
static const size_t get_lens[] = {3, KEY_LEN};

static void check_value(const kw_reply *reply)
{
    size_t len = 0;
    counts_die_if(kw_reply_type(reply) != KW_REPLY_STRING || kw_reply_str(reply, &len) == NULL ||
                      len != counts_network_servers.value_len,
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
            counts_die_if(kw_batch_add_argv(batch, NULL, 2, get_argv, get_lens) != KW_OK, "batch");
        }
        counts_die_if(kw_batch_run(batch, NULL, 0) != KW_OK, "batch");
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
        counts_die_if(kw_reply_count(reply) != 100, "MGET");
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
    counts_die_if(kw_call_async(self->client, NULL, (kw_callback){on_reply, self}, NULL,
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
        counts_die_if(kw_process(kw, NULL) != KW_OK, "kw_process");
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
            counts_die_if(reply == NULL || kw_reply_type(reply) == KW_REPLY_ERROR, commands[k]);
            kw_reply_free(reply);
        }
        kw_session_close(session);
    }
}

static const counts_way ways[] = {
    {"get_argv", run_get_argv, 1000},       {"get_format", run_get_format, 1000},
    {"get_batch_10", run_batch_10, 1000},   {"get_batch_1000", run_batch_1000, 4000},
    {"mget_100_a_key", run_mget_100, 4000}, {"get_loop_1", run_loop_1, 1000},
    {"get_loop_50", run_loop_50, 3000},     {"get_tickets_50", run_tickets_50, 2000},
    {"session_of_3", run_session, 500},
};

static bool is_wanted(const counts_way *self, int argc, char **argv)
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
            counts_measure(&ways[i], "redis-cluster://127.0.0.1:7001");
        }
    }
    return EXIT_SUCCESS;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What one command costs, in counts that are the same in each run: system calls, allocations and
 * readings of the clock are printed; counts.sh runs this under callgrind for the instructions.
 *
 * counts [NAME...]: the ways of those names, or all, as lines of "way what value". */
#include "counts/measure.h"
#include "counts/work.h"

#include <stdlib.h>
#include <string.h>

#define KEYS_N 1000

static void run_get_format(kw_client *kw, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        kw_reply *reply = kw_command(kw, NULL, "GET %s", counts_key(i));
        counts_check_value(reply);
        kw_reply_free(reply);
    }
}

static void run_batch_10(kw_client *kw, size_t n)
{
    counts_run_batches(kw, n, 10);
}

static void run_batch_1000(kw_client *kw, size_t n)
{
    counts_run_batches(kw, n, 1000);
}

static void run_mget_100(kw_client *kw, size_t n)
{
    const char *argv[101] = {"MGET"};
    size_t lens[101] = {4};
    for (size_t at = 0; at < n; at += 100) {
        for (size_t i = 0; i < 100; i++) {
            argv[i + 1] = counts_key(at + i);
            lens[i + 1] = COUNTS_KEY_LEN;
        }
        kw_reply *reply = kw_command_argv(kw, NULL, 101, argv, lens);
        counts_die_if(kw_reply_count(reply) != 100, "MGET");
        counts_check_value(kw_reply_at(reply, 99));
        kw_reply_free(reply);
    }
}

static void run_loop_1(kw_client *kw, size_t n)
{
    counts_run_loop(kw, n, 1, NULL);
}

static void run_loop_50(kw_client *kw, size_t n)
{
    counts_run_loop(kw, n, 50, NULL);
}

static void run_tickets_50(kw_client *kw, size_t n)
{
    kw_ticket *tickets[50];
    for (size_t at = 0; at < n; at += 50) {
        for (size_t i = 0; i < 50; i++) {
            tickets[i] = kw_submit_call(kw, NULL, NULL, counts_get(at + i));
        }
        for (size_t i = 0; i < 50; i++) {
            kw_reply *reply = kw_ticket_await(tickets[i], NULL);
            counts_check_value(reply);
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
        const char *key = counts_key(i);
        kw_session *session = kw_session_open(kw, NULL, key, COUNTS_KEY_LEN);
        for (size_t k = 0; k < 3; k++) {
            kw_reply *reply = kw_session_command(session, NULL, commands[k], key);
            counts_die_if(reply == NULL || kw_reply_type(reply) == KW_REPLY_ERROR, commands[k]);
            kw_reply_free(reply);
        }
        kw_session_close(session);
    }
}

/* Values on three copies, in batches, the last of which gives the quorum back. */
static void run_copies(kw_client *kw, size_t n, kw_quorum_act act, size_t batch_n)
{
    static const kw_quorum_request blank = KW_QUORUM_REQUEST_INIT;
    static kw_quorum *quorum; /* of this way, from its warming up on */
    kw_quorum_request requests[100];
    bool is_last = quorum != NULL;
    counts_network_servers.has_copies = true;
    quorum = is_last ? quorum : kw_quorum_new(kw, NULL);
    for (size_t at = 0; at < n; at += batch_n) {
        for (size_t i = 0; i < batch_n; i++) {
            requests[i] = blank;
            requests[i].act = act;
            requests[i].key = counts_key(at + i);
            requests[i].key_len = COUNTS_KEY_LEN;
            requests[i].value =
                act == KW_QUORUM_ACT_SET ? "01234567890123456789012345678901" : NULL;
            requests[i].value_len = act == KW_QUORUM_ACT_SET ? 32 : 0;
        }
        kw_error error = KW_ERROR_INIT;
        kw_quorum_results *results = kw_quorum_run(quorum, &error, requests, batch_n, 0);
        counts_die_if(results == NULL || error.code != KW_OK, error.text);
        kw_quorum_results_free(results);
    }
    counts_network_servers.has_copies = false;
    if (is_last) {
        kw_quorum_free(quorum);
        quorum = NULL;
    }
}

static void run_copies_get(kw_client *kw, size_t n)
{
    run_copies(kw, n, KW_QUORUM_ACT_GET, 1);
}

static void run_copies_set(kw_client *kw, size_t n)
{
    run_copies(kw, n, KW_QUORUM_ACT_SET, 1);
}

static void run_copies_get_100(kw_client *kw, size_t n)
{
    run_copies(kw, n, KW_QUORUM_ACT_GET, 100);
}

static void run_copies_set_100(kw_client *kw, size_t n)
{
    run_copies(kw, n, KW_QUORUM_ACT_SET, 100);
}

/* GETs that a server would have which is down: each ends at once, and nobody asks the system for
 * anything but the dial of each second. The first one of a handle waits that second. */

static void check_down(const kw_reply *reply, const kw_error *error)
{
    counts_die_if(reply != NULL || error->code != KW_ERR_CONNECT, "an answer of the dead");
    counts_die_if(error->effect != KW_EFFECT_NONE, error->text);
}

static kw_argv get_down(void)
{
    static const char *argv[] = {"GET", "{foo}"}; /* of the third server */
    counts_network_kill();
    return (kw_argv){2, argv, NULL};
}

static void run_down_calls(kw_client *kw, size_t n)
{
    kw_argv get = get_down();
    for (size_t i = 0; i < n; i++) {
        kw_error error = KW_ERROR_INIT;
        check_down(kw_command_argv(kw, &error, get.argc, get.argv, get.argvlen), &error);
    }
}

static void run_down_batches(kw_client *kw, size_t n)
{
    kw_argv get = get_down();
    kw_batch *batch = kw_batch_new(kw, NULL);
    for (size_t at = 0; at < n; at += 10) {
        for (size_t i = 0; i < 10; i++) {
            counts_die_if(kw_batch_add_argv(batch, NULL, get.argc, get.argv, NULL) != KW_OK, "add");
        }
        (void)kw_batch_run(batch, NULL, 0);
        for (size_t i = 0; i < 10; i++) {
            kw_error error = KW_ERROR_INIT;
            check_down(kw_batch_reply(batch, &error, i), &error);
        }
        kw_batch_clear(batch);
    }
    kw_batch_free(batch);
}

static void run_down_tickets(kw_client *kw, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        kw_error error = KW_ERROR_INIT;
        kw_ticket *ticket = kw_submit_call(kw, NULL, NULL, get_down());
        check_down(kw_ticket_await(ticket, &error), &error);
        kw_ticket_free(ticket);
    }
}

/* Callbacks each of which gives the next command. */
typedef struct down_loop {
    kw_client *client;
    size_t left_n;
} down_loop;

static void on_down(void *arg, kw_reply *reply, const kw_error *error)
{
    down_loop *self = arg;
    kw_callback callback = {on_down, self};
    check_down(reply, error);
    if (--self->left_n > 0) {
        counts_die_if(kw_call_async(self->client, NULL, callback, NULL, get_down()) != KW_OK, "in");
    }
}

static void run_down_loop(kw_client *kw, size_t n)
{
    down_loop self = {kw, n};
    kw_callback callback = {on_down, &self};
    counts_die_if(kw_call_async(kw, NULL, callback, NULL, get_down()) != KW_OK, "command");
    while (self.left_n > 0) {
        size_t before_n = self.left_n;
        counts_die_if(kw_process(kw, NULL) != KW_OK, "kw_process");
        int wait_ms = kw_timeout(kw);
        if (self.left_n == before_n && wait_ms > 0) {
            counts_network_slept_ns += (uint64_t)wait_ms * 1000000;
        }
    }
}

static void run_down_sessions(kw_client *kw, size_t n)
{
    kw_argv get = get_down();
    for (size_t i = 0; i < n; i++) {
        kw_error error = KW_ERROR_INIT;
        kw_session *session = kw_session_open(kw, &error, get.argv[1], strlen(get.argv[1]));
        if (session != NULL) {
            check_down(kw_session_command(session, &error, "GET {foo}"), &error);
            kw_session_close(session);
        } else {
            check_down(NULL, &error);
        }
    }
}

static const counts_way ways_of_down[] = {
    {"down_call", run_down_calls, 1000},       {"down_batch_10", run_down_batches, 1000},
    {"down_ticket", run_down_tickets, 1000},   {"down_loop", run_down_loop, 1000},
    {"down_session", run_down_sessions, 1000},
};

static const counts_way ways[] = {
    {"get_argv", counts_run_calls, 1000},   {"get_format", run_get_format, 1000},
    {"get_batch_10", run_batch_10, 1000},   {"get_batch_1000", run_batch_1000, 4000},
    {"mget_100_a_key", run_mget_100, 4000}, {"get_loop_1", run_loop_1, 1000},
    {"get_loop_50", run_loop_50, 3000},     {"get_tickets_50", run_tickets_50, 2000},
    {"session_of_3", run_session, 500},
};

static const counts_way ways_of_copies[] = {
    {"copies_get", run_copies_get, 1000},
    {"copies_set", run_copies_set, 1000},
    {"copies_get_100", run_copies_get_100, 4000},
    {"copies_set_100", run_copies_set_100, 4000},
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
    counts_work_init(KEYS_N);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        if (is_wanted(&ways[i], argc, argv)) {
            counts_measure(&ways[i], "redis-cluster://127.0.0.1:7001");
        }
    }
    for (size_t i = 0; i < sizeof(ways_of_down) / sizeof(ways_of_down[0]); i++) {
        if (is_wanted(&ways_of_down[i], argc, argv)) {
            counts_measure(&ways_of_down[i], "redis-cluster://127.0.0.1:7001");
            counts_network_revive();
        }
    }
    for (size_t i = 0; i < sizeof(ways_of_copies) / sizeof(ways_of_copies[0]); i++) {
        if (is_wanted(&ways_of_copies[i], argc, argv)) {
            counts_measure(&ways_of_copies[i],
                           "redis-ring://a=127.0.0.1:7001,b=127.0.0.1:7002,c=127.0.0.1:7003"
                           "?copies=3");
        }
    }
    return EXIT_SUCCESS;
}

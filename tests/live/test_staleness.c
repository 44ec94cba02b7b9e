/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads from replicas whose replication is cut, or stands still: with max-staleness none misses
 * what was written longer ago than that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/ask.h"
#include "support/calm.h"
#include "support/check.h"
#include "support/cluster.h"
#include "support/group.h"
#include "support/relay.h"
#include "support/keeper.h"

#define BOUND_MS   400
#define VALUES_MAX 20000
#define SLACK_MS   20000

/* Values are numbers that grow; when each was acknowledged. */
typedef struct ledger {
    uint64_t acked_ns[VALUES_MAX];
    size_t values_n;
} ledger;

/* What became of reads. */
typedef struct outcome {
    size_t reads_n;
    size_t late_n; /* missed a write that was acknowledged longer ago than the bound */
} outcome;

static void write_next(ledger *values, kw_client *client)
{
    assert_true(values->values_n < VALUES_MAX);
    kw_test_ask_ok(client, "SET when %zu", values->values_n);
    values->acked_ns[values->values_n++] = kw_test_now_ns();
}

static void read_one(const ledger *values, outcome *found, kw_client *client)
{
    uint64_t start_ns = kw_test_now_ns();
    long long value = -1;
    kw_reply *reply = kw_test_ask(client, "GET when");
    if (kw_reply_type(reply) == KW_REPLY_STRING) {
        value = atoll(kw_reply_str(reply, NULL));
    }
    kw_reply_free(reply);
    size_t next = (size_t)(value + 1);
    bool is_late =
        next < values->values_n && values->acked_ns[next] + BOUND_MS * UINT64_C(1000000) < start_ns;
    found->reads_n++;
    found->late_n += is_late ? 1 : 0;
}

/* Reads that the server has run, whoever sent them. */
static long long gets_of(kw_test_server *server)
{
    char *info = kw_test_server_text(server, "INFO commandstats");
    const char *at = strstr(info, "cmdstat_get:calls=");
    long long n = at != NULL ? strtoll(at + strlen("cmdstat_get:calls="), NULL, 10) : 0;
    free(info);
    return n;
}

/* Until replicas have served reads of the client. */
static void warm_up(ledger *values, kw_client *client, kw_test_server *const *replicas, size_t n)
{
    uint64_t until_ms = kw_test_now_ms() + SLACK_MS;
    for (size_t i = 0; i < n; i++) {
        long long before = gets_of(replicas[i]);
        outcome found = {0, 0};
        while (gets_of(replicas[i]) < before + 5) {
            write_next(values, client);
            read_one(values, &found, client);
            assert_int_equal(found.late_n, 0);
            assert_true(kw_test_now_ms() < until_ms);
            kw_test_sleep_ms(2);
        }
    }
}

/* Writes and reads by two handles for a while: one has the bound, the other has not. */
static void run(ledger *values, outcome found[2], kw_client *const clients[2], uint64_t ms)
{
    uint64_t until_ms = kw_test_now_ms() + ms;
    while (kw_test_now_ms() < until_ms) {
        write_next(values, clients[0]);
        read_one(values, &found[0], clients[0]);
        read_one(values, &found[1], clients[1]);
        kw_test_sleep_ms(2);
    }
}

static kw_node_stats figures_of(kw_client *client, const kw_test_server *server)
{
    kw_node_stats stats = {.size = sizeof(stats)};
    for (size_t i = 0; kw_client_node_stats(client, &stats, i) == KW_OK; i++) {
        if (strcmp(stats.node, kw_test_server_address(server)) == 0) {
            return stats;
        }
    }
    fail_msg("no figures of %s", kw_test_server_address(server));
    return stats;
}

static void test_sentinel_replicas_that_are_cut_off_are_not_read(void **state)
{
    (void)state;
    kw_test_group *group = kw_test_group_start(2, NULL, NULL);
    kw_test_server *replicas[2] = {kw_test_group_server(group, 1), kw_test_group_server(group, 2)};
    ledger *values = calloc(1, sizeof(*values));
    outcome found[2] = {{0, 0}, {0, 0}};
    const char *uri = kw_test_group_uri(group);
    kw_client *clients[2] = {
        kw_test_open("%s?timeout=5s&read-preference=prefer-replica&max-staleness=%dms", uri,
                     BOUND_MS),
        kw_test_open("%s?timeout=5s&read-preference=prefer-replica", uri)};
    kw_client *strict =
        kw_test_open("%s?timeout=1s&read-preference=replica&max-staleness=%dms", uri, BOUND_MS);
    warm_up(values, clients[0], replicas, 2);
    free(kw_test_ask_text(strict, "GET when")); /* waits for a measurement, not for the primary */
    kw_node_stats stats = figures_of(clients[0], replicas[0]);
    assert_true(stats.has_lag);
    assert_true(stats.lag_ms < 10 * BOUND_MS);
    assert_false(figures_of(clients[0], kw_test_group_server(group, 0)).has_lag);
    kw_test_server_ok(replicas[0], "REPLICAOF 127.0.0.1 1");
    run(values, found, clients, 2 * BOUND_MS);
    kw_test_server_ok(replicas[1], "REPLICAOF 127.0.0.1 1");
    run(values, found, clients, 4 * BOUND_MS);
    assert_int_equal(found[0].late_n, 0);
    assert_true(found[0].reads_n > 50);
    assert_true(kw_test_server_is_info(replicas[0], "master_link_status", "down"));
    assert_true(kw_test_server_is_info(replicas[1], "master_link_status", "down"));
    assert_false(figures_of(clients[0], replicas[0]).has_lag);
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(strict, &error, "GET when");
    assert_null(reply);
    assert_int_equal(error.code, KW_ERR_NOT_SERVED);
    assert_non_null(strstr(error.text, "max-staleness"));
    free(values);
    kw_close(strict);
    kw_close(clients[0]);
    kw_close(clients[1]);
    kw_test_group_free(group);
}

/* A relay to the server in a process of its own, which can be stopped; its port. */
static pid_t start_relay(unsigned *port, const kw_test_server *server)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        kw_test_relay *relay = kw_test_relay_start(kw_test_server_port(server));
        unsigned own = (unsigned)atoi(strrchr(kw_test_relay_address(relay), ':') + 1);
        if (write(ends[1], &own, sizeof(own)) != (ssize_t)sizeof(own)) {
            _exit(1);
        }
        close(ends[1]);
        for (;;) {
            pause();
        }
    }
    assert_true(pid > 0);
    kw_test_keeper_add(pid);
    close(ends[1]);
    assert_int_equal(read(ends[0], port, sizeof(*port)), sizeof(*port));
    close(ends[0]);
    return pid;
}

/* Writes value, and reads it back with the token. */
static void write_and_find(kw_client *client, int value)
{
    char text[16];
    kw_error error = KW_ERROR_INIT;
    kw_token token = KW_TOKEN_INIT;
    kw_call_options write = KW_CALL_OPTIONS_INIT;
    kw_call_options read = KW_CALL_OPTIONS_INIT;
    const char *set[] = {"SET", "mine", text};
    const char *get[] = {"GET", "mine"};
    snprintf(text, sizeof(text), "%d", value);
    write.token_out = &token;
    read.after = &token;
    kw_reply *reply = kw_call(client, &error, &write, (kw_argv){3, set, NULL});
    if (reply == NULL || kw_reply_is_error(reply) || token.stream == 0) {
        fail_msg("SET: %s", error.text);
    }
    kw_reply_free(reply);
    reply = kw_call(client, &error, &read, (kw_argv){2, get, NULL});
    assert_string_equal(kw_reply_str(reply, NULL), text);
    kw_reply_free(reply);
}

static void check_refusals(kw_client *client)
{
    kw_error error = KW_ERROR_INIT;
    kw_token token = KW_TOKEN_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    const char *set[] = {"SET", "mine", "refused"};
    const char *get[] = {"GET", "mine"};
    token.stream = 7;
    options.token_out = &token;
    kw_reply_free(kw_call(client, &error, &options, (kw_argv){2, get, NULL}));
    assert_int_equal(token.stream, 7); /* it was no write */
    options.acks = 1;
    assert_null(kw_call(client, &error, &options, (kw_argv){3, set, NULL}));
    assert_int_equal(error.code, KW_ERR_UNSUPPORTED);
    assert_int_equal(token.stream, 0);
    options.acks = 0;
    token.size = 1;
    assert_null(kw_call(client, &error, &options, (kw_argv){3, set, NULL}));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    options.token_out = NULL;
    options.after = &token;
    assert_null(kw_call(client, &error, &options, (kw_argv){2, get, NULL}));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
}

static void test_sentinel_reads_find_what_their_token_is_of(void **state)
{
    (void)state;
    kw_test_group *group = kw_test_group_start(2, NULL, NULL);
    kw_test_server *replicas[2] = {kw_test_group_server(group, 1), kw_test_group_server(group, 2)};
    kw_client *client =
        kw_test_open("%s?timeout=5s&read-preference=prefer-replica", kw_test_group_uri(group));
    kw_token token = KW_TOKEN_INIT;
    kw_call_options write = KW_CALL_OPTIONS_INIT;
    kw_call_options read = KW_CALL_OPTIONS_INIT;
    const char *set[] = {"SET", "mine", "first"};
    const char *get[] = {"GET", "mine"};
    write.token_out = &token;
    read.after = &token;
    kw_reply_free(kw_call(client, NULL, &write, (kw_argv){3, set, NULL}));
    uint64_t until_ms = kw_test_now_ms() + SLACK_MS;
    while (gets_of(replicas[0]) == 0 || gets_of(replicas[1]) == 0) { /* once they are measured */
        kw_reply *reply = kw_call(client, NULL, &read, (kw_argv){2, get, NULL});
        assert_string_equal(kw_reply_str(reply, NULL), "first");
        kw_reply_free(reply);
        assert_true(kw_test_now_ms() < until_ms);
        kw_test_sleep_ms(1);
    }
    for (int i = 0; i < 300; i++) {
        write_and_find(client, i);
    }
    check_refusals(client);
    kw_test_server_ok(replicas[0], "REPLICAOF 127.0.0.1 1");
    kw_test_server_ok(replicas[1], "REPLICAOF 127.0.0.1 1");
    size_t missed_n = 0;
    for (int i = 1000; i < 1200; i++) {
        write_and_find(client, i);
        char *plain = kw_test_ask_text(client, "GET mine");
        missed_n += atoi(plain) != i ? 1 : 0;
        free(plain);
    }
    assert_true(missed_n > 0); /* without a token: else nothing was cut off */
    kw_close(client);
    kw_test_group_free(group);
}

static void test_ring_replica_whose_stream_stands_still_is_not_read(void **state)
{
    (void)state;
    unsigned port = 0;
    kw_test_server *primary = kw_test_server_start(NULL);
    kw_test_server *replica = kw_test_server_start(NULL);
    pid_t relay = start_relay(&port, primary);
    ledger *values = calloc(1, sizeof(*values));
    outcome found[2] = {{0, 0}, {0, 0}};
    kw_test_server_ok(replica, "REPLICAOF 127.0.0.1 %u", port);
    uint64_t until_ms = kw_test_now_ms() + SLACK_MS;
    while (!kw_test_server_is_info(replica, "master_link_status", "up")) {
        assert_true(kw_test_now_ms() < until_ms);
        kw_test_sleep_ms(1);
    }
    const char *const format =
        "redis-ring://a=%s;replica=%s?timeout=5s&read-preference=prefer-replica%s";
    char bound[40];
    snprintf(bound, sizeof(bound), "&max-staleness=%dms", BOUND_MS);
    kw_client *clients[2];
    for (size_t i = 0; i < 2; i++) {
        clients[i] = kw_test_open(format, kw_test_server_address(primary),
                                  kw_test_server_address(replica), i == 0 ? bound : "");
    }
    warm_up(values, clients[0], &replica, 1);
    kill(relay, SIGSTOP);
    run(values, found, clients, 4 * BOUND_MS);
    assert_int_equal(found[0].late_n, 0);
    assert_true(found[1].late_n > 0);
    assert_true(kw_test_server_is_info(replica, "master_link_status", "up"));
    kw_node_stats stats = figures_of(clients[0], replica);
    assert_true(stats.has_lag);
    assert_true(stats.lag_bytes > 0);
    assert_true(stats.lag_ms > BOUND_MS);
    for (int i = 0; i < 50; i++) {
        write_and_find(clients[i % 2], i);
    }
    kill(relay, SIGCONT);
    warm_up(values, clients[0], &replica, 1); /* as before */
    free(values);
    kw_close(clients[0]);
    kw_close(clients[1]);
    kw_test_server_free(replica);
    kill(relay, SIGKILL);
    waitpid(relay, NULL, 0);
    kw_test_keeper_drop(relay);
    kw_test_server_free(primary);
}

/* Reads until the replica has served one, and the primary none, or the other way round. */
static void await_reads_at(kw_client *client, kw_test_server *server, kw_test_server *other)
{
    bool is_there = false;
    KW_TEST_UNTIL(is_there)
    {
        long long before = gets_of(server);
        long long before_other = gets_of(other);
        for (int i = 0; i < 5; i++) {
            kw_reply_free(kw_test_ask(client, "GET when"));
        }
        is_there = gets_of(server) == before + 5 && gets_of(other) == before_other;
    }
}

/* Without a bound: old values are read until the replica has said that it lost its primary, which
 * reads that go on ask it once a second; then none. */
static void test_cluster_replica_that_loses_its_primary_is_not_read_from(void **state)
{
    (void)state;
    kw_test_cluster *cluster = kw_test_cluster_start(1, 1, 15000, NULL);
    kw_test_server *primary = kw_test_cluster_node(cluster, 0);
    kw_test_server *replica = kw_test_cluster_node(cluster, 1);
    kw_client *client =
        kw_test_open("%s?timeout=5s&read-preference=prefer-replica", kw_test_cluster_uri(cluster));
    kw_test_ask_ok(client, "SET when 0");
    await_reads_at(client, replica, primary);
    kw_test_server_ok(replica, "CONFIG SET masteruser nobody");
    kw_test_server_ok(replica, "CONFIG SET masterauth wrong");
    (void)kw_test_server_integer(primary, "CLIENT KILL TYPE replica");
    KW_TEST_AWAIT(kw_test_server_is_info(replica, "master_link_status", "down"))
    await_reads_at(client, primary, replica);
    for (int i = 1; i <= 40; i++) {
        kw_test_ask_ok(client, "SET when %d", i);
        char *value = kw_test_ask_text(client, "GET when");
        assert_int_equal(atoi(value), i);
        free(value);
    }
    kw_test_server_ok(replica, "CONFIG SET masterauth %s", "");
    kw_test_server_ok(replica, "CONFIG SET masteruser %s", "");
    await_reads_at(client, replica, primary);
    kw_close(client);
    kw_test_cluster_free(cluster);
}

int main(void)
{
    /* Sentinels lead replicas back after eight seconds of the system's clock. */
    kw_test_calm_forbid();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cluster_replica_that_loses_its_primary_is_not_read_from),
        cmocka_unit_test(test_sentinel_replicas_that_are_cut_off_are_not_read),
        cmocka_unit_test(test_sentinel_reads_find_what_their_token_is_of),
        cmocka_unit_test(test_ring_replica_whose_stream_stands_still_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

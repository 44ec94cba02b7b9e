/* SPDX-License-Identifier: BSD-3-Clause */
/* Scripts on a real cluster: what is run, how often, and by what, while nodes lack, forget and lose
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "live/cluster_fixture.h"
#include "support/ask.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/server.h"

#define PUSH "return redis.call('RPUSH', KEYS[1], ARGV[1])"
#define INCR "return redis.call('INCR', KEYS[1])"

/* No node has a script, a key, or a count. */
static int clear(void **state)
{
    kw_test_cluster *cluster = cluster_of(state);
    kw_test_cluster_wait(cluster, 60000);
    for (size_t i = 0; i < kw_test_cluster_count(cluster); i++) {
        kw_test_server *node = kw_test_cluster_node(cluster, i);
        kw_test_server_ok(node, "SCRIPT FLUSH SYNC");
        if (kw_test_server_is_info(node, "role", "master")) {
            kw_test_server_ok(node, "FLUSHALL");
        }
        kw_test_server_ok(node, "CONFIG RESETSTAT");
    }
    return 0;
}

static kw_script *script_of(const char *text, kw_script_kind kind)
{
    kw_error error = KW_ERROR_INIT;
    kw_script *script = kw_script_new(NULL, &error, kind, text, strlen(text));
    assert_non_null(script);
    return script;
}

/* How often the servers have run a command: "calls=" of its line, without those that failed. */
static long long count_runs(kw_test_cluster *cluster, const char *command)
{
    char field[40];
    long long n = 0;
    snprintf(field, sizeof(field), "cmdstat_%s:calls=", command);
    for (size_t i = 0; i < kw_test_cluster_count(cluster); i++) {
        char *info = kw_test_server_text(kw_test_cluster_node(cluster, i), "INFO commandstats");
        const char *line = strstr(info, field);
        const char *failed = line != NULL ? strstr(line, "failed_calls=") : NULL;
        n += line != NULL ? atoll(line + strlen(field)) : 0;
        n -= failed != NULL ? atoll(failed + strlen("failed_calls=")) : 0;
        free(info);
    }
    return n;
}

static void flush_all(kw_test_cluster *cluster)
{
    for (size_t i = 0; i < kw_test_cluster_count(cluster); i++) {
        kw_test_server_ok(kw_test_cluster_node(cluster, i), "SCRIPT FLUSH SYNC");
    }
}

static void expect_list(kw_client *client, const char *key, int n)
{
    kw_reply *list = kw_test_ask(client, "LRANGE %s 0 -1", key);
    assert_int_equal(kw_reply_count(list), n);
    for (int i = 0; i < n; i++) {
        assert_int_equal(atoi(kw_reply_str(kw_reply_at(list, (size_t)i), NULL)), i);
    }
    kw_reply_free(list);
}

static kw_script_input push_of(const kw_script *script, const char **argv, const char *key,
                               char *number, int i)
{
    sprintf(number, "%d", i);
    argv[0] = key;
    argv[1] = number;
    return (kw_script_input){script, 1, {2, argv, NULL}};
}

static void run_batch(kw_client *client, const kw_script *script, const char *key, int from, int n)
{
    kw_error error = KW_ERROR_INIT;
    kw_batch *batch = kw_batch_new(client, &error);
    for (int i = from; i < from + n; i++) {
        const char *argv[2];
        char number[12];
        assert_int_equal(kw_script_add(batch, &error, push_of(script, argv, key, number, i)),
                         KW_OK);
    }
    if (kw_batch_run(batch, &error, 20000) != KW_OK) {
        fail_msg("%s", error.text);
    }
    for (int i = 0; i < n; i++) {
        assert_int_equal(kw_reply_int(kw_batch_reply(batch, &error, (size_t)i)), from + i + 1);
    }
    kw_batch_free(batch);
}

static void test_scripts_a_batch_brings_the_text_once(void **state)
{
    kw_test_cluster *cluster = cluster_of(state);
    kw_client *client = kw_test_open("%s", kw_test_cluster_uri(cluster));
    kw_script *script = script_of(PUSH, KW_SCRIPT_WRITES);
    run_batch(client, script, "list", 0, 1000);
    assert_int_equal(count_runs(cluster, "eval"), 1);
    assert_int_equal(count_runs(cluster, "evalsha"), 999);
    run_batch(client, script, "list", 1000, 100);
    assert_int_equal(count_runs(cluster, "eval"), 1);
    flush_all(cluster); /* the handle does not know */
    run_batch(client, script, "list", 1100, 1000);
    assert_int_equal(count_runs(cluster, "eval"), 2);
    assert_int_equal(count_runs(cluster, "evalsha"), 999 + 100 + 999);
    expect_list(client, "list", 2100);
    kw_script_free(script);
    kw_close(client);
}

static void test_scripts_a_call_brings_the_text_where_it_lacks(void **state)
{
    kw_test_cluster *cluster = cluster_of(state);
    kw_client *client = kw_test_open("%s", kw_test_cluster_uri(cluster));
    kw_script *script = script_of(INCR, KW_SCRIPT_WRITES);
    kw_error error = KW_ERROR_INIT;
    for (int i = 0; i < 60; i++) {
        kw_reply *reply = kw_script_run(client, &error, script, 1, "call:%d", i % 20);
        assert_int_equal(kw_reply_int(reply), i / 20 + 1);
        kw_reply_free(reply);
    }
    assert_int_equal(count_runs(cluster, "eval"), 3);
    assert_int_equal(count_runs(cluster, "evalsha"), 57);
    kw_script_free(script);
    kw_close(client);
}

/* Tickets and callbacks of one key, on a node that lacks the script: order is kept. */
static void test_scripts_tickets_keep_their_order(void **state)
{
    kw_test_cluster *cluster = cluster_of(state);
    kw_client *client = kw_test_open("%s", kw_test_cluster_uri(cluster));
    kw_script *script = script_of(PUSH, KW_SCRIPT_WRITES);
    kw_error error = KW_ERROR_INIT;
    kw_ticket *tickets[500];
    for (int i = 0; i < 500; i++) {
        const char *argv[2];
        char number[12];
        tickets[i] =
            kw_script_submit(client, &error, NULL, push_of(script, argv, "tickets", number, i));
        assert_non_null(tickets[i]);
    }
    kw_script_free(script); /* what runs it goes on */
    for (int i = 0; i < 500; i++) {
        kw_reply *reply = kw_ticket_await(tickets[i], &error);
        assert_int_equal(kw_reply_int(reply), i + 1);
        kw_reply_free(reply);
        kw_ticket_free(tickets[i]);
    }
    expect_list(client, "tickets", 500);
    assert_int_equal(count_runs(cluster, "eval") + count_runs(cluster, "evalsha"), 500);
    assert_true(count_runs(cluster, "eval") <= 3);
    kw_close(client);
}

/* What callbacks are told, in the order in which they are. */
typedef struct told {
    int n;
    int wrong_n;
} told;

static void take_number(void *arg, kw_reply *reply, const kw_error *error)
{
    told *self = arg;
    (void)error;
    self->wrong_n += kw_reply_int(reply) == ++self->n ? 0 : 1;
    kw_reply_free(reply);
}

/* Callbacks that are under way when scripts are flushed: each runs once, in order, and few bring
 * the text. */
static void test_scripts_callbacks_keep_their_order_through_flushes(void **state)
{
    kw_test_cluster *cluster = cluster_of(state);
    kw_client *client = kw_test_open("%s?timeout=20s", kw_test_cluster_uri(cluster));
    kw_script *script = script_of(PUSH, KW_SCRIPT_WRITES);
    kw_error error = KW_ERROR_INIT;
    told self = {.n = 0};
    kw_callback callback = {take_number, &self};
    for (int i = 0; i < 900; i++) {
        const char *argv[2];
        char number[12];
        kw_script_input input = push_of(script, argv, "callbacks", number, i);
        assert_int_equal(kw_script_async(client, &error, callback, NULL, input), KW_OK);
        if (i % 300 == 299) { /* some have left, most wait for their answers */
            assert_int_equal(kw_process(client, &error), KW_OK);
            flush_all(cluster);
        }
    }
    struct pollfd entry = {kw_fd(client, NULL), POLLIN, 0};
    KW_TEST_UNTIL(self.n == 900)
    {
        (void)poll(&entry, 1, kw_timeout(client));
        assert_int_equal(kw_process(client, &error), KW_OK);
    }
    assert_int_equal(self.wrong_n, 0);
    expect_list(client, "callbacks", 900);
    assert_int_equal(count_runs(cluster, "eval") + count_runs(cluster, "evalsha"), 900);
    assert_in_range(count_runs(cluster, "eval"), 1, 12); /* three flushes, and the beginning */
    kw_script_free(script);
    kw_close(client);
}

static void test_scripts_in_sessions_bring_the_text_in_time(void **state)
{
    kw_test_cluster *cluster = cluster_of(state);
    kw_client *client = kw_test_open("%s", kw_test_cluster_uri(cluster));
    kw_script *script = script_of(INCR, KW_SCRIPT_WRITES);
    kw_error error = KW_ERROR_INIT;
    const char *argv[] = {"session"};
    kw_script_input input = {script, 1, {1, argv, NULL}};
    kw_session *session = kw_session_open(client, &error, "session", 7);
    kw_reply *reply = kw_script_in_session(session, &error, input);
    assert_int_equal(kw_reply_int(reply), 1);
    kw_reply_free(reply);
    for (size_t i = 0; i < 3; i++) {
        kw_test_server_ok(kw_test_cluster_node(cluster, i), "SCRIPT FLUSH SYNC");
    }
    kw_reply_free(kw_session_command(session, &error, "WATCH session"));
    reply = kw_script_in_session(session, &error, input);
    assert_int_equal(kw_reply_int(reply), 2);
    kw_reply_free(reply);
    kw_reply_free(kw_session_command(session, &error, "UNWATCH"));
    for (size_t i = 0; i < 3; i++) {
        kw_test_server_ok(kw_test_cluster_node(cluster, i), "SCRIPT FLUSH SYNC");
    }
    kw_reply_free(kw_session_command(session, &error, "MULTI"));
    reply = kw_script_in_session(session, &error, input);
    assert_string_equal(kw_reply_str(reply, NULL), "QUEUED");
    kw_reply_free(reply);
    reply = kw_session_command(session, &error, "EXEC");
    assert_int_equal(kw_reply_int(kw_reply_at(reply, 0)), 3);
    kw_reply_free(reply);
    kw_session_close(session);
    kw_script_free(script);
    kw_close(client);
}

static void test_scripts_that_read_go_to_replicas(void **state)
{
    if (!kw_test_server_has_version(7, 0)) {
        skip(); /* of Redis 7 */
    }
    kw_test_cluster *cluster = cluster_of(state);
    kw_client *client = kw_test_open("%s?read-preference=replica", kw_test_cluster_uri(cluster));
    kw_script *script = script_of("return redis.call('GET', KEYS[1])", KW_SCRIPT_READ_ONLY);
    kw_script *writes = script_of("#!lua flags=no-writes\nreturn redis.call('SET', KEYS[1], 1)",
                                  KW_SCRIPT_READ_ONLY);
    kw_error error = KW_ERROR_INIT;
    kw_test_ask_ok(client, "SET read 7");
    unsigned slot = kw_test_cluster_slot(cluster, "read");
    kw_test_server *replica =
        kw_test_cluster_replica(cluster, kw_test_cluster_owner(cluster, slot));
    KW_TEST_UNTIL(kw_test_server_info(replica, "slave_repl_offset") ==
                  kw_test_server_info(kw_test_cluster_owner(cluster, slot), "master_repl_offset"))
    {
        kw_test_sleep_ms(5);
    }
    for (int i = 0; i < 10; i++) {
        kw_reply *reply = kw_script_run(client, &error, script, 1, "read");
        assert_string_equal(kw_reply_str(reply, NULL), "7");
        kw_reply_free(reply);
    }
    char *info = kw_test_server_text(replica, "INFO commandstats");
    assert_non_null(strstr(info, "cmdstat_eval_ro:calls=1,"));
    assert_non_null(strstr(info, "cmdstat_evalsha_ro:calls=10,"));
    free(info);
    kw_reply *refused = kw_script_run(client, &error, writes, 1, "read");
    assert_true(kw_reply_is_error(refused));
    kw_reply_free(refused);
    kw_script_free(script);
    kw_script_free(writes);
    kw_close(client);
}

static void test_scripts_of_every_size(void **state)
{
    kw_test_cluster *cluster = cluster_of(state);
    kw_client *client = kw_test_open("%s?timeout=10s", kw_test_cluster_uri(cluster));
    kw_error error = KW_ERROR_INIT;
    static const size_t sizes[] = {0, 55, 56, 63, 64, 65, 4096, 70000, 2000000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *text = malloc(sizes[i] + 100);
        size_t len = (size_t)sprintf(text, "return #KEYS + #ARGV --");
        memset(text + len, 'x', sizes[i]);
        len += sizes[i];
        kw_script *script = kw_script_new(NULL, &error, KW_SCRIPT_WRITES, text, len);
        char *loaded =
            kw_test_server_text(kw_test_cluster_node(cluster, 0), "SCRIPT LOAD %b", text, len);
        assert_string_equal(kw_script_sha1(script), loaded);
        free(loaded);
        for (int n = 0; n < 40; n += 13) {
            const char *argv[40];
            for (int k = 0; k < n; k++) {
                argv[k] = "{one}slot";
            }
            kw_script_input input = {script, (size_t)n, {n, argv, NULL}};
            kw_reply *reply = kw_script_call(client, &error, NULL, input);
            assert_int_equal(kw_reply_int(reply), n);
            kw_reply_free(reply);
        }
        kw_script_free(script);
        free(text);
    }
    kw_close(client);
}

/* A script whose own error looks like the server's word for a missing one runs once. */
static void test_scripts_own_errors_are_the_callers(void **state)
{
    kw_test_cluster *cluster = cluster_of(state);
    kw_client *client = kw_test_open("%s", kw_test_cluster_uri(cluster));
    kw_script *script =
        script_of("redis.call('INCR', KEYS[1]) return redis.error_reply('NOSCRIPT of mine')",
                  KW_SCRIPT_WRITES);
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_script_run(client, &error, script, 1, "own");
    assert_true(kw_reply_has_code(reply, "NOSCRIPT"));
    kw_reply_free(reply);
    reply = kw_test_ask(client, "GET own");
    assert_string_equal(kw_reply_str(reply, NULL), "1");
    kw_reply_free(reply);
    kw_script_free(script);
    kw_close(client);
}

/* What a crowd runs while scripts are flushed and primaries change. */
typedef struct load {
    kw_client *client;
    const kw_script *script;
    atomic_bool is_over;
    atomic_long ran_n;
    atomic_long failed_n; /* runs without a reply, or with an error */
    atomic_int next;
} load;

static void *work(void *arg)
{
    load *self = arg;
    int number = atomic_fetch_add(&self->next, 1);
    char key[24];
    snprintf(key, sizeof(key), "load:%d", number);
    const char *argv[] = {key};
    kw_script_input input = {self->script, 1, {1, argv, NULL}};
    long long expected = 0;
    while (!atomic_load(&self->is_over)) {
        kw_error error = KW_ERROR_INIT;
        if (number % 3 == 0) {
            kw_batch *batch = kw_batch_new(self->client, &error);
            for (int i = 0; i < 10; i++) {
                assert_int_equal(kw_script_add(batch, &error, input), KW_OK);
            }
            (void)kw_batch_run(batch, &error, 0);
            for (size_t i = 0; i < 10; i++) {
                bool is_right = kw_reply_int(kw_batch_reply(batch, &error, i)) == ++expected;
                atomic_fetch_add(is_right ? &self->ran_n : &self->failed_n, 1);
            }
            kw_batch_free(batch);
            continue;
        }
        kw_ticket *ticket =
            number % 3 == 1 ? kw_script_submit(self->client, &error, NULL, input) : NULL;
        kw_reply *reply = ticket != NULL ? kw_ticket_await(ticket, &error)
                                         : kw_script_call(self->client, &error, NULL, input);
        atomic_fetch_add(kw_reply_int(reply) == ++expected ? &self->ran_n : &self->failed_n, 1);
        kw_reply_free(reply);
        kw_ticket_free(ticket);
    }
    return NULL;
}

static void test_scripts_flushed_under_load_run_once_each(void **state)
{
    kw_test_cluster *cluster = cluster_of(state);
    kw_script *script = script_of(INCR, KW_SCRIPT_WRITES);
    load self = {.script = script};
    self.client = kw_test_open("%s?timeout=20s", kw_test_cluster_uri(cluster));
    pthread_t threads[9];
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work, &self), 0);
    }
    for (int i = 0; i < 120; i++) {
        long seen = atomic_load(&self.ran_n);
        kw_test_server_ok(kw_test_cluster_node(cluster, (size_t)i % 3), "SCRIPT FLUSH SYNC");
        KW_TEST_UNTIL(atomic_load(&self.ran_n) > seen + 40 || atomic_load(&self.failed_n) > 0)
        {
            kw_test_sleep_ms(1);
        }
        if (i == 60) { /* its replicas lack the script */
            kw_test_server *primary = kw_test_cluster_node(cluster, 0);
            kw_test_cluster_failover(cluster, kw_test_cluster_replica(cluster, primary));
        }
    }
    atomic_store(&self.is_over, true);
    for (size_t i = 0; i < 9; i++) {
        kw_test_join(threads[i]);
    }
    assert_int_equal(atomic_load(&self.failed_n), 0);
    assert_true(atomic_load(&self.ran_n) > 120 * 40);
    kw_close(self.client);
    kw_script_free(script);
}

static void test_scripts_wrong_numkeys_send_nothing(void **state)
{
    kw_test_cluster *cluster = cluster_of(state);
    kw_client *client = kw_test_open("%s", kw_test_cluster_uri(cluster));
    kw_script *script = script_of(INCR, KW_SCRIPT_WRITES);
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_script_run(client, &error, script, 2, "one"));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "keys_n is 2"));
    assert_null(kw_script_run(client, &error, script, 2, "one two"));
    assert_int_equal(error.code, KW_ERR_CROSSSLOT);
    assert_null(kw_command(client, &error, "EVALSHA %s 3 a", kw_script_sha1(script)));
    assert_int_equal(error.code, KW_ERR_KEYS);
    assert_int_equal(kw_test_stats(client).connects, 0);
    kw_script_free(script);
    kw_close(client);
}

/* A node that joins after the library was loaded gets it when it says that it lacks it. */
static void test_functions_reach_a_node_that_joined_later(void **state)
{
    if (!kw_test_server_has_version(7, 0)) {
        skip(); /* of Redis 7 */
    }
    kw_test_cluster *cluster = cluster_of(state);
    static const char text[] = "#!lua name=counter\n"
                               "redis.register_function('count', function(keys)"
                               " return redis.call('INCR', keys[1]) end)";
    kw_client *client = kw_test_open("%s?timeout=10s", kw_test_cluster_uri(cluster));
    kw_error error = KW_ERROR_INIT;
    kw_library *library = kw_library_new(NULL, &error, text, sizeof(text) - 1);
    assert_int_equal(kw_library_load(client, &error, library), KW_OK);
    assert_int_equal(kw_library_load(client, &error, library), KW_OK);
    kw_test_server *fresh = kw_test_cluster_add(cluster);
    unsigned slot = kw_test_cluster_slot(cluster, "counted");
    kw_test_cluster_move(cluster, slot, slot, fresh);
    const char *argv[] = {"counted"};
    kw_function_input input = {library, "count", false, 1, {1, argv, NULL}};
    for (int i = 1; i <= 3; i++) {
        kw_reply *reply = kw_library_call(client, &error, NULL, input);
        assert_int_equal(kw_reply_int(reply), i);
        kw_reply_free(reply);
    }
    assert_int_equal(kw_test_server_integer(fresh, "EXISTS counted"), 1);
    assert_int_equal(kw_test_ask_integer(client, "FCALL count 1 counted"), 4);
    kw_library_free(library);
    kw_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_scripts_a_batch_brings_the_text_once, clear),
        cmocka_unit_test_setup(test_scripts_a_call_brings_the_text_where_it_lacks, clear),
        cmocka_unit_test_setup(test_scripts_tickets_keep_their_order, clear),
        cmocka_unit_test_setup(test_scripts_callbacks_keep_their_order_through_flushes, clear),
        cmocka_unit_test_setup(test_scripts_in_sessions_bring_the_text_in_time, clear),
        cmocka_unit_test_setup(test_scripts_that_read_go_to_replicas, clear),
        cmocka_unit_test_setup(test_scripts_of_every_size, clear),
        cmocka_unit_test_setup(test_scripts_own_errors_are_the_callers, clear),
        cmocka_unit_test_setup(test_scripts_wrong_numkeys_send_nothing, clear),
        cmocka_unit_test_setup(test_scripts_flushed_under_load_run_once_each, clear),
        cmocka_unit_test_setup(test_functions_reach_a_node_that_joined_later, clear),
    };
    return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The blocking client on one real server. KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hiredis.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/link.h"
#include "support/server.h"

static kw_test_server *server_of(void **state)
{
    return *state;
}

/* How late the machine may be at most, in milliseconds; what is tested is seconds away. */
#define SLACK_MS 1000

static void assert_kind(kw_client *client, kw_reply_kind kind, const char *command)
{
    kw_reply *reply = kw_test_ask(client, command);
    assert_int_equal(kw_reply_type(reply), kind);
    kw_reply_free(reply);
}

static void assert_failure(kw_client *client, kw_err code, kw_effect effect, const char *command)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(client, &error, command);
    if (reply != NULL || error.code != code || error.effect != effect) {
        fprintf(stderr, "%s: %s, %s: %s\n", command, kw_err_name(error.code),
                kw_effect_name(error.effect), reply != NULL ? "a reply" : error.text);
    }
    assert_null(reply);
    assert_int_equal(error.code, code);
    assert_int_equal(error.effect, effect);
    assert_true(error.text[0] != '\0');
}

static void test_every_kind_of_reply_arrives(void **state)
{
    kw_client *client = kw_test_open("%s", kw_test_server_uri(server_of(state)));
    assert_kind(client, KW_REPLY_STATUS, "SET a 1");
    assert_kind(client, KW_REPLY_STRING, "GET a");
    assert_kind(client, KW_REPLY_NIL, "GET missing");
    assert_kind(client, KW_REPLY_INTEGER, "INCR a");
    assert_kind(client, KW_REPLY_ARRAY, "LRANGE missing 0 -1");
    char *text = kw_test_ask_error(client, "LPUSH a 1");
    assert_memory_equal(text, "WRONGTYPE ", 10);
    free(text);
    text = kw_test_ask_error(client, "NOSUCHCOMMAND a 1");
    assert_memory_equal(text, "ERR unknown command", 19);
    free(text);
    kw_reply *reply = kw_test_ask(client, "EVAL %s 0", "return {1,{2,{'x',false}},{}}");
    const kw_reply *inner = kw_reply_at(kw_reply_at(reply, 1), 1);
    assert_int_equal(kw_reply_count(reply), 3);
    assert_int_equal(kw_reply_int(kw_reply_at(reply, 0)), 1);
    assert_string_equal(kw_reply_str(kw_reply_at(inner, 0), NULL), "x");
    assert_true(kw_reply_is_nil(kw_reply_at(inner, 1)));
    assert_int_equal(kw_reply_count(kw_reply_at(reply, 2)), 0);
    kw_reply_free(reply);
    kw_close(client);
}

static void test_keys_and_values_hold_any_bytes(void **state)
{
    kw_client *client = kw_test_open("%s", kw_test_server_uri(server_of(state)));
    char bytes[256];
    size_t len;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (char)i;
    }
    kw_test_ask_ok(client, "SET %b %b", bytes, sizeof(bytes), bytes, sizeof(bytes));
    kw_test_ask_ok(client, "SET %b %b", "", (size_t)0, "\0", (size_t)1);
    kw_reply *reply = kw_test_ask(client, "GET %b", bytes, sizeof(bytes));
    assert_non_null(kw_reply_str(reply, &len));
    assert_int_equal(len, sizeof(bytes));
    assert_memory_equal(kw_reply_str(reply, NULL), bytes, sizeof(bytes));
    kw_reply_free(reply);
    reply = kw_test_ask(client, "GET %b", "", (size_t)0);
    assert_non_null(kw_reply_str(reply, &len));
    assert_int_equal(len, 1);
    kw_reply_free(reply);
    kw_close(client);
}

static void test_large_values_pass_and_those_over_the_limit_are_named(void **state)
{
    kw_test_server *server = server_of(state);
    kw_client *client = kw_test_open("%s?timeout=20s", kw_test_server_uri(server));
    size_t len = 1u << 20;
    char *value = malloc(len);
    assert_non_null(value);
    for (size_t i = 0; i < len; i++) {
        value[i] = (char)(i * 31 >> 3);
    }
    kw_test_ask_ok(client, "SET large %b", value, len);
    kw_reply *reply = kw_test_ask(client, "GET large");
    size_t got;
    assert_non_null(kw_reply_str(reply, &got));
    assert_int_equal(got, len);
    assert_memory_equal(kw_reply_str(reply, NULL), value, len);
    kw_reply_free(reply);
    free(value);
    assert_int_equal(kw_test_ask_integer(client, "SETRANGE huge 67108864 x"), 67108865);
    assert_failure(client, KW_ERR_LIMIT, KW_EFFECT_DONE, "GET huge");
    assert_int_equal(kw_test_ask_integer(client, "STRLEN huge"), 67108865);
    kw_close(client);
    client = kw_test_open("%s?reply-bytes-max=64kb", kw_test_server_uri(server));
    assert_failure(client, KW_ERR_LIMIT, KW_EFFECT_DONE, "GET large");
    assert_int_equal(kw_test_ask_integer(client, "DEL large huge"), 2);
    kw_close(client);
}

static void test_long_array_arrives_whole(void **state)
{
    kw_client *client = kw_test_open("%s?timeout=20s", kw_test_server_uri(server_of(state)));
    free(kw_test_ask_text(client, "EVAL %s 1 list",
                          "for i=1,50000 do redis.call('RPUSH',KEYS[1],i) end return 'x'"));
    for (unsigned round = 0; round < 2; round++) {
        kw_reply *reply = kw_test_ask(client, "LRANGE list 0 -1");
        assert_int_equal(kw_reply_count(reply), 50000);
        for (size_t i = 0; i < 50000; i++) {
            const char *text = kw_reply_str(kw_reply_at(reply, i), NULL);
            assert_int_equal(strtoul(text, NULL, 10), i + 1);
        }
        kw_reply_free(reply);
    }
    kw_close(client);
}

static void assert_writes(const char *uri)
{
    kw_client *client = kw_test_open("%s", uri);
    kw_test_ask_ok(client, "SET who %s", uri);
    kw_close(client);
}

static void test_login_by_password_and_by_user(void **state)
{
    char uri[200];
    (void)state;
    kw_test_server *server = kw_test_server_start("requirepass pw:@/\n"
                                                  "user alice on >secret ~* +@all\n"
                                                  "user bob on >b ~* +get\n");
    const char *address = kw_test_server_address(server);
    snprintf(uri, sizeof(uri), "redis://:pw%%3A%%40%%2F@%s", address);
    assert_writes(uri);
    snprintf(uri, sizeof(uri), "redis://alice:secret@%s", address);
    assert_writes(uri);
    kw_client *client = kw_test_open("redis://bob:b@%s", address);
    char *text = kw_test_ask_text(client, "GET who");
    assert_string_equal(text, uri);
    free(text);
    text = kw_test_ask_error(client, "SET who bob");
    assert_memory_equal(text, "NOPERM ", 7);
    free(text);
    kw_close(client);
    const char *wrong[] = {"redis://:wrong@%s?timeout=5s", "redis://alice:wrong@%s?timeout=5s",
                           "redis://nobody:x@%s?timeout=5s", "redis://%s?timeout=5s"};
    for (size_t i = 0; i < 4; i++) {
        snprintf(uri, sizeof(uri), wrong[i], address);
        client = kw_test_open("%s", uri);
        uint64_t start_ms = kw_test_now_ms();
        assert_failure(client, KW_ERR_AUTH, KW_EFFECT_NONE, "SET who nobody");
        assert_failure(client, KW_ERR_AUTH, KW_EFFECT_NONE, "GET who");
        assert_true(kw_test_now_ms() - start_ms < 2000);
        assert_true(kw_test_stats(client).connect_failures <= 2);
        kw_close(client);
    }
    kw_test_server_free(server);
}

static void test_database_of_the_uri_is_used(void **state)
{
    kw_test_server *server = server_of(state);
    kw_client *client = kw_test_open("%s/3", kw_test_server_uri(server));
    kw_test_ask_ok(client, "SET three 3");
    kw_close(client);
    kw_test_link *link = kw_test_server_link(server);
    freeReplyObject(kw_test_link_ask(link, "SELECT 3"));
    redisReply *reply = kw_test_link_ask(link, "EXISTS three");
    assert_int_equal(reply->integer, 1);
    freeReplyObject(reply);
    kw_test_link_close(link);
    client = kw_test_open("%s/99", kw_test_server_uri(server));
    assert_failure(client, KW_ERR_HANDSHAKE, KW_EFFECT_NONE, "SET three 3");
    kw_close(client);
}

static void test_unix_socket_serves_as_well(void **state)
{
    kw_client *client =
        kw_test_open("redis+unix://%s?db=2", kw_test_server_socket(server_of(state)));
    kw_test_ask_ok(client, "SET by unix");
    assert_int_equal(kw_test_ask_integer(client, "EXISTS by"), 1);
    kw_close(client);
}

static void test_client_list_shows_name_and_library(void **state)
{
    kw_test_server *server = server_of(state);
    kw_client *client = kw_test_open("%s?client-name=shown", kw_test_server_uri(server));
    assert_kind(client, KW_REPLY_STATUS, "PING");
    char *list = kw_test_server_text(server, "CLIENT LIST");
    assert_non_null(strstr(list, "name=shown "));
    if (kw_test_server_has_version(7, 2)) {
        assert_non_null(strstr(list, "lib-name=keyway "));
    }
    free(list);
    kw_close(client);
}

/* A thread that calls again and again, or once. */
typedef struct caller {
    kw_client *client;
    const char *command;
    unsigned times;
    unsigned failed_n;
    kw_error error;
    kw_reply *reply; /* the last */
    pthread_t thread;
} caller;

static void *call(void *arg)
{
    caller *self = arg;
    for (unsigned i = 0; i < self->times; i++) {
        kw_reply_free(self->reply);
        self->reply = kw_command(self->client, &self->error, self->command);
        self->failed_n += self->reply == NULL;
    }
    return NULL;
}

static void start(caller *self, kw_client *client, const char *command, unsigned times)
{
    static const kw_error none = KW_ERROR_INIT;
    memset(self, 0, sizeof(*self));
    self->error = none;
    self->client = client;
    self->command = command;
    self->times = times;
    assert_int_equal(pthread_create(&self->thread, NULL, call, self), 0);
}

static void join(caller *self)
{
    kw_test_join(self->thread);
}

static void test_many_threads_share_few_connections(void **state)
{
    enum { CALLERS = 16, TIMES = 100 };
    caller callers[CALLERS];
    kw_client *client =
        kw_test_open("%s?pool-max=3&timeout=20s", kw_test_server_uri(server_of(state)));
    kw_test_ask_ok(client, "SET shared 0");
    for (size_t i = 0; i < CALLERS; i++) {
        start(&callers[i], client, "INCR shared", TIMES);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        join(&callers[i]);
        assert_int_equal(callers[i].failed_n, 0);
        kw_reply_free(callers[i].reply);
    }
    kw_stats stats = kw_test_stats(client);
    assert_int_equal(kw_test_ask_integer(client, "INCR shared"), CALLERS * TIMES + 1);
    assert_true(stats.connects >= 1 && stats.connects <= 3 + 1);
    assert_int_equal(stats.connections, stats.connects);
    kw_close(client);
}

static void test_call_behind_a_busy_pool_fails_at_its_deadline(void **state)
{
    caller blocked;
    kw_client *client =
        kw_test_open("%s?pool-max=1&timeout=200ms", kw_test_server_uri(server_of(state)));
    assert_kind(client, KW_REPLY_STATUS, "PING");
    start(&blocked, client, "BLPOP nothing 600", 1); /* by the server's clock: it never ends */
    kw_test_sleep_ms(100);
    uint64_t start_ms = kw_test_now_ms();
    assert_failure(client, KW_ERR_POOL_FULL, KW_EFFECT_NONE, "BLPOP other 0.01");
    assert_true(kw_test_now_ms() - start_ms >= 195);
    assert_int_equal(kw_test_server_integer(server_of(state), "LPUSH nothing x"), 1);
    join(&blocked);
    assert_int_equal(kw_reply_count(blocked.reply), 2);
    kw_reply_free(blocked.reply);
    kw_test_ask_ok(client, "SET a 1");
    kw_close(client);
}

static void test_idle_connections_are_closed(void **state)
{
    caller blocked[3];
    kw_client *client = kw_test_open("%s?pool-idle=300ms", kw_test_server_uri(server_of(state)));
    for (size_t i = 0; i < 3; i++) {
        start(&blocked[i], client, "BLPOP nothing 0.1", 1);
    }
    for (size_t i = 0; i < 3; i++) {
        join(&blocked[i]);
        assert_int_equal(blocked[i].failed_n, 0);
        kw_reply_free(blocked[i].reply);
    }
    assert_int_equal(kw_test_stats(client).connects, 3);
    for (unsigned i = 0; i < 40 && kw_test_stats(client).connections > 1; i++) {
        assert_kind(client, KW_REPLY_STATUS, "PING");
        kw_test_sleep_ms(20);
    }
    assert_int_equal(kw_test_stats(client).connections, 1);
    kw_close(client);
}

static void test_blocking_command_may_outlast_the_handles_deadline(void **state)
{
    kw_client *client = kw_test_open("%s?timeout=200ms", kw_test_server_uri(server_of(state)));
    caller pusher;
    uint64_t start_ms = kw_test_real_ms();
    assert_kind(client, KW_REPLY_NIL, "BLPOP queue 0.6");
    assert_true(kw_test_real_ms() - start_ms >= 595);
    start(&pusher, client, "BLPOP queue 600", 1);
    kw_test_sleep_ms(500);
    assert_int_equal(kw_test_ask_integer(client, "LPUSH queue x"), 1);
    join(&pusher);
    assert_int_equal(kw_reply_count(pusher.reply), 2);
    assert_string_equal(kw_reply_str(kw_reply_at(pusher.reply, 1), NULL), "x");
    kw_reply_free(pusher.reply);
    kw_close(client);
}

static void test_closing_the_handle_ends_a_call_without_end(void **state)
{
    kw_client *client = kw_test_open("%s", kw_test_server_uri(server_of(state)));
    caller blocked;
    start(&blocked, client, "BLPOP nothing 0", 1);
    kw_test_await_calls(client, 1);
    kw_test_sleep_ms(200);
    uint64_t start_ms = kw_test_now_ms();
    kw_close(client);
    join(&blocked);
    assert_true(kw_test_now_ms() - start_ms < 100 + SLACK_MS);
    assert_null(blocked.reply);
    assert_int_equal(blocked.error.code, KW_ERR_CANCELLED);
    assert_int_equal(blocked.error.effect, KW_EFFECT_MAYBE);
}

static void test_connections_killed_while_idle_cost_no_call(void **state)
{
    kw_test_server *server = server_of(state);
    kw_client *client = kw_test_open("%s", kw_test_server_uri(server));
    caller blocked[2];
    for (size_t i = 0; i < 2; i++) {
        start(&blocked[i], client, "BLPOP nothing 0.1", 1);
    }
    for (size_t i = 0; i < 2; i++) {
        join(&blocked[i]);
        kw_reply_free(blocked[i].reply);
    }
    kw_test_ask_ok(client, "SET n 0");
    kw_test_sleep_ms(20);
    assert_true(kw_test_server_integer(server, "CLIENT KILL TYPE normal SKIPME yes") >= 2);
    kw_test_sleep_ms(20);
    assert_int_equal(kw_test_ask_integer(client, "INCR n"), 1);
    assert_int_equal(kw_test_stats(client).retries, 0);
    assert_int_equal(kw_test_stats(client).failures, 0);
    kw_close(client);
}

static void test_stopped_server_holds_a_call_no_longer_than_its_deadline(void **state)
{
    kw_test_server *server = server_of(state);
    kw_client *client = kw_test_open("%s?timeout=300ms", kw_test_server_uri(server));
    kw_test_ask_ok(client, "SET n 0");
    kw_test_server_pause(server);
    uint64_t start_ms = kw_test_now_ms();
    assert_failure(client, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE, "INCR n");
    uint64_t spent_ms = kw_test_now_ms() - start_ms;
    assert_true(spent_ms >= 295 && spent_ms < 300 + SLACK_MS);
    kw_test_server_resume(server);
    kw_test_ask_ok(client, "SET other 1"); /* and not the late answer to INCR */
    char *text = kw_test_ask_text(client, "GET n");
    assert_string_equal(text, "1");
    free(text);
    assert_int_equal(kw_test_stats(client).timeouts, 1);
    kw_close(client);
}

static void test_server_that_comes_back_serves_within_a_second(void **state)
{
    (void)state;
    kw_test_server *server = kw_test_server_start(NULL);
    kw_client *client = kw_test_open("%s?timeout=300ms", kw_test_server_uri(server));
    caller waiting;
    kw_client *patient = kw_test_open("%s?timeout=20s", kw_test_server_uri(server));
    kw_test_ask_ok(client, "SET a 1");
    kw_test_ask_ok(patient, "SET a 1");
    kw_test_server_kill(server);
    kw_test_sleep_ms(5); /* what was used just now is trusted without a look */
    for (unsigned i = 0; i < 3; i++) {
        assert_failure(client, KW_ERR_CONNECT, KW_EFFECT_NONE, "INCR a");
    }
    start(&waiting, patient, "INCR b", 1);
    kw_test_sleep_ms(300);
    kw_test_server_restart(server);
    uint64_t start_ms = kw_test_now_ms();
    kw_reply *reply = NULL;
    while (reply == NULL && kw_test_now_ms() - start_ms < 5000) {
        reply = kw_command(client, NULL, "INCR a");
    }
    assert_int_equal(kw_reply_int(reply), 1);
    kw_reply_free(reply);
    join(&waiting);
    assert_int_equal(kw_reply_int(waiting.reply), 1);
    kw_reply_free(waiting.reply);
    assert_true(kw_test_now_ms() - start_ms < 1000 + SLACK_MS);
    kw_close(client);
    kw_close(patient);
    kw_test_server_free(server);
}

static void test_statistics_add_up(void **state)
{
    kw_client *client = kw_test_open("%s", kw_test_server_uri(server_of(state)));
    kw_node_stats node = {.size = sizeof(node)};
    kw_stats stats = kw_test_stats(client);
    assert_int_equal(stats.connects, 0); /* nothing is dialled before the first command */
    for (unsigned i = 0; i < 10; i++) {
        kw_test_ask_ok(client, "SET a 1");
    }
    assert_failure(client, KW_ERR_REFUSED, KW_EFFECT_NONE, "MULTI");
    free(kw_test_ask_error(client, "LPUSH a 1"));
    stats = kw_test_stats(client);
    assert_int_equal(stats.commands, 12);
    assert_int_equal(stats.failures, 1);
    assert_int_equal(stats.connects, 1);
    assert_int_equal(stats.connections, 1);
    assert_int_equal(stats.nodes, 1);
    assert_int_equal(stats.moved + stats.ask + stats.waits + stats.retries + stats.timeouts, 0);
    assert_int_equal(kw_client_node_stats(client, &node, 0), KW_OK);
    assert_int_equal(node.sends, 11);
    assert_int_equal(node.connections, 1);
    assert_true(node.is_primary);
    assert_string_equal(node.node, kw_test_server_address(server_of(state)));
    assert_int_equal(kw_client_node_stats(client, &node, 1), KW_ERR_ARGUMENT);
    kw_close(client);
}

static int fds_at_start;

static void test_no_descriptor_is_left(void **state)
{
    (void)state;
    assert_int_equal(kw_test_fd_count(), fds_at_start);
}

static int start_server(void **state)
{
    kw_test_server_begin(state);
    fds_at_start = kw_test_fd_count();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_of_reply_arrives),
        cmocka_unit_test(test_keys_and_values_hold_any_bytes),
        cmocka_unit_test(test_large_values_pass_and_those_over_the_limit_are_named),
        cmocka_unit_test(test_long_array_arrives_whole),
        cmocka_unit_test(test_login_by_password_and_by_user),
        cmocka_unit_test(test_database_of_the_uri_is_used),
        cmocka_unit_test(test_unix_socket_serves_as_well),
        cmocka_unit_test(test_client_list_shows_name_and_library),
        cmocka_unit_test(test_many_threads_share_few_connections),
        cmocka_unit_test(test_call_behind_a_busy_pool_fails_at_its_deadline),
        cmocka_unit_test(test_idle_connections_are_closed),
        cmocka_unit_test(test_blocking_command_may_outlast_the_handles_deadline),
        cmocka_unit_test(test_closing_the_handle_ends_a_call_without_end),
        cmocka_unit_test(test_connections_killed_while_idle_cost_no_call),
        cmocka_unit_test(test_stopped_server_holds_a_call_no_longer_than_its_deadline),
        cmocka_unit_test(test_server_that_comes_back_serves_within_a_second),
        cmocka_unit_test(test_statistics_add_up),
        cmocka_unit_test(test_no_descriptor_is_left),
    };
    return cmocka_run_group_tests(tests, start_server, kw_test_server_end);
}

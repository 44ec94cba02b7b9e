/* SPDX-License-Identifier: BSD-3-Clause */
/* A primary that only its sentinels cannot reach: the client and the replicas still do, and
 * the old primary goes on answering as one. The sentinels know it at a door, the client dials
 * the server behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hiredis.h>
#include <keyway/stats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/door.h"
#include "support/server.h"

enum { SERVERS = 3, SENTINELS = 3, CALLS_MAX = 200000, END_MS = 120000, FIRST_CALLS = 50 };

typedef enum outcome { CALL_NOT_RUN, CALL_MAYBE, CALL_ANSWERED } outcome;

typedef struct stage {
    kw_test_server *servers[SERVERS]; /* first the primary */
    kw_test_server *sentinels[SENTINELS];
    kw_test_door *door;
    kw_client *client;
    size_t calls_n;
    outcome outcomes[CALLS_MAX];
} stage;

/* The numbers of the calls that ran at a server, in their order. */
typedef struct run_list {
    size_t n;
    size_t calls[CALLS_MAX];
    bool has[CALLS_MAX];
} run_list;

static void pause_until(uint64_t end_ms, const char *what)
{
    if (kw_test_now_ms() > end_ms) {
        fail_msg("not in time: %s", what);
    }
    kw_test_sleep_ms(2);
}

/* A write that adds its number and has it as its reply. */
static outcome step(stage *it)
{
    assert_true(it->calls_n < CALLS_MAX);
    size_t call = it->calls_n++;
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply =
        kw_command(it->client, &error, "EVAL %s 1 calls %d",
                   "redis.call('rpush', KEYS[1], ARGV[1]) return tonumber(ARGV[1])", (int)call);
    if (reply != NULL) {
        if (kw_reply_type(reply) != KW_REPLY_INTEGER || kw_reply_int(reply) != (int64_t)call) {
            fail_msg("call %d has a wrong reply: %s", (int)call, kw_reply_str(reply, NULL));
        }
        it->outcomes[call] = CALL_ANSWERED;
    } else {
        assert_true(error.effect == KW_EFFECT_NONE || error.effect == KW_EFFECT_MAYBE);
        it->outcomes[call] = error.effect == KW_EFFECT_NONE ? CALL_NOT_RUN : CALL_MAYBE;
        print_message("call %d: %s\n", (int)call, error.text);
    }
    kw_reply_free(reply);
    return it->outcomes[call];
}

/* What ran at the server; nothing ran there twice. */
static run_list *read_runs(kw_test_server *server)
{
    run_list *runs = calloc(1, sizeof(*runs));
    assert_non_null(runs);
    redisReply *reply = kw_test_server_command(server, "LRANGE calls 0 -1");
    assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
    for (size_t i = 0; i < reply->elements; i++) {
        size_t call = (size_t)strtoul(reply->element[i]->str, NULL, 10);
        assert_true(call < CALLS_MAX);
        if (runs->has[call]) {
            fail_msg("call %d ran twice at one server", (int)call);
        }
        runs->has[call] = true;
        runs->calls[runs->n++] = call;
    }
    freeReplyObject(reply);
    return runs;
}

/* What ran at both is what was copied: the same from the first on. What is answered ran, and
 * what is told not to have run did not. */
static void check_runs(const stage *it, const run_list *old, const run_list *heir)
{
    size_t common_n = 0;
    while (common_n < old->n && common_n < heir->n &&
           old->calls[common_n] == heir->calls[common_n]) {
        common_n++;
    }
    assert_true(common_n > FIRST_CALLS); /* with the sentinels away, too, replicas had their copy */
    for (size_t i = common_n; i < old->n; i++) {
        if (heir->has[old->calls[i]]) {
            fail_msg("call %d ran at both primaries", (int)old->calls[i]);
        }
    }
    for (size_t call = 0; call < it->calls_n; call++) {
        bool has_run = old->has[call] || heir->has[call];
        if ((it->outcomes[call] == CALL_ANSWERED && !has_run) ||
            (it->outcomes[call] == CALL_NOT_RUN && has_run)) {
            fail_msg("call %d: %s", (int)call, has_run ? "ran, they say no" : "never ran");
        }
    }
    print_message("%d calls, %d of them at the old primary alone\n", (int)it->calls_n,
                  (int)(old->n - common_n));
}

/* The server that the client takes for the primary; the first one has the door's address. */
static kw_test_server *followed(const stage *it)
{
    char name[64];
    assert_int_equal(kw_client_slot_node(it->client, NULL, name, sizeof(name), 0), KW_OK);
    for (size_t i = 1; i < SERVERS; i++) {
        if (strcmp(name, kw_test_server_address(it->servers[i])) == 0) {
            return it->servers[i];
        }
    }
    assert_string_equal(name, kw_test_door_address(it->door));
    return it->servers[0];
}

/* The sentinels point replicas to the door after a while: back to the server behind it. */
static void follow_behind_the_door(stage *it)
{
    uint64_t end_ms = kw_test_now_ms() + END_MS;
    for (size_t i = 1; i < SERVERS; i++) {
        redisReply *reply = kw_test_server_command(it->servers[i], "REPLICAOF 127.0.0.1 %u",
                                                   (unsigned)kw_test_server_port(it->servers[0]));
        assert_int_equal(reply->type, REDIS_REPLY_STATUS);
        freeReplyObject(reply);
    }
    for (size_t i = 1; i < SERVERS; i++) {
        while (!kw_test_server_is_info(it->servers[i], "master_link_status", "up") ||
               kw_test_server_integer(it->servers[i], "LLEN calls") < (int)it->calls_n) {
            pause_until(end_ms, "the replicas have what was written");
        }
    }
}

/* Calls go on until the client has another primary. */
static kw_test_server *wait_heir(stage *it)
{
    uint64_t end_ms = kw_test_now_ms() + END_MS;
    while (followed(it) == it->servers[0]) {
        step(it);
        pause_until(end_ms, "the client has another primary");
    }
    return followed(it);
}

static void wait_old_is_replica(stage *it, kw_test_server *heir)
{
    uint64_t end_ms = kw_test_now_ms() + END_MS;
    kw_test_server *old = it->servers[0];
    while (!kw_test_server_is_info(old, "role", "slave") ||
           !kw_test_server_is_info(old, "master_link_status", "up") ||
           kw_test_server_info(old, "master_port") != kw_test_server_port(heir) ||
           kw_test_server_integer(old, "LLEN calls") < kw_test_server_integer(heir, "LLEN calls")) {
        for (int i = 0; i < 10; i++) {
            assert_int_equal(step(it), CALL_ANSWERED);
        }
        assert_ptr_equal(followed(it), heir);
        pause_until(end_ms, "the old primary is a replica");
        kw_test_sleep_ms(50);
    }
}

static void test_primary_that_only_sentinels_lose_is_left(void **state)
{
    stage *it = *state;
    kw_test_server *old = it->servers[0];
    while (it->calls_n < FIRST_CALLS) { /* all of them before the cut */
        assert_int_equal(step(it), CALL_ANSWERED);
    }
    assert_ptr_equal(followed(it), old);
    follow_behind_the_door(it);
    kw_test_door_set(it->door, KW_TEST_DOOR_SHUT);
    kw_test_server *heir = wait_heir(it);
    assert_true(kw_test_server_is_info(old, "role", "master"));
    assert_true(kw_test_server_is_info(heir, "role", "master"));
    run_list *at_old = read_runs(old);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(step(it), CALL_ANSWERED);
    }
    assert_int_equal(kw_test_server_integer(old, "LLEN calls"), at_old->n);
    kw_test_door_set(it->door, KW_TEST_DOOR_OPEN);
    wait_old_is_replica(it, heir);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(step(it), CALL_ANSWERED);
    }
    assert_ptr_equal(followed(it), heir);
    run_list *at_heir = read_runs(heir);
    check_runs(it, at_old, at_heir);
    free(at_old);
    free(at_heir);
}

/* A number of the sentinel's view of the group. */
static int sentinel_number(kw_test_server *sentinel, const char *name)
{
    redisReply *reply = kw_test_server_command(sentinel, "SENTINEL MASTER mymaster");
    int number = -1;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        if (strcmp(reply->element[i]->str, name) == 0) {
            number = atoi(reply->element[i + 1]->str);
        }
    }
    freeReplyObject(reply);
    return number;
}

static void start_servers(stage *it)
{
    for (size_t i = 0; i < SERVERS; i++) {
        it->servers[i] = kw_test_server_start("repl-ping-replica-period 1\n");
        if (i > 0) {
            kw_test_server_ok(it->servers[i], "REPLICAOF 127.0.0.1 %u",
                              (unsigned)kw_test_server_port(it->servers[0]));
        }
    }
    it->door = kw_test_door_new(kw_test_server_port(it->servers[0]));
    kw_test_door_run(it->door);
    /* As a replica, later, it is still the one at the door. */
    kw_test_server_ok(it->servers[0], "CONFIG SET replica-announce-port %s",
                      strchr(kw_test_door_address(it->door), ':') + 1);
}

static void start_sentinels(stage *it)
{
    char config[400];
    snprintf(config, sizeof(config),
             "sentinel monitor mymaster 127.0.0.1 %s 2\n"
             "sentinel down-after-milliseconds mymaster 2000\n"
             "sentinel failover-timeout mymaster 10000\n"
             "sentinel parallel-syncs mymaster 2\n",
             strchr(kw_test_door_address(it->door), ':') + 1);
    for (size_t i = 0; i < SENTINELS; i++) {
        it->sentinels[i] = kw_test_server_start_sentinel(config);
    }
    uint64_t end_ms = kw_test_now_ms() + END_MS;
    for (size_t i = 0; i < SENTINELS; i++) {
        while (sentinel_number(it->sentinels[i], "num-slaves") < SERVERS - 1 ||
               sentinel_number(it->sentinels[i], "num-other-sentinels") < SENTINELS - 1) {
            pause_until(end_ms, "the sentinels know each other and the replicas");
        }
    }
}

static int start_stage(void **state)
{
    static stage it; /* the program's only one */
    start_servers(&it);
    start_sentinels(&it);
    it.client = kw_test_open("redis-sentinel://%s,%s,%s/mymaster?timeout=30s&address-map=%s>%s",
                             kw_test_server_address(it.sentinels[0]),
                             kw_test_server_address(it.sentinels[1]),
                             kw_test_server_address(it.sentinels[2]), kw_test_door_address(it.door),
                             kw_test_server_address(it.servers[0]));
    *state = &it;
    return 0;
}

static int end_stage(void **state)
{
    stage *it = *state;
    kw_close(it->client);
    for (size_t i = 0; i < SENTINELS; i++) {
        kw_test_server_free(it->sentinels[i]);
    }
    for (size_t i = 0; i < SERVERS; i++) {
        kw_test_server_free(it->servers[i]);
    }
    kw_test_door_free(it->door);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_primary_that_only_sentinels_lose_is_left),
    };
    return cmocka_run_group_tests(tests, start_stage, end_stage);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Passwords of a real cluster change, again and again and at one node after the other, while
 * threads use it in every way: no call fails. KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hiredis.h>
#include <keyway.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/cluster.h"
#include "support/crew.h"
#include "support/ways.h"

#define THREADS_N 8
#define CHANGES_N 12
#define PRIMARIES 2

/* Each change is given time for so many commands, and so many connections. */
#define COMMANDS_N 400u
#define GREETED_N  2u

typedef struct load {
    kw_client *client;
    atomic_bool is_over;
    atomic_uint commands_n;
    atomic_uint failures_n;
} load;

static void note(load *self, bool is_good, const char *how, const char *text)
{
    atomic_fetch_add(&self->commands_n, 1);
    if (!is_good && atomic_fetch_add(&self->failures_n, 1) < 5) {
        fprintf(stderr, "%s: %s\n", how, text);
    }
}

/* MULTI and EXEC on a session, which is open for a while. */
static void transact(load *self, const char *key)
{
    static const char *const commands[] = {"MULTI", "INCR %s", "INCR %s", "EXEC"};
    kw_error error = KW_ERROR_INIT;
    kw_session *session = kw_session_open(self->client, &error, key, strlen(key));
    note(self, session != NULL, "session", error.text);
    for (size_t i = 0; session != NULL && i < sizeof(commands) / sizeof(commands[0]); i++) {
        kw_reply *reply = kw_session_command(session, &error, commands[i], key);
        bool is_good = reply != NULL && !kw_reply_is_error(reply);
        note(self, is_good, commands[i], reply != NULL ? kw_reply_str(reply, NULL) : error.text);
        kw_reply_free(reply);
    }
    kw_session_close(session);
}

static void work(void *arg, unsigned number)
{
    load *self = arg;
    static const kw_test_way ways[] = {KW_TEST_CALL, KW_TEST_BATCH, KW_TEST_TICKET,
                                       KW_TEST_SESSION};
    for (unsigned i = 0; !atomic_load(&self->is_over); i++) {
        char key[20];
        snprintf(key, sizeof(key), "k%u", (i * 7 + number) % 50);
        if (number == 0 && i % 2 == 0) {
            transact(self, key);
            continue;
        }
        kw_test_way way = number == 1 ? KW_TEST_CALLBACK : ways[(i + number) % 4];
        kw_test_end end = kw_test_send(self->client, way, i % 3 == 0 ? "GET" : "INCR", key);
        note(self, end.is_answered, kw_test_way_name(way), end.error.text);
    }
}

static void set_user(kw_test_cluster *cluster, size_t node, const char *password)
{
    kw_test_server_ok(kw_test_cluster_node(cluster, node), "ACL SETUSER app resetpass >%s",
                      password);
}

static void await_more(load *self)
{
    unsigned until = atomic_load(&self->commands_n) + COMMANDS_N;
    uint64_t connects = kw_test_stats(self->client).connects + GREETED_N;
    KW_TEST_AWAIT(atomic_load(&self->commands_n) >= until &&
                  kw_test_stats(self->client).connects >= connects);
}

static void test_login_changes_under_load_and_no_call_fails(void **state)
{
    (void)state;
    load self = {.client = NULL};
    char password[20] = "p0";
    kw_test_cluster *cluster = kw_test_cluster_start(PRIMARIES, 0, 0, "requirepass admin\n");
    for (size_t i = 0; i < PRIMARIES; i++) {
        kw_test_server_ok(kw_test_cluster_node(cluster, i), "ACL SETUSER app on >p0 ~* &* +@all");
    }
    self.client = kw_test_open("redis-cluster://app:p0@%s?timeout=10s&pool-idle=20ms",
                               kw_test_server_address(kw_test_cluster_node(cluster, 0)));
    kw_test_crew *crew = kw_test_crew_start(THREADS_N, work, &self);
    await_more(&self);
    for (unsigned i = 1; i <= CHANGES_N; i++) {
        snprintf(password, sizeof(password), "p%u", i);
        assert_int_equal(kw_client_set_login(self.client, NULL, "app", password), KW_OK);
        await_more(&self);
        for (size_t k = 0; k < PRIMARIES; k++) { /* in between, one knows only the old one */
            set_user(cluster, (i + k) % PRIMARIES, password);
            await_more(&self);
        }
    }
    atomic_store(&self.is_over, true);
    kw_test_crew_join(crew);
    assert_int_equal(atomic_load(&self.failures_n), 0);
    kw_close(self.client);
    kw_test_cluster_free(cluster);
}

/* Of keyway(7), "Rights": of all servers, a cluster, sessions, acks and subscribers. */
#define RIGHTS                                                                                     \
    "+ping +info +readonly +cluster|slots +cluster|info +cluster|myid +asking +multi +exec "       \
    "+discard +watch +unwatch +wait +subscribe +psubscribe +unsubscribe +punsubscribe"

static bool can_read_replica(load *self)
{
    static const char *get[] = {"GET", "k"};
    kw_error error = KW_ERROR_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.read = KW_READ_REPLICA;
    kw_reply *reply = kw_call(self->client, &error, &options, (kw_argv){2, get, NULL});
    bool is_good = kw_reply_outcome(reply, &error) == KW_OUTCOME_VALUE;
    kw_reply_free(reply);
    return is_good;
}

static void write_with_acks(load *self)
{
    static const char *set[] = {"SET", "k", "2"};
    kw_error error = KW_ERROR_INIT;
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.acks = 1;
    kw_reply *reply = kw_call(self->client, &error, &options, (kw_argv){3, set, NULL});
    note(self, reply != NULL && error.code == KW_OK, "acks", error.text);
    kw_reply_free(reply);
}

static void subscribe_all(load *self)
{
    kw_error error = KW_ERROR_INIT;
    kw_subscriber_options options = KW_SUBSCRIBER_OPTIONS_INIT;
    kw_subscriber *subscriber = kw_subscriber_open(self->client, &error, &options);
    assert_non_null(subscriber);
    kw_subscribe(subscriber, NULL, KW_TOPIC_CHANNEL, "c", 1);
    kw_subscribe(subscriber, NULL, KW_TOPIC_PATTERN, "p*", 2);
    kw_err code = kw_subscriber_wait(subscriber, &error, 10000);
    note(self, code == KW_OK, "subscriber", error.text);
    kw_subscriber_close(subscriber);
}

/* A user of no other rights does all of that, and no server has refused anything in silence. */
static void test_login_with_the_rights_of_the_manual_lacks_none(void **state)
{
    (void)state;
    load self = {.client = NULL};
    kw_test_cluster *cluster = kw_test_cluster_start(PRIMARIES, 1, 0, "");
    for (size_t i = 0; i < 2 * PRIMARIES; i++) {
        kw_test_server *node = kw_test_cluster_node(cluster, i);
        kw_test_server_ok(node, "ACL SETUSER app on >p0 ~* &* -@all +@read +@write " RIGHTS);
        /* Those that servers of today alone know. */
        freeReplyObject(kw_test_server_command(node, "ACL SETUSER app +client|setinfo"));
    }
    self.client = kw_test_open("redis-cluster://app:p0@%s?timeout=10s&max-staleness=9s",
                               kw_test_server_address(kw_test_cluster_node(cluster, 0)));
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        kw_test_end end = kw_test_send(self.client, (kw_test_way)way, "INCR", "k");
        note(&self, end.is_answered, kw_test_way_name((kw_test_way)way), end.error.text);
    }
    transact(&self, "k");
    write_with_acks(&self);
    KW_TEST_AWAIT(can_read_replica(&self)); /* once its lag is known */
    subscribe_all(&self);
    assert_int_equal(atomic_load(&self.failures_n), 0);
    kw_close(self.client);
    for (size_t i = 0; i < 2 * PRIMARIES; i++) {
        redisReply *log = kw_test_server_command(kw_test_cluster_node(cluster, i), "ACL LOG");
        assert_int_equal(log->type, REDIS_REPLY_ARRAY);
        if (log->elements > 0) {
            fail_msg("refused: %s", log->element[0]->element[7]->str);
        }
        freeReplyObject(log);
    }
    kw_test_cluster_free(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login_changes_under_load_and_no_call_fails),
        cmocka_unit_test(test_login_with_the_rights_of_the_manual_lacks_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

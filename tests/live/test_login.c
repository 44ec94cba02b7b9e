/* SPDX-License-Identifier: BSD-3-Clause */
/* Passwords of a real cluster change, again and again and at one node after the other, while
 * threads use it in every way: no call fails. KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login_changes_under_load_and_no_call_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

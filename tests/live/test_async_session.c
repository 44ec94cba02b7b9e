/* SPDX-License-Identifier: BSD-3-Clause */
/* Optimistic increments by WATCH, from several sessions of one event loop that compete for a key:
 * on one server whose connections are killed, on a cluster while the slot moves and primaries
 * change, under Sentinel through a failover. Each increment leaves its own mark in its transaction,
 * so that of each it is known how often it has run: once if it was acknowledged, never where it was
 * said to have had no effect, and no more than once in any case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/cluster.h"
#include "support/group.h"
#include "support/server.h"
#include "support/turn.h"

#define WORKERS_N    5u
#define ATTEMPTS_MAX 200000u

/* What is known of an attempt. */
typedef enum fate { F_UNTRIED, F_NONE, F_MAYBE, F_DONE } fate;

struct host;

/* One session, which begins anew in its own callbacks. */
typedef struct worker {
    struct host *host;
    kw_async_session *session;
    unsigned number;
    unsigned attempt;
    bool is_refused; /* something of this round was: it ends without an EXEC */
    bool is_lost;    /* the session is of no use any more */
    bool is_idle;    /* the round has ended, and no other begins */
    char *fates;     /* by attempt */
} worker;

/* The loop's thread. */
typedef struct host {
    kw_client *client;
    worker workers[WORKERS_N];
    atomic_bool is_over;
    atomic_uint done_n;
    atomic_uint maybe_n;
    atomic_uint lost_n; /* sessions that were opened again */
    pthread_t thread;
} host;

static void begin(worker *self);

static void tell(worker *self, kw_reply_fn fn, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_error error = KW_ERROR_INIT;
    kw_callback callback = {fn, self};
    if (kw_async_session_vcommand(self->session, &error, callback, format, values) != KW_OK) {
        kw_test_die("%s: %s", format, error.text);
    }
    va_end(values);
}

/* Takes the end of a command; true where it is a good reply. */
static bool is_good(worker *self, const kw_reply *reply, const kw_error *error)
{
    /* What is given behind a WATCH that was refused is but not sent. */
    self->is_lost = self->is_lost || (reply == NULL && error->code != KW_ERR_ORDER);
    bool is_fine = reply != NULL && !kw_reply_is_error(reply);
    self->is_refused = self->is_refused || !is_fine;
    return is_fine;
}

static void on_step(void *arg, kw_reply *reply, const kw_error *error)
{
    (void)is_good(arg, reply, error);
    kw_reply_free(reply);
}

static void on_executed(void *arg, kw_reply *reply, const kw_error *error)
{
    worker *self = arg;
    fate what = F_NONE;
    if (reply == NULL) {
        what = error->effect == KW_EFFECT_NONE ? F_NONE : F_MAYBE;
    } else if (kw_reply_count(reply) == 2) {
        what = F_DONE;
    }
    self->fates[self->attempt] = (char)what;
    atomic_fetch_add(&self->host->done_n, what == F_DONE ? 1 : 0);
    atomic_fetch_add(&self->host->maybe_n, what == F_MAYBE ? 1 : 0);
    (void)is_good(self, reply, error);
    kw_reply_free(reply);
    begin(self);
}

static void on_let_go(void *arg, kw_reply *reply, const kw_error *error)
{
    on_step(arg, reply, error);
    begin(arg);
}

static void on_value(void *arg, kw_reply *reply, const kw_error *error)
{
    worker *self = arg;
    bool is_fine = is_good(self, reply, error) && !self->is_refused;
    long n = is_fine ? strtol(kw_reply_text(reply, "0"), NULL, 10) : 0;
    kw_reply_free(reply);
    if (self->is_lost) {
        begin(self);
    } else if (!is_fine) { /* the slot is on its way */
        tell(self, on_let_go, "UNWATCH");
    } else {
        self->attempt++;
        if (self->attempt >= ATTEMPTS_MAX) {
            kw_test_die("more attempts than there is room for");
        }
        tell(self, on_step, "MULTI");
        tell(self, on_step, "SET {1}n %ld", n + 1);
        tell(self, on_step, "HINCRBY {1}marks %u.%u 1", self->number, self->attempt);
        tell(self, on_executed, "EXEC");
    }
}

static void open_session(worker *self)
{
    kw_error error = KW_ERROR_INIT;
    self->session = kw_async_session_open(self->host->client, &error, "{1}", 3);
    if (self->session == NULL) {
        kw_test_die("%s", error.text);
    }
    self->is_lost = false;
}

/* The next round. */
static void begin(worker *self)
{
    if (self->is_lost) {
        atomic_fetch_add(&self->host->lost_n, 1);
        kw_async_session_close(self->session);
        open_session(self);
    }
    self->is_refused = false;
    if (atomic_load(&self->host->is_over)) {
        self->is_idle = true;
        return;
    }
    tell(self, on_step, "WATCH {1}n");
    tell(self, on_value, "GET {1}n");
}

static bool are_idle(const host *self)
{
    size_t n = 0;
    for (size_t i = 0; i < WORKERS_N; i++) {
        n += self->workers[i].is_idle ? 1 : 0;
    }
    return n == WORKERS_N;
}

static void *run(void *arg)
{
    host *self = arg;
    for (unsigned i = 0; i < WORKERS_N; i++) {
        worker *one = &self->workers[i];
        one->host = self;
        one->number = i;
        one->fates = calloc(ATTEMPTS_MAX, 1);
        if (one->fates == NULL) {
            kw_test_die("memory");
        }
        open_session(one);
        begin(one);
    }
    KW_TEST_UNTIL(are_idle(self))
    {
        (void)kw_test_turn(self->client, 20);
    }
    for (unsigned i = 0; i < WORKERS_N; i++) {
        kw_async_session_close(self->workers[i].session);
    }
    return NULL;
}

static void start(host *self, const char *uri)
{
    self->client = kw_test_open("%s?timeout=20s&pool-max=16", uri);
    assert_int_equal(pthread_create(&self->thread, NULL, run, self), 0);
}

/* So many more have run: whatever happens now happens in the middle of them. */
static void await_more(host *self, unsigned n)
{
    unsigned goal = atomic_load(&self->done_n) + n;
    KW_TEST_AWAIT(atomic_load(&self->done_n) >= goal);
}

/* How often each attempt has run, by its mark. */
static void count_marks(host *self, const kw_reply *marks, bool loses)
{
    unsigned found_n = 0;
    for (size_t i = 0; i + 1 < kw_reply_count(marks); i += 2) {
        unsigned number = 0;
        unsigned attempt = 0;
        const char *mark = kw_reply_str(kw_reply_at(marks, i), NULL);
        assert_int_equal(sscanf(mark, "%u.%u", &number, &attempt), 2);
        assert_string_equal(kw_reply_text(kw_reply_at(marks, i + 1), ""), "1");
        char *what = &self->workers[number].fates[attempt];
        if (*what != F_DONE && *what != F_MAYBE) {
            fail_msg("%s has run, and was said to have had no effect", mark);
        }
        *what = F_UNTRIED;
        found_n++;
    }
    unsigned missing_n = 0;
    for (size_t i = 0; i < WORKERS_N; i++) {
        for (size_t k = 0; k < ATTEMPTS_MAX; k++) {
            missing_n += self->workers[i].fates[k] == F_DONE ? 1 : 0;
        }
    }
    print_message("%u have run, %u acknowledged, %u maybe, %u lost by the servers; %u sessions "
                  "opened again\n",
                  found_n, atomic_load(&self->done_n), atomic_load(&self->maybe_n), missing_n,
                  atomic_load(&self->lost_n));
    assert_true(loses || missing_n == 0);
}

/* The sum is that of the marks. loses: a failover may lose what was acknowledged. */
static void finish(host *self, bool loses)
{
    atomic_store(&self->is_over, true);
    kw_test_join(self->thread);
    kw_error error = KW_ERROR_INIT;
    if (kw_drain(self->client, &error, 10000) != KW_OK) {
        fail_msg("%s", error.text);
    }
    kw_client *client = kw_open_shared(self->client, NULL);
    kw_reply *marks = kw_test_ask(client, "HGETALL {1}marks");
    count_marks(self, marks, loses);
    char *sum = kw_test_ask_text(client, "GET {1}n");
    assert_int_equal((size_t)atoi(sum), kw_reply_count(marks) / 2);
    free(sum);
    kw_reply_free(marks);
    kw_close(client);
    kw_close(self->client);
    for (size_t i = 0; i < WORKERS_N; i++) {
        free(self->workers[i].fates);
    }
}

static void test_async_sessions_on_one_server_whose_connections_are_killed(void **state)
{
    (void)state;
    kw_test_server *server = kw_test_server_start("save \"\"\n");
    host self = {0};
    start(&self, kw_test_server_uri(server));
    kw_client *killer = kw_test_open("%s", kw_test_server_uri(server));
    for (int i = 0; i < 20; i++) {
        await_more(&self, 30);
        kw_reply_free(kw_test_ask(killer, "CLIENT KILL TYPE normal SKIPME yes"));
    }
    await_more(&self, 30);
    kw_close(killer);
    finish(&self, false);
    assert_true(atomic_load(&self.lost_n) > 0);
    kw_test_server_free(server);
}

/* A cluster of three, whose sessions are under way. */
static kw_test_cluster *start_on_cluster(host *self)
{
    kw_test_cluster *cluster = kw_test_cluster_start(3, 1, 1500, "save \"\"\n");
    start(self, kw_test_cluster_uri(cluster));
    await_more(self, 100);
    return cluster;
}

static void test_async_sessions_on_a_cluster_that_changes(void **state)
{
    (void)state;
    host self = {0};
    kw_test_cluster *cluster = start_on_cluster(&self);
    unsigned slot = kw_test_cluster_slot(cluster, "{1}n");
    kw_test_server *home = kw_test_cluster_owner(cluster, slot);
    kw_test_server *other = kw_test_cluster_owner(cluster, (slot + 6000) % 16384);
    assert_true(home != other);
    for (int i = 0; i < 4; i++) {
        kw_test_server *to = i % 2 == 0 ? other : home;
        kw_test_cluster_move_begin(cluster, slot, to);
        (void)kw_test_cluster_move_keys(cluster, slot, to, 1); /* one of the two is there */
        kw_test_sleep_ms(30);
        while (kw_test_cluster_move_keys(cluster, slot, to, 10) > 0) {
        }
        kw_test_cluster_move_end(cluster, slot, to);
        await_more(&self, 100);
    }
    kw_test_cluster_wait(cluster, 60000);
    kw_test_cluster_failover(cluster, kw_test_cluster_replica(cluster, home));
    await_more(&self, 200);
    finish(&self, false); /* a failover by hand loses nothing */
    kw_test_cluster_free(cluster);
}

static void test_async_sessions_on_a_cluster_whose_primary_is_killed(void **state)
{
    (void)state;
    host self = {0};
    kw_test_cluster *cluster = start_on_cluster(&self);
    unsigned slot = kw_test_cluster_slot(cluster, "{1}n");
    kw_test_server *home = kw_test_cluster_owner(cluster, slot);
    kw_test_server_kill(home);
    assert_non_null(kw_test_cluster_wait_owner(cluster, slot, home, 60000));
    await_more(&self, 100);
    finish(&self, true);
    kw_test_cluster_free(cluster);
}

static void test_async_sessions_under_sentinel_through_a_failover(void **state)
{
    (void)state;
    kw_test_group *group = kw_test_group_start(2, "save \"\"\n", NULL);
    host self = {0};
    start(&self, kw_test_group_uri(group));
    await_more(&self, 100);
    uint64_t promoted_ns;
    kw_test_server *old = kw_test_group_primary(group);
    kw_test_server_kill(old);
    (void)kw_test_group_wait_promotion(group, old, &promoted_ns);
    await_more(&self, 100);
    finish(&self, true);
    kw_test_group_free(group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_async_sessions_on_one_server_whose_connections_are_killed),
        cmocka_unit_test(test_async_sessions_on_a_cluster_that_changes),
        cmocka_unit_test(test_async_sessions_on_a_cluster_whose_primary_is_killed),
        cmocka_unit_test(test_async_sessions_under_sentinel_through_a_failover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

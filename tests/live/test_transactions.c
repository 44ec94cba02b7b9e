/* SPDX-License-Identifier: BSD-3-Clause */
/* Whole transactions on a real cluster, while a slot moves and primaries change: two counters that
 * are always equal, and every increment is accounted for. A handle that is drained in the middle
 * leaves nothing open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "live/cluster_fixture.h"
#include "support/ask.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/turn.h"

#define KEYS_N 4u /* pairs of counters, in slots of their own: {0}a and {0}b, .. */

/* Threads: a call, a batch, a ticket, and one with a loop of its own. */
#define THREADS_N 4u

#define WHILE_MS 30000u

typedef struct ledger {
    kw_client *client;
    atomic_bool is_over;
    atomic_uint done_n[KEYS_N];
    atomic_uint maybe_n[KEYS_N];
    atomic_uint none_n;
    atomic_uint torn_n; /* replies whose counters differ */
    atomic_uint drained_n;
} ledger;

static kw_transaction *both(ledger *self, unsigned key)
{
    kw_transaction *transaction = kw_transaction_new(self->client, NULL);
    if (transaction != NULL) {
        (void)kw_transaction_add(transaction, NULL, "INCR {%u}a", key);
        (void)kw_transaction_add(transaction, NULL, "INCR {%u}b", key);
    }
    return transaction;
}

static void note(ledger *self, unsigned key, const kw_reply *reply, const kw_error *error)
{
    if (reply != NULL && kw_reply_count(reply) == 2 && !kw_reply_is_error(reply)) {
        atomic_fetch_add(&self->done_n[key], 1);
        bool is_whole = kw_reply_int(kw_reply_at(reply, 0)) == kw_reply_int(kw_reply_at(reply, 1));
        atomic_fetch_add(&self->torn_n, is_whole ? 0 : 1);
    } else if (reply == NULL && error->effect == KW_EFFECT_MAYBE) {
        atomic_fetch_add(&self->maybe_n[key], 1);
    } else {
        atomic_fetch_add(&self->none_n, 1);
        atomic_fetch_add(&self->drained_n, reply == NULL && error->code == KW_ERR_DRAINING ? 1 : 0);
    }
}

static kw_reply *by_batch(ledger *self, kw_error *error, const kw_transaction *transaction)
{
    kw_reply *reply = NULL;
    kw_batch *batch = kw_batch_new(self->client, error);
    if (batch != NULL && kw_batch_add_transaction(batch, error, transaction) == KW_OK) {
        (void)kw_batch_run(batch, NULL, 0);
        reply = kw_batch_take(batch, error, 0);
    }
    kw_batch_free(batch);
    return reply;
}

static kw_reply *by_callback(ledger *self, kw_error *error, kw_transaction *transaction)
{
    kw_test_answer told = {0};
    if (kw_transaction_async(transaction, error, (kw_callback){kw_test_on_reply, &told}, NULL) ==
        KW_OK) {
        while (told.calls_n == 0) {
            (void)kw_test_turn(self->client, 10);
        }
        *error = told.error;
    }
    return told.reply;
}

static void increment(void *arg, unsigned number)
{
    ledger *self = arg;
    for (unsigned n = 0; !atomic_load(&self->is_over); n++) {
        kw_error error = KW_ERROR_INIT;
        unsigned key = (n + number) % KEYS_N;
        kw_transaction *transaction = both(self, key);
        kw_reply *reply = NULL;
        if (kw_transaction_count(transaction) < 2) {
            error.code = KW_ERR_DRAINING; /* nothing can be added any more */
            atomic_store(&self->is_over, true);
        } else if (number == 0) {
            reply = kw_transaction_run(transaction, &error, NULL);
        } else if (number == 1) {
            reply = by_batch(self, &error, transaction);
        } else if (number == 2) {
            kw_ticket *ticket = kw_transaction_submit(transaction, &error, NULL);
            reply = ticket != NULL ? kw_ticket_await(ticket, &error) : NULL;
            kw_ticket_free(ticket);
        } else {
            reply = by_callback(self, &error, transaction);
        }
        note(self, key, reply, &error);
        kw_reply_free(reply);
        kw_transaction_free(transaction);
    }
}

static unsigned done_of(ledger *self)
{
    unsigned n = 0;
    for (unsigned key = 0; key < KEYS_N; key++) {
        n += atomic_load(&self->done_n[key]);
    }
    return n;
}

/* So many more have run: whatever happens now happens in the middle of them. */
static void await_more(ledger *self, unsigned n)
{
    unsigned goal = done_of(self) + n;
    KW_TEST_AWAIT(done_of(self) >= goal);
}

static long long value_of(kw_client *client, unsigned key, const char *which)
{
    kw_reply *reply = kw_test_ask(client, "GET {%u}%s", key, which);
    long long value = 0;
    assert_int_equal(kw_reply_to_int(reply, NULL, &value), KW_OK);
    kw_reply_free(reply);
    return value;
}

/* Both counters of each pair are equal, none was counted twice, and what was acknowledged is there.
 */
static void expect_sums(ledger *self, kw_client *client)
{
    assert_int_equal(atomic_load(&self->torn_n), 0);
    for (unsigned key = 0; key < KEYS_N; key++) {
        long long a = value_of(client, key, "a");
        long long done = atomic_load(&self->done_n[key]);
        long long maybe = atomic_load(&self->maybe_n[key]);
        print_message("{%u}: %lld counted, %lld done, %lld maybe\n", key, a, done, maybe);
        assert_int_equal(a, value_of(client, key, "b"));
        assert_true(a >= done && a <= done + maybe);
    }
}

static void test_increments_are_whole_and_counted_once_while_slots_move(void **state)
{
    kw_test_cluster *cluster = cluster_of(state);
    ledger self = {
        .client = kw_test_open("%s?timeout=10s&redirects-max=30", kw_test_cluster_uri(cluster))};
    kw_client *client = kw_test_open("%s", kw_test_cluster_uri(cluster));
    kw_test_crew *crew = kw_test_crew_start(THREADS_N, increment, &self);
    await_more(&self, 100);
    unsigned slot = kw_test_cluster_slot(cluster, "{1}a");
    kw_test_server *home = kw_test_cluster_owner(cluster, slot);
    kw_test_server *other = kw_test_cluster_owner(cluster, (slot + 6000) % 16384);
    assert_true(home != other);
    for (int i = 0; i < 3; i++) {
        /* One of two keys is there for a while: TRYAGAIN, until the other has followed. */
        kw_test_server *to = i % 2 == 0 ? other : home;
        kw_test_cluster_move_begin(cluster, slot, to);
        (void)kw_test_cluster_move_keys(cluster, slot, to, 1);
        kw_test_sleep_ms(50);
        while (kw_test_cluster_move_keys(cluster, slot, to, 10) > 0) {
        }
        kw_test_cluster_move_end(cluster, slot, to);
        await_more(&self, 100);
    }
    kw_test_server *primary = kw_test_cluster_owner(cluster, kw_test_cluster_slot(cluster, "{2}a"));
    kw_test_cluster_failover(cluster, kw_test_cluster_replica(cluster, primary));
    await_more(&self, 200);
    atomic_store(&self.is_over, true);
    (void)kw_test_crew_join(crew);
    assert_int_equal(atomic_load(&self.none_n), 0);
    expect_sums(&self, client);
    kw_close(self.client);
    kw_close(client);
}

/* A primary that is killed takes what it has not told its replica, both counters of it; nothing is
 * counted twice. */
static void test_a_killed_primary_doubles_nothing(void **state)
{
    kw_test_cluster *cluster = cluster_of(state);
    kw_client *client = kw_test_open("%s?timeout=20s", kw_test_cluster_uri(cluster));
    for (unsigned key = 0; key < KEYS_N; key++) {
        kw_reply_free(kw_test_ask(client, "DEL {%u}a {%u}b", key, key));
    }
    ledger self = {.client = kw_test_open("%s?timeout=20s", kw_test_cluster_uri(cluster))};
    kw_test_crew *crew = kw_test_crew_start(THREADS_N, increment, &self);
    await_more(&self, 200);
    unsigned slot = kw_test_cluster_slot(cluster, "{3}a");
    kw_test_server *primary = kw_test_cluster_owner(cluster, slot);
    kw_test_server_kill(primary);
    (void)kw_test_cluster_wait_owner(cluster, slot, primary, WHILE_MS);
    await_more(&self, 200);
    atomic_store(&self.is_over, true);
    (void)kw_test_crew_join(crew);
    assert_int_equal(atomic_load(&self.none_n), 0);
    for (unsigned key = 0; key < KEYS_N; key++) {
        long long a = value_of(client, key, "a");
        print_message("{%u}: %lld counted, %u done, %u maybe\n", key, a,
                      atomic_load(&self.done_n[key]), atomic_load(&self.maybe_n[key]));
        assert_int_equal(a, value_of(client, key, "b"));
        assert_true(a <= (long long)atomic_load(&self.done_n[key]) +
                             (long long)atomic_load(&self.maybe_n[key]));
    }
    kw_close(self.client);
    kw_close(client);
}

/* Everything under way ends well, and nothing begins any more. */
static void test_a_drain_in_the_middle_leaves_nothing_open(void **state)
{
    kw_test_cluster *cluster = cluster_of(state);
    kw_client *first = kw_test_open("%s?timeout=10s", kw_test_cluster_uri(cluster));
    for (unsigned key = 0; key < KEYS_N; key++) {
        kw_reply_free(kw_test_ask(first, "DEL {%u}a {%u}b", key, key));
    }
    ledger self = {.client = kw_open_shared(first, NULL)};
    assert_non_null(self.client);
    kw_test_crew *crew = kw_test_crew_start(THREADS_N - 1, increment, &self);
    await_more(&self, 200);
    kw_error error = KW_ERROR_INIT;
    if (kw_drain(self.client, &error, WHILE_MS) != KW_OK) {
        fail_msg("%s", error.text);
    }
    unsigned done_n = done_of(&self);
    (void)kw_test_crew_join(crew);
    assert_int_equal(done_of(&self), done_n);
    assert_true(atomic_load(&self.drained_n) > 0);
    assert_int_equal(atomic_load(&self.none_n), atomic_load(&self.drained_n));
    kw_close(self.client);
    expect_sums(&self, first); /* the other handle goes on */
    for (unsigned key = 0; key < KEYS_N; key++) {
        assert_int_equal(atomic_load(&self.maybe_n[key]), 0);
    }
    kw_close(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_increments_are_whole_and_counted_once_while_slots_move),
        cmocka_unit_test(test_a_drain_in_the_middle_leaves_nothing_open),
        cmocka_unit_test(test_a_killed_primary_doubles_nothing),
    };
    return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}

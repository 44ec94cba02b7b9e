/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that are given up, by callback and by ticket, on a real cluster while a primary is
 * replaced. Each has a key of its own, so that what it was said to have done can be compared with
 * what it has: one with the effect none never ran, an acknowledged one did, and none ran twice. */
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

#include "live/cluster_fixture.h"
#include "support/ask.h"
#include "support/check.h"
#include "support/turn.h"

#define COMMANDS_MAX 400000u
#define AT_ONCE_N    20u /* under way */

/* What is known of a command. */
typedef enum fate { F_NONE, F_MAYBE, F_DONE } fate;

/* Commands of one way, each with its number. */
typedef struct ledger {
    kw_client *client;
    char *fates;
    unsigned given_n;
    atomic_uint done_n;
    atomic_uint cancelled_n; /* of them, those that were told so */
    atomic_uint none_n;      /* and of those, what was not sent */
    atomic_uint failed_n;    /* for another reason: lost with a connection, where a primary dies */
    atomic_bool is_over;
} ledger;

static void note(ledger *self, unsigned number, const kw_reply *reply, const kw_error *error)
{
    fate what = reply != NULL && !kw_reply_is_error(reply) ? F_DONE : F_NONE;
    what = reply == NULL && error->effect != KW_EFFECT_NONE ? F_MAYBE : what;
    bool is_cancelled = reply == NULL && error->code == KW_ERR_CANCELLED;
    self->fates[number] = (char)what;
    atomic_fetch_add(&self->done_n, what == F_DONE ? 1 : 0);
    atomic_fetch_add(&self->cancelled_n, is_cancelled ? 1 : 0);
    atomic_fetch_add(&self->none_n, is_cancelled && what == F_NONE ? 1 : 0);
    atomic_fetch_add(&self->failed_n, what != F_DONE && !is_cancelled ? 1 : 0);
}

static unsigned next_number(ledger *self)
{
    if (++self->given_n >= COMMANDS_MAX) {
        kw_test_die("more commands than there is room for");
    }
    return self->given_n;
}

/* One callback's command. */
typedef struct giver {
    ledger *ledger;
    unsigned number;
    bool is_open;
    unsigned cancel_round; /* when it is given up; 0: never */
} giver;

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    giver *self = arg;
    note(self->ledger, self->number, reply, error);
    self->is_open = false;
    kw_reply_free(reply);
}

/* One in four is given up: before it is sent, on its way, or while it waits for a new primary. */
static void give(giver *self, unsigned round)
{
    kw_error error = KW_ERROR_INIT;
    self->number = next_number(self->ledger);
    self->is_open = true;
    self->cancel_round = self->number % 4 == 0 ? round + self->number / 4 % 3 : 0;
    if (kw_command_async(self->ledger->client, &error, (kw_callback){on_reply, self},
                         "INCR {1}callbacks:%u", self->number) != KW_OK) {
        kw_test_die("%s", error.text);
    }
}

/* In an outage that lasts all fails at once: no more is given then than there is room for. */
static void be_slow_in_vain(ledger *self, unsigned *failed_n)
{
    unsigned now_n = atomic_load(&self->failed_n);
    if (now_n != *failed_n) {
        kw_test_sleep_ms(5);
    }
    *failed_n = now_n;
}

static void *by_callbacks(void *arg)
{
    ledger *self = arg;
    giver givers[AT_ONCE_N] = {{NULL, 0, false, 0}};
    bool is_open = true;
    unsigned failed_n = 0;
    for (unsigned round = 1; !atomic_load(&self->is_over) || is_open; round++) {
        bool is_over = atomic_load(&self->is_over);
        is_open = false;
        for (unsigned i = 0; i < AT_ONCE_N; i++) {
            givers[i].ledger = self;
            if (!givers[i].is_open && !is_over) {
                give(&givers[i], round);
            }
            if (givers[i].is_open && givers[i].cancel_round == round) {
                (void)kw_cancel(self->client, NULL, (kw_callback){on_reply, &givers[i]});
            }
            is_open = is_open || givers[i].is_open;
        }
        (void)kw_test_turn(self->client, 2);
        be_slow_in_vain(self, &failed_n);
    }
    return NULL;
}

static void *by_tickets(void *arg)
{
    ledger *self = arg;
    unsigned failed_n = 0;
    while (!atomic_load(&self->is_over)) {
        kw_ticket *tickets[AT_ONCE_N];
        unsigned numbers[AT_ONCE_N];
        for (unsigned i = 0; i < AT_ONCE_N; i++) {
            numbers[i] = next_number(self);
            tickets[i] = kw_submit(self->client, NULL, "INCR {1}tickets:%u", numbers[i]);
        }
        for (unsigned i = 0; i < AT_ONCE_N; i += 7) {
            (void)kw_ticket_wait(tickets[i], i % 2);
            (void)kw_ticket_cancel(tickets[i], NULL);
        }
        for (unsigned i = 0; i < AT_ONCE_N; i++) {
            kw_error error = KW_ERROR_INIT;
            kw_reply *reply = kw_ticket_await(tickets[i], &error);
            note(self, numbers[i], reply, &error);
            kw_reply_free(reply);
            kw_ticket_free(tickets[i]);
        }
        be_slow_in_vain(self, &failed_n);
    }
    return NULL;
}

static void await_more(ledger *self, unsigned n)
{
    unsigned done_n = atomic_load(&self->done_n) + n;
    unsigned cancelled_n = atomic_load(&self->cancelled_n) + n / 20;
    KW_TEST_AWAIT(atomic_load(&self->done_n) >= done_n &&
                  atomic_load(&self->cancelled_n) >= cancelled_n);
}

/* loses: the failover may lose what was acknowledged. */
static void compare(ledger *self, kw_client *client, const char *what, bool loses)
{
    kw_batch *batch = kw_batch_new(client, NULL);
    for (unsigned i = 1; i <= self->given_n; i++) {
        assert_int_equal(kw_batch_add(batch, NULL, "GET {1}%s:%u", what, i), KW_OK);
    }
    assert_int_equal(kw_batch_run(batch, NULL, 0), KW_OK);
    for (unsigned i = 1; i <= self->given_n; i++) {
        const kw_reply *times = kw_batch_reply(batch, NULL, i - 1);
        if (kw_reply_is_nil(times)) {
            continue;
        }
        assert_string_equal(kw_reply_text(times, ""), "1");
        if (self->fates[i] == F_NONE) {
            fail_msg("%s: %u has run, and was said to have had no effect", what, i);
        }
        self->fates[i] = F_NONE;
    }
    kw_batch_free(batch);
    unsigned missing_n = 0;
    for (unsigned i = 1; i <= self->given_n; i++) {
        missing_n += self->fates[i] == F_DONE ? 1 : 0;
    }
    print_message("%s: %u given, %u done, %u given up (%u of them unsent), %u failed, %u lost by "
                  "the servers\n",
                  what, self->given_n, atomic_load(&self->done_n), atomic_load(&self->cancelled_n),
                  atomic_load(&self->none_n), atomic_load(&self->failed_n), missing_n);
    assert_true(loses || missing_n == 0);
    assert_true(loses || atomic_load(&self->failed_n) == 0);
}

static void begin(ledger *self, pthread_t *thread, kw_test_cluster *cluster, void *(*fn)(void *))
{
    self->client = kw_test_open("%s?timeout=30s", kw_test_cluster_uri(cluster));
    self->fates = calloc(COMMANDS_MAX, 1);
    assert_non_null(self->fates);
    assert_int_equal(pthread_create(thread, NULL, fn, self), 0);
}

static void run(kw_test_cluster *cluster, bool kills)
{
    ledger ledgers[2] = {{.client = NULL}};
    pthread_t threads[2];
    kw_client *client = kw_test_open("%s?timeout=30s", kw_test_cluster_uri(cluster));
    kw_reply_free(kw_test_ask(client, "FLUSHALL"));
    begin(&ledgers[0], &threads[0], cluster, by_callbacks);
    begin(&ledgers[1], &threads[1], cluster, by_tickets);
    await_more(&ledgers[0], 200);
    await_more(&ledgers[1], 200);
    unsigned slot = kw_test_cluster_slot(cluster, "{1}");
    kw_test_server *primary = kw_test_cluster_owner(cluster, slot);
    if (kills) {
        kw_test_server_kill(primary);
        assert_non_null(kw_test_cluster_wait_owner(cluster, slot, primary, 60000));
    } else {
        kw_test_cluster_failover(cluster, kw_test_cluster_replica(cluster, primary));
    }
    await_more(&ledgers[0], 200);
    await_more(&ledgers[1], 200);
    for (size_t i = 0; i < 2; i++) {
        atomic_store(&ledgers[i].is_over, true);
        kw_test_join(threads[i]);
        compare(&ledgers[i], client, i == 0 ? "callbacks" : "tickets", kills);
        kw_close(ledgers[i].client);
        free(ledgers[i].fates);
    }
    kw_close(client);
}

static void test_cancel_through_a_failover_by_hand(void **state)
{
    run(cluster_of(state), false);
}

static void test_cancel_while_a_primary_is_killed(void **state)
{
    run(cluster_of(state), true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel_through_a_failover_by_hand),
        cmocka_unit_test(test_cancel_while_a_primary_is_killed),
    };
    return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections that are killed again and again while lists are written to: what was acknowledged is
 * in the lists in the order of adding, by batches, tickets and callbacks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <keyway.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/server.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 8
#define BATCH   16
#define PAGE    100000
#define KILLS   25u
#define KILL_MS 30u

typedef struct writer writer;

/* A way of writing BATCH values, and by how many threads: callbacks are one thread's. */
typedef struct writing {
    const char *name;
    void (*write)(writer *self);
    unsigned threads_n;
} writing;

typedef struct storm {
    kw_client *kw;
    kw_client *killer;
    const writing *form;
    atomic_bool is_over;
    atomic_uint kills_n;
    atomic_size_t acked_n;
    atomic_size_t failed_n;
    atomic_size_t wrong_n; /* acknowledged ones that are behind a later one */
} storm;

struct writer {
    storm *storm;
    unsigned number;
    pthread_t thread;
    unsigned next;
    unsigned char *is_acked; /* of each value */
    size_t room;
};

static void note(writer *self, unsigned value, bool is_acked)
{
    if (value >= self->room) {
        self->room = 2 * value + 1024;
        self->is_acked = realloc(self->is_acked, self->room);
        assert_non_null(self->is_acked);
    }
    self->is_acked[value] = is_acked;
    atomic_fetch_add(is_acked ? &self->storm->acked_n : &self->storm->failed_n, 1);
}

static void write_batch(writer *self)
{
    unsigned first = self->next;
    kw_batch *batch = kw_batch_new(self->storm->kw, NULL);
    for (size_t i = 0; i < BATCH; i++) {
        (void)kw_batch_add(batch, NULL, "RPUSH list:%u %u", self->number, self->next++);
    }
    (void)kw_batch_run(batch, NULL, 0);
    for (unsigned i = 0; i < BATCH; i++) {
        const kw_reply *reply = kw_batch_reply(batch, NULL, i);
        note(self, first + i, reply != NULL && !kw_reply_is_error(reply));
    }
    kw_batch_free(batch);
}

static void write_tickets(writer *self)
{
    kw_ticket *tickets[BATCH];
    unsigned first = self->next;
    for (size_t i = 0; i < BATCH; i++) {
        tickets[i] =
            kw_submit(self->storm->kw, NULL, "RPUSH list:%u %u", self->number, self->next++);
    }
    for (unsigned i = 0; i < BATCH; i++) {
        kw_reply *reply = kw_ticket_await(tickets[i], NULL);
        note(self, first + i, reply != NULL && !kw_reply_is_error(reply));
        kw_reply_free(reply);
        kw_ticket_free(tickets[i]);
    }
}

typedef struct heard {
    writer *writer;
    unsigned value;
    unsigned *left_n;
} heard;

static void hear(void *arg, kw_reply *reply, const kw_error *error)
{
    heard *self = arg;
    (void)error;
    note(self->writer, self->value, reply != NULL && !kw_reply_is_error(reply));
    kw_reply_free(reply);
    --*self->left_n;
}

static void write_callbacks(writer *self)
{
    kw_client *kw = self->storm->kw;
    heard all[BATCH];
    unsigned left_n = BATCH;
    for (size_t i = 0; i < BATCH; i++) {
        all[i] = (heard){self, self->next++, &left_n};
        if (kw_command_async(kw, NULL, (kw_callback){hear, &all[i]}, "RPUSH list:%u %u",
                             self->number, all[i].value) != KW_OK) {
            kw_test_die("not taken");
        }
    }
    while (left_n > 0) { /* each has its deadline */
        struct pollfd entry = {kw_fd(kw, NULL), POLLIN, 0};
        (void)poll(&entry, 1, kw_timeout(kw));
        (void)kw_process(kw, NULL);
    }
}

static void *write_lists(void *arg)
{
    writer *self = arg;
    while (!atomic_load(&self->storm->is_over)) {
        self->storm->form->write(self);
    }
    return NULL;
}

static void *kill_connections(void *arg)
{
    storm *self = arg;
    while (!atomic_load(&self->is_over)) {
        kw_reply *killed = kw_command(self->killer, NULL, "CLIENT KILL TYPE normal SKIPME yes");
        atomic_fetch_add(&self->kills_n, kw_reply_int(killed) > 0);
        kw_reply_free(killed);
        kw_test_sleep_ms(KILL_MS);
    }
    return NULL;
}

/* One page of the list. last: the highest acknowledged value so far. False behind its end. */
static bool judge_page(writer *self, kw_client *kw, size_t from, long long *last)
{
    kw_reply *page = kw_test_ask(kw, "LRANGE list:%u %zu %zu", self->number, from, from + PAGE - 1);
    size_t n = kw_reply_count(page);
    for (size_t i = 0; i < n; i++) {
        long long value = atoll(kw_reply_str(kw_reply_at(page, i), NULL));
        if (!self->is_acked[value]) {
            continue; /* its end was an error: it may be anywhere */
        }
        atomic_fetch_add(&self->storm->wrong_n, value < *last ? 1 : 0);
        *last = value > *last ? value : *last;
    }
    kw_reply_free(page);
    return n == PAGE;
}

static void judge(writer *self, kw_client *kw)
{
    long long last = -1;
    for (size_t from = 0; judge_page(self, kw, from, &last); from += PAGE) {
    }
}

static void run(const char *address, const writing *form)
{
    storm self = {.form = form};
    writer writers[THREADS];
    pthread_t killer;
    self.kw = kw_test_open("redis://%s?timeout=5s", address);
    self.killer = kw_test_open("redis://%s?timeout=5s", address);
    kw_test_ask_ok(self.killer, "FLUSHALL");
    for (unsigned i = 0; i < form->threads_n; i++) {
        writers[i] = (writer){.storm = &self, .number = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_lists, &writers[i]), 0);
    }
    assert_int_equal(pthread_create(&killer, NULL, kill_connections, &self), 0);
    KW_TEST_AWAIT(atomic_load(&self.kills_n) >= KILLS && atomic_load(&self.failed_n) > 0 &&
                  atomic_load(&self.acked_n) > 1000)
    atomic_store(&self.is_over, true);
    kw_test_join(killer);
    for (unsigned i = 0; i < form->threads_n; i++) {
        kw_test_join(writers[i].thread);
        judge(&writers[i], self.killer);
        free(writers[i].is_acked);
    }
    fprintf(stderr, "%s: %zu acknowledged, %zu not, %zu in another order\n", form->name,
            atomic_load(&self.acked_n), atomic_load(&self.failed_n), atomic_load(&self.wrong_n));
    assert_int_equal(atomic_load(&self.wrong_n), 0);
    kw_close(self.kw);
    kw_close(self.killer);
}

static void test_killed_connections_keep_the_order_of_what_was_acknowledged(void **state)
{
    (void)state;
    kw_test_server *server = kw_test_server_start("");
    static const writing forms[] = {{"batches", write_batch, THREADS},
                                    {"tickets", write_tickets, THREADS},
                                    {"callbacks", write_callbacks, 1}};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        run(kw_test_server_address(server), &forms[i]);
    }
    kw_test_server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_connections_keep_the_order_of_what_was_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* One command by each way of sending. */
#include "support/ways.h"

#include <keyway.h>

#include "support/check.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A wait is no longer, whatever the handle says. */
#define TURN_MS 1000

const char *kw_test_way_name(kw_test_way way)
{
    static const char *const names[] = {"call",     "batch",   "ticket",
                                        "callback", "session", "async session"};
    return names[way];
}

static void take(kw_test_end *end, const kw_reply *reply)
{
    end->is_answered = reply != NULL && !kw_reply_is_error(reply);
    if (reply != NULL && kw_reply_is_error(reply)) {
        snprintf(end->error.text, sizeof(end->error.text), "%s", kw_reply_str(reply, NULL));
    }
}

static void by_batch(kw_test_end *end, kw_client *client, const char *verb, const char *key)
{
    kw_batch *batch = kw_batch_new(client, &end->error);
    if (batch != NULL && kw_batch_add(batch, &end->error, "%s %s", verb, key) == KW_OK) {
        (void)kw_batch_run(batch, &end->error, 0);
        take(end, kw_batch_reply(batch, &end->error, 0));
    }
    kw_batch_free(batch);
}

static void by_ticket(kw_test_end *end, kw_client *client, const char *verb, const char *key)
{
    kw_ticket *ticket = kw_submit(client, &end->error, "%s %s", verb, key);
    kw_reply *reply = ticket != NULL ? kw_ticket_await(ticket, &end->error) : NULL;
    take(end, reply);
    kw_reply_free(reply);
    kw_ticket_free(ticket);
}

typedef struct heard {
    kw_test_end *end;
    bool is_over;
} heard;

static void hear(void *arg, kw_reply *reply, const kw_error *error)
{
    heard *self = arg;
    take(self->end, reply);
    if (reply == NULL) {
        self->end->error = *error;
    }
    self->is_over = true;
    kw_reply_free(reply);
}

static void by_callback(kw_test_end *end, kw_client *client, const char *verb, const char *key)
{
    heard self = {end, false};
    struct pollfd entry = {kw_fd(client, &end->error), POLLIN, 0};
    if (entry.fd < 0) {
        return;
    }
    kw_err code =
        kw_command_async(client, &end->error, (kw_callback){hear, &self}, "%s %s", verb, key);
    KW_TEST_UNTIL(code != KW_OK || self.is_over)
    {
        int wait_ms = kw_timeout(client);
        (void)poll(&entry, 1, wait_ms < 0 || wait_ms > TURN_MS ? TURN_MS : wait_ms);
        code = kw_process(client, &end->error);
    }
}

static void by_async_session(kw_test_end *end, kw_client *client, const char *verb, const char *key)
{
    kw_async_session *session = kw_async_session_open(client, &end->error, key, strlen(key));
    if (session == NULL) {
        return;
    }
    heard self = {end, false};
    struct pollfd entry = {kw_fd(client, &end->error), POLLIN, 0};
    kw_err code = kw_async_session_command(session, &end->error, (kw_callback){hear, &self},
                                           "%s %s", verb, key);
    KW_TEST_UNTIL(code != KW_OK || self.is_over)
    {
        int wait_ms = kw_timeout(client);
        (void)poll(&entry, 1, wait_ms < 0 || wait_ms > TURN_MS ? TURN_MS : wait_ms);
        code = kw_process(client, &end->error);
    }
    kw_async_session_close(session);
    (void)kw_process(client, NULL);
}

static void by_session(kw_test_end *end, kw_client *client, const char *verb, const char *key)
{
    kw_session *session = kw_session_open(client, &end->error, key, strlen(key));
    kw_reply *reply =
        session != NULL ? kw_session_command(session, &end->error, "%s %s", verb, key) : NULL;
    take(end, reply);
    kw_reply_free(reply);
    kw_session_close(session);
}

kw_test_end kw_test_send(kw_client *client, kw_test_way way, const char *verb, const char *key)
{
    kw_test_end end = {.error = KW_ERROR_INIT};
    uint64_t start_ns = kw_test_now_ns();
    kw_reply *reply = NULL;
    switch (way) {
    case KW_TEST_CALL:
        reply = kw_command(client, &end.error, "%s %s", verb, key);
        take(&end, reply);
        kw_reply_free(reply);
        break;
    case KW_TEST_BATCH:
        by_batch(&end, client, verb, key);
        break;
    case KW_TEST_TICKET:
        by_ticket(&end, client, verb, key);
        break;
    case KW_TEST_CALLBACK:
        by_callback(&end, client, verb, key);
        break;
    case KW_TEST_SESSION:
        by_session(&end, client, verb, key);
        break;
    case KW_TEST_ASYNC_SESSION:
        by_async_session(&end, client, verb, key);
        break;
    }
    end.took_us = (kw_test_now_ns() - start_ns) / 1000;
    return end;
}

/* One handle, whose commands go by one way. */
typedef struct traveller {
    pthread_t thread;
    kw_client *client;
    kw_test_way way;
    unsigned calls_max;
    kw_test_end end;
} traveller;

static void *travel(void *arg)
{
    traveller *self = arg;
    for (unsigned call = 0; call < self->calls_max && !self->end.is_answered; call++) {
        self->end = kw_test_send(self->client, self->way, "INCR", "foo");
    }
    return NULL;
}

void kw_test_send_all(kw_client **clients, size_t clients_n, unsigned calls_max, const char *where)
{
    traveller *all = calloc(clients_n, sizeof(*all));
    if (all == NULL) {
        kw_test_die("memory");
    }
    for (size_t i = 0; i < clients_n; i++) {
        all[i].client = clients[i];
        all[i].way = (kw_test_way)(i % KW_TEST_WAYS_N);
        all[i].calls_max = calls_max;
        if (pthread_create(&all[i].thread, NULL, travel, &all[i]) != 0) {
            kw_test_die("no thread");
        }
    }
    size_t lost = clients_n;
    kw_error error = KW_ERROR_INIT;
    for (size_t i = 0; i < clients_n; i++) {
        kw_test_join(all[i].thread);
        kw_close(all[i].client);
        if (!all[i].end.is_answered && lost == clients_n) {
            lost = i;
            error = all[i].end.error;
        }
    }
    free(all);
    if (lost < clients_n) {
        kw_test_die("handle %zu, by %s, %s: %s", lost,
                    kw_test_way_name((kw_test_way)(lost % KW_TEST_WAYS_N)), where, error.text);
    }
}

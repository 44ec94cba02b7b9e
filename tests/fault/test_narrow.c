/* SPDX-License-Identifier: BSD-3-Clause */
/* Ways to a server that fill: small socket buffers on both sides of a relay that reads
 * nothing of who does not read. Calls, batches, split commands and sessions of several
 * threads write and read more than fits, and none comes to a stand. KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/relay.h"
#include "support/server.h"

#include <keyway.h>

/* A command that is seen to fail takes this long; one that is done, a small part. */
#define TIMEOUT "60s"

enum { VALUE = 200 * 1024, KEYS = 12, ROUNDS = 3 };

typedef struct narrow {
    kw_client *kw;
    atomic_uint bad_n;
} narrow;

/* A value of its own for each thread, round and key. */
static void fill(char *out, unsigned thread, unsigned round, unsigned key)
{
    int len = snprintf(out, VALUE, "%u:%u:%u:", thread, round, key);
    memset(out + len, 'a' + (int)((thread + round + key) % 26), (size_t)(VALUE - len));
}

static char *new_value(void)
{
    char *value = malloc(VALUE);
    if (value == NULL) {
        kw_test_die("no memory");
    }
    return value;
}

static void expect(narrow *it, bool is_good, const char *what, const kw_error *error)
{
    if (!is_good) {
        atomic_fetch_add(&it->bad_n, 1);
        fprintf(stderr, "%s: %s %s\n", what, kw_err_name(error->code), error->text);
    }
}

static bool is_value(const kw_reply *reply, const char *value)
{
    size_t len = 0;
    const char *text = kw_reply_str(reply, &len);
    return kw_reply_type(reply) == KW_REPLY_STRING && len == VALUE && memcmp(text, value, len) == 0;
}

static bool is_ok(const kw_reply *reply)
{
    const char *text = kw_reply_str(reply, NULL);
    return kw_reply_type(reply) == KW_REPLY_STATUS && strcmp(text, "OK") == 0;
}

/* A SET and a GET of each key, all in one batch. */
static void run_batches(void *arg, unsigned thread)
{
    narrow *it = arg;
    char *value = new_value();
    kw_batch *batch = kw_batch_new(it->kw, NULL);
    for (unsigned round = 0; round < ROUNDS; round++) {
        kw_error error = KW_ERROR_INIT;
        for (unsigned key = 0; key < KEYS; key++) {
            fill(value, thread, round, key);
            kw_batch_add(batch, &error, "SET b:%u:%u %b", thread, key, value, (size_t)VALUE);
            kw_batch_add(batch, &error, "GET b:%u:%u", thread, key);
        }
        expect(it, kw_batch_run(batch, &error, 0) == KW_OK, "batch", &error);
        for (unsigned key = 0; key < KEYS; key++) {
            fill(value, thread, round, key);
            expect(it, is_ok(kw_batch_reply(batch, NULL, key * 2)), "SET of a batch", &error);
            expect(it, is_value(kw_batch_reply(batch, NULL, key * 2 + 1), value), "GET of a batch",
                   &error);
        }
        kw_batch_clear(batch);
    }
    kw_batch_free(batch);
    free(value);
}

/* MSET and MGET of them all: 2 MB a command. */
static void run_many(void *arg, unsigned thread)
{
    narrow *it = arg;
    char keys[KEYS][20];
    char *values[KEYS];
    const char *argv[1 + 2 * KEYS];
    size_t lens[1 + 2 * KEYS];
    for (unsigned key = 0; key < KEYS; key++) {
        snprintf(keys[key], sizeof(keys[key]), "m:%u:%u", thread, key);
        values[key] = new_value();
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        kw_error error = KW_ERROR_INIT;
        argv[0] = "MSET";
        lens[0] = 4;
        for (unsigned key = 0; key < KEYS; key++) {
            fill(values[key], thread, round, key);
            argv[1 + 2 * key] = keys[key];
            lens[1 + 2 * key] = strlen(keys[key]);
            argv[2 + 2 * key] = values[key];
            lens[2 + 2 * key] = VALUE;
        }
        kw_reply *reply = kw_command_argv(it->kw, &error, 1 + 2 * KEYS, argv, lens);
        expect(it, is_ok(reply), "MSET", &error);
        kw_reply_free(reply);
        argv[0] = "MGET";
        for (unsigned key = 0; key < KEYS; key++) {
            argv[1 + key] = keys[key];
        }
        reply = kw_command_argv(it->kw, &error, 1 + KEYS, argv, NULL);
        for (unsigned key = 0; key < KEYS; key++) {
            expect(it, is_value(kw_reply_at(reply, key), values[key]), "MGET", &error);
        }
        kw_reply_free(reply);
    }
    for (unsigned key = 0; key < KEYS; key++) {
        free(values[key]);
    }
}

/* Single calls, just below what would be called large. */
static void run_calls(void *arg, unsigned thread)
{
    narrow *it = arg;
    char *value = new_value();
    for (unsigned round = 0; round < ROUNDS * KEYS; round++) {
        kw_error error = KW_ERROR_INIT;
        fill(value, thread, round, 0);
        kw_reply *set =
            kw_command(it->kw, &error, "SET c:%u:%u %b", thread, round, value, (size_t)VALUE);
        kw_reply *get = kw_command(it->kw, &error, "GETDEL c:%u:%u", thread, round);
        expect(it, is_ok(set) && is_value(get, value), "SET, GETDEL", &error);
        kw_reply_free(set);
        kw_reply_free(get);
    }
    free(value);
}

/* Transactions of a session, with all answers in one. */
static void run_sessions(void *arg, unsigned thread)
{
    narrow *it = arg;
    char key[20];
    char *value = new_value();
    kw_error error = KW_ERROR_INIT;
    snprintf(key, sizeof(key), "s:%u", thread);
    kw_session *session = kw_session_open(it->kw, &error, key, strlen(key));
    for (unsigned round = 0; session != NULL && round < ROUNDS; round++) {
        fill(value, thread, round, 0);
        kw_reply_free(kw_session_command(session, &error, "MULTI"));
        kw_reply_free(kw_session_command(session, &error, "SET %s %b", key, value, (size_t)VALUE));
        for (unsigned i = 0; i < KEYS; i++) {
            kw_reply_free(kw_session_command(session, &error, "GET %s", key));
        }
        kw_reply *reply = kw_session_command(session, &error, "EXEC");
        expect(it, kw_reply_count(reply) == 1 + KEYS, "EXEC", &error);
        for (unsigned i = 0; i < KEYS; i++) {
            expect(it, is_value(kw_reply_at(reply, 1 + i), value), "GET of a session", &error);
        }
        kw_reply_free(reply);
    }
    expect(it, session != NULL, "session", &error);
    kw_session_close(session);
    free(value);
}

static void run_one_of_all(void *arg, unsigned thread)
{
    static const kw_test_crew_fn all[] = {run_batches, run_many, run_calls, run_sessions};
    all[thread % 4](arg, thread);
}

static void run(kw_test_server *server, const char *options, kw_test_crew_fn fn, unsigned threads_n)
{
    kw_test_relay *relay = kw_test_relay_start(kw_test_server_port(server));
    narrow it = {
        kw_test_open("redis://%s?timeout=" TIMEOUT "%s", kw_test_relay_address(relay), options), 0};
    kw_test_crew_run(threads_n, fn, &it);
    assert_int_equal(atomic_load(&it.bad_n), 0);
    kw_close(it.kw);
    kw_test_relay_free(relay);
}

static void test_narrow_way_lets_one_thread_pass(void **state)
{
    run(*state, "", run_batches, 1);
    run(*state, "", run_calls, 1);
}

static void test_narrow_way_lets_many_threads_pass(void **state)
{
    run(*state, "", run_calls, 16);
    run(*state, "", run_batches, 4);
    run(*state, "", run_one_of_all, 8);
}

/* All threads have to do with few connections. */
static void test_narrow_way_lets_many_threads_share_it(void **state)
{
    run(*state, "&pool-max=2", run_calls, 8);
    run(*state, "&pool-max=3", run_one_of_all, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_narrow_way_lets_one_thread_pass),
        cmocka_unit_test(test_narrow_way_lets_many_threads_pass),
        cmocka_unit_test(test_narrow_way_lets_many_threads_share_it),
    };
    return cmocka_run_group_tests(tests, kw_test_server_begin, kw_test_server_end);
}

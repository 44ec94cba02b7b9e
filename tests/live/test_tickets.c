/* SPDX-License-Identifier: BSD-3-Clause */
/* Tickets on a real cluster: sent now, waited for later, by anybody or nobody. KW_TEST_FAST */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/cluster.h"

#include <keyway.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANY_N    3000
#define ENOUGH_MS 10000

static kw_test_cluster *cluster;

static int start_cluster(void **state)
{
    (void)state;
    cluster = kw_test_cluster_start(3, 0, 1000, NULL);
    return cluster == NULL;
}

static int free_cluster(void **state)
{
    (void)state;
    kw_test_cluster_free(cluster);
    return 0;
}

static kw_client *open_handle(void)
{
    return kw_test_open("%s?timeout=10s", kw_test_cluster_uri(cluster));
}

static kw_ticket *submit(kw_client *kw, const char *command)
{
    kw_error error = KW_ERROR_INIT;
    kw_ticket *ticket = kw_submit(kw, &error, command);
    if (ticket == NULL) {
        fail_msg("%s: %s", command, error.text);
    }
    return ticket;
}

static kw_reply *await(kw_ticket *ticket)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_ticket_await(ticket, &error);
    if (reply == NULL) {
        fail_msg("%s: %s", kw_err_name(error.code), error.text);
    }
    kw_ticket_free(ticket);
    return reply;
}

static long long await_integer(kw_ticket *ticket)
{
    kw_reply *reply = await(ticket);
    assert_int_equal(kw_reply_type(reply), KW_REPLY_INTEGER);
    long long value = kw_reply_int(reply);
    kw_reply_free(reply);
    return value;
}

static void assert_failed(kw_ticket *ticket, kw_err code)
{
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_ticket_await(ticket, &error));
    if (error.code != code) {
        fail_msg("%s: %s", kw_err_name(error.code), error.text);
    }
}

static void test_tickets_give_their_reply_once(void **state)
{
    (void)state;
    kw_client *kw = open_handle();
    kw_ticket *ticket = submit(kw, "SET once 1");
    kw_reply *reply = kw_ticket_await(ticket, NULL);
    assert_string_equal(kw_reply_str(reply, NULL), "OK");
    kw_reply_free(reply);
    assert_true(kw_ticket_wait(ticket, 0));
    assert_failed(ticket, KW_ERR_ARGUMENT);
    kw_ticket_free(ticket);
    kw_ticket *untaken = submit(kw, "GET once");
    assert_true(kw_ticket_wait(untaken, ENOUGH_MS));
    kw_ticket_free(untaken);
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_submit(kw, &error, "MULTI"));
    assert_int_equal(error.code, KW_ERR_REFUSED);
    assert_null(kw_submit(NULL, &error, "PING"));
    assert_null(kw_ticket_await(NULL, &error));
    assert_int_equal(error.code, KW_ERR_ARGUMENT);
    kw_ticket_free(NULL);
    kw_close(kw);
}

/* Thousands under way, waited for from the last to the first. */
static void test_tickets_of_one_thread_by_thousands(void **state)
{
    (void)state;
    kw_client *kw = open_handle();
    static kw_ticket *tickets[MANY_N];
    char command[60];
    for (int i = 0; i < MANY_N; i++) {
        snprintf(command, sizeof(command), "ECHO value:%d", i);
        kw_call_options options = KW_CALL_OPTIONS_INIT;
        options.route = KW_ROUTE_SLOT;
        options.slot = (unsigned)i * 5u;
        const char *argv[] = {"ECHO", command + 5};
        tickets[i] = kw_submit_call(kw, NULL, &options, (kw_argv){2, argv, NULL});
        assert_non_null(tickets[i]);
    }
    for (int i = MANY_N - 1; i >= 0; i--) {
        snprintf(command, sizeof(command), "value:%d", i);
        kw_reply *reply = await(tickets[i]);
        assert_string_equal(kw_reply_str(reply, NULL), command);
        kw_reply_free(reply);
    }
    kw_close(kw);
}

static void test_tickets_of_one_key_keep_their_order(void **state)
{
    (void)state;
    kw_client *kw = open_handle();
    kw_ticket *tickets[200];
    kw_reply_free(kw_test_ask(kw, "DEL ordered"));
    for (int i = 0; i < 200; i++) {
        tickets[i] = submit(kw, "INCR ordered");
    }
    for (int i = 0; i < 200; i++) {
        assert_int_equal(await_integer(tickets[i]), i + 1);
    }
    kw_close(kw);
}

static void test_tickets_take_commands_of_many_nodes(void **state)
{
    (void)state;
    kw_client *kw = open_handle();
    kw_reply_free(await(submit(kw, "MSET many:a 1 many:b 2 many:c 3")));
    kw_reply *reply = await(submit(kw, "MGET many:a many:b nothing many:c"));
    assert_int_equal(kw_reply_count(reply), 4);
    assert_string_equal(kw_reply_str(kw_reply_at(reply, 3), NULL), "3");
    assert_true(kw_reply_is_nil(kw_reply_at(reply, 2)));
    kw_reply_free(reply);
    assert_true(await_integer(submit(kw, "DBSIZE")) >= 3);
    kw_close(kw);
}

/* Fire and forget: what was submitted runs, each once. */
static void test_tickets_that_are_abandoned_run(void **state)
{
    (void)state;
    kw_client *kw = open_handle();
    kw_reply_free(kw_test_ask(kw, "DEL forgotten"));
    for (int i = 0; i < 500; i++) {
        kw_ticket_free(submit(kw, "INCR forgotten"));
    }
    long long value = 0;
    uint64_t end_ms = kw_test_now_ms() + ENOUGH_MS;
    while (value < 500 && kw_test_now_ms() < end_ms) {
        kw_reply *reply = kw_test_ask(kw, "GET forgotten");
        value = kw_reply_is_nil(reply) ? 0 : strtoll(kw_reply_str(reply, NULL), NULL, 10);
        kw_reply_free(reply);
    }
    assert_int_equal(value, 500);
    kw_test_sleep_ms(20);
    assert_int_equal(kw_test_ask_integer(kw, "INCR forgotten"), 501);
    kw_close(kw);
}

static void test_tickets_have_their_deadline(void **state)
{
    (void)state;
    kw_client *kw = open_handle();
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.timeout_ms = 100;
    const char *argv[] = {"BLPOP", "nothing", "0"};
    uint64_t start_ms = kw_test_now_ms();
    kw_ticket *ticket = kw_submit_call(kw, NULL, &options, (kw_argv){3, argv, NULL});
    assert_non_null(ticket);
    assert_false(kw_ticket_wait(ticket, 0));
    assert_false(kw_ticket_wait(ticket, 10));
    assert_true(kw_test_now_ms() - start_ms >= 10);
    assert_failed(ticket, KW_ERR_TIMEOUT);
    assert_true(kw_test_now_ms() - start_ms >= 98);
    assert_failed(ticket, KW_ERR_TIMEOUT);
    kw_ticket_free(ticket);
    kw_close(kw);
}

/* Many threads wait for one ticket: one gets the reply. */
typedef struct crowd {
    kw_client *kw;
    kw_ticket *ticket;
    atomic_uint got_n;
    atomic_uint refused_n;
    atomic_uint wrong_n;
    atomic_uint threads_n;
} crowd;

static void *wait_for_one(void *arg)
{
    crowd *it = arg;
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_ticket_await(it->ticket, &error);
    atomic_fetch_add(&it->got_n, kw_reply_count(reply) == 2);
    atomic_fetch_add(&it->refused_n, reply == NULL && error.code == KW_ERR_ARGUMENT);
    kw_reply_free(reply);
    return NULL;
}

static void test_tickets_are_waited_for_by_any_thread(void **state)
{
    (void)state;
    crowd it = {.kw = open_handle()};
    pthread_t threads[8];
    it.ticket = submit(it.kw, "BLPOP awaited 0");
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_one, &it), 0);
    }
    kw_test_sleep_ms(20);
    kw_reply_free(await(submit(it.kw, "RPUSH awaited x")));
    for (int i = 0; i < 8; i++) {
        kw_test_join(threads[i]);
    }
    assert_int_equal(atomic_load(&it.got_n), 1);
    assert_int_equal(atomic_load(&it.refused_n), 7);
    kw_ticket_free(it.ticket);
    kw_close(it.kw);
}

static void *submit_and_await(void *arg)
{
    crowd *it = arg;
    kw_ticket *tickets[20];
    unsigned thread = atomic_fetch_add(&it->threads_n, 1);
    char text[40];
    for (int round = 0; round < 15; round++) {
        for (int i = 0; i < 20; i++) {
            tickets[i] = kw_submit(it->kw, NULL, "ECHO %d:%u", round * 20 + i, thread);
        }
        for (int i = 0; i < 20; i++) {
            snprintf(text, sizeof(text), "%d:%u", round * 20 + i, thread);
            kw_reply *reply = i % 5 == 4 ? NULL : kw_ticket_await(tickets[i], NULL);
            const char *got = kw_reply_str(reply, NULL);
            atomic_fetch_add(&it->wrong_n, i % 5 != 4 && (got == NULL || strcmp(got, text) != 0));
            kw_reply_free(reply);
            kw_ticket_free(tickets[i]);
        }
    }
    return NULL;
}

static void test_tickets_of_many_threads(void **state)
{
    (void)state;
    crowd it = {.kw = open_handle()};
    pthread_t threads[16];
    for (int i = 0; i < 16; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, submit_and_await, &it), 0);
    }
    for (int i = 0; i < 16; i++) {
        kw_test_join(threads[i]);
    }
    assert_int_equal(atomic_load(&it.wrong_n), 0);
    kw_close(it.kw);
}

static void *wait_until_closed(void *arg)
{
    crowd *it = arg;
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_ticket_await(it->ticket, &error));
    atomic_fetch_add(&it->refused_n, error.code == KW_ERR_CANCELLED);
    return NULL;
}

/* A ticket outlives its handle, and is readable until it is freed. */
static void test_tickets_end_with_their_handle(void **state)
{
    (void)state;
    crowd it = {.kw = open_handle()};
    pthread_t threads[4];
    it.ticket = submit(it.kw, "BLPOP never 0");
    kw_ticket *done = submit(it.kw, "ECHO done");
    assert_true(kw_ticket_wait(done, ENOUGH_MS));
    kw_ticket_free(submit(it.kw, "BLPOP never 0"));
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, wait_until_closed, &it), 0);
    }
    kw_test_sleep_ms(20);
    kw_close(it.kw);
    for (int i = 0; i < 4; i++) {
        kw_test_join(threads[i]);
    }
    assert_int_equal(atomic_load(&it.refused_n), 4);
    assert_failed(it.ticket, KW_ERR_CANCELLED);
    kw_ticket_free(it.ticket);
    kw_reply *reply = await(done);
    assert_string_equal(kw_reply_str(reply, NULL), "done");
    kw_reply_free(reply);
}

static void test_tickets_in_a_forked_child_are_the_parents(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        kw_client *kw = kw_test_open("%s?timeout=10s&after-fork=%s", kw_test_cluster_uri(cluster),
                                     k == 0 ? "refuse" : "reopen");
        kw_ticket *ticket = submit(kw, "BLPOP child 0");
        kw_ticket *other = submit(kw, "BLPOP child 0");
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            kw_error error = KW_ERROR_INIT;
            bool is_good = kw_ticket_await(ticket, &error) == NULL && error.code == KW_ERR_FORKED;
            kw_ticket_free(ticket);
            kw_reply *reply = kw_command(kw, &error, "PING");
            is_good = is_good && (k == 0 ? error.code == KW_ERR_FORKED : reply != NULL);
            kw_reply_free(reply);
            is_good = is_good && !kw_ticket_wait(other, 10);
            kw_ticket_free(other);
            kw_close(kw);
            _exit(is_good ? 0 : 1);
        }
        int status = kw_test_wait_child(child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        kw_reply_free(await(submit(kw, "RPUSH child 1 2")));
        kw_reply_free(await(ticket));
        kw_reply_free(await(other));
        kw_close(kw);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tickets_give_their_reply_once),
        cmocka_unit_test(test_tickets_of_one_thread_by_thousands),
        cmocka_unit_test(test_tickets_of_one_key_keep_their_order),
        cmocka_unit_test(test_tickets_take_commands_of_many_nodes),
        cmocka_unit_test(test_tickets_that_are_abandoned_run),
        cmocka_unit_test(test_tickets_have_their_deadline),
        cmocka_unit_test(test_tickets_are_waited_for_by_any_thread),
        cmocka_unit_test(test_tickets_of_many_threads),
        cmocka_unit_test(test_tickets_end_with_their_handle),
        cmocka_unit_test(test_tickets_in_a_forked_child_are_the_parents),
    };
    return cmocka_run_group_tests(tests, start_cluster, free_cluster);
}

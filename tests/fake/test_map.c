/* SPDX-License-Identifier: BSD-3-Clause */
/* Fetching the map: when it is asked for and by whom, never at the cost of other calls, and from
 * whoever is left to ask. */
#include "fake/fakes.h"
#include "support/ways.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* The number that INCR foo gives; -1 and error where it gives none. */
static long long incr_foo(kw_client *kw, kw_error *error)
{
    kw_reply *reply = kw_command(kw, error, "INCR foo");
    long long number = reply != NULL ? kw_reply_int(reply) : -1;
    kw_reply_free(reply);
    return number;
}

static void test_map_is_asked_of_another_node_when_one_stalls(void **state)
{
    (void)state;
    renew_fakes();
    char uri[300];
    snprintf(uri, sizeof(uri), "redis-cluster://%s,%s,%s?timeout=3s", kw_fake_address(fakes[0]),
             kw_fake_address(fakes[2]), kw_fake_address(fakes[1]));
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "CLUSTER S*",
               KW_FAKE_STEPS(KW_FAKE_SEND("*3\r\n*3\r\n:0\r\n"), KW_FAKE_STALL));
    kw_fake_down(fakes[2]);
    answer(fakes[1], "INCR foo", ":1");
    kw_client *kw = kw_test_try_open(uri, NULL);
    kw_error error = KW_ERROR_INIT;
    if (incr_foo(kw, &error) != 1) {
        fail_msg("%s", error.text);
    }
    kw_close(kw);
}

static size_t count_fetches(void)
{
    size_t n = 0;
    for (size_t i = 0; i < FAKES_N; i++) {
        n += kw_fake_count(fakes[i], "CLUSTER SLOTS");
    }
    return n;
}

static void test_map_hole_is_asked_for_until_the_deadline(void **state)
{
    (void)state;
    renew_fakes();
    const kw_fake_range half[] = {{0, 8000, fakes[0], NULL}};
    kw_fake_set_cluster(fakes, 3, half, 1);
    kw_client *kw = kw_test_open("redis-cluster://%s?timeout=800ms", kw_fake_address(fakes[0]));
    kw_error error = KW_ERROR_INIT;
    answer(fakes[0], "INCR bar", ":5");
    kw_reply_free(kw_command(kw, NULL, "INCR bar"));
    size_t before_n = count_fetches();
    assert_int_equal(incr_foo(kw, &error), -1);
    assert_int_equal(error.code, KW_ERR_NOT_SERVED);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_int_equal(error.attempts, 0);
    assert_in_range(error.elapsed_ms, 800, 800 + LATE_MS);
    assert_non_null(strstr(error.text, "12182"));
    assert_non_null(strstr(error.text, "the map has no owner of slots 8001-16383; assign them"));
    assert_in_range(count_fetches() - before_n, 2, 10); /* not faster than the refresh goes */
    kw_close(kw);
}

/* One lost shard stops a whole cluster (cluster-require-full-coverage): which it is, is said beside
 * the server's words. */
static void test_map_hole_is_named_where_the_cluster_is_down(void **state)
{
    (void)state;
    renew_fakes();
    const kw_fake_range parts[] = {
        {0, 99, fakes[0], NULL}, {200, 12000, fakes[0], NULL}, {12100, 16383, fakes[0], NULL}};
    kw_fake_set_cluster(fakes, 3, parts, 3);
    kw_client *kw = kw_test_open("redis-cluster://%s?timeout=1s", kw_fake_address(fakes[0]));
    kw_error error = KW_ERROR_INIT;
    answer(fakes[0], "INCR foo", "-CLUSTERDOWN The cluster is down");
    assert_int_equal(incr_foo(kw, &error), -1);
    assert_int_equal(error.code, KW_ERR_CLUSTER_DOWN);
    assert_non_null(strstr(error.text, "CLUSTERDOWN The cluster is down; the map has no owner of "
                                       "slots 100-199 and 99 others"));
    kw_close(kw);
}

static void *fill_hole(void *arg)
{
    const kw_fake_range all[] = {{0, 16383, fakes[0], NULL}};
    (void)arg;
    kw_test_sleep_ms(300);
    kw_fake_set_cluster(fakes, 3, all, 1);
    return NULL;
}

static void test_map_hole_that_is_filled_serves_who_waits(void **state)
{
    (void)state;
    renew_fakes();
    const kw_fake_range half[] = {{0, 8000, fakes[0], NULL}};
    kw_fake_set_cluster(fakes, 3, half, 1);
    kw_client *kw = kw_test_open("redis-cluster://%s?timeout=5s", kw_fake_address(fakes[0]));
    kw_error error = KW_ERROR_INIT;
    answer(fakes[0], "INCR bar", ":5");
    answer(fakes[0], "INCR foo", ":1");
    kw_reply_free(kw_command(kw, NULL, "INCR bar"));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, fill_hole, NULL), 0);
    uint64_t start_ms = kw_test_now_ms();
    assert_int_equal(incr_foo(kw, &error), 1);
    assert_in_range(kw_test_now_ms() - start_ms, 200, 1300 + LATE_MS);
    kw_test_join(thread);
    kw_close(kw);
}

static void *fail_in_thread(void *arg)
{
    kw_error error = KW_ERROR_INIT;
    (void)incr_foo(arg, &error);
    return NULL;
}

static void test_map_fetches_are_few_however_many_calls_fail(void **state)
{
    (void)state;
    renew_fakes();
    char uri[300];
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=1s", kw_fake_address(fakes[0]));
    kw_client *kw = kw_test_try_open(uri, NULL);
    answer(fakes[0], "INCR bar", ":5");
    kw_reply_free(kw_command(kw, NULL, "INCR bar"));
    kw_fake_down(fakes[1]);
    kw_fake_log_clear(fakes[0]);
    pthread_t threads[64];
    uint64_t start_ms = kw_test_now_ms();
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, fail_in_thread, kw), 0);
    }
    for (size_t i = 0; i < 64; i++) {
        kw_test_join(threads[i]);
    }
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    assert_in_range(elapsed_ms, 900, 1000 + LATE_MS);
    size_t fetches_n = kw_fake_count(fakes[0], "CLUSTER SLOTS");
    assert_in_range(fetches_n, 2, 10 * (elapsed_ms / 1000 + 1));
    kw_close(kw);
}

/* The slots from 8001 on belong to fakes[second]. Each answers INCR with its number. */
static void set_owner(size_t second)
{
    const kw_fake_range ranges[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[second], NULL}};
    kw_fake_set_cluster(fakes, 3, ranges, 2);
}

static void *ask_foo(void *arg)
{
    assert_int_equal(kw_test_ask_integer(arg, "INCR foo"), 1);
    return NULL;
}

/* How long 64 callers at once take on a new handle, whose first connection takes 40 ms. */
static uint64_t start_together(void)
{
    renew_fakes();
    answer_numbers();
    kw_fake_on(fakes[0], 1, "CLIENT SETINFO LIB-NAME *",
               KW_FAKE_STEPS(KW_FAKE_DELAY(40), KW_FAKE_SEND("+OK\r\n")));
    kw_client *kw = open_cluster("timeout=2s");
    pthread_t threads[64];
    uint64_t start_ms = kw_test_now_ms();
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask_foo, kw), 0);
    }
    for (size_t i = 0; i < 64; i++) {
        kw_test_join(threads[i]);
    }
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    assert_in_range(maps_asked(), 1, 1 + elapsed_ms / 100);
    kw_close(kw);
    return elapsed_ms;
}

/* Those who come while the first map is on its way have it as soon as it is there; a second
 * one would be allowed 100 ms later only. */
static void test_map_first_one_is_fetched_once_for_all_callers(void **state)
{
    (void)state;
    uint64_t best_ms = UINT64_MAX;
    for (int i = 0; i < 8 && best_ms >= 95; i++) {
        uint64_t elapsed_ms = start_together();
        best_ms = elapsed_ms < best_ms ? elapsed_ms : best_ms;
    }
    assert_in_range(best_ms, 40, 95);
}

/* While nobody answers for a map, and one is wanted again and again, a healthy node's keys
 * are served as ever. */
static void test_map_that_stalls_costs_no_other_call(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=2s");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "CLUSTER S*", KW_FAKE_STEPS(KW_FAKE_STALL));
    }
    kw_fake_down(fakes[1]);
    answer_numbers();
    unsigned slow_n = 0;
    unsigned calls_n = 0;
    uint64_t start_ms = kw_test_now_ms();
    const char *argv[] = {"INCR", "foo"};
    kw_call_options brief = KW_CALL_OPTIONS_INIT;
    brief.timeout_ms = 20;
    while (kw_test_now_ms() - start_ms < 900) {
        if (calls_n % 10 == 0) {
            assert_null(kw_call(kw, NULL, &brief, (kw_argv){2, argv, NULL})); /* wants a map */
        }
        uint64_t call_ms = kw_test_now_ms();
        assert_int_equal(kw_test_ask_integer(kw, "INCR bar"), 0);
        slow_n += kw_test_now_ms() - call_ms > 15 * KW_TEST_SLOWNESS;
        calls_n++;
        kw_test_sleep_ms(2);
    }
    assert_true(calls_n >= 30);
    assert_in_range(slow_n, 0, 1 + calls_n / 20);
    assert_in_range(maps_asked(), 1, 15);
    kw_close(kw);
}

typedef struct busy {
    pthread_t thread;
    kw_client *kw;
    uint64_t until_ms;
} busy;

static void *keep_busy(void *arg)
{
    busy *self = arg;
    while (kw_test_now_ms() < self->until_ms) {
        kw_reply_free(kw_command(self->kw, NULL, "GET bar"));
    }
    return NULL;
}

/* Every connection of the pool is in use all the time, and the map must change for others to
 * be served: the fetch finds its way. */
static void test_map_is_fetched_past_a_busy_pool(void **state)
{
    (void)state;
    renew_fakes();
    answer_numbers();
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "GET bar",
                   KW_FAKE_STEPS(KW_FAKE_DELAY(20), KW_FAKE_SEND("+v\r\n")));
    }
    kw_client *kw = open_cluster("timeout=2s&pool-max=2");
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 1);
    busy callers[8];
    for (size_t i = 0; i < 8; i++) {
        callers[i] = (busy){.kw = kw, .until_ms = kw_test_now_ms() + 1500};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, keep_busy, &callers[i]), 0);
    }
    kw_test_sleep_ms(50);
    kw_fake_down(fakes[1]);
    set_owner(2);
    uint64_t start_ms = kw_test_now_ms();
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 2);
    uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
    for (size_t i = 0; i < 8; i++) {
        kw_test_join(callers[i].thread);
    }
    assert_in_range(elapsed_ms, 0, 600 * KW_TEST_SLOWNESS);
    kw_close(kw);
}

/* The nodes of the map are gone, the seed is not one of them: it is asked. */
static void test_map_comes_from_a_seed_when_its_own_nodes_are_gone(void **state)
{
    (void)state;
    renew_fakes();
    answer_numbers();
    const kw_fake_range first[] = {{0, 16383, fakes[0], NULL}};
    kw_fake_set_cluster(fakes, 3, first, 1);
    kw_client *kw = kw_test_open("redis-cluster://%s?timeout=2s", kw_fake_address(fakes[2]));
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 0);
    kw_fake_down(fakes[0]);
    const kw_fake_range second[] = {{0, 16383, fakes[1], NULL}};
    kw_fake_set_cluster(fakes, 3, second, 1);
    uint64_t start_ms = kw_test_now_ms();
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 1);
    assert_in_range(kw_test_now_ms() - start_ms, 0, 1000 * KW_TEST_SLOWNESS);
    kw_close(kw);
}

static void test_map_seeds_are_tried_in_turn(void **state)
{
    (void)state;
    renew_fakes();
    answer_numbers();
    kw_fake_down(fakes[2]);
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "HELLO *", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_test_hole hole;
    bool has_hole = kw_test_hole_open(&hole);
    unsigned port = has_hole ? hole.port : kw_fake_port(fakes[2]);
    kw_client *kw = kw_test_open("redis-cluster://127.0.0.1:%u,%s,%s,%s?timeout=3s", port,
                                 kw_fake_address(fakes[2]), kw_fake_address(fakes[1]),
                                 kw_fake_address(fakes[0]));
    assert_int_equal(kw_test_ask_integer(kw, "INCR bar"), 0);
    kw_close(kw);
    if (has_hole) {
        kw_test_hole_close(&hole);
    }
}

static void test_map_seeds_are_asked_in_any_order(void **state)
{
    (void)state;
    renew_fakes();
    char uri[300];
    snprintf(uri, sizeof(uri), "redis-cluster://%s,%s,%s?timeout=2s", kw_fake_address(fakes[0]),
             kw_fake_address(fakes[1]), kw_fake_address(fakes[2]));
    for (int i = 0; i < 60; i++) {
        kw_client *kw = kw_test_try_open(uri, NULL);
        assert_int_equal(kw_connect(kw, NULL), KW_OK);
        kw_close(kw);
    }
    for (size_t i = 0; i < FAKES_N; i++) {
        assert_in_range(kw_fake_count(fakes[i], "CLUSTER SLOTS"), 3, 57);
    }
}

/* Everybody in the map is gone; the seed knows their heirs. */
static void test_map_seeds_are_kept_for_ever(void **state)
{
    (void)state;
    renew_fakes();
    own_all(fakes[1]);
    answer_numbers();
    kw_client *kw = open_cluster("timeout=3s");
    expect_number(kw, "INCR foo", 1);
    kw_fake_down(fakes[1]);
    own_all(fakes[2]);
    uint64_t start_ms = kw_test_now_ms();
    expect_number(kw, "INCR foo", 2);
    assert_in_range(kw_test_now_ms() - start_ms, 0, 1000 + LATE_MS);
    kw_close(kw);
}

/* A primary that was replaced while its connections were away is back as a replica, which runs
 * SPUBLISH and never says MOVED: its greeting tells. */
static void test_map_is_asked_for_where_a_primary_comes_back_as_a_replica(void **state)
{
    (void)state;
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        renew_fakes();
        for (size_t i = 0; i < FAKES_N; i++) {
            answer(fakes[i], "SPUBLISH *", ":0");
        }
        kw_client *kw = open_cluster("timeout=3s");
        assert_true(kw_test_send(kw, (kw_test_way)way, "SPUBLISH", "foo").is_answered);
        assert_int_equal(kw_fake_count(fakes[1], "SPUBLISH *"), 1);
        kw_fake_down(fakes[1]);
        const kw_fake_range promoted[] = {{0, 8000, fakes[0], NULL},
                                          {8001, 16383, fakes[2], fakes[1]}};
        kw_fake_set_cluster(fakes, FAKES_N, promoted, 2);
        answer(fakes[1], "HELLO *",
               "*6\r\n$6\r\nserver\r\n$5\r\nredis\r\n$4\r\nmode\r\n$7\r\ncluster\r\n"
               "$4\r\nrole\r\n$7\r\nreplica");
        kw_fake_up(fakes[1]);
        uint64_t start_ms = kw_test_now_ms();
        while (kw_fake_count(fakes[2], "SPUBLISH *") == 0) {
            (void)kw_test_send(kw, (kw_test_way)way, "SPUBLISH", "foo");
            if (kw_test_now_ms() - start_ms > 5000) {
                fail_msg("by %s: %zu went to the replica", kw_test_way_name((kw_test_way)way),
                         kw_fake_count(fakes[1], "SPUBLISH *"));
            }
            kw_test_sleep_ms(5);
        }
        kw_close(kw);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_is_asked_for_where_a_primary_comes_back_as_a_replica),
        cmocka_unit_test(test_map_is_asked_of_another_node_when_one_stalls),
        cmocka_unit_test(test_map_hole_is_asked_for_until_the_deadline),
        cmocka_unit_test(test_map_hole_is_named_where_the_cluster_is_down),
        cmocka_unit_test(test_map_hole_that_is_filled_serves_who_waits),
        cmocka_unit_test(test_map_fetches_are_few_however_many_calls_fail),
        cmocka_unit_test(test_map_first_one_is_fetched_once_for_all_callers),
        cmocka_unit_test(test_map_that_stalls_costs_no_other_call),
        cmocka_unit_test(test_map_is_fetched_past_a_busy_pool),
        cmocka_unit_test(test_map_comes_from_a_seed_when_its_own_nodes_are_gone),
        cmocka_unit_test(test_map_seeds_are_tried_in_turn),
        cmocka_unit_test(test_map_seeds_are_asked_in_any_order),
        cmocka_unit_test(test_map_seeds_are_kept_for_ever),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Fetching the map: one at a time and never at the cost of other calls, from whoever is left
 * to ask; forms that the specification allows, and answers that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/fake.h"

#include <keyway.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LATE_MS 1500

/* foo is the second fake's, bar the first one's; the third has no slots. */
static kw_fake *fakes[3];

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        fakes[i] = kw_fake_start();
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        kw_fake_free(fakes[i]);
    }
    return 0;
}

/* The slots from 8001 on belong to fakes[second]. Each answers INCR with its number. */
static void set_owner(size_t second)
{
    const kw_fake_range ranges[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[second], NULL}};
    kw_fake_set_cluster(fakes, 3, ranges, 2);
}

static void answer_all(void)
{
    for (size_t i = 0; i < 3; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "INCR *", ":%zu", i);
    }
}

static void start_anew(void)
{
    for (size_t i = 0; i < 3; i++) {
        kw_fake_up(fakes[i]);
        kw_fake_reset(fakes[i]);
        kw_fake_log_clear(fakes[i]);
    }
    set_owner(1);
}

static kw_client *open_cluster(const char *options)
{
    return kw_test_open("redis-cluster://%s?timeout=2s%s", kw_fake_address(fakes[0]), options);
}

static size_t maps_asked(void)
{
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        n += kw_fake_count(fakes[i], "CLUSTER *");
    }
    return n;
}

static void *ask_foo(void *arg)
{
    assert_int_equal(kw_test_ask_integer(arg, "INCR foo"), 1);
    return NULL;
}

/* How long 64 callers at once take on a new handle, whose first connection takes 40 ms. */
static uint64_t start_together(void)
{
    start_anew();
    answer_all();
    kw_fake_on(fakes[0], 1, "CLIENT SETINFO LIB-NAME *",
               KW_FAKE_STEPS(KW_FAKE_DELAY(40), KW_FAKE_SEND("+OK\r\n")));
    kw_client *kw = open_cluster("");
    pthread_t threads[64];
    uint64_t start_ms = kw_test_now_ms();
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask_foo, kw), 0);
    }
    for (size_t i = 0; i < 64; i++) {
        pthread_join(threads[i], NULL);
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
    start_anew();
    kw_client *kw = open_cluster("");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    for (size_t i = 0; i < 3; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "CLUSTER *", KW_FAKE_STEPS(KW_FAKE_STALL));
    }
    kw_fake_down(fakes[1]);
    answer_all();
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
    start_anew();
    answer_all();
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "GET bar",
                   KW_FAKE_STEPS(KW_FAKE_DELAY(20), KW_FAKE_SEND("+v\r\n")));
    }
    kw_client *kw = open_cluster("&pool-max=2");
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
        pthread_join(callers[i].thread, NULL);
    }
    assert_in_range(elapsed_ms, 0, 600 * KW_TEST_SLOWNESS);
    kw_close(kw);
}

/* The nodes of the map are gone, the seed is not one of them: it is asked. */
static void test_map_comes_from_a_seed_when_its_own_nodes_are_gone(void **state)
{
    (void)state;
    start_anew();
    answer_all();
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
    start_anew();
    answer_all();
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

/* What servers may say: no host, an empty one, names, replicas, metadata, shards in parts. */
static void test_map_forms_of_the_specification_are_understood(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$-1\r\n:%u\r\n",
        "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$0\r\n\r\n:%u\r\n",
        "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:%u\r\n$2\r\nid\r\n",
        "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:%u\r\n$2\r\nid\r\n*2\r\n$"
        "8\r\nhostname"
        "\r\n$1\r\na\r\n",
        "*2\r\n*3\r\n:9000\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n*3\r\n:0\r\n:8999\r\n*"
        "2\r\n$9\r\n"
        "127.0.0.1\r\n:1\r\n",
        "*1\r\n*5\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n*2\r\n$9\r\n127.0.0.1\r\n:"
        "2\r\n*2"
        "\r\n$0\r\n\r\n:3\r\n",
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        start_anew();
        answer_all();
        char slots[400];
        snprintf(slots, sizeof(slots), forms[i], (unsigned)kw_fake_port(fakes[0]));
        kw_fake_set_map(fakes[0], slots, NULL);
        kw_client *kw = open_cluster("");
        kw_error error = KW_ERROR_INIT;
        kw_reply *reply = kw_command(kw, &error, "INCR foo");
        if (reply == NULL) {
            fail_msg("%zu: %s", i, error.text);
        }
        assert_int_equal(kw_reply_int(reply), 0);
        kw_reply_free(reply);
        kw_close(kw);
    }
}

/* Slots that overlap, more than there are, and answers that end too early: the map that there
 * is stays, and is replaced by the next good one. */
static void test_map_nonsense_is_refused_and_the_next_good_one_taken(void **state)
{
    (void)state;
    static char many[200000] = "";
    size_t len = (size_t)sprintf(many, "*3000\r\n");
    for (unsigned i = 0; i < 3000; i++) {
        len += (size_t)sprintf(many + len, "*3\r\n:%u\r\n:%u\r\n*2\r\n$8\r\n10.0.0.1\r\n:%u\r\n", i,
                               i, i + 1);
    }
    const char *const answers[] = {
        "*2\r\n*3\r\n:0\r\n:9\r\n*2\r\n$1\r\na\r\n:1\r\n*3\r\n:0\r\n",
        "*1\r\n*3\r\n:-1\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:18446744073709551615\r\n*2\r\n$9\r\n127.0.0.1\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:65536\r\n*2\r\n$9\r\n127.0.0.1\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:16383\r\n*1\r\n$9\r\n127.0.0.1\r\n",
        "*1\r\n*3\r\n:0\r\n:16383\r\n:5\r\n",
        "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$3\r\na\nb\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n$1\r\n7\r\n",
        "*1\r\n*0\r\n",
        "*-1\r\n",
        "*1073741824\r\n",
        "HTTP/1.1 200 OK\r\n",
        many,
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        start_anew();
        kw_client *kw = open_cluster("&refresh-interval=0");
        assert_int_equal(kw_connect(kw, NULL), KW_OK);
        for (size_t k = 0; k < 3; k++) {
            kw_fake_on(fakes[k], KW_FAKE_ALWAYS, "CLUSTER *",
                       KW_FAKE_STEPS(KW_FAKE_BYTES(answers[i], strlen(answers[i]))));
        }
        kw_fake_on_reply(fakes[1], 2, "INCR foo", "-CLUSTERDOWN asks for a map");
        answer_all();
        size_t before_n = maps_asked();
        assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 1);
        for (int k = 0; k < 1000 && maps_asked() == before_n; k++) {
            kw_test_sleep_ms(5);
            assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 1);
        }
        assert_int_equal(kw_test_ask_integer(kw, "INCR bar"), 0);
        char node[100];
        assert_int_equal(kw_client_slot_node(kw, NULL, node, sizeof(node), 16383), KW_OK);
        assert_string_equal(node, kw_fake_address(fakes[1]));
        assert_int_equal(kw_test_stats(kw).map_changes, 1);
        /* And then a good one. */
        for (size_t k = 0; k < 3; k++) {
            kw_fake_reset(fakes[k]);
        }
        set_owner(2);
        kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "INCR foo", "-CLUSTERDOWN not mine");
        answer_all();
        assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 2);
        kw_close(kw);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_first_one_is_fetched_once_for_all_callers),
        cmocka_unit_test(test_map_that_stalls_costs_no_other_call),
        cmocka_unit_test(test_map_is_fetched_past_a_busy_pool),
        cmocka_unit_test(test_map_comes_from_a_seed_when_its_own_nodes_are_gone),
        cmocka_unit_test(test_map_seeds_are_tried_in_turn),
        cmocka_unit_test(test_map_forms_of_the_specification_are_understood),
        cmocka_unit_test(test_map_nonsense_is_refused_and_the_next_good_one_taken),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Servers that are far away or slow, and maps whose nodes are all gone: no wait is a fixed time,
 * and several servers are asked at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/fake.h"
#include "support/far.h"
#include "support/parts.h"
#include "support/ways.h"

enum { FAKES = 3 };

static kw_fake *fakes[FAKES];
static kw_test_far *fars[FAKES];

static void start_all(unsigned trip_ms)
{
    for (size_t i = 0; i < FAKES; i++) {
        fakes[i] = kw_fake_start();
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "INCR *", ":1");
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "GET *", "$1\r\nv");
        fars[i] = kw_test_far_start(kw_fake_port(fakes[i]), trip_ms);
    }
}

static void end_all(void)
{
    for (size_t i = 0; i < FAKES; i++) {
        kw_test_far_free(fars[i]);
        kw_fake_free(fakes[i]);
    }
}

/* Servers announce themselves; the relay is dialled. */
static kw_client *open_far(const char *scheme, const char *path, const char *options)
{
    char map[400] = "";
    for (size_t i = 0; i < FAKES; i++) {
        snprintf(map + strlen(map), sizeof(map) - strlen(map), "%s%s>%s", i > 0 ? "," : "",
                 kw_fake_address(fakes[i]), kw_test_far_address(fars[i]));
    }
    return kw_test_open("%s://%s%s?%s&address-map=%s", scheme, kw_fake_address(fakes[0]), path,
                        options, map);
}

static kw_client *open_cluster(const char *options)
{
    const kw_fake_range ranges[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[1], NULL}};
    kw_fake_set_cluster(fakes, FAKES, ranges, 2);
    return open_far("redis-cluster", "", options);
}

/* fakes[0] is the sentinel, fakes[1] the primary. */
static kw_client *open_group(const char *options)
{
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SENTINEL GET-MASTER-ADDR-BY-NAME group",
                     "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n%05u", (unsigned)kw_fake_port(fakes[1]));
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SENTINEL SENTINELS group", "*0");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SENTINEL REPLICAS group", "*0");
    return open_far("redis-sentinel", "/group", options);
}

static kw_client *open_one(const char *options)
{
    return open_far("redis", "", options);
}

static kw_client *open_ring(const char *options)
{
    return open_far("redis-ring", "", options);
}

typedef struct far_row {
    unsigned trip_ms;
    unsigned calls_max; /* the first of which succeeds at the latest */
    const char *options;
} far_row;

static kw_client *(*const forms[])(const char *) = {open_one, open_cluster, open_group, open_ring};

enum { FORMS = sizeof(forms) / sizeof(forms[0]) };

/* All forms by all ways, at once. */
static void travel_all(const far_row *row)
{
    kw_client *clients[FORMS * KW_TEST_WAYS_N];
    char where[40];
    for (size_t i = 0; i < FORMS * KW_TEST_WAYS_N; i++) {
        clients[i] = forms[i / KW_TEST_WAYS_N](row->options);
    }
    snprintf(where, sizeof(where), "%u ms away", row->trip_ms);
    kw_test_send_all(clients, FORMS * KW_TEST_WAYS_N, row->calls_max, where);
}

static void test_far_servers_are_reached(void **state)
{
    (void)state;
    static const far_row rows[] = {
        {160, 1, "timeout=5s&password=sesame"},
        {300, 1, "timeout=5s&password=sesame"},
        {800, 2, "timeout=5s&password=sesame"},
        {320, 2, "timeout=2s"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        start_all(rows[i].trip_ms);
        travel_all(&rows[i]);
        end_all();
    }
}

/* A primary is gone, 150 ms away, and its replica has its slots: whoever was served by the old one
 * is served by the new one: a read that was under way as well. */
static void test_far_failover_is_followed(void **state)
{
    (void)state;
    for (kw_test_way way = 0; way < KW_TEST_WAYS_N; way++) {
        start_all(150);
        kw_client *client = open_cluster("timeout=5s&password=sesame");
        kw_test_end first = kw_test_send(client, way, "GET", "foo");
        assert_true(first.is_answered);
        size_t owner = kw_fake_count(fakes[0], "GET *") > 0 ? 0 : 1;
        const kw_fake_range ranges[] = {{0, 8000, fakes[owner == 0 ? 2 : 0], NULL},
                                        {8001, 16383, fakes[owner == 1 ? 2 : 1], NULL}};
        kw_fake_set_cluster(fakes, FAKES, ranges, 2);
        kw_fake_down(fakes[owner]);
        kw_test_end end = kw_test_send(client, way, "GET", "foo");
        if (!end.is_answered) {
            fail_msg("by %s: %s", kw_test_way_name(way), end.error.text);
        }
        assert_int_equal(kw_fake_count(fakes[2], "GET *"), 1);
        kw_close(client);
        end_all();
    }
}

/* CLUSTER SLOTS alone takes its time. */
static void test_map_that_comes_late_is_taken(void **state)
{
    (void)state;
    static const unsigned delays_ms[] = {320, 700};
    for (size_t i = 0; i < sizeof(delays_ms) / sizeof(delays_ms[0]); i++) {
        start_all(0);
        const kw_fake_range ranges[] = {{0, 16383, fakes[0], NULL}};
        char slots[200];
        kw_fake_set_cluster(fakes, FAKES, ranges, 1);
        snprintf(slots, sizeof(slots),
                 "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n",
                 (unsigned)kw_fake_port(fakes[0]));
        kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "CLUSTER SLOTS",
                   KW_FAKE_STEPS(KW_FAKE_DELAY(delays_ms[i]), KW_FAKE_BYTES(slots, strlen(slots))));
        kw_client *client =
            kw_test_open("redis-cluster://%s?timeout=2s", kw_fake_address(fakes[0]));
        kw_test_end end = kw_test_send(client, KW_TEST_CALL, "INCR", "foo");
        if (!end.is_answered) {
            end = kw_test_send(client, KW_TEST_CALL, "INCR", "foo");
        }
        if (!end.is_answered) {
            fail_msg("%u ms: %s", delays_ms[i], end.error.text);
        }
        kw_close(client);
        end_all();
    }
}

/* A map of n nodes at addresses that swallow everything; the seed answers with the next map. */
static void test_map_of_nodes_that_are_all_gone_is_replaced_in_a_second(void **state)
{
    (void)state;
    static const unsigned sizes[] = {3, 6, 12, 24, 60};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        kw_test_hole hole;
        if (!kw_test_hole_open(&hole)) {
            skip();
        }
        start_all(0);
        char *slots = malloc(sizes[i] * 100 + 100);
        size_t len = (size_t)sprintf(slots, "*%u\r\n", sizes[i]);
        for (unsigned k = 0; k < sizes[i]; k++) {
            unsigned first = 16384 * k / sizes[i];
            unsigned last = 16384 * (k + 1) / sizes[i] - 1;
            len += (size_t)sprintf(
                slots + len, "*3\r\n:%u\r\n:%u\r\n*2\r\n$%zu\r\n127.0.0.%u\r\n:%u\r\n", first, last,
                strlen("127.0.0.") + (k + 2 > 9 ? 2u : 1u), k + 2, (unsigned)hole.port);
        }
        kw_fake_set_map(fakes[0], slots, NULL);
        kw_client *client = kw_test_open("redis-cluster://%s?timeout=5s&refresh-interval=0",
                                         kw_fake_address(fakes[0]));
        char node[100];
        assert_int_equal(kw_client_slot_node(client, NULL, node, sizeof(node), 0), KW_OK);
        const kw_fake_range ranges[] = {{0, 16383, fakes[0], NULL}};
        kw_fake_set_cluster(fakes, 1, ranges, 1);
        kw_test_end end = kw_test_send(client, KW_TEST_CALL, "INCR", "foo");
        if (!end.is_answered || end.took_us > 1000000 * KW_TEST_SLOWNESS + 500000) {
            fail_msg("%u nodes: %u ms: %s", sizes[i], (unsigned)(end.took_us / 1000),
                     end.error.text);
        }
        kw_close(client);
        free(slots);
        end_all();
        kw_test_hole_close(&hole);
    }
}

/* Another kind of server than the scheme says: at once, with the scheme that is right. */
static void test_connect_wrong_scheme_is_named_at_once(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_fake *fake = kw_fake_start();
    char uri[100];
    for (size_t i = 0; i < 2; i++) {
        kw_fake_reset(fake);
        kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "HELLO *",
                         "*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$4\r\nmode\r\n$8\r\nsentinel");
        snprintf(uri, sizeof(uri),
                 i == 0 ? "redis://%s?timeout=5s" : "redis-cluster://%s?timeout=5s",
                 kw_fake_address(fake));
        kw_client *kw = kw_test_open("%s", uri);
        assert_null(kw_command(kw, &error, "GET a"));
        assert_int_equal(error.code, KW_ERR_UNSUPPORTED);
        assert_non_null(strstr(error.text, "redis-sentinel://"));
        assert_in_range(error.elapsed_ms, 0, 1500);
        kw_close(kw);
    }
    kw_fake_reset(fake);
    kw_client *kw = kw_test_open("redis-sentinel://%s/group?timeout=5s", kw_fake_address(fake));
    assert_null(kw_command(kw, &error, "GET a"));
    assert_int_equal(error.code, KW_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.text, "no sentinel"));
    assert_in_range(error.elapsed_ms, 0, 1500);
    kw_close(kw);
    kw = kw_test_open("redis-cluster://nowhere.invalid:1?timeout=500ms");
    assert_null(kw_command(kw, &error, "GET a"));
    assert_int_equal(error.code, KW_ERR_RESOLVE);
    assert_null(strstr(error.text, "no address for the host name: no")); /* it is said once */
    kw_close(kw);
    kw_fake_free(fake);
}

/* Behind a name or an address that moved: the old server lives on as a replica, and its connections
 * stay open. The next connection reaches the new one, by which the command is sent again. */
static void test_readonly_of_a_plain_server_is_asked_again_by_a_new_connection(void **state)
{
    (void)state;
    static const char *const schemes[] = {"redis://", "redis-ring://a="};
    for (int i = 0; i < 2 * KW_TEST_WAYS_N; i++) {
        kw_test_way way = (kw_test_way)(i / 2);
        kw_fake *fake = kw_fake_start();
        kw_fake_on_reply(fake, 1, "INCR *", ":1");
        kw_fake_on_reply(fake, 2, "INCR *",
                         "-READONLY You can't write against a read only replica.");
        kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "INCR *", ":2");
        kw_client *client = kw_test_open("%s%s?timeout=5s", schemes[i % 2], kw_fake_address(fake));
        kw_test_end end = kw_test_send(client, KW_TEST_CALL, "INCR", "foo");
        assert_true(end.is_answered);
        unsigned before_n = kw_fake_accepted(fake);
        end = kw_test_send(client, way, "INCR", "foo");
        if (!end.is_answered) {
            fail_msg("%s by %s: %s", schemes[i % 2], kw_test_way_name(way), end.error.text);
        }
        assert_true(kw_fake_accepted(fake) > before_n);
        kw_close(client);
        kw_fake_free(fake);
    }
}

/* One that stays a replica: its own words after a second, and at once from then on. */
static void test_readonly_that_stays_is_the_servers_word(void **state)
{
    (void)state;
    kw_fake *fake = kw_fake_start();
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, "INCR *",
                     "-READONLY You can't write against a read only replica.");
    kw_client *client = kw_test_open("redis://%s?timeout=10s", kw_fake_address(fake));
    for (int i = 0; i < 5; i++) {
        kw_test_end end = kw_test_send(client, KW_TEST_CALL, "INCR", "foo");
        assert_false(end.is_answered);
        assert_non_null(strstr(end.error.text, "READONLY"));
        assert_in_range(end.took_us, i == 0 ? 700000 : 0, i == 0 ? 3000000 : 500000);
    }
    kw_close(client);
    kw_fake_free(fake);
}

static int run(size_t part)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_far_servers_are_reached),
        cmocka_unit_test(test_far_failover_is_followed),
        cmocka_unit_test(test_map_that_comes_late_is_taken),
        cmocka_unit_test(test_connect_wrong_scheme_is_named_at_once),
        cmocka_unit_test(test_readonly_of_a_plain_server_is_asked_again_by_a_new_connection),
        cmocka_unit_test(test_readonly_that_stays_is_the_servers_word),
        cmocka_unit_test(test_map_of_nodes_that_are_all_gone_is_replaced_in_a_second),
    };
    (void)part;
    return KW_TEST_RUN_SHARE(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 4, run);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Redirects and maps that change or lie while calls go on: what is followed, what is
 * remembered, and who is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/fake.h"

#include <keyway.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LATE_MS 1500

/* "foo" is in slot 12182 of the second fake; "bar", 5061, in the first one's. */
#define FOO_SLOT 12182u

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

static void answer(kw_fake *fake, const char *pattern, const char *reply)
{
    kw_fake_on_reply(fake, KW_FAKE_ALWAYS, pattern, "%s", reply);
}

static void own_all(kw_fake *owner)
{
    const kw_fake_range all[] = {{0, 16383, owner, NULL}};
    kw_fake_set_cluster(fakes, 3, all, 1);
}

static void reset_fakes(void)
{
    kw_fake_halves(fakes, 3);
}

/* Every INCR is answered with the number of the fake, from here on. */
static void answer_numbers(void)
{
    answer(fakes[0], "INCR *", ":0");
    answer(fakes[1], "INCR *", ":1");
    answer(fakes[2], "INCR *", ":2");
}

static kw_client *open_cluster(const char *options)
{
    return kw_test_open("redis-cluster://%s?%s", kw_fake_address(fakes[0]), options);
}

static void expect(kw_client *kw, const char *command, long long number)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(kw, &error, command);
    if (reply == NULL || kw_reply_is_error(reply) || kw_reply_int(reply) != number) {
        fail_msg("%s: %s %s", command, error.text, reply != NULL ? kw_reply_str(reply, NULL) : "");
    }
    kw_reply_free(reply);
}

static size_t maps_asked(void)
{
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        n += kw_fake_count(fakes[i], "CLUSTER *");
    }
    return n;
}

static void stall_maps(void)
{
    for (size_t i = 0; i < 3; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "CLUSTER *", KW_FAKE_STEPS(KW_FAKE_STALL));
    }
}

/* Redirects. */

static void test_moved_patches_the_slot_at_once(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_cluster("timeout=1s");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    stall_maps();
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "INCR foo", "-MOVED %u %s", FOO_SLOT,
                     kw_fake_address(fakes[2]));
    answer_numbers();
    for (int i = 0; i < 5; i++) {
        expect(kw, "INCR foo", 2);
    }
    expect(kw, "INCR hello1", 1); /* slot 11613: a neighbour of foo, not moved */
    assert_int_equal(kw_fake_count(fakes[1], "INCR foo"), 1);
    kw_close(kw);
}

static void test_moved_of_another_slot_is_followed_but_not_remembered(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_cluster("timeout=1s");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    stall_maps();
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u %s", FOO_SLOT + 1,
                     kw_fake_address(fakes[2]));
    answer_numbers();
    expect(kw, "INCR foo", 2);
    expect(kw, "INCR foo", 1);
    kw_close(kw);
}

static void test_moved_to_ipv6_splits_at_the_last_colon(void **state)
{
    (void)state;
    int socket6 = socket(AF_INET6, SOCK_STREAM, 0);
    if (socket6 < 0) {
        print_message("no IPv6 here\n");
        return;
    }
    close(socket6);
    reset_fakes();
    kw_client *kw = open_cluster("timeout=1s");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u ::ffff:127.0.0.1:%u", FOO_SLOT,
                     (unsigned)kw_fake_port(fakes[2]));
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-ASK %u ::ffff:127.0.0.1:%u", FOO_SLOT,
                     (unsigned)kw_fake_port(fakes[2]));
    answer_numbers();
    expect(kw, "INCR foo", 2);
    kw_close(kw);
}

/* A server that sends callers to ever new places costs neither descriptors nor memory. */
static void test_moved_storm_costs_nothing_that_stays(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_cluster("timeout=60ms&redirects-max=3");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    int descriptors_n = kw_test_fd_count();
    for (unsigned i = 0; i < 40; i++) {
        kw_fake_reset(fakes[1]);
        kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "INCR foo", "-%s %u 127.0.0.1:%u",
                         i % 2 == 0 ? "MOVED" : "ASK", FOO_SLOT, 1 + i);
        kw_error error = KW_ERROR_INIT;
        uint64_t start_ms = kw_test_now_ms();
        assert_null(kw_command(kw, &error, "INCR foo"));
        assert_in_range(kw_test_now_ms() - start_ms, 0, 60 + LATE_MS);
        assert_int_equal(error.effect, KW_EFFECT_NONE);
    }
    kw_stats stats = {.size = sizeof(stats)};
    assert_int_equal(kw_client_stats(kw, &stats), KW_OK);
    assert_in_range(stats.nodes, 2, 30); /* a few places are remembered */
    assert_in_range(kw_test_fd_count(), 0, descriptors_n + 8);
    reset_fakes();
    answer_numbers();
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = NULL;
    uint64_t start_ms = kw_test_now_ms();
    while (reply == NULL && kw_test_now_ms() - start_ms < 1000 + LATE_MS) {
        reply = kw_command(kw, &error, "INCR foo");
    }
    assert_int_equal(kw_reply_int(reply), 1);
    kw_reply_free(reply);
    kw_close(kw);
}

static void test_ask_to_a_dead_node_goes_back_to_the_owner(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_cluster("timeout=2s");
    kw_fake_on_reply(fakes[1], 2, "INCR foo", "-ASK %u 127.0.0.1:1", FOO_SLOT);
    answer_numbers();
    expect(kw, "INCR foo", 1);
    assert_int_equal(kw_fake_count(fakes[1], "INCR foo"), 3);
    assert_int_equal(kw_fake_count(fakes[1], "ASKING"), 0);
    kw_close(kw);
}

/* Redirects are the caller's to read where he named the node. */
static void test_redirect_of_a_named_node_is_passed_on(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_cluster("timeout=1s");
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u %s", FOO_SLOT, kw_fake_address(fakes[2]));
    answer_numbers();
    const char *argv[] = {"INCR", "foo"};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.route = KW_ROUTE_NODE;
    options.node = kw_fake_address(fakes[1]);
    kw_reply *reply = kw_call(kw, NULL, &options, (kw_argv){2, argv, NULL});
    assert_true(kw_reply_is_error(reply));
    kw_reply_free(reply);
    assert_int_equal(kw_fake_count(fakes[2], "INCR *"), 0);
    kw_close(kw);
}

static void take_line(void *arg, kw_log_level level, const char *text)
{
    (void)level;
    if (strstr(text, "redis-cluster://") != NULL) {
        *(bool *)arg = true;
    }
}

static void test_plain_handle_at_a_cluster_is_told_so(void **state)
{
    (void)state;
    reset_fakes();
    kw_fake_on_reply(fakes[0], 1, "INCR foo", "-MOVED %u %s", FOO_SLOT, kw_fake_address(fakes[1]));
    bool has_hint = false;
    kw_config *config = kw_test_config_new(NULL);
    assert_int_equal(kw_config_set_uri(config, NULL, kw_fake_uri(fakes[0])), KW_OK);
    kw_config_set_log(config, KW_LOG_WARNING, take_line, &has_hint);
    kw_client *kw = kw_open_config(config, NULL);
    kw_config_free(config);
    kw_reply *reply = kw_command(kw, NULL, "INCR foo");
    assert_true(kw_reply_is_error(reply));
    assert_true(has_hint);
    assert_int_equal(kw_fake_count(fakes[1], "INCR *"), 0);
    kw_reply_free(reply);
    kw_close(kw);
}

/* Maps. */

static void set_map(const char *slots)
{
    for (size_t i = 0; i < 3; i++) {
        kw_fake_set_map(fakes[i], slots, NULL);
    }
}

/* Makes the handle fetch maps until it has asked for n more. */
static void make_it_ask(kw_client *kw, size_t n)
{
    size_t before_n = maps_asked();
    uint64_t start_ms = kw_test_now_ms();
    for (unsigned i = 0; maps_asked() < before_n + n; i++) {
        char command[40];
        snprintf(command, sizeof(command), "INCRBY bar %u", i);
        for (size_t k = 0; k < 3; k++) {
            kw_fake_on_reply(fakes[k], 1, command, "-CLUSTERDOWN asks for a map");
            answer(fakes[k], command, ":1");
        }
        kw_reply_free(kw_command(kw, NULL, command));
        kw_test_sleep_ms(5);
        assert_in_range(kw_test_now_ms() - start_ms, 0, 5000 + LATE_MS);
    }
    kw_test_sleep_ms(20);
    kw_reply_free(kw_command(kw, NULL, "TYPE bar")); /* takes the last answer */
}

static void test_map_forms_of_a_host_are_understood(void **state)
{
    (void)state;
    static const char *const hosts[] = {
        "$-1\r\n:%u\r\n",                               /* whoever answered */
        "$0\r\n\r\n:%u\r\n",                            /* the same */
        "$9\r\nlocalhost\r\n:%u\r\n",                   /* a name */
        "$9\r\n127.0.0.1\r\n:%u\r\n$2\r\nid\r\n*0\r\n", /* node identity and metadata */
        "$9\r\n127.0.0.1\r\n:%u\r\n$2\r\nid\r\n*2\r\n$8\r\nhostname\r\n$4\r\nhost\r\n",
    };
    static const int fields[] = {2, 2, 2, 4, 4};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        reset_fakes();
        char node[200];
        char slots[300];
        snprintf(node, sizeof(node), hosts[i], (unsigned)kw_fake_port(fakes[2]));
        snprintf(slots, sizeof(slots), "*1\r\n*3\r\n:0\r\n:16383\r\n*%d\r\n%s", fields[i], node);
        set_map(slots);
        answer_numbers();
        kw_client *kw = open_cluster("timeout=1s");
        expect(kw, "INCR foo", 2);
        kw_close(kw);
    }
}

static void test_map_overlapping_keeps_the_owner(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_cluster("timeout=2s");
    answer(fakes[1], "INCR *", ":1");
    answer(fakes[2], "INCR *", ":2");
    expect(kw, "INCR foo", 1);
    const kw_fake_range both[] = {{0, 16383, fakes[2], NULL}, {8001, 16383, fakes[1], NULL}};
    kw_fake_set_cluster(fakes, 3, both, 2);
    make_it_ask(kw, 2);
    expect(kw, "INCR foo", 1);
    kw_close(kw);
}

/* 16,384 ranges: of two nodes a map like any other, of as many nodes none. */
static void test_map_huge_is_taken_or_refused_in_good_time(void **state)
{
    (void)state;
    static char slots[16384 * 64];
    for (int k = 0; k < 2; k++) {
        reset_fakes();
        kw_client *kw = open_cluster("timeout=5s");
        answer(fakes[1], "INCR *", ":1");
        answer(fakes[2], "INCR *", ":2");
        expect(kw, "INCR foo", 1);
        size_t len = (size_t)sprintf(slots, "*16384\r\n");
        for (unsigned i = 0; i < 16384; i++) {
            unsigned port = k == 0 ? 1 + i : kw_fake_port(fakes[i % 2 == 0 ? 2 : 0]);
            len += (size_t)sprintf(
                slots + len, "*3\r\n:%u\r\n:%u\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n", i, i, port);
        }
        set_map(slots);
        answer(fakes[2], "INCR bar", ":0");
        make_it_ask(kw, 2);
        expect(kw, "INCR foo", k == 0 ? 1 : 2); /* an even slot */
        kw_close(kw);
    }
}

static void test_map_cut_short_leaves_the_last_good_one(void **state)
{
    (void)state;
    const kw_fake_step *const ends[] = {
        KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n*3\r\n:0\r\n:16"), KW_FAKE_CLOSE),
        KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n*3\r\n:0\r\n:16"), KW_FAKE_RESET),
        KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n*3\r\n:0\r\n:16"), KW_FAKE_STALL),
        KW_FAKE_STEPS(KW_FAKE_SEND("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$1\r\na\r\n:1\r\n:9\r\n")),
        KW_FAKE_STEPS(KW_FAKE_SEND("*1073741824\r\n")),
        KW_FAKE_STEPS(KW_FAKE_SEND("HTTP/1.1 400\r\n")),
        KW_FAKE_STEPS(KW_FAKE_FLOOD("*1\r\n", 1)),
    };
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        reset_fakes();
        kw_client *kw = open_cluster("timeout=2s");
        answer(fakes[1], "INCR *", ":1");
        expect(kw, "INCR foo", 1);
        int descriptors_n = kw_test_fd_count();
        for (size_t k = 0; k < 3; k++) {
            kw_fake_on(fakes[k], KW_FAKE_ALWAYS, "CLUSTER *", ends[i]);
        }
        make_it_ask(kw, 2);
        for (int k = 0; k < 5; k++) {
            expect(kw, "INCR foo", 1);
        }
        assert_in_range(kw_test_fd_count(), 0, descriptors_n + 6);
        kw_close(kw);
    }
}

static void test_map_seeds_are_asked_in_any_order(void **state)
{
    (void)state;
    reset_fakes();
    char uri[300];
    snprintf(uri, sizeof(uri), "redis-cluster://%s,%s,%s?timeout=2s", kw_fake_address(fakes[0]),
             kw_fake_address(fakes[1]), kw_fake_address(fakes[2]));
    for (int i = 0; i < 60; i++) {
        kw_client *kw = kw_test_try_open(uri, NULL);
        assert_int_equal(kw_connect(kw, NULL), KW_OK);
        kw_close(kw);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_in_range(kw_fake_count(fakes[i], "CLUSTER SLOTS"), 3, 57);
    }
}

/* Everybody in the map is gone; the seed knows their heirs. */
static void test_map_seeds_are_kept_for_ever(void **state)
{
    (void)state;
    reset_fakes();
    own_all(fakes[1]);
    answer_numbers();
    kw_client *kw = open_cluster("timeout=3s");
    expect(kw, "INCR foo", 1);
    kw_fake_down(fakes[1]);
    own_all(fakes[2]);
    uint64_t start_ms = kw_test_now_ms();
    expect(kw, "INCR foo", 2);
    assert_in_range(kw_test_now_ms() - start_ms, 0, 1000 + LATE_MS);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moved_patches_the_slot_at_once),
        cmocka_unit_test(test_moved_of_another_slot_is_followed_but_not_remembered),
        cmocka_unit_test(test_moved_to_ipv6_splits_at_the_last_colon),
        cmocka_unit_test(test_moved_storm_costs_nothing_that_stays),
        cmocka_unit_test(test_ask_to_a_dead_node_goes_back_to_the_owner),
        cmocka_unit_test(test_redirect_of_a_named_node_is_passed_on),
        cmocka_unit_test(test_plain_handle_at_a_cluster_is_told_so),
        cmocka_unit_test(test_map_forms_of_a_host_are_understood),
        cmocka_unit_test(test_map_overlapping_keeps_the_owner),
        cmocka_unit_test(test_map_huge_is_taken_or_refused_in_good_time),
        cmocka_unit_test(test_map_cut_short_leaves_the_last_good_one),
        cmocka_unit_test(test_map_seeds_are_asked_in_any_order),
        cmocka_unit_test(test_map_seeds_are_kept_for_ever),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

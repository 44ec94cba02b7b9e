/* SPDX-License-Identifier: BSD-3-Clause */
/* Redirects: which are followed, what is remembered of them, and which are the caller's to read. */
#include "fake/fakes.h"

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

static void test_redirect_moved_is_followed_and_remembered(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=300ms&refresh-interval=0");
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u 127.0.0.1:%u", FOO_SLOT,
                     (unsigned)kw_fake_port(fakes[2]));
    answer(fakes[2], "INCR foo", ":3");
    kw_fake_on(fakes[0], KW_FAKE_ALWAYS, "CLUSTER SLOTS", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "CLUSTER SLOTS", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_fake_on(fakes[2], KW_FAKE_ALWAYS, "CLUSTER SLOTS", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_connect(kw, &error), KW_ERR_TOPOLOGY); /* nobody says the map */
    renew_fakes();
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u 127.0.0.1:%u", FOO_SLOT,
                     (unsigned)kw_fake_port(fakes[2]));
    answer(fakes[2], "INCR foo", ":3");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(incr_foo(kw, &error), 3);
    }
    kw_close(kw);
}

static void test_redirect_ask_is_for_one_command_behind_asking(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=300ms");
    kw_fake_on_reply(fakes[1], 2, "INCR foo", "-ASK %u 127.0.0.1:%u", FOO_SLOT,
                     (unsigned)kw_fake_port(fakes[2]));
    answer(fakes[1], "INCR foo", ":1");
    kw_fake_on_reply(fakes[2], 1, "INCR foo", "-TRYAGAIN keys are moving");
    answer(fakes[2], "INCR foo", ":3");
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(incr_foo(kw, &error), 3); /* ASK, TRYAGAIN, ASK, and done */
    assert_int_equal(incr_foo(kw, &error), 1); /* the owner is asked first again */
    assert_int_equal(kw_fake_count(fakes[2], "ASKING"), 2);
    bool is_behind = false;
    for (size_t i = 1; i < kw_fake_log_count(fakes[2]); i++) {
        kw_fake_entry before;
        kw_fake_entry entry;
        kw_fake_log_at(fakes[2], i - 1, &before);
        kw_fake_log_at(fakes[2], i, &entry);
        if (strcmp(entry.text, "INCR foo") == 0) {
            is_behind = strcmp(before.text, "ASKING") == 0 && before.connection == entry.connection;
            assert_true(is_behind);
        }
    }
    assert_true(is_behind);
    kw_close(kw);
}

typedef struct redirect {
    const char *says;
    long long number; /* what INCR foo gives; -1: error reply passed on */
} redirect;

static void test_redirect_forms_are_followed_or_passed_on(void **state)
{
    (void)state;
    renew_fakes();
    char to_third[64];
    char empty_host[64];
    char by_name[64];
    unsigned third = kw_fake_port(fakes[2]);
    snprintf(to_third, sizeof(to_third), "-MOVED 12182 127.0.0.1:%u", third);
    snprintf(empty_host, sizeof(empty_host), "-MOVED 12182 :%u", third);
    snprintf(by_name, sizeof(by_name), "-MOVED 12182 localhost:%u", third);
    const redirect rows[] = {
        {to_third, 3},
        {empty_host, 3},
        {by_name, 3},
        {"-MOVED 12182 127.0.0.1:0", -1},
        {"-MOVED 12182 127.0.0.1:65536", -1},
        {"-MOVED 12182 127.0.0.1:port", -1},
        {"-MOVED 12182 127.0.0.1", -1},
        {"-MOVED 16384 127.0.0.1:7000", -1},
        {"-MOVED -1 127.0.0.1:7000", -1},
        {"-MOVED x 127.0.0.1:7000", -1},
        {"-MOVED", -1},
        {"-ASK 12182", -1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        renew_fakes();
        kw_client *kw = open_cluster("timeout=300ms");
        kw_error error = KW_ERROR_INIT;
        kw_fake_on_reply(fakes[1], 1, "INCR foo", "%s", rows[i].says);
        answer(fakes[1], "INCR foo", ":1");
        answer(fakes[2], "INCR foo", ":3");
        kw_reply *reply = kw_command(kw, &error, "INCR foo");
        if (reply == NULL) {
            fail_msg("%s: %s", rows[i].says, error.text);
        }
        if (rows[i].number >= 0) {
            assert_int_equal(kw_reply_int(reply), rows[i].number);
        } else {
            assert_true(kw_reply_is_error(reply));
            assert_string_equal(kw_reply_str(reply, NULL), rows[i].says + 1);
            assert_int_equal(incr_foo(kw, &error), 1); /* the map is as before */
            assert_int_equal(kw_fake_count(fakes[2], "INCR *"), 0);
        }
        kw_reply_free(reply);
        kw_close(kw);
    }
}

static void test_redirect_and_map_go_through_the_address_map(void **state)
{
    (void)state;
    renew_fakes();
    char slots[300];
    snprintf(slots, sizeof(slots), "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$8\r\n10.1.1.1\r\n:7000\r\n");
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_set_map(fakes[i], slots, NULL);
    }
    char options[200];
    snprintf(options, sizeof(options),
             "timeout=300ms&address-map=10.1.1.1:7000>%s,10.1.1.2:7000>%s",
             kw_fake_address(fakes[1]), kw_fake_address(fakes[2]));
    kw_client *kw = open_cluster(options);
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u 10.1.1.2:7000", FOO_SLOT);
    answer(fakes[2], "INCR foo", ":3");
    kw_error error = KW_ERROR_INIT;
    if (incr_foo(kw, &error) != 3) {
        fail_msg("%s", error.text);
    }
    kw_close(kw);
}

static void refuse_maps(void)
{
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "CLUSTER S*", "-ERR not now");
    }
}

/* Without a new map the one slot is known anew, and no other. */
static void test_redirect_moved_patches_one_slot(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=1s");
    refuse_maps();
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u %s", FOO_SLOT, kw_fake_address(fakes[2]));
    answer_numbers();
    for (int i = 0; i < 5; i++) {
        assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 2);
    }
    assert_int_equal(kw_fake_count(fakes[1], "INCR foo"), 1);
    assert_int_equal(kw_test_ask_integer(kw, "INCR bar"), 0);
    assert_int_equal(kw_test_ask_integer(kw, "INCR hello"), 0);
    char node[100];
    assert_int_equal(kw_client_slot_node(kw, NULL, node, sizeof(node), FOO_SLOT + 1), KW_OK);
    assert_string_equal(node, kw_fake_address(fakes[1]));
    assert_int_equal(kw_test_stats(kw).moved, 1);
    kw_close(kw);
}

/* A server that speaks of another slot is followed, and believed nothing about either. */
static void test_redirect_for_another_slot_changes_no_map(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=1s");
    refuse_maps();
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u %s", BAR_SLOT, kw_fake_address(fakes[2]));
    answer_numbers();
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 2);
    assert_int_equal(kw_test_ask_integer(kw, "INCR bar"), 0);
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 1);
    kw_close(kw);
}

static void test_redirect_malformed_is_the_callers_to_read(void **state)
{
    (void)state;
    static const char *const says[] = {"-MOVED 12182 127.0.0.1:-1",
                                       "-MOVED 12182  127.0.0.1:7000",
                                       "-MOVED 12182 127.0.0.1:7000 x",
                                       "-MOVED 12182 [::1:7000",
                                       "-MOVED 12182 ::1]:7000",
                                       "-MOVED 12182 []:7000",
                                       "-MOVED 12182 a b:7000",
                                       "-MOVED 99999999999 a:7000",
                                       "-MOVED 12182 a:",
                                       "-MOVED 12182 :",
                                       "-MOVED 12182 a:7000x",
                                       "-MOVED 0x10 a:7000",
                                       "-MOVED +1 a:7000",
                                       "-MOVED 12182 a\x01:7000",
                                       "-ASK",
                                       "-ASK 12182",
                                       "-ASK 16384 127.0.0.1:7000",
                                       "-ASK 12182 127.0.0.1:0",
                                       "-ASK 12182 127.0.0.1:65536",
                                       "-ASK -1 127.0.0.1:7000",
                                       "-ask 12182 127.0.0.1:7000"};
    renew_fakes();
    kw_client *kw = open_connected("timeout=1s");
    size_t maps_n = kw_fake_count(fakes[0], "CLUSTER S*");
    for (size_t i = 0; i < sizeof(says) / sizeof(says[0]); i++) {
        kw_fake_on_reply(fakes[1], 1, "INCR foo", "%s", says[i]);
        char *text = kw_test_ask_error(kw, "INCR foo");
        assert_string_equal(text, says[i] + 1);
        free(text);
    }
    answer_numbers();
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 1);
    assert_int_equal(kw_test_stats(kw).moved + kw_test_stats(kw).ask, 0);
    assert_int_equal(kw_fake_count(fakes[0], "CLUSTER S*"), maps_n);
    kw_close(kw);
}

static void stall_maps(void)
{
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "CLUSTER S*", KW_FAKE_STEPS(KW_FAKE_STALL));
    }
}

static void test_redirect_moved_patches_the_slot_at_once(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=1s");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    stall_maps();
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "INCR foo", "-MOVED %u %s", FOO_SLOT,
                     kw_fake_address(fakes[2]));
    answer_numbers();
    for (int i = 0; i < 5; i++) {
        expect_number(kw, "INCR foo", 2);
    }
    expect_number(kw, "INCR hello1", 1); /* slot 11613: a neighbour of foo, not moved */
    assert_int_equal(kw_fake_count(fakes[1], "INCR foo"), 1);
    kw_close(kw);
}

static void test_redirect_moved_of_another_slot_is_followed_but_not_remembered(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=1s");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    stall_maps();
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u %s", FOO_SLOT + 1,
                     kw_fake_address(fakes[2]));
    answer_numbers();
    expect_number(kw, "INCR foo", 2);
    expect_number(kw, "INCR foo", 1);
    kw_close(kw);
}

static void test_redirect_moved_to_ipv6_splits_at_the_last_colon(void **state)
{
    (void)state;
    int socket6 = socket(AF_INET6, SOCK_STREAM, 0);
    if (socket6 < 0) {
        print_message("no IPv6 here\n");
        return;
    }
    close(socket6);
    renew_fakes();
    kw_client *kw = open_cluster("timeout=1s");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-MOVED %u ::ffff:127.0.0.1:%u", FOO_SLOT,
                     (unsigned)kw_fake_port(fakes[2]));
    kw_fake_on_reply(fakes[1], 1, "INCR foo", "-ASK %u ::ffff:127.0.0.1:%u", FOO_SLOT,
                     (unsigned)kw_fake_port(fakes[2]));
    answer_numbers();
    expect_number(kw, "INCR foo", 2);
    kw_close(kw);
}

/* Redirects are the caller's to read where he named the node. */
static void test_redirect_of_a_named_node_is_passed_on(void **state)
{
    (void)state;
    renew_fakes();
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

static void test_redirect_of_a_plain_handle_at_a_cluster_is_told_so(void **state)
{
    (void)state;
    renew_fakes();
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redirect_moved_is_followed_and_remembered),
        cmocka_unit_test(test_redirect_ask_is_for_one_command_behind_asking),
        cmocka_unit_test(test_redirect_forms_are_followed_or_passed_on),
        cmocka_unit_test(test_redirect_and_map_go_through_the_address_map),
        cmocka_unit_test(test_redirect_moved_patches_one_slot),
        cmocka_unit_test(test_redirect_for_another_slot_changes_no_map),
        cmocka_unit_test(test_redirect_malformed_is_the_callers_to_read),
        cmocka_unit_test(test_redirect_moved_patches_the_slot_at_once),
        cmocka_unit_test(test_redirect_moved_of_another_slot_is_followed_but_not_remembered),
        cmocka_unit_test(test_redirect_moved_to_ipv6_splits_at_the_last_colon),
        cmocka_unit_test(test_redirect_of_a_named_node_is_passed_on),
        cmocka_unit_test(test_redirect_of_a_plain_handle_at_a_cluster_is_told_so),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

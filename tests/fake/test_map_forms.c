/* SPDX-License-Identifier: BSD-3-Clause */
/* What nodes say of the map: forms that the specification allows are understood, and what is wrong,
 * cut short or hostile leaves the last good one. */
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

static void test_map_bad_answers_leave_the_last_good_one(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "*0\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n*2\r\n:0\r\n:16383\r\n",
        "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n",
        "*1\r\n*3\r\n:9\r\n:0\r\n*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n",
        "*1\r\n*3\r\n:0\r\n:9\r\n*2\r\n$9\r\n127.0.0.1\r\n:70000\r\n",
        "*1\r\n*3\r\n$1\r\na\r\n:9\r\n*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n",
        "*1\r\n*3\r\n:0\r\n:9\r\n*2\r\n$1\r\n?\r\n:7000\r\n",
        "+OK\r\n",
        "-ERR no\r\n",
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        renew_fakes();
        kw_client *kw = open_cluster("timeout=300ms");
        answer(fakes[1], "INCR foo", ":1");
        kw_error error = KW_ERROR_INIT;
        assert_int_equal(incr_foo(kw, &error), 1);
        for (size_t k = 0; k < 3; k++) {
            kw_fake_set_map(fakes[k], answers[i], NULL);
        }
        assert_int_equal(kw_connect(kw, NULL), KW_OK);                  /* there is a map */
        kw_fake_on_reply(fakes[0], 2, "INCR bar", "-CLUSTERDOWN down"); /* asks for another */
        answer(fakes[0], "INCR bar", ":5");
        kw_reply *reply = kw_command(kw, &error, "INCR bar");
        assert_int_equal(kw_reply_int(reply), 5);
        kw_reply_free(reply);
        kw_test_sleep_ms(120);
        for (int k = 0; k < 5; k++) {
            assert_int_equal(incr_foo(kw, &error), 1);
        }
        kw_close(kw);
    }
}

static void test_map_shards_where_slots_are_refused(void **state)
{
    (void)state;
    renew_fakes();
    for (size_t i = 0; i < FAKES_N; i++) {
        answer(fakes[i], "CLUSTER SLOTS", "-ERR unknown subcommand 'SLOTS'");
    }
    answer(fakes[1], "INCR foo", ":1");
    kw_client *kw = open_cluster("timeout=300ms");
    kw_error error = KW_ERROR_INIT;
    if (incr_foo(kw, &error) != 1) {
        fail_msg("%s", error.text);
    }
    kw_close(kw);
}

/* The slots from 8001 on belong to fakes[second]. Each answers INCR with its number. */
static void set_owner(size_t second)
{
    const kw_fake_range ranges[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[second], NULL}};
    kw_fake_set_cluster(fakes, 3, ranges, 2);
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
        renew_fakes();
        answer_numbers();
        char slots[400];
        snprintf(slots, sizeof(slots), forms[i], (unsigned)kw_fake_port(fakes[0]));
        kw_fake_set_map(fakes[0], slots, NULL);
        kw_client *kw = open_cluster("timeout=2s");
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
        renew_fakes();
        kw_client *kw = open_cluster("timeout=2s&refresh-interval=0");
        assert_int_equal(kw_connect(kw, NULL), KW_OK);
        for (size_t k = 0; k < 3; k++) {
            kw_fake_on(fakes[k], KW_FAKE_ALWAYS, "CLUSTER S*",
                       KW_FAKE_STEPS(KW_FAKE_BYTES(answers[i], strlen(answers[i]))));
        }
        kw_fake_on_reply(fakes[1], 2, "INCR foo", "-CLUSTERDOWN asks for a map");
        answer_numbers();
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
        answer_numbers();
        assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 2);
        kw_close(kw);
    }
}

static void set_map(const char *slots)
{
    for (size_t i = 0; i < FAKES_N; i++) {
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
        renew_fakes();
        char node[200];
        char slots[300];
        snprintf(node, sizeof(node), hosts[i], (unsigned)kw_fake_port(fakes[2]));
        snprintf(slots, sizeof(slots), "*1\r\n*3\r\n:0\r\n:16383\r\n*%d\r\n%s", fields[i], node);
        set_map(slots);
        answer_numbers();
        kw_client *kw = open_cluster("timeout=1s");
        expect_number(kw, "INCR foo", 2);
        kw_close(kw);
    }
}

static void test_map_overlapping_keeps_the_owner(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=2s");
    answer(fakes[1], "INCR *", ":1");
    answer(fakes[2], "INCR *", ":2");
    expect_number(kw, "INCR foo", 1);
    const kw_fake_range both[] = {{0, 16383, fakes[2], NULL}, {8001, 16383, fakes[1], NULL}};
    kw_fake_set_cluster(fakes, 3, both, 2);
    make_it_ask(kw, 2);
    expect_number(kw, "INCR foo", 1);
    kw_close(kw);
}

/* 16,384 ranges: of two nodes a map like any other, of as many nodes none. */
/* The command is answered by that number, once the map has been read. */
static void await_number(kw_client *kw, const char *command, long long number)
{
    long long got = -1;
    KW_TEST_UNTIL(got == number)
    {
        kw_reply *reply = kw_command(kw, NULL, command);
        got = reply != NULL ? kw_reply_int(reply) : -1;
        kw_reply_free(reply);
    }
}

static void test_map_huge_is_taken_or_refused_in_good_time(void **state)
{
    (void)state;
    static char slots[16384 * 64];
    for (int k = 0; k < 2; k++) {
        renew_fakes();
        kw_client *kw = open_cluster("timeout=5s");
        answer(fakes[1], "INCR *", ":1");
        answer(fakes[2], "INCR *", ":2");
        expect_number(kw, "INCR foo", 1);
        size_t len = (size_t)sprintf(slots, "*16384\r\n");
        for (unsigned i = 0; i < 16384; i++) {
            unsigned port = k == 0 ? 1 + i : kw_fake_port(fakes[i % 2 == 0 ? 2 : 0]);
            len += (size_t)sprintf(
                slots + len, "*3\r\n:%u\r\n:%u\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n", i, i, port);
        }
        set_map(slots);
        answer(fakes[2], "INCR bar", ":0");
        make_it_ask(kw, 2);
        await_number(kw, "INCR foo", k == 0 ? 1 : 2); /* an even slot */
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
        renew_fakes();
        kw_client *kw = open_cluster("timeout=2s");
        answer(fakes[1], "INCR *", ":1");
        expect_number(kw, "INCR foo", 1);
        int descriptors_n = kw_test_fd_count();
        for (size_t k = 0; k < 3; k++) {
            kw_fake_on(fakes[k], KW_FAKE_ALWAYS, "CLUSTER S*", ends[i]);
        }
        make_it_ask(kw, 2);
        for (int k = 0; k < 5; k++) {
            expect_number(kw, "INCR foo", 1);
        }
        assert_in_range(kw_test_fd_count(), 0, descriptors_n + 6);
        kw_close(kw);
    }
}

/* A user without the right to ask is told at once, and what to give him. */
static void test_map_without_the_right_to_ask_is_an_error_at_once(void **state)
{
    (void)state;
    renew_fakes();
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_set_map(fakes[i], "-NOPERM no permissions to run 'cluster|slots'\r\n",
                        "-NOPERM no permissions to run 'cluster|shards'\r\n");
    }
    kw_client *kw = open_cluster("timeout=60s");
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(incr_foo(kw, &error), -1);
    expect_error("INCR foo", &error, KW_ERR_AUTH, KW_EFFECT_NONE);
    assert_non_null(strstr(error.text, "CLUSTER SHARDS"));
    assert_non_null(strstr(error.text, "+cluster|slots"));
    assert_in_range(error.elapsed_ms, 0, 10000);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_bad_answers_leave_the_last_good_one),
        cmocka_unit_test(test_map_shards_where_slots_are_refused),
        cmocka_unit_test(test_map_forms_of_the_specification_are_understood),
        cmocka_unit_test(test_map_nonsense_is_refused_and_the_next_good_one_taken),
        cmocka_unit_test(test_map_forms_of_a_host_are_understood),
        cmocka_unit_test(test_map_overlapping_keeps_the_owner),
        cmocka_unit_test(test_map_without_the_right_to_ask_is_an_error_at_once),
        cmocka_unit_test(test_map_huge_is_taken_or_refused_in_good_time),
        cmocka_unit_test(test_map_cut_short_leaves_the_last_good_one),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

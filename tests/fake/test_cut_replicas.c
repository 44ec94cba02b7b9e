/* SPDX-License-Identifier: BSD-3-Clause */
/* Replicas that lose their primary while they are read from: by their own word, once a second at
 * the most, and then the primary is read, by all ways of sending, for as long as it is there. */
#include "fake/fakes.h"
#include "support/ways.h"

#define PRIMARY fakes[0]
#define REPLICA fakes[1]

#define REPLID "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* What the replica answers from now on. */
static void say_link(const char *status)
{
    char info[300];
    kw_fake_reset(REPLICA);
    kw_fake_on_reply(REPLICA, KW_FAKE_ALWAYS, "GET *", ":1");
    int len = snprintf(info, sizeof(info),
                       "role:slave\r\nmaster_link_status:%s\r\nslave_repl_offset:7\r\n"
                       "master_replid:" REPLID "\r\nmaster_repl_offset:7\r\n",
                       status);
    kw_fake_on_reply(REPLICA, KW_FAKE_ALWAYS, "INFO replication", "$%d\r\n%s", len, info);
}

static void renew_cluster(void)
{
    const kw_fake_range all[] = {{0, 16383, PRIMARY, REPLICA}};
    renew_fakes();
    kw_fake_set_cluster(fakes, FAKES_N, all, 1);
    kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "GET *", ":0");
    say_link("up");
}

/* Reads that each of the two got for one read by that way. */
static void expect_read_at(kw_client *kw, kw_test_way way, kw_fake *server)
{
    size_t before_n = kw_fake_count(server, "GET *");
    kw_test_end end = kw_test_send(kw, way, "GET", "foo");
    if (!end.is_answered || kw_fake_count(server, "GET *") != before_n + 1) {
        fail_msg("by %s: %s", kw_test_way_name(way), end.error.text);
    }
}

/* Reads until one goes there: what the replica says is asked for by reads that pass by. */
static void await_read_at(kw_client *kw, kw_fake *server)
{
    size_t before_n = kw_fake_count(server, "GET *");
    KW_TEST_UNTIL(kw_fake_count(server, "GET *") > before_n)
    {
        assert_true(kw_test_send(kw, KW_TEST_CALL, "GET", "foo").is_answered);
        kw_test_sleep_ms(1);
    }
}

static void test_replica_without_its_primary_is_not_read_from(void **state)
{
    (void)state;
    renew_cluster();
    kw_client *kw = open_cluster("timeout=3s&read-preference=prefer-replica");
    await_read_at(kw, REPLICA);
    KW_TEST_UNTIL(kw_fake_count(REPLICA, "INFO replication") > 0)
    {
        expect_read_at(kw, KW_TEST_CALL, REPLICA);
        kw_test_sleep_ms(1);
    }
    say_link("down");
    await_read_at(kw, PRIMARY);
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        /* A session stays where it is opened, at the primary. */
        expect_read_at(kw, (kw_test_way)way, PRIMARY);
    }
    say_link("up");
    await_read_at(kw, REPLICA);
    kw_close(kw);
}

static void test_links_are_asked_for_once_a_second_while_replicas_are_read(void **state)
{
    (void)state;
    renew_cluster();
    kw_client *kw = open_cluster("timeout=3s&read-preference=prefer-replica");
    await_read_at(kw, REPLICA);
    uint64_t start_ms = kw_test_now_ms();
    while (kw_test_now_ms() - start_ms < 2500) {
        expect_read_at(kw, KW_TEST_CALL, REPLICA);
        kw_test_sleep_ms(1);
    }
    uint64_t seconds = (kw_test_now_ms() - start_ms) / 1000;
    assert_in_range(kw_fake_count(REPLICA, "INFO replication"), 2, seconds + 2);
    assert_int_equal(kw_fake_count(PRIMARY, "INFO replication"), 0);
    kw_close(kw);
    kw = open_cluster("timeout=3s");
    kw_fake_log_clear(REPLICA);
    expect_read_at(kw, KW_TEST_CALL, PRIMARY);
    assert_int_equal(kw_fake_count(REPLICA, "*"), 0); /* nobody reads from it */
    kw_close(kw);
}

/* Old values are better than none. */
static void test_replica_without_its_primary_is_read_where_that_is_gone(void **state)
{
    (void)state;
    renew_cluster();
    kw_client *kw = open_cluster("timeout=3s&read-preference=prefer-replica");
    await_read_at(kw, REPLICA);
    say_link("down");
    await_read_at(kw, PRIMARY);
    kw_fake_down(PRIMARY);
    await_read_at(kw, REPLICA);
    expect_read_at(kw, KW_TEST_CALL, REPLICA);
    kw_close(kw);
}

/* With "replica" nobody else is read from: the read waits, and the error says what lacks. */
static void test_reads_of_replicas_alone_wait_for_the_link(void **state)
{
    (void)state;
    renew_cluster();
    kw_client *kw = open_cluster("timeout=500ms&read-preference=replica");
    await_read_at(kw, REPLICA);
    say_link("down");
    kw_test_end end = {.is_answered = true};
    KW_TEST_UNTIL(!end.is_answered)
    {
        end = kw_test_send(kw, KW_TEST_CALL, "GET", "foo");
        kw_test_sleep_ms(1);
    }
    expect_error("cut", &end.error, KW_ERR_NOT_SERVED, KW_EFFECT_NONE);
    assert_non_null(strstr(end.error.text, "its primary"));
    assert_int_equal(kw_fake_count(PRIMARY, "GET *"), 0);
    say_link("up");
    KW_TEST_UNTIL(end.is_answered)
    {
        end = kw_test_send(kw, KW_TEST_CALL, "GET", "foo");
        kw_test_sleep_ms(1);
    }
    kw_close(kw);
}

/* A user without the right to INFO reads as before. */
static void test_replica_that_does_not_say_is_read_from(void **state)
{
    (void)state;
    renew_cluster();
    kw_fake_reset(REPLICA);
    kw_fake_on_reply(REPLICA, KW_FAKE_ALWAYS, "GET *", ":1");
    kw_fake_on_reply(REPLICA, KW_FAKE_ALWAYS, "INFO replication", "-NOPERM no");
    kw_client *kw = open_cluster("timeout=3s&read-preference=prefer-replica");
    await_read_at(kw, REPLICA);
    KW_TEST_UNTIL(kw_fake_count(REPLICA, "INFO replication") > 1)
    {
        expect_read_at(kw, KW_TEST_CALL, REPLICA);
        kw_test_sleep_ms(1);
    }
    assert_int_equal(kw_fake_count(PRIMARY, "GET *"), 0);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replica_without_its_primary_is_not_read_from),
        cmocka_unit_test(test_links_are_asked_for_once_a_second_while_replicas_are_read),
        cmocka_unit_test(test_replica_without_its_primary_is_read_where_that_is_gone),
        cmocka_unit_test(test_reads_of_replicas_alone_wait_for_the_link),
        cmocka_unit_test(test_replica_that_does_not_say_is_read_from),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

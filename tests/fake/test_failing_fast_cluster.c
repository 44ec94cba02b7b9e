/* SPDX-License-Identifier: BSD-3-Clause */
/* Primaries of a cluster and of Sentinel that are down: a shard without a replica fails at once
 * after a second; one with a replica waits while an election may help, and fails then; where
 * nobody at all answers, calls do not wait for a map. In every way of sending, each two
 * parts of the program. */
#include "fake/fakes.h"
#include "support/parts.h"
#include "support/ways.h"

#define AT_ONCE_US (20000 * KW_TEST_SLOWNESS)
#define SPAN_MS    1000
#define BACK_MS    1000
#define MANY       100

/* foo is in the upper half, bar in the lower one. */
#define UPPER "foo"
#define LOWER "bar"

/* This part's. */
static kw_test_way way;

/* Two shards, the upper one with or without a replica; fakes[1] and fakes[2] are of it. */
static void make_cluster(bool has_replica)
{
    const kw_fake_range ranges[] = {{0, 8000, fakes[0], NULL},
                                    {8001, 16383, fakes[1], has_replica ? fakes[2] : NULL}};
    kw_fake_renew_all(fakes, FAKES_N);
    kw_fake_set_cluster(fakes, FAKES_N, ranges, 2);
    answer_numbers();
}

static void expect_answer(kw_client *client, const char *key)
{
    kw_test_end end = kw_test_send(client, way, "INCR", key);
    if (!end.is_answered) {
        fail_msg("%s by %s: %s", key, kw_test_way_name(way), end.error.text);
    }
}

/* Calls until one ends without waiting; when, from the first failure on. */
static uint64_t ms_until_down(kw_client *client, uint64_t limit_ms)
{
    uint64_t start_ms = kw_test_now_ms();
    kw_test_end end;
    do {
        end = kw_test_send(client, way, "INCR", UPPER);
        assert_false(end.is_answered);
        assert_int_equal(end.error.effect, KW_EFFECT_NONE);
    } while (end.took_us > AT_ONCE_US && kw_test_now_ms() - start_ms < limit_ms + LATE_MS);
    return kw_test_now_ms() - start_ms;
}

static void expect_failures_at_once(kw_client *client, kw_err code)
{
    unsigned late_n = 0;
    uint64_t start_ms = kw_test_now_ms();
    uint64_t dials_n = kw_test_stats(client).connect_failures;
    for (int i = 0; i < MANY; i++) {
        kw_test_end end = kw_test_send(client, way, "INCR", UPPER);
        assert_false(end.is_answered);
        if (end.error.code != code || end.error.effect != KW_EFFECT_NONE) {
            fail_msg("by %s: %s", kw_test_way_name(way), end.error.text);
        }
        late_n += end.took_us > AT_ONCE_US ? 1 : 0;
    }
    assert_in_range(late_n, 0, MANY / 10);
    uint64_t seconds = (kw_test_now_ms() - start_ms) / 1000 + 1;
    assert_in_range(kw_test_stats(client).connect_failures - dials_n, 0, 4 * seconds);
}

static void test_shard_without_a_replica_fails_at_once_after_a_second(void **state)
{
    (void)state;
    make_cluster(false);
    kw_client *client = open_cluster("timeout=20s");
    expect_answer(client, UPPER);
    kw_fake_down(fakes[1]);
    assert_in_range(ms_until_down(client, SPAN_MS), SPAN_MS - 200, SPAN_MS + LATE_MS);
    expect_failures_at_once(client, KW_ERR_CONNECT);
    expect_answer(client, LOWER);
    kw_fake_up(fakes[1]);
    kw_test_sleep_ms(BACK_MS);
    expect_answer(client, UPPER);
    kw_close(client);
}

/* Another server is at the address of one that was down, and the slots are elsewhere: the call that
 * finds out waits for the map that tells so. */
static void test_stranger_in_place_of_a_node_that_is_down_is_passed_by(void **state)
{
    (void)state;
    const kw_fake_range all[] = {{0, 16383, fakes[1], NULL}};
    make_cluster(false);
    kw_client *client = open_cluster("timeout=20s");
    expect_answer(client, UPPER);
    kw_fake_down(fakes[1]);
    (void)ms_until_down(client, SPAN_MS);
    move_upper_half(100);
    kw_fake_set_id(fakes[1], 77777);
    kw_fake_set_cluster(&fakes[1], 1, all, 1);
    kw_fake_up(fakes[1]);
    kw_test_sleep_ms(BACK_MS);
    expect_answer(client, UPPER);
    assert_int_equal(kw_fake_count(fakes[2], "INCR *"), 1);
    kw_close(client);
}

/* A node goes down behind the first try of a call, which is the only one in a second: the map that
 * it asked for then names another owner, and is waited for. */
static void test_call_that_has_tried_waits_for_the_map_that_it_asked_for(void **state)
{
    (void)state;
    make_cluster(false);
    kw_client *client = open_cluster("timeout=20s&down-after=3");
    expect_answer(client, UPPER);
    kw_fake_down(fakes[1]);
    kw_call_options brief = KW_CALL_OPTIONS_INIT;
    const char *argv[] = {"INCR", UPPER};
    brief.timeout_ms = 5; /* one failure; the next is the call's, and the third that of a probe */
    assert_null(kw_call(client, NULL, &brief, (kw_argv){2, argv, NULL}));
    kw_test_sleep_ms(SPAN_MS + 100);
    move_upper_half(300);
    expect_answer(client, UPPER);
    kw_close(client);
}

/* A node that takes connections and says nothing is sent no call once it is down: the one that
 * comes alone waits for the map that names another owner. */
static void test_call_alone_at_a_silent_node_waits_for_a_map(void **state)
{
    (void)state;
    const kw_fake_range left[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[2], NULL}};
    make_cluster(false);
    kw_client *client = open_cluster("timeout=4s&stall-timeout=200ms");
    expect_answer(client, UPPER);
    kw_fake_reset(fakes[1]);
    kw_fake_on_accept(fakes[1], KW_FAKE_ALWAYS, KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "*", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_error error = KW_ERROR_INIT;
    KW_TEST_UNTIL(strstr(error.text, "not waited for") != NULL)
    {
        kw_reply_free(kw_command(client, &error, "INCR " UPPER));
        kw_test_sleep_ms(50);
    }
    kw_fake_set_cluster(fakes, FAKES_N, left, 2);
    kw_test_sleep_ms(1000);
    expect_answer(client, UPPER);
    assert_int_equal(kw_fake_count(fakes[2], "INCR *"), 1);
    kw_close(client);
}

/* All that owned slots are gone but for one, which has them all, and takes its time to say so.
 * Calls that end at once, a second apart, leave each fetch of the map alone: it gets on by them. */
static void test_calls_a_second_apart_lead_to_the_server_that_is_left(void **state)
{
    (void)state;
    enum { CALLS_MAX = 8 };
    const kw_fake_range ranges[] = {
        {0, 8000, fakes[0], NULL}, {8001, 16000, fakes[1], NULL}, {16001, 16383, fakes[2], NULL}};
    const kw_fake_range all[] = {{0, 16383, fakes[2], NULL}};
    kw_fake_renew_all(fakes, FAKES_N);
    kw_fake_set_cluster(fakes, FAKES_N, ranges, 3);
    answer_numbers();
    kw_client *client = open_cluster("timeout=20s");
    expect_answer(client, UPPER);
    kw_fake_down(fakes[0]);
    kw_fake_down(fakes[1]);
    kw_fake_down(fakes[2]);
    (void)ms_until_down(client, SPAN_MS);
    kw_fake_set_cluster(&fakes[2], 1, all, 1);
    kw_fake_on_accept(fakes[2], KW_FAKE_ALWAYS, KW_FAKE_STEPS(KW_FAKE_DELAY(300)));
    kw_fake_up(fakes[2]);
    kw_test_end end = {.is_answered = false};
    for (int i = 0; i < CALLS_MAX && !end.is_answered; i++) {
        kw_test_sleep_ms(1200);
        end = kw_test_send(client, way, "INCR", UPPER);
    }
    if (!end.is_answered) {
        fail_msg("by %s: %s", kw_test_way_name(way), end.error.text);
    }
    kw_close(client);
}

/* cluster-node-timeout is 100 ms: 2 x 100 ms + 2 s. */
static void test_shard_with_a_replica_waits_for_an_election_and_no_longer(void **state)
{
    (void)state;
    const uint64_t election_ms = 2200;
    make_cluster(true);
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "CONFIG GET cluster-node-timeout",
                         "*2\r\n$20\r\ncluster-node-timeout\r\n$3\r\n100");
    }
    kw_client *client = open_cluster("timeout=20s");
    expect_answer(client, UPPER);
    assert_int_equal(kw_fake_count(fakes[0], "CONFIG *"), 0); /* not without need */
    kw_fake_down(fakes[1]);
    assert_in_range(ms_until_down(client, election_ms), election_ms - 300, election_ms + LATE_MS);
    assert_int_equal(kw_fake_count(fakes[0], "CONFIG *") + kw_fake_count(fakes[2], "CONFIG *"),
                     1); /* once, of whoever is asked for the map */
    expect_failures_at_once(client, KW_ERR_CONNECT);
    kw_fake_up(fakes[1]);
    kw_test_sleep_ms(BACK_MS);
    expect_answer(client, UPPER);
    kw_close(client);
}

static void test_election_that_comes_in_time_is_waited_for(void **state)
{
    (void)state;
    make_cluster(true);
    kw_client *client = open_cluster("timeout=20s&refresh-interval=100ms");
    expect_answer(client, UPPER);
    kw_fake_down(fakes[1]);
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    const char *argv[] = {"INCR", UPPER};
    options.timeout_ms = 1500; /* past the second of a shard without a replica */
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_call(client, &error, &options, (kw_argv){2, argv, NULL}));
    assert_in_range(error.elapsed_ms, 1300, 1500 + LATE_MS);
    const kw_fake_range promoted[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[2], NULL}};
    kw_fake_set_cluster(fakes, FAKES_N, promoted, 2);
    answer_numbers();
    expect_answer(client, UPPER);
    kw_close(client);
}

/* Nobody answers when the handle is new: the map is waited for, for a second. */
static void test_cluster_of_which_nobody_answers_is_not_waited_for(void **state)
{
    (void)state;
    make_cluster(false);
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_down(fakes[i]);
    }
    kw_client *client = open_cluster("timeout=20s");
    assert_in_range(ms_until_down(client, SPAN_MS), SPAN_MS - 200, SPAN_MS + LATE_MS);
    expect_failures_at_once(client, KW_ERR_CONNECT);
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_up(fakes[i]);
    }
    kw_test_sleep_ms(BACK_MS);
    expect_answer(client, UPPER);
    kw_close(client);
}

static size_t count_all(const char *pattern)
{
    return kw_fake_count(fakes[0], pattern) + kw_fake_count(fakes[2], pattern);
}

/* What a node says of the cluster, and whether it changes: nothing but that is asked in a long
 * outage, once a second, and the map when it has changed. */
static void test_map_is_not_fetched_again_and_again_in_a_long_outage(void **state)
{
    (void)state;
    make_cluster(false);
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "CLUSTER INFO",
                         "$45\r\ncluster_state:fail\r\ncluster_current_epoch:3\r\n");
    }
    kw_client *client = open_cluster("timeout=20s");
    expect_answer(client, UPPER);
    kw_fake_down(fakes[1]);
    uint64_t start_ms = kw_test_now_ms();
    size_t maps_n = 0;
    size_t infos_n = 0;
    while (kw_test_now_ms() - start_ms < 11000) {
        if (kw_test_now_ms() - start_ms < 8000) {
            maps_n = count_all("CLUSTER SLOTS");
            infos_n = count_all("CLUSTER INFO");
        }
        kw_test_end end = kw_test_send(client, KW_TEST_CALL, "INCR", UPPER);
        assert_false(end.is_answered);
        kw_test_sleep_ms(2);
    }
    assert_in_range(count_all("CLUSTER SLOTS") - maps_n, 0, 1);
    assert_in_range(count_all("CLUSTER INFO") - infos_n, 1, 5);
    const kw_fake_range promoted[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[2], NULL}};
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_reset(fakes[i]);
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "CLUSTER INFO",
                         "$43\r\ncluster_state:ok\r\ncluster_current_epoch:4\r\n");
    }
    kw_fake_set_cluster(fakes, FAKES_N, promoted, 2);
    answer_numbers();
    start_ms = kw_test_now_ms();
    while (!kw_test_send(client, KW_TEST_CALL, "INCR", UPPER).is_answered) {
        assert_true(kw_test_now_ms() - start_ms < 1000 + LATE_MS);
    }
    kw_close(client);
}

static void answer_info(const char *state, unsigned epoch)
{
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "CLUSTER INFO",
                         "$45\r\ncluster_state:%s\r\ncluster_current_epoch:%u\r\n", state, epoch);
    }
}

/* In a long outage a node says that something has changed, and its map is lost on the way; another
 * one says the same of what has changed, and it is not taken for what was known. */
static void test_map_that_is_lost_behind_its_news_is_asked_for_again(void **state)
{
    (void)state;
    const kw_fake_range calm[] = {{0, 8000, fakes[0], fakes[2]}, {8001, 16383, fakes[1], NULL}};
    kw_fake_renew_all(fakes, FAKES_N);
    kw_fake_set_cluster(fakes, FAKES_N, calm, 2);
    answer_numbers();
    answer_info("fail", 3);
    kw_client *client = open_cluster("timeout=20s");
    expect_answer(client, UPPER);
    kw_fake_down(fakes[1]);
    uint64_t start_ms = kw_test_now_ms();
    while (kw_test_now_ms() - start_ms < 7500) {
        assert_false(kw_test_send(client, KW_TEST_CALL, "INCR", UPPER).is_answered);
        kw_test_sleep_ms(2);
    }
    const kw_fake_range promoted[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[2], NULL}};
    size_t maps_n = count_all("CLUSTER SLOTS");
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_reset(fakes[i]);
        kw_fake_on(fakes[i], 1, "CLUSTER SLOTS", KW_FAKE_STEPS(KW_FAKE_CLOSE));
    }
    answer_info("fine", 4);
    kw_fake_set_cluster(fakes, FAKES_N, promoted, 2);
    answer_numbers();
    start_ms = kw_test_now_ms();
    while (!kw_test_send(client, KW_TEST_CALL, "INCR", UPPER).is_answered) {
        assert_true(kw_test_now_ms() - start_ms < 10000);
        kw_test_sleep_ms(2);
    }
    assert_in_range(count_all("CLUSTER SLOTS") - maps_n, 2, 4); /* lost once or twice */
    kw_close(client);
}

/* fakes[0] is the sentinel, fakes[1] the primary, fakes[2] its replica, where it has one. */
static void make_group(bool has_replica)
{
    kw_fake_renew_all(fakes, FAKES_N);
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SENTINEL GET-MASTER-ADDR-BY-NAME group",
                     "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n%05u", (unsigned)kw_fake_port(fakes[1]));
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SENTINEL SENTINELS group", "*0");
    if (!has_replica) {
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SENTINEL REPLICAS group", "*0");
    } else {
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "SENTINEL REPLICAS group",
                         "*1\r\n*8\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n$4\r\nport\r\n$5\r\n%05u\r\n"
                         "$5\r\nflags\r\n$5\r\nslave\r\n$23\r\ndown-after-milliseconds\r\n$4\r\n%s",
                         (unsigned)kw_fake_port(fakes[2]), "9000");
    }
    kw_fake_on_reply(fakes[2], KW_FAKE_ALWAYS, "ROLE",
                     "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:1\r\n$9\r\nconnected\r\n:7");
    answer_numbers();
}

static kw_client *open_group(const char *options)
{
    return kw_test_open("redis-sentinel://%s/group?%s", kw_fake_address(fakes[0]), options);
}

static void test_primary_without_a_replica_fails_at_once_after_a_second(void **state)
{
    (void)state;
    make_group(false);
    kw_client *client = open_group("timeout=20s");
    expect_answer(client, UPPER);
    kw_fake_down(fakes[1]);
    assert_in_range(ms_until_down(client, SPAN_MS), SPAN_MS - 200, SPAN_MS + LATE_MS);
    expect_failures_at_once(client, KW_ERR_CONNECT);
    kw_fake_up(fakes[1]);
    kw_test_sleep_ms(BACK_MS);
    expect_answer(client, UPPER);
    kw_close(client);
}

/* down-after-milliseconds is 9 s: 19 s in all, past each call's own end. */
static void test_primary_with_a_replica_is_waited_for(void **state)
{
    (void)state;
    make_group(true);
    kw_client *client = open_group("timeout=2s");
    expect_answer(client, UPPER);
    kw_fake_down(fakes[1]);
    kw_test_end end = kw_test_send(client, way, "INCR", UPPER);
    assert_false(end.is_answered);
    assert_int_equal(end.error.effect, KW_EFFECT_NONE);
    assert_in_range(end.took_us, 1800 * 1000, (2000 + LATE_MS) * 1000);
    kw_fake_up(fakes[1]);
    kw_test_sleep_ms(BACK_MS);
    expect_answer(client, UPPER);
    kw_close(client);
}

static int run(size_t part)
{
    const struct CMUnitTest of_each_way[2][5] = {
        {
            cmocka_unit_test(test_shard_without_a_replica_fails_at_once_after_a_second),
            cmocka_unit_test(test_call_that_has_tried_waits_for_the_map_that_it_asked_for),
            cmocka_unit_test(test_calls_a_second_apart_lead_to_the_server_that_is_left),
            cmocka_unit_test(test_election_that_comes_in_time_is_waited_for),
            cmocka_unit_test(test_primary_without_a_replica_fails_at_once_after_a_second),
        },
        {
            cmocka_unit_test(test_stranger_in_place_of_a_node_that_is_down_is_passed_by),
            cmocka_unit_test(test_call_alone_at_a_silent_node_waits_for_a_map),
            cmocka_unit_test(test_shard_with_a_replica_waits_for_an_election_and_no_longer),
            cmocka_unit_test(test_cluster_of_which_nobody_answers_is_not_waited_for),
            cmocka_unit_test(test_primary_with_a_replica_is_waited_for),
        },
    };
    const struct CMUnitTest of_calls[2][1] = {
        {cmocka_unit_test(test_map_is_not_fetched_again_and_again_in_a_long_outage)},
        {cmocka_unit_test(test_map_that_is_lost_behind_its_news_is_asked_for_again)},
    };
    way = part < 2 * KW_TEST_WAYS_N ? (kw_test_way)(part / 2) : KW_TEST_CALL;
    return part < 2 * KW_TEST_WAYS_N
               ? cmocka_run_group_tests(of_each_way[part % 2], start_fakes, stop_fakes)
               : cmocka_run_group_tests(of_calls[part % 2], start_fakes, stop_fakes);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 2 * KW_TEST_WAYS_N + 2, run);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Primaries under Sentinel that are replaced, demoted or stalled: what becomes of their
 * connections, calls and sessions, how soon the heir is used, and what the host is told. */
#include "fake/sentinel_fakes.h"
#include "support/parts.h"
#include "support/ways.h"

static void test_role_is_asked_on_every_new_connection(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_n(1, "timeout=2s");
    kw_fake_log_clear(PRIMARY);
    unsigned before = kw_fake_accepted(PRIMARY);
    for (int i = 0; i < 3; i++) {
        expect_number(kw, "INCR a", 0);
        kw_fake_disconnect(PRIMARY, i % 2 == 0);
        kw_test_sleep_ms(20);
    }
    expect_number(kw, "INCR a", 0);
    size_t opened = kw_fake_accepted(PRIMARY) - before;
    assert_true(opened >= 4);
    assert_true(kw_fake_count(PRIMARY, "ROLE") >= opened);
    kw_close(kw);
}

/* Also where the loss of a connection was noticed before a command went on it. */
static void test_sentinels_are_asked_at_every_reconnect(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_n(1, "timeout=2s");
    for (int i = 0; i < 3; i++) {
        expect_number(kw, "INCR a", 0);
        kw_test_sleep_ms(300);
        expect_number(kw, "INCR a", 0); /* what is due of the poll */
        size_t asked = kw_fake_count(sentinels[0], "SENTINEL GET-*");
        kw_fake_disconnect(PRIMARY, false);
        kw_test_sleep_ms(30);
        uint64_t start_ms = kw_test_now_ms();
        while (kw_fake_count(sentinels[0], "SENTINEL GET-*") == asked) {
            expect_number(kw, "INCR a", 0);
            kw_test_sleep_ms(5);
            assert_in_range(kw_test_now_ms() - start_ms, 0, 300 + LATE_MS);
        }
    }
    kw_close(kw);
}

static void test_connection_to_a_demoted_primary_is_not_used(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_n(1, "timeout=2s");
    expect_number(kw, "INCR a", 0);
    be_replica(PRIMARY, "connected");
    name(sentinels[0], OTHER, NULL, "", NULL);
    kw_fake_disconnect(PRIMARY, false);
    kw_test_sleep_ms(20);
    expect_number(kw, "INCR a", 1); /* sent nowhere else */
    assert_int_equal(kw_fake_count(PRIMARY, "INCR *"), 1);
    kw_close(kw);
}

static void test_readonly_asks_the_sentinels_again(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_n(1, "timeout=2s");
    expect_number(kw, "INCR a", 0);
    kw_fake_reset(PRIMARY);
    kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "INCR *",
                     "-READONLY You can't write against a read only replica.");
    be_replica(PRIMARY, "connected");
    name(sentinels[0], OTHER, PRIMARY, "slave", NULL);
    uint64_t start_ms = kw_test_now_ms();
    expect_number(kw, "INCR a", 1);
    assert_in_range(kw_test_now_ms() - start_ms, 0, 400 + LATE_MS);
    assert_int_equal(kw_fake_count(OTHER, "INCR *"), 1);
    kw_close(kw);
}

/* Also where the READONLY is the caller's to read: in a script it may be an inner one. */
static void test_readonly_of_a_script_asks_the_sentinels_again(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_n(1, "timeout=2s");
    kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "EVAL *", "-READONLY You can't write");
    kw_fake_on_reply(OTHER, KW_FAKE_ALWAYS, "EVAL *", ":5");
    char *text = kw_test_ask_error(kw, "EVAL x 0");
    assert_memory_equal(text, "READONLY", 8);
    free(text);
    name(sentinels[0], OTHER, NULL, "", NULL);
    be_replica(PRIMARY, "connected");
    kw_test_sleep_ms(120);
    assert_int_equal(kw_test_ask_integer(kw, "EVAL x 0"), 5);
    kw_close(kw);
}

static void test_all_connections_to_the_old_primary_are_closed(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_n(1, "timeout=2s");
    expect_number(kw, "INCR a", 0);
    assert_true(kw_fake_open(PRIMARY) > 0);
    name(sentinels[0], OTHER, PRIMARY, "slave", NULL);
    uint64_t end_ms = kw_test_now_ms() + 3000;
    while (kw_fake_count(OTHER, "GET *") == 0) { /* the second's poll */
        kw_reply_free(kw_command(kw, NULL, "GET a"));
        kw_test_sleep_ms(10);
        assert_true(kw_test_now_ms() < end_ms);
    }
    kw_test_sleep_ms(50);
    assert_int_equal(kw_fake_open(PRIMARY), 0);
    kw_close(kw);
}

/* Its connections stay, and the first sentinel still names it. */
static void test_demoted_primary_that_goes_on_answering_is_left(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_n(2, "timeout=2s");
    expect_number(kw, "GET a", 0);
    be_replica(PRIMARY, "connected");
    name(sentinels[1], OTHER, NULL, "", NULL);
    uint64_t end_ms = kw_test_now_ms() + 2000 + LATE_MS;
    while (kw_fake_count(OTHER, "GET *") == 0) {
        kw_reply_free(kw_command(kw, NULL, "GET a"));
        kw_test_sleep_ms(10);
        assert_true(kw_test_now_ms() < end_ms);
    }
    kw_close(kw);
}

static void test_heir_takes_over_when_it_says_so_itself(void **state)
{
    (void)state;
    reset_fakes();
    be_replica(OTHER, "connect");
    kw_client *kw = open_n(1, "timeout=3s");
    expect_number(kw, "INCR a", 0);
    kw_fake_down(PRIMARY);
    name(sentinels[0], PRIMARY, OTHER, "slave,promoted", NULL);
    const char *argv[] = {"INCR", "a", NULL};
    kw_error error = KW_ERROR_INIT;
    kw_test_deadline soon = {400, NULL};
    assert_null(kw_test_call(kw, &error, soon, argv));
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_int_equal(kw_fake_count(OTHER, "INCR *"), 0);
    kw_fake_reset(OTHER);
    answer_numbers();
    uint64_t start_ms = kw_test_now_ms();
    expect_number(kw, "INCR a", 1); /* while the sentinel still names the old one */
    assert_in_range(kw_test_now_ms() - start_ms, 0, 400 + LATE_MS);
    kw_close(kw);
}

/* A transaction that began at a primary that is none any more is not ended there. */
static void test_session_does_not_outlive_its_primary(void **state)
{
    (void)state;
    reset_fakes();
    for (size_t i = 0; i < SERVERS; i++) {
        kw_fake_on_reply(servers[i], KW_FAKE_ALWAYS, "MULTI", "+OK");
        kw_fake_on_reply(servers[i], KW_FAKE_ALWAYS, "EXEC", "*0");
    }
    kw_client *kw = open_n(1, "timeout=2s");
    kw_error error = KW_ERROR_INIT;
    kw_session *session = kw_session_open(kw, &error, "a", 1);
    kw_reply *reply = kw_session_command(session, &error, "MULTI");
    assert_non_null(reply);
    kw_reply_free(reply);
    name(sentinels[0], OTHER, PRIMARY, "slave", NULL);
    uint64_t end_ms = kw_test_now_ms() + 3000;
    while (kw_fake_count(OTHER, "GET *") == 0) {
        kw_reply_free(kw_command(kw, NULL, "GET a"));
        kw_test_sleep_ms(10);
        assert_true(kw_test_now_ms() < end_ms);
    }
    assert_null(kw_session_command(session, &error, "EXEC"));
    assert_int_equal(error.code, KW_ERR_CLOSED);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_int_equal(kw_fake_count(PRIMARY, "EXEC") + kw_fake_count(OTHER, "EXEC"), 0);
    kw_session_close(session);
    session = kw_session_open(kw, &error, "a", 1); /* at the new one */
    kw_reply_free(kw_session_command(session, &error, "MULTI"));
    assert_int_equal(kw_fake_count(OTHER, "MULTI"), 1);
    kw_session_close(session);
    kw_close(kw);
}

#define SUBSCRIBED "*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n"

/* A message of the channel, as a subscriber gets it. */
static void publish(kw_fake *sentinel, const char *channel, const char *text)
{
    char bytes[500];
    int len = snprintf(bytes, sizeof(bytes),
                       "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
                       strlen(channel), channel, strlen(text), text);
    kw_fake_push(sentinel, bytes, (size_t)len);
}

typedef struct told {
    size_t changed_n;
    size_t down_n;
    size_t up_n;
    char node[64];
} told;

static void on_event(void *arg, const kw_event *event)
{
    told *it = arg;
    it->changed_n += event->kind == KW_EVENT_PRIMARY_CHANGED ? 1 : 0;
    it->down_n += event->kind == KW_EVENT_PRIMARY_DOWN ? 1 : 0;
    it->up_n += event->kind == KW_EVENT_PRIMARY_UP ? 1 : 0;
    snprintf(it->node, sizeof(it->node), "%s", event->node);
}

static kw_client *open_told(told *it)
{
    char uri[200];
    kw_config *config = kw_test_config_new(NULL);
    memset(it, 0, sizeof(*it));
    snprintf(uri, sizeof(uri), "redis-sentinel://%s,%s/group?timeout=2s",
             kw_fake_address(sentinels[0]), kw_fake_address(sentinels[1]));
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    kw_config_set_event(config, on_event, it);
    kw_client *kw = kw_open_config(config, NULL);
    kw_config_free(config);
    return kw;
}

/* Calls for so long, or until the other server has answered one; how long it took. */
static uint64_t call_until_other(kw_client *kw, uint64_t most_ms)
{
    uint64_t start_ms = kw_test_now_ms();
    while (kw_fake_count(OTHER, "GET *") == 0 && kw_test_now_ms() - start_ms < most_ms) {
        kw_reply_free(kw_command(kw, NULL, "GET a"));
        kw_test_sleep_ms(5);
    }
    return kw_test_now_ms() - start_ms;
}

static void test_events_hasten_the_switch_and_are_told(void **state)
{
    (void)state;
    told it;
    char text[200];
    reset_fakes();
    kw_client *kw = open_told(&it);
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on(sentinels[i], KW_FAKE_ALWAYS, "PSUBSCRIBE *",
                   KW_FAKE_STEPS(KW_FAKE_SEND(SUBSCRIBED)));
    }
    (void)call_until_other(kw, 900); /* a poll has just been */
    for (size_t i = 0; i < 2; i++) {
        assert_true(kw_fake_count(sentinels[i], "PSUBSCRIBE *") > 0);
        name(sentinels[i], OTHER, NULL, "", NULL);
    }
    snprintf(text, sizeof(text), "master group 127.0.0.1 %u #quorum 2/2",
             (unsigned)kw_fake_port(PRIMARY));
    publish(sentinels[0], "+odown", text);
    publish(sentinels[1], "+odown", text); /* the same: told once */
    uint64_t spent_ms = call_until_other(kw, 3000);
    assert_in_range(spent_ms, 0, 250 + LATE_MS);
    (void)call_until_other(kw, 50);
    kw_test_sleep_ms(30);
    kw_reply_free(kw_command(kw, NULL, "GET a"));
    assert_int_equal(it.down_n, 1);
    assert_int_equal(it.changed_n, 1);
    assert_string_equal(it.node, kw_fake_address(OTHER));
    kw_close(kw);
}

static void test_nonsense_of_a_subscription_costs_nothing(void **state)
{
    (void)state;
    static const char *const pushes[] = {
        "HTTP/1.1 400\r\n\r\n",
        "*1073741824\r\n",
        "+OK\r\n",
        "*4\r\n$8\r\npmessage\r\n*0\r\n:1\r\n$-1\r\n",
        "*4\r\n$8\r\npmess",
        "*0\r\n",
        "-ERR\r\n",
    };
    told it;
    reset_fakes();
    for (size_t i = 0; i < 2; i++) {
        kw_fake_on(sentinels[i], KW_FAKE_ALWAYS, "PSUBSCRIBE *",
                   KW_FAKE_STEPS(KW_FAKE_SEND(SUBSCRIBED)));
    }
    kw_client *kw = open_told(&it);
    (void)call_until_other(kw, 100);
    int descriptors_n = kw_test_fd_count();
    for (size_t i = 0; i < sizeof(pushes) / sizeof(pushes[0]); i++) {
        kw_fake_push(sentinels[0], pushes[i], strlen(pushes[i]));
        kw_fake_push(sentinels[1], pushes[i], strlen(pushes[i]));
        for (int k = 0; k < 20; k++) {
            expect_number(kw, "GET a", 0);
            kw_test_sleep_ms(2);
        }
    }
    publish(sentinels[0], "+switch-master", "other 127.0.0.1 1 127.0.0.1 2");
    for (int k = 0; k < 50; k++) {
        publish(sentinels[1], "+odown", "master group \x01 99999 group group group group group");
    }
    (void)call_until_other(kw, 100);
    assert_int_equal(it.down_n + it.changed_n + it.up_n, 0);
    assert_in_range(kw_test_fd_count(), 0, descriptors_n + 2);
    kw_close(kw);
}

static void test_role_that_is_not_allowed_is_told(void **state)
{
    (void)state;
    reset_fakes();
    kw_fake_reset(PRIMARY);
    kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "ROLE", "-NOPERM this user has no permissions");
    kw_client *kw = open_n(1, "timeout=500ms");
    kw_error error = expect_failure(kw, "INCR a", KW_ERR_AUTH);
    assert_non_null(strstr(error.text, "ROLE"));
    kw_close(kw);
}

/* ROLE is none of the commands that a server answers meanwhile. */
static void test_role_is_asked_again_while_a_long_script_runs(void **state)
{
    (void)state;
    reset_fakes();
    kw_fake_on_reply(PRIMARY, 2, "ROLE", "-BUSY Redis is busy running a script");
    kw_client *kw = open_n(1, "timeout=5s");
    expect_number(kw, "INCR a", 0);
    assert_true(kw_fake_count(PRIMARY, "ROLE") >= 3);
    kw_close(kw);
    kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "ROLE", "-BUSY Redis is busy running a script");
    kw = open_n(1, "timeout=500ms");
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(kw, &error, "INCR a"));
    assert_int_not_equal(error.code, KW_ERR_AUTH);
    assert_non_null(strstr(error.text, "BUSY"));
    kw_close(kw);
}

/* Who calls but once a second has nobody else who asks: each such call would take the question to
 * the sentinels one step on, and fail. */
static void test_rare_call_at_a_primary_that_is_down_finds_its_heir(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_n(1, "timeout=5s");
    expect_number(kw, "INCR a", 0);
    kw_fake_down(PRIMARY);
    kw_error error = KW_ERROR_INIT;
    KW_TEST_UNTIL(strstr(error.text, "not waited for") != NULL)
    {
        kw_reply_free(kw_command(kw, &error, "INCR a"));
        kw_test_sleep_ms(50);
    }
    name(sentinels[0], OTHER, NULL, "", NULL);
    kw_test_sleep_ms(1100); /* the server is dialled again */
    expect_number(kw, "INCR a", 1);
    kw_close(kw);
}

/* Nor does anybody else where the primary takes connections and says nothing: no call is sent there
 * any more. */
static void test_rare_call_at_a_silent_primary_finds_its_heir(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        reset_fakes();
        kw_client *kw = open_n(1, "timeout=2s&stall-timeout=200ms");
        expect_number(kw, "INCR a", 0);
        kw_fake_reset(PRIMARY);
        kw_fake_on_accept(PRIMARY, KW_FAKE_ALWAYS, KW_FAKE_STEPS(KW_FAKE_STALL));
        kw_fake_on(PRIMARY, KW_FAKE_ALWAYS, "*", KW_FAKE_STEPS(KW_FAKE_STALL));
        kw_error error = KW_ERROR_INIT;
        KW_TEST_UNTIL(strstr(error.text, "not waited for") != NULL)
        {
            kw_reply_free(kw_command(kw, &error, "INCR a"));
            kw_test_sleep_ms(50);
        }
        name(sentinels[0], OTHER, NULL, "", NULL);
        kw_test_sleep_ms(1000);
        kw_test_end end = kw_test_send(kw, (kw_test_way)way, "INCR", "a");
        if (!end.is_answered) {
            fail_msg("by %s: %s", kw_test_way_name((kw_test_way)way), end.error.text);
        }
        kw_close(kw);
    }
}

static void test_calls_go_on_without_sentinels_and_ask_for_them_rarely(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_n(2, "timeout=1s");
    expect_number(kw, "INCR a", 0);
    kw_fake_down(sentinels[0]);
    kw_fake_on_accept(sentinels[1], KW_FAKE_ALWAYS, KW_FAKE_STEPS(KW_FAKE_CLOSE));
    kw_fake_disconnect(sentinels[1], true);
    unsigned before = kw_fake_accepted(sentinels[1]);
    uint64_t start_ms = kw_test_now_ms();
    while (kw_test_now_ms() - start_ms < 2500) {
        uint64_t call_ms = kw_test_now_ms();
        expect_number(kw, "GET a", 0);
        assert_in_range(kw_test_now_ms() - call_ms, 0, LATE_MS);
        kw_test_sleep_ms(5);
    }
    assert_in_range(kw_fake_accepted(sentinels[1]) - before, 1, 12);
    kw_close(kw);
}

static void test_stalled_primary_loses_its_calls_once_replaced(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_n(1, "timeout=5s");
    expect_number(kw, "INCR a", 0);
    kw_fake_reset(PRIMARY);
    kw_fake_on(PRIMARY, KW_FAKE_ALWAYS, "*", KW_FAKE_STEPS(KW_FAKE_STALL));
    name(sentinels[0], OTHER, NULL, "", NULL);
    uint64_t start_ms = kw_test_now_ms();
    expect_number(kw, "GET a", 1); /* a read goes to the new one */
    assert_in_range(kw_test_now_ms() - start_ms, 0, 1500 + LATE_MS);
    kw_close(kw);
}

/* One that says nothing is a replica by the map, until the sentinels note that it is down. */
static void test_stalled_primary_that_is_a_replica_by_then_loses_its_calls(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        reset_fakes();
        kw_client *kw = open_n(1, "timeout=20s&read-preference=prefer-replica");
        expect_number(kw, "INCR a", 0);
        kw_fake_reset(PRIMARY);
        kw_fake_on(PRIMARY, KW_FAKE_ALWAYS, "INCR *", KW_FAKE_STEPS(KW_FAKE_STALL));
        name(sentinels[0], OTHER, PRIMARY, "slave", NULL);
        kw_test_end end = kw_test_send(kw, (kw_test_way)way, "INCR", "b");
        bool is_lost = !end.is_answered && end.error.code == KW_ERR_CLOSED &&
                       end.error.effect == KW_EFFECT_MAYBE;
        if (end.took_us > 10000000 || (!is_lost && kw_fake_count(PRIMARY, "INCR b") > 0)) {
            fail_msg("by %s, after %lu ms: %s", kw_test_way_name((kw_test_way)way),
                     (unsigned long)(end.took_us / 1000), end.error.text);
        }
        assert_int_equal(kw_test_stats(kw).nodes, 2); /* it is in the map */
        kw_close(kw);
    }
}

/* What the sentinel says of the age of its configuration. */
static void say_epoch(kw_fake *sentinel, unsigned epoch)
{
    char digits[12];
    int len = snprintf(digits, sizeof(digits), "%u", epoch);
    kw_fake_on_reply(sentinel, KW_FAKE_ALWAYS, "SENTINEL MASTER group",
                     "*4\r\n$4\r\nname\r\n$5\r\ngroup\r\n$12\r\nconfig-epoch\r\n$%d\r\n%s", len,
                     digits);
}

/* A sentinel that was away names the old primary, which is one again, and empty: it is not believed
 * while another one has told of a later configuration; but once nobody has for a while. */
static void test_primary_of_an_older_configuration_is_not_used(void **state)
{
    (void)state;
    reset_fakes();
    for (size_t i = 0; i < 2; i++) {
        name(sentinels[i], OTHER, NULL, "", NULL);
        say_epoch(sentinels[i], 5);
    }
    kw_client *kw = open_n(2, "timeout=5s");
    expect_number(kw, "INCR a", 1);
    kw_fake_down(sentinels[0]);
    name(sentinels[1], PRIMARY, NULL, "", NULL);
    say_epoch(sentinels[1], 4);
    size_t asked_n = kw_fake_count(sentinels[1], "SENTINEL GET-*");
    for (int i = 0; i < 3; i++) {
        kw_fake_disconnect(OTHER, false); /* so that the sentinels are asked */
        kw_test_sleep_ms(20);
        expect_number(kw, "INCR a", 1);
        kw_test_wait wait = kw_test_wait_begin(__FILE__, __LINE__);
        while (kw_fake_count(sentinels[1], "SENTINEL GET-*") <= asked_n + (size_t)i) {
            expect_number(kw, "INCR a", 1);
            kw_test_wait_more(&wait, "the sentinel is asked");
        }
    }
    expect_number(kw, "INCR a", 1);
    assert_int_equal(kw_fake_count(PRIMARY, "INCR *"), 0);
    /* A failover that it has heard of is followed. */
    name(sentinels[1], PRIMARY, NULL, "", NULL);
    say_epoch(sentinels[1], 6);
    kw_test_wait wait = kw_test_wait_begin(__FILE__, __LINE__);
    while (kw_fake_count(PRIMARY, "INCR *") == 0) {
        kw_reply_free(kw_test_ask(kw, "INCR a"));
        kw_test_wait_more(&wait, "the later configuration is used");
    }
    /* A group that was made anew begins at a low number: nobody says a greater one any more. */
    name(sentinels[1], OTHER, NULL, "", NULL);
    say_epoch(sentinels[1], 1);
    size_t before_n = kw_fake_count(OTHER, "INCR *");
    wait = kw_test_wait_begin(__FILE__, __LINE__);
    while (kw_fake_count(OTHER, "INCR *") == before_n) {
        kw_reply_free(kw_test_ask(kw, "INCR a"));
        kw_test_wait_more(&wait, "the new group is used");
    }
    kw_close(kw);
}

static int run(size_t part)
{
    const struct CMUnitTest of_each_way[] = {
        cmocka_unit_test(test_rare_call_at_a_silent_primary_finds_its_heir),
        cmocka_unit_test(test_stalled_primary_that_is_a_replica_by_then_loses_its_calls),
    };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_primary_of_an_older_configuration_is_not_used),
        cmocka_unit_test(test_role_is_asked_on_every_new_connection),
        cmocka_unit_test(test_sentinels_are_asked_at_every_reconnect),
        cmocka_unit_test(test_connection_to_a_demoted_primary_is_not_used),
        cmocka_unit_test(test_readonly_asks_the_sentinels_again),
        cmocka_unit_test(test_readonly_of_a_script_asks_the_sentinels_again),
        cmocka_unit_test(test_all_connections_to_the_old_primary_are_closed),
        cmocka_unit_test(test_demoted_primary_that_goes_on_answering_is_left),
        cmocka_unit_test(test_heir_takes_over_when_it_says_so_itself),
        cmocka_unit_test(test_session_does_not_outlive_its_primary),
        cmocka_unit_test(test_events_hasten_the_switch_and_are_told),
        cmocka_unit_test(test_nonsense_of_a_subscription_costs_nothing),
        cmocka_unit_test(test_role_that_is_not_allowed_is_told),
        cmocka_unit_test(test_role_is_asked_again_while_a_long_script_runs),
        cmocka_unit_test(test_rare_call_at_a_primary_that_is_down_finds_its_heir),
        cmocka_unit_test(test_calls_go_on_without_sentinels_and_ask_for_them_rarely),
        cmocka_unit_test(test_stalled_primary_loses_its_calls_once_replaced),
    };
    (void)part;
    return cmocka_run_group_tests(of_each_way, set_up, tear_down) +
           KW_TEST_RUN_SHARE(others, set_up, tear_down);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, KW_TEST_WAYS_N, run);
}

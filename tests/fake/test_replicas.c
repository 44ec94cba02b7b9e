/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads from replicas that are away, loading, cut off, or turn reads away: where they go, and
 * that nothing else does. */
#include "fake/fakes.h"
#include "support/ways.h"

#define PRIMARY fakes[0]
#define REPLICA fakes[1]

#define OTHER fakes[2]

static void answer_reads(size_t i)
{
    kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "INCR *", ":%zu", i);
    kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "GET *", ":%zu", i);
    kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "MGET *", "*1\r\n:%zu", i);
    kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "EVAL_RO *", ":%zu", i);
    kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "EVAL *", ":%zu", i);
    kw_fake_on_reply(fakes[i], KW_FAKE_ALWAYS, "XREAD *", ":%zu", i);
}

/* All slots are the primary's. */
static void renew_cluster(void)
{
    const kw_fake_range all[] = {{0, 16383, PRIMARY, REPLICA}};
    renew_fakes();
    kw_fake_set_cluster(fakes, FAKES_N, all, 1);
    for (size_t i = 0; i < 3; i++) {
        answer_reads(i);
    }
}

static void expect(kw_client *kw, const char *command, long long number)
{
    kw_error error = KW_ERROR_INIT;
    kw_reply *reply = kw_command(kw, &error, command);
    const kw_reply *value = kw_reply_count(reply) > 0 ? kw_reply_at(reply, 0) : reply;
    if (reply == NULL || kw_reply_is_error(reply) || kw_reply_int(value) != number) {
        fail_msg("%s: %s %s %lld", command, error.text,
                 reply != NULL ? kw_reply_str(reply, NULL) : "", kw_reply_int(value));
    }
    kw_reply_free(reply);
}

static void test_replicas_only_reads_go_to_replicas(void **state)
{
    (void)state;
    renew_cluster();
    kw_client *kw = open_cluster("timeout=3s&read-preference=prefer-replica");
    for (int i = 0; i < 3; i++) {
        expect(kw, "GET foo", 1);
        expect(kw, "INCR foo", 0);
        expect(kw, "MGET foo", 1);
        expect(kw, "EVAL_RO x 1 foo", 1);
        expect(kw, "EVAL x 1 foo", 0);
        expect(kw, "XREAD BLOCK 10 STREAMS foo 0", 0); /* it waits for a write */
    }
    assert_int_equal(kw_fake_count(REPLICA, "INCR *") + kw_fake_count(REPLICA, "EVAL *"), 0);
    assert_true(kw_fake_count(REPLICA, "READONLY") > 0);
    assert_int_equal(kw_fake_count(PRIMARY, "READONLY"), 0);
    kw_close(kw);
    kw = open_cluster("timeout=3s&pool-max=8");
    expect(kw, "GET foo", 0);
    kw_close(kw);
}

static void test_replicas_readonly_is_said_on_every_connection(void **state)
{
    (void)state;
    renew_cluster();
    kw_client *kw = open_cluster("timeout=3s&read-preference=replica");
    unsigned before = kw_fake_accepted(REPLICA);
    kw_fake_log_clear(REPLICA);
    for (int i = 0; i < 3; i++) {
        expect(kw, "GET foo", 1);
        kw_fake_disconnect(REPLICA, i % 2 == 0);
        kw_test_sleep_ms(20);
    }
    assert_true(kw_fake_accepted(REPLICA) - before >= 3);
    assert_int_equal(kw_fake_count(REPLICA, "READONLY"), kw_fake_accepted(REPLICA) - before);
    kw_close(kw);
}

/* A server that does not know HELLO is greeted anew while a part of the call has left: what is
 * said then comes behind it. */
static void test_replicas_large_call_with_a_refused_greeting_stays_whole(void **state)
{
    (void)state;
    const size_t len = (size_t)8 * 1024 * 1024;
    char *command = malloc(len + sizeof("GET {foo}"));
    assert_non_null(command);
    renew_cluster();
    kw_client *kw = open_connected("timeout=20s&read-preference=replica&identity=off");
    kw_fake_on_reply(REPLICA, KW_FAKE_ALWAYS, "HELLO *", "-ERR unknown command 'HELLO'");
    memcpy(command, "GET {foo}", sizeof("GET {foo}") - 1);
    memset(command + sizeof("GET {foo}") - 1, 'k', len);
    command[sizeof("GET {foo}") - 1 + len] = '\0';
    expect(kw, command, 1);
    assert_int_equal(kw_fake_count(REPLICA, "HELLO *"), 1);
    assert_int_equal(kw_fake_count(REPLICA, "READONLY"), 2);
    kw_close(kw);
    free(command);
}

static void test_replicas_call_says_where_it_reads(void **state)
{
    (void)state;
    renew_cluster();
    kw_client *kw = open_cluster("timeout=3s&pool-max=8");
    static const struct {
        kw_read read;
        const char *zone;
        long long number; /* -1: not accepted */
    } rows[] = {
        {KW_READ_DEFAULT, NULL, 0},        {KW_READ_PRIMARY, NULL, 0}, {KW_READ_REPLICA, NULL, 1},
        {KW_READ_PREFER_REPLICA, NULL, 1}, {KW_READ_ZONE, "z", 1},     {KW_READ_ZONE, NULL, -1},
        {(kw_read)17, NULL, -1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_call_options options = KW_CALL_OPTIONS_INIT;
        kw_error error = KW_ERROR_INIT;
        const char *argv[] = {"GET", "foo"};
        options.read = rows[i].read;
        options.zone = rows[i].zone;
        kw_reply *reply = kw_call(kw, &error, &options, (kw_argv){2, argv, NULL});
        if (rows[i].number < 0) {
            assert_null(reply);
            assert_int_equal(error.code, KW_ERR_ARGUMENT);
        } else {
            assert_int_equal(kw_reply_int(reply), rows[i].number);
        }
        kw_reply_free(reply);
    }
    kw_call_options old = KW_CALL_OPTIONS_INIT; /* of a program of an earlier version */
    old.size = offsetof(kw_call_options, read);
    old.read = (kw_read)99;
    const char *argv[] = {"GET", "foo"};
    kw_reply *reply = kw_call(kw, NULL, &old, (kw_argv){2, argv, NULL});
    assert_int_equal(kw_reply_int(reply), 0);
    kw_reply_free(reply);
    kw_close(kw);
}

/* Whatever the replica does, the read is answered by the primary, soon. */
static void test_replicas_one_that_turns_away_is_left_for_the_primary(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "-LOADING Redis is loading the dataset in memory",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "-CLUSTERDOWN The cluster is down",
        "-MOVED 12182 127.0.0.1:1",
        "-ASK 12182 127.0.0.1:1",
        "-TRYAGAIN Multiple keys request during rehashing of slot",
        "-READONLY You can't write against a read only replica.",
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        renew_cluster();
        kw_fake_reset(REPLICA);
        kw_fake_on_reply(REPLICA, KW_FAKE_ALWAYS, "GET *", "%s", answers[i]);
        kw_client *kw = open_cluster("timeout=3s&read-preference=prefer-replica");
        uint64_t start_ms = kw_test_now_ms();
        expect(kw, "GET foo", 0);
        expect(kw, "GET foo", 0);
        assert_in_range(kw_test_now_ms() - start_ms, 0, LATE_MS);
        assert_in_range(kw_fake_count(REPLICA, "GET *"), 1, 1); /* it is left alone for a while */
        kw_fake_reset(REPLICA);
        answer_reads(1);
        kw_test_sleep_ms(600);
        expect(kw, "GET foo", 1);
        kw_close(kw);
    }
}

static void test_replicas_one_that_is_away_is_left_for_the_primary(void **state)
{
    (void)state;
    renew_cluster();
    kw_client *kw = open_cluster("timeout=3s&read-preference=prefer-replica");
    expect(kw, "GET foo", 1);
    kw_fake_down(REPLICA);
    for (int i = 0; i < 10; i++) {
        uint64_t start_ms = kw_test_now_ms();
        expect(kw, "GET foo", 0);
        assert_in_range(kw_test_now_ms() - start_ms, 0, LATE_MS);
    }
    kw_fake_up(REPLICA);
    uint64_t end_ms = kw_test_now_ms() + 2000 + LATE_MS;
    size_t before = kw_fake_count(REPLICA, "GET *");
    while (kw_fake_count(REPLICA, "GET *") == before) {
        kw_reply_free(kw_command(kw, NULL, "GET foo"));
        kw_test_sleep_ms(10);
        assert_true(kw_test_now_ms() < end_ms);
    }
    /* One that says nothing any more costs its reads the stall, and no more. */
    kw_fake_reset(REPLICA);
    kw_fake_on(REPLICA, KW_FAKE_ALWAYS, "*", KW_FAKE_STEPS(KW_FAKE_STALL));
    uint64_t start_ms = kw_test_now_ms();
    expect(kw, "GET foo", 0);
    assert_in_range(kw_test_now_ms() - start_ms, 0, 900 + LATE_MS);
    kw_close(kw);
}

static void test_replicas_read_lost_with_its_replica_runs_at_the_primary(void **state)
{
    (void)state;
    renew_cluster();
    kw_fake_reset(REPLICA);
    kw_fake_on(REPLICA, KW_FAKE_ALWAYS, "GET *", KW_FAKE_STEPS(KW_FAKE_RESET));
    kw_client *kw = open_cluster("timeout=3s&read-preference=prefer-replica");
    expect(kw, "GET foo", 0);
    kw_batch *batch = kw_batch_new(kw, NULL);
    kw_test_sleep_ms(600);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(kw_batch_add(batch, NULL, i % 2 == 0 ? "GET foo" : "INCR foo"), KW_OK);
    }
    assert_int_equal(kw_batch_run(batch, NULL, 0), KW_OK);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(kw_reply_int(kw_batch_reply(batch, NULL, i)), 0);
    }
    assert_int_equal(kw_fake_count(PRIMARY, "INCR *"), 10);
    kw_batch_free(batch);
    kw_close(kw);
}

static void test_replicas_nothing_but_replicas_waits_for_one(void **state)
{
    (void)state;
    renew_cluster();
    kw_fake_down(REPLICA);
    kw_client *kw = kw_test_open("redis-cluster://%s?timeout=400ms&read-preference=replica",
                                 kw_fake_address(PRIMARY));
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(kw, &error, "GET foo"));
    assert_int_equal(error.code, KW_ERR_CONNECT);
    assert_int_equal(kw_fake_count(PRIMARY, "GET *"), 0);
    expect(kw, "INCR foo", 0);
    const kw_fake_range bare[] = {{0, 16383, PRIMARY, NULL}};
    kw_fake_set_cluster(fakes, 3, bare, 1);
    kw_close(kw);
    kw = kw_test_open("redis-cluster://%s?timeout=400ms&read-preference=replica",
                      kw_fake_address(PRIMARY));
    assert_null(kw_command(kw, &error, "GET foo"));
    assert_int_equal(error.code, KW_ERR_NOT_SERVED);
    assert_non_null(strstr(error.text, "replica"));
    kw_close(kw);
}

/* A right that the user lacks at the replica, or at the primary that it is measured by: told at
 * once, with its name; reads that may go to the primary go there. */
static void test_replicas_right_that_lacks_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *command;
        size_t at;
        const char *options;
    } rows[] = {{"READONLY", 1, ""},
                {"READONLY", 1, "&max-staleness=500ms"},
                {"INFO replication", 1, "&max-staleness=500ms"},
                {"INFO replication", 0, "&max-staleness=500ms"}};
    static const kw_test_way ways[] = {KW_TEST_CALL, KW_TEST_BATCH, KW_TEST_TICKET,
                                       KW_TEST_CALLBACK}; /* a session stays at the primary */
    for (size_t i = 0; i < 4 * sizeof(rows) / sizeof(rows[0]); i++) {
        char options[100];
        renew_cluster();
        kw_fake_on_reply(fakes[rows[i / 4].at], KW_FAKE_ALWAYS, rows[i / 4].command,
                         "-NOPERM User app has no permissions to run it");
        snprintf(options, sizeof(options), "timeout=20s&read-preference=replica%s",
                 rows[i / 4].options);
        kw_client *kw = open_cluster(options);
        kw_test_end end = kw_test_send(kw, ways[i % 4], "GET", "foo");
        expect_error(kw_test_way_name(ways[i % 4]), &end.error, KW_ERR_AUTH, KW_EFFECT_NONE);
        assert_in_range(end.took_us / 1000, 0, 10000);
        if (strstr(end.error.text, i / 4 < 2 ? "READONLY" : "INFO") == NULL) {
            fail_msg("%s", end.error.text);
        }
        assert_int_equal(kw_fake_count(PRIMARY, "GET *"), 0);
        kw_close(kw);
        snprintf(options, sizeof(options), "timeout=20s&read-preference=prefer-replica%s",
                 rows[i / 4].options);
        kw = open_cluster(options);
        expect(kw, "GET foo", 0);
        kw_close(kw);
    }
}

static void test_replicas_zones_are_those_of_settings(void **state)
{
    (void)state;
    renew_cluster();
    char options[200];
    snprintf(options, sizeof(options), "read-preference=zone:east&zones=%s>west,%s>east",
             kw_fake_address(REPLICA), kw_fake_address(PRIMARY));
    kw_client *kw = open_cluster(options);
    expect(kw, "GET foo", 0);
    kw_close(kw);
    options[strcspn(options, "&") - 4] = 'w'; /* "wast": nobody's */
    kw = open_cluster(options);
    expect(kw, "GET foo", 1);
    kw_close(kw);
}

/* Valkey 9.1 says them in its map: they are known before any replica was connected to, and may
 * change while the map is the same. */
static void test_replicas_zones_are_those_of_the_map(void **state)
{
    (void)state;
    static const char slots[] =
        "*1\r\n*4\r\n:0\r\n:16383\r\n"
        "*4\r\n$9\r\n127.0.0.1\r\n:%u\r\n$1\r\na\r\n*2\r\n$17\r\navailability-zone\r\n$4\r\n%s\r\n"
        "*4\r\n$9\r\n127.0.0.1\r\n:%u\r\n$1\r\nb\r\n*2\r\n$17\r\navailability-zone\r\n$4\r\n%s\r\n";
    static const char shards[] =
        "*1\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n*2\r\n"
        "*8\r\n$8\r\nendpoint\r\n$9\r\n127.0.0.1\r\n$4\r\nport\r\n:%u\r\n$4\r\nrole\r\n$6\r\n"
        "master\r\n$17\r\navailability-zone\r\n$4\r\n%s\r\n"
        "*8\r\n$8\r\nendpoint\r\n$9\r\n127.0.0.1\r\n$4\r\nport\r\n:%u\r\n$4\r\nrole\r\n$7\r\n"
        "replica\r\n$17\r\navailability-zone\r\n$4\r\n%s\r\n";
    for (int form = 0; form < 2; form++) {
        char text[600];
        const char *format = form == 0 ? slots : shards;
        renew_cluster();
        snprintf(text, sizeof(text), format, (unsigned)kw_fake_port(PRIMARY), "west",
                 (unsigned)kw_fake_port(REPLICA), "east");
        for (size_t i = 0; i < FAKES_N; i++) {
            kw_fake_set_map(fakes[i], form == 0 ? text : NULL, form == 0 ? NULL : text);
            if (form == 1) {
                answer(fakes[i], "CLUSTER SLOTS", "-ERR unknown subcommand 'SLOTS'");
            }
        }
        kw_client *kw = open_cluster("timeout=3s&read-preference=zone:east&refresh-interval=50ms");
        expect(kw, "GET foo", 1); /* the first read already */
        snprintf(text, sizeof(text), format, (unsigned)kw_fake_port(PRIMARY), "east",
                 (unsigned)kw_fake_port(REPLICA), "west");
        for (size_t i = 0; i < FAKES_N; i++) {
            kw_fake_set_map(fakes[i], form == 0 ? text : NULL, form == 0 ? NULL : text);
        }
        kw_test_wait wait = kw_test_wait_begin(__FILE__, __LINE__);
        for (bool is_moved = false; !is_moved;) {
            kw_reply *reply = kw_test_ask(kw, "GET foo");
            is_moved = kw_reply_int(reply) == 0;
            kw_reply_free(reply);
            kw_test_wait_more(&wait, "the zones have changed");
        }
        kw_close(kw);
    }
}

/* One call that asks for one acknowledgement. */
static kw_reply *call_durable(kw_client *kw, kw_error *error, unsigned *acked, const char *key)
{
    const char *argv[] = {"INCR", key};
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    options.acks = 1;
    options.acks_timeout_ms = 200;
    options.acked = acked;
    return kw_call(kw, error, &options, (kw_argv){2, argv, NULL});
}

/* Whatever becomes of WAIT, the write's reply is the caller's, and it ran once. */
static void test_replicas_write_stands_whatever_becomes_of_wait(void **state)
{
    (void)state;
    const struct {
        const kw_fake_step *steps;
        kw_err code;
        unsigned acked;
    } rows[] = {
        {(const kw_fake_step[]){KW_FAKE_SEND(":1\r\n"), KW_FAKE_END}, KW_OK, 1},
        {(const kw_fake_step[]){KW_FAKE_SEND(":7\r\n"), KW_FAKE_END}, KW_OK, 7},
        {(const kw_fake_step[]){KW_FAKE_SEND(":0\r\n"), KW_FAKE_END}, KW_ERR_DURABILITY, 0},
        {(const kw_fake_step[]){KW_FAKE_SEND(":-5\r\n"), KW_FAKE_END}, KW_ERR_DURABILITY, 0},
        {(const kw_fake_step[]){KW_FAKE_SEND("$1\r\n9\r\n"), KW_FAKE_END}, KW_ERR_DURABILITY, 0},
        {(const kw_fake_step[]){KW_FAKE_SEND("-ERR unknown command\r\n"), KW_FAKE_END},
         KW_ERR_DURABILITY, 0},
        {(const kw_fake_step[]){KW_FAKE_RESET, KW_FAKE_END}, KW_ERR_DURABILITY, 0},
        {(const kw_fake_step[]){KW_FAKE_CLOSE, KW_FAKE_END}, KW_ERR_DURABILITY, 0},
        {(const kw_fake_step[]){KW_FAKE_STALL, KW_FAKE_END}, KW_ERR_DURABILITY, 0},
        {(const kw_fake_step[]){KW_FAKE_SEND("HTTP\r\n"), KW_FAKE_END}, KW_ERR_DURABILITY, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        renew_cluster();
        kw_fake_on(PRIMARY, KW_FAKE_ALWAYS, "WAIT *", rows[i].steps);
        kw_client *kw = kw_test_open("redis-cluster://%s?timeout=1s", kw_fake_address(PRIMARY));
        kw_error error = KW_ERROR_INIT;
        unsigned acked = 99;
        uint64_t start_ms = kw_test_now_ms();
        kw_reply *reply = call_durable(kw, &error, &acked, "foo");
        assert_in_range(kw_test_now_ms() - start_ms, 0, 1000 + LATE_MS);
        assert_non_null(reply);
        assert_int_equal(kw_reply_type(reply), KW_REPLY_INTEGER);
        assert_int_equal(error.code, rows[i].code);
        assert_int_equal(acked, rows[i].acked);
        assert_int_equal(kw_fake_count(PRIMARY, "INCR *"), 1);
        kw_reply_free(reply);
        kw_close(kw);
    }
}

static void test_replicas_acks_are_refused_where_nobody_waits(void **state)
{
    (void)state;
    renew_cluster();
    kw_client *kw = open_cluster("timeout=3s&pool-max=8");
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    kw_error error = KW_ERROR_INIT;
    options.acks = 1;
    const char *many[] = {"MSET", "foo", "1", "bar", "2"};
    assert_null(kw_call(kw, &error, &options, (kw_argv){5, many, NULL}));
    assert_int_equal(error.code, KW_ERR_UNSUPPORTED);
    const char *one[] = {"INCR", "foo"};
    assert_null(kw_submit_call(kw, &error, &options, (kw_argv){2, one, NULL}));
    assert_int_equal(error.code, KW_ERR_UNSUPPORTED);
    assert_int_equal(kw_fake_count(PRIMARY, "INCR *") + kw_fake_count(PRIMARY, "MSET *"), 0);
    kw_close(kw);
}

static void test_replicas_promoted_replica_is_told_nothing_as_a_primary(void **state)
{
    (void)state;
    renew_cluster();
    kw_client *kw = open_cluster("timeout=3s&read-preference=prefer-replica");
    expect(kw, "GET foo", 1);
    const kw_fake_range turned[] = {{0, 16383, REPLICA, PRIMARY}};
    kw_fake_set_cluster(fakes, 3, turned, 1);
    kw_fake_on_reply(OTHER, KW_FAKE_ALWAYS, "*", "-ERR");
    kw_fake_log_clear(PRIMARY);
    kw_fake_reset(PRIMARY);
    kw_fake_on_reply(PRIMARY, 1, "INCR *", "-MOVED 12182 %s", kw_fake_address(REPLICA));
    answer_reads(0);
    expect(kw, "INCR foo", 1);
    uint64_t end_ms = kw_test_now_ms() + 2000 + LATE_MS;
    while (kw_fake_count(PRIMARY, "GET *") == 0) {
        kw_reply_free(kw_command(kw, NULL, "GET foo"));
        kw_test_sleep_ms(10);
        assert_true(kw_test_now_ms() < end_ms);
    }
    assert_true(kw_fake_count(PRIMARY, "READONLY") > 0); /* its old connections are not used */
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replicas_only_reads_go_to_replicas),
        cmocka_unit_test(test_replicas_readonly_is_said_on_every_connection),
        cmocka_unit_test(test_replicas_large_call_with_a_refused_greeting_stays_whole),
        cmocka_unit_test(test_replicas_call_says_where_it_reads),
        cmocka_unit_test(test_replicas_one_that_turns_away_is_left_for_the_primary),
        cmocka_unit_test(test_replicas_one_that_is_away_is_left_for_the_primary),
        cmocka_unit_test(test_replicas_read_lost_with_its_replica_runs_at_the_primary),
        cmocka_unit_test(test_replicas_nothing_but_replicas_waits_for_one),
        cmocka_unit_test(test_replicas_right_that_lacks_is_told),
        cmocka_unit_test(test_replicas_zones_are_those_of_settings),
        cmocka_unit_test(test_replicas_zones_are_those_of_the_map),
        cmocka_unit_test(test_replicas_write_stands_whatever_becomes_of_wait),
        cmocka_unit_test(test_replicas_acks_are_refused_where_nobody_waits),
        cmocka_unit_test(test_replicas_promoted_replica_is_told_nothing_as_a_primary),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Servers that say "not now": waited out alike by a call, a batch and a split command, with
 * pauses, and at the cost of nobody else; and those that say "no", which is the caller's to
 * hear at once. */
#include "fake/fakes.h"

#define TIMEOUT_MS 150

typedef struct row {
    const char *says;
    kw_err code; /* at the deadline; KW_OK: the reply itself, at once */
} row;

static const row waits[] = {
    {"-LOADING Redis is loading the dataset in memory", KW_ERR_LOADING},
    {"-TRYAGAIN Multiple keys request during rehashing of slot", KW_ERR_TRY_AGAIN},
    {"-CLUSTERDOWN The cluster is down", KW_ERR_CLUSTER_DOWN},
    {"-CLUSTERDOWN Hash slot not served", KW_ERR_CLUSTER_DOWN},
    {"-BUSY Redis is busy running a script", KW_ERR_BUSY},
    {"-MASTERDOWN Link with MASTER is down", KW_ERR_MASTER_DOWN},
    {"-READONLY You can't write against a read only replica.", KW_ERR_READONLY},
};

#define WAITS_N (sizeof(waits) / sizeof(waits[0]))

static void test_states_that_pass_cost_a_batch_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAITS_N; i++) {
        renew_fakes();
        kw_client *kw = open_cluster("timeout=2000ms");
        kw_fake_on_reply(fakes[1], 3, "INCR foo", "%s", waits[i].says);
        for (size_t k = 0; k < 2; k++) {
            kw_fake_on_reply(fakes[k], KW_FAKE_ALWAYS, "INCR *", ":%zu", k);
        }
        kw_batch *batch = kw_batch_new(kw, NULL);
        kw_batch_add(batch, NULL, "INCR bar");
        kw_batch_add(batch, NULL, "INCR foo");
        kw_batch_add(batch, NULL, "INCR bar");
        kw_error error = KW_ERROR_INIT;
        if (kw_batch_run(batch, &error, 0) != KW_OK) {
            fail_msg("%s: %s", waits[i].says, error.text);
        }
        assert_int_equal(kw_reply_int(kw_batch_reply(batch, &error, 1)), 1);
        kw_batch_free(batch);
        assert_int_equal(kw_fake_count(fakes[0], "INCR bar"), 2);
        assert_int_equal(kw_fake_count(fakes[1], "INCR foo"), 4);
        kw_close(kw);
    }
}

static void test_states_that_pass_cost_a_split_command_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAITS_N; i++) {
        renew_fakes();
        kw_client *kw = open_cluster("timeout=2000ms");
        kw_fake_on_reply(fakes[1], 2, "DEL *", "%s", waits[i].says);
        for (size_t k = 0; k < 2; k++) {
            kw_fake_on_reply(fakes[k], KW_FAKE_ALWAYS, "DEL *", ":1");
        }
        assert_int_equal(kw_test_ask_integer(kw, "DEL foo bar"), 2);
        assert_int_equal(kw_fake_count(fakes[0], "DEL bar"), 1);
        assert_int_equal(kw_fake_count(fakes[1], "DEL foo"), 3);
        kw_close(kw);
    }
}

static void run_both(kw_client *kw, kw_error *error)
{
    kw_batch *batch = kw_batch_new(kw, NULL);
    kw_batch_add(batch, NULL, "INCR bar");
    kw_batch_add(batch, NULL, "INCR foo");
    kw_err code = kw_batch_run(batch, error, 0);
    assert_int_equal(code, error->code);
    assert_int_equal(kw_reply_int(kw_batch_reply(batch, NULL, 0)), 5);
    kw_batch_free(batch);
}

/* False where the deadline fell into one of the tries, whose answer it did not wait for. */
static bool is_named(kw_client *kw, const row *at, bool is_batch)
{
    kw_error error = KW_ERROR_INIT;
    kw_fake_log_clear(fakes[1]);
    uint64_t start_ms = kw_test_now_ms();
    if (is_batch) {
        run_both(kw, &error);
    } else {
        assert_null(kw_command(kw, &error, "INCR foo"));
    }
    assert_in_range(kw_test_now_ms() - start_ms, TIMEOUT_MS - 2, TIMEOUT_MS + LATE_MS);
    if (error.code == KW_ERR_TIMEOUT && error.effect == KW_EFFECT_MAYBE) {
        return false;
    }
    expect_error(at->says, &error, at->code, KW_EFFECT_NONE);
    assert_non_null(strstr(error.text, at->says + 1));
    assert_string_equal(error.node, kw_fake_address(fakes[1]));
    assert_int_equal(error.attempts, kw_fake_count(fakes[1], "INCR foo"));
    assert_in_range(error.attempts, 2, 12); /* pauses grow */
    return true;
}

/* Until the deadline: its own code, nothing run, the server's words; in a batch the other
 * commands have their replies. */
static void test_states_that_stay_are_named_at_the_deadline(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAITS_N; i++) {
        renew_fakes();
        kw_client *kw =
            kw_test_open("redis-cluster://%s?timeout=%dms", kw_fake_address(fakes[0]), TIMEOUT_MS);
        kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "INCR *", "%s", waits[i].says);
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", ":5");
        KW_TEST_AWAIT(kw_connect(kw, NULL) == KW_OK)
        for (int k = 0; k < 2; k++) {
            int tries_n = 0;
            while (!is_named(kw, &waits[i], k == 1)) {
                assert_in_range(++tries_n, 1, 5);
            }
        }
        kw_close(kw);
    }
}

static void test_states_that_are_final_are_given_at_once(void **state)
{
    (void)state;
    static const char *const says[] = {
        "-OOM command not allowed when used memory > 'maxmemory'.",
        "-WRONGTYPE Operation against a key holding the wrong kind of value",
        "-NOSCRIPT No matching script. Please use EVAL.",
        "-EXECABORT Transaction discarded because of previous errors.",
        "-MISCONF Redis is configured to save RDB snapshots",
        "-NOREPLICAS Not enough good replicas to write.",
        "-CROSSSLOT Keys in request don't hash to the same slot",
        "-BUSYKEY Target key name already exists.",
        "-BUSYGROUP Consumer Group name already exists",
        "-NOPERM User default has no permissions to access one of the keys",
        "-NOPROTO unsupported protocol version",
        "-UNBLOCKED client unblocked via CLIENT UNBLOCK",
        "-ERR syntax error",
        "-ERR unknown command 'INCR', with args beginning with: 'foo'",
        "-IOERR error or timeout reading to target instance",
        "-loading in small letters is no code",
        "-",
        "- LOADING",
        "-LOADINGX data",
        "-MOVEDX 1 a:1",
    };
    renew_fakes();
    kw_client *kw = open_cluster("timeout=2000ms");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    size_t maps_n = kw_fake_count(fakes[0], "CLUSTER SLOTS");
    for (size_t i = 0; i < sizeof(says) / sizeof(says[0]); i++) {
        kw_fake_reset(fakes[1]);
        kw_fake_log_clear(fakes[1]);
        kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "INCR *", "%s", says[i]);
        uint64_t start_ms = kw_test_now_ms();
        char *text = kw_test_ask_error(kw, "INCR foo");
        assert_string_equal(text, says[i] + 1);
        free(text);
        kw_batch *batch = kw_batch_new(kw, NULL);
        kw_batch_add(batch, NULL, "INCR foo");
        assert_int_equal(kw_batch_run(batch, NULL, 0), KW_OK);
        assert_true(kw_reply_is_error(kw_batch_reply(batch, NULL, 0)));
        kw_batch_free(batch);
        assert_in_range(kw_test_now_ms() - start_ms, 0, LATE_MS);
        assert_int_equal(kw_fake_count(fakes[1], "INCR foo"), 2);
    }
    assert_int_equal(kw_fake_count(fakes[0], "CLUSTER SLOTS") +
                         kw_fake_count(fakes[1], "CLUSTER SLOTS"),
                     maps_n);
    kw_close(kw);
}

/* One after the other, as in a failover: one call lives through them. */
static void test_states_that_follow_each_other_are_one_wait(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=5000ms");
    for (size_t i = 0; i < WAITS_N; i++) {
        kw_fake_on_reply(fakes[1], 1, "INCR *", "%s", waits[i].says);
        if (i == 3) {
            kw_fake_on(fakes[1], 1, "INCR *",
                       KW_FAKE_STEPS(KW_FAKE_SEND("-LOADING data\r\n"), KW_FAKE_CLOSE));
        }
    }
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "INCR *", ":1");
    assert_int_equal(kw_test_ask_integer(kw, "INCR foo"), 1);
    assert_int_equal(kw_fake_count(fakes[1], "INCR foo"), WAITS_N + 2);
    kw_close(kw);
}

static void *wait_for_foo(void *arg)
{
    kw_reply_free(kw_command(arg, NULL, "INCR foo"));
    return NULL;
}

/* Eight callers wait for a sick node; the other node's keys do not notice. */
static void test_states_of_one_node_cost_only_its_own_keys(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=500ms");
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "INCR *", "-CLUSTERDOWN The cluster is down");
    kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", ":5");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_foo, kw), 0);
    }
    uint64_t start_ms = kw_test_now_ms();
    unsigned slow_n = 0;
    unsigned calls_n = 0;
    while (kw_test_now_ms() - start_ms < 400) {
        uint64_t call_ms = kw_test_now_ms();
        assert_int_equal(kw_test_ask_integer(kw, "INCR bar"), 5);
        slow_n += kw_test_now_ms() - call_ms > 20 * KW_TEST_SLOWNESS;
        calls_n++;
    }
    for (size_t i = 0; i < 8; i++) {
        kw_test_join(threads[i]);
    }
    assert_true(calls_n > 50);
    assert_in_range(slow_n, 0, calls_n / 20);
    kw_close(kw);
}

/* A server that has become a replica closes the connections of the blocked commands that it throws
 * out: what is sent again on one of them would be lost. */
static void test_states_what_is_thrown_out_goes_on_by_another_connection(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=2000ms");
    for (int way = 0; way < 2; way++) {
        kw_fake_reset(fakes[1]);
        kw_fake_on_reply(fakes[1], 1, "BLPOP *", "*2\r\n$3\r\nfoo\r\n$1\r\n0");
        kw_fake_on_reply(fakes[1], 1, "BLPOP *",
                         "-UNBLOCKED force unblock from blocking operation, instance state changed "
                         "(master -> replica?)");
        kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "BLPOP *", "*2\r\n$3\r\nfoo\r\n$1\r\n1");
        unsigned accepted_n = 0;
        for (int i = 0; i < 2; i++) {
            accepted_n = kw_fake_accepted(fakes[1]);
            kw_error error = KW_ERROR_INIT;
            kw_ticket *ticket = way == 1 ? kw_submit(kw, &error, "BLPOP foo 1") : NULL;
            kw_reply *reply =
                way == 1 ? kw_ticket_await(ticket, &error) : kw_command(kw, &error, "BLPOP foo 1");
            assert_string_equal(kw_reply_text(kw_reply_at(reply, 1), error.text),
                                i == 0 ? "0" : "1");
            kw_reply_free(reply);
            kw_ticket_free(ticket);
        }
        assert_true(kw_fake_accepted(fakes[1]) > accepted_n);
    }
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states_that_pass_cost_a_batch_nothing),
        cmocka_unit_test(test_states_that_pass_cost_a_split_command_nothing),
        cmocka_unit_test(test_states_that_stay_are_named_at_the_deadline),
        cmocka_unit_test(test_states_that_are_final_are_given_at_once),
        cmocka_unit_test(test_states_that_follow_each_other_are_one_wait),
        cmocka_unit_test(test_states_what_is_thrown_out_goes_on_by_another_connection),
        cmocka_unit_test(test_states_of_one_node_cost_only_its_own_keys),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

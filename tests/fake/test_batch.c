/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults under batches, split commands and visits of all nodes: each command has its own
 * result, effect and redirects, nothing is run twice, and no reply is another's. */
#include "fake/cut.h"

#include "api/client.h"

#define TIMEOUT_MS 300

/* A batch of n commands by a format with the number. */
static kw_batch *batch_of(kw_client *kw, const char *format, int n)
{
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_non_null(batch);
    for (int i = 0; i < n; i++) {
        assert_int_equal(kw_batch_add(batch, NULL, format, i), KW_OK);
    }
    return batch;
}

static kw_error error_at(const kw_batch *batch, size_t index)
{
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_batch_reply(batch, &error, index));
    return error;
}

static void assert_number(const kw_batch *batch, size_t index, long long number)
{
    kw_error error = KW_ERROR_INIT;
    const kw_reply *reply = kw_batch_reply(batch, &error, index);
    if (reply == NULL || kw_reply_int(reply) != number) {
        fail_msg("command %zu: %s%s", index, error.text,
                 reply != NULL ? kw_reply_str(reply, NULL) : "");
    }
}

static void check_cut(const kw_batch *batch, const cut *row)
{
    for (size_t i = 0; i < row->answered_n; i++) {
        assert_number(batch, i, i < 2 ? 1 : 3);
    }
    for (size_t i = row->answered_n; i < 10; i++) {
        kw_error error = error_at(batch, i);
        expect_cut(row, i, &error);
    }
    expect_each_sent_once();
}

static void test_batch_cut_off_says_maybe_of_what_was_not_answered(void **state)
{
    (void)state;
    for (size_t i = 0; i < CUTS_N; i++) {
        renew_fakes();
        kw_client *kw = open_connected("timeout=300ms");
        arrange_cut(&cuts[i]);
        kw_batch *batch = batch_of(kw, "INCR foo{foo}%d", 10);
        assert_int_equal(kw_batch_add(batch, NULL, "INCR bar"), KW_OK);
        kw_error error = KW_ERROR_INIT;
        uint64_t start_ms = kw_test_now_ms();
        assert_int_equal(kw_batch_run(batch, &error, 0), cuts[i].first);
        assert_in_range(kw_test_now_ms() - start_ms, 0, TIMEOUT_MS + LATE_MS);
        check_cut(batch, &cuts[i]);
        assert_number(batch, 10, 9); /* the other node's keys notice nothing */
        /* The handle goes on, with nobody's late answers. */
        kw_batch_clear(batch);
        kw_fake_reset(fakes[1]);
        answer(fakes[1], "INCR foo*", ":100");
        assert_int_equal(kw_batch_add(batch, NULL, "INCR foo"), KW_OK);
        assert_int_equal(kw_batch_run(batch, &error, 0), KW_OK);
        assert_number(batch, 0, 100);
        kw_batch_free(batch);
        kw_close(kw);
    }
}

static void test_batch_reads_go_again_on_a_new_connection(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=300ms");
    kw_fake_on_reply(fakes[1], 2, "STRLEN *", ":7");
    kw_fake_on(fakes[1], 1, "STRLEN *", KW_FAKE_STEPS(KW_FAKE_RESET));
    answer(fakes[1], "STRLEN *", ":7");
    kw_batch *batch = batch_of(kw, "STRLEN {foo}%d", 8);
    kw_error error = KW_ERROR_INIT;
    if (kw_batch_run(batch, &error, 0) != KW_OK) {
        fail_msg("%s", error.text);
    }
    for (size_t i = 0; i < 8; i++) {
        assert_number(batch, i, 7);
    }
    kw_batch_free(batch);
    kw_close(kw);
}

/* MOVED, ASK and TRYAGAIN for single commands; those of one slot keep their order. */
static void test_batch_commands_follow_their_own_redirects(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=300ms");
    kw_fake_on_reply(fakes[1], 1, "INCR moved{foo}", "-MOVED %u %s", FOO_SLOT,
                     kw_fake_address(fakes[2]));
    kw_fake_on_reply(fakes[0], 1, "INCR asked{bar}", "-ASK 5061 %s", kw_fake_address(fakes[2]));
    kw_fake_on_reply(fakes[0], 2, "INCR again{bar}", "-TRYAGAIN later");
    answer(fakes[0], "INCR *", ":0");
    answer(fakes[1], "INCR *", ":1");
    answer(fakes[2], "INCR *", ":2");
    kw_batch *batch = kw_batch_new(kw, NULL);
    static const char *const commands[] = {"INCR first{foo}", "INCR moved{foo}", "INCR first{bar}",
                                           "INCR asked{bar}", "INCR again{bar}"};
    static const int numbers[] = {1, 2, 0, 2, 0};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(kw_batch_add(batch, NULL, commands[i]), KW_OK);
    }
    kw_error error = KW_ERROR_INIT;
    if (kw_batch_run(batch, &error, 0) != KW_OK) {
        fail_msg("%s", error.text);
    }
    for (size_t i = 0; i < 5; i++) {
        assert_number(batch, i, numbers[i]);
    }
    assert_int_equal(kw_fake_count(fakes[0], "INCR again{bar}"), 3);
    assert_int_equal(kw_fake_count(fakes[2], "ASKING"), 1);
    for (size_t i = 1; i < kw_fake_log_count(fakes[2]); i++) {
        kw_fake_entry before;
        kw_fake_entry entry;
        kw_fake_log_at(fakes[2], i - 1, &before);
        kw_fake_log_at(fakes[2], i, &entry);
        if (strcmp(entry.text, "INCR asked{bar}") == 0) {
            assert_string_equal(before.text, "ASKING");
        }
        if (strcmp(before.text, "ASKING") == 0) {
            assert_string_equal(entry.text, "INCR asked{bar}");
        }
    }
    kw_batch_free(batch);
    kw_close(kw);
}

/* Many at a node in states that pass: each runs once. */
static void test_batch_states_are_waited_out_for_each_command(void **state)
{
    (void)state;
    static const char *const says[] = {"-LOADING data", "-BUSY script", "-CLUSTERDOWN down",
                                       "-MASTERDOWN link", "-READONLY replica"};
    for (size_t i = 0; i < sizeof(says) / sizeof(says[0]); i++) {
        renew_fakes();
        kw_client *kw = open_connected("timeout=300ms");
        kw_fake_on_reply(fakes[1], 25, "INCR *", "%s", says[i]);
        answer(fakes[1], "INCR *", ":1");
        kw_batch *batch = batch_of(kw, "INCR {foo}%d", 20);
        kw_error error = KW_ERROR_INIT;
        if (kw_batch_run(batch, &error, 2000) != KW_OK) {
            fail_msg("%s: %s", says[i], error.text);
        }
        for (size_t k = 0; k < 20; k++) {
            assert_number(batch, k, 1);
        }
        assert_int_equal(kw_fake_count(fakes[1], "INCR *"), 45);
        kw_batch_free(batch);
        kw_close(kw);
    }
}

/* Three nodes that answer late are waited for at once; one that is gone holds nobody up. */
static void test_batch_waits_for_all_nodes_at_once(void **state)
{
    (void)state;
    renew_fakes();
    const kw_fake_range thirds[] = {
        {0, 5000, fakes[2], NULL}, {5001, 10000, fakes[0], NULL}, {10001, 16383, fakes[1], NULL}};
    kw_fake_set_cluster(fakes, 3, thirds, 3);
    kw_client *kw = open_connected("timeout=300ms");
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on(fakes[i], KW_FAKE_ALWAYS, "INCR *",
                   KW_FAKE_STEPS(KW_FAKE_DELAY(100), KW_FAKE_SEND(":1\r\n")));
    }
    uint64_t best_ms = UINT64_MAX;
    kw_batch *batch = NULL;
    for (int k = 0; k < 5 && best_ms > 150; k++) {
        kw_batch_free(batch);
        batch = kw_batch_new(kw, NULL);
        kw_batch_add(batch, NULL, "INCR foo");
        kw_batch_add(batch, NULL, "INCR bar");
        kw_batch_add(batch, NULL, "INCR hello"); /* slot 866 */
        uint64_t start_ms = kw_test_now_ms();
        assert_int_equal(kw_batch_run(batch, NULL, 2000), KW_OK);
        uint64_t elapsed_ms = kw_test_now_ms() - start_ms;
        best_ms = elapsed_ms < best_ms ? elapsed_ms : best_ms;
    }
    assert_in_range(best_ms, 99, 100 + 50 * KW_TEST_SLOWNESS);
    kw_batch_free(batch);
    kw_fake_down(fakes[1]);
    batch = kw_batch_new(kw, NULL);
    kw_batch_add(batch, NULL, "INCR foo");
    kw_batch_add(batch, NULL, "INCR bar");
    kw_batch_add(batch, NULL, "INCR hello");
    kw_error error = KW_ERROR_INIT;
    assert_int_not_equal(kw_batch_run(batch, &error, 0), KW_OK);
    assert_number(batch, 1, 1);
    assert_number(batch, 2, 1);
    error = error_at(batch, 0);
    if (error.code != KW_ERR_CONNECT || error.effect != KW_EFFECT_NONE ||
        strstr(error.text, kw_fake_address(fakes[1])) == NULL) {
        fail_msg("%s: %s", kw_err_name(error.code), error.text);
    }
    kw_batch_free(batch);
    kw_close(kw);
}

/* A node that does not answer in time costs its own connection, and none of another node. */
static void test_batch_over_at_its_deadline_keeps_what_has_answered(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=10s");
    kw_fake_on(fakes[1], 1, "INCR foo", KW_FAKE_STEPS(KW_FAKE_STALL));
    answer(fakes[0], "INCR *", ":1");
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_equal(kw_batch_add(batch, NULL, "INCR foo"), KW_OK);
    assert_int_equal(kw_batch_add(batch, NULL, "INCR bar"), KW_OK);
    assert_int_equal(kw_batch_run(batch, NULL, 100 * KW_TEST_SLOWNESS), KW_ERR_TIMEOUT);
    assert_number(batch, 1, 1);
    kw_batch_free(batch);
    kw_stats stats = {.size = sizeof(stats)};
    assert_int_equal(kw_client_stats(kw, &stats), KW_OK);
    assert_int_equal(stats.disconnects, 1);
    kw_close(kw);
}

static void test_batch_late_answers_never_reach_the_next(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=300ms");
    kw_fake_on(fakes[1], 5, "INCR late*",
               KW_FAKE_STEPS(KW_FAKE_DELAY(30), KW_FAKE_SEND(":666\r\n")));
    answer(fakes[1], "INCR own*", ":1");
    kw_batch *batch = batch_of(kw, "INCR late{foo}%d", 5);
    assert_int_equal(kw_batch_run(batch, NULL, 75), KW_ERR_TIMEOUT);
    kw_batch_free(batch);
    for (int i = 0; i < 30; i++) {
        batch = batch_of(kw, "INCR own{foo}%d", 3);
        assert_int_equal(kw_batch_run(batch, NULL, 0), KW_OK);
        for (size_t k = 0; k < 3; k++) {
            assert_number(batch, k, 1);
        }
        kw_batch_free(batch);
        kw_test_sleep_ms(5);
    }
    kw_close(kw);
}

/* More answers than questions: whose is whose cannot be told. */
static void test_batch_with_a_surplus_answer_uses_the_connection_no_more(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=300ms");
    kw_fake_on_reply(fakes[1], 2, "INCR *", ":1");
    kw_fake_on(fakes[1], 1, "INCR *", KW_FAKE_STEPS(KW_FAKE_SEND(":1\r\n:666\r\n")));
    answer(fakes[1], "INCR *", ":1");
    kw_batch *batch = batch_of(kw, "INCR {foo}%d", 3);
    kw_error error = KW_ERROR_INIT;
    kw_err code = kw_batch_run(batch, &error, 0); /* KW_OK: it came later */
    assert_true(code == KW_OK || code == KW_ERR_DESYNC);
    unsigned accepted_n = kw_fake_accepted(fakes[1]);
    kw_test_sleep_ms(5);
    kw_batch_clear(batch);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kw_batch_add(batch, NULL, "INCR {foo}%d", i), KW_OK);
    }
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_OK);
    for (size_t i = 0; i < 3; i++) {
        assert_number(batch, i, 1);
    }
    assert_int_equal(kw_fake_accepted(fakes[1]), accepted_n + 1);
    kw_batch_free(batch);
    kw_close(kw);
}

/* The server answers while we still write, and reads only once its answers are taken. */
static void test_batch_reads_while_it_writes(void **state)
{
    (void)state;
    static char value[20000];
    static char reply[20100];
    renew_fakes();
    kw_client *kw = open_connected("timeout=300ms");
    memset(value, 'v', sizeof(value) - 1);
    size_t reply_len = kw_fake_bulk(reply, value, sizeof(value) - 1);
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "GETSET *",
               KW_FAKE_STEPS(KW_FAKE_BYTES(reply, reply_len)));
    kw_batch *batch = kw_batch_new(kw, NULL);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(kw_batch_add(batch, NULL, "GETSET foo %s", value), KW_OK);
    }
    kw_error error = KW_ERROR_INIT;
    if (kw_batch_run(batch, &error, 20000) != KW_OK) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(kw_fake_count(fakes[1], "GETSET *"), 1000);
    kw_batch_free(batch);
    kw_close(kw);
}

/* What a batch asks of the system beside its sends. */
static struct {
    kw_transport transport;
    const kw_transport *below;
    int sent_first;  /* socket of the first send; -1: there was none */
    int heard_first; /* of the first receive; -1: there was none */
    unsigned waits_n;
    unsigned looks_n; /* receives that do not wait, and polls */
} asked;

static ssize_t note_send(void *arg, int socket, const char *data, size_t len)
{
    asked.sent_first = asked.sent_first < 0 ? socket : asked.sent_first;
    return asked.below->send_fn(arg, socket, data, len);
}

static ssize_t note_recv(void *arg, int socket, char *data, size_t len, bool waits)
{
    if (len > 1) { /* else it is whether a connection is still there */
        asked.heard_first = asked.heard_first < 0 ? socket : asked.heard_first;
        asked.waits_n += waits;
        asked.looks_n += !waits;
    }
    return asked.below->recv_fn(arg, socket, data, len, waits);
}

static int note_poll(void *arg, struct pollfd *sockets, size_t sockets_n, int wait_ms)
{
    asked.looks_n++;
    return asked.below->poll_fn(arg, sockets, sockets_n, wait_ms);
}

static void note_calls(kw_client *kw)
{
    kw_env *env = &kw->topology->env;
    asked.below = env->transport;
    asked.transport = *env->transport;
    asked.transport.send_fn = note_send;
    asked.transport.recv_fn = note_recv;
    asked.transport.poll_fn = note_poll;
    asked.sent_first = -1;
    asked.heard_first = -1;
    asked.waits_n = 0;
    asked.looks_n = 0;
    env->transport = &asked.transport;
}

/* The node that was sent to first is waited for first; no node takes more than one receive, and
 * none a poll. */
static void test_batch_waits_for_each_node_in_one_receive(void **state)
{
    (void)state;
    renew_fakes();
    const kw_fake_range thirds[] = {
        {0, 5000, fakes[2], NULL}, {5001, 10000, fakes[0], NULL}, {10001, 16383, fakes[1], NULL}};
    kw_fake_set_cluster(fakes, 3, thirds, 3);
    kw_client *kw = open_connected("timeout=5s");
    for (size_t i = 0; i < FAKES_N; i++) {
        answer(fakes[i], "INCR *", ":1");
    }
    for (int k = 0; k < 20; k++) { /* a node may be late, where the machine is */
        kw_batch *batch = kw_batch_new(kw, NULL);
        kw_batch_add(batch, NULL, "INCR foo");
        kw_batch_add(batch, NULL, "INCR bar");
        kw_batch_add(batch, NULL, "INCR hello"); /* slot 866 */
        note_calls(kw);
        kw_err code = kw_batch_run(batch, NULL, 0);
        kw->topology->env.transport = asked.below;
        kw_batch_free(batch);
        assert_int_equal(code, KW_OK);
        if (k > 0 && asked.waits_n == 3 && asked.looks_n == 0) {
            break; /* the first one opens connections */
        }
        assert_in_range(k, 0, 18);
    }
    assert_int_equal(asked.heard_first, asked.sent_first);
    kw_close(kw);
}

/* A server hangs up on a connection that has answered, while the batch waits for another server:
 * who gets the connection next looks at it, or nobody does. */
static void test_batch_gives_no_connection_back_that_was_hung_up_on(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        renew_fakes();
        kw_client *kw = open_connected("timeout=5s");
        kw_fake_on(fakes[0], 1, "INCR *",
                   KW_FAKE_STEPS(KW_FAKE_SEND(":1\r\n"), KW_FAKE_DELAY(30), KW_FAKE_CLOSE));
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INCR *", ":2");
        kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "INCR *",
                   KW_FAKE_STEPS(KW_FAKE_DELAY(150), KW_FAKE_SEND(":3\r\n")));
        kw_batch *batch = batch_of(kw, "INCR {foo}%d", 1);
        assert_int_equal(kw_batch_add(batch, NULL, "INCR bar"), KW_OK);
        assert_int_equal(kw_batch_run(batch, NULL, 0), KW_OK);
        assert_number(batch, 0, 3);
        assert_number(batch, 1, 1);
        expect_number(kw, "INCR bar", 2);
        kw_batch_free(batch);
        kw_close(kw);
    }
}

/* A command that waits for the end of a fetch of the map goes on when that has ended, also where
 * the map is what it was: it asks for the next one. */
static void test_batch_hears_of_a_fetch_without_news(void **state)
{
    (void)state;
    char hole[200];
    renew_fakes();
    kw_fake_on_reply(fakes[1], KW_FAKE_ALWAYS, "INCR *", ":1");
    size_t len = (size_t)snprintf(hole, sizeof(hole),
                                  "*1\r\n*3\r\n:0\r\n:8000\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n",
                                  (unsigned)kw_fake_port(fakes[0]));
    for (size_t i = 0; i < FAKES_N; i++) {
        kw_fake_on(fakes[i], 4, "CLUSTER SLOTS", KW_FAKE_STEPS(KW_FAKE_BYTES(hole, len)));
    }
    kw_client *kw = open_connected("timeout=60s");
    kw_batch *batch = batch_of(kw, "INCR foo{foo}%d", 1);
    assert_int_equal(kw_batch_run(batch, NULL, 0), KW_OK);
    assert_number(batch, 0, 1);
    kw_batch_free(batch);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_hears_of_a_fetch_without_news),
        cmocka_unit_test(test_batch_cut_off_says_maybe_of_what_was_not_answered),
        cmocka_unit_test(test_batch_reads_go_again_on_a_new_connection),
        cmocka_unit_test(test_batch_commands_follow_their_own_redirects),
        cmocka_unit_test(test_batch_states_are_waited_out_for_each_command),
        cmocka_unit_test(test_batch_waits_for_all_nodes_at_once),
        cmocka_unit_test(test_batch_gives_no_connection_back_that_was_hung_up_on),
        cmocka_unit_test(test_batch_over_at_its_deadline_keeps_what_has_answered),
        cmocka_unit_test(test_batch_late_answers_never_reach_the_next),
        cmocka_unit_test(test_batch_with_a_surplus_answer_uses_the_connection_no_more),
        cmocka_unit_test(test_batch_reads_while_it_writes),
        cmocka_unit_test(test_batch_waits_for_each_node_in_one_receive),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

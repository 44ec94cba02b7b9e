/* SPDX-License-Identifier: BSD-3-Clause */
/* What a handle tells of itself: histograms by node and class, heat of slots, failures by code and
 * effect, ranges of slots, the text of all of them, and the stories of slow calls. */
#include "fake/fakes.h"
#include "net/node_faults.h"

#include <sched.h>
#include <stdatomic.h>

/* Index of the node that the fake is. */
static size_t index_of(kw_client *kw, kw_fake *fake)
{
    kw_node_stats node = {.size = sizeof(node)};
    for (size_t i = 0; kw_client_node_stats(kw, &node, i) == KW_OK; i++) {
        if (strcmp(node.node, kw_fake_address(fake)) == 0) {
            return i;
        }
    }
    fail_msg("%s is no node", kw_fake_address(fake));
    return 0;
}

static uint64_t calls_of(kw_client *kw, kw_fake *fake, kw_latency_part part, kw_command_class of)
{
    kw_latency latency = {.size = sizeof(latency)};
    assert_int_equal(kw_client_latency(kw, &latency, index_of(kw, fake), part, of), KW_OK);
    return latency.calls;
}

static void send_each_class(kw_client *kw)
{
    const char *const commands[] = {"GET foo", "SET foo x", "MGET foo foo", "EVAL x 1 foo"};
    for (size_t i = 0; i < 4; i++) {
        kw_reply_free(kw_command(kw, NULL, commands[i]));
    }
}

static void expect_one_of_each_class(kw_client *kw, uint64_t n)
{
    for (int of = KW_COMMAND_CLASS_READ; of <= KW_COMMAND_CLASS_SCRIPT; of++) {
        assert_int_equal(calls_of(kw, fakes[1], KW_LATENCY_SERVICE, (kw_command_class)of), n);
        assert_int_equal(calls_of(kw, fakes[1], KW_LATENCY_QUEUE, (kw_command_class)of), n);
        assert_int_equal(calls_of(kw, fakes[0], KW_LATENCY_SERVICE, (kw_command_class)of), 0);
    }
}

static void test_latency_is_counted_by_node_and_class_once_measured(void **state)
{
    (void)state;
    renew_fakes();
    answer(fakes[1], "*foo*", "+OK");
    kw_client *kw = open_cluster("");
    send_each_class(kw);
    expect_one_of_each_class(kw, 0);
    assert_int_equal(kw_client_measure(kw, NULL, KW_MEASURE_LATENCY), KW_OK);
    send_each_class(kw);
    expect_one_of_each_class(kw, 1);
    assert_int_equal(kw_client_measure(kw, NULL, 0), KW_OK);
    send_each_class(kw);
    expect_one_of_each_class(kw, 1);
    kw_close(kw);
}

static void test_latency_is_counted_of_batches_and_tickets(void **state)
{
    (void)state;
    renew_fakes();
    answer(fakes[1], "GET foo", "+OK");
    kw_client *kw = open_cluster("");
    assert_int_equal(kw_client_measure(kw, NULL, KW_MEASURE_LATENCY | KW_MEASURE_HEAT), KW_OK);
    kw_batch *batch = kw_batch_new(kw, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kw_batch_add(batch, NULL, "GET foo"), KW_OK);
    }
    assert_int_equal(kw_batch_run(batch, NULL, 0), KW_OK);
    kw_batch_free(batch);
    kw_ticket *ticket = kw_submit(kw, NULL, "GET foo");
    kw_reply_free(kw_ticket_await(ticket, NULL));
    kw_ticket_free(ticket);
    assert_int_equal(calls_of(kw, fakes[1], KW_LATENCY_SERVICE, KW_COMMAND_CLASS_READ), 4);
    uint64_t heat[KW_SLOTS_N];
    assert_int_equal(kw_client_heat(kw, NULL, heat, KW_SLOTS_N), KW_OK);
    assert_int_equal(heat[FOO_SLOT], 4);
    assert_int_equal(heat[BAR_SLOT], 0);
    kw_close(kw);
}

#define THREADS_N 3
#define CALLS_N   200

static void *read_often(void *arg)
{
    for (int i = 0; i < CALLS_N; i++) {
        kw_reply_free(kw_command(arg, NULL, "GET foo"));
    }
    return NULL;
}

static void test_figures_are_read_while_calls_go_on(void **state)
{
    (void)state;
    renew_fakes();
    answer(fakes[1], "GET foo", "+OK");
    kw_client *kw = open_cluster("share-above=1");
    pthread_t threads[THREADS_N];
    assert_int_equal(kw_client_measure(kw, NULL, KW_MEASURE_LATENCY | KW_MEASURE_HEAT), KW_OK);
    for (size_t i = 0; i < THREADS_N; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_often, kw), 0);
    }
    uint64_t heat[KW_SLOTS_N] = {0};
    while (heat[FOO_SLOT] < THREADS_N * CALLS_N) {
        assert_true(kw_stats_text(kw, NULL, 0, KW_STATS_PROMETHEUS) > 0);
        assert_int_equal(kw_client_heat(kw, NULL, heat, KW_SLOTS_N), KW_OK);
        sched_yield();
    }
    for (size_t i = 0; i < THREADS_N; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(calls_of(kw, fakes[1], KW_LATENCY_SERVICE, KW_COMMAND_CLASS_READ),
                     THREADS_N * CALLS_N);
    assert_int_equal(calls_of(kw, fakes[1], KW_LATENCY_QUEUE, KW_COMMAND_CLASS_READ),
                     THREADS_N * CALLS_N);
    kw_close(kw);
}

/* The clock of test_time_down_is_added_up. */
static uint64_t told_time(void *arg)
{
    return *(const uint64_t *)arg;
}

static void test_time_down_is_added_up(void **state)
{
    (void)state;
    uint64_t now_ns = 1000;
    static kw_env env;
    kw_node_faults faults;
    env.clock.now_fn = told_time;
    env.clock.arg = &now_ns;
    kw_node_faults_init(&faults);
    assert_false(kw_node_faults_set_down(&faults, &env, false));
    assert_true(kw_node_faults_set_down(&faults, &env, true));
    now_ns += 500;
    assert_false(kw_node_faults_set_down(&faults, &env, true));
    assert_true(kw_node_faults_set_down(&faults, &env, false));
    now_ns += 70;
    assert_true(kw_node_faults_set_down(&faults, &env, true));
    now_ns += 30;
    assert_true(kw_node_faults_set_down(&faults, &env, false));
    assert_int_equal(faults.down_total_ns, 530);
    assert_int_equal(faults.down_since_ns, 0);
}

static void test_failures_are_counted_by_code_and_effect(void **state)
{
    (void)state;
    renew_fakes();
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "INCR foo", KW_FAKE_STEPS(KW_FAKE_CLOSE));
    kw_client *kw = open_cluster("");
    for (int i = 0; i < 2; i++) {
        assert_null(kw_command(kw, NULL, "INCR foo"));
    }
    assert_null(kw_command(kw, NULL, "RENAME foo bar"));
    assert_int_equal(kw_client_failures(kw, KW_ERR_CLOSED, KW_EFFECT_MAYBE), 2);
    assert_int_equal(kw_client_failures(kw, KW_ERR_CLOSED, KW_EFFECT_NONE), 0);
    assert_int_equal(kw_client_failures(kw, KW_ERR_CROSSSLOT, KW_EFFECT_NONE), 1);
    assert_int_equal(kw_client_failures(kw, (kw_err)-999, KW_EFFECT_NONE), 0);
    assert_int_equal(kw_client_failures(NULL, KW_ERR_CLOSED, KW_EFFECT_NONE), 0);
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_equal(kw_batch_add(batch, NULL, "INCR foo"), KW_OK);
    (void)kw_batch_run(batch, NULL, 0);
    kw_batch_free(batch);
    assert_int_equal(kw_client_failures(kw, KW_ERR_CLOSED, KW_EFFECT_MAYBE), 3);
    kw_stats stats = {.size = sizeof(stats)};
    assert_int_equal(kw_client_stats(kw, &stats), KW_OK);
    assert_int_equal(stats.failures, 4);
    assert_true(stats.map_number > 0);
    kw_close(kw);
}

static void test_node_slots_are_told_in_ranges(void **state)
{
    (void)state;
    renew_fakes();
    const kw_fake_range ranges[] = {
        {0, 99, fakes[0], NULL}, {100, 199, fakes[1], NULL}, {200, 16383, fakes[0], fakes[2]}};
    kw_fake_set_cluster(fakes, FAKES_N, ranges, 3);
    kw_client *kw = open_cluster("");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    kw_slot_range told[2];
    size_t n;
    size_t first = index_of(kw, fakes[0]);
    assert_int_equal(kw_client_node_slots(kw, told, 2, &n, first), KW_OK);
    assert_int_equal(n, 2);
    assert_int_equal(told[0].first, 0);
    assert_int_equal(told[0].last, 99);
    assert_int_equal(told[1].first, 200);
    assert_int_equal(told[1].last, 16383);
    assert_int_equal(kw_client_node_slots(kw, told, 1, &n, first), KW_OK);
    assert_int_equal(n, 2);
    assert_int_equal(kw_client_node_slots(kw, NULL, 0, &n, index_of(kw, fakes[2])), KW_OK);
    assert_int_equal(n, 0);
    assert_int_equal(kw_client_node_slots(kw, NULL, 0, &n, 999), KW_OK);
    assert_int_equal(n, 0);
    assert_int_equal(kw_client_node_slots(kw, NULL, 1, &n, 0), KW_ERR_ARGUMENT);
    kw_node_stats replica = {.size = sizeof(replica)};
    assert_int_equal(kw_client_node_stats(kw, &replica, index_of(kw, fakes[2])), KW_OK);
    assert_string_equal(replica.primary, kw_fake_address(fakes[0]));
    kw_close(kw);
}

static void expect_text(kw_client *kw, kw_stats_format format, const char *const *parts)
{
    size_t len = kw_stats_text(kw, NULL, 0, format);
    assert_true(len > 0);
    char *text = malloc(len + 100);
    assert_non_null(text);
    assert_true(kw_stats_text(kw, text, len + 100, format) < len + 100);
    for (size_t i = 0; parts[i] != NULL; i++) {
        if (strstr(text, parts[i]) == NULL) {
            fail_msg("\"%s\" is not in\n%s", parts[i], text);
        }
    }
    char cut[20];
    assert_true(kw_stats_text(kw, cut, sizeof(cut), format) > sizeof(cut));
    assert_int_equal(strlen(cut), sizeof(cut) - 1);
    assert_memory_equal(cut, text, sizeof(cut) - 1);
    free(text);
}

static void test_stats_text_has_all_figures_and_is_cut_to_fit(void **state)
{
    (void)state;
    renew_fakes();
    answer(fakes[1], "GET foo", "+OK");
    kw_client *kw = open_cluster("");
    assert_int_equal(kw_client_measure(kw, NULL, KW_MEASURE_LATENCY), KW_OK);
    kw_reply_free(kw_command(kw, NULL, "GET foo"));
    assert_null(kw_command(kw, NULL, "RENAME foo bar"));
    const char *const prometheus[] = {
        "# TYPE keyway_commands_total counter\nkeyway_commands_total 2\n",
        "keyway_failed_total{code=\"KW_ERR_CROSSSLOT\",effect=\"none\"} 1\n",
        "# TYPE keyway_node_slots gauge\n",
        "role=\"primary\",part=\"service\",class=\"read\",le=\"+Inf\"} 1\n", NULL};
    const char *const json[] = {"{\"commands\":2,\"failures\":1,", "\"is_down\":false",
                                "\"failed\":[{\"code\":\"KW_ERR_CROSSSLOT\",\"effect\":\"none\","
                                "\"calls\":1}]",
                                "{\"part\":\"service\",\"class\":\"read\",\"calls\":1,", NULL};
    expect_text(kw, KW_STATS_PROMETHEUS, prometheus);
    expect_text(kw, KW_STATS_JSON, json);
    assert_int_equal(kw_stats_text(kw, NULL, 0, (kw_stats_format)7), 0);
    assert_int_equal(kw_stats_text(NULL, NULL, 0, KW_STATS_JSON), 0);
    kw_close(kw);
}

/* What the callback for slow calls was told last. */
typedef struct told {
    atomic_int n;
    char text[1024];
    char verdicts[200];
    size_t tries_n;
    uint64_t wait_us; /* of the first try */
    int slot;
    kw_err code;
    kw_effect effect;
} told;

static void on_slow(void *arg, const kw_slow_call *call)
{
    told *last = arg;
    last->verdicts[0] = '\0';
    for (size_t i = 0; i < call->tries_n; i++) {
        strncat(last->verdicts, call->tries[i]->verdict, 40);
        strcat(last->verdicts, "|");
    }
    snprintf(last->text, sizeof(last->text), "%s", call->text);
    last->tries_n = call->tries_n;
    last->wait_us = call->tries_n > 0 ? call->tries[0]->wait_us : 0;
    last->slot = call->slot;
    last->code = call->code;
    last->effect = call->effect;
    last->n++;
}

static kw_client *open_slow(told *last, const char *limit)
{
    kw_config *config = kw_config_new(NULL);
    char uri[200];
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=10s&grace=2s",
             kw_fake_address(fakes[0]));
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    assert_int_equal(kw_config_set(config, NULL, "slow-call", limit), KW_OK);
    memset(last, 0, sizeof(*last));
    kw_config_set_slow_call(config, on_slow, last);
    kw_client *kw = kw_open_config(config, NULL);
    kw_config_free(config);
    assert_non_null(kw);
    return kw;
}

static void make_slow(void)
{
    char moved[100];
    snprintf(moved, sizeof(moved), "-MOVED %u %s", FOO_SLOT, kw_fake_address(fakes[0]));
    renew_fakes();
    kw_fake_on_reply(fakes[1], 1, "* foo*", "%s", moved);
    kw_fake_on(fakes[0], 1, "* foo*", KW_FAKE_STEPS(KW_FAKE_SEND("-TRYAGAIN secret\r\n")));
    kw_fake_on(fakes[0], 1, "* foo*", KW_FAKE_STEPS(KW_FAKE_DELAY(60), KW_FAKE_SEND("+OK\r\n")));
    answer(fakes[0], "* foo*", "+OK");
}

static void expect_story(const told *last, int n)
{
    char verdicts[200];
    snprintf(verdicts, sizeof(verdicts), "MOVED %u %s|TRYAGAIN||", FOO_SLOT,
             kw_fake_address(fakes[0]));
    assert_int_equal(last->n, n);
    assert_string_equal(last->verdicts, verdicts);
    assert_int_equal(last->slot, FOO_SLOT);
    assert_int_equal(last->code, KW_OK);
    assert_non_null(strstr(last->text, kw_fake_address(fakes[1])));
    assert_null(strstr(last->text, "secret"));
}

static void test_slow_call_tells_each_try(void **state)
{
    (void)state;
    told last;
    make_slow();
    kw_client *kw = open_slow(&last, "50ms");
    kw_reply_free(kw_command(kw, NULL, "SET foo secret"));
    expect_story(&last, 1);
    kw_close(kw);
}

static void test_slow_call_tells_each_try_of_a_batch(void **state)
{
    (void)state;
    told last;
    make_slow();
    kw_client *kw = open_slow(&last, "50ms");
    kw_batch *batch = kw_batch_new(kw, NULL);
    assert_int_equal(kw_batch_add(batch, NULL, "SET foo secret"), KW_OK);
    assert_int_equal(kw_batch_run(batch, NULL, 0), KW_OK);
    kw_batch_free(batch);
    expect_story(&last, 1);
    kw_close(kw);
}

static void test_slow_call_tells_of_a_failure(void **state)
{
    (void)state;
    told last;
    renew_fakes();
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "INCR foo",
               KW_FAKE_STEPS(KW_FAKE_DELAY(20), KW_FAKE_CLOSE));
    kw_client *kw = open_slow(&last, "10ms");
    assert_null(kw_command(kw, NULL, "INCR foo"));
    assert_int_equal(last.n, 1);
    assert_int_equal(last.code, KW_ERR_CLOSED);
    assert_int_equal(last.effect, KW_EFFECT_MAYBE);
    assert_int_equal(last.tries_n, 1);
    kw_close(kw);
}

/* What it waits for before it is sent is told apart from the server's time. */
static void test_slow_call_tells_of_the_wait_for_a_connection(void **state)
{
    (void)state;
    told last;
    renew_fakes();
    answer(fakes[1], "INCR foo", ":1");
    kw_client *kw = open_slow(&last, "50ms");
    kw_fake_on_accept(fakes[1], KW_FAKE_ALWAYS, KW_FAKE_STEPS(KW_FAKE_DELAY(60)));
    expect_number(kw, "INCR foo", 1);
    assert_int_equal(last.n, 1);
    assert_true(last.wait_us >= 55000);
    kw_close(kw);
}

static void test_slow_call_is_silent_below_its_limit(void **state)
{
    (void)state;
    told last;
    renew_fakes();
    answer(fakes[1], "GET foo", "+OK");
    kw_client *kw = open_slow(&last, "1h");
    kw_reply_free(kw_command(kw, NULL, "GET foo"));
    kw_close(kw);
    kw = open_slow(&last, "0");
    kw_reply_free(kw_command(kw, NULL, "GET foo"));
    kw_close(kw);
    assert_int_equal(last.n, 0);
}

static void test_slow_call_may_change_in_use(void **state)
{
    (void)state;
    told last;
    make_slow();
    kw_client *kw = open_slow(&last, "0");
    assert_int_equal(kw_client_set(kw, NULL, "slow-call", "50ms"), KW_OK);
    kw_reply_free(kw_command(kw, NULL, "SET foo secret"));
    expect_story(&last, 1);
    assert_int_equal(kw_client_measure(kw, NULL, KW_MEASURE_LATENCY), KW_OK);
    assert_int_equal(kw_client_measure(kw, NULL, 0), KW_OK); /* which leaves the stories alone */
    make_slow();
    kw_fake_on(fakes[0], 1, "SET *", KW_FAKE_STEPS(KW_FAKE_DELAY(60), KW_FAKE_SEND("+OK\r\n")));
    kw_reply_free(kw_command(kw, NULL, "SET foo secret"));
    assert_int_equal(last.n, 2);
    kw_close(kw);
}

/* Gives memory while there is some left. */
static void *give(void *arg, size_t len)
{
    atomic_int *left = arg;
    return atomic_fetch_sub(left, 1) > 0 ? malloc(len) : NULL;
}

static void *resize(void *arg, void *block, size_t len)
{
    atomic_int *left = arg;
    return atomic_fetch_sub(left, 1) > 0 ? realloc(block, len) : NULL;
}

static void take(void *arg, void *block)
{
    (void)arg;
    free(block);
}

/* Without memory nothing is measured or told, and calls go on. */
static void test_figures_without_memory_are_missing(void **state)
{
    (void)state;
    atomic_int left = 1 << 30;
    told last;
    kw_allocator allocator = {.size = sizeof(allocator), .arg = &left};
    allocator.malloc_fn = give;
    allocator.realloc_fn = resize;
    allocator.free_fn = take;
    char uri[200];
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=10s&slow-call=1ms",
             kw_fake_address(fakes[0]));
    kw_config *config = kw_config_new(&allocator);
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    memset(&last, 0, sizeof(last));
    kw_config_set_slow_call(config, on_slow, &last);
    kw_client *kw = kw_open_config(config, NULL);
    kw_config_free(config);
    for (int k = 0; k < 12; k++) {
        make_slow();
        kw_reply_free(kw_command(kw, NULL, "GET foo")); /* the map is there */
        make_slow();
        left = k;
        kw_err code = kw_client_measure(kw, NULL, KW_MEASURE_LATENCY | KW_MEASURE_HEAT);
        assert_true(code == KW_OK || code == KW_ERR_NOMEM);
        kw_reply_free(kw_command(kw, NULL, "SET foo x"));
        size_t n;
        (void)kw_stats_text(kw, NULL, 0, KW_STATS_JSON);
        (void)kw_client_node_slots(kw, NULL, 0, &n, 0);
        left = 1 << 30;
        assert_int_equal(kw_client_measure(kw, NULL, 0), KW_OK);
    }
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latency_is_counted_by_node_and_class_once_measured),
        cmocka_unit_test(test_latency_is_counted_of_batches_and_tickets),
        cmocka_unit_test(test_figures_are_read_while_calls_go_on),
        cmocka_unit_test(test_time_down_is_added_up),
        cmocka_unit_test(test_failures_are_counted_by_code_and_effect),
        cmocka_unit_test(test_node_slots_are_told_in_ranges),
        cmocka_unit_test(test_stats_text_has_all_figures_and_is_cut_to_fit),
        cmocka_unit_test(test_slow_call_tells_each_try),
        cmocka_unit_test(test_slow_call_tells_each_try_of_a_batch),
        cmocka_unit_test(test_slow_call_tells_of_a_failure),
        cmocka_unit_test(test_slow_call_tells_of_the_wait_for_a_connection),
        cmocka_unit_test(test_slow_call_is_silent_below_its_limit),
        cmocka_unit_test(test_slow_call_may_change_in_use),
        cmocka_unit_test(test_figures_without_memory_are_missing),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Settings that change while a handle is in use: what begins from then on goes by them, and what
 * may not change is refused, with nothing changed. */
#include "fake/fakes.h"

#include <stdatomic.h>

static void set(kw_client *kw, const char *name, const char *value)
{
    kw_error error = KW_ERROR_INIT;
    if (kw_client_set(kw, &error, name, value) != KW_OK) {
        fail_msg("%s=%s: %s", name, value, error.text);
    }
}

static void test_a_new_timeout_is_that_of_the_next_call(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=20s");
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "GET *", KW_FAKE_STEPS(KW_FAKE_STALL));
    set(kw, "timeout", "50ms");
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(kw, &error, "GET foo"));
    expect_error("call", &error, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE);
    assert_in_range(error.elapsed_ms, 40, 50 + LATE_MS);
    kw_ticket *ticket = kw_submit(kw, NULL, "GET foo");
    assert_null(kw_ticket_await(ticket, &error));
    expect_error("ticket", &error, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE);
    kw_ticket_free(ticket);
    kw_close(kw);
}

static void test_a_lower_limit_of_what_is_under_way_holds(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=2s");
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "GET *", KW_FAKE_STEPS(KW_FAKE_STALL));
    set(kw, "queue-max", "2");
    kw_error error = KW_ERROR_INIT;
    kw_ticket *tickets[3];
    for (size_t i = 0; i < 3; i++) {
        tickets[i] = kw_submit(kw, &error, "GET foo");
    }
    assert_non_null(tickets[1]);
    assert_null(tickets[2]);
    assert_int_equal(error.code, KW_ERR_QUEUE_FULL);
    set(kw, "queue-max", "3");
    assert_non_null(tickets[2] = kw_submit(kw, &error, "GET foo"));
    kw_close(kw);
    for (size_t i = 0; i < 3; i++) {
        kw_ticket_free(tickets[i]);
    }
}

typedef struct popper {
    pthread_t thread;
    kw_client *kw;
    bool is_answered;
} popper;

static void *pop(void *arg)
{
    popper *self = arg;
    kw_reply *reply = kw_command(self->kw, NULL, "BLPOP foo 1");
    self->is_answered = reply != NULL;
    kw_reply_free(reply);
    return NULL;
}

/* Who waits for a place gets it when there are more of them. */
static void test_a_larger_pool_lets_waiting_callers_in(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=20s&pool-max=1");
    kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "BLPOP *",
               KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_SEND("*2\r\n$3\r\nfoo\r\n$1\r\nv\r\n")));
    popper poppers[2];
    for (size_t i = 0; i < 2; i++) {
        poppers[i].kw = kw;
        assert_int_equal(pthread_create(&poppers[i].thread, NULL, pop, &poppers[i]), 0);
    }
    KW_TEST_AWAIT(kw_fake_at_gates(fakes[1]) == 1);
    set(kw, "pool-max", "2");
    KW_TEST_AWAIT(kw_fake_at_gates(fakes[1]) == 2);
    for (size_t i = 0; i < 2; i++) {
        kw_fake_pass(fakes[1]);
    }
    for (size_t i = 0; i < 2; i++) {
        kw_test_join(poppers[i].thread);
        assert_true(poppers[i].is_answered);
    }
    kw_close(kw);
}

static void test_reads_go_where_the_new_preference_says(void **state)
{
    (void)state;
    renew_fakes();
    const kw_fake_range all[] = {{0, 16383, fakes[0], fakes[1]}};
    kw_fake_set_cluster(fakes, 2, all, 1);
    kw_client *kw = open_connected("timeout=2s");
    answer(fakes[0], "GET *", ":0");
    answer(fakes[1], "GET *", ":1");
    expect_number(kw, "GET foo", 0);
    set(kw, "read-preference", "replica");
    expect_number(kw, "GET foo", 1);
    set(kw, "read-preference", "primary");
    expect_number(kw, "GET foo", 0);
    kw_close(kw);
}

static void test_a_split_that_is_refused_from_now_on_is_refused(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=2s");
    answer(fakes[0], "DEL *", ":1");
    answer(fakes[1], "DEL *", ":1");
    expect_number(kw, "DEL foo bar", 2);
    set(kw, "cross-slot", "refuse");
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_command(kw, &error, "DEL foo bar"));
    assert_int_equal(error.code, KW_ERR_CROSSSLOT);
    kw_close(kw);
}

static void test_maps_are_fetched_by_the_new_rhythm(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=2s&refresh-interval=0");
    answer(fakes[1], "GET *", ":1");
    size_t asked_n = maps_asked();
    set(kw, "refresh-interval", "100ms");
    KW_TEST_UNTIL(maps_asked() >= asked_n + 3)
    {
        expect_number(kw, "GET foo", 1);
        kw_test_sleep_ms(5);
    }
    kw_close(kw);
}

static void test_what_may_not_change_is_refused_with_a_reason(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=2s");
    static const struct {
        const char *name;
        const char *value;
        kw_err code;
        const char *text;
    } rows[] = {
        {"db", "1", KW_ERR_CONFIG, "fixed once the handle is open"},
        {"password", "x", KW_ERR_CONFIG, "fixed once the handle is open"},
        {"timeuot", "1s", KW_ERR_CONFIG, "did you mean timeout?"},
        {"timeout", "1", KW_ERR_CONFIG, "with its unit"},
        {"pool-max", "0", KW_ERR_CONFIG, "out of range"},
        {"read-preference", "nobody", KW_ERR_CONFIG, "primary, prefer-replica"},
        {NULL, "1s", KW_ERR_ARGUMENT, "NULL"},
        {"timeout", NULL, KW_ERR_ARGUMENT, "NULL"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_error error = KW_ERROR_INIT;
        assert_int_equal(kw_client_set(kw, &error, rows[i].name, rows[i].value), rows[i].code);
        if (strstr(error.text, rows[i].text) == NULL) {
            fail_msg("row %zu: %s", i, error.text);
        }
    }
    assert_int_equal(kw_client_set(NULL, NULL, "timeout", "1s"), KW_ERR_ARGUMENT);
    kw_close(kw);
}

/* Every option that may change takes its default; every other one is refused. */
static void test_the_table_says_what_may_change(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=2s");
    const char *name;
    const char *value;
    for (size_t i = 0; (name = kw_config_option(i, NULL, &value)) != NULL; i++) {
        kw_err code = kw_client_set(kw, NULL, name, value);
        assert_int_equal(code, kw_config_option_is_live(i) ? KW_OK : KW_ERR_CONFIG);
    }
    assert_false(kw_config_option_is_live(100000));
    kw_close(kw);
}

static atomic_bool is_over;

static void *work(void *arg)
{
    while (!atomic_load(&is_over)) {
        kw_reply_free(kw_command(arg, NULL, "GET foo"));
    }
    return NULL;
}

/* For ThreadSanitizer. */
static void test_settings_change_under_callers(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=2s");
    answer(fakes[0], "GET *", ":0");
    answer(fakes[1], "GET *", ":1");
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work, kw), 0);
    }
    for (int round = 0; round < 50; round++) {
        set(kw, "timeout", round % 2 == 0 ? "1s" : "2s");
        set(kw, "pool-max", round % 2 == 0 ? "2" : "64");
        set(kw, "share-above", round % 3 == 0 ? "0" : "3");
        set(kw, "read-preference", round % 2 == 0 ? "nearest" : "zone:here");
        set(kw, "refresh-interval", round % 2 == 0 ? "10ms" : "30s");
        kw_test_sleep_ms(1);
    }
    atomic_store(&is_over, true);
    for (size_t i = 0; i < 4; i++) {
        kw_test_join(threads[i]);
    }
    set(kw, "read-preference", "primary");
    expect_number(kw, "GET foo", 1);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_timeout_is_that_of_the_next_call),
        cmocka_unit_test(test_a_lower_limit_of_what_is_under_way_holds),
        cmocka_unit_test(test_a_larger_pool_lets_waiting_callers_in),
        cmocka_unit_test(test_reads_go_where_the_new_preference_says),
        cmocka_unit_test(test_a_split_that_is_refused_from_now_on_is_refused),
        cmocka_unit_test(test_maps_are_fetched_by_the_new_rhythm),
        cmocka_unit_test(test_what_may_not_change_is_refused_with_a_reason),
        cmocka_unit_test(test_the_table_says_what_may_change),
        cmocka_unit_test(test_settings_change_under_callers),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

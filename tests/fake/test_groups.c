/* SPDX-License-Identifier: BSD-3-Clause */
/* Sentinel groups as nodes of a ring, whose sentinels are away, silent or behind: what their
 * own keys get, and that others' keys have nothing to do with it. */

#include "fake/group_fakes.h"

static kw_error expect_failure(kw_client *kw, kw_err code)
{
    kw_error error = KW_ERROR_INIT;
    const char *argv[] = {"INCR", key_of(kw, 'b')};
    kw_reply *reply = kw_call(kw, &error, NULL, (kw_argv){2, argv, NULL});
    if (reply != NULL || error.code != code || error.effect != KW_EFFECT_NONE) {
        fail_msg("%s, %s: %s", kw_err_name(error.code), kw_effect_name(error.effect), error.text);
    }
    return error;
}

static void test_group_whose_sentinels_are_away_fails_its_own_keys_alone(void **state)
{
    (void)state;
    reset_fakes();
    kw_fake_down(sentinels[0]);
    kw_fake_down(sentinels[1]);
    kw_client *kw = open_ring("timeout=10s");
    uint64_t start_ms = kw_test_now_ms();
    expect(kw, "INCR", 'a', 0);
    kw_error error = expect_failure(kw, KW_ERR_NO_SENTINEL);
    assert_non_null(strstr(error.text, "\"group\""));
    expect(kw, "INCR", 'a', 0);
    error = expect_failure(kw, KW_ERR_NO_SENTINEL); /* not after its whole timeout */
    assert_true(kw_test_now_ms() - start_ms < 5000);
    assert_int_equal(kw_connect(kw, &error), KW_ERR_NO_SENTINEL);
    kw_fake_up(sentinels[1]);
    uint64_t end_ms = kw_test_now_ms() + 5000 + LATE_MS;
    kw_reply *reply = NULL;
    while (reply == NULL && kw_test_now_ms() < end_ms) {
        const char *argv[] = {"INCR", key_of(kw, 'b')};
        reply = kw_call(kw, NULL, NULL, (kw_argv){2, argv, NULL});
        kw_test_sleep_ms(5);
    }
    assert_non_null(reply);
    assert_int_equal(kw_reply_int(reply), 1);
    kw_reply_free(reply);
    kw_close(kw);
}

static void test_group_that_nobody_knows_is_an_error_of_its_own(void **state)
{
    (void)state;
    reset_fakes();
    for (size_t i = 0; i < SENTINELS; i++) {
        kw_fake_reset(sentinels[i]);
        kw_fake_on_reply(sentinels[i], KW_FAKE_ALWAYS, "SENTINEL GET-*", "*-1");
        kw_fake_on_reply(sentinels[i], KW_FAKE_ALWAYS, "SENTINEL *", "-ERR No such master");
    }
    kw_client *kw = open_ring("timeout=10s");
    kw_error error = expect_failure(kw, KW_ERR_NO_SERVICE);
    assert_non_null(strstr(error.text, "\"group\""));
    expect(kw, "INCR", 'a', 0);
    kw_close(kw);
}

static void test_batch_waits_for_the_group_to_be_found(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_ring("timeout=10s");
    kw_error error = KW_ERROR_INIT;
    kw_batch *batch = kw_batch_new(kw, &error);
    assert_int_equal(kw_batch_add(batch, &error, "INCR %s", key_of(kw, 'a')), KW_OK);
    assert_int_equal(kw_batch_add(batch, &error, "INCR %s", key_of(kw, 'b')), KW_OK);
    assert_int_equal(kw_batch_run(batch, &error, 0), KW_OK);
    assert_int_equal(kw_reply_int(kw_batch_reply(batch, NULL, 0)), 0);
    assert_int_equal(kw_reply_int(kw_batch_reply(batch, NULL, 1)), 1);
    kw_batch_free(batch);
    kw_close(kw);
}

/* Tickets run in an event loop. */
static void test_loop_waits_for_the_group_to_be_found_and_replaced(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_ring("timeout=10s");
    kw_error error = KW_ERROR_INIT;
    for (int round = 0; round < 2; round++) {
        kw_ticket *ticket = kw_submit(kw, &error, "GET %s", key_of(kw, 'b'));
        assert_non_null(ticket);
        kw_reply *reply = kw_ticket_await(ticket, &error);
        if (reply == NULL || kw_reply_int(reply) != 1 + round) {
            fail_msg("%s", error.text);
        }
        kw_reply_free(reply);
        kw_ticket_free(ticket);
        kw_fake_down(PRIMARY);
        name(sentinels[0], OTHER);
        name(sentinels[1], OTHER);
    }
    kw_close(kw);
}

/* Where the session was bound, nothing is taken for granted after a switch. */
static void test_session_of_the_group_goes_to_the_next_primary(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_ring("timeout=5s");
    kw_error error = KW_ERROR_INIT;
    const char *key = key_of(kw, 'b');
    kw_session *session = kw_session_open(kw, &error, key, strlen(key));
    assert_non_null(session);
    kw_reply *reply = kw_session_command(session, &error, "GET %s", key);
    assert_int_equal(kw_reply_int(reply), 1);
    kw_reply_free(reply);
    kw_fake_down(PRIMARY);
    name(sentinels[0], OTHER);
    name(sentinels[1], OTHER);
    reply = kw_session_command(session, &error, "GET %s", key);
    if (reply == NULL) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(kw_reply_int(reply), 2);
    kw_reply_free(reply);
    kw_session_close(session);
    kw_close(kw);
}

static void test_named_primary_that_is_none_gets_nothing(void **state)
{
    (void)state;
    reset_fakes();
    be_replica(PRIMARY);
    kw_client *kw = open_ring("timeout=500ms");
    (void)expect_failure(kw, KW_ERR_ROLE);
    assert_int_equal(kw_fake_count(PRIMARY, "INCR *"), 0);
    name(sentinels[1], OTHER); /* one that is not behind is enough */
    kw_close(kw);
    kw = open_ring("timeout=5s");
    expect(kw, "INCR", 'b', 2);
    kw_close(kw);
}

/* Until its sentinels name another one. */
static void test_demoted_primary_of_the_group_is_dialled_rarely(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_ring("timeout=100ms");
    expect(kw, "INCR", 'b', 1);
    be_replica(PRIMARY);
    kw_fake_disconnect(PRIMARY, true);
    unsigned before_n = kw_fake_accepted(PRIMARY);
    uint64_t start_ms = kw_test_now_ms();
    while (kw_test_now_ms() - start_ms < 500) {
        kw_error error = KW_ERROR_INIT;
        kw_reply_free(kw_command(kw, &error, "INCR %s", key_of(kw, 'b')));
        assert_int_equal(error.effect, KW_EFFECT_NONE);
    }
    assert_in_range(kw_fake_accepted(PRIMARY) - before_n, 1, 25);
    name(sentinels[0], OTHER);
    name(sentinels[1], OTHER);
    start_ms = kw_test_now_ms();
    kw_reply *reply = NULL;
    while ((reply = kw_command(kw, NULL, "INCR %s", key_of(kw, 'b'))) == NULL) {
        assert_in_range(kw_test_now_ms() - start_ms, 0, 1200 + LATE_MS);
    }
    assert_int_equal(kw_reply_int(reply), 2);
    kw_reply_free(reply);
    kw_close(kw);
}

static void test_role_is_asked_of_the_group_alone(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_ring("timeout=5s");
    unsigned before = kw_fake_accepted(PRIMARY);
    expect(kw, "INCR", 'a', 0);
    expect(kw, "INCR", 'b', 1);
    kw_fake_disconnect(PRIMARY, false);
    kw_test_sleep_ms(20);
    expect(kw, "INCR", 'b', 1);
    assert_true(kw_fake_count(PRIMARY, "ROLE") >= kw_fake_accepted(PRIMARY) - before);
    assert_int_equal(kw_fake_count(PLAIN, "ROLE"), 0);
    kw_close(kw);
}

static void test_readonly_of_the_group_alone_asks_the_sentinels(void **state)
{
    static const char readonly[] = "-READONLY You can't write against a read only replica.";
    (void)state;
    reset_fakes();
    kw_client *kw = open_ring("timeout=5s");
    expect(kw, "INCR", 'b', 1);
    kw_fake_reset(PRIMARY);
    kw_fake_reset(PLAIN);
    kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "INCR *", readonly);
    kw_fake_on_reply(PLAIN, KW_FAKE_ALWAYS, "INCR *", readonly);
    be_replica(PRIMARY);
    name(sentinels[0], OTHER);
    name(sentinels[1], OTHER);
    expect(kw, "INCR", 'b', 2);
    char *text = kw_test_ask_error(kw, "INCR %s", key_of(kw, 'a'));
    assert_memory_equal(text, "READONLY", 8);
    free(text);
    kw_close(kw);
}

static void test_logins_of_sentinels_and_servers_are_not_mixed_up(void **state)
{
    (void)state;
    reset_fakes();
    kw_client *kw = open_ring("timeout=5s&user=u&password=p&sentinel-user=su&sentinel-password=sp");
    expect(kw, "INCR", 'a', 0);
    expect(kw, "INCR", 'b', 1);
    assert_true(kw_fake_count(sentinels[0], "HELLO 2 AUTH su sp*") > 0);
    assert_int_equal(kw_fake_count(sentinels[0], "HELLO 2 AUTH u p*"), 0);
    assert_true(kw_fake_count(PRIMARY, "HELLO 2 AUTH u p*") > 0);
    assert_true(kw_fake_count(PLAIN, "HELLO 2 AUTH u p*") > 0);
    assert_int_equal(kw_fake_count(PRIMARY, "HELLO 2 AUTH su sp*"), 0);
    kw_close(kw);
}

/* A silent group is asked for a while; another one does not wait for that. */
static void test_groups_do_not_wait_for_each_other(void **state)
{
    char uri[400];
    (void)state;
    reset_fakes();
    kw_fake_on_accept(sentinels[0], KW_FAKE_ALWAYS, KW_FAKE_STEPS(KW_FAKE_STALL));
    snprintf(uri, sizeof(uri), "redis-ring://a=%s;service=lost,b=%s;service=group?timeout=10s",
             kw_fake_address(sentinels[0]), kw_fake_address(sentinels[1]));
    kw_client *kw = kw_test_open("%s", uri);
    expect(kw, "INCR", 'b', 1);
    kw_fake_reset(PRIMARY);
    kw_fake_on_reply(OTHER, KW_FAKE_ALWAYS, "INCR *", ":2");
    be_replica(PRIMARY);
    name(sentinels[1], OTHER);
    kw_fake_disconnect(PRIMARY, false);
    kw_test_sleep_ms(20);
    uint64_t start_ms = kw_test_now_ms();
    expect(kw, "INCR", 'b', 2);
    assert_true(kw_test_now_ms() - start_ms < 1200 + LATE_MS);
    kw_close(kw);
}

typedef struct told {
    unsigned n;
    char member;
    char node[128];
} told;

static void on_event(void *arg, const kw_event *event)
{
    told *self = arg;
    if (event->kind == KW_EVENT_PRIMARY_CHANGED && event->member_len == 1) {
        self->n++;
        self->member = event->member[0];
        snprintf(self->node, sizeof(self->node), "%s", event->node);
    }
}

static void test_another_primary_is_an_event_and_moves_no_key(void **state)
{
    char uri[400];
    told news = {0, 0, ""};
    kw_error error = KW_ERROR_INIT;
    (void)state;
    reset_fakes();
    kw_config *config = kw_test_config_new(NULL);
    kw_config_set_event(config, on_event, &news);
    assert_int_equal(kw_config_set_uri(config, &error,
                                       uri_of(uri, sizeof(uri), "timeout=5s&on-node-down=eject")),
                     KW_OK);
    kw_client *kw = kw_open_config(config, &error);
    kw_config_free(config);
    expect(kw, "INCR", 'b', 1);
    kw_ring *before = kw_client_ring(kw, &error);
    kw_fake_down(PRIMARY);
    name(sentinels[0], OTHER);
    name(sentinels[1], OTHER);
    expect(kw, "GET", 'b', 2);
    expect(kw, "INCR", 'b', 2);
    kw_ring *after = kw_client_ring(kw, &error);
    assert_int_equal(kw_ring_fingerprint(after), kw_ring_fingerprint(before));
    assert_int_equal(news.n, 1);
    assert_int_equal(news.member, 'b');
    assert_string_equal(news.node, kw_fake_address(OTHER));
    assert_int_equal(kw_test_stats(kw).downs, 0);
    kw_ring_unref(before);
    kw_ring_unref(after);
    kw_close(kw);
}

/* The server is a member already, and stays one alone. */
static void test_primary_that_is_another_member_is_refused(void **state)
{
    (void)state;
    reset_fakes();
    name(sentinels[0], PLAIN);
    name(sentinels[1], PLAIN);
    kw_client *kw = open_ring("timeout=5s");
    kw_error error = expect_failure(kw, KW_ERR_CONFIG);
    assert_non_null(strstr(error.text, "there twice"));
    expect(kw, "INCR", 'a', 0);
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_whose_sentinels_are_away_fails_its_own_keys_alone),
        cmocka_unit_test(test_group_that_nobody_knows_is_an_error_of_its_own),
        cmocka_unit_test(test_batch_waits_for_the_group_to_be_found),
        cmocka_unit_test(test_loop_waits_for_the_group_to_be_found_and_replaced),
        cmocka_unit_test(test_session_of_the_group_goes_to_the_next_primary),
        cmocka_unit_test(test_named_primary_that_is_none_gets_nothing),
        cmocka_unit_test(test_demoted_primary_of_the_group_is_dialled_rarely),
        cmocka_unit_test(test_role_is_asked_of_the_group_alone),
        cmocka_unit_test(test_readonly_of_the_group_alone_asks_the_sentinels),
        cmocka_unit_test(test_logins_of_sentinels_and_servers_are_not_mixed_up),
        cmocka_unit_test(test_groups_do_not_wait_for_each_other),
        cmocka_unit_test(test_another_primary_is_an_event_and_moves_no_key),
        cmocka_unit_test(test_primary_that_is_another_member_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

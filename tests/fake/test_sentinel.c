/* SPDX-License-Identifier: BSD-3-Clause */
/* Sentinels that are away, silent, behind, lying or talking nonsense: who is asked, who is
 * believed, and what the caller is told. */
#include "fake/sentinel_fakes.h"

static void test_sentinels_are_asked_in_turn_and_the_good_one_first(void **state)
{
    (void)state;
    reset_fakes();
    kw_fake_down(sentinels[0]);
    kw_fake_on_accept(sentinels[1], KW_FAKE_ALWAYS, KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_client *kw = open_n(3, "timeout=2s");
    uint64_t start_ms = kw_test_now_ms();
    expect_number(kw, "INCR a", 0);
    assert_in_range(kw_test_now_ms() - start_ms, 290, 300 + LATE_MS);
    unsigned accepted = kw_fake_accepted(sentinels[1]);
    size_t asked = kw_fake_count(sentinels[2], "SENTINEL GET-MASTER*");
    assert_int_equal(asked, 1);
    kw_fake_disconnect(PRIMARY, false); /* reason to ask again */
    kw_test_sleep_ms(20);
    expect_number(kw, "GET a", 0);
    for (int i = 0; i < 150 && kw_fake_count(sentinels[2], "SENTINEL GET-MASTER*") == asked; i++) {
        kw_test_sleep_ms(10);
        expect_number(kw, "GET a", 0);
    }
    assert_true(kw_fake_count(sentinels[2], "SENTINEL GET-MASTER*") > asked);
    assert_in_range(kw_fake_accepted(sentinels[1]) - accepted, 0, 6); /* it is listened to */
    kw_close(kw);
}

static void test_stale_sentinel_is_caught_by_role(void **state)
{
    (void)state;
    reset_fakes();
    be_replica(PRIMARY, "connected");
    name(sentinels[1], OTHER, NULL, "", NULL);
    kw_client *kw = open_n(2, "timeout=2s");
    expect_number(kw, "INCR a", 1);
    assert_int_equal(kw_fake_count(PRIMARY, "INCR *"), 0);
    assert_true(kw_fake_count(PRIMARY, "ROLE") > 0);
    kw_close(kw);
}

static void test_stale_sentinels_alone_are_never_believed(void **state)
{
    (void)state;
    reset_fakes();
    be_replica(PRIMARY, "connected");
    kw_client *kw = open_n(3, "timeout=400ms");
    kw_error error = expect_failure(kw, "INCR a", KW_ERR_ROLE);
    assert_non_null(strstr(error.text, "replica"));
    assert_int_equal(kw_fake_count(PRIMARY, "INCR *"), 0);
    kw_fake_reset(PRIMARY); /* promoted at last */
    answer_numbers();
    expect_number(kw, "INCR a", 0);
    kw_close(kw);
}

static void test_sentinel_that_names_a_dead_address_is_passed_over(void **state)
{
    (void)state;
    reset_fakes();
    kw_fake_down(PRIMARY);
    name(sentinels[2], OTHER, NULL, "", NULL);
    kw_client *kw = open_n(3, "timeout=2s");
    uint64_t start_ms = kw_test_now_ms();
    expect_number(kw, "INCR a", 1);
    assert_in_range(kw_test_now_ms() - start_ms, 0, LATE_MS);
    kw_close(kw);
}

static void test_unknown_name_is_an_error_of_its_own(void **state)
{
    (void)state;
    reset_fakes();
    for (size_t i = 0; i < SENTINELS; i++) {
        kw_fake_reset(sentinels[i]);
        kw_fake_on_reply(sentinels[i], KW_FAKE_ALWAYS, "SENTINEL GET-*", "*-1");
        kw_fake_on_reply(sentinels[i], KW_FAKE_ALWAYS, "SENTINEL *", "-ERR No such master");
    }
    kw_client *kw = open_n(3, "timeout=2s");
    uint64_t start_ms = kw_test_now_ms();
    kw_error error = expect_failure(kw, "INCR a", KW_ERR_NO_SERVICE);
    assert_non_null(strstr(error.text, "\"group\""));
    assert_in_range(kw_test_now_ms() - start_ms, 0, LATE_MS);
    name(sentinels[1], PRIMARY, NULL, "", NULL); /* one that knows it is enough */
    expect_number(kw, "INCR a", 0);
    kw_close(kw);
    kw_fake_down(sentinels[1]);
    kw_fake_down(sentinels[2]);
    kw = open_n(3, "timeout=300ms"); /* the one that is left may be a new one */
    error = expect_failure(kw, "INCR a", KW_ERR_NO_SENTINEL);
    assert_non_null(strstr(error.text, "does not know the name"));
    kw_close(kw);
}

static void test_no_sentinel_reachable_is_an_error_of_its_own(void **state)
{
    (void)state;
    reset_fakes();
    kw_fake_down(sentinels[0]);
    kw_fake_on_accept(sentinels[1], KW_FAKE_ALWAYS, KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_fake_on_accept(sentinels[2], KW_FAKE_ALWAYS, KW_FAKE_STEPS(KW_FAKE_CLOSE));
    kw_client *kw = open_n(3, "timeout=700ms");
    uint64_t start_ms = kw_test_now_ms();
    (void)expect_failure(kw, "INCR a", KW_ERR_NO_SENTINEL);
    assert_in_range(kw_test_now_ms() - start_ms, 690, 700 + LATE_MS);
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_connect(kw, &error), KW_ERR_NO_SENTINEL);
    kw_fake_up(sentinels[0]);
    kw_test_sleep_ms(1000); /* the first call a second later */
    const char *argv[] = {"INCR", "a", NULL};
    kw_test_deadline late = {1500, NULL};
    kw_reply *reply = kw_test_call(kw, &error, late, argv); /* it is tried once a second */
    assert_non_null(reply);
    kw_reply_free(reply);
    kw_close(kw);
}

/* Whatever the first sentinel says, the second one is asked, and nothing goes elsewhere. */
static void test_nonsense_of_a_sentinel_is_refused_and_another_asked(void **state)
{
    (void)state;
    static const char host[] = "*2\r\n$9\r\n127.0.0.1\r\n";
    char wrong[300];
    const kw_fake_step *const answers[] = {
        KW_FAKE_STEPS(KW_FAKE_SEND("*0\r\n")),
        KW_FAKE_STEPS(KW_FAKE_SEND("*1\r\n$9\r\n127.0.0.1\r\n")),
        KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n$0\r\n\r\n$1\r\n1\r\n")),
        KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n$9\r\n127.0.0.1\r\n$1\r\n0\r\n")),
        KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n$9\r\n127.0.0.1\r\n$5\r\n65536\r\n")),
        KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n$9\r\n127.0.0.1\r\n$2\r\n-1\r\n")),
        KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n$9\r\n127.0.0.1\r\n:6379\r\n")),
        KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n$3\r\na\tb\r\n$4\r\n6379\r\n")),
        KW_FAKE_STEPS(KW_FAKE_SEND("+OK\r\n")),
        KW_FAKE_STEPS(KW_FAKE_SEND("$-1\r\n")),
        KW_FAKE_STEPS(KW_FAKE_SEND("-ERR unknown command 'SENTINEL'\r\n")),
        KW_FAKE_STEPS(KW_FAKE_SEND("-LOADING\r\n")),
        KW_FAKE_STEPS(KW_FAKE_SEND("HTTP/1.1 400 Bad Request\r\n\r\n")),
        KW_FAKE_STEPS(KW_FAKE_SEND("*1073741824\r\n")),
        KW_FAKE_STEPS(KW_FAKE_FLOOD("*1\r\n", 1)),
        KW_FAKE_STEPS(KW_FAKE_FLOOD("*2\r\n$1\r\na\r\n$1\r\n1\r\n", 1)),
        KW_FAKE_STEPS(KW_FAKE_PIECES("*2\r\n$9\r\n127.0.0.1\r\n$5\r\n12345\r\n", 100)),
        KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n$9\r\n127.0"), KW_FAKE_CLOSE),
        KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n$9\r\n127.0"), KW_FAKE_RESET),
        KW_FAKE_STEPS(KW_FAKE_SEND("*2\r\n$9\r\n127.0"), KW_FAKE_STALL),
        KW_FAKE_STEPS(KW_FAKE_DEAF),
    };
    snprintf(wrong, sizeof(wrong), "%s$1\r\n1", host);
    for (size_t i = 0; i <= sizeof(answers) / sizeof(answers[0]); i++) {
        reset_fakes();
        kw_fake_reset(sentinels[0]);
        if (i < sizeof(answers) / sizeof(answers[0])) {
            kw_fake_on(sentinels[0], KW_FAKE_ALWAYS, "SENTINEL GET-*", answers[i]);
        } else {
            kw_fake_on_reply(sentinels[0], KW_FAKE_ALWAYS, "SENTINEL GET-*", "%s", wrong);
        }
        kw_fake_on_reply(sentinels[0], KW_FAKE_ALWAYS, "SENTINEL *", "*0");
        kw_client *kw = open_n(2, "timeout=2s");
        expect_number(kw, "INCR a", 0);
        assert_int_equal(kw_fake_count(PRIMARY, "INCR *"), 1);
        kw_close(kw);
    }
}

static void test_nonsense_about_replicas_and_sentinels_refuses_the_whole(void **state)
{
    (void)state;
    static const char *const lists[] = {
        "*1\r\n:1",
        "*1\r\n*1\r\n$2\r\nip",
        "*1\r\n*2\r\n$2\r\nip\r\n$1\r\na",
        "*1\r\n*4\r\n$2\r\nip\r\n$1\r\na\r\n$4\r\nport\r\n$5\r\n99999",
        "*1\r\n*4\r\n$2\r\nip\r\n*0\r\n$4\r\nport\r\n$1\r\n1",
        "+OK",
    };
    for (size_t i = 0; i < 2 * sizeof(lists) / sizeof(lists[0]); i++) {
        reset_fakes();
        kw_fake_reset(sentinels[0]);
        kw_fake_on_reply(sentinels[0], KW_FAKE_ALWAYS, "SENTINEL GET-*",
                         "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n%05u", (unsigned)kw_fake_port(OTHER));
        kw_fake_on_reply(sentinels[0], KW_FAKE_ALWAYS,
                         i % 2 == 0 ? "SENTINEL REPLICAS *" : "SENTINEL SENTINELS *", "%s",
                         lists[i / 2]);
        kw_fake_on_reply(sentinels[0], KW_FAKE_ALWAYS, "SENTINEL *", "*0");
        kw_client *kw = open_n(2, "timeout=2s");
        expect_number(kw, "INCR a", 0);
        assert_int_equal(kw_fake_count(OTHER, "*"), 0);
        kw_close(kw);
    }
}

static void test_older_sentinels_are_asked_by_older_names(void **state)
{
    (void)state;
    reset_fakes();
    kw_fake_reset(sentinels[0]);
    kw_fake_on_reply(sentinels[0], KW_FAKE_ALWAYS, "HELLO *", "-ERR unknown command");
    kw_fake_on_reply(sentinels[0], KW_FAKE_ALWAYS, "SENTINEL GET-*",
                     "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n%05u", (unsigned)kw_fake_port(PRIMARY));
    kw_fake_on_reply(sentinels[0], KW_FAKE_ALWAYS, "SENTINEL SLAVES group", "*1\r\n" ENTRY,
                     (unsigned)kw_fake_port(OTHER), (size_t)5, "slave");
    kw_fake_on_reply(sentinels[0], KW_FAKE_ALWAYS, "SENTINEL *",
                     "-ERR Unknown sentinel subcommand");
    kw_client *kw = open_n(1, "timeout=2s");
    expect_number(kw, "INCR a", 0);
    assert_int_equal(kw_test_stats(kw).nodes, 2);
    kw_close(kw);
}

static void test_sentinels_of_the_group_are_learnt_and_configured_ones_kept(void **state)
{
    (void)state;
    reset_fakes();
    name(sentinels[0], PRIMARY, NULL, "", sentinels[2]);
    name(sentinels[2], OTHER, NULL, "", NULL);
    kw_client *kw = open_n(1, "timeout=3s");
    expect_number(kw, "INCR a", 0);
    kw_fake_down(sentinels[0]);
    kw_fake_down(PRIMARY);
    expect_number(kw, "INCR a", 1); /* the learnt one knows the heir */
    name(sentinels[0], PRIMARY, NULL, "", NULL);
    kw_fake_up(sentinels[0]);
    kw_fake_up(PRIMARY);
    kw_fake_down(sentinels[2]);
    kw_fake_down(OTHER);
    expect_number(kw, "INCR a", 0);
    kw_close(kw);
}

static void test_logins_are_not_mixed_up(void **state)
{
    (void)state;
    reset_fakes();
    char list[100];
    snprintf(list, sizeof(list), "%s", kw_fake_address(sentinels[0]));
    kw_client *kw = kw_test_open("redis-sentinel://us:server-secret@%s/group?timeout=2s&"
                                 "sentinel-user=su&sentinel-password=sentinel-secret&db=0",
                                 list);
    expect_number(kw, "INCR a", 0);
    assert_int_equal(kw_fake_count(sentinels[0], "*server-secret*"), 0);
    assert_int_equal(kw_fake_count(sentinels[0], "HELLO 2 AUTH su sentinel-secret"), 1);
    assert_int_equal(kw_fake_count(PRIMARY, "*sentinel-secret*"), 0);
    assert_true(kw_fake_count(PRIMARY, "HELLO 2 AUTH us server-secret") > 0);
    kw_close(kw);
    kw_fake_log_clear(sentinels[0]);
    kw = kw_test_open("redis-sentinel://:server-secret@%s/group/4?timeout=2s", list);
    expect_number(kw, "INCR a", 0);
    assert_int_equal(kw_fake_count(sentinels[0], "*AUTH*"), 0);
    assert_int_equal(kw_fake_count(sentinels[0], "SELECT *"), 0);
    assert_true(kw_fake_count(PRIMARY, "SELECT 4") > 0);
    kw_close(kw);
    name(sentinels[0], PRIMARY, NULL, "", NULL);
    kw_fake_reset(sentinels[0]);
    kw_fake_on_reply(sentinels[0], KW_FAKE_ALWAYS, "*", "-NOAUTH Authentication required.");
    kw = open_n(1, "timeout=2s");
    kw_error error = expect_failure(kw, "INCR a", KW_ERR_AUTH);
    assert_non_null(strstr(error.text, "sentinel-password"));
    kw_close(kw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentinels_are_asked_in_turn_and_the_good_one_first),
        cmocka_unit_test(test_stale_sentinel_is_caught_by_role),
        cmocka_unit_test(test_stale_sentinels_alone_are_never_believed),
        cmocka_unit_test(test_sentinel_that_names_a_dead_address_is_passed_over),
        cmocka_unit_test(test_unknown_name_is_an_error_of_its_own),
        cmocka_unit_test(test_no_sentinel_reachable_is_an_error_of_its_own),
        cmocka_unit_test(test_nonsense_of_a_sentinel_is_refused_and_another_asked),
        cmocka_unit_test(test_nonsense_about_replicas_and_sentinels_refuses_the_whole),
        cmocka_unit_test(test_older_sentinels_are_asked_by_older_names),
        cmocka_unit_test(test_sentinels_of_the_group_are_learnt_and_configured_ones_kept),
        cmocka_unit_test(test_logins_are_not_mixed_up),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

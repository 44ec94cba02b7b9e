/* SPDX-License-Identifier: BSD-3-Clause */
/* A Sentinel group whose addresses are somebody else's: a primary, a sentinel that was learnt, one
 * that the settings name. Strangers get no command and lead nowhere; what all sentinels agree on is
 * followed. In every way of sending. */
#include "fake/sentinel_fakes.h"

#include "fake/identity_diary.h"
#include "support/parts.h"

#include <stdatomic.h>

static kw_client *open_told(size_t n, const char *options, diary *it)
{
    char uri[400] = "redis-sentinel://";
    for (size_t i = 0; i < n; i++) {
        strcat(uri, i > 0 ? "," : "");
        strcat(uri, kw_fake_address(sentinels[i]));
    }
    strcat(uri, "/group?timeout=2s&");
    strcat(uri, options);
    return open_diary(uri, it);
}

static void renew(void)
{
    (void)open_n;
    (void)expect_failure;
    reset_fakes();
    kw_fake_set_id(OTHER, NEW);
}

/* The server has the history of the first one, as its replica had it. */
static void inherit(kw_fake *heir)
{
    kw_fake_on_reply(heir, KW_FAKE_ALWAYS, "INFO replication",
                     "$87\r\nmaster_replid:an-heirs-history\r\nmaster_replid2:b%039u",
                     KW_FAKE_HISTORY);
}

static void test_stranger_at_the_primarys_address_gets_no_command(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        diary it;
        renew();
        inherit(OTHER);
        kw_client *kw = open_told(2, "identity=follow", &it);
        expect(kw, (kw_test_way)way, "a");
        for (size_t i = 0; i < SENTINELS; i++) {
            name(sentinels[i], OTHER, NULL, "", NULL);
        }
        kw_fake_set_id(PRIMARY, STRANGER);
        kw_fake_log_clear(PRIMARY);
        lose(PRIMARY);
        expect(kw, (kw_test_way)way, "a");
        assert_int_equal(kw_fake_count(PRIMARY, "INCR *"), 0);
        assert_int_equal(kw_fake_count(OTHER, "INCR *"), 1);
        assert_int_equal(it.replaced_n, 0);
        kw_close(kw);
    }
}

/* The primary came back without its data, or the group was renamed: the sentinels agree on it. */
static void test_primary_that_all_sentinels_name_is_followed_with_an_event(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        for (int is_strict = 0; is_strict < 2; is_strict++) {
            diary it;
            renew();
            kw_client *kw = open_told(2, is_strict ? "identity=strict" : "identity=follow", &it);
            expect(kw, (kw_test_way)way, "a");
            kw_fake_set_id(PRIMARY, STRANGER);
            lose(PRIMARY);
            expect(kw, (kw_test_way)way, "a");
            lose(PRIMARY);
            expect(kw, (kw_test_way)way, "a");
            expect(kw, KW_TEST_CALL, "a");
            assert_int_equal(it.replaced_n, 1);
            kw_close(kw);
        }
    }
}

/* Connects to a primary whose data is another's: the first is refused for that, the second one has
 * no answer until sentinels were asked for the third time. */
typedef struct held_connect {
    atomic_uint connects_n;
    atomic_uint asked_n;
    atomic_uint connection; /* the second one */
    atomic_uint before_n;   /* connects when sentinels were asked for the third time */
} held_connect;

static bool on_primary(void *arg, kw_fake_call *call)
{
    held_connect *it = arg;
    if (strcmp(kw_fake_call_arg(call, 0, NULL), "HELLO") == 0 &&
        atomic_fetch_add(&it->connects_n, 1) == 1) {
        it->connection = kw_fake_call_connection(call);
        kw_fake_pass(sentinels[0]);
    }
    return false;
}

static bool on_sentinel(void *arg, kw_fake_call *call)
{
    held_connect *it = arg;
    if (strcmp(kw_fake_call_arg(call, 1, NULL), "MASTER") == 0 &&
        atomic_fetch_add(&it->asked_n, 1) == 1) { /* beside the one that waited */
        it->before_n = it->connects_n;
        kw_fake_disconnect_one(PRIMARY, it->connection, false);
    }
    return false;
}

/* True where the primary was asked while the second connect had no answer, and was followed. */
static bool is_asked_beside(kw_test_way way)
{
    diary it;
    held_connect held = {.connects_n = 0};
    renew();
    kw_client *kw = open_told(2, "connect-timeout=30s", &it);
    expect(kw, way, "a");
    kw_fake_on(sentinels[0], 1, "SENTINEL MASTER group",
               KW_FAKE_STEPS(KW_FAKE_GATE, KW_FAKE_SEND("-ERR unknown\r\n")));
    kw_fake_respond(sentinels[0], on_sentinel, &held);
    kw_fake_respond(sentinels[1], on_sentinel, &held);
    kw_fake_on_reply(PRIMARY, 1, "INFO server", "$17\r\nrun_id:a-stranger");
    kw_fake_on(PRIMARY, 1, "INFO server", KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_fake_respond(PRIMARY, on_primary, &held);
    kw_fake_set_id(PRIMARY, STRANGER);
    lose(PRIMARY);
    bool is_answered = kw_test_send(kw, way, "INCR", "a").is_answered &&
                       kw_test_send(kw, KW_TEST_CALL, "INCR", "a").is_answered;
    kw_close(kw);
    reset_fakes();
    return is_answered && it.replaced_n == 1 && held.before_n > 2;
}

/* The fetch of the map, which may ask whoever answers, does not wait for the end of connects that
 * may not. Where the machine is busy it may come before the second one: then all is tried again. */
static void test_primary_that_all_sentinels_name_is_asked_beside_a_connect_under_way(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        bool is_asked = false;
        for (int i = 0; i < 5 && !is_asked; i++) {
            is_asked = is_asked_beside((kw_test_way)way);
        }
        assert_true(is_asked);
    }
}

/* A sentinel of other people answers at an address of the settings, and knows such a name, too. */
static void test_sentinel_that_leads_to_other_data_is_outvoted(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        diary it;
        renew();
        kw_client *kw = open_told(2, "identity=follow", &it);
        expect(kw, (kw_test_way)way, "a");
        name(sentinels[0], OTHER, NULL, "", NULL);
        for (int i = 0; i < 5; i++) {
            lose(PRIMARY);
            expect(kw, (kw_test_way)way, "a");
            kw_test_sleep_ms(120);
        }
        assert_int_equal(kw_fake_count(OTHER, "INCR *"), 0);
        assert_int_equal(it.replaced_n, 0);
        kw_close(kw);
    }
}

/* The primary gives no answer once; it has the command behind the next fetch. */
static void expect_behind_a_silence(kw_client *kw, kw_test_way way)
{
    kw_fake_on(PRIMARY, 1, "ROLE", KW_FAKE_STEPS(KW_FAKE_CLOSE));
    assert_int_not_equal(kw_refresh(kw, NULL, 20000), KW_OK);
    assert_int_equal(kw_refresh(kw, NULL, 20000), KW_OK);
    expect(kw, way, "a");
}

/* A primary that gave no answer once is put off until the other sentinels were asked. The last of
 * them is of other people: two still name the primary, which is asked again before anybody is
 * believed. */
static void test_primary_that_was_put_off_is_asked_before_a_stranger_is_believed(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        diary it;
        renew();
        kw_client *kw = open_told(SENTINELS, "identity=follow", &it);
        expect(kw, (kw_test_way)way, "a");
        name(sentinels[2], OTHER, NULL, "", NULL);
        expect_behind_a_silence(kw, (kw_test_way)way);
        assert_int_equal(kw_fake_count(OTHER, "INCR *"), 0);
        assert_int_equal(it.replaced_n, 0);
        kw_close(kw);
    }
}

/* Half of the sentinels are of other people, and the others name a primary that gives no answer
 * once. They count as many, though it is asked for the first of them alone. */
static void test_sentinels_that_name_a_silent_primary_count_each(void **state)
{
    (void)state;
    kw_fake *fourth = kw_fake_start();
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        renew();
        name(fourth, PRIMARY, NULL, "", NULL);
        kw_client *kw = kw_test_open("redis-sentinel://%s,%s,%s,%s/group?identity=follow",
                                     kw_fake_address(sentinels[0]), kw_fake_address(sentinels[1]),
                                     kw_fake_address(sentinels[2]), kw_fake_address(fourth));
        expect(kw, (kw_test_way)way, "a");
        name(sentinels[1], OTHER, NULL, "", NULL);
        name(sentinels[2], OTHER, NULL, "", NULL);
        expect_behind_a_silence(kw, (kw_test_way)way);
        assert_int_equal(kw_fake_count(OTHER, "INCR *"), 0);
        kw_close(kw);
    }
    kw_fake_free(fourth);
}

/* Most sentinels are of other people, and are about to be believed, as the primary gave no answer:
 * it is asked once more where it is still named. */
static void test_primary_that_answers_again_is_followed_before_a_stranger(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        diary it;
        renew();
        kw_client *kw = open_told(SENTINELS, "identity=follow", &it);
        expect(kw, (kw_test_way)way, "a");
        name(sentinels[1], OTHER, NULL, "", NULL);
        name(sentinels[2], OTHER, NULL, "", NULL);
        expect_behind_a_silence(kw, (kw_test_way)way);
        assert_int_equal(it.replaced_n, 0);
        kw_close(kw);
    }
}

/* Two of three sentinels are of other people. The third one still names the old primary, which is a
 * replica by now, of one that is named soon: its group lives, and nobody else is believed. */
static void test_replica_with_the_known_data_keeps_strangers_out(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        diary it;
        renew();
        kw_client *kw = open_told(SENTINELS, "identity=follow", &it);
        expect(kw, (kw_test_way)way, "a");
        name(sentinels[0], OTHER, NULL, "", NULL);
        name(sentinels[1], OTHER, NULL, "", NULL);
        be_replica(PRIMARY, "connected");
        kw_error error = KW_ERROR_INIT;
        for (int i = 0; i < 5; i++) {
            assert_int_not_equal(kw_refresh(kw, &error, 20000), KW_OK);
        }
        kw_fake_reset(PRIMARY);
        kw_fake_on_reply(PRIMARY, KW_FAKE_ALWAYS, "INCR *", ":0");
        assert_int_equal(kw_refresh(kw, &error, 20000), KW_OK);
        expect(kw, (kw_test_way)way, "a");
        assert_int_equal(kw_fake_count(OTHER, "INCR *"), 0);
        assert_int_equal(it.replaced_n, 0);
        kw_close(kw);
    }
}

/* The third sentinel, which the first tells of with its id. */
static void tell_of_third(void)
{
    kw_fake_reset(sentinels[0]);
    kw_fake_on_reply(sentinels[0], KW_FAKE_ALWAYS, "SENTINEL SENTINELS group",
                     "*1\r\n*8\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n$4\r\nport\r\n$5\r\n%05u\r\n"
                     "$5\r\nflags\r\n$8\r\nsentinel\r\n$5\r\nrunid\r\n$5\r\nthird",
                     (unsigned)kw_fake_port(sentinels[2]));
    kw_fake_on_reply(sentinels[0], KW_FAKE_ALWAYS, "SENTINEL GET-MASTER-ADDR-BY-NAME group",
                     "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n%05u", (unsigned)kw_fake_port(PRIMARY));
    kw_fake_on_reply(sentinels[0], KW_FAKE_ALWAYS, "SENTINEL REPLICAS group", "*0");
    kw_fake_on_reply(sentinels[2], KW_FAKE_ALWAYS, "SENTINEL MYID", "$5\r\nthird");
}

static void test_stranger_at_a_learnt_sentinels_address_leads_nowhere(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        for (int is_strict = 0; is_strict < 2; is_strict++) {
            diary it;
            renew();
            tell_of_third();
            kw_client *kw = open_told(
                1, is_strict ? "identity=strict&on-node-down=wait" : "identity=follow", &it);
            expect(kw, (kw_test_way)way, "a");
            name(sentinels[2], OTHER, NULL, "", NULL);
            kw_fake_on_reply(sentinels[2], KW_FAKE_ALWAYS, "SENTINEL MYID", "$8\r\nstranger");
            kw_fake_down(sentinels[0]);
            kw_fake_disconnect(sentinels[2], false);
            kw_fake_down(PRIMARY);
            kw_test_end end = kw_test_send(kw, (kw_test_way)way, "INCR", "a");
            assert_int_equal(end.is_answered, !is_strict);
            assert_int_equal(kw_fake_count(OTHER, "INCR *"), is_strict ? 0 : 1);
            kw_fake_up(PRIMARY);
            (void)kw_test_send(kw, (kw_test_way)way, "INCR", "a");
            assert_int_equal(it.replaced_n, is_strict ? 0 : 1);
            kw_close(kw);
        }
    }
}

static int run(size_t part)
{
    const struct CMUnitTest of_each_way[] = {
        cmocka_unit_test(test_stranger_at_the_primarys_address_gets_no_command),
        cmocka_unit_test(test_primary_that_all_sentinels_name_is_followed_with_an_event),
        cmocka_unit_test(test_primary_that_all_sentinels_name_is_asked_beside_a_connect_under_way),
        cmocka_unit_test(test_sentinel_that_leads_to_other_data_is_outvoted),
        cmocka_unit_test(test_primary_that_was_put_off_is_asked_before_a_stranger_is_believed),
        cmocka_unit_test(test_sentinels_that_name_a_silent_primary_count_each),
        cmocka_unit_test(test_primary_that_answers_again_is_followed_before_a_stranger),
        cmocka_unit_test(test_replica_with_the_known_data_keeps_strangers_out),
        cmocka_unit_test(test_stranger_at_a_learnt_sentinels_address_leads_nowhere),
    };
    (void)part;
    return cmocka_run_group_tests(of_each_way, set_up, tear_down);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, KW_TEST_WAYS_N, run);
}

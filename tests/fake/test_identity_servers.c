/* SPDX-License-Identifier: BSD-3-Clause */
/* Servers that the settings name, one alone or of a ring: where another one answers, or one without
 * its data, the host is told, or it is refused (identity=strict). In every way of sending. */
#include "fake/fakes.h"
#include "fake/identity_diary.h"
#include "support/parts.h"

enum { SCHEMES = 2 };

static kw_client *open_with(int scheme, const char *options, diary *it)
{
    char uri[400];
    if (scheme == 0) {
        snprintf(uri, sizeof(uri), "%s?timeout=600ms&%s", kw_fake_uri(fakes[0]), options);
    } else {
        snprintf(uri, sizeof(uri), "redis-ring://a=%s?timeout=600ms&%s", kw_fake_address(fakes[0]),
                 options);
    }
    return open_diary(uri, it);
}

static void renew(void)
{
    renew_servers();
    answer_numbers();
}

static void test_server_that_was_replaced_is_followed_with_an_event(void **state)
{
    (void)state;
    for (int scheme = 0; scheme < SCHEMES; scheme++) {
        KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
        {
            diary it;
            renew();
            kw_client *kw = open_with(scheme, "identity=follow", &it);
            expect(kw, (kw_test_way)way, "foo");
            lose(fakes[0]);
            expect(kw, (kw_test_way)way, "foo");
            assert_int_equal(it.replaced_n, 0);
            kw_fake_set_id(fakes[0], STRANGER);
            lose(fakes[0]);
            expect(kw, (kw_test_way)way, "foo");
            lose(fakes[0]);
            expect(kw, KW_TEST_CALL, "foo");
            expect(kw, KW_TEST_CALL, "foo");
            assert_int_equal(it.replaced_n, 1);
            assert_string_equal(it.member, scheme == 0 ? "" : "a");
            kw_close(kw);
        }
    }
}

static void test_server_that_was_replaced_is_refused_by_strict(void **state)
{
    (void)state;
    for (int scheme = 0; scheme < SCHEMES; scheme++) {
        KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
        {
            diary it;
            renew();
            kw_client *kw = open_with(scheme, "identity=strict&on-node-down=wait", &it);
            expect(kw, (kw_test_way)way, "foo");
            lose(fakes[0]);
            expect(kw, (kw_test_way)way, "foo");
            kw_fake_set_id(fakes[0], STRANGER);
            kw_fake_log_clear(fakes[0]);
            lose(fakes[0]);
            kw_test_end end = kw_test_send(kw, (kw_test_way)way, "INCR", "foo");
            assert_false(end.is_answered);
            expect_error(kw_test_way_name((kw_test_way)way), &end.error, KW_ERR_IDENTITY,
                         KW_EFFECT_NONE);
            assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 0);
            kw_fake_set_id(fakes[0], 0);
            kw_test_sleep_ms(1100); /* the pause before the next connect is over */
            expect(kw, (kw_test_way)way, "foo");
            assert_int_equal(it.replaced_n, 0);
            kw_close(kw);
        }
    }
}

/* A replica that took its place has the history of the one before as its second. */
static void test_replica_that_took_the_place_is_the_same_data(void **state)
{
    (void)state;
    for (int scheme = 0; scheme < SCHEMES; scheme++) {
        diary it;
        renew();
        kw_client *kw = open_with(scheme, "identity=strict", &it);
        expect(kw, KW_TEST_CALL, "foo");
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INFO server", "$12\r\nrun_id:other");
        kw_fake_on_reply(fakes[0], KW_FAKE_ALWAYS, "INFO replication",
                         "$82\r\nmaster_replid:new-history\r\nmaster_replid2:b%039u",
                         KW_FAKE_HISTORY);
        lose(fakes[0]);
        expect(kw, KW_TEST_CALL, "foo");
        assert_int_equal(it.replaced_n, 0);
        kw_close(kw);
    }
}

static void test_answer_that_tells_nothing_is_no_failure(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        diary it;
        renew();
        answer(fakes[0], "INFO *",
               "-NOPERM this user has no permissions to run the 'info' command");
        kw_client *kw = open_with(way % SCHEMES, "identity=strict", &it);
        expect(kw, (kw_test_way)way, "foo");
        lose(fakes[0]);
        kw_fake_set_id(fakes[0], STRANGER);
        expect(kw, (kw_test_way)way, "foo");
        assert_int_equal(it.replaced_n, 0);
        kw_close(kw);
    }
}

static int run(size_t part)
{
    const struct CMUnitTest of_each_way[] = {
        cmocka_unit_test(test_server_that_was_replaced_is_followed_with_an_event),
        cmocka_unit_test(test_server_that_was_replaced_is_refused_by_strict),
        cmocka_unit_test(test_answer_that_tells_nothing_is_no_failure),
    };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_replica_that_took_the_place_is_the_same_data),
    };
    (void)part;
    return cmocka_run_group_tests(of_each_way, start_fakes, stop_fakes) +
           KW_TEST_RUN_SHARE(others, start_fakes, stop_fakes);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, KW_TEST_WAYS_N, run);
}

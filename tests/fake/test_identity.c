/* SPDX-License-Identifier: BSD-3-Clause */
/* An address that was learnt may be somebody else's by now: nothing is sent to a stranger, nothing
 * is believed of one, and a replacement of all servers is followed. A cluster, in every way of
 * sending. */
#include "fake/fakes.h"
#include "fake/identity_diary.h"
#include "support/parts.h"

/* A server that takes longer than one is asked for at first. */
#define SLOW_MS 800

/* A handle of the first fake's cluster. */
static kw_client *open_with(const char *options, diary *it)
{
    char uri[300];
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=10s&%s", kw_fake_address(fakes[0]),
             options);
    return open_diary(uri, it);
}

/* foo is on the second, bar on the first; the third is there, and has no slots. */
static void renew(void)
{
    renew_fakes();
    answer_numbers();
}

/* The connections are lost, and another cluster's node answers at that address. */
static void be_stranger(kw_fake *fake)
{
    const kw_fake_range all[] = {{0, 16383, fake, NULL}};
    kw_fake_set_id(fake, STRANGER);
    kw_fake_set_cluster(&fake, 1, all, 1);
    lose(fake);
    kw_fake_log_clear(fake);
}

/* How a call ends where nobody but strangers answers: at its deadline, which is near for that, and
 * may come in the middle of a greeting that would have said who answers. */
static kw_err end_at_strangers(kw_client *kw, kw_test_way way)
{
    kw_err code = KW_ERR_HANDSHAKE;
    assert_int_equal(kw_client_set(kw, NULL, "timeout", "600ms"), KW_OK);
    for (int i = 0; i < 100 && code == KW_ERR_HANDSHAKE; i++) {
        kw_test_end end = kw_test_send(kw, way, "INCR", "foo");
        assert_false(end.is_answered);
        assert_int_equal(end.error.effect, KW_EFFECT_NONE);
        code = end.error.code;
    }
    assert_int_equal(kw_client_set(kw, NULL, "timeout", "10s"), KW_OK);
    return code;
}

static void test_stranger_at_a_learnt_address_gets_no_command(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        diary it;
        renew();
        kw_client *kw = open_with("on-node-down=wait", &it);
        expect(kw, (kw_test_way)way, "foo");
        expect(kw, (kw_test_way)way, "bar");
        be_stranger(fakes[1]);
        assert_int_equal(end_at_strangers(kw, (kw_test_way)way), KW_ERR_IDENTITY);
        expect(kw, (kw_test_way)way, "bar");
        /* The others have found out who owns the slot now. */
        const kw_fake_range moved[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[2], NULL}};
        kw_fake *members[] = {fakes[0], fakes[2]};
        kw_fake_set_cluster(members, 2, moved, 2);
        expect(kw, (kw_test_way)way, "foo");
        assert_int_equal(kw_fake_count(fakes[1], "INCR *"), 0);
        assert_int_equal(it.replaced_n, 0);
        kw_close(kw);
    }
}

/* A server that is in no cluster would answer anything. */
static void test_plain_server_at_a_learnt_address_gets_no_command(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        diary it;
        renew();
        kw_client *kw = open_with("on-node-down=wait", &it);
        expect(kw, (kw_test_way)way, "foo");
        kw_fake_set_map(fakes[1], NULL, NULL);
        lose(fakes[1]);
        kw_fake_log_clear(fakes[1]);
        assert_int_equal(end_at_strangers(kw, (kw_test_way)way), KW_ERR_IDENTITY);
        assert_int_equal(kw_fake_count(fakes[1], "INCR *"), 0);
        kw_close(kw);
    }
}

/* Nothing leaves before it is known who answers. */
static void test_no_command_leaves_before_the_answer(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        diary it;
        renew();
        kw_client *kw = open_with("on-node-down=wait", &it);
        expect(kw, (kw_test_way)way, "foo");
        kw_fake_on(fakes[1], KW_FAKE_ALWAYS, "CLUSTER MYID", KW_FAKE_STEPS(KW_FAKE_STALL));
        lose(fakes[1]);
        kw_fake_log_clear(fakes[1]);
        assert_int_equal(kw_client_set(kw, NULL, "timeout", "600ms"), KW_OK);
        KW_TEST_UNTIL(kw_fake_count(fakes[1], "CLUSTER MYID") > 0)
        {
            assert_false(kw_test_send(kw, (kw_test_way)way, "INCR", "foo").is_answered);
        }
        assert_int_equal(kw_fake_count(fakes[1], "INCR *"), 0);
        kw_close(kw);
    }
}

/* All have new ids, at the same addresses: the seed, which is one of them, decides. */
static void test_replacement_of_all_is_followed_with_an_event(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        for (int is_strict = 0; is_strict < 2; is_strict++) {
            diary it;
            renew();
            kw_client *kw = open_with(is_strict ? "identity=strict" : "identity=follow", &it);
            expect(kw, (kw_test_way)way, "foo");
            expect(kw, (kw_test_way)way, "bar");
            for (unsigned i = 0; i < FAKES_N; i++) {
                kw_fake_set_id(fakes[i], NEW + i);
            }
            const kw_fake_range halves[] = {{0, 8000, fakes[0], NULL},
                                            {8001, 16383, fakes[1], NULL}};
            kw_fake_set_cluster(fakes, FAKES_N, halves, 2);
            lose(fakes[0]);
            lose(fakes[1]);
            expect(kw, (kw_test_way)way, "foo");
            expect(kw, (kw_test_way)way, "bar");
            expect(kw, KW_TEST_CALL, "bar");
            assert_int_equal(it.replaced_n, 1);
            kw_close(kw);
        }
    }
}

/* No seed answers: whoever is at the addresses that were learnt is followed, or refused. */
static void test_strangers_alone_are_followed_or_refused(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        for (int is_strict = 0; is_strict < 2; is_strict++) {
            diary it;
            renew();
            kw_client *kw =
                open_with(is_strict ? "identity=strict&on-node-down=wait" : "identity=follow", &it);
            expect(kw, (kw_test_way)way, "foo");
            kw_fake_down(fakes[0]);
            be_stranger(fakes[1]);
            if (is_strict) {
                assert_int_equal(end_at_strangers(kw, (kw_test_way)way), KW_ERR_IDENTITY);
                assert_int_equal(kw_fake_count(fakes[1], "INCR *"), 0);
            } else {
                expect(kw, (kw_test_way)way, "foo");
                expect(kw, KW_TEST_CALL, "foo");
            }
            assert_int_equal(it.replaced_n, is_strict ? 0 : 1);
            kw_close(kw);
        }
    }
}

/* One node that is known lives, and takes its time: it is not silent. */
static void test_known_node_that_is_slow_is_believed_before_strangers(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        diary it;
        renew();
        kw_client *kw = open_with("on-node-down=wait", &it);
        expect(kw, (kw_test_way)way, "foo");
        be_stranger(fakes[1]);
        move_upper_half(SLOW_MS);
        expect(kw, (kw_test_way)way, "foo");
        assert_int_equal(kw_fake_count(fakes[1], "INCR *"), 0);
        assert_int_equal(it.replaced_n, 0);
        kw_close(kw);
    }
}

/* A seed's address may be a stranger's as well: while a node that is known lives, it is believed.
 */
static void test_seed_that_is_a_stranger_does_not_outvote_known_nodes(void **state)
{
    (void)state;
    KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
    {
        diary it;
        renew();
        kw_client *kw = open_with("refresh-interval=1ms&on-node-down=wait", &it);
        expect(kw, (kw_test_way)way, "foo");
        be_stranger(fakes[0]);
        for (int i = 0; i < 20; i++) {
            expect(kw, (kw_test_way)way, "foo");
        }
        assert_int_equal(kw_client_set(kw, NULL, "timeout", "600ms"), KW_OK);
        assert_false(kw_test_send(kw, (kw_test_way)way, "INCR", "bar").is_answered);
        assert_int_equal(kw_client_set(kw, NULL, "timeout", "10s"), KW_OK);
        expect(kw, (kw_test_way)way, "foo");
        assert_int_equal(kw_fake_count(fakes[0], "INCR *"), 0);
        assert_int_equal(it.replaced_n, 0);
        kw_close(kw);
    }
}

/* Each node is replaced in its turn, and the others tell of it: no event, no failure. */
static void test_nodes_replaced_one_by_one_are_followed_in_silence(void **state)
{
    (void)state;
    diary it;
    renew();
    kw_client *kw = open_with("identity=follow", &it);
    const kw_fake_range halves[] = {{0, 8000, fakes[0], NULL}, {8001, 16383, fakes[1], NULL}};
    for (unsigned i = 0; i < 6; i++) {
        expect(kw, KW_TEST_CALL, "foo");
        expect(kw, KW_TEST_CALL, "bar");
        kw_fake_set_id(fakes[i % 2], NEW + i);
        kw_fake_set_cluster(fakes, FAKES_N, halves, 2);
        lose(fakes[i % 2]);
        expect(kw, (kw_test_way)(i % KW_TEST_WAYS_N), "foo");
        expect(kw, (kw_test_way)(i % KW_TEST_WAYS_N), "bar");
    }
    assert_int_equal(it.replaced_n, 0);
    kw_close(kw);
}

/* Users who may not ask, and servers that do not know the question. */
static void test_answer_that_tells_nothing_is_no_failure(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "-NOPERM User app has no permissions to run the 'cluster|myid' command",
        "-ERR Unknown subcommand or wrong number of arguments for 'MYID'", "$-1", "$0\r\n",
        "-LOADING Redis is loading the dataset in memory"};
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        KW_TEST_SHARE_OUT(way, KW_TEST_WAYS_N)
        {
            diary it;
            renew();
            for (size_t k = 0; k < FAKES_N; k++) {
                answer(fakes[k], "CLUSTER MYID", answers[i]);
            }
            kw_client *kw = open_with("identity=strict", &it);
            expect(kw, (kw_test_way)way, "foo");
            lose(fakes[1]);
            expect(kw, (kw_test_way)way, "foo");
            assert_int_equal(it.replaced_n, 0);
            kw_close(kw);
        }
    }
}

/* Behind a proxy every node may give the id of another: then ids are no names. */
static void test_ids_that_contradict_the_map_are_not_gone_by(void **state)
{
    (void)state;
    diary it;
    renew();
    for (size_t k = 0; k < FAKES_N; k++) {
        answer(fakes[k], "CLUSTER MYID", "$5\r\nproxy");
    }
    kw_client *kw = open_with("identity=follow", &it);
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        expect(kw, (kw_test_way)way, "foo");
        lose(fakes[1]);
        expect(kw, (kw_test_way)way, "foo");
        expect(kw, (kw_test_way)way, "bar");
    }
    assert_int_equal(it.replaced_n, 0);
    kw_close(kw);
}

static void test_nobody_is_asked_with_identity_off(void **state)
{
    (void)state;
    diary it;
    renew();
    kw_client *kw = open_with("identity=off", &it);
    expect(kw, KW_TEST_CALL, "foo");
    be_stranger(fakes[1]);
    expect(kw, KW_TEST_CALL, "foo");
    assert_int_equal(received("CLUSTER MYID"), 0);
    kw_close(kw);
}

static int run(size_t part)
{
    const struct CMUnitTest of_each_way[] = {
        cmocka_unit_test(test_stranger_at_a_learnt_address_gets_no_command),
        cmocka_unit_test(test_plain_server_at_a_learnt_address_gets_no_command),
        cmocka_unit_test(test_no_command_leaves_before_the_answer),
        cmocka_unit_test(test_replacement_of_all_is_followed_with_an_event),
        cmocka_unit_test(test_strangers_alone_are_followed_or_refused),
        cmocka_unit_test(test_known_node_that_is_slow_is_believed_before_strangers),
        cmocka_unit_test(test_seed_that_is_a_stranger_does_not_outvote_known_nodes),
        cmocka_unit_test(test_answer_that_tells_nothing_is_no_failure),
    };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_nodes_replaced_one_by_one_are_followed_in_silence),
        cmocka_unit_test(test_ids_that_contradict_the_map_are_not_gone_by),
        cmocka_unit_test(test_nobody_is_asked_with_identity_off),
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

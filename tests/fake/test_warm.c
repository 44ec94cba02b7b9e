/* SPDX-License-Identifier: BSD-3-Clause */
/* Warm connections: kw_connect dials every server that calls go to and says which could not be had;
 * pool-min makes connections ahead, keeps them, and has one to a new primary before it is needed.
 */
#include "fake/fakes.h"
#include "support/parts.h"

/* The third fake is the second one's replica. */
static void renew_with_replica(void)
{
    renew_fakes();
    const kw_fake_range halves[] = {{0, 8191, fakes[0], NULL}, {8192, 16383, fakes[1], fakes[2]}};
    kw_fake_set_cluster(fakes, 3, halves, 2);
}

/* Passes by, as callers do who want something else. */
static void pass_by(kw_client *kw)
{
    expect_number(kw, "GET bar", 0);
    kw_test_sleep_ms(2);
}

static size_t pings_of(size_t at)
{
    return kw_fake_count(fakes[at], "PING");
}

static void test_connect_dials_every_primary(void **state)
{
    (void)state;
    renew_with_replica();
    kw_client *kw = open_cluster("timeout=2s");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    unsigned first_n = kw_fake_accepted(fakes[0]);
    unsigned second_n = kw_fake_accepted(fakes[1]);
    assert_int_equal(pings_of(1), 1);
    assert_int_equal(kw_fake_open(fakes[2]), 0); /* nobody reads there */
    answer(fakes[0], "GET *", ":0");
    answer(fakes[1], "GET *", ":1");
    expect_number(kw, "GET foo", 1);
    expect_number(kw, "GET bar", 0);
    assert_int_equal(kw_fake_accepted(fakes[0]), first_n);
    assert_int_equal(kw_fake_accepted(fakes[1]), second_n);
    kw_close(kw);
}

static void test_connect_dials_replicas_that_are_read(void **state)
{
    (void)state;
    renew_with_replica();
    kw_client *kw = open_cluster("timeout=2s&read-preference=prefer-replica");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    assert_int_equal(pings_of(2), 1);
    assert_int_equal(kw_fake_count(fakes[2], "READONLY"), 1);
    kw_fake_down(fakes[2]); /* one that cannot be had is no error, and no story */
    kw_error error = {.text = "untouched"};
    assert_int_equal(kw_connect(kw, &error), KW_OK);
    assert_string_equal(error.text, "untouched");
    kw_close(kw);
}

static void test_connect_names_what_it_could_not_have(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=2s");
    kw_fake_down(fakes[1]);
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_connect(kw, &error), KW_ERR_CONNECT);
    expect_error("one", &error, KW_ERR_CONNECT, KW_EFFECT_NONE);
    assert_string_equal(error.node, kw_fake_address(fakes[1]));
    kw_fake_down(fakes[0]);
    error = (kw_error)KW_ERROR_INIT;
    assert_int_equal(kw_connect(kw, &error), KW_ERR_CONNECT);
    assert_non_null(strstr(error.text, "2 of 2 primaries"));
    assert_non_null(strstr(error.text, kw_fake_address(fakes[0])));
    assert_non_null(strstr(error.text, kw_fake_address(fakes[1])));
    kw_close(kw);
}

/* A ring's servers as well, all at once: one that is silent holds nobody up. */
static void test_connect_dials_ring_members_at_once(void **state)
{
    (void)state;
    renew_servers();
    kw_client *kw =
        kw_test_open("redis-ring://a=%s,b=%s,c=%s?timeout=300ms", kw_fake_address(fakes[0]),
                     kw_fake_address(fakes[1]), kw_fake_address(fakes[2]));
    kw_fake_on_accept(fakes[0], KW_FAKE_ALWAYS, KW_FAKE_STEPS(KW_FAKE_DEAF));
    kw_error error = KW_ERROR_INIT;
    assert_int_not_equal(kw_connect(kw, &error), KW_OK);
    assert_string_equal(error.node, kw_fake_address(fakes[0]));
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_int_equal(pings_of(1), 1);
    assert_int_equal(pings_of(2), 1);
    kw_close(kw);
}

/* In the time of callers of another node. */
static void test_pool_min_makes_connections_ahead(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=2s&pool-min=3");
    answer(fakes[0], "GET *", ":0");
    KW_TEST_UNTIL(pings_of(1) >= 3)
    {
        pass_by(kw);
    }
    for (int i = 0; i < 200; i++) {
        pass_by(kw);
    }
    assert_in_range(pings_of(1), 3, 6); /* one that is late is given up, and made anew */
    KW_TEST_UNTIL(kw_fake_open(fakes[1]) == 3)
    {
        pass_by(kw);
    }
    kw_close(kw);
}

/* Those that a server has closed are made anew; none is closed for being idle. */
static void test_pool_min_keeps_them(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=2s&pool-min=2&pool-idle=100ms");
    answer(fakes[0], "GET *", ":0");
    KW_TEST_UNTIL(kw_fake_open(fakes[1]) == 2 && pings_of(1) >= 2)
    {
        pass_by(kw);
    }
    kw_fake_disconnect(fakes[1], false);
    size_t before_n = pings_of(1);
    KW_TEST_UNTIL(kw_fake_open(fakes[1]) == 2 && pings_of(1) >= before_n + 4)
    {
        pass_by(kw);
    }
    kw_close(kw);
}

/* The replica is promoted: it has a connection before any command of its keys. */
static void test_pool_min_has_one_to_a_new_primary(void **state)
{
    (void)state;
    renew_with_replica();
    kw_client *kw = open_cluster("timeout=2s&pool-min=1&refresh-interval=50ms");
    answer(fakes[0], "GET *", ":0");
    answer(fakes[2], "GET *", ":2");
    assert_int_equal(kw_connect(kw, NULL), KW_OK);
    const kw_fake_range halves[] = {{0, 8191, fakes[0], NULL}, {8192, 16383, fakes[2], NULL}};
    kw_fake_set_cluster(fakes, 3, halves, 2);
    KW_TEST_UNTIL(pings_of(2) >= 1)
    {
        pass_by(kw);
    }
    KW_TEST_AWAIT(kw_fake_open(fakes[2]) >= 1);
    pass_by(kw);
    unsigned accepted_n = kw_fake_accepted(fakes[2]);
    expect_number(kw, "GET foo", 2);
    assert_int_equal(kw_fake_accepted(fakes[2]), accepted_n);
    kw_close(kw);
}

/* A host with a loop gets them in its kw_process, where they are kept awake as well. */
static void test_pool_min_works_in_a_loop(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_cluster("timeout=2s&pool-min=2&pool-idle=1s");
    need_map(kw);
    assert_true(kw_fd(kw, NULL) >= 0);
    KW_TEST_UNTIL(pings_of(0) >= 2 && pings_of(1) >= 2 && kw_fake_open(fakes[0]) >= 2 &&
                  kw_fake_open(fakes[1]) >= 2)
    {
        int wait_ms = kw_timeout(kw);
        kw_test_sleep_ms(wait_ms >= 0 && wait_ms < 5 ? (unsigned)wait_ms : 5);
        assert_int_equal(kw_process(kw, NULL), KW_OK);
    }
    kw_close(kw);
}

static void test_pool_min_may_change_in_use(void **state)
{
    (void)state;
    renew_fakes();
    kw_client *kw = open_connected("timeout=2s&pool-idle=100ms");
    answer(fakes[0], "GET *", ":0");
    pass_by(kw);
    assert_int_equal(kw_fake_open(fakes[1]), 0);
    assert_int_equal(kw_client_set(kw, NULL, "pool-min", "65"), KW_ERR_CONFIG); /* over pool-max */
    assert_int_equal(kw_client_set(kw, NULL, "pool-min", "2"), KW_OK);
    KW_TEST_UNTIL(kw_fake_open(fakes[1]) == 2)
    {
        pass_by(kw);
    }
    assert_int_equal(kw_client_set(kw, NULL, "pool-min", "0"), KW_OK);
    KW_TEST_UNTIL(kw_fake_open(fakes[1]) == 0)
    {
        pass_by(kw);
    }
    kw_close(kw);
}

static int run(size_t part)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect_dials_every_primary),
        cmocka_unit_test(test_connect_dials_replicas_that_are_read),
        cmocka_unit_test(test_connect_names_what_it_could_not_have),
        cmocka_unit_test(test_connect_dials_ring_members_at_once),
        cmocka_unit_test(test_pool_min_makes_connections_ahead),
        cmocka_unit_test(test_pool_min_keeps_them),
        cmocka_unit_test(test_pool_min_has_one_to_a_new_primary),
        cmocka_unit_test(test_pool_min_works_in_a_loop),
        cmocka_unit_test(test_pool_min_may_change_in_use),
    };
    (void)part;
    return KW_TEST_RUN_SHARE(tests, start_fakes, stop_fakes);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 5, run);
}

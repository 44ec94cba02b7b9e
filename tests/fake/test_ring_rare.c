/* SPDX-License-Identifier: BSD-3-Clause */
/* Rare calls on a ring whose keys go elsewhere while a member is down: they give its probe some
 * time where it is about to be answered, and do not pay for one that nothing speaks for. In every
 * way of sending, of silent members and of those that refuse: each a part of the program. */
#include "fake/fakes.h"
#include "support/parts.h"
#include "support/ways.h"

/* Calls so far apart are rare; of so many some may wait. */
#define APART_MS 250
#define CALLS_N  8
#define LATE_MAX 3

/* Calls a second apart until the member has its keys again: each takes its probe some steps on. A
 * loop that nobody turns between them takes one. */
#define BACK_MAX    4
#define OF_LOOP_MAX 12

/* What a call takes that waits for nobody. */
#define AT_ONCE_US (15000 * KW_TEST_SLOWNESS)

/* This part's. */
static kw_test_way way;

static kw_client *open_ring(const char *rule)
{
    renew_servers();
    answer_numbers();
    return kw_test_open("redis-ring://a=%s,b=%s?timeout=2s&stall-timeout=200ms&on-node-down=%s",
                        kw_fake_address(fakes[0]), kw_fake_address(fakes[1]), rule);
}

/* A key of the member. */
static void find_key(kw_client *client, char key[8], kw_fake *owner)
{
    for (int i = 0; i < 100; i++) {
        size_t before_n = kw_fake_count(owner, "INCR *");
        snprintf(key, 8, "k%d", i);
        assert_true(kw_test_send(client, way, "INCR", key).is_answered);
        if (kw_fake_count(owner, "INCR *") > before_n) {
            return;
        }
    }
    fail_msg("no key of the member");
}

/* From now on the member takes connections and says nothing. */
static void fall_silent(kw_fake *member)
{
    kw_fake_reset(member);
    kw_fake_on_accept(member, KW_FAKE_ALWAYS, KW_FAKE_STEPS(KW_FAKE_STALL));
    kw_fake_on(member, KW_FAKE_ALWAYS, "*", KW_FAKE_STEPS(KW_FAKE_STALL));
}

static void come_back(kw_fake *member)
{
    kw_fake_reset(member);
    answer_numbers();
    kw_fake_up(member);
    kw_fake_disconnect(member, true);
}

static void expect_few_waits(const char *rule, void (*leave)(kw_fake *member))
{
    char key[8];
    unsigned late_n = 0;
    kw_client *client = open_ring(rule);
    find_key(client, key, fakes[1]);
    leave(fakes[1]);
    KW_TEST_UNTIL(kw_test_stats(client).nodes_down == 1)
    {
        (void)kw_test_send(client, way, "INCR", key);
        kw_test_sleep_ms(20);
    }
    for (int i = 0; i < CALLS_N; i++) {
        kw_test_sleep_ms(APART_MS);
        kw_test_end end = kw_test_send(client, way, "INCR", key);
        assert_true(end.is_answered);
        late_n += end.took_us > AT_ONCE_US ? 1 : 0;
    }
    assert_in_range(late_n, 0, LATE_MAX);
    come_back(fakes[1]);
    unsigned calls_n = 0;
    for (size_t n = kw_fake_count(fakes[1], "INCR *"); n == kw_fake_count(fakes[1], "INCR *");) {
        kw_test_sleep_ms(1000);
        assert_true(kw_test_send(client, way, "INCR", key).is_answered);
        calls_n++;
    }
    bool has_loop = way == KW_TEST_CALLBACK || way == KW_TEST_ASYNC_SESSION;
    assert_in_range(calls_n, 1, has_loop ? OF_LOOP_MAX : BACK_MAX);
    kw_close(client);
}

static void test_rare_calls_wait_for_no_silent_member(void **state)
{
    (void)state;
    expect_few_waits("next", fall_silent);
    expect_few_waits("eject", fall_silent);
}

static void test_rare_calls_wait_for_no_member_that_refuses(void **state)
{
    (void)state;
    expect_few_waits("next", kw_fake_down);
    expect_few_waits("eject", kw_fake_down);
}

static int run(size_t part)
{
    const struct CMUnitTest tests[][1] = {
        {cmocka_unit_test(test_rare_calls_wait_for_no_silent_member)},
        {cmocka_unit_test(test_rare_calls_wait_for_no_member_that_refuses)},
    };
    way = (kw_test_way)(part % KW_TEST_WAYS_N);
    return cmocka_run_group_tests(tests[part / KW_TEST_WAYS_N], start_fakes, stop_fakes);
}

int main(int argc, char **argv)
{
    (void)argc;
    return kw_test_parts(argv, 2 * KW_TEST_WAYS_N, run);
}

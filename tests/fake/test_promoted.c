/* SPDX-License-Identifier: BSD-3-Clause */
/* What a failover loses of acknowledged writes is what the old primary acknowledged before it died,
 * and did not yet pass on: replication loses it, and no client can keep it. Nothing that is
 * acknowledged later is lost: from the promotion on no command goes to the old primary, though it
 * comes back and says that the slots are its own. In every way of sending. */
#include "fake/fakes.h"
#include "support/ways.h"

/* The server that is the primary of foo before, and the one that is promoted. */
enum { OLD = 1, HEIR = 2 };

static void tell_epoch(size_t at, unsigned epoch)
{
    kw_fake_on_reply(fakes[at], KW_FAKE_ALWAYS, "CLUSTER INFO",
                     "$43\r\ncluster_state:ok\r\ncluster_current_epoch:%u\r\n", epoch);
}

/* The number of the server that has acknowledged a write; -1: none has. */
static int write_one(kw_client *kw, kw_test_way way)
{
    size_t before[FAKES_N];
    for (size_t i = 0; i < FAKES_N; i++) {
        before[i] = kw_fake_count(fakes[i], "INCR *");
    }
    kw_test_end end = kw_test_send(kw, way, "INCR", "foo");
    int owner = -1;
    for (size_t i = 0; i < FAKES_N; i++) {
        bool is_here = kw_fake_count(fakes[i], "INCR *") > before[i];
        assert_false(is_here && owner >= 0); /* a write is sent once */
        owner = is_here ? (int)i : owner;
    }
    assert_true(end.is_answered || end.error.effect == KW_EFFECT_NONE);
    return end.is_answered ? owner : -1;
}

static void run(kw_test_way way, const char *options)
{
    const kw_fake_range before[] = {{0, 8000, fakes[0], NULL},
                                    {8001, 16383, fakes[OLD], fakes[HEIR]}};
    const kw_fake_range after[] = {{0, 8000, fakes[0], NULL},
                                   {8001, 16383, fakes[HEIR], fakes[OLD]}};
    kw_fake_renew_all(fakes, FAKES_N);
    kw_fake_set_cluster(fakes, FAKES_N, before, 2);
    answer_numbers();
    for (size_t i = 0; i < FAKES_N; i++) {
        tell_epoch(i, 1);
    }
    kw_client *kw = kw_test_open("redis-cluster://%s,%s?timeout=20s%s", kw_fake_address(fakes[OLD]),
                                 kw_fake_address(fakes[0]), options);
    assert_int_equal(write_one(kw, way), OLD);
    kw_fake_down(fakes[OLD]);
    const size_t others[] = {0, HEIR};
    for (size_t i = 0; i < 2; i++) {
        kw_fake *other = fakes[others[i]];
        kw_fake_reset(other);
        kw_fake_set_cluster(&other, 1, after, 2);
        kw_fake_on_reply(other, KW_FAKE_ALWAYS, "INCR *", ":%zu", others[i]);
        tell_epoch(others[i], 2);
    }
    while (write_one(kw, way) != HEIR) {
    }
    size_t writes_n = kw_fake_count(fakes[OLD], "INCR *");
    size_t maps_n = kw_fake_count(fakes[OLD], "CLUSTER SLOTS");
    kw_fake_up(fakes[OLD]); /* as it was: it has heard of nothing yet */
    KW_TEST_UNTIL(kw_fake_count(fakes[OLD], "CLUSTER SLOTS") > maps_n)
    {
        (void)kw_refresh(kw, NULL, 0); /* of whoever is asked */
        assert_int_equal(write_one(kw, way), HEIR);
    }
    assert_int_equal(write_one(kw, way), HEIR);
    assert_int_equal(kw_fake_count(fakes[OLD], "INCR *"), writes_n);
    kw_close(kw);
}

static void test_nothing_is_acknowledged_by_an_old_primary_behind_a_promotion(void **state)
{
    (void)state;
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        run((kw_test_way)way, way % 2 == 0 ? "" : "&identity=off");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_acknowledged_by_an_old_primary_behind_a_promotion),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A scan of a Sentinel group whose primary is replaced meanwhile, by command and by its death: keys
 * that stay are given, and the scan goes on at the heir. */
#include "live/scan_keys.h"

#include "support/group.h"

#define KEYS_N ((size_t)20000)

/* All replicas have what was written. */
static void settle(kw_client *kw)
{
    kw_call_options options = KW_CALL_OPTIONS_INIT;
    const char *words[] = {"SET", "last", "1"};
    kw_error error = KW_ERROR_INIT;
    options.acks = 2;
    options.timeout_ms = 30000;
    kw_reply *reply = kw_call(kw, &error, &options, (kw_argv){3, words, NULL});
    if (reply == NULL) {
        fail_msg("%s", error.text);
    }
    kw_reply_free(reply);
    kw_reply_free(kw_command(kw, NULL, "DEL last"));
}

static void lose_primary(kw_test_group *group, bool is_killed)
{
    uint64_t promoted_ns;
    kw_test_server *primary = kw_test_group_primary(group);
    assert_non_null(primary);
    if (is_killed) {
        kw_test_server_kill(primary);
        (void)kw_test_group_wait_promotion(group, primary, &promoted_ns);
    } else {
        (void)kw_test_group_failover(group, &promoted_ns);
    }
}

static void scan_through(kw_test_group *group, bool is_killed)
{
    kw_client *kw = kw_test_open("%s?timeout=20s", kw_test_group_uri(group));
    scan_sight sight = scan_sight_new(KEYS_N);
    kw_scan_options options = KW_SCAN_OPTIONS_INIT;
    kw_scan_batch batch = KW_SCAN_BATCH_INIT;
    kw_error error = KW_ERROR_INIT;
    scan_fill(kw, "k:%zu", 0, KEYS_N);
    settle(kw);
    options.count = 200;
    options.timeout_ms = 20000;
    kw_scan *scan = scan_open(kw, &options);
    KW_TEST_UNTIL(batch.is_end)
    {
        if (kw_scan_next(scan, &error, &batch) != KW_OK) {
            printf("%s\n", error.text);
            continue;
        }
        scan_note(&sight, &batch);
        if (sight.batches_n == 30) {
            lose_primary(group, is_killed);
        }
    }
    printf("%zu batches, %zu keys given for %zu\n", sight.batches_n, sight.given_n, KEYS_N);
    assert_true(sight.batches_n > 60);
    assert_int_equal(scan_missed(&sight), 0);
    assert_int_equal(sight.strange_n, 0);
    kw_scan_close(scan);
    free(sight.times);
    kw_close(kw);
}

static void test_scan_through_a_failover_by_command_gives_all(void **state)
{
    scan_through(*state, false);
}

static void test_scan_whose_primary_dies_gives_all(void **state)
{
    kw_test_group_wait(*state, 60000);
    scan_through(*state, true);
}

static int set_up(void **state)
{
    *state = kw_test_group_start(2, "", "");
    return 0;
}

static int tear_down(void **state)
{
    kw_test_group_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan_through_a_failover_by_command_gives_all),
        cmocka_unit_test(test_scan_whose_primary_dies_gives_all),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

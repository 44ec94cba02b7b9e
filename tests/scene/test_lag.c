/* SPDX-License-Identifier: BSD-3-Clause */
/* How far replicas are behind, from what servers say: no moment is taken for known that the
 * replica may lack something of. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "engine/lag.h"
#include "support/check.h"

#include <stdio.h>
#include <string.h>

#define MS ((uint64_t)1000000)

static const char primary_text[] = "# Replication\r\nrole:master\r\nconnected_slaves:1\r\n"
                                   "slave0:ip=::1,port=7001,state=online,offset=40,lag=0\r\n"
                                   "master_replid:aaaa\r\nmaster_replid2:0000\r\n"
                                   "master_repl_offset:42\r\nsecond_repl_offset:-1\r\n";
static const char replica_text[] = "# Replication\r\nrole:slave\r\nmaster_host:::1\r\n"
                                   "master_link_status:up\r\nslave_read_repl_offset:50\r\n"
                                   "slave_repl_offset:40\r\nmaster_replid:aaaa\r\n"
                                   "master_repl_offset:41\r\n";

static void test_replication_is_read_from_info(void **state)
{
    (void)state;
    kw_replication found;
    assert_true(kw_replication_parse(&found, kw_bytes_of(primary_text)));
    assert_true(found.is_primary);
    assert_int_equal(found.offset, 42);
    assert_string_equal(found.replid, "aaaa");
    assert_true(kw_replication_parse(&found, kw_bytes_of(replica_text)));
    assert_false(found.is_primary);
    assert_true(found.is_linked);
    assert_int_equal(found.offset, 40); /* what is applied, not what has arrived */
}

static void test_replication_that_lacks_something_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "role:master\r\nmaster_replid:aaaa\r\n",
        "role:master\r\nmaster_replid:aaaa\r\nmaster_repl_offset:-1\r\n",
        "role:sentinel\r\nmaster_replid:aaaa\r\nmaster_repl_offset:1\r\n",
        "role:slave\r\nmaster_replid:aaaa\r\nslave_repl_offset:1\r\n",
        "role:slave\r\nmaster_link_status:up\r\nslave_repl_offset:1\r\n",
        ("role:slave\r\nmaster_link_status:up\r\nslave_repl_offset:1\r\n"
         "master_replid:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"),
        "role\r\n:\r\n\n\r\nmaster_repl_offset",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        kw_replication found = {.offset = 7};
        assert_false(kw_replication_parse(&found, kw_bytes_of(texts[i])));
        assert_int_equal(found.offset, 7);
    }
    for (size_t len = 0; len < sizeof(primary_text) - 60; len++) {
        kw_replication found;
        kw_bytes part = {primary_text, len};
        assert_false(kw_replication_parse(&found, part));
    }
}

static kw_replication said(bool is_primary, const char *replid, uint64_t offset)
{
    kw_replication found = {is_primary, !is_primary, offset, ""};
    snprintf(found.replid, sizeof(found.replid), "%s", replid);
    return found;
}

static void add(kw_lag_history *history, const char *replid, uint64_t offset, uint64_t asked_ns)
{
    kw_replication primary = said(true, replid, offset);
    kw_lag_history_add(history, &primary, asked_ns);
}

static uint64_t known(const kw_lag_history *history, const char *replid, uint64_t offset)
{
    kw_replication replica = said(false, replid, offset);
    return kw_lag_known_ns(history, &replica);
}

static void test_lag_is_known_up_to_what_was_reached(void **state)
{
    (void)state;
    kw_lag_history history = {0};
    assert_int_equal(known(&history, "", 5), 0);
    add(&history, "a", 10, 1 * MS);
    add(&history, "a", 20, 2 * MS);
    add(&history, "a", 30, 3 * MS);
    assert_int_equal(known(&history, "a", 9), 0);
    assert_int_equal(known(&history, "a", 10), 1 * MS);
    assert_int_equal(known(&history, "a", 29), 2 * MS);
    assert_int_equal(known(&history, "a", 30), 3 * MS);
    assert_int_equal(known(&history, "b", 30), 0);
    add(&history, "a", 30, 9 * MS); /* nothing was written since */
    assert_int_equal(known(&history, "a", 30), 9 * MS);
    assert_int_equal(known(&history, "a", 29), 2 * MS);
    kw_replication cut = said(false, "a", 30);
    cut.is_linked = false;
    assert_int_equal(kw_lag_known_ns(&history, &cut), 0);
    kw_replication risen = said(true, "a", 30);
    assert_int_equal(kw_lag_known_ns(&history, &risen), 0);
}

static void test_lag_of_another_stream_begins_anew(void **state)
{
    (void)state;
    kw_lag_history history = {0};
    add(&history, "a", 10, 1 * MS);
    add(&history, "b", 20, 2 * MS);
    assert_int_equal(known(&history, "a", 99), 0);
    assert_int_equal(known(&history, "b", 19), 0);
    assert_int_equal(known(&history, "b", 20), 2 * MS);
    add(&history, "b", 5, 3 * MS); /* a stream does not go back: it is another one */
    assert_int_equal(known(&history, "b", 20), 3 * MS);
    assert_int_equal(known(&history, "b", 4), 0);
}

static void test_lag_is_within_its_bound_or_not(void **state)
{
    (void)state;
    assert_false(kw_lag_is_within(0, 10 * MS, 500 * MS)); /* never measured */
    assert_true(kw_lag_is_within(100 * MS, 600 * MS, 500 * MS));
    assert_false(kw_lag_is_within(100 * MS, 600 * MS + 1, 500 * MS));
    assert_true(kw_lag_is_within(100 * MS, 99 * MS, 500 * MS)); /* of a thread a little behind */
}

/* A primary that writes, a replica that follows with pauses, questions that are answered late:
 * at what is known every write of the primary until then is in the replica. */
static void test_lag_is_never_better_than_the_truth(void **state)
{
    (void)state;
    kw_random random;
    uint64_t reached_ns[4000]; /* when the primary had so many bytes */
    size_t told_n = 0;
    kw_random_init(&random, kw_test_seed("lag"));
    for (int round = 0; round < 50; round++) {
        kw_lag_history history = {0};
        uint64_t primary = 0;
        uint64_t replica = 0;
        uint64_t asked_ns = 0;
        for (uint64_t now_ns = 1; now_ns < 20000; now_ns++) {
            if (kw_random_below(&random, 8) == 0 && primary + 1 < 4000) {
                reached_ns[++primary] = now_ns;
            }
            if (replica < primary &&
                kw_random_below(&random, now_ns / 1000 % 3 == 0 ? 50 : 6) == 0) {
                replica++;
            }
            if (asked_ns == 0 && kw_random_below(&random, 40) == 0) {
                asked_ns = now_ns;
            } else if (asked_ns != 0 && kw_random_below(&random, 10) == 0) {
                add(&history, "a", primary, asked_ns);
                asked_ns = 0;
            }
            uint64_t known_ns = known(&history, "a", replica);
            told_n += known_ns != 0 ? 1 : 0;
            assert_true(known_ns == 0 || replica == primary || reached_ns[replica + 1] > known_ns);
        }
    }
    assert_true(told_n > 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replication_is_read_from_info),
        cmocka_unit_test(test_replication_that_lacks_something_is_refused),
        cmocka_unit_test(test_lag_is_known_up_to_what_was_reached),
        cmocka_unit_test(test_lag_of_another_stream_begins_anew),
        cmocka_unit_test(test_lag_is_within_its_bound_or_not),
        cmocka_unit_test(test_lag_is_never_better_than_the_truth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

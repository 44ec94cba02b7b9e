/* SPDX-License-Identifier: BSD-3-Clause */
/* Scenes of the list of sentinels: who is asked next, and what it means when none led to
 * the primary. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/sentinel_watch.h"
#include "support/check.h"

#include <stdio.h>
#include <string.h>

static const kw_endpoint configured[] = {{"s1", 1}, {"s2", 1}, {"s3", 1}};

static kw_endpoint at(const char *host)
{
    kw_endpoint endpoint = {"", 1};
    snprintf(endpoint.host, sizeof(endpoint.host), "%s", host);
    return endpoint;
}

static void start(kw_sentinel_watch *watch)
{
    assert_int_equal(kw_sentinel_watch_init(watch, kw_mem_default(), configured, 3), KW_OK);
    kw_sentinel_watch_on_start(watch);
}

/* "s1 s2 s3": the order in which they are asked. */
static void expect_order(const kw_sentinel_watch *watch, const char *expected)
{
    char found[1024] = "";
    for (size_t i = 0; i < watch->entries_n; i++) {
        strcat(found, i > 0 ? " " : "");
        strcat(found, watch->entries[i].endpoint.host);
    }
    assert_string_equal(found, expected);
}

static void test_watch_the_one_that_answered_comes_first(void **state)
{
    (void)state;
    kw_sentinel_watch watch;
    start(&watch);
    expect_order(&watch, "s1 s2 s3");
    kw_endpoint s3 = at("s3");
    kw_sentinel_watch_on_success(&watch, &s3);
    expect_order(&watch, "s3 s1 s2");
    kw_sentinel_watch_on_success(&watch, &s3);
    expect_order(&watch, "s3 s1 s2");
    kw_endpoint stranger = at("x");
    kw_sentinel_watch_on_success(&watch, &stranger);
    expect_order(&watch, "s3 s1 s2");
    kw_sentinel_watch_fini(&watch);
}

static void test_watch_learns_and_forgets_but_not_the_configured(void **state)
{
    (void)state;
    kw_sentinel_watch watch;
    start(&watch);
    kw_endpoint peers[] = {at("n1"), at("s2"), at("n2"), at("n1")};
    kw_sentinel_watch_learn(&watch, peers, 4);
    expect_order(&watch, "s1 s2 s3 n1 n2");
    kw_endpoint n2 = at("n2");
    kw_sentinel_watch_on_success(&watch, &n2); /* and it names the others, not itself */
    kw_endpoint later[] = {at("n3"), at("s1")};
    kw_sentinel_watch_learn(&watch, later, 2);
    expect_order(&watch, "n2 s1 s2 s3 n3");
    kw_endpoint s1 = at("s1");
    kw_sentinel_watch_on_success(&watch, &s1);
    kw_sentinel_watch_learn(&watch, NULL, 0);
    expect_order(&watch, "s1 s2 s3");
    kw_sentinel_watch_fini(&watch);
}

static void test_watch_a_group_without_end_is_bounded(void **state)
{
    (void)state;
    kw_sentinel_watch watch;
    start(&watch);
    static kw_endpoint peers[1000];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 1000; i++) {
            snprintf(peers[i].host, sizeof(peers[i].host), "n%u-%u", round, i);
            peers[i].port = 1;
        }
        kw_sentinel_watch_learn(&watch, peers, 1000);
        assert_int_equal(watch.entries_n, 3 + KW_SENTINELS_LEARNT_MAX);
    }
    kw_sentinel_watch_fini(&watch);
}

/* What each sentinel that was asked came to, and what that means. */
typedef struct fetch_row {
    const char *name;
    size_t n;
    struct {
        kw_err code;
        bool has_answered;
    } each[3];
    kw_err last;
    kw_err expected;
} fetch_row;

static void test_watch_failures_are_told_apart(void **state)
{
    (void)state;
    static const fetch_row rows[] = {
        {"nobody there",
         3,
         {{KW_ERR_CONNECT, false}, {KW_ERR_TOPOLOGY, false}, {KW_ERR_HANDSHAKE, false}},
         KW_ERR_HANDSHAKE,
         KW_ERR_NO_SENTINEL},
        {"nobody asked", 0, {{KW_OK, false}}, KW_ERR_TOPOLOGY, KW_ERR_NO_SENTINEL},
        {"wrong password",
         3,
         {{KW_ERR_AUTH, false}, {KW_ERR_CONNECT, false}, {KW_ERR_AUTH, false}},
         KW_ERR_AUTH,
         KW_ERR_AUTH},
        {"name unknown to all",
         3,
         {{KW_ERR_NO_SERVICE, true}, {KW_ERR_NO_SERVICE, true}, {KW_ERR_NO_SERVICE, true}},
         KW_ERR_NO_SERVICE,
         KW_ERR_NO_SERVICE},
        {"name unknown to most",
         3,
         {{KW_ERR_CONNECT, false}, {KW_ERR_NO_SERVICE, true}, {KW_ERR_NO_SERVICE, true}},
         KW_ERR_NO_SERVICE,
         KW_ERR_NO_SERVICE},
        {"name unknown to the only one",
         1,
         {{KW_ERR_NO_SERVICE, true}},
         KW_ERR_NO_SERVICE,
         KW_ERR_NO_SERVICE},
        {"the only one left may be a new one",
         3,
         {{KW_ERR_CONNECT, false}, {KW_ERR_CONNECT, false}, {KW_ERR_NO_SERVICE, true}},
         KW_ERR_NO_SERVICE,
         KW_ERR_NO_SENTINEL},
        {"named, and not reached",
         3,
         {{KW_ERR_CONNECT, true}, {KW_ERR_CONNECT, false}, {KW_ERR_NO_SERVICE, true}},
         KW_ERR_CONNECT,
         KW_ERR_CONNECT},
        {"named, and no primary",
         3,
         {{KW_ERR_ROLE, true}, {KW_ERR_ROLE, true}, {KW_ERR_ROLE, true}},
         KW_ERR_ROLE,
         KW_ERR_ROLE},
        {"named, and its password is wrong", 1, {{KW_ERR_AUTH, true}}, KW_ERR_AUTH, KW_ERR_AUTH},
        {"no memory", 1, {{KW_ERR_NOMEM, false}}, KW_ERR_NOMEM, KW_ERR_NOMEM},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_sentinel_watch watch;
        start(&watch);
        for (size_t k = 0; k < rows[i].n; k++) {
            kw_sentinel_watch_on_failure(&watch, rows[i].each[k].code,
                                         rows[i].each[k].has_answered);
        }
        kw_err code = kw_sentinel_watch_on_end(&watch, rows[i].last);
        if (code != rows[i].expected) {
            fail_msg("%s: %s", rows[i].name, kw_err_name(code));
        }
        kw_sentinel_watch_fini(&watch);
    }
}

static void test_watch_those_not_asked_are_asked_next(void **state)
{
    (void)state;
    kw_sentinel_watch watch;
    start(&watch);
    kw_sentinel_watch_on_failure(&watch, KW_ERR_CONNECT, false);
    kw_sentinel_watch_on_failure(&watch, KW_ERR_CONNECT, false);
    assert_int_equal(kw_sentinel_watch_on_end(&watch, KW_ERR_CONNECT), KW_ERR_NO_SENTINEL);
    expect_order(&watch, "s3 s1 s2");
    kw_sentinel_watch_fini(&watch);
}

static void test_watch_the_same_false_primary_is_tried_once_a_fetch(void **state)
{
    (void)state;
    kw_sentinel_watch watch;
    start(&watch);
    kw_endpoint old = at("old");
    kw_endpoint heir = at("heir");
    assert_false(kw_sentinel_watch_has_tried(&watch, &old));
    kw_sentinel_watch_on_tried(&watch, &old);
    assert_true(kw_sentinel_watch_has_tried(&watch, &old));
    assert_false(kw_sentinel_watch_has_tried(&watch, &heir));
    kw_sentinel_watch_on_start(&watch);
    assert_false(kw_sentinel_watch_has_tried(&watch, &old));
    kw_sentinel_watch_fini(&watch);
}

static void test_watch_a_suspect_is_asked_last_and_mostly_in_haste(void **state)
{
    (void)state;
    kw_sentinel_watch watch;
    start(&watch);
    kw_endpoint old = at("old");
    kw_endpoint heir = at("heir");
    kw_endpoint s1 = at("s1");
    assert_int_equal(kw_sentinel_watch_on_named(&watch, &old, false), KW_SENTINEL_GO);
    for (unsigned fetch = 1; fetch <= 12; fetch++) {
        kw_sentinel_watch_on_tried(&watch, &old);
        assert_int_equal(kw_sentinel_watch_on_end(&watch, KW_ERR_CONNECT), KW_ERR_NO_SENTINEL);
        kw_sentinel_watch_on_start(&watch);
        assert_int_equal(kw_sentinel_watch_on_named(&watch, &old, false), KW_SENTINEL_LATER);
        assert_int_equal(kw_sentinel_watch_on_named(&watch, &heir, false), KW_SENTINEL_GO);
        assert_int_equal(kw_sentinel_watch_on_named(&watch, &old, true),
                         fetch % 4 == 0 ? KW_SENTINEL_GO : KW_SENTINEL_GO_FAST);
    }
    kw_sentinel_watch_on_success(&watch, &s1);
    assert_int_equal(kw_sentinel_watch_on_named(&watch, &old, false), KW_SENTINEL_GO);
    kw_sentinel_watch_fini(&watch);
}

static void test_watch_without_memory_is_none(void **state)
{
    (void)state;
    kw_test_memory memory;
    kw_test_memory_init(&memory, 1);
    kw_sentinel_watch watch;
    assert_int_equal(kw_sentinel_watch_init(&watch, &memory.allocator, configured, 3),
                     KW_ERR_NOMEM);
    kw_sentinel_watch_fini(&watch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch_the_one_that_answered_comes_first),
        cmocka_unit_test(test_watch_learns_and_forgets_but_not_the_configured),
        cmocka_unit_test(test_watch_a_group_without_end_is_bounded),
        cmocka_unit_test(test_watch_failures_are_told_apart),
        cmocka_unit_test(test_watch_those_not_asked_are_asked_next),
        cmocka_unit_test(test_watch_the_same_false_primary_is_tried_once_a_fetch),
        cmocka_unit_test(test_watch_a_suspect_is_asked_last_and_mostly_in_haste),
        cmocka_unit_test(test_watch_without_memory_is_none),
    };
    return cmocka_run_group_tests_name("sentinel_watch", tests, NULL, NULL);
}

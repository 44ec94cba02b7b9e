/* SPDX-License-Identifier: BSD-3-Clause */
/* Whom reads go to: every preference, with replicas that are available, away, near and far. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/read_choice.h"
#include "support/check.h"

#include <string.h>

#define MS ((uint64_t)1000000)

typedef struct choice_row {
    const char *name;
    kw_read_preference preference;
    size_t n;
    const char *available; /* a letter for each, the primary first: '+', '-', or 'x' for barred */
    const char *zone;      /* the same */
    const char *expected;  /* the same: all that may be chosen, and are in the end; "": nobody */
} choice_row;

static void check(const choice_row *row, uint64_t seed)
{
    kw_random random;
    kw_read_candidate candidates[KW_READ_CANDIDATES_MAX] = {{0}};
    char found[KW_READ_CANDIDATES_MAX + 1] = "";
    kw_random_init(&random, seed);
    for (size_t i = 0; i < row->n; i++) {
        candidates[i].is_available = row->available[i] != '-';
        candidates[i].is_barred = row->available[i] == 'x';
        candidates[i].is_in_zone = row->zone[i] == '+';
        found[i] = row->expected[0] != '\0' ? '-' : '\0';
    }
    for (int i = 0; i < 500; i++) {
        size_t chosen = kw_read_choose(candidates, row->n, row->preference, &random);
        if (chosen == KW_READ_NOBODY) {
            assert_string_equal(row->expected, "");
            continue;
        }
        assert_in_range(chosen, 0, row->n - 1);
        found[chosen] = '+';
    }
    if (strcmp(found, row->expected) != 0) {
        fail_msg("%s: %s", row->name, found);
    }
}

static void test_choice_follows_the_preference(void **state)
{
    (void)state;
    static const choice_row rows[] = {
        {"primary", KW_READ_OF_PRIMARY, 3, "+++", "---", "+--"},
        {"primary, not available", KW_READ_OF_PRIMARY, 3, "-++", "---", "+--"},
        {"preferred", KW_READ_OF_PREFERRED_REPLICA, 3, "+++", "---", "-++"},
        {"preferred, one away", KW_READ_OF_PREFERRED_REPLICA, 3, "++-", "---", "-+-"},
        {"preferred, all away", KW_READ_OF_PREFERRED_REPLICA, 3, "+--", "---", "+--"},
        {"preferred, none", KW_READ_OF_PREFERRED_REPLICA, 1, "+", "-", "+"},
        {"replica", KW_READ_OF_REPLICA, 3, "+++", "---", "-++"},
        {"replica, all away", KW_READ_OF_REPLICA, 3, "+--", "---", "-++"},
        {"replica, none", KW_READ_OF_REPLICA, 1, "+", "-", ""},
        {"replica, one barred", KW_READ_OF_REPLICA, 3, "+x+", "---", "--+"},
        {"replica, one barred, one away", KW_READ_OF_REPLICA, 3, "+x-", "---", "--+"},
        {"replica, all barred", KW_READ_OF_REPLICA, 3, "+xx", "---", ""},
        {"preferred, one barred", KW_READ_OF_PREFERRED_REPLICA, 3, "+x+", "---", "--+"},
        {"preferred, all barred", KW_READ_OF_PREFERRED_REPLICA, 3, "+xx", "---", "+--"},
        {"nearest, barred", KW_READ_OF_NEAREST, 3, "+xx", "---", "+--"},
        {"zone, barred", KW_READ_OF_ZONE, 3, "++x", "--+", "-+-"},
        {"zone, all barred", KW_READ_OF_ZONE, 3, "+xx", "-++", "+--"},
        {"zone", KW_READ_OF_ZONE, 4, "++++", "+-+-", "--+-"},
        {"zone of the primary alone", KW_READ_OF_ZONE, 3, "+++", "+--", "+--"},
        {"zone of nobody", KW_READ_OF_ZONE, 3, "+++", "---", "-++"},
        {"zone, away", KW_READ_OF_ZONE, 3, "++-", "--+", "-+-"},
        {"zone, all replicas away", KW_READ_OF_ZONE, 3, "+--", "-++", "+--"},
        {"nearest, none measured", KW_READ_OF_NEAREST, 3, "+++", "---", "+++"},
        {"nearest, some away", KW_READ_OF_NEAREST, 3, "-+-", "---", "-+-"},
        {"nearest, all away", KW_READ_OF_NEAREST, 3, "---", "---", "+--"},
    };
    uint64_t seed = kw_test_seed("read_choice");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        check(&rows[i], seed + i);
    }
}

static void test_choice_of_the_nearest_goes_by_latency(void **state)
{
    (void)state;
    kw_random random;
    size_t chosen_n[4] = {0};
    kw_read_candidate candidates[4] = {{true, false, false, 9 * MS},
                                       {true, false, false, 2 * MS},
                                       {true, false, false, 2 * MS + MS / 4},
                                       {false, false, false, 1}};
    kw_random_init(&random, kw_test_seed("nearest"));
    for (int i = 0; i < 6400; i++) {
        chosen_n[kw_read_choose(candidates, 4, KW_READ_OF_NEAREST, &random)]++;
    }
    assert_in_range(chosen_n[0], 1, 200); /* now and then, to be measured */
    assert_in_range(chosen_n[1], 2500, 3900);
    assert_in_range(chosen_n[2], 2500, 3900);
    assert_int_equal(chosen_n[3], 0);
    candidates[0].latency_ns = 0; /* not measured: first of all */
    assert_int_equal(kw_read_choose(candidates, 1, KW_READ_OF_NEAREST, &random), 0);
}

static void test_choice_looks_at_so_many(void **state)
{
    (void)state;
    kw_random random;
    kw_read_candidate candidates[KW_READ_CANDIDATES_MAX];
    memset(candidates, 0, sizeof(candidates));
    kw_random_init(&random, 1);
    for (size_t i = 0; i < KW_READ_CANDIDATES_MAX; i++) {
        candidates[i].is_available = true;
    }
    for (int i = 0; i < 1000; i++) {
        size_t chosen = kw_read_choose(candidates, KW_READ_CANDIDATES_MAX,
                                       KW_READ_OF_PREFERRED_REPLICA, &random);
        assert_in_range(chosen, 1, KW_READ_CANDIDATES_MAX - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice_follows_the_preference),
        cmocka_unit_test(test_choice_of_the_nearest_goes_by_latency),
        cmocka_unit_test(test_choice_looks_at_so_many),
    };
    return cmocka_run_group_tests_name("read_choice", tests, NULL, NULL);
}

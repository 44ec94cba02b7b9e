/* SPDX-License-Identifier: BSD-3-Clause */
/* Lineage: ids read from INFO, remembered and compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/lineage.h"

#include <stdio.h>
#include <string.h>

static kw_lineage read_all(const char *text)
{
    kw_lineage lineage = {.n = 0};
    kw_lineage_read(&lineage, kw_bytes_of(text));
    return lineage;
}

static void test_lineage_of_info_has_the_ids_that_are_there(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
    } rows[] = {
        {"", 0},
        {"run_id:", 0},
        {"run_id:abc", 1},
        {"# Server\r\nredis_version:7.0.0\r\nrun_id:abc\r\n", 1},
        {"master_replid:abc\r\nmaster_replid2:def\r\n", 2},
        {"master_replid:abc\nmaster_replid2:0000000000\n", 1},
        {"master_replid:abc\nmaster_replid2:abc\nrun_id:abc", 1},
        {"xmaster_replid:abc\nmaster_replid", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(read_all(rows[i].text).n, rows[i].n);
        char cut[100];
        for (size_t len = 0; len < strlen(rows[i].text); len++) {
            snprintf(cut, sizeof(cut), "%.*s", (int)len, rows[i].text);
            assert_true(read_all(cut).n <= 3);
        }
    }
}

static void test_lineage_kinship_is_one_id_in_common(void **state)
{
    (void)state;
    kw_lineage known = read_all("run_id:a\nmaster_replid:b\n");
    kw_lineage nothing = {.n = 0};
    kw_lineage heir = read_all("run_id:c\nmaster_replid:d\nmaster_replid2:b\n");
    kw_lineage stranger = read_all("run_id:c\nmaster_replid:d\n");
    assert_int_equal(kw_lineage_kinship(&known, &known), KW_KINSHIP_COMMON);
    assert_int_equal(kw_lineage_kinship(&known, &heir), KW_KINSHIP_COMMON);
    assert_int_equal(kw_lineage_kinship(&known, &stranger), KW_KINSHIP_NONE);
    assert_int_equal(kw_lineage_kinship(&known, &nothing), KW_KINSHIP_UNKNOWN);
    assert_int_equal(kw_lineage_kinship(&nothing, &stranger), KW_KINSHIP_UNKNOWN);
    kw_lineage_learn(&known, &heir);
    assert_int_equal(kw_lineage_kinship(&known, &stranger), KW_KINSHIP_COMMON);
}

static void test_lineage_forgets_what_was_learnt_first(void **state)
{
    (void)state;
    kw_lineage known = read_all("run_id:first");
    kw_lineage first = known;
    for (int i = 0; i < KW_LINEAGE_MAX; i++) {
        char text[40];
        snprintf(text, sizeof(text), "run_id:x%d", i);
        kw_lineage more = read_all(text);
        assert_int_equal(kw_lineage_kinship(&known, &first), KW_KINSHIP_COMMON);
        kw_lineage_learn(&known, &more);
        assert_int_equal(kw_lineage_kinship(&known, &more), KW_KINSHIP_COMMON);
    }
    assert_int_equal(known.n, KW_LINEAGE_MAX);
    assert_int_equal(kw_lineage_kinship(&known, &first), KW_KINSHIP_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lineage_of_info_has_the_ids_that_are_there),
        cmocka_unit_test(test_lineage_kinship_is_one_id_in_common),
        cmocka_unit_test(test_lineage_forgets_what_was_learnt_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What servers say of themselves: the line "myself" of CLUSTER NODES, run_id of INFO. */
#include "engine/scan_seen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_A "07c37dfeb235213a872192d90877d0cd55635b91"
#define ID_B "67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1"

static const char nodes[] =
    ID_A " 127.0.0.1:30004@31004,host slave " ID_B " 0 1426238317239 4 connected\n" ID_B
         " 127.0.0.1:30002@31002 myself,master - 0 1426238316232 18 connected 5461-5463 7000 "
         "[93->-" ID_A "] [77-<-" ID_A "]\n";

static void test_seen_nodes_gives_own_line(void **state)
{
    (void)state;
    kw_scan_seen seen;
    size_t at = 1;
    kw_scan_seen_init(&seen);
    assert_true(kw_scan_seen_nodes(&seen, &at, kw_bytes_of(nodes)));
    assert_true(seen.is_primary);
    assert_true(seen.id == kw_bytes_id(kw_bytes_of(ID_B)));
    assert_true(seen.epoch == 18);
    for (unsigned slot = 0; slot < 16384; slot++) {
        bool is_owned = (slot >= 5461 && slot <= 5463) || slot == 7000;
        assert_true(kw_scan_slots_has(&seen.owned, slot) == is_owned);
        assert_true(kw_scan_slots_has(&seen.moving, slot) == (slot == 93 || slot == 77));
    }
    assert_int_equal(seen.marks_n, 2);
    assert_false(seen.marks[0].is_import);
    assert_int_equal(seen.marks[0].slot, 93);
    assert_true(seen.marks[1].is_import);
    assert_true(seen.marks[1].peer == kw_bytes_id(kw_bytes_of(ID_A)));
}

#define LINE(slots) ID_B " 127.0.0.1:1@2 myself,master - 0 0 1 connected " slots

static const char *const wrong[] = {
    "",
    "\n\n",
    ID_A " 127.0.0.1:30004@31004 slave - 0 1 4 connected",
    ID_B " 127.0.0.1:1@2 myself,master - 0 0",
    ID_B " 127.0.0.1:1@2 myself,master - 0 0 x connected",
    "shortid 127.0.0.1:1@2 myself,master - 0 0 1 connected",
    LINE("16384"),
    LINE("5-4"),
    LINE("1-16384"),
    LINE("1-"),
    LINE("-1"),
    LINE("1 x"),
    LINE("[93->-"),
    LINE("[93]"),
    LINE("[93-]"),
    LINE("[93->]"),
    LINE("[93-=-x]"),
    LINE("[16384->-x]"),
    LINE("["),
    LINE("[]"),
};

static void test_seen_wrong_nodes_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        kw_scan_seen seen;
        size_t at = SIZE_MAX;
        kw_scan_seen_init(&seen);
        if (kw_scan_seen_nodes(&seen, &at, kw_bytes_of(wrong[i]))) {
            fail_msg("taken: %s", wrong[i]);
        }
        assert_true(at <= strlen(wrong[i]));
    }
}

/* Cut at every byte, in memory of just that size. */
static void test_seen_cut_nodes_are_read_to_their_end(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof(nodes); len++) {
        char *cut = malloc(len + 1);
        kw_scan_seen seen;
        size_t at;
        assert_non_null(cut);
        cut = realloc(cut, len > 0 ? len : 1);
        memcpy(cut, nodes, len);
        kw_scan_seen_init(&seen);
        (void)kw_scan_seen_nodes(&seen, &at, (kw_bytes){cut, len});
        free(cut);
    }
}

static void test_seen_more_marks_than_room_still_move(void **state)
{
    (void)state;
    kw_scan_seen seen;
    size_t at;
    char *text = calloc(1, 200000);
    size_t len = strlen(strcpy(text, LINE("")));
    for (unsigned slot = 0; slot < 1000; slot++) {
        char number[8];
        memcpy(text + len, "[", 1);
        len++;
        int n = snprintf(number, sizeof(number), "%u", slot);
        memcpy(text + len, number, (size_t)n);
        len += (size_t)n;
        len += strlen(strcpy(text + len, "->-" ID_A "] "));
    }
    kw_scan_seen_init(&seen);
    assert_true(kw_scan_seen_nodes(&seen, &at, (kw_bytes){text, len}));
    assert_int_equal(seen.marks_n, KW_SCAN_MARKS_MAX);
    assert_true(kw_scan_slots_has(&seen.moving, 999));
    free(text);
}

/* No slot is told twice: ranges that all say the same again and again would be work without end. */
static void test_seen_more_ranges_than_slots_are_refused(void **state)
{
    (void)state;
    static const char whole[] = LINE("0-16382 16383");
    static const char twice[] = LINE("0-16383 0-16383");
    static const char more[] = LINE("0-16383 5");
    kw_scan_seen seen;
    size_t at;
    kw_scan_seen_init(&seen);
    assert_true(kw_scan_seen_nodes(&seen, &at, kw_bytes_of(whole)));
    kw_scan_seen_init(&seen);
    assert_false(kw_scan_seen_nodes(&seen, &at, kw_bytes_of(twice)));
    assert_int_equal(at, strstr(twice, " 0-16383 0") + 9 - twice);
    kw_scan_seen_init(&seen);
    assert_false(kw_scan_seen_nodes(&seen, &at, kw_bytes_of(more)));
}

static void test_seen_print_tells_states_apart(void **state)
{
    (void)state;
    kw_scan_seen seen;
    kw_scan_seen_init(&seen);
    assert_false(kw_scan_seen_info(&seen, kw_bytes_of("# Server\r\nrun_id:\r\n")));
    assert_true(kw_scan_seen_info(&seen, kw_bytes_of("# Server\r\nrun_id:abc\r\nx:y\r\n")));
    seen.id = 5;
    seen.epoch = 7;
    uint64_t print = kw_scan_seen_print(&seen, 1);
    assert_true(print == kw_scan_seen_print(&seen, 1));
    assert_true(print != kw_scan_seen_print(&seen, 2));
    seen.epoch = 8;
    assert_true(print != kw_scan_seen_print(&seen, 1));
    seen.epoch = 7;
    assert_true(kw_scan_seen_info(&seen, kw_bytes_of("run_id:abd\r\n")));
    assert_true(print != kw_scan_seen_print(&seen, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seen_nodes_gives_own_line),
        cmocka_unit_test(test_seen_wrong_nodes_are_refused),
        cmocka_unit_test(test_seen_cut_nodes_are_read_to_their_end),
        cmocka_unit_test(test_seen_more_marks_than_room_still_move),
        cmocka_unit_test(test_seen_more_ranges_than_slots_are_refused),
        cmocka_unit_test(test_seen_print_tells_states_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

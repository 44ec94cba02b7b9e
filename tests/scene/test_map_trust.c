/* SPDX-License-Identifier: BSD-3-Clause */
/* Scenes of belief: maps that nodes of a cluster give, and what becomes of them; primaries that
 * sentinels name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/map_trust.h"
#include "engine/sentinel_trust.h"

#include <stdio.h>
#include <string.h>

#define WAIT  100u
#define NODES 6u

#define UNKNOWN KW_KINSHIP_UNKNOWN
#define KIN     KW_KINSHIP_COMMON
#define OTHER   KW_KINSHIP_NONE

/* One map: kinship, is_seed, has_info, is_ok, epoch, witness; and what is to become of it. */
typedef struct turn {
    kw_map_said said;
    kw_map_advice advice;
} turn;

typedef struct scene {
    const char *name;
    kw_map_said in_use;
    turn turns[6]; /* up to the first with no witness */
    kw_map_end early, late, over, strict;
} scene;

#define B         KW_MAP_BELIEVED
#define H         KW_MAP_HELD
#define P         KW_MAP_PASSED
#define END(name) KW_MAP_END_##name

/* clang-format off */
static const scene scenes[] = {
    {"first map", {UNKNOWN, false, false, false, 0, 0},
     {{{UNKNOWN, false, true, false, 3, 1}, B}}, END(NONE), END(NONE), END(NONE), END(NONE)},
    {"no state told", {UNKNOWN, false, true, true, 9, 0},
     {{{KIN, false, false, false, 0, 1}, B}}, END(NONE), END(NONE), END(NONE), END(NONE)},
    {"newer", {UNKNOWN, false, true, true, 9, 0},
     {{{KIN, false, true, true, 10, 1}, B}}, END(NONE), END(NONE), END(NONE), END(NONE)},
    {"as new", {UNKNOWN, false, true, true, 9, 0},
     {{{KIN, false, true, true, 9, 1}, B}}, END(NONE), END(NONE), END(NONE), END(NONE)},
    {"older, from one", {UNKNOWN, false, true, true, 9, 0},
     {{{KIN, false, true, true, 8, 1}, H}}, END(WAITS), END(KEPT), END(KEPT), END(KEPT)},
    {"older, from one that answers often", {UNKNOWN, false, true, true, 9, 0},
     {{{KIN, false, true, true, 8, 1}, H}, {{KIN, false, true, true, 8, 1}, P},
      {{KIN, false, true, true, 8, 1}, P}, {{KIN, false, true, true, 8, 1}, P}},
     END(WAITS), END(KEPT), END(KEPT), END(KEPT)},
    {"older, from most", {UNKNOWN, false, true, true, 9, 0},
     {{{KIN, false, true, true, 7, 1}, H}, {{KIN, false, true, true, 8, 2}, H},
      {{KIN, false, true, true, 8, 3}, P}, {{KIN, false, true, true, 7, 4}, P}},
     END(WAITS), END(KEPT), END(BELIEVED), END(BELIEVED)},
    {"older, then newer", {UNKNOWN, false, true, true, 9, 0},
     {{{KIN, false, true, true, 8, 1}, H}, {{KIN, false, true, true, 9, 2}, B}},
     END(WAITS), END(KEPT), END(KEPT), END(KEPT)},
    {"minority that raised its epoch in vain", {UNKNOWN, false, true, true, 9, 0},
     {{{KIN, false, true, false, 50, 1}, H}, {{KIN, false, true, true, 9, 2}, B}},
     END(WAITS), END(BELIEVED), END(BELIEVED), END(BELIEVED)},
    {"back from a minority", {UNKNOWN, false, true, false, 50, 0},
     {{{KIN, false, true, true, 10, 1}, B}}, END(NONE), END(NONE), END(NONE), END(NONE)},
    {"all down", {UNKNOWN, false, true, false, 9, 0},
     {{{KIN, false, true, false, 9, 1}, B}}, END(NONE), END(NONE), END(NONE), END(NONE)},
    {"another's, from a seed", {UNKNOWN, false, true, true, 9, 0},
     {{{OTHER, true, true, true, 2, 1}, H}},
     END(WAITS), END(REPLACED), END(REPLACED), END(REPLACED)},
    {"another's, from a stranger", {UNKNOWN, false, true, true, 9, 0},
     {{{OTHER, false, true, true, 20, 1}, H}},
     END(WAITS), END(WAITS), END(REPLACED), END(REFUSED)},
    {"a stranger's, then a seed's", {UNKNOWN, false, true, true, 9, 0},
     {{{OTHER, false, true, true, 20, 1}, H}, {{OTHER, true, true, true, 1, 2}, H}},
     END(WAITS), END(REPLACED), END(REPLACED), END(REPLACED)},
    {"a seed's, then a stranger's", {UNKNOWN, false, true, true, 9, 0},
     {{{OTHER, true, true, true, 1, 2}, H}, {{OTHER, false, true, true, 20, 1}, P}},
     END(WAITS), END(REPLACED), END(REPLACED), END(REPLACED)},
    {"a seed's, while a known node lives", {UNKNOWN, false, true, true, 9, 0},
     {{{OTHER, true, true, true, 20, 1}, H}, {{KIN, false, true, true, 9, 2}, B}},
     END(WAITS), END(REPLACED), END(REPLACED), END(REPLACED)},
    {"a seed's, while one that is behind lives", {UNKNOWN, false, true, true, 9, 0},
     {{{OTHER, true, true, true, 20, 1}, H}, {{KIN, false, true, true, 8, 2}, H}},
     END(WAITS), END(KEPT), END(KEPT), END(KEPT)},
};
/* clang-format on */

static void expect_end(const scene *it, kw_map_trust *trust, uint64_t now_ns, bool is_over,
                       bool is_strict, kw_map_end end)
{
    kw_map_end found = kw_map_trust_end(trust, now_ns, is_over, is_strict, NODES);
    if (found != end) {
        fail_msg("%s: at %d, over %d, strict %d: %d", it->name, (int)now_ns, is_over, is_strict,
                 (int)found);
    }
}

static void test_scenes_of_maps(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
        const scene *it = &scenes[i];
        kw_map_trust trust;
        memset(&trust, 0, sizeof(trust));
        kw_map_trust_take(&trust, &it->in_use);
        kw_map_trust_begin(&trust);
        for (size_t k = 0; k < 6 && it->turns[k].said.witness != 0; k++) {
            kw_map_advice found = kw_map_trust_weigh(&trust, &it->turns[k].said, k, WAIT);
            if (found != it->turns[k].advice) {
                fail_msg("%s: turn %d: %d", it->name, (int)k, (int)found);
            }
        }
        expect_end(it, &trust, WAIT - 1, false, false, it->early);
        expect_end(it, &trust, WAIT, false, false, it->late);
        expect_end(it, &trust, WAIT, true, false, it->over);
        expect_end(it, &trust, WAIT, true, true, it->strict);
    }
}

/* Fetches that ask ten nodes each, of sixty, which all know an older map. first_of_fetch[i]: the
 * first of them; 0 ends it, -1 is a node that knows the map in use. */
static kw_map_end end_of_fetches(const int *first_of_fetch)
{
    const kw_map_said in_use = {UNKNOWN, false, true, true, 9, 0};
    kw_map_trust trust;
    memset(&trust, 0, sizeof(trust));
    kw_map_trust_take(&trust, &in_use);
    kw_map_end end = KW_MAP_END_NONE;
    for (const int *first = first_of_fetch; *first != 0; first++) {
        kw_map_trust_begin(&trust);
        if (*first < 0) {
            kw_map_trust_on_known(&trust);
            continue;
        }
        for (uint64_t i = 0; i < 10; i++) {
            kw_map_said said = {KIN, false, true, true, 8, (uint64_t)*first + i};
            assert_int_not_equal(kw_map_trust_weigh(&trust, &said, 0, WAIT), KW_MAP_BELIEVED);
        }
        assert_true(end == KW_MAP_END_NONE || end == KW_MAP_END_KEPT);
        end = kw_map_trust_end(&trust, WAIT, true, false, 60);
    }
    return end;
}

/* A large cluster that was put back to an earlier state: no fetch asks most of its nodes. */
static void test_older_map_of_most_is_believed_whichever_fetch_asked_them(void **state)
{
    (void)state;
    assert_int_equal(end_of_fetches((const int[]){1, 11, 21, 0}), KW_MAP_END_KEPT);
    assert_int_equal(end_of_fetches((const int[]){1, 11, 21, 31, 0}), KW_MAP_END_BELIEVED);
    assert_int_equal(end_of_fetches((const int[]){1, 1, 1, 1, 1, 1, 1, 0}), KW_MAP_END_KEPT);
    assert_int_equal(end_of_fetches((const int[]){1, 11, 21, -1, 31, 41, 51, 0}), KW_MAP_END_KEPT);
}

/* A node that did not answer may be a known one: strangers are believed after three fetches in a
 * row, and a fetch without one begins the row anew. */
static void test_strangers_beside_silence_are_believed_the_third_time(void **state)
{
    (void)state;
    const kw_map_said stranger = {OTHER, false, true, true, 20, 1};
    const kw_map_said kin = {KIN, false, true, true, 9, 2};
    static const struct {
        const char *fetches; /* s: a stranger and silence, o: a stranger alone, n: nobody, k: kin */
        kw_map_end end;
    } rows[] = {
        {"s", KW_MAP_END_WAITS},    {"ss", KW_MAP_END_WAITS},    {"sss", KW_MAP_END_REPLACED},
        {"o", KW_MAP_END_REPLACED}, {"so", KW_MAP_END_REPLACED}, {"ssnss", KW_MAP_END_WAITS},
        {"ssks", KW_MAP_END_WAITS}, {"nns", KW_MAP_END_WAITS},   {"ssnsss", KW_MAP_END_REPLACED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_map_trust trust;
        kw_map_end end = KW_MAP_END_NONE;
        memset(&trust, 0, sizeof(trust));
        for (const char *fetch = rows[i].fetches; *fetch != '\0'; fetch++) {
            kw_map_trust_begin(&trust);
            if (*fetch == 's' || *fetch == 'n') {
                kw_map_trust_on_silence(&trust);
            }
            if (*fetch == 's' || *fetch == 'o') {
                assert_int_equal(kw_map_trust_weigh(&trust, &stranger, 0, WAIT), KW_MAP_HELD);
            } else if (*fetch == 'k') {
                kw_map_trust_take(&trust, &kin);
            }
            assert_int_equal(kw_map_trust_end(&trust, WAIT, false, false, NODES),
                             trust.rank == 0 ? KW_MAP_END_NONE : KW_MAP_END_WAITS);
            end = kw_map_trust_end(&trust, WAIT, true, false, NODES);
        }
        if (end != rows[i].end) {
            fail_msg("%s: %d", rows[i].fetches, (int)end);
        }
    }
}

static void test_info_is_read_where_it_is_whole(void **state)
{
    (void)state;
    static const char whole[] = "cluster_enabled:1\r\ncluster_state:ok\r\n"
                                "cluster_slots_assigned:16384\r\ncluster_current_epoch:12\r\n";
    for (size_t len = 0; len <= sizeof(whole) - 1; len++) {
        kw_map_said said;
        memset(&said, 0, sizeof(said));
        kw_map_said_info(&said, (kw_bytes){whole, len});
        assert_true(!said.has_info || said.epoch == 12 || said.epoch == 1);
        assert_true(len < sizeof(whole) - 3 || (said.has_info && said.is_ok && said.epoch == 12));
    }
    kw_map_said said;
    memset(&said, 0, sizeof(said));
    kw_map_said_info(&said, kw_bytes_of("cluster_state:fail\r\ncluster_current_epoch:1"));
    assert_true(said.has_info && !said.is_ok);
}

/* Sentinels: what a fetch met, and whether the next one believes more. */
typedef struct round_row {
    size_t other_n, vain_n, asked_n, answered_n;
    bool has_stranger, is_strict;
    bool is_urgent, follows_other, follows_stranger;
} round_row;

static void test_scenes_of_sentinels(void **state)
{
    (void)state;
    static const round_row rows[] = {
        {0, 0, 3, 3, false, false, false, false, false},
        {3, 0, 3, 3, false, false, true, true, false},
        {3, 0, 3, 3, false, true, true, true, false},
        {1, 0, 3, 1, false, false, true, false, false}, /* the others may know better */
        {1, 1, 3, 2, false, false, false, false, false},
        {2, 1, 3, 3, false, false, true, true, false},
        {0, 0, 3, 0, true, false, true, false, true},
        {0, 0, 3, 0, true, true, false, false, false},
        {0, 0, 3, 1, true, false, false, false, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const round_row *row = &rows[i];
        kw_sentinel_trust trust;
        memset(&trust, 0, sizeof(trust));
        kw_sentinel_trust_begin(&trust);
        trust.other_n = row->other_n;
        trust.vain_n = row->vain_n;
        trust.has_stranger = row->has_stranger;
        bool is_urgent =
            kw_sentinel_trust_on_end(&trust, row->asked_n, row->answered_n, row->is_strict, 1);
        if (is_urgent != row->is_urgent || trust.follows_other != row->follows_other ||
            trust.follows_stranger != row->follows_stranger) {
            fail_msg("row %d", (int)i);
        }
    }
}

static void test_few_sentinels_are_believed_when_they_insist(void **state)
{
    (void)state;
    kw_sentinel_trust trust;
    memset(&trust, 0, sizeof(trust));
    kw_lineage known = {{1}, 1};
    kw_lineage other = {{2}, 1};
    assert_int_equal(kw_sentinel_trust_weigh(&trust, &known), KW_SENTINEL_BELIEVED);
    for (int i = 0; i < 3; i++) {
        kw_sentinel_trust_begin(&trust);
        assert_int_equal(kw_sentinel_trust_weigh(&trust, &other), KW_SENTINEL_DOUBTED);
        assert_true(kw_sentinel_trust_on_end(&trust, 3, 1, false, 1));
    }
    kw_sentinel_trust_begin(&trust);
    assert_int_equal(kw_sentinel_trust_weigh(&trust, &other), KW_SENTINEL_REPLACED);
    kw_sentinel_trust_on_success(&trust);
    assert_int_equal(kw_sentinel_trust_weigh(&trust, &other), KW_SENTINEL_BELIEVED);
    assert_int_equal(kw_sentinel_trust_weigh(&trust, &known), KW_SENTINEL_DOUBTED);
}

/* A replica that a sentinel still names has the known data: its group lives, and other data is not
 * believed before it has had its time to name the primary. */
static void test_replica_with_the_known_data_keeps_other_data_out(void **state)
{
    (void)state;
    kw_sentinel_trust trust;
    memset(&trust, 0, sizeof(trust));
    uint64_t now_ns = 1;
    for (int i = 0; i < 2; i++, now_ns += KW_SENTINEL_RELENT_NS - 1) {
        kw_sentinel_trust_begin(&trust);
        trust.other_n = 2;
        trust.vain_n = 1;
        trust.has_kin = true;
        assert_false(kw_sentinel_trust_on_end(&trust, 3, 3, false, now_ns));
        assert_false(trust.follows_other);
    }
    kw_sentinel_trust_begin(&trust);
    trust.other_n = 2;
    trust.vain_n = 1;
    trust.has_kin = true;
    assert_true(kw_sentinel_trust_on_end(&trust, 3, 3, false, now_ns));
    assert_true(trust.follows_other);
    kw_sentinel_trust_on_success(&trust);
    assert_int_equal(trust.kin_ns, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scenes_of_maps),
        cmocka_unit_test(test_older_map_of_most_is_believed_whichever_fetch_asked_them),
        cmocka_unit_test(test_strangers_beside_silence_are_believed_the_third_time),
        cmocka_unit_test(test_info_is_read_where_it_is_whole),
        cmocka_unit_test(test_scenes_of_sentinels),
        cmocka_unit_test(test_few_sentinels_are_believed_when_they_insist),
        cmocka_unit_test(test_replica_with_the_known_data_keeps_other_data_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

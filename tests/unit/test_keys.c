/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys among the arguments of commands, good, contradictory, and cut anywhere. */
#include "route/keys.h"

#include <keyway/keys.h>
#include <keyway/slot.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "route/command_table.h"
#include "support/check.h"

#define ARGS_MAX 32

/* Words of text, split at spaces; "''" is an empty word. */
static size_t split(kw_bytes *argv, const char *text)
{
    size_t argc = 0;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        assert_true(argc < ARGS_MAX);
        argv[argc].data = text;
        argv[argc].len = strncmp(text, "''", len) == 0 && len == 2 ? 0 : len;
        argc++;
        text += len;
        text += *text == ' ' ? 1 : 0;
    }
    return argc;
}

/* Positions as text, "1 3". */
static void show_positions(char *out, size_t out_len, const kw_keys *keys)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t r = 0; r < keys->ranges_n; r++) {
        for (size_t i = 0; i < keys->ranges[r].count; i++) {
            size_t position = keys->ranges[r].at + i * keys->ranges[r].step;
            int n = snprintf(out + at, out_len - at, "%s%zu", at > 0 ? " " : "", position);
            at += (size_t)n;
            assert_true(at < out_len);
        }
    }
}

typedef struct good_row {
    const char *text;
    const char *positions;
} good_row;

static const good_row good_rows[] = {
    {"GET k", "1"},
    {"get k extra", "1"},
    {"PING", ""},
    {"INFO server", ""},
    {"MGET a b c", "1 2 3"},
    {"MSET a 1 b 2", "1 3"},
    {"MSET a 1 b", "1 3"},
    {"MSET a", "1"},
    {"JSON.MSET a $ 1 b $ 2", "1 4"},
    {"JSON.MGET a b $", "1 2"},
    {"RENAME a b", "1 2"},
    {"LCS a b LEN", "1 2"},
    {"BLPOP a b 0", "1 2"},
    {"BLMOVE a b LEFT LEFT 0", "1 2"},
    {"BITOP AND d a b", "2 3 4"},
    {"PFMERGE d a b", "1 2 3"},
    {"OBJECT ENCODING k", "2"},
    {"MEMORY USAGE k SAMPLES 5", "2"},
    {"XGROUP CREATE s g $", "2"},
    {"EVAL x 2 a b c", "3 4"},
    {"EVAL x 0", ""},
    {"EVAL x 0 a", ""},
    {"FCALL_RO f 1 k", "3"},
    {"ZUNION 2 a b WEIGHTS 1 2", "2 3"},
    {"ZUNION 0", ""},
    {"ZUNIONSTORE d 2 a b", "1 3 4"},
    {"ZUNIONSTORE d 0", "1"},
    {"CMS.MERGE d 2 a b WEIGHTS 1 2", "1 3 4"},
    {"LMPOP 1 k LEFT", "2"},
    {"BLMPOP 0 2 a b LEFT", "3 4"},
    {"SINTERCARD 2 a b LIMIT 1", "2 3"},
    {"MSETEX 2 a 1 b 2 EX 10", "2 4"},
    {"SORT k", "1"},
    {"SORT k BY w_* LIMIT 0 5 GET x_* GET # DESC ALPHA STORE d", "1 14"},
    {"SORT k store a STORE b", "1 5"},
    {"SORT k BY STORE GET STORE", "1"},
    {"SORT k STORE", "1"},
    {"SORT_RO k GET x", "1"},
    {"GEORADIUS k 1 2 3 km", "1"},
    {"GEORADIUS k 1 2 3 km COUNT 3 ASC STORE d", "1 10"},
    {"GEORADIUS k 1 2 3 km storedist d", "1 7"},
    {"GEORADIUS k 1 2 3 km STORE", "1"},
    {"GEORADIUS k 1 2 3 km STORE a STOREDIST b", "1 9"},
    {"GEORADIUS k 1 2 3 km STOREDIST a ASC STORE b", "1 10"},
    {"GEORADIUSBYMEMBER k m 3 km STORE a STORE b", "1 8"},
    {"CLUSTERSCAN 0-{06S}-0 MATCH a* COUNT 10", "1"},
    {"XIDMPRECORD k producer 1 1-1", "1"},
    {"HIMPORT SET k fields 1 2", "2"},
    {"BLESS SET k NO-EVICT", "2"},
    {"BLMOVEM a b LEFT RIGHT 0 COUNT 3 OBO", "1 2"},
    {"BZMOVE a b MIN 0", "1 2"},
    {"ZMOVEMEMBER a b MEMBERS 1 m", "1 2"},
    {"SUNIONCARD 2 a b APPROX LIMIT 3", "2 3"},
    {"TS.NRANGE 2 a b 0 9", "2 3"},
    {"ARMSET k 0 a 5 b", "1"},
    {"GEORADIUSBYMEMBER k store 3 km STORE d", "1 6"},
    {"GEORADIUS_RO k 1 2 3 km", "1"},
    {"GEOSEARCHSTORE d k FROMMEMBER m BYRADIUS 1 km", "1 2"},
    {"XREAD STREAMS a 0", "2"},
    {"XREAD COUNT 2 BLOCK 5 streams a b 0 0", "6 7"},
    {"XREADGROUP GROUP streams streams STREAMS a >", "5"},
    {"XREADGROUP GROUP g c NOACK STREAMS STREAMS b > >", "6 7"},
    {"MIGRATE h 1 k 0 100", "3"},
    {"MIGRATE h 1 k 0 100 COPY AUTH pw", "3"},
    {"MIGRATE h 1 '' 0 100 REPLACE KEYS a b", "8 9"},
    {"MIGRATE h 1 '' 0 100 AUTH keys KEYS a", "9"},
    {"MIGRATE h 1 '' 0 100 AUTH2 keys keys keys a", "10"},
    {"MIGRATE h 1 '' 0 100", "3"},
    {"SPUBLISH channel message", "1"},
    {"SSUBSCRIBE a b", "1 2"},
    {"SUNSUBSCRIBE", ""},
    {"SUNSUBSCRIBE a", "1"},
    {"TS.MADD a 1 2 b 1 2", "1 4"},
    {"JSON.DEBUG MEMORY k $", "2"},
    {"CONFIG", ""},
};

static void test_keys_find_good_commands_gives_positions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_rows) / sizeof(good_rows[0]); i++) {
        kw_bytes argv[ARGS_MAX];
        size_t argc = split(argv, good_rows[i].text);
        const kw_command_info *command = kw_command_find(argv, argc);
        assert_non_null(command);
        kw_keys keys;
        kw_error error = KW_ERROR_INIT;
        char shown[128] = "";
        if (kw_keys_find(&keys, &error, command, argv, argc) == KW_OK) {
            show_positions(shown, sizeof(shown), &keys);
        }
        if (strcmp(shown, good_rows[i].positions) != 0 || error.code != KW_OK) {
            fprintf(stderr, "%s: %s\n", good_rows[i].text, error.text);
        }
        assert_int_equal(error.code, KW_OK);
        assert_string_equal(shown, good_rows[i].positions);
    }
}

typedef struct bad_row {
    const char *text;
    const char *part; /* of the error */
} bad_row;

static const bad_row bad_rows[] = {
    {"GET", "GET has too few arguments (0)"},
    {"RENAME a", "RENAME has too few"},
    {"MSET", "too few"},
    {"BLPOP 0", "too few"},
    {"BLPOP", "too few"},
    {"JSON.MGET k", "too few"},
    {"BITOP AND", "too few"},
    {"OBJECT ENCODING", "OBJECT ENCODING has too few"},
    {"EVAL x", "too few"},
    {"EVAL x -1 a", "EVAL: argument 2 is \"-1\""},
    {"EVAL x +1 a", "number of keys"},
    {"EVAL x '' a", "argument 2 is \"\""},
    {"EVAL x two a", "\"two\""},
    {"EVAL x 1.0 a", "\"1.0\""},
    {"EVAL x 3 a b", "promises 3 keys, and there is room for 2"},
    {"EVAL x 1", "room for 0"},
    {"EVAL x 9223372036854775808 a", "9223372036854775808"},
    {"EVAL x 18446744073709551615 a", "18446744073709551615"},
    {"EVAL x 18446744073709551616 a", "number of keys"},
    {"EVAL x 99999999999999999999999999 a", "number of keys"},
    {"ZUNIONSTORE d", "too few"},
    {"ZUNIONSTORE d 2 a", "room for 1"},
    {"MSETEX 3 a 1 b 2", "room for 2"},
    {"MSETEX 9223372036854775807 a 1", "room for 1"},
    {"LMPOP", "too few"},
    {"BLMPOP 0", "too few"},
    {"XREAD COUNT 2", "STREAMS is missing"},
    {"XREAD STREAMS", "0 arguments"},
    {"XREAD STREAMS a b 0", "3 arguments"},
    {"XREADGROUP GROUP STREAMS a >", "STREAMS is missing"},
    {"MIGRATE h 1", "too few"},
    {"MIGRATE h 1 '' 0 100 KEYS", "too few"},
    {"SORT", "too few"},
    {"GEORADIUS", "too few"},
    {"SPUBLISH", "too few"},
};

static void test_keys_find_contradicting_arguments_says_which(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_rows) / sizeof(bad_rows[0]); i++) {
        kw_bytes argv[ARGS_MAX];
        size_t argc = split(argv, bad_rows[i].text);
        const kw_command_info *command = kw_command_find(argv, argc);
        assert_non_null(command);
        kw_keys keys;
        kw_error error = KW_ERROR_INIT;
        assert_int_equal(kw_keys_find(&keys, &error, command, argv, argc), KW_ERR_KEYS);
        assert_int_equal(error.code, KW_ERR_KEYS);
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        if (strstr(error.text, bad_rows[i].part) == NULL) {
            fprintf(stderr, "%s: %s\n", bad_rows[i].text, error.text);
            fail();
        }
        assert_int_equal(kw_keys_find(&keys, NULL, command, argv, argc), KW_ERR_KEYS);
    }
}

/* Finds keys in argv, copied to memory of exactly its size, and checks every index. */
static void check_indices(const kw_command_info *command, const kw_bytes *argv, size_t argc)
{
    kw_bytes *exact = malloc(argc * sizeof(argv[0]));
    assert_non_null(exact);
    memcpy(exact, argv, argc * sizeof(argv[0]));
    kw_keys keys;
    kw_error error = KW_ERROR_INIT;
    kw_err err = kw_keys_find(&keys, &error, command, exact, argc);
    assert_true(err == KW_OK || err == KW_ERR_KEYS);
    assert_int_equal(error.code, err);
    if (err == KW_OK) {
        assert_true(keys.ranges_n <= KW_KEY_RANGES_MAX);
        for (size_t r = 0; r < keys.ranges_n; r++) {
            const kw_key_range *range = &keys.ranges[r];
            assert_true(range->at > 0 && range->count > 0 && range->step > 0);
            assert_true(range->at < argc);
            assert_true((range->count - 1) <= (argc - 1 - range->at) / range->step);
        }
        uint16_t slot;
        if (keys.ranges_n > 0 && kw_keys_slot(&slot, NULL, &keys) == KW_OK) {
            assert_true(slot < KW_SLOTS_N);
        }
    }
    kw_command_block_ms(command, exact, argc);
    free(exact);
}

static void test_keys_find_every_row_cut_anywhere_stays_inside(void **state)
{
    (void)state;
    static const char *const fillers[] = {"1",       "2",    "3",     "0",  "STORE", "STOREDIST",
                                          "STREAMS", "KEYS", "GROUP", "''", "BLOCK", "LIMIT"};
    for (size_t i = 0; i < kw_command_table_n; i++) {
        const kw_command_info *command = &kw_command_table[i];
        kw_bytes argv[ARGS_MAX];
        size_t words_n = split(argv, kw_command_row_name(command));
        for (size_t f = 0; f < sizeof(fillers) / sizeof(fillers[0]); f++) {
            for (size_t argc = words_n; argc < 14; argc++) {
                for (size_t k = words_n; k < argc; k++) {
                    split(&argv[k], fillers[f]);
                }
                check_indices(command, argv, argc);
            }
        }
    }
}

static void test_keys_find_good_commands_cut_anywhere_stay_inside(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_rows) / sizeof(good_rows[0]); i++) {
        kw_bytes argv[ARGS_MAX];
        size_t argc = split(argv, good_rows[i].text);
        const kw_command_info *command = kw_command_find(argv, argc);
        for (size_t n = 1; n <= argc; n++) {
            check_indices(command, argv, n);
        }
    }
}

static void test_keys_find_random_arguments_stay_inside(void **state)
{
    (void)state;
    static const char *const words[] = {
        "0",      "1",     "2",       "3",    "7",     "-1",    "18446744073709551615",
        "x",      "a",     "b",       "''",   "STORE", "store", "BY",
        "GET",    "LIMIT", "KEYS",    "AUTH", "COPY",  "AUTH2", "GROUP",
        "COUNT",  "NOACK", "STREAMS", "km",   "9.5",   "ASC",   "BLOCK",
        "WEIGHTS"};
    kw_random random;
    kw_random_init(&random, kw_test_seed("test_keys"));
    for (unsigned turn = 0; turn < 200000; turn++) {
        const kw_command_info *command =
            &kw_command_table[kw_random_below(&random, kw_command_table_n)];
        if (turn % 2 == 0) { /* half of them among the rows with options */
            command = kw_command_find(
                &(kw_bytes){turn % 4 == 0 ? "MIGRATE" : "XREADGROUP", turn % 4 == 0 ? 7 : 10}, 1);
        }
        kw_bytes argv[ARGS_MAX];
        size_t argc = split(argv, kw_command_row_name(command));
        for (size_t n = (size_t)kw_random_below(&random, 14); n > 0; n--) {
            split(&argv[argc++], words[kw_random_below(&random, sizeof(words) / sizeof(words[0]))]);
        }
        check_indices(command, argv, argc);
    }
}

static kw_err slot_of(uint16_t *slot, kw_error *error, const kw_bytes *argv, size_t argc)
{
    kw_keys keys;
    const kw_command_info *command = kw_command_find(argv, argc);
    assert_non_null(command);
    assert_int_equal(kw_keys_find(&keys, error, command, argv, argc), KW_OK);
    return kw_keys_slot(slot, error, &keys);
}

static void test_keys_slot_one_slot_gives_it(void **state)
{
    (void)state;
    static const char *const texts[] = {"GET {user}:1", "MSET {user}a 1 {user}b 2",
                                        "ZUNIONSTORE {user} 2 x{user} {user}y",
                                        "SORT {user} STORE z{user}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        kw_bytes argv[ARGS_MAX];
        size_t argc = split(argv, texts[i]);
        uint16_t slot;
        kw_error error = KW_ERROR_INIT;
        assert_int_equal(slot_of(&slot, &error, argv, argc), KW_OK);
        assert_int_equal(slot, kw_slot("user", 4));
    }
}

static void test_keys_slot_two_slots_names_the_keys(void **state)
{
    (void)state;
    static const char *const texts[] = {"MGET foo {foo}1 bar", "MSET foo 1 bar 2",
                                        "ZUNIONSTORE foo 2 {foo} bar", "RENAME foo bar"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        kw_bytes argv[ARGS_MAX];
        size_t argc = split(argv, texts[i]);
        uint16_t slot = 7;
        kw_error error = KW_ERROR_INIT;
        assert_int_equal(slot_of(&slot, &error, argv, argc), KW_ERR_CROSSSLOT);
        assert_int_equal(error.effect, KW_EFFECT_NONE);
        assert_non_null(strstr(error.text, "\"foo\" (slot 12182) and \"bar\" (slot 5061)"));
        assert_int_equal(slot, 7);
    }
}

static void test_keys_slot_long_binary_keys_are_cut_and_printable(void **state)
{
    (void)state;
    char a[5000];
    char b[5000];
    memset(a, '\n', sizeof(a));
    memset(b, 0xff, sizeof(b));
    kw_bytes argv[] = {kw_bytes_of("MGET"), {a, sizeof(a)}, {b, sizeof(b)}};
    uint16_t slot;
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(slot_of(&slot, &error, argv, 3), KW_ERR_CROSSSLOT);
    assert_non_null(strstr(error.text, "hash tag"));
    for (size_t i = 0; error.text[i] != '\0'; i++) {
        assert_true(error.text[i] >= ' ' && error.text[i] < 0x7f);
    }
}

static void test_command_keys_writes_what_fits_and_counts_all(void **state)
{
    (void)state;
    const char *argv[] = {"zunionstore", "d", "2", "a", "b"};
    size_t positions[4] = {9, 9, 9, 9};
    size_t n = 0;
    assert_int_equal(kw_command_keys((kw_argv){5, argv, NULL}, NULL, positions, 4, &n), KW_OK);
    assert_int_equal(n, 3);
    assert_int_equal(positions[0], 1);
    assert_int_equal(positions[1], 3);
    assert_int_equal(positions[2], 4);
    assert_int_equal(positions[3], 9);
    size_t two[3] = {9, 9, 9};
    assert_int_equal(kw_command_keys((kw_argv){5, argv, NULL}, NULL, two, 2, &n), KW_OK);
    assert_int_equal(n, 3);
    assert_int_equal(two[1], 3);
    assert_int_equal(two[2], 9);
    assert_int_equal(kw_command_keys((kw_argv){5, argv, NULL}, NULL, NULL, 0, &n), KW_OK);
    assert_int_equal(n, 3);
    const char *ping[] = {"PING"};
    assert_int_equal(kw_command_keys((kw_argv){1, ping, NULL}, NULL, NULL, 0, &n), KW_OK);
    assert_int_equal(n, 0);
}

static void test_command_keys_many_arguments_are_found(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    const char *argv[MANY];
    size_t argvlen[MANY];
    for (size_t i = 0; i < MANY; i++) {
        argv[i] = "mget\0";
        argvlen[i] = i == 0 ? 4 : 5;
    }
    size_t positions[MANY];
    size_t n = 0;
    assert_int_equal(kw_command_keys((kw_argv){MANY, argv, argvlen}, NULL, positions, MANY, &n),
                     KW_OK);
    assert_int_equal(n, MANY - 1);
    assert_int_equal(positions[MANY - 2], MANY - 1);
}

static void test_command_keys_wrong_arguments_write_nothing(void **state)
{
    (void)state;
    size_t n = 7;
    kw_error error = KW_ERROR_INIT;
    const char *unknown[] = {"NO\nSUCH", "k"};
    assert_int_equal(kw_command_keys((kw_argv){2, unknown, NULL}, &error, NULL, 0, &n),
                     KW_ERR_KEYS);
    assert_non_null(strstr(error.text, "NO\\x0aSUCH"));
    const char *evals[] = {"EVAL", "x", "5"};
    assert_int_equal(kw_command_keys((kw_argv){3, evals, NULL}, &error, NULL, 0, &n), KW_ERR_KEYS);
    const char *nulls[] = {"GET", NULL};
    assert_int_equal(kw_command_keys((kw_argv){2, nulls, NULL}, &error, NULL, 0, &n),
                     KW_ERR_ARGUMENT);
    size_t lens[] = {3, 0};
    assert_int_equal(kw_command_keys((kw_argv){0, nulls, NULL}, &error, NULL, 0, &n),
                     KW_ERR_ARGUMENT);
    assert_int_equal(kw_command_keys((kw_argv){-1, nulls, NULL}, &error, NULL, 0, &n),
                     KW_ERR_ARGUMENT);
    assert_int_equal(kw_command_keys((kw_argv){1, NULL, NULL}, &error, NULL, 0, &n),
                     KW_ERR_ARGUMENT);
    assert_int_equal(n, 7);
    assert_int_equal(kw_command_keys((kw_argv){2, nulls, lens}, &error, NULL, 0, &n), KW_OK);
    assert_int_equal(n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_find_good_commands_gives_positions),
        cmocka_unit_test(test_keys_find_contradicting_arguments_says_which),
        cmocka_unit_test(test_keys_find_every_row_cut_anywhere_stays_inside),
        cmocka_unit_test(test_keys_find_good_commands_cut_anywhere_stay_inside),
        cmocka_unit_test(test_keys_find_random_arguments_stay_inside),
        cmocka_unit_test(test_keys_slot_one_slot_gives_it),
        cmocka_unit_test(test_keys_slot_two_slots_names_the_keys),
        cmocka_unit_test(test_keys_slot_long_binary_keys_are_cut_and_printable),
        cmocka_unit_test(test_command_keys_writes_what_fits_and_counts_all),
        cmocka_unit_test(test_command_keys_many_arguments_are_found),
        cmocka_unit_test(test_command_keys_wrong_arguments_write_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

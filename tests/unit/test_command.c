/* SPDX-License-Identifier: BSD-3-Clause */
/* The command table: its index, its rows, and the time that commands block. */
#include "route/command.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "route/command_table.h"

#define ARGS_MAX 16

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

static const kw_command_info *find(const char *text)
{
    kw_bytes argv[ARGS_MAX];
    size_t argc = split(argv, text);
    return kw_command_find(argv, argc);
}

static void index_print(const uint16_t *index)
{
    for (size_t i = 0; i < KW_COMMAND_INDEX_N; i++) {
        fprintf(stderr, "%s%5u,%s", i % 12 == 0 ? "    " : " ", (unsigned)index[i],
                i % 12 == 11 || i + 1 == KW_COMMAND_INDEX_N ? "\n" : "");
    }
}

static void test_command_index_from_rows_is_the_stored_one(void **state)
{
    (void)state;
    uint16_t index[KW_COMMAND_INDEX_N] = {0};
    assert_true(kw_command_table_n < KW_COMMAND_INDEX_N * 3 / 4);
    for (size_t i = 0; i < kw_command_table_n; i++) {
        const kw_command_info *row = &kw_command_table[i];
        uint32_t at = kw_command_home(kw_command_hash(0, kw_command_row_name(row), row->name_len));
        while (index[at] != 0) {
            at = (at + 1) % KW_COMMAND_INDEX_N;
        }
        bool is_sub = strchr(kw_command_row_name(row), ' ') != NULL;
        index[at] = (uint16_t)((i + 1) | (is_sub ? KW_COMMAND_INDEX_SUB : 0));
    }
    if (memcmp(index, kw_command_index, sizeof(index)) != 0) {
        fprintf(stderr, "rows of command_table_index.c should be:\n");
        index_print(index);
        fail();
    }
}

static void test_command_rows_are_sorted_and_well_formed(void **state)
{
    (void)state;
    for (size_t i = 0; i < kw_command_table_n; i++) {
        const kw_command_info *row = &kw_command_table[i];
        assert_int_equal(strlen(kw_command_row_name(row)), row->name_len);
        assert_true(i == 0 || strcmp(kw_command_row_name(&kw_command_table[i - 1]),
                                     kw_command_row_name(row)) < 0);
        for (size_t k = 0; k < row->name_len; k++) {
            char c = kw_command_row_name(row)[k];
            assert_true(isupper((unsigned char)c) || isdigit((unsigned char)c) ||
                        strchr(" -._", c) != NULL);
        }
        const unsigned known = KW_COMMAND_READ | KW_COMMAND_WRITE | KW_COMMAND_BLOCKING |
                               KW_COMMAND_SCRIPT | KW_COMMAND_SESSION | KW_COMMAND_REFUSED;
        assert_int_equal(kw_command_flags(row) & ~known, 0);
        assert_false((row->flags & KW_COMMAND_READ) && (row->flags & KW_COMMAND_WRITE));
        assert_int_equal(row->block != KW_BLOCK_NEVER, (row->flags & KW_COMMAND_BLOCKING) != 0);
        assert_true(row->request <= KW_REQUEST_SPECIAL);
        assert_true(row->response <= KW_RESPONSE_SPECIAL);
        assert_true(row->block <= KW_BLOCK_OPTION);
    }
}

static void test_command_rows_have_keys_where_they_are_routed_by_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < kw_command_table_n; i++) {
        const kw_command_info *row = &kw_command_table[i];
        bool has_keys = row->keys.finder != KW_KEYS_NONE;
        bool by_keys = row->request == KW_REQUEST_KEYED || row->request == KW_REQUEST_MULTI_SHARD;
        assert_int_equal(has_keys, by_keys);
        assert_true(row->keys.finder <= KW_KEYS_MIGRATE);
        if (has_keys) {
            assert_true(row->keys.first > 0 && row->keys.step > 0);
        }
        if (row->keys.finder == KW_KEYS_RANGE && row->keys.last >= 0) {
            assert_true(row->keys.last >= row->keys.first);
        }
    }
}

static void test_command_rows_with_subcommand_have_a_container(void **state)
{
    (void)state;
    const kw_command_info *used = NULL;
    for (size_t i = 0; i < kw_command_table_n; i++) {
        const kw_command_info *row = &kw_command_table[i];
        const char *space = strchr(kw_command_row_name(row), ' ');
        if (space != NULL) {
            kw_bytes word = {kw_command_row_name(row), (size_t)(space - kw_command_row_name(row))};
            used = kw_command_find(&word, 1);
            assert_non_null(used);
            assert_true(used->flags & KW_COMMAND_HAS_SUBCOMMANDS);
        } else if (row->flags & KW_COMMAND_HAS_SUBCOMMANDS) {
            assert_int_equal(
                strncmp(kw_command_row_name(&row[1]), kw_command_row_name(row), row->name_len), 0);
        }
    }
}

static void test_command_find_every_name_in_any_case_gives_its_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < kw_command_table_n; i++) {
        const kw_command_info *row = &kw_command_table[i];
        char text[KW_COMMAND_NAME_MAX + 1];
        for (unsigned turn = 0; turn < 3; turn++) {
            for (size_t k = 0; k <= row->name_len; k++) {
                bool is_lower = turn == 1 || (turn == 2 && k % 2 == 0);
                text[k] = is_lower ? (char)tolower((unsigned char)kw_command_row_name(row)[k])
                                   : kw_command_row_name(row)[k];
            }
            assert_ptr_equal(find(text), row);
        }
        assert_string_equal(kw_command_name(row), kw_command_row_name(row));
    }
}

static void test_command_find_unknown_gives_null(void **state)
{
    (void)state;
    static const char *const unknown[] = {
        "",
        "''",
        "GE",
        "GETT",
        "NOSUCHCOMMAND",
        "OBJECT NOSUCH key",
        "OBJECT ''",
        "CONFIG GETX",
        "CONFIG|GET",
        "EVAL\x7fRO s 0",
        "G\xc5T",
        "JSON\x0eGET k",
        "CLUSTER COUNT-FAILURE-REPORTSX n",
        "AVERYLONGNAMETHATISLONGERTHANANYCOMMANDOFTHETABLE",
        "CONFIG AVERYLONGNAMETHATISLONGERTHANANYCOMMANDOFTHETABLE",
    };
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        assert_null(find(unknown[i]));
    }
    assert_null(kw_command_find(NULL, 0));
    kw_bytes whole[] = {kw_bytes_of("OBJECT ENCODING"), kw_bytes_of("key")};
    assert_null(kw_command_find(whole, 2));
    kw_bytes zero = {"GET\0", 4};
    assert_null(kw_command_find(&zero, 1));
    kw_bytes empty = {NULL, 0};
    assert_null(kw_command_find(&empty, 1));
}

/* By each row in place of the one before it: what is found is never another one. */
static void test_command_find_like_is_as_without_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < kw_command_table_n; i++) {
        const char *name = kw_command_row_name(&kw_command_table[i]);
        kw_bytes argv[ARGS_MAX];
        size_t argc = split(argv, name);
        kw_bytes whole[] = {kw_bytes_of(name), kw_bytes_of("key")};
        for (size_t k = 0; k < kw_command_table_n; k++) {
            const kw_command_info *like = &kw_command_table[k];
            assert_ptr_equal(kw_command_find_like(like, argv, argc), kw_command_find(argv, argc));
            assert_ptr_equal(kw_command_find_like(like, whole, 2), kw_command_find(whole, 2));
        }
    }
    const kw_command_info *get = find("GET");
    kw_bytes key = {"gEt", 3};
    assert_ptr_equal(kw_command_find_like(get, &key, 1), get);
    assert_ptr_equal(kw_command_find_like(NULL, &key, 1), get);
    assert_null(kw_command_find_like(get, NULL, 0));
}

static void test_command_find_container_alone_has_no_flags_and_keys(void **state)
{
    (void)state;
    const kw_command_info *row = find("config");
    assert_non_null(row);
    assert_string_equal(kw_command_name(row), "CONFIG");
    assert_int_equal(kw_command_flags(row), 0);
    assert_int_equal(kw_command_request(row), KW_REQUEST_ANY);
    row = find("command");
    assert_string_equal(kw_command_name(row), "COMMAND");
    assert_int_equal(kw_command_flags(row), KW_COMMAND_READ);
    assert_string_equal(kw_command_name(find("command docs get")), "COMMAND DOCS");
}

typedef struct policy_row {
    const char *text;
    unsigned flags;
    kw_request_policy request;
    kw_response_policy response;
} policy_row;

static void test_command_flags_and_policies_are_as_known(void **state)
{
    (void)state;
    const unsigned READ = KW_COMMAND_READ;
    const unsigned WRITE = KW_COMMAND_WRITE;
    const unsigned SESSION = KW_COMMAND_SESSION;
    const unsigned BLOCKING = KW_COMMAND_BLOCKING;
    const policy_row rows[] = {
        {"get", READ, KW_REQUEST_KEYED, KW_RESPONSE_DEFAULT_KEYED},
        {"incr", WRITE, KW_REQUEST_KEYED, KW_RESPONSE_DEFAULT_KEYED},
        {"mget", READ, KW_REQUEST_MULTI_SHARD, KW_RESPONSE_DEFAULT_KEYED},
        {"mset", WRITE, KW_REQUEST_MULTI_SHARD, KW_RESPONSE_ALL_SUCCEEDED},
        {"msetnx", WRITE, KW_REQUEST_KEYED, KW_RESPONSE_DEFAULT_KEYED},
        {"del", WRITE, KW_REQUEST_MULTI_SHARD, KW_RESPONSE_AGG_SUM},
        {"dbsize", READ, KW_REQUEST_ALL_SHARDS, KW_RESPONSE_AGG_SUM},
        {"keys *", READ, KW_REQUEST_ALL_SHARDS, KW_RESPONSE_DEFAULT_KEYLESS},
        {"script exists a", READ, KW_REQUEST_ALL_SHARDS, KW_RESPONSE_AGG_LOGICAL_AND},
        {"function kill", 0, KW_REQUEST_ALL_SHARDS, KW_RESPONSE_ONE_SUCCEEDED},
        {"scan 0", READ, KW_REQUEST_SPECIAL, KW_RESPONSE_SPECIAL},
        {"eval x 0", KW_COMMAND_SCRIPT, KW_REQUEST_KEYED, KW_RESPONSE_DEFAULT_KEYED},
        {"exec", KW_COMMAND_SCRIPT | SESSION, KW_REQUEST_ANY, KW_RESPONSE_DEFAULT_KEYLESS},
        {"wait 1 0", SESSION | BLOCKING, KW_REQUEST_ALL_SHARDS, KW_RESPONSE_AGG_MIN},
        {"blpop k 0", WRITE | BLOCKING, KW_REQUEST_KEYED, KW_RESPONSE_DEFAULT_KEYED},
        {"bzmove a b min 0", WRITE | BLOCKING, KW_REQUEST_KEYED, KW_RESPONSE_DEFAULT_KEYED},
        {"himport prepare f a", SESSION, KW_REQUEST_ANY, KW_RESPONSE_DEFAULT_KEYLESS},
        {"himport set k f 1", WRITE, KW_REQUEST_KEYED, KW_RESPONSE_DEFAULT_KEYED},
        {"bless scan 0 no-evict", READ, KW_REQUEST_SPECIAL, KW_RESPONSE_SPECIAL},
        {"client reply off", SESSION | KW_COMMAND_REFUSED, KW_REQUEST_ANY,
         KW_RESPONSE_DEFAULT_KEYLESS},
        {"publish c m", 0, KW_REQUEST_ANY, KW_RESPONSE_DEFAULT_KEYLESS},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const kw_command_info *command = find(rows[i].text);
        assert_non_null(command);
        assert_int_equal(kw_command_flags(command), rows[i].flags);
        assert_int_equal(kw_command_request(command), rows[i].request);
        assert_int_equal(kw_command_response(command), rows[i].response);
    }
}

typedef struct block_row {
    const char *text;
    uint64_t block_ms;
} block_row;

static void test_command_block_ms_is_read_from_the_arguments(void **state)
{
    (void)state;
    static const block_row rows[] = {
        {"GET k", 0},
        {"BLPOP k 5", 5000},
        {"blpop a b c 0.25", 250},
        {"BLPOP k .5", 500},
        {"BLPOP k 3.", 3000},
        {"BLPOP k 0.0001", 1},
        {"BLPOP k 1.0005", 1001},
        {"BLPOP k 1.0000", 1000},
        {"BLPOP k 0", UINT64_MAX},
        {"BLPOP k 0.000", UINT64_MAX},
        {"BLPOP k -1", UINT64_MAX},
        {"BLPOP k 1e3", UINT64_MAX},
        {"BLPOP k 1.2.3", UINT64_MAX},
        {"BLPOP k ''", UINT64_MAX},
        {"BLPOP k soon", UINT64_MAX},
        {"BLPOP k 9223372036854775", UINT64_MAX},
        {"BLPOP k 9223372036854773", UINT64_C(9223372036854773000)},
        {"BLPOP k 99999999999999999999999", UINT64_MAX},
        {"BLPOP", 0},
        {"BLMOVE a b LEFT RIGHT 2", 2000},
        {"BLMPOP 7 1 k LEFT", 7000},
        {"BZMPOP 0 1 k MIN COUNT 5", UINT64_MAX},
        {"BZPOPMIN a b 1", 1000},
        {"BLMOVEM a b LEFT RIGHT 2", 2000},
        {"BLMOVEM a b LEFT RIGHT 0.5 COUNT 3 OBO", 500},
        {"BLMOVEM a b LEFT RIGHT", 0},
        {"BZMOVE a b MIN 3", 3000},
        {"BZMOVE a b MAX 0 COUNT 7", UINT64_MAX},
        {"TS.READ k 0", 0},
        {"TS.READ k 0 BLOCK 250 3 MAX_COUNT 9", 250},
        {"WAIT 1 100", 100},
        {"WAIT 1 0", UINT64_MAX},
        {"WAITAOF 1 1 50", 50},
        {"XREAD STREAMS s 0", 0},
        {"XREAD COUNT 2 BLOCK 300 STREAMS s 0", 300},
        {"xread block 0 streams s 0", UINT64_MAX},
        {"XREAD STREAMS BLOCK 100", 0},
        {"XREADGROUP GROUP block 5 BLOCK 9 STREAMS s >", 9},
        {"XREADGROUP GROUP g block STREAMS s >", 0},
        {"XREAD BLOCK", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_bytes argv[ARGS_MAX];
        size_t argc = split(argv, rows[i].text);
        const kw_command_info *command = kw_command_find(argv, argc);
        assert_non_null(command);
        uint64_t block_ms = kw_command_block_ms(command, argv, argc);
        if (block_ms != rows[i].block_ms) {
            fprintf(stderr, "%s\n", rows[i].text);
        }
        assert_int_equal(block_ms, rows[i].block_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_index_from_rows_is_the_stored_one),
        cmocka_unit_test(test_command_rows_are_sorted_and_well_formed),
        cmocka_unit_test(test_command_rows_have_keys_where_they_are_routed_by_keys),
        cmocka_unit_test(test_command_rows_with_subcommand_have_a_container),
        cmocka_unit_test(test_command_find_every_name_in_any_case_gives_its_row),
        cmocka_unit_test(test_command_find_unknown_gives_null),
        cmocka_unit_test(test_command_find_like_is_as_without_it),
        cmocka_unit_test(test_command_find_container_alone_has_no_flags_and_keys),
        cmocka_unit_test(test_command_flags_and_policies_are_as_known),
        cmocka_unit_test(test_command_block_ms_is_read_from_the_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

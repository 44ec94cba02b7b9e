/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands over many slots, split and joined again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdint.h>
#include <cmocka.h>

#include "route/slot.h"
#include "route/split.h"
#include "support/check.h"

#include <string.h>

#define ARGS_MAX 16

/* One split command with its words. */
typedef struct fixture {
    kw_bytes argv[ARGS_MAX];
    size_t argc;
    const kw_command_info *command;
    kw_keys keys;
    kw_split split;
} fixture;

static void words(fixture *it, const char *const *list)
{
    it->argc = 0;
    while (list[it->argc] != NULL) {
        it->argv[it->argc] = kw_bytes_of(list[it->argc]);
        it->argc++;
    }
    it->command = kw_command_find(it->argv, it->argc);
    assert_non_null(it->command);
    assert_int_equal(kw_keys_find(&it->keys, NULL, it->command, it->argv, it->argc), KW_OK);
}

static void start(fixture *it, const char *const *list)
{
    words(it, list);
    assert_true(kw_split_can(it->command, &it->keys, it->argc));
    assert_int_equal(kw_split_init(&it->split, kw_mem_default(), &it->keys, NULL), KW_OK);
}

/* The part of a key, by its number in the command. */
static size_t part_of(const fixture *it, size_t key)
{
    for (size_t i = 0; i < it->split.parts_n; i++) {
        const kw_split_part *part = &it->split.parts[i];
        for (size_t k = 0; k < part->count; k++) {
            if (it->split.order[part->at + k] == key) {
                return i;
            }
        }
    }
    fail_msg("no part has key %zu", key);
    return 0;
}

static kw_reply *reply_of(kw_reply_kind kind, long long number, const char *text)
{
    kw_reply *reply = kw_reply_new(kw_mem_default(), 0);
    if (text != NULL) {
        assert_true(kw_reply_set_string(reply, reply, kind, kw_bytes_of(text)));
    } else {
        kw_reply_set_integer(reply, kind, number);
    }
    return reply;
}

/* What a server would answer to MGET: each key's name as its value; "nil" is missing. */
static kw_reply *mget_of(const fixture *it, size_t index)
{
    const kw_split_part *part = &it->split.parts[index];
    kw_reply *reply = kw_reply_new(kw_mem_default(), 0);
    assert_true(kw_reply_set_array(reply, reply, KW_REPLY_ARRAY, part->count));
    for (size_t i = 0; i < part->count; i++) {
        kw_bytes key = it->argv[1 + it->split.order[part->at + i]];
        if (!kw_bytes_equal(key, kw_bytes_of("nil"))) {
            assert_true(kw_reply_set_string(reply, kw_reply_slot(reply, i), KW_REPLY_STRING, key));
        }
    }
    return reply;
}

static void test_split_mget_groups_by_slot_and_joins_in_order(void **state)
{
    (void)state;
    static const char *const list[] = {"mget", "a", "{x}1", "nil", "{x}2", "a", "", NULL};
    fixture it;
    start(&it, list);
    kw_split_result results[ARGS_MAX] = {{NULL, NULL}};
    assert_int_equal(part_of(&it, 0), part_of(&it, 4)); /* duplicates stay together */
    assert_int_equal(part_of(&it, 1), part_of(&it, 3)); /* one tag, one part */
    for (size_t i = 0; i < it.split.parts_n; i++) {
        const kw_split_part *part = &it.split.parts[i];
        for (size_t k = 0; k < part->count; k++) {
            kw_bytes key = it.argv[1 + it.split.order[part->at + k]];
            assert_int_equal(kw_slot_of(key.data, key.len), part->slot);
        }
        results[i].reply = mget_of(&it, i);
    }
    kw_reply *joined;
    assert_int_equal(kw_split_join(&joined, &it.split, it.command, results), KW_OK);
    assert_int_equal(kw_reply_count(joined), 6);
    for (size_t i = 0; i < 6; i++) {
        if (i == 2) {
            assert_true(kw_reply_is_nil(kw_reply_at(joined, i)));
        } else {
            assert_string_equal(kw_reply_str(kw_reply_at(joined, i), NULL), list[i + 1]);
        }
    }
    for (size_t i = 0; i < it.split.parts_n; i++) {
        kw_reply_free((kw_reply *)(uintptr_t)results[i].reply);
    }
    kw_reply_free(joined);
    kw_split_fini(&it.split);
}

/* MSETEX has the number of its keys before them and options behind, which go with each part; with a
 * condition it is one command. */
static void test_split_msetex_keeps_its_options(void **state)
{
    (void)state;
    static const char *const list[] = {"MSETEX", "3", "a",  "1",  "{x}1", "2",
                                       "{x}2",   "3", "EX", "10", NULL};
    static const char *const conditional[] = {"MSETEX", "2",  "a", "1",  "b",
                                              "2",      "EX", "9", "nx", NULL};
    fixture it;
    start(&it, list);
    assert_int_equal(it.split.parts_n, 2);
    kw_split_result results[ARGS_MAX] = {{NULL, NULL}};
    for (size_t i = 0; i < 2; i++) {
        bool is_a = part_of(&it, 0) == i;
        size_t argc = kw_split_gather(&it.split, &it.split.parts[i]);
        static const char *const words_of[2][9] = {
            {"MSETEX", "2", "{x}1", "2", "{x}2", "3", "EX", "10"},
            {"MSETEX", "1", "a", "1", "EX", "10"}};
        assert_int_equal(argc, is_a ? 6 : 8);
        for (size_t k = 0; k < argc; k++) {
            assert_true(kw_bytes_equal(it.split.scratch[k], kw_bytes_of(words_of[is_a][k])));
        }
        results[i].reply = reply_of(KW_REPLY_INTEGER, 1, NULL);
    }
    kw_reply *joined;
    assert_int_equal(kw_split_join(&joined, &it.split, it.command, results), KW_OK);
    assert_int_equal(kw_reply_type(joined), KW_REPLY_INTEGER);
    assert_int_equal(kw_reply_int(joined), 1);
    kw_reply_free(joined);
    kw_reply_free((kw_reply *)(uintptr_t)results[0].reply);
    results[0].reply = NULL;
    results[0].text = "lost";
    assert_int_equal(kw_split_join(&joined, &it.split, it.command, results), KW_OK);
    assert_true(kw_reply_is_error(joined));
    assert_int_equal(kw_reply_count(joined), 3);
    kw_reply_free(joined);
    kw_reply_free((kw_reply *)(uintptr_t)results[1].reply);
    kw_split_fini(&it.split);
    words(&it, conditional);
    assert_false(kw_split_can(it.command, &it.keys, it.argc));
}

/* Each key once, slots in their order, and keys of one slot in the caller's. */
static void test_split_many_keys_are_in_order(void **state)
{
    enum { KEYS_N = 3000 };
    static char names[KEYS_N][16];
    static kw_bytes argv[KEYS_N + 1];
    (void)state;
    argv[0] = kw_bytes_of("MGET");
    for (size_t i = 0; i < KEYS_N; i++) {
        sprintf(names[i], "{%zu}%zu", i * i % 2003, i);
        argv[i + 1] = kw_bytes_of(names[i]);
    }
    for (size_t n = 1; n <= KEYS_N; n = n * 3 + 1) {
        static bool seen[KEYS_N];
        kw_keys keys = {argv, 1, {{1, n, 1}}, n + 1};
        kw_split split;
        memset(seen, 0, sizeof(seen));
        assert_int_equal(kw_split_init(&split, kw_mem_default(), &keys, NULL), KW_OK);
        size_t at = 0;
        for (size_t i = 0; i < split.parts_n; i++) {
            const kw_split_part *part = &split.parts[i];
            assert_true(i == 0 || split.parts[i - 1].slot < part->slot);
            assert_int_equal(part->at, at);
            for (size_t k = 0; k < part->count; k++, at++) {
                uint32_t key = split.order[at];
                assert_true(k == 0 || split.order[at - 1] < key);
                assert_int_equal(kw_slot_of(argv[key + 1].data, argv[key + 1].len), part->slot);
                assert_false(seen[key]);
                seen[key] = true;
            }
        }
        assert_int_equal(at, n);
        kw_split_fini(&split);
    }
}

static kw_reply *sink_text(const kw_reply_sink *sink, const char *text)
{
    for (size_t i = 0; i < sink->count; i++) {
        kw_reply *element = kw_reply_slot(sink->root, sink->places[i]);
        assert_true(kw_reply_set_string(sink->root, element, KW_REPLY_STRING, kw_bytes_of(text)));
    }
    return kw_reply_sunk();
}

static void test_split_sunk_parts_are_in_their_places(void **state)
{
    static const char *const list[] = {"MGET", "a", "b", "c", "a", NULL};
    fixture it;
    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        start(&it, list);
        assert_true(kw_split_open(&it.split, it.command));
        kw_split_result results[3];
        kw_reply *own = mget_of(&it, part_of(&it, 1));
        size_t a = part_of(&it, 0);
        size_t c = part_of(&it, 2);
        results[a] = (kw_split_result){sink_text(kw_split_sink(&it.split, a), "sunk"), NULL};
        results[part_of(&it, 1)] = (kw_split_result){own, NULL};
        (void)sink_text(kw_split_sink(&it.split, c), "an earlier try");
        kw_reply *last = fails ? NULL : mget_of(&it, c);
        results[c] = (kw_split_result){last, "lost"};
        kw_reply *joined;
        assert_int_equal(kw_split_join(&joined, &it.split, it.command, results), KW_OK);
        assert_int_equal(kw_reply_type(joined), fails ? KW_REPLY_ERROR : KW_REPLY_ARRAY);
        assert_int_equal(kw_reply_count(joined), 4);
        assert_string_equal(kw_reply_str(kw_reply_at(joined, 0), NULL), "sunk");
        assert_string_equal(kw_reply_str(kw_reply_at(joined, 1), NULL), "b");
        assert_string_equal(kw_reply_str(kw_reply_at(joined, 2), NULL), fails ? "lost" : "c");
        assert_string_equal(kw_reply_str(kw_reply_at(joined, 3), NULL), "sunk");
        kw_split_fini(&it.split);
        kw_reply_free(joined);
        kw_reply_free(own);
        kw_reply_free(last);
    }
}

static void test_split_mset_part_has_keys_with_their_values(void **state)
{
    (void)state;
    static const char *const list[] = {"MSET", "{x}1", "v1", "b", "v2", "{x}1", "v3", NULL};
    fixture it;
    start(&it, list);
    assert_int_equal(it.split.parts_n, 2);
    kw_buf buf;
    kw_buf_init(&buf, kw_mem_default(), NULL, 0);
    assert_true(kw_split_encode(&it.split, &buf, &it.split.parts[part_of(&it, 0)]));
    static const char expected[] = "*5\r\n$4\r\nMSET\r\n$4\r\n{x}1\r\n$2\r\nv1\r\n"
                                   "$4\r\n{x}1\r\n$2\r\nv3\r\n";
    assert_int_equal(buf.len, sizeof(expected) - 1);
    assert_memory_equal(buf.data, expected, buf.len);
    kw_buf_fini(&buf);
    kw_split_fini(&it.split);
}

static void test_split_sums_and_statuses_are_joined(void **state)
{
    (void)state;
    static const char *const del[] = {"DEL", "a", "b", "c", NULL};
    static const char *const mset[] = {"MSET", "a", "1", "b", "2", NULL};
    fixture it;
    start(&it, del);
    assert_int_equal(it.split.parts_n, 3);
    kw_reply *one = reply_of(KW_REPLY_INTEGER, 1, NULL);
    kw_split_result ones[] = {{one, NULL}, {one, NULL}, {one, NULL}};
    kw_reply *joined;
    assert_int_equal(kw_split_join(&joined, &it.split, it.command, ones), KW_OK);
    assert_int_equal(kw_reply_int(joined), 3);
    kw_reply_free(joined);
    kw_split_fini(&it.split);
    start(&it, mset);
    kw_reply *ok = reply_of(KW_REPLY_STATUS, 0, "OK");
    kw_split_result oks[] = {{ok, NULL}, {ok, NULL}};
    assert_int_equal(kw_split_join(&joined, &it.split, it.command, oks), KW_OK);
    assert_int_equal(kw_reply_type(joined), KW_REPLY_STATUS);
    assert_string_equal(kw_reply_str(joined, NULL), "OK");
    kw_reply_free(joined);
    kw_reply_free(ok);
    kw_reply_free(one);
    kw_split_fini(&it.split);
}

static void test_split_failed_part_is_told_for_each_key(void **state)
{
    (void)state;
    static const char *const list[] = {"MGET", "a", "b", "c", NULL};
    fixture it;
    start(&it, list);
    size_t bad = part_of(&it, 1);
    size_t lost = part_of(&it, 2);
    kw_reply *good = mget_of(&it, part_of(&it, 0));
    kw_reply *error = reply_of(KW_REPLY_ERROR, 0, "NOPERM no");
    kw_split_result results[3];
    results[part_of(&it, 0)] = (kw_split_result){good, NULL};
    results[bad] = (kw_split_result){error, NULL};
    results[lost] = (kw_split_result){NULL, "deadline reached"};
    kw_reply *joined;
    assert_int_equal(kw_split_join(&joined, &it.split, it.command, results), KW_OK);
    assert_true(kw_reply_is_error(joined));
    assert_non_null(strstr(kw_reply_str(joined, NULL), "PARTIAL 2 of 3 keys"));
    assert_int_equal(kw_reply_count(joined), 3);
    assert_string_equal(kw_reply_str(kw_reply_at(joined, 0), NULL), "a");
    assert_true(kw_reply_is_error(kw_reply_at(joined, 1)));
    assert_string_equal(kw_reply_str(kw_reply_at(joined, 1), NULL), "NOPERM no");
    assert_string_equal(kw_reply_str(kw_reply_at(joined, 2), NULL), "deadline reached");
    kw_reply_free(joined);
    /* A reply of another kind, or with too few elements, is no value. */
    results[lost] = (kw_split_result){good, NULL};
    results[bad] = (kw_split_result){joined = reply_of(KW_REPLY_INTEGER, 7, NULL), NULL};
    kw_reply *number = joined;
    assert_int_equal(kw_split_join(&joined, &it.split, it.command, results), KW_OK);
    assert_true(kw_reply_is_error(joined));
    kw_reply_free(joined);
    kw_reply_free(number);
    kw_reply_free(good);
    kw_reply_free(error);
    kw_split_fini(&it.split);
}

static void test_split_numbers_of_the_parts_that_worked_are_told(void **state)
{
    (void)state;
    static const char *const list[] = {"EXISTS", "a", "{x}1", "b", "{x}2", "{y}1", "{y}2", NULL};
    fixture it;
    start(&it, list);
    kw_reply *one = reply_of(KW_REPLY_INTEGER, 1, NULL);
    kw_reply *two = reply_of(KW_REPLY_INTEGER, 2, NULL);
    kw_reply *none = reply_of(KW_REPLY_INTEGER, 0, NULL);
    kw_split_result results[4] = {{NULL, NULL}};
    size_t x = part_of(&it, 1);
    assert_int_equal(it.split.parts_n, 4);
    results[part_of(&it, 0)] = (kw_split_result){none, NULL};
    results[part_of(&it, 2)] = (kw_split_result){NULL, "lost"};
    results[part_of(&it, 4)] = (kw_split_result){two, NULL};
    results[x] = (kw_split_result){one, NULL}; /* of two keys: which of them is not known */
    kw_reply *joined;
    assert_int_equal(kw_split_join(&joined, &it.split, it.command, results), KW_OK);
    assert_string_equal(kw_reply_str(joined, NULL),
                        "PARTIAL 1 of 6 keys failed, the others count 3, the first with: lost");
    assert_int_equal(kw_reply_int(joined), 3);
    static const int kinds[] = {KW_REPLY_INTEGER, KW_REPLY_STATUS,  KW_REPLY_ERROR,
                                KW_REPLY_STATUS,  KW_REPLY_INTEGER, KW_REPLY_INTEGER};
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(kw_reply_type(kw_reply_at(joined, i)), kinds[i]);
        assert_int_equal(kw_reply_int(kw_reply_at(joined, i)), i >= 4);
    }
    kw_reply_free(joined);
    kw_reply_free(none);
    kw_reply_free(one);
    kw_reply_free(two);
    kw_split_fini(&it.split);
}

static void test_split_only_what_can_be_is(void **state)
{
    (void)state;
    static const char *const odd[] = {"MSET", "a", "1", "b", NULL};
    static const char *const sinter[] = {"SINTER", "a", "b", NULL};
    fixture it;
    words(&it, sinter);
    assert_false(kw_split_can(it.command, &it.keys, it.argc));
    it.argc = 4;
    for (size_t i = 0; i < 4; i++) {
        it.argv[i] = kw_bytes_of(odd[i]);
    }
    it.command = kw_command_find(it.argv, it.argc);
    assert_true(kw_keys_find(&it.keys, NULL, it.command, it.argv, it.argc) != KW_OK ||
                !kw_split_can(it.command, &it.keys, it.argc));
}

static void test_split_each_allocation_failing_leaks_nothing(void **state)
{
    (void)state;
    static const char *const list[] = {"MGET", "a", "b", "c", NULL};
    fixture it;
    words(&it, list);
    bool is_done = false;
    for (unsigned long k = 1; !is_done; k++) {
        kw_test_memory memory;
        kw_test_memory_init(&memory, k);
        kw_err code = kw_split_init(&it.split, &memory.allocator, &it.keys, NULL);
        if (code == KW_OK) {
            kw_reply *value = reply_of(KW_REPLY_ERROR, 0, "ERR no");
            kw_split_result results[] = {{value, NULL}, {value, NULL}, {value, NULL}};
            kw_reply *joined = NULL;
            code = kw_split_join(&joined, &it.split, it.command, results);
            is_done = code == KW_OK;
            kw_reply_free(joined);
            kw_reply_free(value);
            kw_split_fini(&it.split);
        }
        assert_true(is_done || code == KW_ERR_NOMEM);
        assert_int_equal(kw_test_memory_live(&memory), 0);
        assert_true(k < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_mget_groups_by_slot_and_joins_in_order),
        cmocka_unit_test(test_split_msetex_keeps_its_options),
        cmocka_unit_test(test_split_many_keys_are_in_order),
        cmocka_unit_test(test_split_sunk_parts_are_in_their_places),
        cmocka_unit_test(test_split_mset_part_has_keys_with_their_values),
        cmocka_unit_test(test_split_sums_and_statuses_are_joined),
        cmocka_unit_test(test_split_failed_part_is_told_for_each_key),
        cmocka_unit_test(test_split_numbers_of_the_parts_that_worked_are_told),
        cmocka_unit_test(test_split_only_what_can_be_is),
        cmocka_unit_test(test_split_each_allocation_failing_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Replies in arenas and pools: made, copied, freed, without memory. */
#include "base/reply.h"

#include <keyway/hiredis.h>

#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/check.h"

static void test_reply_null_reads_as_nothing(void **state)
{
    (void)state;
    size_t len = 9;
    assert_int_equal(kw_reply_type(NULL), KW_REPLY_NONE);
    assert_false(kw_reply_is_error(NULL));
    assert_false(kw_reply_is_nil(NULL));
    assert_null(kw_reply_str(NULL, &len));
    assert_int_equal(len, 0);
    assert_null(kw_reply_str(NULL, NULL));
    assert_int_equal(kw_reply_int(NULL), 0);
    assert_int_equal(kw_reply_count(NULL), 0);
    assert_null(kw_reply_at(NULL, 0));
    assert_null(kw_reply_hiredis(NULL));
    assert_int_equal(kw_reply_bytes(NULL).len, 0);
    kw_reply_free(NULL);
}

static void test_reply_numbers_of_kinds_are_hiredis_own(void **state)
{
    (void)state;
    assert_int_equal(KW_REPLY_STRING, REDIS_REPLY_STRING);
    assert_int_equal(KW_REPLY_ARRAY, REDIS_REPLY_ARRAY);
    assert_int_equal(KW_REPLY_INTEGER, REDIS_REPLY_INTEGER);
    assert_int_equal(KW_REPLY_NIL, REDIS_REPLY_NIL);
    assert_int_equal(KW_REPLY_STATUS, REDIS_REPLY_STATUS);
    assert_int_equal(KW_REPLY_ERROR, REDIS_REPLY_ERROR);
}

static void test_reply_new_is_nil_in_one_allocation(void **state)
{
    (void)state;
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    kw_reply *reply = kw_reply_new(&memory.allocator, 32);
    assert_true(kw_reply_is_nil(reply));
    assert_int_equal(kw_reply_type(reply), KW_REPLY_NIL);
    assert_null(kw_reply_str(reply, NULL));
    assert_true(kw_reply_set_string(reply, reply, KW_REPLY_STRING, kw_bytes_of("0123456789")));
    assert_int_equal(kw_test_memory_calls(&memory), 1);
    kw_reply_free(reply);
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

static void test_reply_strings_hold_any_bytes(void **state)
{
    (void)state;
    kw_reply *reply = kw_reply_new(kw_mem_default(), 0);
    kw_bytes bytes = {"a\0b", 3};
    size_t len;
    assert_true(kw_reply_set_string(reply, reply, KW_REPLY_STRING, bytes));
    assert_memory_equal(kw_reply_str(reply, &len), "a\0b", 4);
    assert_int_equal(len, 3);
    kw_bytes empty = {NULL, 0};
    assert_true(kw_reply_set_string(reply, reply, KW_REPLY_ERROR, empty));
    assert_true(kw_reply_is_error(reply));
    assert_string_equal(kw_reply_str(reply, &len), "");
    assert_int_equal(len, 0);
    kw_reply_free(reply);
}

static void test_reply_written_again_keeps_nothing(void **state)
{
    (void)state;
    kw_reply *reply = kw_reply_new(kw_mem_default(), 0);
    assert_true(kw_reply_set_string(reply, reply, KW_REPLY_STRING, kw_bytes_of("text")));
    kw_reply_set_integer(reply, KW_REPLY_INTEGER, -5);
    assert_null(kw_reply_str(reply, NULL));
    assert_int_equal(kw_reply_int(reply), -5);
    assert_true(kw_reply_set_array(reply, reply, KW_REPLY_ARRAY, 3));
    assert_int_equal(kw_reply_int(reply), 0);
    assert_true(kw_reply_set_string(reply, reply, KW_REPLY_STATUS, kw_bytes_of("OK")));
    assert_int_equal(kw_reply_count(reply), 0);
    assert_null(kw_reply_at(reply, 0));
    kw_reply_free(reply);
}

static void test_reply_arrays_start_with_nils(void **state)
{
    (void)state;
    kw_reply *root = kw_reply_new(kw_mem_default(), 0);
    assert_true(kw_reply_set_array(root, root, KW_REPLY_ARRAY, 2));
    assert_int_equal(kw_reply_count(root), 2);
    assert_true(kw_reply_is_nil(kw_reply_at(root, 0)));
    assert_null(kw_reply_at(root, 2));
    assert_null(kw_reply_at(root, SIZE_MAX));
    kw_reply *inner = kw_reply_slot(root, 1);
    assert_true(kw_reply_set_array(root, inner, KW_REPLY_SET, 0));
    assert_int_equal(kw_reply_type(kw_reply_at(root, 1)), KW_REPLY_SET);
    assert_int_equal(kw_reply_count(inner), 0);
    assert_null(kw_reply_at(inner, 0));
    kw_reply_free(root);
}

static void test_reply_has_no_element_beyond_what_was_announced(void **state)
{
    (void)state;
    kw_reply *root = kw_reply_new(kw_mem_default(), 0);
    assert_true(kw_reply_begin_array(root, root, KW_REPLY_MAP, 2));
    assert_non_null(kw_reply_next_slot(root, root, 0));
    assert_non_null(kw_reply_next_slot(root, root, 1));
    for (size_t i = 2; i < 100; i++) {
        assert_null(kw_reply_next_slot(root, root, i));
    }
    kw_reply_free(root);
}

static void test_reply_tree_is_what_hiredis_sees(void **state)
{
    (void)state;
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    enum { ROWS = 500 };
    kw_reply *root = kw_reply_new(&memory.allocator, 0);
    assert_true(kw_reply_set_array(root, root, KW_REPLY_ARRAY, ROWS));
    for (size_t i = 0; i < ROWS; i++) {
        char text[32];
        snprintf(text, sizeof(text), "value %zu", i);
        kw_reply *row = kw_reply_slot(root, i);
        assert_true(kw_reply_set_array(root, row, KW_REPLY_ARRAY, 2));
        assert_true(
            kw_reply_set_string(root, kw_reply_slot(row, 0), KW_REPLY_STRING, kw_bytes_of(text)));
        kw_reply_set_integer(kw_reply_slot(row, 1), KW_REPLY_INTEGER, (long long)i);
    }
    const redisReply *seen = kw_reply_hiredis(root);
    assert_int_equal(seen->elements, ROWS);
    for (size_t i = 0; i < ROWS; i++) {
        char text[32];
        snprintf(text, sizeof(text), "value %zu", i);
        assert_string_equal(seen->element[i]->element[0]->str, text);
        assert_int_equal(seen->element[i]->element[0]->len, strlen(text));
        assert_int_equal(seen->element[i]->element[1]->integer, (long long)i);
    }
    assert_true(kw_test_memory_calls(&memory) < 20);
    kw_reply_free(root);
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

static void test_reply_alloc_is_aligned_and_apart(void **state)
{
    (void)state;
    kw_reply *root = kw_reply_new(kw_mem_default(), 100);
    char *last = NULL;
    for (size_t len = 0; len < 3000; len += 37) {
        char *block = kw_reply_alloc(root, len);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % alignof(max_align_t), 0);
        memset(block, (int)(len % 251), len);
        if (last != NULL) {
            assert_int_equal((unsigned char)last[0], (len - 37) % 251);
        }
        last = len > 0 ? block : NULL;
    }
    kw_reply_free(root);
}

static void test_reply_sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    assert_null(kw_reply_new(&memory.allocator, SIZE_MAX));
    assert_null(kw_reply_new(&memory.allocator, SIZE_MAX - 64));
    kw_reply *root = kw_reply_new(&memory.allocator, 0);
    unsigned long calls = kw_test_memory_calls(&memory);
    kw_bytes huge = {"x", SIZE_MAX};
    assert_null(kw_reply_alloc(root, SIZE_MAX));
    assert_null(kw_reply_alloc(root, SIZE_MAX - 15));
    assert_false(kw_reply_set_array(root, root, KW_REPLY_ARRAY, SIZE_MAX / 8));
    assert_false(kw_reply_set_string(root, root, KW_REPLY_STRING, huge));
    assert_true(kw_reply_is_nil(root));
    assert_int_equal(kw_test_memory_calls(&memory), calls);
    kw_reply_free(root);
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

static void test_reply_without_memory_stays_as_it_was(void **state)
{
    (void)state;
    char text[2000];
    memset(text, 'x', sizeof(text));
    kw_bytes bytes = {text, sizeof(text)};
    for (unsigned long k = 1; k <= 4; k++) {
        kw_test_memory memory;
        kw_test_memory_init(&memory, k);
        kw_reply *root = kw_reply_new(&memory.allocator, 0);
        if (root != NULL) {
            bool has_array = kw_reply_set_array(root, root, KW_REPLY_ARRAY, 100);
            assert_int_equal(kw_reply_count(root), has_array ? 100 : 0);
            assert_true(has_array || kw_reply_is_nil(root));
            if (has_array &&
                !kw_reply_set_string(root, kw_reply_slot(root, 0), KW_REPLY_STRING, bytes)) {
                assert_true(kw_reply_is_nil(kw_reply_at(root, 0)));
            }
        }
        kw_reply_free(root);
        assert_int_equal(kw_test_memory_live(&memory), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reply_null_reads_as_nothing),
        cmocka_unit_test(test_reply_numbers_of_kinds_are_hiredis_own),
        cmocka_unit_test(test_reply_new_is_nil_in_one_allocation),
        cmocka_unit_test(test_reply_strings_hold_any_bytes),
        cmocka_unit_test(test_reply_written_again_keeps_nothing),
        cmocka_unit_test(test_reply_arrays_start_with_nils),
        cmocka_unit_test(test_reply_has_no_element_beyond_what_was_announced),
        cmocka_unit_test(test_reply_tree_is_what_hiredis_sees),
        cmocka_unit_test(test_reply_alloc_is_aligned_and_apart),
        cmocka_unit_test(test_reply_sizes_that_overflow_are_refused),
        cmocka_unit_test(test_reply_without_memory_stays_as_it_was),
    };
    return cmocka_run_group_tests_name("reply", tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Borrowed bytes and the growing buffer: compared, split, shown, read as numbers. */
#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/check.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static kw_bytes text_of(const char *text)
{
    return kw_bytes_of(text);
}

static void test_bytes_of_null_is_empty(void **state)
{
    (void)state;
    assert_int_equal(kw_bytes_of(NULL).len, 0);
    assert_int_equal(kw_bytes_of("").len, 0);
    assert_int_equal(kw_bytes_of("abc").len, 3);
}

static void test_bytes_equal_sees_every_byte(void **state)
{
    (void)state;
    kw_bytes null = {NULL, 0};
    kw_bytes with_zero = {"a\0b", 3};
    kw_bytes other_zero = {"a\0c", 3};
    assert_true(kw_bytes_equal(null, text_of("")));
    assert_true(kw_bytes_equal(with_zero, with_zero));
    assert_false(kw_bytes_equal(with_zero, other_zero));
    assert_false(kw_bytes_equal(with_zero, text_of("a")));
    assert_false(kw_bytes_equal(text_of("a"), text_of("A")));
}

static void test_bytes_equal_nocase_folds_ascii_letters_only(void **state)
{
    (void)state;
    assert_true(kw_bytes_equal_nocase(text_of("GeT"), text_of("gEt")));
    assert_true(kw_bytes_equal_nocase(text_of(""), text_of("")));
    assert_false(kw_bytes_equal_nocase(text_of("get"), text_of("gets")));
    assert_false(kw_bytes_equal_nocase(text_of("@"), text_of("`")));
    assert_false(kw_bytes_equal_nocase(text_of("["), text_of("{")));
    assert_false(kw_bytes_equal_nocase(text_of("\xc4"), text_of("\xe4")));
}

static void test_bytes_starts_with_prefix(void **state)
{
    (void)state;
    kw_bytes null = {NULL, 0};
    assert_true(kw_bytes_starts(text_of("MOVED 1"), "MOVED "));
    assert_true(kw_bytes_starts(text_of("x"), ""));
    assert_true(kw_bytes_starts(null, ""));
    assert_false(kw_bytes_starts(text_of("MOV"), "MOVED"));
    assert_false(kw_bytes_starts(null, "a"));
}

static void test_bytes_split_at_first_and_last(void **state)
{
    (void)state;
    kw_bytes head = text_of("untouched");
    kw_bytes tail = text_of("untouched");
    assert_false(kw_bytes_split(&head, &tail, text_of("abc"), ':'));
    assert_false(kw_bytes_split_last(&head, &tail, text_of(""), ':'));
    assert_true(kw_bytes_equal(head, text_of("untouched")));
    assert_true(kw_bytes_equal(tail, text_of("untouched")));
    assert_true(kw_bytes_split(&head, &tail, text_of("a:b:c"), ':'));
    assert_true(kw_bytes_equal(head, text_of("a")));
    assert_true(kw_bytes_equal(tail, text_of("b:c")));
    assert_true(kw_bytes_split_last(&head, &tail, text_of("a:b:c"), ':'));
    assert_true(kw_bytes_equal(head, text_of("a:b")));
    assert_true(kw_bytes_equal(tail, text_of("c")));
    assert_true(kw_bytes_split(&head, &tail, text_of(":"), ':'));
    assert_int_equal(head.len, 0);
    assert_int_equal(tail.len, 0);
    /* The pieces may be written over the whole. */
    kw_bytes rest = text_of("x,y,z");
    assert_true(kw_bytes_split(&head, &rest, rest, ','));
    assert_true(kw_bytes_split(&head, &rest, rest, ','));
    assert_true(kw_bytes_equal(head, text_of("y")));
    assert_true(kw_bytes_equal(rest, text_of("z")));
}

static void test_bytes_to_uint_takes_plain_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t max;
        uint64_t value;
    } rows[] = {
        {"0", 0, 0},
        {"000", 0, 0},
        {"1", 1, 1},
        {"0000000000000000000000012", 12, 12},
        {"65535", 65535, 65535},
        {"18446744073709551615", UINT64_MAX, UINT64_MAX},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t value = 7;
        assert_true(kw_bytes_to_uint(&value, text_of(rows[i].text), rows[i].max));
        assert_true(value == rows[i].value);
    }
}

static void test_bytes_to_uint_refuses_all_else(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t max;
    } rows[] = {
        {"", 9},
        {"1", 0},
        {"10", 9},
        {"-1", 9},
        {"+1", 9},
        {" 1", 9},
        {"1 ", 9},
        {"1a", 99},
        {"0x1", 99},
        {"1.", 99},
        {"65536", 65535},
        {"18446744073709551616", UINT64_MAX},
        {"99999999999999999999999", UINT64_MAX},
        {"\xb2", 9},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t value = 7;
        assert_false(kw_bytes_to_uint(&value, text_of(rows[i].text), rows[i].max));
        assert_true(value == 7);
    }
    kw_bytes with_zero = {"1\0", 2};
    uint64_t value = 7;
    assert_false(kw_bytes_to_uint(&value, with_zero, 99));
}

static void test_bytes_show_makes_printable(void **state)
{
    (void)state;
    kw_bytes bytes = {"a\0\r\"\\\x7f\xff~ ", 9};
    char out[64];
    assert_ptr_equal(kw_bytes_show(out, sizeof(out), bytes), out);
    assert_string_equal(out, "a\\x00\\x0d\\x22\\x5c\\x7f\\xff~ ");
    kw_bytes null = {NULL, 0};
    assert_string_equal(kw_bytes_show(out, sizeof(out), null), "");
}

static void test_bytes_show_cut_at_every_length(void **state)
{
    (void)state;
    static const char *const whole[] = {"abcdefghij", "\n\n\n", "ab\ncd", "a\n"};
    for (size_t i = 0; i < COUNT(whole); i++) {
        char full[64];
        kw_bytes_show(full, sizeof(full), text_of(whole[i]));
        for (size_t len = 1; len <= strlen(full) + 1; len++) {
            char out[64];
            memset(out, 'X', sizeof(out));
            kw_bytes_show(out, len, text_of(whole[i]));
            assert_true(strlen(out) < len);
            assert_int_equal(out[len], 'X');
            if (len > strlen(full)) {
                assert_string_equal(out, full);
            } else if (len >= sizeof("...")) {
                size_t kept = strlen(out) - 3;
                assert_string_equal(out + kept, "...");
                assert_memory_equal(out, full, kept);
            }
        }
    }
}

static void test_buf_grows_from_lent_memory(void **state)
{
    (void)state;
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    char lent[8];
    kw_buf buf;
    kw_buf_init(&buf, &memory.allocator, lent, sizeof(lent));
    assert_true(kw_buf_append(&buf, "12345678", 8));
    assert_ptr_equal(buf.data, lent);
    assert_true(kw_buf_append(&buf, NULL, 0));
    assert_int_equal(kw_test_memory_calls(&memory), 0);
    assert_true(kw_buf_append(&buf, "9", 1));
    assert_ptr_not_equal(buf.data, lent);
    assert_memory_equal(buf.data, "123456789", 9);
    for (int i = 0; i < 1000; i++) {
        assert_true(kw_buf_append(&buf, "abc", 3));
    }
    assert_int_equal(buf.len, 3009);
    assert_memory_equal(buf.data, "123456789abc", 12);
    assert_memory_equal(buf.data + 3006, "abc", 3);
    assert_true(kw_test_memory_calls(&memory) < 12);
    kw_buf_fini(&buf);
    assert_int_equal(kw_test_memory_live(&memory), 0);
    assert_int_equal(buf.len, 0);
    kw_buf_fini(&buf);
}

static void test_buf_without_lent_memory_starts_empty(void **state)
{
    (void)state;
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    kw_buf buf;
    kw_buf_init(&buf, &memory.allocator, NULL, 0);
    assert_true(kw_buf_reserve(&buf, 0));
    assert_int_equal(kw_test_memory_calls(&memory), 0);
    assert_true(kw_buf_append(&buf, "x", 1));
    assert_memory_equal(buf.data, "x", 1);
    kw_buf_fini(&buf);
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

static void test_buf_failure_keeps_what_was_there(void **state)
{
    (void)state;
    kw_test_memory memory;
    kw_test_memory_init(&memory, 2);
    char lent[2];
    kw_buf buf;
    kw_buf_init(&buf, &memory.allocator, lent, sizeof(lent));
    assert_true(kw_buf_append(&buf, "abc", 3));
    assert_false(kw_buf_append(&buf, "0123456789", 10));
    assert_int_equal(buf.len, 3);
    assert_memory_equal(buf.data, "abc", 3);
    assert_false(kw_buf_reserve(&buf, SIZE_MAX));
    assert_false(kw_buf_reserve(&buf, SIZE_MAX - 2));
    assert_int_equal(buf.len, 3);
    assert_true(kw_buf_append(&buf, "0123456789", 10));
    assert_memory_equal(buf.data, "abc0123456789", 13);
    kw_buf_fini(&buf);
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

static void test_uint_to_text_writes_digits(void **state)
{
    (void)state;
    static const uint64_t values[] = {0, 1, 9, 10, 99, 100, 16383, 65535, UINT64_MAX};
    for (size_t i = 0; i < COUNT(values); i++) {
        char out[21];
        memset(out, 'X', sizeof(out));
        size_t n = kw_uint_to_text(out, values[i]);
        char expected[32];
        snprintf(expected, sizeof(expected), "%llu", (unsigned long long)values[i]);
        assert_int_equal(n, strlen(expected));
        assert_memory_equal(out, expected, n);
        assert_int_equal(out[n], 'X');
    }
}

static void test_bytes_fields_of_info_are_taken_one_by_one(void **state)
{
    (void)state;
    kw_bytes rest = kw_bytes_of("# Server\r\nrun_id:a:b\r\n\r\nempty:\nno field\r\nlast:1");
    static const char *const fields[][2] = {{"run_id", "a:b"}, {"empty", ""}, {"last", "1"}};
    kw_bytes name;
    kw_bytes value;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        assert_true(kw_bytes_next_field(&name, &value, &rest));
        assert_true(kw_bytes_equal(name, kw_bytes_of(fields[i][0])));
        assert_true(kw_bytes_equal(value, kw_bytes_of(fields[i][1])));
    }
    assert_false(kw_bytes_next_field(&name, &value, &rest));
    assert_false(kw_bytes_next_field(&name, &value, &rest));
}

static void test_texts_are_found_by_index_and_by_value(void **state)
{
    (void)state;
    static const char texts[] = "one\0\0three";
    assert_string_equal(kw_texts_at(texts, 0), "one");
    assert_string_equal(kw_texts_at(texts, 1), "");
    assert_string_equal(kw_texts_at(texts, 2), "three");
    assert_int_equal(kw_texts_find(texts, 3, kw_bytes_of("one")), 0);
    assert_int_equal(kw_texts_find(texts, 3, kw_bytes_of("")), 1);
    assert_int_equal(kw_texts_find(texts, 3, kw_bytes_of("three")), 2);
    assert_int_equal(kw_texts_find(texts, 3, kw_bytes_of("thre")), 3);
    assert_int_equal(kw_texts_find(texts, 2, kw_bytes_of("three")), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_are_found_by_index_and_by_value),
        cmocka_unit_test(test_bytes_fields_of_info_are_taken_one_by_one),
        cmocka_unit_test(test_bytes_of_null_is_empty),
        cmocka_unit_test(test_bytes_equal_sees_every_byte),
        cmocka_unit_test(test_bytes_equal_nocase_folds_ascii_letters_only),
        cmocka_unit_test(test_bytes_starts_with_prefix),
        cmocka_unit_test(test_bytes_split_at_first_and_last),
        cmocka_unit_test(test_bytes_to_uint_takes_plain_numbers),
        cmocka_unit_test(test_bytes_to_uint_refuses_all_else),
        cmocka_unit_test(test_bytes_show_makes_printable),
        cmocka_unit_test(test_bytes_show_cut_at_every_length),
        cmocka_unit_test(test_buf_grows_from_lent_memory),
        cmocka_unit_test(test_buf_without_lent_memory_starts_empty),
        cmocka_unit_test(test_buf_failure_keeps_what_was_there),
        cmocka_unit_test(test_uint_to_text_writes_digits),
    };
    return cmocka_run_group_tests_name("bytes", tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Formats become arguments: by hiredis' rules, compared with hiredis itself. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/format.h"
#include "base/resp.h"
#include "support/check.h"

#include <hiredis.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static kw_err format(kw_args *args, kw_error *error, const char *text, ...)
{
    va_list values;
    va_start(values, text);
    kw_err code = kw_args_format(args, error, text, values);
    va_end(values);
    return code;
}

/* Encodes by both and compares the bytes. */
static void same_as_hiredis(const char *text, ...)
{
    va_list values;
    va_list again;
    va_start(values, text);
    va_copy(again, values);
    char *expected = NULL;
    int expected_len = redisvFormatCommand(&expected, text, values);
    kw_args args;
    kw_args_init(&args, kw_mem_default());
    kw_error error = KW_ERROR_INIT;
    kw_err code = kw_args_format(&args, &error, text, again);
    if (code != KW_OK) {
        fail_msg("\"%s\": %s", text, error.text);
    }
    kw_buf encoded;
    kw_buf_init(&encoded, kw_mem_default(), NULL, 0);
    assert_true(kw_resp_append(&encoded, args.argv, args.argc));
    assert_true(expected_len > 0);
    assert_int_equal(encoded.len, expected_len);
    assert_memory_equal(encoded.data, expected, encoded.len);
    kw_buf_fini(&encoded);
    kw_args_fini(&args);
    redisFreeCommand(expected);
    va_end(again);
    va_end(values);
}

static void test_format_supported_forms_equal_hiredis(void **state)
{
    (void)state;
    same_as_hiredis("PING");
    same_as_hiredis("  GET   key  ");
    same_as_hiredis("SET %s %s", "key with spaces", "");
    same_as_hiredis("SET %b %b", "a\0b", (size_t)3, "", (size_t)0);
    same_as_hiredis("SET pre:%s:post %d", "x", -42);
    same_as_hiredis("SET %s%s %%", "a", "b");
    same_as_hiredis("LPUSH k %d %i %u %x %X %o", 1, -2, 3u, 0xabcu, 0xABCu, 8u);
    same_as_hiredis("SET k %08.3f", 3.14159);
    same_as_hiredis("SET k %e", 1e100);
    same_as_hiredis("SET k %g", 0.5);
    same_as_hiredis("SET k %ld", 1234567890123L);
    same_as_hiredis("SET k %lld", -1234567890123456789LL);
    same_as_hiredis("SET k %llu", UINT64_C(18446744073709551615));
    same_as_hiredis("SET k %hd", (int)(short)-7);
    same_as_hiredis("SET k %hhd", (int)(signed char)-7);
    same_as_hiredis("SET k %+5d", 7);
    same_as_hiredis("SET k 100%");
}

static void test_format_many_and_long_arguments_are_whole(void **state)
{
    (void)state;
    static char large[100000];
    memset(large, 'x', sizeof(large) - 1);
    same_as_hiredis("MSET %s %s %s %s", "k1", large, "k2", large);
    same_as_hiredis("RPUSH k 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 %s", "z");
}

/* printf's own way to say double, which hiredis does not know. */
static void test_format_long_double_letters_are_doubles(void **state)
{
    (void)state;
    kw_args args;
    kw_args_init(&args, kw_mem_default());
    assert_int_equal(format(&args, NULL, "SET %s %.2lf %lg", "k", 1.5, 0.25), KW_OK);
    assert_int_equal(args.argc, 4);
    assert_int_equal(args.argv[2].len, 4);
    assert_memory_equal(args.argv[2].data, "1.50", 4);
    assert_memory_equal(args.argv[3].data, "0.25", 4);
    kw_args_fini(&args);
}

typedef struct bad_row {
    const char *text;
    const char *says;
} bad_row;

static void test_format_wrong_ones_name_the_place(void **state)
{
    (void)state;
    static const bad_row rows[] = {
        {"", "format"},
        {"   ", "format"},
        {"SET k %y", "character 7"},
        {"SET k %s", "NULL"},
        {"SET k %n", "character 7"},
        {"SET k %999999999d", "character 7"},
        {"SET k %Lf", "character 7"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_args args;
        kw_args_init(&args, kw_mem_default());
        kw_error error = KW_ERROR_INIT;
        assert_int_equal(format(&args, &error, rows[i].text, NULL), KW_ERR_ARGUMENT);
        if (strstr(error.text, rows[i].says) == NULL) {
            fail_msg("\"%s\" says \"%s\"", rows[i].text, error.text);
        }
        assert_int_equal(args.argc, 0);
        kw_args_fini(&args);
    }
}

static void test_format_each_allocation_failing_leaks_nothing(void **state)
{
    (void)state;
    static char large[4000];
    memset(large, 'x', sizeof(large) - 1);
    bool is_done = false;
    for (unsigned long k = 1; !is_done; k++) {
        kw_test_memory memory;
        kw_test_memory_init(&memory, k);
        kw_args args;
        kw_args_init(&args, &memory.allocator);
        kw_err code = format(&args, NULL, "a b c d e f g h i j k l m n o p q r s %s", large);
        is_done = code == KW_OK;
        assert_true(is_done || code == KW_ERR_NOMEM);
        kw_args_fini(&args);
        assert_int_equal(kw_test_memory_live(&memory), 0);
        assert_true(k < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_supported_forms_equal_hiredis),
        cmocka_unit_test(test_format_many_and_long_arguments_are_whole),
        cmocka_unit_test(test_format_long_double_letters_are_doubles),
        cmocka_unit_test(test_format_wrong_ones_name_the_place),
        cmocka_unit_test(test_format_each_allocation_failing_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

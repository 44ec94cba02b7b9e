/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers, fields, codes and outcomes that programs read from replies. */
#include <locale.h>
#include <limits.h>
#include <math.h>

#include "unit/reply_text.h"

static void test_reply_values_kinds_have_names(void **state)
{
    (void)state;
    for (int kind = KW_REPLY_NONE; kind <= KW_REPLY_VERB; kind++) {
        assert_string_not_equal(kw_reply_kind_name((kw_reply_kind)kind), "?");
    }
    assert_string_equal(kw_reply_kind_name(KW_REPLY_MAP), "map");
    assert_string_equal(kw_reply_kind_name((kw_reply_kind)15), "?");
    assert_string_equal(kw_reply_kind_name((kw_reply_kind)-1), "?");
}

static void test_reply_values_code_is_the_first_word_of_an_error(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"!'WRONGTYPE Operation against a key'", "WRONGTYPE"},
        {"!'ERR'", "ERR"},
        {"!'MOVED 1 h:1'", "MOVED"},
        {"!'oops, no code'", ""},
        {"!'Err later'", ""},
        {"!''", ""},
        {"'WRONGTYPE as a value'", NULL},
        {"nil", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_reply *reply = reply_of(rows[i][0]);
        size_t len = 99;
        const char *code = kw_reply_code(reply, &len);
        if (rows[i][1] == NULL) {
            assert_null(code);
            assert_int_equal(len, 0);
            assert_false(kw_reply_has_code(reply, "WRONGTYPE"));
        } else {
            assert_int_equal(len, strlen(rows[i][1]));
            assert_memory_equal(code, rows[i][1], len);
            assert_int_equal(kw_reply_has_code(reply, rows[i][1]), len > 0);
            assert_false(kw_reply_has_code(reply, "WRONG"));
        }
        assert_ptr_equal(kw_reply_code(reply, NULL), code);
        kw_reply_free(reply);
    }
    assert_null(kw_reply_code(NULL, NULL));
    assert_false(kw_reply_has_code(NULL, "ERR"));
}

typedef struct int_row {
    const char *text;
    const char *said; /* NULL: it is a number */
    long long value;
} int_row;

static void test_reply_values_whole_numbers_are_read_whole_or_not_at_all(void **state)
{
    (void)state;
    static const int_row rows[] = {
        {"7", NULL, 7},
        {"'7'", NULL, 7},
        {"'-7'", NULL, -7},
        {"'0'", NULL, 0},
        {"'9223372036854775807'", NULL, LLONG_MAX},
        {"'-9223372036854775808'", NULL, LLONG_MIN},
        {"'9223372036854775808'", "range of a long long", 0},
        {"'-9223372036854775809'", "range of a long long", 0},
        {"'99999999999999999999999'", "range of a long long", 0},
        {"'1.5'", "the reply \"1.5\" is not a whole number", 0},
        {"' 1'", "not a whole number", 0},
        {"'1 '", "not a whole number", 0},
        {"'+7'", NULL, 7},
        {"'+'", "not a whole number", 0},
        {"'+-7'", "not a whole number", 0},
        {"'-+7'", "not a whole number", 0},
        {"'-'", "not a whole number", 0},
        {"''", "not a whole number", 0},
        {"'x'", "not a whole number", 0},
        {"nil", "the reply is nil", 0},
        {"[1]", "the reply is of kind array", 0},
        {"!'7'", "the server says: 7", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_reply *reply = reply_of(rows[i].text);
        kw_error error = KW_ERROR_INIT;
        long long value = 123;
        kw_err code = kw_reply_to_int(reply, &error, &value);
        assert_int_equal(code, rows[i].said == NULL       ? KW_OK
                               : kw_reply_is_error(reply) ? KW_ERR_SERVER
                                                          : KW_ERR_REPLY);
        assert_int_equal(error.code, code);
        assert_true(rows[i].said == NULL || strstr(error.text, rows[i].said) != NULL);
        assert_true(code != KW_ERR_REPLY || error.effect == KW_EFFECT_DONE);
        assert_true(value == (rows[i].said == NULL ? rows[i].value : 123));
        assert_int_equal(kw_reply_to_int(reply, NULL, &value), code);
        kw_reply_free(reply);
    }
}

static void test_reply_values_number_of_a_failed_call_is_its_error(void **state)
{
    (void)state;
    long long value = 123;
    double number = 1.5;
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_reply_to_int(NULL, &error, &value), KW_ERR_ARGUMENT);
    kw_error lost = KW_ERROR_INIT;
    lost.code = KW_ERR_TIMEOUT;
    lost.effect = KW_EFFECT_MAYBE;
    assert_int_equal(kw_reply_to_int(NULL, &lost, &value), KW_ERR_TIMEOUT);
    assert_int_equal(kw_reply_to_double(NULL, &lost, &number), KW_ERR_TIMEOUT);
    assert_int_equal(lost.effect, KW_EFFECT_MAYBE);
    assert_int_equal(kw_reply_to_int(NULL, NULL, &value), KW_ERR_ARGUMENT);
    assert_true(value == 123);
}

static void test_reply_values_text_has_another_in_its_place(void **state)
{
    (void)state;
    kw_reply *value = reply_of("'x'");
    kw_reply *nil = reply_of("nil");
    assert_string_equal(kw_reply_text(value, "-"), "x");
    assert_string_equal(kw_reply_text(nil, "-"), "-");
    assert_string_equal(kw_reply_text(NULL, "-"), "-");
    assert_null(kw_reply_text(nil, NULL));
    kw_reply_free(value);
    kw_reply_free(nil);
}

static void expect_double_of(const char *text, bool is_double, double expected)
{
    kw_reply *reply = reply_of(text);
    double value = 123;
    kw_error error = KW_ERROR_INIT;
    assert_int_equal(kw_reply_to_double(reply, &error, &value) == KW_OK, is_double);
    assert_int_equal(error.code == KW_OK, is_double);
    assert_true(value == (is_double ? expected : 123));
    kw_reply_free(reply);
}

static void test_reply_values_doubles_are_read_whatever_the_locale(void **state)
{
    (void)state;
    /* Where such a locale is installed, its comma must not matter. */
    (void)(setlocale(LC_NUMERIC, "de_DE.UTF-8") || setlocale(LC_NUMERIC, "fr_FR.UTF-8"));
    expect_double_of("'1.5'", true, 1.5);
    expect_double_of("'-2.5e-3'", true, -2.5e-3);
    expect_double_of("'3'", true, 3);
    expect_double_of("'+7'", true, 7);
    expect_double_of("4", true, 4);
    expect_double_of("'inf'", true, HUGE_VAL);
    expect_double_of("'-inf'", true, -HUGE_VAL);
    static const char *const bad[] = {"''",  "'1,5'", "'0x10'", "' 1'",    "'1 '",
                                      "nil", "[1]",   "'e'",    "'1e999'", "!'1.5'",
                                      "'x'", "'--1'", "'nan'",  "'infx'",  "'1.5.5'"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        expect_double_of(bad[i], false, 0);
    }
    char longest[600] = "'";
    memset(longest + 1, '1', 500);
    strcpy(longest + 501, "'");
    expect_double_of(longest, false, 0);
    (void)setlocale(LC_NUMERIC, "C");
}

static void test_reply_values_field_is_found_by_its_name(void **state)
{
    (void)state;
    static const char *const texts[] = {"{'a', 1, 'b', nil, 'c', [5]}",
                                        "['a', 1, 'b', nil, 'c', [5]]"};
    for (size_t i = 0; i < 2; i++) {
        kw_reply *reply = reply_of(texts[i]);
        assert_int_equal(kw_reply_int(kw_reply_get(reply, "a")), 1);
        assert_true(kw_reply_is_nil(kw_reply_get(reply, "b")));
        assert_int_equal(kw_reply_count(kw_reply_get(reply, "c")), 1);
        assert_null(kw_reply_get(reply, "d"));
        assert_null(kw_reply_get(reply, ""));
        assert_null(kw_reply_get(reply, NULL));
        kw_reply_free(reply);
    }
    kw_reply *odd = reply_of("['a', 1, 'b']");
    assert_null(kw_reply_get(odd, "b"));
    assert_null(kw_reply_get(odd, "1"));
    kw_reply_free(odd);
    assert_null(kw_reply_get(NULL, "a"));
}

static void test_reply_values_outcome_is_one_of_three(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    kw_reply *value = reply_of("'x'");
    kw_reply *nil = reply_of("nil");
    kw_reply *refusal = reply_of("!'WRONGTYPE Operation'");
    kw_reply *script = reply_of("!'WRONGTYPE Operation script: 1, on @user_script:1.'");
    assert_int_equal(kw_reply_outcome(value, &error), KW_OUTCOME_VALUE);
    assert_int_equal(kw_reply_outcome(nil, &error), KW_OUTCOME_NIL);
    assert_int_equal(error.code, KW_OK);
    assert_int_equal(kw_reply_outcome(refusal, &error), KW_OUTCOME_ERROR);
    assert_int_equal(error.code, KW_ERR_SERVER);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    assert_string_equal(error.text, "the server says: WRONGTYPE Operation");
    assert_int_equal(kw_reply_outcome(script, &error), KW_OUTCOME_ERROR);
    assert_int_equal(error.effect, KW_EFFECT_MAYBE);
    kw_reply *missing = reply_of("!'NOSCRIPT No matching script. Please use EVAL.'");
    assert_int_equal(kw_reply_outcome(missing, &error), KW_OUTCOME_ERROR);
    assert_int_equal(error.effect, KW_EFFECT_NONE);
    kw_reply_free(missing);
    kw_reply_mark_partial(refusal);
    kw_reply *copy = kw_reply_clone(kw_mem_default(), refusal);
    assert_int_equal(kw_reply_outcome(copy, &error), KW_OUTCOME_ERROR);
    assert_int_equal(error.effect, KW_EFFECT_MAYBE);
    assert_int_equal(kw_reply_count(copy), 0);
    kw_reply_free(copy);
    kw_error lost = KW_ERROR_INIT;
    lost.code = KW_ERR_TIMEOUT;
    assert_int_equal(kw_reply_outcome(NULL, &lost), KW_OUTCOME_ERROR);
    assert_int_equal(lost.code, KW_ERR_TIMEOUT);
    assert_int_equal(kw_reply_outcome(refusal, NULL), KW_OUTCOME_ERROR);
    kw_reply_free(value);
    kw_reply_free(nil);
    kw_reply_free(refusal);
    kw_reply_free(script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reply_values_kinds_have_names),
        cmocka_unit_test(test_reply_values_code_is_the_first_word_of_an_error),
        cmocka_unit_test(test_reply_values_whole_numbers_are_read_whole_or_not_at_all),
        cmocka_unit_test(test_reply_values_number_of_a_failed_call_is_its_error),
        cmocka_unit_test(test_reply_values_text_has_another_in_its_place),
        cmocka_unit_test(test_reply_values_doubles_are_read_whatever_the_locale),
        cmocka_unit_test(test_reply_values_field_is_found_by_its_name),
        cmocka_unit_test(test_reply_values_outcome_is_one_of_three),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

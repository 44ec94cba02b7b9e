/* SPDX-License-Identifier: BSD-3-Clause */
/* Codes, names and texts, and how errors are filled in and copied. */
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <keyway/client.h>

/* Bytes of the first version of kw_error. */
#define FIRST_SIZE (offsetof(kw_error, text) + 400)

static void test_error_codes_have_fixed_numbers_names_and_texts(void **state)
{
    (void)state;
    static const struct {
        int number;
        const char *name;
    } rows[] = {
        {0, "KW_OK"},
        {-1, "KW_ERR_NOMEM"},
        {-2, "KW_ERR_ARGUMENT"},
        {-3, "KW_ERR_CONFIG"},
        {-4, "KW_ERR_UNSUPPORTED"},
        {-10, "KW_ERR_CONNECT"},
        {-11, "KW_ERR_RESOLVE"},
        {-12, "KW_ERR_HANDSHAKE"},
        {-13, "KW_ERR_AUTH"},
        {-14, "KW_ERR_QUEUE_TIMEOUT"},
        {-15, "KW_ERR_POOL_FULL"},
        {-16, "KW_ERR_TIMEOUT"},
        {-17, "KW_ERR_CLOSED"},
        {-18, "KW_ERR_PROTOCOL"},
        {-19, "KW_ERR_DESYNC"},
        {-20, "KW_ERR_LIMIT"},
        {-21, "KW_ERR_REDIRECT"},
        {-22, "KW_ERR_NOT_SERVED"},
        {-23, "KW_ERR_CLUSTER_DOWN"},
        {-24, "KW_ERR_TRY_AGAIN"},
        {-25, "KW_ERR_LOADING"},
        {-26, "KW_ERR_MASTER_DOWN"},
        {-27, "KW_ERR_READONLY"},
        {-28, "KW_ERR_BUSY"},
        {-29, "KW_ERR_CROSSSLOT"},
        {-30, "KW_ERR_KEYS"},
        {-31, "KW_ERR_TOPOLOGY"},
        {-32, "KW_ERR_REFUSED"},
        {-33, "KW_ERR_CANCELLED"},
        {-34, "KW_ERR_FORKED"},
        {-37, "KW_ERR_DRAINING"},
        {-40, "KW_ERR_NO_SENTINEL"},
        {-41, "KW_ERR_NO_SERVICE"},
        {-42, "KW_ERR_ROLE"},
        {-43, "KW_ERR_DURABILITY"},
        {-45, "KW_ERR_IDENTITY"},
        {-46, "KW_ERR_LOAD"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_err code = (kw_err)rows[i].number;
        assert_string_equal(kw_err_name(code), rows[i].name);
        assert_string_not_equal(kw_err_text(code), "unknown code");
        assert_true(strlen(kw_err_text(code)) > 0);
    }
}

static void test_error_unknown_codes_have_names(void **state)
{
    (void)state;
    assert_string_equal(kw_err_name((kw_err)-9), "KW_ERR_?");
    assert_string_equal(kw_err_name((kw_err)1), "KW_ERR_?");
    assert_string_equal(kw_err_text((kw_err)-9999), "unknown code");
    assert_string_equal(kw_effect_name(KW_EFFECT_NONE), "none");
    assert_string_equal(kw_effect_name(KW_EFFECT_MAYBE), "maybe");
    assert_string_equal(kw_effect_name(KW_EFFECT_DONE), "done");
    assert_string_equal(kw_effect_name((kw_effect)3), "?");
}

static void test_error_set_writes_everything(void **state)
{
    (void)state;
    kw_error error = KW_ERROR_INIT;
    error.attempts = 3;
    error.elapsed_ms = 4;
    kw_error_set_node(&error, "h:1");
    assert_int_equal(kw_error_set(&error, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE, "%s at %d", "100%n", 5),
                     KW_ERR_TIMEOUT);
    assert_int_equal(error.size, sizeof(error));
    assert_int_equal(error.code, KW_ERR_TIMEOUT);
    assert_int_equal(error.effect, KW_EFFECT_MAYBE);
    assert_int_equal(error.attempts, 0);
    assert_int_equal(error.elapsed_ms, 0);
    assert_string_equal(error.node, "");
    assert_string_equal(error.text, "100%n at 5");
}

static void test_error_set_null_gives_code(void **state)
{
    (void)state;
    assert_int_equal(kw_error_set(NULL, KW_ERR_CLOSED, KW_EFFECT_MAYBE, "x"), KW_ERR_CLOSED);
    kw_error_set_node(NULL, "h:1");
}

static void test_error_long_texts_are_cut(void **state)
{
    (void)state;
    char text[1000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    kw_error error = KW_ERROR_INIT;
    kw_error_set(&error, KW_ERR_CLOSED, KW_EFFECT_NONE, "%s", text);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    kw_error_set_node(&error, text);
    assert_int_equal(strlen(error.node), sizeof(error.node) - 1);
    kw_error_set_node(&error, NULL);
    assert_string_equal(error.node, "");
}

/* What every program compiled against the first version has; it must never change. */
static void test_error_first_version_keeps_its_layout(void **state)
{
    (void)state;
    size_t begin = sizeof(size_t);
    assert_int_equal(offsetof(kw_error, size), 0);
    assert_int_equal(offsetof(kw_error, code), begin);
    assert_int_equal(offsetof(kw_error, effect), begin + 4);
    assert_int_equal(offsetof(kw_error, attempts), begin + 8);
    assert_int_equal(offsetof(kw_error, elapsed_ms), begin + 12);
    assert_int_equal(offsetof(kw_error, node), begin + 16);
    assert_int_equal(offsetof(kw_error, text), begin + 144);
    assert_int_equal(FIRST_SIZE, begin + 544);
}

static void test_error_of_zeros_is_written_as_an_initialised_one(void **state)
{
    (void)state;
    kw_error zeros = {0};
    kw_error full = KW_ERROR_INIT;
    kw_error *errors[] = {&zeros, &full};
    kw_error from = KW_ERROR_INIT;
    kw_error_set(&from, KW_ERR_CLOSED, KW_EFFECT_MAYBE, "copied");
    kw_error_set_node(&from, "h:2");
    from.attempts = 2;
    from.elapsed_ms = 7;
    for (size_t i = 0; i < 2; i++) {
        kw_error *error = errors[i];
        size_t size = error->size;
        assert_true(kw_error_has_room(error));
        assert_int_equal(kw_error_set(error, KW_ERR_TIMEOUT, KW_EFFECT_DONE, "text %d", 1),
                         KW_ERR_TIMEOUT);
        kw_error_set_node(error, "h:1");
        assert_int_equal(error->code, KW_ERR_TIMEOUT);
        assert_int_equal(error->effect, KW_EFFECT_DONE);
        assert_string_equal(error->text, "text 1");
        assert_string_equal(error->node, "h:1");
        kw_error_copy(error, &from);
        assert_int_equal(error->size, size);
        assert_memory_equal((char *)error + sizeof(size), (char *)&from + sizeof(size),
                            FIRST_SIZE - sizeof(size));
    }
    assert_false(kw_error_has_room(NULL));
}

static void test_error_of_a_program_is_written_by_public_functions(void **state)
{
    (void)state;
    kw_error zeros = {0};
    kw_error full = KW_ERROR_INIT;
    assert_null(kw_open("no scheme", &zeros));
    assert_null(kw_open("no scheme", &full));
    assert_int_equal(zeros.code, KW_ERR_CONFIG);
    assert_int_equal(full.code, KW_ERR_CONFIG);
    assert_string_equal(zeros.text, full.text);
    assert_true(zeros.text[0] != '\0');
    assert_int_equal(zeros.size, 0);
}

static void test_error_too_small_is_not_written(void **state)
{
    (void)state;
    kw_error from = KW_ERROR_INIT;
    kw_error_set(&from, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE, "from");
    for (size_t size = 1; size < FIRST_SIZE; size++) {
        kw_error error = {0};
        error.size = size;
        kw_error before = error;
        assert_false(kw_error_has_room(&error));
        assert_int_equal(kw_error_set(&error, KW_ERR_CLOSED, KW_EFFECT_DONE, "x"), KW_ERR_CLOSED);
        kw_error_set_node(&error, "h:1");
        kw_error_copy(&error, &from);
        assert_memory_equal(&error, &before, sizeof(error));
    }
}

/* A program compiled against a later version has members behind, which this one cannot know. */
static void test_error_of_a_later_version_keeps_what_is_behind(void **state)
{
    (void)state;
    struct {
        kw_error error;
        char behind[64];
    } later;
    memset(&later, 'b', sizeof(later));
    later.error.size = sizeof(later);
    kw_error from = KW_ERROR_INIT;
    kw_error_set(&from, KW_ERR_TIMEOUT, KW_EFFECT_MAYBE, "from");
    kw_error_set(&later.error, KW_ERR_CLOSED, KW_EFFECT_DONE, "x");
    assert_int_equal(later.error.code, KW_ERR_CLOSED);
    kw_error_copy(&later.error, &from);
    assert_int_equal(later.error.code, KW_ERR_TIMEOUT);
    assert_int_equal(later.error.size, sizeof(later));
    for (size_t i = 0; i < sizeof(later.behind); i++) {
        assert_int_equal(later.behind[i], 'b');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_codes_have_fixed_numbers_names_and_texts),
        cmocka_unit_test(test_error_unknown_codes_have_names),
        cmocka_unit_test(test_error_set_writes_everything),
        cmocka_unit_test(test_error_set_null_gives_code),
        cmocka_unit_test(test_error_long_texts_are_cut),
        cmocka_unit_test(test_error_first_version_keeps_its_layout),
        cmocka_unit_test(test_error_of_zeros_is_written_as_an_initialised_one),
        cmocka_unit_test(test_error_of_a_program_is_written_by_public_functions),
        cmocka_unit_test(test_error_too_small_is_not_written),
        cmocka_unit_test(test_error_of_a_later_version_keeps_what_is_behind),
    };
    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}

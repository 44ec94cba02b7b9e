/* SPDX-License-Identifier: BSD-3-Clause */
/* Scripts: the command by name and by text, and which of them leaves for a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/resp.h"
#include "engine/script.h"
#include "support/check.h"

#include <stdio.h>
#include <string.h>

static const int here, there; /* connections */

static kw_script *script_of(const char *text, bool is_read_only)
{
    kw_script *script = kw_script_make(kw_mem_default(), kw_bytes_of(text), is_read_only);
    assert_non_null(script);
    return script;
}

static kw_script_run_state *run_of(const kw_script *script)
{
    kw_script_run_state *run = kw_script_run_state_new(kw_mem_default(), script);
    assert_non_null(run);
    return run;
}

static void encode(kw_buf *buf, const char *name, const char *what, size_t argc)
{
    kw_bytes argv[20] = {kw_bytes_of(name), kw_bytes_of(what), kw_bytes_of("1")};
    for (size_t i = 3; i < argc; i++) {
        argv[i] = kw_bytes_of(i == 3 ? "key\r\n" : "");
    }
    kw_buf_init(buf, kw_mem_default(), NULL, 0);
    assert_true(kw_resp_append(buf, argv, argc));
}

static void test_script_name_is_replaced_by_the_text(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        bool is_read_only = i % 2 == 1;
        size_t argc = i < 2 ? 4 : 17;
        kw_script *script = script_of("return\r\n1", is_read_only);
        kw_script_run_state *run = run_of(script);
        kw_buf named;
        kw_buf wanted;
        encode(&named, is_read_only ? "EVALSHA_RO" : "EVALSHA", script->sha1, argc);
        encode(&wanted, is_read_only ? "EVAL_RO" : "EVAL", "return\r\n1", argc);
        run->named.data = named.data;
        run->named.len = named.len;
        for (int k = 0; k < 2; k++) {
            kw_bytes full = kw_script_run_full(run);
            assert_int_equal(full.len, wanted.len);
            assert_memory_equal(full.data, wanted.data, full.len);
        }
        kw_script_run_state_free(run);
        kw_script_unref(script);
        kw_buf_fini(&named);
        kw_buf_fini(&wanted);
    }
}

/* One line a run that leaves, or comes back. */
typedef struct turn {
    int run;           /* its number; -1 - number: NOSCRIPT was said to it */
    const void *place; /* by which it leaves */
    bool brings_text;
} turn;

#define MISSED(run)                                                                                \
    {                                                                                              \
        -1 - (run), NULL, false                                                                    \
    }

static void play(const turn *turns, size_t n, bool is_eager)
{
    kw_script *script = script_of("return 1", false);
    kw_script_memory memory;
    kw_script_run_state *runs[4];
    memset(&memory, 0, sizeof(memory));
    for (size_t i = 0; i < 4; i++) {
        runs[i] = run_of(script);
        runs[i]->is_eager = is_eager;
    }
    for (size_t i = 0; i < n; i++) {
        if (turns[i].run < 0) {
            kw_script_run_missed(runs[-1 - turns[i].run]);
        } else if (kw_script_memory_ask(&memory, runs[turns[i].run], turns[i].place) !=
                   turns[i].brings_text) {
            fail_msg("turn %zu", i);
        }
    }
    for (size_t i = 0; i < 4; i++) {
        kw_script_run_state_free(runs[i]);
    }
    kw_script_unref(script);
}

static void test_script_missing_is_brought_by_one_that_others_follow(void **state)
{
    (void)state;
    static const turn turns[] = {
        {0, &here, false}, {1, &here, false}, {2, &there, false}, MISSED(0),
        {0, &here, true},  MISSED(1),         {1, &here, false}, /* behind the text */
        MISSED(2),         {2, &there, true}, /* another connection may be earlier */
        MISSED(1),         {1, &here, true},  /* it was flushed again */
        MISSED(1),         {1, &here, true},
    };
    play(turns, sizeof(turns) / sizeof(turns[0]), false);
}

static void test_script_of_a_call_is_brought_by_itself(void **state)
{
    (void)state;
    static const turn turns[] = {
        {0, NULL, false}, MISSED(0), {0, NULL, true}, {1, NULL, false}, MISSED(1), {1, NULL, true},
    };
    play(turns, sizeof(turns) / sizeof(turns[0]), false);
}

static void test_script_eager_is_brought_where_it_is_not_known(void **state)
{
    (void)state;
    static const turn turns[] = {
        {0, &here, true}, {1, &here, false}, {2, &there, false}, MISSED(1),
        {1, &here, true}, MISSED(2),         {2, &there, true},
    };
    play(turns, sizeof(turns) / sizeof(turns[0]), true);
}

/* A text that left before the name did is no promise: it was flushed meanwhile. */
static void test_script_that_left_behind_the_text_in_vain_brings_it(void **state)
{
    (void)state;
    static const turn turns[] = {
        {0, &here, true},
        {1, &here, false},
        MISSED(1),
        {1, &here, true},
    };
    play(turns, sizeof(turns) / sizeof(turns[0]), true);
}

static void test_script_memory_keeps_those_that_were_brought_last(void **state)
{
    (void)state;
    kw_script_memory memory;
    memset(&memory, 0, sizeof(memory));
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < KW_SCRIPTS_KNOWN_MAX + 1; i++) {
            char text[20];
            snprintf(text, sizeof(text), "return %u", i);
            kw_script *script = script_of(text, false);
            kw_script_run_state *first = run_of(script);
            kw_script_run_state *second = run_of(script);
            first->is_eager = true;
            second->is_eager = true;
            assert_true(kw_script_memory_ask(&memory, first, &here)); /* one too many */
            assert_false(kw_script_memory_ask(&memory, second, &here));
            kw_script_unref(script); /* its runs go on */
            kw_script_run_state_free(first);
            kw_script_run_state_free(second);
        }
    }
}

static void test_script_without_memory_goes_by_its_name(void **state)
{
    (void)state;
    kw_script *script = script_of("return 1", false);
    kw_script_run_state *run = run_of(script);
    assert_false(kw_script_memory_ask(NULL, run, &here));
    kw_script_run_missed(run);
    assert_true(kw_script_memory_ask(NULL, run, &here));
    kw_script_run_state_free(run);
    kw_script_unref(script);
    kw_script_unref(NULL);
    kw_script_run_state_free(NULL);
}

static void test_script_error_is_that_of_the_command_it_ran(void **state)
{
    (void)state;
    static const char *const kinds[] = {
        "WRONGTYPE Operation against a key",
        "-WRONGTYPE Operation against a key",
        "ERR WRONGTYPE Operation against a key",
        "ERR Error running script (call to f_7bc1e26d): @user_script:12: WRONGTYPE Operation",
    };
    static const char *const others[] = {
        "",
        "-",
        "ERR ",
        "ERR Error running script",
        "ERR Error running script (call to f_7bc1e26d): @user_script:12:",
        "ERR Error running script (call to f_7bc1e26d): @user_script:12: ",
        "ERR Error running script (call to f_WRONGTYPE): @user_script: WRONGTYPE",
        "ERR value is no WRONGTYPE",
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        assert_true(kw_script_error_is(kw_bytes_of(kinds[i]), "WRONGTYPE"));
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (kw_script_error_is(kw_bytes_of(others[i]), "WRONGTYPE")) {
            fail_msg("%s", others[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_script_name_is_replaced_by_the_text),
        cmocka_unit_test(test_script_missing_is_brought_by_one_that_others_follow),
        cmocka_unit_test(test_script_of_a_call_is_brought_by_itself),
        cmocka_unit_test(test_script_eager_is_brought_where_it_is_not_known),
        cmocka_unit_test(test_script_that_left_behind_the_text_in_vain_brings_it),
        cmocka_unit_test(test_script_memory_keeps_those_that_were_brought_last),
        cmocka_unit_test(test_script_without_memory_goes_by_its_name),
        cmocka_unit_test(test_script_error_is_that_of_the_command_it_ran),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

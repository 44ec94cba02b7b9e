/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages of subscriptions in place: good ones, bad ones, and each cut off at every byte. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/push.h"

typedef struct push_row {
    const char *wire;
    const char *expected; /* elements: a text, # for a number, ? for anything else */
} push_row;

static const push_row good[] = {
    {"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n", "message news hello"},
    {">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$0\r\n\r\n", "message news "},
    {"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n", "subscribe news #"},
    {"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:-1\r\n", "unsubscribe ? #"},
    {"*3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n", "unsubscribe ? #"},
    {">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n*1\r\n:1\r\n", "invalidate ?"},
    {">2\r\n$4\r\nkind\r\n%1\r\n+a\r\n#t\r\n", "kind ?"},
    {">2\r\n$4\r\nkind\r\n*-1\r\n", "kind ?"},
    {"*5\r\n$1\r\na\r\n:1\r\n:2\r\n:3\r\n$1\r\nb\r\n", "a # # #"},
    {"+PONG\r\n", "PONG"},
    {"-ERR what\r\n", "ERR what"},
};

static const char *const bad[] = {
    "$4\r\nnews\r\n",
    ":1\r\n",
    "*0\r\n",
    "*-1\r\n",
    "*x\r\n",
    "*99999\r\n",
    "*1\r\n$-5x\r\n",
    "*1\r\n$3\r\nabcd\r\n",
    "*1\r\n$1000000\r\n",
    "*1\r\n$99999999999999999999\r\n",
    "*1\r\n!3\r\nabc\r\n",
    "*1\r\n|1\r\n+a\r\n+b\r\n+c\r\n",
    "*1\r\n*5000\r\n",
    "*2\r\n%4000\r\n",
    "*1\n$1\r\na\r\n",
    "+PONG\rX",
    "HTTP/1.1",
};

#define LEN_MAX 1000

static void show(char *out, size_t out_len, const kw_push *push)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < push->items_n && i < KW_PUSH_ITEMS_MAX; i++) {
        const kw_push_item *item = &push->items[i];
        const char *gap = i > 0 ? " " : "";
        if (item->kind == KW_PUSH_TEXT) {
            len += (size_t)snprintf(out + len, out_len - len, "%s%.*s", gap, (int)item->text.len,
                                    item->text.data);
        } else {
            len += (size_t)snprintf(out + len, out_len - len, "%s%s", gap,
                                    item->kind == KW_PUSH_NUMBER ? "#" : "?");
        }
    }
}

/* In memory of exactly that size, for sanitizers. */
static kw_push_state read_copy(kw_push *push, char **copy, const char *wire, size_t len)
{
    *copy = malloc(len > 0 ? len : 1);
    assert_non_null(*copy);
    memcpy(*copy, wire, len);
    kw_bytes input = {*copy, len};
    return kw_push_read(push, input, LEN_MAX);
}

static void test_push_good_ones_are_read_and_cut_ones_waited_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        kw_push push;
        char *copy;
        char text[200];
        size_t len = strlen(good[i].wire);
        assert_int_equal(read_copy(&push, &copy, good[i].wire, len), KW_PUSH_WHOLE);
        show(text, sizeof(text), &push);
        assert_string_equal(text, good[i].expected);
        assert_int_equal(push.len, len);
        free(copy);
        for (size_t cut = 0; cut < len; cut++) {
            if (read_copy(&push, &copy, good[i].wire, cut) != KW_PUSH_MORE) {
                fail_msg("row %zu, cut at %zu", i, cut);
            }
            assert_true(push.wanted_len <= len);
            free(copy);
        }
    }
}

static void test_push_bad_ones_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        kw_push push;
        char *copy;
        if (read_copy(&push, &copy, bad[i], strlen(bad[i])) != KW_PUSH_BAD) {
            fail_msg("row %zu", i);
        }
        free(copy);
    }
}

static void test_push_second_one_is_left(void **state)
{
    (void)state;
    kw_push push;
    kw_bytes input = kw_bytes_of("*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n");
    assert_int_equal(kw_push_read(&push, input, LEN_MAX), KW_PUSH_WHOLE);
    assert_int_equal(push.len, 11);
}

static void test_push_longest_one_is_as_long_as_allowed(void **state)
{
    (void)state;
    char wire[400];
    for (int len = 100; len < 300; len++) {
        kw_push push;
        int all = snprintf(wire, sizeof(wire), "*1\r\n$%d\r\n%0*d\r\n", len, len, 0);
        kw_bytes input = {wire, (size_t)all};
        kw_push_state expected = all <= 250 ? KW_PUSH_WHOLE : KW_PUSH_BAD;
        assert_int_equal(kw_push_read(&push, input, 250), expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_push_good_ones_are_read_and_cut_ones_waited_for),
        cmocka_unit_test(test_push_bad_ones_are_refused),
        cmocka_unit_test(test_push_second_one_is_left),
        cmocka_unit_test(test_push_longest_one_is_as_long_as_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

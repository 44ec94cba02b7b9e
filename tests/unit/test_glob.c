/* SPDX-License-Identifier: BSD-3-Clause */
/* Patterns of MATCH: what the server says of them, as a table; tests/live/test_scan_glob.c asks it.
 */
#include "engine/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *pattern;
    const char *text;
    bool matches;
} cases[] = {
    {"*", "", true},
    {"**", "", false},
    {"", "", true},
    {"", "a", false},
    {"a", "", false},
    {"a", "a", true},
    {"a", "A", false},
    {"a*", "a", true},
    {"a**", "a", true},
    {"*a", "bca", true},
    {"*a", "bcab", false},
    {"a*b*c", "axxbxxbxc", true},
    {"a*b*c", "axxbxxbx", false},
    {"?", "", false},
    {"??", "a", false},
    {"*?", "a", true},
    {"h[ae]llo", "hello", true},
    {"h[ae]llo", "hillo", false},
    {"h[^e]llo", "hallo", true},
    {"h[^e]llo", "hello", false},
    {"[a-c]", "b", true},
    {"[c-a]", "b", true},
    {"[a-c]", "d", false},
    {"[a-]", "-", false}, /* from a to ], without an end */
    {"[a-]", "^", true},
    {"[-a]", "-", true},
    {"[]", "a", false},
    {"[^]", "a", true},
    {"[]a]", "a]", false},
    {"[a", "a", true},
    {"[a", "b", false},
    {"[", "[", false},
    {"[^", "a", true},
    {"[\\]]", "]", true},
    {"[\\a-c]", "b", false},
    {"[a\\", "\\", true},
    {"\\*", "*", true},
    {"\\*", "a", false},
    {"a\\", "a\\", true},
    {"\\a", "a", true},
    {"[\xe0-\xff]", "\xe4", true},
    {"[a-\xff]", "z", false}, /* plain chars have a sign: from -1 to 97 */
    {"[a-\xff]", "\x05", true},
    {"k:*:[0-9][0-9]", "k:x:12", true},
    {"k:*:[0-9][0-9]", "k:x:1", false},
};

static void test_glob_cases_match_as_servers_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool matches = kw_glob_matches(kw_bytes_of(cases[i].pattern), kw_bytes_of(cases[i].text));
        if (matches != cases[i].matches) {
            fail_msg("\"%s\" and \"%s\"", cases[i].pattern, cases[i].text);
        }
    }
}

static void test_glob_bytes_of_zero_are_bytes(void **state)
{
    (void)state;
    kw_bytes pattern = {"a\0*", 3};
    assert_true(kw_glob_matches(pattern, (kw_bytes){"a\0b", 3}));
    assert_false(kw_glob_matches(pattern, (kw_bytes){"ab", 2}));
    assert_true(kw_glob_matches((kw_bytes){"[\0]", 3}, (kw_bytes){"\0", 1}));
}

/* Stars by the thousand take no time that grows beyond the product of both lengths. */
static void test_glob_many_stars_end(void **state)
{
    (void)state;
    char pattern[4001];
    char text[4001];
    for (size_t i = 0; i < 4000; i += 2) {
        memcpy(pattern + i, "a*", 2);
    }
    memset(text, 'a', 4000);
    kw_bytes few = {pattern, 4000};
    assert_true(kw_glob_matches(few, (kw_bytes){text, 4000}));
    pattern[3999] = 'b';
    assert_false(kw_glob_matches(few, (kw_bytes){text, 4000}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_glob_cases_match_as_servers_say),
        cmocka_unit_test(test_glob_bytes_of_zero_are_bytes),
        cmocka_unit_test(test_glob_many_stars_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

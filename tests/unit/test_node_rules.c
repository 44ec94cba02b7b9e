/* SPDX-License-Identifier: BSD-3-Clause */
/* Node rules: networks and ends of names, read and matched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "route/node_rules.h"

#include <stdio.h>
#include <string.h>

static void test_node_rule_that_is_wrong_is_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {"",           "/8",           "10.0.0.0/",  "10.0.0.0/33",
                                       "10.0.0.0/x", "10.0.0.1/8",   "fd00::/129", "fd00::1/64",
                                       "name/8",     "a b",          "/run/redis", "10.0.0.0/-1",
                                       "a@b",        "10.128.0.0/8", "fd80::/8",   "\"x\""};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_node_rule rule;
        if (kw_node_rule_parse(&rule, kw_bytes_of(rows[i]))) {
            fail_msg("\"%s\" was read", rows[i]);
        }
    }
}

static void test_node_rules_allow_what_is_in_one_of_them(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *host;
        bool is_allowed;
    } rows[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"10.0.0.0/8", "fd00::1", false},
        {"10.0.0.0/8", "10.example.com", false},
        {"10.64.0.0/10", "10.127.255.255", true},
        {"10.64.0.0/10", "10.128.0.0", false},
        {"0.0.0.0/0", "8.8.8.8", true},
        {"0.0.0.0/0", "fd00::1", false},
        {"::/0", "fd00::1", true},
        {"::/0", "8.8.8.8", true},
        {"10.1.2.3", "10.1.2.3", true},
        {"10.1.2.3", "10.1.2.4", false},
        {"10.1.2.3/32", "10.1.2.3", true},
        {"fd00::/8", "fdab::1", true},
        {"fd00::/8", "fe80::1", false},
        {"fd00::/9", "fd7f::1", true},
        {"fd00::/9", "fd80::1", false},
        {".example.com", "db1.example.com", true},
        {".example.com", "DB1.Example.COM", true},
        {".example.com", "a.b.example.com", true},
        {".example.com", "example.com", false},
        {".example.com", "db1.example.com.evil.org", false},
        {".example.com", "evilexample.com", false},
        {"db1.example.com", "db1.example.com", true},
        {"db1.example.com", "xdb1.example.com", false},
        {".1", "10.0.0.1", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_node_rule rules[2];
        kw_endpoint endpoint;
        assert_true(kw_node_rule_parse(&rules[0], kw_bytes_of("192.0.2.0/24")));
        assert_true(kw_node_rule_parse(&rules[1], kw_bytes_of(rows[i].rule)));
        assert_true(kw_endpoint_set(&endpoint, kw_bytes_of(rows[i].host), 6379));
        if (kw_node_rules_allow(rules, 2, &endpoint) != rows[i].is_allowed) {
            fail_msg("%s: %s", rows[i].rule, rows[i].host);
        }
        assert_true(kw_node_rules_allow(rules, 0, &endpoint));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_node_rule_that_is_wrong_is_refused),
        cmocka_unit_test(test_node_rules_allow_what_is_in_one_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Endpoints read from good and bad texts. */
#include "base/endpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static void test_endpoint_parse_good_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *host;
        uint16_t port;
        const char *shown;
    } rows[] = {
        {"127.0.0.1:6379", "127.0.0.1", 6379, "127.0.0.1:6379"},
        {"host-1.example.com:1", "host-1.example.com", 1, "host-1.example.com:1"},
        {"h:65535", "h", 65535, "h:65535"},
        {"h:00080", "h", 80, "h:80"},
        /* Servers write IPv6 addresses without brackets: the last colon decides. */
        {"::1:7000", "::1", 7000, "[::1]:7000"},
        {"[::1]:7000", "::1", 7000, "[::1]:7000"},
        {"[fe80::1%eth0]:7000", "fe80::1%eth0", 7000, "[fe80::1%eth0]:7000"},
        {"[host]:1", "host", 1, "host:1"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        kw_endpoint endpoint;
        char text[KW_ENDPOINT_TEXT];
        assert_true(kw_endpoint_parse(&endpoint, kw_bytes_of(rows[i].text)));
        assert_string_equal(endpoint.host, rows[i].host);
        assert_int_equal(endpoint.port, rows[i].port);
        assert_string_equal(kw_endpoint_text(text, &endpoint), rows[i].shown);
        kw_endpoint again;
        assert_true(kw_endpoint_parse(&again, kw_bytes_of(text)));
        assert_true(kw_endpoint_equal(&endpoint, &again));
    }
}

static void test_endpoint_parse_bad_texts(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",          ":",      "h",       "h:",       ":1",     "h:0",    "h:65536",
        "h:-1",      "h:+1",   "h: 1",    "h:1 ",     "h:x",    "h:1x",   "[]:1",
        "[::1:7000", "::1]:7", "[[a]]:1", "a[b]:1",   "a b:1",  "a@b:1",  "a\"b:1",
        "a'b:1",     "a\nb:1", "\x7f:1",  "/tmp/x:1", "/tmp/x", "[::1]7", "h:99999999999999999999",
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        kw_endpoint endpoint = {"kept", 5};
        if (kw_endpoint_parse(&endpoint, kw_bytes_of(rows[i]))) {
            fail_msg("\"%s\" was taken", rows[i]);
        }
        assert_string_equal(endpoint.host, "kept");
        assert_int_equal(endpoint.port, 5);
    }
    kw_bytes with_zero = {"a\0b:1", 5};
    kw_endpoint endpoint;
    assert_false(kw_endpoint_parse(&endpoint, with_zero));
}

static void test_endpoint_set_checks_port_and_kind(void **state)
{
    (void)state;
    kw_endpoint endpoint = {"kept", 5};
    assert_false(kw_endpoint_set(&endpoint, kw_bytes_of("h"), 0));
    assert_false(kw_endpoint_set(&endpoint, kw_bytes_of("h"), 65536));
    assert_false(kw_endpoint_set(&endpoint, kw_bytes_of("h"), UINT64_MAX));
    assert_false(kw_endpoint_set(&endpoint, kw_bytes_of("/tmp/s"), 1));
    assert_false(kw_endpoint_set(&endpoint, kw_bytes_of(""), 1));
    assert_false(kw_endpoint_set(&endpoint, kw_bytes_of(NULL), 1));
    assert_string_equal(endpoint.host, "kept");
    assert_true(kw_endpoint_set(&endpoint, kw_bytes_of("/tmp/a:b"), 0));
    char text[KW_ENDPOINT_TEXT];
    assert_string_equal(kw_endpoint_text(text, &endpoint), "/tmp/a:b");
    assert_true(kw_endpoint_set(&endpoint, kw_bytes_of("h"), 65535));
    /* Its own host, with another port. */
    assert_true(kw_endpoint_set(&endpoint, kw_bytes_of(endpoint.host), 7));
    assert_string_equal(kw_endpoint_text(text, &endpoint), "h:7");
}

static void test_endpoint_longest_host_fits(void **state)
{
    (void)state;
    char host[KW_HOST_MAX + 2];
    memset(host, ':', sizeof(host));
    kw_bytes longest = {host, KW_HOST_MAX};
    kw_bytes too_long = {host, KW_HOST_MAX + 1};
    kw_endpoint endpoint;
    assert_true(kw_endpoint_set(&endpoint, longest, 65535));
    assert_false(kw_endpoint_set(&endpoint, too_long, 1));
    char text[KW_ENDPOINT_TEXT];
    assert_int_equal(strlen(kw_endpoint_text(text, &endpoint)), KW_HOST_MAX + 8);
}

/* 0x9b begins a command of terminals that take eight bits. */
static void test_endpoint_text_escapes_what_a_terminal_would_obey(void **state)
{
    (void)state;
    kw_endpoint endpoint;
    char text[KW_ENDPOINT_TEXT];
    assert_true(kw_endpoint_set(&endpoint,
                                kw_bytes_of("a\x9b"
                                            "b\xc3\xa9"),
                                7000));
    assert_string_equal(kw_endpoint_text(text, &endpoint), "a\\x9bb\xc3\xa9:7000");
    memset(endpoint.host, 0x80, KW_HOST_MAX);
    endpoint.host[KW_HOST_MAX] = '\0';
    assert_int_equal(strlen(kw_endpoint_text(text, &endpoint)), 4 * KW_HOST_MAX + 5);
}

static void test_endpoint_equal_needs_host_and_port(void **state)
{
    (void)state;
    static const kw_endpoint a = {"a", 1};
    static const kw_endpoint same = {"a", 1};
    static const kw_endpoint other_port = {"a", 2};
    static const kw_endpoint other_host = {"ab", 1};
    assert_true(kw_endpoint_equal(&a, &same));
    assert_false(kw_endpoint_equal(&a, &other_port));
    assert_false(kw_endpoint_equal(&a, &other_host));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoint_parse_good_texts),
        cmocka_unit_test(test_endpoint_parse_bad_texts),
        cmocka_unit_test(test_endpoint_set_checks_port_and_kind),
        cmocka_unit_test(test_endpoint_longest_host_fits),
        cmocka_unit_test(test_endpoint_text_escapes_what_a_terminal_would_obey),
        cmocka_unit_test(test_endpoint_equal_needs_host_and_port),
    };
    return cmocka_run_group_tests_name("endpoint", tests, NULL, NULL);
}

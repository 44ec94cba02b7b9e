/* SPDX-License-Identifier: BSD-3-Clause */
/* Options of copies and quorums, checked together. */
#include "settings/quorum_check.h"

#include <keyway/client.h>
#include <keyway/config.h>
#include <keyway/members.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void assert_uri(const char *tail, const char *word)
{
    kw_error error = KW_ERROR_INIT;
    kw_config *config = kw_config_new(NULL);
    char uri[300];
    snprintf(uri, sizeof(uri), "redis-ring://a=h1:1,b=h2:2,c=h3:3,d=h4:4,e=h5:5?%s", tail);
    kw_err code = kw_config_set_uri(config, &error, uri);
    assert_int_equal(code, word == NULL ? KW_OK : KW_ERR_CONFIG);
    if (word != NULL && strstr(error.text, word) == NULL) {
        fail_msg("%s: %s", tail, error.text);
    }
    kw_config_free(config);
}

static void test_quorum_options_are_checked_together(void **state)
{
    (void)state;
    assert_uri("copies=3", NULL);
    assert_uri("copies=3&write-quorum=2&read-quorum=2", NULL);
    assert_uri("copies=3&write-quorum=3&read-quorum=1", NULL);
    assert_uri("copies=5&write-quorum=4&read-quorum=2", NULL);
    assert_uri("copies=3&write-quorum=1&read-quorum=2", "do not meet");
    assert_uri("copies=3&write-quorum=1&read-quorum=3", "do not meet");
    assert_uri("copies=4&write-quorum=2&read-quorum=3", "do not meet");
    assert_uri("copies=3&write-quorum=1&read-quorum=1&quorum=weak", NULL);
    assert_uri("copies=3&write-quorum=4", "as many copies");
    assert_uri("copies=6", "too few");
    assert_uri("copies=16", "out of range");
    assert_uri("copies=0", "out of range");
    assert_uri("copies=3&quorum=none", "strict or weak");
    assert_uri("write-quorum=2", "as many copies");
    assert_uri("copies=3&tombstone-ttl=8s", NULL);
    assert_uri("copies=3&tombstone-ttl=7s", "four times timeout");
    assert_uri("copies=3&tombstone-ttl=7s&timeout=1s", NULL);
    assert_uri("copies=3&tombstone-ttl=1h&version-ahead=16m", "a quarter of tombstone-ttl");
    assert_uri("copies=3&tombstone-ttl=1h&version-ahead=15m", NULL);
    assert_uri("copies=4&quorum-hints=on", NULL);
    assert_uri("copies=5&quorum-hints=on", "a node beyond the copies");
    assert_uri("copies=5&quorum-hints=off", NULL);
    assert_uri("copies=3&quorum-hints=yes", "off or on");
    kw_error error = KW_ERROR_INIT;
    assert_null(kw_open("redis://127.0.0.1:1?copies=3", &error));
    assert_int_equal(error.code, KW_ERR_CONFIG);
    assert_null(kw_open("redis-cluster://127.0.0.1:1?read-quorum=1", &error));
    assert_int_equal(error.code, KW_ERR_CONFIG);
}

/* Their failover is asynchronous, and loses what a copy has acknowledged. */
static void test_quorum_of_sentinel_groups_is_refused(void **state)
{
    (void)state;
    static const char group[] = "c=h3:26379;sentinel=h4:26379;service=mymaster";
    kw_error error = KW_ERROR_INIT;
    kw_config *config = kw_config_new(NULL);
    char uri[300];
    snprintf(uri, sizeof(uri), "redis-ring://a=h1:1,b=h2:2,%s", group);
    assert_int_equal(kw_config_set_uri(config, &error, uri), KW_OK);
    snprintf(uri, sizeof(uri), "redis-ring://a=h1:1,b=h2:2,%s?copies=3", group);
    assert_int_equal(kw_config_set_uri(config, &error, uri), KW_ERR_CONFIG);
    assert_non_null(strstr(error.text, "member c is a Sentinel group"));
    kw_config_free(config);
    kw_client *client = kw_open("redis-ring://a=h1:1,b=h2:2,d=h3:3?copies=3", &error);
    kw_members *members = kw_members_begin(client, &error);
    assert_int_equal(kw_members_add(members, &error, group), KW_ERR_CONFIG);
    assert_int_equal(kw_members_add(members, &error, "c=h3:26379"), KW_OK);
    kw_members_free(members);
    kw_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quorum_options_are_checked_together),
        cmocka_unit_test(test_quorum_of_sentinel_groups_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

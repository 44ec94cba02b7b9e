/* SPDX-License-Identifier: BSD-3-Clause */
/* What sentinels publish: which of it is a doubt, and which is for the host to know. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "engine/sentinel_event.h"
#include "support/check.h"

#include <stdio.h>
#include <string.h>

#define REPLICA "slave 10.0.0.2:6379 10.0.0.2 6379 @ group 10.0.0.1 6379"
#define PRIMARY "master group 10.0.0.1 6379"

typedef struct event_row {
    const char *channel;
    const char *text;
    kw_sentinel_news news;
    const char *server; /* "host:port", or NULL */
} event_row;

static const event_row rows[] = {
    {"+switch-master", "group 10.0.0.1 6379 10.0.0.2 6379", KW_SENTINEL_SUSPECT, NULL},
    {"+switch-master", "other 10.0.0.1 6379 10.0.0.2 6379", KW_SENTINEL_NOTHING, NULL},
    {"+switch-master", "groups 10.0.0.1 6379 10.0.0.2 6379", KW_SENTINEL_NOTHING, NULL},
    {"+odown", PRIMARY " #quorum 2/2", KW_SENTINEL_PRIMARY_DOWN, "10.0.0.1:6379"},
    {"-odown", PRIMARY, KW_SENTINEL_PRIMARY_UP, "10.0.0.1:6379"},
    {"+sdown", REPLICA, KW_SENTINEL_REPLICA_DOWN, "10.0.0.2:6379"},
    {"-sdown", REPLICA, KW_SENTINEL_REPLICA_UP, "10.0.0.2:6379"},
    {"+sdown", "sentinel abc 10.0.0.9 26379 @ group 10.0.0.1 6379", KW_SENTINEL_NOTHING, NULL},
    {"+sdown", PRIMARY, KW_SENTINEL_NOTHING, NULL}, /* one sentinel's opinion */
    {"+sdown", "slave x 10.0.0.2 99999 @ group 10.0.0.1 6379", KW_SENTINEL_SUSPECT, NULL},
    {"+sdown", "slave group", KW_SENTINEL_SUSPECT, NULL},
    {"+odown", "master group 10.0.0.1 0", KW_SENTINEL_SUSPECT, NULL},
    {"+failover-state-wait-promotion", REPLICA, KW_SENTINEL_LEADS, NULL},
    {"+selected-slave", REPLICA, KW_SENTINEL_LEADS, NULL},
    {"+promoted-slave", REPLICA, KW_SENTINEL_LEADS, NULL},
    {"+failover-end", PRIMARY, KW_SENTINEL_SUSPECT, NULL},
    {"-failover-abort-not-elected", PRIMARY, KW_SENTINEL_SUSPECT, NULL},
    {"+slave", REPLICA, KW_SENTINEL_SUSPECT, NULL},
    {"+slaves", REPLICA, KW_SENTINEL_NOTHING, NULL},
    {"+sentinel", "sentinel abc 10.0.0.9 26379 @ group 10.0.0.1 6379", KW_SENTINEL_NOTHING, NULL},
    {"+fix-slave-config", REPLICA, KW_SENTINEL_NOTHING, NULL},
    {"__sentinel__:hello", "group", KW_SENTINEL_NOTHING, NULL},
    {"", "group", KW_SENTINEL_NOTHING, NULL},
    {"+switch-master", "", KW_SENTINEL_NOTHING, NULL},
};

static void test_event_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_endpoint server = {"", 0};
        char text[KW_ENDPOINT_TEXT] = "";
        kw_sentinel_news news = kw_sentinel_event_read(&server, kw_bytes_of(rows[i].channel),
                                                       kw_bytes_of(rows[i].text), "group");
        if (server.host[0] != '\0') {
            kw_endpoint_text(text, &server);
        }
        if (news != rows[i].news ||
            strcmp(text, rows[i].server != NULL ? rows[i].server : "") != 0) {
            fail_msg("%s %s: %d %s", rows[i].channel, rows[i].text, (int)news, text);
        }
    }
}

static void test_event_cut_or_changed_anywhere_is_safe(void **state)
{
    (void)state;
    kw_random random;
    kw_random_init(&random, kw_test_seed("sentinel_event"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[200];
        kw_endpoint server;
        size_t len = strlen(rows[i].text);
        for (size_t cut = 0; cut <= len; cut++) {
            kw_bytes part = {rows[i].text, cut};
            (void)kw_sentinel_event_read(&server, kw_bytes_of(rows[i].channel), part, "group");
        }
        for (int round = 0; round < 300 && len > 0; round++) {
            memcpy(text, rows[i].text, len);
            text[kw_random_below(&random, len)] = (char)kw_random_next(&random);
            kw_bytes changed = {text, len};
            kw_sentinel_news news =
                kw_sentinel_event_read(&server, kw_bytes_of(rows[i].channel), changed, "group");
            assert_in_range(news, KW_SENTINEL_NOTHING, KW_SENTINEL_REPLICA_UP);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_event_is_read),
        cmocka_unit_test(test_event_cut_or_changed_anywhere_is_safe),
    };
    return cmocka_run_group_tests_name("sentinel_event", tests, NULL, NULL);
}

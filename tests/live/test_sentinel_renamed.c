/* SPDX-License-Identifier: BSD-3-Clause */
/* A Sentinel group that gets another name, with real servers: calls go on while its primary lives;
 * once it is needed, the error says that no sentinel knows the name; a handle with the new name
 * works, and the old handle does again when its name is back. In every way of sending. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway.h>

#include <hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/check.h"
#include "support/group.h"
#include "support/ways.h"

static kw_test_group *group;

/* The sentinels watch that server by another name. */
static void rename_group(const char *from, const char *to, const kw_test_server *primary)
{
    for (size_t i = 0; i < KW_TEST_SENTINELS; i++) {
        kw_test_server *sentinel = kw_test_group_sentinel(group, i);
        kw_test_server_ok(sentinel, "SENTINEL REMOVE %s", from);
        kw_test_server_ok(sentinel, "SENTINEL MONITOR %s 127.0.0.1 %u 2", to,
                          (unsigned)kw_test_server_port(primary));
        kw_test_server_ok(sentinel,
                          "SENTINEL SET %s down-after-milliseconds 500 failover-timeout 3000", to);
    }
}

/* True where the first sentinel knows so many of the group's list, all of them up. */
static bool knows(const char *name, const char *list, size_t n)
{
    redisReply *reply =
        kw_test_server_command(kw_test_group_sentinel(group, 0), "SENTINEL %s %s", list, name);
    bool is_whole = reply->type == REDIS_REPLY_ARRAY && reply->elements == n;
    for (size_t i = 0; is_whole && i < n; i++) {
        const redisReply *entry = reply->element[i];
        for (size_t k = 0; k + 1 < entry->elements; k += 2) {
            is_whole = is_whole && (strcmp(entry->element[k]->str, "flags") != 0 ||
                                    (strstr(entry->element[k + 1]->str, "down") == NULL &&
                                     strstr(entry->element[k + 1]->str, "disconnected") == NULL));
        }
    }
    freeReplyObject(reply);
    return is_whole;
}

static void expect_answer(kw_client *kw, int way)
{
    kw_test_end end = kw_test_send(kw, (kw_test_way)way, "INCR", "foo");
    if (!end.is_answered) {
        fail_msg("%s: %s", kw_test_way_name((kw_test_way)way), end.error.text);
    }
}

static bool is_answered(kw_client *kw)
{
    return kw_test_send(kw, KW_TEST_CALL, "INCR", "foo").is_answered;
}

static void test_renamed_group_is_told_of_and_recovered_from(void **state)
{
    (void)state;
    kw_test_server *old = kw_test_group_primary(group);
    assert_non_null(old);
    kw_client *kw = kw_test_open("%s?timeout=5s", kw_test_group_uri(group));
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        expect_answer(kw, way);
    }
    rename_group("mymaster", "renamed", old);
    /* Nobody knows the name, and the primary lives. */
    for (uint64_t end_ms = kw_test_now_ms() + 3000; kw_test_now_ms() < end_ms;) {
        for (int way = 0; way < KW_TEST_WAYS_N; way++) {
            expect_answer(kw, way);
        }
        kw_test_sleep_ms(50);
    }
    KW_TEST_AWAIT(knows("renamed", "SENTINELS", 2) && knows("renamed", "REPLICAS", 1));
    uint64_t promoted_ns;
    kw_test_server_ok(kw_test_group_sentinel(group, 0), "SENTINEL FAILOVER renamed");
    kw_test_server *heir = kw_test_group_wait_promotion(group, old, &promoted_ns);
    KW_TEST_AWAIT(kw_test_server_is_info(old, "role", "slave"));
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        kw_test_end end = kw_test_send(kw, (kw_test_way)way, "INCR", "foo");
        const char *name = kw_test_way_name((kw_test_way)way);
        if (end.is_answered || end.error.code != KW_ERR_NO_SERVICE ||
            end.error.effect != KW_EFFECT_NONE || strstr(end.error.text, "mymaster") == NULL) {
            fail_msg("%s after %u ms: %s, %s: %s", name, (unsigned)(end.took_us / 1000),
                     kw_err_name(end.error.code), kw_effect_name(end.error.effect), end.error.text);
        }
        if (end.took_us > 2500 * 1000 * KW_TEST_SLOWNESS) {
            fail_msg("%s: only after %u ms", name, (unsigned)(end.took_us / 1000));
        }
    }
    /* Whoever is told of the new name works; the others once their name is back. */
    char uri[300];
    const char *group_uri = kw_test_group_uri(group);
    snprintf(uri, sizeof(uri), "%.*s/renamed?timeout=5s",
             (int)(strrchr(group_uri, '/') - group_uri), group_uri);
    kw_client *other = kw_test_try_open(uri, NULL);
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        expect_answer(other, way);
    }
    kw_close(other);
    rename_group("renamed", "mymaster", heir);
    KW_TEST_UNTIL(is_answered(kw))
    {
        kw_test_sleep_ms(20);
    }
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        expect_answer(kw, way);
    }
    kw_close(kw);
}

static int start(void **state)
{
    (void)state;
    group = kw_test_group_start(1, "", "");
    kw_test_group_hasten(group);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    kw_test_group_free(group);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_renamed_group_is_told_of_and_recovered_from),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes a real Sentinel group, and fails it over. */
#include "support/group.h"

#include <hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/calm.h"
#include "support/check.h"
#include "support/link.h"

enum { SERVERS_MAX = 8, POLL_MS = 10, SLOW_MS = 500, FORM_MS = 30000, PROMOTION_MS = 30000 };

struct kw_test_group {
    kw_test_server *servers[SERVERS_MAX];
    size_t servers_n;
    kw_test_server *sentinels[KW_TEST_SENTINELS];
    char uri[200];
};

static bool is_living(const kw_test_server *server)
{
    return !kw_test_server_is_dead(server) && !kw_test_server_is_paused(server);
}

static void pause_until(uint64_t end_ms, const char *what)
{
    if (kw_test_now_ms() > end_ms) {
        kw_test_die("the group is not in time: %s", what);
    }
    kw_test_sleep_ms(POLL_MS);
}

/* A primary that is silent for slow_ms is down. */
static kw_test_server *start_sentinel(const kw_test_server *primary, unsigned slow_ms,
                                      const char *config)
{
    char text[2000];
    const char *password = kw_test_server_password(primary);
    char login[200] = "";
    if (password != NULL) {
        snprintf(login, sizeof(login), "sentinel auth-pass mymaster %s\n", password);
    }
    snprintf(text, sizeof(text),
             "sentinel monitor mymaster 127.0.0.1 %u 2\n"
             "sentinel down-after-milliseconds mymaster %u\n"
             "sentinel failover-timeout mymaster %u\n"
             "sentinel parallel-syncs mymaster 2\n"
             "%s%s",
             kw_test_server_port(primary), slow_ms, 6 * slow_ms, login,
             config != NULL ? config : "");
    return kw_test_server_start_sentinel(text);
}

kw_test_group *kw_test_group_start(size_t replicas_n, const char *config,
                                   const char *sentinel_config)
{
    kw_test_group *group = calloc(1, sizeof(*group));
    if (group == NULL || replicas_n + 1 > SERVERS_MAX) {
        kw_test_die("no memory for a group");
    }
    char text[2000];
    snprintf(text, sizeof(text), "repl-ping-replica-period 1\nrepl-timeout 5\n%s",
             config != NULL ? config : "");
    for (size_t i = 0; i <= replicas_n; i++) {
        group->servers[i] = kw_test_server_start(text);
        group->servers_n++;
        if (i > 0) {
            kw_test_server_ok(group->servers[i], "REPLICAOF 127.0.0.1 %u",
                              (unsigned)kw_test_server_port(group->servers[0]));
        }
    }
    unsigned slow_ms = kw_test_stretch_ms(SLOW_MS);
    size_t len = (size_t)snprintf(group->uri, sizeof(group->uri), "redis-sentinel://");
    for (size_t i = 0; i < KW_TEST_SENTINELS; i++) {
        group->sentinels[i] = start_sentinel(group->servers[0], slow_ms, sentinel_config);
        len += (size_t)snprintf(group->uri + len, sizeof(group->uri) - len, "%s%s",
                                i > 0 ? "," : "", kw_test_server_address(group->sentinels[i]));
    }
    snprintf(group->uri + len, sizeof(group->uri) - len, "/mymaster");
    kw_test_group_wait(group, FORM_MS);
    return group;
}

void kw_test_group_hasten(kw_test_group *group)
{
    for (size_t i = 0; kw_test_server_has_version(7, 0) && i < KW_TEST_SENTINELS; i++) {
        kw_test_server_ok(group->sentinels[i], "SENTINEL DEBUG info-period 1000 publish-period 500 "
                                               "tilt-period 2000");
    }
}

void kw_test_group_free(kw_test_group *group)
{
    if (group == NULL) {
        return;
    }
    for (size_t i = 0; i < KW_TEST_SENTINELS; i++) {
        kw_test_server_free(group->sentinels[i]);
    }
    for (size_t i = 0; i < group->servers_n; i++) {
        kw_test_server_free(group->servers[i]);
    }
    free(group);
}

const char *kw_test_group_uri(const kw_test_group *group)
{
    return group->uri;
}

size_t kw_test_group_count(const kw_test_group *group)
{
    return group->servers_n;
}

kw_test_server *kw_test_group_server(const kw_test_group *group, size_t index)
{
    return group->servers[index];
}

kw_test_server *kw_test_group_sentinel(const kw_test_group *group, size_t index)
{
    return group->sentinels[index];
}

/* The server whose port the sentinel names; NULL: none of them. */
static kw_test_server *named_by(const kw_test_group *group, kw_test_server *sentinel)
{
    redisReply *reply =
        kw_test_server_command(sentinel, "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster");
    kw_test_server *named = NULL;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < group->servers_n; i++) {
        if (atoi(reply->element[1]->str) == kw_test_server_port(group->servers[i])) {
            named = group->servers[i];
        }
    }
    freeReplyObject(reply);
    return named;
}

kw_test_server *kw_test_group_primary(kw_test_group *group)
{
    kw_test_server *primary = NULL;
    for (size_t i = 0; i < KW_TEST_SENTINELS; i++) {
        if (!is_living(group->sentinels[i])) {
            continue;
        }
        kw_test_server *named = named_by(group, group->sentinels[i]);
        if (named == NULL || (primary != NULL && named != primary)) {
            return NULL;
        }
        primary = named;
    }
    bool is_one =
        primary != NULL && is_living(primary) && kw_test_server_is_info(primary, "role", "master");
    return is_one ? primary : NULL;
}

/* A field of the sentinel's view of an instance that it lists, as text; false: no such. */
static bool field_of(char *out, size_t out_len, const redisReply *entry, const char *name)
{
    for (size_t i = 0; i + 1 < entry->elements; i += 2) {
        if (strcmp(entry->element[i]->str, name) == 0) {
            snprintf(out, out_len, "%s", entry->element[i + 1]->str);
            return true;
        }
    }
    return false;
}

/* How many entries of the list have no flag that says down. */
static size_t count_up(kw_test_server *sentinel, const char *list)
{
    redisReply *reply = kw_test_server_command(sentinel, "SENTINEL %s mymaster", list);
    size_t n = 0;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        char flags[200] = "";
        char port[20] = "0";
        bool is_whole = field_of(flags, sizeof(flags), reply->element[i], "flags") &&
                        field_of(port, sizeof(port), reply->element[i], "port");
        /* master_down is what a sentinel says of the primary. */
        bool is_up = strstr(flags, "s_down") == NULL && strstr(flags, "o_down") == NULL &&
                     strstr(flags, "disconnected") == NULL;
        n += is_whole && is_up && atoi(port) > 0 ? 1 : 0;
    }
    freeReplyObject(reply);
    return n;
}

static bool is_in_step(kw_test_group *group)
{
    kw_test_server *primary = kw_test_group_primary(group);
    if (primary == NULL) {
        return false;
    }
    size_t living_n = 0;
    size_t sentinels_n = 0;
    for (size_t i = 0; i < group->servers_n; i++) {
        kw_test_server *server = group->servers[i];
        if (!is_living(server)) {
            continue;
        }
        living_n++;
        if (server != primary &&
            (!kw_test_server_is_info(server, "role", "slave") ||
             !kw_test_server_is_info(server, "master_link_status", "up") ||
             kw_test_server_info(server, "master_port") != kw_test_server_port(primary))) {
            return false;
        }
    }
    for (size_t i = 0; i < KW_TEST_SENTINELS; i++) {
        sentinels_n += is_living(group->sentinels[i]) ? 1 : 0;
    }
    for (size_t i = 0; i < KW_TEST_SENTINELS; i++) {
        kw_test_server *sentinel = group->sentinels[i];
        if (is_living(sentinel) && (count_up(sentinel, "REPLICAS") + 1 != living_n ||
                                    count_up(sentinel, "SENTINELS") + 1 != sentinels_n)) {
            return false;
        }
    }
    return true;
}

void kw_test_group_wait(kw_test_group *group, unsigned timeout_ms)
{
    uint64_t end_ms = kw_test_now_ms() + timeout_ms;
    while (!is_in_step(group)) {
        pause_until(end_ms, "no primary that all agree on, with replicas in step");
    }
}

/* True where the server says that it is a primary; false as well where it says nothing. */
static bool says_primary(const kw_test_server *server)
{
    kw_test_link *link = kw_test_server_link(server);
    redisReply *role = link != NULL ? kw_test_link_ask(link, "ROLE") : NULL;
    bool is_primary =
        role != NULL && role->elements > 0 && strcmp(role->element[0]->str, "master") == 0;
    if (role != NULL) {
        freeReplyObject(role);
    }
    kw_test_link_close(link);
    return is_primary;
}

kw_test_server *kw_test_group_wait_promotion(kw_test_group *group, const kw_test_server *old,
                                             uint64_t *promoted_ns)
{
    uint64_t end_ms = kw_test_now_ms() + PROMOTION_MS;
    for (;;) {
        for (size_t i = 0; i < group->servers_n; i++) {
            kw_test_server *server = group->servers[i];
            if (server != old && is_living(server) && says_primary(server)) {
                *promoted_ns = kw_test_now_ns();
                return server;
            }
        }
        if (kw_test_now_ms() > end_ms) {
            kw_test_die("the group is not in time: no replica was promoted");
        }
        kw_test_sleep_ms(2);
    }
}

kw_test_server *kw_test_group_failover(kw_test_group *group, uint64_t *promoted_ns)
{
    kw_test_server *old = kw_test_group_primary(group);
    uint64_t end_ms = kw_test_now_ms() + PROMOTION_MS;
    bool has_begun = false;
    while (!has_begun) {
        redisReply *reply =
            kw_test_server_command(group->sentinels[0], "SENTINEL FAILOVER mymaster");
        has_begun = reply->type == REDIS_REPLY_STATUS; /* else: one is still in progress */
        freeReplyObject(reply);
        if (!has_begun) {
            pause_until(end_ms, "SENTINEL FAILOVER is refused");
        }
    }
    return kw_test_group_wait_promotion(group, old, promoted_ns);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Values on three copies while the nth allocation fails, for every n: calls fail with a
 * reason or not at all, what was acknowledged is there, and nothing is left behind. */
#define RING_SERVERS 4

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway/config.h>
#include <keyway/quorum.h>

#include <hiredis.h>

#include "live/ring_servers.h"

#define ALLOCATIONS_MAX 2000u

static kw_client *open_with(const ring_servers *servers, const kw_allocator *allocator,
                            const char *tail)
{
    char uri[400];
    kw_error error = KW_ERROR_INIT;
    kw_config *config = kw_test_config_new(allocator);
    kw_client *client = NULL;
    ring_uri(uri, sizeof(uri), servers, RING_SERVERS, tail);
    if (config != NULL && kw_config_set_uri(config, &error, uri) == KW_OK) {
        client = kw_open_config(config, &error);
    }
    if (client == NULL && config != NULL) {
        assert_int_equal(error.code, KW_ERR_NOMEM);
    }
    kw_config_free(config);
    return client;
}

static bool is_allowed(kw_err code)
{
    return code == KW_OK || code == KW_ERR_NOMEM || code == KW_ERR_QUORUM;
}

static void assert_read(kw_quorum *quorum, bool was_written, const char *value)
{
    kw_error error = KW_ERROR_INIT;
    kw_quorum_results *results = kw_quorum_get(quorum, &error, "k", 1);
    if (results == NULL) {
        assert_true(is_allowed(error.code));
        return;
    }
    const char *there = kw_quorum_value(results, NULL, 0);
    if (was_written) {
        assert_non_null(there);
        assert_string_equal(there, value);
    }
    kw_quorum_results_free(results);
}

static void run_calls(kw_quorum *quorum, unsigned long fail_at)
{
    char value[24];
    snprintf(value, sizeof(value), "%lu", fail_at);
    kw_error error = KW_ERROR_INIT;
    kw_err code = kw_quorum_set(quorum, &error, "k", 1, value, strlen(value));
    assert_true(is_allowed(code));
    assert_read(quorum, code == KW_OK, value);
    kw_quorum_request requests[4];
    for (size_t i = 0; i < 4; i++) {
        kw_quorum_request request = KW_QUORUM_REQUEST_INIT;
        request.act = i == 3 ? KW_QUORUM_ACT_REPAIR : KW_QUORUM_ACT_SET;
        request.key = (const char *[]){"a", "b", "c", "k"}[i];
        request.key_len = 1;
        request.value = i == 3 ? NULL : value;
        request.value_len = i == 3 ? 0 : strlen(value);
        request.condition = i == 1 ? KW_QUORUM_IF_ABSENT : KW_QUORUM_ALWAYS;
        request.ttl_ms = i == 2 ? 100000 : 0;
        requests[i] = request;
    }
    kw_quorum_results *results = kw_quorum_run(quorum, &error, requests, 4, 0);
    assert_true(results != NULL || error.code == KW_ERR_NOMEM);
    for (size_t i = 0; results != NULL && i < 4; i++) {
        assert_true(is_allowed(kw_quorum_result(results, &error, i)));
    }
    kw_quorum_results_free(results);
    (void)kw_quorum_delete(quorum, &error, "a", 1);
}

/* False where there were fewer allocations. */
static bool run(const ring_servers *servers, unsigned long fail_at, const char *tail)
{
    kw_test_memory memory;
    kw_test_memory_init(&memory, fail_at);
    kw_client *client = open_with(servers, &memory.allocator, tail);
    kw_error error = KW_ERROR_INIT;
    kw_quorum *quorum = client != NULL ? kw_quorum_new(client, &error) : NULL;
    if (quorum != NULL) {
        run_calls(quorum, fail_at);
    }
    kw_quorum_free(quorum);
    kw_close(client);
    long left = kw_test_memory_live(&memory);
    if (left != 0) {
        kw_test_die("allocation %lu: %ld blocks are left", fail_at, left);
    }
    return kw_test_memory_calls(&memory) >= fail_at;
}

static void run_all(const ring_servers *servers, const char *tail)
{
    unsigned long fail_at = 1;
    while (run(servers, fail_at, tail)) {
        fail_at++;
        assert_true(fail_at < ALLOCATIONS_MAX);
    }
    printf("  %s: %lu allocations failed, one a pass\n", tail, fail_at - 1);
}

static void test_quorum_without_memory(void **state)
{
    run_all(*state, "?copies=3&timeout=5s");
    run_all(*state, "?copies=3&timeout=5s&share-above=0");
}

static size_t count_hint_keys(const ring_servers *servers)
{
    size_t n = 0;
    for (size_t i = 0; i < RING_SERVERS; i++) {
        redisReply *keys = kw_test_server_command(servers->servers[i], "KEYS %s*", KW_QUORUM_HINTS);
        n += keys->elements;
        freeReplyObject(keys);
    }
    return n;
}

static kw_quorum *open_hints(kw_client **client, const ring_servers *servers,
                             const kw_test_memory *memory)
{
    kw_error error = KW_ERROR_INIT;
    *client = open_with(servers, &memory->allocator, "?copies=3&timeout=5s&quorum-hints=on");
    return *client != NULL ? kw_quorum_new(*client, &error) : NULL;
}

/* Writes, or reads, some keys. */
static void pass_by(kw_quorum *quorum, bool writes)
{
    kw_error error = KW_ERROR_INIT;
    for (int i = 0; quorum != NULL && i < 8; i++) {
        char key = (char)('k' + i % 4);
        if (writes) {
            (void)kw_quorum_set(quorum, &error, &key, 1, "value", 5);
        }
        kw_quorum_results_free(kw_quorum_get(quorum, &error, &key, 1));
    }
}

static void run_client(const ring_servers *servers, const kw_test_memory *memory, bool writes)
{
    kw_client *client;
    kw_quorum *quorum = open_hints(&client, servers, memory);
    pass_by(quorum, writes);
    kw_quorum_free(quorum);
    kw_close(client);
}

/* What was left comes back. */
static void drain(const ring_servers *servers, const kw_test_memory *memory)
{
    kw_client *client;
    kw_quorum *quorum = open_hints(&client, servers, memory);
    for (int i = 0; i < 2000 && count_hint_keys(servers) > 0; i++) {
        pass_by(quorum, false);
        kw_test_sleep_ms(5);
    }
    assert_int_equal(count_hint_keys(servers), 0);
    kw_quorum_free(quorum);
    kw_close(client);
}

/* One of the servers takes no writes for a while, and gets hints then. */
static bool run_hints(const ring_servers *servers, unsigned long fail_at)
{
    kw_test_memory memory;
    kw_test_memory_init(&memory, fail_at);
    kw_test_server_ok(servers->servers[0], "CONFIG SET min-replicas-to-write 1");
    run_client(servers, &memory, true);
    kw_test_server_ok(servers->servers[0], "CONFIG SET min-replicas-to-write 0");
    size_t left_n = count_hint_keys(servers);
    run_client(servers, &memory, false);
    long live = kw_test_memory_live(&memory);
    if (live != 0) {
        kw_test_die("allocation %lu: %ld blocks are left", fail_at, live);
    }
    bool is_last = kw_test_memory_calls(&memory) < fail_at;
    if (is_last) {
        assert_true(left_n > 0);
        kw_test_memory_init(&memory, 0);
        drain(servers, &memory);
    }
    return !is_last;
}

static void test_quorum_hints_without_memory(void **state)
{
    unsigned long fail_at = 1;
    while (run_hints(*state, fail_at)) {
        fail_at++;
        assert_true(fail_at < 10 * ALLOCATIONS_MAX);
    }
    printf("  %lu allocations failed, one a pass\n", fail_at - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quorum_without_memory),
        cmocka_unit_test(test_quorum_hints_without_memory),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}

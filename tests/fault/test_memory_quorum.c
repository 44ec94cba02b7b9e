/* Values on three copies while the nth allocation fails, for every n: calls fail with a
 * reason or not at all, what was acknowledged is there, and nothing is left behind. */
#define RING_SERVERS 3

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway/config.h>
#include <keyway/quorum.h>

#include "live/ring_servers.h"

#define ALLOCATIONS_MAX 2000u

static kw_client *open_with(const ring_servers *servers, const kw_allocator *allocator)
{
    char uri[400];
    kw_error error = KW_ERROR_INIT;
    kw_config *config = kw_config_new(allocator);
    kw_client *client = NULL;
    ring_uri(uri, sizeof(uri), servers, RING_SERVERS, "?copies=3&timeout=5s");
    if (config != NULL && kw_config_set_uri(config, uri, &error) == KW_OK) {
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
    const char *there = kw_quorum_value(results, 0, NULL);
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
        assert_true(is_allowed(kw_quorum_result(results, i, &error)));
    }
    kw_quorum_results_free(results);
    (void)kw_quorum_delete(quorum, &error, "a", 1);
}

/* False where there were fewer allocations. */
static bool run(const ring_servers *servers, unsigned long fail_at)
{
    kw_test_memory memory;
    kw_test_memory_init(&memory, fail_at);
    kw_client *client = open_with(servers, &memory.allocator);
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

static void test_quorum_without_memory(void **state)
{
    unsigned long fail_at = 1;
    while (run(*state, fail_at)) {
        fail_at++;
        assert_true(fail_at < ALLOCATIONS_MAX);
    }
    printf("  %lu allocations failed, one a pass\n", fail_at - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quorum_without_memory),
    };
    return cmocka_run_group_tests(tests, ring_start, ring_stop);
}

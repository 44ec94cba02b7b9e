/* SPDX-License-Identifier: BSD-3-Clause */
/* No memory while the first map is fetched: the call says so at once, in every way of sending. */
#include "fake/fakes.h"
#include "support/ways.h"

/* Long beside what a call without memory takes. */
#define TIMEOUT_MS 60000u

/* What the handle's first call, "GET foo", ends with where allocations from number at on fail, all
 * of them or that one alone. False once the call has fewer. */
static bool run(const char *uri, kw_test_way way, unsigned long at, bool fails_on)
{
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    kw_config *config = kw_test_config_new(&memory.allocator);
    assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
    kw_client *kw = kw_open_config(config, NULL);
    kw_config_free(config);
    assert_non_null(kw);
    memory.fail_at = kw_test_memory_calls(&memory) + at;
    memory.fail_on = fails_on;
    kw_test_end end = kw_test_send(kw, way, "GET", "foo");
    bool was_there = kw_test_memory_calls(&memory) >= memory.fail_at;
    memory.fail_at = 0;
    if (!end.is_answered && end.error.code != KW_ERR_NOMEM) {
        fail_msg("%s, allocation %lu%s: %s: %s", kw_test_way_name(way), at, fails_on ? " on" : "",
                 kw_err_name(end.error.code), end.error.text);
    }
    if (end.took_us > TIMEOUT_MS * 1000 / 2) {
        fail_msg("%s, allocation %lu%s: only after %u ms", kw_test_way_name(way), at,
                 fails_on ? " on" : "", (unsigned)(end.took_us / 1000));
    }
    kw_close(kw);
    assert_int_equal(kw_test_memory_live(&memory), 0);
    return was_there;
}

static void run_all(const char *uri)
{
    for (int way = 0; way < KW_TEST_WAYS_N; way++) {
        for (int fails_on = 0; fails_on < 2; fails_on++) {
            unsigned long at = 1;
            while (run(uri, (kw_test_way)way, at, fails_on != 0)) {
                at++;
            }
            assert_in_range(at, 10, 2000);
        }
    }
}

static void test_map_without_memory_is_an_error_at_once(void **state)
{
    (void)state;
    char uri[200];
    renew_fakes();
    for (size_t i = 0; i < FAKES_N; i++) {
        answer(fakes[i], "GET *", "$1\r\nv");
    }
    snprintf(uri, sizeof(uri), "redis-cluster://%s?timeout=%ums", kw_fake_address(fakes[0]),
             TIMEOUT_MS);
    run_all(uri);
    /* A second seed that nobody is at: what was wrong with the first is said all the same. */
    snprintf(uri, sizeof(uri), "redis-cluster://%s,127.0.0.1:1?timeout=%ums",
             kw_fake_address(fakes[0]), TIMEOUT_MS);
    run_all(uri);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_without_memory_is_an_error_at_once),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

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

/* However long there was none: that says nothing against the servers, and the first call that has
 * memory asks them. */
static void test_map_is_asked_for_once_there_is_memory(void **state)
{
    (void)state;
    static const char *const uris[] = {"redis-cluster://%s?timeout=10s",
                                       "redis-sentinel://%s/group?timeout=10s"};
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
        char uri[200];
        renew_fakes();
        snprintf(uri, sizeof(uri), uris[i], kw_fake_address(fakes[0]));
        kw_test_memory memory;
        kw_test_memory_init(&memory, 0);
        kw_config *config = kw_test_config_new(&memory.allocator);
        assert_int_equal(kw_config_set_uri(config, NULL, uri), KW_OK);
        kw_client *kw = kw_open_config(config, NULL);
        kw_config_free(config);
        memory.fail_on = true;
        memory.fail_at = kw_test_memory_calls(&memory) + 1;
        kw_error error = KW_ERROR_INIT;
        for (uint64_t end_ms = kw_test_now_ms() + 1500; kw_test_now_ms() < end_ms;) {
            assert_null(kw_command(kw, &error, "GET foo"));
            assert_int_equal(error.code, KW_ERR_NOMEM);
            kw_test_sleep_ms(20);
        }
        memory.fail_at = 0;
        error = (kw_error)KW_ERROR_INIT;
        kw_reply_free(kw_command(kw, &error, "GET foo")); /* whatever it brings */
        if (error.code == KW_ERR_NOMEM) {
            fail_msg("%s: %s", uri, error.text);
        }
        kw_close(kw);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_without_memory_is_an_error_at_once),
        cmocka_unit_test(test_map_is_asked_for_once_there_is_memory),
    };
    return cmocka_run_group_tests(tests, start_fakes, stop_fakes);
}

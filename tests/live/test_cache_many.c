/* SPDX-License-Identifier: BSD-3-Clause */
/* Many values at once, from memory and from all servers. KW_TEST_FAST */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hiredis.h>

#include "live/cache_places.h"

#define N 200

/* key:i has the value i, but where i % 5 is 4: there is none. */
typedef struct wanted {
    char names[N][20];
    kw_cache_bytes keys[N];
    kw_cache_value values[N];
} wanted;

static void name_all(wanted *self, kw_client *client)
{
    for (size_t i = 0; i < N; i++) {
        static const kw_cache_value nothing = KW_CACHE_VALUE_INIT;
        snprintf(self->names[i], sizeof(self->names[i]), "key:%zu", i);
        self->keys[i] = kw_cache_text(self->names[i]);
        self->values[i] = nothing;
        if (i % 5 != 4) {
            kw_test_ask_ok(client, "SET %s %zu", self->names[i], i);
        }
    }
}

/* What all of them are; how many came from the source. */
static size_t check_all(wanted *self, kw_cache_source source)
{
    size_t n = 0;
    for (size_t i = 0; i < N; i++) {
        kw_cache_value *value = &self->values[i];
        if (i % 5 == 4) {
            assert_null(value->data);
            assert_int_equal(value->source, KW_CACHE_FROM_NOWHERE);
        } else {
            char text[20];
            snprintf(text, sizeof(text), "%zu", i);
            assert_int_equal(value->len, strlen(text));
            assert_memory_equal(value->data, text, value->len);
        }
        n += value->source == source ? 1 : 0;
        kw_cache_release(value);
    }
    return n;
}

static size_t get_all(wanted *self, kw_cache *cache, kw_cache_source source)
{
    kw_error error = KW_ERROR_INIT;
    kw_err code = kw_cache_get_many(cache, &error, self->values, self->keys, N);
    if (code != KW_OK) {
        fprintf(stderr, "get_many: %s\n", error.text);
        fail();
    }
    return check_all(self, source);
}

static void test_all_come_from_their_servers(void **state)
{
    (void)state;
    static const char *const options[] = {NULL, "stale=10s"};
    for (size_t i = 0; i < 2; i++) {
        wanted self;
        stage at = begin(options[i]);
        name_all(&self, at.other);
        size_t n = get_all(&self, at.cache, KW_CACHE_FROM_SERVER);
        assert_int_equal(n, N / 5 * 4);
        kw_cache_figures figures = cache_figures(at.cache);
        assert_int_equal(figures.hits, N / 5 * 4);
        assert_int_equal(figures.misses, N / 5);
        end(&at);
    }
}

/* Values that somebody has stored with a shorter life than stale are over, but for stale. */
static void test_lives_are_looked_at(void **state)
{
    (void)state;
    stage at = begin("stale=100s&stale-if-error=200s");
    kw_test_ask_ok(at.other, "SET fresh 1 PX 900000");
    kw_test_ask_ok(at.other, "SET stale 2 PX 150000");
    kw_test_ask_ok(at.other, "SET over 3 PX 50000");
    kw_cache_bytes keys[3] = {kw_cache_text("fresh"), kw_cache_text("stale"),
                              kw_cache_text("over")};
    kw_cache_value values[3] = {KW_CACHE_VALUE_INIT, KW_CACHE_VALUE_INIT, KW_CACHE_VALUE_INIT};
    assert_int_equal(kw_cache_get_many(at.cache, NULL, values, keys, 3), KW_OK);
    assert_int_equal(values[0].source, KW_CACHE_FROM_SERVER);
    assert_int_equal(values[1].source, KW_CACHE_FROM_STALE);
    assert_int_equal(values[2].source, KW_CACHE_FROM_NOWHERE);
    for (size_t i = 0; i < 3; i++) {
        kw_cache_release(&values[i]);
    }
    end(&at);
}

static void test_what_was_read_together_is_near(void **state)
{
    (void)state;
    wanted self;
    stage at = begin("near-bytes=4mb&near-ttl=1h&near-staleness=10s");
    name_all(&self, at.other);
    KW_TEST_UNTIL(get_all(&self, at.cache, KW_CACHE_FROM_NEAR) == N / 5 * 4)
    {
        kw_test_sleep_ms(1);
    }
    /* One that is written is read again, the others are not. */
    kw_test_ask_ok(at.client, "SET key:0 0");
    assert_int_equal(get_all(&self, at.cache, KW_CACHE_FROM_NEAR), N / 5 * 4 - 1);
    KW_TEST_UNTIL(get_all(&self, at.cache, KW_CACHE_FROM_NEAR) == N / 5 * 4)
    {
        kw_test_sleep_ms(1); /* until the message about the write has come */
    }
    end(&at);
}

/* Whatever becomes of one, the others are given. */
static void test_a_key_of_another_kind_fails_alone(void **state)
{
    (void)state;
    static const char *const options[] = {NULL, "near-bytes=4mb&near-staleness=10s", "stale=1s"};
    for (size_t i = 0; i < 3; i++) {
        wanted self;
        stage at = begin(options[i]);
        name_all(&self, at.other);
        kw_reply_free(kw_test_ask(at.other, "DEL key:7"));
        kw_reply_free(kw_test_ask(at.other, "RPUSH key:7 a"));
        for (int round = 0; round < 20; round++) {
            kw_error error = KW_ERROR_INIT;
            assert_int_equal(kw_cache_get_many(at.cache, &error, self.values, self.keys, N),
                             KW_ERR_SERVER);
            assert_non_null(strstr(error.text, "WRONGTYPE"));
            assert_int_equal(self.values[7].source, KW_CACHE_UNKNOWN);
            assert_null(self.values[7].data);
            for (size_t k = 0; k < N; k++) {
                assert_true(k == 7 || self.values[k].source != KW_CACHE_UNKNOWN);
                assert_int_equal(self.values[k].data != NULL, k % 5 != 4 && k != 7);
                kw_cache_release(&self.values[k]);
            }
        }
        end(&at);
    }
}

static void test_wrong_arguments_are_refused(void **state)
{
    (void)state;
    stage at = begin(NULL);
    kw_error error = KW_ERROR_INIT;
    kw_cache_bytes key = {NULL, 1};
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    assert_int_equal(kw_cache_get_many(at.cache, &error, &value, &key, 1), KW_ERR_ARGUMENT);
    assert_int_equal(kw_cache_get_many(at.cache, &error, NULL, &key, 1), KW_ERR_ARGUMENT);
    key = kw_cache_text("k");
    assert_int_equal(kw_cache_get_many(NULL, &error, &value, &key, 1), KW_ERR_ARGUMENT);
    value.size = 0;
    assert_int_equal(kw_cache_get_many(at.cache, &error, &value, &key, 1), KW_ERR_ARGUMENT);
    assert_int_equal(kw_cache_get_many(at.cache, &error, NULL, NULL, 0), KW_OK);
    end(&at);
}

static int run_at(const char *name)
{
    char *place = (char *)(uintptr_t)name;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(test_all_come_from_their_servers, cache_here_start,
                                                 NULL, place),
        cmocka_unit_test_prestate(test_lives_are_looked_at, place),
        cmocka_unit_test_prestate(test_what_was_read_together_is_near, place),
        cmocka_unit_test_prestate(test_a_key_of_another_kind_fails_alone, place),
        cmocka_unit_test_prestate_setup_teardown(test_wrong_arguments_are_refused, NULL,
                                                 cache_here_stop, place),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    return run_at("server") + run_at("cluster") + run_at("ring") + run_at("sentinel");
}

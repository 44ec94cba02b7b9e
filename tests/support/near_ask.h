/* SPDX-License-Identifier: BSD-3-Clause */
/* Values of a cache as texts, and waits until they are near, or what they should be. */
#ifndef SUPPORT_NEAR_ASK_H
#define SUPPORT_NEAR_ASK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <keyway/cache.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"

/* The value as text, and where it came from. */
static inline kw_cache_source near_get(kw_cache *cache, char text[100], const char *key)
{
    kw_error error = KW_ERROR_INIT;
    kw_cache_value value = KW_CACHE_VALUE_INIT;
    if (kw_cache_get(cache, &error, &value, kw_cache_text(key)) != KW_OK) {
        kw_test_die("get %s: %s", key, error.text);
    }
    snprintf(text, 100, "%.*s", (int)value.len, value.data != NULL ? value.data : "");
    kw_cache_source source = value.source;
    kw_cache_release(&value);
    return source;
}

static inline void assert_is(kw_cache *cache, const char *key, const char *expected)
{
    char text[100];
    (void)near_get(cache, text, key);
    assert_string_equal(text, expected);
}

/* Until the value comes from memory. */
static inline void await_near(kw_cache *cache, const char *key, const char *expected)
{
    char text[100];
    KW_TEST_UNTIL(near_get(cache, text, key) == KW_CACHE_FROM_NEAR)
    {
        assert_string_equal(text, expected);
        kw_test_sleep_ms(2);
    }
    assert_string_equal(text, expected);
}

static inline void await_value(kw_cache *cache, const char *key, const char *expected)
{
    char text[100] = "?";
    KW_TEST_UNTIL(strcmp(text, expected) == 0)
    {
        (void)near_get(cache, text, key);
        kw_test_sleep_ms(1);
    }
}

#endif

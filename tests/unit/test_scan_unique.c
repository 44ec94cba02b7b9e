/* SPDX-License-Identifier: BSD-3-Clause */
/* The filter of keys that were given: exact, and bounded. */
#include "engine/scan_unique.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_new(kw_scan_unique *unique, size_t number)
{
    char key[32];
    int len = snprintf(key, sizeof(key), "key:%zu", number);
    return kw_scan_unique_is_new(unique, (kw_bytes){key, (size_t)len});
}

static void test_unique_knows_what_was_added(void **state)
{
    (void)state;
    kw_scan_unique unique;
    kw_scan_unique_init(&unique, kw_mem_default(), 1 << 20, 7);
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < 10000; i++) {
            assert_true(is_new(&unique, i) == (round == 0));
        }
    }
    assert_true(kw_scan_unique_is_new(&unique, (kw_bytes){NULL, 0}));
    assert_false(kw_scan_unique_is_new(&unique, (kw_bytes){NULL, 0}));
    assert_true(kw_scan_unique_is_new(&unique, (kw_bytes){"\0", 1}));
    kw_scan_unique_fini(&unique);
}

static size_t held;

static void *count_realloc(void *arg, void *block, size_t len)
{
    (void)arg;
    size_t *before = block != NULL ? (size_t *)block - 2 : NULL;
    held -= before != NULL ? before[0] : 0;
    size_t *after = realloc(before, len + 2 * sizeof(size_t));
    after[0] = len;
    held += len;
    return after + 2;
}

static void *count_malloc(void *arg, size_t len)
{
    return count_realloc(arg, NULL, len);
}

static void count_free(void *arg, void *block)
{
    (void)arg;
    if (block != NULL) {
        held -= ((size_t *)block - 2)[0];
        free((size_t *)block - 2);
    }
}

/* Without room every key that was not added is new each time; none is called known. */
static void test_unique_keeps_its_bound(void **state)
{
    (void)state;
    const kw_allocator mem = {sizeof(mem), NULL, count_malloc, count_realloc, count_free};
    for (size_t max = 0; max < 300000; max = max * 2 + 1000) {
        kw_scan_unique unique;
        size_t known_n = 0;
        kw_scan_unique_init(&unique, &mem, max, 7);
        for (size_t i = 0; i < 20000; i++) {
            assert_true(is_new(&unique, i));
            assert_true(held <= max);
        }
        for (size_t i = 0; i < 20000; i++) {
            known_n += is_new(&unique, i) ? 0 : 1;
        }
        assert_true(known_n == unique.n);
        assert_true(max < 20000 || known_n > max / 100);
        kw_scan_unique_fini(&unique);
        assert_int_equal(held, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unique_knows_what_was_added),
        cmocka_unit_test(test_unique_keeps_its_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

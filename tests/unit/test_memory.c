/* SPDX-License-Identifier: BSD-3-Clause */
/* The host's allocator, and sizes that overflow. */
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/check.h"

static void test_memory_default_allocates_and_frees(void **state)
{
    (void)state;
    const kw_allocator *mem = kw_mem_default();
    assert_int_equal(mem->size, sizeof(kw_allocator));
    char *block = kw_mem_alloc(mem, 3);
    assert_non_null(block);
    memcpy(block, "abc", 3);
    block = kw_mem_resize(mem, block, 100, 10);
    assert_non_null(block);
    assert_memory_equal(block, "abc", 3);
    kw_mem_free(mem, block);
    kw_mem_free(mem, NULL);
}

static void test_memory_of_no_bytes_is_a_block(void **state)
{
    (void)state;
    const kw_allocator *mem = kw_mem_default();
    void *a = kw_mem_alloc(mem, 0);
    void *b = kw_mem_calloc(mem, 0, 8);
    void *c = kw_mem_resize(mem, NULL, 8, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    kw_mem_free(mem, a);
    kw_mem_free(mem, b);
    kw_mem_free(mem, c);
}

static void test_memory_calloc_gives_zeros(void **state)
{
    (void)state;
    static const char zeros[400];
    char *block = kw_mem_calloc(kw_mem_default(), 40, 10);
    assert_non_null(block);
    assert_memory_equal(block, zeros, sizeof(zeros));
    kw_mem_free(kw_mem_default(), block);
}

static void test_memory_overflow_is_refused_before_the_host(void **state)
{
    (void)state;
    kw_test_memory memory;
    kw_test_memory_init(&memory, 0);
    const kw_allocator *mem = &memory.allocator;
    assert_null(kw_mem_calloc(mem, SIZE_MAX / 2, 3));
    assert_null(kw_mem_resize(mem, NULL, SIZE_MAX, 2));
    assert_null(kw_mem_strndup(mem, "x", SIZE_MAX));
    assert_int_equal(kw_test_memory_calls(&memory), 0);
}

static void test_memory_failure_of_the_host_is_null(void **state)
{
    (void)state;
    kw_test_memory memory;
    kw_test_memory_init(&memory, 2);
    memory.fail_on = true;
    const kw_allocator *mem = &memory.allocator;
    char *block = kw_mem_strndup(mem, "abc", 3);
    assert_string_equal(block, "abc");
    assert_null(kw_mem_alloc(mem, 1));
    assert_null(kw_mem_calloc(mem, 1, 1));
    assert_null(kw_mem_strndup(mem, "x", 1));
    assert_null(kw_mem_resize(mem, block, 100, 1));
    assert_string_equal(block, "abc");
    kw_mem_free(mem, block);
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

static void test_memory_strndup_ends_with_zero(void **state)
{
    (void)state;
    const kw_allocator *mem = kw_mem_default();
    char *copy = kw_mem_strndup(mem, "a\0bcd", 3);
    assert_memory_equal(copy, "a\0b", 4);
    kw_mem_free(mem, copy);
    copy = kw_mem_strndup(mem, NULL, 0);
    assert_string_equal(copy, "");
    kw_mem_free(mem, copy);
}

static void test_size_mul_and_add_see_overflow(void **state)
{
    (void)state;
    size_t result = 77;
    assert_true(kw_size_mul(&result, 0, SIZE_MAX) && result == 0);
    assert_true(kw_size_mul(&result, SIZE_MAX, 0) && result == 0);
    assert_true(kw_size_mul(&result, SIZE_MAX, 1) && result == SIZE_MAX);
    assert_true(kw_size_mul(&result, SIZE_MAX / 3, 3) && result == SIZE_MAX / 3 * 3);
    assert_true(kw_size_add(&result, SIZE_MAX, 0) && result == SIZE_MAX);
    assert_true(kw_size_add(&result, 2, 3) && result == 5);
    assert_false(kw_size_mul(&result, SIZE_MAX / 2 + 1, 2));
    assert_false(kw_size_mul(&result, 2, SIZE_MAX / 2 + 1));
    assert_false(kw_size_add(&result, SIZE_MAX, 1));
    assert_false(kw_size_add(&result, 1, SIZE_MAX));
    assert_int_equal(result, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_default_allocates_and_frees),
        cmocka_unit_test(test_memory_of_no_bytes_is_a_block),
        cmocka_unit_test(test_memory_calloc_gives_zeros),
        cmocka_unit_test(test_memory_overflow_is_refused_before_the_host),
        cmocka_unit_test(test_memory_failure_of_the_host_is_null),
        cmocka_unit_test(test_memory_strndup_ends_with_zero),
        cmocka_unit_test(test_size_mul_and_add_see_overflow),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The heap gives what is due first, whatever was put in and taken out in between. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/heap.h"
#include "base/random.h"
#include "support/check.h"

#define ENTRIES_N 200

static void test_heap_gives_the_first_one_whatever_was_taken_out(void **state)
{
    (void)state;
    kw_heap heap;
    kw_heap_entry entries[ENTRIES_N] = {{0, 0}};
    kw_random random;
    kw_random_init(&random, kw_test_seed("heap"));
    kw_heap_init(&heap, kw_mem_default());
    assert_null(kw_heap_first(&heap));
    assert_true(kw_heap_first_ns(&heap) == UINT64_MAX);
    for (unsigned turn = 0; turn < 20000; turn++) {
        kw_heap_entry *entry = &entries[kw_random_below(&random, ENTRIES_N)];
        if (kw_heap_has(entry)) {
            kw_heap_remove(&heap, entry);
        } else {
            assert_true(kw_heap_push(&heap, entry, kw_random_below(&random, 50)));
        }
        uint64_t least_ns = UINT64_MAX;
        size_t n = 0;
        for (size_t i = 0; i < ENTRIES_N; i++) {
            bool is_in = kw_heap_has(&entries[i]);
            n += is_in ? 1 : 0;
            least_ns = is_in && entries[i].at_ns < least_ns ? entries[i].at_ns : least_ns;
        }
        assert_int_equal(heap.n, n);
        assert_true(kw_heap_first_ns(&heap) == least_ns);
    }
    for (uint64_t before_ns = 0; kw_heap_first(&heap) != NULL;) {
        kw_heap_entry *first = kw_heap_first(&heap);
        assert_true(first->at_ns >= before_ns);
        before_ns = first->at_ns;
        kw_heap_remove(&heap, first);
        kw_heap_remove(&heap, first); /* once more is nothing */
    }
    kw_heap_fini(&heap);
}

static bool is_odd(void *arg, kw_heap_entry *entry)
{
    ++*(size_t *)arg;
    return entry->at_ns % 2 == 1;
}

static void test_heap_gives_up_all_of_a_kind_at_once(void **state)
{
    (void)state;
    kw_random random;
    kw_random_init(&random, kw_test_seed("heap"));
    for (size_t entries_n = 0; entries_n < 60; entries_n++) {
        kw_heap heap;
        kw_heap_entry entries[60] = {{0, 0}};
        size_t odd_n = 0;
        size_t asked_n = 0;
        kw_heap_init(&heap, kw_mem_default());
        for (size_t i = 0; i < entries_n; i++) {
            assert_true(kw_heap_push(&heap, &entries[i], kw_random_below(&random, 50)));
            odd_n += entries[i].at_ns % 2;
        }
        kw_heap_take_out(&heap, is_odd, &asked_n);
        assert_int_equal(asked_n, entries_n);
        assert_int_equal(heap.n, entries_n - odd_n);
        for (uint64_t before_ns = 0; kw_heap_first(&heap) != NULL;) {
            kw_heap_entry *first = kw_heap_first(&heap);
            assert_true(first->at_ns >= before_ns && first->at_ns % 2 == 0);
            before_ns = first->at_ns;
            kw_heap_remove(&heap, first);
        }
        for (size_t i = 0; i < entries_n; i++) {
            assert_false(kw_heap_has(&entries[i]));
        }
        kw_heap_fini(&heap);
    }
}

static void test_heap_without_memory_is_as_before(void **state)
{
    (void)state;
    kw_test_memory memory;
    kw_heap heap;
    kw_heap_entry entries[32] = {{0, 0}};
    kw_test_memory_init(&memory, 2);
    kw_heap_init(&heap, &memory.allocator);
    size_t n = 0;
    while (n < 32 && kw_heap_push(&heap, &entries[n], 32 - n)) {
        n++;
    }
    assert_in_range(n, 1, 31);
    assert_false(kw_heap_has(&entries[n]));
    assert_int_equal(heap.n, n);
    kw_heap_fini(&heap);
    assert_int_equal(kw_test_memory_live(&memory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heap_gives_the_first_one_whatever_was_taken_out),
        cmocka_unit_test(test_heap_gives_up_all_of_a_kind_at_once),
        cmocka_unit_test(test_heap_without_memory_is_as_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

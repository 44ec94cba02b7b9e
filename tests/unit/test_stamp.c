/* SPDX-License-Identifier: BSD-3-Clause */
/* Stamps in order, and clocks that go back or are slow. */
#include "engine/stamp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define NOW UINT64_C(1700000000000)

static const kw_stamp zero = {0, 0};

static void test_stamp_order_is_that_of_its_bytes(void **state)
{
    (void)state;
    static const kw_stamp stamps[] = {
        {0, 0},   {0, 1},   {1, 0},     {1, UINT64_MAX},        {2, 0},
        {255, 7}, {256, 0}, {256, 255}, {KW_STAMP_TIME_MAX, 0}, {KW_STAMP_TIME_MAX, UINT64_MAX},
    };
    size_t n = sizeof(stamps) / sizeof(stamps[0]);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n; k++) {
            unsigned char a[KW_STAMP_BYTES];
            unsigned char b[KW_STAMP_BYTES];
            kw_stamp_put(a, stamps[i]);
            kw_stamp_put(b, stamps[k]);
            int order = kw_stamp_compare(stamps[i], stamps[k]);
            int bytes = memcmp(a, b, sizeof(a));
            assert_int_equal(order < 0, bytes < 0);
            assert_int_equal(order > 0, bytes > 0);
            assert_int_equal(order < 0, i < k);
            assert_true(kw_stamp_equal(kw_stamp_get(a), stamps[i]));
        }
    }
}

static void test_stamper_clock_that_goes_back_never_gives_an_earlier_stamp(void **state)
{
    (void)state;
    kw_stamper stamper;
    kw_stamper_init(&stamper, 7, UINT64_MAX);
    kw_stamp last = zero;
    static const uint64_t clocks[] = {NOW, NOW, NOW + 5, NOW - 5000, 0, NOW - 1, UINT64_MAX, 3};
    for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
        kw_stamp next = kw_stamper_next(&stamper, clocks[i], zero);
        assert_true(kw_stamp_compare(next, last) > 0);
        assert_true(next.writer == 7);
        last = next;
    }
}

static void test_stamper_goes_past_what_it_is_told(void **state)
{
    (void)state;
    kw_stamper stamper;
    kw_stamper_init(&stamper, 7, UINT64_MAX);
    kw_stamp far = {(NOW + 86400000) << 16, 9};
    kw_stamp next = kw_stamper_next(&stamper, NOW, far);
    assert_true(kw_stamp_compare(next, far) > 0);
    assert_true(next.time == far.time + 1);
}

static void test_stamper_slow_clock_keeps_up_after_one_meeting(void **state)
{
    (void)state;
    kw_stamper slow;
    kw_stamper_init(&slow, 7, UINT64_MAX);
    kw_stamp fast = {(NOW + 5000) << 16, 9};
    kw_stamper_learn(&slow, NOW - 5000, fast);
    /* A second later for both. */
    kw_stamp next = kw_stamper_next(&slow, NOW - 4000, zero);
    assert_true(next.time >> 16 == NOW + 6000);
}

static void test_stamper_mad_clock_is_followed_only_once(void **state)
{
    (void)state;
    kw_stamper stamper;
    kw_stamper_init(&stamper, 7, UINT64_MAX);
    kw_stamp mad = {(NOW + KW_STAMPER_OFFSET_MAX_MS + 1000) << 16, 9};
    kw_stamper_learn(&stamper, NOW, mad);
    kw_stamp next = kw_stamper_next(&stamper, NOW, zero);
    assert_true(next.time == mad.time + 1);
    next = kw_stamper_next(&stamper, NOW + 2 * KW_STAMPER_OFFSET_MAX_MS, zero);
    assert_true(next.time >> 16 == NOW + 2 * KW_STAMPER_OFFSET_MAX_MS);
    kw_stamp impossible = {UINT64_MAX, 9};
    kw_stamper_learn(&stamper, NOW, impossible);
    assert_true(kw_stamper_next(&stamper, NOW, zero).time <= KW_STAMP_TIME_MAX);
}

/* Two writers whose clocks step to and fro between 200 ms behind and ahead, as a bound of 500 ms
 * allows, and who see all that the other one gives. */
static void test_stamper_clocks_that_step_do_not_drive_each_other_on(void **state)
{
    (void)state;
    kw_stamper stampers[2];
    kw_stamper_init(&stampers[0], 7, 500);
    kw_stamper_init(&stampers[1], 9, 500);
    for (unsigned round = 0; round < 1000; round++) {
        uint64_t now_ms = NOW + 10 * (uint64_t)round;
        for (unsigned i = 0; i < 2; i++) {
            uint64_t clocks_ms[2];
            clocks_ms[i] = (round / 3 + i) % 2 == 0 ? now_ms - 200 : now_ms + 200;
            clocks_ms[1 - i] = (round / 3 + i) % 2 == 0 ? now_ms + 200 : now_ms - 200;
            kw_stamp stamp = kw_stamper_next(&stampers[i], clocks_ms[i], zero);
            assert_true(kw_stamp_ms(stamp) <= now_ms + 200 + 500 / KW_STAMPER_OFFSET_PARTS);
            /* Who knows nothing, and is behind, believes it. */
            kw_stamper fresh;
            kw_stamper_init(&fresh, 11, 500);
            assert_true(stamp.time <= kw_stamper_latest(&fresh, now_ms - 200, 500));
            kw_stamper_learn(&stampers[1 - i], clocks_ms[1 - i], stamp);
        }
    }
}

static void test_stamper_latest_is_a_bound_for_what_others_give(void **state)
{
    (void)state;
    kw_stamper stamper;
    kw_stamper_init(&stamper, 7, UINT64_MAX);
    uint64_t latest = kw_stamper_latest(&stamper, NOW, 1000);
    assert_true(latest >> 16 == NOW + 1000);
    kw_stamper ahead;
    kw_stamper_init(&ahead, 9, UINT64_MAX);
    assert_true(kw_stamper_next(&ahead, NOW + 1000, zero).time <= latest);
    assert_true(kw_stamper_next(&ahead, NOW + 1001, zero).time > latest);
    /* With a clock at the end of the format nothing is beyond it. */
    assert_true(kw_stamper_latest(&stamper, UINT64_MAX, UINT64_MAX) == KW_STAMP_TIME_MAX);
    kw_stamp last = {KW_STAMP_TIME_MAX, 9};
    assert_true(kw_stamper_next(&stamper, NOW, last).time > KW_STAMP_TIME_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stamp_order_is_that_of_its_bytes),
        cmocka_unit_test(test_stamper_clock_that_goes_back_never_gives_an_earlier_stamp),
        cmocka_unit_test(test_stamper_goes_past_what_it_is_told),
        cmocka_unit_test(test_stamper_slow_clock_keeps_up_after_one_meeting),
        cmocka_unit_test(test_stamper_mad_clock_is_followed_only_once),
        cmocka_unit_test(test_stamper_clocks_that_step_do_not_drive_each_other_on),
        cmocka_unit_test(test_stamper_latest_is_a_bound_for_what_others_give),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

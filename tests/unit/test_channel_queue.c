/* SPDX-License-Identifier: BSD-3-Clause */
/* The queue of a channel: which commands are told what comes some places behind them, while others
 * leave from anywhere. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "drive/channel.h"
#include "base/random.h"
#include "support/check.h"

#define ITEMS_N ((size_t)4 * KW_CHANNEL_MANY_N)

static kw_item items[ITEMS_N];

/* Where the command is in the queue; ITEMS_N: it is not there. */
static size_t place_of(const kw_channel *channel, const kw_item *item)
{
    size_t place = 0;
    for (const kw_item *at = channel->queue.head; at != NULL; at = at->next, place++) {
        if (at == item) {
            return place;
        }
    }
    return ITEMS_N;
}

static void assert_whole(const kw_channel *channel, size_t n)
{
    size_t seen_n = 0;
    for (const kw_item *at = channel->queue.head; at != NULL; at = at->next) {
        assert_int_equal(at->state, KW_ITEM_QUEUED);
        seen_n++;
    }
    assert_int_equal(seen_n, n);
    assert_int_equal(channel->queued_n, n);
    assert_true(channel->untold == NULL || place_of(channel, channel->untold) < ITEMS_N);
}

static void test_channel_queue_long_tells_what_comes_soon(void **state)
{
    kw_channel channel = {.choosy_n = 0};
    (void)state;
    for (size_t i = 0; i < ITEMS_N; i++) {
        kw_channel_enqueue(&channel, &items[i]);
    }
    assert_whole(&channel, ITEMS_N);
    size_t told_n = 0;
    for (size_t i = 0; i < ITEMS_N; i++) {
        if (items[i].ahead != NULL) {
            size_t places = (size_t)(items[i].ahead - &items[i]);
            assert_true(places > 0 && places < 16);
            told_n++;
        }
    }
    assert_true(told_n > ITEMS_N - KW_CHANNEL_MANY_N - 16);
    assert_null(items[KW_CHANNEL_MANY_N - 1].ahead); /* it was put while the queue was short */
    while (channel.queue.head != NULL) {
        kw_item *item = channel.queue.head;
        kw_channel_dequeue(&channel, item);
        assert_int_equal(item->sent_ns, 0);
    }
    assert_whole(&channel, 0);
    assert_null(channel.untold);
}

static void test_channel_queue_taken_from_anywhere_names_none_that_is_gone(void **state)
{
    kw_channel channel = {.choosy_n = 0};
    kw_random random;
    (void)state;
    kw_random_init(&random, kw_test_seed("queue"));
    size_t n = 0;
    for (size_t i = 0; i < ITEMS_N; i++) {
        items[i].state = KW_ITEM_NEW;
    }
    for (size_t step = 0; step < 8 * ITEMS_N; step++) {
        bool fills = (step / ITEMS_N) % 2 == 0; /* it grows long, and short again */
        kw_item *item = &items[kw_random_next(&random) % ITEMS_N];
        if (item->state != KW_ITEM_QUEUED && (fills || kw_random_next(&random) % 4 == 0)) {
            kw_channel_enqueue(&channel, item);
            n++;
        } else if (item->state == KW_ITEM_QUEUED && (!fills || kw_random_next(&random) % 8 == 0)) {
            kw_channel_dequeue(&channel, item);
            item->state = KW_ITEM_NEW;
            n--;
        }
        assert_int_equal(channel.queued_n, n);
        assert_true(channel.untold == NULL || channel.untold->state == KW_ITEM_QUEUED);
    }
    assert_whole(&channel, n);
    kw_items taken = {NULL, NULL};
    kw_channel_take_queue(&channel, &taken);
    assert_whole(&channel, 0);
    assert_null(channel.untold);
    for (kw_item *at = taken.head; at != NULL; at = at->next, n--) {
        assert_int_equal(at->state, KW_ITEM_ROUTING);
        assert_int_equal(at->sent_ns, 0);
    }
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channel_queue_long_tells_what_comes_soon),
        cmocka_unit_test(test_channel_queue_taken_from_anywhere_names_none_that_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

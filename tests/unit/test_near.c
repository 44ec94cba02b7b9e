/* SPDX-License-Identifier: BSD-3-Clause */
/* Values in memory: one line a turn of what happens to a place, an entry and its proof. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "cache/near.h"

#define BOUND 200 /* near-staleness; nanoseconds will do */

static kw_write_stamps stamps;

static kw_near *near_new(uint64_t bytes)
{
    memset(&stamps, 0, sizeof(stamps));
    kw_near_limits limits = {bytes, 10000, BOUND};
    kw_near *near = kw_near_new(kw_mem_default(), &limits, &stamps);
    assert_non_null(near);
    return near;
}

static bool has(kw_near *near, const char *key, uint64_t now_ns)
{
    kw_pins_guard pin;
    kw_near_entry *entry = kw_near_find(near, &pin, kw_bytes_of(key), now_ns);
    if (entry != NULL) {
        kw_near_give_back(pin);
    }
    return entry != NULL;
}

/* What a turn does. */
typedef enum act {
    TAKE,   /* the place, sent now */
    REFUSE, /* there is no place to be taken */
    FILL,   /* the answer comes; its own life ends at arg */
    LOSE,   /* no answer comes */
    MESSAGE,
    OTHER_MESSAGE, /* about another key */
    PROOF,         /* of this time */
    EPOCH,
    MAP, /* another one, by which the pair has lost something */
    SAME_MAP,
    WRITE, /* an own one begins */
    ENDED,
    GIVEN, /* the value is */
    NOT
} act;

typedef struct turn {
    act act;
    uint64_t now_ns;
    uint64_t arg;
} turn;

#define FOREVER UINT64_MAX

static void write_stamp(int64_t by)
{
    atomic_fetch_add(&stamps.at[kw_near_hash(kw_bytes_of("k")) % KW_WRITE_STAMPS_N], (uint64_t)by);
}

static void play(const turn *turns, size_t n)
{
    kw_near *near = near_new(1 << 20);
    kw_near_place place;
    unsigned map_n = 0;
    for (size_t i = 0; i < n; i++) {
        const turn *now = &turns[i];
        kw_bytes key = kw_bytes_of("k");
        switch (now->act) {
        case TAKE:
        case REFUSE:
            place.hash = kw_near_hash(key);
            place.sent_ns = now->now_ns;
            assert_int_equal(kw_near_place_take(near, &place, 3, map_n), now->act == TAKE);
            break;
        case FILL:
            kw_near_place_end(near, &place, key, kw_bytes_of("value"), now->arg);
            break;
        case LOSE:
            kw_near_place_end(near, &place, key, kw_bytes_of(""), 0);
            break;
        case MESSAGE:
            kw_near_kill(near, key);
            break;
        case OTHER_MESSAGE:
            kw_near_kill(near, kw_bytes_of("other"));
            break;
        case PROOF:
            atomic_store(&near->pairs[3].proof_ns, now->now_ns);
            break;
        case EPOCH:
            kw_near_end_epoch(near, 3);
            break;
        case MAP:
        case SAME_MAP: {
            bool losers[4] = {false, false, false, now->act == MAP};
            kw_near_on_map(near, losers, 4);
            map_n += now->arg == 1 ? 1 : 0;
            break;
        }
        case WRITE:
            write_stamp((1 << 24) + 1);
            break;
        case ENDED:
            write_stamp((1 << 24) - 1);
            break;
        case GIVEN:
        case NOT:
            if (has(near, "k", now->now_ns) != (now->act == GIVEN)) {
                fail_msg("turn %zu at %llu", i, (unsigned long long)now->now_ns);
            }
            break;
        }
    }
    kw_near_close(near);
}

#define PLAY(...)                                                                                  \
    do {                                                                                           \
        static const turn turns_[] = {__VA_ARGS__};                                                \
        play(turns_, sizeof(turns_) / sizeof(turns_[0]));                                          \
    } while (false)

static void test_a_value_is_given_while_its_proof_is_young(void **state)
{
    (void)state;
    PLAY({NOT, 1000, 0}, {TAKE, 1000, 0}, {FILL, 1010, FOREVER}, {NOT, 1010, 0}, {PROOF, 1020, 0},
         {GIVEN, 1020, 0}, {GIVEN, 1219, 0}, {NOT, 1220, 0}, {PROOF, 1300, 0}, {GIVEN, 1310, 0},
         {NOT, 1500, 0});
    /* A proof from before the read will do: what was read is no older. */
    PLAY({PROOF, 900, 0}, {TAKE, 1000, 0}, {FILL, 1010, FOREVER}, {GIVEN, 1099, 0}, {NOT, 1100, 0});
}

static void test_a_value_ends_with_its_life_counted_from_sending(void **state)
{
    (void)state;
    PLAY({PROOF, 1000, 0}, {TAKE, 1000, 0}, {FILL, 1050, 1100}, {GIVEN, 1099, 0}, {NOT, 1100, 0});
    /* near-ttl is 10000 */
    PLAY({TAKE, 1000, 0}, {FILL, 1050, FOREVER}, {PROOF, 10950, 0}, {GIVEN, 10999, 0},
         {NOT, 11000, 0});
    PLAY({PROOF, 1000, 0}, {TAKE, 1000, 0}, {LOSE, 1050, 0}, {NOT, 1060, 0});
}

static void test_a_message_kills_place_and_value(void **state)
{
    (void)state;
    PLAY({PROOF, 1000, 0}, {TAKE, 1000, 0}, {FILL, 1010, FOREVER}, {GIVEN, 1020, 0},
         {OTHER_MESSAGE, 1020, 0}, {GIVEN, 1020, 0}, {MESSAGE, 1030, 0}, {NOT, 1030, 0});
    /* The message overtakes the answer. */
    PLAY({PROOF, 1000, 0}, {TAKE, 1000, 0}, {MESSAGE, 1005, 0}, {FILL, 1010, FOREVER},
         {NOT, 1020, 0}, {TAKE, 1030, 0}, {FILL, 1040, FOREVER}, {GIVEN, 1050, 0});
    PLAY({PROOF, 1000, 0}, {TAKE, 1000, 0}, {OTHER_MESSAGE, 1005, 0}, {FILL, 1010, FOREVER},
         {GIVEN, 1020, 0});
}

static void test_an_epoch_kills_places_and_values(void **state)
{
    (void)state;
    PLAY({PROOF, 1000, 0}, {TAKE, 1000, 0}, {FILL, 1010, FOREVER}, {EPOCH, 1020, 0},
         {PROOF, 1030, 0}, {NOT, 1030, 0});
    PLAY({TAKE, 1000, 0}, {EPOCH, 1005, 0}, {FILL, 1010, FOREVER}, {PROOF, 1030, 0},
         {NOT, 1030, 0});
    PLAY({PROOF, 1000, 0}, {TAKE, 1000, 0}, {FILL, 1010, FOREVER}, {EPOCH, 1020, 0},
         {NOT, 1020, 0});
}

static void test_a_map_ends_what_changed_hands_and_old_places(void **state)
{
    (void)state;
    PLAY({PROOF, 1000, 0}, {TAKE, 1000, 0}, {FILL, 1010, FOREVER}, {MAP, 1020, 1}, {NOT, 1020, 0});
    PLAY({PROOF, 1000, 0}, {TAKE, 1000, 0}, {FILL, 1010, FOREVER}, {SAME_MAP, 1020, 1},
         {GIVEN, 1020, 0});
    PLAY({PROOF, 1000, 0}, {TAKE, 1000, 0}, {MAP, 1005, 1}, {FILL, 1010, FOREVER}, {NOT, 1020, 0});
    /* The owner was chosen by the map before. */
    PLAY({PROOF, 1000, 0}, {SAME_MAP, 1005, 0}, {REFUSE, 1010, 0});
}

static void test_an_own_write_kills_until_it_has_ended(void **state)
{
    (void)state;
    PLAY({PROOF, 1000, 0}, {TAKE, 1000, 0}, {FILL, 1010, FOREVER}, {WRITE, 1020, 0}, {NOT, 1020, 0},
         {REFUSE, 1025, 0}, {ENDED, 1030, 0}, {NOT, 1030, 0}, {TAKE, 1040, 0},
         {FILL, 1050, FOREVER}, {GIVEN, 1060, 0});
    PLAY({PROOF, 1000, 0}, {TAKE, 1000, 0}, {WRITE, 1005, 0}, {ENDED, 1007, 0},
         {FILL, 1010, FOREVER}, {NOT, 1020, 0});
    PLAY({PROOF, 1000, 0}, {WRITE, 1000, 0}, {WRITE, 1001, 0}, {ENDED, 1002, 0}, {REFUSE, 1003, 0},
         {ENDED, 1004, 0}, {TAKE, 1005, 0}, {FILL, 1006, FOREVER}, {GIVEN, 1007, 0});
}

static void fill(kw_near *near, const char *key, kw_bytes value)
{
    kw_near_place place = {.hash = kw_near_hash(kw_bytes_of(key)), .sent_ns = 1000};
    assert_true(kw_near_place_take(near, &place, 0, 0));
    kw_near_place_end(near, &place, kw_bytes_of(key), value, FOREVER);
}

static void test_pinned_values_stay_and_bytes_are_bounded(void **state)
{
    (void)state;
    kw_near *near = near_new(1 << 17);
    char data[1000];
    memset(data, 'x', sizeof(data));
    kw_bytes value = {data, sizeof(data)};
    atomic_store(&near->pairs[0].proof_ns, 1000);
    fill(near, "held", value);
    kw_pins_guard pin;
    kw_near_entry *held = kw_near_find(near, &pin, kw_bytes_of("held"), 1001);
    assert_non_null(held);
    for (int i = 0; i < 5000; i++) {
        char key[20];
        snprintf(key, sizeof(key), "key:%d", i);
        fill(near, key, value);
        assert_true(kw_near_bytes(near) <= 1 << 17);
    }
    assert_memory_equal(held->bytes + held->key_len, data, sizeof(data));
    kw_near_give_back(pin);
    for (int i = 0; i < 100; i++) {
        char key[20];
        snprintf(key, sizeof(key), "more:%d", i);
        fill(near, key, value);
    }
    assert_true(has(near, "more:99", 1001)); /* there is room again */
    /* Closed while it is held: freed by who gives it back. */
    held = kw_near_find(near, &pin, kw_bytes_of("more:99"), 1001);
    assert_non_null(held);
    kw_near_close(near);
    assert_memory_equal(held->bytes + held->key_len, data, sizeof(data));
    kw_near_give_back(pin);
}

/* Readers that look at what writers take out, all the time. */
typedef struct crowd {
    kw_near *near;
    atomic_bool is_over;
} crowd;

static void *look(void *arg)
{
    crowd *self = arg;
    uintptr_t found_n = 0;
    while (!atomic_load(&self->is_over)) {
        for (int i = 0; i < 50; i++) {
            char key[20];
            kw_pins_guard pin;
            snprintf(key, sizeof(key), "key:%d", i);
            kw_near_entry *entry = kw_near_find(self->near, &pin, kw_bytes_of(key), 1001);
            if (entry != NULL) {
                const char *value = entry->bytes + entry->key_len;
                found_n += value[0] == value[entry->value_len - 1];
                kw_near_give_back(pin);
            }
        }
    }
    return (void *)found_n;
}

static void test_readers_and_writers_meet(void **state)
{
    (void)state;
    crowd self = {near_new(1 << 16), false};
    pthread_t threads[3];
    atomic_store(&self.near->pairs[0].proof_ns, 1000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, look, &self), 0);
    }
    for (int i = 0; i < 20000; i++) {
        char key[20];
        char data[200];
        memset(data, i & 0xff, sizeof(data));
        kw_bytes value = {data, sizeof(data)};
        snprintf(key, sizeof(key), "key:%d", i % 50);
        fill(self.near, key, value);
        if (i % 3 == 0) {
            kw_near_kill(self.near, kw_bytes_of(key));
        }
    }
    atomic_store(&self.is_over, true);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    kw_near_close(self.near);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_value_is_given_while_its_proof_is_young),
        cmocka_unit_test(test_a_value_ends_with_its_life_counted_from_sending),
        cmocka_unit_test(test_a_message_kills_place_and_value),
        cmocka_unit_test(test_an_epoch_kills_places_and_values),
        cmocka_unit_test(test_a_map_ends_what_changed_hands_and_old_places),
        cmocka_unit_test(test_an_own_write_kills_until_it_has_ended),
        cmocka_unit_test(test_pinned_values_stay_and_bytes_are_bounded),
        cmocka_unit_test(test_readers_and_writers_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

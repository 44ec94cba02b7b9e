/* SPDX-License-Identifier: BSD-3-Clause */
/* Scenes of the ordering: commands of few keys, told by letters, on few connections; and many
 * random lives of a pipeline, after which no two commands of a key have run in another order than
 * they were added. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "engine/ordering.h"
#include "support/check.h"

#include <stdlib.h>
#include <string.h>

#define COMMANDS_MAX 64

static const char place_a[] = "a";
static const char place_b[] = "b";

typedef struct scene {
    kw_ordering ordering;
    kw_ordered commands[COMMANDS_MAX];
    size_t n;
} scene;

static void open_scene(scene *self, bool is_strict)
{
    memset(self, 0, sizeof(*self));
    kw_ordering_init(&self->ordering, kw_mem_default(), is_strict);
}

static void close_scene(scene *self)
{
    for (size_t i = 0; i < self->n; i++) {
        kw_ordering_on_end(&self->ordering, &self->commands[i], KW_ORDER_NOT_RUN);
    }
    while (kw_ordering_next_freed(&self->ordering) != NULL) {
    }
    assert_int_equal(self->ordering.entries_n, 0);
    kw_ordering_fini(&self->ordering);
}

/* keys: a letter each; the first capital says that it writes. */
static kw_ordered *add(scene *self, const char *keys)
{
    uint64_t hashes[8];
    size_t n = strlen(keys);
    bool is_read = keys[0] >= 'a';
    for (size_t i = 0; i < n; i++) {
        hashes[i] = (uint64_t)(keys[i] | 0x20) * 0x9e3779b97f4a7c15;
    }
    kw_ordered *command = &self->commands[self->n++];
    assert_true(kw_ordering_add(&self->ordering, command, is_read, hashes, n));
    return command;
}

static kw_order_answer ask(scene *self, kw_ordered *command, const char *place)
{
    return kw_ordering_ask(&self->ordering, command, place);
}

/* It may leave, and does. */
static void go(scene *self, kw_ordered *command, const char *place)
{
    assert_int_equal(ask(self, command, place), KW_ORDER_GO);
    kw_ordering_on_left(&self->ordering, command, place);
}

static void hold(scene *self, kw_ordered *command, const char *place)
{
    assert_int_equal(ask(self, command, place), KW_ORDER_WAIT);
}

static void end(scene *self, kw_ordered *command, kw_order_end how)
{
    kw_ordering_on_end(&self->ordering, command, how);
}

/* It is freed next. */
static void is_freed(scene *self, const kw_ordered *command)
{
    assert_ptr_equal(kw_ordering_next_freed(&self->ordering), command);
}

static void nobody_is_freed(scene *self)
{
    assert_null(kw_ordering_next_freed(&self->ordering));
}

static void test_ordering_one_connection_keeps_the_order_by_itself(void **state)
{
    (void)state;
    scene self;
    open_scene(&self, false);
    kw_ordered *first = add(&self, "X");
    kw_ordered *second = add(&self, "X");
    kw_ordered *other = add(&self, "Y");
    go(&self, first, place_a);
    go(&self, second, place_a);
    go(&self, other, place_b);
    end(&self, first, KW_ORDER_RAN);
    end(&self, second, KW_ORDER_RAN);
    nobody_is_freed(&self);
    close_scene(&self);
}

static void test_ordering_waits_for_what_is_elsewhere_or_has_not_left(void **state)
{
    (void)state;
    scene self;
    open_scene(&self, false);
    kw_ordered *first = add(&self, "X");
    kw_ordered *second = add(&self, "X");
    kw_ordered *third = add(&self, "X");
    hold(&self, second, place_b); /* the first has not left */
    go(&self, first, place_a);
    nobody_is_freed(&self); /* it is elsewhere */
    hold(&self, third, place_b);
    end(&self, first, KW_ORDER_RAN);
    is_freed(&self, second);
    nobody_is_freed(&self);
    go(&self, second, place_b);
    is_freed(&self, third); /* behind it, on the same connection */
    go(&self, third, place_b);
    close_scene(&self);
}

static void test_ordering_who_ends_wakes_who_waits_however_it_ended(void **state)
{
    (void)state;
    static const kw_order_end ends[] = {KW_ORDER_RAN, KW_ORDER_MAY_RUN, KW_ORDER_NOT_RUN};
    for (size_t i = 0; i < 3; i++) {
        for (int has_left = 0; has_left <= 1; has_left++) {
            scene self;
            open_scene(&self, false);
            kw_ordered *first = add(&self, "X");
            kw_ordered *second = add(&self, "X");
            if (has_left) {
                go(&self, first, place_a);
            }
            hold(&self, second, place_b);
            end(&self, first, ends[i]);
            is_freed(&self, second);
            go(&self, second, place_b);
            close_scene(&self);
        }
    }
}

static void test_ordering_reads_do_not_wait_for_reads(void **state)
{
    (void)state;
    scene self;
    open_scene(&self, false);
    kw_ordered *read_1 = add(&self, "x");
    kw_ordered *read_2 = add(&self, "x");
    kw_ordered *write = add(&self, "X");
    kw_ordered *read_3 = add(&self, "x");
    go(&self, read_2, place_b);
    hold(&self, write, place_b); /* before read_1 */
    hold(&self, read_3, place_b);
    go(&self, read_1, place_a);
    nobody_is_freed(&self); /* read_1 and read_2 are at two places */
    end(&self, read_1, KW_ORDER_RAN);
    end(&self, read_2, KW_ORDER_RAN);
    is_freed(&self, write);
    go(&self, write, place_b);
    is_freed(&self, read_3);
    go(&self, read_3, place_b);
    close_scene(&self);
}

static void test_ordering_refused_is_sent_again_before_later_ones(void **state)
{
    (void)state;
    scene self;
    open_scene(&self, false);
    kw_ordered *v[4];
    for (size_t i = 0; i < 4; i++) {
        v[i] = add(&self, "X");
        if (i < 3) {
            go(&self, v[i], place_a);
        }
    }
    kw_ordering_on_back(&self.ordering, v[0]); /* CLUSTERDOWN */
    hold(&self, v[0], place_a);                /* v1 and v2 are not answered yet */
    hold(&self, v[3], place_a);                /* behind v0 */
    kw_ordering_on_back(&self.ordering, v[1]);
    nobody_is_freed(&self);
    kw_ordering_on_back(&self.ordering, v[2]);
    is_freed(&self, v[0]);
    go(&self, v[0], place_a);
    hold(&self, v[1], place_a); /* one at a time, until one has run */
    hold(&self, v[2], place_a);
    end(&self, v[0], KW_ORDER_RAN);
    is_freed(&self, v[1]);
    go(&self, v[1], place_a);
    nobody_is_freed(&self); /* it was refused itself, and may be again */
    end(&self, v[1], KW_ORDER_RAN);
    is_freed(&self, v[2]);
    go(&self, v[2], place_a);
    end(&self, v[2], KW_ORDER_RAN);
    is_freed(&self, v[3]);
    close_scene(&self);
}

static void test_ordering_refused_and_overtaken_is_never_sent_again(void **state)
{
    (void)state;
    scene self;
    open_scene(&self, false);
    kw_ordered *v0 = add(&self, "X");
    kw_ordered *v1 = add(&self, "X");
    go(&self, v0, place_a);
    go(&self, v1, place_a);
    kw_ordering_on_back(&self.ordering, v0);
    hold(&self, v0, place_a);
    end(&self, v1, KW_ORDER_RAN);
    is_freed(&self, v0);
    assert_int_equal(ask(&self, v0, place_a), KW_ORDER_OVERTAKEN);
    /* A read is overtaken by a write, not by a read. */
    kw_ordered *read_1 = add(&self, "y");
    kw_ordered *read_2 = add(&self, "y");
    go(&self, read_1, place_a);
    go(&self, read_2, place_a);
    kw_ordering_on_back(&self.ordering, read_1);
    go(&self, read_1, place_a);
    end(&self, read_2, KW_ORDER_RAN);
    kw_ordered *write = add(&self, "Y");
    go(&self, write, place_a);
    kw_ordering_on_back(&self.ordering, read_1);
    end(&self, write, KW_ORDER_MAY_RUN);
    assert_int_equal(ask(&self, read_1, place_a), KW_ORDER_OVERTAKEN);
    close_scene(&self);
}

static void test_ordering_lost_is_repeated_only_with_all_behind_it(void **state)
{
    (void)state;
    scene self;
    open_scene(&self, false);
    kw_ordered *read_1 = add(&self, "x");
    kw_ordered *write = add(&self, "X");
    kw_ordered *read_2 = add(&self, "x");
    go(&self, read_1, place_a);
    go(&self, write, place_a);
    go(&self, read_2, place_a);
    assert_true(kw_ordering_on_lost(&self.ordering, read_2, true)); /* the last one first */
    assert_false(kw_ordering_on_lost(&self.ordering, write, false));
    assert_false(kw_ordering_on_lost(&self.ordering, read_1, true)); /* the write may have run */
    /* All of them may run twice: all are repeated, in their order. */
    kw_ordered *set_1 = add(&self, "Y");
    kw_ordered *set_2 = add(&self, "Y");
    go(&self, set_1, place_a);
    go(&self, set_2, place_a);
    assert_true(kw_ordering_on_lost(&self.ordering, set_2, true));
    kw_ordering_on_back(&self.ordering, set_2);
    assert_true(kw_ordering_on_lost(&self.ordering, set_1, true));
    kw_ordering_on_back(&self.ordering, set_1);
    hold(&self, set_2, place_a);
    go(&self, set_1, place_a);
    close_scene(&self);
}

static void test_ordering_many_keys_join_each_chain(void **state)
{
    (void)state;
    scene self;
    open_scene(&self, false);
    kw_ordered *x = add(&self, "X");
    kw_ordered *y = add(&self, "Y");
    kw_ordered *both = add(&self, "XYX");
    kw_ordered *behind = add(&self, "Y");
    go(&self, x, place_a);
    go(&self, y, place_b);
    hold(&self, both, place_a); /* for y */
    hold(&self, behind, place_b);
    end(&self, x, KW_ORDER_RAN);
    nobody_is_freed(&self);
    end(&self, y, KW_ORDER_RAN);
    is_freed(&self, both);
    go(&self, both, place_a);
    nobody_is_freed(&self); /* behind wants to leave by b */
    end(&self, both, KW_ORDER_RAN);
    is_freed(&self, behind);
    close_scene(&self);
}

static void test_ordering_strict_has_one_at_a_time_on_its_way(void **state)
{
    (void)state;
    scene self;
    open_scene(&self, true);
    kw_ordered *first = add(&self, "X");
    kw_ordered *second = add(&self, "X");
    kw_ordered *other = add(&self, "Y");
    go(&self, first, place_a);
    hold(&self, second, place_a);
    go(&self, other, place_a);
    end(&self, first, KW_ORDER_RAN);
    is_freed(&self, second);
    close_scene(&self);
}

static void test_ordering_that_has_no_memory_adds_nothing(void **state)
{
    (void)state;
    for (unsigned at = 1; at <= 3; at++) {
        kw_test_memory memory;
        kw_ordering ordering;
        kw_ordered one = {0};
        kw_ordered two = {0};
        uint64_t hashes[2] = {2, 4};
        kw_test_memory_init(&memory, at);
        kw_ordering_init(&ordering, &memory.allocator, false);
        bool has_one = kw_ordering_add(&ordering, &one, false, hashes, 1);
        bool has_two = kw_ordering_add(&ordering, &two, false, hashes, 2);
        assert_false(has_one && has_two);
        kw_ordering_on_end(&ordering, &one, KW_ORDER_NOT_RUN);
        kw_ordering_on_end(&ordering, &two, KW_ORDER_NOT_RUN);
        assert_int_equal(ordering.entries_n, 0);
        kw_ordering_fini(&ordering);
        assert_int_equal(kw_test_memory_live(&memory), 0);
    }
}

/* Random lives: connections that run what reaches them in the order of sending, refuse some, and
 * are lost; a key moves from one connection to the other. */

#define LIVES      3000
#define LIFE_N     40
#define KEYS_N     3
#define PLACES_N   2
#define TURNS_MAX  4000
#define REFUSE_ONE 5 /* in so many */
#define LOSE_ONE   12

typedef enum life_state { LIFE_PENDING, LIFE_HELD, LIFE_SENT, LIFE_ENDED } life_state;

typedef struct life_command {
    kw_ordered ordered; /* first */
    unsigned keys;      /* a bit each */
    bool is_repeatable;
    life_state state;
    bool is_ok;        /* ended with a reply */
    unsigned ran_last; /* the turn in which a server ran it last; 0: it did not */
} life_command;

typedef struct life {
    kw_ordering ordering;
    kw_random random;
    life_command commands[LIFE_N];
    size_t places[KEYS_N]; /* of the key */
    size_t line[PLACES_N][LIFE_N];
    size_t line_n[PLACES_N];
    unsigned turn_n;
    unsigned orders_n; /* ended as overtaken */
    unsigned oks_n;
} life;

static bool one_in(life *self, uint64_t n)
{
    return kw_random_below(&self->random, n) == 0;
}

static void life_end(life *self, life_command *command, kw_order_end how)
{
    command->state = LIFE_ENDED;
    command->is_ok = how == KW_ORDER_RAN;
    self->oks_n += command->is_ok ? 1 : 0;
    kw_ordering_on_end(&self->ordering, &command->ordered, how);
}

static void life_wake(life *self)
{
    kw_ordered *freed;
    while ((freed = kw_ordering_next_freed(&self->ordering)) != NULL) {
        life_command *command = (life_command *)(void *)freed;
        assert_int_equal(command->state, LIFE_HELD);
        command->state = LIFE_PENDING;
    }
}

static void life_send(life *self, life_command *command)
{
    size_t place = 0;
    for (size_t key = 0; key < KEYS_N; key++) {
        place = (command->keys & 1u << key) != 0 ? self->places[key] : place;
    }
    switch (kw_ordering_ask(&self->ordering, &command->ordered, &self->line[place])) {
    case KW_ORDER_WAIT:
        command->state = LIFE_HELD;
        return;
    case KW_ORDER_OVERTAKEN:
        self->orders_n++;
        life_end(self, command, KW_ORDER_NOT_RUN);
        return;
    case KW_ORDER_GO:
        break;
    }
    kw_ordering_on_left(&self->ordering, &command->ordered, &self->line[place]);
    command->state = LIFE_SENT;
    self->line[place][self->line_n[place]++] = (size_t)(command - self->commands);
}

/* The first in line is answered. */
static void life_answer(life *self, size_t place)
{
    life_command *command = &self->commands[self->line[place][0]];
    self->line_n[place]--;
    memmove(&self->line[place][0], &self->line[place][1],
            self->line_n[place] * sizeof(self->line[place][0]));
    if (one_in(self, REFUSE_ONE)) {
        command->state = LIFE_PENDING;
        kw_ordering_on_back(&self->ordering, &command->ordered);
        return;
    }
    command->ran_last = self->turn_n;
    life_end(self, command, KW_ORDER_RAN);
}

/* The connection is lost: some in line have run, the rest has not. */
static void life_lose(life *self, size_t place)
{
    size_t ran_n = (size_t)kw_random_below(&self->random, self->line_n[place] + 1);
    for (size_t i = 0; i < ran_n; i++) {
        self->turn_n++;
        self->commands[self->line[place][i]].ran_last = self->turn_n;
    }
    while (self->line_n[place] > 0) {
        life_command *command = &self->commands[self->line[place][--self->line_n[place]]];
        bool is_again =
            kw_ordering_on_lost(&self->ordering, &command->ordered, command->is_repeatable);
        command->state = LIFE_PENDING;
        if (is_again) {
            kw_ordering_on_back(&self->ordering, &command->ordered);
        } else {
            life_end(self, command, KW_ORDER_MAY_RUN);
        }
    }
}

static bool life_turn(life *self)
{
    life_wake(self);
    size_t at = (size_t)kw_random_below(&self->random, LIFE_N);
    life_command *command = &self->commands[at];
    size_t place = (size_t)kw_random_below(&self->random, PLACES_N);
    self->turn_n++;
    if (one_in(self, 40)) {
        self->places[kw_random_below(&self->random, KEYS_N)] = place;
    }
    if (command->state == LIFE_PENDING) {
        life_send(self, command);
    } else if (self->line_n[place] > 0) {
        if (one_in(self, LOSE_ONE)) {
            life_lose(self, place);
        } else {
            life_answer(self, place);
        }
    }
    for (size_t i = 0; i < LIFE_N; i++) {
        if (self->commands[i].state != LIFE_ENDED) {
            return true;
        }
    }
    return false;
}

/* Two commands of a key with replies, of which one writes: the run that the first one was answered
 * for came before that of the second one, which may have been repeated as well. */
static void life_judge(const life *self, uint64_t seed)
{
    for (size_t i = 0; i < LIFE_N; i++) {
        const life_command *first = &self->commands[i];
        for (size_t k = i + 1; k < LIFE_N; k++) {
            const life_command *second = &self->commands[k];
            bool is_ordered = (first->keys & second->keys) != 0 &&
                              !(first->ordered.is_read && second->ordered.is_read);
            if (is_ordered && first->is_ok && second->is_ok && first->ran_last > second->ran_last) {
                fail_msg("KW_TEST_SEED=%llu: command %zu ran after %zu", (unsigned long long)seed,
                         i, k);
            }
        }
    }
}

static void life_begin(life *self, uint64_t seed, bool is_strict)
{
    memset(self, 0, sizeof(*self));
    kw_random_init(&self->random, seed);
    kw_ordering_init(&self->ordering, kw_mem_default(), is_strict);
    for (size_t i = 0; i < LIFE_N; i++) {
        life_command *command = &self->commands[i];
        uint64_t hashes[KEYS_N];
        size_t n = 0;
        command->keys = one_in(self, 4) ? 1 + (unsigned)kw_random_below(&self->random, 7)
                                        : 1u << kw_random_below(&self->random, KEYS_N);
        for (size_t key = 0; key < KEYS_N; key++) {
            if ((command->keys & 1u << key) != 0) {
                hashes[n++] = (key + 1) * 0x9e3779b97f4a7c15;
            }
        }
        bool is_read = one_in(self, 3);
        command->is_repeatable = is_read || one_in(self, 6);
        assert_true(kw_ordering_add(&self->ordering, &command->ordered, is_read, hashes, n));
    }
}

static void test_ordering_whatever_happens_no_two_of_a_key_change_places(void **state)
{
    (void)state;
    uint64_t seed = kw_test_seed("ordering");
    life *self = malloc(sizeof(*self));
    unsigned oks_n = 0;
    unsigned orders_n = 0;
    assert_non_null(self);
    for (uint64_t n = 0; n < LIVES; n++) {
        life_begin(self, seed + n, n % 4 == 0);
        while (life_turn(self)) {
            if (self->turn_n > 50 * TURNS_MAX) {
                fail_msg("KW_TEST_SEED=%llu: it never ends", (unsigned long long)(seed + n));
            }
        }
        life_judge(self, seed + n);
        oks_n += self->oks_n;
        orders_n += self->orders_n;
        life_wake(self);
        assert_int_equal(self->ordering.entries_n, 0);
        kw_ordering_fini(&self->ordering);
    }
    free(self);
    assert_true(oks_n > LIVES * LIFE_N / 2); /* the lives were worth the name */
    assert_true(orders_n > LIVES / 10);
}

static void test_ordering_costs_the_same_with_much_under_way(void **state)
{
    (void)state;
    enum { MUCH = 100000 };
    kw_ordering ordering;
    kw_ordered *commands = calloc(MUCH, sizeof(*commands));
    assert_non_null(commands);
    kw_ordering_init(&ordering, kw_mem_default(), false);
    for (size_t i = 0; i < MUCH; i++) {
        uint64_t hash = (i + 1) * 0x9e3779b97f4a7c15;
        assert_true(kw_ordering_add(&ordering, &commands[i], false, &hash, 1));
    }
    assert_int_equal(ordering.entries_n, MUCH);
    assert_in_range(ordering.buckets_n, MUCH / 2, 2 * MUCH);
    size_t longest_n = 0;
    for (size_t i = 0; i < ordering.buckets_n; i++) {
        size_t n = 0;
        for (const kw_order_entry *entry = ordering.buckets[i]; entry != NULL;
             entry = entry->next) {
            n++;
        }
        longest_n = n > longest_n ? n : longest_n;
    }
    assert_in_range(longest_n, 1, 32);
    for (size_t i = 0; i < MUCH; i++) {
        assert_int_equal(kw_ordering_ask(&ordering, &commands[i], place_a), KW_ORDER_GO);
        kw_ordering_on_end(&ordering, &commands[i], KW_ORDER_RAN);
    }
    assert_int_equal(ordering.entries_n, 0);
    kw_ordering_fini(&ordering);
    free(commands);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ordering_one_connection_keeps_the_order_by_itself),
        cmocka_unit_test(test_ordering_waits_for_what_is_elsewhere_or_has_not_left),
        cmocka_unit_test(test_ordering_who_ends_wakes_who_waits_however_it_ended),
        cmocka_unit_test(test_ordering_reads_do_not_wait_for_reads),
        cmocka_unit_test(test_ordering_refused_is_sent_again_before_later_ones),
        cmocka_unit_test(test_ordering_refused_and_overtaken_is_never_sent_again),
        cmocka_unit_test(test_ordering_lost_is_repeated_only_with_all_behind_it),
        cmocka_unit_test(test_ordering_many_keys_join_each_chain),
        cmocka_unit_test(test_ordering_strict_has_one_at_a_time_on_its_way),
        cmocka_unit_test(test_ordering_that_has_no_memory_adds_nothing),
        cmocka_unit_test(test_ordering_whatever_happens_no_two_of_a_key_change_places),
        cmocka_unit_test(test_ordering_costs_the_same_with_much_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

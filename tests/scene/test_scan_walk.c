/* SPDX-License-Identifier: BSD-3-Clause */
/* Walks over a cluster of the mind: slots move there and back, key by key, servers are started anew
 * or replaced, nodes join, all between any two answers, by a seed. A key that stays is given. The
 * cluster moves slots as servers do: the importing node is marked first, keys go one by one, the
 * epoch rises with the importing node, and the old owner hears of it later. */
#include "engine/scan_cursor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOSTS_MAX 7
#define SLOTS_N   40u
#define KEYS_N    400
#define STEPS_MAX 64
#define NOBODY    99u
#define HOT_N     4u

typedef struct host {
    char name[16];
    uint64_t id;
    uint64_t run;
    uint64_t epoch;
    bool is_away;
    bool owns[SLOTS_N];
    unsigned to[SLOTS_N];   /* migrating */
    unsigned from[SLOTS_N]; /* importing */
} host;

typedef struct world {
    host hosts[HOSTS_MAX];
    unsigned hosts_n;
    unsigned at[KEYS_N]; /* the host of each key; two keys in each ten come and go */
    unsigned given[KEYS_N];
    kw_random random;
    unsigned acts_left;
    bool keeps_epochs; /* a planted mistake: epochs do not rise */
    bool is_brief;     /* each process ends as soon as it has given something */
    bool has_given;
    /* One move at a time, as operators do. */
    unsigned slot;
    unsigned source;
    unsigned target;
    unsigned stage; /* 0: none */
} world;

/* Half of the keys are in the few slots that move most. */
static unsigned slot_of(unsigned key)
{
    return key % 2 == 0 ? key / 2 % HOT_N : key % SLOTS_N;
}

static bool is_mortal(unsigned key)
{
    return key % 10 >= 8;
}

static void begin_world(world *self, uint64_t seed, unsigned acts_n)
{
    memset(self, 0, sizeof(*self));
    kw_random_init(&self->random, seed);
    self->hosts_n = 3 + (unsigned)kw_random_below(&self->random, 2);
    self->acts_left = acts_n;
    for (unsigned h = 0; h < HOSTS_MAX; h++) {
        host *at = &self->hosts[h];
        snprintf(at->name, sizeof(at->name), "h%u:1", h);
        at->id = 100 + h;
        at->run = 1000 + h;
        at->epoch = h;
        for (unsigned slot = 0; slot < SLOTS_N; slot++) {
            at->owns[slot] = slot % self->hosts_n == h && h < self->hosts_n;
            at->to[slot] = NOBODY;
            at->from[slot] = NOBODY;
        }
    }
    for (unsigned key = 0; key < KEYS_N; key++) {
        self->at[key] = slot_of(key) % self->hosts_n;
    }
}

static unsigned owner_of(const world *self, unsigned slot)
{
    for (unsigned h = 0; h < self->hosts_n; h++) {
        if (self->hosts[h].owns[slot]) {
            return h;
        }
    }
    return NOBODY;
}

static void raise_epoch(world *self, unsigned h)
{
    uint64_t max = 0;
    for (unsigned i = 0; i < self->hosts_n; i++) {
        max = self->hosts[i].epoch > max ? self->hosts[i].epoch : max;
    }
    if (self->hosts[h].epoch != max && !self->keeps_epochs) {
        self->hosts[h].epoch = max + 1;
    }
}

/* One more step of the move that is under way, or the first one of another. */
static void move_on(world *self)
{
    host *hosts = self->hosts;
    unsigned slot = self->slot;
    unsigned moved_n = 0;
    unsigned at_once = kw_random_below(&self->random, 8) > 0 ? 1 : 50;
    bool is_hot = kw_random_below(&self->random, 4) > 0;
    switch (self->stage) {
    case 0:
        self->slot = (unsigned)kw_random_below(&self->random, is_hot ? HOT_N : SLOTS_N);
        self->source = owner_of(self, self->slot);
        self->target = (unsigned)kw_random_below(&self->random, self->hosts_n);
        self->stage = self->source != self->target ? 1 : 0;
        return;
    case 1:
        hosts[self->target].from[slot] = self->source;
        self->stage = 2;
        return;
    case 2:
        hosts[self->source].to[slot] = self->target;
        self->stage = 3;
        return;
    case 3:
        for (unsigned key = 0; key < KEYS_N && moved_n < at_once; key++) {
            if (slot_of(key) == slot && self->at[key] == self->source) {
                self->at[key] = self->target;
                moved_n++;
            }
        }
        self->stage = moved_n > 0 ? 3 : 4;
        return;
    case 4: /* SETSLOT NODE at who imports, first */
        hosts[self->target].owns[slot] = true;
        hosts[self->target].from[slot] = NOBODY;
        raise_epoch(self, self->target);
        self->stage = 5;
        return;
    default:
        hosts[self->source].owns[slot] = false;
        hosts[self->source].to[slot] = NOBODY;
        self->stage = 0;
        return;
    }
}

static void act(world *self)
{
    if (self->acts_left == 0) {
        if (self->stage != 0) {
            move_on(self); /* to its end */
        }
        for (unsigned h = 0; h < self->hosts_n; h++) {
            self->hosts[h].is_away = false;
        }
        return;
    }
    self->acts_left--;
    unsigned h = (unsigned)kw_random_below(&self->random, self->hosts_n);
    uint64_t dice = kw_random_below(&self->random, 100);
    if (dice < 90) {
        move_on(self);
    } else if (dice < 92) {
        self->hosts[h].run += 7777; /* started anew, or replaced with a vote */
    } else if (dice < 94 && self->stage == 0) {
        self->hosts[h].id += 1000;
        self->hosts[h].run += 5555;
        raise_epoch(self, h);
    } else if (dice < 96) {
        self->hosts[h].is_away = !self->hosts[h].is_away;
    } else if (dice < 97 && self->hosts_n < HOSTS_MAX) {
        self->hosts_n++;
    }
}

/* Where a key is in the table of a process: each process has its own order. */
static uint64_t place_of(const world *self, unsigned key, unsigned h)
{
    kw_random hash;
    kw_random_init(&hash, self->hosts[h].run * 1000003 + key);
    return (kw_random_next(&hash) >> 1) + 1;
}

static bool is_there(world *self, unsigned key, unsigned h)
{
    return self->at[key] == h && (!is_mortal(key) || kw_random_below(&self->random, 2) == 0);
}

/* Gives keys of a page, those with places from cursor on, or with a slot alone; the next cursor. */
static uint64_t give_page(world *self, unsigned h, uint64_t cursor, unsigned slot)
{
    uint64_t end = UINT64_MAX;
    for (unsigned n = 0; n < 5; n++) { /* the place of the fifth key behind */
        uint64_t best = UINT64_MAX;
        for (unsigned key = 0; key < KEYS_N; key++) {
            uint64_t place = self->at[key] == h ? place_of(self, key, h) : 0;
            bool is_behind = place > (n == 0 ? cursor : end);
            best = is_behind && place < best ? place : best;
        }
        end = best;
        if (end == UINT64_MAX) {
            break;
        }
    }
    self->has_given = true;
    for (unsigned key = 0; key < KEYS_N; key++) {
        uint64_t place = place_of(self, key, h);
        if (is_there(self, key, h) && place > cursor && place <= end &&
            (slot == NOBODY || slot_of(key) == slot)) {
            self->given[key]++;
        }
    }
    return end == UINT64_MAX ? 0 : end;
}

static unsigned host_of(const world *self, const kw_scan_walk *walk, size_t at)
{
    for (unsigned h = 0; h < self->hosts_n; h++) {
        if (strcmp(self->hosts[h].name, walk->hosts[at].name) == 0) {
            return h;
        }
    }
    fail();
    return 0;
}

static void tell(world *self, kw_scan_walk *walk, const kw_scan_step *step)
{
    const host *at = &self->hosts[host_of(self, walk, step->host)];
    kw_scan_seen seen;
    kw_scan_seen_init(&seen);
    seen.run = at->run;
    seen.id = at->id;
    seen.epoch = at->epoch;
    seen.is_primary = true;
    for (unsigned slot = 0; slot < SLOTS_N; slot++) {
        if (at->owns[slot]) {
            kw_scan_slots_add(&seen.owned, slot);
        }
        unsigned peers[2] = {at->to[slot], at->from[slot]};
        for (unsigned i = 0; i < 2; i++) {
            if (peers[i] != NOBODY) {
                kw_scan_slots_add(&seen.moving, slot);
                seen.marks[seen.marks_n++] =
                    (kw_scan_mark){(uint16_t)slot, i == 1, self->hosts[peers[i]].id};
            }
        }
    }
    kw_scan_walk_on_told(walk, step->host, &seen, KEYS_N / 3);
}

static void give_slot(world *self, kw_scan_walk *walk, const kw_scan_step *step, bool is_large)
{
    unsigned h = host_of(self, walk, step->host);
    size_t n = 0;
    for (unsigned key = 0; key < KEYS_N; key++) {
        n += slot_of(key) == step->slot && self->at[key] == h ? 1 : 0;
    }
    if (!kw_scan_walk_is_whole(walk, step->job, is_large && step->count == 1000 ? 1000 : n)) {
        return;
    }
    self->has_given = true;
    for (unsigned key = 0; key < KEYS_N; key++) {
        self->given[key] += slot_of(key) == step->slot && is_there(self, key, h) ? 1 : 0;
    }
    kw_scan_walk_on_slot(walk, step->job);
}

/* One answer. */
static void answer(world *self, kw_scan_walk *walk, const kw_scan_step *step, bool is_large)
{
    unsigned h = host_of(self, walk, step->host);
    if (self->hosts[h].is_away) {
        kw_scan_walk_on_failed(walk, step, false);
        return;
    }
    switch (step->act) {
    case KW_SCAN_ASK:
        tell(self, walk, step);
        return;
    case KW_SCAN_PAGE: {
        uint64_t next = give_page(self, h, step->cursor, NOBODY);
        assert_true(kw_scan_walk_on_page(walk, step->host, next));
        return;
    }
    case KW_SCAN_LARGE: {
        uint64_t next = give_page(self, h, step->cursor, step->slot);
        assert_true(kw_scan_walk_on_large(walk, step->job, next));
        return;
    }
    case KW_SCAN_COUNT:
        kw_scan_walk_on_count(walk, step->job, step->slot % 2 == 0 ? 10 : 10000000);
        return;
    default:
        give_slot(self, walk, step, is_large);
        return;
    }
}

static void roster(world *self, kw_scan_walk *walk)
{
    kw_scan_place places[HOSTS_MAX];
    size_t n = 0;
    for (unsigned h = 0; h < self->hosts_n; h++) {
        bool is_named = false;
        for (unsigned slot = 0; slot < SLOTS_N; slot++) {
            is_named = is_named || self->hosts[h].owns[slot];
        }
        if (is_named) {
            places[n++] = (kw_scan_place){self->hosts[h].name, 0};
        }
    }
    assert_true(kw_scan_walk_on_roster(walk, places, n, 0, false));
}

/* Another process goes on: by the cursor alone. */
static void hand_over(kw_scan_walk *walk)
{
    kw_scan_walk next;
    kw_scan_fault fault;
    kw_buf text;
    kw_scan_spec spec = walk->spec;
    kw_buf_init(&text, kw_mem_default(), NULL, 0);
    assert_true(kw_scan_cursor_write(&text, walk, 1));
    assert_true(kw_scan_walk_init(&next, kw_mem_default(), &spec));
    assert_int_equal(kw_scan_cursor_read(&next, &fault, (kw_bytes){text.data, text.len}, 1), KW_OK);
    kw_buf_fini(&text);
    kw_scan_walk_fini(walk);
    *walk = next;
}

/* A whole walk; how many keys that stayed were not given. */
static unsigned walk_world(world *self, bool is_by_slot, bool is_large)
{
    kw_scan_spec spec = {.kind = KW_SCAN_OF_CLUSTER,
                         .last = SLOTS_N - 1,
                         .count = 5,
                         .parallel_n = 3,
                         .is_by_slot = is_by_slot};
    kw_scan_walk walk;
    kw_scan_step under_way[STEPS_MAX];
    size_t under_way_n = 0;
    uint64_t now_ns = 0;
    assert_true(kw_scan_walk_init(&walk, kw_mem_default(), &spec));
    kw_scan_walk_stay(&walk, UINT64_MAX);
    for (unsigned turn = 0;; turn++) {
        assert_true(turn < 200000);
        kw_scan_step step = kw_scan_walk_next(&walk, now_ns);
        if (step.act == KW_SCAN_END) {
            break;
        }
        if (step.act == KW_SCAN_ROSTER) {
            roster(self, &walk);
            continue;
        }
        if (step.act == KW_SCAN_PAUSE) {
            now_ns = step.until_ns;
            act(self);
            continue;
        }
        if (step.act != KW_SCAN_WAIT) {
            assert_true(under_way_n < STEPS_MAX);
            under_way[under_way_n++] = step;
            continue;
        }
        assert_true(under_way_n > 0); /* nothing waits for nothing */
        size_t at = (size_t)kw_random_below(&self->random, under_way_n);
        step = under_way[at];
        under_way[at] = under_way[--under_way_n];
        for (uint64_t n = kw_random_below(&self->random, 4); n > 0; n--) {
            act(self);
        }
        self->has_given = false;
        answer(self, &walk, &step, is_large);
        bool is_over = kw_random_below(&self->random, 40) == 0 && self->acts_left > 0;
        if (is_over || (self->is_brief && self->has_given)) {
            hand_over(&walk);
            under_way_n = 0;
        }
    }
    assert_true(kw_scan_walk_part(&walk) == 1);
    kw_scan_walk_fini(&walk);
    unsigned missed_n = 0;
    for (unsigned key = 0; key < KEYS_N; key++) {
        missed_n += !is_mortal(key) && self->given[key] == 0 ? 1 : 0;
    }
    return missed_n;
}

static unsigned runs(void)
{
    const char *text = getenv("KW_TEST_RUNS");
    return text != NULL ? (unsigned)atoi(text) : 100;
}

static uint64_t first_seed(void)
{
    const char *text = getenv("KW_TEST_SEED");
    return text != NULL ? strtoull(text, NULL, 10) : 1;
}

static void test_walk_at_rest_gives_each_key_once(void **state)
{
    (void)state;
    for (unsigned is_by_slot = 0; is_by_slot < 2; is_by_slot++) {
        world self;
        begin_world(&self, 5, 0);
        assert_int_equal(walk_world(&self, is_by_slot != 0, false), 0);
        for (unsigned key = 0; key < KEYS_N; key++) {
            assert_true(self.given[key] == 1 || is_mortal(key));
        }
    }
}

static void test_walk_of_a_cluster_in_motion_gives_all_that_stays(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed(); seed < first_seed() + runs(); seed++) {
        world self;
        begin_world(&self, seed, 2000);
        unsigned missed_n = walk_world(&self, seed % 5 == 0, seed % 7 == 0);
        if (missed_n > 0) {
            fail_msg("seed %llu: %u keys missed", (unsigned long long)seed, missed_n);
        }
    }
}

/* Each process ends behind its first page or slot, and what it has given is not given again: the
 * walk gets to its end all the same. */
static void test_walk_of_processes_that_end_at_once_gives_each_key_once(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        world self;
        begin_world(&self, 7, 0);
        self.is_brief = true;
        assert_int_equal(walk_world(&self, i % 2 != 0, i / 2 != 0), 0);
        for (unsigned key = 0; key < KEYS_N; key++) {
            assert_true(self.given[key] == 1 || is_mortal(key));
        }
    }
}

static void test_walk_of_processes_that_end_at_once_gives_all_that_stays(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed(); seed < first_seed() + runs(); seed++) {
        world self;
        begin_world(&self, seed, 2000);
        self.is_brief = true;
        unsigned missed_n = walk_world(&self, seed % 5 == 0, seed % 7 == 0);
        if (missed_n > 0) {
            fail_msg("seed %llu: %u keys missed", (unsigned long long)seed, missed_n);
        }
    }
}

/* The test can fail: where epochs do not rise, slots that went and came back are missed. */
static void test_walk_without_epochs_misses_keys(void **state)
{
    (void)state;
    unsigned missed_n = 0;
    for (uint64_t seed = 1; seed <= 300 && missed_n == 0; seed++) {
        world self;
        begin_world(&self, seed, 2000);
        self.keeps_epochs = true;
        missed_n += walk_world(&self, false, false);
    }
    assert_true(missed_n > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk_at_rest_gives_each_key_once),
        cmocka_unit_test(test_walk_of_a_cluster_in_motion_gives_all_that_stays),
        cmocka_unit_test(test_walk_of_processes_that_end_at_once_gives_each_key_once),
        cmocka_unit_test(test_walk_of_processes_that_end_at_once_gives_all_that_stays),
        cmocka_unit_test(test_walk_without_epochs_misses_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Scenes of the quorum machine: one line a turn, what a copy says and what is to be done.
 * Three copies, two write, two read. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/backoff.h"
#include "engine/quorum.h"

#include <stdio.h>
#include <string.h>

#define MS     KW_NS_PER_MS
#define SETTLE (2 * MS)

typedef enum event {
    E_HOLDS,   /* the copy answers a get or a promise: it holds time, 0: nothing */
    E_GONE,    /* the same, and what it holds is deleted */
    E_TAKES,   /* the copy took what it was given */
    E_KEEPS,   /* and keeps it without end */
    E_GUARDS,  /* holds a kept value with a life; floor: what it has promised */
    E_REFUSES, /* since it holds time, with floor */
    E_BARS,    /* the same for a promise of time; it holds nothing later */
    E_LOST,    /* no answer; nothing was sent */
    E_SILENT,  /* no answer; perhaps it ran */
    E_TIME,
    E_DEADLINE
} event;

/* What the op then asks: a letter for each copy (g, p, s; - for none), "" for nobody, and
 * how it stands. */
typedef struct turn {
    event event;
    unsigned copy;
    uint64_t time;
    uint64_t floor;
    uint64_t at_ms;
    const char *asks;
    kw_quorum_state state;
} turn;

#define WAITS  KW_QUORUM_WAITING
#define DONE   KW_QUORUM_DONE
#define FAILED KW_QUORUM_FAILED

typedef struct play {
    kw_quorum_op op;
    uint64_t clock; /* the next stamp's time, unless it must be later */
    kw_quorum_ask asks[KW_QUORUM_COPIES_MAX];
} play;

static kw_stamp next_stamp(void *arg, kw_stamp past)
{
    play *self = arg;
    self->clock = past.time >= self->clock ? past.time + 1 : self->clock;
    kw_stamp stamp = {self->clock++, 1};
    return stamp;
}

static void learn_stamp(void *arg, kw_stamp seen)
{
    (void)arg;
    (void)seen;
}

static void collect(play *self, char out[4], uint64_t now_ns)
{
    kw_quorum_ask ask;
    memcpy(out, "---", 4);
    bool has_any = false;
    while (kw_quorum_next(&self->op, &ask, now_ns)) {
        out[ask.copy] = ask.kind == KW_QUORUM_GET    ? 'g'
                        : ask.kind == KW_QUORUM_PUT  ? 's'
                        : ask.kind == KW_QUORUM_SEAL ? 'e'
                                                     : 'p';
        self->asks[ask.copy] = ask;
        has_any = true;
    }
    if (!has_any) {
        out[0] = '\0';
    }
}

static void happen(play *self, const turn *now)
{
    kw_quorum_answer answer;
    memset(&answer, 0, sizeof(answer));
    answer.is_taken = now->event != E_REFUSES && now->event != E_BARS;
    answer.is_kept = now->event == E_KEEPS;
    bool is_guard = now->event == E_GUARDS;
    answer.has_record = now->time > 0 && now->event != E_TAKES && now->event != E_KEEPS;
    answer.record.stamp.time = now->event == E_BARS ? 0 : now->time;
    answer.record.stamp.writer = now->time == self->op.origin.time ? 1 : 0; /* its own write */
    answer.record.promise.time = now->event == E_BARS ? now->time : is_guard ? now->floor : 0;
    answer.record.is_kept = answer.record.is_mortal = answer.is_mortal = is_guard;
    answer.left_ms = is_guard ? 1000 : 0;
    answer.record.origin = answer.record.stamp;
    answer.record.floor = now->event == E_BARS ? now->time : is_guard ? 0 : now->floor;
    answer.record.is_tombstone = now->event == E_GONE || now->event == E_BARS;
    unsigned round = self->asks[now->copy].round;
    switch (now->event) {
    case E_HOLDS:
    case E_GONE:
    case E_TAKES:
    case E_KEEPS:
    case E_GUARDS:
    case E_REFUSES:
    case E_BARS:
        kw_quorum_on_answer(&self->op, now->copy, round, &answer, now->at_ms * MS);
        break;
    case E_LOST:
        kw_quorum_on_lost(&self->op, now->copy, round, KW_EFFECT_NONE, now->at_ms * MS);
        break;
    case E_SILENT:
        kw_quorum_on_lost(&self->op, now->copy, round, KW_EFFECT_MAYBE, now->at_ms * MS);
        break;
    case E_TIME:
        kw_quorum_on_time(&self->op, now->at_ms * MS);
        break;
    case E_DEADLINE:
        kw_quorum_on_deadline(&self->op);
        break;
    }
}

static kw_quorum_op run(const char *name, const kw_quorum_spec *told, const char *first,
                        const turn *turns, size_t n)
{
    play self;
    memset(&self, 0, sizeof(self));
    self.clock = 50;
    kw_quorum_spec spec = *told;
    assert_true(kw_quorum_rule_set(&spec.rule, 3, 2, 2, false));
    spec.rule.settle_ns = SETTLE;
    spec.rule.linger_ms = 1000;
    kw_quorum_clock clock = {next_stamp, learn_stamp, &self};
    kw_quorum_start(&self.op, &spec, &clock, 0, 1);
    char asks[4];
    collect(&self, asks, 0);
    assert_string_equal(asks, first);
    for (size_t i = 0; i < n; i++) {
        happen(&self, &turns[i]);
        collect(&self, asks, turns[i].at_ms * MS);
        if (strcmp(asks, turns[i].asks) != 0 || self.op.state != turns[i].state) {
            fail_msg("%s, turn %zu: asks \"%s\", state %d", name, i, asks, (int)self.op.state);
        }
    }
    return self.op;
}

#define RUN(spec, first, ...)                                                                      \
    run(__func__, spec, first, (const turn[]){__VA_ARGS__},                                        \
        sizeof((const turn[]){__VA_ARGS__}) / sizeof(turn))

static const kw_quorum_spec a_read = {.kind = KW_QUORUM_READ};
static const kw_quorum_spec a_write = {.kind = KW_QUORUM_WRITE};
static const kw_quorum_spec a_swap = {.kind = KW_QUORUM_CHECKED, .expected = {40, 0}};
static const kw_quorum_spec a_first = {.kind = KW_QUORUM_CHECKED, .expects_none = true};

static void test_read_agreeing_copies_answer_at_once(void **state)
{
    (void)state;
    kw_quorum_op op = RUN(&a_read, "ggg", {E_HOLDS, 0, 40, 0, 1, "", WAITS},
                          {E_HOLDS, 2, 40, 0, 1, "", DONE}, {E_HOLDS, 1, 40, 0, 9, "", DONE});
    assert_true(kw_quorum_found(&op)->origin.time == 40);
    op = RUN(&a_read, "ggg", {E_HOLDS, 0, 0, 0, 1, "", WAITS}, {E_HOLDS, 2, 0, 0, 1, "", DONE});
    assert_null(kw_quorum_found(&op));
    op = RUN(&a_read, "ggg", {E_GONE, 0, 40, 0, 1, "", WAITS}, {E_GONE, 1, 40, 0, 1, "", DONE});
    assert_null(kw_quorum_found(&op));
}

static void test_read_late_copy_that_is_behind_is_repaired_behind_the_answer(void **state)
{
    (void)state;
    (void)RUN(&a_read, "ggg", {E_HOLDS, 0, 40, 0, 1, "", WAITS}, {E_HOLDS, 2, 40, 0, 1, "", DONE},
              {E_HOLDS, 1, 30, 0, 9, "-s-", DONE}, {E_TAKES, 1, 0, 0, 10, "", DONE});
    (void)RUN(&a_read, "ggg", {E_HOLDS, 0, 40, 0, 1, "", WAITS}, {E_HOLDS, 2, 30, 0, 1, "", WAITS},
              {E_HOLDS, 1, 40, 0, 2, "--s", DONE});
}

static void test_read_that_disagrees_writes_back_before_it_answers(void **state)
{
    (void)state;
    kw_quorum_op op =
        RUN(&a_read, "ggg", {E_HOLDS, 0, 40, 0, 1, "", WAITS}, {E_LOST, 1, 0, 0, 1, "", WAITS},
            {E_HOLDS, 2, 30, 0, 1, "--g", WAITS}, {E_HOLDS, 2, 30, 0, 1, "--g", WAITS},
            {E_HOLDS, 2, 30, 0, 1, "--s", WAITS}, {E_TAKES, 2, 0, 0, 2, "", DONE});
    assert_true(kw_quorum_found(&op)->origin.time == 40);
    /* A silent third copy is waited for a little, and no longer. */
    (void)RUN(&a_read, "ggg", {E_HOLDS, 0, 40, 0, 1, "", WAITS}, {E_HOLDS, 2, 30, 0, 1, "", WAITS},
              {E_TIME, 0, 0, 0, 3, "--g", WAITS}, {E_HOLDS, 2, 30, 0, 3, "--g", WAITS},
              {E_HOLDS, 2, 30, 0, 3, "--s", WAITS}, {E_TAKES, 2, 0, 0, 4, "", DONE});
}

static void test_read_among_writes_on_their_way_needs_no_repair(void **state)
{
    (void)state;
    /* The copies never hold the same at one time; two of them held 41, each at its time. */
    kw_quorum_op op =
        RUN(&a_read, "ggg", {E_HOLDS, 0, 40, 0, 1, "", WAITS}, {E_HOLDS, 1, 41, 0, 1, "", WAITS},
            {E_HOLDS, 2, 42, 0, 1, "gg-", WAITS}, {E_HOLDS, 0, 41, 0, 2, "", DONE});
    assert_true(kw_quorum_found(&op)->origin.time == 41);
    /* But 42 was among the first two answers: it may have been done before the read began. */
    (void)RUN(&a_read, "ggg", {E_HOLDS, 0, 42, 0, 1, "", WAITS}, {E_HOLDS, 1, 41, 0, 1, "", WAITS},
              {E_HOLDS, 2, 41, 0, 1, "-gg", WAITS});
}

static void test_read_that_meets_a_newer_one_on_its_way_takes_that(void **state)
{
    (void)state;
    kw_quorum_op op =
        RUN(&a_read, "ggg", {E_HOLDS, 0, 40, 0, 1, "", WAITS}, {E_LOST, 1, 0, 0, 1, "", WAITS},
            {E_HOLDS, 2, 30, 0, 1, "--g", WAITS}, {E_HOLDS, 2, 30, 0, 1, "--g", WAITS},
            {E_HOLDS, 2, 30, 0, 1, "--s", WAITS}, {E_REFUSES, 2, 45, 0, 2, "s--", WAITS},
            {E_TAKES, 0, 0, 0, 3, "", DONE});
    assert_true(kw_quorum_found(&op)->origin.time == 45);
}

static void test_read_without_enough_copies_fails_with_counts(void **state)
{
    (void)state;
    kw_quorum_op op = RUN(&a_read, "ggg", {E_HOLDS, 0, 40, 0, 1, "", WAITS},
                          {E_LOST, 1, 0, 0, 1, "", WAITS}, {E_SILENT, 2, 0, 0, 1, "", FAILED});
    assert_int_equal(op.got_n, 1);
    assert_int_equal(op.needed_n, 2);
    assert_int_equal(op.lost_n, 2);
    assert_int_equal(op.effect, KW_EFFECT_NONE);
}

static void test_read_that_a_promise_bars_takes_a_ballot(void **state)
{
    (void)state;
    /* Copy 2 promised 60 to somebody who went away; what copy 0 holds is made safe anew. */
    kw_quorum_op op =
        RUN(&a_read, "ggg", {E_HOLDS, 0, 40, 0, 1, "", WAITS}, {E_LOST, 1, 0, 0, 1, "", WAITS},
            {E_BARS, 2, 60, 0, 1, "--g", WAITS}, {E_BARS, 2, 60, 0, 1, "--g", WAITS},
            {E_BARS, 2, 60, 0, 1, "ppp", WAITS}, {E_HOLDS, 0, 40, 0, 2, "", WAITS},
            {E_HOLDS, 2, 0, 0, 2, "", WAITS}, {E_TIME, 0, 0, 0, 4, "sss", WAITS},
            {E_TAKES, 0, 0, 0, 5, "", WAITS}, {E_TAKES, 2, 0, 0, 5, "", DONE});
    assert_true(kw_quorum_found(&op)->origin.time == 40);
}

static void test_write_is_done_at_two_copies(void **state)
{
    (void)state;
    kw_quorum_op op = RUN(&a_write, "sss", {E_TAKES, 0, 0, 0, 1, "", WAITS},
                          {E_LOST, 1, 0, 0, 1, "", WAITS}, {E_TAKES, 2, 0, 0, 1, "", DONE});
    assert_true(op.origin.time == 50);
}

static void test_write_with_a_slow_clock_tries_again_above_what_it_met(void **state)
{
    (void)state;
    kw_quorum_op op = RUN(&a_write, "sss", {E_REFUSES, 0, 100, 0, 1, "", WAITS},
                          {E_REFUSES, 1, 100, 0, 1, "sss", WAITS}, {E_TAKES, 0, 0, 0, 2, "", WAITS},
                          {E_TAKES, 1, 0, 0, 2, "", DONE});
    assert_true(op.origin.time == 101);
    /* The third copy has taken the first try: nobody can have read it there. */
    (void)RUN(&a_write, "sss", {E_TAKES, 2, 0, 0, 1, "", WAITS},
              {E_REFUSES, 0, 100, 0, 1, "", WAITS}, {E_REFUSES, 1, 100, 49, 1, "sss", WAITS});
}

static void test_write_that_may_have_been_read_and_replaced_is_not_repeated(void **state)
{
    (void)state;
    /* Something later than this write came to copy 1 by repair: perhaps this write did. */
    kw_quorum_op op =
        RUN(&a_write, "sss", {E_TAKES, 2, 0, 0, 1, "", WAITS}, {E_REFUSES, 0, 100, 0, 1, "", WAITS},
            {E_REFUSES, 1, 100, 50, 1, "ppp", WAITS}, {E_HOLDS, 0, 100, 0, 2, "", WAITS},
            {E_HOLDS, 1, 100, 0, 2, "", FAILED});
    assert_int_equal(op.effect, KW_EFFECT_MAYBE);
}

static void test_write_without_enough_copies_says_what_it_may_have_done(void **state)
{
    (void)state;
    kw_quorum_op op = RUN(&a_write, "sss", {E_LOST, 0, 0, 0, 1, "", WAITS},
                          {E_LOST, 1, 0, 0, 1, "", WAITS}, {E_LOST, 2, 0, 0, 1, "", FAILED});
    assert_int_equal(op.effect, KW_EFFECT_NONE);
    op = RUN(&a_write, "sss", {E_LOST, 0, 0, 0, 1, "", WAITS}, {E_LOST, 1, 0, 0, 1, "", WAITS},
             {E_TAKES, 2, 0, 0, 1, "", FAILED});
    assert_int_equal(op.effect, KW_EFFECT_MAYBE);
    assert_int_equal(op.got_n, 1);
    op = RUN(&a_write, "sss", {E_TAKES, 2, 0, 0, 1, "", WAITS},
             {E_DEADLINE, 0, 0, 0, 9, "", FAILED});
    assert_int_equal(op.effect, KW_EFFECT_MAYBE);
    op = RUN(&a_write, "sss", {E_SILENT, 0, 0, 0, 1, "", WAITS}, {E_LOST, 1, 0, 0, 1, "", WAITS},
             {E_LOST, 2, 0, 0, 1, "", FAILED});
    assert_int_equal(op.effect, KW_EFFECT_MAYBE);
}

static void test_swap_takes_two_rounds(void **state)
{
    (void)state;
    kw_quorum_op op =
        RUN(&a_swap, "ppp", {E_HOLDS, 0, 40, 0, 1, "", WAITS}, {E_HOLDS, 1, 40, 0, 1, "sss", WAITS},
            {E_TAKES, 0, 0, 0, 2, "", WAITS}, {E_TAKES, 2, 0, 0, 2, "", DONE});
    assert_false(op.has_mismatch);
    op = RUN(&a_first, "ppp", {E_HOLDS, 0, 0, 0, 1, "", WAITS}, {E_HOLDS, 1, 0, 0, 1, "sss", WAITS},
             {E_TAKES, 0, 0, 0, 2, "", WAITS}, {E_TAKES, 2, 0, 0, 2, "", DONE});
    assert_false(op.has_mismatch);
}

static void test_swap_that_finds_another_version_changes_nothing(void **state)
{
    (void)state;
    kw_quorum_op op =
        RUN(&a_swap, "ppp", {E_HOLDS, 0, 45, 0, 1, "", WAITS}, {E_HOLDS, 1, 45, 0, 1, "", DONE});
    assert_true(op.has_mismatch);
    assert_true(kw_quorum_found(&op)->origin.time == 45);
    op = RUN(&a_first, "ppp", {E_HOLDS, 0, 45, 0, 1, "", WAITS}, {E_HOLDS, 1, 45, 0, 1, "", DONE});
    assert_true(op.has_mismatch);
    op = RUN(&a_swap, "ppp", {E_GONE, 0, 40, 0, 1, "", WAITS}, {E_GONE, 1, 40, 0, 1, "", DONE});
    assert_true(op.has_mismatch);
}

static void test_swap_that_another_ballot_overtakes_finds_its_own_write(void **state)
{
    (void)state;
    kw_quorum_op op = RUN(&a_swap, "ppp", {E_HOLDS, 0, 40, 0, 1, "", WAITS},
                          {E_HOLDS, 1, 40, 0, 1, "sss", WAITS}, {E_TAKES, 0, 0, 0, 2, "", WAITS},
                          {E_BARS, 1, 70, 0, 2, "", WAITS}, {E_BARS, 2, 70, 0, 2, "ppp", WAITS},
                          {E_HOLDS, 0, 50, 0, 101, "", WAITS}, {E_HOLDS, 1, 50, 0, 101, "", DONE});
    assert_false(op.has_mismatch);
    /* A write that was lost, and what is found is neither its own nor what was there: nobody knows.
     */
    op = RUN(&a_swap, "ppp", {E_HOLDS, 0, 40, 0, 1, "", WAITS},
             {E_HOLDS, 1, 40, 0, 1, "sss", WAITS}, {E_TAKES, 0, 0, 0, 2, "", WAITS},
             {E_BARS, 1, 70, 0, 2, "", WAITS}, {E_BARS, 2, 70, 0, 2, "ppp", WAITS},
             {E_HOLDS, 0, 70, 0, 101, "", WAITS}, {E_HOLDS, 1, 70, 0, 101, "", FAILED});
    assert_int_equal(op.effect, KW_EFFECT_MAYBE);
}

static const kw_quorum_spec a_deletion = {.kind = KW_QUORUM_WRITE, .is_tombstone = true};

/* Copy 1 held what would outlive the tombstone, so as many keep it as make the write done; when all
 * have it, those that keep it are told. */
static void test_deletion_that_a_copy_keeps_is_kept_by_enough_and_sealed_by_all(void **state)
{
    (void)state;
    kw_quorum_op op = RUN(&a_deletion, "sss", {E_TAKES, 0, 0, 0, 1, "", WAITS},
                          {E_KEEPS, 1, 0, 0, 1, "s--", WAITS}, {E_KEEPS, 0, 0, 0, 2, "", DONE},
                          {E_TAKES, 2, 0, 0, 9, "ee-", DONE}, {E_TAKES, 0, 0, 0, 10, "", DONE},
                          {E_TAKES, 1, 0, 0, 10, "", DONE});
    assert_true(op.is_sealed);
    /* A copy that missed it may hold the other value for ever: nobody is told. */
    op = RUN(&a_deletion, "sss", {E_KEEPS, 0, 0, 0, 1, "", WAITS}, {E_KEEPS, 1, 0, 0, 1, "", DONE},
             {E_SILENT, 2, 0, 0, 9, "", DONE});
    assert_false(op.is_sealed);
    /* Given again, it is refused: this copy had it, so it is not one that never held it. */
    op = RUN(&a_deletion, "sss", {E_TAKES, 0, 0, 0, 1, "", WAITS},
             {E_KEEPS, 1, 0, 0, 1, "s--", WAITS}, {E_REFUSES, 0, 100, 0, 2, "", WAITS},
             {E_REFUSES, 2, 100, 0, 2, "ppp", WAITS});
    assert_true(op.may_have_run);
}

/* One copy holds the greatest version that the format can: nothing can be written above it that
 * anybody reads, so nothing is, and the two other copies serve the key. */
static void test_version_at_the_end_of_time_harms_one_copy_only(void **state)
{
    (void)state;
    kw_quorum_spec late = a_write;
    late.latest = 1000;
    kw_quorum_op op = RUN(&late, "sss", {E_REFUSES, 0, KW_STAMP_TIME_MAX, 0, 1, "", WAITS},
                          {E_TAKES, 1, 0, 0, 1, "", WAITS}, {E_TAKES, 2, 0, 0, 1, "", DONE});
    assert_true(op.origin.time == 50);
    assert_int_equal(op.ahead_n, 1);
    late = a_read;
    late.latest = 1000;
    op = RUN(&late, "ggg", {E_HOLDS, 0, KW_STAMP_TIME_MAX, 0, 1, "", WAITS},
             {E_HOLDS, 1, 40, 0, 1, "", WAITS}, {E_HOLDS, 2, 40, 0, 1, "", DONE});
    assert_true(kw_quorum_found(&op)->origin.time == 40);
    late = a_first;
    late.latest = 1000;
    op = RUN(&late, "ppp", {E_BARS, 0, KW_STAMP_TIME_MAX, 0, 1, "", WAITS},
             {E_HOLDS, 1, 0, 0, 1, "", WAITS}, {E_HOLDS, 2, 0, 0, 1, "sss", WAITS});
    assert_true(op.origin.time == 50);
}

static void test_version_past_the_bound_is_not_sent(void **state)
{
    (void)state;
    kw_quorum_op op = RUN(&a_write, "sss", {E_REFUSES, 0, KW_STAMP_TIME_MAX, 0, 1, "", WAITS},
                          {E_REFUSES, 1, KW_STAMP_TIME_MAX, 0, 1, "", FAILED});
    assert_true(op.is_beyond);
    assert_int_equal(op.effect, KW_EFFECT_NONE);
    kw_quorum_spec late = a_first;
    late.latest = 55;
    op = RUN(&late, "ppp", {E_BARS, 0, 55, 0, 1, "", WAITS}, {E_BARS, 1, 55, 0, 1, "", FAILED});
    assert_true(op.is_beyond);
    assert_int_equal(op.effect, KW_EFFECT_NONE);
}

static const kw_quorum_spec a_repair = {.kind = KW_QUORUM_READ, .is_repair = true};

static void test_repair_brings_up_every_copy(void **state)
{
    (void)state;
    kw_quorum_op op =
        RUN(&a_repair, "ggg", {E_HOLDS, 0, 40, 0, 1, "", WAITS}, {E_HOLDS, 1, 40, 0, 1, "", WAITS},
            {E_HOLDS, 2, 0, 0, 9, "--s", WAITS}, {E_TAKES, 2, 0, 0, 9, "", DONE});
    assert_int_equal(op.repaired_n, 1);
    op = RUN(&a_repair, "ggg", {E_HOLDS, 0, 40, 0, 1, "", WAITS}, {E_HOLDS, 1, 40, 0, 1, "", WAITS},
             {E_HOLDS, 2, 40, 0, 9, "", DONE});
    assert_int_equal(op.repaired_n, 0);
    /* Two of three are not enough: the third may be the only one to know of a write. */
    op = RUN(&a_repair, "ggg", {E_HOLDS, 0, 40, 0, 1, "", WAITS}, {E_HOLDS, 1, 40, 0, 1, "", WAITS},
             {E_LOST, 2, 0, 0, 9, "", FAILED});
    assert_int_equal(op.effect, KW_EFFECT_NONE);
}

static void test_seal_does_not_end_what_a_ballot_may_build_on(void **state)
{
    (void)state;
    (void)RUN(&a_read, "ggg", {E_GUARDS, 0, 40, 0, 1, "", WAITS}, {E_GUARDS, 1, 40, 0, 1, "", DONE},
              {E_GUARDS, 2, 40, 0, 1, "eee", DONE});
    (void)RUN(&a_read, "ggg", {E_GUARDS, 0, 40, 60, 1, "", WAITS},
              {E_GUARDS, 1, 40, 0, 1, "", DONE}, {E_GUARDS, 2, 40, 0, 1, "", DONE});
    /* Promised to this one, which has written nothing, there is no other any more. */
    (void)RUN(&a_first, "ppp", {E_GUARDS, 0, 40, 45, 1, "", WAITS},
              {E_GUARDS, 1, 40, 0, 1, "", DONE}, {E_GUARDS, 2, 40, 0, 1, "eee", DONE});
}

static void test_ballot_keeps_the_value_that_its_own_is_built_on(void **state)
{
    (void)state;
    static const kw_quorum_spec unless = {
        .kind = KW_QUORUM_CHECKED, .expected = {40, 0}, .is_tombstone = true};
    const kw_quorum_spec *specs[] = {&a_swap, &unless, &a_first};
    for (size_t i = 0; i < 3; i++) {
        play self = {.clock = 50};
        kw_quorum_spec spec = *specs[i];
        assert_true(kw_quorum_rule_set(&spec.rule, 3, 2, 2, false));
        kw_quorum_clock clock = {next_stamp, learn_stamp, &self};
        kw_quorum_start(&self.op, &spec, &clock, 0, 1);
        kw_quorum_ask ask;
        assert_true(kw_quorum_next(&self.op, &ask, 0));
        assert_int_equal(ask.kind, KW_QUORUM_PREPARE);
        assert_int_equal(ask.record.origin.time, i == 0 ? 40 : 0);
    }
}

static void test_late_answer_is_too_late_to_build_on(void **state)
{
    (void)state; /* a quarter of linger_ms is 250 here */
    (void)RUN(&a_read, "ggg", {E_HOLDS, 0, 40, 0, 1, "", WAITS}, {E_HOLDS, 2, 40, 0, 1, "", DONE},
              {E_HOLDS, 1, 30, 0, 250, "-s-", DONE});
    (void)RUN(&a_read, "ggg", {E_HOLDS, 0, 40, 0, 1, "", WAITS}, {E_HOLDS, 2, 40, 0, 1, "", DONE},
              {E_HOLDS, 1, 30, 0, 251, "", DONE});
}

static void test_repair_settles_promises_by_a_ballot(void **state)
{
    (void)state;
    (void)RUN(&a_repair, "ggg", {E_HOLDS, 0, 40, 0, 1, "", WAITS}, {E_BARS, 1, 60, 0, 1, "", WAITS},
              {E_HOLDS, 2, 0, 0, 1, "ppp", WAITS}, {E_HOLDS, 0, 40, 0, 2, "", WAITS},
              {E_HOLDS, 1, 0, 0, 2, "", WAITS}, {E_HOLDS, 2, 0, 0, 2, "sss", WAITS},
              {E_TAKES, 0, 0, 0, 3, "", WAITS}, {E_TAKES, 2, 0, 0, 3, "", WAITS},
              {E_TAKES, 1, 0, 0, 3, "", DONE});
}

static void test_rule_numbers_that_do_not_meet_are_refused(void **state)
{
    (void)state;
    kw_quorum_rule rule;
    assert_true(kw_quorum_rule_set(&rule, 3, 2, 2, false));
    assert_int_equal(rule.agree_n, 2);
    assert_true(kw_quorum_rule_set(&rule, 3, 3, 1, false));
    assert_int_equal(rule.agree_n, 3);
    assert_true(kw_quorum_rule_set(&rule, 5, 3, 4, false));
    assert_int_equal(rule.agree_n, 4);
    assert_false(kw_quorum_rule_set(&rule, 3, 2, 1, false));
    assert_false(kw_quorum_rule_set(&rule, 3, 1, 3, false)); /* two writes need not meet */
    assert_false(kw_quorum_rule_set(&rule, 4, 2, 3, false));
    assert_false(kw_quorum_rule_set(&rule, 3, 4, 2, false));
    assert_false(kw_quorum_rule_set(&rule, 3, 0, 3, true));
    assert_false(kw_quorum_rule_set(&rule, 16, 9, 8, false));
    assert_true(kw_quorum_rule_set(&rule, 3, 1, 1, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_agreeing_copies_answer_at_once),
        cmocka_unit_test(test_read_late_copy_that_is_behind_is_repaired_behind_the_answer),
        cmocka_unit_test(test_read_that_disagrees_writes_back_before_it_answers),
        cmocka_unit_test(test_read_among_writes_on_their_way_needs_no_repair),
        cmocka_unit_test(test_read_that_meets_a_newer_one_on_its_way_takes_that),
        cmocka_unit_test(test_read_without_enough_copies_fails_with_counts),
        cmocka_unit_test(test_read_that_a_promise_bars_takes_a_ballot),
        cmocka_unit_test(test_write_is_done_at_two_copies),
        cmocka_unit_test(test_write_with_a_slow_clock_tries_again_above_what_it_met),
        cmocka_unit_test(test_write_that_may_have_been_read_and_replaced_is_not_repeated),
        cmocka_unit_test(test_write_without_enough_copies_says_what_it_may_have_done),
        cmocka_unit_test(test_swap_takes_two_rounds),
        cmocka_unit_test(test_swap_that_finds_another_version_changes_nothing),
        cmocka_unit_test(test_swap_that_another_ballot_overtakes_finds_its_own_write),
        cmocka_unit_test(test_deletion_that_a_copy_keeps_is_kept_by_enough_and_sealed_by_all),
        cmocka_unit_test(test_version_at_the_end_of_time_harms_one_copy_only),
        cmocka_unit_test(test_version_past_the_bound_is_not_sent),
        cmocka_unit_test(test_repair_brings_up_every_copy),
        cmocka_unit_test(test_seal_does_not_end_what_a_ballot_may_build_on),
        cmocka_unit_test(test_ballot_keeps_the_value_that_its_own_is_built_on),
        cmocka_unit_test(test_late_answer_is_too_late_to_build_on),
        cmocka_unit_test(test_repair_settles_promises_by_a_ballot),
        cmocka_unit_test(test_rule_numbers_that_do_not_meet_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

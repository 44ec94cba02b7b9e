/* SPDX-License-Identifier: BSD-3-Clause */
/* A value on several copies: who is asked next, and what each answer, loss and time means. */
#include "engine/quorum.h"

#include "engine/backoff.h"
#include "engine/quorum_private.h"

#include <stddef.h>
#include <string.h>

#define PAUSE_FIRST_NS (KW_NS_PER_MS / 2)
#define PAUSE_MAX_NS   (32 * KW_NS_PER_MS)

kw_quorum_tally kw_quorum_count(const kw_quorum_op *op)
{
    kw_quorum_tally tally;
    memset(&tally, 0, sizeof(tally));
    for (unsigned i = 0; i < op->spec.rule.copies_n; i++) {
        const kw_quorum_copy *copy = &op->copies[i];
        tally.asked_n += copy->mark == KW_QUORUM_DUE || copy->mark == KW_QUORUM_ASKED ? 1 : 0;
        tally.taken_n += copy->mark == KW_QUORUM_TAKEN ? 1 : 0;
        tally.refused_n += copy->mark == KW_QUORUM_REFUSED ? 1 : 0;
        tally.clean_n += copy->mark == KW_QUORUM_REFUSED && copy->is_clean ? 1 : 0;
        tally.lost_n += copy->mark == KW_QUORUM_LOST ? 1 : 0;
        tally.known_n += copy->is_known ? 1 : 0;
        bool is_exact = copy->is_known && op->has_newest && copy->is_dead == op->is_dead &&
                        kw_stamp_equal(copy->held, op->newest.stamp) &&
                        (copy->is_kept || !op->newest.is_kept);
        tally.exact_n += is_exact ? 1 : 0;
    }
    return tally;
}

bool kw_quorum_is_settling(kw_quorum_op *op, uint64_t now_ns)
{
    if (op->settle_ns == 0) {
        op->settle_ns = now_ns + op->spec.rule.settle_ns;
    }
    if (now_ns < op->settle_ns) {
        op->until_ns = op->settle_ns;
        return true;
    }
    return false;
}

void kw_quorum_begin(kw_quorum_op *op, kw_quorum_phase phase, uint64_t now_ns)
{
    op->phase = phase;
    op->state = KW_QUORUM_WAITING;
    op->round++;
    op->asked_ns = now_ns;
    op->settle_ns = 0;
    op->until_ns = UINT64_MAX;
    memset(op->copies, 0, sizeof(op->copies[0]) * op->spec.rule.copies_n);
    for (unsigned i = 0; i < op->spec.rule.copies_n; i++) {
        kw_quorum_copy *copy = &op->copies[i];
        copy->mark = KW_QUORUM_DUE;
        copy->asked = phase == KW_QUORUM_READING     ? KW_QUORUM_GET
                      : phase == KW_QUORUM_PREPARING ? KW_QUORUM_PREPARE
                                                     : KW_QUORUM_PUT;
    }
}

static void learn(kw_quorum_op *op, kw_stamp seen)
{
    if (kw_stamp_equal(seen, op->past)) { /* by this op, of another copy */
        return;
    }
    if (kw_stamp_compare(seen, op->past) > 0) {
        op->past = seen;
    }
    op->clock.learn(op->clock.arg, seen);
}

static uint64_t latest_of(const kw_quorum_op *op)
{
    return op->spec.latest > 0 && op->spec.latest < KW_STAMP_TIME_MAX ? op->spec.latest
                                                                      : KW_STAMP_TIME_MAX;
}

/* A new stamp for the write or the ballot; false where none is left below the latest time that
 * readers believe: what nobody would read is not sent either. */
static bool take_stamp(kw_quorum_op *op)
{
    kw_stamp stamp = op->clock.next(op->clock.arg, op->past);
    op->tries_n++;
    if (stamp.time > latest_of(op)) {
        op->is_beyond = true;
        kw_quorum_fail(op, op->may_have_run ? KW_EFFECT_MAYBE : KW_EFFECT_NONE, 0,
                       op->spec.rule.write_n);
        return false;
    }
    op->stamp = stamp;
    return true;
}

static void begin_setting(kw_quorum_op *op, uint64_t now_ns)
{
    if (!take_stamp(op)) {
        return;
    }
    op->origin = op->stamp;
    kw_quorum_begin(op, KW_QUORUM_SETTING, now_ns);
}

static void begin_ballot(kw_quorum_op *op, uint64_t now_ns)
{
    if (!take_stamp(op)) {
        return;
    }
    op->has_newest = false;
    op->is_dead = false;
    kw_quorum_begin(op, KW_QUORUM_PREPARING, now_ns);
}

void kw_quorum_retry(kw_quorum_op *op, uint64_t now_ns, bool is_balloting)
{
    op->is_balloting = is_balloting;
    op->phase = KW_QUORUM_PAUSING;
    op->until_ns = now_ns;
    if (op->tries_n > 1) { /* others try as well: not in step with them */
        kw_backoff backoff;
        kw_backoff_init(&backoff, PAUSE_FIRST_NS, PAUSE_MAX_NS);
        backoff.failures_n = op->tries_n - 2;
        op->until_ns = now_ns + kw_backoff_next(&backoff, &op->random);
        return;
    }
    kw_quorum_on_time(op, now_ns);
}

void kw_quorum_finish(kw_quorum_op *op)
{
    op->state = KW_QUORUM_DONE;
    op->phase = KW_QUORUM_ENDED;
    op->until_ns = UINT64_MAX;
}

void kw_quorum_fail(kw_quorum_op *op, kw_effect effect, unsigned got_n, unsigned needed_n)
{
    kw_quorum_tally tally = kw_quorum_count(op);
    op->state = KW_QUORUM_FAILED;
    op->phase = KW_QUORUM_ENDED;
    op->until_ns = UINT64_MAX;
    op->effect = effect;
    op->got_n = got_n;
    op->needed_n = needed_n;
    op->lost_n = tally.lost_n + tally.asked_n;
}

void kw_quorum_start(kw_quorum_op *op, const kw_quorum_spec *spec, const kw_quorum_clock *clock,
                     uint64_t now_ns, uint64_t seed)
{
    memset(op, 0, offsetof(kw_quorum_op, copies)); /* and what copies and sights are is counted */
    op->spec = *spec;
    op->clock = *clock;
    kw_random_init(&op->random, seed);
    if (spec->is_repair) { /* any copy may be the only one to know that a write was done */
        op->spec.rule.write_n = spec->rule.copies_n;
        op->spec.rule.agree_n = spec->rule.copies_n;
    }
    switch (spec->kind) {
    case KW_QUORUM_READ:
        kw_quorum_begin(op, KW_QUORUM_READING, now_ns);
        break;
    case KW_QUORUM_WRITE:
        begin_setting(op, now_ns);
        break;
    case KW_QUORUM_CHECKED:
        begin_ballot(op, now_ns);
        break;
    }
}

int64_t kw_quorum_left_ms(const kw_quorum_op *op, uint64_t now_ns)
{
    if (!op->has_newest || op->is_dead) {
        return 0;
    }
    if (!op->newest.is_mortal) {
        return -1;
    }
    int64_t passed_ms = (int64_t)((now_ns - op->newest_ns) / KW_NS_PER_MS);
    return op->left_ms > passed_ms ? op->left_ms - passed_ms : 0;
}

/* A PUT that brings the newest record to another copy. */
static void ask_newest(const kw_quorum_op *op, kw_quorum_ask *ask, uint64_t now_ns)
{
    int64_t left_ms = kw_quorum_left_ms(op, now_ns);
    uint64_t linger_ms = op->newest.is_mortal ? op->newest.linger_ms : op->spec.rule.linger_ms;
    ask->record = op->newest;
    ask->record.floor = 0;
    ask->record.recent = 0;
    memset(&ask->record.promise, 0, sizeof(ask->record.promise));
    ask->record.is_copied = true;
    if (op->spec.is_repair) { /* nobody knows what else has been there and was lost */
        ask->record.floor = op->newest.stamp.time;
    }
    ask->life_ms = left_ms >= 0 ? (uint64_t)left_ms + linger_ms : 0;
    if (left_ms == 0) { /* also of one whose life ends just now */
        ask->life_ms = op->newest.is_kept ? 0 : op->spec.rule.linger_ms;
        ask->record.is_tombstone = true;
        ask->record.is_mortal = false;
        ask->record.linger_ms = 0;
        ask->record.value.len = 0;
    }
}

/* A PUT of the op's own record. */
static void ask_own(const kw_quorum_op *op, kw_quorum_ask *ask)
{
    const kw_quorum_spec *spec = &op->spec;
    ask->record.origin = op->origin;
    ask->record.is_tombstone = spec->is_tombstone;
    ask->record.is_mortal = spec->life_ms > 0 && !spec->is_tombstone;
    ask->record.value = spec->value;
    if (spec->is_tombstone) {
        ask->record.is_kept = op->is_kept;
        ask->record.value.len = 0;
        ask->life_ms = op->is_kept ? 0 : spec->rule.linger_ms;
    } else if (ask->record.is_mortal) {
        ask->record.is_kept = op->is_kept;
        ask->record.linger_ms = spec->rule.linger_ms + (op->is_kept ? KW_RECORD_KEPT_MS : 0);
        ask->life_ms = spec->life_ms + ask->record.linger_ms;
    }
}

/* True where a copy may be left with a value that is there only because of the one before it: that
 * one is then kept, so that whatever replaces it is remembered for as long (E2). */
static bool leaves_on_version(const kw_quorum_spec *spec)
{
    return spec->kind == KW_QUORUM_CHECKED && !spec->expects_none && !spec->is_tombstone;
}

bool kw_quorum_next(kw_quorum_op *op, kw_quorum_ask *ask, uint64_t now_ns)
{
    unsigned i = 0;
    while (i < op->spec.rule.copies_n && op->copies[i].mark != KW_QUORUM_DUE) {
        i++;
    }
    if (i == op->spec.rule.copies_n) {
        return false;
    }
    static const kw_quorum_ask blank;
    kw_quorum_copy *copy = &op->copies[i];
    *ask = blank;
    ask->copy = i;
    ask->round = op->round;
    ask->kind = copy->asked;
    bool is_found = op->phase == KW_QUORUM_READING || op->phase == KW_QUORUM_ENDED ||
                    (op->phase == KW_QUORUM_ACCEPTING && op->is_identity);
    if (copy->asked == KW_QUORUM_PUT && is_found) {
        ask_newest(op, ask, now_ns);
    } else if (copy->asked == KW_QUORUM_PUT) {
        ask_own(op, ask);
    }
    if (op->phase == KW_QUORUM_SETTING || op->phase == KW_QUORUM_PREPARING ||
        op->phase == KW_QUORUM_ACCEPTING) {
        ask->record.stamp = op->stamp;
    }
    if (copy->asked == KW_QUORUM_PREPARE && leaves_on_version(&op->spec)) {
        ask->record.origin = op->spec.expected;
    }
    if (copy->asked == KW_QUORUM_SEAL) {
        ask->record.stamp = copy->held;
        ask->record.origin = copy->held;
        if (kw_stamp_compare(copy->promise, copy->held) > 0) {
            ask->record.promise = copy->promise;
        }
    }
    ask->linger_ms = op->spec.rule.linger_ms;
    ask->behind_ms = op->spec.rule.linger_ms / 2;
    ask->wants_value = op->phase == KW_QUORUM_READING;
    ask->is_repair = op->phase == KW_QUORUM_ENDED;
    copy->mark = KW_QUORUM_ASKED;
    copy->put = ask->record.stamp;
    copy->puts_dead = ask->record.is_tombstone;
    return true;
}

/* Takes a record into account that a copy holds. */
static void see(kw_quorum_op *op, const kw_quorum_answer *answer, uint64_t now_ns)
{
    if (!answer->has_record) {
        if (!op->has_newest) { /* the oldest of all: nothing */
            memset(&op->newest, 0, sizeof(op->newest));
            op->newest.is_tombstone = true;
            op->has_newest = true;
            op->is_dead = true;
            op->newest_ns = now_ns;
        }
        return;
    }
    const kw_record *record = &answer->record;
    bool is_dead = record->is_tombstone || (answer->is_mortal && answer->left_ms <= 0);
    int order = op->has_newest ? kw_stamp_compare(record->stamp, op->newest.stamp) : 1;
    /* One value under two stamps: its life is over where one copy says so. */
    bool is_one = op->has_newest && !kw_stamp_is_zero(record->origin) &&
                  kw_stamp_equal(record->origin, op->newest.origin);
    if (is_one && order != 0 && (is_dead || op->is_dead)) {
        is_dead = true;
        op->is_dead = true;
    }
    if (order == 0 && record->is_kept && !op->newest.is_kept) {
        kw_quorum_keep_newest(op);
    }
    if (order > 0 || (order == 0 && is_dead && !op->is_dead)) {
        bool is_kept = order == 0 && op->newest.is_kept;
        op->newest = *record;
        if (is_kept) {
            kw_quorum_keep_newest(op);
        }
        op->has_newest = true;
        op->is_dead = is_dead;
        op->left_ms = answer->left_ms;
        op->newest_ns = op->asked_ns; /* the record was as old at least */
    }
}

static void weigh(kw_quorum_op *op, uint64_t now_ns)
{
    op->until_ns = UINT64_MAX;
    switch (op->phase) {
    case KW_QUORUM_READING:
        kw_quorum_weigh_reading(op, now_ns);
        break;
    case KW_QUORUM_SETTING:
        kw_quorum_weigh_setting(op, now_ns);
        break;
    case KW_QUORUM_PREPARING:
        kw_quorum_weigh_preparing(op, now_ns);
        break;
    case KW_QUORUM_ACCEPTING:
        kw_quorum_weigh_accepting(op, now_ns);
        break;
    case KW_QUORUM_PAUSING:
    case KW_QUORUM_ENDED:
        break;
    }
}

/* Notes what the copy holds, by its answer. */
static void note(kw_quorum_op *op, kw_quorum_copy *copy, const kw_quorum_answer *answer)
{
    copy->mark = answer->is_taken ? KW_QUORUM_TAKEN : KW_QUORUM_REFUSED;
    copy->is_known = true;
    if (copy->asked == KW_QUORUM_PUT && answer->is_taken) {
        copy->held = copy->put;
        copy->is_dead = copy->puts_dead;
        copy->is_kept = answer->is_kept;
        copy->has_taken = true;
        return;
    }
    memset(&copy->held, 0, sizeof(copy->held));
    memset(&copy->promise, 0, sizeof(copy->promise));
    copy->is_dead = true;
    copy->is_kept = false;
    if (answer->has_record) {
        const kw_record *record = &answer->record;
        copy->held = record->stamp;
        copy->promise = record->promise;
        copy->is_kept = record->is_kept;
        copy->is_dead = record->is_tombstone || (answer->is_mortal && answer->left_ms <= 0);
        copy->is_clean =
            !copy->has_taken && record->floor < op->stamp.time && record->recent != op->stamp.time;
        if (!answer->is_taken && op->phase == KW_QUORUM_SETTING &&
            kw_stamp_equal(record->origin, op->origin)) {
            copy->mark = KW_QUORUM_TAKEN; /* a ballot wrote it anew */
        }
    }
    if (copy->asked == KW_QUORUM_PREPARE && answer->is_taken) {
        copy->promise = op->stamp;
    }
}

/* A version from so far in the future is a broken clock's, or nobody's. Whoever believed it
 * would have to go beyond it, and so would whoever reads that. */
static bool is_ahead(kw_quorum_op *op, unsigned copy, const kw_quorum_answer *answer)
{
    uint64_t latest = latest_of(op);
    const kw_record *record = &answer->record;
    if (!answer->has_record || (record->stamp.time <= latest && record->promise.time <= latest)) {
        return false;
    }
    op->ahead_n++;
    op->ahead_copy = copy < op->spec.rule.copies_n ? copy : 0;
    op->ahead = record->stamp.time > latest ? record->stamp : record->promise;
    return true;
}

void kw_quorum_on_answer(kw_quorum_op *op, unsigned copy, unsigned round,
                         const kw_quorum_answer *answer, uint64_t now_ns)
{
    if (is_ahead(op, copy, answer)) { /* a copy that gives its record has not taken the request */
        bool may_have_run = answer->is_taken && op->phase == KW_QUORUM_PREPARING;
        kw_quorum_on_lost(op, copy, round, may_have_run ? KW_EFFECT_MAYBE : KW_EFFECT_NONE, now_ns);
        return;
    }
    if (answer->has_record) {
        learn(op, answer->record.stamp);
        learn(op, answer->record.promise);
    }
    if (copy >= op->spec.rule.copies_n || round != op->round ||
        op->copies[copy].mark != KW_QUORUM_ASKED || op->phase == KW_QUORUM_PAUSING) {
        return;
    }
    kw_quorum_copy *place = &op->copies[copy];
    if (place->asked == KW_QUORUM_SEAL) {
        place->mark = KW_QUORUM_TAKEN;
        return;
    }
    note(op, place, answer);
    kw_quorum_keep(op, place);
    if (op->phase == KW_QUORUM_ENDED) {
        bool is_behind = op->state == KW_QUORUM_DONE && op->has_newest &&
                         place->asked == KW_QUORUM_GET &&
                         kw_stamp_compare(place->held, op->newest.stamp) < 0;
        /* An answer may have waited for the next call of its thread: too late to build on (E1). */
        uint64_t quarter_ns = op->spec.rule.linger_ms / 4 * KW_NS_PER_MS;
        if (is_behind && now_ns - op->asked_ns <= quarter_ns) {
            place->asked = KW_QUORUM_PUT;
            place->mark = KW_QUORUM_DUE;
        }
        kw_quorum_seal(op);
        return;
    }
    bool is_reading = op->phase == KW_QUORUM_READING;
    bool is_put = place->asked == KW_QUORUM_PUT;
    if (is_reading) {
        kw_quorum_sight_add(op, copy, answer);
    }
    if ((is_reading && (!is_put || !answer->is_taken)) ||
        (op->phase == KW_QUORUM_PREPARING && answer->is_taken)) {
        see(op, answer, now_ns);
    }
    weigh(op, now_ns);
    kw_quorum_seal(op);
}

void kw_quorum_on_lost(kw_quorum_op *op, unsigned copy, unsigned round, kw_effect effect,
                       uint64_t now_ns)
{
    if (copy >= op->spec.rule.copies_n || round != op->round ||
        op->copies[copy].mark != KW_QUORUM_ASKED || op->phase == KW_QUORUM_PAUSING) {
        return;
    }
    op->copies[copy].mark = KW_QUORUM_LOST;
    op->copies[copy].effect = effect;
    weigh(op, now_ns);
}

void kw_quorum_on_time(kw_quorum_op *op, uint64_t now_ns)
{
    if (now_ns < op->until_ns) {
        return;
    }
    if (op->phase != KW_QUORUM_PAUSING) {
        weigh(op, now_ns);
    } else if (op->is_balloting) {
        begin_ballot(op, now_ns);
    } else {
        begin_setting(op, now_ns);
    }
}

const kw_record *kw_quorum_found(const kw_quorum_op *op)
{
    bool has_value = op->state == KW_QUORUM_DONE && op->has_newest && !op->is_dead;
    return has_value ? &op->newest : NULL;
}

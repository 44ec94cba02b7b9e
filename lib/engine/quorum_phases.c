/* SPDX-License-Identifier: BSD-3-Clause */
/* The phases of a quorum op: what the answers so far mean, for a read, a write and a ballot. */
#include "engine/quorum_private.h"

#include "engine/backoff.h"

/* A write that some copies refused waits so long for a silent one; then it reads what is there. */
#define PATIENCE_NS (100 * KW_NS_PER_MS)

/* How often a read asks copies that are behind once more, before it writes to them. */
#define LOOKS_MAX 2u

static bool is_behind(const kw_quorum_op *op, const kw_quorum_copy *copy)
{
    int order = kw_stamp_compare(copy->held, op->newest.stamp);
    bool lacks_something =
        (op->is_dead && !copy->is_dead) || (op->newest.is_kept && !copy->is_kept);
    return order < 0 || (order == 0 && lacks_something);
}

/* Copies that answered and hold less than the newest record are to get it; returns how
 * many cannot, since they promised to take nothing below a ballot. */
static unsigned write_back(kw_quorum_op *op)
{
    unsigned barred_n = 0;
    for (unsigned i = 0; i < op->spec.rule.copies_n; i++) {
        kw_quorum_copy *copy = &op->copies[i];
        bool has_answered = copy->mark == KW_QUORUM_TAKEN || copy->mark == KW_QUORUM_REFUSED;
        if (!has_answered || !is_behind(op, copy)) {
            continue;
        }
        if (kw_stamp_compare(copy->promise, op->newest.stamp) > 0) {
            barred_n++;
            continue;
        }
        copy->asked = KW_QUORUM_PUT;
        copy->mark = KW_QUORUM_DUE;
    }
    return barred_n;
}

static kw_quorum_sight *find_sight(kw_quorum_op *op, kw_stamp stamp, bool is_dead)
{
    for (unsigned i = 0; i < op->sights_n; i++) {
        kw_quorum_sight *sight = &op->sights[i];
        if (sight->is_dead == is_dead && kw_stamp_equal(sight->record.stamp, stamp)) {
            return sight;
        }
    }
    return NULL;
}

/* A free place in the table of sights; the oldest record makes room where there is none. */
static kw_quorum_sight *new_sight(kw_quorum_op *op)
{
    if (op->sights_n < KW_QUORUM_SIGHTS_MAX) {
        return &op->sights[op->sights_n++];
    }
    kw_quorum_sight *oldest = &op->sights[0];
    for (unsigned i = 1; i < op->sights_n; i++) {
        if (kw_stamp_compare(op->sights[i].record.stamp, oldest->record.stamp) < 0) {
            oldest = &op->sights[i];
        }
    }
    return oldest;
}

void kw_quorum_sight_add(kw_quorum_op *op, unsigned number, const kw_quorum_answer *answer)
{
    const kw_quorum_copy *copy = &op->copies[number];
    kw_quorum_sight *sight = find_sight(op, copy->held, copy->is_dead);
    if (sight == NULL && !answer->has_record) {
        return; /* no record came, and the one that the copy holds is not in the table any more */
    }
    if (sight == NULL) {
        sight = new_sight(op);
        sight->record = answer->record;
        sight->is_dead = copy->is_dead;
        sight->left_ms = answer->left_ms;
        sight->holders = 0;
        sight->keepers = 0;
    }
    sight->holders |= 1u << number;
    sight->keepers |= copy->is_kept ? 1u << number : 0u;
}

static unsigned count_bits(unsigned bits)
{
    unsigned n = 0;
    for (; bits != 0; bits &= bits - 1) {
        n++;
    }
    return n;
}

/* A record that enough copies held, each at its time, and that is not older than what was
 * done before the read began: it is what is read, also where newer ones are on their way. */
static bool take_sight(kw_quorum_op *op)
{
    for (unsigned i = 0; i < op->sights_n; i++) {
        const kw_quorum_sight *sight = &op->sights[i];
        unsigned holders = sight->keepers != 0 ? sight->keepers : sight->holders;
        if (count_bits(holders) >= op->spec.rule.agree_n &&
            kw_stamp_compare(sight->record.stamp, op->bar) >= 0) {
            op->newest = sight->record;
            if (sight->keepers != 0) {
                kw_quorum_keep_newest(op);
            }
            op->is_dead = sight->is_dead;
            op->left_ms = sight->left_ms;
            op->newest_ns = op->asked_ns;
            return true;
        }
    }
    return false;
}

/* Asks the copies that are behind once more before they are repaired: mostly a write is just on
 * its way to them, and a record that repair brought makes it harder to tell, for later writes,
 * whether they have been read. */
static bool look_again(kw_quorum_op *op)
{
    bool has_any = false;
    op->looks_n++;
    for (unsigned i = 0; i < op->spec.rule.copies_n; i++) {
        kw_quorum_copy *copy = &op->copies[i];
        bool has_answered = copy->mark == KW_QUORUM_TAKEN || copy->mark == KW_QUORUM_REFUSED;
        if (has_answered && is_behind(op, copy)) {
            copy->asked = KW_QUORUM_GET;
            copy->mark = KW_QUORUM_DUE;
            has_any = true;
        }
    }
    return has_any;
}

static void finish_reading(kw_quorum_op *op)
{
    if (!kw_stamp_is_zero(op->newest.stamp)) {
        (void)write_back(op);
    }
    kw_quorum_finish(op);
}

/* True where a copy has promised something above what it holds: the ballot may have been lost, and
 * one above it settles the matter. */
static bool has_promise(const kw_quorum_op *op)
{
    for (unsigned i = 0; i < op->spec.rule.copies_n; i++) {
        if (kw_stamp_compare(op->copies[i].promise, op->newest.stamp) > 0) {
            return true;
        }
    }
    return false;
}

/* All copies have to answer: one that has lost its data may have been the only one to know
 * that a write was done. */
static void weigh_repair(kw_quorum_op *op, uint64_t now_ns, const kw_quorum_tally *tally)
{
    unsigned copies_n = op->spec.rule.copies_n;
    if (tally->lost_n > 0) {
        kw_quorum_fail(op, KW_EFFECT_NONE, copies_n - tally->lost_n, copies_n);
    } else if (tally->asked_n > 0) {
        return;
    } else if (has_promise(op)) {
        kw_quorum_retry(op, now_ns, true);
    } else if (tally->exact_n == copies_n || kw_stamp_is_zero(op->newest.stamp)) {
        kw_quorum_finish(op);
    } else {
        op->repaired_n += copies_n - tally->exact_n;
        (void)write_back(op);
    }
}

void kw_quorum_weigh_reading(kw_quorum_op *op, uint64_t now_ns)
{
    const kw_quorum_rule *rule = &op->spec.rule;
    kw_quorum_tally tally = kw_quorum_count(op);
    if (op->spec.is_repair) {
        weigh_repair(op, now_ns, &tally);
        return;
    }
    if (tally.known_n < rule->read_n) {
        if (tally.known_n + tally.asked_n < rule->read_n) {
            kw_quorum_fail(op, KW_EFFECT_NONE, tally.known_n, rule->read_n);
        }
        return;
    }
    if (!op->has_bar) {
        op->has_bar = true;
        op->bar = op->newest.stamp;
    }
    /* Nothing at all is older than everything, so no later read can see less. */
    if (rule->is_weak || kw_stamp_is_zero(op->newest.stamp) || take_sight(op) ||
        tally.exact_n >= rule->agree_n) {
        finish_reading(op);
        return;
    }
    if (tally.known_n + tally.lost_n < rule->copies_n && kw_quorum_is_settling(op, now_ns)) {
        return;
    }
    if (op->looks_n < LOOKS_MAX && look_again(op)) {
        return;
    }
    unsigned barred_n = write_back(op);
    tally = kw_quorum_count(op);
    if (tally.asked_n == 0 && barred_n > 0) {
        kw_quorum_retry(op, now_ns, true);
    } else if (tally.asked_n == 0) {
        kw_quorum_fail(op, KW_EFFECT_NONE, tally.exact_n, rule->agree_n);
    }
}

/* True where no copy has, or may have, taken the write. */
static bool is_nowhere(const kw_quorum_op *op)
{
    for (unsigned i = 0; i < op->spec.rule.copies_n; i++) {
        const kw_quorum_copy *copy = &op->copies[i];
        bool is_none = copy->mark == KW_QUORUM_REFUSED || copy->mark == KW_QUORUM_DUE ||
                       (copy->mark == KW_QUORUM_LOST && copy->effect == KW_EFFECT_NONE);
        if (!is_none) {
            return false;
        }
    }
    return true;
}

void kw_quorum_weigh_setting(kw_quorum_op *op, uint64_t now_ns)
{
    const kw_quorum_rule *rule = &op->spec.rule;
    kw_quorum_tally tally = kw_quorum_count(op);
    if (tally.taken_n >= rule->write_n) {
        kw_quorum_finish(op);
        return;
    }
    if (tally.taken_n + tally.asked_n >= rule->write_n) {
        /* With a promise in the way, it may be for this op to move things on. */
        if (tally.refused_n > 0 && tally.taken_n + tally.refused_n >= rule->agree_n) {
            if (now_ns >= op->asked_ns + PATIENCE_NS) {
                op->may_have_run = true;
                kw_quorum_retry(op, now_ns, true);
            } else {
                op->until_ns = op->asked_ns + PATIENCE_NS;
            }
        }
        return;
    }
    bool is_unreadable = is_nowhere(op) || tally.clean_n > rule->copies_n - rule->agree_n;
    if (tally.refused_n > 0 && (is_unreadable || rule->is_weak)) {
        kw_quorum_retry(op, now_ns, false);
        return;
    }
    if (tally.asked_n > 0) {
        return;
    }
    if (tally.refused_n > 0) {
        op->may_have_run = true;
        kw_quorum_retry(op, now_ns, true);
        return;
    }
    kw_quorum_fail(op, is_nowhere(op) ? KW_EFFECT_NONE : KW_EFFECT_MAYBE, tally.taken_n,
                   rule->write_n);
}

static void accept(kw_quorum_op *op, uint64_t now_ns, bool is_identity)
{
    op->is_identity = is_identity;
    op->is_own = !is_identity || kw_stamp_equal(op->newest.origin, op->origin);
    kw_quorum_begin(op, KW_QUORUM_ACCEPTING, now_ns);
}

static bool is_expected(const kw_quorum_op *op)
{
    const kw_quorum_spec *spec = &op->spec;
    if (spec->expects_none) {
        return op->is_dead;
    }
    return !op->is_dead && kw_stamp_equal(op->newest.origin, spec->expected);
}

/* The newest record is safe, and enough copies promised the ballot. Where what they hold is
 * older than the op's own write, that was never read; a copy that has it may still pass it
 * on, so what is written now has the same origin: it can only be there once. */
static void go_on_with(kw_quorum_op *op, uint64_t now_ns, const kw_quorum_tally *tally)
{
    const kw_quorum_spec *spec = &op->spec;
    bool was_sent = !kw_stamp_is_zero(op->origin);
    bool is_unread = was_sent && kw_stamp_compare(op->newest.stamp, op->origin) < 0;
    if (spec->kind == KW_QUORUM_READ) {
        kw_quorum_finish(op);
        return;
    }
    bool is_wanted = spec->kind == KW_QUORUM_WRITE || is_expected(op);
    if (op->may_have_run && (!is_unread || !is_wanted)) {
        op->is_unclear = true;
        kw_quorum_fail(op, KW_EFFECT_MAYBE, tally->exact_n, spec->rule.write_n);
    } else if (is_wanted) {
        op->origin = was_sent ? op->origin : op->stamp;
        accept(op, now_ns, false);
    } else {
        op->has_mismatch = true;
        kw_quorum_finish(op);
    }
}

void kw_quorum_weigh_preparing(kw_quorum_op *op, uint64_t now_ns)
{
    const kw_quorum_rule *rule = &op->spec.rule;
    kw_quorum_tally tally = kw_quorum_count(op);
    if (tally.taken_n < rule->agree_n) {
        if (tally.taken_n + tally.asked_n >= rule->agree_n) {
            return;
        }
        if (tally.refused_n > 0) {
            kw_quorum_retry(op, now_ns, true);
            return;
        }
        kw_quorum_fail(op, op->may_have_run ? KW_EFFECT_MAYBE : KW_EFFECT_NONE, tally.taken_n,
                       rule->agree_n);
        return;
    }
    bool is_own = !kw_stamp_is_zero(op->origin) && kw_stamp_equal(op->newest.origin, op->origin);
    bool is_safe = kw_stamp_is_zero(op->newest.stamp) || tally.exact_n >= rule->agree_n;
    if (!is_safe && tally.asked_n > 0 && kw_quorum_is_settling(op, now_ns)) {
        return;
    }
    if (is_safe && is_own) {
        kw_quorum_finish(op);
    } else if (is_safe) {
        go_on_with(op, now_ns, &tally);
    } else {
        accept(op, now_ns, true);
    }
}

void kw_quorum_weigh_accepting(kw_quorum_op *op, uint64_t now_ns)
{
    const kw_quorum_rule *rule = &op->spec.rule;
    kw_quorum_tally tally = kw_quorum_count(op);
    if (tally.taken_n >= rule->write_n) {
        if (op->is_own || op->spec.kind == KW_QUORUM_READ) {
            kw_quorum_finish(op);
        } else {
            kw_quorum_retry(op, now_ns, true); /* the own write goes on top of what is safe now */
        }
        return;
    }
    if (tally.taken_n + tally.asked_n >= rule->write_n) {
        return;
    }
    if (op->is_own && !is_nowhere(op)) {
        op->may_have_run = true;
    }
    kw_quorum_retry(op, now_ns, true);
}

void kw_quorum_on_deadline(kw_quorum_op *op)
{
    if (op->state != KW_QUORUM_WAITING) {
        return;
    }
    const kw_quorum_rule *rule = &op->spec.rule;
    kw_quorum_tally tally = kw_quorum_count(op);
    bool is_write = op->spec.kind != KW_QUORUM_READ;
    bool may_have_run = op->may_have_run;
    unsigned got_n = tally.taken_n;
    unsigned needed_n = rule->write_n;
    switch (op->phase) {
    case KW_QUORUM_READING:
        got_n = tally.known_n < rule->read_n ? tally.known_n : tally.exact_n;
        needed_n = tally.known_n < rule->read_n ? rule->read_n : rule->agree_n;
        break;
    case KW_QUORUM_SETTING:
        may_have_run = may_have_run || !is_nowhere(op);
        break;
    case KW_QUORUM_ACCEPTING:
        may_have_run = may_have_run || (op->is_own && !is_nowhere(op));
        break;
    case KW_QUORUM_PREPARING:
        needed_n = rule->agree_n;
        break;
    case KW_QUORUM_PAUSING:
    case KW_QUORUM_ENDED:
        break;
    }
    kw_quorum_fail(op, is_write && may_have_run ? KW_EFFECT_MAYBE : KW_EFFECT_NONE, got_n,
                   needed_n);
}

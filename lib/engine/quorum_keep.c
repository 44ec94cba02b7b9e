/* SPDX-License-Identifier: BSD-3-Clause */
/* What ends by itself must not end before what it has replaced, or a copy that missed it would
 * bring that back. So a copy that takes a record with an end over one that would outlive it keeps
 * the new one without end, and says so; then as many copies as a quorum needs have to keep it;
 * and only when all copies were seen to hold it are they told that it may end. */
#include "engine/quorum_private.h"

void kw_quorum_keep_newest(kw_quorum_op *op)
{
    if (!op->newest.is_kept) {
        op->newest.is_kept = true;
        op->newest.linger_ms += op->newest.is_mortal ? KW_RECORD_KEPT_MS : 0;
    }
}

/* The record that is written in this phase is the newest that was found, not the op's own. */
static bool is_of_newest(const kw_quorum_op *op)
{
    return op->phase == KW_QUORUM_READING || (op->phase == KW_QUORUM_ACCEPTING && op->is_identity);
}

/* Copies that have it, but not kept, are given it again. */
static void keep_others(kw_quorum_op *op, kw_stamp stamp)
{
    for (unsigned i = 0; i < op->spec.rule.copies_n; i++) {
        kw_quorum_copy *copy = &op->copies[i];
        bool has_it = copy->mark == KW_QUORUM_TAKEN && copy->is_known && !copy->is_kept &&
                      kw_stamp_equal(copy->held, stamp);
        if (has_it) {
            copy->asked = KW_QUORUM_PUT;
            copy->mark = KW_QUORUM_DUE;
        }
    }
}

void kw_quorum_keep(kw_quorum_op *op, kw_quorum_copy *copy)
{
    kw_stamp stamp = op->phase == KW_QUORUM_READING ? op->newest.stamp : op->stamp;
    bool is_put = copy->asked == KW_QUORUM_PUT && copy->mark == KW_QUORUM_TAKEN &&
                  kw_stamp_equal(copy->held, stamp);
    if (!is_put || op->phase == KW_QUORUM_ENDED) {
        return;
    }
    bool is_kept = is_of_newest(op) ? op->newest.is_kept : op->is_kept;
    if (copy->is_kept == is_kept) {
        return;
    }
    if (is_kept) {
        copy->mark = KW_QUORUM_DUE; /* it was asked before that was known */
        return;
    }
    if (is_of_newest(op)) {
        kw_quorum_keep_newest(op);
    } else {
        op->is_kept = true;
    }
    keep_others(op, copy->held);
}

void kw_quorum_seal(kw_quorum_op *op)
{
    if (op->phase != KW_QUORUM_ENDED || op->state != KW_QUORUM_DONE || op->is_sealed) {
        return;
    }
    bool is_any_kept = false;
    for (unsigned i = 0; i < op->spec.rule.copies_n; i++) {
        const kw_quorum_copy *copy = &op->copies[i];
        bool is_barred =
            copy->asked != KW_QUORUM_PREPARE && kw_stamp_compare(copy->promise, copy->held) > 0;
        if (copy->mark != KW_QUORUM_TAKEN || !copy->is_known || kw_stamp_is_zero(copy->held) ||
            !kw_stamp_equal(copy->held, op->copies[0].held) || is_barred) {
            return;
        }
        is_any_kept = is_any_kept || copy->is_kept;
    }
    op->is_sealed = is_any_kept;
    for (unsigned i = 0; i < op->spec.rule.copies_n; i++) {
        if (op->copies[i].is_kept) {
            op->copies[i].asked = KW_QUORUM_SEAL;
            op->copies[i].mark = KW_QUORUM_DUE;
        }
    }
}

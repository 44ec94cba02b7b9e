/* SPDX-License-Identifier: BSD-3-Clause */
/* Gets, puts and prepares of one copy, in memory, by the rules of the script. */
#include "support/quorum_copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Keeps the record, whose value may be the copy's own. */
static void put(kw_test_copy *copy, const kw_record *record, uint64_t ends_ms)
{
    size_t len = record->value.len;
    if (len > sizeof(copy->value)) {
        fputs("quorum_copy: value too long\n", stderr);
        exit(1);
    }
    if (len > 0) {
        memmove(copy->value, record->value.data, len);
    }
    copy->record = *record;
    copy->record.value.data = NULL;
    copy->record.linger_ms = record->is_mortal ? record->linger_ms : 0;
    if (copy->planted == KW_TEST_COPY_NO_FLOOR) {
        copy->record.floor = copy->record.recent = 0;
    }
    copy->has_key = true;
    copy->ends_ms = ends_ms;
    copy->is_set_anew = true;
}

static void answer_with(const kw_test_copy *copy, kw_test_copy_answer *out, uint64_t now_ms)
{
    if (!copy->has_key) {
        return;
    }
    kw_quorum_answer *answer = &out->answer;
    answer->record = copy->record;
    answer->record.value.data = out->value;
    if (copy->record.value.len > 0) {
        memcpy(out->value, copy->value, copy->record.value.len);
    }
    answer->has_record = true;
    answer->is_mortal = answer->record.is_mortal;
    answer->left_ms = (int64_t)copy->ends_ms - (int64_t)now_ms - (int64_t)answer->record.linger_ms;
}

/* Stays for ms at least; what is left of the value's own life does not change. */
static void hold(kw_test_copy *copy, kw_record *have, uint64_t ms, uint64_t now_ms)
{
    uint64_t ends_ms = copy->ends_ms;
    bool is_short = ends_ms != 0 && ends_ms <= now_ms + ms;
    if (is_short) {
        have->linger_ms += have->is_mortal ? now_ms + ms - ends_ms : 0;
        ends_ms = now_ms + ms;
    }
    put(copy, have, ends_ms);
    copy->is_set_anew = is_short;
}

static void prepare(kw_test_copy *copy, kw_test_copy_answer *out, const kw_quorum_ask *ask,
                    uint64_t now_ms)
{
    kw_stamp ballot = ask->record.stamp;
    kw_record have = out->answer.record;
    if (kw_stamp_compare(have.stamp, ballot) >= 0 || kw_stamp_compare(have.promise, ballot) >= 0) {
        return;
    }
    out->answer.is_taken = true;
    bool is_base = copy->has_key && have.is_mortal && !have.is_kept &&
                   kw_stamp_equal(have.origin, ask->record.origin);
    if (is_base && copy->planted != KW_TEST_COPY_BASE_ENDS) {
        have.is_kept = out->answer.record.is_kept = true;
        have.linger_ms += KW_RECORD_KEPT_MS;
        out->answer.record.linger_ms = have.linger_ms;
        copy->ends_ms += KW_RECORD_KEPT_MS;
    }
    have.promise = ballot;
    have.floor = ballot.time > have.floor ? ballot.time : have.floor;
    if (!copy->has_key) {
        out->answer.has_record = false;
        put(copy, &have, now_ms + ask->linger_ms);
    } else {
        bool is_planted = copy->planted == KW_TEST_COPY_PROMISE_EXPIRES;
        hold(copy, &have, is_planted ? 0 : ask->linger_ms, now_ms);
    }
}

/* The copy has it. */
static bool is_kept_anew(kw_test_copy *copy, const kw_quorum_ask *ask, kw_record *have,
                         uint64_t now_ms)
{
    bool is_kept = have->is_kept;
    if (ask->record.is_kept && !have->is_kept && copy->ends_ms != 0) {
        have->is_kept = is_kept = true;
        have->linger_ms += have->is_mortal ? KW_RECORD_KEPT_MS : 0;
        put(copy, have, have->is_mortal ? copy->ends_ms + KW_RECORD_KEPT_MS : 0);
    }
    if (ask->record.is_tombstone && have->is_mortal && copy->ends_ms > now_ms + have->linger_ms) {
        copy->ends_ms = now_ms + have->linger_ms;
        copy->is_set_anew = true;
    }
    return is_kept;
}

static void keep_whom_it_brought(const kw_record *have, kw_record *record)
{
    record->floor = have->floor > record->floor ? have->floor : record->floor;
    record->recent = have->recent;
    if (have->is_copied) {
        uint64_t older = have->origin.time;
        if (older > record->recent) {
            older = record->recent;
            record->recent = have->origin.time;
        }
        if (older != record->recent && older > record->floor) {
            record->floor = older;
        }
    }
}

static void take(kw_test_copy *copy, kw_test_copy_answer *out, const kw_quorum_ask *ask,
                 uint64_t now_ms)
{
    kw_record have = out->answer.record;
    kw_record record = ask->record;
    if (copy->has_key && kw_stamp_equal(record.stamp, have.stamp)) {
        out->answer.is_taken = true;
        out->answer.is_kept = is_kept_anew(copy, ask, &have, now_ms);
        return;
    }
    if (kw_stamp_compare(record.stamp, have.stamp) < 0 ||
        kw_stamp_compare(record.stamp, have.promise) < 0) {
        if (copy->has_key && copy->planted != KW_TEST_COPY_REFUSAL_EXPIRES) {
            hold(copy, &have, ask->linger_ms, now_ms);
        }
        return;
    }
    out->answer.is_taken = true;
    uint64_t life_ms = ask->life_ms;
    if (record.is_mortal && kw_stamp_equal(record.origin, have.origin)) {
        uint64_t left_ms = have.is_mortal && copy->ends_ms > now_ms + have.linger_ms
                               ? copy->ends_ms - now_ms - have.linger_ms
                               : 0;
        life_ms = life_ms < record.linger_ms + left_ms ? life_ms : record.linger_ms + left_ms;
    }
    bool would_outlive = copy->has_key && life_ms > 0 && !record.is_kept &&
                         (copy->ends_ms == 0 || copy->ends_ms > now_ms + life_ms);
    if (would_outlive && copy->planted != KW_TEST_COPY_KEEPS_NOTHING) {
        record.is_kept = true;
        record.linger_ms += record.is_mortal ? KW_RECORD_KEPT_MS : 0;
        life_ms = record.is_mortal ? life_ms + KW_RECORD_KEPT_MS : 0;
    }
    keep_whom_it_brought(&have, &record);
    put(copy, &record, life_ms > 0 ? now_ms + life_ms : 0);
    out->answer.is_kept = record.is_kept;
}

static void seal(kw_test_copy *copy, const kw_test_copy_answer *out, const kw_quorum_ask *ask,
                 uint64_t now_ms)
{
    kw_record have = out->answer.record;
    bool has_ballot = !kw_stamp_is_zero(ask->record.promise);
    kw_stamp bound = has_ballot ? ask->record.promise : ask->record.stamp;
    if (!have.is_kept || !kw_stamp_equal(have.stamp, ask->record.stamp) ||
        kw_stamp_compare(bound, have.promise) < 0) {
        return;
    }
    have.is_kept = false;
    copy->ends_ms =
        copy->ends_ms > now_ms + KW_RECORD_KEPT_MS ? copy->ends_ms - KW_RECORD_KEPT_MS : now_ms;
    have.linger_ms -= have.is_mortal ? KW_RECORD_KEPT_MS : 0;
    hold(copy, &have, ask->linger_ms, now_ms);
}

/* A version that is too far behind the copy's clock is as if a promise were in its way. */
static void see_nothing(const kw_test_copy *copy, kw_test_copy_answer *out,
                        const kw_quorum_ask *ask)
{
    kw_record *record = &out->answer.record;
    record->is_tombstone = true;
    bool is_new = ask->kind == KW_QUORUM_PREPARE || ask->kind == KW_QUORUM_PUT;
    if (is_new && kw_stamp_compare(ask->record.stamp, copy->past) < 0) {
        record->promise = copy->past;
        out->answer.has_record = true;
    }
}

void kw_test_copy_do(kw_test_copy *copy, kw_test_copy_answer *out, const kw_quorum_ask *ask,
                     uint64_t now_ms)
{
    memset(&out->answer, 0, sizeof(out->answer));
    copy->is_set_anew = false;
    if (copy->planted == KW_TEST_COPY_TAKES_ALL && ask->kind == KW_QUORUM_PUT) {
        copy->has_key = false;
    }
    if (copy->has_key && copy->ends_ms != 0 && copy->ends_ms <= now_ms) {
        copy->has_key = false;
        copy->ends_ms = 0;
    }
    answer_with(copy, out, now_ms);
    if (!copy->has_key) {
        see_nothing(copy, out, ask);
    }
    switch (ask->kind) {
    case KW_QUORUM_GET:
        out->answer.is_taken = true;
        break;
    case KW_QUORUM_PREPARE:
        prepare(copy, out, ask, now_ms);
        break;
    case KW_QUORUM_PUT:
        take(copy, out, ask, now_ms);
        break;
    case KW_QUORUM_SEAL:
        seal(copy, out, ask, now_ms);
        break;
    }
    if (ask->kind == KW_QUORUM_SEAL || (ask->kind == KW_QUORUM_PUT && out->answer.is_taken)) {
        bool is_kept = out->answer.is_kept;
        memset(&out->answer, 0, sizeof(out->answer));
        out->answer.is_taken = true;
        out->answer.is_kept = is_kept;
    } else if (ask->kind == KW_QUORUM_PUT && !ask->wants_value) {
        out->answer.record.value.len = 0;
        out->answer.is_mortal = false;
    }
}

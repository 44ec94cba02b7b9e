/* SPDX-License-Identifier: BSD-3-Clause */
/* Gets, puts and prepares of one copy, in memory, by the rules of the script. */
#include "support/quorum_copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(kw_test_copy *copy, const kw_record *record, uint64_t ends_ms)
{
    unsigned char head[KW_RECORD_HEAD_MAX];
    char value[KW_TEST_COPY_MAX]; /* the record's may be in the copy itself */
    size_t head_len = kw_record_put_head(head, record);
    if (head_len + record->value.len > sizeof(copy->bytes)) {
        fputs("quorum_copy: value too long\n", stderr);
        exit(1);
    }
    if (record->value.len > 0) {
        memcpy(value, record->value.data, record->value.len);
    }
    memcpy(copy->bytes, head, head_len);
    memcpy(copy->bytes + head_len, value, record->value.len);
    copy->len = head_len + record->value.len;
    copy->has_key = true;
    copy->ends_ms = ends_ms;
}

static void answer_with(const kw_test_copy *copy, kw_test_copy_answer *out, uint64_t now_ms)
{
    if (!copy->has_key) {
        return;
    }
    memcpy(out->bytes, copy->bytes, copy->len);
    kw_bytes bytes = {out->bytes, copy->len};
    kw_quorum_answer *answer = &out->answer;
    if (!kw_record_get(&answer->record, bytes)) {
        fputs("quorum_copy: holds what is no record\n", stderr);
        exit(1);
    }
    answer->has_record = true;
    answer->is_mortal = answer->record.is_mortal;
    answer->left_ms = (int64_t)copy->ends_ms - (int64_t)now_ms - (int64_t)answer->record.linger_ms;
}

static void prepare(kw_test_copy *copy, kw_test_copy_answer *out, const kw_quorum_ask *ask,
                    uint64_t now_ms)
{
    kw_stamp ballot = ask->record.stamp;
    kw_record have = out->answer.record;
    if (!copy->has_key) {
        have.is_tombstone = true;
    }
    if (kw_stamp_compare(have.stamp, ballot) >= 0 || kw_stamp_compare(have.promise, ballot) >= 0) {
        return;
    }
    out->answer.is_taken = true;
    have.promise = ballot;
    have.floor = ballot.time > have.floor ? ballot.time : have.floor;
    uint64_t ends_ms = copy->has_key ? copy->ends_ms : now_ms + ask->life_ms;
    bool is_short = copy->has_key && copy->ends_ms != 0 && copy->ends_ms < now_ms + ask->life_ms;
    if (is_short && copy->planted != KW_TEST_COPY_PROMISE_EXPIRES) {
        have.linger_ms += have.is_mortal ? now_ms + ask->life_ms - copy->ends_ms : 0;
        ends_ms = now_ms + ask->life_ms;
    }
    put(copy, &have, ends_ms);
}

static void take(kw_test_copy *copy, kw_test_copy_answer *out, const kw_quorum_ask *ask,
                 uint64_t now_ms)
{
    kw_record have = out->answer.record;
    kw_record record = ask->record;
    if (kw_stamp_equal(record.stamp, have.stamp)) {
        if (record.is_tombstone && have.is_mortal && out->answer.left_ms > 0) {
            copy->ends_ms = now_ms + have.linger_ms;
        }
        out->answer.is_taken = true;
        return;
    }
    if (kw_stamp_compare(record.stamp, have.stamp) < 0 ||
        kw_stamp_compare(record.stamp, have.promise) < 0) {
        return;
    }
    out->answer.is_taken = true;
    record.floor = have.floor > record.floor ? have.floor : record.floor;
    record.recent = have.recent;
    if (have.is_copied) {
        uint64_t older = have.origin.time;
        if (older > record.recent) {
            older = record.recent;
            record.recent = have.origin.time;
        }
        if (older != record.recent && older > record.floor) {
            record.floor = older;
        }
    }
    put(copy, &record, ask->life_ms > 0 ? now_ms + ask->life_ms : 0);
}

void kw_test_copy_do(kw_test_copy *copy, kw_test_copy_answer *out, const kw_quorum_ask *ask,
                     uint64_t now_ms)
{
    memset(out, 0, sizeof(*out));
    if (copy->has_key && copy->ends_ms != 0 && copy->ends_ms <= now_ms) {
        copy->has_key = false;
        copy->ends_ms = 0;
    }
    answer_with(copy, out, now_ms);
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
    }
    if (ask->kind == KW_QUORUM_PUT && out->answer.is_taken) {
        memset(&out->answer, 0, sizeof(out->answer));
        out->answer.is_taken = true;
    } else if (ask->kind == KW_QUORUM_PUT && !ask->wants_value) {
        out->answer.record.value.len = 0;
        out->answer.is_mortal = false;
    }
}

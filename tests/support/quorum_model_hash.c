/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum model: a state as a number. What belongs to one copy is written down together, and
 * copies in the order of what was written, so that states that differ in the numbers of
 * copies only are one. */
#include "support/quorum_model_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHEET_MAX 2048u

typedef struct sheet {
    unsigned char bytes[SHEET_MAX + 8];
    size_t len;
} sheet;

/* Room for n more bytes, which the caller writes. */
static unsigned char *make_room(sheet *out, size_t n)
{
    if (out->len + n > SHEET_MAX) {
        fputs("quorum_model: sheet too small\n", stderr);
        exit(1);
    }
    out->len += n;
    return out->bytes + out->len - n;
}

static unsigned char byte_of(uint64_t number)
{
    return (unsigned char)(number < 255 ? number : 255);
}

static void put(sheet *out, uint64_t number)
{
    *make_room(out, 1) = byte_of(number);
}

static void put_stamp(sheet *out, kw_stamp stamp)
{
    unsigned char *at = make_room(out, 2);
    at[0] = byte_of(stamp.time);
    at[1] = byte_of(stamp.writer);
}

/* Numbers of milliseconds are of a few sizes. */
static unsigned span_of(uint64_t ms)
{
    return ms == 0 ? 0 : ms < LINGER_MS ? 1 : ms < LIFE_MS / 2 ? 2 : ms < 2 * LIFE_MS ? 3 : 4;
}

static void put_record(sheet *out, const kw_record *record, const char *value)
{
    unsigned char *at = make_room(out, 11);
    at[0] = byte_of(record->stamp.time);
    at[1] = byte_of(record->stamp.writer);
    at[2] = byte_of(record->origin.time);
    at[3] = byte_of(record->origin.writer);
    at[4] = byte_of(record->promise.time);
    at[5] = byte_of(record->promise.writer);
    at[6] = byte_of(record->floor);
    at[7] = byte_of(record->recent);
    at[8] = byte_of(span_of(record->linger_ms));
    at[9] = byte_of((record->is_tombstone ? 1u : 0u) | (record->is_copied ? 2u : 0u) |
                    (record->is_mortal ? 4u : 0u) | (record->is_kept ? 8u : 0u));
    at[10] = value != NULL ? (unsigned char)value[0] : 0;
}

static void put_found(sheet *out, const kw_record *record)
{
    put_record(out, record, record->value.len > 0 ? record->value.data : NULL);
}

static void put_key(sheet *out, const kw_test_copy *key)
{
    put(out, key->has_key ? 1 : 0);
    if (!key->has_key) {
        return;
    }
    put_record(out, &key->record, key->record.value.len > 0 ? key->value : NULL);
    put(out, model_is_alive(key) ? 1 : 0);
    put(out, key->ends_ms == 0 ? 0 : span_of(key->ends_ms - NOW_MS));
}

/* A late one is anybody's, once it holds up no end. */
static void put_message(const model *self, const model_state *state, sheet *out,
                        const model_message *sent)
{
    bool is_anybodys = sent->state == MESSAGE_LATE && model_is_endless(self, state);
    bool is_awaited = sent->state != MESSAGE_LATE && model_is_awaited(state, sent);
    bool is_told = self->setup->is_plain || is_awaited;
    put(out, 200u + (unsigned)sent->state);
    put(out, is_anybodys ? 0 : sent->client);
    put(out, is_anybodys ? 0 : sent->act);
    put(out, (is_told && sent->wants_value ? 1u : 0u) | (sent->is_taken ? 2u : 0u) |
                 (sent->is_mortal ? 4u : 0u) | (sent->is_hint ? 8u : 0u) |
                 (sent->is_kept ? 16u : 0u));
    put(out, (unsigned)sent->kind);
    put(out, is_told ? sent->round : 0);
    put(out, span_of(sent->life_ms));
    put(out, sent->left_ms > 0 ? 1 : 0);
    if (sent->has_record) {
        put_found(out, &sent->record);
    }
}

/* What an op knows of a copy. A pause is followed by a new round, which forgets all of it; what a
 * copy holds that has refused a write is asked of it again; promises are looked at by reads. */
static void put_view(const model *self, sheet *out, const kw_quorum_op *op, unsigned number)
{
    const kw_quorum_copy *copy = &op->copies[number];
    bool is_plain = self->setup->is_plain;
    bool is_writing = op->phase == KW_QUORUM_SETTING || op->phase == KW_QUORUM_ACCEPTING;
    if (op->phase == KW_QUORUM_PAUSING && !is_plain) {
        return;
    }
    put(out, (unsigned)copy->mark);
    if (is_writing && copy->mark == KW_QUORUM_REFUSED && !is_plain) {
        put(out, copy->is_clean ? 1 : 0);
        return;
    }
    put(out, (unsigned)copy->asked);
    if (copy->mark == KW_QUORUM_ASKED || is_plain) {
        put_stamp(out, copy->put);
    }
    put_stamp(out, copy->held);
    if (!is_writing || is_plain) {
        put_stamp(out, copy->promise);
    }
    put(out, (copy->puts_dead ? 1u : 0u) | (copy->is_known ? 2u : 0u) | (copy->is_dead ? 4u : 0u) |
                 (copy->is_clean ? 8u : 0u) | (copy->is_kept ? 16u : 0u) |
                 (copy->has_taken ? 32u : 0u));
    put(out, copy->mark == KW_QUORUM_LOST ? (unsigned)copy->effect : 9u);
    if (op->phase != KW_QUORUM_READING && !is_plain) {
        return;
    }
    unsigned sights = 0;
    unsigned keepers = 0;
    for (unsigned i = 0; i < op->sights_n; i++) {
        sights |= (op->sights[i].holders >> number & 1u) << i;
        keepers |= (op->sights[i].keepers >> number & 1u) << i;
    }
    put(out, sights);
    put(out, keepers);
}

/* True where something depends on what the op of the client knows. */
static bool is_live(const model *self, const model_state *state, unsigned client)
{
    const model_client *who = &state->clients[client];
    return who->has_op && !who->is_dead &&
           (self->setup->is_plain || model_may_hear(state, client));
}

static void put_copy(const model *self, const model_state *state, sheet *out, unsigned number)
{
    const model_copy *copy = &state->copies[number];
    put(out, (copy->is_down ? 1u : 0u) | (copy->is_silent ? 2u : 0u) | (copy->has_old ? 4u : 0u));
    bool has_role = self->setup->has_join && number + 1 >= self->setup->copies_n;
    put(out, has_role ? number : 0); /* others may change places */
    put_key(out, &copy->key);
    if (!model_is_endless(self, state)) {
        put(out, copy->guards & 0xffu);
        put(out, copy->guards >> 8 & 0xffu);
    }
    if (copy->has_old) {
        put_key(out, &copy->old);
    }
    for (unsigned i = 0; i < KW_MODEL_CLIENTS_MAX; i++) {
        if (is_live(self, state, i)) {
            unsigned seat = model_copy_at(self, number);
            bool is_asked = model_place(self, state->clients[i].view, seat) == number;
            put(out, is_asked ? 1 : 0);
            if (is_asked) {
                put_view(self, out, &state->clients[i].op, seat);
            }
        }
    }
    for (unsigned i = 0; i < state->messages_n; i++) {
        if (state->messages[i].copy == number) {
            put_message(self, state, out, &state->messages[i]);
        }
    }
}

static void put_op(const model *self, sheet *out, const kw_quorum_op *op, uint64_t now_ns)
{
    bool is_plain = self->setup->is_plain;
    /* Only writes of the record found, and reads, look at the newest one again. */
    bool is_own = op->phase == KW_QUORUM_SETTING || op->phase == KW_QUORUM_PAUSING ||
                  (op->phase == KW_QUORUM_ACCEPTING && !op->is_identity);
    put(out, (unsigned)op->phase);
    put(out, (unsigned)op->state);
    put(out, op->round);
    put(out, op->until_ns != UINT64_MAX ? 1 : 0);
    put(out, now_ns >= op->asked_ns + 100000000u ? 1 : 0); /* PATIENCE_NS */
    put(out, op->settle_ns == 0 ? 0 : op->settle_ns <= now_ns ? 1 : 2);
    put(out, op->looks_n);
    put_stamp(out, op->stamp);
    put_stamp(out, op->origin);
    put_stamp(out, op->past);
    put_stamp(out, op->bar);
    put(out, (op->has_bar ? 1u : 0u) | (op->is_identity ? 2u : 0u) | (op->is_own ? 4u : 0u) |
                 (op->is_balloting ? 8u : 0u) | (op->may_have_run ? 16u : 0u));
    put(out, (op->is_kept ? 1u : 0u) | (op->is_sealed ? 2u : 0u));
    bool has_newest = op->has_newest && (is_plain || !is_own);
    put(out, has_newest ? 1 : 0);
    if (has_newest) {
        put_found(out, &op->newest);
        put(out, (op->left_ms > 0 ? 1 : 0) | (op->is_dead ? 2 : 0));
    }
    for (unsigned i = 0; i < op->sights_n && (is_plain || op->phase == KW_QUORUM_READING); i++) {
        put_found(out, &op->sights[i].record);
        put(out, op->sights[i].is_dead ? 1 : 0);
    }
}

static void put_client(const model *self, const model_state *state, sheet *out, unsigned number)
{
    const model_client *who = &state->clients[number];
    bool is_plain = self->setup->is_plain;
    put(out, (who->is_busy ? 1u : 0u) | (who->has_op ? 2u : 0u) | (who->is_dead ? 4u : 0u));
    if (who->is_dead && !is_plain) {
        return;
    }
    put(out, who->act);
    put(out, who->view);
    if (is_plain ? who->has_op : model_may_stamp(self, state, number)) {
        put(out, who->last);
    }
    if (is_live(self, state, number)) {
        put_op(self, out, &who->op, who->now_ns);
    }
}

static void put_rest(const model *self, const model_state *state, sheet *out)
{
    for (unsigned i = 0; i < KW_MODEL_CLIENTS_MAX; i++) {
        put_client(self, state, out, i);
    }
    put(out, state->faults_n);
    put(out, state->ends_n);
    put(out, state->looks_n);
    if (self->setup->is_plain || !model_is_over(self, state)) {
        put(out, state->time); /* reads at the end are above all there is */
    }
    put(out, state->past);
    put(out, state->is_joined ? 1 : 0);
    for (unsigned i = 0; i < state->events_n; i++) {
        const model_event *event = &state->events[i];
        put(out, event->client * 16u + event->act);
        put(out, event->what * 32u + event->value);
    }
}

static uint64_t mix(uint64_t hash, const sheet *in)
{
    for (size_t i = 0; i < in->len; i += 8) {
        uint64_t word;
        memcpy(&word, in->bytes + i, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
        hash ^= hash >> 32;
    }
    return (hash ^ in->len) * UINT64_C(0x9e3779b97f4a7c15);
}

/* Whole words are read of it. */
static void end_sheet(sheet *out)
{
    memset(out->bytes + out->len, 0, 8);
}

uint64_t model_hash(const model *self, const model_state *state, const model_block *block)
{
    static sheet sheets[KW_MODEL_COPIES_MAX];
    static sheet rest;
    unsigned order[KW_MODEL_COPIES_MAX];
    unsigned copies_n = model_places(self);
    for (unsigned i = 0; i < copies_n; i++) {
        sheets[i].len = 0;
        put_copy(self, state, &sheets[i], i);
        put(&sheets[i], (int)i == block->copy ? 1 : 0);
        end_sheet(&sheets[i]);
        unsigned at = i;
        while (at > 0) {
            const sheet *a = &sheets[order[at - 1]];
            const sheet *b = &sheets[i];
            size_t shorter = a->len < b->len ? a->len : b->len;
            int way = memcmp(a->bytes, b->bytes, shorter);
            if (way < 0 || (way == 0 && a->len <= b->len)) {
                break;
            }
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
    rest.len = 0;
    put(&rest, (unsigned)(block->client + 1));
    put(&rest, (unsigned)(block->last_client + 1));
    put(&rest, (block->is_answered ? 1u : 0u) | (block->is_mixed ? 2u : 0u) |
                   (block->is_idle ? 4u : 0u));
    put_rest(self, state, &rest);
    end_sheet(&rest);
    uint64_t hash = mix(UINT64_C(0x243f6a8885a308d3), &rest);
    for (unsigned i = 0; i < copies_n; i++) {
        hash = mix(hash, &sheets[order[i]]);
    }
    hash ^= hash >> 29;
    return hash != 0 ? hash : 1;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum model: a state as a number. What belongs to one copy is written down together, and
 * copies in the order of what was written, so that states that differ in the numbers of
 * copies only are one. */
#include "support/quorum_model_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The most that is written of a copy: all messages, and what each op knows of it. */
#define SHEET_MAX (MESSAGES_MAX * 24u + KW_MODEL_CLIENTS_MAX * 24u + 96u)
#define REST_MAX  (KW_MODEL_CLIENTS_MAX * 160u + EVENTS_MAX * 2u + 32u)

typedef struct sheet {
    unsigned char bytes[SHEET_MAX + REST_MAX + 8];
    size_t len;
} sheet;

/* Writes a number of one byte; returns where to go on, as all do that write. */
static unsigned char *put(unsigned char *at, uint64_t number)
{
    *at = (unsigned char)(number < 255 ? number : 255);
    return at + 1;
}

static unsigned char *put_stamp(unsigned char *at, kw_stamp stamp)
{
    return put(put(at, stamp.time), stamp.writer);
}

/* Numbers of milliseconds are of a few sizes. */
static unsigned span_of(uint64_t ms)
{
    return ms == 0 ? 0 : ms < LINGER_MS ? 1 : ms < LIFE_MS / 2 ? 2 : ms < 2 * LIFE_MS ? 3 : 4;
}

static unsigned char *put_record(unsigned char *at, const kw_record *record, const char *value)
{
    at = put_stamp(at, record->stamp);
    at = put_stamp(at, record->origin);
    at = put_stamp(at, record->promise);
    at = put(at, record->floor);
    at = put(at, record->recent);
    at = put(at, span_of(record->linger_ms));
    at = put(at, (record->is_tombstone ? 1u : 0u) | (record->is_copied ? 2u : 0u) |
                     (record->is_mortal ? 4u : 0u) | (record->is_kept ? 8u : 0u));
    return put(at, value != NULL ? (unsigned char)value[0] : 0);
}

static unsigned char *put_found(unsigned char *at, const kw_record *record)
{
    at = put_record(at, record, record->value.len > 0 ? record->value.data : NULL);
    return at;
}

static unsigned char *put_key(unsigned char *at, const kw_test_copy *key)
{
    at = put(at, key->has_key ? 1 : 0);
    if (!key->has_key) {
        return at;
    }
    at = put_record(at, &key->record, key->record.value.len > 0 ? key->value : NULL);
    at = put(at, model_is_alive(key) ? 1 : 0);
    at = put(at, key->ends_ms == 0 ? 0 : span_of(key->ends_ms - NOW_MS));
    return at;
}

/* A late one is anybody's, once it holds up no end. */
static unsigned char *put_message(const model *self, const model_state *state, unsigned char *at,
                                  const model_message *sent)
{
    bool is_anybodys = sent->state == MESSAGE_LATE && model_is_endless(self, state);
    bool is_awaited = sent->state != MESSAGE_LATE && model_is_awaited(state, sent);
    bool is_told = self->setup->is_plain || is_awaited;
    at = put(at, 200u + (unsigned)sent->state);
    at = put(at, is_anybodys ? 0 : sent->client);
    at = put(at, is_anybodys ? 0 : sent->act);
    at = put(at, (is_told && sent->wants_value ? 1u : 0u) | (sent->is_taken ? 2u : 0u) |
                     (sent->is_mortal ? 4u : 0u) | (sent->is_hint ? 8u : 0u) |
                     (sent->is_kept ? 16u : 0u));
    at = put(at, (unsigned)sent->kind);
    at = put(at, is_told ? sent->round : 0);
    at = put(at, span_of(sent->life_ms));
    at = put(at, sent->left_ms > 0 ? 1 : 0);
    if (sent->has_record) {
        at = put_found(at, &sent->record);
    }
    return at;
}

/* What an op knows of a copy. A pause is followed by a new round, which forgets all of it; what a
 * copy holds that has refused a write is asked of it again; promises are looked at by reads. */
static unsigned char *put_view(const model *self, unsigned char *at, const kw_quorum_op *op,
                               unsigned number)
{
    const kw_quorum_copy *copy = &op->copies[number];
    bool is_plain = self->setup->is_plain;
    bool is_writing = op->phase == KW_QUORUM_SETTING || op->phase == KW_QUORUM_ACCEPTING;
    if (op->phase == KW_QUORUM_PAUSING && !is_plain) {
        return at;
    }
    at = put(at, (unsigned)copy->mark);
    if (is_writing && copy->mark == KW_QUORUM_REFUSED && !is_plain) {
        at = put(at, copy->is_clean ? 1 : 0);
        return at;
    }
    at = put(at, (unsigned)copy->asked);
    if (copy->mark == KW_QUORUM_ASKED || is_plain) {
        at = put_stamp(at, copy->put);
    }
    at = put_stamp(at, copy->held);
    if (!is_writing || is_plain) {
        at = put_stamp(at, copy->promise);
    }
    at = put(at, (copy->puts_dead ? 1u : 0u) | (copy->is_known ? 2u : 0u) |
                     (copy->is_dead ? 4u : 0u) | (copy->is_clean ? 8u : 0u) |
                     (copy->is_kept ? 16u : 0u) | (copy->has_taken ? 32u : 0u));
    at = put(at, copy->mark == KW_QUORUM_LOST ? (unsigned)copy->effect : 9u);
    if (op->phase != KW_QUORUM_READING && !is_plain) {
        return at;
    }
    unsigned sights = 0;
    unsigned keepers = 0;
    for (unsigned i = 0; i < op->sights_n; i++) {
        sights |= (op->sights[i].holders >> number & 1u) << i;
        keepers |= (op->sights[i].keepers >> number & 1u) << i;
    }
    at = put(at, sights);
    at = put(at, keepers);
    return at;
}

/* True where something depends on what the op of the client knows. */
static bool is_live(const model *self, const model_state *state, unsigned client)
{
    const model_client *who = &state->clients[client];
    return who->has_op && !who->is_dead && (self->setup->is_plain || model_may_hear(state, client));
}

static unsigned char *put_copy(const model *self, const model_state *state, unsigned char *at,
                               unsigned number)
{
    const model_copy *copy = &state->copies[number];
    at = put(at, (copy->is_down ? 1u : 0u) | (copy->is_silent ? 2u : 0u) |
                     (copy->has_old ? 4u : 0u) | (copy->is_marked ? 8u : 0u));
    if (copy->lost != 0) {
        at = put(at, copy->lost & 0xffu);
        at = put(at, copy->lost >> 8 & 0xffu);
    }
    bool has_role = self->setup->has_join && number + 1 >= self->setup->copies_n;
    at = put(at, has_role ? number : 0); /* others may change places */
    at = put_key(at, &copy->key);
    if (!model_is_endless(self, state)) {
        at = put(at, copy->guards & 0xffu);
        at = put(at, copy->guards >> 8 & 0xffu);
    }
    if (copy->has_old) {
        at = put_key(at, &copy->old);
    }
    for (unsigned i = 0; i < KW_MODEL_CLIENTS_MAX; i++) {
        if (is_live(self, state, i)) {
            unsigned seat = model_copy_at(self, number);
            bool is_asked = model_place(self, state->clients[i].view, seat) == number;
            at = put(at, is_asked ? 1 : 0);
            if (is_asked) {
                at = put_view(self, at, &state->clients[i].op, seat);
            }
        }
    }
    for (unsigned i = 0; i < state->messages_n; i++) {
        if (state->messages[i].copy == number) {
            at = put_message(self, state, at, &state->messages[i]);
        }
    }
    return at;
}

static unsigned char *put_op(const model *self, unsigned char *at, const kw_quorum_op *op,
                             uint64_t now_ns)
{
    bool is_plain = self->setup->is_plain;
    /* The newest one is looked at again by reads, and by ballots that find it or write it anew. */
    bool is_own = op->phase == KW_QUORUM_SETTING || op->phase == KW_QUORUM_PAUSING ||
                  (op->phase == KW_QUORUM_ACCEPTING && !op->is_identity) ||
                  (op->phase == KW_QUORUM_ENDED && op->spec.kind != KW_QUORUM_READ);
    at = put(at, (unsigned)op->phase);
    at = put(at, (unsigned)op->state);
    at = put(at, op->round);
    at = put(at, op->until_ns != UINT64_MAX ? 1 : 0);
    at = put(at, now_ns >= op->asked_ns + 100000000u ? 1 : 0); /* PATIENCE_NS */
    at = put(at, op->settle_ns == 0 ? 0 : op->settle_ns <= now_ns ? 1 : 2);
    at = put(at, op->looks_n);
    at = put_stamp(at, op->stamp);
    at = put_stamp(at, op->origin);
    at = put_stamp(at, op->past);
    at = put_stamp(at, op->bar);
    at = put(at, (op->has_bar ? 1u : 0u) | (op->is_identity ? 2u : 0u) | (op->is_own ? 4u : 0u) |
                     (op->is_balloting ? 8u : 0u) | (op->may_have_run ? 16u : 0u));
    at = put(at, (op->is_kept ? 1u : 0u) | (op->is_sealed ? 2u : 0u));
    bool has_newest = op->has_newest && (is_plain || !is_own);
    at = put(at, has_newest ? 1 : 0);
    if (has_newest) {
        at = put_found(at, &op->newest);
        bool has_life = op->newest.is_mortal && !op->is_dead && op->left_ms > 0;
        at = put(at, (has_life ? 1u : 0u) | (op->is_dead ? 2u : 0u));
    }
    for (unsigned i = 0; i < op->sights_n && (is_plain || op->phase == KW_QUORUM_READING); i++) {
        at = put_found(at, &op->sights[i].record);
        at = put(at, op->sights[i].is_dead ? 1 : 0);
    }
    return at;
}

static unsigned char *put_client(const model *self, const model_state *state, unsigned char *at,
                                 unsigned number)
{
    const model_client *who = &state->clients[number];
    bool is_plain = self->setup->is_plain;
    at = put(at, (who->is_busy ? 1u : 0u) | (who->has_op ? 2u : 0u) | (who->is_dead ? 4u : 0u));
    if (who->is_dead && !is_plain) {
        return at;
    }
    at = put(at, who->act);
    at = put(at, who->view);
    if (is_plain ? who->has_op : model_may_stamp(self, state, number)) {
        at = put(at, who->last);
    }
    if (is_live(self, state, number)) {
        at = put_op(self, at, &who->op, who->now_ns);
    }
    return at;
}

static unsigned char *put_rest(const model *self, const model_state *state, unsigned char *at)
{
    for (unsigned i = 0; i < KW_MODEL_CLIENTS_MAX; i++) {
        at = put_client(self, state, at, i);
    }
    at = put(at, state->faults_n);
    at = put(at, state->ends_n);
    at = put(at, state->looks_n);
    if (self->setup->is_plain || !model_is_over(self, state)) {
        at = put(at, state->time); /* reads at the end are above all there is */
    }
    at = put(at, state->past);
    at = put(at, state->is_joined ? 1 : 0);
    for (unsigned i = 0; i < state->events_n; i++) {
        const model_event *event = &state->events[i];
        at = put(at, event->client * 16u + event->act);
        at = put(at, event->what * 32u + event->value);
    }
    return at;
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
static void end_sheet(sheet *out, const unsigned char *at, size_t most)
{
    out->len = (size_t)(at - out->bytes);
    if (out->len > most) {
        fputs("quorum_model: sheet too small\n", stderr);
        exit(1);
    }
    memset(out->bytes + out->len, 0, 8);
}

/* Puts the copy's sheet among those before it, in the order of what is written on them. */
static void sort_in(const sheet *sheets, unsigned *order, unsigned number)
{
    unsigned at = number;
    for (; at > 0; at--) {
        const sheet *a = &sheets[order[at - 1]];
        const sheet *b = &sheets[number];
        size_t shorter = a->len < b->len ? a->len : b->len;
        int way = memcmp(a->bytes, b->bytes, shorter);
        if (way < 0 || (way == 0 && a->len <= b->len)) {
            break;
        }
        order[at] = order[at - 1];
    }
    order[at] = number;
}

uint64_t model_hash(const model *self, const model_state *state, const model_block *block)
{
    static sheet sheets[KW_MODEL_COPIES_MAX];
    static sheet rest;
    unsigned order[KW_MODEL_COPIES_MAX];
    unsigned copies_n = model_places(self);
    for (unsigned i = 0; i < copies_n; i++) {
        unsigned char *at = put_copy(self, state, sheets[i].bytes, i);
        at = put(at, (int)i == block->copy ? 1 : 0);
        end_sheet(&sheets[i], at, SHEET_MAX);
        sort_in(sheets, order, i);
    }
    unsigned char *at = put(rest.bytes, (unsigned)(block->client + 1));
    at = put(at, (unsigned)(block->last_client + 1));
    at = put(at, (block->is_answered ? 1u : 0u) | (block->is_mixed ? 2u : 0u) |
                     (block->is_idle ? 4u : 0u));
    at = put_rest(self, state, at);
    end_sheet(&rest, at, REST_MAX);
    uint64_t hash = mix(UINT64_C(0x243f6a8885a308d3), &rest);
    for (unsigned i = 0; i < copies_n; i++) {
        hash = mix(hash, &sheets[order[i]]);
    }
    hash ^= hash >> 29;
    return hash != 0 ? hash : 1;
}

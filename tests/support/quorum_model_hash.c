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
    unsigned char bytes[SHEET_MAX];
    size_t len;
} sheet;

static void put(sheet *out, uint64_t number)
{
    if (out->len == SHEET_MAX) {
        fputs("quorum_model: sheet too small\n", stderr);
        exit(1);
    }
    out->bytes[out->len++] = (unsigned char)(number < 255 ? number : 255);
}

static void put_stamp(sheet *out, kw_stamp stamp)
{
    put(out, stamp.time);
    put(out, stamp.writer);
}

/* Numbers of milliseconds are of a few sizes. */
static unsigned span_of(uint64_t ms)
{
    return ms == 0 ? 0 : ms < LINGER_MS ? 1 : ms < LIFE_MS / 2 ? 2 : ms < 2 * LIFE_MS ? 3 : 4;
}

static void put_record(sheet *out, const kw_record *record)
{
    put_stamp(out, record->stamp);
    put_stamp(out, record->origin);
    put_stamp(out, record->promise);
    put(out, record->floor);
    put(out, record->recent);
    put(out, span_of(record->linger_ms));
    put(out, (record->is_tombstone ? 1u : 0u) | (record->is_copied ? 2u : 0u) |
                 (record->is_mortal ? 4u : 0u) | (record->is_kept ? 8u : 0u));
    put(out, record->value.len > 0 ? (unsigned char)record->value.data[0] : 0);
}

static void put_key(sheet *out, const kw_test_copy *key)
{
    kw_record record;
    put(out, key->has_key ? 1 : 0);
    if (!model_get_record(key, &record)) {
        return;
    }
    put_record(out, &record);
    put(out, model_is_alive(key) ? 1 : 0);
    put(out, key->ends_ms == 0 ? 0 : span_of(key->ends_ms - NOW_MS));
}

static void put_message(sheet *out, const model_message *sent)
{
    put(out, 200u + (unsigned)sent->state);
    put(out, sent->client);
    put(out, sent->act);
    put(out, (sent->wants_value ? 1u : 0u) | (sent->is_taken ? 2u : 0u) |
                 (sent->is_mortal ? 4u : 0u) | (sent->is_hint ? 8u : 0u) |
                 (sent->is_kept ? 16u : 0u));
    put(out, (unsigned)sent->kind);
    put(out, sent->round);
    put(out, span_of(sent->life_ms));
    put(out, sent->left_ms > 0 ? 1 : 0);
    if (sent->len > 0) {
        kw_record record;
        kw_bytes bytes = {sent->bytes, sent->len};
        if (kw_record_get(&record, bytes)) {
            put_record(out, &record);
        }
    }
}

/* What an op knows of a copy. */
static void put_view(sheet *out, const kw_quorum_op *op, unsigned number)
{
    const kw_quorum_copy *copy = &op->copies[number];
    put(out, (unsigned)copy->mark);
    put(out, (unsigned)copy->asked);
    put_stamp(out, copy->put);
    put_stamp(out, copy->held);
    put_stamp(out, copy->promise);
    put(out, (copy->puts_dead ? 1u : 0u) | (copy->is_known ? 2u : 0u) | (copy->is_dead ? 4u : 0u) |
                 (copy->is_clean ? 8u : 0u) | (copy->is_kept ? 16u : 0u) |
                 (copy->has_taken ? 32u : 0u));
    put(out, copy->mark == KW_QUORUM_LOST ? (unsigned)copy->effect : 9u);
    unsigned sights = 0;
    unsigned keepers = 0;
    for (unsigned i = 0; i < op->sights_n; i++) {
        sights |= (op->sights[i].holders >> number & 1u) << i;
        keepers |= (op->sights[i].keepers >> number & 1u) << i;
    }
    put(out, sights);
    put(out, keepers);
}

static void put_copy(const model *self, const model_state *state, sheet *out, unsigned number)
{
    const model_copy *copy = &state->copies[number];
    put(out, (copy->is_down ? 1u : 0u) | (copy->is_silent ? 2u : 0u) | (copy->has_old ? 4u : 0u));
    bool has_role = self->setup->has_join && number + 1 >= self->setup->copies_n;
    put(out, has_role ? number : 0); /* others may change places */
    put_key(out, &copy->key);
    put(out, copy->guards & 0xffu);
    put(out, copy->guards >> 8 & 0xffu);
    if (copy->has_old) {
        put_key(out, &copy->old);
    }
    for (unsigned i = 0; i < KW_MODEL_CLIENTS_MAX; i++) {
        if (state->clients[i].has_op && !state->clients[i].is_dead) {
            unsigned seat = model_copy_at(self, number);
            bool is_asked = model_place(self, state->clients[i].view, seat) == number;
            put(out, is_asked ? 1 : 0);
            if (is_asked) {
                put_view(out, &state->clients[i].op, seat);
            }
        }
    }
    for (unsigned i = 0; i < state->messages_n; i++) {
        if (state->messages[i].copy == number) {
            put_message(out, &state->messages[i]);
        }
    }
}

static void put_op(sheet *out, const kw_quorum_op *op, uint64_t now_ns)
{
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
                 (op->is_balloting ? 8u : 0u) | (op->may_have_run ? 16u : 0u) |
                 (op->has_newest ? 32u : 0u) | (op->is_dead ? 64u : 0u));
    put(out, (op->is_kept ? 1u : 0u) | (op->is_sealed ? 2u : 0u));
    if (op->has_newest) {
        put_record(out, &op->newest);
        put(out, op->left_ms > 0 ? 1 : 0);
    }
    for (unsigned i = 0; i < op->sights_n; i++) {
        put_record(out, &op->sights[i].record);
        put(out, op->sights[i].is_dead ? 1 : 0);
    }
}

static void put_rest(const model_state *state, sheet *out)
{
    for (unsigned i = 0; i < KW_MODEL_CLIENTS_MAX; i++) {
        const model_client *who = &state->clients[i];
        put(out, (who->is_busy ? 1u : 0u) | (who->has_op ? 2u : 0u) | (who->is_dead ? 4u : 0u));
        put(out, who->act);
        put(out, who->view);
        if (who->has_op && !who->is_dead) {
            put(out, who->last);
            put_op(out, &who->op, who->now_ns);
        }
    }
    put(out, state->faults_n);
    put(out, state->ends_n);
    put(out, state->looks_n);
    put(out, state->time);
    put(out, state->past);
    put(out, state->is_joined ? 1 : 0);
    for (unsigned i = 0; i < state->events_n; i++) {
        const model_event *event = &state->events[i];
        put(out, event->client * 16u + event->act);
        put(out, event->what * 32u + event->value);
    }
}

static uint64_t mix(uint64_t hash, const unsigned char *bytes, size_t len)
{
    uint64_t word = 0;
    for (size_t i = 0; i < len; i += 8) {
        size_t n = len - i < 8 ? len - i : 8;
        word = 0;
        memcpy(&word, bytes + i, n);
        hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
        hash ^= hash >> 32;
        hash *= UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    return hash ^ len;
}

uint64_t model_hash(const model *self, const model_state *state)
{
    static sheet sheets[KW_MODEL_COPIES_MAX];
    static sheet rest;
    unsigned order[KW_MODEL_COPIES_MAX];
    unsigned copies_n = model_places(self);
    for (unsigned i = 0; i < copies_n; i++) {
        sheets[i].len = 0;
        put_copy(self, state, &sheets[i], i);
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
    put_rest(state, &rest);
    uint64_t hash = mix(UINT64_C(0x243f6a8885a308d3), rest.bytes, rest.len);
    for (unsigned i = 0; i < copies_n; i++) {
        hash = mix(hash, sheets[order[i]].bytes, sheets[order[i]].len);
    }
    return hash != 0 ? hash : 1;
}

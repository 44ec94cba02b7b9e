/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum model: which steps a state allows. */
#include "support/quorum_model_private.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct list {
    model_step *steps;
    unsigned n;
} list;

static void add(list *out, model_step_kind kind, unsigned who, unsigned variant)
{
    if (out->n == STEPS_MAX) {
        fputs("quorum_model: too many steps\n", stderr);
        exit(1);
    }
    model_step step = {kind, (uint8_t)who, (uint8_t)variant, 0, false};
    out->steps[out->n++] = step;
}

bool model_may_fault(const model *self, const model_state *state, unsigned kinds)
{
    return state->faults_n < self->setup->faults_n && (self->setup->faults & kinds) != 0;
}

/* The next act of a client; NONE where there is none. */
static kw_model_act next_act(const model *self, const model_state *state, unsigned client)
{
    const model_client *who = &state->clients[client];
    unsigned next = who->act + (who->has_op ? 1u : 0u);
    return who->is_dead || who->is_busy || next >= KW_MODEL_ACTS_MAX
               ? KW_MODEL_NONE
               : self->setup->acts[client][next];
}

bool model_is_over(const model *self, const model_state *state)
{
    for (unsigned i = 0; i < KW_MODEL_CLIENTS_MAX; i++) {
        bool is_busy = state->clients[i].is_busy && !state->clients[i].is_dead;
        if (is_busy || next_act(self, state, i) != KW_MODEL_NONE) {
            return false;
        }
    }
    return true;
}

/* By the old members or the new ones; a repair by the new ones, when nobody works by the old. */
static void list_start(const model *self, const model_state *state, list *out, unsigned client)
{
    kw_model_act next = next_act(self, state, client);
    bool has_old = false;
    for (unsigned i = 0; i < KW_MODEL_CLIENTS_MAX; i++) {
        const model_client *other = &state->clients[i];
        has_old = has_old || (other->is_busy && !other->is_dead && other->view == 0);
    }
    if (next == KW_MODEL_NONE || (self->setup->has_join && next == KW_MODEL_REPAIR && has_old)) {
        return;
    }
    bool may_be_old = !state->is_joined && state->clients[client].view == 0;
    if (may_be_old && !(self->setup->has_join && next == KW_MODEL_REPAIR)) {
        add(out, STEP_START, client, 0);
    }
    if (self->setup->has_join) {
        add(out, STEP_START, client, 1);
    }
}

bool model_may_stamp(const model *self, const model_state *state, unsigned client)
{
    const model_client *who = &state->clients[client];
    return !who->is_dead && (who->is_busy || next_act(self, state, client) != KW_MODEL_NONE);
}

bool model_may_hear(const model_state *state, unsigned client)
{
    const model_client *who = &state->clients[client];
    for (unsigned i = 0; i < state->messages_n; i++) {
        const model_message *sent = &state->messages[i];
        if (sent->client == client && sent->state != MESSAGE_LATE &&
            model_is_awaited(state, sent)) {
            return who->has_op;
        }
    }
    return who->is_busy && !who->is_dead;
}

/* A client that is done, and whose messages are there, dies without anybody's notice. */
static bool has_to_lose(const model *self, const model_state *state, unsigned client)
{
    bool has_sent = false;
    for (unsigned i = 0; i < state->messages_n; i++) {
        const model_message *sent = &state->messages[i];
        has_sent = has_sent || (sent->client == client && sent->state == MESSAGE_ASK);
    }
    return has_sent || model_may_stamp(self, state, client);
}

static void list_client(const model *self, const model_state *state, list *out, unsigned client)
{
    const model_client *who = &state->clients[client];
    list_start(self, state, out, client);
    if (who->is_dead || !who->has_op) {
        return;
    }
    if (who->is_busy && who->op.until_ns != UINT64_MAX) {
        add(out, STEP_TIME, client, 0);
    }
    if (who->is_busy && model_may_fault(self, state, KW_MODEL_DEADLINE)) {
        add(out, STEP_DEADLINE, client, 0);
    }
    if (model_may_fault(self, state, KW_MODEL_DEATH) && has_to_lose(self, state, client)) {
        add(out, STEP_DIE, client, 0);
    }
}

/* Messages of a client and a copy keep their order, unless they are late. */
static bool is_first(const model_state *state, unsigned number)
{
    const model_message *one = &state->messages[number];
    for (unsigned i = 0; i < number; i++) {
        const model_message *other = &state->messages[i];
        if (other->client == one->client && other->copy == one->copy &&
            other->state == one->state) {
            return false;
        }
    }
    return true;
}

static void list_ask(const model *self, const model_state *state, list *out, unsigned number)
{
    const model_message *sent = &state->messages[number];
    const model_copy *copy = &state->copies[sent->copy];
    const kw_quorum_spec *spec = &state->clients[sent->client].op.spec;
    if (copy->is_down || (copy->is_silent && !spec->is_repair)) {
        add(out, STEP_REFUSED, number, 0);
        if (copy->is_down && sent->kind != KW_QUORUM_GET) {
            add(out, STEP_REFUSED, number, 1);
        }
        return;
    }
    add(out, STEP_REACH, number, 0);
    if (!model_is_awaited(state, sent)) {
        return;
    }
    if (model_may_fault(self, state, KW_MODEL_LOSS)) {
        add(out, STEP_LOSE, number, 0);
    }
    if (sent->kind != KW_QUORUM_GET && model_may_fault(self, state, KW_MODEL_LATE)) {
        add(out, STEP_DELAY, number, 0);
    }
    if (sent->kind != KW_QUORUM_GET && model_may_fault(self, state, KW_MODEL_DOUBLE)) {
        add(out, STEP_DOUBLE, number, 0);
    }
    if (sent->kind == KW_QUORUM_PUT && spec->kind != KW_QUORUM_READ &&
        model_may_fault(self, state, KW_MODEL_HINT)) {
        add(out, STEP_HINT, number, 0);
    }
}

static void list_message(const model *self, const model_state *state, list *out, unsigned number)
{
    const model_message *sent = &state->messages[number];
    const model_copy *copy = &state->copies[sent->copy];
    switch (sent->state) {
    case MESSAGE_ASK:
        if (is_first(state, number)) {
            list_ask(self, state, out, number);
        }
        break;
    case MESSAGE_BACK:
        if (is_first(state, number)) {
            add(out, STEP_ANSWER, number, 0);
            if (model_may_fault(self, state, KW_MODEL_LOSS)) {
                add(out, STEP_LOSE, number, 0);
            }
        }
        break;
    case MESSAGE_LATE: {
        uint32_t bit = UINT32_C(1) << (sent->client * KW_MODEL_ACTS_MAX + sent->act);
        bool is_in_the_way = false;
        for (unsigned i = 0; i < model_places(self); i++) {
            is_in_the_way = is_in_the_way || (state->copies[i].guards & bit) != 0;
        }
        if (!copy->is_down && !copy->is_silent) {
            add(out, STEP_REACH, number, 0);
        }
        if (is_in_the_way && !model_is_endless(self, state)) {
            add(out, STEP_DROP, number, 0);
        }
        break;
    }
    }
}

/* The life of one value ends on all copies at about one time, and that of an earlier one, which
 * was as long, before. */
static bool is_alive_elsewhere(const model *self, const model_state *state, kw_stamp stamp)
{
    for (unsigned i = 0; i < model_places(self); i++) {
        const kw_test_copy *key = &state->copies[i].key;
        if (model_is_alive(key) && kw_stamp_compare(key->record.stamp, stamp) <= 0) {
            return true;
        }
    }
    return false;
}

static bool may_end(const model *self, const model_state *state, const model_copy *copy)
{
    const kw_test_copy *key = &copy->key;
    if (!key->has_key || key->ends_ms == 0 || model_is_alive(key)) {
        return false;
    }
    if (key->record.is_kept || is_alive_elsewhere(self, state, key->record.stamp)) {
        return false;
    }
    return copy->guards == 0 || key->ends_ms < NOW_MS + LINGER_MS;
}

static void list_copy(const model *self, const model_state *state, list *out, unsigned number)
{
    const model_copy *copy = &state->copies[number];
    bool has_old = false;
    bool has_away = false;
    for (unsigned i = 0; i < model_places(self); i++) {
        has_old = has_old || state->copies[i].has_old;
        has_away = has_away || state->copies[i].is_down || state->copies[i].is_silent;
    }
    if (state->ends_n < self->setup->ends_n) {
        if (model_is_alive(&copy->key)) {
            add(out, STEP_LIFE_ENDS, number, 0);
        } else if (may_end(self, state, copy)) {
            add(out, STEP_KEY_ENDS, number, 0);
        }
    }
    if (!has_away && model_may_fault(self, state, KW_MODEL_STOP | KW_MODEL_WIPE | KW_MODEL_DUMP)) {
        add(out, STEP_STOP, number, 0);
    }
    if (!has_old && model_may_fault(self, state, KW_MODEL_DUMP)) {
        add(out, STEP_REMEMBER, number, 0);
    }
    if (copy->is_down && (self->setup->faults & KW_MODEL_STOP) != 0) {
        add(out, STEP_BACK, number, 0);
    }
    if (copy->is_down && (self->setup->faults & KW_MODEL_WIPE) != 0) {
        add(out, STEP_BACK_EMPTY, number, 0);
    }
    if (copy->is_down && copy->has_old) {
        add(out, STEP_BACK_OLD, number, 0);
    }
}

static void list_looks_of(const model *self, const model_state *state, list *out, unsigned view)
{
    unsigned copies_n = self->setup->copies_n;
    for (unsigned copies = 1; copies < 1u << copies_n; copies++) {
        unsigned n = 0;
        bool is_there = true;
        for (unsigned i = 0; i < copies_n; i++) {
            const model_copy *copy = &state->copies[model_place(self, view, i)];
            bool is_asked = (copies >> i & 1u) != 0;
            n += is_asked ? 1 : 0;
            is_there = is_there && !(is_asked && (copy->is_down || copy->is_silent));
        }
        if (is_there && n >= self->rule.read_n) {
            add(out, STEP_LOOK, LOOKER, copies + view * LOOK_VIEW);
        }
    }
}

static void list_looks(const model *self, const model_state *state, list *out)
{
    if (!state->is_joined) {
        list_looks_of(self, state, out, 0);
    }
    if (self->setup->has_join) {
        list_looks_of(self, state, out, 1);
    }
}

unsigned model_steps(const model *self, const model_state *state, model_step steps[STEPS_MAX])
{
    list out = {steps, 0};
    for (unsigned i = 0; i < KW_MODEL_CLIENTS_MAX; i++) {
        list_client(self, state, &out, i);
    }
    for (unsigned i = 0; i < state->messages_n; i++) {
        list_message(self, state, &out, i);
    }
    for (unsigned i = 0; i < model_places(self); i++) {
        list_copy(self, state, &out, i);
    }
    if (state->looks_n < self->setup->looks_n && model_is_over(self, state)) {
        list_looks(self, state, &out);
    }
    return out.n;
}

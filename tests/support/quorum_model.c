/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum model: what its clients and copies do with a message. */
#include "support/quorum_model_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Values are one byte each, and stay where they are: records borrow them. */
static const char values[] =
    "\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\21\22\23\24\25\26\27\30\31\32";

const char *model_value_byte(unsigned value)
{
    return &values[value];
}

uint8_t model_value(unsigned client, unsigned act, kw_model_act what)
{
    bool is_deletion = what == KW_MODEL_DELETE || what == KW_MODEL_DELETE_IF;
    return (uint8_t)(is_deletion ? 0 : 4 + client * KW_MODEL_ACTS_MAX + act);
}

/* The clock of whoever works just now. */
typedef struct clock_now {
    model_state *state;
    uint64_t *last;
    uint64_t writer;
    unsigned variant; /* 0: behind all others; 1: ahead of them; 2: beyond the bound */
    bool was_asked;
} clock_now;

static kw_stamp next_stamp(void *arg, kw_stamp past)
{
    clock_now *now = arg;
    uint64_t behind = (past.time > *now->last ? past.time : *now->last) + 1;
    uint64_t ahead = behind > now->state->time ? behind : now->state->time + 1;
    now->was_asked = now->was_asked || ahead != behind;
    uint64_t time = now->variant == 0 ? behind : ahead;
    if (now->variant == 2 && time <= BOUND) {
        time = BOUND + 1;
    }
    *now->last = time;
    now->state->time = time > now->state->time ? time : now->state->time;
    kw_stamp stamp = {time, now->writer};
    return stamp;
}

static void learn_stamp(void *arg, kw_stamp seen)
{
    clock_now *now = arg;
    *now->last = seen.time > *now->last ? seen.time : *now->last;
}

/* What the setup lets the op do wrong. */
static void plant(const model *self, kw_quorum_op *op)
{
    if (self->setup->planted == KW_MODEL_NO_WRITE_BACK) {
        op->spec.rule.agree_n = 1;
    }
    if (self->setup->planted == KW_MODEL_ONE_WRITE) {
        op->spec.rule.write_n = 1;
    }
}

static kw_quorum_spec spec_of(const model *self, unsigned client, unsigned act, kw_model_act what)
{
    kw_quorum_spec spec;
    memset(&spec, 0, sizeof(spec));
    spec.rule = self->rule;
    bool is_mad = self->setup->has_mad_clock && client == 0;
    bool is_checked = self->setup->planted != KW_MODEL_STAMP_UNCHECKED && !is_mad;
    spec.latest = is_checked ? BOUND - 1 : 0;
    spec.kind = KW_QUORUM_CHECKED;
    uint8_t value = model_value(client, act, what);
    switch (what) {
    case KW_MODEL_REPAIR:
        spec.is_repair = true;
        spec.kind = KW_QUORUM_READ;
        break;
    case KW_MODEL_NONE:
    case KW_MODEL_GET:
        spec.kind = KW_QUORUM_READ;
        break;
    case KW_MODEL_SET:
    case KW_MODEL_SET_TTL:
    case KW_MODEL_DELETE:
        spec.kind = KW_QUORUM_WRITE;
        break;
    case KW_MODEL_ADD:
    case KW_MODEL_ADD_TTL:
        spec.expects_none = true;
        break;
    case KW_MODEL_SWAP:
    case KW_MODEL_DELETE_IF:
        spec.expected.time = FIRST_TIME;
        break;
    }
    spec.is_tombstone = value == 0;
    spec.life_ms = what == KW_MODEL_SET_TTL || what == KW_MODEL_ADD_TTL ? LIFE_MS : 0;
    spec.value.data = &values[value];
    spec.value.len = value != 0 && spec.kind != KW_QUORUM_READ ? 1 : 0;
    return spec;
}

static bool is_begin(const model_event *event)
{
    return event->what == EVENT_BEGIN;
}

/* Beginnings that no end comes between, and ends that no beginning does, have no order. */
static void add_event(model_state *state, unsigned client, unsigned act, unsigned what,
                      unsigned value)
{
    if (state->events_n == EVENTS_MAX) {
        fputs("quorum_model: too many events\n", stderr);
        exit(1);
    }
    model_event event = {(uint8_t)client, (uint8_t)act, (uint8_t)what, (uint8_t)value};
    unsigned at = state->events_n++;
    for (; at > 0; at--) {
        const model_event *before = &state->events[at - 1];
        bool is_alike = is_begin(before) == is_begin(&event);
        if (!is_alike || before->client < client ||
            (before->client == client && before->act < act)) {
            break;
        }
        state->events[at] = *before;
    }
    state->events[at] = event;
}

/* Nobody will ever know of an act that came to nothing. */
static void forget_event(model_state *state, unsigned client, unsigned act)
{
    unsigned n = 0;
    for (unsigned i = 0; i < state->events_n; i++) {
        if (state->events[i].client != client || state->events[i].act != act) {
            state->events[n++] = state->events[i];
        }
    }
    memset(&state->events[n], 0, (state->events_n - n) * sizeof(state->events[0]));
    state->events_n = n;
}

void model_send(const model *self, model_state *state, unsigned client, const kw_quorum_ask *ask)
{
    if (state->messages_n == MESSAGES_MAX) {
        fputs("quorum_model: too many messages\n", stderr);
        exit(1);
    }
    model_message *sent = &state->messages[state->messages_n++];
    memset(sent, 0, sizeof(*sent));
    sent->client = (uint8_t)client;
    sent->act = state->clients[client].act;
    sent->copy = (uint8_t)model_place(self, state->clients[client].view, ask->copy);
    sent->kind = ask->kind;
    sent->round = ask->round;
    sent->life_ms = ask->life_ms;
    sent->linger_ms = ask->linger_ms;
    sent->wants_value = ask->wants_value;
    sent->has_record = ask->kind != KW_QUORUM_GET;
    if (sent->has_record) {
        sent->record = ask->record;
    }
}

bool model_is_alive(const kw_test_copy *key)
{
    return key->has_key && key->record.is_mortal && key->ends_ms > NOW_MS + key->record.linger_ms;
}

/* Lives pass by events alone: what is left of one is all of it. */
static void even_out(kw_test_copy *key)
{
    if (model_is_alive(key)) {
        key->ends_ms = NOW_MS + LIFE_MS + key->record.linger_ms;
    }
}

uint32_t model_busy_acts(const model_state *state)
{
    uint32_t acts = 0;
    for (unsigned i = 0; i < KW_MODEL_CLIENTS_MAX; i++) {
        if (state->clients[i].is_busy && !state->clients[i].is_dead) {
            acts |= UINT32_C(1) << (i * KW_MODEL_ACTS_MAX + state->clients[i].act);
        }
    }
    return acts;
}

/* An answer on its way to an op that is done, which will bring the copy up for it. */
static bool asks_again(const model_state *state, const model_message *sent)
{
    const kw_quorum_op *op = &state->clients[sent->client].op;
    kw_stamp held = {0, 0};
    held = sent->has_record ? sent->record.stamp : held;
    return sent->kind == KW_QUORUM_GET && model_is_awaited(state, sent) &&
           op->state == KW_QUORUM_DONE && op->has_newest &&
           kw_stamp_compare(held, op->newest.stamp) < 0;
}

uint32_t model_active_acts(const model *self, const model_state *state)
{
    uint32_t acts = model_busy_acts(state);
    for (unsigned i = 0; i < state->messages_n; i++) {
        const model_message *sent = &state->messages[i];
        bool may_reach = sent->state != MESSAGE_BACK || asks_again(state, sent);
        if (may_reach && !(sent->is_hint && self->setup->planted == KW_MODEL_SHORT_TOMBSTONE)) {
            acts |= UINT32_C(1) << (sent->client * KW_MODEL_ACTS_MAX + sent->act);
        }
    }
    return acts;
}

static void do_at_copy(const model *self, model_state *state, unsigned number,
                       kw_test_copy_answer *out, const kw_quorum_ask *ask)
{
    model_copy *copy = &state->copies[number];
    /* Both are as they were before copies looked at their clocks, which hides them mostly. */
    bool is_by_clock = self->setup->planted != KW_MODEL_CLOCK_UNCHECKED &&
                       self->setup->planted != KW_MODEL_SHORT_TOMBSTONE &&
                       self->setup->planted != KW_MODEL_REFUSAL_EXPIRES;
    copy->key.past.time = is_by_clock ? state->past : 0;
    kw_test_copy_do(&copy->key, out, ask, NOW_MS);
    even_out(&copy->key);
    if (copy->key.is_set_anew) {
        copy->guards = model_active_acts(self, state);
    }
}

static void ask_of(const model_message *sent, kw_quorum_ask *ask)
{
    memset(ask, 0, sizeof(*ask));
    ask->copy = sent->copy;
    ask->round = sent->round;
    ask->kind = sent->kind;
    ask->life_ms = sent->life_ms;
    ask->linger_ms = sent->linger_ms;
    ask->wants_value = sent->wants_value;
    if (sent->has_record) {
        ask->record = sent->record;
    }
}

/* The record's value is the one that stays. */
static void stay(kw_record *record)
{
    if (record->value.len > 0) {
        record->value.data = &values[(unsigned char)record->value.data[0]];
    }
}

void model_reach(const model *self, model_state *state, unsigned message)
{
    model_message *sent = &state->messages[message];
    kw_quorum_ask ask;
    kw_test_copy_answer out;
    ask_of(sent, &ask);
    do_at_copy(self, state, sent->copy, &out, &ask);
    sent->is_taken = out.answer.is_taken;
    sent->is_mortal = out.answer.is_mortal;
    sent->is_kept = out.answer.is_kept;
    sent->left_ms = out.answer.left_ms > 0 ? LIFE_MS : 0;
    sent->has_record = out.answer.has_record;
    if (sent->has_record) {
        sent->record = out.answer.record;
        stay(&sent->record);
    }
}

static bool answer_of(const model_message *back, kw_quorum_answer *answer)
{
    memset(answer, 0, sizeof(*answer));
    answer->is_taken = back->is_taken;
    answer->is_mortal = back->is_mortal;
    answer->is_kept = back->is_kept;
    answer->left_ms = back->left_ms;
    answer->has_record = back->has_record;
    if (answer->has_record) {
        answer->record = back->record;
    }
    return answer->record.stamp.time <= BOUND && answer->record.promise.time <= BOUND;
}

/* What the op asks becomes messages; where its act is over, clients saw that. */
static bool look_at(const model *self, model_state *state, unsigned client, kw_model_act what)
{
    model_client *who = &state->clients[client];
    kw_quorum_op *op = &who->op;
    kw_quorum_ask ask;
    while (kw_quorum_next(op, &ask, who->now_ns)) {
        model_send(self, state, client, &ask);
    }
    if (!who->is_busy || op->state == KW_QUORUM_WAITING) {
        return false;
    }
    who->is_busy = false;
    const kw_record *found = kw_quorum_found(op);
    unsigned there = found != NULL ? (unsigned char)found->value.data[0] : 0;
    bool is_read = op->spec.kind == KW_QUORUM_READ;
    unsigned act = who->act;
    if (op->state == KW_QUORUM_FAILED) {
        if (is_read || op->effect == KW_EFFECT_NONE) {
            forget_event(state, client, act);
        }
    } else if (is_read) {
        add_event(state, client, act, EVENT_DONE, there);
        for (unsigned i = 0; what == KW_MODEL_REPAIR && i < model_places(self); i++) {
            model_copy *copy = &state->copies[i];
            bool is_blind = self->setup->planted == KW_MODEL_BLIND_REPAIR;
            copy->is_silent = copy->is_silent && !copy->is_marked && !is_blind;
        }
    } else if (op->has_mismatch) {
        add_event(state, client, act, EVENT_MISMATCH, there);
    } else {
        add_event(state, client, act, EVENT_DONE, model_value(client, act, what));
    }
    return op->state == KW_QUORUM_DONE;
}

/* Lets the op of a client do something with a clock. */
typedef struct turn {
    const model *self;
    model_state *state;
    unsigned client;
    model_step *step;
    clock_now clock;
} turn;

static turn begin_turn(const model *self, model_state *state, unsigned client, model_step *step)
{
    turn now = {.self = self, .state = state, .client = client, .step = step};
    model_client *who = &state->clients[client];
    now.clock.state = state;
    now.clock.last = &who->last;
    now.clock.writer = client + 1;
    now.clock.variant = self->setup->has_mad_clock && client == 0 ? 2 : step->clock;
    return now;
}

static bool end_turn(turn *now)
{
    model_client *who = &now->state->clients[now->client];
    now->step->was_asked = now->clock.was_asked && now->clock.variant < 2;
    return look_at(now->self, now->state, now->client,
                   now->self->setup->acts[now->client][who->act]);
}

bool model_start_act(const model *self, model_state *state, model_step *step)
{
    model_client *who = &state->clients[step->who];
    turn now = begin_turn(self, state, step->who, step);
    who->act = (uint8_t)(who->act + (who->has_op ? 1 : 0));
    kw_quorum_spec spec =
        spec_of(self, step->who, who->act, self->setup->acts[step->who][who->act]);
    kw_quorum_clock clock = {next_stamp, learn_stamp, &now.clock};
    bool is_repair = self->setup->acts[step->who][who->act] == KW_MODEL_REPAIR;
    who->view = step->variant;
    state->is_joined = state->is_joined || (self->setup->has_join && is_repair);
    for (unsigned i = 0; is_repair && i < model_places(self); i++) {
        bool is_hasty = self->setup->planted == KW_MODEL_HASTY_REPAIR;
        state->copies[i].is_marked = state->copies[i].lost == 0 || is_hasty;
    }
    add_event(state, step->who, who->act, EVENT_BEGIN, 0);
    who->is_busy = true;
    who->has_op = true;
    for (unsigned i = 0; i < state->messages_n; i++) { /* of the act before */
        model_message *sent = &state->messages[i];
        sent->state =
            sent->client == step->who && sent->state == MESSAGE_ASK ? MESSAGE_LATE : sent->state;
    }
    kw_quorum_start(&who->op, &spec, &clock, who->now_ns, 1);
    plant(self, &who->op);
    return end_turn(&now);
}

bool model_answer(const model *self, model_state *state, model_step *step,
                  const model_message *back)
{
    model_client *who = &state->clients[back->client];
    turn now = begin_turn(self, state, back->client, step);
    kw_quorum_answer answer;
    unsigned copy = model_copy_at(self, back->copy);
    who->op.clock.arg = &now.clock;
    if (answer_of(back, &answer)) {
        kw_quorum_on_answer(&who->op, copy, back->round, &answer, who->now_ns);
    } else {
        kw_quorum_on_lost(&who->op, copy, back->round, KW_EFFECT_MAYBE, who->now_ns);
    }
    return end_turn(&now);
}

bool model_lose(const model *self, model_state *state, model_step *step, const model_message *lost,
                kw_effect effect)
{
    model_client *who = &state->clients[lost->client];
    turn now = begin_turn(self, state, lost->client, step);
    who->op.clock.arg = &now.clock;
    kw_quorum_on_lost(&who->op, model_copy_at(self, lost->copy), lost->round, effect, who->now_ns);
    return end_turn(&now);
}

bool model_pass_time(const model *self, model_state *state, model_step *step, bool is_deadline)
{
    model_client *who = &state->clients[step->who];
    turn now = begin_turn(self, state, step->who, step);
    who->op.clock.arg = &now.clock;
    if (is_deadline) {
        kw_quorum_on_deadline(&who->op);
    } else {
        who->now_ns = who->op.until_ns > who->now_ns ? who->op.until_ns : who->now_ns;
        kw_quorum_on_time(&who->op, who->now_ns);
    }
    return end_turn(&now);
}

/* A read that nothing comes between: which of the copies answer it is all there is to it. */
void model_read_at_once(const model *self, model_state *state, unsigned variant)
{
    unsigned view = variant / LOOK_VIEW;
    unsigned copies = variant % LOOK_VIEW;
    kw_quorum_op op;
    uint64_t now_ns = 0;
    uint64_t last = 0;
    clock_now clock = {.state = state, .last = &last, .writer = LOOKER + 1, .variant = 1};
    kw_quorum_spec spec = spec_of(self, LOOKER, 0, KW_MODEL_GET);
    kw_quorum_clock face = {next_stamp, learn_stamp, &clock};
    kw_quorum_start(&op, &spec, &face, now_ns, 1);
    plant(self, &op);
    while (op.state == KW_QUORUM_WAITING) {
        kw_quorum_ask ask;
        bool has_asked = false;
        while (op.state == KW_QUORUM_WAITING && kw_quorum_next(&op, &ask, now_ns)) {
            has_asked = true;
            kw_test_copy_answer out;
            if ((copies >> ask.copy & 1u) == 0) {
                kw_quorum_on_lost(&op, ask.copy, ask.round, KW_EFFECT_NONE, now_ns);
                continue;
            }
            do_at_copy(self, state, model_place(self, view, ask.copy), &out, &ask);
            kw_quorum_answer answer = out.answer;
            stay(&answer.record);
            if (answer.record.stamp.time > BOUND || answer.record.promise.time > BOUND) {
                kw_quorum_on_lost(&op, ask.copy, ask.round, KW_EFFECT_MAYBE, now_ns);
            } else {
                kw_quorum_on_answer(&op, ask.copy, ask.round, &answer, now_ns);
            }
        }
        if (!has_asked && op.state == KW_QUORUM_WAITING) {
            now_ns = op.until_ns > now_ns ? op.until_ns : now_ns;
            kw_quorum_on_time(&op, now_ns);
        }
    }
    const kw_record *found = kw_quorum_found(&op);
    unsigned act = state->looks_n++;
    add_event(state, LOOKER, act, EVENT_BEGIN, 0);
    if (op.state == KW_QUORUM_DONE) {
        add_event(state, LOOKER, act, EVENT_DONE,
                  found != NULL ? (unsigned char)found->value.data[0] : 0);
    } else { /* with all copies there, nobody may be left without an answer */
        bool has_room = self->rule.agree_n < self->rule.copies_n ||
                        (self->setup->start != KW_MODEL_MAD && !self->setup->has_mad_clock);
        bool is_lame =
            has_room && !self->setup->has_mad_clock && copies == (1u << self->rule.copies_n) - 1;
        if (is_lame) {
            add_event(state, LOOKER, act, EVENT_MISMATCH, 0);
        } else {
            forget_event(state, LOOKER, act);
        }
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum model: which steps a state allows, and what each does. */
#include "support/quorum_model_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static bool may_fault(const model *self, const model_state *state, unsigned kinds)
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

static bool is_over(const model *self, const model_state *state)
{
    for (unsigned i = 0; i < KW_MODEL_CLIENTS_MAX; i++) {
        bool is_busy = state->clients[i].is_busy && !state->clients[i].is_dead;
        if (is_busy || next_act(self, state, i) != KW_MODEL_NONE) {
            return false;
        }
    }
    return true;
}

static void list_client(const model *self, const model_state *state, list *out, unsigned client)
{
    const model_client *who = &state->clients[client];
    if (next_act(self, state, client) != KW_MODEL_NONE) {
        add(out, STEP_START, client, 0);
    }
    if (who->is_dead || !who->has_op) {
        return;
    }
    if (who->is_busy && who->op.until_ns != UINT64_MAX) {
        add(out, STEP_TIME, client, 0);
    }
    if (who->is_busy && may_fault(self, state, KW_MODEL_DEADLINE)) {
        add(out, STEP_DEADLINE, client, 0);
    }
    if (may_fault(self, state, KW_MODEL_DEATH)) {
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

static bool is_awaited(const model_state *state, const model_message *sent)
{
    const model_client *who = &state->clients[sent->client];
    return !who->is_dead && sent->act == who->act && sent->round == who->op.round;
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
    if (!is_awaited(state, sent)) {
        return;
    }
    if (may_fault(self, state, KW_MODEL_LOSS)) {
        add(out, STEP_LOSE, number, 0);
    }
    if (sent->kind != KW_QUORUM_GET && may_fault(self, state, KW_MODEL_LATE)) {
        add(out, STEP_DELAY, number, 0);
    }
    if (sent->kind != KW_QUORUM_GET && may_fault(self, state, KW_MODEL_DOUBLE)) {
        add(out, STEP_DOUBLE, number, 0);
    }
    if (sent->kind == KW_QUORUM_PUT && spec->kind != KW_QUORUM_READ &&
        may_fault(self, state, KW_MODEL_HINT)) {
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
            if (may_fault(self, state, KW_MODEL_LOSS)) {
                add(out, STEP_LOSE, number, 0);
            }
        }
        break;
    case MESSAGE_LATE: {
        uint32_t bit = UINT32_C(1) << (sent->client * KW_MODEL_ACTS_MAX + sent->act);
        bool is_in_the_way = false;
        for (unsigned i = 0; i < self->setup->copies_n; i++) {
            is_in_the_way = is_in_the_way || (state->copies[i].guards & bit) != 0;
        }
        if (!copy->is_down && !copy->is_silent) {
            add(out, STEP_REACH, number, 0);
        }
        if (is_in_the_way) {
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
    kw_record other;
    for (unsigned i = 0; i < self->setup->copies_n; i++) {
        const kw_test_copy *key = &state->copies[i].key;
        if (model_is_alive(key) && model_get_record(key, &other) &&
            kw_stamp_compare(other.stamp, stamp) <= 0) {
            return true;
        }
    }
    return false;
}

static bool may_end(const model *self, const model_state *state, const model_copy *copy)
{
    kw_record record;
    const kw_test_copy *key = &copy->key;
    if (!key->has_key || key->ends_ms == 0 || model_is_alive(key)) {
        return false;
    }
    (void)model_get_record(key, &record);
    if (record.is_kept || is_alive_elsewhere(self, state, record.stamp)) {
        return false;
    }
    return copy->guards == 0 || key->ends_ms < NOW_MS + LINGER_MS;
}

static void list_copy(const model *self, const model_state *state, list *out, unsigned number)
{
    const model_copy *copy = &state->copies[number];
    bool has_old = false;
    bool has_away = false;
    for (unsigned i = 0; i < self->setup->copies_n; i++) {
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
    if (!has_away && may_fault(self, state, KW_MODEL_STOP | KW_MODEL_WIPE | KW_MODEL_DUMP)) {
        add(out, STEP_STOP, number, 0);
    }
    if (!has_old && may_fault(self, state, KW_MODEL_DUMP)) {
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

static void list_looks(const model *self, const model_state *state, list *out)
{
    unsigned all = (1u << self->setup->copies_n) - 1;
    for (unsigned copies = 1; copies <= all; copies++) {
        unsigned n = 0;
        bool is_there = true;
        for (unsigned i = 0; i < self->setup->copies_n; i++) {
            bool is_asked = (copies >> i & 1u) != 0;
            n += is_asked ? 1 : 0;
            is_there =
                is_there && !(is_asked && (state->copies[i].is_down || state->copies[i].is_silent));
        }
        if (is_there && n >= self->rule.read_n) {
            add(out, STEP_LOOK, LOOKER, copies);
        }
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
    for (unsigned i = 0; i < self->setup->copies_n; i++) {
        list_copy(self, state, &out, i);
    }
    if (state->looks_n < self->setup->looks_n && is_over(self, state)) {
        list_looks(self, state, &out);
    }
    return out.n;
}

static void remove_message(model_state *state, unsigned number)
{
    state->messages_n--;
    memmove(&state->messages[number], &state->messages[number + 1],
            (state->messages_n - number) * sizeof(state->messages[0]));
    memset(&state->messages[state->messages_n], 0, sizeof(state->messages[0]));
}

static void die(model_state *state, unsigned client)
{
    state->clients[client].is_dead = true;
    for (unsigned i = 0; i < state->messages_n; i++) {
        model_message *sent = &state->messages[i];
        if (sent->client == client && sent->state == MESSAGE_ASK) {
            sent->state = MESSAGE_LATE;
        }
    }
}

static bool reach(const model *self, model_state *state, unsigned number)
{
    model_message *sent = &state->messages[number];
    bool is_late = sent->state == MESSAGE_LATE;
    bool is_awaited_still = is_awaited(state, sent);
    model_reach(self, state, number);
    if (is_late || !is_awaited_still) {
        remove_message(state, number);
    } else {
        sent->state = MESSAGE_BACK;
    }
    return false;
}

static bool do_message(const model *self, model_state *state, model_step *step)
{
    model_message sent = state->messages[step->who];
    switch ((int)step->kind) {
    case STEP_ANSWER:
        remove_message(state, step->who);
        return model_answer(self, state, step, &sent);
    case STEP_REFUSED:
        remove_message(state, step->who);
        return model_lose(self, state, step, &sent,
                          step->variant == 0 ? KW_EFFECT_NONE : KW_EFFECT_MAYBE);
    case STEP_LOSE:
        remove_message(state, step->who);
        return model_lose(self, state, step, &sent, KW_EFFECT_MAYBE);
    case STEP_HINT: { /* as another hand would bring it */
        kw_record record;
        kw_bytes bytes = {sent.bytes, sent.len};
        (void)kw_record_get(&record, bytes);
        char value = record.value.len > 0 ? record.value.data[0] : '\0';
        record.is_copied = true;
        record.floor = record.recent = 0;
        model_message *hint = &state->messages[step->who];
        size_t len = kw_record_put_head((unsigned char *)hint->bytes, &record);
        if (record.value.len > 0) {
            hint->bytes[len++] = value;
        }
        hint->len = (uint8_t)len;
        hint->is_hint = true;
        hint->state = MESSAGE_LATE;
        return model_lose(self, state, step, &sent, KW_EFFECT_MAYBE);
    }
    case STEP_DELAY:
        state->messages[step->who].state = MESSAGE_LATE;
        return model_lose(self, state, step, &sent, KW_EFFECT_MAYBE);
    case STEP_DOUBLE:
        (void)reach(self, state, step->who);
        if (state->messages_n == MESSAGES_MAX) {
            fputs("quorum_model: too many messages\n", stderr);
            exit(1);
        }
        sent.state = MESSAGE_LATE;
        state->messages[state->messages_n++] = sent;
        return false;
    default:
        remove_message(state, step->who); /* DROP */
        return false;
    }
}

static void end_life(const model *self, model_state *state, unsigned number)
{
    model_copy *copy = &state->copies[number];
    kw_record record;
    if (model_get_record(&copy->key, &record)) {
        copy->key.ends_ms = NOW_MS + record.linger_ms;
        copy->guards = model_active_acts(self, state);
    }
}

static void forget_key(kw_test_copy *key)
{
    kw_test_copy_planted planted = key->planted;
    memset(key, 0, sizeof(*key));
    key->planted = planted;
}

/* The copies' clocks are far beyond what was there for as long as it takes to end. */
static void pass_time(model_state *state, const kw_test_copy *key)
{
    kw_record record;
    if (model_get_record(key, &record)) {
        bool is_all_old = key->ends_ms >= NOW_MS + LINGER_MS;
        uint64_t latest = is_all_old && record.promise.time > record.stamp.time
                              ? record.promise.time
                              : record.stamp.time;
        state->past = latest >= state->past ? latest + 1 : state->past;
    }
}

static void do_copy(const model *self, model_state *state, const model_step *step)
{
    model_copy *copy = &state->copies[step->who];
    switch ((int)step->kind) {
    case STEP_LIFE_ENDS:
        end_life(self, state, step->who);
        break;
    case STEP_KEY_ENDS: /* and no dump is as old as what it remembered */
        pass_time(state, &copy->key);
        forget_key(&copy->key);
        for (unsigned i = 0; i < self->setup->copies_n; i++) {
            state->copies[i].has_old = false;
        }
        break;
    case STEP_REMEMBER:
        copy->old = copy->key;
        copy->has_old = true;
        break;
    case STEP_STOP:
        copy->is_down = true;
        break;
    case STEP_BACK_EMPTY:
        forget_key(&copy->key);
        copy->is_silent = true;
        copy->is_down = false;
        break;
    case STEP_BACK_OLD:
        copy->key = copy->old;
        copy->is_silent = true;
        copy->is_down = false;
        break;
    default:
        copy->is_down = false;
        break;
    }
}

/* What no longer matters is put away, so that states are alike that do alike. */
static void tidy(const model *self, model_state *state)
{
    unsigned n = 0;
    for (unsigned i = 0; i < state->messages_n; i++) {
        const model_message *sent = &state->messages[i];
        if (sent->state != MESSAGE_BACK || is_awaited(state, sent)) {
            state->messages[n++] = *sent;
        }
    }
    memset(&state->messages[n], 0, (state->messages_n - n) * sizeof(state->messages[0]));
    state->messages_n = n;
    uint32_t active = model_active_acts(self, state);
    for (unsigned i = 0; i < self->setup->copies_n; i++) {
        state->copies[i].guards &= active;
    }
}

static bool do_step(const model *self, model_state *state, model_step *step)
{
    switch (step->kind) {
    case STEP_START:
        return model_start_act(self, state, step);
    case STEP_TIME:
        return model_pass_time(self, state, step, false);
    case STEP_DEADLINE:
        return model_pass_time(self, state, step, true);
    case STEP_DIE:
        die(state, step->who);
        return false;
    case STEP_REACH:
        return reach(self, state, step->who);
    case STEP_ANSWER:
    case STEP_REFUSED:
    case STEP_LOSE:
    case STEP_DOUBLE:
    case STEP_DELAY:
    case STEP_HINT:
    case STEP_DROP:
        return do_message(self, state, step);
    case STEP_LOOK:
        model_read_at_once(self, state, step->variant);
        return true;
    case STEP_LIFE_ENDS:
    case STEP_KEY_ENDS:
    case STEP_REMEMBER:
    case STEP_STOP:
    case STEP_BACK:
    case STEP_BACK_EMPTY:
    case STEP_BACK_OLD:
        do_copy(self, state, step);
        return false;
    }
    return false;
}

bool model_do(const model *self, model_state *state, model_step *step)
{
    switch (step->kind) {
    case STEP_LOSE:
    case STEP_DOUBLE:
    case STEP_DELAY:
    case STEP_HINT:
    case STEP_DEADLINE:
    case STEP_DIE:
    case STEP_STOP:
        state->faults_n++;
        break;
    case STEP_LIFE_ENDS:
    case STEP_KEY_ENDS:
        state->ends_n++;
        break;
    case STEP_START:
    case STEP_TIME:
    case STEP_REACH:
    case STEP_ANSWER:
    case STEP_REFUSED:
    case STEP_DROP:
    case STEP_REMEMBER:
    case STEP_BACK:
    case STEP_BACK_EMPTY:
    case STEP_BACK_OLD:
    case STEP_LOOK:
        break;
    }
    bool has_ended = do_step(self, state, step);
    if (has_ended && step->kind != STEP_LOOK) {
        const model_event *last = &state->events[state->events_n - 1];
        bool is_repair = self->setup->acts[last->client][last->act] == KW_MODEL_REPAIR;
        for (unsigned i = 0; is_repair && i < self->setup->copies_n; i++) {
            state->copies[i].is_silent = false;
        }
    }
    tidy(self, state);
    return has_ended;
}

bool model_is_cut(const model *self, const model_state *state)
{
    for (unsigned i = 0; i < KW_MODEL_CLIENTS_MAX; i++) {
        if (state->clients[i].has_op && state->clients[i].op.round > self->setup->rounds_n) {
            return true;
        }
    }
    return state->messages_n + KW_MODEL_COPIES_MAX >= MESSAGES_MAX;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum model: what each step does. */
#include "support/quorum_model_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool model_is_awaited(const model_state *state, const model_message *sent)
{
    const model_client *who = &state->clients[sent->client];
    return !who->is_dead && sent->act == who->act && sent->round == who->op.round;
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
    bool is_awaited_still = model_is_awaited(state, sent);
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
        model_message *hint = &state->messages[step->who];
        hint->record.is_copied = true;
        hint->record.floor = hint->record.recent = 0;
        hint->is_hint = true;
        hint->state = MESSAGE_LATE;
        return model_lose(self, state, step, &sent, KW_EFFECT_MAYBE);
    }
    case STEP_DELAY:
        state->messages[step->who].state = MESSAGE_LATE;
        return model_lose(self, state, step, &sent, KW_EFFECT_MAYBE);
    case STEP_DOUBLE:
        if (state->messages_n == MESSAGES_MAX) {
            fputs("quorum_model: too many messages\n", stderr);
            exit(1);
        }
        sent.state = MESSAGE_LATE;
        state->messages[state->messages_n++] = sent;
        return reach(self, state, step->who);
    default:
        remove_message(state, step->who); /* DROP */
        return false;
    }
}

/* True where the life that was over on the copy ended no earlier than the record's: it is the same
 * one, or that of a later value, as all lives are as long. */
static bool has_outlived(const kw_test_copy *key, const kw_record *record)
{
    bool is_over = key->has_key && key->ends_ms != 0 && !model_is_alive(key);
    bool is_same = kw_stamp_equal(key->record.origin, record->origin);
    bool is_later = key->record.is_mortal && kw_stamp_compare(key->record.stamp, record->stamp) > 0;
    return is_over && (is_same || is_later);
}

/* Copies' clocks differ by less than a call may take and its messages, so who is under way now has
 * ended before the keys of others that this life has ended on, and those of values that outlived
 * it: each stays for linger_ms behind its own. */
static void end_life(const model *self, model_state *state, unsigned number)
{
    model_copy *copy = &state->copies[number];
    if (!copy->key.has_key) {
        return;
    }
    uint32_t acts = model_active_acts(self, state);
    copy->key.ends_ms = NOW_MS + copy->key.record.linger_ms;
    for (unsigned i = 0; i < model_places(self); i++) {
        model_copy *other = &state->copies[i];
        if (has_outlived(&other->key, &copy->key.record)) {
            other->guards |= acts;
        }
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
    if (key->has_key) {
        const kw_record *record = &key->record;
        bool is_all_old = key->ends_ms >= NOW_MS + LINGER_MS;
        uint64_t latest = is_all_old && record->promise.time > record->stamp.time
                              ? record->promise.time
                              : record->stamp.time;
        state->past = latest >= state->past ? latest + 1 : state->past;
    }
}

/* Back, and kept out until a repair. */
static void lose_data(model_state *state, model_copy *copy)
{
    copy->is_silent = true;
    copy->is_down = false;
    copy->is_marked = false;
    copy->lost = model_busy_acts(state);
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
        for (unsigned i = 0; i < model_places(self); i++) {
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
        lose_data(state, copy);
        break;
    case STEP_BACK_OLD:
        copy->key = copy->old;
        lose_data(state, copy);
        break;
    default:
        copy->is_down = false;
        break;
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
    model_tidy(self, state);
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

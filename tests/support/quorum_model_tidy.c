/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum model: what no step depends on any more is put away, so that states are alike that do
 * alike. Each rule says why nothing can tell the difference. */
#include "support/quorum_model_private.h"

#include <string.h>

/* Once nothing ends any more, copies go up only: what one has refused, or would refuse, it
 * refuses for ever, and a refusal changes no more than when something ends. */
static bool is_below(const model *self, const model_state *state, const model_message *sent)
{
    const model_copy *copy = &state->copies[sent->copy];
    bool goes_down = copy->is_down || copy->is_silent || self->setup->has_join ||
                     model_may_fault(self, state, KW_MODEL_WIPE | KW_MODEL_DUMP) ||
                     self->setup->planted == KW_MODEL_NO_VERSION_CHECK;
    if (goes_down || !copy->key.has_key || !sent->has_record) {
        return false;
    }
    int above_held = kw_stamp_compare(sent->record.stamp, copy->key.record.stamp);
    int above_promise = kw_stamp_compare(sent->record.stamp, copy->key.record.promise);
    switch (sent->kind) {
    case KW_QUORUM_GET:
        break;
    case KW_QUORUM_PUT:
        return above_held < 0 || (above_held != 0 && above_promise < 0);
    case KW_QUORUM_PREPARE:
        return above_held <= 0 || above_promise <= 0;
    case KW_QUORUM_SEAL:
        return above_held < 0;
    }
    return false;
}

/* An answer that nobody waits for; a request that changes nothing, and whose answer nobody
 * waits for. */
static bool is_dead_letter(const model *self, const model_state *state, const model_message *sent)
{
    bool is_awaited = sent->state != MESSAGE_LATE && model_is_awaited(state, sent);
    if (is_awaited || sent->state == MESSAGE_BACK || self->setup->is_plain) {
        return !is_awaited && sent->state == MESSAGE_BACK;
    }
    return sent->kind == KW_QUORUM_GET ||
           (model_is_endless(self, state) && is_below(self, state, sent));
}

/* A request whose answer nobody waits for is like a late one, unless another of its client is
 * behind it. */
static void set_late(const model *self, model_state *state, unsigned number)
{
    model_message *sent = &state->messages[number];
    if (!model_is_endless(self, state) || sent->state != MESSAGE_ASK ||
        model_is_awaited(state, sent)) {
        return;
    }
    for (unsigned i = 0; i < state->messages_n; i++) {
        const model_message *other = &state->messages[i];
        if (i != number && other->client == sent->client && other->copy == sent->copy &&
            other->state == MESSAGE_ASK) {
            return;
        }
    }
    sent->state = MESSAGE_LATE;
}

void model_tidy(const model *self, model_state *state)
{
    unsigned n = 0;
    for (unsigned i = 0; i < state->messages_n; i++) {
        if (!is_dead_letter(self, state, &state->messages[i])) {
            if (n != i) {
                state->messages[n] = state->messages[i];
            }
            n++;
        }
    }
    memset(&state->messages[n], 0, (state->messages_n - n) * sizeof(state->messages[0]));
    state->messages_n = n;
    for (unsigned i = 0; i < n; i++) {
        set_late(self, state, i);
    }
    bool is_endless = model_is_endless(self, state);
    bool may_dump = model_may_fault(self, state, KW_MODEL_DUMP);
    uint32_t busy = model_busy_acts(state);
    uint32_t active = is_endless ? 0 : model_active_acts(self, state);
    for (unsigned i = 0; i < model_places(self); i++) {
        model_copy *copy = &state->copies[i];
        copy->lost &= busy;
        bool may_end = copy->key.has_key && copy->key.ends_ms != 0;
        copy->guards = may_end || self->setup->is_plain ? copy->guards & active : 0;
        if (copy->has_old && !copy->is_down && !may_dump && !self->setup->is_plain) {
            copy->has_old = false;
            memset(&copy->old, 0, sizeof(copy->old));
        }
    }
}

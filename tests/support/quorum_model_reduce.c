/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum model: which orders of events need not be walked through, since another that is has the
 * same outcome.
 *
 * Two steps that follow each other and touch nothing in common may change places: the state behind
 * them is the same, and so is what clients were told. What a step touches:
 * - ANSWER and TIME of a client: what its op knows, and the answer, which only its client and
 *   model_tidy look at. Quiet is such a step where the op sends nothing, takes no stamp, does not
 *   end, and stays in its round.
 * - REACH: one copy, the request, and its answer, which ANSWER and LOSE of its client look at. The
 *   copy also notes who is under way (model_copy.guards), but only acts that have begun before it
 * and are not over when the copy may end count: so that of all clients' steps START alone matters,
 * and that only where the key has an end.
 * - KEY_ENDS: its copy; the life of the value on others, their clocks where they hold no key, and
 *   requests of acts that it waits for. DROP is there for it alone.
 * - LIFE_ENDS: its copy, and who is waited for by keys of others with that value, or a later one:
 * at most who is under way, which REACH of theirs, where it sets their end anew, sets too.
 * - STOP, REMEMBER: one copy, and whether there is another that is away.
 * - any other step of a client: the client, and all that has to do with stamps or who is under way.
 * - LOOK: all copies. It comes when all clients are done; from then on REACH is not moved.
 *
 * So a quiet step may be moved behind all that follows it, up to the next step of its client. REACH
 * may, up to the next step that touches its copy or takes its answer, up to START where the key has
 * an end, and up to KEY_ENDS of another copy that is tied to it (is_tied). Where no such step
 * follows, it may be left out: nothing that is told depends on it. The walks that are left are made
 * of blocks, and states are told apart between blocks only:
 *
 *   block   = ( contact | quiet step )*, all of one client, and a step of it that is not quiet
 *   contact = REACH+ of one copy, the last of them the client's, and ANSWER or LOSE of that
 *   block   = REACH* of one copy, and STOP, REMEMBER, or an end of it
 *   block   = ( REACH | DROP )*, and START or an end; none where nothing ends any more
 *   block   = one other step
 *
 * In a row of REACH of one copy, of two that change nothing the first may be moved behind the
 * second; and one that changes nothing, and whose answer nobody waits for, may be left out
 * (WAY_VAIN).
 *
 * Each step uses something up, so no walk goes on for ever, and none is put off for ever. A walk of
 * blocks is a walk of the model: what it finds is true. That it finds all is what the lines above
 * say; test_model_spares_nothing_that_clients_could_tell compares, where both can be walked
 * through, all that clients were told (model_told) with is_plain and without.
 *
 * Besides, states are one that differ in the numbers of copies only, or in what no step looks at
 * any more (quorum_model_hash.c, quorum_model_tidy.c). They are kept as 64 bits each: of 10^7
 * states two have the same number with a chance of 3 in a million. */
#include "support/quorum_model_private.h"

#include <string.h>

static bool is_of_message(const model_step *step)
{
    return step->kind >= STEP_REACH && step->kind <= STEP_DROP;
}

/* The client whose op the step concerns; -1: none. */
static int client_of(const model_state *state, const model_step *step)
{
    switch (step->kind) {
    case STEP_START:
    case STEP_TIME:
    case STEP_DEADLINE:
        return step->who;
    case STEP_ANSWER:
    case STEP_REFUSED:
    case STEP_LOSE:
    case STEP_DELAY:
    case STEP_HINT:
        return state->messages[step->who].client;
    case STEP_REACH:
    case STEP_DOUBLE:
    case STEP_DROP:
    case STEP_DIE:
    case STEP_LIFE_ENDS:
    case STEP_KEY_ENDS:
    case STEP_REMEMBER:
    case STEP_STOP:
    case STEP_BACK:
    case STEP_BACK_EMPTY:
    case STEP_BACK_OLD:
    case STEP_LOOK:
        break;
    }
    return -1;
}

static int copy_of(const model_state *state, const model_step *step)
{
    return is_of_message(step) ? state->messages[step->who].copy : step->who;
}

static bool is_end(const model_step *step)
{
    return step->kind == STEP_LIFE_ENDS || step->kind == STEP_KEY_ENDS;
}

static bool has_end(const model_state *state, int number)
{
    const kw_test_copy *key = &state->copies[number].key;
    return key->has_key && key->ends_ms != 0;
}

/* A copy but this one may lose its key, of now or of a request on its way. */
static bool may_another_end(const model *self, const model_state *state, int number)
{
    for (int i = 0; i < (int)model_places(self); i++) {
        if (i != number && has_end(state, i)) {
            return true;
        }
    }
    for (unsigned i = 0; i < state->messages_n; i++) {
        const model_message *sent = &state->messages[i];
        bool has_key = state->copies[sent->copy].key.has_key;
        bool sets_end = sent->kind == KW_QUORUM_PUT ? sent->life_ms != 0 : !has_key;
        if (sent->copy != number && sent->state != MESSAGE_BACK && sets_end) {
            return true;
        }
    }
    return false;
}

/* An end on another copy may depend on what reaches this one: where it holds no key, and so looks
 * at its clock; where the life of its value is not over; where the end waits for a request to be
 * gone. */
static bool is_tied(const model *self, const model_state *state, unsigned number)
{
    const kw_test_copy *key = &state->copies[number].key;
    uint32_t guards = 0;
    bool is_waited_for = false;
    if (!may_another_end(self, state, (int)number)) {
        return false;
    }
    for (unsigned i = 0; i < model_places(self); i++) {
        guards |= i != number ? state->copies[i].guards : 0;
    }
    for (unsigned i = 0; i < state->messages_n; i++) {
        const model_message *sent = &state->messages[i];
        uint32_t bit = UINT32_C(1) << (sent->client * KW_MODEL_ACTS_MAX + sent->act);
        is_waited_for = is_waited_for || (sent->copy == number && (guards & bit) != 0);
    }
    return !key->has_key || model_is_alive(key) || is_waited_for;
}

static bool may_anybody_start(const model *self, const model_state *state)
{
    for (unsigned i = 0; i < KW_MODEL_CLIENTS_MAX; i++) {
        if (!state->clients[i].is_busy && model_may_stamp(self, state, i)) {
            return true;
        }
    }
    return false;
}

/* Behind requests that have reached several copies, or were dropped. */
static bool may_follow_mixed(const model *self, const model_state *state, const model_block *block,
                             const model_step *step)
{
    bool has_guard = block->copy >= 0 && has_end(state, block->copy);
    bool is_reach =
        step->kind == STEP_REACH && ((has_guard && may_anybody_start(self, state)) ||
                                     is_tied(self, state, (unsigned)copy_of(state, step)));
    return !model_is_endless(self, state) && (is_reach || is_end(step) || step->kind == STEP_DROP ||
                                              (has_guard && step->kind == STEP_START));
}

/* Behind requests that have reached a copy. */
static bool may_follow_reach(const model *self, const model_state *state, const model_block *block,
                             const model_step *step)
{
    bool is_here = copy_of(state, step) == block->copy;
    bool is_answer = step->kind == STEP_ANSWER || step->kind == STEP_LOSE;
    if (block->is_mixed) {
        return may_follow_mixed(self, state, block, step);
    }
    if (is_here && step->kind == STEP_REACH) {
        return true;
    }
    if (is_here && is_answer) {
        const model_message *sent = &state->messages[step->who];
        return block->is_answered && sent->state == MESSAGE_BACK &&
               sent->client == block->last_client &&
               (block->client < 0 || block->client == block->last_client);
    }
    if (is_here && (step->kind == STEP_STOP || step->kind == STEP_REMEMBER || is_end(step))) {
        return block->client < 0;
    }
    return block->client < 0 && may_follow_mixed(self, state, block, step);
}

/* The client waits for what the copy will say to a request that has not reached it yet. */
static bool has_asked(const model_state *state, int client, int copy)
{
    for (unsigned i = 0; i < state->messages_n; i++) {
        const model_message *sent = &state->messages[i];
        if (sent->client == client && sent->copy == copy && sent->state == MESSAGE_ASK &&
            model_is_awaited(state, sent)) {
            return true;
        }
    }
    return false;
}

bool model_may_follow(const model *self, const model_state *state, const model_block *block,
                      const model_step *step)
{
    if (block->copy >= 0 || block->is_mixed) {
        return may_follow_reach(self, state, block, step);
    }
    if (block->client < 0) {
        return true;
    }
    if (step->kind == STEP_REACH) {
        return !model_is_over(self, state) && has_asked(state, block->client, copy_of(state, step));
    }
    return client_of(state, step) == block->client;
}

static bool is_quiet(const model_state *before, const model_state *after, const model_step *step,
                     unsigned client)
{
    const model_client *old = &before->clients[client];
    const model_client *new = &after->clients[client];
    unsigned taken_n = step->kind == STEP_ANSWER ? 1 : 0;
    return (step->kind == STEP_ANSWER || step->kind == STEP_TIME) && !step->was_asked &&
           after->time == before->time && after->events_n == before->events_n &&
           after->messages_n + taken_n == before->messages_n && old->is_busy == new->is_busy &&
           old->op.round == new->op.round;
}

static bool is_same_record(const kw_record *a, const kw_record *b)
{
    return kw_stamp_equal(a->stamp, b->stamp) && kw_stamp_equal(a->origin, b->origin) &&
           kw_stamp_equal(a->promise, b->promise) && a->floor == b->floor &&
           a->recent == b->recent && a->linger_ms == b->linger_ms &&
           a->is_tombstone == b->is_tombstone && a->is_copied == b->is_copied &&
           a->is_mortal == b->is_mortal && a->is_kept == b->is_kept && a->value.len == b->value.len;
}

static bool is_same_copy(const model_copy *a, const model_copy *b)
{
    return a->key.has_key == b->key.has_key && a->key.ends_ms == b->key.ends_ms &&
           a->key.value[0] == b->key.value[0] && a->guards == b->guards &&
           (!a->key.has_key || is_same_record(&a->key.record, &b->key.record));
}

/* A request has reached a copy, and another step of the copy is to follow. Of two that change
 * nothing the first may be moved behind the second; one that changes nothing, and whose answer
 * nobody waits for, may be left out. Unless an end waits for it to be gone. */
static model_way go_on_from_copy(const model *self, model_block *block, const model_state *before,
                                 const model_state *after, const model_step *step)
{
    const model_message *sent = &before->messages[step->who];
    bool is_awaited = sent->state == MESSAGE_ASK && model_is_awaited(before, sent);
    bool may_wait = is_awaited || model_is_endless(self, before);
    bool is_first = block->copy != sent->copy;
    bool is_idle =
        may_wait && is_same_copy(&before->copies[sent->copy], &after->copies[sent->copy]);
    if (is_idle && (!is_awaited || (!is_first && block->is_idle))) {
        return WAY_VAIN;
    }
    block->is_mixed = block->is_mixed || (block->copy >= 0 && is_first);
    block->copy = sent->copy;
    block->last_client = sent->client;
    block->is_answered = is_awaited;
    block->is_idle = is_idle;
    return WAY_ON;
}

model_way model_way_on(const model *self, model_block *block, const model_state *before,
                       const model_state *after, const model_step *step)
{
    bool is_lazy = !self->setup->is_plain && !model_is_over(self, before);
    int client = client_of(before, step);
    if (is_lazy && step->kind == STEP_DROP) {
        block->is_mixed = true;
        return WAY_ON;
    }
    if (is_lazy && step->kind == STEP_REACH) {
        return go_on_from_copy(self, block, before, after, step);
    }
    if (!self->setup->is_plain && client >= 0 && is_quiet(before, after, step, (unsigned)client)) {
        *block = model_block_none;
        block->client = client;
        return WAY_ON;
    }
    return WAY_KEEP;
}

void model_copy_state(model_state *out, const model_state *state)
{
    for (unsigned i = 0; i < KW_MODEL_CLIENTS_MAX; i++) {
        const model_client *from = &state->clients[i];
        if (from->has_op || out->clients[i].has_op) {
            out->clients[i] = *from;
        }
    }
    memcpy(out->copies, state->copies, sizeof(out->copies));
    memcpy(out->messages, state->messages, state->messages_n * sizeof(out->messages[0]));
    memcpy(out->events, state->events, state->events_n * sizeof(out->events[0]));
    memcpy(&out->messages_n, &state->messages_n, sizeof(*out) - offsetof(model_state, messages_n));
}

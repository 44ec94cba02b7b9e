/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum model: through all states, or by chance. */
#include "support/quorum_model_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 400u

/* States that were seen, by number; 0: none. */
typedef struct memory {
    uint64_t *places;
    uint64_t capacity;
    uint64_t n;
} memory;

typedef struct walk {
    model model;
    memory seen;
    model_state *states; /* one a depth */
    model_step steps[DEPTH_MAX];
} walk;

static void *need(void *room)
{
    if (room == NULL) {
        fputs("quorum_model: no memory\n", stderr);
        exit(1);
    }
    return room;
}

static bool place(memory *seen, uint64_t hash)
{
    uint64_t at = hash & (seen->capacity - 1);
    while (seen->places[at] != 0) {
        if (seen->places[at] == hash) {
            return false;
        }
        at = (at + 1) & (seen->capacity - 1);
    }
    seen->places[at] = hash;
    seen->n++;
    return true;
}

/* True where the state is new. */
static bool remember(memory *seen, uint64_t hash)
{
    if (seen->n * 4 >= seen->capacity * 3) {
        memory old = *seen;
        seen->capacity *= 2;
        seen->n = 0;
        seen->places = need(calloc(seen->capacity, sizeof(seen->places[0])));
        for (uint64_t i = 0; i < old.capacity; i++) {
            if (old.places[i] != 0) {
                (void)place(seen, old.places[i]);
            }
        }
        free(old.places);
    }
    return place(seen, hash);
}

/* The steps that led here. */
static void tell(walk *self, unsigned depth)
{
    char *story = self->model.result->story;
    size_t room = sizeof(self->model.result->story);
    size_t len = 0;
    for (unsigned i = 0; i <= depth && len + 200 < room; i++) {
        model_tell_step(story + len, room - len, &self->states[i], &self->steps[i]);
        len += strlen(story + len);
    }
    const model_state *last = &self->states[depth + 1];
    for (unsigned i = 0; i < last->events_n && len + 60 < room; i++) {
        const model_event *event = &last->events[i];
        static const char *const names[] = {"begins", "done", "mismatch", "void"};
        len += (size_t)snprintf(story + len, room - len, "    client %u act %u %s %u\n",
                                event->client, event->act, names[event->what], event->value);
    }
}

/* Takes the step from the state at depth; true where what follows is to be looked at. */
static bool step_on(walk *self, unsigned depth)
{
    kw_model_result *result = self->model.result;
    model_state *next = &self->states[depth + 1];
    memcpy(next, &self->states[depth], sizeof(*next));
    result->steps_n++;
    if (model_do(&self->model, next, &self->steps[depth]) && !model_is_sound(&self->model, next)) {
        result->has_violation = true;
        tell(self, depth);
        return false;
    }
    if (model_is_cut(&self->model, next)) {
        result->cut_n++;
        return false;
    }
    return true;
}

/* From each state in another order, so that what is cut short is not one corner. */
static void explore(walk *self, unsigned depth, uint64_t hash)
{
    kw_model_result *result = self->model.result;
    model_step steps[STEPS_MAX];
    if (depth + 1 == DEPTH_MAX) {
        fputs("quorum_model: too deep\n", stderr);
        exit(1);
    }
    unsigned n = model_steps(&self->model, &self->states[depth], steps);
    for (unsigned i = 0; i < n; i++) {
        for (unsigned clock = 0; clock < 2; clock++) {
            if (result->has_violation || result->states_n >= self->model.setup->states_max) {
                result->is_whole = false;
                return;
            }
            self->steps[depth] = steps[(i + hash % n) % n];
            self->steps[depth].clock = (uint8_t)clock;
            uint64_t next =
                step_on(self, depth) ? model_hash(&self->model, &self->states[depth + 1]) : 0;
            if (next != 0 && remember(&self->seen, next)) {
                result->states_n++;
                explore(self, depth + 1, next);
            }
            if (!self->steps[depth].was_asked) {
                break; /* no clock was looked at */
            }
        }
    }
}

static void begin(walk *self, kw_model_result *result, const kw_model_setup *setup)
{
    memset(result, 0, sizeof(*result));
    memset(self, 0, sizeof(*self));
    self->model.setup = setup;
    self->model.result = result;
    if (!kw_quorum_rule_set(&self->model.rule, setup->copies_n, setup->write_n, setup->read_n,
                            false)) {
        fputs("quorum_model: quorums do not meet\n", stderr);
        exit(1);
    }
    self->model.rule.linger_ms = LINGER_MS;
    self->model.salt = UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)setup->start;
    for (unsigned i = 0; i < KW_MODEL_CLIENTS_MAX; i++) {
        for (unsigned k = 0; k < KW_MODEL_ACTS_MAX; k++) {
            self->model.salt =
                (self->model.salt ^ (uint64_t)setup->acts[i][k]) * UINT64_C(0xff51afd7ed558ccd);
            self->model.salt ^= self->model.salt >> 29;
        }
    }
    self->states = need(calloc(DEPTH_MAX, sizeof(self->states[0])));
    model_begin(&self->model, &self->states[0]);
}

void kw_model_explore(kw_model_result *result, const kw_model_setup *setup)
{
    static walk self;
    begin(&self, result, setup);
    self.seen.capacity = 1u << 16;
    self.seen.places = need(calloc(self.seen.capacity, sizeof(self.seen.places[0])));
    result->is_whole = true;
    explore(&self, 0, 0);
    free(self.seen.places);
    free(self.states);
}

void kw_model_wander(kw_model_result *result, const kw_model_setup *setup, uint64_t ops_n,
                     uint64_t seed)
{
    static walk self;
    kw_random random;
    kw_random_init(&random, seed);
    begin(&self, result, setup);
    while (result->ops_n < ops_n && !result->has_violation) {
        unsigned depth = 0;
        model_step steps[STEPS_MAX];
        unsigned n = model_steps(&self.model, &self.states[0], steps);
        while (n > 0 && depth + 2 < DEPTH_MAX) {
            self.steps[depth] = steps[kw_random_below(&random, n)];
            self.steps[depth].clock = (uint8_t)kw_random_below(&random, 2);
            if (!step_on(&self, depth)) {
                break;
            }
            depth++;
            n = model_steps(&self.model, &self.states[depth], steps);
        }
        for (unsigned i = 0; i < self.states[depth].events_n; i++) {
            result->ops_n += self.states[depth].events[i].what == EVENT_BEGIN ? 1 : 0;
        }
    }
    free(self.states);
}

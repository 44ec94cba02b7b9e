/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum model: through all states. */
#include "support/quorum_model_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LATELY_BITS 20u

/* States that were seen, by number; 0: none. */
typedef struct memory {
    uint64_t *places;
    uint64_t capacity;
    uint64_t n;
} memory;

typedef struct walk {
    model model;
    memory seen;
    memory told;         /* what clients were told, a number for each */
    uint64_t *lately;    /* states inside of blocks, by number */
    model_state *states; /* one a depth */
    model_step steps[MODEL_DEPTH_MAX];
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
        seen->places = need(calloc((size_t)seen->capacity, sizeof(seen->places[0])));
        for (uint64_t i = 0; i < old.capacity; i++) {
            if (old.places[i] != 0) {
                (void)place(seen, old.places[i]);
            }
        }
        free(old.places);
    }
    return place(seen, hash);
}

static void begin_memory(memory *seen)
{
    seen->n = 0;
    seen->capacity = 1u << 16;
    seen->places = need(calloc((size_t)seen->capacity, sizeof(seen->places[0])));
}

/* What all clients were told so far, as a number of the result. */
static void note_told(walk *self, const model_state *state)
{
    uint64_t number = model_told(state);
    if (remember(&self->told, number)) {
        self->model.result->told_n++;
        self->model.result->told_sum += number;
    }
}

/* Takes the step from the state at depth; true where what follows is to be looked at. */
static bool step_on(walk *self, unsigned depth)
{
    kw_model_result *result = self->model.result;
    model_state *next = &self->states[depth + 1];
    model_step *step = &self->steps[depth];
    model_copy_state(next, &self->states[depth]);
    result->steps_n++;
    if (model_do(&self->model, next, step)) {
        note_told(self, next);
        if (!model_is_sound(&self->model, next)) {
            result->has_violation = true;
            model_tell_story(&self->model, self->states, self->steps, depth);
            return false;
        }
    }
    if (step->kind == STEP_LOOK && next->looks_n >= self->model.setup->looks_n) {
        return false; /* nobody is told anything any more */
    }
    if (model_is_cut(&self->model, next)) {
        result->cut_n++;
        return false;
    }
    return true;
}

static bool has_ended(walk *self)
{
    kw_model_result *result = self->model.result;
    if (result->has_violation || result->states_n >= self->model.setup->states_max) {
        result->is_whole = false;
        return true;
    }
    return false;
}

/* True unless the state inside of a block was there lately, and all behind it walked through. */
static bool is_fresh(walk *self, uint64_t number)
{
    uint64_t *lately = &self->lately[number >> (64 - LATELY_BITS)];
    bool is_fresh = *lately != number;
    *lately = number;
    return is_fresh;
}

/* From each state in another order, so that what is cut short is not one corner. */
static void explore(walk *self, unsigned depth, const model_block *block, uint64_t hash)
{
    kw_model_result *result = self->model.result;
    model_step steps[STEPS_MAX];
    if (depth + 1 == MODEL_DEPTH_MAX) {
        fputs("quorum_model: too deep\n", stderr);
        exit(1);
    }
    const model_state *state = &self->states[depth];
    unsigned n = model_steps(&self->model, state, steps);
    unsigned from = n > 0 ? (unsigned)(hash % n) : 0;
    for (unsigned i = 0; i < 2 * n && !has_ended(self); i++) {
        model_step *step = &self->steps[depth];
        uint8_t clock = i % 2;
        if (clock == 1 && !step->was_asked) {
            continue; /* no clock was looked at */
        }
        *step = steps[i / 2 + from < n ? i / 2 + from : i / 2 + from - n];
        step->clock = clock;
        if (!model_may_follow(&self->model, state, block, step) || !step_on(self, depth)) {
            continue;
        }
        model_block then = *block;
        const model_state *next = &self->states[depth + 1];
        model_way way = model_way_on(&self->model, &then, state, next, step);
        if (way == WAY_VAIN) {
            continue;
        }
        const model_block *follows = way == WAY_ON ? &then : &model_block_none;
        uint64_t number = model_hash(&self->model, next, follows);
        if (way == WAY_ON) {
            if (is_fresh(self, number)) {
                explore(self, depth + 1, &then, hash);
                step->was_asked = false;
            }
        } else if (remember(&self->seen, number)) {
            result->states_n++;
            bool was_asked = step->was_asked;
            explore(self, depth + 1, &model_block_none, number);
            step->was_asked = was_asked;
        }
    }
}

void kw_model_explore(kw_model_result *result, const kw_model_setup *setup)
{
    static walk self;
    memset(&self, 0, sizeof(self));
    model_init(&self.model, result, setup);
    self.states = need(calloc(MODEL_DEPTH_MAX, sizeof(self.states[0])));
    model_begin(&self.model, &self.states[0]);
    begin_memory(&self.seen);
    begin_memory(&self.told);
    self.lately = need(calloc(1u << LATELY_BITS, sizeof(self.lately[0])));
    result->is_whole = true;
    explore(&self, 0, &model_block_none, 1);
    free(self.seen.places);
    free(self.told.places);
    free(self.lately);
    free(self.states);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum model: by chance. One state is changed in place; a walk that went wrong is walked once
 * more, from the same random numbers, to tell its steps. */
#include "support/quorum_model_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Any step that is possible; false where there is none. */
static bool choose(const model *self, const model_state *state, kw_random *random, model_step *out)
{
    model_step steps[STEPS_MAX];
    unsigned n = model_steps(self, state, steps);
    if (n > 0) {
        *out = steps[kw_random_below(random, n)];
        out->clock = (uint8_t)kw_random_below(random, 2);
    }
    return n > 0;
}

/* Does the step; false where the walk is over: what clients were told is wrong, or it is cut. */
static bool go(const model *self, model_state *state, model_step *step)
{
    kw_model_result *result = self->result;
    result->steps_n++;
    result->ops_n += step->kind == STEP_START || step->kind == STEP_LOOK ? 1 : 0;
    if (model_do(self, state, step) && !model_is_sound(self, state)) {
        result->has_violation = true;
        return false;
    }
    if (model_is_cut(self, state)) {
        result->cut_n++;
        return false;
    }
    return true;
}

static void walk_once(const model *self, const model_state *first, kw_random *random)
{
    static model_state state;
    model_copy_state(&state, first);
    model_step step;
    unsigned depth = 0;
    while (depth + 2 < MODEL_DEPTH_MAX && choose(self, &state, random, &step) &&
           go(self, &state, &step)) {
        depth++;
    }
}

static void tell(const model *self, const model_state *first, kw_random *random)
{
    model_state *states = calloc(MODEL_DEPTH_MAX, sizeof(states[0]));
    model_step *steps = calloc(MODEL_DEPTH_MAX, sizeof(steps[0]));
    if (states == NULL || steps == NULL) {
        fputs("quorum_model: no memory\n", stderr);
        exit(1);
    }
    unsigned depth = 0;
    model_copy_state(&states[0], first);
    while (choose(self, &states[depth], random, &steps[depth])) {
        model_copy_state(&states[depth + 1], &states[depth]);
        if (!go(self, &states[depth + 1], &steps[depth])) {
            break;
        }
        depth++;
    }
    model_tell_story(self, states, steps, depth);
    free(states);
    free(steps);
}

void kw_model_wander(kw_model_result *result, const kw_model_setup *setup, uint64_t ops_n,
                     uint64_t seed)
{
    static model_state first;
    model self;
    kw_random random;
    kw_random_init(&random, seed);
    model_init(&self, result, setup);
    model_begin(&self, &first);
    while (result->ops_n < ops_n && !result->has_violation) {
        kw_random begin = random;
        walk_once(&self, &first, &random);
        if (result->has_violation) {
            tell(&self, &first, &begin);
        }
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Which way of waiting is in use, and when both are compared. */
#include "engine/resting.h"

#define NS_PER_MS ((uint64_t)1000000)

/* A span is long enough to say something; a silence says nothing. */
#define SPAN_NS    (4 * NS_PER_MS)
#define SPAN_N     ((uint64_t)64)
#define SILENCE_NS (50 * NS_PER_MS)

/* Turns of a trial, half of them of either way, so that what else changes concerns both. */
#define TURNS_N 8u

/* From one trial to the next, at first and at most. */
#define PAUSE_MIN_NS (100 * NS_PER_MS)
#define PAUSE_MAX_NS (3200 * NS_PER_MS)

/* The other way takes over where it brings more by one part in so many. */
#define GAIN_PARTS 16u

/* Answers a read are counted in eighths; callers are a crowd from 12 of them on. */
#define EIGHTHS   8u
#define CROWD_MIN 12u

static void begin_span(kw_resting *resting, uint64_t now_ns)
{
    resting->begin_ns = now_ns;
    resting->heard_ns = now_ns;
    resting->span = (kw_resting_span){0, 0, 0};
}

static void begin_trial(kw_resting *resting, uint64_t together_n)
{
    resting->trial[0] = (kw_resting_span){0, 0, 0};
    resting->trial[1] = resting->trial[0];
    resting->trial_at = 1;
    resting->together_n = together_n;
    resting->is_looking = !resting->looks_best;
}

static bool is_better(const kw_resting_span *other, const kw_resting_span *usual)
{
    uint64_t usual_n = usual->answers_n + usual->answers_n / GAIN_PARTS;
    return other->answers_n * usual->len_ns > usual_n * other->len_ns;
}

static void end_trial(kw_resting *resting, uint64_t now_ns)
{
    bool best = resting->looks_best;
    bool changes = is_better(&resting->trial[!best], &resting->trial[best]);
    uint64_t pause_ns = changes ? PAUSE_MIN_NS : 2 * resting->pause_ns;
    resting->pause_ns = pause_ns < PAUSE_MAX_NS ? pause_ns : PAUSE_MAX_NS;
    resting->due_ns = now_ns + resting->pause_ns;
    resting->looks_best = best != changes;
    resting->is_looking = resting->looks_best;
    resting->trial_at = 0;
}

/* A turn of a trial has ended. */
static void end_turn(kw_resting *resting, uint64_t now_ns)
{
    kw_resting_span *sum = &resting->trial[resting->is_looking];
    sum->answers_n += resting->span.answers_n;
    sum->len_ns += resting->span.len_ns;
    resting->is_looking = !resting->is_looking;
    if (resting->trial_at++ == TURNS_N) {
        end_trial(resting, now_ns);
    }
}

/* A span between trials has ended. */
static void look_around(kw_resting *resting, uint64_t now_ns)
{
    uint64_t together_n = resting->span.answers_n * EIGHTHS / resting->span.reads_n;
    if (together_n < CROWD_MIN) {
        resting->looks_best = false;
        resting->is_looking = false;
        return;
    }
    bool is_other = together_n > 2 * resting->together_n || 2 * together_n < resting->together_n;
    if (is_other) { /* what was found is of another crowd */
        uint64_t soon_ns = now_ns + PAUSE_MIN_NS;
        resting->due_ns = resting->due_ns < soon_ns ? resting->due_ns : soon_ns;
        resting->pause_ns = PAUSE_MIN_NS;
    }
    if (now_ns >= resting->due_ns) {
        begin_trial(resting, together_n);
    }
}

void kw_resting_on_answers(kw_resting *resting, size_t n, uint64_t now_ns)
{
    if (resting->begin_ns == 0 || now_ns > resting->heard_ns + SILENCE_NS) {
        begin_span(resting, now_ns);
        return;
    }
    resting->heard_ns = now_ns;
    resting->span.answers_n += n;
    resting->span.reads_n++;
    if (now_ns < resting->begin_ns + SPAN_NS || resting->span.answers_n < SPAN_N) {
        return;
    }
    resting->span.len_ns = now_ns - resting->begin_ns;
    if (resting->trial_at > 0) {
        end_turn(resting, now_ns);
    } else {
        look_around(resting, now_ns);
    }
    begin_span(resting, now_ns);
}

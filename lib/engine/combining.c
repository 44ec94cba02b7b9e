/* SPDX-License-Identifier: BSD-3-Clause */
/* Which way of combining is in use, and when two are compared. */
#include "engine/combining.h"

#include "base/moment.h"

/* A span is long enough to say something; a silence says nothing. */
#define SPAN_NS    (4 * KW_NS_PER_MS)
#define SPAN_N     ((uint64_t)64)
#define SILENCE_NS (50 * KW_NS_PER_MS)

/* Turns of a trial, half of them of either way, so that what else changes concerns both; the best
 * way has the first. */
#define TURNS_N 8u

/* From one trial to the next, at first and at most; and longer where the other way was so slow that
 * what is lost by it would be more than one part of the time in so many. */
#define PAUSE_MIN_NS (100 * KW_NS_PER_MS)
#define PAUSE_MAX_NS (3200 * KW_NS_PER_MS)
#define LOSS_PARTS   32u

/* The other way takes over where it brings more by one part in so many. */
#define GAIN_PARTS 16u

/* A difference of so many times needs no further turn; answers that are fewer by that are a
 * reason to look for a better way. */
#define TIMES_MUCH 3u

/* So many times as many others, or as few, are another crowd. */
#define TIMES_OTHER 4u

/* So many spans in a row are no accident. */
#define ODD_MAX 3u

/* The others that a command meets are counted in eighths; from 4 of them on they are a crowd. */
#define EIGHTHS   8u
#define CROWD_MIN 4u

static void begin_span(kw_combining *combining, uint64_t now_ns)
{
    combining->begin_ns = now_ns;
    combining->span = (kw_combining_span){0, 0, 0, 0};
}

/* Where nothing is known of a crowd, that which spares most is tried first. */
static kw_combining_way next_way(const kw_combining *combining)
{
    bool is_first = combining->tried_n == 0 && combining->best != KW_COMBINING_LOOKS;
    unsigned way = is_first ? KW_COMBINING_LOOKS : (combining->other + 1) % KW_COMBINING_WAYS_N;
    return (kw_combining_way)(way != combining->best ? way : (way + 1) % KW_COMBINING_WAYS_N);
}

static void begin_trial(kw_combining *combining)
{
    combining->trial[0] = (kw_combining_span){0, 0, 0, 0};
    combining->trial[1] = combining->trial[0];
    combining->trial_at = 1;
    combining->other = next_way(combining);
    combining->tried_n += combining->tried_n < KW_COMBINING_WAYS_N ? 1 : 0;
}

static bool is_better(const kw_combining_span *other, const kw_combining_span *usual)
{
    uint64_t usual_n = usual->answers_n + usual->answers_n / GAIN_PARTS;
    return other->answers_n * usual->len_ns > usual_n * other->len_ns;
}

/* One brought several times as many a second as the other. */
static bool is_much_better(const kw_combining_span *one, const kw_combining_span *other)
{
    return one->answers_n * other->len_ns > TIMES_MUCH * other->answers_n * one->len_ns;
}

/* What the other way took longer for its answers than the best one would have. */
static uint64_t lost_ns(const kw_combining_span *other, const kw_combining_span *best)
{
    uint64_t best_ns = other->answers_n * (best->len_ns / best->answers_n);
    return other->len_ns > best_ns ? other->len_ns - best_ns : 0;
}

static void end_trial(kw_combining *combining, bool changes, uint64_t now_ns)
{
    const kw_combining_span *trial = combining->trial;
    uint64_t pause_ns = changes ? PAUSE_MIN_NS : kw_later(2 * combining->pause_ns, PAUSE_MIN_NS);
    combining->pause_ns = kw_sooner(pause_ns, PAUSE_MAX_NS);
    bool is_known = combining->tried_n >= KW_COMBINING_WAYS_N - 1;
    uint64_t early_ns = LOSS_PARTS * lost_ns(&trial[1], &trial[0]);
    combining->early_ns = now_ns + kw_sooner(early_ns, PAUSE_MAX_NS);
    combining->due_ns =
        kw_later(now_ns + (is_known ? combining->pause_ns : 0), combining->early_ns);
    combining->usual = trial[changes ? 1 : 0];
    if (changes) {
        kw_combining_way worse = combining->best;
        combining->best = combining->other;
        combining->other = worse;
    }
    combining->way = combining->best;
    combining->trial_at = 0;
}

static void add_span(kw_combining_span *sum, const kw_combining_span *span)
{
    sum->answers_n += span->answers_n;
    sum->commands_n += span->commands_n;
    sum->others_n += span->others_n;
    sum->len_ns += span->len_ns;
}

/* A turn of a trial has ended. */
static void end_turn(kw_combining *combining, uint64_t now_ns)
{
    bool is_others = combining->way == combining->other;
    kw_combining_span *best = &combining->trial[0];
    kw_combining_span *other = &combining->trial[1];
    kw_combining_span *sum = is_others ? other : best;
    add_span(sum, &combining->span);
    combining->way = is_others ? combining->best : combining->other;
    bool is_clear = is_others && (is_much_better(best, other) || is_much_better(other, best));
    if (is_clear || combining->trial_at++ == TURNS_N) {
        end_trial(combining, is_better(other, best), now_ns);
    }
}

/* Eighths of others that a command met. */
static uint64_t crowd_of(const kw_combining_span *span)
{
    return span->commands_n > 0 ? span->others_n * EIGHTHS / span->commands_n : 0;
}

/* A span between trials has ended. */
static void look_around(kw_combining *combining, uint64_t now_ns)
{
    const kw_combining_span *span = &combining->span;
    const kw_combining_span *usual = &combining->usual;
    uint64_t crowd_n = crowd_of(span);
    uint64_t usual_n = crowd_of(usual);
    if (crowd_n < CROWD_MIN) {
        combining->best = KW_COMBINING_BATCHES;
        combining->way = KW_COMBINING_BATCHES;
        combining->tried_n = 0;
        combining->due_ns = combining->early_ns;
        return;
    }
    /* What was found is of another crowd, or of processors that others did not want then. */
    bool is_odd = crowd_n > TIMES_OTHER * usual_n || TIMES_OTHER * crowd_n < usual_n ||
                  is_much_better(usual, span);
    combining->odd_n = is_odd ? combining->odd_n + 1 : 0;
    if (combining->odd_n == ODD_MAX) {
        combining->odd_n = 0;
        uint64_t soon_ns = kw_later(now_ns + PAUSE_MIN_NS, combining->early_ns);
        combining->due_ns = kw_sooner(combining->due_ns, soon_ns);
        combining->pause_ns = PAUSE_MIN_NS;
        combining->tried_n = 0;
    }
    if (now_ns >= combining->due_ns) {
        begin_trial(combining);
    }
}

void kw_combining_on_command(kw_combining *combining, size_t others_n, uint64_t now_ns)
{
    if (others_n == 0 && now_ns > combining->heard_ns + SILENCE_NS) {
        combining->begin_ns = 0; /* nobody has called: that says nothing */
    }
    combining->span.commands_n++;
    combining->span.others_n += others_n;
}

/* The other way's turn has lasted so much longer than the best one's that its end need not be
 * waited for. */
static bool is_lost(const kw_combining *combining)
{
    return combining->trial_at > 0 && combining->way == combining->other &&
           combining->span.len_ns > TIMES_MUCH * combining->trial[0].len_ns;
}

void kw_combining_on_answers(kw_combining *combining, size_t n, uint64_t now_ns)
{
    combining->heard_ns = now_ns;
    if (combining->begin_ns == 0) {
        begin_span(combining, now_ns);
        return;
    }
    combining->span.answers_n += n;
    combining->span.len_ns = now_ns - combining->begin_ns;
    bool is_whole = combining->span.len_ns >= SPAN_NS && combining->span.answers_n >= SPAN_N;
    if (!is_whole && !is_lost(combining)) {
        return;
    }
    if (combining->trial_at > 0) {
        end_turn(combining, now_ns);
    } else {
        look_around(combining, now_ns);
    }
    begin_span(combining, now_ns);
}

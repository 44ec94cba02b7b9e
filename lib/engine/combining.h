/* SPDX-License-Identifier: BSD-3-Clause */
/* Combining: how much the callers of one connection wait for each other, so that commands which
 * leave together share a system call, and answers which come together a wake-up. A batch may wait
 * for the first answer to the one before it; who sends it may first give the processor to callers
 * who were just answered, so that they join it; and who waits for an answer may give it up a few
 * times before it falls asleep. Where the callers are many and have the processors to themselves,
 * each of these brings more answers a second. Beside other programs, which keep for milliseconds
 * what is given up, each is a loss, and a great one. Which of the two it is shows only by
 * comparison: so now and then two ways take turns for some milliseconds, and the one that brings
 * more is kept.
 *
 * Trials begin when a crowd does, become rare while they change nothing, end early where a way is
 * much the worse, and come soon where the crowd has become another, or answers have become few.
 * Where commands meet few others there is no crowd, and nothing is tried. Commands that wait for a
 * batch are not behind a long reply, should there be one in it: so they do, unless it costs. It is
 * told of commands and answers, and decides; the caller's monitor guards it. */
#ifndef ENGINE_COMBINING_H
#define ENGINE_COMBINING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum kw_combining_way {
    KW_COMBINING_BATCHES, /* commands wait for the first answer to the batch before them */
    KW_COMBINING_GATHERS, /* also, who sends a batch gives the processor to those who may join it */
    KW_COMBINING_LOOKS,   /* also, who waits looks a few times before it falls asleep */
    KW_COMBINING_NONE     /* none of these: a command leaves at once */
} kw_combining_way;

#define KW_COMBINING_WAYS_N 4

/* So often at most the processor is given to others, by who sends and by who waits. */
#define KW_COMBINING_GATHERS_MAX 4u
#define KW_COMBINING_LOOKS_MAX   8u

/* Answers, and the time in which they came. */
typedef struct kw_combining_span {
    uint64_t answers_n;
    uint64_t commands_n; /* that came meanwhile */
    uint64_t others_n;   /* the sum of those that each of them met */
    uint64_t len_ns;
} kw_combining_span;

/* Starts as zero. */
typedef struct kw_combining {
    kw_combining_way way;   /* now */
    kw_combining_way best;  /* that is in use between trials */
    kw_combining_way other; /* with which the trial compares it; between trials, the last one did */
    unsigned trial_at;      /* the turn of the trial under way; 0: there is none */
    uint64_t begin_ns;      /* of the span under way; 0: none is */
    kw_combining_span span; /* the one under way */
    kw_combining_span trial[2]; /* what turns have brought: of the best way, of the other */
    kw_combining_span usual;    /* what the best way brought in the last trial */
    uint64_t heard_ns;          /* the last answers */
    uint64_t due_ns;            /* when two ways are compared next */
    uint64_t early_ns;          /* not before that, even where the crowd has become another */
    uint64_t pause_ns;          /* from one trial to the next; 0: there was none */
    unsigned odd_n;             /* spans in a row that were unlike the usual */
    unsigned tried_n; /* trials since the crowd is as it is: at first one follows the other */
} kw_combining;

/* A batch waits for the first answer to the one before it. */
static inline bool kw_combining_batches(const kw_combining *combining)
{
    return combining->way != KW_COMBINING_NONE;
}

/* How often who sends a batch gives the processor to others before. */
static inline unsigned kw_combining_gathers(const kw_combining *combining)
{
    bool gathers = combining->way == KW_COMBINING_GATHERS || combining->way == KW_COMBINING_LOOKS;
    return gathers ? KW_COMBINING_GATHERS_MAX : 0;
}

/* How often whoever begins to wait looks before it falls asleep. */
static inline unsigned kw_combining_looks(const kw_combining *combining)
{
    return combining->way == KW_COMBINING_LOOKS ? KW_COMBINING_LOOKS_MAX : 0;
}

/* A command begins its way: others_n are queued or under way. */
void kw_combining_on_command(kw_combining *combining, size_t others_n, uint64_t now_ns);

/* The connection is another one: what the span under way has seen says nothing. */
static inline void kw_combining_reset(kw_combining *combining)
{
    combining->begin_ns = 0;
}

/* n answers have come. */
void kw_combining_on_answers(kw_combining *combining, size_t n, uint64_t now_ns);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Resting: whether those who wait for answers on one connection look a few times by themselves,
 * giving the processor to others in between, before they fall asleep. Where the answer comes while
 * they look, a sleep and a wake-up are saved; where it does not, or other programs want the
 * processors, the looks are a loss. Which of the two it is shows only by comparison: so now and
 * then both ways take turns for some milliseconds, and the one that brings more answers a second is
 * kept.
 *
 * Trials become rare while they change nothing, and come soon where the crowd has become another.
 * Where answers come one by one there is no crowd, and nobody looks. It is told of answers, and
 * decides; the caller's monitor guards it. */
#ifndef ENGINE_RESTING_H
#define ENGINE_RESTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* So often at most whoever waits looks, in that way. */
#define KW_RESTING_LOOKS 8u

/* Answers, and the time in which they came. */
typedef struct kw_resting_span {
    uint64_t answers_n;
    uint64_t reads_n; /* that brought them */
    uint64_t len_ns;
} kw_resting_span;

/* Starts as zero. */
typedef struct kw_resting {
    bool is_looking;   /* now */
    bool looks_best;   /* the way that is in use between trials */
    unsigned trial_at; /* the turn of the trial under way; 0: there is none */
    uint64_t begin_ns; /* of the span under way; 0: none is */
    uint64_t heard_ns; /* its last answers */
    kw_resting_span span;
    kw_resting_span trial[2]; /* what turns have brought: of sleeping, of looking */
    uint64_t due_ns;          /* when both ways are compared next */
    uint64_t pause_ns;        /* from one trial to the next; 0: there was none */
    uint64_t together_n;      /* eighths of answers a read, when the last trial began */
} kw_resting;

/* How often whoever begins to wait looks before it falls asleep. */
static inline unsigned kw_resting_looks(const kw_resting *resting)
{
    return resting->is_looking ? KW_RESTING_LOOKS : 0;
}

/* n answers have come by one read. */
void kw_resting_on_answers(kw_resting *resting, size_t n, uint64_t now_ns);

#endif

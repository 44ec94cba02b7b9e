/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum: what its two sources share, quorum.c and quorum_phases.c. */
#ifndef ENGINE_QUORUM_PRIVATE_H
#define ENGINE_QUORUM_PRIVATE_H

#include "engine/quorum.h"

/* Copies counted by what is known of them in this round. */
typedef struct kw_quorum_tally {
    unsigned asked_n; /* DUE or ASKED */
    unsigned taken_n;
    unsigned refused_n;
    unsigned clean_n; /* refused, and never held the op's write */
    unsigned known_n; /* what they hold is known */
    unsigned exact_n; /* known to hold exactly the newest record */
    unsigned lost_n;
} kw_quorum_tally;

kw_quorum_tally kw_quorum_count(const kw_quorum_op *op);

/* True where the copies that differ may still agree by themselves: until_ns is set. */
bool kw_quorum_is_settling(kw_quorum_op *op, uint64_t now_ns);

/* A new round: every copy is to be asked. */
void kw_quorum_begin(kw_quorum_op *op, kw_quorum_phase phase, uint64_t now_ns);

/* Begins a plain write, or with is_balloting a ballot; after a pause where it is not the first
 * try. */
void kw_quorum_retry(kw_quorum_op *op, uint64_t now_ns, bool is_balloting);

void kw_quorum_finish(kw_quorum_op *op);
void kw_quorum_fail(kw_quorum_op *op, kw_effect effect, unsigned got_n, unsigned needed_n);

/* The newest record does not end before a SEAL. */
void kw_quorum_keep_newest(kw_quorum_op *op);

/* After the copy's answer: where it keeps what it was given, others have to as well. */
void kw_quorum_keep(kw_quorum_op *op, kw_quorum_copy *copy);

/* Of an op that is done: where all copies hold the record, what was kept may end. */
void kw_quorum_seal(kw_quorum_op *op);

/* READING: the copy was seen to hold the record. */
void kw_quorum_sight_add(kw_quorum_op *op, unsigned number, const kw_quorum_answer *answer);

/* What an answer, a loss or time means in the phase. */
void kw_quorum_weigh_reading(kw_quorum_op *op, uint64_t now_ns);
void kw_quorum_weigh_setting(kw_quorum_op *op, uint64_t now_ns);
void kw_quorum_weigh_preparing(kw_quorum_op *op, uint64_t now_ns);
void kw_quorum_weigh_accepting(kw_quorum_op *op, uint64_t now_ns);

#endif

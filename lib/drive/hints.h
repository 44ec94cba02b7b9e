/* SPDX-License-Identifier: BSD-3-Clause */
/* Hints: what a quorum exchange does for copies that are away, beside the calls that it carries: it
 * leaves hints, looks for some now and then, and hands them back. Nobody waits for it. */
#ifndef DRIVE_HINTS_H
#define DRIVE_HINTS_H

#include "drive/copy_request.h"
#include "drive/owed_replies.h"

#include <stdatomic.h>

typedef struct kw_hints {
    kw_topology *topology;
    kw_pipeline *pipeline; /* the exchange's, which carries the requests for hints */
    const kw_owed_replies *owed_replies;
    atomic_uint_fast64_t *look_ns;
    kw_copy_request *open; /* requests under way */
    size_t open_n;
    bool is_over; /* nothing is sent any more */
} kw_hints;

/* All are borrowed. look_ns: when hints are looked for next, by whichever exchange. */
void kw_hints_init(kw_hints *self, kw_pipeline *pipeline, const kw_owed_replies *owed_replies,
                   atomic_uint_fast64_t *look_ns);

/* Frees the requests that the pipeline, which is gone, has not ended. */
void kw_hints_fini(kw_hints *self);

/* Leaves as a hint what the call asked and a copy missed. request carried it; NULL: none did, and
 * the ask has all of the record. True where a hint is on its way. */
bool kw_hints_leave(kw_hints *hints, const kw_quorum_call *call, const kw_quorum_ask *ask,
                    const kw_copy_request *request, uint64_t now_ns);

/* Looks for hints at all nodes, for those that are up, when it is time. */
void kw_hints_look(kw_hints *self, uint64_t now_ns);

/* A request for hints is back; the caller frees it. */
void kw_hints_take_back(kw_hints *self, kw_copy_request *request, uint64_t now_ns);

#endif

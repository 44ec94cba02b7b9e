/* SPDX-License-Identifier: BSD-3-Clause */
/* Wait for acknowledgements: a write, and the question how many replicas have it, back to back on
 * one connection. */
#ifndef DRIVE_WAIT_ACKS_H
#define DRIVE_WAIT_ACKS_H

#include "drive/plan.h"

struct kw_followup;

/* True where the plan's command may write, so that there is something to wait for. */
bool kw_wait_acks_is_wanted(const kw_plan *plan, const kw_call_options *options);

/* Runs the command by its plan, with the followup in encoded and in the same write. */
kw_reply *kw_wait_acks_send(kw_topology *topology, kw_error *error, const kw_plan *plan,
                            kw_buf *encoded, struct kw_followup *followup);

/* Runs the command by its plan (of a kind that means one node), with WAIT or WAITAOF behind it
 * in encoded and in the same write. The reply is the command's; with too few acknowledgements
 * error is set as well (KW_ERR_DURABILITY). */
kw_reply *kw_wait_acks_run(kw_topology *topology, kw_error *error, const kw_plan *plan,
                           const kw_call_options *options, kw_buf *encoded);

#endif

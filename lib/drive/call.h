/* SPDX-License-Identifier: BSD-3-Clause */
/* Call: the blocking driver of the op machine. */
#ifndef DRIVE_CALL_H
#define DRIVE_CALL_H

#include "topology/topology.h"
#include "drive/plan.h"

/* Sends one encoded command by its plan (of kind SLOT, ANY or NODE) and waits for its
 * reply, the caller's to free; NULL with error set. */
kw_reply *kw_call_run(kw_topology *topology, kw_error *error, const kw_plan *plan,
                      kw_bytes encoded);

/* kw_call_run for a plan of kind ALL_PRIMARIES or ALL_NODES: all nodes at once, the replies
 * combined by the command's policy. */
kw_reply *kw_call_run_all(kw_topology *topology, kw_error *error, const kw_plan *plan,
                          kw_bytes encoded);

/* kw_call_run for a plan of kind SPLIT: one command a slot, all at once, the replies joined in the
 * order of the keys. */
kw_reply *kw_call_run_split(kw_topology *topology, kw_error *error, const kw_plan *plan,
                            const kw_bytes *argv, size_t argc);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Token: a write, and the question how far its primary is, back to back on one connection. */
#ifndef DRIVE_TOKEN_H
#define DRIVE_TOKEN_H

#include "drive/plan.h"

/* Runs the command by its plan (of a kind that means one node), and fills *options->token_out:
 * empty where INFO gave no offset. */
kw_reply *kw_token_run(kw_topology *topology, kw_error *error, const kw_plan *plan,
                       const kw_call_options *options, kw_buf *encoded);

#endif

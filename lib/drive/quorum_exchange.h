/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum exchange: carries what quorum ops ask to the copies and brings the answers back, for one
 * thread at a time. Connections, and answers that nobody waits for any more, stay with it
 * from call to call. */
#ifndef DRIVE_QUORUM_EXCHANGE_H
#define DRIVE_QUORUM_EXCHANGE_H

#include "drive/copy_request.h"

#include <stdatomic.h>

typedef struct kw_quorum_exchange kw_quorum_exchange;

/* look_ns: when hints are looked for next, of all exchanges together. NULL when there is no
 * memory. */
kw_quorum_exchange *kw_quorum_exchange_new(kw_topology *topology, atomic_uint_fast64_t *look_ns,
                                           const atomic_bool *closing);

/* NULL is allowed. Ends what is under way. */
void kw_quorum_exchange_free(kw_quorum_exchange *self);

/* Runs the calls, whose ops have started, until each has ended. */
void kw_quorum_exchange_run(kw_quorum_exchange *self, kw_quorum_call *const *calls, size_t calls_n,
                            uint64_t deadline_ns);

/* The call is over: frees the call, or keeps it until its last request is back. */
void kw_quorum_exchange_leave(kw_quorum_exchange *self, kw_quorum_call *call);

/* Memory for its calls. */
kw_quorum_blocks *kw_quorum_exchange_blocks(kw_quorum_exchange *self);

/* For a list of exchanges that have nothing to do. */
kw_quorum_exchange **kw_quorum_exchange_next(kw_quorum_exchange *self);

#endif

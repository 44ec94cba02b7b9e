/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum exchange: carries what quorum ops ask to the copies and brings the answers back, by one
 * thread at a time, for one caller or for more. Connections, and answers that nobody waits for any
 * more, stay with it from call to call. */
#ifndef DRIVE_QUORUM_EXCHANGE_H
#define DRIVE_QUORUM_EXCHANGE_H

#include "drive/copy_request.h"

#include <stdatomic.h>

typedef struct kw_quorum_exchange kw_quorum_exchange;

/* What one caller asks for together. */
typedef struct kw_quorum_group {
    struct kw_quorum_group *next; /* in the exchange's list */
    kw_quorum_call **calls;
    size_t calls_n;
    uint64_t deadline_ns;
} kw_quorum_group;

/* look_ns: when hints are looked for next, of all exchanges together. NULL when there is no
 * memory. */
kw_quorum_exchange *kw_quorum_exchange_new(kw_topology *topology, atomic_uint_fast64_t *look_ns,
                                           const atomic_bool *closing);

/* NULL is allowed. Ends what is under way. */
void kw_quorum_exchange_free(kw_quorum_exchange *self);

/* A thread begins to use it: its time is that of this moment, and goes on with each wait. */
void kw_quorum_exchange_begin(kw_quorum_exchange *self);
uint64_t kw_quorum_exchange_now(const kw_quorum_exchange *self);

/* Runs the group, whose ops have started, until each of its calls has ended. */
void kw_quorum_exchange_run(kw_quorum_exchange *self, kw_quorum_group *group);

/* What that consists of, where groups come and go while others are under way. */

/* One more group, whose ops have started; it stays where it is until it is taken. */
void kw_quorum_exchange_add(kw_quorum_exchange *self, kw_quorum_group *group);

/* Sends what is to be sent, and does what is due; never waits. */
void kw_quorum_exchange_advance(kw_quorum_exchange *self);

/* A group whose calls have ended, which is the caller's again; NULL: there is none. */
kw_quorum_group *kw_quorum_exchange_take_ended(kw_quorum_exchange *self);

/* Waits for answers, or until something is due. */
void kw_quorum_exchange_wait(kw_quorum_exchange *self);

/* The thread is about to leave: what nobody waits for, as repairs, hints and idle connections. */
void kw_quorum_exchange_rest(kw_quorum_exchange *self, uint64_t deadline_ns);

/* The call is over: frees the call, or keeps it until its last request is back. */
void kw_quorum_exchange_leave(kw_quorum_exchange *self, kw_quorum_call *call);

/* Memory for its calls. */
kw_quorum_blocks *kw_quorum_exchange_blocks(kw_quorum_exchange *self);

/* For a list of exchanges that have nothing to do. */
kw_quorum_exchange **kw_quorum_exchange_next(kw_quorum_exchange *self);

#endif

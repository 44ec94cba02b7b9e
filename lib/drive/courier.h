/* SPDX-License-Identifier: BSD-3-Clause */
/* Courier: carries what quorum ops ask to the copies and brings the answers back, for one
 * thread at a time. Connections, and answers that nobody waits for any more, stay with it
 * from call to call. */
#ifndef DRIVE_COURIER_H
#define DRIVE_COURIER_H

#include "drive/errand.h"

#include <stdatomic.h>

typedef struct kw_courier kw_courier;
/* look_ns: when hints are looked for next, of all couriers together. NULL when there is no
 * memory. */
kw_courier *kw_courier_new(kw_client *client, atomic_uint_fast64_t *look_ns);

/* NULL is allowed. Ends what is under way. */
void kw_courier_free(kw_courier *courier);

/* Runs the jobs, whose ops have started, until each has ended. */
void kw_courier_run(kw_courier *courier, kw_job *const *jobs, size_t jobs_n, uint64_t deadline_ns);

/* The call is over: frees the job, or keeps it until its last errand is back. */
void kw_courier_leave(kw_courier *courier, kw_job *job);

/* Sends it, or, when it is NULL, does not: false. */
bool kw_courier_send(kw_courier *courier, kw_errand *errand);

/* True for a node that is connected, and owes no answer that nobody waits for. */
bool kw_courier_is_up(kw_courier *courier, const kw_node *node);

/* For a list of couriers that have nothing to do. */
kw_courier **kw_courier_next(kw_courier *courier);

#endif

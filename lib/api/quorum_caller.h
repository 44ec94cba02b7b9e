/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum caller: the requests of one call to a quorum, on their way on an exchange. */
#ifndef API_QUORUM_CALLER_H
#define API_QUORUM_CALLER_H

#include <keyway/quorum.h>

#include "drive/quorum_exchange.h"
#include "net/wait_queue.h"

typedef enum kw_quorum_caller_state {
    KW_QUORUM_CALLER_NEW,
    KW_QUORUM_CALLER_QUEUED,  /* whoever carries others' calls has not taken it yet */
    KW_QUORUM_CALLER_CARRIED, /* its calls are under way, by whoever carries them */
    KW_QUORUM_CALLER_ENDED
} kw_quorum_caller_state;

/* quorum, requests, error, and of group its number and deadline are set; all else is zero. */
typedef struct kw_quorum_caller {
    kw_quorum_group group; /* first: the exchange's group is the caller; its calls: NULL, none */
    kw_quorum *quorum;
    const kw_quorum_request *requests;
    kw_error *error; /* NULL is allowed */
    kw_quorum_results *results;
    uint64_t ahead_n;             /* answers that told of versions which were not believed .. */
    kw_stamp ahead;               /* .. one of those .. */
    kw_node *ahead_node;          /* .. and who holds it: a reference; or NULL */
    kw_quorum_call *one;          /* memory of the group's calls, where there is but one */
    bool is_started;              /* the ops of its calls have */
    kw_quorum_caller_state state; /* the carrier's monitor guards what follows */
    kw_sleeper sleeper;
    struct kw_quorum_caller *next;
} kw_quorum_caller;

/* Memory for calls and results; false, with error set, when there is none. */
bool kw_quorum_caller_init(kw_quorum_caller *self);

/* Begins its calls, at the exchange's time; false, with error set, where one cannot have its
 * copies. */
bool kw_quorum_caller_start(kw_quorum_caller *self, kw_quorum_exchange *exchange);

/* Its calls have ended, or did not begin: takes their results. */
void kw_quorum_caller_end(kw_quorum_caller *self, kw_quorum_exchange *exchange);

/* The results; NULL where it has not begun. */
kw_quorum_results *kw_quorum_caller_fini(kw_quorum_caller *self);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum carrier: where many callers meet, one of them carries the calls of all on one exchange, so
 * that they share what is sent and received. The others sleep until theirs have ended; who has its
 * own leaves, and hands the exchange on. */
#ifndef API_QUORUM_CARRIER_H
#define API_QUORUM_CARRIER_H

#include "api/quorum_caller.h"
#include "net/leader.h"

/* The monitor of the quorum's exchanges guards it. Starts as zero. */
typedef struct kw_quorum_carrier {
    kw_leader leader;             /* who carries; its followers sleep */
    kw_quorum_exchange *exchange; /* on which; NULL: none */
    kw_quorum_caller *queue;      /* not taken yet, the first one first */
    kw_quorum_caller *last;
    size_t carried_n;
    uint64_t waiting_ns; /* since when the leader waits for answers; 0: it does not */
    uint64_t wait_ns;    /* how long such a wait was lately */
} kw_quorum_carrier;

/* True: the caller has ended. False: it is to have an exchange of its own, *own, or where that is
 * NULL to wait for one. */
bool kw_quorum_carrier_carry(kw_quorum *quorum, kw_quorum_caller *caller, kw_quorum_exchange **own,
                             uint64_t now_ns);

#endif

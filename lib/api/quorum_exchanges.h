/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum exchanges: those that threads take turns with. Each has a connection to each node, so that
 * there are at most pool-max of them, and further callers wait. */
#ifndef API_QUORUM_EXCHANGES_H
#define API_QUORUM_EXCHANGES_H

#include "api/client.h"
#include "drive/quorum_exchange.h"

typedef struct kw_quorum_exchanges {
    kw_client *client;
    atomic_uint_fast64_t look_ns; /* when hints are looked for next */
    kw_monitor monitor;           /* guards what follows */
    uint64_t n;                   /* made so far */
    uint64_t callers_n;           /* who have one, wait for one or share one */
    kw_quorum_exchange *idle;     /* exchanges without a caller, the last one used first */
} kw_quorum_exchanges;

/* KW_ERR_NOMEM. */
kw_err kw_quorum_exchanges_init(kw_quorum_exchanges *self, kw_client *client);

/* Nobody has one. is_inside: the connections are this process' own, and are closed. */
void kw_quorum_exchanges_fini(kw_quorum_exchanges *self, bool is_inside);

/* For one more caller: an idle exchange or a new one. NULL, with error set: the deadline, the
 * handle is closed, or no memory. */
kw_quorum_exchange *kw_quorum_exchanges_acquire(kw_quorum_exchanges *self, kw_error *error,
                                                uint64_t deadline_ns);
void kw_quorum_exchanges_release(kw_quorum_exchanges *self, kw_quorum_exchange *exchange);

/* For callers who are counted already; the monitor is held. NULL: there is none now. */
kw_quorum_exchange *kw_quorum_exchanges_take(kw_quorum_exchanges *self);
void kw_quorum_exchanges_give(kw_quorum_exchanges *self, kw_quorum_exchange *exchange);

#endif

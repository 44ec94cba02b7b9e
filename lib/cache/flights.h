/* SPDX-License-Identifier: BSD-3-Clause */
/* Flights: loads of this process, and its waits for those of others. Of the callers that want one
 * key under one lease one does the work, and the others have its result. */
#ifndef CACHE_FLIGHTS_H
#define CACHE_FLIGHTS_H

#include "cache/blob.h"
#include "cache/lease.h"
#include "net/poller.h"
#include "net/sync.h"

/* Callers that wait at a time, at most: who comes then is told that too much is under way. */
#define KW_FLIGHTS_WAITERS_MAX 10000

#define KW_FLIGHTS_BUCKETS 256

typedef enum kw_flight_state {
    KW_FLIGHT_OPEN,
    KW_FLIGHT_DONE,   /* blob, or NULL: there is no value */
    KW_FLIGHT_FAILED, /* failure says why */
    KW_FLIGHT_LEFT    /* who did the work has gone: whoever wants the value looks again */
} kw_flight_state;

typedef struct kw_flight {
    struct kw_flight *next;
    size_t refs;           /* guarded by the monitor, as all below */
    uint64_t hash;         /* of the key */
    kw_lease_token token;  /* of the lease that it goes by; zeros: none, as no server answers */
    kw_flight_state state; /* what follows is set with it */
    kw_blob *blob;         /* a reference */
    bool is_stale;         /* blob is an old value */
    bool is_offered;       /* offered (a reference, or NULL: no value) is given from offer_ns on */
    kw_blob *offered;
    uint64_t offer_ns;
    uint64_t renew_ns; /* when one who waits renews the lease; UINT64_MAX: it is not ours */
    kw_error failure;
    size_t key_len;
    char key[];
} kw_flight;

typedef struct kw_flights {
    kw_allocator mem;
    kw_monitor monitor;
    kw_flight *buckets[KW_FLIGHTS_BUCKETS]; /* open ones */
    size_t waiters_n;
    uint64_t loads_n; /* under way */
    uint64_t loads_max;
    kw_poller *loop; /* woken as those who wait are; NULL: none */
} kw_flights;

/* KW_ERR_NOMEM. */
kw_err kw_flights_init(kw_flights *flights, const kw_allocator *mem, uint64_t loads_max);
void kw_flights_fini(kw_flights *flights);

/* The flight of key and token, with a reference; *leads: it is new, and the caller's to end. NULL
 * where there is no memory. */
kw_flight *kw_flights_join(kw_flights *flights, bool *leads, kw_bytes key,
                           const kw_lease_token *token);

/* A flight of the caller's own lease, with a reference, the caller's to end: a new one, also where
 * somebody was told of the lease before this, and waits for it in a flight of his own. */
kw_flight *kw_flights_begin(kw_flights *flights, kw_bytes key, const kw_lease_token *token);

/* Who waited for somebody else's lease has got its own, renewed at renew_ns. */
void kw_flights_take(kw_flights *flights, kw_flight *flight, const kw_lease_token *token,
                     uint64_t renew_ns);

/* KW_ERR_QUEUE_FULL where too many wait. Else kw_flights_wait as often as wanted, and leave. */
kw_err kw_flights_enter(kw_flights *flights);
void kw_flights_leave(kw_flights *flights);

/* At now_ns, by which what was offered may have ended it. */
kw_flight_state kw_flights_state(kw_flights *flights, kw_flight *flight, uint64_t now_ns);

/* Has been loaded, and is being stored: who waits is given it (NULL: there is no value) where that
 * takes until offer_ns. */
void kw_flights_offer(kw_flights *flights, kw_flight *flight, kw_blob *blob, uint64_t offer_ns);

/* Waits for the flight's end, or where wants_place for a place among the loads, or for wait_ns of
 * real time, or less. */
void kw_flights_wait(kw_flights *flights, kw_flight *flight, uint64_t wait_ns, bool wants_place);

/* Wakes the loop as well from now on, whose owner looks at the flights then. NULL: not any more. */
void kw_flights_set_loop(kw_flights *flights, kw_poller *loop);

/* True for one of those who wait: the lease is to be renewed now, and then at next_ns. */
bool kw_flights_claim_renewal(kw_flights *flights, kw_flight *flight, uint64_t now_ns,
                              uint64_t next_ns);

/* How a flight ended. */
typedef struct kw_flight_end {
    kw_flight_state state;
    kw_blob *blob; /* borrowed */
    bool is_stale;
    const kw_error *failure; /* of FAILED */
} kw_flight_end;

/* Ends it for all who wait, where it has not ended yet. */
void kw_flights_end(kw_flights *flights, kw_flight *flight, const kw_flight_end *end);

/* Lets go of the reference. */
void kw_flights_unref(kw_flights *flights, kw_flight *flight);

/* A place among the loads under way; false: there is none yet. */
bool kw_flights_begin_load(kw_flights *flights);
void kw_flights_end_load(kw_flights *flights);

/* Loads under way now. */
uint64_t kw_flights_loading(kw_flights *flights);

#endif

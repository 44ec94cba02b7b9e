/* SPDX-License-Identifier: BSD-3-Clause */
/* Track pair: the two connections to one server by which values may be near. */
#ifndef CACHE_TRACK_PAIR_H
#define CACHE_TRACK_PAIR_H

#include "cache/track_read.h"
#include "net/node.h"

typedef enum kw_track_state {
    KW_TRACK_DOWN,    /* nothing is open */
    KW_TRACK_HEARING, /* the connection for messages is being opened */
    KW_TRACK_PLAIN,   /* it is told to speak RESP2, where the handle has RESP3 */
    KW_TRACK_ASKING,  /* it is asked for its number */
    KW_TRACK_READING, /* the connection for reads is being opened */
    KW_TRACK_TURNING, /* it is told to track */
    KW_TRACK_READY
} kw_track_state;

/* Who leads has all of it, but for what the monitor guards. */
typedef struct kw_track_pair {
    kw_near *near;
    kw_node *node;   /* a reference; NULL: the place is free. Guarded by the tracker's monitor */
    bool is_leaving; /* it is given up, with its node. Likewise */
    atomic_uint users_n; /* reads that are under way; begun with the tracker's monitor held */
    uint16_t at;         /* in near->pairs */
    const atomic_bool *closing; /* kw_env_is_closing: of the cache's handle */
    kw_conn *data;
    kw_conn *inval;
    bool is_data_known; /* the node knows that it became ready */
    bool is_inval_known;
    bool is_subscribed;
    kw_track_state step;
    kw_request request;            /* of the opening, and pings on data */
    char text[96];                 /* its bytes */
    uint64_t retry_ns;             /* not opened before */
    uint64_t begun_ns;             /* when opening began, by the handle's clock */
    atomic_uint_fast64_t asked_ns; /* the time that a proof is asked for; 0: none is */
    uint64_t pinged_ns; /* of the pings that are out: when the pings were sent, by the tracker's
                           clock; 0: none is out */
    bool has_pong;
    uint64_t heard_ns;     /* when messages were looked for last */
    bool is_refused;       /* the server does not track for us */
    bool is_lone;          /* it knew nothing of the connection for messages, the last time */
    atomic_bool is_on;     /* its last proof came in time: values may be near, as the host knows */
    kw_track_reads flight; /* on the connection, in their order */
    kw_monitor monitor;
    bool is_led;
    atomic_bool is_ready;
    kw_track_reads pending; /* not taken yet */
} kw_track_pair;

/* KW_ERR_NOMEM. */
kw_err kw_track_pair_init(kw_track_pair *pair, kw_near *near, const atomic_bool *closing,
                          uint16_t at);
void kw_track_pair_fini(kw_track_pair *pair);

/* Leads for one turn: opens, sends what is pending, hears, reads; waits for wait_ms at the most.
 * False where another thread leads. */
bool kw_track_pair_turn(kw_track_pair *pair, int wait_ms);

/* Gives a read over; false where the pair is not ready. The caller's reference stays its own. */
bool kw_track_pair_submit(kw_track_pair *pair, kw_track_read *read);

/* Sends what was given over, where nobody does. */
void kw_track_pair_send(kw_track_pair *pair);

/* Waits for the end of a read that was given over; false where it has none by deadline_ns of the
 * handle's clock, or is lost, or the handle is being closed. */
bool kw_track_pair_await(kw_track_pair *pair, kw_track_read *read, uint64_t deadline_ns);

typedef enum kw_track_read_end {
    KW_TRACK_READ_OPEN,
    KW_TRACK_READ_ANSWERED,
    KW_TRACK_READ_LOST
} kw_track_read_end;

kw_track_read_end kw_track_pair_has_ended(kw_track_pair *pair, const kw_track_read *read);

/* It is not waited for any more. */
void kw_track_pair_give_up(kw_track_pair *pair, kw_track_read *read);

/* Waits for wait_ms of real time, or less, where another thread leads. */
void kw_track_pair_pass(kw_track_pair *pair, int wait_ms);

void kw_track_read_unref(kw_track_pair *pair, kw_track_read *read);

/* Ends what is on it and all its values; the node stays its. */
void kw_track_pair_close(kw_track_pair *pair);

/* The time for proofs. */
uint64_t kw_track_now(const kw_env *env);

#endif

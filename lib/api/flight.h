/* Flight: one command on its way: on a lane with those of other threads, or on a pooled
 * connection of its own. It follows its op, whoever waits for it, and whenever. */
#ifndef API_FLIGHT_H
#define API_FLIGHT_H

#include "api/await.h"
#include "net/lane.h"

/* Used by one thread at a time, in memory that does not move. */
typedef struct kw_flight {
    kw_await await;
    kw_op op;
    kw_waiter waiter; /* its request: the command */
    kw_node *node;    /* the last one sent to: a reference */
    kw_conn *conn;    /* its own; NULL: none */
    bool is_on_lane;
    bool was_ready;  /* conn, when it was acquired */
    bool is_patient; /* somebody may wait later, or never: the flight does not read */
    kw_step step;    /* where it is not under way: what is next, or how it has ended */
} kw_flight;

/* plan and the encoded bytes stay until the flight has ended. */
void kw_flight_init(kw_flight *flight, kw_client *client, const kw_plan *plan, kw_bytes encoded);

/* Sends the command, and waits for no more than room and connections: until until_ns. */
void kw_flight_launch(kw_flight *flight, uint64_t until_ns);

/* Goes on until the command has ended: true. False: until_ns has come before its deadline. */
bool kw_flight_wait(kw_flight *flight, uint64_t until_ns);

static inline bool kw_flight_has_ended(const kw_flight *flight)
{
    return flight->step.kind == KW_STEP_DONE || flight->step.kind == KW_STEP_FAIL;
}

/* The reply of a flight that has ended, the caller's to free; or NULL, with error set. */
kw_reply *kw_flight_take(kw_flight *flight, kw_error *error);

/* Gives up what is under way. */
void kw_flight_fini(kw_flight *flight);

#endif

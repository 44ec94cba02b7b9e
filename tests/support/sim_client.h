/* SPDX-License-Identifier: BSD-3-Clause */
/* Sim client: a driver of the engine's machines (op, refresh, health) against the small
 * cluster of sim.h, which keeps count of what really ran and says when it broke a rule. */
#ifndef SUPPORT_SIM_CLIENT_H
#define SUPPORT_SIM_CLIENT_H

#include "engine/health.h"
#include "engine/op.h"
#include "engine/refresh.h"
#include "support/sim.h"

#define KW_SIM_OPS 56u

/* Mistakes that a driver could make. */
typedef enum kw_sim_mistake {
    KW_SIM_SOUND,
    KW_SIM_DENIES_SENDING,  /* a lost connection: says that nothing had left */
    KW_SIM_DENIES_LATENESS, /* a deadline: says that nothing had left */
    KW_SIM_SENDS_AGAIN,     /* a write whose outcome is unknown goes out once more */
    KW_SIM_OVERSLEEPS,      /* does not look at the deadline of what is under way */
    KW_SIM_FETCHES_AT_ONCE, /* does not ask when the next fetch may start */
    KW_SIM_DIALS_AT_ONCE,   /* does not ask whether a node may be dialled */
    KW_SIM_MISTAKES
} kw_sim_mistake;

/* One command on its way. */
typedef struct kw_sim_packet {
    unsigned node;
    unsigned generation; /* of the node's connections */
    bool is_asking;
    kw_sim_answer answer;
} kw_sim_packet;

typedef enum kw_sim_phase {
    KW_SIM_IDLE,
    KW_SIM_DIALLING,
    KW_SIM_IN_FLIGHT,
    KW_SIM_SLEEPING,
    KW_SIM_FETCHING,
    KW_SIM_ENDED
} kw_sim_phase;

typedef struct kw_sim_op {
    kw_op op;
    kw_endpoint target; /* the op's */
    kw_op_spec spec;
    uint64_t begin_ns;
    uint64_t end_ns;
    kw_sim_phase phase;
    kw_step step; /* the last one */
    unsigned turn_n;
    unsigned redirects_n; /* sends in a row that were redirected */
    uint64_t fetch_n;     /* FETCHING: number of the fetch */
    unsigned sends_n;
    unsigned runs_n; /* how often a server ran it */
    kw_sim_packet packets[KW_OP_SENDS_MAX + 1];
} kw_sim_op;

typedef struct kw_sim_client {
    kw_sim *sim;
    kw_sim_mistake mistake;
    kw_refresh_policy refresh;
    kw_health healths[KW_SIM_NODES];
    unsigned dials_n[KW_SIM_NODES]; /* under way */
    unsigned idle_n[KW_SIM_NODES];  /* connections */
    unsigned generation[KW_SIM_NODES];
    uint8_t view[KW_SIM_SLOTS]; /* the map */
    bool has_map;
    kw_refresh_candidate order[KW_SIM_NODES];
    uint64_t fetched_ns; /* when the last fetch began */
    uint64_t fetches_n;
    kw_sim_op ops[KW_SIM_OPS];
    const char *fault; /* the first rule that was broken, or NULL */
} kw_sim_client;

void kw_sim_client_init(kw_sim_client *client, kw_sim *sim, kw_sim_mistake mistake);

/* Op number index begins then; not before this is called. */
void kw_sim_client_plan(kw_sim_client *client, unsigned index, uint64_t begin_ns,
                        const kw_op_spec *spec);

void kw_sim_client_on_event(kw_sim_client *client, const kw_sim_event *event);

#endif

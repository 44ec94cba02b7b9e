/* SPDX-License-Identifier: BSD-3-Clause */
/* Driver: what every driver of the op machine does alike, whether it waits for one command
 * or for thousands. */
#ifndef DRIVE_DRIVER_H
#define DRIVE_DRIVER_H

#include "topology/topology.h"
#include "drive/observer.h"
#include "drive/plan.h"
#include "engine/op.h"

/* True where a map can be fetched. */
static inline bool kw_driver_has_map(const kw_topology *topology)
{
    return kw_env_has_fetch(&topology->env);
}

/* True where keys live in slots. */
static inline bool kw_driver_has_slots(const kw_topology *topology)
{
    return topology->env.options.scheme == KW_SCHEME_CLUSTER;
}

/* What the op of the plan is to know. */
void kw_driver_spec(const kw_topology *topology, kw_op_spec *spec, const kw_plan *plan);

/* The primary that the snapshot has for the plan; NULL: none. */
kw_node *kw_driver_look_for_primary(const kw_snapshot *snapshot, const kw_plan *plan,
                                    kw_random *random);

/* kw_driver_look for what is not simply at a slot's primary. */
kw_node *kw_driver_look_further(const kw_snapshot *snapshot, const kw_plan *plan,
                                kw_random *random);

/* The node that a plan means by the snapshot, borrowed; NULL where it has none, and where
 * kw_driver_choose has to say why. */
static inline kw_node *kw_driver_look(const kw_snapshot *snapshot, const kw_plan *plan,
                                      kw_random *random)
{
    return plan->kind == KW_PLAN_SLOT && plan->read == KW_READ_OF_PRIMARY
               ? kw_snapshot_owner(snapshot, plan->slot)
               : kw_driver_look_further(snapshot, plan, random);
}

/* A reference to the node that a SEND step means; NULL where the map has none. */
kw_node *kw_driver_choose(kw_topology *topology, const kw_plan *plan, kw_op *op,
                          const kw_step *step);

/* Tells a new op which node its command went to; NULL: to none yet. */
void kw_driver_note_node(kw_op *op, const kw_plan *plan, const kw_node *node);

/* Tells the op that kw_driver_choose found no node. */
kw_step kw_driver_on_unserved(kw_topology *topology, const kw_plan *plan, kw_op *op,
                              uint64_t now_ns);

/* There is no map yet: one is waited for, unless fetches have failed for long. */
kw_step kw_driver_on_mapless(kw_topology *topology, kw_op *op, uint64_t now_ns);

/* The step again, or an end where it would wait for a node that is down. node: the one that the
 * command was at; may be NULL. */
kw_step kw_driver_temper(kw_topology *topology, kw_op *op, kw_node *node, kw_step step);

/* True where the primary that is known is none, or cannot be reached (obstacle), and no sentinel
 * knows the group's name any more: only who configures them can help. */
bool kw_driver_is_nameless(kw_topology *topology, kw_err obstacle);

/* Does what a step asks for on the side. op may be NULL where it ends. */
void kw_driver_heed_more(kw_topology *topology, kw_op *op, const kw_step *step);
static inline void kw_driver_heed(kw_topology *topology, kw_op *op, const kw_step *step)
{
    const kw_env *env = &topology->env;
    bool is_idle = !step->is_patch && !step->wants_refresh && !kw_topology_is_watching(topology) &&
                   atomic_load_explicit(&env->lag_ns, memory_order_relaxed) == UINT64_MAX;
    if (!is_idle) { /* most steps ask for nothing */
        kw_driver_heed_more(topology, op, step);
    }
}

/* Counts what the server answered in place of a reply, and asks for a map where it was MOVED. */
void kw_driver_count_verdict(kw_topology *topology, kw_node *node, kw_verdict_kind kind);

/* Under Sentinel READONLY, or REDIRECT, says that a primary became a replica: its connections are
 * given up (kw_node_on_readonly), and the sentinels asked, whoever the reply is for. */
void kw_driver_heed_readonly(kw_topology *topology, kw_node *node, const kw_reply *reply);

/* A fetch that the op waited for has ended with code. */
kw_step kw_driver_on_refreshed(kw_topology *topology, kw_op *op, uint64_t now_ns, kw_err code);

/* What a node has answered. */
typedef struct kw_driver_answer {
    kw_node *node;
    uint64_t now_ns;
    kw_request *request; /* has the reply, which is freed where it is not the caller's */
    kw_error *failure;   /* gets the server's words then */
} kw_driver_answer;

/* What the answer means for the op; it is the caller's where the step is DONE. Counts it. An op
 * without a place for a target gets one where it needs it: the caller frees it. */
kw_step kw_driver_on_reply(kw_topology *topology, const kw_plan *plan, kw_op *op,
                           const kw_driver_answer *answer);

/* What it means for the op, and for the node, that a try ended without a reply. node is NULL only
 * where nothing has left. */
kw_step kw_driver_on_failed(kw_topology *topology, kw_op *op, kw_node *node, uint64_t now_ns,
                            const kw_try_end *end);

/* True for a node that is read from in the place of a primary. */
static inline bool kw_driver_is_replica(const kw_node *node)
{
    int role = atomic_load_explicit(&node->role, memory_order_relaxed);
    return role == KW_CONN_REPLICA || role == KW_CONN_GROUP_REPLICA;
}

/* When the map was published by which another node owns what was sent to this one; 0: it is
 * where it belongs. */
uint64_t kw_driver_lost_ns(kw_topology *topology, const kw_plan *plan, kw_node *node,
                           bool is_asking);

/* The story of a command that failed. node may be NULL. */
typedef struct kw_driver_story {
    const kw_plan *plan;
    const kw_step *step;     /* FAIL */
    const kw_error *failure; /* what stood in the way last */
    const kw_node *node;     /* the last one; or NULL */
    unsigned sends_n;
} kw_driver_story;

/* A story of which all is at hand. */
typedef struct kw_driver_told {
    const kw_plan *plan;
    const kw_step *step; /* FAIL */
    const char *node;    /* "" where there is none */
    const char *detail;
    bool has_slots;
    bool is_ring;
} kw_driver_told;

void kw_driver_tell(kw_error *error, const kw_driver_told *told);

void kw_driver_explain(kw_topology *topology, kw_error *error, const kw_driver_story *story);

/* What a detail begins with that says all: the code's text is left out. */
#define KW_DRIVER_GIVEN_BEHIND "given behind "

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Sim: a small cluster in a few arrays, with a virtual clock and one seed, no sockets and
 * no threads. Nodes 0 .. 2 begin as primaries, node i + 3 is the replica of node i. Nodes
 * die, hang, come back, are replaced, hand slots over and believe what is out of date. */
#ifndef SUPPORT_SIM_H
#define SUPPORT_SIM_H

#include "base/random.h"
#include "engine/verdict.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KW_SIM_NODES  6u
#define KW_SIM_SLOTS  16u
#define KW_SIM_NOBODY UINT8_MAX
#define KW_SIM_MS     ((uint64_t)1000000)

typedef enum kw_sim_kind {
    /* of the servers */
    KW_SIM_LEARN,   /* a: node, which hears who owns what */
    KW_SIM_PROMOTE, /* a: node whose replica takes over, b: its generation when it fell */
    KW_SIM_BACK,    /* a: node that comes back */
    KW_SIM_HANDED,  /* a: slot whose migration ends */
    KW_SIM_TROUBLE, /* something bad happens */
    KW_SIM_PEACE,   /* and no more of it: all nodes come back, migrations end, and within
                       200 ms everybody is ready and knows the truth */
    /* of the client */
    KW_SIM_BEGIN,    /* a: op */
    KW_SIM_DEADLINE, /* a: op */
    KW_SIM_WAKE,     /* a: op, b: its turn */
    KW_SIM_DIALLED,  /* a: op, b: its turn, node: where to */
    KW_SIM_ARRIVES,  /* a: op, b: its send */
    KW_SIM_REPLY,    /* a: op, b: its send */
    KW_SIM_FETCH,    /* a map may be due */
    KW_SIM_ASKED     /* a: place in the order of nodes that are asked for a map */
} kw_sim_kind;

typedef struct kw_sim_event {
    uint64_t at_ns;
    uint64_t number; /* events of one moment come in the order in which they were made */
    kw_sim_kind kind;
    unsigned a;
    unsigned b;
    unsigned node;
} kw_sim_event;

#define KW_SIM_EVENTS_MAX 4096u

/* A heap: the earliest event is the first. */
typedef struct kw_sim_queue {
    uint64_t now_ns;
    uint64_t made_n;
    size_t events_n;
    kw_sim_event events[KW_SIM_EVENTS_MAX];
} kw_sim_queue;

void kw_sim_push(kw_sim_queue *queue, uint64_t at_ns, kw_sim_event event);

/* Takes the earliest event and sets the clock to it; false where there is none. */
bool kw_sim_pop(kw_sim_queue *queue, kw_sim_event *event);

typedef enum kw_sim_state {
    KW_SIM_UP,
    KW_SIM_DEAD, /* refuses connections */
    KW_SIM_HUNG  /* takes them, and bytes, and does nothing until it is up */
} kw_sim_state;

typedef enum kw_sim_mood {
    KW_SIM_WILD,  /* anything may happen */
    KW_SIM_MOVES, /* slots are handed over, and nothing goes wrong */
    KW_SIM_CALM   /* nothing happens */
} kw_sim_mood;

typedef struct kw_sim_node {
    kw_sim_state state;
    unsigned generation; /* of its connections: one more when all of them are lost */
    uint64_t loading_ns; /* until then it reads its data set */
    uint8_t view[KW_SIM_SLOTS];
} kw_sim_node;

typedef struct kw_sim {
    kw_random random;
    kw_sim_queue queue;
    kw_sim_node nodes[KW_SIM_NODES];
    uint8_t owners[KW_SIM_SLOTS];  /* the truth */
    uint8_t targets[KW_SIM_SLOTS]; /* of migrations, or KW_SIM_NOBODY */
    uint64_t pace_ms;              /* longest pause between two troubles */
    kw_sim_mood mood;
} kw_sim;

void kw_sim_init(kw_sim *sim, uint64_t seed, kw_sim_mood mood);

/* True once in n, where anything may happen. */
bool kw_sim_chance(kw_sim *sim, unsigned n);

/* A number in low .. high. */
uint64_t kw_sim_between(kw_sim *sim, uint64_t low, uint64_t high);

/* Does an event of the servers; false where it is one of the client. */
bool kw_sim_on_event(kw_sim *sim, const kw_sim_event *event);

/* What a node that is up says to a command for slot. FINAL: it ran it. */
typedef struct kw_sim_answer {
    kw_verdict_kind kind;
    unsigned target; /* of MOVED and ASK; KW_SIM_NOBODY: "?" */
} kw_sim_answer;

kw_sim_answer kw_sim_run(kw_sim *sim, unsigned node, unsigned slot, bool is_asking);

#endif

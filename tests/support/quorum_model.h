/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum model: one key, a few copies, and clients that run the real quorum ops; every event
 * is a step of its own, and all their orders are walked through, or some by chance. What
 * clients were told has to be what one register could have told.
 *
 * Events: a request reaches a copy, an answer its client; a message is lost, doubled (it reaches
 * its copy, and once more later: the answer is that of the first time, since a client sends what
 * may have run on one connection and only once), or late (its client gives it up, and it comes all
 * the same); an op's time comes, or its deadline; a
 * client dies; the life of a value ends on one copy; what remembers it, or a tombstone or a
 * promise, ends on one copy; a copy stops, comes back with its data, empty, or with what it
 * held earlier; a member joins; a hint is left and handed over; a clock is behind, ahead, or far
 * beyond.
 *
 * What is assumed is built in: what remembers something on a copy does not end before the
 * calls that were under way when it was set, and their messages, are gone; nor before the life
 * of a value has ended on all copies; copies' clocks are then beyond the version that it was. */
#ifndef SUPPORT_QUORUM_MODEL_H
#define SUPPORT_QUORUM_MODEL_H

#include "engine/quorum.h"
#include "support/history.h"

#define KW_MODEL_CLIENTS_MAX 4u
#define KW_MODEL_COPIES_MAX  5u
#define KW_MODEL_ACTS_MAX    4u /* of a client */

typedef enum kw_model_act {
    KW_MODEL_NONE,
    KW_MODEL_GET,
    KW_MODEL_SET,
    KW_MODEL_SET_TTL,
    KW_MODEL_DELETE,
    KW_MODEL_ADD,     /* a set where there is no value */
    KW_MODEL_ADD_TTL, /* and with a life */
    KW_MODEL_SWAP,    /* a set where the first value still is */
    KW_MODEL_DELETE_IF,
    KW_MODEL_REPAIR
} kw_model_act;

/* What copies hold at first. */
typedef enum kw_model_start {
    KW_MODEL_EMPTY,
    KW_MODEL_VALUE,  /* all of them a value */
    KW_MODEL_MORTAL, /* one with a life */
    KW_MODEL_ENDING, /* a tombstone that is about to end */
    KW_MODEL_BEHIND, /* a value, and the last copy an older one */
    KW_MODEL_ALONE,  /* nothing, but the last copy a value whose writer died */
    KW_MODEL_MAD,    /* a value, but the last copy a version beyond all bounds */
    KW_MODEL_STARTS_N
} kw_model_start;

typedef enum kw_model_fault {
    KW_MODEL_LOSS = 1,
    KW_MODEL_DOUBLE = 2,
    KW_MODEL_LATE = 4,
    KW_MODEL_DEADLINE = 8,
    KW_MODEL_DEATH = 16,
    KW_MODEL_STOP = 32,  /* and back with its data */
    KW_MODEL_WIPE = 64,  /* and back without, kept out by the guard until a repair */
    KW_MODEL_DUMP = 128, /* and back with older data, kept out until a repair */
    KW_MODEL_HINT = 256, /* a loss, and a hint of what was lost */
    KW_MODEL_ALL_FAULTS = 511
} kw_model_fault;

/* Faults planted for the model to find. */
typedef enum kw_model_planted {
    KW_MODEL_SOUND,
    KW_MODEL_NO_FLOOR,         /* copies forget what came by other hands */
    KW_MODEL_NO_WRITE_BACK,    /* a read is done at one copy */
    KW_MODEL_PROMISE_EXPIRES,  /* a promise ends with what was there before it */
    KW_MODEL_NO_VERSION_CHECK, /* a copy takes every write */
    KW_MODEL_ONE_WRITE,        /* a write is done at one copy */
    KW_MODEL_SHORT_TOMBSTONE,  /* a tombstone ends before a hint does */
    KW_MODEL_NO_BRINGING_HOME, /* a tombstone ends though a copy has missed it */
    KW_MODEL_STAMP_UNCHECKED,  /* versions are given beyond what readers take */
    KW_MODEL_REFUSAL_EXPIRES,  /* what a refusal was built on ends at its old time */
    KW_MODEL_CLOCK_UNCHECKED,  /* versions are taken that are older than what has ended */
    KW_MODEL_UNREPAIRED,       /* a member that joins answers before it is repaired */
    KW_MODEL_BLIND_REPAIR,     /* a repair puts a copy into service that has lost its data since */
    KW_MODEL_HASTY_REPAIR,     /* one begins while calls are under way that counted what was lost */
    KW_MODEL_BASE_ENDS,        /* a value ends, whatever a swap may have left on top of it */
    KW_MODEL_PLANTED_N
} kw_model_planted;

typedef struct kw_model_setup {
    unsigned copies_n;
    unsigned write_n;
    unsigned read_n;
    kw_model_start start;
    kw_model_act acts[KW_MODEL_CLIENTS_MAX][KW_MODEL_ACTS_MAX];
    unsigned faults_n; /* at most so many happen .. */
    unsigned faults;   /* .. of these kinds */
    unsigned ends_n;   /* ends of lives, and of what remembers */
    unsigned rounds_n; /* of an op; beyond that a walk is not followed */
    unsigned looks_n;  /* reads at the end */
    bool has_join;     /* a member joins: the last copy's place goes over to it, process by process,
                          and a repair begins when all know; it is silent until that is done */
    bool has_mad_clock; /* of the first client */
    bool is_plain;      /* every order of all events, and every difference of states: nothing of
                           quorum_model_reduce.c is spared */
    kw_model_planted planted;
    uint64_t states_max;
} kw_model_setup;

typedef struct kw_model_result {
    uint64_t states_n;
    uint64_t steps_n;
    uint64_t checks_n; /* histories judged */
    uint64_t told_n;   /* different ones, what clients were told .. */
    uint64_t told_sum; /* .. and all of them as one number, whatever their order */
    uint64_t cut_n;    /* walks that were not followed */
    uint64_t ops_n;    /* ended, by chance */
    bool has_violation;
    bool is_whole; /* all there is was walked through */
    char story[16384];
} kw_model_result;

const char *kw_model_planted_name(kw_model_planted planted);
const char *kw_model_start_name(kw_model_start start);
const char *kw_model_act_name(kw_model_act act);

/* Walks through all there is, or up to states_max, or to the first violation. */
void kw_model_explore(kw_model_result *result, const kw_model_setup *setup);

/* Walks by chance, until ops_n have ended or to the first violation. */
void kw_model_wander(kw_model_result *result, const kw_model_setup *setup, uint64_t ops_n,
                     uint64_t seed);

#endif

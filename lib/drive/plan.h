/* SPDX-License-Identifier: BSD-3-Clause */
/* Plan: where one command goes, decided before anything is sent. */
#ifndef DRIVE_PLAN_H
#define DRIVE_PLAN_H

#include <keyway/command.h>

#include "engine/script.h"
#include "topology/topology.h"
#include "route/command.h"
#include "route/ring_positions.h"

typedef enum kw_plan_kind {
    KW_PLAN_SLOT,     /* the owner of slot */
    KW_PLAN_POSITION, /* the owner of position, on a ring */
    KW_PLAN_SPLIT,    /* keys in many slots, of a command that can be split */
    KW_PLAN_ANY,      /* any primary */
    KW_PLAN_CHANNEL,  /* the owner of slot while it is well, else another primary */
    KW_PLAN_NODE,     /* node */
    KW_PLAN_ALL_PRIMARIES,
    KW_PLAN_ALL_NODES
} kw_plan_kind;

/* What a plan lacks, and only a server or the first map can tell. */
typedef enum kw_plan_need {
    KW_PLAN_NEEDS_NOTHING,
    KW_PLAN_NEEDS_MAP,  /* the first one */
    KW_PLAN_NEEDS_INFO, /* COMMAND INFO of an unknown command */
    KW_PLAN_NEEDS_KEYS  /* COMMAND GETKEYS */
} kw_plan_need;

/* What a plan knows of its keys, besides where it goes. */
typedef enum kw_plan_keys {
    KW_PLAN_KEYS_UNKNOWN, /* none, or to be looked for */
    KW_PLAN_KEYS_HASHED,  /* it has one, whose key_hash the task wanted */
    KW_PLAN_KEYS_PLACED,  /* of KW_PLAN_POSITION: they are at several positions, which must have
                             one owner */
    KW_PLAN_KEYS_OF_PART  /* likewise: they are several, known to have one owner by the snapshot
                             of that number, and by no later one */
} kw_plan_keys;

/* Small: thousands are under way at once. */
typedef struct kw_plan {
    kw_plan_kind kind : 8;
    kw_plan_need need : 8;       /* it is not made yet where it lacks something */
    kw_read_preference read : 8; /* whom it may be sent to; PRIMARY for all but reads */
    kw_plan_keys keys : 4;
    bool is_outside : 1; /* node was in no map even then */
    bool is_near : 1;    /* node counts the call until the plan's end */
    bool is_repeatable : 1;
    bool is_script : 1;
    bool is_transaction : 1; /* a whole one: its errors may name a cause (kw_transaction_cause) */
    bool is_blocking : 1;
    bool fails_fast : 1;  /* it does not wait for a server that cannot be reached */
    bool is_internal : 1; /* a question of the library's own */
    bool has_after : 1;   /* it reads, and is to find a write */
    bool has_asked : 1;   /* for something else first: it leaves later than at start_ns */
    uint16_t slot;        /* of KW_PLAN_SLOT, KW_PLAN_CHANNEL */
    kw_node *node;        /* of KW_PLAN_NODE: a reference; of KW_PLAN_ANY: the one that is to be
                             preferred, or NULL */
    kw_script_run_state *script; /* it runs a script by its name; NULL: it does not */
    kw_own_write *write;         /* that values near were told of; NULL: of none. Of a whole
                                    transaction there are several */
    uint64_t position;           /* of KW_PLAN_POSITION: of its first key */
    union {
        uint64_t key_hash;            /* of KW_PLAN_KEYS_HASHED: kw_order_hash */
        kw_ring_positions *positions; /* of KW_PLAN_KEYS_PLACED */
        uint64_t snapshot_n;          /* of KW_PLAN_KEYS_OF_PART */
    };
    const kw_command_info *command; /* NULL: not in the table */
    const char *name;               /* for error texts, of what is no command; else NULL */
    const atomic_bool *closing;     /* kw_env_is_closing: of the handle whose thread waits for it */
    uint64_t zone;                  /* of KW_READ_OF_ZONE */
    uint64_t after_stream; /* whose write the read finds, as its token says, where it has_after */
    uint64_t after_offset;
    uint64_t start_ns; /* when the plan was made: the call begins */
    uint64_t deadline_ns;
    uint64_t block_ns; /* the part of that for which the server may keep the command */
} kw_plan;

/* By then the command has a connection: its time in the server is not waited for before. */
static inline uint64_t kw_plan_place_ns(const kw_plan *plan)
{
    return plan->deadline_ns - plan->block_ns;
}

/* Where all its keys are, which must have one owner; NULL: there is but one position. */
static inline kw_ring_positions *kw_plan_positions(const kw_plan *plan)
{
    return plan->keys == KW_PLAN_KEYS_PLACED ? plan->positions : NULL;
}

/* True where its keys may have different owners by this snapshot, though it has one. */
static inline bool kw_plan_is_of_other_snapshot(const kw_plan *plan, const kw_snapshot *snapshot)
{
    return plan->keys == KW_PLAN_KEYS_OF_PART && plan->snapshot_n != snapshot->number;
}

static inline void kw_plan_take_key(kw_plan *plan, uint64_t hash)
{
    plan->keys = KW_PLAN_KEYS_HASHED;
    plan->key_hash = hash;
}

/* Its keys are at these positions, the plan's from now on; false where they are NULL. */
static inline bool kw_plan_take_positions(kw_plan *plan, kw_ring_positions *positions)
{
    if (positions != NULL) {
        plan->keys = KW_PLAN_KEYS_PLACED;
        plan->positions = positions;
    }
    return positions != NULL;
}

/* A read by the plan. */
static inline kw_snapshot_read kw_plan_read(const kw_plan *plan)
{
    kw_snapshot_read read = {.preference = plan->read, .zone = plan->zone};
    if (plan->has_after) {
        read.after = (kw_token){sizeof(read.after), plan->after_stream, plan->after_offset};
    }
    return read;
}

/* What the plan owns is another's now. */
static inline void kw_plan_hand_over(kw_plan *plan)
{
    plan->node = NULL;
    plan->script = NULL;
    plan->write = NULL;
    if (plan->keys == KW_PLAN_KEYS_PLACED) {
        plan->keys = KW_PLAN_KEYS_UNKNOWN;
    }
}

static inline void kw_plan_take_slot(kw_plan *plan, uint16_t slot)
{
    plan->kind = KW_PLAN_SLOT;
    plan->slot = slot;
}

/* For error texts: the table's name, that of what is no command, or "command". */
const char *kw_plan_name(const kw_plan *plan);

/* True where the command may write, as far as anybody knows. */
static inline bool kw_plan_may_write(const kw_plan *plan)
{
    return plan->command == NULL ||
           (kw_command_flags(plan->command) & (KW_COMMAND_WRITE | KW_COMMAND_SCRIPT)) != 0;
}

/* The options of a call that has none of its own: there is nothing in them to be checked. */
extern const kw_call_options kw_plan_defaults;

/* What a plan is made of. */
typedef struct kw_plan_task {
    const kw_call_options *options;
    const kw_bytes *argv;
    size_t argc;
    const kw_command_info *like;  /* NULL, or the command that it probably is, as the one before */
    kw_script_run_state **script; /* NULL: none; else what the command runs by its name: the plan's,
                                     once it is made, and NULL then */
    struct kw_async_session *pin; /* NULL, or the session whose command it is */
    const struct kw_whole *whole; /* NULL, or what is sent in place of a command */
    const atomic_bool *closing;   /* of a handle whose caller waits: its waits end with it */
    kw_reply *reply;              /* to the question that the plan needed to have answered */
    bool is_timed_later; /* the time of the plan is set when it is run (kw_plan_set_time); an
                            unknown command gets one at once, for the look-up */
    bool is_ordered;     /* the plan is to know its key's hash */
    bool takes_acks;     /* the caller heeds options->acks; for others they, and writes on a
                            handle with acks, are an error */
} kw_plan_task;

/* The time of a plan that lacks it: from now_ns on. */
static inline void kw_plan_set_time(kw_plan *plan, uint64_t now_ns)
{
    if (plan->start_ns == 0) {
        plan->start_ns = now_ns;
        plan->deadline_ns += now_ns;
    }
}

/* Makes a plan in steps that never wait: start, and go_on with what plan->need says until that is
 * nothing. KW_ERR_ARGUMENT, KW_ERR_REFUSED, KW_ERR_KEYS, KW_ERR_CROSSSLOT, or what a look-up of an
 * unknown command at a server failed with: a failure is the end. After success kw_plan_fini. */
kw_err kw_plan_start(kw_plan *plan, kw_topology *topology, kw_error *error,
                     const kw_plan_task *task);
kw_err kw_plan_go_on(kw_plan *plan, kw_topology *topology, kw_error *error,
                     const kw_plan_task *task);

/* Asks for what a plan lacks, and goes on, until it lacks nothing. */
kw_err kw_plan_ask_on(kw_plan *plan, kw_topology *topology, kw_error *error, kw_plan_task *task);

/* Start and all steps behind it, with the waits between them. */
static inline kw_err kw_plan_make(kw_plan *plan, kw_topology *topology, kw_error *error,
                                  kw_plan_task *task)
{
    kw_err code = kw_plan_start(plan, topology, error, task);
    bool is_whole = code != KW_OK || plan->need == KW_PLAN_NEEDS_NOTHING;
    return is_whole ? code : kw_plan_ask_on(plan, topology, error, task);
}

/* The script's run is the task's again, for another plan. */
static inline void kw_plan_return_script(kw_plan *plan, const kw_plan_task *task)
{
    if (plan->script != NULL) {
        plan->script->named.data = NULL; /* it is encoded anew */
        *task->script = plan->script;
        plan->script = NULL;
    }
}

/* Values near are told of what the command writes, where there are any; they are told again by
 * kw_plan_fini, when it has ended. KW_ERR_NOMEM. */
kw_err kw_plan_begin_write(kw_plan *plan, kw_topology *topology, kw_error *error,
                           const kw_plan_task *task);

/* The plan's write has ended, in whatever way. */
static inline void kw_plan_end_write(kw_plan *plan)
{
    while (plan->write != NULL) {
        kw_own_write *write = plan->write;
        plan->write = write->next;
        write->end_fn(write);
    }
}

/* What kw_plan_fini has to do of a plan that has a node, several positions, a script or a write. */
void kw_plan_give_back(kw_plan *plan);

static inline void kw_plan_fini(kw_plan *plan)
{
    if (plan->node != NULL || plan->script != NULL || plan->write != NULL ||
        plan->keys == KW_PLAN_KEYS_PLACED) {
        kw_plan_give_back(plan);
    }
}

/* now_ns + timeout_ms, with an end where that would be none. */
uint64_t kw_plan_deadline_ns(uint64_t now_ns, uint64_t timeout_ms);

#endif

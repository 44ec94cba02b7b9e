/* SPDX-License-Identifier: BSD-3-Clause */
/* Pin: a session whose commands are items of a pipeline, one at a time. It keeps an exclusive
 * channel, and with it one connection, from one command to the next. */
#ifndef DRIVE_PIN_H
#define DRIVE_PIN_H

#include <keyway/async_session.h>

#include "drive/pipeline_private.h"
#include "drive/session_private.h"

#include <stdatomic.h>

struct kw_loop;

/* One command of a pin. */
typedef struct kw_pin_command {
    kw_retry_state retry;        /* first: the item has it, and frees all with it */
    struct kw_pin_command *next; /* while it waits for its turn */
    struct kw_pin_command *before;
    uint64_t number; /* as it was given: 1, 2, .. */
    kw_session_effect effect;
    bool has_begun;  /* its turn has come */
    bool is_free;    /* kw_session_state_is_free when it came */
    bool is_waiting; /* in its pin's list, and HELD */
    bool is_void;    /* was given behind one that failed, before anybody knew of that */
    bool is_untold;  /* it has failed, and its callback was not called yet */
} kw_pin_command;

typedef struct kw_async_session kw_pin;
struct kw_async_session {
    kw_session session;    /* node and conn: those of channel, once a command went there */
    kw_session plain;      /* as it began; any thread plans by it */
    kw_channel *channel;   /* NULL: none yet */
    kw_item *current;      /* whose turn it is; NULL: nobody's */
    kw_pin_command *first; /* those that wait for their turn */
    kw_pin_command *last;
    uint64_t void_until;   /* commands that come with such a number, or a lower one, are void */
    char void_reason[160]; /* the failure that they were given ahead of, in words */
    size_t untold_n; /* commands that have failed, and whose callbacks were not called yet: until
                        then nobody knows, and what comes is void */
    uint64_t unopened_at; /* number of a MULTI that has failed, in its turn or before; 0: none */
    bool is_lost;   /* the connection was, with the current command on it, or what it stood for */
    bool has_multi; /* by who gives commands: MULTI, and no EXEC or DISCARD since */
    bool is_cut;    /* of that MULTI a command was refused: EXEC would run half of it */
    atomic_uint_fast64_t given_n; /* commands, from any thread */
    atomic_size_t open_n;         /* of them, those whose memory is not freed */
    /* For the loop: */
    _Atomic(struct kw_loop *) loop; /* NULL: it is gone */
    kw_pin *next_pin;               /* in the loop's list, under its monitor, as is: */
    kw_pin *before_pin;
    bool is_leaving;        /* the program has closed it */
    atomic_size_t *counter; /* of the handle's sessions */
};

/* The command that an item of a pin is; NULL for every other item. */
static inline kw_pin_command *kw_pin_command_of(const kw_item *item)
{
    bool is_pinned = item->retry_state != NULL && item->retry_state->pin != NULL;
    return is_pinned ? (kw_pin_command *)(void *)item->retry_state : NULL;
}

/* True for a command that its connection binds: there, or nowhere. */
static inline bool kw_pin_binds(const kw_item *item)
{
    const kw_pin_command *command = kw_pin_command_of(item);
    return command != NULL && command->has_begun && !command->is_free;
}

/* The pin of a key, without a connection. */
void kw_pin_init(kw_pin *pin, kw_topology *topology, kw_bytes key);

/* Plans the command of the task, whose encoded bytes are the item's: its plan and its retry_state.
 * Errors: those of kw_session_plan, KW_ERR_NOMEM. Any thread, one at a time for each pin. */
kw_err kw_pin_plan(kw_pin *pin, kw_item *item, kw_error *error, const kw_plan_task *task);

/* A command that was given: true where it is its turn at once; else it waits. */
bool kw_pin_takes(kw_pin *pin, kw_item *item);

/* The turn of a command has come. Failure, with the story in error: it is not to be sent. */
kw_err kw_pin_begin(kw_pin *pin, kw_item *item, kw_error *error);

/* The channel by which the item, whose turn it is, goes to the node; NULL when there is no
 * memory. */
kw_channel *kw_pin_channel(kw_pipeline *pipeline, kw_item *item, kw_node *node);

/* The answer is the caller's. */
void kw_pin_on_answer(kw_pipeline *pipeline, kw_item *item);

/* True where a try that has failed is the end of its command, which has not left: what it builds
 * upon went with the connection. */
bool kw_pin_ends_with(const kw_item *item, const kw_try_end *end);

/* What the failure of a command has done, of which its op says effect. */
static inline kw_effect kw_pin_effect(const kw_item *item, kw_effect effect)
{
    const kw_pin_command *command = kw_pin_command_of(item);
    bool is_harmless =
        command != NULL &&
        kw_session_state_is_harmless(&item->retry_state->pin->session.state, command->effect);
    return is_harmless ? KW_EFFECT_NONE : effect;
}

/* A command has ended, its reply or none in it. Returns whose turn it is now, out of all lists; or
 * NULL. */
kw_item *kw_pin_on_end(kw_pipeline *pipeline, kw_item *item, kw_err code);

/* The callback of an item that has ended is about to be called; of any item. */
void kw_pin_on_told(kw_item *item);

/* Gives the connection back, if there is one: to the pool where the session is clean. */
void kw_pin_detach(kw_pipeline *pipeline, kw_pin *pin);

#endif

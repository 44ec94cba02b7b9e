/* SPDX-License-Identifier: BSD-3-Clause */
/* Quorum model, inside: the state, and what the steps from it share. */
#ifndef SUPPORT_QUORUM_MODEL_PRIVATE_H
#define SUPPORT_QUORUM_MODEL_PRIVATE_H

#include "support/quorum_copy.h"
#include "support/quorum_model.h"

#include <stddef.h>

#define MESSAGES_MAX 48u
#define EVENTS_MAX   96u
#define NOW_MS       UINT64_C(1000000000) /* of the copies; ends are events, so it stands */
#define LINGER_MS    1000u
#define LIFE_MS      1000000u
#define BOUND        40u /* KW_MODEL_STAMP_UNCHECKED, MAD: versions beyond are read by nobody */
#define FIRST_TIME   10u /* of what is there at first */
#define LOOKER       KW_MODEL_CLIENTS_MAX /* client number of reads at the end */

typedef enum model_message_state {
    MESSAGE_ASK,  /* on its way to the copy */
    MESSAGE_BACK, /* its answer on its way */
    MESSAGE_LATE  /* as ASK, and nobody waits for it */
} model_message_state;

typedef struct model_message {
    model_message_state state;
    uint8_t client;
    uint8_t act; /* of the client, counted */
    uint8_t copy;
    bool has_record;
    bool wants_value;
    bool is_taken;
    bool is_mortal;
    bool is_kept;
    bool is_hint;
    kw_quorum_ask_kind kind;
    unsigned round;
    uint64_t life_ms;
    uint64_t linger_ms;
    int64_t left_ms;
    kw_record record; /* its value stays where it is: model_value_byte */
} model_message;

typedef struct model_client {
    kw_quorum_op op;
    uint64_t now_ns;
    uint64_t last; /* highest time given or learnt */
    uint8_t act;   /* the one under way, or the next */
    bool is_busy;  /* with it */
    bool has_op;   /* which may still ask, behind its answer */
    bool is_dead;
    uint8_t view; /* 1: knows of the member that joins */
} model_client;

typedef struct model_copy {
    kw_test_copy key;
    kw_test_copy old; /* DUMP: as it was once */
    uint32_t guards;  /* acts that were under way when its end was set: a bit each */
    bool is_down;
    bool is_silent; /* back, and not repaired */
    bool is_marked; /* by a repair when it began: what has been lost since is not brought back by it
                     */
    uint32_t lost; /* acts under way when data was lost, and still: a repair that begins before they
                      end does not see what they have been told */
    bool has_old;
} model_copy;

/* What clients saw: begin or end of an act. */
typedef struct model_event {
    uint8_t client;
    uint8_t act;
    uint8_t what; /* EVENT_ .. */
    uint8_t value;
} model_event;

enum { EVENT_BEGIN, EVENT_DONE, EVENT_MISMATCH };

typedef struct model_state {
    model_client clients[KW_MODEL_CLIENTS_MAX];
    model_copy copies[KW_MODEL_COPIES_MAX];
    model_message messages[MESSAGES_MAX];
    model_event events[EVENTS_MAX];
    unsigned messages_n;
    unsigned events_n;
    unsigned faults_n; /* that have happened */
    unsigned ends_n;
    unsigned looks_n;
    unsigned kinds; /* faults of these kinds happened */
    uint64_t time;  /* highest time given to anybody */
    bool is_joined; /* all know of it, or soon will */
    uint64_t past;  /* and of what has ended: copies' clocks are beyond it */
} model_state;

/* One step that is possible. */
typedef enum model_step_kind {
    STEP_START,
    STEP_REACH,   /* message: reaches its copy */
    STEP_ANSWER,  /* message: its client */
    STEP_REFUSED, /* message: its copy is down; effect none, or maybe */
    STEP_LOSE,
    STEP_DOUBLE,
    STEP_DELAY,
    STEP_HINT,
    STEP_DROP, /* a late message, for good */
    STEP_TIME,
    STEP_DEADLINE,
    STEP_DIE,
    STEP_LIFE_ENDS,
    STEP_KEY_ENDS,
    STEP_REMEMBER, /* what may come back from a dump */
    STEP_STOP,
    STEP_BACK,
    STEP_BACK_EMPTY,
    STEP_BACK_OLD,
    STEP_LOOK
} model_step_kind;

typedef struct model_step {
    model_step_kind kind;
    uint8_t who;     /* client, copy or message */
    uint8_t variant; /* REFUSED: 1 maybe; LOOK: copies, a bit each */
    uint8_t clock;   /* 0 behind all others, 1 ahead of them */
    bool was_asked;  /* out: a version was made that the other clock would not have made */
} model_step;

#define STEPS_MAX       160u
#define MODEL_DEPTH_MAX 400u /* steps of a walk */

/* The model that is walked through. */
typedef struct model {
    const kw_model_setup *setup;
    kw_model_result *result;
    kw_quorum_rule rule;
    uint64_t salt; /* a number of what the clients do: histories of others are others */
} model;

/* Copies, one that joins included. */
static inline unsigned model_places(const model *self)
{
    return self->setup->copies_n + (self->setup->has_join ? 1 : 0);
}

/* Where a copy of an op is, and back. */
static inline unsigned model_place(const model *self, unsigned view, unsigned copy)
{
    unsigned last = self->setup->copies_n - 1;
    return view == 1 && copy == last ? last + 1 : copy;
}

static inline unsigned model_copy_at(const model *self, unsigned place)
{
    unsigned last = self->setup->copies_n - 1;
    return place > last ? last : place;
}

#define LOOK_VIEW 32u /* of a LOOK's variant: by who knows of it */

/* What has been done since the last state that is kept in mind, and what may follow it
 * (quorum_model_reduce.c). */
typedef struct model_block {
    int client; /* whose steps may follow; -1: not said yet */
    int copy;   /* requests have reached it, and another of its steps has to follow; -1: none */
    int last_client;  /* whose request was the last of those .. */
    bool is_answered; /* .. and whether it waits for the answer */
    bool is_idle;     /* and it has changed nothing */
    bool is_mixed;    /* requests have reached several, or were dropped, and an end has to follow,
                         or an act's beginning */
} model_block;

static const model_block model_block_none = {-1, -1, -1, false, false, false};

/* True where the step may follow. */
bool model_may_follow(const model *self, const model_state *state, const model_block *block,
                      const model_step *step);

typedef enum model_way {
    WAY_KEEP, /* the block is at its end: the state is kept in mind, and all may follow */
    WAY_ON,   /* what the block says may follow */
    WAY_VAIN  /* other walks have the same outcome, whatever follows */
} model_way;

/* What may follow the step, from before to after. */
model_way model_way_on(const model *self, model_block *block, const model_state *before,
                       const model_state *after, const model_step *step);

void model_copy_state(model_state *out, const model_state *state);

/* Reads the setup, and clears the result. */
void model_init(model *self, kw_model_result *result, const kw_model_setup *setup);

/* Begins with what the setup says. */
void model_begin(const model *self, model_state *state);

/* All steps that are possible; how many. */
unsigned model_steps(const model *self, const model_state *state, model_step steps[STEPS_MAX]);

/* Does one; true where an act has ended with an answer. */
bool model_do(const model *self, model_state *state, model_step *step);

/* Nothing ends any more, so that no step depends on when what remembers may end. */
static inline bool model_is_endless(const model *self, const model_state *state)
{
    return !self->setup->is_plain && state->ends_n >= self->setup->ends_n;
}

/* True where all clients are done, but for reads at the end. */
bool model_is_over(const model *self, const model_state *state);

/* True where a fault of one of these kinds may still happen. */
bool model_may_fault(const model *self, const model_state *state, unsigned kinds);

/* True where the client may take a stamp yet. */
bool model_may_stamp(const model *self, const model_state *state, unsigned client);

/* True where the op of the client may hear an answer yet, or time. */
bool model_may_hear(const model_state *state, unsigned client);

/* Puts away what no step depends on any more. */
void model_tidy(const model *self, model_state *state);

/* True where an op goes on for longer than is followed. */
bool model_is_cut(const model *self, const model_state *state);

/* The value that an act writes; 0: none. */
uint8_t model_value(unsigned client, unsigned act, kw_model_act what);

/* A number of the state and the block, the same for those that differ in the order of copies
 * only. */
uint64_t model_hash(const model *self, const model_state *state, const model_block *block);

/* What clients saw, as a number. */
uint64_t model_told(const model_state *state);

/* True where one register could have told what clients saw. */
bool model_is_sound(const model *self, const model_state *state);

/* Writes the steps to the state behind depth, and what clients saw, into the result. */
void model_tell_story(const model *self, const model_state *states, const model_step *steps,
                      unsigned depth);
void model_tell_step(char *out, size_t room, const model_state *state, const model_step *step);

/* A request of a client becomes a message; an answer of a copy too. */
void model_send(const model *self, model_state *state, unsigned client, const kw_quorum_ask *ask);
void model_reach(const model *self, model_state *state, unsigned message);
bool model_is_alive(const kw_test_copy *key);
void model_read_at_once(const model *self, model_state *state, unsigned variant);

/* True for a message whose client waits for what comes of it. */
bool model_is_awaited(const model_state *state, const model_message *sent);

/* The byte of a value, which stays where it is. */
const char *model_value_byte(unsigned value);

/* What becomes of an op; each true where an act has ended with an answer. */
bool model_start_act(const model *self, model_state *state, model_step *step);
bool model_answer(const model *self, model_state *state, model_step *step,
                  const model_message *back);
bool model_lose(const model *self, model_state *state, model_step *step, const model_message *lost,
                kw_effect effect);
bool model_pass_time(const model *self, model_state *state, model_step *step, bool is_deadline);

/* Acts that clients wait for, and those that anything under way belongs to: a bit each. */
uint32_t model_busy_acts(const model_state *state);
uint32_t model_active_acts(const model *self, const model_state *state);

#endif

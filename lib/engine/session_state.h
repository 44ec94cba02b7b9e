/* SPDX-License-Identifier: BSD-3-Clause */
/* Session state: what a connection stands for whose commands build on each other, and what that
 * means for the next command. The one policy of all sessions, however their commands are given: no
 * input or output. */
#ifndef ENGINE_SESSION_STATE_H
#define ENGINE_SESSION_STATE_H

#include <keyway/reply.h>

#include <stdbool.h>
#include <stdint.h>

/* What a command does to its connection. */
typedef enum kw_session_effect {
    KW_SESSION_EFFECT_NONE, /* nothing */
    KW_SESSION_EFFECT_MULTI,
    KW_SESSION_EFFECT_EXEC,
    KW_SESSION_EFFECT_DISCARD,
    KW_SESSION_EFFECT_WATCH,
    KW_SESSION_EFFECT_UNWATCH,
    KW_SESSION_EFFECT_SELECT,  /* another database, which is selected again on the next one */
    KW_SESSION_EFFECT_WAIT,    /* asks about what the connection has written */
    KW_SESSION_EFFECT_BEFORE,  /* concerns the next command; else as: */
    KW_SESSION_EFFECT_SETTING, /* leaves something behind for good */
    KW_SESSION_EFFECT_REFUSED  /* changes who gets which reply */
} kw_session_effect;

typedef struct kw_session_state {
    uint64_t database;    /* that its commands are for: the option's, or that of the last SELECT */
    bool is_multi;        /* the server queues commands */
    bool is_unopened;     /* a MULTI has failed: what it was to queue would run by itself */
    bool is_watching;     /* keys are watched */
    bool is_before;       /* the last command concerns the next one: ASKING, CLIENT CACHING */
    bool is_altered;      /* a command has left a setting on the connection */
    bool has_written;     /* the connection has carried writes */
    bool has_left_writes; /* the last write went over a connection other than that one */
} kw_session_state;

/* A command that was answered. */
typedef struct kw_session_answer {
    kw_session_effect effect;
    uint64_t database;     /* of SELECT */
    const kw_reply *reply; /* an error's, too */
    bool is_write;
    bool is_asked; /* it went to another node, behind ASKING */
} kw_session_answer;

/* True where the connection may be left for another one. */
static inline bool kw_session_state_is_clean(const kw_session_state *state)
{
    return !state->is_multi && !state->is_watching && !state->is_altered;
}

/* True where the next command may change the connection: it is redirected, waits and is repeated as
 * every other one is. has_conn: there is one. */
static inline bool kw_session_state_is_free(const kw_session_state *state, kw_session_effect effect,
                                            bool has_conn)
{
    return kw_session_state_is_clean(state) && (effect != KW_SESSION_EFFECT_WAIT || !has_conn);
}

/* True where nothing may come between the connection's last command and the next one. */
static inline bool kw_session_state_is_tight(const kw_session_state *state)
{
    return state->is_multi || state->is_before;
}

/* True where a command touches no data until an EXEC: whatever becomes of it, it has not run. */
static inline bool kw_session_state_is_harmless(const kw_session_state *state,
                                                kw_session_effect effect)
{
    return effect != KW_SESSION_EFFECT_EXEC &&
           (state->is_multi || effect != KW_SESSION_EFFECT_NONE);
}

/* True where a lost command may be asked for again on the next connection, though it is no read:
 * what it did has gone with the connection. */
bool kw_session_effect_is_repeatable(kw_session_effect effect);

/* True where a free command's reply is the caller's whatever it says: what would be watched on the
 * way to another node's keys would be lost with the ASKING. */
bool kw_session_keeps_redirect(kw_session_effect effect, const kw_reply *reply);

/* The command's turn has come. False where it counts on a MULTI that has failed: it is not to be
 * sent. That ends with the EXEC, or where who gives commands begins again. */
bool kw_session_state_takes(kw_session_state *state, kw_session_effect effect);

/* The command has ended without an answer, and the connection is as it was. */
static inline void kw_session_state_on_failed(kw_session_state *state, kw_session_effect effect)
{
    state->is_unopened =
        !state->is_multi && (state->is_unopened || effect == KW_SESSION_EFFECT_MULTI);
}

/* The answer was given to the caller. */
void kw_session_state_on_answer(kw_session_state *state, const kw_session_answer *answer);

/* The connection was given back, or lost. */
static inline void kw_session_state_on_left(kw_session_state *state)
{
    state->has_left_writes = state->has_left_writes || state->has_written;
    state->has_written = false;
}

#endif

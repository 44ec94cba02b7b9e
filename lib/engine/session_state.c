/* SPDX-License-Identifier: BSD-3-Clause */
/* What each answer makes of a session's connection. */
#include "engine/session_state.h"

#include "base/reply.h"
#include "engine/verdict.h"

bool kw_session_effect_is_repeatable(kw_session_effect effect)
{
    switch (effect) {
    case KW_SESSION_EFFECT_MULTI:
    case KW_SESSION_EFFECT_DISCARD:
    case KW_SESSION_EFFECT_WATCH:
    case KW_SESSION_EFFECT_UNWATCH:
    case KW_SESSION_EFFECT_SELECT:
    case KW_SESSION_EFFECT_BEFORE:
    case KW_SESSION_EFFECT_SETTING:
        return true;
    case KW_SESSION_EFFECT_NONE:
    case KW_SESSION_EFFECT_EXEC:
    case KW_SESSION_EFFECT_WAIT:
    case KW_SESSION_EFFECT_REFUSED:
        break;
    }
    return false;
}

bool kw_session_keeps_redirect(kw_session_effect effect, const kw_reply *reply)
{
    return effect == KW_SESSION_EFFECT_WATCH && kw_reply_is_error(reply) &&
           kw_verdict_of(kw_reply_bytes(reply), false).kind == KW_VERDICT_ASK;
}

bool kw_session_state_takes(kw_session_state *state, kw_session_effect effect)
{
    bool was_unopened = state->is_unopened && !state->is_multi;
    bool begins = effect == KW_SESSION_EFFECT_MULTI || effect == KW_SESSION_EFFECT_DISCARD ||
                  effect == KW_SESSION_EFFECT_WATCH || effect == KW_SESSION_EFFECT_UNWATCH;
    state->is_unopened = was_unopened && !begins && effect != KW_SESSION_EFFECT_EXEC;
    return !was_unopened || begins;
}

/* After its EXEC the server has no transaction any more, whatever it says of it; an error
 * that is none of those known to end one is not trusted. */
static void on_exec(kw_session_state *state, const kw_reply *reply)
{
    if (!state->is_multi) {
        return; /* "EXEC without MULTI" */
    }
    state->is_multi = false;
    state->is_watching = false;
    if (kw_reply_is_error(reply)) {
        kw_bytes text = kw_reply_bytes(reply);
        bool is_known = kw_bytes_starts(text, "EXECABORT ") || kw_bytes_starts(text, "CROSSSLOT") ||
                        kw_verdict_of(text, true).kind != KW_VERDICT_FINAL;
        state->is_altered = state->is_altered || !is_known;
    }
}

static void on_select(kw_session_state *state, uint64_t database)
{
    if (state->is_multi) {
        state->is_altered = true; /* queued: EXEC says what becomes of it */
    } else {
        state->database = database;
    }
}

static void on_write(kw_session_state *state, bool is_asked)
{
    state->has_written = state->has_written || !is_asked;
    state->has_left_writes = is_asked;
}

void kw_session_state_on_answer(kw_session_state *state, const kw_session_answer *answer)
{
    bool is_good = !kw_reply_is_error(answer->reply);
    state->is_before = answer->effect == KW_SESSION_EFFECT_BEFORE;
    if (answer->is_write) {
        on_write(state, answer->is_asked);
    }
    switch (answer->effect) {
    case KW_SESSION_EFFECT_MULTI:
        state->is_multi = state->is_multi || is_good;
        state->is_unopened = !state->is_multi;
        break;
    case KW_SESSION_EFFECT_EXEC:
        on_exec(state, answer->reply);
        break;
    case KW_SESSION_EFFECT_DISCARD:
        state->is_multi = state->is_multi && !is_good;
        state->is_watching = state->is_watching && !is_good;
        break;
    case KW_SESSION_EFFECT_WATCH:
        state->is_watching = state->is_watching || is_good;
        break;
    case KW_SESSION_EFFECT_UNWATCH:
        state->is_watching = state->is_watching && (!is_good || state->is_multi);
        break;
    case KW_SESSION_EFFECT_SELECT:
        if (is_good) {
            on_select(state, answer->database);
        }
        break;
    case KW_SESSION_EFFECT_BEFORE:
    case KW_SESSION_EFFECT_SETTING:
        state->is_altered = true;
        break;
    case KW_SESSION_EFFECT_NONE:
    case KW_SESSION_EFFECT_WAIT:
    case KW_SESSION_EFFECT_REFUSED:
        break;
    }
}

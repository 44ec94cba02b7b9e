/* SPDX-License-Identifier: BSD-3-Clause */
/* Scenes of a session's connection: one line a turn, what a command was answered and what the
 * connection is then. The policy of all sessions, however their commands are given. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "base/reply.h"
#include "engine/session_state.h"

#include <string.h>

#define OK      "OK"
#define ERROR   "-ERR no"
#define ASK     "-ASK 1 127.0.0.1:7000"
#define ABORTED "-EXECABORT Transaction discarded because of previous errors."

typedef enum is { CLEAN, WATCHES, QUEUES, BOUND } is;

typedef struct turn {
    kw_session_effect effect;
    const char *reply; /* "-...": an error */
    is is;             /* then; of several the last one */
} turn;

#define MULTI    KW_SESSION_EFFECT_MULTI
#define EXEC     KW_SESSION_EFFECT_EXEC
#define DISCARD  KW_SESSION_EFFECT_DISCARD
#define WATCH    KW_SESSION_EFFECT_WATCH
#define UNWATCH  KW_SESSION_EFFECT_UNWATCH
#define SELECT   KW_SESSION_EFFECT_SELECT
#define BEFORE   KW_SESSION_EFFECT_BEFORE
#define SETTING  KW_SESSION_EFFECT_SETTING
#define NOTHING  KW_SESSION_EFFECT_NONE
#define FOLLOWED KW_SESSION_EFFECT_WAIT

static kw_reply *reply_of(const char *text)
{
    kw_reply *reply = kw_reply_new(kw_mem_default(), 0);
    assert_non_null(reply);
    bool is_error = text[0] == '-';
    kw_bytes bytes = {text + (is_error ? 1 : 0), strlen(text) - (is_error ? 1 : 0)};
    kw_reply_kind kind = is_error ? KW_REPLY_ERROR : KW_REPLY_STRING;
    assert_true(kw_reply_set_string(reply, reply, kind, bytes));
    return reply;
}

static void answer(kw_session_state *state, const kw_session_answer *how, const char *text)
{
    kw_session_answer answer = *how;
    kw_reply *reply = reply_of(text);
    answer.reply = reply;
    kw_session_state_on_answer(state, &answer);
    kw_reply_free(reply);
}

static is now(const kw_session_state *state)
{
    is what = state->is_watching ? WATCHES : CLEAN;
    what = state->is_multi ? QUEUES : what;
    what = state->is_altered ? BOUND : what;
    assert_true((what == CLEAN) == kw_session_state_is_clean(state));
    return what;
}

static void play(const char *name, const turn *turns, size_t n)
{
    kw_session_state state = {0};
    for (size_t i = 0; i < n; i++) {
        kw_session_answer how = {.effect = turns[i].effect, .database = 3};
        answer(&state, &how, turns[i].reply);
        if (now(&state) != turns[i].is) {
            fail_msg("%s, turn %zu: %d", name, i + 1, (int)now(&state));
        }
    }
}

#define PLAY(name, ...)                                                                            \
    do {                                                                                           \
        static const turn turns[] = {__VA_ARGS__};                                                 \
        play(name, turns, sizeof(turns) / sizeof(turns[0]));                                       \
    } while (0)

static void test_session_state_follows_what_servers_answer(void **state)
{
    (void)state;
    PLAY("a transaction", {WATCH, OK, WATCHES}, {NOTHING, OK, WATCHES}, {MULTI, OK, QUEUES},
         {NOTHING, "QUEUED", QUEUES}, {EXEC, OK, CLEAN});
    PLAY("refused", {WATCH, ERROR, CLEAN}, {MULTI, ERROR, CLEAN}, {EXEC, ERROR, CLEAN});
    PLAY("given up", {WATCH, OK, WATCHES}, {UNWATCH, ERROR, WATCHES}, {UNWATCH, OK, CLEAN});
    PLAY("discarded", {WATCH, OK, WATCHES}, {MULTI, OK, QUEUES}, {UNWATCH, "QUEUED", QUEUES},
         {DISCARD, ERROR, QUEUES}, {DISCARD, OK, CLEAN});
    PLAY("aborted", {MULTI, OK, QUEUES}, {NOTHING, ERROR, QUEUES}, {EXEC, ABORTED, CLEAN});
    PLAY("redirected", {MULTI, OK, QUEUES}, {EXEC, ASK, CLEAN});
    PLAY("refused as nobody knows", {MULTI, OK, QUEUES}, {EXEC, ERROR, BOUND});
    PLAY("set", {SETTING, ERROR, BOUND}, {NOTHING, OK, BOUND});
    PLAY("for the next one", {BEFORE, OK, BOUND}, {NOTHING, OK, BOUND});
    PLAY("selected", {SELECT, OK, CLEAN}, {MULTI, OK, QUEUES}, {SELECT, "QUEUED", BOUND});
}

/* What counts on a MULTI that has failed is not to run by itself. */
static void test_session_state_takes_nothing_behind_a_multi_that_failed(void **state)
{
    (void)state;
    kw_session_state it = {0};
    kw_session_answer multi = {.effect = MULTI};
    const kw_session_effect begins[] = {MULTI, WATCH, UNWATCH, DISCARD};
    for (size_t i = 0; i < 4; i++) {
        if (i % 2 == 0) {
            answer(&it, &multi, ERROR);
        } else {
            kw_session_state_on_failed(&it, MULTI);
        }
        assert_false(kw_session_state_takes(&it, NOTHING));
        assert_false(kw_session_state_takes(&it, SELECT));
        assert_true(kw_session_state_takes(&it, begins[i]));
        assert_true(kw_session_state_takes(&it, NOTHING));
    }
    answer(&it, &multi, ERROR);
    assert_false(kw_session_state_takes(&it, EXEC));
    assert_true(kw_session_state_takes(&it, EXEC));
    answer(&it, &multi, OK);
    kw_session_state_on_failed(&it, MULTI);
    answer(&it, &multi, ERROR); /* nested */
    assert_true(kw_session_state_takes(&it, NOTHING));
    assert_true(kw_session_state_takes(&it, EXEC));
}

static void test_session_state_keeps_the_database_that_was_selected(void **state)
{
    (void)state;
    kw_session_state it = {.database = 1};
    kw_session_answer select = {.effect = SELECT, .database = 3};
    answer(&it, &select, ERROR);
    assert_int_equal(it.database, 1);
    answer(&it, &select, OK);
    assert_int_equal(it.database, 3);
}

/* WAIT asks about the writes of its own connection. */
static void test_session_state_knows_where_the_last_write_went(void **state)
{
    (void)state;
    kw_session_state it = {0};
    kw_session_answer write = {.is_write = true};
    answer(&it, &write, OK);
    assert_false(it.has_left_writes);
    assert_false(kw_session_state_is_free(&it, FOLLOWED, true));
    assert_true(kw_session_state_is_free(&it, FOLLOWED, false));
    kw_session_state_on_left(&it);
    assert_true(it.has_left_writes);
    answer(&it, &write, OK);
    assert_false(it.has_left_writes);
    write.is_asked = true;
    answer(&it, &write, OK);
    assert_true(it.has_left_writes);
}

static void test_session_state_tells_what_touches_no_data(void **state)
{
    (void)state;
    kw_session_state it = {0};
    assert_false(kw_session_state_is_harmless(&it, NOTHING));
    assert_true(kw_session_state_is_harmless(&it, WATCH));
    it.is_multi = true;
    assert_true(kw_session_state_is_harmless(&it, NOTHING));
    assert_false(kw_session_state_is_harmless(&it, EXEC));
    assert_true(kw_session_state_is_tight(&it));
}

static void test_session_state_watches_nothing_behind_asking(void **state)
{
    (void)state;
    kw_reply *ask = reply_of(ASK);
    kw_reply *moved = reply_of("-MOVED 1 127.0.0.1:7000");
    assert_true(kw_session_keeps_redirect(WATCH, ask));
    assert_false(kw_session_keeps_redirect(WATCH, moved));
    assert_false(kw_session_keeps_redirect(NOTHING, ask));
    kw_reply_free(ask);
    kw_reply_free(moved);
    for (int i = 0; i <= (int)KW_SESSION_EFFECT_REFUSED; i++) {
        kw_session_effect effect = (kw_session_effect)i;
        bool is_final = effect == NOTHING || effect == EXEC || effect == FOLLOWED ||
                        effect == KW_SESSION_EFFECT_REFUSED;
        assert_int_equal(kw_session_effect_is_repeatable(effect), !is_final);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_state_follows_what_servers_answer),
        cmocka_unit_test(test_session_state_takes_nothing_behind_a_multi_that_failed),
        cmocka_unit_test(test_session_state_keeps_the_database_that_was_selected),
        cmocka_unit_test(test_session_state_knows_where_the_last_write_went),
        cmocka_unit_test(test_session_state_tells_what_touches_no_data),
        cmocka_unit_test(test_session_state_watches_nothing_behind_asking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Scenes of the op machine: one line a turn, what happens and what is to be done. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/op.h"

#include <string.h>

#define MS       KW_NS_PER_MS
#define DEADLINE (1000 * MS)
#define SLOT     42

/* What happens. */
typedef enum event {
    E_REPLY,     /* number: kw_verdict_kind, MOVED and ASK of SLOT to "other" */
    E_ELSEWHERE, /* MOVED of another slot */
    E_SAME_HOST, /* MOVED with an empty host */
    E_UNKNOWN,   /* MOVED to "?" */
    E_UNSERVED,
    E_STALE,
    E_MAPLESS,
    E_DOWN,         /* number: code; the node is down, and not waited for */
    E_UNAVAILABLE,  /* number: code */
    E_INCOMPATIBLE, /* the greeting was refused for good */
    E_UNREADY,      /* number: code; the command went with the greeting */
    E_UNGREETED,    /* number: code; it waited for the greeting */
    E_BROKEN,       /* number: code; nothing of the command had left */
    E_LOST,         /* number: code; it had left */
    E_FETCHED,      /* number: code of the fetch */
    E_WOKE,
    E_DEADLINE,    /* while nothing was under way */
    E_UNCONNECTED, /* the deadline, while its connection was being opened */
    E_UNTAKEN,     /* the deadline, while the connection took nothing */
    E_LATE         /* the deadline, after it had left */
} event;

#define PATCH    1 /* is_patch */
#define FETCH    2 /* wants_refresh */
#define ASKING   4 /* is_asking */
#define REDIRECT 8 /* is_redirected */

typedef struct scene_turn {
    event event;
    int number;
    uint64_t at_ms; /* when it happens */
    kw_step_kind kind;
    unsigned flags;   /* exactly these */
    kw_err code;      /* of FAIL */
    kw_effect effect; /* of FAIL */
} scene_turn;

#define CLUSTER      1
#define MAP          32 /* without redirects */
#define REPEATABLE   2
#define PINNED       4
#define NO_SLOT      8
#define NO_REDIRECTS 16
#define AT_REPLICA   64 /* each send goes to one, but the op says otherwise */
#define ONLY_REPLICA 128
#define TEXT         256 /* runs a script by its name */
#define NO_PLACE     512 /* for the target of a redirect */

static kw_step happen(kw_op *op, const scene_turn *turn)
{
    static const kw_endpoint from = {"from", 7000};
    uint64_t now_ns = turn->at_ms * MS;
    kw_verdict verdict = {.kind = KW_VERDICT_MOVED, .slot = SLOT, .port = 7001};
    verdict.host = kw_bytes_of("other");
    kw_err code = (kw_err)turn->number;
    switch (turn->event) {
    case E_REPLY:
        verdict.kind = (kw_verdict_kind)turn->number;
        break;
    case E_ELSEWHERE:
        verdict.slot = SLOT + 1;
        break;
    case E_SAME_HOST:
        verdict.host.len = 0;
        break;
    case E_UNKNOWN:
        verdict.is_unknown = true;
        break;
    case E_UNSERVED:
        return kw_op_on_unserved(op, now_ns);
    case E_STALE:
        return kw_op_on_stale(op, now_ns);
    case E_MAPLESS:
        return kw_op_on_mapless(op, now_ns);
    case E_DOWN:
        return kw_op_on_down(op, now_ns, code);
    case E_UNREADY:
        return kw_op_on_failed(op, now_ns, &(kw_try_end){code, true, false, true, 0});
    case E_UNGREETED:
        return kw_op_on_failed(op, now_ns, &(kw_try_end){code, true, false, false, 0});
    case E_UNAVAILABLE:
        return kw_op_on_failed(op, now_ns, &(kw_try_end){code, false, false, false, now_ns});
    case E_INCOMPATIBLE:
        kw_op_on_incompatible(op);
        return kw_op_on_failed(op, now_ns,
                               &(kw_try_end){KW_ERR_HANDSHAKE, true, false, false, now_ns});
    case E_BROKEN:
        return kw_op_on_failed(op, now_ns, &(kw_try_end){code, true, true, false, 0});
    case E_LOST:
        return kw_op_on_failed(op, now_ns, &(kw_try_end){code, true, true, true, 0});
    case E_FETCHED:
        return kw_op_on_refreshed(op, now_ns, code);
    case E_WOKE:
        return kw_op_on_woke(op, now_ns);
    case E_DEADLINE:
        return kw_op_on_failed(op, now_ns, &(kw_try_end){KW_ERR_TIMEOUT, false, false, false, 0});
    case E_UNCONNECTED:
        return kw_op_on_failed(op, now_ns, &(kw_try_end){KW_ERR_TIMEOUT, true, false, false, 0});
    case E_UNTAKEN:
        return kw_op_on_failed(op, now_ns, &(kw_try_end){KW_ERR_TIMEOUT, true, true, false, 0});
    case E_LATE:
        return kw_op_on_failed(op, now_ns, &(kw_try_end){KW_ERR_TIMEOUT, true, true, true, 0});
    }
    return kw_op_on_reply(op, now_ns, &verdict, &from);
}

/* True for what happens before the command is put on a connection. */
static bool is_before_sending(event happened)
{
    return happened == E_UNSERVED || happened == E_STALE || happened == E_MAPLESS ||
           happened == E_UNAVAILABLE || happened == E_INCOMPATIBLE || happened == E_DEADLINE;
}

static unsigned flags_of(const kw_step *step)
{
    return (step->is_patch ? PATCH : 0u) | (step->wants_refresh ? FETCH : 0u) |
           (step->is_asking ? ASKING : 0u) | (step->is_redirected ? REDIRECT : 0u);
}

static kw_op play(const char *name, unsigned traits, const scene_turn *turns, size_t n)
{
    static kw_endpoint target;
    kw_op op;
    kw_op_spec spec = {
        .deadline_ns = DEADLINE,
        .redirects_max = (traits & NO_REDIRECTS) != 0 ? 0 : 5,
        .has_map = (traits & (CLUSTER | MAP)) != 0,
        .has_redirects = (traits & CLUSTER) != 0,
        .avoids_primary = (traits & ONLY_REPLICA) != 0,
        .is_pinned = (traits & PINNED) != 0,
        .has_text = (traits & TEXT) != 0,
        .is_repeatable = (traits & REPEATABLE) != 0,
        .has_slot = (traits & NO_SLOT) == 0,
        .slot = SLOT,
    };
    kw_step step = kw_op_start(&op, &spec, 1);
    op.target = (traits & NO_PLACE) == 0 ? &target : NULL;
    assert_int_equal(step.kind, KW_STEP_SEND);
    assert_int_equal(flags_of(&step), 0);
    for (size_t i = 0; i < n; i++) {
        if (step.kind == KW_STEP_SEND && !is_before_sending(turns[i].event)) {
            kw_op_on_send(&op);
        }
        if (step.kind == KW_STEP_SEND) {
            op.is_at_replica = (traits & AT_REPLICA) != 0 && !op.has_left && !step.is_redirected;
        }
        step = happen(&op, &turns[i]);
        bool is_fail = turns[i].kind == KW_STEP_FAIL;
        if (step.kind != turns[i].kind || flags_of(&step) != turns[i].flags ||
            (is_fail && (step.code != turns[i].code || step.effect != turns[i].effect))) {
            fail_msg("%s, turn %zu: kind %d, flags %u, code %d, effect %d", name, i + 1,
                     (int)step.kind, flags_of(&step), (int)step.code, (int)step.effect);
        }
        if (step.kind == KW_STEP_SLEEP || step.kind == KW_STEP_REFRESH) {
            assert_in_range(step.until_ns, turns[i].at_ms * MS, DEADLINE);
        }
    }
    return op;
}

#define PLAY(name, traits, ...)                                                                    \
    play(name, traits, (const scene_turn[]){__VA_ARGS__},                                          \
         sizeof((const scene_turn[]){__VA_ARGS__}) / sizeof(scene_turn))

#define DONE                     KW_STEP_DONE, 0, KW_OK, KW_EFFECT_NONE
#define SEND(flags)              KW_STEP_SEND, (flags), KW_OK, KW_EFFECT_NONE
#define SLEEP(flags)             KW_STEP_SLEEP, (flags), KW_OK, KW_EFFECT_NONE
#define REFRESH                  KW_STEP_REFRESH, FETCH, KW_OK, KW_EFFECT_NONE
#define FAIL(code, effect)       KW_STEP_FAIL, 0, (code), (effect)
#define FAIL_FETCH(code, effect) KW_STEP_FAIL, FETCH, (code), (effect)

/* clang-format off */
static void test_op_reply_is_the_callers(void **state)
{
    (void)state;
    PLAY("reply", CLUSTER, {E_REPLY, KW_VERDICT_FINAL, 1, DONE});
    PLAY("no permission", CLUSTER, {E_REPLY, KW_VERDICT_AUTH, 1, DONE});
    PLAY("moved, single server", 0, {E_REPLY, KW_VERDICT_MOVED, 1, DONE});
    PLAY("moved, pinned", CLUSTER | PINNED, {E_REPLY, KW_VERDICT_MOVED, 1, DONE});
    PLAY("read-only, single server", 0, {E_REPLY, KW_VERDICT_READONLY, 1, DONE});
    PLAY("moved, no redirects", MAP, {E_REPLY, KW_VERDICT_MOVED, 1, DONE});
    PLAY("handed over, pinned", PINNED, {E_REPLY, KW_VERDICT_REDIRECT, 1, DONE});
    PLAY("read-only, pinned", MAP | PINNED, {E_REPLY, KW_VERDICT_READONLY, 1, DONE});
}

/* REDIRECT of a server without a cluster: where two name each other, until one of them is right. */
static void test_op_handover_is_followed(void **state)
{
    (void)state;
    PLAY("handed over", 0,
        {E_REPLY, KW_VERDICT_REDIRECT, 1, SEND(REDIRECT)},
        {E_REPLY, KW_VERDICT_FINAL, 2, DONE});
    PLAY("handed over, sentinel", MAP,
        {E_REPLY, KW_VERDICT_REDIRECT, 1, SEND(REDIRECT | FETCH)},
        {E_REPLY, KW_VERDICT_FINAL, 2, DONE});
    PLAY("each names the other", 0,
        {E_REPLY, KW_VERDICT_REDIRECT, 1, SEND(REDIRECT)},
        {E_REPLY, KW_VERDICT_REDIRECT, 2, SEND(REDIRECT)},
        {E_REPLY, KW_VERDICT_REDIRECT, 3, SLEEP(0)},
        {E_WOKE, 0, 20, SEND(REDIRECT)},
        {E_REPLY, KW_VERDICT_REDIRECT, 21, SLEEP(0)},
        {E_WOKE, 0, 60, SEND(REDIRECT)},
        {E_REPLY, KW_VERDICT_REDIRECT, 61, SLEEP(0)},
        {E_WOKE, 0, 120, SEND(REDIRECT)},
        {E_REPLY, KW_VERDICT_REDIRECT, 121, SLEEP(0)},
        {E_WOKE, 0, 300, SEND(0)},
        {E_REPLY, KW_VERDICT_REDIRECT, 301, SEND(REDIRECT)},
        {E_REPLY, KW_VERDICT_FINAL, 302, DONE});
}

/* NOSCRIPT has done nothing: the driver sends the text to the same node. */
static void test_op_missing_script_is_sent_again(void **state)
{
    (void)state;
    PLAY("missing, and the text is not at hand", CLUSTER,
        {E_REPLY, KW_VERDICT_NO_SCRIPT, 1, DONE});
    kw_op op = PLAY("missing", CLUSTER | TEXT,
        {E_REPLY, KW_VERDICT_NO_SCRIPT, 1, SEND(0)},
        {E_REPLY, KW_VERDICT_FINAL, 2, DONE});
    assert_int_equal(op.sends_n, 2);
    PLAY("missing, pinned, no map", PINNED | TEXT,
        {E_REPLY, KW_VERDICT_NO_SCRIPT, 1, SEND(0)},
        {E_REPLY, KW_VERDICT_FINAL, 2, DONE});
    PLAY("missing where it was asked", CLUSTER | TEXT,
        {E_REPLY, KW_VERDICT_ASK, 1, SEND(REDIRECT | ASKING)},
        {E_REPLY, KW_VERDICT_NO_SCRIPT, 2, SEND(REDIRECT | ASKING)},
        {E_REPLY, KW_VERDICT_FINAL, 3, DONE});
    PLAY("missing at a replica", CLUSTER | TEXT | AT_REPLICA | REPEATABLE,
        {E_REPLY, KW_VERDICT_NO_SCRIPT, 1, SEND(0)},
        {E_REPLY, KW_VERDICT_FINAL, 2, DONE});
    PLAY("missing, then lost", CLUSTER | TEXT,
        {E_REPLY, KW_VERDICT_NO_SCRIPT, 1, SEND(0)},
        {E_LOST, KW_ERR_CLOSED, 2, FAIL_FETCH(KW_ERR_CLOSED, KW_EFFECT_MAYBE)});
    PLAY("missing for ever", CLUSTER | TEXT,
        {E_REPLY, KW_VERDICT_NO_SCRIPT, 1, SEND(0)},
        {E_REPLY, KW_VERDICT_NO_SCRIPT, 2, SEND(0)},
        {E_REPLY, KW_VERDICT_NO_SCRIPT, 3, SEND(0)},
        {E_REPLY, KW_VERDICT_NO_SCRIPT, 4, SEND(0)},
        {E_REPLY, KW_VERDICT_NO_SCRIPT, 5, DONE});
    PLAY("missing at the deadline", CLUSTER | TEXT,
        {E_REPLY, KW_VERDICT_NO_SCRIPT, 1000, FAIL(KW_ERR_QUEUE_TIMEOUT, KW_EFFECT_NONE)});
}

static void test_op_redirects_are_followed(void **state)
{
    (void)state;
    kw_op op = PLAY("moved", CLUSTER,
        {E_REPLY, KW_VERDICT_MOVED, 1, SEND(REDIRECT | PATCH | FETCH)},
        {E_REPLY, KW_VERDICT_FINAL, 2, DONE});
    assert_string_equal(op.target->host, "other");
    assert_int_equal(op.target->port, 7001);
    op = PLAY("moved, same host", CLUSTER,
        {E_SAME_HOST, 0, 1, SEND(REDIRECT | PATCH | FETCH)});
    assert_string_equal(op.target->host, "from");
    PLAY("moved, other slot", CLUSTER, {E_ELSEWHERE, 0, 1, SEND(REDIRECT | FETCH)});
    PLAY("moved, slot unknown", CLUSTER | NO_SLOT,
        {E_REPLY, KW_VERDICT_MOVED, 1, SEND(REDIRECT | FETCH)});
    PLAY("moved, no memory for whereto", CLUSTER | NO_PLACE,
        {E_REPLY, KW_VERDICT_MOVED, 1, REFRESH},
        {E_FETCHED, KW_OK, 2, SEND(0)},
        {E_REPLY, KW_VERDICT_FINAL, 3, DONE});
    PLAY("moved to nobody", CLUSTER,
        {E_UNKNOWN, 0, 1, REFRESH},
        {E_FETCHED, KW_OK, 2, SEND(0)});
    PLAY("ask", CLUSTER,
        {E_REPLY, KW_VERDICT_ASK, 1, SEND(REDIRECT | ASKING)},
        {E_REPLY, KW_VERDICT_TRY_AGAIN, 2, SLEEP(0)},
        {E_WOKE, 0, 9, SEND(0)},
        {E_REPLY, KW_VERDICT_ASK, 10, SEND(REDIRECT | ASKING)},
        {E_REPLY, KW_VERDICT_FINAL, 11, DONE});
    PLAY("ask, and asked to wait for the other half: ASKING each time", CLUSTER,
        {E_REPLY, KW_VERDICT_ASK, 1, SEND(REDIRECT | ASKING)},
        {E_REPLY, KW_VERDICT_ASK, 2, SEND(REDIRECT | ASKING)},
        {E_REPLY, KW_VERDICT_ASK, 3, SLEEP(0)},
        {E_WOKE, 0, 9, SEND(REDIRECT | ASKING)},
        {E_REPLY, KW_VERDICT_MOVED, 10, SLEEP(PATCH | FETCH)},
        {E_WOKE, 0, 30, SEND(REDIRECT)},
        {E_REPLY, KW_VERDICT_FINAL, 31, DONE});
    PLAY("moved to a node that is down: at the owner again", CLUSTER,
        {E_REPLY, KW_VERDICT_MOVED, 1, SEND(REDIRECT | PATCH | FETCH)},
        {E_UNAVAILABLE, KW_ERR_CONNECT, 2, SLEEP(FETCH)},
        {E_WOKE, 0, 10, SEND(0)});
    PLAY("asked of a node that is lost: at the owner again", CLUSTER,
        {E_REPLY, KW_VERDICT_ASK, 1, SEND(REDIRECT | ASKING)},
        {E_BROKEN, KW_ERR_CLOSED, 2, SLEEP(FETCH)},
        {E_WOKE, 0, 10, SEND(0)});
    PLAY("moved to nobody without end", CLUSTER,
        {E_UNKNOWN, 0, 1, REFRESH}, {E_FETCHED, KW_OK, 2, SEND(0)},
        {E_UNKNOWN, 0, 3, REFRESH}, {E_FETCHED, KW_OK, 4, SEND(0)},
        {E_UNKNOWN, 0, 5, REFRESH}, {E_FETCHED, KW_OK, 6, SEND(0)},
        {E_UNKNOWN, 0, 7, REFRESH}, {E_FETCHED, KW_OK, 8, SEND(0)},
        {E_UNKNOWN, 0, 9, REFRESH}, {E_FETCHED, KW_OK, 10, SEND(0)},
        {E_UNKNOWN, 0, 11, FAIL_FETCH(KW_ERR_REDIRECT, KW_EFFECT_NONE)});
    PLAY("moved at the deadline: learned, and not sent any more", CLUSTER,
        {E_REPLY, KW_VERDICT_MOVED, 1000, KW_STEP_FAIL, PATCH | FETCH, KW_ERR_REDIRECT,
         KW_EFFECT_NONE});
    PLAY("asked at the deadline: not sent any more", CLUSTER,
        {E_REPLY, KW_VERDICT_ASK, 1000, FAIL(KW_ERR_REDIRECT, KW_EFFECT_NONE)});
    PLAY("moved, no redirect allowed", CLUSTER | NO_REDIRECTS,
        {E_REPLY, KW_VERDICT_MOVED, 1, FAIL_FETCH(KW_ERR_REDIRECT, KW_EFFECT_NONE)});
    PLAY("moved without end", CLUSTER,
        {E_REPLY, KW_VERDICT_MOVED, 1, SEND(REDIRECT | PATCH | FETCH)},
        {E_REPLY, KW_VERDICT_MOVED, 2, SEND(REDIRECT | PATCH | FETCH)},
        {E_REPLY, KW_VERDICT_MOVED, 3, SLEEP(PATCH | FETCH)},
        {E_WOKE, 0, 20, SEND(REDIRECT)},
        {E_REPLY, KW_VERDICT_MOVED, 21, SLEEP(PATCH | FETCH)},
        {E_WOKE, 0, 60, SEND(REDIRECT)},
        {E_REPLY, KW_VERDICT_MOVED, 61, SLEEP(PATCH | FETCH)},
        {E_WOKE, 0, 120, SEND(REDIRECT)},
        {E_REPLY, KW_VERDICT_MOVED, 121, FAIL_FETCH(KW_ERR_REDIRECT, KW_EFFECT_NONE)});
}

static void test_op_server_states_are_waited_out(void **state)
{
    (void)state;
    static const struct { kw_verdict_kind kind; unsigned flags; kw_err code; } rows[] = {
        {KW_VERDICT_TRY_AGAIN, 0, KW_ERR_TRY_AGAIN},
        {KW_VERDICT_LOADING, FETCH, KW_ERR_LOADING},
        {KW_VERDICT_BUSY, 0, KW_ERR_BUSY},
        {KW_VERDICT_CLUSTER_DOWN, FETCH, KW_ERR_CLUSTER_DOWN},
        {KW_VERDICT_MASTER_DOWN, FETCH, KW_ERR_MASTER_DOWN},
        {KW_VERDICT_READONLY, FETCH, KW_ERR_READONLY},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int kind = (int)rows[i].kind;
        unsigned flags = rows[i].flags;
        PLAY("three times, then fine", CLUSTER,
            {E_REPLY, kind, 1, SLEEP(flags)}, {E_WOKE, 0, 10, SEND(0)},
            {E_REPLY, kind, 11, SLEEP(flags)}, {E_WOKE, 0, 30, SEND(0)},
            {E_REPLY, kind, 31, SLEEP(flags)}, {E_WOKE, 0, 90, SEND(0)},
            {E_REPLY, KW_VERDICT_FINAL, 91, DONE});
        PLAY("until the deadline", CLUSTER,
            {E_REPLY, kind, 999, SLEEP(flags)},
            {E_WOKE, 0, 1000, FAIL(rows[i].code, KW_EFFECT_NONE)});
        PLAY("past the deadline", CLUSTER,
            {E_REPLY, kind, 1001, KW_STEP_FAIL, flags, rows[i].code, KW_EFFECT_NONE});
    }
    PLAY("unblocked", CLUSTER,
        {E_REPLY, KW_VERDICT_UNBLOCKED, 1, SLEEP(FETCH)}, {E_WOKE, 0, 10, SEND(0)});
    PLAY("too many clients", CLUSTER,
        {E_REPLY, KW_VERDICT_FULL, 1, SLEEP(FETCH)}, {E_WOKE, 0, 10, SEND(0)});
}

static void test_op_map_without_redirects_is_asked_for_again(void **state)
{
    (void)state;
    PLAY("read-only", MAP,
        {E_REPLY, KW_VERDICT_READONLY, 1, SLEEP(FETCH)},
        {E_WOKE, 0, 10, SEND(0)},
        {E_REPLY, KW_VERDICT_FINAL, 11, DONE});
    PLAY("another role", MAP,
        {E_UNAVAILABLE, KW_ERR_ROLE, 1, SLEEP(FETCH)},
        {E_WOKE, 0, 10, SEND(0)},
        {E_UNAVAILABLE, KW_ERR_ROLE, 1000, KW_STEP_FAIL, FETCH, KW_ERR_ROLE, KW_EFFECT_NONE});
    PLAY("no sentinel reachable: asked until the deadline", MAP,
        {E_MAPLESS, 0, 1, REFRESH},
        {E_FETCHED, KW_ERR_NO_SENTINEL, 2, SLEEP(FETCH)},
        {E_WOKE, 0, 999, SEND(0)},
        {E_MAPLESS, 0, 999, REFRESH},
        {E_FETCHED, KW_ERR_TIMEOUT, 1000, FAIL(KW_ERR_NO_SENTINEL, KW_EFFECT_NONE)});
    PLAY("name unknown: at once", MAP,
        {E_MAPLESS, 0, 1, REFRESH},
        {E_FETCHED, KW_ERR_NO_SERVICE, 2, FAIL(KW_ERR_NO_SERVICE, KW_EFFECT_NONE)});
    PLAY("lost write", MAP,
        {E_LOST, KW_ERR_CLOSED, 1, FAIL_FETCH(KW_ERR_CLOSED, KW_EFFECT_MAYBE)});
}

/* A refused node's slot may be another's by now: the call that learns of it looks once, also where
 * it is the only one in a second. */
static void test_op_node_that_is_down_is_given_up_behind_one_map(void **state)
{
    (void)state;
    PLAY("another has it", CLUSTER,
        {E_UNAVAILABLE, KW_ERR_CONNECT, 1, SLEEP(FETCH)},
        {E_DOWN, KW_ERR_CONNECT, 1, REFRESH},
        {E_FETCHED, KW_OK, 2, SEND(0)},
        {E_REPLY, KW_VERDICT_FINAL, 3, DONE});
    PLAY("it still has it", CLUSTER,
        {E_UNAVAILABLE, KW_ERR_CONNECT, 1, SLEEP(FETCH)},
        {E_DOWN, KW_ERR_CONNECT, 1, REFRESH},
        {E_FETCHED, KW_OK, 2, SEND(0)},
        {E_DOWN, KW_ERR_CONNECT, 2, FAIL(KW_ERR_CONNECT, KW_EFFECT_NONE)});
    PLAY("nobody has a map to ask for", 0,
        {E_UNAVAILABLE, KW_ERR_CONNECT, 1, SLEEP(0)},
        {E_DOWN, KW_ERR_CONNECT, 1, FAIL(KW_ERR_CONNECT, KW_EFFECT_NONE)});
    PLAY("the caller named the node", CLUSTER | PINNED,
        {E_UNAVAILABLE, KW_ERR_CONNECT, 1, SLEEP(FETCH)},
        {E_DOWN, KW_ERR_CONNECT, 1, FAIL(KW_ERR_CONNECT, KW_EFFECT_NONE)});
}

static void test_op_replica_that_fails_is_left_for_the_primary(void **state)
{
    (void)state;
    static const int kinds[] = {KW_VERDICT_LOADING, KW_VERDICT_MASTER_DOWN, KW_VERDICT_ASK,
                                KW_VERDICT_TRY_AGAIN, KW_VERDICT_CLUSTER_DOWN, KW_VERDICT_READONLY,
                                KW_VERDICT_BUSY, KW_VERDICT_UNBLOCKED, KW_VERDICT_FULL};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        PLAY("turned away, at once elsewhere", CLUSTER | AT_REPLICA | REPEATABLE,
            {E_REPLY, kinds[i], 1, SEND(0)},
            {E_REPLY, KW_VERDICT_FINAL, 2, DONE});
        PLAY("also without a map", AT_REPLICA | REPEATABLE,
            {E_REPLY, kinds[i], 1, SEND(0)},
            {E_REPLY, KW_VERDICT_FINAL, 2, DONE});
    }
    PLAY("the slot is not its primary's any more", CLUSTER | AT_REPLICA | REPEATABLE,
        {E_REPLY, KW_VERDICT_MOVED, 1, SEND(FETCH)},
        {E_REPLY, KW_VERDICT_MOVED, 2, SEND(REDIRECT | PATCH | FETCH)},
        {E_REPLY, KW_VERDICT_FINAL, 3, DONE});
    PLAY("down", CLUSTER | AT_REPLICA | REPEATABLE,
        {E_UNAVAILABLE, KW_ERR_CONNECT, 1, SEND(FETCH)},
        {E_REPLY, KW_VERDICT_FINAL, 2, DONE});
    PLAY("without its link", MAP | AT_REPLICA | REPEATABLE,
        {E_UNAVAILABLE, KW_ERR_ROLE, 1, SEND(FETCH)},
        {E_REPLY, KW_VERDICT_FINAL, 2, DONE});
    PLAY("lost with the read on it", CLUSTER | AT_REPLICA | REPEATABLE,
        {E_LOST, KW_ERR_CLOSED, 1, SEND(FETCH)},
        {E_REPLY, KW_VERDICT_FINAL, 2, DONE});
    PLAY("both down: a replica again after the pause", CLUSTER | AT_REPLICA | REPEATABLE,
        {E_UNAVAILABLE, KW_ERR_CONNECT, 1, SEND(FETCH)},
        {E_UNAVAILABLE, KW_ERR_CONNECT, 2, SLEEP(FETCH)},
        {E_WOKE, 0, 10, SEND(0)},
        {E_REPLY, KW_VERDICT_LOADING, 11, SEND(0)});
    PLAY("nothing but replicas", CLUSTER | AT_REPLICA | ONLY_REPLICA | REPEATABLE,
        {E_REPLY, KW_VERDICT_LOADING, 1, SLEEP(0)},
        {E_WOKE, 0, 10, SEND(0)},
        {E_UNAVAILABLE, KW_ERR_CONNECT, 11, SLEEP(FETCH)},
        {E_WOKE, 0, 1000, FAIL(KW_ERR_CONNECT, KW_EFFECT_NONE)});
    PLAY("replicas that are behind", CLUSTER | ONLY_REPLICA,
        {E_STALE, 0, 1, SLEEP(0)},
        {E_WOKE, 0, 11, SEND(0)},
        {E_STALE, 0, 11, SLEEP(0)},
        {E_WOKE, 0, 1000, FAIL(KW_ERR_NOT_SERVED, KW_EFFECT_NONE)});
    PLAY("refuses the user: the primary", CLUSTER | AT_REPLICA | REPEATABLE,
         {E_UNAVAILABLE, KW_ERR_AUTH, 1, SEND(0)});
    PLAY("refuses the user, and nothing but replicas", CLUSTER | AT_REPLICA | ONLY_REPLICA,
         {E_UNAVAILABLE, KW_ERR_AUTH, 1, FAIL(KW_ERR_AUTH, KW_EFFECT_NONE)});
    PLAY("an answer is an answer", CLUSTER | AT_REPLICA, {E_REPLY, KW_VERDICT_FINAL, 1, DONE});
    PLAY("no permission", CLUSTER | AT_REPLICA, {E_REPLY, KW_VERDICT_AUTH, 1, DONE});
    PLAY("garbage", CLUSTER | AT_REPLICA | REPEATABLE,
        {E_LOST, KW_ERR_PROTOCOL, 1, FAIL(KW_ERR_PROTOCOL, KW_EFFECT_MAYBE)});
}

static void test_op_node_that_nobody_has_found_is_asked_for(void **state)
{
    (void)state;
    PLAY("not asked yet: after the fetch it is known", MAP,
        {E_UNAVAILABLE, KW_ERR_TOPOLOGY, 1, REFRESH},
        {E_FETCHED, KW_OK, 2, SEND(0)},
        {E_UNAVAILABLE, KW_ERR_TOPOLOGY, 2, REFRESH}, /* another group's fetch */
        {E_FETCHED, KW_OK, 3, SEND(0)});
    PLAY("nobody knew: at once, and asked again meanwhile", MAP,
        {E_UNAVAILABLE, KW_ERR_NO_SENTINEL, 1, KW_STEP_FAIL, FETCH, KW_ERR_NO_SENTINEL,
         KW_EFFECT_NONE});
    PLAY("or not the name", MAP,
        {E_UNAVAILABLE, KW_ERR_NO_SERVICE, 1, KW_STEP_FAIL, FETCH, KW_ERR_NO_SERVICE,
         KW_EFFECT_NONE});
    PLAY("without a map there is nothing to ask for", 0,
        {E_UNAVAILABLE, KW_ERR_TOPOLOGY, 1, FAIL(KW_ERR_TOPOLOGY, KW_EFFECT_NONE)});
}

static void test_op_unserved_slot_is_asked_for_until_the_deadline(void **state)
{
    (void)state;
    PLAY("hole, served in the end", CLUSTER,
        {E_UNSERVED, 0, 1, REFRESH},
        {E_FETCHED, KW_OK, 2, SEND(0)},
        {E_UNSERVED, 0, 3, SLEEP(FETCH)},
        {E_WOKE, 0, 9, SEND(0)},
        {E_UNSERVED, 0, 9, REFRESH},
        {E_FETCHED, KW_OK, 110, SEND(0)},
        {E_REPLY, KW_VERDICT_FINAL, 111, DONE});
    PLAY("hole, for ever", CLUSTER,
        {E_UNSERVED, 0, 1, REFRESH},
        {E_FETCHED, KW_OK, 2, SEND(0)},
        {E_UNSERVED, 0, 3, SLEEP(FETCH)},
        {E_WOKE, 0, 1000, FAIL(KW_ERR_NOT_SERVED, KW_EFFECT_NONE)});
    PLAY("no map: asked for until the deadline", CLUSTER,
        {E_MAPLESS, 0, 1, REFRESH},
        {E_FETCHED, KW_ERR_TOPOLOGY, 300, SLEEP(FETCH)},
        {E_WOKE, 0, 310, SEND(0)},
        {E_MAPLESS, 0, 310, REFRESH},
        {E_FETCHED, KW_ERR_CONNECT, 600, SLEEP(FETCH)},
        {E_WOKE, 0, 610, SEND(0)},
        {E_MAPLESS, 0, 610, REFRESH},
        {E_FETCHED, KW_ERR_TOPOLOGY, 1000, FAIL(KW_ERR_TOPOLOGY, KW_EFFECT_NONE)});
    PLAY("the map comes late, and has a hole", CLUSTER,
        {E_MAPLESS, 0, 1, REFRESH},
        {E_FETCHED, KW_OK, 2, SEND(0)},
        {E_UNSERVED, 0, 2, SLEEP(FETCH)});
    PLAY("a later hole is another one: served in between", CLUSTER,
        {E_UNSERVED, 0, 1, REFRESH},
        {E_FETCHED, KW_OK, 2, SEND(0)},
        {E_REPLY, KW_VERDICT_CLUSTER_DOWN, 3, SLEEP(FETCH)},
        {E_WOKE, 0, 300, SEND(0)},
        {E_UNSERVED, 0, 300, REFRESH},
        {E_FETCHED, KW_OK, 400, SEND(0)},
        {E_REPLY, KW_VERDICT_FINAL, 401, DONE});
    PLAY("a later hole is another one: node down in between", CLUSTER,
        {E_MAPLESS, 0, 1, REFRESH},
        {E_FETCHED, KW_OK, 2, SEND(0)},
        {E_UNAVAILABLE, KW_ERR_CONNECT, 3, SLEEP(FETCH)},
        {E_WOKE, 0, 300, SEND(0)},
        {E_UNSERVED, 0, 300, REFRESH});
    PLAY("no map, password wrong", CLUSTER,
        {E_UNSERVED, 0, 1, REFRESH},
        {E_FETCHED, KW_ERR_AUTH, 2, FAIL(KW_ERR_AUTH, KW_EFFECT_NONE)});
}

static void test_op_nothing_sent_is_tried_again_whatever_the_command(void **state)
{
    (void)state;
    PLAY("node down, write", CLUSTER,
        {E_UNAVAILABLE, KW_ERR_CONNECT, 1, SLEEP(FETCH)},
        {E_WOKE, 0, 9, SEND(0)},
        {E_REPLY, KW_VERDICT_FINAL, 10, DONE});
    PLAY("node down until the deadline", CLUSTER,
        {E_UNAVAILABLE, KW_ERR_CONNECT, 990, SLEEP(FETCH)},
        {E_WOKE, 0, 1000, FAIL(KW_ERR_CONNECT, KW_EFFECT_NONE)});
    PLAY("lost before a byte left, write", CLUSTER,
        {E_BROKEN, KW_ERR_CLOSED, 1, SLEEP(FETCH)},
        {E_WOKE, 0, 9, SEND(0)});
    PLAY("single server down", 0, {E_UNAVAILABLE, KW_ERR_CONNECT, 1, SLEEP(0)});
    PLAY("password wrong", CLUSTER,
        {E_UNAVAILABLE, KW_ERR_AUTH, 1, FAIL(KW_ERR_AUTH, KW_EFFECT_NONE)});
    PLAY("no memory", CLUSTER,
        {E_UNAVAILABLE, KW_ERR_NOMEM, 1, FAIL(KW_ERR_NOMEM, KW_EFFECT_NONE)});
    PLAY("deadline while waiting", CLUSTER,
        {E_DEADLINE, 0, 1000, FAIL(KW_ERR_QUEUE_TIMEOUT, KW_EFFECT_NONE)});
}

static void test_op_unknown_outcome_is_repeated_only_with_leave(void **state)
{
    (void)state;
    PLAY("write lost", CLUSTER,
        {E_LOST, KW_ERR_CLOSED, 1, FAIL_FETCH(KW_ERR_CLOSED, KW_EFFECT_MAYBE)});
    PLAY("read lost", CLUSTER | REPEATABLE,
        {E_LOST, KW_ERR_CLOSED, 1, SLEEP(FETCH)},
        {E_WOKE, 0, 9, SEND(0)},
        {E_REPLY, KW_VERDICT_FINAL, 10, DONE});
    PLAY("read lost, then the node is gone: it may still have run", CLUSTER | REPEATABLE,
        {E_LOST, KW_ERR_CLOSED, 1, SLEEP(FETCH)},
        {E_WOKE, 0, 9, SEND(0)},
        {E_UNAVAILABLE, KW_ERR_CONNECT, 999, SLEEP(FETCH)},
        {E_WOKE, 0, 1000, FAIL(KW_ERR_CLOSED, KW_EFFECT_MAYBE)});
    PLAY("read lost, then the server refuses: it may still have run", CLUSTER | REPEATABLE,
        {E_LOST, KW_ERR_CLOSED, 1, SLEEP(FETCH)},
        {E_WOKE, 0, 9, SEND(0)},
        {E_REPLY, KW_VERDICT_LOADING, 999, SLEEP(FETCH)},
        {E_WOKE, 0, 1000, FAIL(KW_ERR_LOADING, KW_EFFECT_MAYBE)});
    PLAY("read lost, then redirected without end", CLUSTER | REPEATABLE | NO_REDIRECTS,
        {E_LOST, KW_ERR_CLOSED, 1, SLEEP(FETCH)},
        {E_WOKE, 0, 9, SEND(0)},
        {E_REPLY, KW_VERDICT_MOVED, 10, FAIL_FETCH(KW_ERR_REDIRECT, KW_EFFECT_MAYBE)});
    PLAY("nonsense before a byte left", CLUSTER | REPEATABLE,
        {E_BROKEN, KW_ERR_PROTOCOL, 1, FAIL(KW_ERR_PROTOCOL, KW_EFFECT_NONE)});
    PLAY("read behind a greeting that failed: it may have run", CLUSTER | REPEATABLE,
        {E_UNREADY, KW_ERR_HANDSHAKE, 1, SLEEP(FETCH)},
        {E_WOKE, 0, 9, SEND(0)},
        {E_UNAVAILABLE, KW_ERR_CONNECT, 999, SLEEP(FETCH)},
        {E_WOKE, 0, 1000, FAIL(KW_ERR_CLOSED, KW_EFFECT_MAYBE)});
    PLAY("read behind a greeting that was refused: it has not", CLUSTER | REPEATABLE,
        {E_UNREADY, KW_ERR_AUTH, 1, FAIL(KW_ERR_AUTH, KW_EFFECT_NONE)});
    PLAY("write late", CLUSTER,
        {E_LATE, 0, 1000, FAIL_FETCH(KW_ERR_TIMEOUT, KW_EFFECT_MAYBE)});
    PLAY("read late", CLUSTER | REPEATABLE,
        {E_LATE, 0, 1000, FAIL_FETCH(KW_ERR_TIMEOUT, KW_EFFECT_MAYBE)});
    PLAY("nonsense is never tried again", CLUSTER | REPEATABLE,
        {E_LOST, KW_ERR_PROTOCOL, 1, FAIL(KW_ERR_PROTOCOL, KW_EFFECT_MAYBE)});
    PLAY("a reply too many", CLUSTER | REPEATABLE,
        {E_LOST, KW_ERR_DESYNC, 1, FAIL(KW_ERR_DESYNC, KW_EFFECT_MAYBE)});
    PLAY("too large a reply: it ran", CLUSTER | REPEATABLE,
        {E_LOST, KW_ERR_LIMIT, 1, FAIL(KW_ERR_LIMIT, KW_EFFECT_DONE)});
}
/* clang-format on */

static void test_op_sends_are_bounded(void **state)
{
    (void)state;
    kw_op op;
    kw_op_spec spec = {
        .deadline_ns = UINT64_MAX / 2, .redirects_max = 5, .has_map = true, .has_redirects = true};
    kw_step step = kw_op_start(&op, &spec, 7);
    kw_verdict verdict = {.kind = KW_VERDICT_TRY_AGAIN};
    kw_endpoint from = {"from", 7000};
    uint64_t now_ns = 0;
    while (step.kind != KW_STEP_FAIL) {
        if (step.kind == KW_STEP_SEND) {
            kw_op_on_send(&op);
            step = kw_op_on_reply(&op, now_ns, &verdict, &from);
        } else {
            now_ns = step.until_ns;
            step = kw_op_on_woke(&op, now_ns);
        }
        assert_in_range(op.sends_n, 0, KW_OP_SENDS_MAX);
    }
    assert_int_equal(step.code, KW_ERR_TRY_AGAIN);
    assert_int_equal(step.effect, KW_EFFECT_NONE);
    assert_int_equal(op.sends_n, KW_OP_SENDS_MAX);
}

static void test_op_last_send_may_still_end_well(void **state)
{
    (void)state;
    static const struct {
        kw_verdict_kind kind;
        bool is_pinned;
    } rows[] = {
        {KW_VERDICT_FINAL, false}, {KW_VERDICT_AUTH, false},    {KW_VERDICT_MOVED, true},
        {KW_VERDICT_ASK, true},    {KW_VERDICT_READONLY, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kw_op op;
        kw_op_spec spec = {
            .deadline_ns = DEADLINE, .redirects_max = 5, .has_map = true, .has_redirects = true};
        spec.is_pinned = rows[i].is_pinned;
        (void)kw_op_start(&op, &spec, 7);
        for (unsigned n = 0; n < KW_OP_SENDS_MAX; n++) {
            kw_op_on_send(&op);
        }
        kw_verdict verdict = {.kind = rows[i].kind, .slot = SLOT, .port = 7001};
        kw_endpoint from = {"from", 7000};
        assert_int_equal(kw_op_on_reply(&op, MS, &verdict, &from).kind, KW_STEP_DONE);
    }
}

/* How a read ends whose tries all end so. */
static kw_step fail_always(kw_op *op, const kw_op_spec *spec, const kw_try_end *end)
{
    kw_step step = kw_op_start(op, spec, 7);
    uint64_t now_ns = 0;
    while (step.kind != KW_STEP_FAIL) {
        if (step.kind == KW_STEP_SEND) {
            kw_op_on_send(op);
            step = kw_op_on_failed(op, now_ns, end);
        } else {
            now_ns = step.until_ns;
            step = kw_op_on_woke(op, now_ns);
        }
        assert_in_range(op->sends_n, 0, KW_OP_SENDS_MAX);
    }
    return step;
}

static void test_op_lost_reads_are_bounded_too(void **state)
{
    (void)state;
    kw_op op;
    kw_op_spec spec = {.deadline_ns = UINT64_MAX / 2,
                       .has_map = true,
                       .has_redirects = true,
                       .is_repeatable = true};
    for (int was_ready = 0; was_ready <= 1; was_ready++) {
        kw_err code = was_ready ? KW_ERR_CLOSED : KW_ERR_HANDSHAKE;
        kw_step step = fail_always(&op, &spec, &(kw_try_end){code, true, was_ready, true, 0});
        assert_int_equal(op.sends_n, KW_OP_LOSSES_MAX);
        assert_int_equal(step.code, KW_ERR_CLOSED);
        assert_int_equal(step.effect, KW_EFFECT_MAYBE);
        assert_true(step.wants_refresh);
    }
}

static void test_op_what_never_left_is_no_attempt_and_ends_at_the_deadline(void **state)
{
    (void)state;
    static const kw_try_end ends[] = {
        {KW_ERR_CONNECT, false, false, false, 0},   {KW_ERR_CONNECT, true, false, false, 0},
        {KW_ERR_HANDSHAKE, true, false, false, 0},  {KW_ERR_RESOLVE, false, false, false, 0},
        {KW_ERR_POOL_FULL, false, false, false, 0}, {KW_ERR_CLOSED, true, true, false, 0},
        {KW_ERR_ROLE, true, false, false, 0},
    };
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        kw_op op;
        kw_op_spec spec = {.deadline_ns = 25000 * MS, .has_map = i % 2 == 0};
        kw_step step = fail_always(&op, &spec, &ends[i]);
        assert_int_equal(step.code, ends[i].code);
        assert_int_equal(step.effect, KW_EFFECT_NONE);
        assert_int_equal(op.sends_n, 0);
    }
}

static void test_op_goes_with_a_greeting_until_one_was_lost(void **state)
{
    (void)state;
    kw_op op;
    kw_op_spec spec = {.deadline_ns = DEADLINE};
    (void)kw_op_start(&op, &spec, 7);
    assert_false(kw_op_is_early(&op));
    spec.is_repeatable = true;
    (void)kw_op_start(&op, &spec, 7);
    assert_true(kw_op_is_early(&op));
    kw_op_on_send(&op);
    (void)kw_op_on_failed(&op, MS, &(kw_try_end){KW_ERR_CONNECT, true, false, false, 0});
    assert_true(kw_op_is_early(&op));
    kw_op_on_send(&op);
    (void)kw_op_on_failed(&op, MS, &(kw_try_end){KW_ERR_HANDSHAKE, true, false, true, 0});
    assert_false(kw_op_is_early(&op));
}

/* What holds of every end, whatever the command. */
static void judge_end(const kw_op *op, const kw_step *step, const kw_try_end *end)
{
    bool is_unsent_code = end->code == KW_ERR_CONNECT || end->code == KW_ERR_RESOLVE ||
                          end->code == KW_ERR_HANDSHAKE || end->code == KW_ERR_ROLE ||
                          end->code == KW_ERR_POOL_FULL || end->code == KW_ERR_QUEUE_TIMEOUT;
    bool is_final = end->code == KW_ERR_AUTH || end->code == KW_ERR_LIMIT ||
                    end->code == KW_ERR_PROTOCOL || end->code == KW_ERR_DESYNC ||
                    end->code == KW_ERR_NOMEM || end->code == KW_ERR_CANCELLED ||
                    end->code == KW_ERR_TIMEOUT;
    assert_int_equal(op->sends_n, end->has_left ? 1 : 0);
    assert_int_not_equal(step->kind, KW_STEP_DONE);
    if (end->has_left && !op->spec.is_repeatable) {
        assert_int_equal(step->kind, KW_STEP_FAIL); /* no command runs twice without leave */
    }
    if (is_final) {
        assert_int_equal(step->kind, KW_STEP_FAIL);
    }
    if (step->kind != KW_STEP_FAIL) {
        assert_int_equal(op->effect, end->has_left ? KW_EFFECT_MAYBE : KW_EFFECT_NONE);
        return;
    }
    kw_effect effect = end->has_left ? KW_EFFECT_MAYBE : KW_EFFECT_NONE;
    effect = end->code == KW_ERR_LIMIT ? KW_EFFECT_DONE : effect;
    effect = end->code == KW_ERR_AUTH ? KW_EFFECT_NONE : effect;
    assert_int_equal(step->effect, effect);
    if (step->effect == KW_EFFECT_MAYBE && is_unsent_code) {
        assert_int_equal(step->code, KW_ERR_CLOSED);
    } else if (end->code != KW_ERR_TIMEOUT) {
        assert_int_equal(step->code, end->code);
    }
}

static void test_op_every_end_of_a_try_keeps_the_rules(void **state)
{
    (void)state;
    static const kw_err codes[] = {
        KW_ERR_CONNECT,    KW_ERR_RESOLVE,       KW_ERR_HANDSHAKE, KW_ERR_ROLE,   KW_ERR_AUTH,
        KW_ERR_POOL_FULL,  KW_ERR_QUEUE_TIMEOUT, KW_ERR_TOPOLOGY,  KW_ERR_CLOSED, KW_ERR_PROTOCOL,
        KW_ERR_DESYNC,     KW_ERR_LIMIT,         KW_ERR_TIMEOUT,   KW_ERR_NOMEM,  KW_ERR_CANCELLED,
        KW_ERR_NO_SERVICE, KW_ERR_NO_SENTINEL,
    };
    for (size_t i = 0; i < 64 * sizeof(codes) / sizeof(codes[0]); i++) {
        /* Later bits of one that was not opened would say nothing. */
        kw_try_end end = {codes[i / 64], i & 1, (i & 3) == 3, (i & 1) && (i & 4), 0};
        kw_op op;
        kw_op_spec spec = {.deadline_ns = DEADLINE,
                           .is_repeatable = (i & 8) != 0,
                           .has_map = (i & 16) != 0,
                           .avoids_primary = (i & 32) != 0};
        (void)kw_op_start(&op, &spec, 7);
        op.is_at_replica = spec.avoids_primary;
        kw_op_on_send(&op);
        kw_step step = kw_op_on_failed(&op, MS, &end);
        judge_end(&op, &step, &end);
    }
}

static void test_op_deadline_says_what_was_waited_for(void **state)
{
    (void)state;
    PLAY("nothing was tried", CLUSTER,
         {E_DEADLINE, 0, 1000, FAIL(KW_ERR_QUEUE_TIMEOUT, KW_EFFECT_NONE)});
    PLAY("still connecting", CLUSTER,
         {E_UNCONNECTED, 0, 1000, FAIL(KW_ERR_CONNECT, KW_EFFECT_NONE)});
    PLAY("the connection took nothing", CLUSTER,
         {E_UNTAKEN, 0, 1000, FAIL(KW_ERR_QUEUE_TIMEOUT, KW_EFFECT_NONE)});
    PLAY("lost before, and still connecting: it may have run", CLUSTER | REPEATABLE,
         {E_LOST, KW_ERR_CLOSED, 1, SLEEP(FETCH)}, {E_WOKE, 0, 9, SEND(0)},
         {E_UNCONNECTED, 0, 1000, FAIL(KW_ERR_CLOSED, KW_EFFECT_MAYBE)});
    PLAY("greeted, and then refused: lost", CLUSTER, {E_BROKEN, KW_ERR_CONNECT, 999, SLEEP(FETCH)},
         {E_WOKE, 0, 1000, FAIL(KW_ERR_CLOSED, KW_EFFECT_NONE)});
    PLAY("waited for a greeting that was refused", CLUSTER,
         {E_UNGREETED, KW_ERR_HANDSHAKE, 999, SLEEP(FETCH)},
         {E_WOKE, 0, 1000, FAIL(KW_ERR_HANDSHAKE, KW_EFFECT_NONE)});
}

/* A database or a certificate that is refused: another node, where any will do, else at once. */
static void test_op_settings_that_are_refused_are_not_waited_for(void **state)
{
    (void)state;
    PLAY("one server", 0, {E_INCOMPATIBLE, 0, 1, FAIL(KW_ERR_HANDSHAKE, KW_EFFECT_NONE)});
    PLAY("the owner of the slot", CLUSTER,
         {E_INCOMPATIBLE, 0, 1, FAIL(KW_ERR_HANDSHAKE, KW_EFFECT_NONE)});
    PLAY("the node that the caller named", CLUSTER | NO_SLOT | PINNED,
         {E_INCOMPATIBLE, 0, 1, FAIL(KW_ERR_HANDSHAKE, KW_EFFECT_NONE)});
    PLAY("any node: three of them", CLUSTER | NO_SLOT, {E_INCOMPATIBLE, 0, 1, SLEEP(FETCH)},
         {E_WOKE, 0, 20, SEND(0)}, {E_INCOMPATIBLE, 0, 21, SLEEP(FETCH)}, {E_WOKE, 0, 50, SEND(0)},
         {E_INCOMPATIBLE, 0, 51, FAIL(KW_ERR_HANDSHAKE, KW_EFFECT_NONE)});
    PLAY("a replica: the next one, or the primary", CLUSTER | AT_REPLICA,
         {E_INCOMPATIBLE, 0, 1, SEND(FETCH)});
    PLAY("behind a node that was incompatible others are as ever", CLUSTER | NO_SLOT,
         {E_INCOMPATIBLE, 0, 1, SLEEP(FETCH)}, {E_WOKE, 0, 20, SEND(0)},
         {E_UNAVAILABLE, KW_ERR_CONNECT, 21, SLEEP(FETCH)});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_op_settings_that_are_refused_are_not_waited_for),
        cmocka_unit_test(test_op_reply_is_the_callers),
        cmocka_unit_test(test_op_handover_is_followed),
        cmocka_unit_test(test_op_missing_script_is_sent_again),
        cmocka_unit_test(test_op_redirects_are_followed),
        cmocka_unit_test(test_op_server_states_are_waited_out),
        cmocka_unit_test(test_op_map_without_redirects_is_asked_for_again),
        cmocka_unit_test(test_op_node_that_is_down_is_given_up_behind_one_map),
        cmocka_unit_test(test_op_replica_that_fails_is_left_for_the_primary),
        cmocka_unit_test(test_op_node_that_nobody_has_found_is_asked_for),
        cmocka_unit_test(test_op_unserved_slot_is_asked_for_until_the_deadline),
        cmocka_unit_test(test_op_nothing_sent_is_tried_again_whatever_the_command),
        cmocka_unit_test(test_op_unknown_outcome_is_repeated_only_with_leave),
        cmocka_unit_test(test_op_sends_are_bounded),
        cmocka_unit_test(test_op_last_send_may_still_end_well),
        cmocka_unit_test(test_op_lost_reads_are_bounded_too),
        cmocka_unit_test(test_op_what_never_left_is_no_attempt_and_ends_at_the_deadline),
        cmocka_unit_test(test_op_goes_with_a_greeting_until_one_was_lost),
        cmocka_unit_test(test_op_every_end_of_a_try_keeps_the_rules),
        cmocka_unit_test(test_op_deadline_says_what_was_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What a command does to a session's connection, and whether its keys belong there. */
#include "drive/session_private.h"

#include "drive/driver.h"
#include "drive/encoded_args.h"
#include "drive/plan_refuse.h"
#include "drive/plan_ring.h"
#include "base/error.h"
#include "route/keys.h"
#include "route/slot.h"

#include <keyway/command.h>

#include <string.h>

/* Keys are shown in error texts up to this length. */
#define SHOWN_LEN 64

typedef struct effect_row {
    char name[21];
    kw_session_effect effect;
} effect_row;

/* Of the commands that bind their connection (KW_COMMAND_SESSION), those that leave one
 * request one reply. The others are refused. */
static const effect_row effect_rows[] = {
    {"MULTI", KW_SESSION_EFFECT_MULTI},
    {"EXEC", KW_SESSION_EFFECT_EXEC},
    {"DISCARD", KW_SESSION_EFFECT_DISCARD},
    {"WATCH", KW_SESSION_EFFECT_WATCH},
    {"UNWATCH", KW_SESSION_EFFECT_UNWATCH},
    {"WAIT", KW_SESSION_EFFECT_WAIT},
    {"WAITAOF", KW_SESSION_EFFECT_WAIT},
    {"ASKING", KW_SESSION_EFFECT_BEFORE},
    {"CLIENT CACHING", KW_SESSION_EFFECT_BEFORE},
    {"CLIENT CAPA", KW_SESSION_EFFECT_SETTING},
    {"CLIENT IMPORT-SOURCE", KW_SESSION_EFFECT_SETTING},
    {"CLIENT NO-EVICT", KW_SESSION_EFFECT_SETTING},
    {"CLIENT NO-TOUCH", KW_SESSION_EFFECT_SETTING},
    {"CLIENT SETINFO", KW_SESSION_EFFECT_SETTING},
    {"CLIENT SETNAME", KW_SESSION_EFFECT_SETTING},
    {"CLIENT TRACKING", KW_SESSION_EFFECT_SETTING}, /* to another connection, with RESP2 */
    {"HIMPORT DISCARD", KW_SESSION_EFFECT_SETTING}, /* fields, for HIMPORT SET */
    {"HIMPORT DISCARDALL", KW_SESSION_EFFECT_SETTING},
    {"HIMPORT PREPARE", KW_SESSION_EFFECT_SETTING},
    {"READONLY", KW_SESSION_EFFECT_SETTING},
    {"READWRITE", KW_SESSION_EFFECT_SETTING},
    {"SELECT", KW_SESSION_EFFECT_SELECT},
};

static kw_session_effect effect_of(const char *name, unsigned flags)
{
    if ((flags & KW_COMMAND_REFUSED) != 0) {
        return KW_SESSION_EFFECT_REFUSED;
    }
    if ((flags & KW_COMMAND_SESSION) == 0) {
        return KW_SESSION_EFFECT_NONE;
    }
    for (size_t i = 0; i < sizeof(effect_rows) / sizeof(effect_rows[0]); i++) {
        if (strcmp(name, effect_rows[i].name) == 0) {
            return effect_rows[i].effect;
        }
    }
    return KW_SESSION_EFFECT_REFUSED;
}

/* Everything goes to the owner of the session's slot. */
static void take_slot(kw_plan *plan, const kw_session *session)
{
    plan->kind = kw_driver_has_map(session->topology) ? KW_PLAN_SLOT : KW_PLAN_ANY;
    plan->slot = session->slot;
    if (kw_topology_is_ring(session->topology)) {
        plan->kind = KW_PLAN_POSITION;
        plan->position = session->position;
        kw_ring_positions_free(kw_plan_positions(plan)); /* they were checked */
        plan->keys = KW_PLAN_KEYS_UNKNOWN;
    }
}

/* Options of one command, whose place is the session's: its deadline, and what follows a failure.
 */
static kw_err check_options(kw_error *error, const kw_call_options *options)
{
    bool has_place = options->route != KW_ROUTE_AUTO || options->read != KW_READ_DEFAULT ||
                     options->after != NULL || options->zone != NULL;
    bool has_acks = (options->acks != 0 && options->acks != KW_ACKS_NONE) ||
                    options->acks_local != 0 || options->token_out != NULL;
    if (!has_place && !has_acks) {
        return KW_OK;
    }
    return kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                        "a session's commands go where it is pinned, and WAIT is a command of its "
                        "own: of the options timeout_ms, idempotent and fail_fast are for them");
}

static void take_options(kw_plan *plan, const kw_call_options *options)
{
    plan->fails_fast = options->fail_fast;
    plan->is_repeatable = plan->is_repeatable || options->idempotent;
    if (options->timeout_ms > 0) {
        plan->deadline_ns = kw_plan_deadline_ns(plan->start_ns, options->timeout_ms);
        plan->block_ns = 0;
    }
}

static void take_deadline(kw_plan *plan, const kw_session *session, uint64_t block_ms)
{
    uint64_t timeout_ms = session->topology->env.options.timeout_ms;
    timeout_ms = block_ms < UINT64_MAX - timeout_ms ? timeout_ms + block_ms : UINT64_MAX;
    plan->closing = session->closing;
    plan->start_ns = kw_env_now(&session->topology->env);
    plan->deadline_ns = kw_plan_deadline_ns(plan->start_ns, timeout_ms);
    uint64_t place_ns =
        kw_plan_deadline_ns(plan->start_ns, session->topology->env.options.timeout_ms);
    plan->block_ns = plan->deadline_ns > place_ns ? plan->deadline_ns - place_ns : 0;
}

void kw_session_init(kw_session *session, kw_topology *topology, kw_bytes key)
{
    memset(session, 0, sizeof(*session));
    session->mem = topology->env.mem;
    session->topology = topology;
    session->pid = topology->fork.pid;
    session->state.database = topology->env.options.database;
    session->slot = kw_driver_has_slots(topology) ? kw_slot_of(key.data, key.len) : 0;
    if (kw_topology_is_ring(topology)) {
        session->position = kw_ring_position_of(topology->placement, key);
    }
}

void kw_session_plan_open(kw_plan *plan, const kw_session *session)
{
    memset(plan, 0, sizeof(*plan));
    plan->name = "session";
    plan->is_repeatable = true;
    take_slot(plan, session);
    take_deadline(plan, session, 0);
}

static kw_err foreign_slot(kw_error *error, const kw_session *session, const char *what,
                           unsigned slot)
{
    return kw_error_set(error, KW_ERR_CROSSSLOT, KW_EFFECT_NONE,
                        "%s lives in slot %u, and the session is pinned to slot %u; give its keys "
                        "the {hash tag} of the key that it was opened with",
                        what, slot, (unsigned)session->slot);
}

/* The node that the session's commands go to: its connection's where that cannot be left. */
static const kw_node *node_of(const kw_session *session, const kw_snapshot *snapshot)
{
    bool is_bound = session->node != NULL && !kw_session_is_clean(session);
    return is_bound ? session->node : kw_snapshot_at_position(snapshot, session->position);
}

/* The key lives, by the ring of this moment, where the session's commands go. */
static kw_err check_position(const kw_session *session, kw_error *error, const char *name,
                             uint64_t position)
{
    kw_snapshot *snapshot = kw_topology_snapshot(session->topology);
    const kw_node *here = node_of(session, snapshot);
    const kw_node *there = kw_snapshot_at_position(snapshot, position);
    kw_err code = KW_OK;
    if (here != there) {
        code = kw_error_set(error, KW_ERR_CROSSSLOT, KW_EFFECT_NONE,
                            "keys of %s live at %.128s, and the session is pinned to %.128s; give "
                            "its keys the {hash tag} of the key that it was opened with, or, if "
                            "the ring was changed, open another session",
                            name, there != NULL ? there->name : "no node",
                            here != NULL ? here->name : "no node");
    }
    kw_snapshot_unref(snapshot);
    return code;
}

static kw_err check_ring_keys(const kw_plan *plan, const kw_session *session, kw_error *error,
                              const kw_keys *keys)
{
    kw_err code = KW_OK;
    for (size_t i = 0; code == KW_OK && i < kw_keys_count(keys); i++) {
        uint64_t position = kw_ring_position_of(session->topology->placement, kw_keys_at(keys, i));
        code = check_position(session, error, kw_plan_name(plan), position);
    }
    return code;
}

static kw_err check_keys(const kw_plan *plan, const kw_session *session, kw_error *error,
                         const kw_bytes *argv, size_t argc)
{
    kw_keys keys;
    kw_err code = kw_keys_find(&keys, error, plan->command, argv, argc);
    if (code != KW_OK || keys.ranges_n == 0) {
        return code;
    }
    if (kw_topology_is_ring(session->topology)) {
        return check_ring_keys(plan, session, error, &keys);
    }
    uint16_t slot;
    code = kw_keys_slot(&slot, error, &keys);
    if (code == KW_OK && slot != session->slot) {
        char shown[SHOWN_LEN];
        char what[SHOWN_LEN + 16] = "key \"";
        kw_bytes_show(shown, sizeof(shown), argv[keys.ranges[0].at]);
        strcat(strcat(what, shown), "\"");
        code = foreign_slot(error, session, what, slot);
    }
    return code;
}

/* A server is asked for the keys of a command that the table does not know. */
static kw_err plan_unknown(kw_plan *plan, const kw_session *session, kw_error *error,
                           const kw_plan_task *given)
{
    kw_plan_task task = {.options = given->options, .argv = given->argv, .argc = given->argc};
    task.takes_acks = true;
    task.closing = session->closing;
    kw_err code = session->is_async ? kw_plan_start(plan, session->topology, error, &task)
                                    : kw_plan_make(plan, session->topology, error, &task);
    if (code == KW_OK && plan->need != KW_PLAN_NEEDS_NOTHING) {
        plan->need = KW_PLAN_NEEDS_NOTHING; /* its keys are the server's to refuse */
    } else if (code == KW_OK && plan->kind == KW_PLAN_POSITION) {
        code = check_position(session, error, kw_plan_name(plan), plan->position);
    } else if (code == KW_OK && plan->kind == KW_PLAN_SLOT && plan->slot != session->slot) {
        code = foreign_slot(error, session, "the command's key", plan->slot);
    }
    take_slot(plan, session);
    if (code != KW_OK) {
        kw_plan_fini(plan);
    }
    return code;
}

static kw_err plan_known(kw_plan *plan, const kw_session *session, kw_error *error,
                         const kw_bytes *argv, size_t argc)
{
    unsigned flags = kw_command_flags(plan->command);
    plan->name = kw_command_name(plan->command);
    plan->is_repeatable =
        (flags & KW_COMMAND_READ) != 0 && session->topology->env.options.repeats_reads;
    plan->is_script = (flags & KW_COMMAND_SCRIPT) != 0;
    plan->is_blocking = (flags & KW_COMMAND_BLOCKING) != 0;
    take_slot(plan, session);
    take_deadline(plan, session,
                  plan->is_blocking ? kw_command_block_ms(plan->command, argv, argc) : 0);
    bool has_owners =
        kw_driver_has_slots(session->topology) || kw_topology_is_ring(session->topology);
    return has_owners ? check_keys(plan, session, error, argv, argc) : KW_OK;
}

void kw_session_end_writes(kw_session *session)
{
    while (session->writes != NULL) {
        kw_own_write *write = session->writes;
        session->writes = write->next;
        write->end_fn(write);
    }
}

void kw_session_keep_write(kw_session *session, kw_plan *plan)
{
    if (session->state.is_multi && plan->write != NULL) {
        plan->write->next = session->writes;
        session->writes = plan->write;
        plan->write = NULL;
    } else if (!session->state.is_multi) {
        kw_session_end_writes(session);
    }
}

kw_err kw_session_check_opened(kw_session_state *state, kw_error *error,
                               kw_session_request *request)
{
    if (kw_session_state_takes(state, request->effect)) {
        return KW_OK;
    }
    kw_error_set(error, KW_ERR_ORDER, KW_EFFECT_NONE,
                 "%s was given behind a MULTI that failed, and is not sent: begin again with WATCH "
                 "or MULTI, or end it with DISCARD",
                 kw_plan_name(&request->plan));
    kw_plan_fini(&request->plan);
    return KW_ERR_ORDER;
}

void kw_session_on_refused(kw_session_state *state, kw_bytes text)
{
    for (; text.len > 0 && text.data[0] == ' '; text.len--) {
        text.data++;
    }
    kw_bytes name = text;
    (void)kw_bytes_split(&name, &text, text, ' ');
    const kw_command_info *command = kw_command_find(&name, 1);
    if (command != NULL &&
        effect_of(kw_command_name(command), kw_command_flags(command)) == KW_SESSION_EFFECT_MULTI) {
        kw_session_state_on_failed(state, KW_SESSION_EFFECT_MULTI);
    }
}

bool kw_session_writes(const kw_plan *plan)
{
    return plan->command != NULL ? kw_plan_may_write(plan) : !plan->is_repeatable;
}

static kw_err check_wait(const kw_session *session, kw_error *error, const kw_plan *plan,
                         kw_session_effect effect)
{
    if (effect != KW_SESSION_EFFECT_WAIT || !session->state.has_left_writes) {
        return KW_OK;
    }
    return kw_error_set(error, KW_ERR_REFUSED, KW_EFFECT_NONE,
                        "%s would not cover the last write: the session has moved to another "
                        "connection since",
                        kw_plan_name(plan));
}

kw_err kw_session_check_turn(const kw_session *session, kw_error *error,
                             const kw_session_turn *turn)
{
    kw_err code = check_wait(session, error, turn->plan, turn->effect);
    if (code != KW_OK || !kw_topology_is_ring(session->topology) || turn->plan->command == NULL) {
        return code;
    }
    kw_encoded_args args;
    kw_bytes encoded = turn->encoded;
    if (!kw_encoded_args_take(&args, &session->mem, &encoded)) {
        return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to look for keys");
    }
    code = check_keys(turn->plan, session, error, args.argv, args.argc);
    kw_encoded_args_fini(&args);
    return code;
}

kw_err kw_session_plan(kw_session_request *request, const kw_session *session, kw_error *error,
                       const kw_plan_task *task)
{
    const kw_bytes *argv = task->argv;
    size_t argc = task->argc;
    kw_plan *plan = &request->plan;
    memset(plan, 0, sizeof(*plan));
    plan->command = kw_command_find(argv, argc);
    kw_session_effect effect = KW_SESSION_EFFECT_NONE;
    if (plan->command != NULL) {
        effect = effect_of(kw_command_name(plan->command), kw_command_flags(plan->command));
    }
    request->effect = effect;
    if (check_options(error, task->options) != KW_OK) {
        return KW_ERR_ARGUMENT;
    }
    if (plan->command == NULL) {
        return plan_unknown(plan, session, error, task);
    }
    if (effect == KW_SESSION_EFFECT_SELECT &&
        (session->is_async || argc != 2 ||
         !kw_bytes_to_uint(&request->database, argv[1], UINT32_MAX))) {
        effect = KW_SESSION_EFFECT_SETTING; /* an error, or a word that is not known */
    }
    request->effect = effect;
    kw_err code = plan_known(plan, session, error, argv, argc);
    if (effect == KW_SESSION_EFFECT_REFUSED) {
        code = kw_plan_refuse(plan, error, true);
    } else if (code == KW_OK) {
        code = check_wait(session, error, plan, effect);
    }
    plan->is_repeatable = plan->is_repeatable || kw_session_effect_is_repeatable(effect);
    take_options(plan, task->options);
    /* What EXEC writes was queued, and is under way until then. */
    return code == KW_OK && effect != KW_SESSION_EFFECT_EXEC
               ? kw_plan_begin_write(plan, session->topology, error, task)
               : code;
}

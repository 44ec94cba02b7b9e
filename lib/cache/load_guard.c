/* SPDX-License-Identifier: BSD-3-Clause */
/* WATCH before the load, MULTI and EXEC around what stores it. */
#include "cache/load_guard.h"

#include "base/error.h"
#include "base/resp.h"

#include <string.h>

static kw_reply *run(kw_load_guard *guard, kw_error *error, kw_session_effect effect,
                     const kw_bytes *argv, size_t argc)
{
    kw_session *session = &guard->session;
    kw_session_request request;
    kw_session_plan_open(&request.plan, session);
    request.plan.name = "a load's guard";
    request.plan.is_repeatable = effect == KW_SESSION_EFFECT_WATCH;
    request.effect = effect;
    request.database = 0;
    kw_buf encoded;
    kw_buf_init(&encoded, &session->mem, NULL, 0);
    kw_reply *reply = NULL;
    if (kw_resp_append(&encoded, argv, argc)) {
        kw_bytes bytes = {encoded.data, encoded.len};
        reply = kw_session_run(session, error, &request, bytes);
    } else {
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a command");
    }
    kw_buf_fini(&encoded);
    kw_plan_fini(&request.plan);
    kw_topology_count(session->topology, 1, reply == NULL ? 1 : 0);
    return reply;
}

/* A command that the server is to take as it is. */
static kw_err run_good(kw_load_guard *guard, kw_error *error, kw_session_effect effect,
                       const kw_bytes *argv, size_t argc)
{
    kw_error failure = kw_error_none();
    kw_reply *reply = run(guard, &failure, effect, argv, argc);
    kw_err code = failure.code;
    if (reply != NULL) {
        code = KW_OK;
        if (kw_reply_is_error(reply)) {
            char shown[200];
            kw_bytes_show(shown, sizeof(shown), kw_reply_bytes(reply));
            code = kw_error_set(&failure, KW_ERR_SERVER, KW_EFFECT_NONE, "%s", shown);
        }
        kw_reply_free(reply);
    }
    if (code != KW_OK) {
        kw_error_copy(error, &failure);
    }
    return code;
}

kw_err kw_load_guard_open(kw_load_guard *guard, kw_cache *cache, kw_error *error, kw_bytes key,
                          uint64_t deadline_ns)
{
    guard->is_open = false;
    kw_session_init(&guard->session, cache->topology, key);
    guard->session.closing = cache->closing;
    kw_plan plan;
    kw_session_plan_open(&plan, &guard->session);
    plan.deadline_ns = deadline_ns;
    kw_err code = kw_session_pin(&guard->session, error, &plan);
    kw_bytes argv[2] = {kw_bytes_of("WATCH"), key};
    if (code == KW_OK) {
        guard->is_open = true;
        code = run_good(guard, error, KW_SESSION_EFFECT_WATCH, argv, 2);
    }
    if (code != KW_OK) {
        kw_load_guard_close(guard);
    }
    return code;
}

/* EXEC's answer: nil where the key was written, else what the script said. */
static kw_err take_answer(bool *is_stored, kw_error *error, kw_reply *reply)
{
    kw_err code = KW_OK;
    if (kw_reply_is_error(reply)) {
        char shown[200];
        kw_bytes_show(shown, sizeof(shown), kw_reply_bytes(reply));
        code = kw_error_set(error, KW_ERR_SERVER, KW_EFFECT_NONE, "%s", shown);
    } else {
        *is_stored = kw_reply_count(reply) == 1 && kw_reply_int(kw_reply_at(reply, 0)) == 1;
    }
    kw_reply_free(reply);
    return code;
}

static kw_err fill(kw_load_guard *guard, bool *is_stored, kw_error *error, const kw_bytes *argv)
{
    kw_bytes multi = kw_bytes_of("MULTI");
    kw_bytes exec = kw_bytes_of("EXEC");
    kw_err code = run_good(guard, error, KW_SESSION_EFFECT_MULTI, &multi, 1);
    code =
        code == KW_OK ? run_good(guard, error, KW_SESSION_EFFECT_NONE, argv, KW_LEASE_ARGC) : code;
    if (code != KW_OK) {
        return code;
    }
    kw_reply *reply = run(guard, error, KW_SESSION_EFFECT_EXEC, &exec, 1);
    return reply != NULL ? take_answer(is_stored, error, reply) : KW_ERR_CLOSED;
}

kw_err kw_load_guard_fill(kw_load_guard *guard, bool *is_stored, kw_error *error,
                          const kw_lease_ask *ask)
{
    kw_bytes argv[KW_LEASE_ARGC];
    kw_lease_space space;
    kw_lease_argv(argv, &space, ask, false);
    *is_stored = false;
    kw_plan own; /* for values near alone */
    memset(&own, 0, sizeof(own));
    own.command = kw_command_find(argv, KW_LEASE_ARGC);
    kw_plan_task task = {.argv = argv, .argc = KW_LEASE_ARGC};
    kw_err code = kw_plan_begin_write(&own, guard->session.topology, error, &task);
    code = code == KW_OK ? fill(guard, is_stored, error, argv) : code;
    kw_plan_end_write(&own);
    return code;
}

void kw_load_guard_close(kw_load_guard *guard)
{
    if (!guard->is_open) {
        return;
    }
    kw_session *session = &guard->session;
    if (session->broken == KW_OK && session->state.is_watching && !session->state.is_multi) {
        kw_bytes unwatch = kw_bytes_of("UNWATCH");
        (void)run_good(guard, NULL, KW_SESSION_EFFECT_UNWATCH, &unwatch, 1);
    }
    kw_session_drop(session);
    guard->is_open = false;
}

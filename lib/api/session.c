/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/session.h: a connection of one's own. */
#include <keyway/session.h>

#include "api/client.h"
#include "api/args.h"
#include "api/command.h"
#include "drive/plan_ring.h"
#include "drive/session_private.h"
#include "base/error.h"
#include "base/format.h"
#include "base/resp.h"

/* Encoded commands up to this size need no heap. */
#define ENCODED_INLINE 512

static kw_session *new_session(kw_client *client, kw_error *error, const char *key, size_t key_len)
{
    if (kw_topology_is_ring(client->topology) &&
        kw_plan_ring_check(client->topology, error) != KW_OK) {
        return NULL;
    }
    kw_session *session = kw_mem_calloc(&client->topology->env.mem, 1, sizeof(*session));
    if (session == NULL) {
        kw_error_refuse(error, KW_ERR_NOMEM, "no memory for a session");
        return NULL;
    }
    kw_bytes whole = {key, key_len};
    kw_session_init(session, client->topology, whole);
    session->client = client;
    session->closing = &client->waits_end;
    return session;
}

kw_session *kw_session_open(kw_client *client, kw_error *error, const char *key, size_t key_len)
{
    if (client == NULL || (key == NULL && key_len > 0)) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "client or key is NULL");
        return NULL;
    }
    if (kw_client_enter_new(client, error) != KW_OK) {
        return NULL;
    }
    kw_session *session = new_session(client, error, key, key_len);
    if (session != NULL) {
        kw_plan plan;
        kw_session_plan_open(&plan, session);
        if (kw_session_pin(session, error, &plan) != KW_OK) {
            kw_mem_free(&client->topology->env.mem, session);
            session = NULL;
        } else {
            atomic_fetch_add(&client->sessions_n, 1);
        }
    }
    kw_client_leave(client);
    return session;
}

static bool is_in_child(const kw_session *session)
{
    const kw_fork *fork = &session->client->fork;
    return kw_fork_has_happened(fork) || fork->pid != session->pid;
}

static kw_err check(const kw_session *session, kw_error *error)
{
    if (session->client == NULL) {
        return kw_error_refuse(error, KW_ERR_CANCELLED, "the handle of the session was closed");
    }
    if (is_in_child(session)) {
        return kw_error_refuse(error, KW_ERR_FORKED,
                               "the session belongs to the parent process; open one in the child");
    }
    if (session->broken != KW_OK) {
        return kw_error_set(error, KW_ERR_CLOSED, KW_EFFECT_NONE,
                            "the session has lost its connection (%s); close it and open a new one",
                            kw_err_text(session->broken));
    }
    return KW_OK;
}

/* Plans the command, or in the place of an EXEC that would run half a transaction its end. */
static kw_err plan(kw_session_request *request, kw_session *session, kw_error *error,
                   const kw_plan_task **task)
{
    static const kw_bytes word = {"DISCARD", 7};
    static const kw_plan_task discard = {.options = &kw_plan_defaults, .argv = &word, .argc = 1};
    kw_err code = kw_session_plan(request, session, error, *task);
    code = code == KW_OK ? kw_session_check_opened(&session->state, error, request) : code;
    if (code == KW_OK && request->effect == KW_SESSION_EFFECT_EXEC && session->is_cut) {
        kw_plan_fini(&request->plan);
        *task = &discard;
        code = kw_session_plan(request, session, error, *task);
    }
    return code;
}

static kw_reply *send_task(kw_session *session, kw_error *error, const kw_plan_task *task)
{
    kw_session_request request;
    const kw_plan_task *given = task;
    kw_err code = plan(&request, session, error, &task);
    if (code != KW_OK) {
        kw_session_state_on_failed(&session->state, request.effect);
        kw_topology_count_failure(session->topology, code, KW_EFFECT_NONE);
        return NULL;
    }
    if (task->script != NULL) {
        request.plan.script = *task->script;
        *task->script = NULL;
    }
    char space[ENCODED_INLINE];
    kw_buf encoded;
    kw_buf_init(&encoded, &session->mem, space, sizeof(space));
    kw_reply *reply = NULL;
    if (kw_resp_append(&encoded, task->argv, task->argc)) {
        kw_bytes bytes = {encoded.data, encoded.len};
        reply = kw_session_run(session, error, &request, bytes);
    } else {
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to encode %s",
                     kw_plan_name(&request.plan));
    }
    if (reply == NULL) {
        kw_session_state_on_failed(&session->state, request.effect);
    }
    kw_buf_fini(&encoded);
    kw_session_keep_write(session, &request.plan);
    kw_plan_fini(&request.plan);
    if (task == given || reply == NULL) {
        return reply;
    }
    kw_reply_free(reply);
    kw_error_refuse(error, KW_ERR_ORDER,
                    "EXEC was given behind a command of its MULTI that was refused before it was "
                    "sent: nothing has run (DISCARD), begin again with WATCH or MULTI");
    kw_topology_count_failure(session->topology, KW_ERR_ORDER, KW_EFFECT_NONE);
    return NULL;
}

void kw_session_leave_out(kw_session *session)
{
    session->is_cut = session->is_cut || session->state.is_multi;
}

kw_reply *kw_session_run_task(kw_session *session, kw_error *error, const kw_plan_task *task)
{
    if (check(session, error) != KW_OK) {
        return NULL;
    }
    kw_client *client = session->client;
    if (kw_client_enter(client, error) != KW_OK) {
        return NULL;
    }
    kw_reply *reply = send_task(session, error, task);
    session->is_cut = session->is_cut && session->state.is_multi;
    if (reply == NULL) {
        kw_session_leave_out(session);
    }
    if (atomic_load_explicit(&client->is_closing, memory_order_relaxed)) {
        kw_session_drop(session); /* the handle may be gone when the session is closed */
        session->client = NULL;
        atomic_fetch_sub(&client->sessions_n, 1);
    }
    kw_client_leave_calls(client, 1, reply == NULL ? 1 : 0);
    return reply;
}

/* A command was refused before it was planned; its name begins the text. */
static void leave_out(kw_session *session, kw_bytes text)
{
    kw_session_leave_out(session);
    kw_session_on_refused(&session->state, text);
}

kw_reply *kw_session_vcommand(kw_session *session, kw_error *error, const char *format,
                              va_list values)
{
    if (session == NULL || format == NULL) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "session or format is NULL");
        if (session != NULL) {
            kw_session_leave_out(session);
        }
        return NULL;
    }
    kw_args args;
    kw_args_init(&args, &session->mem);
    kw_reply *reply = NULL;
    if (kw_args_format(&args, error, format, values) == KW_OK) {
        kw_plan_task task = {.options = &kw_plan_defaults, .argv = args.argv, .argc = args.argc};
        reply = kw_session_run_task(session, error, &task);
    } else {
        leave_out(session, kw_bytes_of(format));
    }
    kw_args_fini(&args);
    return reply;
}

kw_reply *kw_session_command(kw_session *session, kw_error *error, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_reply *reply = kw_session_vcommand(session, error, format, values);
    va_end(values);
    return reply;
}

kw_reply *kw_session_call(kw_session *session, kw_error *error, const kw_call_options *options,
                          kw_argv command)
{
    if (session == NULL) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "session is NULL");
        return NULL;
    }
    kw_call_options space;
    kw_arg_bytes args;
    options = kw_args_options(&space, error, options);
    if (options == NULL || kw_arg_bytes_init(&args, error, &session->mem, &command) != KW_OK) {
        leave_out(session, kw_args_name(&command));
        return NULL;
    }
    kw_plan_task task = {.options = options, .argv = args.argv, .argc = args.argc};
    kw_reply *reply = kw_session_run_task(session, error, &task);
    kw_arg_bytes_fini(&args);
    return reply;
}

kw_reply *kw_session_command_argv(kw_session *session, kw_error *error, int argc, const char **argv,
                                  const size_t *argvlen)
{
    return kw_session_call(session, error, NULL, (kw_argv){argc, argv, argvlen});
}

const kw_allocator *kw_session_memory(const kw_session *session)
{
    return session != NULL ? &session->mem : NULL;
}

bool kw_session_is_held(const kw_session *session)
{
    return !kw_session_is_clean(session);
}

/* The child's copy. The socket's number is the handle's to close, or another socket's by
 * now; what a parent's thread may have held is left alone. */
static void drop_in_child(kw_session *session)
{
    if (session->conn == NULL) {
        return;
    }
    session->conn->socket = -1;
    kw_conn_free(session->conn);
    if (atomic_load(&session->node->refs) > 1) {
        kw_node_unref(session->node);
    }
}

void kw_session_close(kw_session *session)
{
    if (session == NULL) {
        return;
    }
    kw_client *client = session->client;
    if (client != NULL && is_in_child(session)) {
        drop_in_child(session);
    } else if (client != NULL && kw_client_enter(client, NULL) == KW_OK) {
        kw_session_drop(session);
        atomic_fetch_sub(&client->sessions_n, 1);
        kw_client_leave(client);
    }
    kw_session_end_writes(session);
    kw_allocator mem = session->mem;
    kw_mem_free(&mem, session);
}

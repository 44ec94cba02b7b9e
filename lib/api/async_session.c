/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/async_session.h: a connection of one's own, for commands with callbacks. */
#include <keyway/async_session.h>

#include "api/args.h"
#include "api/client.h"
#include "api/loop_calls.h"
#include "drive/loop_pins.h"
#include "drive/plan_ring.h"
#include "base/error.h"
#include "base/format.h"

static kw_pin *new_pin(kw_client *client, kw_error *error, kw_bytes key)
{
    kw_topology *topology = client->topology;
    if (kw_topology_is_ring(topology) && kw_plan_ring_check(topology, error) != KW_OK) {
        return NULL;
    }
    if (atomic_load_explicit(&client->is_closing, memory_order_relaxed)) {
        kw_error_refuse(error, KW_ERR_CANCELLED, "the handle is being closed");
        return NULL;
    }
    kw_loop *loop = kw_client_need_loop(client, error);
    kw_pin *pin = loop != NULL ? kw_mem_calloc(&topology->env.mem, 1, sizeof(*pin)) : NULL;
    if (pin != NULL) {
        kw_pin_init(pin, topology, key);
        pin->plain.client = client;
        kw_loop_take_pin(loop, pin, &client->sessions_n);
    } else if (loop != NULL) {
        kw_error_refuse(error, KW_ERR_NOMEM, "no memory for a session");
    }
    return pin;
}

kw_async_session *kw_async_session_open(kw_client *client, kw_error *error, const char *key,
                                        size_t key_len)
{
    if (client == NULL || (key == NULL && key_len > 0)) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "client or key is NULL");
        return NULL;
    }
    if (kw_client_enter_new(client, error) != KW_OK) {
        return NULL;
    }
    kw_pin *pin = new_pin(client, error, (kw_bytes){key, key_len});
    kw_client_leave(client);
    return pin;
}

/* A loop that ends says so; the handle is there while it does not. */
static bool is_in_child(const kw_pin *pin)
{
    const kw_fork *fork = &pin->plain.client->fork;
    return kw_fork_has_happened(fork) || fork->pid != pin->plain.pid;
}

static kw_err check(const kw_pin *pin, kw_error *error)
{
    if (atomic_load(&pin->loop) == NULL) {
        return kw_error_refuse(error, KW_ERR_CANCELLED, "the handle of the session was closed");
    }
    if (is_in_child(pin)) {
        return kw_error_refuse(error, KW_ERR_FORKED,
                               "the session belongs to the parent process; open one in the child");
    }
    return KW_OK;
}

/* A command was refused, whose name begins the text: EXEC is not to run the others of its MULTI
 * without it, and what a MULTI was to queue is not to run by itself. */
static kw_err refused(kw_pin *pin, kw_err code, kw_bytes text)
{
    pin->is_cut = pin->is_cut || pin->has_multi;
    kw_session_on_refused(&pin->plain.state, text);
    return code;
}

static kw_err submit(kw_pin *pin, kw_error *error, kw_callback callback, kw_plan_task *task)
{
    kw_err code = check(pin, error);
    kw_client *client = pin->plain.client;
    code = code == KW_OK ? kw_client_enter(client, error) : code;
    if (code == KW_OK) {
        task->pin = pin;
        code = kw_client_begin(client, error, callback, task);
        kw_client_leave(client);
    }
    return code;
}

kw_err kw_async_session_vcommand(kw_async_session *session, kw_error *error, kw_callback callback,
                                 const char *format, va_list values)
{
    if (session == NULL || callback.fn == NULL || format == NULL) {
        kw_err code =
            kw_error_refuse(error, KW_ERR_ARGUMENT, "session, callback.fn or format is NULL");
        return session == NULL ? code : refused(session, code, kw_bytes_of(format));
    }
    kw_args args;
    kw_args_init(&args, &session->plain.mem);
    kw_err code = kw_args_format(&args, error, format, values);
    if (code == KW_OK) {
        kw_plan_task task = {.options = &kw_plan_defaults, .argv = args.argv, .argc = args.argc};
        code = submit(session, error, callback, &task);
    }
    kw_args_fini(&args);
    return code == KW_OK ? code : refused(session, code, kw_bytes_of(format));
}

kw_err kw_async_session_command(kw_async_session *session, kw_error *error, kw_callback callback,
                                const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_err code = kw_async_session_vcommand(session, error, callback, format, values);
    va_end(values);
    return code;
}

kw_err kw_async_session_call(kw_async_session *session, kw_error *error, kw_callback callback,
                             const kw_call_options *options, kw_argv command)
{
    if (session == NULL || callback.fn == NULL) {
        kw_err code = kw_error_refuse(error, KW_ERR_ARGUMENT, "session or callback.fn is NULL");
        return session == NULL ? code : refused(session, code, kw_args_name(&command));
    }
    kw_call_options space;
    kw_arg_bytes args;
    options = kw_args_options(&space, error, options);
    if (options == NULL) {
        return refused(session, KW_ERR_ARGUMENT, kw_args_name(&command));
    }
    kw_err code = kw_arg_bytes_init(&args, error, &session->plain.mem, &command);
    if (code == KW_OK) {
        kw_plan_task task = {.options = options, .argv = args.argv, .argc = args.argc};
        code = submit(session, error, callback, &task);
        kw_arg_bytes_fini(&args);
    }
    return code == KW_OK ? code : refused(session, code, kw_args_name(&command));
}

kw_err kw_async_session_command_argv(kw_async_session *session, kw_error *error,
                                     kw_callback callback, kw_argv command)
{
    return kw_async_session_call(session, error, callback, NULL, command);
}

void kw_async_session_close(kw_async_session *session)
{
    if (session == NULL) {
        return;
    }
    kw_loop *loop = atomic_load(&session->loop);
    if (loop == NULL) {
        kw_loop_free_pin(session);
    } else if (is_in_child(session)) {
        session->is_leaving = true; /* freed with the child's copy of the loop */
    } else {
        kw_loop_close_pin(loop, session);
    }
}

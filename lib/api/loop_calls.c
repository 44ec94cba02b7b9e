/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/loop.h: commands with callbacks, and the host's loop. */
#include <keyway/loop.h>

#include "topology/topology_tend.h"
#include "api/loop_calls.h"
#include "api/args.h"
#include "api/command.h"
#include "drive/loop_send.h"
#include "base/error.h"
#include "base/format.h"

/* Tells the callbacks that are left. */
static void end(kw_client *client)
{
    kw_loop *loop = kw_loop_at(&client->loop);
    if (loop != NULL) {
        kw_loop_end(loop);
        atomic_store(&client->loop, NULL);
    }
}

static void abandon(kw_client *client)
{
    kw_loop *loop = atomic_exchange(&client->loop, NULL);
    if (loop != NULL) {
        kw_loop_abandon(loop, NULL);
    }
}

/* Nobody sleeps inside, and what is due waits for the host's kw_process. */
static void do_nothing(kw_client *client)
{
    (void)client;
}

static bool defers_close(kw_client *client)
{
    kw_loop *loop = kw_loop_at(&client->loop);
    return loop != NULL && kw_loop_defers_close(loop);
}

static kw_err work(kw_client *client, kw_error *error, size_t *open_n)
{
    kw_loop *loop = kw_loop_at(&client->loop);
    kw_err code = loop != NULL ? kw_loop_process(loop, error) : KW_OK;
    *open_n = code == KW_OK && loop != NULL ? atomic_load(&loop->open_n) : 0;
    return code;
}

static kw_loop *loop_of(kw_client *client)
{
    return kw_loop_at(&client->loop);
}

static const kw_client_part callbacks = {end,  abandon, do_nothing,  do_nothing,
                                         work, loop_of, defers_close};

kw_loop *kw_client_need_loop(kw_client *client, kw_error *error)
{
    kw_loop *loop = kw_loop_at(&client->loop);
    if (loop != NULL) {
        return loop;
    }
    kw_client_need_part(client, KW_CLIENT_CALLBACKS, &callbacks, false);
    return kw_loop_need(client->topology, error, &client->loop, &client->counts);
}

/* For a command, or a pause; NULL where there is no memory, or the handle is being closed. */
static kw_loop *open_loop(kw_client *client, kw_error *error, kw_err *code)
{
    if (atomic_load_explicit(&client->is_closing, memory_order_relaxed)) {
        *code = kw_error_refuse(error, KW_ERR_CANCELLED, "the handle is being closed");
        return NULL;
    }
    *code = KW_ERR_NOMEM;
    return kw_client_need_loop(client, error);
}

kw_err kw_client_pause(kw_client *client, kw_error *error, kw_callback callback, uint64_t until_ns)
{
    kw_err code;
    kw_loop *loop = open_loop(client, error, &code);
    return loop != NULL ? kw_loop_pause(loop, error, callback, until_ns) : code;
}

/* The handle was entered. */
static kw_err submit(kw_client *client, kw_error *error, kw_plan_task *task, kw_callback callback)
{
    kw_err code;
    kw_loop *loop = open_loop(client, error, &code);
    return loop != NULL ? kw_loop_send(loop, error, callback, task) : code;
}

kw_err kw_client_begin(kw_client *client, kw_error *error, kw_callback callback, kw_plan_task *task)
{
    return submit(client, error, task, callback);
}

kw_err kw_call_async_task(kw_client *client, kw_error *error, kw_callback callback,
                          kw_plan_task *task)
{
    task->is_ordered = true;
    kw_err code = kw_client_enter_new(client, error);
    if (code == KW_OK) {
        code = submit(client, error, task, callback);
        kw_client_leave(client);
    }
    return code;
}

kw_err kw_vcommand_async(kw_client *client, kw_error *error, kw_callback callback,
                         const char *format, va_list values)
{
    if (client == NULL || callback.fn == NULL || format == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "client, callback.fn or format is NULL");
    }
    kw_args args;
    kw_args_init(&args, &client->topology->env.mem);
    kw_err code = kw_args_format(&args, error, format, values);
    if (code == KW_OK) {
        kw_plan_task task = {.options = &kw_plan_defaults, .argv = args.argv, .argc = args.argc};
        code = kw_call_async_task(client, error, callback, &task);
    }
    kw_args_fini(&args);
    return code;
}

kw_err kw_command_async(kw_client *client, kw_error *error, kw_callback callback,
                        const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_err code = kw_vcommand_async(client, error, callback, format, values);
    va_end(values);
    return code;
}

kw_err kw_call_async(kw_client *client, kw_error *error, kw_callback callback,
                     const kw_call_options *options, kw_argv command)
{
    if (client == NULL || callback.fn == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "client or callback.fn is NULL");
    }
    kw_call_options space;
    kw_arg_bytes args;
    options = kw_args_options(&space, error, options);
    if (options == NULL) {
        return KW_ERR_ARGUMENT;
    }
    kw_err code = kw_arg_bytes_init(&args, error, &client->topology->env.mem, &command);
    if (code == KW_OK) {
        kw_plan_task task = {.options = options, .argv = args.argv, .argc = args.argc};
        code = kw_call_async_task(client, error, callback, &task);
        kw_arg_bytes_fini(&args);
    }
    return code;
}

kw_err kw_cancel(kw_client *client, kw_error *error, kw_callback callback)
{
    if (client == NULL || callback.fn == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "client or callback.fn is NULL");
    }
    kw_err code = kw_client_enter(client, error);
    if (code != KW_OK) {
        return code;
    }
    kw_loop *loop = kw_loop_at(&client->loop);
    if (loop != NULL && kw_loop_cancel(loop, callback) != KW_OK) {
        code = kw_error_refuse(error, KW_ERR_NOMEM, "no memory to give a command up");
    }
    kw_client_leave(client);
    return code;
}

int kw_fd(kw_client *client, kw_error *error)
{
    if (client == NULL) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "client is NULL");
        return -1;
    }
    int fd = -1;
    if (kw_client_enter(client, error) == KW_OK) {
        const kw_loop *loop = kw_client_need_loop(client, error);
        fd = loop != NULL ? loop->poller.fd : -1;
        kw_client_leave(client);
    }
    return fd;
}

int kw_timeout(kw_client *client)
{
    int timeout_ms = -1;
    if (client != NULL && kw_client_enter_at_home(client)) {
        kw_loop *loop = kw_loop_at(&client->loop);
        timeout_ms = loop != NULL ? kw_loop_timeout(loop) : -1;
        kw_client_leave(client);
    }
    return timeout_ms;
}

kw_err kw_process(kw_client *client, kw_error *error)
{
    if (client == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "client is NULL");
    }
    kw_err code = kw_client_enter(client, error);
    if (code != KW_OK) {
        return code;
    }
    kw_loop *loop = kw_loop_at(&client->loop);
    if (loop == NULL) {
        kw_topology_tend(client->topology, kw_env_now(&client->topology->env));
    } else {
        code = kw_loop_process(loop, error);
    }
    if (code == KW_ERR_FORKED && kw_loop_at(&client->loop) != loop) {
        return code; /* the child has started anew, and counts its own calls */
    }
    if (code == KW_ERR_CANCELLED) {
        kw_client_close(client);
    } else {
        kw_client_leave(client);
    }
    return code;
}

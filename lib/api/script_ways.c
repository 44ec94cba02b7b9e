/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/script.h: runs of scripts by batches, tickets, callbacks and sessions. */
#include <keyway/script.h>

#include "api/client.h"
#include "api/command.h"
#include "api/script_command.h"
#include "base/error.h"

kw_err kw_script_add(kw_batch *batch, kw_error *error, kw_script_input input)
{
    if (batch == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "batch is NULL");
    }
    kw_arg_bytes args;
    kw_script_command command = {.mem = kw_batch_memory(batch)};
    kw_err code = kw_script_command_take(&command, error, &args, &input, false);
    if (code == KW_OK) {
        code = kw_batch_add_task(batch, error, &command.task);
        kw_script_command_give_back(&command, &args);
    }
    return code;
}

kw_ticket *kw_script_submit(kw_client *client, kw_error *error, const kw_call_options *options,
                            kw_script_input input)
{
    if (client == NULL) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "client is NULL");
        return NULL;
    }
    kw_call_options space;
    options = kw_args_options(&space, error, options);
    if (options == NULL) {
        return NULL;
    }
    kw_arg_bytes args;
    kw_script_command command = {.mem = &client->topology->env.mem};
    kw_ticket *ticket = NULL;
    if (kw_script_command_take(&command, error, &args, &input, kw_script_goes_to_many(options)) ==
        KW_OK) {
        command.task.options = options;
        ticket = kw_submit_task(client, error, &command.task);
        kw_script_command_give_back(&command, &args);
    }
    return ticket;
}

kw_err kw_script_async(kw_client *client, kw_error *error, kw_callback callback,
                       const kw_call_options *options, kw_script_input input)
{
    if (client == NULL || callback.fn == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "client or callback.fn is NULL");
    }
    kw_call_options space;
    options = kw_args_options(&space, error, options);
    if (options == NULL) {
        return KW_ERR_ARGUMENT;
    }
    kw_arg_bytes args;
    kw_script_command command = {.mem = &client->topology->env.mem};
    kw_err code =
        kw_script_command_take(&command, error, &args, &input, kw_script_goes_to_many(options));
    if (code == KW_OK) {
        command.task.options = options;
        code = kw_call_async_task(client, error, callback, &command.task);
        kw_script_command_give_back(&command, &args);
    }
    return code;
}

kw_reply *kw_script_in_session(kw_session *session, kw_error *error, kw_script_input input)
{
    if (session == NULL) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "session is NULL");
        return NULL;
    }
    kw_arg_bytes args;
    kw_script_command command = {.mem = kw_session_memory(session)};
    kw_reply *reply = NULL;
    if (kw_script_command_take(&command, error, &args, &input, kw_session_is_held(session)) ==
        KW_OK) {
        reply = kw_session_run_task(session, error, &command.task);
        kw_script_command_give_back(&command, &args);
    } else {
        kw_session_leave_out(session);
    }
    return reply;
}

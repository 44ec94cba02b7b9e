/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/command.h: one command, planned and run while its caller waits. */
#include <keyway/command.h>

#include "api/client.h"
#include "api/args.h"
#include "api/command.h"
#include "drive/call.h"
#include "drive/wait_acks.h"
#include "drive/plan_ring.h"
#include "drive/token.h"
#include "base/error.h"
#include "base/format.h"
#include "base/resp.h"

#include <string.h>

/* Encoded commands up to this size need no heap. */
#define ENCODED_INLINE 512

/* Empties token_out before the write is made; a wrong size, and acks beside it, are errors. */
static bool take_token(kw_error *error, const kw_plan *plan, const kw_call_options *options,
                       bool is_refused)
{
    kw_token none = KW_TOKEN_INIT;
    if (options->token_out->size != sizeof(none)) {
        kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE,
                     "token_out->size is wrong: start with KW_TOKEN_INIT");
        return false;
    }
    *options->token_out = none;
    if (is_refused || plan->kind == KW_PLAN_SPLIT) {
        kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                     "token_out is for a write without acks to one node, and %s is another",
                     kw_plan_name(plan));
        return false;
    }
    return true;
}

static kw_reply *run(kw_client *client, kw_error *error, const kw_plan *plan,
                     const kw_plan_task *task)
{
    const kw_bytes *argv = task->argv;
    size_t argc = task->argc;
    bool is_all = plan->kind == KW_PLAN_ALL_PRIMARIES || plan->kind == KW_PLAN_ALL_NODES;
    bool wants_acks = kw_wait_acks_is_wanted(plan, task->options);
    if (wants_acks && (is_all || plan->kind == KW_PLAN_SPLIT)) {
        kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                     "acks are for a command to one node, and %s goes to several; acks = "
                     "KW_ACKS_NONE is for it",
                     kw_plan_name(plan));
        return NULL;
    }
    bool has_token = task->options->token_out != NULL && kw_plan_may_write(plan);
    if (has_token && !take_token(error, plan, task->options, wants_acks || is_all)) {
        return NULL;
    }
    if (plan->kind == KW_PLAN_SPLIT) {
        return kw_call_run_split(client->topology, error, plan, argv, argc);
    }
    char space[ENCODED_INLINE];
    kw_buf encoded;
    kw_buf_init(&encoded, &client->topology->env.mem, space, sizeof(space));
    kw_reply *reply = NULL;
    if (!kw_resp_append(&encoded, argv, argc)) {
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory to encode %s",
                     kw_plan_name(plan));
    } else {
        kw_bytes bytes = {encoded.data, encoded.len};
        reply = wants_acks
                    ? kw_wait_acks_run(client->topology, error, plan, task->options, &encoded)
                : has_token ? kw_token_run(client->topology, error, plan, task->options, &encoded)
                : is_all    ? kw_call_run_all(client->topology, error, plan, bytes)
                            : kw_call_run(client->topology, error, plan, bytes);
    }
    kw_buf_fini(&encoded);
    return reply;
}

/* Plans and runs, once more where the ring was changed under the plan before anything was
 * sent. */
static kw_reply *plan_and_run(kw_client *client, kw_error *error, kw_plan_task *task)
{
    kw_plan plan;
    kw_reply *reply = NULL;
    uint64_t start_ns = 0;
    uint64_t deadline_ns = 0;
    bool is_stale_split = true;
    while (reply == NULL && is_stale_split) {
        kw_err code = kw_plan_make(&plan, client->topology, error, task);
        if (code != KW_OK) {
            kw_topology_count_failure(client->topology, code, KW_EFFECT_NONE);
            break;
        }
        plan.deadline_ns = deadline_ns > 0 ? deadline_ns : plan.deadline_ns;
        plan.start_ns = start_ns > 0 ? start_ns : plan.start_ns;
        start_ns = plan.start_ns;
        deadline_ns = plan.deadline_ns;
        if (plan.command != task->like) {
            atomic_store_explicit(&client->latest, plan.command, memory_order_relaxed);
        }
        reply = run(client, error, &plan, task);
        is_stale_split = kw_plan_is_stale_split(&plan);
        if (is_stale_split) {
            kw_plan_return_script(&plan, task);
        }
        kw_plan_fini(&plan);
    }
    return reply;
}

/* True where the call's options are used as they are: none is left to the handle's settings. */
static bool is_settled(const kw_client *client, const kw_call_options *options)
{
    return options->acks == 0 && client->topology->env.options.acks == 0 &&
           options->acked == NULL && options->acked_local == NULL;
}

/* Fills in from the handle's settings what the call's options leave open, and sets acked counts to
 * 0. */
static kw_call_options settle(const kw_client *client, const kw_call_options *options)
{
    kw_call_options settled = *options;
    if (settled.acks == 0) {
        settled.acks = (unsigned)client->topology->env.options.acks;
    } else if (settled.acks == KW_ACKS_NONE) {
        settled.acks = 0;
    }
    if (settled.acked != NULL) {
        *settled.acked = 0;
    }
    if (settled.acked_local != NULL) {
        *settled.acked_local = 0;
    }
    return settled;
}

kw_reply *kw_command_run(kw_client *client, kw_error *error, kw_plan_task *task)
{
    if (kw_client_enter_new(client, error) != KW_OK) {
        return NULL;
    }
    kw_call_options settled;
    if (!is_settled(client, task->options)) {
        settled = settle(client, task->options);
        task->options = &settled;
    }
    task->takes_acks = true;
    task->like = atomic_load_explicit(&client->latest, memory_order_relaxed);
    task->closing = &client->waits_end;
    kw_reply *reply = plan_and_run(client, error, task);
    kw_client_leave_calls(client, 1, reply == NULL ? 1 : 0);
    return reply;
}

static kw_reply *refuse(kw_error *error, const char *text)
{
    kw_error_set(error, KW_ERR_ARGUMENT, KW_EFFECT_NONE, "%s", text);
    return NULL;
}

kw_reply *kw_vcommand(kw_client *client, kw_error *error, const char *format, va_list values)
{
    if (client == NULL || format == NULL) {
        return refuse(error, "client or format is NULL");
    }
    kw_args args;
    kw_args_init(&args, &client->topology->env.mem);
    kw_reply *reply = NULL;
    if (kw_args_format(&args, error, format, values) == KW_OK) {
        kw_plan_task task = {.options = &kw_plan_defaults, .argv = args.argv, .argc = args.argc};
        reply = kw_command_run(client, error, &task);
    }
    kw_args_fini(&args);
    return reply;
}

kw_reply *kw_command(kw_client *client, kw_error *error, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_reply *reply = kw_vcommand(client, error, format, values);
    va_end(values);
    return reply;
}

kw_reply *kw_call(kw_client *client, kw_error *error, const kw_call_options *options,
                  kw_argv command)
{
    if (client == NULL) {
        return refuse(error, "client is NULL");
    }
    kw_call_options space;
    options = kw_args_options(&space, error, options);
    if (options == NULL) {
        return NULL;
    }
    kw_arg_bytes args;
    if (kw_arg_bytes_init(&args, error, &client->topology->env.mem, &command) != KW_OK) {
        return NULL;
    }
    kw_plan_task task = {.options = options, .argv = args.argv, .argc = args.argc};
    kw_reply *reply = kw_command_run(client, error, &task);
    kw_arg_bytes_fini(&args);
    return reply;
}

kw_reply *kw_command_argv(kw_client *client, kw_error *error, int argc, const char **argv,
                          const size_t *argvlen)
{
    return kw_call(client, error, NULL, (kw_argv){argc, argv, argvlen});
}

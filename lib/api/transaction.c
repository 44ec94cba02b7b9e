/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/transaction.h: transactions given whole, by each way of sending. */
#include <keyway/transaction.h>

#include "api/args.h"
#include "api/client.h"
#include "api/command.h"
#include "base/error.h"
#include "base/format.h"
#include "drive/pipeline.h"
#include "drive/whole.h"

struct kw_transaction {
    kw_client *client;
    kw_whole whole;
    kw_err refused; /* why a command is not in it, though it was given; KW_OK: all are */
};

kw_transaction *kw_transaction_new(kw_client *client, kw_error *error)
{
    if (client == NULL) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "client is NULL");
        return NULL;
    }
    const kw_allocator *mem = &client->topology->env.mem;
    kw_transaction *transaction = kw_mem_calloc(mem, 1, sizeof(*transaction));
    if (transaction == NULL) {
        kw_error_refuse(error, KW_ERR_NOMEM, "no memory for a transaction");
        return NULL;
    }
    transaction->client = client;
    kw_whole_init(&transaction->whole, mem);
    return transaction;
}

static kw_err add(kw_transaction *transaction, kw_error *error, kw_plan_task *task)
{
    kw_client *client = transaction->client;
    kw_err code = kw_client_enter_new(client, error);
    if (code == KW_OK) {
        task->options = &kw_plan_defaults;
        code = kw_whole_add(&transaction->whole, client->topology, error, task);
        kw_client_leave(client);
    }
    return code;
}

/* How the giving of a command ended: the others are not to run without it. */
static kw_err given(kw_transaction *transaction, kw_err code)
{
    transaction->refused = transaction->refused != KW_OK ? transaction->refused : code;
    return code;
}

kw_err kw_transaction_vadd(kw_transaction *transaction, kw_error *error, const char *format,
                           va_list values)
{
    if (transaction == NULL || format == NULL) {
        kw_err wrong = kw_error_refuse(error, KW_ERR_ARGUMENT, "transaction or format is NULL");
        return transaction != NULL ? given(transaction, wrong) : wrong;
    }
    kw_args args;
    kw_args_init(&args, &transaction->whole.mem);
    kw_err code = kw_args_format(&args, error, format, values);
    if (code == KW_OK) {
        kw_plan_task task = {.argv = args.argv, .argc = args.argc};
        code = add(transaction, error, &task);
    }
    kw_args_fini(&args);
    return given(transaction, code);
}

kw_err kw_transaction_add(kw_transaction *transaction, kw_error *error, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_err code = kw_transaction_vadd(transaction, error, format, values);
    va_end(values);
    return code;
}

kw_err kw_transaction_add_argv(kw_transaction *transaction, kw_error *error, kw_argv command)
{
    if (transaction == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "transaction is NULL");
    }
    kw_arg_bytes args;
    kw_err code = kw_arg_bytes_init(&args, error, &transaction->whole.mem, &command);
    if (code == KW_OK) {
        kw_plan_task task = {.argv = args.argv, .argc = args.argc};
        code = add(transaction, error, &task);
        kw_arg_bytes_fini(&args);
    }
    return given(transaction, code);
}

size_t kw_transaction_count(const kw_transaction *transaction)
{
    return transaction != NULL ? transaction->whole.commands_n : 0;
}

/* The task of a run; options in space where they are of another size. */
static kw_err take_task(const kw_transaction *transaction, kw_error *error, kw_plan_task *task,
                        kw_call_options *space, const kw_call_options *options)
{
    if (transaction == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "transaction is NULL");
    }
    if (transaction->refused != KW_OK) {
        return kw_error_set(error, KW_ERR_ORDER, KW_EFFECT_NONE,
                            "a command of the transaction was not added (%s), and without it the "
                            "others do not run: kw_transaction_clear begins anew",
                            kw_err_text(transaction->refused));
    }
    task->whole = &transaction->whole;
    task->options = kw_args_options(space, error, options);
    return task->options != NULL ? KW_OK : KW_ERR_ARGUMENT;
}

/* A pipeline of one command; the handle was entered. */
static kw_reply *run(kw_topology *topology, kw_error *error, const kw_plan_task *task)
{
    kw_item item;
    kw_item_init(&item);
    if (kw_whole_plan(&item.plan, topology, error, task) != KW_OK) {
        return NULL;
    }
    item.request.bytes = kw_whole_bytes(task->whole);
    item.request.parts_n = (uint32_t)kw_whole_parts_n(task->whole);
    kw_reply *reply = NULL;
    kw_commands commands = {&item, 1, 0, item.plan.deadline_ns, NULL};
    if (kw_pipeline_all(topology, &commands) == KW_OK) {
        reply = item.request.reply;
        item.request.reply = NULL;
    } else {
        kw_item_tell(&item, error);
    }
    kw_item_fini(&item, &topology->env.mem);
    return reply;
}

kw_reply *kw_transaction_run(kw_transaction *transaction, kw_error *error,
                             const kw_call_options *options)
{
    kw_call_options space;
    kw_plan_task task = {.argc = 0};
    if (take_task(transaction, error, &task, &space, options) != KW_OK ||
        kw_client_enter_new(transaction->client, error) != KW_OK) {
        return NULL;
    }
    task.closing = &transaction->client->waits_end;
    kw_reply *reply = run(transaction->client->topology, error, &task);
    kw_client_leave_calls(transaction->client, 1, reply == NULL ? 1 : 0);
    return reply;
}

kw_err kw_transaction_async(kw_transaction *transaction, kw_error *error, kw_callback callback,
                            const kw_call_options *options)
{
    kw_call_options space;
    kw_plan_task task = {.argc = 0};
    if (callback.fn == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "callback.fn is NULL");
    }
    kw_err code = take_task(transaction, error, &task, &space, options);
    return code == KW_OK ? kw_call_async_task(transaction->client, error, callback, &task) : code;
}

kw_ticket *kw_transaction_submit(kw_transaction *transaction, kw_error *error,
                                 const kw_call_options *options)
{
    kw_call_options space;
    kw_plan_task task = {.argc = 0};
    kw_err code = take_task(transaction, error, &task, &space, options);
    return code == KW_OK ? kw_submit_task(transaction->client, error, &task) : NULL;
}

kw_err kw_batch_add_transaction(kw_batch *batch, kw_error *error, const kw_transaction *transaction)
{
    kw_call_options space;
    kw_plan_task task = {.argc = 0};
    if (batch == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "batch is NULL");
    }
    kw_err code = take_task(transaction, error, &task, &space, NULL);
    if (code == KW_OK && kw_batch_client(batch) != transaction->client) {
        code = kw_error_refuse(error, KW_ERR_ARGUMENT, "the transaction is of another handle");
    }
    return code == KW_OK ? kw_batch_add_task(batch, error, &task) : code;
}

void kw_transaction_clear(kw_transaction *transaction)
{
    if (transaction != NULL) {
        kw_whole_clear(&transaction->whole);
        transaction->refused = KW_OK;
    }
}

void kw_transaction_free(kw_transaction *transaction)
{
    if (transaction != NULL) {
        kw_allocator mem = transaction->whole.mem;
        kw_whole_fini(&transaction->whole);
        kw_mem_free(&mem, transaction);
    }
}

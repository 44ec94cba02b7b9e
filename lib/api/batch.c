/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/batch.h: commands are collected, run as one pipeline, and read one by one. */
#include <keyway/batch.h>

#include <keyway/command.h>

#include "api/client.h"
#include "api/args.h"
#include "api/batch_splits.h"
#include "api/command.h"
#include "drive/pipeline.h"
#include "drive/whole.h"
#include "base/error.h"
#include "base/format.h"
#include "base/resp.h"

#include <string.h>

struct kw_batch {
    kw_allocator mem; /* the handle's; what is freed may be freed after it */
    kw_client *client;
    kw_item *items; /* a command each, or a part of one that is split */
    size_t items_n;
    size_t capacity;
    size_t commands_n;
    kw_batch_splits splits;
    const kw_command_info *latest; /* the row of the command that was added last; or NULL */
    kw_buf encoded;
    bool has_run;
};

kw_batch *kw_batch_new(kw_client *client, kw_error *error)
{
    if (client == NULL) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "client is NULL");
        return NULL;
    }
    kw_batch *batch = kw_mem_calloc(&client->topology->env.mem, 1, sizeof(*batch));
    if (batch == NULL) {
        kw_error_refuse(error, KW_ERR_NOMEM, "no memory for a batch");
        return NULL;
    }
    batch->mem = client->topology->env.mem;
    batch->client = client;
    kw_buf_init(&batch->encoded, &batch->mem, NULL, 0);
    kw_batch_splits_init(&batch->splits, &batch->mem);
    return batch;
}

/* Room for n items more; n is at most the number of arguments. */
static bool reserve(kw_batch *batch, size_t n)
{
    if (n <= batch->capacity - batch->items_n) {
        return true;
    }
    const kw_allocator *mem = &batch->mem;
    size_t capacity = batch->capacity > 0 ? 2 * batch->capacity : 16;
    capacity = n <= capacity - batch->items_n ? capacity : batch->items_n + n;
    kw_item *items = kw_mem_resize(mem, batch->items, capacity, sizeof(items[0]));
    if (items == NULL) {
        return false;
    }
    batch->items = items;
    batch->capacity = capacity;
    return true;
}

static kw_err check_plan(const kw_plan *plan, kw_error *error)
{
    if (plan->is_blocking) {
        return kw_error_set(error, KW_ERR_REFUSED, KW_EFFECT_NONE,
                            "%s would hold up the commands behind it; send it by kw_command",
                            kw_plan_name(plan));
    }
    if (plan->kind == KW_PLAN_ALL_PRIMARIES || plan->kind == KW_PLAN_ALL_NODES) {
        return kw_error_set(error, KW_ERR_REFUSED, KW_EFFECT_NONE,
                            "%s goes to many nodes; send it by kw_command", kw_plan_name(plan));
    }
    return KW_OK;
}

/* Adds the parts of a command whose keys have several owners. */
static kw_err add_split(kw_batch *batch, kw_error *error, const kw_plan_task *task, kw_plan *plan)
{
    kw_batch_split *split =
        kw_batch_split_new(&batch->splits, error, batch->client->topology, plan, task);
    if (split == NULL) {
        kw_plan_end_write(plan);
        return KW_ERR_NOMEM;
    }
    size_t parts_n = split->fanout.items_n;
    if (!reserve(batch, parts_n) || !kw_batch_splits_add(&batch->splits, split)) {
        kw_batch_split_free(split, &batch->mem);
        return kw_error_refuse(error, KW_ERR_NOMEM, "no memory for a command of a batch");
    }
    split->number = batch->commands_n++;
    split->first = batch->items_n;
    kw_batch_split_move_parts(split, &batch->items[batch->items_n], &batch->mem);
    batch->items_n += parts_n;
    return KW_OK;
}

/* A transaction, which has one reply as a command has. */
static kw_err add_whole(kw_batch *batch, kw_error *error, const kw_plan_task *task, kw_item *item)
{
    kw_bytes bytes = kw_whole_bytes(task->whole);
    kw_err code = kw_whole_plan(&item->plan, batch->client->topology, error, task);
    if (code == KW_OK && !kw_buf_append(&batch->encoded, bytes.data, bytes.len)) {
        kw_plan_fini(&item->plan);
        code = kw_error_refuse(error, KW_ERR_NOMEM, "no memory for a command of a batch");
    }
    if (code == KW_OK) {
        item->request.parts_n = (uint32_t)kw_whole_parts_n(task->whole);
        item->request.bytes = (kw_bytes){NULL, bytes.len};
        batch->items_n++;
        batch->commands_n++;
    }
    return code;
}

/* Adds one command; the handle was entered. */
static kw_err add_entered(kw_batch *batch, kw_error *error, kw_plan_task *task)
{
    kw_item *item = &batch->items[batch->items_n];
    kw_item_init(item);
    item->request.pools = true;
    task->is_timed_later = true;
    task->closing = &batch->client->waits_end;
    if (task->whole != NULL) {
        return add_whole(batch, error, task, item);
    }
    task->like = batch->latest;
    kw_err code = kw_plan_make(&item->plan, batch->client->topology, error, task);
    if (code != KW_OK) {
        return code;
    }
    batch->latest = item->plan.command;
    if (item->plan.kind == KW_PLAN_SPLIT) {
        kw_plan plan = item->plan;
        return add_split(batch, error, task, &plan);
    }
    code = check_plan(&item->plan, error);
    size_t start = batch->encoded.len;
    if (code == KW_OK && !kw_resp_append(&batch->encoded, task->argv, task->argc)) {
        code = kw_error_refuse(error, KW_ERR_NOMEM, "no memory for a command of a batch");
    }
    if (code != KW_OK) {
        kw_plan_fini(&item->plan);
        return code;
    }
    if (item->plan.script != NULL) {
        item->plan.script->is_eager = true;
    }
    item->request.bytes = (kw_bytes){NULL, batch->encoded.len - start};
    batch->items_n++;
    batch->commands_n++;
    return KW_OK;
}

kw_err kw_batch_add_task(kw_batch *batch, kw_error *error, kw_plan_task *task)
{
    if (batch->has_run) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT,
                               "the batch has run: call kw_batch_clear first");
    }
    if (!reserve(batch, 1)) {
        return kw_error_refuse(error, KW_ERR_NOMEM, "no memory for a command of a batch");
    }
    kw_err code = kw_client_enter_new(batch->client, error);
    if (code == KW_OK) {
        code = add_entered(batch, error, task);
        kw_client_leave(batch->client);
    }
    return code;
}

kw_err kw_batch_vadd(kw_batch *batch, kw_error *error, const char *format, va_list values)
{
    if (batch == NULL || format == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "batch or format is NULL");
    }
    kw_args args;
    kw_args_init(&args, &batch->mem);
    kw_err code = kw_args_format(&args, error, format, values);
    if (code == KW_OK) {
        kw_plan_task task = {.options = &kw_plan_defaults, .argv = args.argv, .argc = args.argc};
        code = kw_batch_add_task(batch, error, &task);
    }
    kw_args_fini(&args);
    return code;
}

kw_err kw_batch_add(kw_batch *batch, kw_error *error, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    kw_err code = kw_batch_vadd(batch, error, format, values);
    va_end(values);
    return code;
}

kw_err kw_batch_add_call(kw_batch *batch, kw_error *error, const kw_call_options *options,
                         kw_argv command)
{
    if (batch == NULL) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT, "batch is NULL");
    }
    kw_call_options space;
    kw_arg_bytes args;
    options = kw_args_options(&space, error, options);
    if (options == NULL) {
        return KW_ERR_ARGUMENT;
    }
    if (options->timeout_ms > 0) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT,
                               "timeout_ms is not for a command of a batch: all of it has one "
                               "deadline, which kw_batch_run is given");
    }
    kw_err code = kw_arg_bytes_init(&args, error, &batch->mem, &command);
    if (code == KW_OK) {
        kw_plan_task task = {.options = options, .argv = args.argv, .argc = args.argc};
        code = kw_batch_add_task(batch, error, &task);
        kw_arg_bytes_fini(&args);
    }
    return code;
}

kw_err kw_batch_add_argv(kw_batch *batch, kw_error *error, int argc, const char **argv,
                         const size_t *argvlen)
{
    return kw_batch_add_call(batch, error, NULL, (kw_argv){argc, argv, argvlen});
}

const kw_allocator *kw_batch_memory(const kw_batch *batch)
{
    return batch != NULL ? &batch->mem : NULL;
}

const kw_client *kw_batch_client(const kw_batch *batch)
{
    return batch->client;
}

size_t kw_batch_count(const kw_batch *batch)
{
    return batch != NULL ? batch->commands_n : 0;
}

/* Tells the story of the first command without a reply, and its code; returns how many have none.
 */
static size_t tell_first(const kw_batch *batch, kw_error *error, kw_err *code)
{
    size_t failures_n = 0;
    *code = KW_OK;
    for (size_t i = 0; i < batch->commands_n; i++) {
        size_t at;
        const kw_batch_split *split = kw_batch_splits_find(&batch->splits, i, &at);
        kw_err own = split != NULL ? split->failure.code : batch->items[at].code;
        if (own != KW_OK && failures_n++ == 0) {
            *code = own;
            (void)kw_batch_reply(batch, error, i);
        }
    }
    return failures_n;
}

kw_err kw_batch_run(kw_batch *batch, kw_error *error, uint64_t timeout_ms)
{
    if (batch == NULL || batch->has_run) {
        return kw_error_refuse(error, KW_ERR_ARGUMENT,
                               batch == NULL ? "batch is NULL"
                                             : "the batch has run: call kw_batch_clear first");
    }
    kw_client *client = batch->client;
    kw_err code = kw_client_enter_new(client, error);
    if (code != KW_OK) {
        return code;
    }
    timeout_ms = timeout_ms > 0 ? timeout_ms : client->topology->env.options.timeout_ms;
    uint64_t now_ns = kw_env_now(&client->topology->env);
    if (batch->items_n > 0) {
        batch->items[0].plan.closing = &client->waits_end;
    }
    batch->has_run = true;
    kw_commands commands = {batch->items, batch->items_n, now_ns,
                            kw_plan_deadline_ns(now_ns, timeout_ms), batch->encoded.data};
    code = kw_pipeline_all(client->topology, &commands);
    kw_batch_splits_join(&batch->splits, batch->items, now_ns);
    kw_call_counts_add(&client->counts, batch->commands_n,
                       code != KW_OK || batch->splits.n > 0 ? tell_first(batch, error, &code) : 0);
    kw_client_leave(client);
    return code;
}

/* Where the reply of the command is kept; NULL, with error set, where it has none. */
static kw_reply **find_reply(const kw_batch *batch, kw_error *error, size_t index)
{
    if (batch == NULL || index >= batch->commands_n || !batch->has_run) {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "no such command in the batch, or it has not run");
        return NULL;
    }
    size_t at;
    kw_batch_split *split = kw_batch_splits_find(&batch->splits, index, &at);
    kw_item *item = &batch->items[at];
    kw_reply **reply = split != NULL ? &split->reply : &item->request.reply;
    if (*reply != NULL) {
        return reply;
    }
    if (split != NULL && split->failure.code != KW_OK) {
        kw_error_copy(error, &split->failure);
    } else if (split == NULL && item->code != KW_OK) {
        kw_item_tell(item, error);
    } else {
        kw_error_refuse(error, KW_ERR_ARGUMENT, "the reply was taken already");
    }
    return NULL;
}

const kw_reply *kw_batch_reply(const kw_batch *batch, kw_error *error, size_t index)
{
    kw_reply *const *reply = find_reply(batch, error, index);
    return reply != NULL ? *reply : NULL;
}

kw_reply *kw_batch_take(kw_batch *batch, kw_error *error, size_t index)
{
    kw_reply **kept = find_reply(batch, error, index);
    if (kept == NULL) {
        return NULL;
    }
    kw_reply *reply = kw_reply_own(&batch->mem, *kept);
    if (reply == NULL) {
        kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_DONE, "no memory for a reply of one's own");
        return NULL;
    }
    *kept = NULL;
    return reply;
}

void kw_batch_clear(kw_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    for (size_t i = 0; i < batch->items_n; i++) {
        kw_item_fini(&batch->items[i], &batch->mem);
    }
    kw_batch_splits_clear(&batch->splits);
    batch->items_n = 0;
    batch->commands_n = 0;
    batch->encoded.len = 0;
    batch->has_run = false;
}

void kw_batch_free(kw_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    kw_batch_clear(batch);
    kw_allocator mem = batch->mem;
    kw_buf_fini(&batch->encoded);
    kw_batch_splits_fini(&batch->splits);
    kw_mem_free(&mem, batch->items);
    kw_mem_free(&mem, batch);
}

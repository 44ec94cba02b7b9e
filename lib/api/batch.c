/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway/batch.h: commands are collected, run as one pipeline, and read one by one. */
#include <keyway/batch.h>

#include <keyway/command.h>

#include "api/client.h"
#include "api/args.h"
#include "drive/pipeline.h"
#include "base/error.h"
#include "base/format.h"
#include "base/resp.h"

#include <string.h>

struct kw_batch {
    kw_allocator mem; /* the handle's; what is freed may be freed after it */
    kw_client *client;
    kw_item *items;
    size_t *ends; /* of each command, in encoded */
    size_t items_n;
    size_t capacity;
    kw_buf encoded;
    bool has_run;
};

static kw_err refuse(kw_error *error, kw_err code, const char *text)
{
    return kw_error_set(error, code, KW_EFFECT_NONE, "%s", text);
}

kw_batch *kw_batch_new(kw_client *client, kw_error *error)
{
    if (client == NULL) {
        refuse(error, KW_ERR_ARGUMENT, "client is NULL");
        return NULL;
    }
    kw_batch *batch = kw_mem_calloc(&client->topology->env.mem, 1, sizeof(*batch));
    if (batch == NULL) {
        refuse(error, KW_ERR_NOMEM, "no memory for a batch");
        return NULL;
    }
    batch->mem = client->topology->env.mem;
    batch->client = client;
    kw_buf_init(&batch->encoded, &batch->mem, NULL, 0);
    return batch;
}

static bool reserve(kw_batch *batch)
{
    if (batch->items_n < batch->capacity) {
        return true;
    }
    const kw_allocator *mem = &batch->mem;
    size_t capacity = batch->capacity > 0 ? 2 * batch->capacity : 16;
    kw_item *items = kw_mem_resize(mem, batch->items, capacity, sizeof(items[0]));
    if (items == NULL) {
        return false;
    }
    batch->items = items;
    size_t *ends = kw_mem_resize(mem, batch->ends, capacity, sizeof(ends[0]));
    if (ends == NULL) {
        return false;
    }
    batch->ends = ends;
    batch->capacity = capacity;
    return true;
}

static kw_err check_plan(const kw_plan *plan, kw_error *error)
{
    if (plan->kind == KW_PLAN_SPLIT) {
        return kw_error_set(error, KW_ERR_CROSSSLOT, KW_EFFECT_NONE,
                            "%s has keys of different owners: give them one {hash tag}, add one "
                            "command per slot, or send it by kw_command",
                            plan->name);
    }
    if (plan->is_blocking) {
        return kw_error_set(error, KW_ERR_REFUSED, KW_EFFECT_NONE,
                            "%s would hold up the commands behind it; send it by kw_command",
                            plan->name);
    }
    if (plan->kind == KW_PLAN_ALL_PRIMARIES || plan->kind == KW_PLAN_ALL_NODES) {
        return kw_error_set(error, KW_ERR_REFUSED, KW_EFFECT_NONE,
                            "%s goes to many nodes; send it by kw_command", plan->name);
    }
    return KW_OK;
}

/* Adds one command; the handle was entered. */
static kw_err add_entered(kw_batch *batch, kw_error *error, const kw_bytes *argv, size_t argc)
{
    kw_item *item = &batch->items[batch->items_n];
    kw_item_init(item);
    item->request.pools = true;
    kw_plan_task task = {
        .options = &kw_plan_defaults, .argv = argv, .argc = argc, .is_timed_later = true};
    kw_err code = kw_plan_make(&item->plan, batch->client->topology, error, &task);
    if (code != KW_OK) {
        return code;
    }
    code = check_plan(&item->plan, error);
    if (code == KW_OK && !kw_resp_append(&batch->encoded, argv, argc)) {
        code = refuse(error, KW_ERR_NOMEM, "no memory for a command of a batch");
    }
    if (code != KW_OK) {
        kw_plan_fini(&item->plan);
        return code;
    }
    batch->ends[batch->items_n++] = batch->encoded.len;
    return KW_OK;
}

static kw_err add(kw_batch *batch, kw_error *error, const kw_bytes *argv, size_t argc)
{
    if (batch->has_run) {
        return refuse(error, KW_ERR_ARGUMENT, "the batch has run: call kw_batch_clear first");
    }
    if (!reserve(batch)) {
        return refuse(error, KW_ERR_NOMEM, "no memory for a command of a batch");
    }
    kw_err code = kw_client_enter(batch->client, error);
    if (code == KW_OK) {
        code = add_entered(batch, error, argv, argc);
        kw_client_leave(batch->client);
    }
    return code;
}

kw_err kw_batch_vadd(kw_batch *batch, kw_error *error, const char *format, va_list values)
{
    if (batch == NULL || format == NULL) {
        return refuse(error, KW_ERR_ARGUMENT, "batch or format is NULL");
    }
    kw_args args;
    kw_args_init(&args, &batch->mem);
    kw_err code = kw_args_format(&args, error, format, values);
    if (code == KW_OK) {
        code = add(batch, error, args.argv, args.argc);
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

kw_err kw_batch_add_argv(kw_batch *batch, kw_error *error, int argc, const char **argv,
                         const size_t *argvlen)
{
    if (batch == NULL) {
        return refuse(error, KW_ERR_ARGUMENT, "batch is NULL");
    }
    kw_arg_bytes args;
    kw_err code = kw_arg_bytes_init(&args, error, &batch->mem, (kw_argv){argc, argv, argvlen});
    if (code == KW_OK) {
        code = add(batch, error, args.argv, args.argc);
        kw_arg_bytes_fini(&args);
    }
    return code;
}

size_t kw_batch_count(const kw_batch *batch)
{
    return batch != NULL ? batch->items_n : 0;
}

/* Tells the story of the first command without a reply; returns how many have none. */
static size_t tell_first(const kw_batch *batch, kw_error *error)
{
    size_t failures_n = 0;
    for (size_t i = 0; i < batch->items_n; i++) {
        if (batch->items[i].code != KW_OK && failures_n++ == 0) {
            (void)kw_batch_reply(batch, error, i);
        }
    }
    return failures_n;
}

kw_err kw_batch_run(kw_batch *batch, kw_error *error, uint64_t timeout_ms)
{
    if (batch == NULL || batch->has_run) {
        return refuse(error, KW_ERR_ARGUMENT,
                      batch == NULL ? "batch is NULL"
                                    : "the batch has run: call kw_batch_clear first");
    }
    kw_client *client = batch->client;
    kw_err code = kw_client_enter(client, error);
    if (code != KW_OK) {
        return code;
    }
    timeout_ms = timeout_ms > 0 ? timeout_ms : client->topology->env.options.timeout_ms;
    uint64_t now_ns = kw_env_now(&client->topology->env);
    for (size_t i = 0; i < batch->items_n; i++) {
        size_t start = i > 0 ? batch->ends[i - 1] : 0;
        kw_bytes bytes = {batch->encoded.data + start, batch->ends[i] - start};
        batch->items[i].request.bytes = bytes;
        batch->items[i].plan.start_ns = now_ns;
    }
    batch->has_run = true;
    code = kw_pipeline_all(client->topology, batch->items, batch->items_n,
                           kw_plan_deadline_ns(now_ns, timeout_ms));
    kw_topology_count(client->topology, batch->items_n,
                      code != KW_OK ? tell_first(batch, error) : 0);
    kw_client_leave(client);
    return code;
}

static kw_item *find_item(const kw_batch *batch, kw_error *error, size_t index)
{
    if (batch == NULL || index >= batch->items_n || !batch->has_run) {
        refuse(error, KW_ERR_ARGUMENT, "no such command in the batch, or it has not run");
        return NULL;
    }
    kw_item *item = &batch->items[index];
    if (item->code != KW_OK) {
        kw_item_tell(item, error);
    } else if (item->request.reply == NULL) {
        refuse(error, KW_ERR_ARGUMENT, "the reply was taken already");
    }
    return item;
}

const kw_reply *kw_batch_reply(const kw_batch *batch, kw_error *error, size_t index)
{
    const kw_item *item = find_item(batch, error, index);
    return item != NULL ? item->request.reply : NULL;
}

kw_reply *kw_batch_take(kw_batch *batch, kw_error *error, size_t index)
{
    kw_item *item = find_item(batch, error, index);
    if (item == NULL) {
        return NULL;
    }
    if (item->request.reply == NULL) {
        return NULL;
    }
    kw_reply *reply = kw_reply_own(&batch->mem, item->request.reply);
    if (reply == NULL) {
        refuse(error, KW_ERR_NOMEM, "no memory for a reply of one's own");
        return NULL;
    }
    item->request.reply = NULL;
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
    batch->items_n = 0;
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
    kw_mem_free(&mem, batch->items);
    kw_mem_free(&mem, batch->ends);
    kw_mem_free(&mem, batch);
}

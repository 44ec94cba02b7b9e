/* SPDX-License-Identifier: BSD-3-Clause */
/* A command for a callback: planned, encoded, looked up or fanned out, and its reply taken. */
#include "drive/async_command.h"

#include "drive/pin.h"
#include "drive/plan_lookup.h"
#include "drive/whole.h"
#include "base/error.h"
#include "base/resp.h"

#include <string.h>

static kw_err no_memory(kw_error *error)
{
    return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a command");
}

static void free_more(kw_topology *topology, kw_async_command_more *more)
{
    const kw_allocator *mem = &topology->env.mem;
    if (more->has_fanout) {
        kw_fanout_fini(&more->fanout);
    }
    kw_plan_fini(&more->plan);
    kw_buf_fini(&more->question);
    kw_mem_free(mem, more->node);
    kw_mem_free(mem, more->argv);
    kw_mem_free(mem, more);
}

void kw_async_command_fini(kw_async_command *command, kw_topology *topology)
{
    kw_item_fini(&command->item, &topology->env.mem);
    if (command->more != NULL) {
        free_more(topology, command->more);
    }
}

/* The arguments again, in the encoded command: what the caller gave is its own. */
static void point_at_encoded(kw_async_command_more *more, const kw_plan_task *task)
{
    const char *end = more->encoded.data + more->encoded.len;
    for (size_t i = task->argc; i > 0; i--) {
        size_t len = task->argv[i - 1].len;
        char digits[20];
        end -= len + 2; /* behind an argument stands "\r\n", before it "$", digits, "\r\n" */
        more->argv[i - 1].data = end;
        more->argv[i - 1].len = len;
        end -= kw_uint_to_text(digits, len) + 3;
    }
    more->argc = task->argc;
}

static bool copy_options(kw_async_command_more *more, const kw_allocator *mem,
                         const kw_plan_task *task)
{
    more->options = *task->options;
    const char *node = task->options->node;
    if (node != NULL) {
        more->node = kw_mem_strndup(mem, node, strlen(node));
        more->options.node = more->node;
    }
    return node == NULL || more->node != NULL;
}

/* A command that is not simply sent: command->more, with the plan, on success. */
static bool add_more(kw_topology *topology, kw_async_command *command, const kw_plan_task *task)
{
    const kw_allocator *mem = &topology->env.mem;
    kw_async_command_more *more = kw_mem_calloc(mem, 1, sizeof(*more));
    if (more == NULL) {
        return false;
    }
    kw_buf_init(&more->question, mem, NULL, 0);
    more->failure.size = sizeof(more->failure);
    more->argv = kw_mem_calloc(mem, task->argc, sizeof(more->argv[0]));
    if (more->argv == NULL || !copy_options(more, mem, task)) {
        free_more(topology, more);
        return false;
    }
    more->encoded = command->item.request.bytes;
    point_at_encoded(more, task);
    more->plan = command->item.plan;
    memset(&command->item.plan, 0, sizeof(command->item.plan));
    command->more = more;
    return true;
}

static bool is_visit(const kw_plan *plan)
{
    return plan->kind == KW_PLAN_ALL_PRIMARIES || plan->kind == KW_PLAN_ALL_NODES;
}

/* An item that is answered by the first map. */
static void wait_for_map(kw_async_command *command)
{
    command->item.plan = command->more->plan;
    command->item.plan.kind = KW_PLAN_ANY;
    kw_plan_hand_over(&command->item.plan); /* it stays with that of more */
    command->item.is_map_only = true;
}

static kw_err ask(kw_error *error, kw_async_command *command)
{
    kw_async_command_more *more = command->more;
    kw_plan_task task = {.options = &more->options, .argv = more->argv, .argc = more->argc};
    more->question.len = 0;
    if (!kw_plan_question(&command->item.plan, &more->question, &more->plan, &task)) {
        return no_memory(error);
    }
    kw_bytes bytes = {more->question.data, more->question.len};
    command->item.request.bytes = bytes;
    return KW_OK;
}

/* The plan is made as far as it can be: what is to be done by it. */
static kw_err prepare(kw_topology *topology, kw_error *error, kw_async_command *command)
{
    kw_async_command_more *more = command->more;
    if (more->plan.need == KW_PLAN_NEEDS_MAP) {
        wait_for_map(command);
        return KW_OK;
    }
    if (more->plan.need != KW_PLAN_NEEDS_NOTHING) {
        return ask(error, command);
    }
    if (more->plan.kind == KW_PLAN_SPLIT || is_visit(&more->plan)) {
        kw_fanout_init(&more->fanout, topology, &more->plan, &topology->env.mem);
        kw_err code = is_visit(&more->plan)
                          ? kw_fanout_visit(&more->fanout, error, more->encoded)
                          : kw_fanout_split(&more->fanout, error, more->argv, more->argc);
        more->has_fanout = code == KW_OK;
        return code;
    }
    command->item.plan = more->plan;
    kw_plan_hand_over(&more->plan);
    command->item.request.bytes = more->encoded;
    return KW_OK;
}

static kw_err take_plan(kw_topology *topology, kw_error *error, kw_async_command *command,
                        const kw_plan_task *task)
{
    const kw_plan *plan = &command->item.plan;
    bool is_simple =
        plan->need == KW_PLAN_NEEDS_NOTHING && plan->kind != KW_PLAN_SPLIT && !is_visit(plan);
    if (is_simple) {
        return KW_OK;
    }
    if (!add_more(topology, command, task)) {
        return no_memory(error);
    }
    if (is_visit(&command->more->plan)) {
        wait_for_map(command); /* prepared once it is there */
        return KW_OK;
    }
    return prepare(topology, error, command);
}

static kw_err init_whole(kw_async_command *command, kw_topology *topology, kw_error *error,
                         const kw_plan_task *task)
{
    kw_request *request = &command->item.request;
    kw_bytes bytes = kw_whole_bytes(task->whole);
    kw_err code = kw_whole_plan(&command->item.plan, topology, error, task);
    if (code == KW_OK) {
        memcpy(command->bytes, bytes.data, bytes.len);
        request->bytes = (kw_bytes){command->bytes, bytes.len};
        request->parts_n = (uint32_t)kw_whole_parts_n(task->whole);
    }
    return code;
}

static kw_err init_pinned(kw_async_command *command, kw_error *error, const kw_plan_task *task)
{
    (void)kw_resp_write(command->bytes, task->argv, task->argc);
    command->item.request.bytes = (kw_bytes){command->bytes, command->len};
    return kw_pin_plan(task->pin, &command->item, error, task);
}

kw_err kw_async_command_init(kw_async_command *command, kw_topology *topology, kw_error *error,
                             const kw_plan_task *task)
{
    command->more = NULL;
    command->is_delivered = false;
    kw_item_init(&command->item);
    command->item.owner = command;
    if (task->whole != NULL) {
        return init_whole(command, topology, error, task);
    }
    if (task->pin != NULL) {
        return init_pinned(command, error, task);
    }
    kw_err code = kw_plan_start(&command->item.plan, topology, error, task);
    if (code != KW_OK) {
        return code;
    }
    (void)kw_resp_write(command->bytes, task->argv, task->argc);
    command->item.request.bytes.data = command->bytes;
    command->item.request.bytes.len = command->len;
    code = take_plan(topology, error, command, task);
    if (code != KW_OK) {
        kw_async_command_fini(command, topology);
    }
    return code;
}

void kw_async_command_init_pause(kw_async_command *command, uint64_t until_ns)
{
    command->more = NULL;
    command->is_delivered = false;
    kw_item_init(&command->item);
    command->item.owner = command;
    command->item.is_map_only = true;
    command->item.is_pause = true;
    memset(&command->item.plan, 0, sizeof(command->item.plan));
    command->item.plan.name = "pause";
    command->item.plan.start_ns = until_ns;
    command->item.plan.deadline_ns = until_ns;
}

kw_item *kw_async_command_items(kw_async_command *command, size_t *items_n)
{
    kw_async_command_more *more = command->more;
    if (more == NULL || !more->has_fanout) {
        *items_n = 1;
        return &command->item;
    }
    *items_n = more->fanout.items_n;
    for (size_t i = 0; i < more->fanout.items_n; i++) {
        more->fanout.items[i].owner = command;
    }
    return more->fanout.items;
}

void kw_async_command_set_time(kw_async_command *command, uint64_t now_ns)
{
    kw_plan_set_time(&command->item.plan, now_ns);
    if (command->more == NULL) {
        return;
    }
    kw_plan_set_time(&command->more->plan, now_ns);
    for (size_t i = 0; command->more->has_fanout && i < command->more->fanout.items_n; i++) {
        kw_plan_set_time(&command->more->fanout.items[i].plan, now_ns);
    }
}

/* Makes the item, which has ended with a reply or has not been sent, new again. */
static void renew(kw_topology *topology, kw_async_command *command)
{
    kw_item_fini(&command->item, &topology->env.mem);
    kw_item_init(&command->item);
    command->item.owner = command;
}

/* The question that the plan had, or the wait for the map, has ended. */
static kw_err on_answer(kw_topology *topology, kw_async_command *command, kw_error *failure)
{
    kw_async_command_more *more = command->more;
    kw_plan_task task = {.options = &more->options, .argv = more->argv, .argc = more->argc};
    task.reply = command->item.request.reply;
    if (command->item.code != KW_OK) {
        kw_err code = command->item.code;
        kw_error story = kw_error_none();
        kw_item_tell(&command->item, &story);
        if (kw_item_is_cancelled(&command->item)) {
            return kw_error_set(failure, code, KW_EFFECT_NONE, "%s: given up before it was sent",
                                kw_plan_name(&more->plan));
        }
        if (command->item.is_map_only) {
            kw_error_copy(failure, &story);
            return code;
        }
        return kw_plan_unanswered(failure, &story);
    }
    kw_err code = kw_plan_go_on(&more->plan, topology, failure, &task);
    if (code == KW_OK) {
        renew(topology, command);
        code = prepare(topology, failure, command);
    }
    return code;
}

bool kw_async_command_go_on(kw_topology *topology, kw_async_command *command)
{
    kw_async_command_more *more = command->more;
    bool is_final = more == NULL || more->has_fanout ||
                    (more->plan.need == KW_PLAN_NEEDS_NOTHING && !command->item.is_map_only);
    if (is_final) {
        return false;
    }
    return on_answer(topology, command, &more->failure) == KW_OK;
}

kw_reply *kw_async_command_take(kw_async_command *command, kw_error *error)
{
    kw_async_command_more *more = command->more;
    if (more != NULL && more->failure.code != KW_OK) {
        kw_error_copy(error, &more->failure);
        return NULL;
    }
    if (more != NULL && more->has_fanout) {
        return kw_fanout_finish(&more->fanout, error);
    }
    kw_item *item = &command->item;
    if (item->code == KW_OK) {
        kw_reply *reply = item->request.reply;
        item->request.reply = NULL;
        return reply;
    }
    kw_item_tell(item, error);
    return NULL;
}

bool kw_async_command_is_held(const kw_async_command *command)
{
    const kw_async_command_more *more = command->more;
    if (more == NULL || !more->has_fanout) {
        return command->item.state == KW_ITEM_GONE;
    }
    for (size_t i = 0; i < more->fanout.items_n; i++) {
        if (more->fanout.items[i].state == KW_ITEM_GONE) {
            return true;
        }
    }
    return false;
}

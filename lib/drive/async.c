/* SPDX-License-Identifier: BSD-3-Clause */
#include "drive/async.h"

#include "drive/plan_lookup.h"
#include "base/error.h"
#include "base/resp.h"

#include <string.h>

/* An encoded argument takes at most this much besides its bytes; so does the head. */
#define PER_ARGUMENT ((size_t)25)

static kw_err no_memory(kw_error *error)
{
    return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a command");
}

bool kw_async_room(size_t *room, const kw_plan_task *task)
{
    size_t sum = PER_ARGUMENT;
    for (size_t i = 0; i < task->argc; i++) {
        if (!kw_size_add(&sum, sum, task->argv[i].len) || !kw_size_add(&sum, sum, PER_ARGUMENT)) {
            return false;
        }
    }
    *room = sum;
    return true;
}

kw_async *kw_async_new(const kw_allocator *mem, size_t room)
{
    room = room > KW_ASYNC_ROOM ? room : KW_ASYNC_ROOM;
    size_t len;
    kw_async *async = kw_size_add(&len, room, sizeof(*async)) ? kw_mem_alloc(mem, len) : NULL;
    if (async != NULL) {
        async->room = room;
        async->is_kept = room == KW_ASYNC_ROOM;
    }
    return async;
}

static void free_more(kw_client *client, kw_async_more *more)
{
    const kw_allocator *mem = &client->env.mem;
    if (more->has_fanout) {
        kw_fanout_fini(&more->fanout);
    }
    kw_plan_fini(&more->plan);
    kw_buf_fini(&more->question);
    kw_mem_free(mem, more->node);
    kw_mem_free(mem, more->argv);
    kw_mem_free(mem, more);
}

void kw_async_fini(kw_async *async, kw_client *client)
{
    kw_item_fini(&async->item, &client->env.mem);
    if (async->more != NULL) {
        free_more(client, async->more);
    }
}

/* The arguments again, in the encoded command: what the caller gave is its own. */
static void point_at_encoded(kw_async_more *more, const kw_plan_task *task)
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

static bool copy_options(kw_async_more *more, const kw_allocator *mem, const kw_plan_task *task)
{
    more->options = *task->options;
    const char *node = task->options->node;
    if (node != NULL) {
        more->node = kw_mem_strndup(mem, node, strlen(node));
        more->options.node = more->node;
    }
    return node == NULL || more->node != NULL;
}

/* A command that is not simply sent: async->more, with the plan, on success. */
static bool add_more(kw_client *client, kw_async *async, const kw_plan_task *task)
{
    const kw_allocator *mem = &client->env.mem;
    kw_async_more *more = kw_mem_calloc(mem, 1, sizeof(*more));
    if (more == NULL) {
        return false;
    }
    kw_buf_init(&more->question, mem, NULL, 0);
    more->failure.size = sizeof(more->failure);
    more->argv = kw_mem_calloc(mem, task->argc, sizeof(more->argv[0]));
    if (more->argv == NULL || !copy_options(more, mem, task)) {
        free_more(client, more);
        return false;
    }
    more->encoded = async->item.encoded;
    point_at_encoded(more, task);
    more->plan = async->item.plan;
    memset(&async->item.plan, 0, sizeof(async->item.plan));
    async->more = more;
    return true;
}

static bool is_visit(const kw_plan *plan)
{
    return plan->kind == KW_PLAN_ALL_PRIMARIES || plan->kind == KW_PLAN_ALL_NODES;
}

/* An item that is answered by the first map. */
static void wait_for_map(kw_async *async)
{
    async->item.plan = async->more->plan;
    async->item.plan.kind = KW_PLAN_ANY;
    async->item.plan.node = NULL;
    async->item.plan.positions = NULL;
    async->item.is_map_only = true;
}

static kw_err ask(kw_error *error, kw_async *async)
{
    kw_async_more *more = async->more;
    kw_plan_task task = {.options = &more->options, .argv = more->argv, .argc = more->argc};
    more->question.len = 0;
    if (!kw_plan_question(&async->item.plan, &more->question, &more->plan, more->need, &task)) {
        return no_memory(error);
    }
    kw_bytes bytes = {more->question.data, more->question.len};
    async->item.encoded = bytes;
    return KW_OK;
}

/* The plan is made as far as it can be: what is to be done by it. */
static kw_err prepare(kw_client *client, kw_error *error, kw_async *async)
{
    kw_async_more *more = async->more;
    if (more->need == KW_PLAN_NEEDS_MAP) {
        wait_for_map(async);
        return KW_OK;
    }
    if (more->need != KW_PLAN_NEEDS_NOTHING) {
        return ask(error, async);
    }
    if (more->plan.kind == KW_PLAN_SPLIT || is_visit(&more->plan)) {
        kw_err code =
            is_visit(&more->plan)
                ? kw_fanout_init_visit(&more->fanout, client, error, &more->plan, more->encoded)
                : kw_fanout_init_split(&more->fanout, client, error, &more->plan, more->argv,
                                       more->argc);
        more->has_fanout = code == KW_OK;
        return code;
    }
    async->item.plan = more->plan;
    more->plan.node = NULL; /* the item's now */
    more->plan.positions = NULL;
    async->item.encoded = more->encoded;
    return KW_OK;
}

static kw_err take_plan(kw_client *client, kw_error *error, kw_async *async, kw_plan_need need,
                        const kw_plan_task *task)
{
    kw_plan_kind kind = async->item.plan.kind;
    bool is_simple =
        need == KW_PLAN_NEEDS_NOTHING && kind != KW_PLAN_SPLIT && !is_visit(&async->item.plan);
    if (is_simple) {
        return KW_OK;
    }
    if (!add_more(client, async, task)) {
        return no_memory(error);
    }
    async->more->need = need;
    if (is_visit(&async->more->plan)) {
        wait_for_map(async); /* prepared once it is there */
        return KW_OK;
    }
    return prepare(client, error, async);
}

kw_err kw_async_init(kw_async *async, kw_client *client, kw_error *error, const kw_plan_task *task)
{
    size_t room = async->room;
    memset(async, 0, sizeof(*async));
    async->room = room;
    async->is_kept = room == KW_ASYNC_ROOM;
    async->item.owner = async;
    kw_plan_need need;
    kw_err code = kw_plan_start(&async->item.plan, &need, client, error, task);
    if (code != KW_OK) {
        return code;
    }
    kw_buf encoded;
    kw_buf_init(&encoded, &client->env.mem, async->bytes, room);
    if (kw_resp_append(&encoded, task->argv, task->argc)) { /* there is room: it fits */
        async->item.encoded.data = encoded.data;
        async->item.encoded.len = encoded.len;
        code = take_plan(client, error, async, need, task);
    } else {
        code = no_memory(error);
    }
    if (code != KW_OK) {
        kw_async_fini(async, client);
    }
    return code;
}

kw_item *kw_async_items(kw_async *async, size_t *items_n)
{
    kw_async_more *more = async->more;
    if (more == NULL || !more->has_fanout) {
        *items_n = 1;
        return &async->item;
    }
    *items_n = more->fanout.items_n;
    for (size_t i = 0; i < more->fanout.items_n; i++) {
        more->fanout.items[i].owner = async;
    }
    return more->fanout.items;
}

void kw_async_set_time(kw_async *async, uint64_t now_ns)
{
    kw_plan_set_time(&async->item.plan, now_ns);
    if (async->more == NULL) {
        return;
    }
    kw_plan_set_time(&async->more->plan, now_ns);
    for (size_t i = 0; async->more->has_fanout && i < async->more->fanout.items_n; i++) {
        kw_plan_set_time(&async->more->fanout.items[i].plan, now_ns);
    }
}

/* Makes the item, which has ended with a reply or has not been sent, new again. */
static void renew(kw_client *client, kw_async *async)
{
    kw_item_fini(&async->item, &client->env.mem);
    memset(&async->item, 0, sizeof(async->item));
    async->item.owner = async;
}

/* The question that the plan had, or the wait for the map, has ended. */
static kw_err on_answer(kw_client *client, kw_async *async, kw_error *failure)
{
    kw_async_more *more = async->more;
    kw_plan_task task = {.options = &more->options, .argv = more->argv, .argc = more->argc};
    task.reply = async->item.request.reply;
    if (async->item.code != KW_OK) {
        kw_err code = async->item.code;
        if (async->item.retry_state == NULL) {
            return kw_error_set(failure, code, KW_EFFECT_NONE, "%s", kw_err_text(code));
        }
        const kw_error *story = &async->item.retry_state->failure;
        if (async->item.is_map_only) {
            kw_error_copy(failure, story);
            return code;
        }
        return kw_plan_unanswered(failure, story);
    }
    kw_err code = kw_plan_go_on(&more->plan, &more->need, client, failure, &task);
    if (code == KW_OK) {
        renew(client, async);
        code = prepare(client, failure, async);
    }
    return code;
}

bool kw_async_go_on(kw_client *client, kw_async *async)
{
    kw_async_more *more = async->more;
    bool is_final = more == NULL || more->has_fanout ||
                    (more->need == KW_PLAN_NEEDS_NOTHING && !async->item.is_map_only);
    if (is_final) {
        return false;
    }
    return on_answer(client, async, &more->failure) == KW_OK;
}

kw_reply *kw_async_take(kw_async *async, kw_error *error)
{
    kw_async_more *more = async->more;
    if (more != NULL && more->failure.code != KW_OK) {
        kw_error_copy(error, &more->failure);
        return NULL;
    }
    if (more != NULL && more->has_fanout) {
        return kw_fanout_finish(&more->fanout, error);
    }
    kw_item *item = &async->item;
    if (item->code == KW_OK) {
        kw_reply *reply = item->request.reply;
        item->request.reply = NULL;
        return reply;
    }
    if (item->retry_state != NULL) {
        kw_error_copy(error, &item->retry_state->failure);
    } else {
        kw_error_set(error, item->code, KW_EFFECT_MAYBE, "%s", kw_err_text(item->code));
    }
    return NULL;
}

bool kw_async_is_held(const kw_async *async)
{
    const kw_async_more *more = async->more;
    if (more == NULL || !more->has_fanout) {
        return async->item.state == KW_ITEM_GONE;
    }
    for (size_t i = 0; i < more->fanout.items_n; i++) {
        if (more->fanout.items[i].state == KW_ITEM_GONE) {
            return true;
        }
    }
    return false;
}

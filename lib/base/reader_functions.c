/* SPDX-License-Identifier: BSD-3-Clause */
/* Objects of a reply in hiredis' callbacks, whose types differ between 0.14 and 1.x. */
#include "base/reader_functions.h"

#include "base/reader_limits.h"

#include <string.h>

/* "txt:" in front of a verbatim string. */
#define VERB_PREFIX_LEN 4

static size_t depth_of(const redisReadTask *task)
{
    size_t depth = 1;
    while (task->parent != NULL) {
        task = task->parent;
        depth++;
    }
    return depth;
}

/* The reply to fill in: a new root with room for room bytes, or the element of its
 * parent. */
static kw_reply *begin(kw_reader *reader, const redisReadTask *task, size_t room)
{
    if (task->parent != NULL) {
        return kw_reply_next_slot(reader->root, task->parent->obj, (size_t)task->idx);
    }
    reader->items_n = 0;
    reader->root = kw_reply_new(reader->mem, room);
    return reader->root;
}

/* hiredis takes NULL for "no memory" and does not free a root it never got. */
static void *drop(kw_reader *reader, const redisReadTask *task)
{
    if (task->parent == NULL) {
        kw_reply_free(reader->root);
        reader->root = NULL;
    }
    return NULL;
}

static void *create_text(const redisReadTask *task, const char *text, size_t len)
{
    kw_reader *reader = task->privdata;
    kw_bytes bytes = {text, len};
    kw_reply *reply = begin(reader, task, bytes.len + 1);
    if (reply == NULL ||
        !kw_reply_set_string(reader->root, reply, (kw_reply_kind)task->type, bytes)) {
        return drop(reader, task);
    }
    return reply;
}

static void *create_array_of(const redisReadTask *task, size_t count)
{
    kw_reader *reader = task->privdata;
    kw_reader_limits limits = kw_reader_limits_of(reader);
    if (task->parent != NULL && (task->type == KW_REPLY_PUSH || task->type == KW_REPLY_ATTR)) {
        reader->has_nested_aside = true;
        return NULL;
    }
    size_t limit = limits.items < SIZE_MAX ? (size_t)limits.items : SIZE_MAX; /* 32 bits */
    size_t items_n = task->parent != NULL ? reader->items_n : 0;
    reader->is_too_deep = depth_of(task) > limits.depth;
    reader->has_too_many = count > limit || items_n > limit - count;
    if (reader->is_too_deep || reader->has_too_many) {
        return NULL;
    }
    kw_reply *reply = begin(reader, task, 0);
    if (reply == NULL ||
        !kw_reply_begin_array(reader->root, reply, (kw_reply_kind)task->type, count)) {
        return drop(reader, task);
    }
    reader->items_n = items_n + count;
    return reply;
}

static void *create_integer(const redisReadTask *task, long long value)
{
    kw_reader *reader = task->privdata;
    kw_reply *reply = begin(reader, task, 0);
    if (reply != NULL) {
        kw_reply_set_integer(reply, KW_REPLY_INTEGER, value);
    }
    return reply;
}

static void *create_nil(const redisReadTask *task)
{
    kw_reader *reader = task->privdata;
    kw_reply *reply = begin(reader, task, 0);
    if (reply != NULL) {
        kw_reply_set_integer(reply, KW_REPLY_NIL, 0);
    }
    return reply;
}

static void free_object(void *object)
{
    kw_reply_free(object); /* hiredis frees roots only */
}

#if defined(HIREDIS_MAJOR) && HIREDIS_MAJOR >= 1

/* A verbatim string begins with its format: "txt:". */
static void *create_string(const redisReadTask *task, char *text, size_t len)
{
    bool has_format = task->type == KW_REPLY_VERB && len >= VERB_PREFIX_LEN;
    size_t skip = has_format ? VERB_PREFIX_LEN : 0;
    kw_reply *reply = create_text(task, text + skip, len - skip);
    if (reply != NULL && has_format) {
        memcpy(reply->hiredis.vtype, text, VERB_PREFIX_LEN - 1);
    }
    return reply;
}

static void *create_array(const redisReadTask *task, size_t count)
{
    return create_array_of(task, count);
}

static void *create_double(const redisReadTask *task, double value, char *text, size_t len)
{
    kw_reader *reader = task->privdata;
    kw_bytes bytes = {text, len};
    kw_reply *reply = begin(reader, task, len + 1);
    if (reply == NULL || !kw_reply_set_string(reader->root, reply, KW_REPLY_DOUBLE, bytes)) {
        return drop(reader, task);
    }
    reply->hiredis.dval = value;
    return reply;
}

static void *create_bool(const redisReadTask *task, int value)
{
    kw_reader *reader = task->privdata;
    kw_reply *reply = begin(reader, task, 0);
    if (reply != NULL) {
        kw_reply_set_integer(reply, KW_REPLY_BOOL, value != 0);
    }
    return reply;
}

static const redisReplyObjectFunctions functions = {
    create_string, create_array, create_integer, create_double,
    create_nil,    create_bool,  free_object,
};

bool kw_reader_knows_resp3(void)
{
    return true;
}

#else

static void *create_string(const redisReadTask *task, char *text, size_t len)
{
    return create_text(task, text, len);
}

static void *create_array(const redisReadTask *task, int count)
{
    return create_array_of(task, (size_t)count);
}

static const redisReplyObjectFunctions functions = {
    create_string, create_array, create_integer, create_nil, free_object,
};

bool kw_reader_knows_resp3(void)
{
    return false;
}

#endif

redisReplyObjectFunctions *kw_reader_functions(void)
{
    return (redisReplyObjectFunctions *)(uintptr_t)&functions;
}

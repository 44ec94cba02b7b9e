/* SPDX-License-Identifier: BSD-3-Clause */
/* Looks whether the hiredis in this process has the structs that the library was compiled with. */
#include "base/reader_layout.h"

#include "base/error.h"

#include <hiredis.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Both releases of the table of functions have fewer entries than this. */
#define ENTRIES_N 16

/* What every entry of the table is but the three that the check expects to be called. */
typedef void *entry_fn(const redisReadTask *task);

typedef union table {
    redisReplyObjectFunctions functions;
    entry_fn *entries[ENTRIES_N];
} table;

/* The objects of the check. hiredis may give one to a wrong entry as if it were a task, so that
 * they are as large as several of these, and zero. */
static const redisReadTask objects[4];

static void *object_at(size_t index)
{
    return (void *)(uintptr_t)&objects[index];
}

/* The check fails by NULL: hiredis ends the reply then. */
static void *wrong_entry(const redisReadTask *task)
{
    (void)task;
    return NULL;
}

static bool is_root(const redisReadTask *task, int type)
{
    return task->type == type && task->parent == NULL && task->privdata == NULL;
}

static bool is_element(const redisReadTask *task, int type, int index)
{
    return task->type == type && task->idx == index && task->privdata == NULL &&
           task->parent != NULL && task->parent->obj == object_at(0) && task->parent->elements == 2;
}

#if defined(HIREDIS_MAJOR) && HIREDIS_MAJOR >= 1
static void *create_array(const redisReadTask *task, size_t count)
#else
static void *create_array(const redisReadTask *task, int count)
#endif
{
    return is_root(task, REDIS_REPLY_ARRAY) && count == 2 ? object_at(0) : NULL;
}

static void *create_integer(const redisReadTask *task, long long value)
{
    return is_element(task, REDIS_REPLY_INTEGER, 0) && value == 7 ? object_at(0) : NULL;
}

/* Of "$-1": a string by its first byte. */
static void *create_nil(const redisReadTask *task)
{
    return is_element(task, REDIS_REPLY_STRING, 1) ? object_at(0) : NULL;
}

static table make_table(void)
{
    table made;
    for (size_t i = 0; i < ENTRIES_N; i++) {
        made.entries[i] = wrong_entry;
    }
    made.functions.createArray = create_array;
    made.functions.createInteger = create_integer;
    made.functions.createNil = create_nil;
    return made;
}

/* An array that is parsed by the functions of the table, which look at its tasks. */
static bool has_layout_of_tasks(redisReader *reader)
{
    void *object = NULL;
    return redisReaderGetReply(reader, &object) == REDIS_OK && object == object_at(0);
}

/* Of the reader itself, with len bytes of a reply in it that is not all there. */
static bool has_layout_of_reader(const redisReader *reader, const table *functions,
                                 const char *rest, size_t len)
{
    return reader->err == 0 && reader->fn == &functions->functions && reader->privdata == NULL &&
           reader->maxbuf == REDIS_READER_MAX_BUF && reader->pos <= reader->len &&
           reader->len - reader->pos == len && reader->buf != NULL &&
           memcmp(reader->buf + reader->pos, rest, len) == 0;
}

static kw_err another_hiredis(kw_error *error)
{
    return kw_error_set(error, KW_ERR_UNSUPPORTED, KW_EFFECT_NONE,
                        "this program carries another hiredis than %d.%d, which keyway was built "
                        "with, and its functions take the place of keyway's; build keyway with "
                        "HIREDIS=static, which has a hidden copy",
                        HIREDIS_MAJOR, HIREDIS_MINOR);
}

kw_err kw_reader_layout_check(kw_error *error)
{
    static const char whole[] = "*2\r\n:7\r\n$-1\r\n";
    static const char rest[] = "$5\r\nab";
    table functions = make_table();
    redisReader *reader = redisReaderCreateWithFunctions(&functions.functions);
    if (reader == NULL || redisReaderFeed(reader, whole, sizeof(whole) - 1) != REDIS_OK) {
        goto no_memory;
    }
    bool is_right = has_layout_of_tasks(reader);
    if (is_right && redisReaderFeed(reader, rest, sizeof(rest) - 1) != REDIS_OK) {
        goto no_memory;
    }
    is_right = is_right && has_layout_of_reader(reader, &functions, rest, sizeof(rest) - 1);
    redisReaderFree(reader);
    return is_right ? KW_OK : another_hiredis(error);
no_memory:
    if (reader != NULL) {
        redisReaderFree(reader);
    }
    return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "no memory for a handle");
}

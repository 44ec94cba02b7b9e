/* SPDX-License-Identifier: BSD-3-Clause */
/* Parses as hiredis does, with a layout of its own: what a program with its own copy carries. */
#include "other_hiredis.h"

#include <stdlib.h>
#include <string.h>

enum { STRING = 1, ARRAY = 2, INTEGER = 3, STATUS = 5, FAILURE = 6 };

redisReader *redisReaderCreateWithFunctions(redisReplyObjectFunctions *fn)
{
    redisReader *reader = calloc(1, sizeof(*reader));
    if (reader != NULL) {
        reader->fn = fn;
    }
    return reader;
}

void redisReaderFree(redisReader *reader)
{
    free(reader);
}

int redisReaderFeed(redisReader *reader, const char *buf, size_t len)
{
    if (len > sizeof(reader->buf) - reader->len) {
        return -1;
    }
    memcpy(reader->buf + reader->len, buf, len);
    reader->len += len;
    return 0;
}

/* The line behind the first byte of a value; NULL where it is not all there. */
static char *take_line(redisReader *reader, size_t *len)
{
    char *line = reader->buf + reader->pos;
    char *end = memchr(line, '\r', reader->len - reader->pos);
    if (end == NULL || end + 1 == reader->buf + reader->len) {
        return NULL;
    }
    *len = (size_t)(end - line) - 1;
    reader->pos += *len + 3;
    return line + 1;
}

static void *read_value(redisReader *reader, redisReadTask *parent, int idx);

static void *read_array(redisReader *reader, redisReadTask *task, long long count)
{
    task->type = ARRAY;
#ifdef OTHER_IS_NEW
    task->elements = count;
    task->obj = reader->fn->createArray(task, (size_t)count);
#else
    task->elements = (int)count;
    task->obj = reader->fn->createArray(task, (int)count);
#endif
    for (int i = 0; task->obj != NULL && i < count; i++) {
        if (read_value(reader, task, i) == NULL) {
            return NULL;
        }
    }
    return task->obj;
}

static void *read_text(redisReader *reader, redisReadTask *task, long long len)
{
    task->type = STRING;
    if (len < 0) {
        return reader->fn->createNil(task);
    }
    if (reader->len - reader->pos < (size_t)len + 2) {
        return NULL;
    }
    char *text = reader->buf + reader->pos;
    reader->pos += (size_t)len + 2;
    return reader->fn->createString(task, text, (size_t)len);
}

static void *read_value(redisReader *reader, redisReadTask *parent, int idx)
{
    redisReadTask task = {0};
    task.parent = parent;
    task.idx = idx;
    task.privdata = reader->privdata;
    size_t len = 0;
    char kind = reader->buf[reader->pos];
    char *line = take_line(reader, &len);
    if (line == NULL) {
        return NULL;
    }
    switch (kind) {
    case '*':
        return read_array(reader, &task, strtoll(line, NULL, 10));
    case '$':
        return read_text(reader, &task, strtoll(line, NULL, 10));
    case ':':
        task.type = INTEGER;
        return reader->fn->createInteger(&task, strtoll(line, NULL, 10));
    default:
        task.type = kind == '-' ? FAILURE : STATUS;
        return reader->fn->createString(&task, line, len);
    }
}

int redisReaderGetReply(redisReader *reader, void **reply)
{
    *reply = reader->pos < reader->len ? read_value(reader, NULL, -1) : NULL;
    return 0;
}

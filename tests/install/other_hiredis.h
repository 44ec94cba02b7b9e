/* SPDX-License-Identifier: BSD-3-Clause */
/* Another hiredis: the names of the real one's reader, and a layout of its own. OTHER_IS_NEW
 * chooses tasks and functions as releases from 1.0 have them, else as those before. */
#ifndef INSTALL_OTHER_HIREDIS_H
#define INSTALL_OTHER_HIREDIS_H

#include <stddef.h>

typedef struct redisReadTask {
    int type;
#ifdef OTHER_IS_NEW
    long long elements;
#else
    int elements;
#endif
    int idx;
    void *obj;
    struct redisReadTask *parent;
    void *privdata;
} redisReadTask;

typedef struct redisReplyObjectFunctions {
    void *(*createString)(const redisReadTask *, char *, size_t);
#ifdef OTHER_IS_NEW
    void *(*createArray)(const redisReadTask *, size_t);
#else
    void *(*createArray)(const redisReadTask *, int);
#endif
    void *(*createInteger)(const redisReadTask *, long long);
#ifdef OTHER_IS_NEW
    void *(*createDouble)(const redisReadTask *, double, char *, size_t);
#endif
    void *(*createNil)(const redisReadTask *);
#ifdef OTHER_IS_NEW
    void *(*createBool)(const redisReadTask *, int);
#endif
    void (*freeObject)(void *);
} redisReplyObjectFunctions;

/* Never what hiredis has: the buffer stands at the end, and the functions in front. */
typedef struct redisReader {
    redisReplyObjectFunctions *fn;
    void *privdata;
    size_t pos;
    size_t len;
    int err;
    char buf[4096];
} redisReader;

redisReader *redisReaderCreateWithFunctions(redisReplyObjectFunctions *fn);
void redisReaderFree(redisReader *reader);
int redisReaderFeed(redisReader *reader, const char *buf, size_t len);
int redisReaderGetReply(redisReader *reader, void **reply);

#endif

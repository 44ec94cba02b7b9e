/* SPDX-License-Identifier: BSD-3-Clause */
/* Control connections to test servers. */
#include "support/link.h"

#include <hiredis.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

struct kw_test_link {
    redisContext *context;
};

/* A thread's SIGPIPE held back: what a write raises meanwhile is thrown away. */
typedef struct pipe_guard {
    sigset_t old;
    int was_pending;
} pipe_guard;

static void guard_begin(pipe_guard *guard)
{
    sigset_t set;
    sigset_t pending;
    sigpending(&pending);
    guard->was_pending = sigismember(&pending, SIGPIPE);
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, &guard->old);
}

static void guard_end(const pipe_guard *guard)
{
    sigset_t set;
    sigset_t pending;
    int number;
    sigpending(&pending);
    if (!guard->was_pending && sigismember(&pending, SIGPIPE)) {
        sigemptyset(&set);
        sigaddset(&set, SIGPIPE);
        sigwait(&set, &number);
    }
    pthread_sigmask(SIG_SETMASK, &guard->old, NULL);
}

kw_test_link *kw_test_link_open(uint16_t port, const char *password)
{
    struct timeval five = {5, 0};
    struct timeval half_a_minute = {30, 0};
    kw_test_link *link = calloc(1, sizeof(*link));
    if (link == NULL) {
        return NULL;
    }
    link->context = redisConnectWithTimeout("127.0.0.1", port, five);
    if (link->context == NULL || link->context->err != 0) {
        kw_test_link_close(link);
        return NULL;
    }
    redisSetTimeout(link->context, five);
    if (password != NULL) {
        redisReply *reply = kw_test_link_ask(link, "AUTH %s", password);
        if (reply == NULL) {
            kw_test_link_close(link);
            return NULL;
        }
        freeReplyObject(reply);
    }
    redisSetTimeout(link->context, half_a_minute);
    return link;
}

void kw_test_link_close(kw_test_link *link)
{
    if (link != NULL) {
        if (link->context != NULL) {
            redisFree(link->context);
        }
        free(link);
    }
}

redisReply *kw_test_link_ask(kw_test_link *link, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = kw_test_link_vask(link, format, args);
    va_end(args);
    return reply;
}

redisReply *kw_test_link_vask(kw_test_link *link, const char *format, va_list args)
{
    pipe_guard guard;
    guard_begin(&guard);
    redisReply *reply = redisvCommand(link->context, format, args);
    guard_end(&guard);
    return reply;
}

redisReply *kw_test_link_argv(kw_test_link *link, int argc, const char **argv, const size_t *lens)
{
    pipe_guard guard;
    guard_begin(&guard);
    redisReply *reply = redisCommandArgv(link->context, argc, argv, lens);
    guard_end(&guard);
    return reply;
}

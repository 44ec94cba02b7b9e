/* SPDX-License-Identifier: BSD-3-Clause */
/* A loop in each thread: every thread has a handle of its own, and all share one map, fetched once.
 */
#include <keyway.h>

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS_N  4
#define COMMANDS_N 1000

typedef struct worker {
    pthread_t thread;
    kw_client *kw;
    int left;
    int failed;
} worker;

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    worker *self = arg;
    if (reply == NULL && !self->failed) { /* the first one says enough */
        fprintf(stderr, "%s\n", error->text);
    }
    self->failed |= reply == NULL || kw_reply_is_error(reply);
    kw_reply_free(reply);
    self->left--;
}

/* Gives its commands, and turns its own loop until they are answered. */
static void *work(void *arg)
{
    worker *self = arg;
    kw_error err = {0};
    struct pollfd entry = {kw_fd(self->kw, &err), POLLIN, 0};
    for (int i = 0; i < COMMANDS_N && !self->failed; i++) {
        kw_callback callback = {on_reply, self};
        self->failed |= kw_command_async(self->kw, &err, callback, "INCR threads:%d", i) != KW_OK;
        self->left += self->failed ? 0 : 1;
    }
    while (self->left > 0) {
        if (poll(&entry, 1, kw_timeout(self->kw)) < 0 || kw_process(self->kw, &err) != KW_OK) {
            fprintf(stderr, "%s\n", err.text);
            self->failed = 1;
            break;
        }
    }
    kw_close(self->kw); /* in any order: what is shared ends with the last one */
    return NULL;
}

int main(int argc, char **argv)
{
    kw_error err = {0};
    kw_client *first = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &err);
    worker workers[THREADS_N] = {0};
    int failed = 0;
    for (int i = 0; i < THREADS_N; i++) {
        workers[i].kw = first != NULL ? kw_open_shared(first, &err) : NULL;
        if (workers[i].kw == NULL ||
            pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
            fprintf(stderr, "%s\n", err.text);
            return EXIT_FAILURE;
        }
    }
    for (int i = 0; i < THREADS_N; i++) {
        pthread_join(workers[i].thread, NULL);
        failed |= workers[i].failed;
    }
    kw_close(first);
    printf("%d loops have %s\n", THREADS_N, failed ? "failed" : "counted together");
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

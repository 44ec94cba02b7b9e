/* SPDX-License-Identifier: BSD-3-Clause */
/* Uses of a client, of which each program of this folder carries some. */
#ifndef SIZES_USES_H
#define SIZES_USES_H

#include <keyway.h>

#include <poll.h>
#include <stdio.h>

static inline kw_client *open_client(int argc, char **argv, kw_error *error)
{
    return kw_open(argc > 1 ? argv[1] : "redis://127.0.0.1", error);
}

static inline kw_err run_call(kw_client *kw, kw_error *error)
{
    kw_reply *reply = kw_command(kw, error, "SET greeting %s", "hello");
    kw_err err = reply != NULL ? KW_OK : error->code;
    kw_reply_free(reply);
    return err;
}

static inline void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    printf("%s\n", reply != NULL ? "an answer" : error->text);
    kw_reply_free(reply);
    *(int *)arg = 1;
}

static inline kw_err run_batch(kw_client *kw, kw_error *error)
{
    kw_batch *batch = kw_batch_new(kw, error);
    kw_err err = batch != NULL ? KW_OK : error->code;
    for (int i = 0; err == KW_OK && i < 10; i++) {
        err = kw_batch_add(batch, error, "INCR counter:%d", i);
    }
    err = err == KW_OK ? kw_batch_run(batch, error, 0) : err;
    kw_batch_free(batch);
    return err;
}

static inline kw_err run_loop(kw_client *kw, kw_error *error)
{
    int is_answered = 0;
    struct pollfd entry = {kw_fd(kw, error), POLLIN, 0};
    kw_err err = kw_command_async(kw, error, (kw_callback){on_reply, &is_answered}, "GET greeting");
    while (err == KW_OK && !is_answered) {
        (void)poll(&entry, 1, kw_timeout(kw));
        err = kw_process(kw, error);
    }
    return err;
}

/* Closes the handle; what main returns. */
static inline int end_client(kw_client *kw, kw_err err, const kw_error *error)
{
    kw_close(kw);
    if (err != KW_OK) {
        fprintf(stderr, "%s\n", error->text);
    }
    return err != KW_OK;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client carries that has calls, batches, an event loop, and values in copies. */
#include <keyway.h>

#include <poll.h>
#include <stdio.h>

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    printf("%s\n", reply != NULL ? "an answer" : error->text);
    kw_reply_free(reply);
    *(int *)arg = 1;
}

static kw_err run_batch(kw_client *kw, kw_error *error)
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

static kw_err run_loop(kw_client *kw, kw_error *error)
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

static kw_err run_copies(kw_client *kw, kw_error *error)
{
    kw_quorum *quorum = kw_quorum_new(kw, error);
    kw_err err = quorum != NULL ? KW_OK : error->code;
    err = err == KW_OK ? kw_quorum_set(quorum, error, "greeting", 8, "hello", 5) : err;
    if (err == KW_OK) {
        kw_quorum_results *found = kw_quorum_get(quorum, error, "greeting", 8);
        err = found != NULL ? KW_OK : error->code;
        printf("%s\n", found != NULL ? kw_quorum_value(found, NULL, 0) : "");
        kw_quorum_results_free(found);
    }
    kw_quorum_free(quorum);
    return err;
}

int main(int argc, char **argv)
{
    kw_error error = {0};
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis://127.0.0.1", &error);
    kw_err err = kw != NULL ? KW_OK : error.code;
    if (err == KW_OK) {
        kw_reply *reply = kw_command(kw, &error, "SET greeting %s", "hello");
        err = reply != NULL ? KW_OK : error.code;
        kw_reply_free(reply);
    }
    err = err == KW_OK ? run_batch(kw, &error) : err;
    err = err == KW_OK ? run_loop(kw, &error) : err;
    err = err == KW_OK ? run_copies(kw, &error) : err;
    kw_close(kw);
    if (err != KW_OK) {
        fprintf(stderr, "%s\n", error.text);
    }
    return err != KW_OK;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands with callbacks in a loop of one's own, around poll. */
#include <keyway.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define KEYS_N 10

static int left; /* callbacks that are due */
static int failed;

static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    kw_error told = reply == NULL ? *error : (kw_error){0};
    bool is_failure = kw_reply_outcome(reply, &told) == KW_OUTCOME_ERROR;
    printf("%s %s\n", (const char *)arg, is_failure ? told.text : kw_reply_text(reply, "-"));
    failed += is_failure;
    left--;
    kw_reply_free(reply);
}

/* Both are under way at once; what shares a key runs in this order. */
static bool give(kw_client *kw, kw_error *err, int number)
{
    kw_callback set = {on_reply, "set"};
    kw_callback get = {on_reply, "get"};
    left += 2;
    return kw_command_async(kw, err, set, "SET loop:%d value%d", number, number) == KW_OK &&
           kw_command_async(kw, err, get, "GET loop:%d", number) == KW_OK;
}

int main(int argc, char **argv)
{
    kw_error err = {0};
    kw_client *kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &err);
    struct pollfd entry = {kw != NULL ? kw_fd(kw, &err) : -1, POLLIN, 0};
    bool ok = entry.fd >= 0;
    for (int i = 0; ok && i < KEYS_N; i++) {
        ok = give(kw, &err, i);
    }
    while (ok && left > 0) {
        ok = poll(&entry, 1, kw_timeout(kw)) >= 0 && kw_process(kw, &err) == KW_OK;
    }
    if (!ok) {
        fprintf(stderr, "%s\n", err.text);
    }
    kw_close(kw);
    return ok && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

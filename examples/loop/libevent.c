/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands with callbacks in a libevent loop. */
#include <keyway.h>
#include <keyway/adapters/libevent.h>

#include <stdio.h>
#include <stdlib.h>

#define KEYS_N 10

/* What the callbacks need. */
typedef struct program {
    kw_client *kw;
    struct event_base *base;
    int left;
    int failed;
} program;

/* Either a reply or an error. */
static void on_reply(void *arg, kw_reply *reply, const kw_error *error)
{
    program *self = arg;
    if (reply == NULL) {
        fprintf(stderr, "%s\n", error->text);
        self->failed = 1;
    } else {
        printf("%s\n", kw_reply_str(reply, NULL));
        self->failed |= kw_reply_is_error(reply);
    }
    kw_reply_free(reply);
    if (--self->left == 0) {
        event_base_loopbreak(self->base);
    }
}

/* Both are under way at once; what shares a key runs in this order. */
static void give(program *self, int number)
{
    kw_error err = {0};
    self->left += 2;
    kw_callback callback = {on_reply, self};
    if (kw_command_async(self->kw, &err, callback, "SET loop:%d value%d", number, number) !=
            KW_OK ||
        kw_command_async(self->kw, &err, callback, "GET loop:%d", number) != KW_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv)
{
    kw_error err = {0};
    program self = {.left = 0};
    self.kw = kw_open(argc > 1 ? argv[1] : "redis-cluster://127.0.0.1:7000", &err);
    if (self.kw == NULL) {
        fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }
    self.base = event_base_new();
    kw_libevent *handle = kw_libevent_attach(self.kw, &err, self.base);
    if (handle == NULL) {
        fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }
    for (int i = 0; i < KEYS_N; i++) {
        give(&self, i);
    }
    event_base_dispatch(self.base);
    kw_libevent_detach(handle);
    kw_close(self.kw);
    event_base_free(self.base);
    return self.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands with callbacks in a libuv loop. */
#include <keyway.h>
#include <keyway/adapters/libuv.h>

#include <stdio.h>
#include <stdlib.h>

#define KEYS_N 10

/* What the callbacks need. */
typedef struct program {
    kw_client *kw;
    uv_loop_t *loop;
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
        uv_stop(self->loop);
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
    self.loop = uv_default_loop();
    kw_libuv *handle = kw_libuv_attach(self.kw, &err, self.loop);
    if (handle == NULL) {
        fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }
    for (int i = 0; i < KEYS_N; i++) {
        give(&self, i);
    }
    uv_run(self.loop, UV_RUN_DEFAULT);
    kw_libuv_detach(handle);
    uv_run(self.loop, UV_RUN_DEFAULT); /* frees it */
    kw_close(self.kw);
    uv_loop_close(self.loop);
    return self.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands with callbacks in a GLib main loop. */
#include <keyway.h>
#include <keyway/adapters/glib.h>

#include <stdio.h>
#include <stdlib.h>

#define KEYS_N 10

/* What the callbacks need. */
typedef struct program {
    kw_client *kw;
    GMainLoop *loop;
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
        g_main_loop_quit(self->loop);
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
    self.loop = g_main_loop_new(NULL, FALSE);
    GSource *handle = kw_glib_attach(self.kw, &err, NULL);
    if (handle == NULL) {
        fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }
    for (int i = 0; i < KEYS_N; i++) {
        give(&self, i);
    }
    g_main_loop_run(self.loop);
    kw_glib_detach(handle);
    kw_close(self.kw);
    g_main_loop_unref(self.loop);
    return self.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

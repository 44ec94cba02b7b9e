/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: commands with callbacks in a GLib main loop. Needs GLib 2.36.
 *
 *   GSource *handle = kw_glib_attach(client, &error, NULL);
 *   g_main_loop_run(loop);
 *   kw_glib_detach(handle);
 *
 * What is given in between is <keyway/loop.h>. The handle is watched until it is detached, whether
 * commands are under way or not: the loop does not end by itself. Stop it where it is to end, for
 * instance in a callback, with g_main_loop_quit. */
#ifndef KEYWAY_ADAPTERS_GLIB_H
#define KEYWAY_ADAPTERS_GLIB_H

#include <glib.h>

#include <keyway/loop.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A handle in a GMainContext; kw_glib_attach gives its GSource. */
typedef struct kw_glib {
    GSource source;
    kw_client *client; /* NULL: closed */
    GPollFD readable;
} kw_glib;

static inline gboolean kw_glib_prepare(GSource *source, gint *wait_ms)
{
    *wait_ms = kw_timeout(((kw_glib *)source)->client);
    return *wait_ms == 0;
}

static inline gboolean kw_glib_check(GSource *source)
{
    kw_glib *self = (kw_glib *)source;
    return self->readable.revents != 0 || kw_timeout(self->client) == 0;
}

static inline gboolean kw_glib_dispatch(GSource *source, GSourceFunc fn, gpointer arg)
{
    kw_glib *self = (kw_glib *)source;
    kw_err code = kw_process(self->client, NULL);
    (void)fn;
    (void)arg;
    if (code == KW_ERR_CANCELLED || code == KW_ERR_FORKED) {
        self->client = NULL;
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

/* Lets a main context (NULL: the default one) drive the handle, until kw_glib_detach, which is due
 * before kw_close.
 *
 * NULL where it fails. Errors: KW_ERR_ARGUMENT (client is NULL), KW_ERR_FORKED, KW_ERR_NOMEM. Loop
 * thread. */
static inline GSource *kw_glib_attach(kw_client *client, kw_error *error, GMainContext *context)
{
    static GSourceFuncs functions = {
        kw_glib_prepare, kw_glib_check, kw_glib_dispatch, NULL, NULL, NULL};
    int fd = kw_fd(client, error);
    if (fd < 0) {
        return NULL;
    }
    GSource *source = g_source_new(&functions, sizeof(kw_glib));
    kw_glib *self = (kw_glib *)source;
    self->client = client;
    self->readable.fd = fd;
    self->readable.events = G_IO_IN;
    self->readable.revents = 0;
    g_source_add_poll(source, &self->readable);
    (void)g_source_attach(source, context);
    return source;
}

/* Takes the handle out of its context, before kw_close. Allowed in a callback. NULL is allowed.
 * Loop thread. */
static inline void kw_glib_detach(GSource *source)
{
    if (source != NULL) {
        g_source_destroy(source);
        g_source_unref(source);
    }
}

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: commands with callbacks in a libev loop. Needs libev 4.
 *
 *   kw_libev *handle = kw_libev_attach(client, &error, loop);
 *   ev_run(loop, 0);
 *   kw_libev_detach(handle);
 *
 * What is given in between is <keyway/loop.h>. The handle is watched until it is detached, whether
 * commands are under way or not: the loop does not end by itself. Stop it where it is to end, for
 * instance in a callback, with ev_break. */
#ifndef KEYWAY_ADAPTERS_LIBEV_H
#define KEYWAY_ADAPTERS_LIBEV_H

#include <stdbool.h>
#include <stdlib.h>

#include <ev.h>

#include <keyway/loop.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A handle in an ev_loop. */
typedef struct kw_libev {
    kw_client *client; /* NULL: closed */
    struct ev_loop *loop;
    ev_io readable;
    ev_timer timer;
    int armed_ms; /* the timer, from when it was set; -1: it is not */
    bool is_inside;
    bool is_detached;
} kw_libev;

static inline void kw_libev_stop(kw_libev *self)
{
    ev_io_stop(self->loop, &self->readable);
    ev_timer_stop(self->loop, &self->timer);
}

/* A timer that comes too early does no harm: it is only ever set for an earlier time. */
static inline void kw_libev_arm(kw_libev *self)
{
    int wait_ms = kw_timeout(self->client);
    if (wait_ms >= 0 && (self->armed_ms < 0 || wait_ms < self->armed_ms)) {
        ev_timer_stop(self->loop, &self->timer);
        self->timer.at = wait_ms / 1000.0;
        self->timer.repeat = 0.0;
        ev_timer_start(self->loop, &self->timer);
        self->armed_ms = wait_ms;
    }
}

static inline void kw_libev_process(kw_libev *self)
{
    self->is_inside = true;
    kw_err code = kw_process(self->client, NULL);
    self->is_inside = false;
    if (self->is_detached) {
        free(self);
    } else if (code == KW_ERR_CANCELLED || code == KW_ERR_FORKED) {
        kw_libev_stop(self);
        self->client = NULL;
    } else {
        kw_libev_arm(self);
    }
}

static inline void kw_libev_on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    (void)events;
    kw_libev_process((kw_libev *)watcher->data);
}

static inline void kw_libev_on_timer(struct ev_loop *loop, ev_timer *watcher, int events)
{
    kw_libev *self = (kw_libev *)watcher->data;
    (void)loop;
    (void)events;
    self->armed_ms = -1;
    kw_libev_process(self);
}

/* Lets loop drive the handle, until kw_libev_detach, which is due before kw_close.
 *
 * NULL where it fails; error is set where the handle's descriptor cannot be had, and not where
 * there is no memory for the rest. Errors: KW_ERR_ARGUMENT (client is NULL), KW_ERR_FORKED,
 * KW_ERR_NOMEM. Loop thread. */
static inline kw_libev *kw_libev_attach(kw_client *client, kw_error *error, struct ev_loop *loop)
{
    int fd = kw_fd(client, error);
    kw_libev *self = fd >= 0 ? (kw_libev *)calloc(1, sizeof(*self)) : NULL;
    if (self == NULL) {
        return NULL;
    }
    self->client = client;
    self->loop = loop;
    self->armed_ms = -1;
    ev_io_init(&self->readable, kw_libev_on_readable, fd, EV_READ);
    ev_timer_init(&self->timer, kw_libev_on_timer, 0.0, 0.0);
    self->readable.data = self;
    self->timer.data = self;
    ev_io_start(loop, &self->readable);
    kw_libev_arm(self);
    return self;
}

/* Takes the handle out of the loop, before kw_close. Allowed in a callback. NULL is allowed. Loop
 * thread. */
static inline void kw_libev_detach(kw_libev *self)
{
    if (self == NULL) {
        return;
    }
    kw_libev_stop(self);
    self->is_detached = true;
    if (!self->is_inside) {
        free(self);
    }
}

#ifdef __cplusplus
}
#endif

#endif

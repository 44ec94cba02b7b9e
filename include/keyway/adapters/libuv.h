/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: commands with callbacks in a libuv loop. Needs libuv 1.
 *
 *   kw_libuv *handle = kw_libuv_attach(client, &error, loop);
 *   uv_run(loop, UV_RUN_DEFAULT);
 *   kw_libuv_detach(handle);
 *
 * What is given in between is <keyway/loop.h>. The handle is watched until it is detached, whether
 * commands are under way or not: the loop does not end by itself. Stop it where it is to end, for
 * instance in a callback, with uv_stop. */
#ifndef KEYWAY_ADAPTERS_LIBUV_H
#define KEYWAY_ADAPTERS_LIBUV_H

#include <stdbool.h>
#include <stdlib.h>

#include <uv.h>

#include <keyway/loop.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A handle in a uv_loop_t. */
typedef struct kw_libuv {
    kw_client *client; /* NULL: closed */
    uv_poll_t readable;
    uv_timer_t timer;
    int armed_ms; /* the timer, from when it was set; -1: it is not */
    int open_n;   /* libuv's handles that are not closed */
    bool is_detached;
} kw_libuv;

static inline void kw_libuv_on_closed(uv_handle_t *handle)
{
    kw_libuv *self = (kw_libuv *)handle->data;
    if (--self->open_n == 0) {
        free(self);
    }
}

static inline void kw_libuv_on_timer(uv_timer_t *timer);

/* A timer that comes too early does no harm: it is only ever set for an earlier time. */
static inline void kw_libuv_arm(kw_libuv *self)
{
    int wait_ms = kw_timeout(self->client);
    if (wait_ms >= 0 && (self->armed_ms < 0 || wait_ms < self->armed_ms)) {
        uv_update_time(self->timer.loop);
        (void)uv_timer_start(&self->timer, kw_libuv_on_timer, (uint64_t)wait_ms, 0);
        self->armed_ms = wait_ms;
    }
}

static inline void kw_libuv_process(kw_libuv *self)
{
    kw_err code = kw_process(self->client, NULL);
    if (self->is_detached) {
        return; /* freed by the loop, later */
    }
    if (code == KW_ERR_CANCELLED || code == KW_ERR_FORKED) {
        (void)uv_poll_stop(&self->readable);
        (void)uv_timer_stop(&self->timer);
        self->client = NULL;
        return;
    }
    kw_libuv_arm(self);
}

static inline void kw_libuv_on_timer(uv_timer_t *timer)
{
    kw_libuv *self = (kw_libuv *)timer->data;
    self->armed_ms = -1;
    kw_libuv_process(self);
}

static inline void kw_libuv_on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    kw_libuv_process((kw_libuv *)poll->data);
}

/* Lets loop drive the handle, until kw_libuv_detach, which is due before kw_close.
 *
 * NULL where it fails; error is set where the handle's descriptor cannot be had, and not where
 * there is no memory for the rest. Errors: KW_ERR_ARGUMENT (client is NULL), KW_ERR_FORKED,
 * KW_ERR_NOMEM. Loop thread. */
static inline kw_libuv *kw_libuv_attach(kw_client *client, kw_error *error, uv_loop_t *loop)
{
    int fd = kw_fd(client, error);
    kw_libuv *self = fd >= 0 ? (kw_libuv *)calloc(1, sizeof(*self)) : NULL;
    if (self == NULL || uv_poll_init(loop, &self->readable, fd) != 0) {
        free(self);
        return NULL;
    }
    (void)uv_timer_init(loop, &self->timer); /* never fails */
    self->client = client;
    self->armed_ms = -1;
    self->open_n = 2;
    self->readable.data = self;
    self->timer.data = self;
    (void)uv_poll_start(&self->readable, UV_READABLE, kw_libuv_on_readable);
    kw_libuv_arm(self);
    return self;
}

/* Takes the handle out of the loop, before kw_close; libuv frees what was attached in the loop's
 * next turn. Allowed in a callback. NULL is allowed. Loop thread. */
static inline void kw_libuv_detach(kw_libuv *self)
{
    if (self == NULL) {
        return;
    }
    self->is_detached = true;
    uv_close((uv_handle_t *)&self->readable, kw_libuv_on_closed);
    uv_close((uv_handle_t *)&self->timer, kw_libuv_on_closed);
}

#ifdef __cplusplus
}
#endif

#endif

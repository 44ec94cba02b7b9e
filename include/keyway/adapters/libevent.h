/* SPDX-License-Identifier: BSD-3-Clause */
/* keyway: commands with callbacks in a libevent loop. Needs libevent 2.
 *
 *   kw_libevent *handle = kw_libevent_attach(client, &error, base);
 *   event_base_dispatch(base);
 *   kw_libevent_detach(handle);
 *
 * What is given in between is <keyway/loop.h>. The handle is watched until it is detached, whether
 * commands are under way or not: the loop does not end by itself. Stop it where it is to end, for
 * instance in a callback, with event_base_loopbreak. */
#ifndef KEYWAY_ADAPTERS_LIBEVENT_H
#define KEYWAY_ADAPTERS_LIBEVENT_H

#include <stdbool.h>
#include <stdlib.h>
#include <sys/time.h>

#include <event2/event.h>

#include <keyway/loop.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A handle in an event_base. */
typedef struct kw_libevent {
    kw_client *client; /* NULL: closed */
    struct event *readable;
    struct event *timer;
    int armed_ms; /* the timer, from when it was set; -1: it is not */
    bool is_inside;
    bool is_detached;
} kw_libevent;

static inline void kw_libevent_free(kw_libevent *self)
{
    if (self->readable != NULL) {
        event_free(self->readable);
    }
    if (self->timer != NULL) {
        event_free(self->timer);
    }
    free(self);
}

/* A timer that comes too early does no harm: it is only ever set for an earlier time. */
static inline void kw_libevent_arm(kw_libevent *self)
{
    int wait_ms = kw_timeout(self->client);
    if (wait_ms >= 0 && (self->armed_ms < 0 || wait_ms < self->armed_ms)) {
        struct timeval wait;
        wait.tv_sec = wait_ms / 1000;
        wait.tv_usec = wait_ms % 1000 * 1000;
        self->armed_ms = event_add(self->timer, &wait) == 0 ? wait_ms : -1;
    }
}

static inline void kw_libevent_process(kw_libevent *self)
{
    self->is_inside = true;
    kw_err code = kw_process(self->client, NULL);
    self->is_inside = false;
    if (self->is_detached) {
        kw_libevent_free(self);
    } else if (code == KW_ERR_CANCELLED || code == KW_ERR_FORKED) {
        event_del(self->readable);
        event_del(self->timer);
        self->client = NULL;
    } else {
        kw_libevent_arm(self);
    }
}

static inline void kw_libevent_on_event(evutil_socket_t fd, short events, void *arg)
{
    kw_libevent *self = (kw_libevent *)arg;
    (void)fd;
    if ((events & EV_TIMEOUT) != 0) {
        self->armed_ms = -1;
    }
    kw_libevent_process(self);
}

/* Lets base drive the handle, until kw_libevent_detach, which is due before kw_close.
 *
 * NULL where it fails; error is set where the handle's descriptor cannot be had, and not where
 * there is no memory for the rest. Errors: KW_ERR_ARGUMENT (client is NULL), KW_ERR_FORKED,
 * KW_ERR_NOMEM. Loop thread. */
static inline kw_libevent *kw_libevent_attach(kw_client *client, kw_error *error,
                                              struct event_base *base)
{
    int fd = kw_fd(client, error);
    kw_libevent *self = fd >= 0 ? (kw_libevent *)calloc(1, sizeof(*self)) : NULL;
    if (self == NULL) {
        return NULL;
    }
    self->client = client;
    self->armed_ms = -1;
    self->readable = event_new(base, fd, EV_READ | EV_PERSIST, kw_libevent_on_event, self);
    self->timer = event_new(base, -1, 0, kw_libevent_on_event, self);
    if (self->readable == NULL || self->timer == NULL || event_add(self->readable, NULL) != 0) {
        kw_libevent_free(self);
        return NULL;
    }
    kw_libevent_arm(self);
    return self;
}

/* Takes the handle out of base, before kw_close. Allowed in a callback. NULL is allowed. Loop
 * thread. */
static inline void kw_libevent_detach(kw_libevent *self)
{
    if (self == NULL) {
        return;
    }
    event_del(self->readable);
    event_del(self->timer);
    self->is_detached = true;
    if (!self->is_inside) {
        kw_libevent_free(self);
    }
}

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The part of a poller that is common to all backends: its descriptors and its watches. */
#include "net/poller.h"

#include "base/error.h"

#include <string.h>
#include <unistd.h>

static const kw_poller_backend *best_backend(void)
{
    const kw_poller_backend *backend = kw_poller_epoll();
    backend = backend != NULL ? backend : kw_poller_kqueue();
    return backend != NULL ? backend : kw_poller_poll();
}

static kw_err fail(kw_error *error, const char *what, int status)
{
    char reason[100];
    if (strerror_r(-status, reason, sizeof(reason)) != 0) {
        reason[0] = '\0';
    }
    return kw_error_set(error, KW_ERR_NOMEM, KW_EFFECT_NONE, "%s: %s", what, reason);
}

kw_err kw_poller_init(kw_poller *poller, kw_error *error, kw_env *env)
{
    memset(poller, 0, sizeof(*poller));
    poller->env = env;
    poller->backend = env->poller != NULL ? env->poller : best_backend();
    poller->fd = -1;
    poller->wake_fd = -1;
    int status = poller->backend->open_fn(poller);
    if (status < 0) {
        kw_poller_fini(poller, false);
        return fail(error, "no descriptor for an event loop", status);
    }
    return KW_OK;
}

static void close_fd(kw_poller *poller, int fd)
{
    if (fd >= 0 && kw_descriptors_remove(&poller->env->descriptors, fd)) {
        (void)close(fd);
    }
}

void kw_poller_fini(kw_poller *poller, bool has_forked)
{
    if (!has_forked) {
        close_fd(poller, poller->fd);
        close_fd(poller, poller->wake_fd);
    }
    kw_mem_free(&poller->env->mem, poller->watches);
    kw_mem_free(&poller->env->mem, poller->entries);
    poller->watches = NULL;
    poller->entries = NULL;
    poller->fd = -1;
    poller->wake_fd = -1;
}

kw_err kw_poller_set(kw_poller *poller, kw_error *error, kw_watch *watch, int socket, short events)
{
    if (watch->socket == socket && watch->events == events) {
        return KW_OK;
    }
    bool is_new = watch->socket < 0;
    int status = poller->backend->set_fn(poller, watch, socket, events);
    if (status < 0) {
        return fail(error, "the event loop cannot watch a connection", status);
    }
    poller->watches_n += is_new ? 1 : 0;
    watch->socket = socket;
    watch->events = events;
    return KW_OK;
}

void kw_poller_remove(kw_poller *poller, kw_watch *watch)
{
    if (watch->socket >= 0) {
        poller->backend->remove_fn(poller, watch);
        poller->watches_n--;
        watch->socket = -1;
    }
    watch->revents = 0;
}

void kw_poller_look(kw_poller *poller)
{
    int status = poller->backend->look_fn(poller);
    if (status < 0) {
        kw_env_log(poller->env, KW_LOG_WARNING, "%s failed: error %d", poller->backend->name,
                   -status);
    }
}

void kw_poller_wake(kw_poller *poller)
{
    poller->backend->wake_fn(poller);
}
